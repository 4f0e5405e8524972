"""Turn logits into probabilities, and these into decisions.

    scores (..., L) ──▶ logits (..., L) ──▶ probabilities (..., L) ──▶ 0/1 per label (..., L), or
                                  temperature                thresholds  class ids (...)

The same for PyTorch, for an exported graph and in the pipeline.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (PyTorch's own convention)

from .labels import IGNORE_INDEX, Thresholds, as_floats, default_thresholds, in_order

Temperature = Thresholds  # one or one per label, in the same forms
TEMPERATURES = (1e-3, 1e3)
"""The lowest and the highest temperature."""
_MAX_DRIFT = 1e-3  # of the logit at which a label is decided, from rounding a moved threshold


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


def temper(
    logits: torch.Tensor,
    temperature: float | Sequence[float] | None,
    groups: Sequence[Sequence[int]] = (),
) -> torch.Tensor:
    """Divide logits ``(..., L)`` by a temperature, so that they sound as sure as they are right.

    In a group it divides the scores that `group_logits` made the logits of: the softmax over the
    labels and "none" becomes flatter or steeper, its sum stays 1 and its most probable answer the
    same. A "none" that single precision had lost beside the labels counts as just lost.

    Args:
        logits: ``(..., L)``, as `group_logits` returns them.
        temperature: one, or L of them, equal within a group; None returns the logits.
        groups: ids of labels that exclude each other.

    Example:
        >>> temper(torch.tensor([[3.0, -1.0]]), [2.0, 0.5]).tolist()
        [[1.5, -2.0]]
        >>> logits = group_logits(torch.tensor([[1.0, 2.0]]), [[0, 1]])
        >>> [round(p, 4) for p in temper(logits, 2.0, [[0, 1]]).sigmoid()[0].tolist()]
        [0.3072, 0.5065]
    """
    if temperature is None:
        return logits
    scores = at_least_float32(logits)
    for ids in groups:
        scores = with_columns(scores, ids, scores_of_group(columns(scores, ids)))
    divisor = torch.tensor(temperature, dtype=scores.dtype)
    return group_logits(scores / divisor.to(scores.device, non_blocking=True), groups)


def scores_of_group(logits: torch.Tensor) -> torch.Tensor:
    """Return the scores of one group ``(..., G)``, of which `group_logits` made these logits.

    A score is the logarithm of a label's probability over that of "none".

    Example:
        >>> logits = group_logits(torch.tensor([[1.0, 2.0]]), [[0, 1]])
        >>> [round(score, 4) for score in scores_of_group(logits)[0].tolist()]
        [1.0, 2.0]
    """
    share = F.logsigmoid(logits)
    top = logits.argmax(-1, keepdim=True)
    rest = F.logsigmoid(-logits.gather(-1, top))  # of all but the top label, without cancellation
    others = (share.scatter(-1, top, -torch.inf) - rest).exp().sum(-1, keepdim=True)
    none = rest + torch.log1p(-others.clamp(max=1 - torch.finfo(logits.dtype).eps))
    return share - none


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


def probabilities(
    logits: torch.Tensor,
    task: str,
    temperature: float | Sequence[float] | None = None,
    groups: Sequence[Sequence[int]] = (),
) -> torch.Tensor:
    """Turn logits ``(..., L)`` into probabilities of the same shape, in float32 or better.

    Raises:
        FloatingPointError: see `check_finite`.

    Example:
        >>> probabilities(torch.tensor([[2.0, 2.0]]), "multiclass", temperature=3.0).tolist()
        [[0.5, 0.5]]
    """
    check_finite(logits)
    logits = temper(at_least_float32(logits), temperature, groups)
    return logits.sigmoid() if task == "multilabel" else logits.softmax(-1)


def decide(
    logits: torch.Tensor,
    task: str,
    thresholds: float | list[float] | None = None,
    groups: Sequence[Sequence[int]] = (),
    temperature: float | Sequence[float] | None = None,
) -> torch.Tensor:
    """Decide which labels hold, or which class does.

    Args:
        logits: ``(..., L)``.
        task: "multilabel" or "multiclass".
        thresholds: "multilabel": the probability from which a label holds, one for all or a list of
            L; None is 0.5, and in a group rejects nothing. "multiclass": the probability under
            which the top class is rejected; None rejects nothing.
        groups: ids of labels of which at most one holds, as in `group_logits`.
        temperature: of the probabilities that thresholds apply to, see `temper`. It changes neither
            the top class nor the answer of a group.

    Returns:
        bool ``(..., L)``, or long ``(...)`` with `IGNORE_INDEX` for what is rejected.

    Raises:
        FloatingPointError: see `check_finite`.

    Example:
        >>> logits = torch.tensor([[2.0, -1.0], [0.1, 0.0]])
        >>> decide(logits, "multilabel", [0.9, 0.2]).tolist()
        [[False, True], [False, True]]
        >>> decide(logits, "multiclass", 0.6).tolist()
        [0, -100]
    """
    scores = probabilities(logits, task, temperature, groups)
    if task == "multilabel":
        if thresholds is None:
            thresholds = default_thresholds(logits.shape[-1], groups)
        limits = torch.tensor(thresholds, dtype=scores.dtype)
        passes = scores >= limits.to(scores.device, non_blocking=True)
        return passes & lead(probabilities(logits, task), groups) if groups else passes
    ids = logits.argmax(-1)  # of the logits: probabilities can round to a tie
    if thresholds is None:
        return ids
    limit = torch.tensor(thresholds, dtype=scores.dtype)
    sure = scores.amax(-1) >= limit.to(scores.device, non_blocking=True)
    return torch.where(sure, ids, IGNORE_INDEX)


def check_finite(logits: torch.Tensor) -> None:
    """Check that a model computed numbers. Every probability and every decision passes here.

    It waits for the device, and does nothing in a graph.

    Args:
        logits: ``(..., L)``.

    Raises:
        FloatingPointError: one is infinite or NaN; nobody's input is to blame for that.

    Example:
        >>> check_finite(torch.tensor([[0.5, torch.nan]]))
        Traceback (most recent call last):
        FloatingPointError: Logits must be finite, and the model computed nan at [0, 1] ...
    """
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        return
    wrong = ~torch.isfinite(logits)
    if wrong.any():
        place, positions = wrong.nonzero()[0].tolist(), wrong.any(-1)
        raise FloatingPointError(
            f"Logits must be finite, and the model computed {logits[tuple(place)].item()} at "
            f"{place} of {tuple(logits.shape)}, in {int(positions.sum())} of {positions.numel()} "
            "positions. Has its training diverged, is its file damaged, or did float16 overflow? "
            "Take an earlier checkpoint, or load it with dtype=torch.float32."
        )


def at_least_float32(logits: torch.Tensor) -> torch.Tensor:
    """Return logits in float32 or better."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def columns(values: torch.Tensor, ids: Sequence[int]) -> torch.Tensor:
    """Pick the columns of some labels from ``(..., L)``, without waiting for the device."""
    return values.index_select(-1, _index(ids, values.device))


