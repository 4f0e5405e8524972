"""The judge is scikit-learn on the kept elements, or a plain Python loop."""

from __future__ import annotations

import ast
import inspect
import math
import pickle
import sys
import warnings

import numpy as np
import pytest
import torch
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve
from transformers import EvalPrediction, Trainer, TrainingArguments

from irti_custom.evaluation.hf_evaluate import load_metric
from irti_custom.evaluation.metrics import make_compute_metrics

TASKS = ("multilabel", "multiclass")
RANKING = {"macro_average_precision", "macro_roc_auc"}


def random_set(task, seed=0, shape=(9, 6, 5), logits_dtype=np.float64):
    """Logits and labels, a third of the positions ignored and filled as the Trainer fills them."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.normal(size=shape).astype(logits_dtype)
    labels = (
        rng.random(shape) < 0.3 if task == "multilabel" else rng.integers(shape[-1], size=shape[:2])
    )
    labels = labels.astype(np.int64)
    ignored = rng.random(shape[:2]) < 0.33
    logits[ignored] = labels[ignored] = -100
    return logits, labels


def ragged_batches(task, seed=0):
    return [random_set(task, seed + m, (3, m, 5)) for m in (4, 0, 1, 7)]


def padded(batches):
    """One set out of batches that differ in M, padded with -100 as the Trainer does."""
    width = max(logits.shape[1] for logits, _ in batches)

    def pad(array):
        room = [(0, 0), (0, width - array.shape[1]), (0, 0)][: array.ndim]
        return np.pad(array, room, constant_values=-100)

    return tuple(np.concatenate([pad(array) for array in arrays]) for arrays in zip(*batches))


def softplus(x):
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def calibration_error(scores, hits):
    """Weigh the bins of scikit-learn's reliability diagram."""
    if not len(scores):
        return 0.0
    share, mean = calibration_curve(hits, scores, n_bins=15)
    bins = np.searchsorted(np.linspace(0, 1, 16)[1:-1], scores)
    return np.abs(share - mean) @ np.unique(bins, return_counts=True)[1] / len(scores)


def loose_macro(y, p):
    """Ling and Weld 2012, by sets: a mean over those with a prediction, and those with a label."""
    pairs = [(set(np.flatnonzero(a)), set(np.flatnonzero(b))) for a, b in zip(y, p)]
    precision = np.mean([len(true & found) / len(found) for true, found in pairs if found] or [0])
    recall = np.mean([len(true & found) / len(true) for true, found in pairs if true] or [0])
    both = precision + recall
    return {
        "loose_macro_precision": precision,
        "loose_macro_recall": recall,
        "loose_macro_f1": 2 * precision * recall / both if both else 0.0,
    }


def multilabel_by_hand(x, y):
    p = (1 / (1 + np.exp(-x)) >= 0.5).astype(int)
    expected = {
        f"{average}_{name}": score(y, p, average=average, zero_division=0)
        for average in ("micro", "macro", "samples")
        for name, score in (
            ("precision", sk.precision_score),
            ("recall", sk.recall_score),
            ("f1", sk.f1_score),
        )
    }
    chances = 1 / (1 + np.exp(-x))
    expected.update(loose_macro(y, p))
    expected["ece"] = calibration_error(chances.ravel(), y.ravel())
    expected["brier"] = np.mean((chances - y) ** 2)
    both = [j for j in range(y.shape[1]) if 0 < y[:, j].mean() < 1]
    expected["exact_match"] = sk.accuracy_score(y, p)
    expected["macro_average_precision"] = sk.average_precision_score(y[:, both], x[:, both])
    expected["macro_roc_auc"] = sk.roc_auc_score(y[:, both], x[:, both])
    losses = [softplus(-a) if b else softplus(a) for a, b in zip(x.ravel(), y.ravel())]
    return {**expected, "loss": sum(losses) / len(losses), "num_positions": len(y)}


