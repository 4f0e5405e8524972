"""Code and cards in checkpoints, processes without this package, and what a push uploads."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from huggingface_hub import HfApi
from transformers import AutoConfig, AutoModel
from transformers.dynamic_module_utils import get_relative_import_files

import irti_custom
from irti_custom import AutoModelForMaskedSeqModeling, MaskedSeqModelingConfig, write_model_card
from irti_custom.hub.card import is_own_card
from irti_custom.hub.push import push_to_hub
from tests.bare import run_bare
from tests.test_remote_code import checkpoint as remote_checkpoint  # noqa: F401 (a fixture)
from tests.test_remote_code import remote, trace  # noqa: F401 (fixtures)
from tests.tiny import assert_same_logits, tiny_batch, tiny_model

load = AutoModelForMaskedSeqModeling.from_pretrained
AUTO_MAP = {
    "AutoConfig": "configuration_custom.MaskedSeqModelingConfig",
    "AutoModel": "modeling_custom.AutoModelForMaskedSeqModeling",
}
LOGITS = """
model = AutoModel.from_pretrained(folder, trust_remote_code=True)
assert type(model).__module__.startswith("transformers_modules"), type(model)
with torch.no_grad():
    torch.save(model(**batch).logits, here + "/logits.pt")
"""


def saved(folder) -> dict:
    return json.loads(Path(folder, "config.json").read_text())


def scripts(folder) -> set[str]:
    return {path.name for path in Path(folder).glob("*.py")}


@pytest.fixture
def coded(tmp_path) -> str:
    """A checkpoint with code; three labels."""
    folder = tmp_path / "coded"
    model = tiny_model(num_labels=None, id2label={0: "person", 1: "place", 2: "thing"})
    model.save_pretrained(folder, with_code=True)
    write_model_card(folder)
    return str(folder)


def assert_bare_agrees(model, folder, tmp_path, script: str = LOGITS) -> None:
    run_bare(script, str(folder), tmp_path)
    with torch.no_grad():
        here = model(**tiny_batch()).logits
    torch.testing.assert_close(torch.load(tmp_path / "logits.pt"), here, rtol=0, atol=0)


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
    assert saved(tmp_path / "again")["auto_map"] == AUTO_MAP
    with torch.no_grad():
        there = torch.load(tmp_path / "logits.pt")
        torch.testing.assert_close(again(**tiny_batch()).logits, there, rtol=0, atol=0)


def test_wrapped_remote_encoder_brings_both_codes(remote_checkpoint, tmp_path):  # noqa: F811
    model = load(remote_checkpoint, trust_remote_code=True)
    model.save_pretrained(tmp_path / "both", with_code=True)
    settings = saved(tmp_path / "both")
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
    remote,  # noqa: F811
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
    assert {**saved(tmp_path / "plain"), "auto_map": AUTO_MAP} == saved(tmp_path / "coded")
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
    assert "auto_map" not in saved(coded)
    assert_same_logits(model, load(coded))


def test_a_registered_class_always_brings_its_code(tmp_path, monkeypatch):
    monkeypatch.setattr(AutoModelForMaskedSeqModeling, "_auto_class", None)
    AutoModelForMaskedSeqModeling.register_for_auto_class("AutoModel")
    model = tiny_model()
    model.save_pretrained(tmp_path / "coded")
    assert saved(tmp_path / "coded")["auto_map"] == AUTO_MAP
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
    remote_checkpoint,  # noqa: F811
    trace,  # noqa: F811
    tmp_path,
):
    load(remote_checkpoint, trust_remote_code=True).save_pretrained(
        tmp_path / "both", with_code=True
    )
    settings = {**saved(tmp_path / "both"), "trust_remote_code": True}
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


class Hub:
    """Repositories in memory, in place of `HfApi`'s methods."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.calls, self.files = folder, [], {}
        for name in ("create_repo", "create_branch", "upload_folder"):
            monkeypatch.setattr(HfApi, name, self.record(name))
        monkeypatch.setattr(HfApi, "file_exists", lambda _, repo, name, **kw: self.path(name))
        monkeypatch.setattr(HfApi, "hf_hub_download", lambda _, repo, name, **kw: self.path(name))

    def path(self, name: str) -> str | None:
        return str(self.folder / name) if (self.folder / name).exists() else None

    def record(self, name: str):
        def call(api: HfApi, *args, **kwargs):
            self.calls.append((name, args, kwargs))
            if name == "upload_folder":
                self.store(kwargs)
            return SimpleNamespace(repo_id=f"me/{args[0].split('/')[-1]}" if args else None)

        return call

    def store(self, kwargs: dict) -> None:
        from huggingface_hub.utils import filter_repo_objects

        self.folder.mkdir(exist_ok=True)
        patterns = {k: kwargs[k] for k in ("allow_patterns", "ignore_patterns")}
        for name in filter_repo_objects(os.listdir(kwargs["folder_path"]), **patterns):
            shutil.copyfile(Path(kwargs["folder_path"], name), self.folder / name)

    def arguments(self, name: str) -> dict:
        return next(kwargs for called, _, kwargs in reversed(self.calls) if called == name)

    def card(self) -> str:
        return (self.folder / "README.md").read_text()


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Hub:
    return Hub(tmp_path / "repository", monkeypatch)


