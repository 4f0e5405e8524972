"""Export a model to an ONNX graph, and check that the graph computes what PyTorch does.

    model ──▶ float32 copy, LoRA merged ──▶ model.onnx ──▶ checked ──▶ folder
                                               └──▶ model_int8.onnx, measured on your rows

`OnnxMaskedSeqModel` runs the folder. Needs the extra `onnx`, and for int8 `openvino`, which are
imported on export.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from ..encoders import full_attention_limit
from ..loading.folders import replaced_files
from ..loading.model import base_model_of
from ..loading.sources import ONNX_FILE
from ..processing.label_names import trained_names
from .changes import PrecisionReport, measure, score_rows
from .check import (
    PadSettings,
    Reference,
    compare,
    input_names,
    pad_settings,
    random_batch,
    references,
    segments_unknown,
)
from .engines import GRAPH_FILES, import_extra, installed, runs_here
from .quantization import calibration_rows, import_nncf, quantize
from .runtime import LIMITS, OnnxMaskedSeqModel

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedTokenizerBase

    from ..modeling_custom import AutoModelForMaskedSeqModeling
    from ..processing.processor import MaskedSeqProcessor

logger = logging.getLogger(__name__)

_GRAPH_FILE = re.compile(r"model(_int8)?\.onnx(\.data)?")
_PYTORCH_FILE = re.compile(r"(pytorch_|adapter_)?model(-\d+-of-\d+)?\.(safetensors|bin)")
_ON_CPU = (None, "eager", "sdpa")  # attention implementations that run on any machine
_TRACED = (2, 13, 3)  # B, T, M; not a shape of the check


@dataclass(frozen=True)
class OnnxReport:
    """The size of an exported graph, and how closely it matches PyTorch.

    Attributes:
        max_difference: largest difference between its logits and PyTorch's; None if not checked.
        num_bytes: size of the float32 graph, including weights.
        precisions: what each other runtime and precision that this machine has changes on `rows`;
            empty without them.
    """

    max_difference: float | None
    num_bytes: int
    precisions: tuple[PrecisionReport, ...] = ()


def export_onnx(
    model: AutoModelForMaskedSeqModeling | PeftModel,
    directory: str | os.PathLike,
    tokenizer: PreTrainedTokenizerBase | None = None,
    processor: MaskedSeqProcessor | None = None,
    int8: bool = False,
    rows: Sequence[Mapping[str, Any]] | None = None,
    batch_size: int = 16,
    check: bool = True,
    atol: float = 1e-4,
    opset: int | None = None,
) -> OnnxReport:
    """Export a model to a folder that `OnnxMaskedSeqModel` loads, for any B, T and M.

    The model does not change: a copy is moved to the CPU and converted to float32, LoRA adapters
    are merged into it, and it uses eager attention. The graph is written last, so that a folder
    whose export was interrupted does not load.

    Args:
        model: the model, or a PEFT model around one.
        directory: the folder, without PyTorch weights in it. An earlier export is replaced.
        tokenizer: saved beside the graph.
        processor: saved beside the graph.
        int8: also write "model_int8.onnx", quantised to int8 with `rows` to calibrate on: every
            second one, `CALIBRATION_ROWS` at most (extra `openvino`).
        rows: data like the model's, as `DataCollatorForMaskedSeq` takes it; padded as the tokenizer
            or the processor pads, else on the right with the encoder's pad token. On those that
            were not calibrated on, every runtime and precision that this machine has is compared
            with float32; that is reported and, for int8, logged. With labels, scores are, too.
        batch_size: rows per batch of that measurement.
        check: compare the graph with PyTorch on random ragged batches, at positions on real tokens,
            in ONNX Runtime and, where it is installed, in OpenVINO.
        atol: the largest difference between logits that the check allows.
        opset: version of the ONNX operators; default: the exporter's.

    Returns:
        An `OnnxReport`.

    Raises:
        ModuleNotFoundError: the extra `onnx`, or `openvino` for int8, is not installed.
        ValueError: another kind of model, one whose attention depends on the length of a batch,
            `int8` without `rows`, a folder with PyTorch weights, or invalid rows.
        RuntimeError: the graph does not compute what PyTorch does; nothing is written then.

    Example:
        >>> report = export_onnx(model, "out/onnx", tokenizer)  # doctest: +SKIP
        >>> report.max_difference < 1e-4  # doctest: +SKIP
        True
    """
    for name in ("onnx", "onnxscript", "onnxruntime"):
        import_extra(name)
    if int8:
        import_nncf()
    if int8 and rows is None:
        raise ValueError(
            "int8 needs `rows`, got none: it is calibrated on some of them, and how many decisions "
            "it changes is counted on the others."
        )
    base = base_model_of(model)  # raises if it is another kind of model
    if processor is not None and getattr(processor, "label2id", None) is not None:
        trained_names(base.config, processor)
    encoder = base.encoder
    if (limit := full_attention_limit(encoder.config)) is not None:
        raise ValueError(
            "A graph holds one attention, and BigBird's attention_type='block_sparse' has two: "
            f"up to {limit} tokens attend to all. For such rows only, set max_length={limit} on "
            "the processor and model.encoder.config.attention_type = 'original_full'."
        )
    os.makedirs(directory, exist_ok=True)
    _check_folder(directory)
    plain, expected = _prepare(model, check)
    with replaced_files(directory, lambda name: bool(_GRAPH_FILE.fullmatch(name))) as scratch:
        plain.config.save_pretrained(scratch)
        _write_graph(plain, scratch, opset)
        difference = None
        if check:
            difference = max(compare(scratch, name, expected, atol) for name in installed())
        precisions: tuple[PrecisionReport, ...] = ()
        if rows is not None:
            pads = tokenizer or getattr(processor, "tokenizer", None) or pad_settings(plain)
            precisions = _measure(scratch, rows, pads, batch_size, int8)
        report = OnnxReport(difference, _size_of(scratch, ONNX_FILE), precisions)
        for companion in (tokenizer, processor):
            if companion is not None:
                companion.save_pretrained(scratch)
    return report


def _prepare(
    model: AutoModelForMaskedSeqModeling | PeftModel, check: bool
) -> tuple[AutoModelForMaskedSeqModeling, list[Reference]]:
    """Copy the model, merge the copy's adapters and make its attention eager.

    Returns:
        The copy, and batches that were scored before these changes.
    """
    copied = copy.deepcopy(model).to(device="cpu", dtype=torch.float32).eval()
    copied.requires_grad_(False)
    on_cpu = base_model_of(copied).encoder.config._attn_implementation in _ON_CPU
    expected = references(copied) if check and on_cpu else []
    merged = copied.merge_and_unload() if hasattr(copied, "merge_and_unload") else copied
    plain = _eager(merged)
    if check and not on_cpu:  # such as flash attention: eager attention is the closest to it
        expected = references(plain)
    return plain, expected


def _eager(model: AutoModelForMaskedSeqModeling) -> AutoModelForMaskedSeqModeling:
    """Build the same model with eager attention, which every encoder has.

    Fused attention is undefined where a local window holds only padding, and graphs differ there.
    """
    if model.encoder.config._attn_implementation in (None, "eager"):
        return model
    config = copy.deepcopy(model.config)
    with torch.random.fork_rng(devices=[]):  # building draws weights, which are replaced
        eager = type(model)._from_config(
            config,
            attn_implementation="eager",
            encoder_class=type(model.encoder),
            dtype=torch.float32,
        )
    eager.load_state_dict(model.state_dict())
    buffers = dict(model.named_buffers())
    for name, buffer in eager.named_buffers():  # also those that no state dict holds
        buffer.copy_(buffers.get(name, buffer))
    return eager.eval().requires_grad_(False)


def _check_folder(directory: str | os.PathLike) -> None:
    weights = sorted(name for name in os.listdir(directory) if _PYTORCH_FILE.fullmatch(name))
    if weights:
        raise ValueError(
            f"`directory` must be without PyTorch weights, and {os.fspath(directory)!r} holds "
            f"{weights}: a folder holds one kind of model. Export to a folder of its own."
        )


class _Graph(nn.Module):
    """The forward pass as the exporter wants it: tensors in, one tensor out."""

    def __init__(self, model: AutoModelForMaskedSeqModeling, names: Sequence[str]) -> None:
        super().__init__()
        self.model = model
        self.names = tuple(names)

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        return self.model(**dict(zip(self.names, tensors)), return_dict=True).logits


def _write_graph(model: AutoModelForMaskedSeqModeling, folder: str, opset: int | None) -> None:
    names = input_names(model)
    if segments_unknown(model):
        logger.warning(
            "The graph takes no token_type_ids: the config of the encoder type %r does not give "
            "the number of segments.",
            model.config.base_model_type,
        )
    batch = random_batch(model, _TRACED, np.random.default_rng(1))
    rows, tokens, positions = (torch.export.Dim(n) for n in ("batch", "tokens", "positions"))
    dims = tuple({0: rows, 1: positions if n.endswith("_indices") else tokens} for n in names)
    settings: dict[str, Any] = {} if opset is None else {"opset_version": opset}
    with _quiet():
        program = torch.onnx.export(
            _Graph(model, names).eval(),
            tuple(batch[name] for name in names),
            dynamo=True,
            verbose=False,
            input_names=names,
            output_names=["logits"],
            dynamic_shapes=(dims,),
            **settings,
        )
        assert program is not None  # None is the older exporter's result
        for node in program.model.graph.all_nodes():  # stack traces with paths of this machine
            node.metadata_props.clear()
        limits = {name: getattr(model, name) for name in LIMITS}
        program.model.metadata_props.update(
            {name: str(limit) for name, limit in limits.items() if limit is not None}
        )
        program.save(os.path.join(folder, ONNX_FILE))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's messages about its own internals."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [log.level for log in loggers]
    try:
        for log in loggers:
            log.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for log, level in zip(loggers, levels):
            log.setLevel(level)


def _measure(
    folder: str,
    rows: Sequence[Mapping[str, Any]],
    pads: PreTrainedTokenizerBase | PadSettings,
    batch_size: int,
    int8: bool,
) -> tuple[PrecisionReport, ...]:
    """Add int8 if asked to, and compare all that runs here with float32 in ONNX Runtime."""
    chosen = calibration_rows(rows) if int8 else []
    if chosen:
        with _quiet():
            quantize(folder, [rows[index] for index in chosen], pads)
    rest = [rows[index] for index in sorted(set(range(len(rows))) - set(chosen))]
    expected, reports = None, []
    for runtime, precision in runs_here():  # the first is what the others are compared with
        if precision == "int8" and not int8:
            continue
        model = OnnxMaskedSeqModel.from_pretrained(folder, runtime, precision)
        scored = score_rows(model, rest, pads, batch_size)
        if expected is None:
            expected = scored
            continue
        size = _size_of(folder, GRAPH_FILES[precision])
        reports.append(measure(expected, scored, model.config, runtime, precision, size))
        if precision == "int8":
            logger.warning("%s", reports[-1])
    return tuple(reports)


def _size_of(folder: str, name: str) -> int:
    paths = (os.path.join(folder, name + suffix) for suffix in ("", ".data"))
    return sum(os.path.getsize(path) for path in paths if os.path.exists(path))
