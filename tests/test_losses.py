"""Losses against slow loops over kept elements."""

from __future__ import annotations

import math

import pytest
import torch

from irti_custom.losses import mean_loss, multiclass_loss, multilabel_loss
from tests.tiny import tiny_labels


def loop_multilabel(logits, labels):
    losses = []
    for row_logits, row_labels in zip(logits.double(), labels.double()):
        for position_logits, position_labels in zip(row_logits, row_labels):
            if position_labels[0] == -100:
                continue
            for score, target in zip(position_logits.tolist(), position_labels.tolist()):
                if target != -100:
                    p = 1 / (1 + math.exp(-score))
                    losses.append(-target * math.log(p) - (1 - target) * math.log(1 - p))
    return sum(losses), len(losses)


def loop_multiclass(logits, labels):
    losses = []
    for row_logits, row_labels in zip(logits.double(), labels):
        for scores, target in zip(row_logits.tolist(), row_labels.tolist()):
            if target != -100:
                losses.append(math.log(sum(math.exp(s) for s in scores)) - scores[target])
    return sum(losses), len(losses)


@pytest.mark.parametrize("dtype", [torch.long, torch.int8, torch.float32, torch.bfloat16])
def test_multilabel_sum_and_count_match_a_loop(dtype):
    logits, labels = torch.randn(2, 3, 4), tiny_labels("multilabel").to(dtype)
    labels[0, 0, 2] = -100  # one element
    total, count = multilabel_loss(logits, labels)
    assert (total.item(), count.item()) == (pytest.approx(loop_multilabel(logits, labels)[0]), 19)


def test_multilabel_position_is_ignored_by_its_first_channel_alone():
    logits = torch.randn(1, 2, 3, requires_grad=True)
    total, count = multilabel_loss(logits, torch.tensor([[[-100, 1, 0], [1, 0, 1]]]))
    total.backward()
    assert count == 3
    assert logits.grad[0, 0].abs().sum() == 0
    assert (logits.grad[0, 1] != 0).all()


def test_multilabel_takes_soft_labels():
    logits, labels = torch.randn(1, 2, 3), torch.rand(1, 2, 3)
    assert multilabel_loss(logits, labels)[0].item() == pytest.approx(
        loop_multilabel(logits, labels)[0], rel=1e-5
    )


@pytest.mark.parametrize("dtype", [torch.long, torch.int32, torch.int8])
def test_multiclass_sum_and_count_match_a_loop(dtype):
    logits, labels = torch.randn(2, 3, 4), tiny_labels("multiclass").to(dtype)
    total, count = multiclass_loss(logits, labels)
    assert (total.item(), count.item()) == (pytest.approx(loop_multiclass(logits, labels)[0]), 5)


@pytest.mark.parametrize(
    ("loss", "shape"), [(multilabel_loss, (2, 3, 4)), (multiclass_loss, (2, 3))]
)
def test_nothing_kept_is_zero_with_a_gradient(loss, shape):
    logits = torch.randn(2, 3, 4, requires_grad=True)
    value = mean_loss(*loss(logits, torch.full(shape, -100)), None)
    value.backward()
    assert value == 0
    assert (logits.grad == 0).all()


@pytest.mark.parametrize(
    ("loss", "labels"),
    [(multilabel_loss, torch.zeros(2, 0, 4)), (multiclass_loss, torch.zeros(2, 0))],
)
def test_no_position_at_all_is_zero_with_a_gradient(loss, labels):
    logits = torch.randn(2, 0, 4, requires_grad=True)
    value = mean_loss(*loss(logits, labels), None)
    assert value == 0
    assert value.requires_grad


@pytest.mark.parametrize("size", [1e4, 3e38])
def test_extreme_logits_give_no_nan(size):
    logits = torch.tensor([[[size, -size]]], requires_grad=True)
    for loss, labels in ((multilabel_loss, [[[1.0, 0.0]]]), (multiclass_loss, [[0]])):
        total, _ = loss(logits, torch.tensor(labels))
        assert total == 0
        assert not torch.autograd.grad(total, logits)[0].isnan().any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_half_precision_logits_are_summed_in_float32_and_double_in_double(dtype):
    logits = torch.randn(2, 3, 4).to(dtype)
    wanted = torch.float64 if dtype is torch.float64 else torch.float32
    assert multilabel_loss(logits, tiny_labels("multilabel"))[0].dtype is wanted
    assert multiclass_loss(logits, tiny_labels("multiclass"))[0].dtype is wanted


