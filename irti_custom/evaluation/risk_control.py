"""Choose thresholds that keep a promise: a recall or a precision of at least so much.

    cuts of each label, Promise("recall", 0.95)  ->  the cut with the best precision that keeps it

On the data itself exactly, and with a `confidence` on new data: there, a cut has to be better on
the data by as much as chance can flatter it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from numbers import Real
from typing import NamedTuple

import numpy as np

from ..labels import IGNORE_INDEX
from .stat_scores import ratio
from .threshold_sweep import RESOLUTION, Cuts, rank_cuts

logger = logging.getLogger(__name__)

PROMISES = ("recall", "precision")
MARGINAL = "marginal"
# Where a precision is tested: log-odds fixed beforehand, relative to its own, from the highest to
# the lowest, and the places where chains of tests begin. A calibrated model passes at 0.
_GRID = np.linspace(6, -14, 401)
_STARTS = np.searchsorted(-_GRID, [-4, -2, -1, 0, 1])


class Promise(NamedTuple):
    """A recall or precision to keep, with its confidence; see `tune_thresholds`."""

    measure: str  # "recall" or "precision"
    at_least: float
    confidence: float | str | None = None  # `MARGINAL`, a probability, or None: on the data itself

    @property
    def risk(self) -> float:
        """The share that may be missed, or wrong."""
        return 1 - self.at_least

    def __str__(self) -> str:
        if self.confidence is None:
            return f"{self.measure} {self.at_least:g}"
        how = "on average" if self.confidence == MARGINAL else f"with confidence {self.confidence}"
        return f"{self.measure} {self.at_least:g} {how}"


def check_promise(
    task: str, objective: str, at_least: float | None, over: str, confidence: float | str | None
) -> Promise | None:
    """Check the settings of a promise against each other; return None for another objective.

    Raises:
        ValueError: see `tune_thresholds`.
    """
    if over not in ("label", "all"):
        raise ValueError(f"`over` must be 'label' or 'all', got {over!r}.")
    if objective not in PROMISES:
        if at_least is not None or confidence is not None:
            raise ValueError(
                "`at_least` and `confidence` go with objective='recall' or 'precision', got "
                f"objective={objective!r}."
            )
        return None
    level = float(at_least) if isinstance(at_least, Real) else 0.0
    if not 0 < level <= 1:
        raise ValueError(
            f"`at_least` must say which {objective} is promised, above 0 and at most 1, got "
            f"{at_least!r}."
        )
    if confidence is None:
        return Promise(objective, level)
    if confidence != MARGINAL and not is_share(confidence):
        raise ValueError(
            f"`confidence` must be above 0 and below 1, or {MARGINAL!r} for an average, got "
            f"{confidence!r}."
        )
    if level == 1:
        raise ValueError(
            "`at_least` must be below 1 with a `confidence`, got 1: no data can show that nothing "
            "will ever go wrong."
        )
    if objective == "precision" and confidence == MARGINAL:
        raise ValueError(
            f"confidence={MARGINAL!r} is for a recall, which only falls as the threshold rises, "
            "got a precision. Give a probability, such as 0.9."
        )
    if objective == "precision" and over == "all" and task == "multilabel":
        raise ValueError(
            "`confidence` of a precision is per label, got over='all': the labels of a position "
            "depend on each other. Use over='label'."
        )
    return Promise(objective, level, confidence)


def is_share(value: object) -> bool:
    """Return True for a number above 0 and below 1."""
    return isinstance(value, Real) and 0 < float(value) < 1


def allowed_misses(count: int, risk: float, confidence: float | str) -> int:
    """Return how many of `count` may be missed, so that at most `risk` of new ones are.

    Args:
        count: exchangeable trials.
        risk: the share that may be missed.
        confidence: `MARGINAL`: on average over the data, as split conformal prediction and
            conformal risk control count. A probability: with that probability over the data, by
            the binomial distribution (Clopper and Pearson 1934).

    Returns:
        -1 where even none is too many, as there are too few.
    """
    from scipy.special import bdtr  # here: slow to import

    if confidence == MARGINAL:
        return math.floor(risk * (count + 1) + 1e-9) - 1
    misses = np.arange(count + 1, dtype=np.float64)
    return int(np.searchsorted(bdtr(misses, count, risk), 1 - float(confidence), "right")) - 1


def keep_per_label(
    scores_per_label: Sequence[tuple[np.ndarray, np.ndarray, int]],
    promise: Promise,
    min_positives: int,
    defaults: Sequence[float],
    names: Sequence[str],
) -> list[float]:
    """Choose the threshold of each label.

    Args:
        scores_per_label: for each its scores ``(P,)`` that can pass, whether they are true ``(P,)``
            and how many are true in all.
        promise: what each label has to keep.
        min_positives: of `tune_thresholds`.
        defaults: a threshold per label.
        names: of the labels.
    """
    thresholds, failures = [], []
    for (scores, true, support), default, name in zip(scores_per_label, defaults, names):
        if promise.confidence is not None:
            threshold, failure = _keep_on_new_data(scores, true, support, promise, default)
        elif support < max(min_positives, 1):
            threshold, failure = default, f"{support} positives only, so it keeps {default:g}"
        else:
            cuts = rank_cuts(scores, true, min_positives, default)._replace(support=support)
            index, best = _choose(cuts, promise, cuts.hits)
            threshold = float(cuts.thresholds[index])
            failure = None if best >= promise.at_least else f"{best:.3g} at best"
        thresholds.append(threshold)
        failures += [] if failure is None else [f"{name} ({failure})"]
    _report(promise, failures)
    return thresholds


def keep_by_rejection(
    scores: np.ndarray, right: np.ndarray, promise: Promise, min_positives: int, default: float
) -> float:
    """Choose the threshold under which the top class is rejected.

    Args:
        scores: ``(P,)`` probabilities of the top classes.
        right: ``(P,)`` bool.
        promise: "recall" is the share of all positions that are kept and right, "precision" that
            of the positions that are kept; the latter with the best coverage.
        min_positives: of `tune_thresholds`.
        default: a threshold.
    """
    support = len(right)
    if promise.confidence is not None:
        threshold, failure = _keep_on_new_data(scores, right, support, promise, default)
    elif right.sum() < max(min_positives, 1):
        threshold, failure = default, f"{right.sum()} are right only, so it keeps {default:g}"
    else:
        cuts = rank_cuts(scores, right, min_positives, default, every=True)
        cuts = cuts._replace(support=support)
        index, best = _choose(cuts, promise, cuts.predicted)
        threshold = float(cuts.thresholds[index])
        failure = None if best >= promise.at_least else f"{best:.3g} at best"
    _report(promise, [] if failure is None else [f"the top class ({failure})"])
    return threshold


def _report(promise: Promise, failures: Sequence[str]) -> None:
    if failures:
        logger.warning("%s is not kept by: %s.", str(promise).capitalize(), ", ".join(failures))


def _choose(cuts: Cuts, promise: Promise, kept: np.ndarray) -> tuple[int, float]:
    """Return the best cut that keeps a promise, else the one that comes nearest, and its measure.

    Of cuts with the same other measure the one with more of the promised measure is best, and of
    equals the one nearest to the default.

    Args:
        cuts: C of them.
        promise: without a confidence.
        kept: ``(C,)``, what a promised precision is to leave as much of as possible.
    """
    recall, precision = ratio(cuts.hits, cuts.support), ratio(cuts.hits, cuts.predicted)
    promised, other = (recall, precision) if promise.measure == "recall" else (precision, kept)
    keeps = promised >= promise.at_least
    keys = (other, promised) if keeps.any() else (promised, other)
    best = np.flatnonzero(keeps) if keeps.any() else np.arange(len(recall))
    for values in (*keys, -np.abs(cuts.thresholds - cuts.thresholds[0])):
        best = best[values[best] == values[best].max()]
    return int(best[0]), float(promised[best[0]])


def _keep_on_new_data(
    scores: np.ndarray, true: np.ndarray, support: int, promise: Promise, default: float
) -> tuple[float, str | None]:
    """Return a threshold that keeps a promise on new data, and why it does not, where it does not.

    Where the data cannot show that any does, it is the one that predicts everything, for a recall,
    or nothing, for a precision.
    """
    if promise.measure == "precision":
        return _certified_precision(scores, true, promise)
    assert promise.confidence is not None
    allowed = allowed_misses(support, promise.risk, promise.confidence)
    if allowed < 0:
        return 0.0, f"{support} positives are too few to show it, so all are predicted"
    cuts = rank_cuts(scores, true, 0, default)._replace(support=support)
    misses = support - cuts.hits
    if misses.min() > allowed:
        return 0.0, f"{1 - misses.min() / support:.3g} at best"
    shown = cuts.hits[misses <= allowed].min() / support  # what the data has to show
    return float(cuts.thresholds[_choose(cuts, Promise("recall", shown), cuts.hits)[0]]), None


def _certified_precision(
    scores: np.ndarray, true: np.ndarray, promise: Promise
) -> tuple[float, str | None]:
    """Return the lowest threshold whose precision is certain enough (Angelopoulos et al. 2021).

    Learn then test: a chain tests one threshold after the other, of how many are predicted how many
    are wrong, and ends at the first that fails; the chains share the error that is allowed.
    """
    from scipy.special import bdtr

    thresholds = 1 / (1 + promise.risk / promise.at_least * np.exp(-_GRID))
    counts = [
        len(values) - np.searchsorted(np.sort(values), thresholds)
        for values in (scores[true], scores)
    ]
    hits, predicted = counts
    chance = np.where(predicted > 0, bdtr(predicted - hits, predicted, promise.risk), 1.0)
    fails = np.append(chance > (1 - float(promise.confidence or 0)) / len(_STARTS), True)
    ends = [start + int(fails[start:].argmax()) for start in _STARTS]  # the first that fails
    certified = [end - 1 for start, end in zip(_STARTS, ends) if end > start]
    if not certified:
        return 1.0, f"{true.sum()} positives do not show it, so none is predicted"
    return float(thresholds[max(certified)]), None


def keep_over_all(cuts_per_label: Sequence[Cuts], promise: Promise) -> list[float]:
    """Choose the thresholds of all labels for a promise about their sums, exactly.

    For each number of hits in all, the fewest false positives are found label by label (dynamic
    programming), which takes time with the square of the number of positives.

    Args:
        cuts_per_label: of each label.
        promise: without a confidence.
    """
    support = sum(cuts.support for cuts in cuts_per_label)
    fewest = np.zeros(1)
    picks: list[np.ndarray] = []
    for cuts in cuts_per_label:
        size = len(fewest)
        new = np.full(size + int(cuts.hits.max()), np.inf)
        pick = np.zeros(len(new), dtype=np.int32)
        for index, (hits, wrong) in enumerate(zip(cuts.hits, cuts.predicted - cuts.hits)):
            window, choice = new[hits : hits + size], pick[hits : hits + size]
            better = fewest + wrong < window  # of equals the first, so the default's
            window[better], choice[better] = (fewest + wrong)[better], index
        fewest, picks = new, [*picks, pick]
    hits = np.arange(len(fewest))
    possible = np.flatnonzero(np.isfinite(fewest))
    front = Cuts(np.zeros(len(possible)), hits[possible], (hits + fewest)[possible], support, 0)
    index, best = _choose(front, promise, front.hits)
    _report(promise, [] if best >= promise.at_least else [f"all labels ({best:.3g} at best)"])
    left, choices = int(possible[index]), []
    for cuts, pick in zip(reversed(cuts_per_label), reversed(picks)):
        choices.append(pick[left])
        left -= int(cuts.hits[choices[-1]])
    return [
        float(cuts.thresholds[choice]) for cuts, choice in zip(cuts_per_label, reversed(choices))
    ]


def keep_found_share(
    chances: np.ndarray, targets: np.ndarray, leads: np.ndarray, promise: Promise
) -> float:
    """Choose one threshold for all labels, for the share of its labels that a position is found.

    Conformal risk control (Angelopoulos et al. 2024) on average, and with a probability the bound
    of Hoeffding and Bentkus (Bates et al. 2021). The unit is a position that has labels; its loss
    is the share of them that is missed.

    Args:
        chances: ``(P, L)`` probabilities.
        targets: ``(P, L)`` of 0/1 and `IGNORE_INDEX`.
        leads: ``(P, L)`` bool, see `lead`.
        promise: a recall, with a confidence.
    """
    passing = leads & (targets != IGNORE_INDEX)
    true = targets == 1
    labelled = int(true.any(axis=1).sum())
    weights = true / np.maximum(true.sum(axis=1, keepdims=True), 1)
    found = true & passing
    order = np.argsort(chances[found], kind="stable")
    ranked, lost = chances[found][order], np.append(0.0, np.cumsum(weights[found][order]))
    thresholds = np.unique(np.append(0.0, ranked))
    missed = weights[true & ~passing].sum() + lost[np.searchsorted(ranked, thresholds)]
    allowed = _is_allowed(missed / max(labelled, 1), labelled, promise)
    if not allowed[0]:
        best = f"{1 - missed[0] / labelled:.3g} at best" if labelled else "no labels"
        _report(promise, [f"all labels ({best}, of {labelled} positions with labels)"])
        return 0.0
    predicted = np.sort(chances[passing])
    counts = [len(values) - np.searchsorted(values, thresholds) for values in (ranked, predicted)]
    best_index = int(np.where(allowed, ratio(*counts), -1).argmax())
    return float(thresholds[best_index] * (1 - RESOLUTION))


def _is_allowed(risks: np.ndarray, count: int, promise: Promise) -> np.ndarray:
    """Mark the mean losses ``(C,)`` of `count` units that keep the promise on new data."""
    from scipy.special import bdtr, rel_entr

    limit = promise.risk
    if promise.confidence == MARGINAL:
        return (count * risks + 1) / (count + 1) <= limit + 1e-12
    low = np.minimum(risks, limit)
    hoeffding = np.exp(-count * (rel_entr(low, limit) + rel_entr(1 - low, 1 - limit)))
    bentkus = math.e * bdtr(np.ceil(count * risks - 1e-9), max(count, 1), limit)
    return np.minimum(hoeffding, bentkus) <= 1 - float(promise.confidence or 0)
