"""Count what each candidate threshold would predict, from one sort.

    scores (P,), true (P,)  ->  Cuts: thresholds (C,), hits (C,), predicted (C,)

A cut predicts the scores above it as positive. Its threshold lies midway between the two scores
that it separates.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..labels import IGNORE_INDEX

# Scores that differ by less than this share of the larger one count as tied: float32 on another
# device, or in another order of summation, may not separate them.
RESOLUTION = 16 * float(np.finfo(np.float32).eps)
_SMALLEST = 10 * float(np.finfo(np.float32).tiny)


class Cuts(NamedTuple):
    """The counts of C cuts through ranked scores; the first one is at the default."""

    thresholds: np.ndarray  # (C,)
    hits: np.ndarray  # (C,) true and predicted
    predicted: np.ndarray  # (C,)
    support: int  # true
    elements: int


def rank_cuts(
    scores: np.ndarray,
    true: np.ndarray,
    min_positives: int,
    default: float,
    every: bool = False,
) -> Cuts:
    """Rank scores and count at every cut at which a measure can be best.

    That leaves out cuts through a tie, and those that add only negatives to the cut before.

    Args:
        scores: ``(P,)`` probabilities.
        true: ``(P,)`` bool.
        min_positives: with fewer that are true, only the cut at `default` counts.
        default: a threshold.
        every: keep the cuts that add only negatives, which a measure of coverage gains from.
    """
    above = scores >= default
    thresholds, hits = np.array([default]), np.array([(above & true).sum()])
    predicted = np.array([above.sum()])
    if true.sum() >= max(min_positives, 1):
        order = np.argsort(-scores, kind="stable")
        ranked, hits_above = scores[order], np.concatenate([[0], np.cumsum(true[order])])
        upper, lower = np.append(1.0, ranked), np.append(ranked, 0.0)
        separated = upper - lower > RESOLUTION * upper + _SMALLEST
        separated[-1] = True  # below all scores, however small they are
        cut = np.flatnonzero(separated)
        cut = cut if every else cut[np.diff(hits_above[cut], prepend=-1) > 0]
        middle = (upper[cut] + lower[cut]) / 2
        # float32 sigmoids this small become 0, on some devices before the smallest float32.
        thresholds = np.append(thresholds, np.where(middle < _SMALLEST / 2, 0, middle))
        hits, predicted = np.append(hits, hits_above[cut]), np.append(predicted, cut)
    return Cuts(thresholds, hits, predicted, int(true.sum()), len(true))


def label_cuts(
    scores: np.ndarray, labels: np.ndarray, leads: np.ndarray, min_positives: int, default: float
) -> Cuts:
    """Count the cuts of one label ``(P,)``; where it does not lead its group, it never passes.

    Args:
        scores: ``(P,)`` probabilities.
        labels: ``(P,)`` of 0/1; `IGNORE_INDEX` drops an element.
        leads: ``(P,)`` bool, see `lead`.
        min_positives: of `rank_cuts`.
        default: of `rank_cuts`.
    """
    kept = labels != IGNORE_INDEX
    cuts = rank_cuts(scores[kept & leads], labels[kept & leads] == 1, min_positives, default)
    return cuts._replace(support=int((labels == 1).sum()), elements=int(kept.sum()))
