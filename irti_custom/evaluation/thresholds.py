"""Tune decision thresholds on validation data.

    logits (N, M, L), labels  ->  one sorted sweep per label  ->  [0.31, 0.64, ...]

A cut predicts the scores above it as positive. Scores are ranked once, so that trying every cut
costs one sort; a threshold lies midway between the two scores that its cut separates.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..labels import IGNORE_INDEX
from ..rule import Rule, lead
from .risk_control import (
    PROMISES,
    Promise,
    check_promise,
    keep_by_rejection,
    keep_found_share,
    keep_over_all,
    keep_per_label,
)
from .stat_scores import (
    check_width,
    collect_positions,
    probabilities,
    ratio,
    resolve_rule,
    task_of,
    to_tensor,
    update,
)
from .threshold_sweep import Cuts, label_cuts, rank_cuts

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from .stat_scores import RuleLike

OBJECTIVES = {
    "multilabel": ("f1", "micro_f1", "accuracy", "balanced_accuracy"),
    "multiclass": ("f1", "micro_f1"),
}


def tune_thresholds(
    logits: ArrayLike,
    labels: ArrayLike,
    task: RuleLike = "multilabel",
    objective: str = "f1",
    beta: float = 1.0,
    min_positives: int = 5,
    default: float | None = None,
    at_least: float | None = None,
    over: str = "label",
    confidence: float | str | None = None,
    **settings: Any,
) -> list[float] | float:
    """Find the best thresholds on validation data, by trying every cut.

    For "multilabel" one per label. For "multiclass" one, under which the top class is rejected: the
    position then has no predicted class, which costs recall and may gain precision.

    On this data, the objective is never worse than with `default`, and `default` is kept unless
    another threshold is strictly better. On other data it can be: report scores from a third split.
    Probabilities within 2e-6 of each other count as tied, so that single precision decides alike.

    - "f1", "multilabel": F of each label, and so their macro mean. "multiclass": ``macro_f1`` of
      `make_compute_metrics`; a class that is never predicted has F = 0.
    - "micro_f1": F of the sums over all labels, found exactly by Dinkelbach's method (1967).
      "multiclass": precision is over the positions that are not rejected, recall over all.
    - "accuracy", "multilabel": share of correct elements.
    - "balanced_accuracy", "multilabel": mean recall of a label's positives and negatives, for
      decisions that should not depend on how frequent it is.
    - "recall" or "precision", with `at_least`: a promise, and the best of the other measure that
      keeps it. "multiclass": "precision" of the positions that are not rejected, with the best
      coverage; "recall" is the share of all positions that are right and not rejected. What cannot
      keep it comes as near as it can, and a warning names it.

    A promise is kept on this data. With a `confidence` it is kept on new data that is exchangeable
    with it, which takes more positives, and a better value on this data:

    - a probability, such as .9: for nine in ten such data sets, the recall or precision of all that
      is to come is at least as promised (Clopper and Pearson's bound for a recall, learn then test
      of Angelopoulos et al. 2021 for a precision);
    - "marginal", for a recall: on average over such data sets (conformal risk control, Angelopoulos
      et al. 2024).

    The unit is a position that has the label, for a recall, or that is predicted to have it, for a
    precision, and the promise is made to each label by itself: for all L at once, pass
    ``1 - (1 - confidence) / L``. Positions of one text depend on each other, so that fewer of them
    are independent than the bound takes for granted: keep one position of each text, at random,
    and set the labels of the others to `IGNORE_INDEX`. Where the data cannot show that any
    threshold keeps the promise, the label gets 0 for a recall (all are predicted) and 1 for a
    precision (none is).

    Args:
        logits: ``(N, M, L)`` or ``(P, L)``, arrays or tensors; or a list with one array per batch.
        labels: as for `make_compute_metrics`, ``(N, M, L)`` or ``(P, L)`` of 0/1 for "multilabel",
            ``(N, M)`` or ``(P,)`` class ids for "multiclass", with the same ignored.
        task: ``model.config``, or its ``rule``; or "multilabel" or "multiclass" and `settings`. The
            thresholds of a rule change nothing.
        objective: see above.
        beta: F-beta weighs recall `beta` times as much as precision (van Rijsbergen 1979).
        min_positives: a label with fewer positives keeps `default`; for "multiclass", these are the
            positions whose largest logit is correct.
        default: the threshold to beat; by default 0.5, for "multiclass" and for labels of a group 0
            (nothing is rejected).
        at_least: the recall or precision that is promised.
        over: "label": each label keeps the promise by itself. "all": the sums over all labels keep
            it, found exactly, in time with the square of the number of positives. With a
            `confidence` all labels get one threshold, and the promise is about the share of its
            labels that a position with labels is found, as their mean over positions.
        confidence: see above; None promises nothing about new data.
        **settings: `id2label`, `groups` and `temperature`, as for `make_compute_metrics`, where
            there is no rule.

    Returns:
        L floats, or one for "multiclass"; for ``config.thresholds`` and `make_compute_metrics`.

    Raises:
        ValueError: settings that contradict each other; shapes that disagree; labels that are not
            0/1 or not in ``[0, L - 1]``; logits that are not finite.

    Example:
        >>> logits = np.array([[-1.0, 3.0], [-2.0, 1.0], [-4.0, 2.0]])
        >>> labels = np.array([[1, 1], [1, 0], [0, 1]])
        >>> [round(threshold, 3) for threshold in tune_thresholds(logits, labels, min_positives=2)]
        [0.069, 0.806]
        >>> round(tune_thresholds(logits, np.array([1, 0, 1]), "multiclass", min_positives=2), 3)
        0.967
    """
    name = task_of(task)
    promise = check_settings(
        name, objective, beta, min_positives, default, at_least, over, confidence
    )
    scores, targets = collect_positions(task, logits, labels)
    rule = resolve_rule(task, num_labels=scores.shape[-1], **settings)
    check_width(rule, scores.shape)
    rule = replace(rule, thresholds=default)
    if rule.task == "multiclass":
        return _tune_rejection(rule, scores, targets, promise, objective, beta, min_positives)
    num_labels = scores.shape[-1]
    defaults = np.broadcast_to(rule.limits, num_labels).tolist()
    chances, kept = probabilities(rule, scores, targets), targets != IGNORE_INDEX
    leads = lead(to_tensor(scores).nan_to_num_(0.0, 0.0, 0.0), rule.group_ids).numpy()
    if promise is not None and promise.confidence is not None and over == "all":
        return [keep_found_share(chances, targets, leads, promise)] * num_labels
    if promise is not None and over == "label":
        columns = range(num_labels)
        ranked = [(chances[:, i], targets[:, i] == 1, leads[:, i] & kept[:, i]) for i in columns]
        return keep_per_label(
            [(x[can], true[can], int(true.sum())) for x, true, can in ranked],
            promise,
            min_positives=min_positives,
            defaults=defaults,
            names=rule.label_names or (),
        )
    cuts_per_label = [
        label_cuts(chances[:, i], targets[:, i], leads[:, i], min_positives, defaults[i])
        for i in range(num_labels)
    ]
    if promise is not None:
        return keep_over_all(cuts_per_label, promise)
    if objective == "micro_f1":
        return _tune_micro(cuts_per_label, beta)
    return [float(cuts.thresholds[_best_cut(cuts, objective, beta)]) for cuts in cuts_per_label]


def _tune_micro(cuts_per_label: list[Cuts], beta: float) -> list[float]:
    """Maximise F over all labels at once.

    F = a / b is at least x where a - x * b >= 0, and for a given x each label contributes to that
    independently. x starts as the F of the defaults and becomes the F of the best choice, until
    that no longer improves.
    """
    support = sum(cuts.support for cuts in cuts_per_label)

    def micro_f(choice: list[int]) -> np.ndarray:
        hits = sum(cuts.hits[index] for cuts, index in zip(cuts_per_label, choice))
        predicted = sum(cuts.predicted[index] for cuts, index in zip(cuts_per_label, choice))
        return _f_beta(hits, predicted, support, beta)

    choice = [0] * len(cuts_per_label)
    while True:
        best = micro_f(choice)
        gains = [(1 + beta**2) * cuts.hits - best * cuts.predicted for cuts in cuts_per_label]
        better = [int(gain.argmax()) for gain in gains]  # the first of equals, so the default's
        if not micro_f(better) > best:
            break
        choice = better
    return [float(cuts.thresholds[index]) for cuts, index in zip(cuts_per_label, choice)]


def _tune_rejection(
    rule: Rule,
    logits: np.ndarray,
    labels: np.ndarray,
    promise: Promise | None,
    objective: str,
    beta: float,
    min_positives: int,
) -> float:
    """Return the threshold under which the top class is rejected; a rule has the default."""
    num_labels, default = logits.shape[1], float(np.max(rule.limits))
    scores, ids = probabilities(rule, logits, labels).max(axis=1), logits.argmax(axis=1)
    if promise is not None:
        return keep_by_rejection(scores, ids == labels, promise, min_positives, default)
    cuts = rank_cuts(scores, ids == labels, min_positives, default)
    if objective == "micro_f1":
        return float(cuts.thresholds[_best_cut(cuts._replace(support=len(labels)), "f1", beta)])
    order = np.argsort(-scores, kind="stable")
    values = _running_macro_f(ids[order], labels[order].astype(np.int64), num_labels, beta)
    best = float(cuts.thresholds[_nearest_best(values[cuts.predicted], cuts.thresholds)])

    def exact_macro_f(threshold: float) -> float:
        total = update(replace(rule, thresholds=threshold), logits, labels)
        present = np.sum(total.predicted + total.support > 0)
        scores = _f_beta(total.hits, total.predicted, total.support, beta)
        return float(ratio(scores.sum(), present))

    # `values` are running sums, whose rounding must not count as a gain.
    return best if exact_macro_f(best) > exact_macro_f(default) else default


def _running_macro_f(
    ids: np.ndarray, labels: np.ndarray, num_labels: int, beta: float
) -> np.ndarray:
    """Compute macro F with the first 0, 1, ..., P of P ranked positions predicted, ``(P + 1,)``.

    Each further prediction changes the F of one class only, so that differences add up.
    """
    support = np.bincount(labels, minlength=num_labels)
    by_class = np.argsort(ids, kind="stable")
    predicted = np.bincount(ids, minlength=num_labels)
    before = np.repeat(np.cumsum(predicted) - predicted, predicted)  # positions of lower classes
    hits = np.concatenate([[0], np.cumsum((ids == labels)[by_class])])
    hits, rank = hits[1:] - hits[before], np.arange(len(ids)) - before
    values = _f_beta(hits, rank + 1, support[ids[by_class]], beta)
    steps, new = np.empty(len(ids)), np.empty(len(ids), dtype=bool)
    steps[by_class] = values - np.where(rank > 0, np.roll(values, 1), 0)
    new[by_class] = (rank == 0) & (support[ids[by_class]] == 0)
    present = (support > 0).sum() + np.cumsum(new)
    return np.concatenate([[0.0], ratio(np.cumsum(steps), present)])


def _best_cut(cuts: Cuts, objective: str, beta: float) -> int:
    """Return the index of the best cut."""
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
    """Return the index of the largest value; of equals, the one nearest to the first threshold."""
    indices = np.flatnonzero(values == values.max())
    return int(indices[np.abs(thresholds[indices] - thresholds[0]).argmin()])


def _f_beta(
    hits: np.ndarray | int, predicted: np.ndarray | int, support: np.ndarray | int, beta: float
) -> np.ndarray:
    return ratio((1 + beta**2) * hits, predicted + beta**2 * support)


def check_settings(
    task: str,
    objective: str,
    beta: float,
    min_positives: int,
    default: float | None,
    at_least: float | None = None,
    over: str = "label",
    confidence: float | str | None = None,
) -> Promise | None:
    """Check the settings of `tune_thresholds` against each other; return what they promise.

    Raises:
        ValueError: an unknown objective, one that `task` or `beta` does not go with, or a value
            out of range.
    """
    promise = check_promise(task, objective, at_least, over, confidence)
    if objective not in (*OBJECTIVES[task], *PROMISES):
        hint = "" if task == "multilabel" else " No other measure gains from a rejection."
        raise ValueError(
            f"`objective` must be one of {(*OBJECTIVES[task], *PROMISES)} for task={task!r}, got "
            f"{objective!r}."
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
    return promise
