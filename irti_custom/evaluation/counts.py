"""The arithmetic behind the metrics: sums over kept elements, and what follows from them.

    logits (P, L), labels (P, L) or (P,)  ->  Counts  ->  precision, recall, F1, ...

Sums add up over batches, so the same code serves one batch and a whole evaluation set.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..labels import IGNORE_INDEX

_CHUNK = 2**20  # elements held in float64 at a time


class Counts(NamedTuple):
    """Sums over kept elements, from which all measures but the ranking ones follow."""

    hits: np.ndarray  # (L,) true and predicted
    predicted: np.ndarray  # (L,)
    support: np.ndarray  # (L,) true
    correct: int  # positions with nothing wrong
    positions: int
    elements: int
    loss: float


def add(left: Counts, right: Counts) -> Counts:
    """Add the sums of two batches.

    Raises:
        ValueError: another number of labels.

    Example:
        >>> thresholds = np.array(0.5)
        >>> one = count("multilabel", np.array([[2.0, -1.0]]), np.array([[1, 1]]), thresholds)
        >>> add(one, one).support.tolist()
        [2, 2]
    """
    if left.hits.shape != right.hits.shape:
        raise ValueError(
            f"All batches must have the same number of labels, got L = {left.hits.size} and "
            f"{right.hits.size}. Was an evaluation broken off before? Call `reset()`."
        )
    pairs: Any = zip(left, right)
    return Counts(*(a + b for a, b in pairs))


def count(task: str, logits: np.ndarray, labels: np.ndarray, thresholds: np.ndarray) -> Counts:
    """Sum over positions: logits ``(P, L)``, labels ``(P, L)`` or ``(P,)``, thresholds () or (L,).

    For "multiclass" the threshold is one: a top class less probable than that is not predicted.

    Raises:
        ValueError: labels that are not 0/1 or not in ``[0, L - 1]``, logits that are not finite.

    Example:
        >>> count("multiclass", np.array([[2.0, 1.0]]), np.array([0]), np.array(0.5)).correct
        1
    """
    num_labels = logits.shape[-1]
    none = np.zeros(num_labels, dtype=np.int64)
    total = Counts(none, none, none, 0, 0, 0, 0.0)
    step = max(1, _CHUNK // num_labels)
    for start in range(0, len(logits), step):
        chunk = logits[start : start + step], labels[start : start + step]
        if task == "multilabel":
            total = add(total, _count_multilabel(*chunk, thresholds))
        else:
            total = add(total, _count_multiclass(*chunk, thresholds))
    return total


def _count_multilabel(logits: np.ndarray, labels: np.ndarray, thresholds: np.ndarray) -> Counts:
    kept = labels != IGNORE_INDEX
    check_values(logits[kept], labels[kept], [0, 1], "0 or 1")
    x, true = np.where(kept, logits, 0).astype(np.float64), labels == 1
    small = np.exp(-np.abs(x))  # never overflows
    loss = np.maximum(x, 0) - x * true + np.log1p(small)
    predicted = (_sigmoid(x, small) >= thresholds) & kept
    return Counts(
        hits=(predicted & true).sum(axis=0),
        predicted=predicted.sum(axis=0),
        support=true.sum(axis=0),
        correct=int((predicted == true).all(axis=1).sum()),
        positions=len(labels),
        elements=int(kept.sum()),
        loss=float(loss.sum(where=kept)),
    )


def _count_multiclass(logits: np.ndarray, labels: np.ndarray, threshold: np.ndarray) -> Counts:
    num_labels = logits.shape[1]
    check_values(logits, labels, np.arange(num_labels), f"in [0, {num_labels - 1}]")
    true, predicted = labels.astype(np.int64), logits.argmax(axis=1)
    shifted, total = _shifted(logits)
    losses = np.log(total) - shifted[np.arange(len(true)), true]
    answered = 1 / total >= threshold  # the rest is rejected: no class is predicted
    hits = true[(predicted == true) & answered]
    return Counts(
        hits=np.bincount(hits, minlength=num_labels),
        predicted=np.bincount(predicted[answered], minlength=num_labels),
        support=np.bincount(true, minlength=num_labels),
        correct=len(hits),
        positions=len(true),
        elements=len(true),
        loss=float(losses.sum()),
    )


def scores_of(task: str, logits: np.ndarray) -> np.ndarray:
    """Compute what is compared with a threshold, the same to the bit as `count` does.

    Args:
        task: "multilabel" for the sigmoid of logits of any shape; "multiclass" for the probability
            of the top class, from logits ``(P, L)``.
        logits: finite.

    Returns:
        float64, of the shape of the logits, or ``(P,)``.

    Example:
        >>> scores_of("multiclass", np.zeros((1, 4))).tolist()
        [0.25]
    """
    if task == "multiclass":
        return 1 / _shifted(logits)[1]
    x = logits.astype(np.float64)
    return _sigmoid(x, np.exp(-np.abs(x)))


def _sigmoid(x: np.ndarray, small: np.ndarray) -> np.ndarray:
    return np.where(x >= 0, 1, small) / (1 + small)


def _shifted(logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Take the largest logit off each row; also return the sum of the exponentials."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return shifted, np.exp(shifted).sum(axis=1)


def ratio(part: Any, whole: Any) -> np.ndarray:
    """Divide element by element, with 0 for a division by 0.

    Example:
        >>> ratio([1, 0], [4, 0]).tolist()
        [0.25, 0.0]
    """
    part, whole = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def precision_recall_f1(hits: Any, predicted: Any, support: Any) -> dict[str, np.ndarray]:
    """Compute the three from counts of any one shape.

    Example:
        >>> {name: float(value) for name, value in precision_recall_f1(2, 4, 2).items()}
        {'precision': 0.5, 'recall': 1.0, 'f1': 0.6666666666666666}
    """
    return {
        "precision": ratio(hits, predicted),
        "recall": ratio(hits, support),
        "f1": ratio(2 * hits, predicted + support),
    }


def matthews_correlation(total: Counts) -> np.ndarray:
    """Compute the coefficient for several classes (Gorodkin 2004) from counts per class.

    Example:
        >>> logits, labels = np.array([[2.0, 1.0], [0.0, 3.0]]), np.array([0, 1])
        >>> float(matthews_correlation(count("multiclass", logits, labels, np.array(0.5))))
        1.0
    """
    n, predicted, true = float(total.positions), total.predicted.astype(float), total.support
    rejected = n - predicted.sum()  # predicted as a class of their own, which is never true
    spread = (n**2 - predicted @ predicted - rejected**2) * (n**2 - true.astype(float) @ true)
    return ratio(n * total.correct - predicted @ true, np.sqrt(spread))


def ranking(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Average precision and ROC-AUC, macro over labels that have both classes.

    Ranked by logits: a sigmoid keeps their order but merges large ones into ties.

    Args:
        logits: ``(P, L)``.
        labels: ``(P, L)`` of 0/1; `IGNORE_INDEX` drops an element.

    Example:
        >>> ranking(np.array([[0.9], [0.1]]), np.array([[1], [0]]))["macro_roc_auc"]
        1.0
    """
    from sklearn.metrics import auc, roc_curve

    areas, precisions = [], []
    for scores, column in zip(logits.T, labels.T):
        kept = column != IGNORE_INDEX
        true = column[kept] == 1
        positives, negatives = true.sum(), (~true).sum()
        if positives and negatives:
            # One sort serves both measures: average precision follows from the same curve.
            false_rate, true_rate, _ = roc_curve(true, scores[kept], drop_intermediate=False)
            hits = positives * true_rate[1:]
            precision = hits / (hits + negatives * false_rate[1:])
            areas.append(auc(false_rate, true_rate))
            precisions.append(np.diff(true_rate) @ precision)
    return {
        "macro_average_precision": float(ratio(sum(precisions), len(precisions))),
        "macro_roc_auc": float(ratio(sum(areas), len(areas))),
    }


def check_values(logits: np.ndarray, labels: np.ndarray, allowed: Any, rule: str) -> None:
    """Refuse labels that are not among `allowed`, and logits that are not finite.

    Raises:
        ValueError: see above.
    """
    wrong = labels[~np.isin(labels, allowed)]
    if wrong.size:
        raise ValueError(
            f"Labels must be {rule}, or {IGNORE_INDEX} to be ignored, got {wrong[0]} "
            f"({wrong.size} such labels). Correct them in the data set."
        )
    wrong = logits[~np.isfinite(logits)]
    if wrong.size:
        raise ValueError(
            f"Logits must be finite where labels are kept, got {wrong[0]} ({wrong.size} of "
            f"{logits.size}). Has training diverged, or half precision overflowed?"
        )
