"""Turn logits into probabilities, and these into decisions.

    scores (..., L) ──▶ logits (..., L) ──▶ probabilities (..., L) ──▶ 0/1 per label (..., L), or
                                                                       class ids (...)

The same for PyTorch, for an exported graph and in the pipeline.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .labels import IGNORE_INDEX, default_thresholds
from .losses import at_least_float32, columns, with_columns, with_none


def group_logits(scores: torch.Tensor, groups: Sequence[Sequence[int]]) -> torch.Tensor:
    """Turn scores ``(..., L)`` into logits of which those of a group exclude each other.

    A logit becomes the log-odds of its label in a softmax over its group and "none": its sigmoid is
    that softmax, and what works with sigmoids works with it. Labels in no group stay as they are.

    Example:
        >>> logits = group_logits(torch.tensor([[1.0, 2.0, 3.0]]), [[0, 1]])
        >>> [round(p, 4) for p in logits.sigmoid()[0].tolist()]
        [0.2447, 0.6652, 0.9526]
    """
    logits = scores
    for ids in groups:
        full = with_none(at_least_float32(columns(scores, ids)))
        top = full.argmax(-1, keepdim=True)
        rest = full.scatter(-1, top, -torch.inf).logsumexp(-1, keepdim=True)
        share = full - full.logsumexp(-1, keepdim=True)  # a logarithm
        # Only the top one can be above one half, where 1 - p loses its digits.
        below = share - torch.log1p(-share.exp().clamp(max=0.5))
        odds = below.scatter(-1, top, full.gather(-1, top) - rest)[..., :-1]
        logits = with_columns(logits, ids, odds.to(scores.dtype))
    return logits


def lead(chances: torch.Tensor, groups: Sequence[Sequence[int]]) -> torch.Tensor:
    """Mark the answer of each group, the most probable of its labels unless "none" is more so.

    Args:
        chances: probabilities ``(..., L)``.
        groups: ids of labels that exclude each other.

    Returns:
        bool ``(..., L)``, True also for labels in no group.

    Example:
        >>> lead(torch.tensor([[0.4, 0.3, 0.1], [0.2, 0.1, 0.1]]), [[0, 1]]).tolist()
        [[True, False, True], [False, False, True]]
    """
    leads = torch.ones_like(chances, dtype=torch.bool)
    for ids in groups:
        group = columns(chances, ids)
        best, place = group.max(-1, keepdim=True)
        most = best >= 1 - group.sum(-1, keepdim=True)
        answers = torch.zeros_like(group, dtype=torch.bool).scatter(-1, place, most)
        leads = with_columns(leads, ids, answers)
    return leads


def probabilities(logits: torch.Tensor, task: str) -> torch.Tensor:
    """Turn logits ``(..., L)`` into probabilities of the same shape, in float32 or better."""
    logits = at_least_float32(logits)
    return logits.sigmoid() if task == "multilabel" else logits.softmax(-1)


def decide(
    logits: torch.Tensor,
    task: str,
    thresholds: float | list[float] | None = None,
    groups: Sequence[Sequence[int]] = (),
) -> torch.Tensor:
    """Decide which labels hold, or which class does.

    Args:
        logits: ``(..., L)``.
        task: "multilabel" or "multiclass".
        thresholds: "multilabel": the probability from which a label holds, one for all or a list of
            L; None is 0.5, and in a group rejects nothing. "multiclass": the probability under
            which the top class is rejected; None rejects nothing.
        groups: ids of labels of which at most one holds, as in `group_logits`.

    Returns:
        bool ``(..., L)``, or long ``(...)`` with `IGNORE_INDEX` for what is rejected. Nothing waits
        for the device.

    Example:
        >>> logits = torch.tensor([[2.0, -1.0], [0.1, 0.0]])
        >>> decide(logits, "multilabel", [0.9, 0.2]).tolist()
        [[False, True], [False, True]]
        >>> decide(logits, "multiclass", 0.6).tolist()
        [0, -100]
    """
    scores = probabilities(logits, task)
    if task == "multilabel":
        if thresholds is None:
            thresholds = default_thresholds(logits.shape[-1], groups)
        limits = torch.tensor(thresholds, dtype=scores.dtype)
        return (scores >= limits.to(scores.device, non_blocking=True)) & lead(scores, groups)
    ids = logits.argmax(-1)  # of the logits: probabilities can round to a tie
    if thresholds is None:
        return ids
    limit = torch.tensor(thresholds, dtype=scores.dtype)
    sure = scores.amax(-1) >= limit.to(scores.device, non_blocking=True)
    return torch.where(sure, ids, IGNORE_INDEX)
