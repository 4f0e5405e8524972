"""One rule decides, whoever takes it; a model that computes no numbers gives no answer."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa
import pytest
import torch

from irti_custom import (
    MaskedSeqClassificationPipeline,
    MaskedSeqModelingConfig,
    MaskedSeqProcessor,
    fit_set_threshold,
    fit_temperature,
    make_compute_metrics,
    predict_sets,
    tune_thresholds,
    write_report,
)
from irti_custom.evaluation.calibration import brier, expected_calibration_error
from irti_custom.evaluation.hf_evaluate import load_metric
from irti_custom.rule import Rule, group_logits
from irti_custom.scoring.table_scorer import TableScorer
from irti_custom.serving.batching import BatchingQueue
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


GROUPED = Rule(
    "multilabel", list("abcd"), {"kind": ["b", "d"]}, temperature=1.7, thresholds=[0.5, 0.4, 0.6, 0]
)
REJECTING = Rule("multiclass", list("abcd"), temperature=0.6, thresholds=0.5)


def positions(rule, seed=0, size=300):
    generator = torch.Generator().manual_seed(seed)
    logits = group_logits(2 * torch.randn(size, 4, generator=generator), rule.group_ids)
    labels = (logits + 2 * torch.randn(size, 4, generator=generator)).argmax(-1)
    if rule.task == "multilabel":
        labels = torch.nn.functional.one_hot(labels, 4)
    labels[::7] = -100
    return logits, labels


def of_three(logits, labels):
    """Leave out the fourth label."""
    return logits[..., :3], labels[..., :3] if labels.ndim == logits.ndim else labels


def test_a_rule_is_one_value_that_checks_its_changes():
    thresholds = {"d": 0, "c": 0.6, "b": 0.4, "a": 0.5}
    same = Rule("multilabel", tuple("abcd"), (("kind", ("b", "d")),), 1.7, thresholds)
    assert same == GROUPED
    assert len({same, GROUPED, GROUPED.with_(thresholds=None)}) == 2
    assert (GROUPED.num_labels, GROUPED.group_ids) == (4, [[1, 3]])
    assert GROUPED.with_(thresholds=None).limits == [0.5, 0.0, 0.5, 0.0]
    assert GROUPED.with_(groups=None, thresholds=None).limits == 0.5
    with pytest.raises(dataclasses.FrozenInstanceError):
        same.task = "multiclass"
    for changes, message in (
        ({"task": "multiclass"}, "`groups` are for task='multilabel'"),
        ({"label_names": list("abc")}, "`groups` must hold labels"),
        ({"label_names": list("abcde")}, "`thresholds` must have one entry per label"),
        ({"temperature": 2.0}, "are for temperature 1.7, got 2.0"),
        ({"temperature": [1, 2, 3, 4], "thresholds": None}, "must share a `temperature`"),
        ({"thresholds": 2}, "must be probabilities"),
    ):
        with pytest.raises(ValueError, match=message):
            GROUPED.with_(**changes)
    with pytest.raises(TypeError):
        GROUPED.with_(threshold=0.5)


@pytest.mark.parametrize("rule", [GROUPED, REJECTING], ids=TASKS)
def test_metrics_take_a_rule_or_a_config_in_place_of_their_keywords(rule):
    names, config = dict(enumerate("abcd")), MaskedSeqModelingConfig()
    config.rule = rule
    logits, labels = (values.numpy()[None] for values in positions(rule))
    settings = {"groups": rule.group_ids, "temperature": rule.temperature}
    expected = make_compute_metrics(rule.task, names, rule.thresholds, True, **settings)
    for one in (rule, config):
        assert make_compute_metrics(one, per_label=True)((logits, labels)) == expected(
            (logits, labels)
        )
        same = {"id2label": names, "thresholds": rule.thresholds, **settings}
        make_compute_metrics(one, **same)  # says the same
        metric = load_metric(one, keep_in_memory=True)
        metric.add_batch(predictions=logits, references=labels)
        assert metric.compute() == pytest.approx(make_compute_metrics(one)((logits, labels)))
        for other in (
            {"id2label": dict(enumerate("abdc"))},
            {"thresholds": 0.9},
            {"temperature": 3.0},
            {"groups": [[0, 1]]},
        ):
            with pytest.raises(ValueError, match=f"`{next(iter(other))}` contradicts the rule"):
                make_compute_metrics(one, **other)
    with pytest.raises(ValueError, match=r"`id2label` must have one entry per label, got 4 for"):
        make_compute_metrics(rule)(of_three(logits, labels))


@pytest.mark.parametrize("rule", [GROUPED, REJECTING], ids=TASKS)
def test_what_is_fitted_for_a_rule_is_what_its_settings_give_one_by_one(rule):
    pair = positions(rule)
    settings = {"id2label": dict(enumerate("abcd")), "groups": rule.group_ids}
    found = tune_thresholds(*pair, rule, min_positives=1)
    assert found == tune_thresholds(
        *pair, rule.task, min_positives=1, temperature=rule.temperature, **settings
    )
    assert found != tune_thresholds(*pair, rule.with_(temperature=None, thresholds=None))
    config = MaskedSeqModelingConfig()
    config.rule = rule
    assert tune_thresholds(*pair, config, min_positives=1) == found
    assert fit_temperature(*pair, config) == fit_temperature(*pair, rule.task, **settings)
    with pytest.raises(ValueError, match="`temperature` contradicts"):
        tune_thresholds(*pair, rule, temperature=3.0)
    with pytest.raises(TypeError):
        tune_thresholds(*pair, rule, objectives="f1")
    for call in (tune_thresholds, fit_temperature):
        with pytest.raises(ValueError, match="`id2label` must have one entry per label, got 4"):
            call(*of_three(*pair), rule)


def test_calibration_and_sets_take_a_rule():
    for rule in (GROUPED, REJECTING):
        logits, labels = positions(rule)
        results = make_compute_metrics(rule)((logits[None], labels[None]))
        assert expected_calibration_error(logits, labels, rule=rule) == pytest.approx(
            results["ece"]
        )
        assert brier(logits, labels, rule=rule) == pytest.approx(results["brier"])
    threshold = fit_set_threshold(logits, labels, rule=REJECTING)
    assert threshold == fit_set_threshold(logits, labels, temperature=0.6)
    np.testing.assert_array_equal(
        predict_sets(logits, threshold, rule=REJECTING), predict_sets(logits, threshold, 0.6)
    )
    with pytest.raises(ValueError, match="are for task='multiclass', got task='multilabel'"):
        predict_sets(logits, threshold, rule=GROUPED)


def test_numbers_of_any_size_are_answered():
    logits = torch.tensor([[-1e30, 0.0, 1e30]])
    assert Rule("multilabel").decide(logits).tolist() == [[False, True, True]]
    assert Rule("multiclass", thresholds=0.9).decide(logits).tolist() == [2]
    assert predict_sets(np.array([[-1e30, 0.0]]), 0.5).tolist() == [[False, True]]
