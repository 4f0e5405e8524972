"""Score the positions that have labels.

    logits (N, M, L), labels  ->  sums over kept elements  ->  {"micro_f1": 0.81, "loss": 0.2, ...}

Arrays in, flat floats out. Positions that the labels ignore are dropped first, so neither padding
nor the filler that the Trainer writes into padded logits reaches a measure.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..labels import IGNORE_INDEX, Thresholds, check_task, check_thresholds
from .counts import Counts, add, count, matthews_correlation, precision_recall_f1, ranking, ratio

# With one of these as a label's name (the Trainer adds the prefix), two measures would share a key.
_AVERAGES = ("micro", "macro", "macro_average", "weighted")
_TAKEN = {prefix + name for prefix in ("", "eval_", "test_") for name in _AVERAGES}


def make_compute_metrics(
    task: str,
    id2label: Mapping[Any, str] | None = None,
    thresholds: Thresholds | None = None,
    per_label: bool = False,
) -> ComputeMetrics:
    """Build the `compute_metrics` of a stock `Trainer`.

    What it returns takes an `EvalPrediction` or a tuple (logits, labels), numpy or torch: logits
    ``(N, M, L)``; labels ``(N, M, L)`` of 0/1 for "multilabel", ``(N, M)`` class ids for
    "multiclass". Lists, as from ``eval_do_concat_batches=False``, hold one array per batch. The
    measures are scikit-learn's with ``zero_division=0``; one with nothing to average is 0.0.

    - Both: ``num_positions`` and ``loss``, the exact mean over kept elements (the Trainer shows it
      as ``eval_loss``, in place of its own mean of batch means).
    - "multilabel": ``micro_`` and ``macro_`` ``precision``, ``recall`` and ``f1``, macro over all L
      labels; ``exact_match``; ``macro_average_precision`` and ``macro_roc_auc`` over the labels
      that have both classes.
    - "multiclass": ``accuracy``, ``macro_precision``, ``macro_recall``, ``macro_f1``,
      ``weighted_f1``, ``matthews_correlation``; macro over classes that are true or predicted. With
      a threshold above 0, also ``coverage``, the share of positions that are not rejected, and
      ``micro_precision``, ``micro_recall`` (the same as ``accuracy``) and ``micro_f1``.

    `IGNORE_INDEX` drops a class id, or a whole multilabel position where it is in channel 0. In
    another channel it drops that element: ``exact_match`` then asks for the remaining ones.

    Memory is flat with ``batch_eval_metrics=True``: sums of O(L), however many rows. Average
    precision and ROC-AUC need all scores at once, so that mode **leaves these two out**; all other
    measures are the same. If such an evaluation is broken off midway, call ``.reset()``.

    Args:
        task: "multilabel" or "multiclass".
        id2label: names of all labels, keys 0 to L - 1 (or strings of them, as in JSON).
        thresholds: ``model.config.thresholds``, or others. "multilabel": the probability from which
            a label counts as predicted, one for all, a sequence of L, or a dict of all label names,
            which needs `id2label`; None is 0.5. "multiclass": the probability under which the top
            class is rejected; such a position has no predicted class and counts as wrong. None
            rejects nothing.
        per_label: adds ``<name>_precision``, ``<name>_recall``, ``<name>_f1`` and
            ``<name>_support`` for each label; without `id2label` the names are "0", "1", ...

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
    names = None if id2label is None else _label_names(id2label)
    if per_label and names and (taken := _TAKEN.intersection(names)):
        raise ValueError(
            f"Labels must not be called {sorted(_TAKEN)} with per_label=True, as their measures "
            f"would share a key with an average; got {sorted(taken)}. Rename them in `id2label`."
        )
    checked = check_thresholds(thresholds, task, names)
    if checked is None:
        checked = 0.5 if task == "multilabel" else 0.0
    return ComputeMetrics(task, names, np.array(checked), per_label)


