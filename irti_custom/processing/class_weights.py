"""Weights against imbalance, from the labels of a data set.

rows of labels  ->  counts per label  ->  `pos_weight` or `class_weight` of the config
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..labels import IGNORE_INDEX, check_task

logger = logging.getLogger(__name__)


def balanced_weights(
    labels: Iterable[Any], task: str, num_labels: int, max_weight: float | None = None
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
    positives, kept = np.zeros(num_labels), np.zeros(num_labels)
    shape = (-1, num_labels) if task == "multilabel" else (-1,)
    for row, cell in enumerate(labels):
        values = np.asarray(cell)
        if values.size == 0:
            continue
        if values.ndim != len(shape) or (task == "multilabel" and values.shape[1] != num_labels):
            raise ValueError(
                f"Row {row}: labels must be {'(M, L)' if len(shape) == 2 else '(M,)'} with "
                f"L = {num_labels} for task={task!r}, got shape {values.shape}."
            )
        if task == "multiclass":
            ids = values[values != IGNORE_INDEX]
            if ids.size and not (ids.min() >= 0 and ids.max() < num_labels):
                raise ValueError(f"Row {row}: class ids must be in [0, {num_labels}), got {ids}.")
            positives += np.bincount(ids, minlength=num_labels)
            kept += ids.size
        else:
            real = (values != IGNORE_INDEX) & (values[:, :1] != IGNORE_INDEX)
            positives += np.where(real, values, 0).sum(0)
            kept += real.sum(0)
    unseen = np.flatnonzero(positives == 0)
    if unseen.size:
        logger.warning("No position has the label(s) %s: their weight is 1.", unseen.tolist())
    whole = kept - positives if task == "multilabel" else kept / num_labels
    weights = np.divide(whole, positives, out=np.ones(num_labels), where=positives > 0)
    return [float(weight) for weight in np.minimum(weights, max_weight or np.inf)]