def multiclass_by_hand(x, y):
    p = x.argmax(axis=1)
    probabilities = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
    return {
        "accuracy": sk.accuracy_score(y, p),
        "macro_f1": sk.f1_score(y, p, average="macro", zero_division=0),
        "weighted_f1": sk.f1_score(y, p, average="weighted", zero_division=0),
        "macro_precision": sk.precision_score(y, p, average="macro", zero_division=0),
        "macro_recall": sk.recall_score(y, p, average="macro", zero_division=0),
        "matthews_correlation": sk.matthews_corrcoef(y, p),
        "ece": calibration_error(probabilities.max(axis=1), p == y),
        "brier": ((probabilities - np.eye(x.shape[1])[y]) ** 2).sum(axis=1).mean(),
        "loss": sk.log_loss(y, probabilities, labels=range(x.shape[1])),
        "num_positions": len(y),
    }


def by_hand(task, logits, labels):
    kept = (labels[..., 0] if task == "multilabel" else labels) != -100
    reference = multilabel_by_hand if task == "multilabel" else multiclass_by_hand
    return reference(logits[kept], labels[kept])


def assert_same(results, expected):
    assert results == pytest.approx(expected, abs=1e-9, rel=0)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("seed", range(5))
def test_measures_agree_with_scikit_learn(task, seed):
    logits, labels = random_set(task, seed)
    assert_same(make_compute_metrics(task)((logits, labels)), by_hand(task, logits, labels))


def test_tied_scores_and_labels_without_both_classes_agree_with_scikit_learn():
    logits, labels = random_set("multilabel", shape=(20, 5, 4))
    logits = logits.round()
    kept = labels[..., 0] != -100
    labels[..., 1][kept], labels[..., 2][kept] = 0, 1
    results = make_compute_metrics("multilabel")((logits, labels))
    assert_same(results, by_hand("multilabel", logits, labels))


def test_classes_that_never_occur_stay_out_of_the_macro_mean():
    labels = np.array([[0, 1, 1, 0, -100]])
    logits = np.eye(9)[[[0, 1, 2, 0, 8]]]
    results = make_compute_metrics("multiclass")((logits, labels))
    assert_same(results, by_hand("multiclass", logits, labels))
    assert results["macro_recall"] == pytest.approx((1 + 0.5 + 0) / 3)


def test_more_elements_than_one_chunk_agree_with_scikit_learn(monkeypatch):
    monkeypatch.setattr("irti_custom.evaluation.stat_scores._CHUNK", 12)
    for task in TASKS:
        logits, labels = random_set(task)
        assert_same(make_compute_metrics(task)((logits, labels)), by_hand(task, logits, labels))


def test_an_ignored_element_counts_nowhere():
    logits, labels = random_set("multilabel")
    labels[..., 1:][np.random.default_rng(1).random(labels[..., 1:].shape) < 0.4] = -100
    results = make_compute_metrics("multilabel", per_label=True)((logits, labels))

    kept = [
        [(a > 0, b, a) for a, b in zip(x, y) if b != -100]
        for x, y in zip(logits.reshape(-1, 5), labels.reshape(-1, 5))
        if y[0] != -100
    ]
    elements = [element for row in kept for element in row]
    hits = sum(p and y == 1 for p, y, _ in elements)
    expected = {
        "num_positions": len(kept),
        "exact_match": np.mean([all(p == y for p, y, _ in row) for row in kept]),
        "micro_precision": hits / sum(p for p, _, _ in elements),
        "micro_recall": hits / sum(y for _, y, _ in elements),
        "loss": np.mean([softplus(-a) if y else softplus(a) for _, y, a in elements]),
    }
    scores = []
    for j in range(5):
        use = (labels[..., 0] != -100) & (labels[..., j] != -100)
        x, y = logits[..., j][use], labels[..., j][use]
        expected[f"{j}_f1"] = sk.f1_score(y, x > 0)
        expected[f"{j}_support"] = y.sum()
        scores.append((sk.average_precision_score(y, x), sk.roc_auc_score(y, x)))
    average_precision, roc_auc = np.mean(scores, axis=0)
    expected.update(macro_average_precision=average_precision, macro_roc_auc=roc_auc)
    assert_same({key: results[key] for key in expected}, expected)


