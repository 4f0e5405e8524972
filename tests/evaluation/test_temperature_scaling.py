"""Temperatures: the fit against a grid, and what changes, and what does not, once one is set."""

from __future__ import annotations

import itertools
import json
import logging
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from irti_custom import (
    AutoModelForMaskedSeqModeling,
    MaskedSeqModelingConfig,
    fit_temperature,
    make_compute_metrics,
    tune_thresholds,
)
from irti_custom.evaluation.callbacks import ThresholdTuningCallback
from irti_custom.evaluation.stat_scores import resolve_rule
from irti_custom.hub.card import write_model_card
from irti_custom.inference.answers import AnswerWriter
from irti_custom.rule import TEMPERATURES, Rule, group_logits
from tests.test_trainer import make_trainer
from tests.tiny import save_base, tiny_batch, tiny_config, tiny_model

TASKS = ("multilabel", "multiclass")
NAMES = {0: "a", 1: "b", 2: "c", 3: "d"}
GROUPS = {"kind": ["b", "d"]}
IDS = [[1, 3]]


def rule_of(task="multilabel", groups=(), temperature=None, num_labels=4):
    return resolve_rule(task, groups=groups, temperature=temperature, num_labels=num_labels)


def drawn(task, temperature=1.0, size=3000, groups=(), seed=0):
    """Logits, and labels drawn from their probabilities at a temperature."""
    rng = np.random.default_rng(seed)
    scores = torch.tensor(rng.normal(-1, 2, (size, 4)))
    logits = group_logits(scores / torch.tensor(temperature), groups)
    chances = Rule(task).probabilities(logits).numpy()
    if task == "multiclass":
        labels = (rng.random((size, 1)) > chances.cumsum(axis=1)).sum(axis=1).clip(max=3)
    else:
        labels = (rng.random(chances.shape) < chances).astype(int)
        for ids in groups:
            ends = chances[:, ids].cumsum(axis=1)
            draw = rng.random((size, 1))
            labels[:, ids] = (draw < ends) & (draw >= ends - chances[:, ids])
    return group_logits(scores, groups).numpy(), labels


def likelihood(task, logits, labels, temperature, groups=()):
    """The mean negative log-likelihood that the metrics report; of a group, its softmax."""
    tempered = rule_of(task, groups, temperature).temper(torch.tensor(logits)).numpy()
    if not groups:
        return make_compute_metrics(task)((tempered[None], labels[None]))["loss"]
    chances = 1 / (1 + np.exp(-tempered))
    grouped = sorted(index for ids in groups for index in ids)
    alone = [index for index in range(4) if index not in grouped]
    total = -np.log(np.where(labels == 1, chances, 1 - chances))[:, alone].sum()
    for ids in groups:
        none = 1 - chances[:, ids].sum(axis=1)
        held = (chances[:, ids] * labels[:, ids]).sum(axis=1)
        total -= np.log(np.where(labels[:, ids].any(axis=1), held, none)).sum()
    return total


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("true", [0.3, 1.0, 4.0])
def test_the_fit_is_the_best_of_a_grid_and_finds_the_temperature_of_the_data(task, true):
    logits, labels = drawn(task, true)
    found = fit_temperature(logits, labels, task)
    assert found == pytest.approx(true, rel=0.1)
    best = likelihood(task, logits, labels, found)
    for other in found * np.array([0.5, 0.9, 0.999, 1.001, 1.1, 2]):
        assert best < likelihood(task, logits, labels, float(other))


def test_each_label_gets_its_own_and_the_labels_of_a_group_one():
    true = [0.5, 2.0, 3.0, 2.0]
    logits, labels = drawn("multilabel", true, size=20000, groups=IDS)
    found = fit_temperature(logits, labels, per_label=True, groups=IDS)
    assert found == pytest.approx(true, rel=0.1)
    assert found[1] == found[3]
    one = fit_temperature(logits, labels, groups=IDS)
    best = likelihood("multilabel", logits, labels, one, IDS)
    for other in (one * 0.999, one * 1.001):
        assert best < likelihood("multilabel", logits, labels, other, IDS)