def with_columns(values: torch.Tensor, ids: Sequence[int], new: torch.Tensor) -> torch.Tensor:
    """Return the values with other columns for some labels, without waiting for the device."""
    return values.index_copy(-1, _index(ids, values.device), new)


def _index(ids: Sequence[int], device: torch.device) -> torch.Tensor:
    return torch.tensor(ids, dtype=torch.long).to(device, non_blocking=True)


def with_none(scores: torch.Tensor) -> torch.Tensor:
    """Append the score of "none" to those of a group's labels: 0, ``(..., G + 1)``.

    Of a single label, the softmax is then its sigmoid.
    """
    return F.pad(scores, (0, 1))


def check_temperature(
    temperature: Temperature | None,
    task: str,
    names: Sequence[str] | None = None,
    groups: Iterable[Sequence[int]] = (),
) -> float | list[float] | None:
    """Check what logits are divided by before they become probabilities.

    Args:
        temperature: one; for "multilabel" also a sequence of L, or a dict of all label names. None
            passes.
        task: "multilabel" or "multiclass".
        names: of all labels, in the order of their ids.
        groups: ids of labels that exclude each other; they share a softmax, and so a temperature.

    Returns:
        A float, or a list of L in the order of the ids.

    Raises:
        ValueError: out of `TEMPERATURES`, not one per label, or several in a group.

    Example:
        >>> check_temperature({"place": 2, "person": 1.5}, "multilabel", ["person", "place"])
        [1.5, 2.0]
    """
    if temperature is None:
        return None
    values = as_floats(in_order("temperature", temperature, names))
    size = values.size if names is None else len(names)
    if values.shape not in [(), *([(size,)] if task == "multilabel" and size else [])]:
        raise ValueError(
            f"`temperature` must be one number{_or_per_label(task, names)} for task={task!r}, got "
            f"{temperature!r:.200}."
        )
    lowest, highest = TEMPERATURES
    if not ((values >= lowest) & (values <= highest)).all():
        raise ValueError(
            f"`temperature` must be in [{lowest:g}, {highest:g}], got {temperature!r:.200}. "
            "`fit_temperature` finds it on validation data."
        )
    for ids in groups:
        if values.ndim and len({float(values[index]) for index in ids}) > 1:
            raise ValueError(
                "Labels of a group must share a `temperature`, as they share a softmax; got "
                f"{values[list(ids)].tolist()} for {[names[i] if names else i for i in ids]}."
            )
    return values.tolist()