def test_positions_without_a_label_or_a_prediction_count_as_in_each_definition():
    logits, labels = random_set("multilabel", shape=(20, 5, 4))
    kept = labels[..., 0] != -100
    labels[:5][kept[:5]] = 0
    logits[3:8][kept[3:8]] = -1
    results = make_compute_metrics("multilabel")((logits, labels))
    assert_same(results, by_hand("multilabel", logits, labels))
    assert results["loose_macro_recall"] > results["samples_recall"]
    assert results["loose_macro_precision"] > results["samples_precision"]


@pytest.mark.parametrize("task", TASKS)
def test_a_temperature_divides_the_logits_of_all_measures(task):
    logits, labels = random_set(task)
    plain = make_compute_metrics(task)((logits, labels))
    for temperature in (2.5, 0.4):
        results = make_compute_metrics(task, temperature=temperature)((logits, labels))
        assert_same(results, by_hand(task, logits / temperature, labels))
        changed = {name for name in plain if results[name] != pytest.approx(plain[name])}
        assert changed == {"loss", "ece", "brier"}
    if task == "multilabel":
        each = [0.5, 1, 2, 3, 4]
        results = make_compute_metrics(task, temperature=each)((logits, labels))
        assert_same(results, by_hand(task, logits / np.array(each), labels))
        with pytest.raises(ValueError, match="`temperature` must have one entry per label, got 2"):
            make_compute_metrics(task, temperature=[1, 2])((logits, labels))


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("filler", [0.0, 1e9, np.nan, np.inf, -np.inf])
def test_logits_at_ignored_positions_change_nothing(task, filler):
    logits, labels = random_set(task)
    expected = make_compute_metrics(task)((logits, labels))
    logits[(labels[..., 0] if task == "multilabel" else labels) == -100] = filler
    assert make_compute_metrics(task)((logits, labels)) == expected


@pytest.mark.parametrize("task", TASKS)
def test_tensors_and_every_way_to_pass_them_give_the_same_numbers(task):
    logits, labels = random_set(task, logits_dtype=np.float32)
    tensors = torch.tensor(logits, requires_grad=True), torch.tensor(labels)
    expected = make_compute_metrics(task)((logits, labels))
    hidden = np.zeros((9, 8, 3))
    for eval_pred in (
        tensors,
        EvalPrediction(logits, labels),
        EvalPrediction((logits, hidden), labels),
        EvalPrediction(logits, labels, inputs=hidden),
        (logits, labels.astype(np.float32)),
        (logits.tolist(), labels.tolist()),
    ):
        assert make_compute_metrics(task)(eval_pred) == expected


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_logits_are_read_exactly(task, dtype):
    logits, labels = random_set(task)
    half = torch.tensor(logits).to(dtype)
    results = make_compute_metrics(task)((half, torch.tensor(labels)))
    assert_same(results, by_hand(task, half.double().numpy(), labels))


@pytest.mark.parametrize("task", TASKS)
def test_batches_give_what_the_whole_set_gives(task):
    batches = ragged_batches(task)
    whole = make_compute_metrics(task, per_label=True)(padded(batches))
    listed = EvalPrediction([x for x, _ in batches], [y for _, y in batches])
    assert_same(make_compute_metrics(task, per_label=True)(listed), whole)

    compute_metrics = make_compute_metrics(task, per_label=True)
    for _ in range(2):  # the second evaluation starts anew
        for logits, labels in batches[:-1]:
            batch = EvalPrediction(torch.tensor(logits), torch.tensor(labels))
            assert compute_metrics(batch, compute_result=False) == {}
        results = compute_metrics(EvalPrediction(*batches[-1]), compute_result=True)
        assert_same(results, {key: x for key, x in whole.items() if key not in RANKING})


