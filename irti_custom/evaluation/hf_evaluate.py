"""Wrap the metrics as an `evaluate.Metric`, for pipelines built on `evaluate`.

    metric.add_batch(predictions=logits, references=labels) ... metric.compute()

It is built here rather than downloaded, so it needs no network.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..labels import Thresholds, check_count
from .metrics import ComputeMetrics, make_compute_metrics
from .stat_scores import to_numpy

if TYPE_CHECKING:
    import evaluate
    from numpy.typing import ArrayLike

    from .stat_scores import RuleLike


def load_metric(
    task: RuleLike,
    num_labels: int | None = None,
    id2label: Mapping[int, str] | Mapping[str, str] | None = None,
    thresholds: Thresholds | None = None,
    per_label: bool = False,
    groups: Sequence[Sequence[int]] = (),
    temperature: Thresholds | None = None,
    **kwargs: Any,
) -> evaluate.Metric:
    """Build an `evaluate.Metric` that computes the measures of `make_compute_metrics`.

    ``add_batch`` takes logits ``(B, M, L)`` and labels as `make_compute_metrics` does; M may differ
    between batches. Ignored positions are dropped at once and each kept one becomes an example
    of its own, so ``len(metric)`` counts positions, and ``add`` takes one position.

    Args:
        task: "multilabel" or "multiclass"; or ``model.config``, or its ``rule``.
        num_labels: L; not needed with a config or label names.
        id2label: see `make_compute_metrics`.
        thresholds: see `make_compute_metrics`.
        per_label: see `make_compute_metrics`.
        groups: see `make_compute_metrics`.
        temperature: see `make_compute_metrics`.
        **kwargs: of `evaluate.Metric`: `keep_in_memory`, `cache_dir`, `num_process`, ...

    Raises:
        ValueError: see `make_compute_metrics`; wrong arrays are reported by ``add_batch``.

    Example:
        >>> metric = load_metric("multiclass", num_labels=2, keep_in_memory=True)
        >>> metric.add_batch(predictions=[[[2.0, 1.0], [0.0, 1.0]]], references=[[0, -100]])
        >>> metric.add_batch(predictions=[[[1.0, 0.0]]], references=[[1]])
        >>> results = metric.compute()
        >>> results["num_positions"], results["accuracy"]
        (2.0, 0.5)
    """
    compute_metrics = make_compute_metrics(
        task, id2label, thresholds, per_label, groups, temperature
    )
    size = compute_metrics.rule.num_labels if num_labels is None else num_labels
    return _metric_class()(compute_metrics, check_count("num_labels", size), **kwargs)


@functools.cache
def _metric_class() -> type[evaluate.Metric]:
    import datasets  # here, as both are slow to import
    import evaluate

    class MaskedSeqMetric(evaluate.Metric):
        def __init__(self, compute_metrics: ComputeMetrics, num_labels: int, **kwargs: Any) -> None:
            self.compute_metrics, self.num_labels = compute_metrics, num_labels
            super().__init__(**kwargs)

        def _info(self) -> evaluate.MetricInfo:
            multilabel = self.compute_metrics.rule.task == "multilabel"
            logits = datasets.Sequence(datasets.Value("float64"), length=self.num_labels)
            flags = datasets.Sequence(datasets.Value("int64"), length=self.num_labels)
            labels = flags if multilabel else datasets.Value("int64")
            return evaluate.MetricInfo(
                description="The measures of `irti_custom.make_compute_metrics`.",
                citation="",
                inputs_description="Logits (B, M, L); labels (B, M, L) of 0/1 or (B, M) class ids.",
                features=datasets.Features({"predictions": logits, "references": labels}),
            )

        def add_batch(self, *, predictions: ArrayLike, references: ArrayLike) -> None:
            """Add a batch."""
            logits, labels = to_numpy(predictions), to_numpy(references)
            if logits.shape[-1:] != (self.num_labels,):
                raise ValueError(
                    f"Logits must be (B, M, L) with L = {self.num_labels}, got {logits.shape}. "
                    "Pass `num_labels` of the model that made them."
                )
            logits, labels = self.compute_metrics.format(logits, labels)
            super().add_batch(predictions=logits, references=labels)

        def _compute(self, *, predictions: ArrayLike, references: ArrayLike) -> dict[str, float]:
            multilabel = self.compute_metrics.rule.task == "multilabel"
            logits = np.asarray(predictions, dtype=np.float64).reshape(1, -1, self.num_labels)
            labels = np.asarray(references, dtype=np.int64)
            shape = logits.shape if multilabel else logits.shape[:2]
            return self.compute_metrics((logits, labels.reshape(shape)))

    return MaskedSeqMetric