@pytest.mark.parametrize(
    "items", [8, 8.0, torch.tensor(8), torch.tensor([8, 8]), torch.tensor([[8], [8]])]
)
def test_sum_is_divided_by_the_trainers_count_in_every_form_it_takes(items):
    assert mean_loss(torch.tensor(4.0), torch.tensor(2), items).item() == 0.5


@pytest.mark.parametrize("items", [0, torch.tensor(0), None])
def test_a_count_of_zero_divides_by_one(items):
    assert mean_loss(torch.tensor(0.0), torch.tensor(0), items).item() == 0


def test_positive_weights_are_pytorchs():
    logits, labels, weight = torch.randn(2, 3, 4), tiny_labels("multilabel"), torch.rand(4) * 5
    total, count = multilabel_loss(logits, labels, pos_weight=weight)
    kept = labels[..., 0] != -100
    wanted = torch.nn.BCEWithLogitsLoss(pos_weight=weight)(logits[kept], labels[kept].float())
    torch.testing.assert_close(total / count, wanted)


def test_class_weights_are_pytorchs_for_a_single_batch():
    logits, labels, weight = torch.randn(2, 3, 4), tiny_labels("multiclass"), torch.rand(4) * 5
    wanted = torch.nn.CrossEntropyLoss(weight=weight)(logits.flatten(0, 1), labels.flatten())
    torch.testing.assert_close(mean_loss(*multiclass_loss(logits, labels, weight), None), wanted)


def test_class_weights_below_one_still_divide_by_their_sum():
    logits, labels, weight = torch.randn(1, 2, 2), torch.tensor([[0, -100]]), torch.full((2,), 0.01)
    wanted = torch.nn.functional.cross_entropy(logits[0, :1], labels[0, :1])
    torch.testing.assert_close(mean_loss(*multiclass_loss(logits, labels, weight), None), wanted)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_loss_matches_a_loop(gamma):
    logits = torch.randn(2, 3, 4)
    labels = tiny_labels("multilabel")
    wanted = 0.0
    for position, targets in zip(logits.double().view(-1, 4), labels.view(-1, 4).tolist()):
        for score, target in zip(position.tolist(), targets):
            if targets[0] != -100:
                p = 1 / (1 + math.exp(-score if target else score))
                wanted -= (1 - p) ** gamma * math.log(p)
    assert multilabel_loss(logits, labels, focal_gamma=gamma)[0].item() == pytest.approx(wanted)
    classes = tiny_labels("multiclass")
    wanted = 0.0
    for scores, target in zip(logits.double().softmax(-1).view(-1, 4), classes.view(-1).tolist()):
        if target != -100:
            p = scores[target].item()
            wanted -= (1 - p) ** gamma * math.log(p)
    assert multiclass_loss(logits, classes, focal_gamma=gamma)[0].item() == pytest.approx(
        wanted, rel=1e-5
    )


def test_focal_gamma_zero_is_the_plain_loss():
    logits = torch.randn(2, 3, 4)
    for loss, task in ((multilabel_loss, "multilabel"), (multiclass_loss, "multiclass")):
        assert loss(logits, tiny_labels(task), None, 0.0) == loss(logits, tiny_labels(task))


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("size", [0.0, 1e4])
def test_focal_gradients_are_never_nan(gamma, size):
    logits = torch.tensor([[[size, -size], [-size, size]]], requires_grad=True)
    for loss, labels in (
        (multilabel_loss, [[[1.0, 0.0], [-100.0, -100.0]]]),
        (multiclass_loss, [[0, -100]]),
    ):
        total, _ = loss(logits, torch.tensor(labels), None, gamma)
        assert torch.isfinite(total)
        assert torch.isfinite(torch.autograd.grad(total, logits)[0]).all()
