"""Quantise an exported graph to int8 by calibration.

    model.onnx + rows ──▶ quantize ──▶ model_int8.onnx

Weights and activations become 8-bit integers. The ranges of activations come from rows of yours
(static quantisation), after SmoothQuant has moved outliers into the weights: Xiao et al. 2023,
https://arxiv.org/abs/2211.10438, as NNCF implements it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ..loading.sources import ONNX_FILE
from ..processing.data_collator import DataCollatorForMaskedSeq
from .changes import COLUMNS
from .engines import INT8_FILE, import_extra
from .runtime import OnnxMaskedSeqModel

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from .check import PadSettings

CALIBRATION_ROWS = 300  # NNCF's default


def calibration_rows(rows: Sequence[Mapping[str, Any]]) -> list[int]:
    """Choose rows to calibrate on: every second one with positions, or evenly spaced ones.

    Returns:
        Their indices, `CALIBRATION_ROWS` at most. The rest is there to count changes on.

    Raises:
        ValueError: there are too few.
    """
    usable = [i for i in range(len(rows)) if len(rows[i]["mask_indices"])]
    count = min(CALIBRATION_ROWS, len(usable) // 2)
    if not count:
        raise ValueError(
            "`rows` must hold two rows with positions or more for int8: some to calibrate on, the "
            f"others to count changed decisions on. Got {len(usable)}."
        )
    return [usable[index * len(usable) // count] for index in range(count)]


def quantize(
    folder: str, rows: Sequence[Mapping[str, Any]], pads: PreTrainedTokenizerBase | PadSettings
) -> None:
    """Write the int8 graph beside the float32 one.

    Args:
        folder: holds the float32 graph.
        rows: to calibrate on, one at a time, so that no padding counts.
        pads: gives the pad settings.
    """
    onnx, nncf = import_extra("onnx"), import_nncf()
    model, collator = OnnxMaskedSeqModel.from_pretrained(folder), DataCollatorForMaskedSeq(pads)
    unlabelled = [{name: row[name] for name in COLUMNS if name in row} for row in rows]
    source, target = (os.path.join(folder, name) for name in (ONNX_FILE, INT8_FILE))
    graph = nncf.quantize(
        onnx.load(source),
        nncf.Dataset([model.feeds(**collator([row])) for row in unlabelled]),
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(rows),
    )
    large = os.path.exists(f"{source}.data")  # more than one protobuf file can hold
    beside = {"location": f"{INT8_FILE}.data"} if large else {}
    onnx.save(graph, target, save_as_external_data=large, **beside)


def import_nncf() -> ModuleType:
    """Import NNCF in such a way that it reports nothing to its makers, as it does by default.

    Raises:
        ModuleNotFoundError: with the command that installs it.
    """
    before = os.environ.get("NNCF_CI")
    os.environ["NNCF_CI"] = before or "1"
    try:
        return import_extra("nncf")
    finally:
        if before is None:
            del os.environ["NNCF_CI"]
        else:
            os.environ["NNCF_CI"] = before
