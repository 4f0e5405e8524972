"""Saves: whole or not at all; code in checkpoints, and which permission it needs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModel
from transformers.dynamic_module_utils import get_relative_import_files

import irti_custom
from irti_custom import AutoModelForMaskedSeqModeling, MaskedSeqModelingConfig
from tests.bare import AUTO_MAP, assert_bare_agrees, run_bare, saved_config, scripts
from tests.tiny import assert_same_logits, tiny_batch, tiny_model

load = AutoModelForMaskedSeqModeling.from_pretrained
ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("task", ["multilabel", "multiclass"])
def test_code_runs_where_only_torch_and_transformers_are(task, tmp_path):
    model = tiny_model("modernbert", task=task)
    model.save_pretrained(tmp_path / "coded", with_code=True)
    assert_bare_agrees(model, tmp_path / "coded", tmp_path)


def test_code_does_not_run_without_permission(coded, tmp_path):
    script = """
for refused in (AutoConfig, AutoModel):
    try:
        refused.from_pretrained(folder, trust_remote_code=False)
    except ValueError as error:
        print("trust_remote_code" in str(error))
"""
    assert run_bare(script, coded, tmp_path).split() == ["True", "True"]


def test_loading_arguments_are_honoured_without_the_package(coded, tmp_path):
    script = """
options = {"attn_implementation": "eager", "dtype": torch.float64, "task": "multiclass"}
model = AutoModel.from_pretrained(folder, trust_remote_code=True, **options)
kinds = {p.dtype for p in model.parameters()}
print(model.encoder.config._attn_implementation, kinds, model.config.task)
"""
    assert run_bare(script, coded, tmp_path).strip() == "eager {torch.float64} multiclass"


def test_a_process_without_the_package_trains_saves_and_reloads(coded, tmp_path):
    script = """
model = AutoModel.from_pretrained(folder, trust_remote_code=True).train()
model(**batch, labels=torch.ones(2, 3, 3)).loss.backward()
model.head[3].bias.data += model.head[3].bias.grad
model.eval().save_pretrained(here + "/again")
again = AutoModel.from_pretrained(here + "/again", trust_remote_code=True)
with torch.no_grad():
    assert torch.equal(again(**batch).logits, model(**batch).logits)
    torch.save(model(**batch).logits, here + "/logits.pt")