def test_what_is_ignored_changes_nothing():
    logits, labels = drawn("multilabel", 2.0, size=600, groups=IDS)
    ignored = np.random.default_rng(1).random(len(labels)) < 0.3
    marked = np.where(ignored[:, None], -100, labels)
    wild = np.where(ignored[:, None], np.nan, logits)
    expected = fit_temperature(logits[~ignored], labels[~ignored], groups=IDS)
    assert fit_temperature(wild, marked, groups=IDS) == pytest.approx(expected, rel=1e-9)
    shaped = (logits.reshape(60, 10, 4), torch.tensor(labels.reshape(60, 10, 4)))
    whole = fit_temperature(logits, labels, groups=IDS)
    assert fit_temperature(*shaped, groups=IDS) == pytest.approx(whole, rel=1e-9)
    halves = [[array[:200], array[200:]] for array in (logits, labels)]
    assert fit_temperature(*halves, groups=IDS) == pytest.approx(whole, rel=1e-9)
    # One label of the group is not known: where the other one holds, the position still counts.
    unknown = labels.copy()
    unknown[labels[:, 1] == 1, 3] = -100
    assert fit_temperature(logits, unknown, groups=IDS) == pytest.approx(whole, rel=1e-9)


X = np.array([[3.0], [2.0], [-1.0], [-2.0]])


@pytest.mark.parametrize(
    ("logits", "labels", "reason"),
    [
        (X, [[1], [1], [0], [0]], "nothing is wrong"),
        (X, [[0], [0], [1], [1]], "the wrong thing"),
        (0 * X, [[0], [0], [1], [1]], "nothing is wrong"),
        (1e-6 * X, [[1], [0], [0], [0]], "too close to each other"),
        (X, np.full((4, 1), -100), "nothing to fit"),
        (np.zeros((0, 1)), np.zeros((0, 1)), "nothing to fit"),
    ],
)
def test_data_that_no_temperature_suits_best_keep_1_and_say_so(logits, labels, reason, caplog):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fit_temperature(logits, labels) == 1.0
    assert reason in caplog.text


def test_a_label_that_cannot_be_fitted_takes_the_common_temperature_and_is_named(caplog):
    logits, labels = drawn("multilabel", 2.0)
    labels[:, 1] = 0  # no positives
    labels[:, 2] = logits[:, 2] > 0  # nothing wrong
    found = fit_temperature(logits, labels, per_label=True, id2label=NAMES)
    common = fit_temperature(logits, labels)
    assert found[1] == found[2] == common
    assert found[0] == pytest.approx(2, rel=0.15)
    assert "'b' (too few positives or negatives)" in caplog.text
    assert "'c' (nothing is wrong" in caplog.text
    assert "'a'" not in caplog.text


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"task": "tagging"}, "`task` must be one of"),
        ({"task": "multiclass", "labels": np.zeros(4, int), "per_label": True}, "share a softmax"),
        ({"labels": np.full((4, 2), 2)}, "0 or 1, .* got 2"),
        ({"logits": np.full((4, 2), np.inf)}, "finite where labels are kept"),
        ({"labels": np.ones((4, 2)), "groups": [[0, 1]]}, "At most one label of a group"),
        (
            {
                "labels": np.array([[1, -100]] * 4),
                "logits": np.array([[1, np.nan]] * 4),
                "groups": [[0, 1]],
            },
            "finite where labels are kept, got nan",
        ),
        ({"min_positives": -1}, "at least 0"),
        ({"labels": np.zeros(4)}, r"must be \(N, M, L\)"),
    ],
)
def test_what_cannot_be_fitted_is_refused(settings, message):
    given = {"logits": np.zeros((4, 2)), "labels": np.zeros((4, 2)), **settings}
    with pytest.raises(ValueError, match=message):
        fit_temperature(**given)