@dataclass(eq=False)
class ComputeMetrics:
    """What `make_compute_metrics` builds and documents."""

    task: str
    names: list[str] | None
    thresholds: np.ndarray  # () or (L,)
    per_label: bool
    _running: Counts | None = field(default=None, init=False, repr=False)

    def __call__(self, eval_pred: Any, compute_result: bool | None = None) -> dict[str, float]:
        """Score an evaluation set or, when the Trainer passes `compute_result`, add one batch.

        Returns:
            The measures; with ``compute_result=False`` nothing yet. True starts anew afterwards.
        """
        sums: list[Counts] = []
        if compute_result is not None and self._running is not None:
            sums.append(self._running)
            self.reset()  # first, so that an error below leaves nothing for the next evaluation
        kept = [self.keep(*batch) for batch in batches(eval_pred)]
        total = functools.reduce(
            add, sums + [count(self.task, *part, self.thresholds) for part in kept]
        )
        if compute_result is False:
            self._running = total
            return {}
        results = self._results(total)
        if compute_result is None and self.task == "multilabel":
            results.update(ranking(*(np.concatenate(arrays) for arrays in zip(*kept))))
        return results

    def reset(self) -> None:
        """Forget the batches of an evaluation that was broken off."""
        self._running = None

    def keep(self, logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Check shapes and drop the ignored positions.

        Args:
            logits: ``(N, M, L)``.
            labels: ``(N, M, L)`` or ``(N, M)``.

        Returns:
            logits ``(P, L)`` and labels ``(P, L)`` or ``(P,)`` of the P positions that are kept.
        """
        kept = labelled(self.task, logits, labels)
        sizes = {"id2label": len(self.names or ())}
        sizes["thresholds"] = self.thresholds.size if self.thresholds.ndim else 0
        for name, size in sizes.items():
            if size not in (0, logits.shape[-1]):
                raise ValueError(
                    f"`{name}` must have one entry per label, got {size} for logits {logits.shape}."
                    " Take both from the same model."
                )
        return kept

    def _results(self, total: Counts) -> dict[str, float]:
        scores = precision_recall_f1(total.hits, total.predicted, total.support)
        correct = ratio(total.correct, total.positions)
        results: dict[str, Any] = {}
        if self.task == "multilabel":
            sums = total.hits.sum(), total.predicted.sum(), total.support.sum()
            results.update((f"micro_{key}", x) for key, x in precision_recall_f1(*sums).items())
            results.update((f"macro_{key}", x.mean()) for key, x in scores.items())
            results["exact_match"] = correct
        else:
            present = np.sum(total.predicted + total.support > 0)
            results.update((f"macro_{key}", ratio(x.sum(), present)) for key, x in scores.items())
            weighted = (scores["f1"] * total.support).sum()
            results["weighted_f1"] = ratio(weighted, total.positions)
            results["accuracy"] = correct
            results["matthews_correlation"] = matthews_correlation(total)
            if self.thresholds > 0:
                sums = total.correct, total.predicted.sum(), total.positions
                results.update((f"micro_{key}", x) for key, x in precision_recall_f1(*sums).items())
                results["coverage"] = ratio(total.predicted.sum(), total.positions)
        results["loss"] = ratio(total.loss, total.elements)
        results["num_positions"] = total.positions
        if self.per_label:
            scores["support"] = total.support
            for index, name in enumerate(self.names or map(str, range(len(total.support)))):
                results.update((f"{name}_{key}", x[index]) for key, x in scores.items())
        return {key: float(value) for key, value in results.items()}


def labelled(task: str, logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Drop the ignored positions, and check shapes; see `ComputeMetrics.keep`.

    Raises:
        ValueError: shapes that disagree.

    Example:
        >>> labelled("multiclass", np.zeros((1, 2, 3)), np.array([[1, -100]]))[0].shape
        (1, 3)
    """
    if logits.ndim != 3 or logits.shape[-1] == 0:
        raise ValueError(
            f"Logits must be (N, M, L) with L > 0, got {logits.shape}. Other outputs of the "
            "model belong in its config's `keys_to_ignore_at_inference`."
        )
    multilabel = task == "multilabel"
    expected = logits.shape if multilabel else logits.shape[:2]
    if labels.shape != expected:
        layout = "(N, M, L)" if multilabel else "(N, M)"
        way_out = "One class: 'multiclass'" if multilabel else "Several labels: 'multilabel'"
        raise ValueError(
            f"Labels must be {layout} = {expected} for task={task!r}, got {labels.shape}. "
            f"Which task fits? {way_out}."
        )
    kept = (labels[..., 0] if multilabel else labels) != IGNORE_INDEX
    return logits[kept], labels[kept]


def batches(eval_pred: Any) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Go through an `EvalPrediction` or a tuple (logits, labels), of arrays or of lists of them.

    Raises:
        TypeError: something else.
        ValueError: lists of different lengths.

    Example:
        >>> [(x.shape, y.shape) for x, y in batches((np.zeros((1, 2, 3)), [[0, 1]]))]
        [((1, 2, 3), (1, 2))]
    """
    if hasattr(eval_pred, "predictions") and hasattr(eval_pred, "label_ids"):
        logits, labels = eval_pred.predictions, eval_pred.label_ids
    elif isinstance(eval_pred, tuple) and len(eval_pred) == 2:
        logits, labels = eval_pred
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
        # A model that returns hidden states as well gives a tuple, logits first.
        yield to_numpy(scores[0] if isinstance(scores, tuple) else scores), to_numpy(targets)


def logits_only(logits: Any, labels: Any) -> Any:
    """Keep what the metrics read: for ``Trainer(preprocess_logits_for_metrics=logits_only)``.

    A model that also returns hidden states or attentions would have them gathered for the whole
    evaluation set. The config of this package leaves them out by default already.

    Example:
        >>> logits_only(("logits", "hidden states"), "labels")
        'logits'
    """
    return logits[0] if isinstance(logits, (tuple, list)) else logits


def to_numpy(value: Any) -> np.ndarray:
    """Turn a tensor, an array or nested lists into an array, half precision into float32.

    Example:
        >>> to_numpy([[1, 2]]).shape
        (1, 2)
    """
    if hasattr(value, "detach"):  # a tensor, known without importing torch
        value = value.detach().cpu()
        if value.is_floating_point() and value.element_size() < 4:
            value = value.float()  # numpy has no bfloat16
        return value.numpy()
    return np.asarray(value)


def _label_names(id2label: Mapping[Any, str]) -> list[str]:
    by_id = {int(index): str(name) for index, name in id2label.items()}
    names = [by_id[index] for index in sorted(by_id)]
    if not names or sorted(by_id) != list(range(len(id2label))) or len(set(names)) < len(names):
        raise ValueError(
            "`id2label` must map 0 to L - 1, each once, to names that differ, got "
            f"{dict(id2label)}. `model.config.id2label` has this form."
        )
    return names
