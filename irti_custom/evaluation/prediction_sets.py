"""Prediction sets, which hold the right class as often as promised: split conformal prediction.

    validation logits, labels  ->  a threshold  ->  predict_sets(logits, threshold): bool (..., L)

A class is in the set of a position where its probability reaches the threshold: the smallest sets
on average that can keep the promise (LAC; Sadinle et al. 2019).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..rule import Rule
from .risk_control import MARGINAL, allowed_misses, is_share
from .stat_scores import (
    check_width,
    collect_positions,
    probabilities,
    resolve_rule,
    to_numpy,
    to_tensor,
)

if TYPE_CHECKING:
    import torch
    from numpy.typing import ArrayLike

    from .stat_scores import RuleLike


def fit_set_threshold(
    logits: ArrayLike,
    labels: ArrayLike,
    coverage: float = 0.9,
    confidence: float | str = MARGINAL,
    temperature: float | None = None,
    rule: RuleLike = "multiclass",
) -> float:
    """Find the probability from which classes are put into the sets of `predict_sets`.

    The promise: the set of a new position holds its class with probability `coverage`, where the
    new position and those of the data are exchangeable. "marginal": on average over such data
    sets, and hardly more often than promised. A confidence, such as .9: for nine in ten data sets,
    this one's threshold covers at least so many of all new positions.

    The unit is a position. Those of one text depend on each other, so that there are fewer
    independent ones than positions, and the threshold of one data set strays more: keep one
    position of each text, at random, and set the others to `IGNORE_INDEX`.

    Args:
        logits: ``(N, M, L)`` or ``(P, L)``, of data that the model was not trained on.
        labels: class ids ``(N, M)`` or ``(P,)``; `IGNORE_INDEX` drops a position.
        coverage: how often the right class has to be in the set.
        confidence: see above.
        temperature: of the probabilities, as for `predict_sets`.
        rule: ``model.config``, or its rule, in place of the temperature.

    Returns:
        The threshold, 0 where there are too few positions for the promise: sets hold all classes
        then.

    Raises:
        ValueError: settings out of range, shapes that disagree, labels not in ``[0, L - 1]``,
            logits that are not finite.

    Example:
        >>> logits, labels = np.log([[0.7, 0.3]] * 8 + [[0.4, 0.6]]), np.zeros(9, dtype=int)
        >>> round(fit_set_threshold(logits, labels, coverage=0.8), 4)
        0.7
        >>> round(fit_set_threshold(logits, labels, coverage=0.9), 4)
        0.4
    """
    if not is_share(coverage):
        raise ValueError(f"`coverage` must be above 0 and below 1, got {coverage!r}.")
    if confidence != MARGINAL and not is_share(confidence):
        raise ValueError(
            f"`confidence` must be {MARGINAL!r}, or above 0 and below 1, got {confidence!r}."
        )
    one = _rule_of(rule, temperature)
    scores, classes = collect_positions(one, logits, labels)
    check_width(one, scores.shape)
    chances = probabilities(one, scores, classes)
    true = np.sort(chances[np.arange(len(classes)), classes.astype(np.int64)])
    allowed = allowed_misses(len(true), 1 - coverage, confidence)
    return float(true[allowed]) if allowed >= 0 else 0.0


def predict_sets(
    logits: ArrayLike | torch.Tensor,
    threshold: float,
    temperature: float | None = None,
    rule: RuleLike = "multiclass",
) -> np.ndarray:
    """Return the set of classes of each position.

    A set can be empty, where no class is probable enough, and holds several classes where the model
    cannot tell them apart.

    Args:
        logits: ``(..., L)``.
        threshold: of `fit_set_threshold`.
        temperature: the one that it was fitted with.
        rule: the one that it was fitted with.

    Returns:
        bool ``(..., L)``.

    Raises:
        ValueError: settings out of range.
        FloatingPointError: logits that are not finite.

    Example:
        >>> predict_sets(np.log([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3]]), threshold=0.25).tolist()
        [[True, True, False], [False, True, True]]
    """
    if threshold not in (0, 1) and not is_share(threshold):
        raise ValueError(f"`threshold` must be a probability in [0, 1], got {threshold!r}.")
    scores = to_tensor(to_numpy(logits))
    return (_rule_of(rule, temperature).probabilities(scores) >= threshold).numpy()


def _rule_of(rule: RuleLike, temperature: float | None) -> Rule:
    one = resolve_rule(rule, temperature=temperature)
    if one.task != "multiclass":
        raise ValueError(
            f"Prediction sets are for task='multiclass', got task={one.task!r}. For promises about "
            "single labels, see tune_thresholds(objective='recall')."
        )
    return one