"""
    run_bare(script, coded, tmp_path)
    again = load(tmp_path / "again")
    assert type(again) is AutoModelForMaskedSeqModeling
    assert saved_config(tmp_path / "again")["auto_map"] == AUTO_MAP
    with torch.no_grad():
        there = torch.load(tmp_path / "logits.pt")
        torch.testing.assert_close(again(**tiny_batch()).logits, there, rtol=0, atol=0)


def test_wrapped_remote_encoder_brings_both_codes(remote_checkpoint, tmp_path):
    model = load(remote_checkpoint, trust_remote_code=True)
    model.save_pretrained(tmp_path / "both", with_code=True)
    settings = saved_config(tmp_path / "both")
    assert settings["auto_map"] == AUTO_MAP
    assert settings["base_model_config"]["auto_map"] == {
        "AutoConfig": "configuration_remote.RemoteConfig",
        "AutoModel": "modeling_remote.RemoteModel",
    }
    shutil.rmtree(remote_checkpoint)
    assert_bare_agrees(model, tmp_path / "both", tmp_path)
    model.save_pretrained(tmp_path / "both")
    assert scripts(tmp_path / "both") == {
        "configuration_remote.py",
        "mixing.py",
        "modeling_remote.py",
    }
    assert_same_logits(model, load(tmp_path / "both", trust_remote_code=True))


def test_file_names_that_clash_are_refused_before_anything_is_written(
    remote,
    tmp_path,
):
    base = Path(remote)
    (base / "mixing.py").rename(base / "losses.py")
    code = (base / "modeling_remote.py").read_text().replace(".mixing", ".losses")
    (base / "modeling_remote.py").write_text(code)
    model = load(remote, num_labels=3, trust_remote_code=True)
    with pytest.raises(ValueError, match=r"both have \['losses.py'\]"):
        model.save_pretrained(tmp_path / "clash", with_code=True)
    assert not (tmp_path / "clash").exists()
    model.save_pretrained(tmp_path / "clash")
    assert_same_logits(model, load(tmp_path / "clash", trust_remote_code=True))


def test_class_of_a_script_is_refused(tmp_path, monkeypatch):
    own = type("Own", (AutoModelForMaskedSeqModeling,), {"__module__": "__main__"})
    model = own(tiny_model().config)
    with pytest.raises(ValueError, match="Own, which is defined in a script"):
        model.save_pretrained(tmp_path / "own", with_code=True)


def test_saving_with_code_leaves_the_model_as_it_was(tmp_path):
    model = tiny_model()
    before = model.config.to_dict()
    model.save_pretrained(tmp_path / "plain")
    model.save_pretrained(tmp_path / "coded", with_code=True)
    after = {k: v for k, v in model.config.to_dict().items() if k not in ("architectures", "dtype")}
    assert after == {k: v for k, v in before.items() if k not in ("architectures", "dtype")}
    assert {**saved_config(tmp_path / "plain"), "auto_map": AUTO_MAP} == saved_config(
        tmp_path / "coded"
    )
    model.save_pretrained(tmp_path / "later")
    assert not scripts(tmp_path / "plain") | scripts(tmp_path / "later")


def test_the_code_is_complete_and_the_same(coded):
    package = Path(irti_custom.__file__).parent
    needed = {Path(p).name for p in get_relative_import_files(package / "modeling_custom.py")}
    assert scripts(coded) == needed | {"modeling_custom.py"}
    for name in scripts(coded):
        assert Path(coded, name).read_text() == (package / name).read_text()


@pytest.mark.parametrize("reload", [True, False])
def test_a_plain_save_over_code_takes_it_out(reload, coded):
    Path(coded, "mine.py").write_text("")
    model = load(coded) if reload else tiny_model()
    model.save_pretrained(coded)
    assert scripts(coded) == {"mine.py"}
    assert "auto_map" not in saved_config(coded)
    assert_same_logits(model, load(coded))


def test_a_registered_class_always_brings_its_code(tmp_path, monkeypatch):
    monkeypatch.setattr(AutoModelForMaskedSeqModeling, "_auto_class", None)
    AutoModelForMaskedSeqModeling.register_for_auto_class("AutoModel")
    model = tiny_model()
    model.save_pretrained(tmp_path / "coded")
    assert saved_config(tmp_path / "coded")["auto_map"] == AUTO_MAP
    assert not hasattr(model.config, "auto_map")
    assert_bare_agrees(model, tmp_path / "coded", tmp_path)


def test_with_the_package_the_package_runs_and_not_the_copy(coded, tmp_path):
    ran = tmp_path / "ran"
    for name in scripts(coded):
        Path(coded, name).write_text(f"open({str(ran)!r}, 'w').close()")
    model = load(coded)
    for other in (load(coded, trust_remote_code=True), AutoModel.from_pretrained(coded)):
        assert type(other) is AutoModelForMaskedSeqModeling
        assert_same_logits(model, other)
    assert type(AutoConfig.from_pretrained(coded)) is MaskedSeqModelingConfig
    assert not ran.exists()
    assert not hasattr(model.config, "auto_map")


def test_with_permission_the_auto_classes_still_give_equal_logits(coded):
    assert_same_logits(load(coded), AutoModel.from_pretrained(coded, trust_remote_code=True))
    assert type(AutoModel.from_pretrained(coded)) is AutoModelForMaskedSeqModeling


def test_no_file_grants_permission_for_an_encoder_of_a_checkpoint_with_code(
    remote_checkpoint,
    trace,
    tmp_path,
):
    load(remote_checkpoint, trust_remote_code=True).save_pretrained(
        tmp_path / "both", with_code=True
    )
    settings = {**saved_config(tmp_path / "both"), "trust_remote_code": True}
    (tmp_path / "both" / "config.json").write_text(json.dumps(settings))
    trace.unlink(missing_ok=True)
    for refused in (load, AutoModel.from_pretrained):
        with pytest.raises(ValueError, match="trust_remote_code"):
            refused(tmp_path / "both")
    assert not trace.exists()


def test_a_save_on_another_process_writes_no_code(tmp_path):
    tiny_model().save_pretrained(tmp_path / "other", is_main_process=False, with_code=True)
    assert not scripts(tmp_path / "other")
    assert not (tmp_path / "other" / "README.md").exists()


def test_adapters_are_saved_without_code(tmp_path):
    pytest.importorskip("peft")
    model = irti_custom.get_lora_model(tiny_model())
    with pytest.raises(ValueError, match="with_code=True is for a whole model"):
        model.save_pretrained(tmp_path / "adapter", with_code=True)
    whole = model.merge_and_unload()
    whole.save_pretrained(tmp_path / "whole", with_code=True)
    assert_bare_agrees(whole.eval(), tmp_path / "whole", tmp_path)


def test_the_bare_process_lacks_the_package(tmp_path):
    script = "print(sorted(n for n in sys.modules if n.startswith(('irti', 'peft', 'sklearn'))))"
    assert run_bare(script, str(tmp_path), tmp_path).strip() == "[]"
    assert "irti_custom" in sys.modules


def fill(model, value: float):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(value)
    return model


def values(folder) -> set[float]:
    model = load(folder)
    return {weight.flatten()[0].item() for weight in model.parameters()}


@pytest.mark.parametrize("sharded_first", [False, True])
def test_an_interrupted_write_leaves_the_old_model_and_no_scratch(
    sharded_first, tmp_path, monkeypatch
):
    options = {"max_shard_size": "20KB"} if sharded_first else {}
    fill(tiny_model(), 1.0).save_pretrained(tmp_path, **options)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr(MaskedSeqModelingConfig, "save_pretrained", lambda *a, **k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        fill(tiny_model(), 2.0).save_pretrained(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    monkeypatch.undo()
    fill(tiny_model(), 2.0).save_pretrained(tmp_path)
    assert values(tmp_path) == {2.0}
    assert [path.name for path in tmp_path.glob("*.safetensors")] == ["model.safetensors"]


def test_a_kill_in_the_middle_of_saves_leaves_a_whole_model(tmp_path):
    script = (
        "import sys, torch\n"
        "from tests.test_saving import fill\n"
        "from tests.tiny import tiny_model\n"
        "model, value = tiny_model(), 0\n"
        "while True:\n"
        "    value += 1\n"
        "    fill(model, value).save_pretrained(sys.argv[1])\n"
        "    print(value, flush=True)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    saved_values = [int(child.stdout.readline()) for _ in range(20)]
    child.kill()
    saved_values += [int(line) for line in child.stdout.read().splitlines()]
    child.wait()
    assert values(tmp_path) <= {saved_values[-1], saved_values[-1] + 1}
    assert len(values(tmp_path)) == 1
