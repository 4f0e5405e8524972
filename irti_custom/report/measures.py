"""Count per document, and compute measures from sums of these counts.

    true, predicted (P, L), documents (P,)  ->  counts (D, 3 L + 2)  ->  sums (..., 3 L + 2)
                                                                          │
                                          {"micro_f1": (...), ...}  ◀────┘

Sums over all documents give a measure, sums over resampled ones its spread.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..evaluation.counts import precision_recall_f1, ratio

MEASURES = {
    "multilabel": {"micro_f1": "Micro F1", "macro_f1": "Macro F1", "exact_match": "Exact match"},
    "multiclass": {"accuracy": "Accuracy", "macro_f1": "Macro F1", "coverage": "Coverage"},
}
"""What is at the head of a report, the main one first: keys of `make_compute_metrics` and names."""


class Tally(NamedTuple):
    """Sums of counts; the leading dimensions are those of documents or resamples."""

    hits: np.ndarray  # (..., L) true and predicted
    predicted: np.ndarray  # (..., L)
    support: np.ndarray  # (..., L) true
    correct: np.ndarray  # (...) positions without an error
    positions: np.ndarray  # (...)


def count(true: np.ndarray, predicted: np.ndarray, documents: np.ndarray) -> np.ndarray:
    """Count per document.

    Args:
        true: bool ``(P, L)``.
        predicted: bool ``(P, L)``.
        documents: ``(P,)``, ids 0 to D - 1.

    Returns:
        ``(D, 3 L + 2)``, which `tally` reads.
    """
    correct = (true == predicted).all(axis=1, keepdims=True)
    columns = np.hstack([true & predicted, predicted, true, correct, np.ones_like(correct)])
    size = int(documents.max(initial=-1)) + 1
    return np.stack([np.bincount(documents, column, size) for column in columns.T], axis=1)


def tally(sums: np.ndarray) -> Tally:
    """Name the columns of counts or of sums of them, ``(..., 3 L + 2)``."""
    hits, predicted, support = np.split(sums[..., :-2], 3, axis=-1)
    return Tally(hits, predicted, support, sums[..., -2], sums[..., -1])


def measures(total: Tally, task: str) -> dict[str, np.ndarray]:
    """Compute the measures of `MEASURES`, as `make_compute_metrics` does.

    Example:
        >>> total = tally(np.array([2.0, 4.0, 2.0, 1.0, 4.0]))  # one label
        >>> float(measures(total, "multilabel")["micro_f1"])
        0.6666666666666666
    """
    scores = precision_recall_f1(total.hits, total.predicted, total.support)["f1"]
    correct = ratio(total.correct, total.positions)
    if task == "multilabel":
        micro = precision_recall_f1(*(part.sum(axis=-1) for part in total[:3]))["f1"]
        return {"micro_f1": micro, "macro_f1": scores.mean(axis=-1), "exact_match": correct}
    present = (total.predicted + total.support > 0).sum(axis=-1)
    answered = ratio(total.predicted.sum(axis=-1), total.positions)
    macro = ratio(scores.sum(axis=-1), present)
    return {"accuracy": correct, "macro_f1": macro, "coverage": answered}


def label_f1(total: Tally) -> np.ndarray:
    """Return F1 per label ``(..., L)``, NaN where a label is neither true nor predicted."""
    whole = total.predicted + total.support
    return np.where(whole > 0, ratio(2 * total.hits, whole), np.nan)