def test_memory_of_batches_is_flat():
    compute_metrics = make_compute_metrics("multilabel")
    sizes = []
    for seed in range(40):
        compute_metrics(random_set("multilabel", seed, (8, 50, 5)), compute_result=False)
        sizes.append(len(pickle.dumps(compute_metrics)))
    assert max(sizes) < min(sizes) + 64  # wider integers; the scores are 16,000 bytes a batch


def test_a_failed_or_reset_evaluation_leaves_nothing_behind():
    compute_metrics = make_compute_metrics("multilabel")
    logits, labels = random_set("multilabel")
    expected = compute_metrics((logits, labels), compute_result=True)
    compute_metrics((logits, labels), compute_result=False)
    compute_metrics.reset()
    assert compute_metrics((logits, labels), compute_result=True) == expected
    compute_metrics((logits, labels), compute_result=False)
    with pytest.raises(ValueError, match="0 or 1"):
        compute_metrics((logits, np.where(labels == 1, 7, labels)), compute_result=False)
    assert compute_metrics((logits, labels), compute_result=True) == expected


def test_batches_of_different_numbers_of_labels_are_refused():
    compute_metrics = make_compute_metrics("multilabel")
    compute_metrics(random_set("multilabel", shape=(2, 3, 1)), compute_result=False)
    with pytest.raises(ValueError, match="same number of labels, got L = 1 and 4"):
        compute_metrics(random_set("multilabel", shape=(2, 3, 4)), compute_result=True)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("shape", [(0, 3, 4), (2, 0, 4), (0, 0, 4), (2, 3, 4)])
@pytest.mark.parametrize("batched", [None, True])
def test_an_evaluation_set_without_positions_gives_zeros(task, shape, batched):
    labels = np.full(shape if task == "multilabel" else shape[:2], -100)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compute_metrics = make_compute_metrics(task, per_label=True)
        results = compute_metrics((np.full(shape, np.nan), labels), compute_result=batched)
    assert "num_positions" in results
    assert "3_support" in results
    assert set(results.values()) == {0.0}


@pytest.mark.parametrize("task", TASKS)
def test_results_are_plain_floats_and_come_without_a_warning(task):
    labels = np.zeros((1, 2, 3) if task == "multilabel" else (1, 2), dtype=int)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        results = make_compute_metrics(task)((np.full((1, 2, 3), -1.0), labels))
    assert {type(value) for value in results.values()} == {float}
    assert all(map(math.isfinite, results.values()))


