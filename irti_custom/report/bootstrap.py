"""Resample documents, to see how much a figure depends on which ones are in the data.

    counts (D, K)  ->  sums over D documents drawn with replacement (R, K)  ->  [low, high]

Positions of one document resemble each other, so that intervals that resample positions are too
narrow. Two systems are compared on the same draws (Efron and Tibshirani 1993, chapter 13).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

CONFIDENCE = 0.95
_ELEMENTS = 2**22  # weights held at a time


def resample(counts: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Add up counts over documents drawn with replacement.

    The draws depend on D, `resamples` and `seed` alone: with these the same, the sums of several
    systems are paired.

    Args:
        counts: ``(D, K)``.
        resamples: R.
        seed: of the draws.

    Returns:
        ``(R, K)``.
    """
    sums = [weights @ counts for weights in _weights(len(counts), resamples, seed)]
    return np.concatenate(sums) if sums else np.empty((0, counts.shape[1]))


def interval(values: np.ndarray) -> list[tuple[float, float] | None]:
    """Return the percentile interval of each figure; None for one that no resample has.

    Args:
        values: ``(R, K)``, NaN where a resample does not have the figure.

    Example:
        >>> [(low, high)] = interval(np.arange(101.0)[:, None])
        >>> round(low, 6), round(high, 6)
        (2.5, 97.5)
    """
    tail = (1 - CONFIDENCE) / 2
    found: list[tuple[float, float] | None] = []
    for column in values.T:
        known = column[~np.isnan(column)]
        if known.size:
            low, high = np.quantile(known, [tail, 1 - tail])
            found.append((float(low), float(high)))
        else:
            found.append(None)
    return found


def _weights(documents: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Yield how often each document is drawn, ``(r, D)``, for all resamples in parts."""
    generator = np.random.default_rng(seed)
    step = max(1, _ELEMENTS // max(1, documents))
    for start in range(0, resamples if documents > 1 else 0, step):
        rows = min(step, resamples - start)
        drawn = generator.integers(0, documents, (rows, documents))
        drawn += documents * np.arange(rows)[:, None]
        counted = np.bincount(drawn.ravel(), minlength=rows * documents)
        yield counted.reshape(rows, documents).astype(np.float64)
