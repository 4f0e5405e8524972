"""Compute metrics over the positions that have labels.

    logits (N, M, L), labels  ->  counts of kept elements  ->  {"micro_f1": 0.81, "loss": 0.2, ...}

Arrays in, flat floats out. Ignored positions are dropped first, so that neither padding nor the
filler that the Trainer writes into padded logits reaches a measure.
"""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Union

import numpy as np
from transformers.trainer_pt_utils import nested_numpify

from ..decisions import Temperature, check_temperature
from ..labels import (
    DEFAULT_THRESHOLDS,
    IGNORE_INDEX,
    Thresholds,
    check_group_ids,
    check_task,
    check_thresholds,
    default_thresholds,
    resolve_labels,
)
from .calibration import calibration_error_of, reliability_of_sums
from .counts import (
    Counts,
    compute_ranking,
    matthews_correlation,
    merge,
    precision_recall_f1,
    ratio,
    update,
)

if TYPE_CHECKING:
    from types import FrameType

    import torch
    from numpy.typing import ArrayLike
    from transformers import EvalPrediction

    Predictions = Union[EvalPrediction, tuple[ArrayLike, ArrayLike]]

logger = logging.getLogger(__name__)

# A label of this name (the Trainer adds the prefix) would share a key with an average.
_AVERAGES = ("micro", "macro", "macro_average", "weighted", "samples", "loose_macro")
_LOOPS = ("evaluation_loop", "prediction_loop")  # of the Trainer
_RESERVED = {prefix + name for prefix in ("", "eval_", "test_") for name in _AVERAGES}


def make_compute_metrics(
    task: str,
    id2label: Mapping[int, str] | Mapping[str, str] | None = None,
    thresholds: Thresholds | None = None,
    per_label: bool = False,
    groups: Sequence[Sequence[int]] = (),
    temperature: Temperature | None = None,
) -> ComputeMetrics:
    """Build the `compute_metrics` of a stock `Trainer`.

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
        task: "multilabel" or "multiclass".
        id2label: names of all labels, keys 0 to L - 1 (or strings of them, as in JSON).
        thresholds: ``model.config.thresholds`` or others. "multilabel": the probability from which
            a label counts as predicted, one for all, a sequence of L, or a dict of all label names,
            which needs `id2label`; None is 0.5. "multiclass": the probability under which the top
            class is rejected; such a position has no predicted class and counts as wrong. None
            rejects nothing.
        per_label: adds ``<name>_precision``, ``<name>_recall``, ``<name>_f1`` and
            ``<name>_support`` for each label; without `id2label` the names are "0", "1", ...
        groups: ``model.config.group_ids``, where the model has groups: of each only the most
            probable label counts as predicted, as `model.predict` decides. Needs `id2label`.
        temperature: ``model.config.temperature``, where it has one: of the probabilities that
            thresholds, ``loss``, ``ece`` and ``brier`` look at.

    Raises:
        ValueError: here for settings that contradict each other; in a call for shapes that
            disagree, labels that are not 0/1 or not in ``[0, L - 1]``, logits that are not finite.

    Example:
        >>> compute_metrics = make_compute_metrics("multilabel", per_label=True)
        >>> logits = np.array([[[2.0, -1.0], [3.0, 1.0], [-100.0, -100.0]]])
        >>> labels = np.array([[[1, 0], [1, 0], [-100, -100]]])
        >>> results = compute_metrics((logits, labels))
        >>> results["num_positions"], results["exact_match"], results["0_f1"], results["1_f1"]
        (2.0, 0.5, 1.0, 0.0)
    """
    check_task(task)
    names = resolve_labels(None, id2label, None)
    label_names = None if names is None else list(names.values())
    if per_label and (clashes := _RESERVED.intersection(label_names or ())):
        raise ValueError(
            f"Labels must not be called {sorted(_RESERVED)} with per_label=True, as their measures "
            f"would share a key with an average; got {sorted(clashes)}. Rename them in `id2label`."
        )
    checked = check_thresholds(thresholds, task, label_names)
    ids = check_group_ids(groups, task, len(label_names or ()))
    if checked is None and ids:
        checked = default_thresholds(len(label_names or ()), ids)
    elif checked is None:
        checked = DEFAULT_THRESHOLDS[task]
    degrees = check_temperature(temperature, task, label_names, ids)
    return ComputeMetrics(task, label_names, np.array(checked), per_label, ids, degrees)


