"""Quantise an exported graph to int8, and measure what that changes.

    model.onnx ──▶ quantize ──▶ model_int8.onnx ──▶ compare_decisions ──▶ Int8Report

Weights become 8-bit integers now, activations while the graph runs. How many decisions change
depends on the model and the data, so quantising needs data to measure it on.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..configuration_custom import MaskedSeqModelingConfig
from ..decisions import decide, probabilities
from ..processing.data_collator import DataCollatorForMaskedSeq
from .runtime import OnnxMaskedSeqModel, import_extra

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from transformers import PreTrainedTokenizerBase

    from ..modeling_custom import AutoModelForMaskedSeqModeling
    from .check import PadSettings

_COLUMNS = ("input_ids", "attention_mask", "token_type_ids", "mask_indices", "end_indices")


@dataclass(frozen=True)
class Changes:
    """How the decisions of two models on the same positions differ.

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
class Int8Report(Changes):
    """`Changes` from float32 to int8, and the size of the int8 graph relative to the other's."""

    size_ratio: float


def compare_decisions(
    exact: ArrayLike, other: ArrayLike, config: MaskedSeqModelingConfig
) -> Changes:
    """Compare the decisions from two sets of logits; see `decisions.decide`.

    Args:
        exact: logits ``(N, L)`` of N positions.
        other: logits ``(N, L)`` of the same positions.
        config: the model's config.

    Raises:
        ValueError: there is no position to compare.

    Example:
        >>> config = MaskedSeqModelingConfig(num_labels=2)
        >>> exact, other = [[1.0, -1.0], [0.1, 2.0]], [[1.0, -1.0], [-0.1, 2.0]]
        >>> changes = compare_decisions(exact, other, config)
        >>> changes.changed_decisions, changes.changed_positions
        (0.25, 0.5)
    """
    pair = [torch.as_tensor(np.asarray(logits), dtype=torch.float64) for logits in (exact, other)]
    if not len(pair[0]):
        raise ValueError("`rows` must hold a position to compare decisions on, got none.")
    one, two = (probabilities(logits, config.task) for logits in pair)
    settings = (config.task, config.thresholds, config.group_ids)
    decided = [decide(logits, *settings) for logits in pair]
    changed = decided[0] != decided[1]
    by_position = changed.any(-1) if config.task == "multilabel" else changed
    return Changes(
        num_positions=len(one),
        changed_decisions=float(changed.double().mean()),
        changed_positions=float(by_position.double().mean()),
        max_probability_difference=float((one - two).abs().max()),
    )


def quantize(source: str, target: str) -> None:
    """Write the graph in `source` to `target` with 8-bit weights, one scale per output channel."""
    tools = import_extra("onnxruntime.quantization")
    shapes = import_extra("onnxruntime.quantization.shape_inference")
    large = os.path.exists(f"{source}.data")  # more than one protobuf file can hold
    with tempfile.TemporaryDirectory(dir=os.path.dirname(target) or ".") as scratch:
        if not large:  # only newer versions of ONNX Runtime prepare large graphs
            prepared = os.path.join(scratch, "prepared.onnx")
            shapes.quant_pre_process(source, prepared, skip_symbolic_shape=True)
            source = prepared
        tools.quantize_dynamic(source, target, per_channel=True, use_external_data_format=large)


def logits_of_rows(
    model: AutoModelForMaskedSeqModeling | OnnxMaskedSeqModel,
    rows: Sequence[Mapping[str, Any]],
    tokenizer: PreTrainedTokenizerBase | PadSettings,
    batch_size: int,
) -> np.ndarray:
    """Score the positions of all rows, in batches: ``(N, L)``, without padded slots.

    Args:
        model: the model or its exported graph.
        rows: as the collator takes them; other columns are ignored.
        tokenizer: gives the pad settings.
        batch_size: rows per batch.

    Raises:
        ValueError: invalid rows; see `DataCollatorForMaskedSeq`.
    """
    collator = DataCollatorForMaskedSeq(tokenizer)
    scored = [np.zeros((0, model.config.num_labels), np.float32)]
    for start in range(0, len(rows), batch_size):
        part = [rows[index] for index in range(start, min(start + batch_size, len(rows)))]
        part = [{name: row[name] for name in _COLUMNS if name in row} for row in part]
        logits = np.asarray(model(**collator(part)).logits)
        scored += [row_logits[: len(row["mask_indices"])] for row_logits, row in zip(logits, part)]
    return np.concatenate(scored)


def measure(
    exact: OnnxMaskedSeqModel,
    int8: OnnxMaskedSeqModel,
    rows: Sequence[Mapping[str, Any]],
    tokenizer: PreTrainedTokenizerBase | PadSettings,
    batch_size: int,
    size_ratio: float,
) -> Int8Report:
    """Compare both models on the rows, in the same batches; see `logits_of_rows`."""
    logits, other = (logits_of_rows(model, rows, tokenizer, batch_size) for model in (exact, int8))
    changes = compare_decisions(logits, other, exact.config)
    return Int8Report(**vars(changes), size_ratio=size_ratio)
