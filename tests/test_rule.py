"""A model that computes no numbers gives no answer, on whichever way it is asked for one."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch

from irti_custom import (
    MaskedSeqClassificationPipeline,
    MaskedSeqProcessor,
    predict_sets,
    write_report,
)
from irti_custom.inference.batching import BatchingQueue
from irti_custom.inference.table_scorer import TableScorer
from irti_custom.rule import Rule
from tests.tiny import tiny_batch, tiny_model, word_tokenizer

TASKS = ("multilabel", "multiclass")
NAMES = {"person": 0, "place": 1, "thing": 2, "time": 3}
ASKED = {"text": "Ann likes Rome", "spans": [(0, 3), (10, 14)]}


@pytest.fixture(params=TASKS)
def broken(request):
    """A pipeline whose model computes NaN."""
    model = tiny_model(task=request.param, label2id=NAMES)
    model.head[0].weight.data[0, 0] = torch.nan
    processor = MaskedSeqProcessor(
        word_tokenizer(), max_length=24, label2id=NAMES, task=request.param
    )
    return MaskedSeqClassificationPipeline(model, processor, device="cpu")


@pytest.mark.parametrize("thresholds", [None, 0.3])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("groups", [None, {"kind": ["a", "c"]}])
@pytest.mark.parametrize("task", TASKS)
def test_one_logit_that_is_no_number_is_an_error_that_counts_it(task, groups, value, thresholds):
    logits = torch.zeros(2, 5, 3, dtype=torch.float16)
    logits[1, 2:4, 0] = value
    message = rf"computed {value} at \[1, 2, 0\] of \(2, 5, 3\), in 2 of 10 positions"
    groups = groups if task == "multilabel" else None
    for temperature in (None, 2.0):
        with pytest.raises(FloatingPointError, match=message):
            Rule(task, ["a", "b", "c"], groups, temperature, thresholds).decide(logits)


def test_predictions_of_a_broken_model_are_errors(broken):
    model = broken.model
    logits = model(**tiny_batch()).logits
    for call in (model.predict, model.predict_proba):
        with pytest.raises(FloatingPointError, match="diverged, is its file damaged, or did float"):
            call(logits)
    with pytest.raises(FloatingPointError):
        predict_sets(logits[0].detach().numpy(), 0.5)


@pytest.mark.parametrize("options", [{}, {"top_k": 1}, {"return_all_scores": True}])
def test_a_broken_model_answers_nobody(broken, options):
    with pytest.raises(FloatingPointError, match="in 2 of 2 positions"):
        broken(ASKED, **options)
    with BatchingQueue(broken) as queue:
        future = queue.submit(ASKED, **options)
        assert isinstance(future.exception(60), FloatingPointError)
        assert queue.submit({"text": "Ann", "spans": []}, **options).result(60) == []  # no position


def test_a_table_and_a_report_of_a_broken_model_are_errors(broken, tmp_path):
    broken.save_pretrained(tmp_path / "model")
    scorer = TableScorer(tmp_path / "model", device="cpu")
    with pytest.raises(FloatingPointError):
        scorer(pa.table({"text": [ASKED["text"]], "spans": [[[0, 3]]]}))
    records = [{"id": 0, "text": "Ann", "spans": [{"start": 0, "end": 3, "labels": ["person"]}]}]
    with pytest.raises(FloatingPointError):
        write_report(broken, records, tmp_path / "report.html")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_numbers_of_any_size_are_answered():
    logits = torch.tensor([[-1e30, 0.0, 1e30]])
    assert Rule("multilabel").decide(logits).tolist() == [[False, True, True]]
    assert Rule("multiclass", thresholds=0.9).decide(logits).tolist() == [2]
    assert predict_sets(np.array([[-1e30, 0.0]]), 0.5).tolist() == [[False, True]]
