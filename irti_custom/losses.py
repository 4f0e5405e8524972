"""Compute losses as pure functions from (logits, labels) to a sum and a count.

    loss = sum / count

A sum over kept elements can be divided by the count of a whole optimizer step, whatever the split
into micro-batches and ranks: the gradient is the same. A mean per batch cannot.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 (PyTorch's own convention)

from .labels import IGNORE_INDEX, Thresholds, as_floats
from .rule import at_least_float32, columns, with_none

WEIGHT_NAMES = {"multilabel": "pos_weight", "multiclass": "class_weight"}
"""The setting that holds one factor per label, by task."""


def multilabel_loss(
    logits: torch.Tensor,
    labels: torch.Tensor,
    pos_weight: torch.Tensor | None = None,
    focal_gamma: float = 0.0,
    groups: Sequence[Sequence[int]] = (),
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sum the binary cross-entropy over all labels of all kept positions.

    Args:
        logits: ``(B, M, L)``, any floating dtype; computed in float32 or better.
        labels: ``(B, M, L)`` in ``[0, 1]``. `IGNORE_INDEX` in channel 0 drops the position,
            elsewhere the element.
        pos_weight: ``(L,)`` factors on the positive part, as in `torch.nn.BCEWithLogitsLoss`.
        focal_gamma: each element counts ``(1 - p_t) ** gamma`` times (Lin et al. 2017).
        groups: ids of labels that exclude each other: the cross-entropy of a softmax over them and
            "none", whose score is 0, in place of theirs, with the weight of the label that holds.
            Where none holds and some are not known, it may be any of these.

    Returns:
        The sum, a scalar that has a gradient graph even when nothing is kept, and the number of
        kept elements.
    """
    keep = (labels != IGNORE_INDEX) & (labels[..., :1] != IGNORE_INDEX)
    logits = at_least_float32(logits)
    targets = torch.where(keep, labels.to(logits.dtype), 0.0)
    if not groups:
        return _binary_loss(logits, targets, keep, pos_weight, focal_gamma), keep.sum()
    grouped = {index for ids in groups for index in ids}
    alone = [index for index in range(logits.shape[-1]) if index not in grouped]
    losses = []
    for ids, compute in [(alone, _binary_loss), *((ids, _group_loss) for ids in groups)]:
        weight = None if pos_weight is None else columns(pos_weight, ids)
        scores, true, known = (columns(values, ids) for values in (logits, targets, keep))
        losses.append(compute(scores, true, known, weight, focal_gamma))
    return torch.stack(losses).sum(), keep.sum()


def _binary_loss(
    logits: torch.Tensor,
    targets: torch.Tensor,
    keep: torch.Tensor,
    weight: torch.Tensor | None,
    focal_gamma: float,
) -> torch.Tensor:
    """Sum the binary cross-entropy of independent labels: ``(B, M, L)`` each, ``(L,)`` weights."""
    losses = F.binary_cross_entropy_with_logits(
        logits, targets, pos_weight=weight, reduction="none"
    )
    if focal_gamma:
        probabilities = logits.sigmoid()
        missed = probabilities * (1 - targets) + (1 - probabilities) * targets
        losses = losses * _power(missed, focal_gamma)
    return torch.where(keep, losses, 0.0).sum()


def _group_loss(
    logits: torch.Tensor,
    targets: torch.Tensor,
    keep: torch.Tensor,
    weight: torch.Tensor | None,
    focal_gamma: float,
) -> torch.Tensor:
    """Sum the cross-entropy of one group: ``(B, M, G)`` each, and ``(G,)`` weights."""
    scores = with_none(logits)
    possible = F.pad(~keep, (0, 1), value=True)  # without a label that holds
    held = targets.sum(-1)
    likely = (targets * logits).sum(-1)
    likely = likely + (1 - held) * torch.where(possible, scores, -torch.inf).logsumexp(-1)
    losses = scores.logsumexp(-1) - likely
    if focal_gamma:
        losses = losses * _power(-torch.expm1(-losses), focal_gamma)
    if weight is not None:
        losses = losses * (1 - held + (targets * weight).sum(-1))
    return torch.where(keep.any(-1), losses, 0.0).sum()


def multiclass_loss(
    logits: torch.Tensor,
    labels: torch.Tensor,
    weight: torch.Tensor | None = None,
    focal_gamma: float = 0.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sum the cross-entropy over all kept positions.

    Args:
        logits: ``(B, M, L)``, any floating dtype; computed in float32 or better.
        labels: ``(B, M)`` class ids; `IGNORE_INDEX` drops the position.
        weight: ``(L,)`` factors on the positions of each class.
        focal_gamma: see `multilabel_loss`.

    Returns:
        The sum, a scalar that has a gradient graph even when nothing is kept, and what
        `torch.nn.CrossEntropyLoss` divides it by: the number of kept positions or, with `weight`,
        the sum of their weights.
    """
    logits, targets = at_least_float32(logits).flatten(0, 1), labels.flatten().long()
    losses = F.cross_entropy(logits, targets, ignore_index=IGNORE_INDEX, reduction="none")
    if focal_gamma:
        losses = losses * _power(-torch.expm1(-losses), focal_gamma)
    keep = targets != IGNORE_INDEX
    if weight is None:
        return losses.sum(), keep.sum()
    weights = torch.where(keep, weight.to(losses.dtype)[targets.clamp(min=0)], 0.0)
    return (weights * losses).sum(), weights.sum()


def mean_loss(
    total: torch.Tensor, count: torch.Tensor, num_items_in_batch: torch.Tensor | float | None
) -> torch.Tensor:
    """Divide the sum by the count of the optimizer step where it is known, else by its own.

    Args:
        total: scalar sum over kept elements.
        count: what to divide by on its own; 0 where nothing is kept.
        num_items_in_batch: kept elements over all micro-batches and ranks, as the `Trainer` counts
            them: a number, a scalar tensor, or one value per device under `DataParallel`.
    """
    if num_items_in_batch is not None:
        if not isinstance(num_items_in_batch, torch.Tensor):
            return total / max(num_items_in_batch, 1)
        count = num_items_in_batch.to(total.device).flatten()[0]
    return total / torch.where(count > 0, count, 1)


def check_weights(
    name: str, weights: Thresholds | None, task: str, num_labels: int
) -> list[float] | None:
    """Check factors of at least 0, one per label, against the task; None passes."""
    if weights is None:
        return None
    if name != WEIGHT_NAMES[task]:
        raise ValueError(
            f"`{name}` does not fit the task: 'multilabel' takes `pos_weight`, 'multiclass' takes "
            "`class_weight`."
        )
    values = as_floats(weights)
    if values.shape != (num_labels,) or not all(0 <= value < math.inf for value in values):
        raise ValueError(
            f"`{name}` must hold {num_labels} finite factors of at least 0, one per label, got "
            f"{weights}. `balanced_weights` computes them from labels."
        )
    return values.tolist()


def _power(missed: torch.Tensor, gamma: float) -> torch.Tensor:
    # Away from 0, where a gamma below 1 has an infinite slope.
    return missed.clamp(min=torch.finfo(missed.dtype).tiny) ** gamma
