"""Groups: labels of which at most one holds, through loss, logits, decisions and measures."""

import numpy as np
import pytest
import torch

from irti_custom import (
    AutoModelForMaskedSeqModeling,
    MaskedSeqModelingConfig,
    OnnxMaskedSeqModel,
    export_onnx,
    label_frequencies,
    make_compute_metrics,
    tune_thresholds,
)
from irti_custom.inference.answers import AnswerWriter
from irti_custom.losses import multilabel_loss
from irti_custom.rule import Rule, group_logits
from tests.tiny import tiny_config

NAMES = ["old", "person", "place", "big", "thing", "red", "blue"]
GROUPS = {"kind": ["person", "place", "thing"], "color": ["blue", "red"]}
IDS = [[1, 2, 4], [6, 5]]
RULE = Rule("multilabel", NAMES, GROUPS)


def new_model(seed=0, **settings):
    torch.manual_seed(seed)
    config = MaskedSeqModelingConfig(
        id2label=dict(enumerate(NAMES)),
        groups=GROUPS,
        base_model_config=tiny_config("bert"),
        **settings,
    )
    return AutoModelForMaskedSeqModeling(config).eval()


def batch(seed=0, rows=3, count=4):
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, 2, (rows, count, len(NAMES)))
    for ids in IDS:
        labels[..., ids] = 0
        answer = draw.integers(-1, len(ids), (rows, count))  # -1: none
        for place in np.argwhere(answer >= 0):
            labels[tuple(place)][ids[answer[tuple(place)]]] = 1
    places = [draw.permutation(9)[:count] if count < 9 else [0] * count for _ in range(rows)]
    return {
        "input_ids": torch.tensor(draw.integers(5, 64, (rows, 9))),
        "attention_mask": torch.ones(rows, 9, dtype=torch.long),
        "mask_indices": torch.tensor(np.array(places)),
        "labels": torch.tensor(labels),
    }


def slow_probabilities(scores):
    """Say it with loops: per position, a softmax over each group and a zero, else a sigmoid."""
    result = 1 / (1 + np.exp(-scores))
    for place in np.ndindex(scores.shape[:-1]):
        for ids in IDS:
            powers = [np.exp(scores[place][i]) for i in ids]
            for i, power in zip(ids, powers):
                result[place][i] = power / (1 + sum(powers))
    return result


def slow_loss(scores, labels):
    chances, total, count = slow_probabilities(scores), 0.0, 0
    for place in np.ndindex(scores.shape[:-1]):
        true, p = labels[place], chances[place]
        if true[0] == -100:
            continue
        count += (true != -100).sum()
        for i in (0, 3):
            if true[i] != -100:
                total -= np.log(p[i] if true[i] else 1 - p[i])
        for ids in IDS:
            if any(true[i] == 1 for i in ids):
                total -= sum(np.log(p[i]) for i in ids if true[i] == 1)
            else:  # none, or one that is not known
                total -= np.log(1 - sum(p[i] for i in ids if true[i] == 0))
    return total, count


@pytest.mark.parametrize("unknown", [False, True])
def test_the_loss_is_that_of_a_softmax_per_group(unknown):
    scores = torch.tensor(np.random.default_rng(1).normal(0, 2, (3, 4, 7)))
    labels = batch(1)["labels"]
    if unknown:
        labels[0, 0, 2] = labels[0, 1, 1] = labels[1, 1, 6] = labels[2, 2, 3] = -100
        labels[1, 2] = -100
        labels[2, 0, 0] = -100
    total, count = multilabel_loss(scores, labels, groups=IDS)
    expected, kept = slow_loss(scores.numpy(), labels.numpy())
    assert count == kept
    assert float(total) == pytest.approx(expected, rel=1e-9)


def test_weights_and_focus_apply_to_the_label_that_holds():
    scores = torch.tensor([[[0.3, -1.0, 0.5, 2.0]]], dtype=torch.float64)
    labels, groups = torch.tensor([[[0, 1, 0, 0]]]), [[0, 1, 2]]
    weight = torch.tensor([5.0, 3.0, 7.0, 1.0], dtype=torch.float64)
    alone = multilabel_loss(scores[..., 3:], labels[..., 3:])[0]
    plain = multilabel_loss(scores, labels, groups=groups)[0] - alone
    weighted = multilabel_loss(scores, labels, weight, groups=groups)[0] - alone
    torch.testing.assert_close(weighted, 3 * plain)
    focal = multilabel_loss(scores[..., :3], labels[..., :3], focal_gamma=2.0, groups=groups)[0]
    torch.testing.assert_close(focal, plain * (1 - torch.exp(-plain)) ** 2)
    none = torch.zeros_like(labels)
    torch.testing.assert_close(
        multilabel_loss(scores[..., :3], none[..., :3], weight[:3], groups=groups)[0],
        multilabel_loss(scores[..., :3], none[..., :3], groups=groups)[0],
    )
    soft = torch.tensor([[[0.25, 0.5, 0.0]]])  # a quarter is left for "none"
    shares = torch.cat([scores[..., :3], torch.zeros(1, 1, 1)], -1).log_softmax(-1)[0, 0]
    expected = -(0.25 * shares[0] + 0.5 * shares[1] + 0.25 * shares[3])
    torch.testing.assert_close(multilabel_loss(scores[..., :3], soft, groups=groups)[0], expected)