def test_a_push_uploads_weights_code_and_card_in_one_commit(hub, tmp_path):
    model = tiny_model()
    metrics = {"eval_micro_f1": 0.5}
    settings = {"private": True, "token": "t", "commit_message": "First"}
    push_to_hub(model, "model", metrics=metrics, data="Forty texts.", tags=["pii"], **settings)
    names = {"README.md", "config.json", "model.safetensors"}
    assert set(os.listdir(hub.folder)) - scripts(hub.folder) == names
    for part in ("from_pretrained(name)", 'name = "me/model"', "Forty texts.", "0.5", "- pii"):
        assert part in hub.card()
    assert [name for name, _, _ in hub.calls] == ["create_repo", "upload_folder"]
    expected = {"private": True, "token": "t", "exist_ok": True}
    assert hub.arguments("create_repo") == expected
    commit = hub.arguments("upload_folder")
    assert (commit["commit_message"], commit["token"]) == ("First", "t")
    assert_bare_agrees(model, hub.folder, tmp_path)


def test_a_push_without_code_and_to_a_branch(hub):
    push_to_hub(tiny_model(), "me/model", with_code=False, revision="v2", max_shard_size="20KB")
    assert not scripts(hub.folder)
    assert "auto_map" not in saved(hub.folder)
    assert len(list(hub.folder.glob("*.safetensors"))) > 2
    assert hub.arguments("create_branch")["branch"] == "v2"
    assert hub.arguments("upload_folder")["revision"] == "v2"
    push_to_hub(tiny_model(), "me/model", revision="v3", create_pr=True)
    assert sum(name == "create_branch" for name, _, _ in hub.calls) == 1
    assert hub.arguments("upload_folder")["create_pr"] is True


def test_a_push_replaces_its_own_card_but_not_one_that_was_edited(hub, caplog):
    model = tiny_model()
    push_to_hub(model, "me/model", data="First.")
    push_to_hub(model, "me/model", data="Second.")
    assert "Second." in hub.card()
    (hub.folder / "README.md").write_text(hub.card() + "By hand.\n")
    push_to_hub(model, "me/model", data="Third.")
    assert "Third." not in hub.card()
    assert "By hand." in hub.card()
    push_to_hub(model, "me/model", data="Third.", overwrite_card=True)
    assert "Third." in hub.card()


def test_a_push_that_fails_on_its_arguments_creates_no_repository(hub):
    model = tiny_model()
    for error, wrong in ((TypeError, {"use_temp_dir": True}), (ValueError, {"metrics": TWICE})):
        with pytest.raises(error):
            push_to_hub(model, "me/model", **wrong)
    assert not hub.calls


def test_save_and_push_in_one_call_is_transformers_own_and_brings_the_code(
    hub, tmp_path, monkeypatch
):
    from transformers import modeling_utils

    monkeypatch.setattr(modeling_utils, "create_and_tag_model_card", lambda *a, **k: _NoCard())
    pushed = []
    monkeypatch.setattr(
        AutoModelForMaskedSeqModeling,
        "_upload_modified_files",
        lambda self, folder, repo_id, *args, **kwargs: pushed.append((repo_id, saved(folder))),
    )
    folder, model = tmp_path / "model", tiny_model()
    model.save_pretrained(folder, push_to_hub=True, repo_id="you/model", token="t")
    model.save_pretrained(folder, push_to_hub=True, with_code=False)
    assert [repo_id for repo_id, _ in pushed] == ["me/model", "me/model"]
    assert pushed[0][1]["auto_map"] == AUTO_MAP
    assert "auto_map" not in pushed[1][1]


