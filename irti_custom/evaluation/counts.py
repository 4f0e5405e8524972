"""The arithmetic of the metrics: update counts from arrays, merge counts, compute measures.

    logits (P, L), labels (P, L) or (P,)  ->  Counts  ->  precision, recall, F1, ECE, ...

Counts add up over batches, so the same code serves one batch and a whole evaluation set.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from ..decisions import temper as temper_tensor
from ..labels import IGNORE_INDEX
from .calibration import NUM_BINS, bin_sums

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

_CHUNK = 2**20  # elements held in float64 at a time


class Counts(NamedTuple):
    """Sums over kept elements; all measures except the ranking ones follow from them."""

    hits: np.ndarray  # (L,) true and predicted
    predicted: np.ndarray  # (L,)
    support: np.ndarray  # (L,) true
    correct: int  # positions without an error
    positions: int
    elements: int
    loss: float
    examples: np.ndarray  # (5,) of `_example_sums`; zeros for "multiclass"
    bins: np.ndarray  # (3, K) of `bin_sums`: of elements, or of the top class of positions
    squared_error: float  # of the probabilities


def no_counts(num_labels: int) -> Counts:
    """Return the counts of no position.

    Example:
        >>> no_counts(2).support.tolist()
        [0, 0]
    """
    none = np.zeros(num_labels, dtype=np.int64)
    return Counts(none, none, none, 0, 0, 0, 0.0, np.zeros(5), np.zeros((3, NUM_BINS)), 0.0)


def merge(left: Counts, right: Counts) -> Counts:
    """Add up the counts of two batches.

    Raises:
        ValueError: the batches differ in their number of labels.

    Example:
        >>> thresholds = np.array(0.5)
        >>> one = update("multilabel", np.array([[2.0, -1.0]]), np.array([[1, 1]]), thresholds)
        >>> merge(one, one).support.tolist()
        [2, 2]
    """
    if left.hits.shape != right.hits.shape:
        raise ValueError(
            f"All batches must have the same number of labels, got L = {left.hits.size} and "
            f"{right.hits.size}. Was an evaluation broken off before? Call `reset()`."
        )
    return Counts(
        hits=left.hits + right.hits,
        predicted=left.predicted + right.predicted,
        support=left.support + right.support,
        correct=left.correct + right.correct,
        positions=left.positions + right.positions,
        elements=left.elements + right.elements,
        loss=left.loss + right.loss,
        examples=left.examples + right.examples,
        bins=left.bins + right.bins,
        squared_error=left.squared_error + right.squared_error,
    )


def update(
    task: str,
    logits: np.ndarray,
    labels: np.ndarray,
    thresholds: np.ndarray,
    groups: Sequence[Sequence[int]] = (),
    temperature: float | Sequence[float] | None = None,
) -> Counts:
    """Count over the positions of a batch.

    Args:
        task: "multilabel" or "multiclass".
        logits: ``(P, L)``.
        labels: ``(P, L)`` or ``(P,)``.
        thresholds: ``()`` or ``(L,)``; for "multiclass" one, and a top class that is less probable
            is not predicted.
        groups: ids of labels that exclude each other, see `lead`.
        temperature: of the probabilities, see `temper`.

    Raises:
        ValueError: labels that are not 0/1 or not in ``[0, L - 1]``, logits that are not finite.

    Example:
        >>> update("multiclass", np.array([[2.0, 1.0]]), np.array([0]), np.array(0.5)).correct
        1
    """
    num_labels = logits.shape[-1]
    total = no_counts(num_labels)
    step = max(1, _CHUNK // num_labels)
    for start in range(0, len(logits), step):
        chunk = slice(start, start + step)
        if task == "multilabel":
            counts = _multilabel_update(
                logits[chunk], labels[chunk], thresholds, groups, temperature
            )
        else:
            counts = _multiclass_update(logits[chunk], labels[chunk], thresholds, temperature)
        total = merge(total, counts)
    return total


def _multilabel_update(
    logits: np.ndarray,
    labels: np.ndarray,
    thresholds: np.ndarray,
    groups: Sequence[Sequence[int]],
    temperature: float | Sequence[float] | None,
) -> Counts:
    kept = labels != IGNORE_INDEX
    check_values(logits[kept], labels[kept], [0, 1], "0 or 1")
    x, true = np.where(np.isfinite(logits), logits, 0).astype(np.float64), labels == 1
    leads = lead(decision_scores("multilabel", x), groups) if groups else True
    x = temper(x, temperature, groups)
    small = np.exp(-np.abs(x))  # never overflows
    loss = np.maximum(x, 0) - x * true + np.log1p(small)
    chances = _stable_sigmoid(x, small)
    predicted = (chances >= thresholds) & leads & kept
    return Counts(
        hits=(predicted & true).sum(axis=0),
        predicted=predicted.sum(axis=0),
        support=true.sum(axis=0),
        correct=int((predicted == true).all(axis=1).sum()),
        positions=len(labels),
        elements=int(kept.sum()),
        loss=float(loss.sum(where=kept)),
        examples=_example_sums(predicted, true),
        bins=bin_sums(chances[kept], true[kept]),
        squared_error=float(((chances - true) ** 2).sum(where=kept)),
    )


def _example_sums(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Add up each position's precision, recall and F1, and count those with any predicted, or true.

    A measure of a position without a denominator is 0.
    """
    sums = precision_recall_f1(
        hits=(predicted & true).sum(axis=1),
        predicted=predicted.sum(axis=1),
        support=true.sum(axis=1),
    )
    answered, labelled = (array.any(axis=1).sum() for array in (predicted, true))
    return np.array([*(values.sum() for values in sums.values()), answered, labelled])