@pytest.mark.parametrize("scale", [1e4, -1e4, 3e38])
def test_the_loss_of_extreme_logits_is_exact(scale):
    logits = np.array([[[scale, 0.0]]], dtype=np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        binary = make_compute_metrics("multilabel")((logits, np.array([[[1, 0]]])))
        classes = make_compute_metrics("multiclass")((logits, np.array([[0]])))
    assert binary["loss"] == pytest.approx((max(-float(logits[0, 0, 0]), 0) + math.log(2)) / 2)
    assert classes["loss"] == pytest.approx(max(-float(logits[0, 0, 0]), 0))


def test_a_label_is_predicted_from_its_threshold_on():
    logits = np.array([[[0.0, 0.0, math.log(3), -5.0]]])  # probabilities 1/2, 1/2, 3/4, .007
    labels = np.ones((1, 1, 4), dtype=int)
    id2label = {0: "a", 1: "b", 2: "c", 3: "d"}

    def recalls(thresholds):
        results = make_compute_metrics("multilabel", id2label, thresholds, True)((logits, labels))
        return [results[f"{name}_recall"] for name in "abcd"]

    assert recalls(0.5) == [1, 1, 1, 0]
    assert recalls(0.6) == [0, 0, 1, 0]
    assert recalls([0.5, 0.51, 0.9, 0.0]) == [1, 0, 0, 1]
    assert recalls({"d": 0.0, "c": 0.9, "b": 0.51, "a": 0.5}) == [1, 0, 0, 1]
    assert recalls(np.array([0.5, 0.51, 0.9, 0.0])) == [1, 0, 0, 1]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("id2label", [None, {"4": "e", "2": "c", "0": "a", "3": "d", "1": "b"}])
def test_each_label_agrees_with_scikit_learn(task, id2label):
    logits, labels = random_set(task)
    results = make_compute_metrics(task, id2label, per_label=True)((logits, labels))
    kept = (labels[..., 0] if task == "multilabel" else labels) != -100
    x, y = logits[kept], labels[kept]
    predicted = x > 0 if task == "multilabel" else x.argmax(axis=1)
    table = sk.precision_recall_fscore_support(y, predicted, labels=range(5), zero_division=0)
    for row, key in zip(table, ("precision", "recall", "f1", "support")):
        names = "abcde" if id2label else "01234"
        assert [results[f"{name}_{key}"] for name in names] == pytest.approx(row, abs=1e-9)


@pytest.mark.parametrize("task", TASKS)
def test_a_label_whose_measures_would_replace_an_average_is_refused(task):
    tails = ("_precision", "_recall", "_f1", "_support")
    results = make_compute_metrics(task)(random_set(task))
    stems = {key[: -len(tail)] for key in results for tail in tails if key.endswith(tail)}
    assert len(stems) >= 2
    for name in [*stems, *(f"eval_{stem}" for stem in stems)]:
        with pytest.raises(ValueError, match=f"share a key with an average; got \\['{name}'\\]"):
            make_compute_metrics(task, {0: "fine", 1: name}, per_label=True)
        make_compute_metrics(task, {0: "fine", 1: name})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"task": "tagging"}, "must be one of .* got 'tagging'"),
        ({"id2label": {0: "a", 2: "b"}}, r"0..L-1 without gaps, got \[0, 2\]"),
        ({"id2label": {0: "a", 1: "a"}}, "names must differ"),
        ({"id2label": {}}, r"0..L-1 without gaps, got \[\]"),
        ({"id2label": {0: "a", 1: "b"}, "thresholds": [0.5]}, "got 1 for the 2 labels"),
        ({"id2label": {0: "a", 1: "b"}, "thresholds": {"a": 0.5}}, "must name each label"),
        ({"thresholds": {"a": 0.5}}, "must name each label"),
        ({"thresholds": 1.01}, "probabilities in"),
        ({"thresholds": [0.5, -0.1]}, "probabilities in"),
        ({"thresholds": math.nan}, "probabilities in"),
        ({"thresholds": []}, "probabilities in"),
        ({"thresholds": [[0.5]]}, "flat sequence"),
        ({"task": "multiclass", "thresholds": [0.5, 0.5]}, "is for task='multilabel'"),
        ({"task": "multiclass", "thresholds": {"a": 0.5}}, "must be one probability"),
    ],
)
def test_settings_that_make_no_sense_are_refused_at_once(settings, message):
    with pytest.raises(ValueError, match=message):
        make_compute_metrics(**{"task": "multilabel", **settings})


@pytest.mark.parametrize(
    ("task", "logits", "labels", "message"),
    [
        ("multilabel", np.zeros((2, 3)), np.zeros((2, 3)), r"must be \(N, M, L\) .* got \(2, 3\)"),
        ("multilabel", np.zeros((2, 3, 0)), np.zeros((2, 3, 0)), "L > 0"),
        ("multilabel", np.zeros((2, 3, 4)), np.zeros((2, 3)), "One class: 'multiclass'"),
        ("multiclass", np.zeros((2, 3, 4)), np.zeros((2, 3, 4)), "Several labels: 'multilabel'"),
        ("multiclass", np.zeros((2, 3, 4)), np.zeros((2, 2)), r"= \(2, 3\) .* got \(2, 2\)"),
        ("multilabel", np.zeros((1, 1, 2)), np.array([[[0, 0.5]]]), "0 or 1, .* got 0.5"),
        ("multilabel", np.zeros((1, 1, 2)), np.array([[[0, np.nan]]]), "0 or 1, .* got nan"),
        ("multiclass", np.zeros((1, 2, 2)), np.array([[1, 2]]), r"in \[0, 1\], .* got 2"),
        ("multiclass", np.zeros((1, 2, 2)), np.array([[1, -1]]), r"in \[0, 1\], .* got -1"),
        ("multiclass", np.zeros((1, 2, 2)), np.array([[1, 0.5]]), r"in \[0, 1\], .* got 0.5"),
        ("multilabel", np.array([[[0, np.nan]]]), np.array([[[0, 1]]]), "finite .* got nan"),
        ("multiclass", np.array([[[0, np.inf]]]), np.array([[1]]), "finite .* got inf"),
        ("multiclass", [np.zeros((1, 1, 2))], [], "one array per batch"),
    ],
)
def test_what_cannot_be_scored_is_refused(task, logits, labels, message):
    with pytest.raises(ValueError, match=message):
        make_compute_metrics(task)((logits, labels))


