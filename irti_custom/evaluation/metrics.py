"""Compute metrics over the positions that have labels.

    logits (N, M, L), labels  ->  counts of kept elements  ->  {"micro_f1": 0.81, "loss": 0.2, ...}

Arrays in, flat floats out. Ignored positions are dropped first, so that neither padding nor the
filler that the Trainer writes into padded logits reaches a measure.
"""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..labels import IGNORE_INDEX, Thresholds
from ..rule import Rule
from .calibration import calibration_error_of, reliability_of_sums
from .stat_scores import (
    StatScores,
    check_width,
    compute,
    format_batch,
    iterate_batches,
    merge,
    precision_recall_f1,
    ratio,
    resolve_rule,
    update,
)

if TYPE_CHECKING:
    from types import FrameType

    import torch

    from .stat_scores import Predictions, RuleLike

logger = logging.getLogger(__name__)

# A label of this name (the Trainer adds the prefix) would share a key with an average.
_AVERAGES = ("micro", "macro", "macro_average", "weighted", "samples", "loose_macro")
_LOOPS = ("evaluation_loop", "prediction_loop")  # of the Trainer
_RESERVED = {prefix + name for prefix in ("", "eval_", "test_") for name in _AVERAGES}


def make_compute_metrics(
    task: RuleLike,
    id2label: Mapping[int, str] | Mapping[str, str] | None = None,
    thresholds: Thresholds | None = None,
    per_label: bool = False,
    groups: Sequence[Sequence[int]] = (),
    temperature: Thresholds | None = None,
) -> ComputeMetrics:
    """Build the `compute_metrics` of a stock `Trainer`.

    ``make_compute_metrics(model.config)`` scores what the model decides: its rule holds the task,
    the names, groups, temperature and thresholds. They can also be given one by one.

    The returned function takes an `EvalPrediction` or a tuple (logits, labels), numpy or torch:
    logits ``(N, M, L)``; labels ``(N, M, L)`` of 0/1 for "multilabel", ``(N, M)`` class ids for
    "multiclass". Lists, as from ``eval_do_concat_batches=False``, hold one array per batch. The
    measures are scikit-learn's with ``zero_division=0``, and 0.0 where there is nothing to average.

    - Both: ``num_positions`` and ``loss``, the exact mean over kept elements (the Trainer shows it
      as ``eval_loss``, in place of its own mean of batch means); ``ece``, the expected calibration
      error in 15 bins, and ``brier``, the Brier score: for "multilabel" of all elements, for
      "multiclass" of the top class and of all classes of a position.
    - "multilabel": ``micro_`` and ``macro_`` ``precision``, ``recall`` and ``f1``, macro over all L
      labels; ``exact_match``; ``samples_precision``, ``samples_recall`` and ``samples_f1``, means
      over positions; ``loose_macro_`` ``precision``, ``recall`` and ``f1`` of entity typing (Ling
      and Weld 2012), where precision is averaged over the positions with a predicted label, recall
      over those with a true one, and F1 is of these two (their loose micro is ``micro_``);
      ``macro_average_precision`` and ``macro_roc_auc`` over the labels that have both classes.
    - "multiclass": ``accuracy``, ``macro_precision``, ``macro_recall``, ``macro_f1``,
      ``weighted_f1``, ``matthews_correlation``; macro over classes that are true or predicted. With
      a threshold above 0, also ``coverage``, the share of positions that are not rejected, and
      ``micro_precision``, ``micro_recall`` (the same as ``accuracy``) and ``micro_f1``.

    `IGNORE_INDEX` drops a class id, or a whole multilabel position where it is in channel 0. In
    another channel it drops that element: ``exact_match`` then asks for the remaining ones.

    With ``batch_eval_metrics=True`` memory does not grow with the number of rows: only counts of
    O(L) are kept. Average precision and ROC-AUC need all scores at once, so that mode **leaves
    these two out**; all other measures are the same. What an interrupted evaluation of a `Trainer`
    has counted is forgotten when the next one begins; in a loop of your own, call ``.reset()``.

    Args:
        task: "multilabel" or "multiclass"; or ``model.config``, or its ``rule``, and then only
            `per_label` is left to say.
        id2label: names of all labels, keys 0 to L - 1 (or strings of them, as in JSON).
        thresholds: "multilabel": the probability from which a label counts as predicted, one for
            all, a sequence of L, or a dict of all label names, which needs `id2label`; None is 0.5.
            "multiclass": the probability under which the top class is rejected; such a position
            has no predicted class and counts as wrong. None rejects nothing.
        per_label: adds ``<name>_precision``, ``<name>_recall``, ``<name>_f1`` and
            ``<name>_support`` for each label; without `id2label` the names are "0", "1", ...
        groups: ``model.config.group_ids``: of each group only the most probable label counts as
            predicted, as `model.predict` decides. Needs `id2label`.
        temperature: of the probabilities that thresholds, ``loss``, ``ece`` and ``brier`` look at.

    Raises:
        ValueError: here for settings that contradict each other or the rule; in a call for shapes
            that disagree, labels that are not 0/1 or not in ``[0, L - 1]``, logits that are not
            finite.

    Example:
        >>> compute_metrics = make_compute_metrics("multilabel", per_label=True)
        >>> logits = np.array([[[2.0, -1.0], [3.0, 1.0], [-100.0, -100.0]]])
        >>> labels = np.array([[[1, 0], [1, 0], [-100, -100]]])
        >>> results = compute_metrics((logits, labels))
        >>> results["num_positions"], results["exact_match"], results["0_f1"], results["1_f1"]
        (2.0, 0.5, 1.0, 0.0)
    """
    rule = resolve_rule(task, id2label, thresholds, groups, temperature)
    if per_label and (clashes := _RESERVED.intersection(rule.label_names or ())):
        raise ValueError(
            f"Labels must not be called {sorted(_RESERVED)} with per_label=True, as their measures "
            f"would share a key with an average; got {sorted(clashes)}. Rename them in `id2label`."
        )
    return ComputeMetrics(rule, per_label)