@pytest.mark.parametrize("temperature", [0.2, 0.7, 1.0, 3.0, 30.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_group_at_a_temperature_is_the_softmax_of_its_divided_scores(temperature, dtype):
    scores = 3 * torch.randn(2000, 5, generator=torch.Generator().manual_seed(0), dtype=dtype)
    groups = [[0, 3, 1], [4, 2]]
    logits = group_logits(scores, groups)
    exact = group_logits(scores.double() / temperature, groups).sigmoid()
    found = rule_of("multilabel", groups, temperature, 5).probabilities(logits)
    assert found.dtype == dtype
    tolerance = 1e-4 if dtype == torch.float32 else 1e-9
    torch.testing.assert_close(found.double(), exact, atol=tolerance, rtol=0)
    assert (found[:, groups[0]].sum(-1) <= 1 + 1e-6).all()


@pytest.mark.parametrize("scale", [1, 30, 1e4, 1e30])
def test_no_logit_is_too_large_for_a_temperature(scale):
    scores = scale * torch.tensor([[1.0, 2.0, -3.0], [-2.0, -1.0, 1.0], [0.0, 0.0, 0.0]])
    for task, groups in (("multilabel", []), ("multilabel", [[0, 1, 2]]), ("multiclass", [])):
        logits = group_logits(scores, groups)
        for temperature in (*TEMPERATURES, 1.5):
            rules = [rule_of(task, groups, t, 3) for t in (None, temperature)]
            found = rules[1].probabilities(logits)
            assert found.isfinite().all()
            plain, moved = (rule.decide(logits) for rule in rules)
            assert torch.equal(plain, moved)


def random_logits(seed=0, size=500):
    return 4 * torch.randn(size, 4, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("temperature", [0.3, 0.9, 1.7, 10.0, [0.5, 1.0, 2.0, 4.0]])
@pytest.mark.parametrize("before", [None, 1.4, [2.0, 0.5, 1.0, 3.0]])
def test_setting_a_temperature_moves_thresholds_so_that_no_decision_changes(temperature, before):
    logits = random_logits()
    for thresholds in (None, 0.5, [0.0, 0.02, 0.9, 1.0], [0.5, 0.3, 0.7, 0.6]):
        config = MaskedSeqModelingConfig(id2label=NAMES, thresholds=thresholds, temperature=before)
        expected = config.rule.decide(logits)
        config.set_temperature(temperature)
        assert config.temperature == temperature
        found = config.rule.decide(logits)
        if thresholds is not None and 1.0 in config.thresholds:  # only a rounded sigmoid reaches it
            expected, found = expected[:, :3], found[:, :3]
        assert torch.equal(found, expected)
        config.set_temperature(before)
        if thresholds is not None:
            assert config.thresholds == pytest.approx(np.broadcast_to(thresholds, 4).tolist())


@pytest.mark.parametrize("seed", range(3))
def test_tuned_thresholds_decide_alike_on_their_data_at_every_temperature(seed):
    logits, labels = drawn("multilabel", 2.0, size=300, seed=seed)
    single = torch.tensor(logits, dtype=torch.float32)
    config = MaskedSeqModelingConfig(id2label=NAMES, base_model_config=tiny_config())
    config.thresholds = tune_thresholds(single, labels)
    expected = config.rule.decide(single)
    for temperature in (0.5, 0.8, 1.3, 5.0):
        config.set_temperature(temperature)
        assert torch.equal(config.rule.decide(single), expected)


@pytest.mark.parametrize("task", TASKS)
def test_thresholds_that_reject_from_a_softmax_cannot_follow(task):
    groups = GROUPS if task == "multilabel" else None
    few, many = (0.2, 0.6) if task == "multiclass" else ([0.5, 0.2, 0.5, 0.3], [0.5, 0.6, 0.5, 0])
    config = MaskedSeqModelingConfig(
        task=task, id2label=NAMES, groups=groups, thresholds=many, base_model_config=tiny_config()
    )
    with pytest.raises(ValueError, match="Fit the temperature first, then tune the thresholds"):
        config.set_temperature(2.0)
    assert (config.thresholds, config.temperature) == (many, None)
    config.thresholds = few  # below 1 / 3 for two labels and "none", below 1 / 4 for four classes
    logits = group_logits(random_logits(), config.group_ids)
    expected = config.rule.decide(logits)
    config.set_temperature(2.0)
    assert torch.equal(config.rule.decide(logits), expected)


def test_a_threshold_that_would_round_to_another_decision_cannot_follow():
    config = MaskedSeqModelingConfig(num_labels=2, thresholds=[0.5, 0.99])
    with pytest.raises(ValueError, match=r"cannot be moved to temperature 0.1, got \[0.99\]: what"):
        config.set_temperature(0.1)
    assert config.temperature is None


def test_a_plain_assignment_moves_nothing_and_raises_where_thresholds_would_be_left_behind():
    config = MaskedSeqModelingConfig(id2label=NAMES, thresholds=0.5)
    with pytest.raises(
        ValueError, match=r"are for temperature 1\.0, got 2\.0\. Call config\.set_temp"
    ):
        config.temperature = 2.0
    config.temperature = 1.0  # as it is
    config.thresholds = None
    config.temperature = {"d": 4, "c": 3, "b": 2, "a": 1}
    assert config.temperature == [1.0, 2.0, 3.0, 4.0]
    config.thresholds = 0.4
    with pytest.raises(ValueError, match="are for temperature"):
        config.temperature = None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"temperature": 0}, r"must be in \[0.001, 1000\], got 0"),
        ({"temperature": float("nan")}, "must be in"),
        ({"temperature": "2"}, "one number, or 4, .* got '2'"),
        ({"temperature": True}, "one number, or 4, .* got True"),
        ({"temperature": [1, 2]}, "one number, or 4, one per label, for task='multilabel', got"),
        ({"temperature": []}, "one number, or 4"),
        ({"temperature": {"a": 1}}, "`temperature` by name must name each label"),
        ({"temperature": [1, 2, 3, 4], "task": "multiclass"}, "one number for task='multiclass'"),
        ({"temperature": [1, 2, 3, 4], "groups": GROUPS}, r"share a .* got \[2.0, 4.0\] for \['b'"),
    ],
)
def test_a_temperature_that_does_not_fit_is_refused_whenever_it_is_set(given, message):
    with pytest.raises(ValueError, match=message):
        MaskedSeqModelingConfig(id2label=NAMES, **given)
    value = given.pop("temperature")
    config = MaskedSeqModelingConfig(id2label=NAMES, **given)
    for assign in (config.set_temperature, lambda value: setattr(config, "temperature", value)):
        with pytest.raises(ValueError, match=message):
            assign(value)
        assert config.temperature is None


