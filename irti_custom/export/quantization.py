"""Quantise an exported graph to int8, and say what that changes.

    model.onnx ──▶ quantize ──▶ model_int8.onnx ──▶ compare_decisions ──▶ Int8Report

Weights become 8-bit integers, activations while the graph runs. How many decisions change depends
on the model and on the data, so there is no quantising here without data to measure it on.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..configuration_custom import MaskedSeqModelingConfig
from ..decisions import decide, probabilities
from ..processing.data_collator import DataCollatorForMaskedSeq
from .runtime import OnnxMaskedSeqModel, import_extra

_COLUMNS = ("input_ids", "attention_mask", "token_type_ids", "mask_indices")


@dataclass(frozen=True)
class Changes:
    """What differs between the decisions of two models on the same positions.

    Attributes:
        num_positions: positions that were compared.
        changed_decisions: share of the decisions that differ: of all labels of all positions for
            "multilabel", of the positions for "multiclass".
        changed_positions: share of the positions with a decision that differs.
        max_probability_difference: largest difference of a probability.
    """

    num_positions: int
    changed_decisions: float
    changed_positions: float
    max_probability_difference: float


@dataclass(frozen=True)
class Int8Report(Changes):
    """`Changes` from float32 to int8, and the size of the int8 file relative to the other's."""

    size_ratio: float


def compare_decisions(exact: Any, other: Any, config: MaskedSeqModelingConfig) -> Changes:
    """Compare the decisions that two sets of logits lead to.

    A label of "multilabel" is decided at `config.thresholds` where there are some, else at 0.5;
    "multiclass" takes the most probable label, or none below a threshold.

    Args:
        exact: logits ``(N, L)`` of N positions.
        other: logits ``(N, L)`` of the same positions.
        config: the model's config.

    Raises:
        ValueError: no position to compare.

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
    decided = [decide(logits, config.task, config.thresholds) for logits in pair]
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
    large = os.path.exists(f"{source}.data")  # beyond what one file of protobuf can hold
    with tempfile.TemporaryDirectory(dir=os.path.dirname(target) or ".") as scratch:
        if not large:  # which ONNX Runtime prepares in its newer versions only
            prepared = os.path.join(scratch, "prepared.onnx")
            shapes.quant_pre_process(source, prepared, skip_symbolic_shape=True)
            source = prepared
        tools.quantize_dynamic(source, target, per_channel=True, use_external_data_format=large)


def logits_of_rows(
    model: Any, rows: Sequence[Mapping[str, Any]], tokenizer: Any, batch_size: int
) -> np.ndarray:
    """Score the positions of all rows, in batches: ``(N, L)``, padded slots left out.

    Args:
        model: PyTorch's or ONNX Runtime's.
        rows: as the collator takes them; other columns are not read.
        tokenizer: its pad settings are the collator's.
        batch_size: rows per batch.

    Raises:
        ValueError: rows that the collator refuses, or that the model does.
    """
    collator = DataCollatorForMaskedSeq(tokenizer)
    found = [np.zeros((0, model.config.num_labels), np.float32)]
    for start in range(0, len(rows), batch_size):
        part = [rows[index] for index in range(start, min(start + batch_size, len(rows)))]
        part = [{name: row[name] for name in _COLUMNS if name in row} for row in part]
        logits = np.asarray(model(**collator(part)).logits)
        taken = [logits[number, : len(row["mask_indices"])] for number, row in enumerate(part)]
        found += taken
    return np.concatenate(found)


def measure(
    exact: OnnxMaskedSeqModel,
    int8: OnnxMaskedSeqModel,
    rows: Sequence[Mapping[str, Any]],
    tokenizer: Any,
    batch_size: int,
    size_ratio: float,
) -> Int8Report:
    """Run both models on the rows, in the same batches, and compare; see `logits_of_rows`."""
    one, two = (logits_of_rows(model, rows, tokenizer, batch_size) for model in (exact, int8))
    changes = compare_decisions(one, two, exact.config)
    return Int8Report(**vars(changes), size_ratio=size_ratio)
