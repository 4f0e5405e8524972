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
