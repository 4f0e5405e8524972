"""Load a model from any kind of folder, and a processor that fits it.

folder ─┬─ model.onnx ───────────▶ ONNX Runtime, as a module
├─ checkpoint, adapter ──▶ model
└─ processor_config.json ──▶ processor
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any, Union

import torch
from torch import nn
from transformers import PreTrainedTokenizerFast

from ..export.runtime import OnnxMaskedSeqModel
from ..loading.model import AutoModelForMaskedSeqModeling, base_model_of
from ..loading.sources import Source, hub_arguments, resolve
from ..processing.label_names import trained_names
from ..processing.processor import MaskedSeqProcessor
from ..processing.settings import read_settings
from ..processing.special_tokens import digest_of, load_tokenizer

logger = logging.getLogger(__name__)

GRAPH_OPTIONS = (
    "runtime",
    "precision",
    "threads",
    "streams",
    "model_cache_dir",
    "providers",
    "session_options",
)

ProcessorOrPath = Union[MaskedSeqProcessor, str, os.PathLike]
TokenizerOrPath = Union[PreTrainedTokenizerFast, str, os.PathLike]


class MaskedSeqModelLoader:
    """Load a model for ``pipeline(...)``; keep its source, to find the processor."""

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike, **kwargs: Any
    ) -> Any:
        """Load a checkpoint, an adapter, or an ONNX folder.

        Args:
            pretrained_model_name_or_path: folder or Hub id.
            **kwargs: as for `AutoModelForMaskedSeqModeling.from_pretrained`; of an ONNX folder only
                those of `OnnxMaskedSeqModel.from_pretrained` count.

        Raises:
            OSError: no such folder or repository, or files missing from it.
            TypeError: options of `OnnxMaskedSeqModel.from_pretrained` for another kind of folder.
            ValueError: what is there does not fit together.
        """
        path = os.fspath(pretrained_model_name_or_path)
        kwargs.pop("_from_pipeline", None)
        options = {name: kwargs.pop(name) for name in GRAPH_OPTIONS if name in kwargs}
        if resolve(path, **hub_arguments(kwargs)).kind == "graph":
            return OnnxModule(OnnxMaskedSeqModel.from_pretrained(path, **options))
        _check_no_options(options)
        return AutoModelForMaskedSeqModeling.from_pretrained(path, **kwargs)


class OnnxModule(nn.Module):
    """An exported model as the module that pipelines of Transformers expect.

    Args:
        exported: the model.
    """

    def __init__(self, exported: OnnxMaskedSeqModel) -> None:
        super().__init__()
        self.exported, self.config, self.device = exported, exported.config, exported.device
        self.max_tokens, self.position_limit = exported.max_tokens, exported.position_limit
        self.source = exported.source

    @classmethod
    def around(cls, model: Any) -> Any:
        """Return an exported model as a module, and any other as it is."""
        return cls(model) if isinstance(model, OnnxMaskedSeqModel) else model

    def forward(self, return_dict: bool = True, **inputs: Any) -> Any:
        """Score the tokens that `mask_indices` points at; see `OnnxMaskedSeqModel`."""
        return self.exported(**inputs)


LoadedModel = Union[AutoModelForMaskedSeqModeling, OnnxModule]
"""The model in a pipeline; a PEFT model passes for the model inside."""


def check_model(model: Any) -> None:
    """Raise unless `model` belongs to this package; a base encoder does not.

    Raises:
        ValueError: see above.
    """
    if isinstance(model, (str, os.PathLike)):
        raise ValueError(
            f"`model` must be a loaded model, got {str(model)!r}. To load one, call "
            f"MaskedSeqClassificationPipeline.from_pretrained({str(model)!r})."
        )
    base_model_of(model)


def with_graph_options(model: Any, options: dict[str, Any]) -> Any:
    """Open the graph of an ONNX model again, with options of its own.

    Raises:
        TypeError: options for a model that is no such one.
    """
    if not options:
        return model
    if not isinstance(model, OnnxModule) or model.source is None:
        _check_no_options(options)
    return OnnxModule(OnnxMaskedSeqModel.from_pretrained(model.source.path, **options))


def _check_no_options(options: Mapping[str, Any]) -> None:
    if options:
        raise TypeError(
            f"{list(options)} are for the folder of an exported graph, which export_onnx writes."
        )


def on_cpu(device: Any) -> Any:
    """Return the device of tensors for an ONNX model; its session decides where it runs.

    Raises:
        ValueError: another one is asked for.
    """
    if device is None or device == -1:
        return -1
    if isinstance(device, int) or torch.device(device).type != "cpu":
        raise ValueError(
            f"`device` must be the CPU for an ONNX model, got {device!r}. What it runs on is "
            'said when it is loaded: providers=["CUDAExecutionProvider"].'
        )
    return device


def find_processor(
    model: LoadedModel, processor: ProcessorOrPath | None, tokenizer: TokenizerOrPath | None
) -> MaskedSeqProcessor:
    """Load the processor that lies beside the model, or take one that reads spans as that does.

    Args:
        model: as `MaskedSeqModelLoader` loads it, or any other of this package.
        processor: a processor, or where to load it from.
        tokenizer: the tokenizer; where no processor lies beside the model, one with default
            settings is made from it.

    Raises:
        OSError: there is none beside the model.
        ValueError: both are given, none with a model that came from elsewhere, or one that does
            not agree with what lies beside the model.
    """
    if processor is not None and tokenizer is not None:
        raise ValueError("`processor` brings its own tokenizer. Give it or `tokenizer`, not both.")
    source = model.source
    if processor is not None:
        if isinstance(processor, (str, os.PathLike)):
            processor = MaskedSeqProcessor.from_pretrained(processor)
        if source is not None and source.kind != "encoder":
            _check_reads_alike(processor, source)
        return processor
    if tokenizer is not None:
        return _processor_around(tokenizer, source)
    if source is None:
        raise ValueError(
            "`processor` must be given for a model that is loaded already, got None. Pass "
            "MaskedSeqProcessor.from_pretrained(folder), or load both from the folder with "
            "MaskedSeqClassificationPipeline.from_pretrained(folder)."
        )
    try:
        return _processor_beside(source)
    except OSError as error:
        raise OSError(
            f"{error} Save the one of the training beside the model with "
            f"processor.save_pretrained({source.path!r}), or pass `processor` or `tokenizer`."
        ) from error


def _processor_beside(source: Source) -> MaskedSeqProcessor:
    return MaskedSeqProcessor.from_pretrained(
        source.path, trust_remote_code=source.trust_remote_code, **source.hub
    )


def _processor_around(tokenizer: TokenizerOrPath, source: Source | None) -> MaskedSeqProcessor:
    """Make a processor, or load the one that lies beside the model and has the same tokenizer."""
    if isinstance(tokenizer, (str, os.PathLike)):
        permitted = source is not None and source.trust_remote_code and source.path == tokenizer
        tokenizer = load_tokenizer(os.fspath(tokenizer), trust_remote_code=permitted)
    if source is None or source.kind == "encoder" or not _saved_settings(source):
        return MaskedSeqProcessor(tokenizer)
    beside = _processor_beside(source)
    if digest_of(tokenizer) != digest_of(beside.tokenizer):
        raise ValueError(
            f"`tokenizer` must make the tokens that the processor beside the model makes "
            f"({source.path!r}), and {type(tokenizer).__name__} does not. Leave it out."
        )
    return beside


def _saved_settings(source: Source) -> dict[str, Any]:
    """Return the settings of the processor that lies beside the model; none without one."""
    try:
        return read_settings(source.path, dict(source.hub))
    except OSError:
        return {}


def _check_reads_alike(processor: MaskedSeqProcessor, source: Source) -> None:
    """Check that a processor reads spans as the one beside the model, where there is one."""
    saved = _saved_settings(source)
    found = {"read": processor.read, "markers": processor.markers}
    if "tokenizer_digest" in saved:
        found["tokenizer_digest"] = digest_of(processor.tokenizer)
    names = found if processor.read == "marker" else found.keys() - {"markers"}
    different = {name: (saved[name], found[name]) for name in names if name in saved}
    different = {name: pair for name, pair in different.items() if pair[0] != pair[1]}
    if different:
        raise ValueError(
            f"The processor beside the model ({source.path!r}) and `processor` differ in "
            f"{different}. Leave `processor` out, or save the one that the model was trained with "
            "there."
        )


def fit_length(processor: MaskedSeqProcessor, max_tokens: int | None) -> MaskedSeqProcessor:
    """Let a processor make no row that is longer than the model can read.

    Args:
        processor: stays as it is.
        max_tokens: what the model can read; None for no limit.

    Returns:
        The processor, or a copy of it with a smaller `max_length`, which is logged where another
        one was set.

    Raises:
        ValueError: its `stride` does not fit into rows of that length.
    """
    length = processor.max_length
    if max_tokens is None or (length is not None and length <= max_tokens):
        return processor
    if length is not None:
        logger.warning(
            "The processor's max_length=%d is more than the model can read, so rows of %d tokens "
            "are made. Set `max_length` on MaskedSeqProcessor.",
            length,
            max_tokens,
        )
    return processor.with_max_length(max_tokens)


def label_names(config: Any, processor: MaskedSeqProcessor) -> list[str]:
    """Name the labels: as the model does, or as the processor where the model only counts them.

    Args:
        config: of the model.
        processor: what its rows come from.

    Returns:
        L names.

    Raises:
        ValueError: the two are not made for each other.
    """
    known = config.vocab_size
    if known is not None and max(processor.new_tokens, default=0) >= known:
        raise ValueError(
            f"The processor's markers are the tokens {processor.new_tokens}, and the model knows "
            f"{known}. Is it the model trained with them? If not, resize its embeddings and train."
        )
    return trained_names(config, processor)