class _NoCard:
    def save(self, path: str) -> None:
        """Transformers' own card asks the Hub to check it."""


def test_an_adapter_is_pushed_by_peft(hub, tmp_path, monkeypatch):
    pytest.importorskip("peft")
    from transformers.utils import hub as transformers_hub

    model = irti_custom.get_lora_model(tiny_model())
    uploaded = []
    if hasattr(transformers_hub, "create_repo"):
        url = SimpleNamespace(repo_id="me/adapter")
        monkeypatch.setattr(transformers_hub, "create_repo", lambda **kwargs: url)
    card = SimpleNamespace(save=lambda path: Path(path).write_text("card"))
    monkeypatch.setattr(transformers_hub, "create_and_tag_model_card", lambda *args, **kwargs: card)
    monkeypatch.setattr(
        type(model),
        "_upload_modified_files",
        lambda self, folder, *args, **kwargs: uploaded.extend(os.listdir(folder)),
    )
    model.push_to_hub("me/adapter")
    assert {"adapter_config.json", "adapter_model.safetensors", "config.json"} <= set(uploaded)


TWICE = {"eval_loss": 0.1, "test_loss": 0.2}
FLAT = {
    "test_micro_f1": 0.91,
    "test_runtime": 3.0,
    "test_samples_per_second": 9.0,
    "epoch": 5.0,
    **{
        f"test_{name}_{measure}": 0.25 * index
        for name in ("person", "place", "thing")
        for index, measure in enumerate(("precision", "recall", "f1", "support"))
    },
}


def test_card_says_encoder_task_labels_data_and_scores_per_label(coded):
    path = write_model_card(
        coded,
        metrics=FLAT,
        data="Forty texts.",
        base_model="org/encoder",
        language=["en", "de"],
        license="apache-2.0",
        tags=["pii"],
    )
    text = Path(path).read_text()
    for part in (
        "library_name: transformers",
        "base_model: org/encoder",
        "license: apache-2.0",
        "- masked-seq-classification",
        "- pii",
        "[org/encoder](https://huggingface.co/org/encoder) (`bert`)",
        "Multi-label",
        "| 1 | place |",
        "Forty texts.",
        "| micro_f1 | 0.91 |",
        "| place | 0.000 | 0.250 | 0.500 | 1 |",
    ):
        assert part in text, part
    for part in ("pipeline_tag", "runtime", "epoch", "per_second"):
        assert part not in text, part


def test_card_metadata_is_what_the_hub_reads(coded):
    from huggingface_hub import ModelCard

    write_model_card(coded, language="en", base_model="org/encoder")
    data = ModelCard.load(Path(coded, "README.md")).data
    assert (data.library_name, data.base_model, data.language) == (
        "transformers",
        "org/encoder",
        "en",
    )
    assert data.tags == ["masked-seq-classification"]


@pytest.mark.parametrize(
    ("thresholds", "parts"),
    [
        ([0.25, 0.5, 0.125], ("| 1 | place | 0.500 |", "| 2 | thing | 0.125 |")),
        (0.75, ("| 1 | place | 0.750 |", "| 2 | thing | 0.750 |")),
        (None, ("| 1 | place |\n",)),
    ],
)
def test_card_shows_thresholds(thresholds, parts, coded, monkeypatch):
    from irti_custom.hub import card as model_card

    config = MaskedSeqModelingConfig.from_pretrained(coded)
    config.thresholds = thresholds
    monkeypatch.setattr(model_card, "_read_config", lambda folder: config)
    text = Path(write_model_card(coded)).read_text()
    assert all(part in text for part in parts)
    assert ("hreshold" in text) == (thresholds is not None)


def test_card_takes_what_an_evaluation_returns(coded):
    import numpy as np

    logits, labels = np.array([[[2.0, -1.0, 1.0]]]), np.array([[[1, 0, 0]]])
    names = load(coded).config.id2label
    for kwargs in ({"id2label": names}, {}):
        measure = irti_custom.make_compute_metrics("multilabel", per_label=True, **kwargs)
        text = Path(write_model_card(coded, metrics=measure((logits, labels)))).read_text()
        assert "| person | 1.000 | 1.000 | 1.000 | 1 |" in text
        assert "person_f1" not in text
        assert "| num_positions | 1 |" in text


def test_card_of_two_evaluations_is_refused(coded):
    with pytest.raises(ValueError, match="must be of one evaluation"):
        write_model_card(coded, metrics=TWICE)


