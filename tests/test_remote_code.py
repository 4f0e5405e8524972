"""Encoders that bring their own code: it runs with permission of the call, and only then."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
import torch
from transformers import AutoModel

from irti_custom import AutoModelForMaskedSeqModeling
from tests.remote import AUTO_MAP
from tests.tiny import assert_same_logits, tiny_model

load = AutoModelForMaskedSeqModeling.from_pretrained

REFUSED = "trust_remote_code"


@pytest.mark.parametrize("permission", [{}, {"trust_remote_code": False}])
def test_code_of_a_base_does_not_run_without_permission(permission, remote, trace):
    with pytest.raises(ValueError, match=REFUSED):
        load(remote, num_labels=3, **permission)
    assert not trace.exists()


def test_remote_base_works_with_permission(remote):
    model = load(remote, num_labels=3, trust_remote_code=True)
    ids = torch.randint(0, 64, (2, 8))
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    positions = torch.tensor([[1, 2], [0, 7]])
    states = model.encoder(**batch).last_hidden_state
    picked = torch.stack([states[row, positions[row]] for row in range(2)])
    torch.testing.assert_close(model(**batch, mask_indices=positions).logits, model.head(picked))
    assert model.tests_remote is model.encoder


def test_checkpoint_carries_the_code_and_reloads_with_the_base_gone(remote_checkpoint):
    model = load(remote_checkpoint, trust_remote_code=True)
    assert_same_logits(model, load(remote_checkpoint, trust_remote_code=True))
    again = AutoModel.from_pretrained(remote_checkpoint, trust_remote_code=True)
    assert_same_logits(model, again)


def test_checkpoint_reloads_in_a_fresh_process(remote_checkpoint):
    script = (
        "import sys; from irti_custom import AutoModelForMaskedSeqModeling as Model\n"
        "try: Model.from_pretrained(sys.argv[1])\n"
        "except ValueError as error: print('refused' if 'trust_remote_code' in str(error) else 0)\n"
        "print(Model.from_pretrained(sys.argv[1], trust_remote_code=True).num_parameters())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, remote_checkpoint],
        capture_output=True,
        text=True,
        check=True,
    )
    count = load(remote_checkpoint, trust_remote_code=True).num_parameters()
    assert done.stdout.split() == ["refused", str(count)]


def test_a_permitted_load_gives_no_permission_to_the_next(remote_checkpoint):
    load(remote_checkpoint, trust_remote_code=True)
    for refused in (load, AutoModel.from_pretrained):
        with pytest.raises(ValueError, match=REFUSED):
            refused(remote_checkpoint)


def test_checkpoint_saved_again_still_carries_the_code(remote_checkpoint, tmp_path):
    model = load(remote_checkpoint, trust_remote_code=True)
    model.save_pretrained(tmp_path / "again")
    shutil.rmtree(remote_checkpoint)
    assert_same_logits(model, load(tmp_path / "again", trust_remote_code=True))


@pytest.mark.parametrize("place", ["top", "encoder"])
def test_no_file_can_grant_permission(place, remote_checkpoint, trace, tmp_path):
    file = tmp_path / "checkpoint" / "config.json"
    saved = json.loads(file.read_text())
    target = saved if place == "top" else saved["base_model_config"]
    target["trust_remote_code"] = True
    file.write_text(json.dumps(saved))
    with pytest.raises(ValueError, match=REFUSED):
        load(remote_checkpoint)
    assert not trace.exists()


def test_code_named_in_a_tampered_config_does_not_run(tmp_path, trace):
    folder = tmp_path / "tampered"
    tiny_model("bert").save_pretrained(folder)
    (folder / "modeling_remote.py").write_text(f"open({str(trace)!r}, 'w').close()")
    (folder / "configuration_remote.py").write_text(f"open({str(trace)!r}, 'w').close()")
    saved = json.loads((folder / "config.json").read_text())
    for target in (saved, saved["base_model_config"]):
        target.update(auto_map=AUTO_MAP, trust_remote_code=True)
    (folder / "config.json").write_text(json.dumps(saved))
    load(folder)  # BERT is known: no code is needed, and none runs
    assert not trace.exists()
    saved["base_model_config"]["model_type"] = "tests-remote"
    saved["base_model_type"] = "tests-remote"
    (folder / "config.json").write_text(json.dumps(saved))
    with pytest.raises(ValueError, match=REFUSED):
        load(folder)
    assert not trace.exists()


def test_unknown_encoder_without_code_says_so(tmp_path):
    tiny_model("bert").save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())
    saved.pop("base_model_type")
    saved["base_model_config"]["model_type"] = "from-the-future"
    (tmp_path / "config.json").write_text(json.dumps(saved))
    with pytest.raises(ValueError, match="'from-the-future' is unknown to this version"):
        load(tmp_path, trust_remote_code=True)


def test_strict_mlm_check_reads_the_remote_codes_own_list(remote):
    with pytest.raises(ValueError, match="masked-LM class"):
        load(remote, num_labels=3, trust_remote_code=True, strict_mlm_check=True)
