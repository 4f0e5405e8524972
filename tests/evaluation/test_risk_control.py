"""Promises: on the data against brute force, on new data in a thousand simulated data sets."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats

from irti_custom import fit_set_threshold, make_compute_metrics, predict_sets, tune_thresholds
from irti_custom.evaluation.risk_control import allowed_misses
from irti_custom.evaluation.thresholds import check_settings
from irti_custom.rule import Rule

SPLITS = 1000


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def column(seed, size=30, share=0.3):
    rng = np.random.default_rng(seed)
    y = (rng.random(size) < share).astype(int)
    y[:2] = 0, 1
    return rng.normal(y * rng.uniform(0, 3) - 1, 1.5), y


def stacked(seed, labels=3, size=30):
    columns = [column(10 * seed + i, size, 0.2 + 0.3 * (i % 3)) for i in range(labels)]
    return tuple(np.stack(arrays, axis=1) for arrays in zip(*columns))


def cuts_of(scores):
    ordered = np.unique(scores)
    return [0.0, *(ordered[:-1] + np.diff(ordered) / 2), np.nextafter(ordered[-1], 2), 0.5]


def measures(y, d):
    hits = np.sum(d & (y == 1))
    return {"recall": hits / max(1, np.sum(y == 1)), "precision": hits / max(1, d.sum())}


OTHER = {"recall": "precision", "precision": "recall"}


@pytest.mark.parametrize("objective", OTHER)
@pytest.mark.parametrize("at_least", [0.6, 1.0])
@pytest.mark.parametrize("seed", range(2))
def test_each_label_keeps_its_promise_with_the_best_of_all_cuts(objective, at_least, seed, caplog):
    x, y = stacked(seed)
    tuned = tune_thresholds(x, y, objective=objective, at_least=at_least, min_positives=1)
    for index, (a, b, threshold) in enumerate(zip(x.T, y.T, tuned)):
        p = sigmoid(a)
        found = measures(b, p >= threshold)
        every = [measures(b, p >= cut) for cut in cuts_of(p)]
        keeping = [each for each in every if each[objective] >= at_least]
        if keeping:
            assert found[objective] >= at_least
            best = max(each[OTHER[objective]] for each in keeping)
            assert found[OTHER[objective]] == pytest.approx(best, abs=1e-12)
        else:
            best = max(each[objective] for each in every)
            assert found[objective] == pytest.approx(best, abs=1e-12)
        assert (f"LABEL_{index} (" in caplog.text) != bool(keeping)


@pytest.mark.parametrize("objective", OTHER)
@pytest.mark.parametrize("at_least", [0.6, 0.95])
@pytest.mark.parametrize("seed", range(2))
def test_all_labels_together_keep_it_with_the_best_of_all_combinations(objective, at_least, seed):
    x, y = stacked(seed, size=8)
    p = sigmoid(x)
    choices = [[s >= t for t in cuts_of(s)] for s in p.T]
    every = [measures(y, np.stack(picked, axis=1)) for picked in itertools.product(*choices)]
    keeping = [each for each in every if each[objective] >= at_least]
    settings = {"at_least": at_least, "over": "all", "min_positives": 1}
    tuned = tune_thresholds(x, y, objective=objective, **settings)
    found = measures(y, p >= tuned)
    if keeping:
        assert found[objective] >= at_least
        best = max(each[OTHER[objective]] for each in keeping)
        assert found[OTHER[objective]] == pytest.approx(best, abs=1e-12)
    else:
        assert found[objective] == max(each[objective] for each in every)


def random_classes(seed, size=40, classes=4):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, size)
    return rng.normal(0, 1, (size, classes)) + rng.uniform(0, 3) * np.eye(classes)[y], y


@pytest.mark.parametrize("objective", OTHER)
@pytest.mark.parametrize("at_least", [0.6, 0.95])
@pytest.mark.parametrize("seed", range(2))
def test_a_rejection_keeps_it_with_the_best_of_all_cuts(objective, at_least, seed, caplog):
    x, y = random_classes(seed)
    p = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
    top, right = p.max(axis=1), p.argmax(axis=1) == y

    def kept(threshold):
        hits, answered = np.sum((top >= threshold) & right), np.sum(top >= threshold)
        precision = hits / max(1, answered)
        return {
            "recall": (hits / len(y), precision),
            "precision": (precision, answered / len(y)),
        }[objective]

    every = [kept(cut) for cut in cuts_of(top)]
    keeping = [other for value, other in every if value >= at_least]
    tuned = tune_thresholds(x, y, "multiclass", objective, at_least=at_least, min_positives=1)
    if keeping:
        assert kept(tuned)[0] >= at_least
        assert kept(tuned)[1] == max(keeping)
    else:
        assert kept(tuned)[0] == max(value for value, _ in every)
        assert "is not kept by: the top class" in caplog.text


def test_what_cannot_keep_its_promise_is_named_with_the_best_it_can(caplog):
    x = np.array([[2.0, 2.0, 1.0]] * 10 + [[-2.0, -2.0, -1.0]] * 10)
    y = np.array([[1, 1, 0]] * 6 + [[0, 1, 0]] * 4 + [[0, 0, 0]] * 10)
    y[0, 2] = 1
    names = {0: "place", 1: "person", 2: "rare"}
    settings = {"objective": "precision", "at_least": 0.9, "id2label": names}
    tuned = tune_thresholds(x, y, **settings)
    assert caplog.messages == [
        "Precision 0.9 is not kept by: place (0.6 at best), rare (1 positives only, so it keeps "
        "0.5)."
    ]
    assert tuned[2] == 0.5
    caplog.clear()
    tuned = tune_thresholds(x, y, confidence=0.9, **settings)
    assert tuned == [1.0, 1.0, 1.0]
    assert "person (10 positives do not show it, so none is predicted)" in caplog.text
    caplog.clear()
    tuned = tune_thresholds(x, y, objective="recall", at_least=0.9, confidence=0.9, id2label=names)
    assert tuned == [0.0, 0.0, 0.0]
    assert "person (10 positives are too few to show it, so all are predicted)" in caplog.text
    caplog.clear()
    both = {"objective": "recall", "at_least": 0.9, "over": "all", "confidence": 0.9}
    assert tune_thresholds(x, y, **both) == [0.0] * 3
    assert "all labels (1 at best, of 10 positions with labels)" in caplog.text


def test_in_a_group_only_its_answer_can_be_found(caplog):
    rng = np.random.default_rng(0)
    x, y = rng.normal(0, 1, (300, 3)), np.eye(3, dtype=int)[rng.integers(0, 3, 300)]
    rule = Rule("multilabel", ["a", "b", "c"], {"kind": ["a", "b", "c"]})
    from_group = tune_thresholds(x, y, rule, objective="recall", at_least=0.9)
    found = rule.with_(thresholds=from_group).decide(torch.tensor(x)).numpy()
    every = rule.decide(torch.tensor(x)).numpy()
    np.testing.assert_array_equal(found & (y == 1), every & (y == 1))  # all that can be found
    assert caplog.text.count("at best") == 3
    for confidence in ("marginal", 0.9):
        caplog.clear()
        settings = {"at_least": 0.9, "groups": [[0, 1, 2]], "confidence": confidence}
        assert tune_thresholds(x, y, objective="recall", **settings) == [0.0] * 3
        assert caplog.text.count("at best") == 3
        assert tune_thresholds(x, y, objective="recall", over="all", **settings) == [0.0] * 3
        assert "at best, of 300 positions" in caplog.text


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"objective": "recall"}, "must say which recall is promised, .* got None"),
        ({"objective": "recall", "at_least": 1.1}, "above 0 and at most 1"),
        ({"at_least": 0.9}, "go with objective='recall' or 'precision', got objective='f1'"),
        ({"confidence": 0.9}, "go with objective='recall'"),
        ({"objective": "recall", "at_least": 0.9, "confidence": 1.0}, "above 0 and below 1, or"),
        ({"objective": "recall", "at_least": 0.9, "confidence": "high"}, "got 'high'"),
        ({"objective": "recall", "at_least": 1, "confidence": 0.9}, "must be below 1 with a"),
        ({"objective": "precision", "at_least": 0.9, "confidence": "marginal"}, "got a precision"),
        (
            {"objective": "precision", "at_least": 0.9, "confidence": 0.9, "over": "all"},
            "is per label",
        ),
        ({"over": "labels"}, "must be 'label' or 'all', got 'labels'"),
        ({"objective": "recall", "at_least": 0.9, "beta": 2}, "1 where no F is tuned"),
    ],
)
def test_promises_that_make_no_sense_are_refused(settings, message):
    plain = {"objective": "f1", "beta": 1.0, "min_positives": 5, "default": None}
    with pytest.raises(ValueError, match=message):
        check_settings("multilabel", **{**plain, **settings})
    with pytest.raises(ValueError, match=message):
        tune_thresholds(np.zeros((2, 3)), np.zeros((2, 3)), **settings)


@pytest.mark.parametrize("count", [0, 5, 20, 59, 200])
@pytest.mark.parametrize("risk", [0.05, 0.1, 0.5])
def test_the_misses_that_are_allowed_are_those_of_the_definitions(count, risk):
    on_average = [m for m in range(count + 1) if (m + 1) / (count + 1) <= risk + 1e-12]
    assert allowed_misses(count, risk, "marginal") == max(on_average, default=-1)
    for confidence in (0.5, 0.9, 0.99):
        # Clopper and Pearson: the upper end of the interval for a share that was seen m times.
        ends = [stats.beta.ppf(confidence, m + 1, count - m) for m in range(count)]
        below = [m for m, end in enumerate(ends) if end <= risk]
        assert allowed_misses(count, risk, confidence) == max(below, default=-1)


def normal(seed, size=150, share=0.4):
    """Logits from N(1, 1) for positives, N(-1, 1) for negatives."""
    rng = np.random.default_rng(seed)
    y = rng.random((size, 1)) < share
    return rng.normal(np.where(y, 1, -1), 1), y.astype(int)


def many(seed):
    return normal(seed, 400)


def true_recall(threshold):
    with np.errstate(divide="ignore"):
        return stats.norm.sf(np.log(threshold) - np.log1p(-threshold) - 1)


def true_precision(threshold, share=0.4):
    with np.errstate(divide="ignore"):
        logit = np.log(threshold) - np.log1p(-threshold)
    hits, wrong = share * stats.norm.sf(logit - 1), (1 - share) * stats.norm.sf(logit + 1)
    return np.where(threshold < 1, hits / np.maximum(hits + wrong, 1e-300), 1.0)


@functools.cache
def simulate(draw: Callable, truth: Callable, **settings) -> np.ndarray:
    """The true measure of the thresholds of a thousand data sets."""
    found = np.array([tune_thresholds(*draw(seed), **settings) for seed in range(SPLITS)])
    return truth(found.reshape(SPLITS, -1)[:, 0])


def error_of(share):
    """Three standard errors of a share of a thousand."""
    return 3 * math.sqrt(share * (1 - share) / SPLITS)


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_a_recall_is_kept_as_often_as_promised(confidence):
    settings = {"objective": "recall", "at_least": 0.8, "confidence": confidence}
    kept = np.mean(simulate(normal, true_recall, **settings) >= 0.8)
    assert kept >= confidence - error_of(confidence)
    # Not by being far too careful: without a correction it is kept about half of the time.
    plain = simulate(normal, true_recall, objective="recall", at_least=0.8)
    assert 0.3 < np.mean(plain >= 0.8) < 0.7
    assert simulate(normal, true_recall, **settings).mean() < 0.92


def test_a_recall_is_kept_on_average():
    settings = {"objective": "recall", "at_least": 0.8, "confidence": "marginal"}
    recalls = simulate(normal, true_recall, **settings)
    assert recalls.mean() >= 0.8 - 3 * recalls.std() / math.sqrt(SPLITS)
    assert recalls.mean() < 0.84


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_a_precision_is_kept_as_often_as_promised(confidence):
    settings = {"objective": "precision", "at_least": 0.8, "confidence": confidence}
    found = simulate(many, true_precision, **settings)
    assert np.mean(found >= 0.8) >= confidence - error_of(confidence)
    assert np.median(found) < 0.95


def several(seed, size=150):
    """Three labels that depend on each other: a position is easy or hard for all of them."""
    rng = np.random.default_rng(seed)
    y = rng.random((size, 3)) < [0.5, 0.3, 0.2]
    ease = rng.normal(0, 1, (size, 1))
    return np.where(y, 1, -1) + ease + rng.normal(0, 0.5, y.shape), y.astype(int)


def found_share(x, y, thresholds):
    """Mean over the positions with labels of the share of them that is found, per threshold."""
    has = y.any(axis=1)
    scores, true = sigmoid(x[has]), y[has] == 1
    weights = (true / true.sum(axis=1, keepdims=True))[true] / has.sum()
    order = np.argsort(scores[true])
    lost = np.append(0, np.cumsum(weights[order]))
    return 1 - lost[np.searchsorted(scores[true][order], thresholds)]


@pytest.mark.parametrize("confidence", ["marginal", 0.9])
def test_the_share_of_its_labels_that_a_position_is_found_is_kept(confidence):
    new = several(10**6, 200_000)
    settings = {"objective": "recall", "at_least": 0.8, "over": "all", "confidence": confidence}
    shares = simulate(several, lambda found: found_share(*new, found), **settings)
    if confidence == "marginal":
        assert 0.8 - 3 * shares.std() / math.sqrt(SPLITS) <= shares.mean() < 0.84
    else:
        assert np.mean(shares >= 0.8) >= 0.9 - error_of(0.9)
        assert shares.mean() < 0.93


def test_a_rejection_keeps_a_precision_as_often_as_promised():
    def draw(seed, size=200):
        rng = np.random.default_rng(seed)
        sure = rng.uniform(0, 4, size)  # log-odds of the top one of two classes, which are true
        y = (rng.random(size) >= sigmoid(sure)).astype(int)
        return np.stack([sure, 0 * sure], axis=1), y

    def truth(threshold):
        threshold = threshold.clip(0.5, 1 - 1e-9)
        low = (np.log(threshold) - np.log1p(-threshold)).clip(max=4 - 1e-6)
        return (np.logaddexp(0, 4) - np.logaddexp(0, low)) / (4 - low)

    settings = {"task": "multiclass", "objective": "precision", "at_least": 0.9}
    found = simulate(draw, truth, confidence=0.9, **settings)
    assert np.mean(found >= 0.9) >= 0.9 - error_of(0.9)
    plain = simulate(draw, truth, **settings)
    assert np.mean(plain >= 0.9) < 0.7


def classes(seed, size=100):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 5, size)
    return rng.normal(0, 1, (size, 5)) + 1.5 * np.eye(5)[y], y


@pytest.mark.parametrize("confidence", ["marginal", 0.9])
def test_sets_hold_the_right_class_as_often_as_promised(confidence):
    x, y = classes(10**6, 200_000)
    p = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
    true = np.sort(p[np.arange(len(y)), y])
    thresholds = [fit_set_threshold(*classes(seed), 0.85, confidence) for seed in range(SPLITS)]
    covered = 1 - np.searchsorted(true, thresholds) / len(y)
    if confidence == "marginal":
        assert 0.85 - 3 * covered.std() / math.sqrt(SPLITS) <= covered.mean() < 0.87
    else:
        assert np.mean(covered >= 0.85) >= 0.9 - error_of(0.9)
    sets = predict_sets(x, thresholds[0])
    assert sets[np.arange(len(y)), y].mean() == pytest.approx(covered[0])
    assert 1 < sets.sum(axis=1).mean() < 5


def test_sets_are_those_of_mapie_and_crepes():
    pytest.importorskip("mapie", minversion="1.6", reason="compares with MAPIE")
    crepes = pytest.importorskip("crepes", reason="compares with crepes")
    from mapie.classification import SplitConformalClassifier
    from sklearn.linear_model import LogisticRegression

    (x, y), (new, _) = classes(0), classes(1, 500)
    model = LogisticRegression().fit(x, y)
    (x, y) = classes(2)
    logits, new_logits = (np.log(model.predict_proba(each)) for each in (x, new))
    threshold = fit_set_threshold(logits, y, coverage=0.85)
    ours = predict_sets(new_logits, threshold)
    theirs = SplitConformalClassifier(model, confidence_level=0.85, conformity_score="lac")
    sets = theirs.conformalize(x, y).predict_set(new)[1][:, :, 0]
    np.testing.assert_array_equal(ours, sets)
    wrapped = crepes.WrapClassifier(model)
    wrapped.calibrate(x, y)
    sets = wrapped.predict_set(new, labels=False, confidence=0.85, smoothing=False)
    np.testing.assert_array_equal(ours, sets == 1)


def test_conformal_risk_control_is_that_of_mapie():
    pytest.importorskip("mapie", minversion="1.6", reason="compares with MAPIE")
    from mapie.risk_control import MultiLabelClassificationController

    x, y = several(0)
    has = y.any(axis=1)  # the unit is a position that has labels
    p, true = sigmoid(x[has]), y[has]
    grid = np.unique(p[true == 1])[:-1]
    theirs = MultiLabelClassificationController(
        predict_function=lambda rows: rows,
        risk="recall",
        method="crc",
        target_level=0.8,
        predict_params=grid,
    )
    theirs.calibrate(p, true)
    highest = float(np.ravel(theirs.best_predict_param)[0])
    settings = {"objective": "recall", "at_least": 0.8, "over": "all", "confidence": "marginal"}
    ours = tune_thresholds(x, y, **settings)[0]
    # Theirs passes above a threshold, ours from it on: the next score of a true label.
    index = int(np.searchsorted(grid, highest, "right"))
    missed = 1 - found_share(x, y, grid[index : index + 2])
    risks = (has.sum() * missed + 1) / (has.sum() + 1)
    assert risks[0] <= 0.2 < risks[1]
    assert ours <= grid[index]
    precision = [
        make_compute_metrics("multilabel", thresholds=t)((x[None], y[None]))["micro_precision"]
        for t in (ours, grid[index])
    ]
    assert precision[0] >= precision[1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"coverage": 1.0}, "`coverage` must be above 0 and below 1"),
        ({"confidence": "high"}, "`confidence` must be 'marginal', or above 0"),
        ({"labels": np.array([0, 3])}, r"in \[0, 2\], .* got 3"),
        ({"labels": np.zeros((2, 3))}, "Labels must be"),
        ({"logits": np.full((2, 3), np.nan)}, "finite"),
        ({"temperature": 0}, "`temperature` must be in"),
    ],
)
def test_sets_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        fit_set_threshold(**{"logits": np.zeros((2, 3)), "labels": np.array([0, 1]), **settings})


def test_too_few_positions_for_a_promise_put_all_classes_into_a_set():
    x, y = classes(0, 8)
    assert fit_set_threshold(x, y, coverage=0.9) == 0.0
    assert predict_sets(x, 0.0).all()
    with pytest.raises(ValueError, match="probability in"):
        predict_sets(x, 2.0)
    shaped = predict_sets(x.reshape(2, 4, 5), 0.2, temperature=2.0)
    assert shaped.shape == (2, 4, 5)
    np.testing.assert_array_equal(shaped.reshape(-1, 5), predict_sets(x / 2, 0.2))
