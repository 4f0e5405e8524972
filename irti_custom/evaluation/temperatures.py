"""Fit the temperature at which a model's probabilities suit validation data best.

    logits (N, M, L), labels  ->  argmin over T of the negative log-likelihood of logits / T

The likelihood is convex in 1 / T, so that the root of its slope is the one best answer.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from ..decisions import TEMPERATURES, scores_of_group
from ..labels import IGNORE_INDEX, check_group_ids, check_task, resolve_labels
from .counts import check_values
from .metrics import collect_positions

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

logger = logging.getLogger(__name__)


def fit_temperature(
    logits: ArrayLike,
    labels: ArrayLike,
    task: str = "multilabel",
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
        task: "multilabel" or "multiclass".
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
        >>> logits = np.array([[4.0], [4.0], [4.0], [4.0], [-4.0], [-4.0], [-4.0], [-4.0]])
        >>> labels = np.array([[1], [1], [1], [0], [0], [0], [0], [1]])
        >>> temperature = fit_temperature(logits, labels)  # three in four are right
        >>> round(1 / (1 + math.exp(-4.0 / temperature)), 6)
        0.75
    """
    check_task(task)
    if per_label and task == "multiclass":
        raise ValueError(
            "`per_label` is for task='multilabel', got task='multiclass', whose labels share a "
            "softmax, and so a temperature."
        )
    if min_positives < 0:
        raise ValueError(f"`min_positives` must be at least 0, got {min_positives!r}.")
    scores, targets = collect_positions(task, logits, labels)
    names = resolve_labels(scores.shape[-1], id2label, None) or {}
    softmaxes = _softmaxes(task, scores, targets, check_group_ids(groups, task, len(names)))
    shared = _best(softmaxes)
    if isinstance(shared, str):
        logger.warning("The temperature stays 1: %s.", shared)
        shared = 1.0
    if not per_label:
        return shared
    values, kept = [shared] * len(names), []
    for softmax in softmaxes:
        rare = min(softmax.positives, len(softmax.true) - softmax.positives) < min_positives
        value = "too few positives or negatives" if rare else _best([softmax])
        for index in softmax.ids:
            if isinstance(value, str):
                kept.append(f"{names[index]!r} ({value})" if id2label else f"{index} ({value})")
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
    scores: np.ndarray  # (P, K), the largest of a position is 0
    true: np.ndarray  # (P,), the score of what holds
    positives: int


def _softmaxes(
    task: str, logits: np.ndarray, targets: np.ndarray, groups: Sequence[Sequence[int]]
) -> list[_Softmax]:
    num_labels = logits.shape[1]
    if task == "multiclass":
        check_values(logits, targets, np.arange(num_labels), f"in [0, {num_labels - 1}]")
        return [_softmax(range(num_labels), logits, targets.astype(np.int64))]
    known = targets != IGNORE_INDEX
    check_values(logits[known], targets[known], [0, 1], "0 or 1")
    grouped = {index for ids in groups for index in ids}
    alone = [[index] for index in range(num_labels) if index not in grouped]
    found = []
    for ids in [*alone, *groups]:
        held = targets[:, ids] == 1
        if (held.sum(axis=1) > 1).any():
            raise ValueError(
                f"At most one label of a group can hold at a position, got several of {list(ids)}."
            )
        rows = held.any(axis=1) | known[:, ids].all(axis=1)
        scores = logits[np.ix_(rows, ids)].astype(np.float64)
        check_values(scores, targets[np.ix_(rows, ids)], [0, 1, IGNORE_INDEX], "0 or 1")
        with_none = np.pad(_group_scores(scores) if len(ids) > 1 else scores, [(0, 0), (0, 1)])
        place = np.where(held.any(axis=1), held.argmax(axis=1), len(ids))[rows]
        found.append(_softmax(ids, with_none, place))
    return found


def _group_scores(logits: np.ndarray) -> np.ndarray:
    return scores_of_group(torch.from_numpy(logits)).numpy()


def _softmax(ids: Sequence[int], scores: np.ndarray, place: np.ndarray) -> _Softmax:
    shifted = scores.astype(np.float64) - scores.max(axis=1, keepdims=True)
    true = shifted[np.arange(len(place)), place]
    return _Softmax(ids, shifted, true, int((place < len(ids)).sum()))


def _best(softmaxes: Sequence[_Softmax]) -> float | str:
    """Return the best temperature in `TEMPERATURES`, or why there is none."""
    from scipy.optimize import brentq  # here: slow to import

    def slope(log_temperature: float) -> float:
        """Differentiate the negative log-likelihood by 1 / T: it only grows with 1 / T."""
        total, inverse = 0.0, math.exp(-log_temperature)
        for softmax in softmaxes:
            weights = np.exp(softmax.scores * inverse)
            means = (weights * softmax.scores).sum(axis=1) / weights.sum(axis=1)
            total += float((means - softmax.true).sum())
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
