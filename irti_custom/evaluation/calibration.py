"""Measure whether probabilities can be taken at their word.

    scores (P,), hits (P,)  ->  Reliability: per bin, the mean score beside the share that is true

Of the positions that a model gives a label with .8, four in five should have it. With a rule, the
functions take logits and labels in place of scores and hits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..labels import IGNORE_INDEX, check_count
from .stat_scores import (
    NUM_BINS,
    bin_sums,
    check_width,
    collect_positions,
    probabilities,
    resolve_rule,
    to_tensor,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from .stat_scores import RuleLike


class Reliability(NamedTuple):
    """A reliability diagram as arrays: K bins of equal width."""

    edges: np.ndarray  # (K + 1,)
    counts: np.ndarray  # (K,) scores in a bin
    mean_score: np.ndarray  # (K,), 0 in an empty bin
    share_true: np.ndarray  # (K,), 0 in an empty bin


def reliability(
    scores: ArrayLike, hits: ArrayLike, num_bins: int = NUM_BINS, rule: RuleLike | None = None
) -> Reliability:
    """Compare scores with what came true, bin by bin.

    The bins that are not empty hold what scikit-learn's ``calibration_curve(strategy="uniform")``
    returns: a score on an edge belongs to the bin below it.

    Args:
        scores: probabilities of any shape: of each label, or of the top class of each position.
        hits: 0/1 of the same shape, whether the label holds, or the top class is the right one;
            `IGNORE_INDEX` drops an element.
        num_bins: K.
        rule: ``model.config``, or its rule: `scores` are logits then and `hits` labels, both as for
            `make_compute_metrics`.

    Raises:
        ValueError: shapes that disagree, scores outside of ``[0, 1]``, hits that are not 0/1.

    Example:
        >>> diagram = reliability([0.1, 0.3, 0.8, 0.9], [0, 1, 1, 1], num_bins=2)
        >>> diagram.counts.tolist(), diagram.share_true.tolist()
        ([2, 2], [0.5, 1.0])
    """
    count = check_count("num_bins", num_bins)
    if rule is not None:
        scores, hits = _of_rule(rule, scores, hits, of_top=True)
    kept, held = (to_tensor(values) for values in _checked(scores, hits))
    return reliability_of_sums(bin_sums(kept, held, count))


def expected_calibration_error(
    scores: ArrayLike, hits: ArrayLike, num_bins: int = NUM_BINS, rule: RuleLike | None = None
) -> float:
    """Average the distance between score and truth over the bins (Naeini et al. 2015).

    It is 0 where scores can be taken at their word, and 0 without any score. Arguments and errors
    are those of `reliability`.

    Example:
        >>> round(expected_calibration_error([0.9, 0.9, 0.9, 0.9], [1, 1, 1, 0]), 4)
        0.15
    """
    return calibration_error_of(reliability(scores, hits, num_bins, rule))


def brier(scores: ArrayLike, hits: ArrayLike, rule: RuleLike | None = None) -> float:
    """Average the squared distance between probabilities and truth (Brier 1950), as scikit-learn.

    Args:
        scores: probabilities of any shape, such as ``(P, L)``.
        hits: 0/1 of the same shape, for the mean over elements; or class ids ``(P,)``, for the
            mean over positions of the sum over classes, between 0 and 2. `IGNORE_INDEX` drops an
            element, or a position.
        rule: see `reliability`.

    Raises:
        ValueError: as `reliability`, or unknown class ids.

    Example:
        >>> round(brier([0.9, 0.2], [1, 0]), 4), round(brier([[0.7, 0.2, 0.1]], [0]), 4)
        (0.025, 0.14)
    """
    if rule is not None:
        scores, hits = _of_rule(rule, scores, hits, of_top=False)
    chances, true = np.asarray(scores, dtype=np.float64), np.asarray(hits)
    if true.ndim != 1 or chances.ndim != 2:
        kept, held = _checked(chances, true)
        return float(np.mean((kept - held) ** 2)) if kept.size else 0.0
    known = true != IGNORE_INDEX
    ids = np.arange(chances.shape[1])
    if true.shape != chances.shape[:1] or not np.isin(true[known], ids).all():
        raise ValueError(
            f"`hits` must be {len(chances)} class ids in [0, {len(ids) - 1}] for `scores` "
            f"{chances.shape}, got shape {true.shape}: {true!s:.80}."
        )
    kept, held = _checked(chances[known], (true[known, None] == ids).astype(np.int64))
    return float(np.sum((kept - held) ** 2) / max(1, known.sum()))


def reliability_of_sums(sums: np.ndarray) -> Reliability:
    """Return the diagram that the sums of `bin_sums` ``(3, K)`` describe."""
    counts = sums[0].astype(np.int64)
    mean_score, share_true = sums[1:] / np.maximum(counts, 1)
    return Reliability(np.linspace(0, 1, len(counts) + 1), counts, mean_score, share_true)


def calibration_error_of(diagram: Reliability) -> float:
    """Return the expected calibration error of a diagram."""
    gaps = np.abs(diagram.mean_score - diagram.share_true)
    return float(diagram.counts @ gaps / max(1, diagram.counts.sum()))


def _of_rule(
    task: RuleLike, logits: ArrayLike, labels: ArrayLike, of_top: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return the probabilities ``(P, L)`` and labels, or with `of_top` those of the top classes."""
    rule = resolve_rule(task)
    scores, targets = collect_positions(rule, logits, labels)
    check_width(rule, scores.shape)
    chances = probabilities(rule, scores, targets)
    if rule.task == "multiclass" and of_top:
        return chances.max(axis=1), scores.argmax(axis=1) == targets
    return chances, targets


def _checked(scores: ArrayLike, hits: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return the kept scores and hits, flat."""
    values, true = np.asarray(scores, dtype=np.float64), np.asarray(hits)
    if values.shape != true.shape:
        raise ValueError(
            f"`hits` must have the shape of `scores`, {values.shape}, got {true.shape}. Classes? "
            "Pass the probability of the top class, and whether it is the right one."
        )
    kept = true != IGNORE_INDEX
    values, true = values[kept], true[kept]
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError(
            f"`scores` must be probabilities in [0, 1], got {values.min()} to {values.max()}. "
            "`model.predict_proba` turns logits into them."
        )
    if not np.isin(true, [0, 1]).all():
        raise ValueError(
            f"`hits` must be 0 or 1, or {IGNORE_INDEX} to be ignored, got {np.unique(true)!s:.80}."
        )
    return values, true.astype(np.float64)