def _multiclass_update(
    logits: np.ndarray,
    labels: np.ndarray,
    threshold: np.ndarray,
    temperature: float | Sequence[float] | None,
) -> Counts:
    num_labels = logits.shape[1]
    check_values(logits, labels, np.arange(num_labels), f"in [0, {num_labels - 1}]")
    true, predicted = labels.astype(np.int64), logits.argmax(axis=1)
    shifted, total = _shifted_softmax(temper(logits, temperature))
    losses = np.log(total) - shifted[np.arange(len(true)), true]
    answered = 1 / total >= threshold  # the rest is rejected: no class is predicted
    hits = true[(predicted == true) & answered]
    errors = np.exp(shifted) / total[:, None] - np.eye(num_labels)[true]
    return Counts(
        hits=np.bincount(hits, minlength=num_labels),
        predicted=np.bincount(predicted[answered], minlength=num_labels),
        support=np.bincount(true, minlength=num_labels),
        correct=len(hits),
        positions=len(true),
        elements=len(true),
        loss=float(losses.sum()),
        examples=np.zeros(5),
        bins=bin_sums(1 / total, predicted == true),
        squared_error=float((errors**2).sum()),
    )


def temper(
    logits: np.ndarray,
    temperature: float | Sequence[float] | None,
    groups: Sequence[Sequence[int]] = (),
) -> np.ndarray:
    """Divide logits ``(P, L)`` by a temperature, as `irti_custom.decisions.temper` does.

    Example:
        >>> temper(np.array([[3.0, -1.0]]), [2.0, 0.5]).tolist()
        [[1.5, -2.0]]
    """
    if temperature is None:
        return logits
    scores = torch.from_numpy(logits.astype(np.float64))
    return temper_tensor(scores, temperature, groups).numpy()


def lead(chances: np.ndarray, groups: Sequence[Sequence[int]]) -> np.ndarray:
    """Mark the answer of each group, as `irti_custom.decisions.lead` does.

    Args:
        chances: probabilities ``(P, L)``.
        groups: ids of labels of which at most one holds.

    Returns:
        bool ``(P, L)``, True also for labels in no group.

    Example:
        >>> lead(np.array([[0.4, 0.3, 0.1], [0.2, 0.1, 0.1]]), [[0, 1]]).tolist()
        [[True, False, True], [False, False, True]]
    """
    leads = np.ones(chances.shape, dtype=bool)
    for ids in groups:
        group = chances[:, ids]
        most = group.max(axis=1) >= 1 - group.sum(axis=1)  # at least as probable as "none"
        leads[:, ids] = most[:, None] & (np.arange(len(ids)) == group.argmax(axis=1)[:, None])
    return leads


