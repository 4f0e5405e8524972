"""Curves of a report as a few points each: precision and recall, score and truth.

scores (P,), true (P,)  ->  {"recall": [...], "precision": [...], "average_precision": 0.81}
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..evaluation.calibration import calibration_error_of, reliability

MAX_POINTS = 100


def precision_recall_curve(true: np.ndarray, scores: np.ndarray) -> dict[str, Any] | None:
    """Return the curve, thinned, and the average precision; None without a true position.

    Args:
        true: bool ``(P,)``.
        scores: ``(P,)``.
    """
    from sklearn.metrics import average_precision_score  # here: slow to import
    from sklearn.metrics import precision_recall_curve as full_curve

    if not true.any():
        return None
    precision, recall, _ = full_curve(true, scores)
    kept = np.unique(np.linspace(0, len(recall) - 1, MAX_POINTS).astype(int))
    if len(recall) > MAX_POINTS:  # as many points per recall as per score, where the curve bends
        even = np.searchsorted(-recall, -np.linspace(1, 0, MAX_POINTS))
        kept = np.unique(np.clip(even, 0, len(recall) - 1))
    return {
        "recall": recall[kept].round(4).tolist(),
        "precision": precision[kept].round(4).tolist(),
        "average_precision": float(average_precision_score(true, scores)),
    }


def reliability_figures(scores: np.ndarray, hits: np.ndarray) -> dict[str, Any]:
    """Return the bins of a reliability diagram that hold something, and the calibration error.

    Args:
        scores: probabilities of any shape.
        hits: bool of the same shape.
    """
    diagram = reliability(scores, hits.astype(np.int64))
    bins = [
        {"from": low, "to": high, "count": int(count), "score": score, "share_true": share}
        for low, high, count, score, share in zip(
            *(part.tolist() for part in (diagram.edges[:-1], diagram.edges[1:], *diagram[1:]))
        )
        if count
    ]
    return {"bins": bins, "calibration_error": calibration_error_of(diagram)}
