"""Measure what a runtime and a precision change of the decisions.

rows ──▶ score_rows ──▶ logits of both ──▶ compare_decisions ──▶ PrecisionReport
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from ..configuration_custom import MaskedSeqModelingConfig
from ..evaluation.metrics import make_compute_metrics
from ..processing.data_collator import DataCollatorForMaskedSeq
from .runtime import OnnxMaskedSeqModel

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from transformers import PreTrainedTokenizerBase

    from ..modeling_custom import AutoModelForMaskedSeqModeling
    from .check import PadSettings

COLUMNS = ("input_ids", "attention_mask", "token_type_ids", "mask_indices", "end_indices")
_SCORES = {"multilabel": "micro_f1", "multiclass": "accuracy"}


@dataclass(frozen=True)
class Changes:
    """Differences between the decisions of two models on the same positions.

    Attributes:
        num_positions: positions that were compared.
        changed_decisions: share of decisions that differ: of all labels at all positions for
            "multilabel", of all positions for "multiclass".
        changed_positions: share of positions where a decision differs.
        max_probability_difference: largest difference between probabilities.
    """

    num_positions: int
    changed_decisions: float
    changed_positions: float
    max_probability_difference: float


@dataclass(frozen=True)
class PrecisionReport(Changes):
    """`Changes` from the float32 graph in ONNX Runtime, and what the graph weighs and scores.

    Attributes:
        runtime: "onnxruntime" or "openvino".
        precision: "float32", "bfloat16" or "int8".
        num_bytes: size of its file, including weights.
        exact_score: micro F1 for "multilabel", accuracy for "multiclass", of the float32 graph in
            ONNX Runtime; None without labels.
        score: the same of this one.
    """

    runtime: str
    precision: str
    num_bytes: int
    exact_score: float | None = None
    score: float | None = None

    def __str__(self) -> str:
        scored = ""
        if self.score is not None and self.exact_score is not None:
            scored = f"; score {self.exact_score:.4f} to {self.score:.4f}"
        return (
            f"{self.runtime} {self.precision}: {self.num_bytes / 1e6:.1f} MB; changes "
            f"{100 * self.changed_decisions:.2f} % of the decisions, at "
            f"{100 * self.changed_positions:.2f} % of {self.num_positions} positions, a "
            f"probability by {self.max_probability_difference:.3f} at most{scored}"
        )


def compare_decisions(
    exact: ArrayLike, other: ArrayLike, config: MaskedSeqModelingConfig
) -> Changes:
    """Compare the decisions from two sets of logits; see `Rule.decide`.

    Args:
        exact: logits ``(N, L)`` of N positions.
        other: logits ``(N, L)`` of the same positions.
        config: the model's config.

    Raises:
        ValueError: there is no position to compare.
    """
    pair = [torch.as_tensor(np.asarray(logits), dtype=torch.float64) for logits in (exact, other)]
    if not len(pair[0]):
        raise ValueError("`rows` must hold a position to compare decisions on, got none.")
    one, two = (config.rule.probabilities(logits) for logits in pair)
    decided = [config.rule.decide(logits) for logits in pair]
    changed = decided[0] != decided[1]
    by_position = changed.any(-1) if config.task == "multilabel" else changed
    return Changes(
        num_positions=len(one),
        changed_decisions=float(changed.double().mean()),
        changed_positions=float(by_position.double().mean()),
        max_probability_difference=float((one - two).abs().max()),
    )


class Scored(NamedTuple):
    """Real positions of rows, without padded slots."""

    logits: np.ndarray  # (N, L)
    labels: np.ndarray | None  # (N, L) or (N,)


def score_rows(
    model: AutoModelForMaskedSeqModeling | OnnxMaskedSeqModel,
    rows: Sequence[Mapping[str, Any]],
    tokenizer: PreTrainedTokenizerBase | PadSettings,
    batch_size: int,
) -> Scored:
    """Score the positions of all rows, in batches.

    Args:
        model: the model or its exported graph.
        rows: as the collator takes them, with or without labels; other columns are ignored.
        tokenizer: gives the pad settings.
        batch_size: rows per batch.

    Raises:
        ValueError: invalid rows; see `DataCollatorForMaskedSeq`.
    """
    config = model.config
    collator = DataCollatorForMaskedSeq(tokenizer, task=config.task, num_labels=config.num_labels)
    labelled = all("labels" in row for row in rows)
    columns = (*COLUMNS, "labels") if labelled else COLUMNS
    logits, labels = [np.zeros((0, config.num_labels), np.float32)], []
    for start in range(0, len(rows), batch_size):
        part = [rows[index] for index in range(start, min(start + batch_size, len(rows)))]
        batch = dict(collator([{k: row[k] for k in columns if k in row} for row in part]))
        real = [slice(len(row["mask_indices"])) for row in part]
        if labelled:
            labels += [row[kept] for row, kept in zip(np.asarray(batch.pop("labels")), real)]
        scored = np.asarray(model(**batch).logits)
        logits += [row[kept] for row, kept in zip(scored, real)]
    return Scored(np.concatenate(logits), np.concatenate(labels) if labels else None)


def measure(
    exact: Scored,
    other: Scored,
    config: MaskedSeqModelingConfig,
    runtime: str,
    precision: str,
    num_bytes: int,
) -> PrecisionReport:
    """Report what a runtime and a precision change of the decisions.

    Args:
        exact: of the float32 graph in ONNX Runtime.
        other: of the same rows, in the same batches.
        config: the model's config.
        runtime: of `other`.
        precision: of `other`.
        num_bytes: size of its file.

    Raises:
        ValueError: there is no position to compare.
    """
    changes = compare_decisions(exact.logits, other.logits, config)
    scores = [_score(scored, config) for scored in (exact, other)]
    return PrecisionReport(
        **vars(changes),
        runtime=runtime,
        precision=precision,
        num_bytes=num_bytes,
        exact_score=scores[0],
        score=scores[1],
    )


def _score(scored: Scored, config: MaskedSeqModelingConfig) -> float | None:
    """Return micro F1 or accuracy; None without labels."""
    if scored.labels is None:
        return None
    metrics = make_compute_metrics(config)
    return metrics((scored.logits[:, None], scored.labels[:, None]))[_SCORES[config.task]]
