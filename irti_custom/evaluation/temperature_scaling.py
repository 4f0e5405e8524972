"""Temperature scaling: fit the temperature whose probabilities suit validation data best.

    logits (N, M, L), labels  ->  argmin over T of the negative log-likelihood of logits / T

The likelihood is convex in 1 / T, so that the root of its slope is the one best answer.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from ..labels import IGNORE_INDEX
from ..rule import TEMPERATURES, Rule, columns, scores_of_group, with_none
from .stat_scores import check_width, collect_positions, resolve_rule, to_tensor, validate

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from .stat_scores import RuleLike

logger = logging.getLogger(__name__)


def fit_temperature(
    logits: ArrayLike,
    labels: ArrayLike,
    task: RuleLike = "multilabel",
    per_label: bool = False,
    groups: Sequence[Sequence[int]] = (),
    min_positives: int = 5,
    id2label: Mapping[Any, str] | None = None,
) -> float | list[float]:
    """Find the temperature with the highest likelihood (Guo et al. 2017), exactly.

    Use data that the model was not trained on. A temperature changes no top class, no answer of a
    group, and no order of the positions by a label; `config.set_temperature` stores it.

    Data that no temperature suits best (a label without errors would be ever surer, logits that
    say nothing ever less sure) have none in `TEMPERATURES`: the answer is 1 then, and for one of
    several labels the temperature of all together. A warning says so.

    Args:
        logits: ``(N, M, L)`` or ``(P, L)``, arrays or tensors; or a list with one array per batch.
        labels: as for `tune_thresholds`; `IGNORE_INDEX` drops a position or an element.
        task: "multilabel" or "multiclass"; or ``model.config``, or its ``rule``, and then `groups`
            and `id2label` are known. Their temperature and thresholds change nothing.
        per_label: one temperature per label, for "multilabel". The labels of a group share one.
        groups: ``model.config.group_ids``. In a group, what is divided are the scores of its labels
            in the softmax with "none". A position where none is known to hold, and some are not
            known, is left out of its likelihood.
        min_positives: with `per_label`, a label or group with fewer positives, or fewer negatives,
            takes the temperature of all labels together.
        id2label: names of the labels, for messages.

    Returns:
        A float in `TEMPERATURES`, or L of them.

    Raises:
        ValueError: settings that contradict each other; shapes that disagree; labels that are not
            0/1 or not in ``[0, L - 1]``, or several of a group; logits that are not finite.

    Example:
        >>> logits = torch.tensor([[4.0], [4.0], [4.0], [4.0], [-4.0], [-4.0], [-4.0], [-4.0]])
        >>> labels = torch.tensor([[1], [1], [1], [0], [0], [0], [0], [1]])
        >>> temperature = fit_temperature(logits, labels)  # three in four are right
        >>> round(1 / (1 + math.exp(-4.0 / temperature)), 6)
        0.75
    """
    scores, targets = collect_positions(task, logits, labels)
    rule = resolve_rule(task, id2label, groups=groups, num_labels=scores.shape[-1])
    check_width(rule, scores.shape)
    if per_label and rule.task == "multiclass":
        raise ValueError(
            "`per_label` is for task='multilabel', got task='multiclass', whose labels share a "
            "softmax, and so a temperature."
        )
    if min_positives < 0:
        raise ValueError(f"`min_positives` must be at least 0, got {min_positives!r}.")
    softmaxes = _softmaxes(rule, to_tensor(scores), to_tensor(targets))
    shared = _best(softmaxes)
    if isinstance(shared, str):
        logger.warning("The temperature stays 1: %s.", shared)
        shared = 1.0
    if not per_label:
        return shared
    names, values = rule.label_names or (), [shared] * scores.shape[-1]
    kept = []
    for softmax in softmaxes:
        rare = min(softmax.positives, len(softmax.true) - softmax.positives) < min_positives
        value = "too few positives or negatives" if rare else _best([softmax])
        for index in softmax.ids:
            if isinstance(value, str):
                kept.append(f"{names[index]!r} ({value})")
            else:
                values[index] = value
    if kept:
        logger.warning(
            "These labels take the temperature of all together, %.4g: %s.", shared, ", ".join(kept)
        )
    return values


class _Softmax(NamedTuple):
    """Labels that share a softmax, "none" among them for "multilabel"."""

    ids: Sequence[int]
    scores: torch.Tensor  # (K, P), the largest of a position is 0
    true: torch.Tensor  # (P,), the score of what holds
    positives: int


def _softmaxes(rule: Rule, logits: torch.Tensor, labels: torch.Tensor) -> list[_Softmax]:
    validate(rule.task, logits, labels)
    size = logits.shape[1]
    if rule.task == "multiclass":
        return [_softmax(range(size), logits, labels.long())]
    known = labels != IGNORE_INDEX
    grouped = {index for ids in rule.group_ids for index in ids}
    alone = [[index] for index in range(size) if index not in grouped]
    found = []
    for ids in [*alone, *rule.group_ids]:
        held = columns(labels, ids) == 1
        if (held.sum(1) > 1).any():
            raise ValueError(
                f"At most one label of a group can hold at a position, got several of {list(ids)}."
            )
        place = torch.where(held.any(1), held.long().argmax(1), len(ids))
        rows = held.any(1) | columns(known, ids).all(1)
        scores = columns(logits, ids)[rows]
        validate(rule.task, scores, torch.zeros_like(scores))  # those of unknown labels, too
        scores = with_none(scores_of_group(scores) if len(ids) > 1 else scores)
        found.append(_softmax(ids, scores, place[rows]))
    return found


def _softmax(ids: Sequence[int], scores: torch.Tensor, place: torch.Tensor) -> _Softmax:
    shifted = (scores - scores.amax(1, keepdim=True)).T.contiguous()
    true = shifted.gather(0, place[None])[0]
    return _Softmax(ids, shifted, true, int((place < len(ids)).sum()))


def _best(softmaxes: Sequence[_Softmax]) -> float | str:
    """Return the best temperature in `TEMPERATURES`, or why there is none."""
    from scipy.optimize import brentq  # here: slow to import

    def slope(log_temperature: float) -> float:
        """Differentiate the negative log-likelihood by 1 / T: it only grows with 1 / T."""
        total, inverse = 0.0, math.exp(-log_temperature)
        for softmax in softmaxes:
            weights = (softmax.scores * inverse).exp_()
            whole = weights.sum(0)
            total += float((weights.mul_(softmax.scores).sum(0) / whole - softmax.true).sum())
        return total

    lowest, highest = (math.log(value) for value in TEMPERATURES)
    if not any(len(softmax.true) for softmax in softmaxes):
        return "there is nothing to fit it to"
    if not any(softmax.true.any() for softmax in softmaxes):
        return "nothing is wrong, so that being ever surer suits the data best"
    if slope(highest) >= 0:
        return "the logits say nothing about the labels, or the wrong thing"
    if slope(lowest) <= 0:
        return "the logits are too close to each other, or almost nothing is wrong"
    return math.exp(brentq(slope, lowest, highest, xtol=1e-12))
