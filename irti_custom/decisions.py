"""From logits to probabilities, and from those to decisions.

logits (..., L) ──▶ probabilities (..., L) ──▶ 0/1 per label (..., L), or class ids (...)
"""

from __future__ import annotations

import torch

from .labels import IGNORE_INDEX


def probabilities(logits: torch.Tensor, task: str) -> torch.Tensor:
    """Turn logits ``(..., L)`` into probabilities of the same shape, in float32 or better.

    Example:
        >>> probabilities(torch.zeros(1, 4), "multiclass").tolist()
        [[0.25, 0.25, 0.25, 0.25]]
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return logits.sigmoid() if task == "multilabel" else logits.softmax(-1)


def decide(
    logits: torch.Tensor, task: str, thresholds: float | list[float] | None = None
) -> torch.Tensor:
    """Decide which labels hold, or which class does.

    Args:
        logits: ``(..., L)``.
        task: "multilabel" or "multiclass".
        thresholds: "multilabel": the probability from which a label holds, one for all or a list of
            L; None is 0.5. "multiclass": the probability under which the top class is rejected;
            None rejects nothing.

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
        limits = torch.tensor(0.5 if thresholds is None else thresholds, dtype=scores.dtype)
        return scores >= limits.to(scores.device, non_blocking=True)
    ids = logits.argmax(-1)  # of the logits: probabilities can round to a tie
    if thresholds is None:
        return ids
    limit = torch.tensor(thresholds, dtype=scores.dtype)
    sure = scores.amax(-1) >= limit.to(scores.device, non_blocking=True)
    return torch.where(sure, ids, IGNORE_INDEX)