@pytest.mark.parametrize("size", [1, 60])
def test_logits_are_log_odds_of_the_groups_softmax(size):
    scores = torch.tensor(np.random.default_rng(2).normal(0, size, (50, 7)))
    logits = group_logits(scores, IDS)
    assert torch.isfinite(logits).all()
    torch.testing.assert_close(logits[:, [0, 3]], scores[:, [0, 3]])
    np.testing.assert_allclose(logits.sigmoid(), slow_probabilities(scores.numpy()), atol=1e-12)
    single = group_logits(scores.float(), IDS)
    torch.testing.assert_close(single.double(), logits, rtol=1e-5, atol=1e-5)
    scores.requires_grad_(True)
    group_logits(scores, IDS).sum().backward()
    assert torch.isfinite(scores.grad).all()


def test_no_decision_breaks_a_group_and_none_is_an_answer():
    logits = group_logits(torch.tensor(np.random.default_rng(3).normal(0, 1, (500, 7))), IDS)
    for thresholds in (None, 0.0, [0.2] * 7, [0.5] * 7):
        decided = RULE.with_(thresholds=thresholds).decide(logits)
        for ids in IDS:
            assert (decided[:, ids].sum(-1) <= 1).all()
    chances, decided = logits.sigmoid(), RULE.decide(logits)
    for ids in IDS:
        every = torch.cat([chances[:, ids], 1 - chances[:, ids].sum(-1, keepdim=True)], -1)
        answer = torch.nn.functional.one_hot(every.argmax(-1), len(ids) + 1)[:, :-1].bool()
        assert torch.equal(decided[:, ids], answer)
        assert 0 < decided[:, ids].any(-1).float().mean() < 1


def test_measures_count_what_the_model_decides():
    draw = np.random.default_rng(4)
    logits = group_logits(torch.tensor(draw.normal(0, 1.5, (1, 300, 7))), IDS)
    labels = batch(4, 1, 300)["labels"]
    labels[0, 7, 2] = labels[0, 8] = -100
    for thresholds in (None, [0.3] * 7):
        compute = make_compute_metrics("multilabel", dict(enumerate(NAMES)), thresholds, groups=IDS)
        decided = RULE.with_(thresholds=thresholds).decide(logits)
        kept = (labels != -100) & (labels[..., :1] != -100)
        hits = float((decided & (labels == 1) & kept).sum())
        expected = 2 * hits / float((decided & kept).sum() + ((labels == 1) & kept).sum())
        assert compute((logits.numpy(), labels.numpy()))["micro_f1"] == pytest.approx(expected)


@pytest.mark.parametrize("objective", ["f1", "micro_f1", "accuracy"])
def test_tuned_thresholds_are_the_best_for_the_groups_decisions(objective):
    draw = np.random.default_rng(5)
    labels = batch(5, 1, 60)["labels"].numpy()
    noise = torch.tensor(draw.normal(0, 1, labels.shape) + labels)
    logits = group_logits(noise, IDS).numpy()
    tuned = tune_thresholds(logits, labels, objective=objective, groups=IDS, min_positives=1)

    def score(thresholds):
        names = dict(enumerate(NAMES))
        compute = make_compute_metrics("multilabel", names, thresholds, groups=IDS)
        if objective == "accuracy":
            decided = RULE.with_(thresholds=thresholds).decide(torch.tensor(logits)).numpy()
            return float((decided == (labels == 1)).mean())
        return compute((logits, labels))["macro_f1" if objective == "f1" else "micro_f1"]

    best = score(tuned)
    chances = 1 / (1 + np.exp(-logits))[0]
    for index in range(7):
        for value in [0.0, *chances[:, index], 1.0]:
            assert score([*tuned[:index], float(value), *tuned[index + 1 :]]) <= best + 1e-12
    assert best >= score(None)


def test_the_model_trains_on_scores_and_answers_by_group(tmp_path):
    model = new_model()
    inputs = batch()
    output = model(**inputs)
    config = model.config
    assert config.group_ids == IDS
    decided = model.predict(output.logits)
    assert all((decided[..., ids].sum(-1) <= 1).all() for ids in IDS)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(150):
        loss = model(**inputs).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    with torch.no_grad():
        output = model(**inputs)
    assert torch.equal(model.predict(output.logits), inputs["labels"] == 1)
    model.save_pretrained(tmp_path)
    again = AutoModelForMaskedSeqModeling.from_pretrained(tmp_path)
    assert again.config.groups == GROUPS
    torch.testing.assert_close(again(**inputs).logits, output.logits)
    answers = AnswerWriter(model.config.rule).write(output.logits[0])
    named = [{label["label"] for label in answer["labels"]} for answer in answers]
    assert named == [{NAMES[i] for i in np.flatnonzero(row)} for row in inputs["labels"][0]]


