"""Class weights for imbalanced labels.

rows of labels  ->  counts per label  ->  `pos_weight` or `class_weight` of the config
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ..labels import IGNORE_INDEX, check_count, check_task
from ..records.sequences import check_sequence
from .data_collator import as_array, check_label_values, read_rows, task_labels

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

logger = logging.getLogger(__name__)


def balanced_weights(
    labels: Iterable[ArrayLike], task: str, num_labels: int, max_weight: float | None = None
) -> list[float]:
    """Compute weights under which rare labels count as much as frequent ones.

    Args:
        labels: the labels of each row, as the collator takes them: class ids ``(M,)`` or 0/1
            ``(M, L)``; `IGNORE_INDEX` is left out.
        task: "multilabel" for `pos_weight`, negatives per positive of each label; "multiclass" for
            `class_weight`, scikit-learn's "balanced": ``positions / (L * positions of the class)``,
            whose mean over the positions is 1.
        num_labels: L.
        max_weight: upper limit, for labels so rare that their weight would upset training.

    Returns:
        L weights; 1 for a label that never occurs, which is also logged.

    Raises:
        ValueError: an unknown task, or labels that do not fit it.

    Example:
        >>> balanced_weights([[0, 0], [0, 1]], task="multiclass", num_labels=2)
        [0.6666666666666666, 2.0]
        >>> balanced_weights([[[1, 0], [1, 1]], [[0, 0]]], task="multilabel", num_labels=2)
        [0.5, 2.0]
    """
    check_task(task)
    check_sequence("`labels`", labels)
    num_labels = check_count("num_labels", num_labels)
    rows = read_rows(partial(_labels_of, task=task, num_labels=num_labels), labels, "the labels")
    weights = (_positive_weights if task == "multilabel" else _class_weights)(rows, num_labels)
    unseen = np.flatnonzero(np.isnan(weights))
    if unseen.size:
        logger.warning("No position has the label(s) %s: their weight is 1.", unseen.tolist())
        weights[unseen] = 1
    return [float(weight) for weight in np.minimum(weights, max_weight or np.inf)]


def label_frequencies(labels: Iterable[ArrayLike], task: str, num_labels: int) -> list[float]:
    """Compute how frequent each label is, for `label_prior`.

    Args:
        labels: see `balanced_weights`.
        task: "multilabel": the share of the positions that have the label, ``(n + 1) / (N + 2)``
            for n of N; "multiclass": ``(n + 1) / (N + L)`` (both Laplace's rule of succession,
            which keeps labels that never occur above 0).
        num_labels: L.

    Returns:
        L probabilities, above 0 and below 1.

    Raises:
        ValueError: an unknown task, or labels that do not fit it.

    Example:
        >>> label_frequencies([[0, 0], [0, 1]], task="multiclass", num_labels=2)
        [0.6666666666666666, 0.3333333333333333]
        >>> label_frequencies([[[1, 0], [1, 1]]], task="multilabel", num_labels=2)
        [0.75, 0.5]
    """
    check_task(task)
    check_sequence("`labels`", labels)
    num_labels = check_count("num_labels", num_labels)
    rows = read_rows(partial(_labels_of, task=task, num_labels=num_labels), labels, "the labels")
    if task == "multilabel":
        positives, kept = _count_positives(rows, num_labels)
        return ((positives + 1) / (kept + 2)).tolist()
    ids = np.concatenate([np.empty(0, np.int64), *rows])
    counts = np.bincount(ids[ids != IGNORE_INDEX], minlength=num_labels)
    return ((counts + 1) / (counts.sum() + num_labels)).tolist()


def _labels_of(row: ArrayLike, task: str, num_labels: int) -> np.ndarray:
    labels = task_labels(as_array("labels", row), task, num_labels)
    return check_label_values(labels, task, num_labels)


def _class_weights(rows: Iterable[np.ndarray], num_labels: int) -> np.ndarray:
    """Compute ``(L,)`` weights, NaN for a class without a position."""
    from sklearn.utils.class_weight import compute_class_weight  # here, as it is slow to import

    ids = np.concatenate([np.empty(0, np.int64), *rows])
    ids = ids[ids != IGNORE_INDEX]
    seen, weights = np.unique(ids), np.full(num_labels, np.nan)
    if seen.size:
        # scikit-learn shares the positions among the classes it sees, this function among all L.
        share = len(seen) / num_labels
        weights[seen] = share * compute_class_weight("balanced", classes=seen, y=ids)
    return weights


def _positive_weights(rows: Iterable[np.ndarray], num_labels: int) -> np.ndarray:
    """Compute ``(L,)`` negatives per positive, NaN for a label without a positive."""
    positives, kept = _count_positives(rows, num_labels)
    return np.divide(
        kept - positives, positives, out=np.full(num_labels, np.nan), where=positives > 0
    )


def _count_positives(rows: Iterable[np.ndarray], num_labels: int) -> tuple[np.ndarray, np.ndarray]:
    """Count positives and kept elements of each label, ``(L,)`` both."""
    positives, kept = np.zeros(num_labels), np.zeros(num_labels)
    for labels in rows:
        counted = (labels != IGNORE_INDEX) & (labels[:, :1] != IGNORE_INDEX)
        positives += np.where(counted, labels, 0).sum(axis=0)
        kept += counted.sum(axis=0)
    return positives, kept
