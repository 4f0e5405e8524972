"""The self-test passes good encoders, names the step that fails, and leaves nothing behind."""

from __future__ import annotations

import tempfile

import pytest

from irti_custom import AutoModelForMaskedSeqModeling
from tests.tiny import save_base, tiny_config

run = AutoModelForMaskedSeqModeling.run_self_test


@pytest.mark.parametrize("task", ["multilabel", "multiclass"])
@pytest.mark.parametrize("model_type", ["bert", "modernbert", "canine"])
def test_passes_a_good_encoder(model_type, task, tmp_path):
    base = save_base(tmp_path, model_type)
    seen = run(base=base, trust_remote_code=False, task=task, num_labels=3)
    assert seen["logits_shape"] == (2, 3, 3)
    assert seen["model_type"] == model_type
    assert seen["loss"] > 0


def test_removes_its_folder(base, tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    run(base=base)
    assert list((tmp_path / "temporary").iterdir()) == []


def test_names_the_step_that_fails(base, tmp_path, monkeypatch):
    tiny_config("gpt2").save_pretrained(tmp_path / "decoder")
    with pytest.raises(RuntimeError, match=r"failed at: load\. An encoder-only model"):
        run(base=str(tmp_path / "decoder"))
    with pytest.raises(RuntimeError, match="failed at: load"):
        run(base="no/such/folder")
    monkeypatch.setattr(
        AutoModelForMaskedSeqModeling,
        "save_pretrained",
        lambda *_, **__: (_ for _ in ()).throw(OSError("disk full")),
    )
    with pytest.raises(RuntimeError, match=r"failed at: save and reload\. disk full"):
        run(base=base)