def test_the_gradient_does_not_depend_on_how_a_batch_is_cut():
    inputs = batch(rows=4)
    inputs["labels"][0, 1] = inputs["labels"][3] = -100
    inputs["labels"][1, 0, 2] = -100
    count = (inputs["labels"] != -100).sum()

    def gradient(size):
        model = new_model()
        for start in range(0, 4, size):
            part = {name: value[start : start + size] for name, value in inputs.items()}
            model(**part, num_items_in_batch=count).loss.backward()
        return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    for size in (1, 2):
        torch.testing.assert_close(gradient(size), gradient(4), rtol=1e-4, atol=1e-7)


def test_the_prior_is_where_the_loss_of_a_constant_is_least():
    labels = batch(6, 1, 400)["labels"]
    model = new_model(pos_weight=[1.0, 2.0, 1.0, 1.0, 0.5, 1.0, 1.0])
    model.set_label_prior(label_frequencies([labels[0].numpy()], "multilabel", 7))
    start = model.head[-1].bias.detach().clone()
    weight = torch.tensor(model.config.pos_weight)

    def loss(bias):
        return float(multilabel_loss(bias.expand(1, 400, 7), labels, weight, groups=IDS)[0])

    for index in range(7):
        for step in (-0.2, 0.2):
            moved = start.clone()
            moved[index] += step
            assert loss(moved) > loss(start)


def test_the_graph_answers_as_the_model(tmp_path):
    pytest.importorskip("onnxruntime")
    model, inputs = new_model(), batch()
    export_onnx(model, tmp_path)
    exported = OnnxMaskedSeqModel.from_pretrained(tmp_path)
    inputs.pop("labels")
    with torch.no_grad():
        logits = model(**inputs).logits
    found = torch.as_tensor(exported(**inputs).logits)
    torch.testing.assert_close(found, logits, rtol=1e-4, atol=1e-4)
    assert torch.equal(torch.as_tensor(exported.predict(found)), model.predict(logits))


def test_groups_compile_whole():
    model, inputs = new_model(), batch()
    inputs.pop("labels")
    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    with torch.no_grad():
        torch.testing.assert_close(compiled(**inputs).logits, model(**inputs).logits)
    torch._dynamo.reset()


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"kind": ["person", "animal"]}, "animal"),
        ({"kind": ["person"]}, "at least two"),
        ({"kind": ["person", "place"], "other": ["place", "thing"]}, "no label twice"),
        ({"kind": "person"}, "lists of label names"),
        (["person", "place"], "lists of label names"),
        ({"kind": [1, 2]}, "labels of `id2label`"),
    ],
)
def test_groups_that_do_not_fit_are_refused(groups, message):
    names = dict(enumerate(NAMES))
    with pytest.raises(ValueError, match=message):
        MaskedSeqModelingConfig(id2label=names, groups=groups)
    config = MaskedSeqModelingConfig(id2label=names)
    with pytest.raises(ValueError, match=message):
        config.groups = groups


def test_what_contradicts_groups_is_refused():
    names = dict(enumerate(NAMES))
    assert MaskedSeqModelingConfig(id2label=names, task="multiclass", groups={}).groups is None
    with pytest.raises(ValueError, match="multiclass"):
        MaskedSeqModelingConfig(id2label=names, task="multiclass", groups=GROUPS)
    config = MaskedSeqModelingConfig(id2label=names, groups=GROUPS)
    for name, value in (("task", "multiclass"), ("id2label", dict(enumerate("abcdefg")))):
        with pytest.raises(ValueError, match="groups"):
            setattr(config, name, value)
    with pytest.raises(ValueError, match="Pass config"):
        make_compute_metrics("multilabel", names, groups=GROUPS)
    for wrong in ([[0, 9]], [[0, 0]], [[1]], [["person", "place"]]):
        with pytest.raises(ValueError, match="groups"):
            make_compute_metrics("multilabel", names, groups=wrong)
        with pytest.raises(ValueError, match="groups"):
            tune_thresholds(np.zeros((1, 3, 7)), np.zeros((1, 3, 7), int), groups=wrong)
    inputs = batch()
    inputs["labels"][1, 2, [1, 4]] = 1
    inputs["labels"][1, 2, 2] = 0
    with pytest.raises(ValueError, match=r"'kind'.*\['person', 'thing'\] at \(1, 2\)"):
        new_model()(**inputs)