def test_groups_are_checked_against_the_temperature_they_meet():
    config = MaskedSeqModelingConfig(id2label=NAMES, temperature=[1, 2, 3, 4])
    with pytest.raises(ValueError, match="must share a `temperature`"):
        config.groups = GROUPS
    assert config.groups is None


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("task", "temperature"), [("multilabel", [0.5, 2.0, 1.0, 2.0]), ("multiclass", 1.7)]
)
def test_a_temperature_is_saved_and_used_everywhere_and_leaves_logits_and_loss_alone(
    task, temperature, tmp_path
):
    groups = GROUPS if task == "multilabel" else None
    model = tiny_model(task=task, num_labels=None, id2label=NAMES, groups=groups).eval()
    batch = tiny_batch()
    shape = (*batch["mask_indices"].shape, 4)
    labels = torch.zeros(shape if task == "multilabel" else shape[:2], dtype=torch.long)
    batch["labels"] = labels
    with torch.no_grad():
        before = model(**batch)
        model.config.set_temperature(temperature)
        after = model(**batch)
    assert torch.equal(before.logits, after.logits)
    assert before.loss == after.loss
    logits = after.logits
    expected = rule_of(task, model.config.group_ids, temperature).probabilities(logits)
    assert not torch.allclose(expected, Rule(task).probabilities(logits))
    assert torch.equal(model.predict_proba(logits), expected)

    model.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["temperature"] == temperature
    again = AutoModelForMaskedSeqModeling.from_pretrained(tmp_path)
    assert again.config.temperature == temperature
    assert torch.equal(again.predict_proba(logits), expected)

    answers = AnswerWriter(again.config.rule, return_all_scores=True)
    for answer, chances in zip(answers.write(logits[0]), expected[0].tolist()):
        scores = {label["label"]: label["score"] for label in answer["labels"]}
        assert scores == dict(zip("abcd", chances))
        ordered = [label["score"] for label in answer["labels"]]
        assert ordered == sorted(ordered, reverse=True)
    card = Path(write_model_card(tmp_path)).read_text(encoding="utf-8")
    assert ("a 0.500, b 2.000, c 1.000, d 2.000." if task == "multilabel" else "1.700") in card


