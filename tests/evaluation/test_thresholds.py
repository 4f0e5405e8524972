"""Thresholds: the search against brute force, and what is decided by them afterwards."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import sklearn.metrics as sk
import torch

from irti_custom import (
    AutoModelForMaskedSeqModeling,
    MaskedSeqModelingConfig,
    make_compute_metrics,
    tune_thresholds,
)
from irti_custom.evaluation.thresholds import OBJECTIVES
from irti_custom.rule import Rule
from tests.tiny import save_base, tiny_batch, tiny_config, tiny_model

TASKS = ("multilabel", "multiclass")


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def fbeta(beta):
    return lambda y, d: sk.fbeta_score(y, d, beta=beta, zero_division=0)


def balanced(y, d):
    return (np.mean(d[y == 1]) + np.mean(~d[y == 0])) / 2


def accuracy(y, d):
    return np.mean(d == (y == 1))


def column(seed, size=30, share=0.3):
    rng = np.random.default_rng(seed)
    y = (rng.random(size) < share).astype(int)
    y[:2] = 0, 1
    return rng.normal(y * rng.uniform(0, 3) - 1, 1.5), y


def cuts_of(scores):
    """All thresholds that differ in what they let through."""
    ordered = np.unique(scores)
    return [0.0, *(ordered[:-1] + np.diff(ordered) / 2), np.nextafter(ordered[-1], 2)]


@pytest.mark.parametrize(
    ("objective", "beta", "measure"),
    [
        ("f1", 1.0, fbeta(1)),
        ("f1", 0.5, fbeta(0.5)),
        ("f1", 2.0, fbeta(2)),
        ("accuracy", 1.0, accuracy),
        ("balanced_accuracy", 1.0, balanced),
    ],
)
@pytest.mark.parametrize("seed", range(2))
def test_each_label_is_as_good_as_the_best_of_all_cuts(objective, beta, measure, seed):
    columns = [column(10 * seed + label) for label in range(3)]
    x, y = (np.stack(arrays, axis=1) for arrays in zip(*columns))
    tuned = tune_thresholds(x, y, objective=objective, beta=beta, min_positives=1)
    for (a, b), threshold in zip(columns, tuned):
        p = sigmoid(a)
        best = max(measure(b, p >= cut) for cut in [0.5, *cuts_of(p)])
        assert measure(b, p >= threshold) == pytest.approx(best, abs=1e-12)


@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("seed", range(2))
def test_micro_f1_is_as_good_as_the_best_of_all_combinations(beta, seed):
    columns = [column(10 * seed + label, 9, share) for label, share in enumerate((0.2, 0.5, 0.8))]
    x, y = (np.stack(arrays, axis=1) for arrays in zip(*columns))
    p = sigmoid(x)
    choices = [[(s >= t).astype(int) for t in (0.5, *cuts_of(s))] for s in p.T]
    counts = [[(d @ label, d.sum()) for d in ds] for ds, label in zip(choices, y.T)]

    def score(*picked):
        hits, predicted = (sum(numbers) for numbers in zip(*picked))
        return (1 + beta**2) * hits / (predicted + beta**2 * y.sum())

    best = max(score(*picked) for picked in itertools.product(*counts))
    tuned = tune_thresholds(x, y, objective="micro_f1", beta=beta, min_positives=1)
    found = fbeta(beta)(y.ravel(), (p >= tuned).ravel())
    assert found == pytest.approx(best, abs=1e-12)


def random_classes(seed, size=40, classes=4):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes - seed % 2, size)  # with odd seeds, one class is never true
    return rng.normal(0, 1, (size, classes)) + rng.uniform(0, 2) * np.eye(classes)[y], y


def micro_of(y, d, beta):
    hits, answered = np.sum(y == d), np.sum(d >= 0)
    return (1 + beta**2) * hits / (answered + beta**2 * len(y))


def macro_of(y, d, beta):
    present = sorted({*y, *d[d >= 0]})
    return sk.fbeta_score(y, d, beta=beta, labels=present, average="macro", zero_division=0)


@pytest.mark.parametrize(("objective", "measure"), [("f1", macro_of), ("micro_f1", micro_of)])
@pytest.mark.parametrize("beta", [0.5, 1.0])
@pytest.mark.parametrize("seed", range(2))
def test_rejection_is_as_good_as_the_best_of_all_cuts(objective, measure, beta, seed):
    x, y = random_classes(seed)
    p = np.exp(x) / np.exp(x).sum(1, keepdims=True)
    top, ids = p.max(1), p.argmax(1)
    best = max(measure(y, np.where(top >= cut, ids, -100), beta) for cut in cuts_of(top))
    tuned = tune_thresholds(x, y, "multiclass", objective, beta, min_positives=1)
    assert measure(y, np.where(top >= tuned, ids, -100), beta) == pytest.approx(best, abs=1e-12)
    results = make_compute_metrics("multiclass", thresholds=tuned)((x[None], y[None]))
    if beta == 1 and tuned > 0:
        key = "macro_f1" if objective == "f1" else "micro_f1"
        assert results[key] == pytest.approx(best, abs=1e-12)


def awkward_sets():
    """Sets of scores made to be cut in the wrong place."""
    rng = np.random.default_rng(0)
    size = (200, 4)
    plain = rng.normal(0, 2, size)
    ulps = (1 + rng.integers(-3, 4, size) * np.float32(2**-23)) * rng.choice([1.0, -1.0], size)
    return {
        "plain": plain,
        "ties": plain.round(),
        "two values": np.sign(plain),
        "constant": np.zeros(size),
        "all at one score": np.full(size, 1.7),
        "last bits": ulps,
        "last bits around one half": ulps * 1e-7,
        "large": plain * 10,
        "saturated": plain * 100,
        "sure": 17 + plain / 10,
        "surely not": -95 + plain,
        "below float32": -120 + plain * 10,
    }


AWKWARD = awkward_sets()


@pytest.mark.parametrize("name", AWKWARD)
@pytest.mark.parametrize(
    ("task", "objective"), [(task, name) for task, names in OBJECTIVES.items() for name in names]
)
@pytest.mark.filterwarnings("error")
def test_never_worse_than_the_default_and_the_same_in_single_precision(task, objective, name):
    x = AWKWARD[name].astype(np.float32)
    measures = {"f1": "macro_f1", "micro_f1": "micro_f1"}
    for seed in range(2):
        rng = np.random.default_rng(seed)
        if task == "multilabel":
            y = (rng.random(x.shape) < sigmoid(x.astype(float) / 3).clip(0.1, 0.9)).astype(int)
            y[:, seed % 4] = seed % 2  # no positives, or only positives
            default = 0.5
        else:
            y = np.where(rng.random(len(x)) < 0.5, x.argmax(1), rng.integers(0, 4, len(x)))
            default = 1e-9  # rejects nothing, and has the metrics report `micro_f1`
        tuned = tune_thresholds(x, y, task, objective, default=default)
        before, after = (
            make_compute_metrics(task, thresholds=t)((x[None], y[None])) for t in (default, tuned)
        )
        if objective in measures:
            assert after[measures[objective]] >= before[measures[objective]]
        stored = json.loads(json.dumps(tuned))
        assert stored == tuned
        decided = Rule(task, thresholds=stored).decide(torch.tensor(x)).numpy()
        if task == "multilabel":
            p = sigmoid_of(x)
            if objective not in measures:
                measure = accuracy if objective == "accuracy" else recalls
                for b, s, t in zip(y.T, p.T, tuned):
                    assert measure(b, s >= t) >= measure(b, s >= 0.5)
            moved = np.array(tuned) != default
            np.testing.assert_array_equal(decided[:, moved], (p >= stored)[:, moved])
        else:
            answered = make_compute_metrics(task, thresholds=stored)((x[None], y[None]))
            assert np.mean(decided != -100) == pytest.approx(answered["coverage"])


def sigmoid_of(x):
    return np.exp(-np.logaddexp(0, -x.astype(float)))


def recalls(y, d):
    return sum(np.sum(d[y == value] == value) / max(1, np.sum(y == value)) for value in (0, 1))


def test_thresholds_lie_midway_between_the_scores_they_part():
    p = np.array([0.9, 0.8, 0.3, 0.2, 0.1])
    x = np.log(p / (1 - p))[:, None]
    one = {"min_positives": 1}
    assert tune_thresholds(x, [[1], [1], [1], [0], [0]], **one) == pytest.approx([0.25])
    assert tune_thresholds(x, [[1], [0], [0], [0], [0]], **one) == pytest.approx([0.85])
    assert tune_thresholds(x[2:], [[0], [0], [1]], **one) == pytest.approx([0.05])
    above = tune_thresholds(x[:3], [[0], [0], [1]], objective="accuracy", **one)
    assert above == pytest.approx([0.95])


def test_what_cannot_gain_keeps_the_default():
    x = np.array([[3.0, -3.0], [2.0, -2.0], [-1.0, -1.0]])
    kept = {"min_positives": 0}
    assert tune_thresholds(x, [[1, 0], [1, 0], [0, 0]], **kept) == [0.5, 0.5]
    assert tune_thresholds(x, [[1, 0], [1, 0], [0, 0]], default=0.4, **kept) == [0.4, 0.4]
    everything = tune_thresholds(x, np.ones((3, 2)), **kept)
    assert (sigmoid(x) >= everything).all()
    assert tune_thresholds(x, [0, 0, 0], "multiclass", **kept) == 0.0
    assert tune_thresholds(np.zeros((2, 0, 3)), np.zeros((2, 0, 3))) == [0.5] * 3
    assert tune_thresholds(np.zeros((2, 0, 3)), np.zeros((2, 0)), "multiclass") == 0.0


@pytest.mark.parametrize("objective", ["f1", "micro_f1", "accuracy", "balanced_accuracy"])
def test_a_label_with_few_positives_keeps_the_default(objective):
    x = np.array([[-1.0], [-1.1], [-1.2], [-3.0], [-4.0]])
    y = [[1], [1], [1], [0], [0]]
    assert tune_thresholds(x, y, objective=objective, min_positives=4) == [0.5]
    assert tune_thresholds(x, y, objective=objective, min_positives=3) != [0.5]
    x, y = np.array([[2.0, 0], [3, 0], [1, 0]]), [0, 0, 1]
    assert tune_thresholds(x, y, "multiclass", min_positives=3) == 0.0
    assert tune_thresholds(x, y, "multiclass", min_positives=2) > 0.5


def random_set(task, seed=0, shape=(12, 7, 3)):
    rng = np.random.default_rng(seed)
    logits = rng.normal(-1, 2, shape)
    if task == "multilabel":
        labels = (rng.random(shape) < 0.3).astype(int)
        labels[rng.random(shape[:2]) < 0.2, 0] = -100
        labels[..., 1:][rng.random(labels[..., 1:].shape) < 0.2] = -100
    else:
        labels = rng.integers(0, 3, shape[:2])
        labels[rng.random(shape[:2]) < 0.2] = -100
    return logits, labels


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("objective", ["f1", "micro_f1"])
def test_what_the_labels_ignore_changes_nothing(task, objective):
    logits, labels = random_set(task)
    kept = (labels[..., 0] if task == "multilabel" else labels) != -100
    expected = tune_thresholds(logits[kept], labels[kept], task, objective)
    noisy = logits.copy()
    noisy[~kept] = np.nan
    if task == "multilabel":
        noisy[labels == -100] = np.inf
    assert tune_thresholds(noisy, labels, task, objective) == expected
    order = np.random.default_rng(1).permutation(kept.sum())
    assert tune_thresholds(logits[kept][order], labels[kept][order], task, objective) == expected
    halves = [[array[:5], array[5:, :6], array[5:, 6:]] for array in (logits, labels)]
    assert tune_thresholds(*halves, task, objective) == expected
    assert tune_thresholds(torch.tensor(logits), torch.tensor(labels), task, objective) == expected
    assert tune_thresholds(logits.tolist(), labels.tolist(), task, objective) == expected


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"task": "tagging"}, "`task` must be one of"),
        ({"objective": "mcc"}, r"must be one of \('f1', .*, got 'mcc'"),
        ({"task": "multiclass", "objective": "accuracy"}, "No other measure gains"),
        ({"beta": 0.0}, "`beta` must be above 0"),
        ({"beta": 2.0, "objective": "accuracy"}, "1 where no F is tuned"),
        ({"min_positives": -1}, "at least 0, got -1"),
        ({"default": 1.5}, "probability in"),
        ({"logits": np.full((2, 3), np.nan)}, "finite where labels are kept, got nan"),
        ({"labels": np.full((2, 3), 2)}, "0 or 1, .* got 2"),
        ({"labels": np.zeros(2)}, r"must be \(N, M, L\)"),
        ({"labels": np.array([0, 3]), "task": "multiclass"}, r"in \[0, 2\], .* got 3"),
    ],
)
def test_what_cannot_be_tuned_is_refused(settings, message):
    given = {"logits": np.zeros((2, 3)), "labels": np.zeros((2, 3)), **settings}
    with pytest.raises(ValueError, match=message):
        tune_thresholds(**given)


NAMES = {0: "a", 1: "b", 2: "c"}


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        (None, None),
        (0.3, [0.3, 0.3, 0.3]),
        ([0.1, 0.2, 1], [0.1, 0.2, 1.0]),
        (np.array([0.1, 0.2, 0.3]), [0.1, 0.2, 0.3]),
        ({"c": 0.3, "a": 0.1, "b": 0.2}, [0.1, 0.2, 0.3]),
    ],
)
def test_the_config_stores_one_threshold_per_label(given, stored, tmp_path):
    config = MaskedSeqModelingConfig(
        id2label=NAMES, thresholds=given, base_model_config=tiny_config()
    )
    assert config.thresholds == stored
    config.save_pretrained(tmp_path)
    assert MaskedSeqModelingConfig.from_pretrained(tmp_path).thresholds == stored


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"thresholds": [0.5, 0.5]}, "one entry per label, got 2 for the 3"),
        ({"thresholds": {"a": 0.5}}, "must name each label"),
        ({"thresholds": 1.5}, "probabilities in"),
        ({"thresholds": float("nan")}, "probabilities in"),
        ({"thresholds": [0.5] * 3, "task": "multiclass"}, "must be one probability"),
    ],
)
def test_thresholds_that_do_not_fit_the_labels_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        MaskedSeqModelingConfig(id2label=NAMES, **given)


@pytest.mark.parametrize("task", TASKS)
def test_thresholds_do_not_pass_to_other_labels_unnoticed(task, tmp_path):
    saved = 0.4 if task == "multiclass" else [0.1, 0.2, 0.3]
    model = tiny_model(task=task, num_labels=None, id2label=NAMES, thresholds=saved)
    model.save_pretrained(tmp_path)
    load = AutoModelForMaskedSeqModeling.from_pretrained
    for same in ({}, {"num_labels": 3}, {"id2label": NAMES}, {"task": task}):
        assert load(tmp_path, **same).config.thresholds == saved
    mismatched = {"num_labels": 2, "ignore_mismatched_sizes": True}
    other = TASKS[task == "multilabel"]
    for given in (mismatched, {"id2label": {0: "b", 1: "a", 2: "c"}}, {"task": other}):
        with pytest.raises(ValueError, match="The saved `thresholds` are for task"):
            load(tmp_path, **given)
        assert load(tmp_path, **given, thresholds=0.0).config.thresholds in (0.0, [0, 0], [0, 0, 0])
    assert load(tmp_path, thresholds=0.7).config.thresholds in (0.7, [0.7] * 3)


def test_a_base_encoder_takes_thresholds(tmp_path):
    model = AutoModelForMaskedSeqModeling.from_pretrained(
        save_base(tmp_path), id2label=NAMES, thresholds={"a": 0.1, "b": 0.2, "c": 0.3}
    )
    assert model.config.thresholds == [0.1, 0.2, 0.3]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_predict_decides_by_the_thresholds_of_the_config(dtype):
    logits = torch.randn(5, 6, 4, generator=torch.Generator().manual_seed(0)).to(dtype)
    model = tiny_model()
    assert torch.equal(model.predict(logits), logits >= 0)
    model.config.thresholds = [0.1, 0.4, 0.6, 0.9]
    decided = model.predict(logits)
    assert decided.dtype == torch.bool
    expected = model.predict_proba(logits) >= torch.tensor(model.config.thresholds)
    assert torch.equal(decided, expected)
    assert model.predict(logits[:, :0]).shape == (5, 0, 4)
    with pytest.raises(ValueError, match="one entry per label, got 2"):
        model.config.thresholds = [0.1, 0.4]
    assert torch.equal(model.predict(logits), expected)

    model = tiny_model(task="multiclass")
    assert torch.equal(model.predict(logits), logits.argmax(-1))
    model.config.thresholds = 0.5
    sure = model.predict_proba(logits).amax(-1) >= 0.5
    assert sure.any()
    assert not sure.all()
    assert torch.equal(model.predict(logits), torch.where(sure, logits.argmax(-1), -100))
    assert model.predict(logits[:, :0]).shape == (5, 0)


def test_a_reloaded_model_decides_as_before(tmp_path):
    model = tiny_model(thresholds=[0.45, 0.5, 0.55, 0.51])
    batch = tiny_batch()
    with torch.no_grad():
        logits = model(**batch).logits
    model.save_pretrained(tmp_path)
    again = AutoModelForMaskedSeqModeling.from_pretrained(tmp_path)
    assert again.config.thresholds == [0.45, 0.5, 0.55, 0.51]
    assert torch.equal(again.predict(again(**batch).logits), model.predict(logits))


def test_metrics_of_what_is_rejected_agree_with_scikit_learn():
    x, y = random_classes(1, size=200)
    p = np.exp(x) / np.exp(x).sum(1, keepdims=True)
    d = np.where(p.max(1) >= 0.6, p.argmax(1), 4)  # rejected: a class that is never true
    results = make_compute_metrics("multiclass", thresholds=0.6, per_label=True)((x[None], y[None]))
    assert 0.2 < results["coverage"] < 0.9
    assert results["coverage"] == pytest.approx(np.mean(d != 4))
    assert results["accuracy"] == results["micro_recall"] == pytest.approx(np.mean(d == y))
    assert results["micro_precision"] == pytest.approx(np.mean(d[d != 4] == y[d != 4]))
    assert results["matthews_correlation"] == pytest.approx(sk.matthews_corrcoef(y, d))
    assert results["weighted_f1"] == pytest.approx(sk.f1_score(y, d, average="weighted"))
    labels = sorted({*y, *d} - {4})
    assert results["macro_f1"] == pytest.approx(
        sk.f1_score(y, d, labels=labels, average="macro", zero_division=0)
    )
    assert results["1_recall"] == pytest.approx(sk.recall_score(y, d, labels=[1], average="macro"))


@pytest.mark.parametrize("task", TASKS)
def test_metrics_take_the_thresholds_of_a_config_that_has_none(task):
    logits, labels = random_set(task)
    plain = make_compute_metrics(task)((logits, labels))
    config = MaskedSeqModelingConfig(task=task, num_labels=3)
    assert make_compute_metrics(task, thresholds=config.thresholds)((logits, labels)) == plain
