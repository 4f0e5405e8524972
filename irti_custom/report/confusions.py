"""Count which labels are taken for which.

    true, predicted (P, L)  ->  (L + 1, L + 1): rows true, columns predicted, the last is "nothing"

One rule for both tasks. At a position, each label that is missed is taken for each label that is
predicted there and does not hold; for nothing, if there is none. A label that holds and is
predicted counts on the diagonal.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def confusions(
    true: np.ndarray, predicted: np.ndarray, groups: Sequence[Sequence[int]] = ()
) -> np.ndarray:
    """Count confusions.

    Args:
        true: bool ``(P, L)``.
        predicted: bool ``(P, L)``.
        groups: ids of labels that exclude each other. A label of a group is taken for one of the
            same group only, and the labels in no group for each other.

    Returns:
        int ``(L + 1, L + 1)``.

    Example:
        >>> true = np.array([[1, 0], [1, 0], [0, 1]], dtype=bool)
        >>> confusions(true, np.array([[1, 0], [0, 1], [0, 0]], dtype=bool)).tolist()
        [[1, 1, 0], [0, 0, 1], [0, 0, 0]]
    """
    size = true.shape[1]
    matrix = np.zeros((size + 1, size + 1), dtype=np.int64)
    grouped = {index for group in groups for index in group}
    rest = [index for index in range(size) if index not in grouped]
    for ids in (*groups, rest):
        block = [*ids, size]
        missed = (true & ~predicted)[:, ids]
        spurious = (predicted & ~true)[:, ids]
        missed = np.column_stack([missed, ~missed.any(axis=1) & spurious.any(axis=1)])
        spurious = np.column_stack([spurious, ~spurious.any(axis=1) & missed[:, :-1].any(axis=1)])
        pairs = missed.T.astype(np.float64) @ spurious.astype(np.float64)
        matrix[np.ix_(block, block)] += np.rint(pairs).astype(np.int64)
    matrix[np.arange(size), np.arange(size)] = (true & predicted).sum(axis=0)
    return matrix