def decision_scores(task: str, logits: np.ndarray) -> np.ndarray:
    """Compute the probabilities that thresholds apply to, bit for bit as `update` does.

    Args:
        task: "multilabel" for the sigmoid of logits of any shape; "multiclass" for the probability
            of the top class, from logits ``(P, L)``.
        logits: finite.

    Returns:
        float64, of the shape of the logits, or ``(P,)``.

    Example:
        >>> decision_scores("multiclass", np.zeros((1, 4))).tolist()
        [0.25]
    """
    if task == "multiclass":
        return 1 / _shifted_softmax(logits)[1]
    x = logits.astype(np.float64)
    return _stable_sigmoid(x, np.exp(-np.abs(x)))


def _stable_sigmoid(x: np.ndarray, small: np.ndarray) -> np.ndarray:
    """Compute the sigmoid of `x`, with ``small = exp(-|x|)``."""
    return np.where(x >= 0, 1, small) / (1 + small)


def _shifted_softmax(logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return logits minus the largest one of their row, and the row sums of their exponentials."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return shifted, np.exp(shifted).sum(axis=1)


def ratio(part: ArrayLike, whole: ArrayLike) -> np.ndarray:
    """Divide element by element; the result is 0 where `whole` is 0.

    Example:
        >>> ratio([1, 0], [4, 0]).tolist()
        [0.25, 0.0]
    """
    part, whole = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def precision_recall_f1(
    hits: np.ndarray | int, predicted: np.ndarray | int, support: np.ndarray | int
) -> dict[str, np.ndarray]:
    """Compute the three measures from counts, per label ``(L,)`` or in total ``()``.

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
        >>> float(matthews_correlation(update("multiclass", logits, labels, np.array(0.5))))
        1.0
    """
    n, predicted, true = float(total.positions), total.predicted.astype(float), total.support
    rejected = n - predicted.sum()  # predicted as a class of their own, which is never true
    spread = (n**2 - predicted @ predicted - rejected**2) * (n**2 - true.astype(float) @ true)
    return ratio(n * total.correct - predicted @ true, np.sqrt(spread))


def compute_ranking(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Compute average precision and ROC-AUC, macro over labels that have both classes.

    Ranked by logits: a sigmoid keeps their order but merges large ones into ties.

    Args:
        logits: ``(P, L)``.
        labels: ``(P, L)`` of 0/1; `IGNORE_INDEX` drops an element.

    Example:
        >>> compute_ranking(np.array([[0.9], [0.1]]), np.array([[1], [0]]))["macro_roc_auc"]
        1.0
    """
    from sklearn.metrics import average_precision_score, roc_auc_score  # here: slow to import

    precisions, areas = [], []
    for scores, column in zip(logits.T, labels.T):
        kept = column != IGNORE_INDEX
        true = column[kept] == 1
        if true.any() and not true.all():
            precisions.append(average_precision_score(true, scores[kept]))
            areas.append(roc_auc_score(true, scores[kept]))
    return {
        "macro_average_precision": float(ratio(sum(precisions), len(precisions))),
        "macro_roc_auc": float(ratio(sum(areas), len(areas))),
    }


def check_values(logits: np.ndarray, labels: np.ndarray, allowed: ArrayLike, rule: str) -> None:
    """Check that labels are among the allowed ones, and logits finite.

    Args:
        logits: of any shape.
        labels: of any shape.
        allowed: the valid labels.
        rule: the valid labels in words, for the message.

    Raises:
        ValueError: another label, or a logit that is infinite or NaN.
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