def test_label_names_cannot_break_the_table(tmp_path):
    tiny_model(num_labels=None, id2label={0: "a|b\nc", 1: "<b>"}).save_pretrained(tmp_path)
    text = Path(write_model_card(tmp_path)).read_text()
    assert r"| 0 | a\|b c |" in text
    assert "| 1 | &lt;b> |" in text


def test_card_names_no_folder_of_this_machine(base, tmp_path, monkeypatch):
    load(base, num_labels=3).save_pretrained(tmp_path / "model", with_code=True)
    monkeypatch.chdir(tmp_path)
    load("base", num_labels=3).save_pretrained("relative", with_code=True)
    os.makedirs("out/encoder")
    shutil.copytree("base", "out/encoder", dirs_exist_ok=True)
    load("out/encoder", num_labels=3).save_pretrained("nested", with_code=True)
    shutil.rmtree("out/encoder")
    for folder in ("model", "relative", "nested"):
        text = Path(write_model_card(folder)).read_text()
        assert "base_model" not in text
        assert "encoder)" not in text
        assert str(tmp_path) not in text


@pytest.mark.parametrize("name", ["org/encoder", "bert-base-uncased"])
def test_card_names_the_base_encoder_of_the_hub(name, tmp_path):
    tiny_model(base_model_name_or_path=name).save_pretrained(tmp_path)
    assert f"base_model: {name}\n" in Path(write_model_card(tmp_path)).read_text()


def test_card_of_somebody_else_is_left_alone(coded):
    card = Path(coded, "README.md")
    for text in ("# Mine\n", card.read_text().replace("Not described.", "Forty texts.")):
        card.write_text(text)
        assert not is_own_card(text)
        with pytest.raises(FileExistsError, match="overwrite=True"):
            write_model_card(coded)
        load(coded).save_pretrained(coded, with_code=True)
        assert card.read_text() == text  # saving touches no card
    write_model_card(coded, overwrite=True)
    assert is_own_card(card.read_text())


def test_card_needs_a_model_of_this_kind(base, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no config\.json"):
        write_model_card(tmp_path)
    with pytest.raises(ValueError, match="holds 'bert'"):
        write_model_card(base)


def test_card_of_an_adapter(base, tmp_path):
    pytest.importorskip("peft")
    model = irti_custom.get_lora_model(load(base, num_labels=3))
    model.save_pretrained(tmp_path / "adapter")
    text = Path(write_model_card(tmp_path / "adapter", overwrite=True)).read_text()
    assert "library_name: peft" in text
    assert "AutoModel," not in text


def code_blocks(text: str) -> list[str]:
    return [block.partition("```")[0] for block in text.split("```python\n")[1:]]


def test_snippet_runs_as_printed(coded, tokenizer, tmp_path, monkeypatch, capsys):
    tokenizer.save_pretrained(coded)
    here, bare = code_blocks(Path(coded, "README.md").read_text())
    monkeypatch.chdir(tmp_path)  # the folder above
    exec(compile(here, "card", "exec"), {})
    printed = capsys.readouterr().out
    assert [line.partition(" ")[0] for line in printed.splitlines()] == ["Ann", "Rome"]
    assert "'person'" in printed
    assert run_bare(bare, coded, tmp_path) == printed


def test_snippet_beside_a_processor_runs_as_printed(
    coded, tokenizer, tmp_path, monkeypatch, capsys
):
    irti_custom.MaskedSeqProcessor(tokenizer).save_pretrained(coded)
    here, _ = code_blocks(Path(write_model_card(coded)).read_text())
    monkeypatch.chdir(tmp_path)
    exec(compile(here, "card", "exec"), {})
    assert [line.split("'")[5] for line in capsys.readouterr().out.splitlines()] == ["word", "word"]


def test_snippet_of_a_wrapped_remote_encoder_asks_for_permission(
    remote_checkpoint,  # noqa: F811
):
    text = Path(write_model_card(remote_checkpoint)).read_text()
    assert "from_pretrained(name, trust_remote_code=True)" in text
    assert "tests-remote" in text


def test_the_bare_process_lacks_the_package(tmp_path):
    script = "print(sorted(n for n in sys.modules if n.startswith(('irti', 'peft', 'sklearn'))))"
    assert run_bare(script, str(tmp_path), tmp_path).strip() == "[]"
    assert "irti_custom" in sys.modules
