"""Folders that version 0.2.0 wrote still load, with this package and without it."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
import torch
from transformers import AutoModel

from irti_custom import (
    AutoModelForMaskedSeqModeling,
    MaskedSeqClassificationPipeline,
    MaskedSeqProcessor,
)
from tests.bare import run_bare

ARCHIVE = Path(__file__).parent / "data" / "checkpoint_0_2_0.tar.gz"
IDS, POSITIONS = torch.arange(5, 13)[None], torch.tensor([[0, 3, 5]])
BATCH = {"input_ids": IDS, "attention_mask": torch.ones_like(IDS), "mask_indices": POSITIONS}


@pytest.fixture
def old(tmp_path) -> Path:
    """A checkpoint with code, thresholds and a processor with markers, as 0.2.0 saved it."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path)
    return tmp_path / "checkpoint_0_2_0"


@torch.no_grad()
def test_a_checkpoint_with_code_loads_with_the_package(old):
    expected = torch.load(old / "expected.pt")
    for load in (AutoModelForMaskedSeqModeling.from_pretrained, AutoModel.from_pretrained):
        model = load(old)
        assert type(model) is AutoModelForMaskedSeqModeling
        torch.testing.assert_close(model(**BATCH).logits, expected, rtol=0, atol=1e-6)
        assert model.config.thresholds == [0.5, 0.4, 0.6]


def test_a_checkpoint_with_code_loads_where_only_torch_and_transformers_are(old, tmp_path):
    script = """
ids = torch.arange(5, 13)[None]
model = AutoModel.from_pretrained(folder, trust_remote_code=True)
with torch.no_grad():
    logits = model(ids, torch.ones_like(ids), torch.tensor([[0, 3, 5]])).logits
torch.testing.assert_close(logits, torch.load(folder + "/expected.pt"), rtol=0, atol=1e-6)
print(type(model).__module__.startswith("transformers_modules"))
"""
    assert run_bare(script, str(old), tmp_path).strip() == "True"


def test_a_save_over_it_leaves_none_of_its_files(old):
    AutoModelForMaskedSeqModeling.from_pretrained(old).save_pretrained(old)
    assert not list(old.glob("*.py"))


def test_its_processor_loads_and_writes_todays_form(old, tmp_path):
    processor = MaskedSeqProcessor.from_pretrained(old)
    assert (processor.read, processor.max_length) == ("marker", 32)
    processor.save_pretrained(tmp_path / "again")
    again = MaskedSeqProcessor.from_pretrained(tmp_path / "again")
    asked = ["Ann likes Rome"], [[(0, 3), (10, 14)]]
    assert again.encode_spans(*asked) == processor.encode_spans(*asked)


def test_its_pipeline_answers(old):
    model = AutoModelForMaskedSeqModeling.from_pretrained(old)
    model.resize_token_embeddings(len(MaskedSeqProcessor.from_pretrained(old).tokenizer))
    pipe = MaskedSeqClassificationPipeline(model, MaskedSeqProcessor.from_pretrained(old))
    answers = pipe({"text": "Ann likes Rome", "spans": [(0, 3), (10, 14)]})
    assert [answer["word"] for answer in answers] == ["Ann", "Rome"]