def test_a_temperature_does_not_pass_to_other_labels_or_other_thresholds_unnoticed(tmp_path):
    saved = {"temperature": 2.0, "thresholds": [0.1, 0.2, 0.3, 0.4]}
    model = tiny_model(num_labels=None, id2label=NAMES, **saved)
    model.save_pretrained(tmp_path)
    load = AutoModelForMaskedSeqModeling.from_pretrained
    assert load(tmp_path).config.temperature == 2.0
    with pytest.raises(ValueError, match=r"The `thresholds` are for temperature 2\.0, got 3\.0"):
        load(tmp_path, temperature=3.0)
    config = load(tmp_path, temperature=3.0, thresholds=0.5).config
    assert (config.temperature, config.thresholds) == (3.0, [0.5] * 4)
    renamed = {"id2label": {0: "b", 1: "a", 2: "c", 3: "d"}, "thresholds": 0.5}
    with pytest.raises(ValueError, match="The saved `temperature` are for task"):
        load(tmp_path, **renamed)
    assert load(tmp_path, **renamed, temperature=1.0).config.temperature == 1.0


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("fit", [True, "per_label"])
def test_the_callback_fits_first_and_then_tunes_calibrated_probabilities(task, fit, tmp_path):
    trainer = make_trainer(task, tmp_path)
    callback = ThresholdTuningCallback(
        trainer, objective="micro_f1", min_positives=1, fit_temperature=fit
    )
    trainer.add_callback(callback)
    if (task, fit) == ("multiclass", "per_label"):
        with pytest.raises(ValueError, match="is for task='multilabel', got task='multiclass'"):
            trainer.train()
        return
    trainer.train()
    config, output = trainer.model.config, trainer.predict(trainer.eval_dataset)
    pair = (output.predictions, output.label_ids, task)
    each = {"per_label": fit == "per_label", "min_positives": 1}
    assert config.temperature == fit_temperature(*pair, **each)
    tuned = {"objective": "micro_f1", "min_positives": 1, "temperature": config.temperature}
    assert config.thresholds == tune_thresholds(*pair, **tuned)
    trainer.save_model(tmp_path / "saved")
    saved = AutoModelForMaskedSeqModeling.from_pretrained(tmp_path / "saved").config
    assert (saved.temperature, saved.thresholds) == (config.temperature, config.thresholds)


def test_the_callback_can_fit_only_and_moves_the_thresholds_there_are(tmp_path):
    base = save_base(tmp_path / "base")
    load = AutoModelForMaskedSeqModeling.from_pretrained
    model = load(base, num_labels=4, thresholds=[0.3, 0.5, 0.5, 0.2])
    trainer = make_trainer("multilabel", tmp_path, model)
    only = {"objective": None, "fit_temperature": True}
    trainer.add_callback(ThresholdTuningCallback(trainer, **only))
    trainer.train()
    config = trainer.model.config
    expected = MaskedSeqModelingConfig(num_labels=4, thresholds=[0.3, 0.5, 0.5, 0.2])
    expected.set_temperature(config.temperature)
    assert config.temperature not in (None, 1.0)
    assert config.thresholds == expected.thresholds

    stuck = load(base, num_labels=4, task="multiclass", thresholds=0.7)
    trainer = make_trainer("multiclass", tmp_path, stuck)
    trainer.add_callback(ThresholdTuningCallback(trainer, **only))
    with pytest.raises(ValueError, match="Fit the temperature first"):
        trainer.train()
    for wrong in ({"objective": None}, {"fit_temperature": "both"}):
        trainer = make_trainer("multilabel", tmp_path)
        trainer.add_callback(ThresholdTuningCallback(trainer, **wrong))
        with pytest.raises(
            ValueError, match="`fit_temperature` must be True, False or 'per_label'"
        ):
            trainer.train()


@pytest.mark.parametrize("task", TASKS)
def test_tuning_at_a_temperature_is_tuning_divided_logits(task):
    logits, labels = drawn(task, 2.0, size=400)
    for objective in ("f1", "micro_f1"):
        divided = tune_thresholds(logits / 1.7, labels, task, objective)
        found = tune_thresholds(logits, labels, task, objective, temperature=1.7)
        assert found == pytest.approx(divided, rel=1e-9)


def test_metrics_of_groups_decide_as_the_model_does_at_a_temperature():
    logits, labels = drawn("multilabel", 2.0, size=400, groups=IDS)
    settings = {"thresholds": [0.5, 0.4, 0.5, 0.3], "groups": IDS, "temperature": 1.7}
    results = make_compute_metrics("multilabel", NAMES, **settings)((logits[None], labels[None]))
    config = MaskedSeqModelingConfig(
        id2label=NAMES, groups=GROUPS, temperature=1.7, thresholds=[0.5, 0.4, 0.5, 0.3]
    )
    scores = torch.tensor(logits)
    decided = config.rule.decide(scores).numpy()
    assert results["exact_match"] == np.mean((decided == labels).all(axis=1))
    chances = config.rule.probabilities(scores).numpy()
    assert results["brier"] == pytest.approx(np.mean((chances - labels) ** 2))


def test_logging_is_silent_where_all_can_be_fitted(caplog):
    caplog.set_level(logging.INFO, "irti_custom")
    for per_label, groups in itertools.product((False, True), ((), IDS)):
        logits, labels = drawn("multilabel", 2.0, groups=groups)
        fit_temperature(logits, labels, per_label=per_label, groups=groups)
    assert not caplog.text