def test_settings_for_another_number_of_labels_are_refused():
    data = random_set("multilabel")
    for settings in ({"id2label": {0: "a", 1: "b"}}, {"thresholds": [0.5, 0.5]}):
        with pytest.raises(ValueError, match=r"one entry per label, got 2 for logits \(9, 6, 5\)"):
            make_compute_metrics("multilabel", **settings)(data)


def test_something_else_than_predictions_and_labels_is_refused():
    with pytest.raises(TypeError, match=r"EvalPrediction or a tuple .* got ndarray"):
        make_compute_metrics("multilabel")(np.zeros((2, 3, 4)))


class Echo(torch.nn.Module):
    """Returns the logits it was given, and a loss that is wrong on purpose."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))

    def forward(self, scores, labels):
        return {"loss": self.weight * 123, "logits": scores * self.weight}


def make_trainer(task, folder, compute_metrics, **options):
    """A stock trainer around `Echo`, and the rows that it evaluates."""
    rows = [(x[i], y[i]) for x, y in ragged_batches(task) for i in range(len(x))]

    def collate(rows):
        scores, labels = padded([(x[None], y[None]) for x, y in rows])
        return {"scores": torch.tensor(scores), "labels": torch.tensor(labels)}

    trainer = Trainer(
        model=Echo(),
        args=TrainingArguments(
            folder,
            per_device_eval_batch_size=2,
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
            remove_unused_columns=False,
            **options,
        ),
        eval_dataset=rows,
        data_collator=collate,
        compute_metrics=compute_metrics,
    )
    return trainer, rows


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    "options", [{}, {"batch_eval_metrics": True}, {"eval_do_concat_batches": False}]
)
def test_the_stock_trainer_reports_the_exact_measures(task, options, tmp_path):
    trainer, rows = make_trainer(task, tmp_path, make_compute_metrics(task), **options)
    expected = by_hand(task, *padded([(x[None], y[None]) for x, y in rows]))
    if "batch_eval_metrics" in options:
        expected = {key: value for key, value in expected.items() if key not in RANKING}
    for _ in range(2):
        results = trainer.evaluate()
        ours = {key[len("eval_") :]: results[key] for key in results}
        assert_same({key: ours[key] for key in expected}, expected)
    assert RANKING.isdisjoint(ours) == (task == "multiclass" or "batch_eval_metrics" in options)


@pytest.mark.parametrize("task", TASKS)
def test_an_interrupted_evaluation_by_batches_counts_in_no_other_one(task, tmp_path):
    compute_metrics = make_compute_metrics(task)
    trainer, _ = make_trainer(task, tmp_path, compute_metrics, batch_eval_metrics=True)
    expected, forward = trainer.evaluate(), trainer.model.forward
    measures = [key for key in expected if not key.endswith(("_runtime", "_per_second", "_time"))]

    def fail_after(count):
        calls = iter(range(count))

        def failing(scores, labels):
            if next(calls, None) is None:
                raise KeyboardInterrupt
            return forward(scores, labels)

        return failing

    for count in (1, 2):
        trainer.model.forward = fail_after(count)
        with pytest.raises(KeyboardInterrupt):
            trainer.evaluate()
        trainer.model.forward = forward
        results = trainer.evaluate()
        assert_same({key: results[key] for key in measures}, {k: expected[k] for k in measures})
    batch = next(iter(trainer.get_eval_dataloader()))
    pair = (batch["scores"], batch["labels"])
    alone = make_compute_metrics(task)(pair, compute_result=True)
    for _ in range(2):  # a loop of one's own that breaks off counts in no evaluation, either
        assert compute_metrics(pair, compute_result=True) == alone
        compute_metrics(pair, compute_result=False)
        assert trainer.evaluate()["eval_num_positions"] == expected["eval_num_positions"]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("in_memory", [True, False])
def test_the_evaluate_metric_gives_the_same_measures(task, in_memory, tmp_path):
    batches = ragged_batches(task)
    metric = load_metric(task, 5, per_label=True, keep_in_memory=in_memory, cache_dir=str(tmp_path))
    expected = make_compute_metrics(task, per_label=True)(padded(batches))
    for logits, labels in batches:
        metric.add_batch(predictions=torch.tensor(logits), references=labels)
    assert len(metric) == expected["num_positions"]
    assert_same(metric.compute(), expected)
    logits, labels = padded(batches)
    assert_same(metric.compute(predictions=logits, references=labels), expected)


@pytest.mark.parametrize("task", TASKS)
def test_the_evaluate_metric_takes_single_positions_and_empty_batches(task):
    logits, labels = random_set(task)
    metric = load_metric(task, 5, keep_in_memory=True)
    for scores, target in zip(logits.reshape(-1, 5), labels.reshape(54, *labels.shape[2:])):
        metric.add(prediction=scores, reference=target)
    assert_same(metric.compute(), by_hand(task, logits, labels))
    metric.add_batch(predictions=logits[:, :0], references=labels[:, :0])
    assert set(metric.compute().values()) == {0.0}


def test_the_evaluate_metric_refuses_another_number_of_labels():
    logits, labels = random_set("multiclass")
    metric = load_metric("multiclass", 4, keep_in_memory=True)
    with pytest.raises(ValueError, match=r"L = 4, got \(9, 6, 5\)"):
        metric.add_batch(predictions=logits, references=labels)


def test_importing_the_metrics_imports_nothing_heavy():
    module = ast.parse(inspect.getsource(sys.modules[make_compute_metrics.__module__]))
    names = {node.module for node in module.body if isinstance(node, ast.ImportFrom)}
    names |= {a.name for node in module.body if isinstance(node, ast.Import) for a in node.names}
    assert "numpy" in names
    assert {"datasets", "evaluate", "sklearn", "torch"}.isdisjoint(x.split(".")[0] for x in names)


def test_an_evaluation_in_which_nothing_passes_says_so(caplog):
    logits, labels = np.full((1, 2, 3), -2.0), np.ones((1, 2, 3), int)
    compute_metrics = make_compute_metrics("multilabel")
    compute_metrics((logits, labels))
    assert "No score passes its threshold (0.5)" in caplog.text
    assert "set_label_prior" in caplog.text
    caplog.clear()
    compute_metrics((logits, labels))  # the next epoch
    assert not caplog.text
    make_compute_metrics("multilabel", thresholds=0.1)((logits, labels))
    make_compute_metrics("multilabel")((logits, np.full((1, 2, 3), -100)))
    assert not caplog.text
    make_compute_metrics("multiclass", thresholds=0.9)((logits, labels[..., 0]))
    assert "No score passes" in caplog.text


@pytest.mark.parametrize("wrong", [[[[None, 1]]], [[["1", "0"]]]])
def test_what_is_no_number_is_refused(wrong):
    compute_metrics = make_compute_metrics("multilabel")
    for pair in ((np.zeros((1, 1, 2)), wrong), (wrong, np.zeros((1, 1, 2)))):
        with pytest.raises(ValueError, match="must be numbers, got"):
            compute_metrics(pair)