@dataclass(eq=False)
class ComputeMetrics:
    """The function that `make_compute_metrics` returns; see there."""

    rule: Rule
    per_label: bool = False
    _merged: StatScores | None = field(default=None, init=False, repr=False)
    _loop: FrameType | None = field(default=None, init=False, repr=False)  # `_merged` is of it
    _silence_is_said: bool = field(default=False, init=False, repr=False)

    def __call__(
        self, eval_pred: Predictions, compute_result: bool | None = None
    ) -> dict[str, float]:
        """Score an evaluation set or, when the Trainer passes `compute_result`, add one batch.

        Args:
            eval_pred: see `make_compute_metrics`.
            compute_result: False for each batch but the last, True for the last one.

        Returns:
            The measures; an empty dict with ``compute_result=False``.
        """
        loop, counts = _evaluation_loop(), []
        if compute_result is not None and self._merged is not None:
            if loop is self._loop:
                counts.append(self._merged)
            self.reset()  # first, so that an error below leaves nothing for the next evaluation
        batches = [self.format(logits, labels) for logits, labels in iterate_batches(eval_pred)]
        counts += [update(self.rule, logits, labels) for logits, labels in batches]
        merged = functools.reduce(merge, counts)
        if compute_result is False:
            self._merged, self._loop = merged, loop
            return {}
        if merged.positions and not merged.predicted.any() and not self._silence_is_said:
            self._silence_is_said = True  # once, as the epochs of a training would repeat it
            limits = np.unique(self.rule.limits)
            logger.warning(
                "No score passes its threshold (%s), so nothing is predicted and F1 is 0. Train "
                "for more steps, start the head from the labels' frequencies "
                "(model.set_label_prior), or choose thresholds with tune_thresholds.",
                float(limits[0]) if limits.size == 1 else "one per label",
            )
        results = self._compute(merged)
        if compute_result is None and self.rule.task == "multilabel":
            logits, labels = (np.concatenate(arrays) for arrays in zip(*batches))
            results.update(compute_ranking(logits, labels))
        return results

    def reset(self) -> None:
        """Forget the batches of an evaluation that was interrupted."""
        self._merged = self._loop = None

    def format(self, logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Check a batch and drop its ignored positions; see `format_batch`."""
        kept = format_batch(self.rule.task, logits, labels)
        check_width(self.rule, logits.shape)
        return kept

    def _compute(self, total: StatScores) -> dict[str, float]:
        results: dict[str, Any] = dict(compute(total, self.rule.task))
        if self.rule.task == "multilabel":
            *sums, answered, labelled = total.examples
            means = ratio(sums, total.positions)
            results.update(zip(("samples_precision", "samples_recall", "samples_f1"), means))
            precision, recall = ratio(sums[:2], [answered, labelled])
            results["loose_macro_precision"], results["loose_macro_recall"] = precision, recall
            results["loose_macro_f1"] = ratio(2 * precision * recall, precision + recall)
        elif not self.rule.thresholds:  # nothing is rejected: all four are the accuracy, or 1
            for key in ("micro_precision", "micro_recall", "micro_f1", "coverage"):
                del results[key]
        results["loss"] = ratio(total.loss, total.elements)
        results["ece"] = calibration_error_of(reliability_of_sums(total.bins))
        results["brier"] = ratio(total.squared_error, total.elements)
        results["num_positions"] = total.positions
        if self.per_label:
            scores = precision_recall_f1(total.hits, total.predicted, total.support)
            scores["support"] = total.support
            names = self.rule.label_names or map(str, range(len(total.support)))
            for index, name in enumerate(names):
                results.update((f"{name}_{key}", x[index]) for key, x in scores.items())
        return {key: float(value) for key, value in results.items()}


def compute_ranking(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Compute average precision and ROC-AUC, macro over labels that have both classes.

    Ranked by logits: a sigmoid keeps their order but merges large ones into ties.

    Args:
        logits: ``(P, L)``.
        labels: ``(P, L)`` of 0/1; `IGNORE_INDEX` drops an element.
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


def _evaluation_loop() -> FrameType | None:
    """Find the call of the `Trainer`'s loop that this is in: each evaluation has one of its own.

    Nothing else tells one evaluation from the next: a loop that fails never says so.
    """
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_code.co_name not in _LOOPS:
        frame = frame.f_back
    return frame


def logits_only(
    logits: torch.Tensor | tuple[torch.Tensor, ...] | list[torch.Tensor],
    labels: torch.Tensor | None,
) -> torch.Tensor:
    """Keep the logits only: for ``Trainer(preprocess_logits_for_metrics=logits_only)``.

    Otherwise the Trainer gathers the hidden states or attentions that a model also returns, for the
    whole evaluation set. The config of this package already leaves them out by default.

    Example:
        >>> logits_only(("logits", "hidden states"), "labels")
        'logits'
    """
    return logits[0] if isinstance(logits, (tuple, list)) else logits