def _or_per_label(task: str, names: Sequence[str] | None) -> str:
    if task != "multilabel":
        return ""
    return f", or {'one per label' if names is None else f'{len(names)}, one per label'},"


def check_unmoved(
    thresholds: Thresholds | None, before: Temperature | None, after: Temperature | None
) -> None:
    """Raise ValueError if thresholds would stay where they are at another temperature.

    Example:
        >>> check_unmoved(0.5, before=None, after=1.0)
    """
    one, other = (1.0 if value is None else value for value in (before, after))
    if thresholds is not None and one != other:
        raise ValueError(
            f"The `thresholds` are for temperature {one!r:.200}, got {other!r:.200}. Call "
            "config.set_temperature, which moves them along, or set new `thresholds` for it: "
            "assign None first, or pass both."
        )


def move_thresholds(
    thresholds: float | Sequence[float] | None,
    task: str,
    before: float | Sequence[float] | None,
    after: float | Sequence[float] | None,
    groups: Sequence[Sequence[int]] = (),
    num_labels: int = 1,
) -> float | list[float] | None:
    """Return the thresholds that decide at another temperature as these do, to single precision.

    The sigmoid of a label keeps its order. A softmax does not: whether a position's top class or a
    group's answer is less probable than another one's depends on the temperature. There, only a
    threshold that rejects nothing can follow.

    Args:
        thresholds: as `check_thresholds` returns them.
        task: "multilabel" or "multiclass".
        before: the temperature that they are for; None is 1.
        after: the new temperature; None is 1.
        groups: ids of labels that exclude each other.
        num_labels: L.

    Raises:
        ValueError: a threshold that no other decides as.

    Example:
        >>> [round(t, 3) for t in move_thresholds([0.5, 0.9, 1.0], "multilabel", None, 2.0)]
        [0.5, 0.75, 1.0]
    """
    if thresholds is None:
        return None
    old, sizes = np.array(thresholds, dtype=np.float64), np.zeros(np.shape(thresholds))
    if task == "multiclass":
        sizes[...] = num_labels
    for ids in groups:
        sizes[list(ids)] = len(ids) + 1
    ratio = np.divide(1.0 if before is None else before, 1.0 if after is None else after)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        odds = np.log(old) - np.log1p(-old)
        new = np.where(ratio == 1, old, 1 / (1 + np.exp(-odds * ratio)))
        single = new.astype(np.float32).astype(np.float64)  # what `decide` compares with
        drift = np.abs((np.log(single) - np.log1p(-single)) / ratio - odds)
    softmax, rejects = (sizes > 0) & (ratio != 1), old * sizes >= 1
    new[softmax & ~rejects] = 0.0
    lost = np.where(softmax, rejects, np.isfinite(odds) & ~(drift < _MAX_DRIFT))
    if lost.any():
        raise ValueError(
            f"`thresholds` cannot be moved to temperature {after}, got {old[lost].tolist()}: what "
            "they decide would change. Fit the temperature first, then tune the thresholds: set "
            "config.thresholds to None, then config.temperature."
        )
    return new.tolist()