@dataclass(eq=False)
class ComputeMetrics:
    """The function that `make_compute_metrics` returns; see there."""

    task: str
    label_names: list[str] | None
    thresholds: np.ndarray  # () or (L,)
    per_label: bool
    groups: list[list[int]] = field(default_factory=list)
    temperature: float | list[float] | None = None
    _merged: Counts | None = field(default=None, init=False, repr=False)
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
        settings = (self.thresholds, self.groups, self.temperature)
        counts += [update(self.task, logits, labels, *settings) for logits, labels in batches]
        merged = functools.reduce(merge, counts)
        if compute_result is False:
            self._merged, self._loop = merged, loop
            return {}
        if merged.positions and not merged.predicted.any() and not self._silence_is_said:
            self._silence_is_said = True  # once, as the epochs of a training would repeat it
            logger.warning(
                "No score passes its threshold (%s), so nothing is predicted and F1 is 0. Train "
                "for more steps, start the head from the labels' frequencies "
                "(model.set_label_prior), or choose thresholds with tune_thresholds.",
                self.thresholds.tolist() if self.thresholds.size == 1 else "one per label",
            )
        results = self._compute(merged)
        if compute_result is None and self.task == "multilabel":
            logits, labels = (np.concatenate(arrays) for arrays in zip(*batches))
            results.update(compute_ranking(logits, labels))
        return results

    def reset(self) -> None:
        """Forget the batches of an evaluation that was interrupted."""
        self._merged = self._loop = None

    def format(self, logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Check the shapes of a batch and drop its ignored positions.

        Args:
            logits: ``(N, M, L)``.
            labels: ``(N, M, L)`` or ``(N, M)``.

        Returns:
            Logits ``(P, L)`` and labels ``(P, L)`` or ``(P,)`` of the P positions that are kept.
        """
        kept = drop_ignored(self.task, logits, labels)
        sizes = {"id2label": len(self.label_names or ())}
        for name in ("thresholds", "temperature"):
            values = getattr(self, name)
            sizes[name] = np.size(values) if np.ndim(values) else 0
        for name, size in sizes.items():
            if size not in (0, logits.shape[-1]):
                raise ValueError(
                    f"`{name}` must have one entry per label, got {size} for logits {logits.shape}."
                    " Take both from the same model."
                )
        return kept

    def _compute(self, total: Counts) -> dict[str, float]:
        scores = precision_recall_f1(total.hits, total.predicted, total.support)
        correct = ratio(total.correct, total.positions)
        results: dict[str, Any] = {}
        if self.task == "multilabel":
            micro = precision_recall_f1(
                hits=total.hits.sum(), predicted=total.predicted.sum(), support=total.support.sum()
            )
            results.update((f"micro_{key}", x) for key, x in micro.items())
            results.update((f"macro_{key}", x.mean()) for key, x in scores.items())
            results["exact_match"] = correct
            *sums, answered, labelled = total.examples
            means = ratio(sums, total.positions)
            results.update(zip(("samples_precision", "samples_recall", "samples_f1"), means))
            precision, recall = ratio(sums[:2], [answered, labelled])
            results["loose_macro_precision"], results["loose_macro_recall"] = precision, recall
            results["loose_macro_f1"] = ratio(2 * precision * recall, precision + recall)
        else:
            present = np.sum(total.predicted + total.support > 0)
            results.update((f"macro_{key}", ratio(x.sum(), present)) for key, x in scores.items())
            weighted = (scores["f1"] * total.support).sum()
            results["weighted_f1"] = ratio(weighted, total.positions)
            results["accuracy"] = correct
            results["matthews_correlation"] = matthews_correlation(total)
            if self.thresholds > 0:
                micro = precision_recall_f1(
                    hits=total.correct, predicted=total.predicted.sum(), support=total.positions
                )
                results.update((f"micro_{key}", x) for key, x in micro.items())
                results["coverage"] = ratio(total.predicted.sum(), total.positions)
        results["loss"] = ratio(total.loss, total.elements)
        results["ece"] = calibration_error_of(reliability_of_sums(total.bins))
        results["brier"] = ratio(total.squared_error, total.elements)
        results["num_positions"] = total.positions
        if self.per_label:
            scores["support"] = total.support
            for index, name in enumerate(self.label_names or map(str, range(len(total.support)))):
                results.update((f"{name}_{key}", x[index]) for key, x in scores.items())
        return {key: float(value) for key, value in results.items()}


def _evaluation_loop() -> FrameType | None:
    """Find the call of the `Trainer`'s loop that this is in: each evaluation has one of its own.

    Nothing else tells one evaluation from the next: a loop that fails never says so.
    """
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_code.co_name not in _LOOPS:
        frame = frame.f_back
    return frame


def collect_positions(
    task: str, logits: ArrayLike, labels: ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    """Gather the positions that are kept, from arrays, tensors, or lists with one per batch.

    Args:
        task: "multilabel" or "multiclass".
        logits: ``(N, M, L)`` or ``(P, L)``.
        labels: as for `make_compute_metrics`; ``(P, L)`` or ``(P,)`` for logits ``(P, L)``.

    Returns:
        Logits ``(P, L)`` and labels ``(P, L)`` or ``(P,)``.

    Raises:
        ValueError: shapes that disagree.

    Example:
        >>> collect_positions("multiclass", np.zeros((2, 3)), np.array([1, -100]))[0].shape
        (1, 3)
    """
    parts = []
    for scores, targets in iterate_batches((logits, labels)):
        if scores.ndim == 2:  # (P, L): one row of P positions
            scores, targets = scores[None], targets[None]
        parts.append(drop_ignored(task, scores, targets))
    scores, targets = (np.concatenate(arrays) for arrays in zip(*parts))
    return scores, targets


def drop_ignored(
    task: str, logits: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Check shapes and drop the ignored positions; see `ComputeMetrics.format`.

    Raises:
        ValueError: shapes that disagree.

    Example:
        >>> drop_ignored("multiclass", np.zeros((1, 2, 3)), np.array([[1, -100]]))[0].shape
        (1, 3)
    """
    if logits.ndim != 3 or logits.shape[-1] == 0:
        raise ValueError(
            f"Logits must be (N, M, L) with L > 0, got {logits.shape}. Other outputs of the "
            "model belong in its config's `keys_to_ignore_at_inference`."
        )
    for name, values in (("Logits", logits), ("Labels", labels)):
        if values.size and values.dtype.kind not in "biuf":
            raise ValueError(
                f"{name} must be numbers, got dtype {values.dtype}: {values.flat[0]!r}."
            )
    multilabel = task == "multilabel"
    expected = logits.shape if multilabel else logits.shape[:2]
    if labels.size == 0 and labels.shape == logits.shape[:2]:
        labels = labels.reshape(expected)  # (N, 0): the collator's for a batch without any position
    if labels.shape != expected:
        layout = "(N, M, L)" if multilabel else "(N, M)"
        way_out = "One class: 'multiclass'" if multilabel else "Several labels: 'multilabel'"
        raise ValueError(
            f"Labels must be {layout} = {expected} for task={task!r}, got {labels.shape}. "
            f"Which task fits? {way_out}."
        )
    kept = (labels[..., 0] if multilabel else labels) != IGNORE_INDEX
    return logits[kept], labels[kept]


def iterate_batches(eval_pred: Predictions) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (logits, labels) of each batch of an `EvalPrediction` or a tuple of the two.

    Raises:
        TypeError: another type.
        ValueError: lists of different lengths.

    Example:
        >>> [(x.shape, y.shape) for x, y in iterate_batches((np.zeros((1, 2, 3)), [[0, 1]]))]
        [((1, 2, 3), (1, 2))]
    """
    logits: Any
    labels: Any
    if isinstance(eval_pred, tuple) and len(eval_pred) == 2:
        logits, labels = eval_pred
    elif hasattr(eval_pred, "predictions") and hasattr(eval_pred, "label_ids"):
        logits, labels = eval_pred.predictions, eval_pred.label_ids
    else:
        kind = type(eval_pred).__name__
        raise TypeError(f"Metrics take an EvalPrediction or a tuple (logits, labels), got {kind}.")
    if not isinstance(logits, list) or not logits or isinstance(logits[0], list):
        logits, labels = [logits], [labels]  # one array, or nested lists that make one
    if len(logits) != len(labels):
        raise ValueError(
            f"Lists hold one array per batch, got {len(logits)} of logits, {len(labels)} of labels."
        )
    for scores, targets in zip(logits, labels):
        # A model that also returns hidden states gives a tuple, logits first.
        yield to_numpy(scores[0] if isinstance(scores, tuple) else scores), to_numpy(targets)


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


def to_numpy(value: ArrayLike | torch.Tensor) -> np.ndarray:
    """Convert a tensor, an array or nested lists to an array, bfloat16 to float32.

    Example:
        >>> to_numpy([[1, 2]]).shape
        (1, 2)
    """
    if hasattr(value, "detach"):  # a tensor, recognised without importing torch
        return nested_numpify(value.detach())
    return np.asarray(value)
