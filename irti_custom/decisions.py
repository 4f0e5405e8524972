"""Turn logits into probabilities, and these into decisions.

    logits (..., L) ──▶ probabilities (..., L) ──▶ 0/1 per label (..., L), or class ids (...)

The same for PyTorch, for an exported graph and in the pipeline.
"""

from __future__ import annotations

import torch

from .labels import DEFAULT_THRESHOLDS, IGNORE_INDEX
from .losses import at_least_float32


def probabilities(logits: torch.Tensor, task: str) -> torch.Tensor:
    """Turn logits ``(..., L)`` into probabilities of the same shape, in float32 or better."""
    logits = at_least_float32(logits)
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
        if thresholds is None:
            thresholds = DEFAULT_THRESHOLDS[task]
        limits = torch.tensor(thresholds, dtype=scores.dtype)
        return scores >= limits.to(scores.device, non_blocking=True)
    ids = logits.argmax(-1)  # of the logits: probabilities can round to a tie
    if thresholds is None:
        return ids
    limit = torch.tensor(thresholds, dtype=scores.dtype)
    sure = scores.amax(-1) >= limit.to(scores.device, non_blocking=True)
    return torch.where(sure, ids, IGNORE_INDEX)
