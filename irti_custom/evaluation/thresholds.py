"""Choose the probabilities to decide by, from validation data.

    logits (N, M, L), labels  ->  one sorted sweep per label  ->  [0.31, 0.64, ...]

A cut takes the scores above it for positive. Scores are ranked once, so that every cut is tried at
the price of a sort; thresholds lie midway between the two scores that a cut parts.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ..labels import IGNORE_INDEX, check_task
from .counts import check_values, count, ratio, scores_of
from .metrics import batches, labelled

OBJECTIVES = {
    "multilabel": ("f1", "micro_f1", "accuracy", "balanced_accuracy"),
    "multiclass": ("f1", "micro_f1"),
}
# Scores nearer to each other than this share of the larger count as tied: float32 on another
# device, or in another order of summation, may not tell them apart.
_RESOLUTION = 16 * float(np.finfo(np.float32).eps)
_SMALLEST = 10 * float(np.finfo(np.float32).tiny)


def tune_thresholds(
    logits: Any,
    labels: Any,
    task: str = "multilabel",
    objective: str = "f1",
    beta: float = 1.0,
    min_positives: int = 5,
    default: float | None = None,
) -> list[float] | float:
    """Find the thresholds that are best on validation data, by trying every cut.

    For "multilabel" one per label. For "multiclass" one, under which the top class is rejected: the
    position then has no predicted class, which costs recall and may gain precision.

    On the data given, the objective is never worse than with `default`, and `default` stays unless
    another threshold is strictly better. On other data it can be: report scores from a third split.
    Probabilities within 2e-6 of each other count as tied, so that single precision decides alike.

    - "f1", "multilabel": F of each label, so that their macro mean is best, too. "multiclass":
      ``macro_f1`` of `make_compute_metrics`; a class never answered for has F = 0.
    - "micro_f1": F of the sums over all labels, found exactly by Dinkelbach's method (1967).
      "multiclass": precision is over the answered positions, recall over all.
    - "accuracy", "multilabel": share of elements that are right.
    - "balanced_accuracy", "multilabel": mean recall of a label's positives and negatives, for
      decisions that should not depend on how frequent it is.

    Args:
        logits: ``(N, M, L)`` or ``(P, L)``, arrays or tensors; or a list with one array per batch.
        labels: as for `make_compute_metrics`, ``(N, M, L)`` or ``(P, L)`` of 0/1 for "multilabel",
            ``(N, M)`` or ``(P,)`` class ids for "multiclass"; the same are ignored.
        task: "multilabel" or "multiclass".
        objective: see above.
        beta: F-beta weighs recall `beta` times as much as precision (van Rijsbergen 1979).
        min_positives: with fewer positives than this, a label keeps `default`. For "multiclass",
            positions whose largest logit is right.
        default: the threshold to beat; by default 0.5, for "multiclass" 0 (nothing is rejected).

    Returns:
        L floats, or one for "multiclass"; for ``config.thresholds`` and `make_compute_metrics`.

    Raises:
        ValueError: settings that do not fit each other; shapes that disagree; labels that are not
            0/1 or not in ``[0, L - 1]``; logits that are not finite.

    Example:
        >>> logits = np.array([[-1.0, 3.0], [-2.0, 1.0], [-4.0, 2.0]])
        >>> labels = np.array([[1, 1], [1, 0], [0, 1]])
        >>> [round(threshold, 3) for threshold in tune_thresholds(logits, labels, min_positives=2)]
        [0.069, 0.806]
        >>> round(tune_thresholds(logits, np.array([1, 0, 1]), "multiclass", min_positives=2), 3)
        0.967
    """
    check_settings(task, objective, beta, min_positives, default)
    if default is None:
        default = 0.5 if task == "multilabel" else 0.0
    parts = [labelled(task, *_with_rows(*batch)) for batch in batches((logits, labels))]
    scores, true = (np.concatenate(arrays) for arrays in zip(*parts))
    if task == "multiclass":
        return _tune_rejection(scores, true, objective, beta, min_positives, default)
    columns = [_cuts_of_label(*column, min_positives, default) for column in zip(scores.T, true.T)]
    if objective == "micro_f1":
        return _tune_micro(columns, beta)
    return [float(cuts.thresholds[_best(cuts, objective, beta)]) for cuts in columns]


class Cuts(NamedTuple):
    """What C cuts through ranked scores would predict; the first one is at the default."""

    thresholds: np.ndarray  # (C,)
    hits: np.ndarray  # (C,) true and predicted
    predicted: np.ndarray  # (C,)
    support: int  # true
    elements: int


def _cuts(scores: np.ndarray, true: np.ndarray, min_positives: int, default: float) -> Cuts:
    """Rank scores ``(P,)`` and count at every cut; no measure here gains from one in between.

    Left out are cuts through a tie, and those that add only negatives to the cut before.
    """
    above = scores >= default
    thresholds, hits = np.array([default]), np.array([(above & true).sum()])
    predicted = np.array([above.sum()])
    if true.sum() >= max(min_positives, 1):
        order = np.argsort(-scores, kind="stable")
        ranked, found = scores[order], np.concatenate([[0], np.cumsum(true[order])])
        upper, lower = np.append(1.0, ranked), np.append(ranked, 0.0)
        whole = upper - lower > _RESOLUTION * upper + _SMALLEST
        whole[-1] = True  # below all scores, however small they are
        cut = np.flatnonzero(whole)
        cut = cut[np.diff(found[cut], prepend=-1) > 0]
        middle = (upper[cut] + lower[cut]) / 2
        # float32 sigmoids become 0 down there, on some devices before the smallest float32.
        thresholds = np.append(thresholds, np.where(middle < _SMALLEST / 2, 0, middle))
        hits, predicted = np.append(hits, found[cut]), np.append(predicted, cut)
    return Cuts(thresholds, hits, predicted, int(true.sum()), len(true))


def _cuts_of_label(
    logits: np.ndarray, labels: np.ndarray, min_positives: int, default: float
) -> Cuts:
    kept = labels != IGNORE_INDEX
    logits, labels = logits[kept], labels[kept]
    check_values(logits, labels, [0, 1], "0 or 1")
    return _cuts(scores_of("multilabel", logits), labels == 1, min_positives, default)


def _tune_micro(columns: list[Cuts], beta: float) -> list[float]:
    """Maximise F over all labels at once.

    F = a / b is at least x where a - x * b >= 0, and for a given x each label adds to that on its
    own. Starting from the defaults, x = F of the best choice so far, until that stays.
    """
    rows, support = [0] * len(columns), sum(cuts.support for cuts in columns)
    while True:
        chosen = [(cuts.hits[row], cuts.predicted[row]) for cuts, row in zip(columns, rows)]
        hits, predicted = np.sum(chosen, axis=0)
        reached = _f_beta(hits, predicted, support, beta)
        gains = [(1 + beta**2) * cuts.hits - reached * cuts.predicted for cuts in columns]
        better = [int(gain.argmax()) for gain in gains]  # the first of equals, so the default's
        sums = [(cuts.hits[row], cuts.predicted[row]) for cuts, row in zip(columns, better)]
        hits, predicted = np.sum(sums, axis=0)
        if not _f_beta(hits, predicted, support, beta) > reached:
            return [float(cuts.thresholds[row]) for cuts, row in zip(columns, rows)]
        rows = better


def _tune_rejection(
    logits: np.ndarray,
    labels: np.ndarray,
    objective: str,
    beta: float,
    min_positives: int,
    default: float,
) -> float:
    num_labels = logits.shape[1]
    check_values(logits, labels, np.arange(num_labels), f"in [0, {num_labels - 1}]")
    scores, ids = scores_of("multiclass", logits), logits.argmax(axis=1)
    cuts = _cuts(scores, ids == labels, min_positives, default)
    if objective == "micro_f1":
        return float(cuts.thresholds[_best(cuts._replace(support=len(labels)), "f1", beta)])
    order = np.argsort(-scores, kind="stable")
    values = _macro_f(ids[order], labels[order].astype(np.int64), num_labels, beta)
    best = float(cuts.thresholds[_nearest_best(values[cuts.predicted], cuts.thresholds)])

    def exact(threshold: float) -> float:
        total = count("multiclass", logits, labels, np.array(threshold))
        present = np.sum(total.predicted + total.support > 0)
        scores = _f_beta(total.hits, total.predicted, total.support, beta)
        return float(ratio(scores.sum(), present))

    # `values` are running sums, whose rounding must not count as a gain.
    return best if exact(best) > exact(default) else default


def _macro_f(ids: np.ndarray, labels: np.ndarray, num_labels: int, beta: float) -> np.ndarray:
    """Compute macro F when the first 0, 1, ..., P of P ranked positions are answered, ``(P + 1,)``.

    One more answer changes the F of one class, so that differences add up.
    """
    support = np.bincount(labels, minlength=num_labels)
    by_class = np.argsort(ids, kind="stable")
    answered = np.bincount(ids, minlength=num_labels)
    before = np.repeat(np.cumsum(answered) - answered, answered)  # positions of lower classes
    hits = np.concatenate([[0], np.cumsum((ids == labels)[by_class])])
    hits, rank = hits[1:] - hits[before], np.arange(len(ids)) - before
    values = _f_beta(hits, rank + 1, support[ids[by_class]], beta)
    steps, new = np.empty(len(ids)), np.empty(len(ids), dtype=bool)
    steps[by_class] = values - np.where(rank > 0, np.roll(values, 1), 0)
    new[by_class] = (rank == 0) & (support[ids[by_class]] == 0)
    present = (support > 0).sum() + np.cumsum(new)
    return np.concatenate([[0.0], ratio(np.cumsum(steps), present)])


def _best(cuts: Cuts, objective: str, beta: float) -> int:
    """Return the row of the best cut."""
    hits, predicted, elements = cuts.hits, cuts.predicted, cuts.elements
    negatives = elements - cuts.support
    rejected = negatives - (predicted - hits)  # negative and not predicted
    if objective == "accuracy":
        values = ratio(hits + rejected, elements)
    elif objective == "balanced_accuracy":
        values = (ratio(hits, cuts.support) + ratio(rejected, negatives)) / 2
    else:
        values = _f_beta(hits, predicted, cuts.support, beta)
    return _nearest_best(values, cuts.thresholds)


def _nearest_best(values: np.ndarray, thresholds: np.ndarray) -> int:
    """Return the row of the largest value; of equals, the one nearest to the first threshold."""
    rows = np.flatnonzero(values == values.max())
    return int(rows[np.abs(thresholds[rows] - thresholds[0]).argmin()])


def _f_beta(hits: Any, predicted: Any, support: Any, beta: float) -> np.ndarray:
    hits, predicted, support = np.asarray(hits), np.asarray(predicted), np.asarray(support)
    return ratio((1 + beta**2) * hits, predicted + beta**2 * support)


def _with_rows(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give ``(P, L)`` the dimension that `labelled` expects."""
    return (logits[None], labels[None]) if logits.ndim == 2 else (logits, labels)


def check_settings(
    task: str, objective: str, beta: float, min_positives: int, default: float | None
) -> None:
    """Refuse settings of `tune_thresholds` that do not fit each other.

    Raises:
        ValueError: see above.

    Example:
        >>> check_settings("multiclass", "micro_f1", beta=0.5, min_positives=5, default=None)
    """
    check_task(task)
    if objective not in OBJECTIVES[task]:
        hint = "" if task == "multilabel" else " No other measure gains from a rejection."
        raise ValueError(
            f"`objective` must be one of {OBJECTIVES[task]} for task={task!r}, got {objective!r}."
            f"{hint}"
        )
    if not 0 < beta < math.inf or (beta != 1 and objective not in OBJECTIVES["multiclass"]):
        raise ValueError(
            f"`beta` must be above 0 and finite, and 1 where no F is tuned, got {beta!r} with "
            f"objective={objective!r}. Is 'f1' or 'micro_f1' meant?"
        )
    if min_positives < 0:
        raise ValueError(f"`min_positives` must be at least 0, got {min_positives!r}.")
    if default is not None and not 0 <= default <= 1:
        raise ValueError(
            f"`default` must be a probability in [0, 1], got {default!r}. For a threshold on "
            "logits pass its sigmoid."
        )
