"""What a pipeline is put together from: a model of any kind of folder, and a processor that fits.

folder ─┬─ model.onnx ───────────▶ ONNX Runtime, as a module
├─ checkpoint, adapter ──▶ model
└─ masked_seq_processor.json ──▶ processor
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers import AutoTokenizer

from .adapters import vocabulary
from .configuration_custom import HUB_ARGUMENTS, MaskedSeqModelingConfig
from .modeling_custom import AutoModelForMaskedSeqModeling
from .onnx_model import OnnxMaskedSeqModel, is_onnx_folder
from .positions import MaskedSeqProcessor

_ONNX_ARGUMENTS = ("file_name", "providers", "session_options")


class MaskedSeqModelLoader:
    """What ``pipeline(...)`` loads a model with: any kind of folder, remembered for the processor.

    Example:
        >>> model = MaskedSeqModelLoader.from_pretrained("trained")  # doctest: +SKIP
    """

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
            ValueError: what is there does not fit together.
        """
        path = os.fspath(pretrained_model_name_or_path)
        kwargs.pop("_from_pipeline", None)
        if is_onnx_folder(path):
            options = {name: kwargs[name] for name in _ONNX_ARGUMENTS if name in kwargs}
            model: Any = OnnxModule(OnnxMaskedSeqModel.from_pretrained(path, **options))
        else:
            model = AutoModelForMaskedSeqModeling.from_pretrained(path, **kwargs)
        names = (*HUB_ARGUMENTS, "trust_remote_code")
        model._pipeline_origin = path, {k: kwargs[k] for k in names if kwargs.get(k) is not None}
        return model


class OnnxModule(nn.Module):
    """An exported model as the module that pipelines of Transformers expect.

    Args:
        exported: the model.
    """

    def __init__(self, exported: OnnxMaskedSeqModel) -> None:
        super().__init__()
        self.exported, self.config, self.device = exported, exported.config, exported.device

    @classmethod
    def around(cls, model: Any) -> Any:
        """Return an exported model as a module, and any other as it is."""
        return cls(model) if isinstance(model, OnnxMaskedSeqModel) else model

    def forward(self, return_dict: bool = True, **inputs: Any) -> Any:
        """Score the tokens that `mask_indices` points at; see `OnnxMaskedSeqModel`."""
        return self.exported(**inputs)


def check_model(model: Any) -> None:
    """Refuse what is not a model of this package, such as a base encoder.

    Raises:
        ValueError: see above.
    """
    if isinstance(model, (str, os.PathLike)):
        raise ValueError(
            f"`model` must be a loaded model, got {str(model)!r}. To load one, call "
            f"MaskedSeqClassificationPipeline.from_pretrained({str(model)!r})."
        )
    found = getattr(getattr(model, "config", None), "model_type", None)
    if found != MaskedSeqModelingConfig.model_type:
        raise ValueError(
            "`model` must be an AutoModelForMaskedSeqModeling, a PEFT model around one, or an "
            f"OnnxMaskedSeqModel, got {type(model).__name__}. A base encoder needs a head, and "
            "training: AutoModelForMaskedSeqModeling.from_pretrained(base, num_labels=...)."
        )


def on_cpu(device: Any) -> Any:
    """Return the device of tensors for an ONNX model; its session decides where it runs.

    Raises:
        ValueError: another one is asked for.

    Example:
        >>> on_cpu(None), on_cpu("cpu")
        (-1, 'cpu')
    """
    if device is None or device == -1:
        return -1
    if isinstance(device, int) or torch.device(device).type != "cpu":
        raise ValueError(
            f"`device` must be the CPU for an ONNX model, got {device!r}. What it runs on is "
            'said when it is loaded: providers=["CUDAExecutionProvider"].'
        )
    return device


def find_processor(model: Any, processor: Any, tokenizer: Any) -> MaskedSeqProcessor:
    """Take the processor that is given, or load the one that lies beside the model.

    Args:
        model: as `MaskedSeqModelLoader` loads it, or any other.
        processor: a processor, or where to load it from.
        tokenizer: a tokenizer to make one with default settings from.

    Raises:
        OSError: there is none beside the model.
        ValueError: both are given, or none with a model that came from elsewhere.
    """
    if processor is not None and tokenizer is not None:
        raise ValueError("`processor` brings its own tokenizer. Give it or `tokenizer`, not both.")
    if isinstance(processor, (str, os.PathLike)):
        return MaskedSeqProcessor.from_pretrained(processor)
    if processor is not None:
        return processor
    if isinstance(tokenizer, (str, os.PathLike)):
        tokenizer = AutoTokenizer.from_pretrained(tokenizer)
    if tokenizer is not None:
        return MaskedSeqProcessor(tokenizer)
    path, hub = getattr(model, "_pipeline_origin", (None, {}))
    if path is None:
        raise ValueError(
            "`processor` must be given for a model that is loaded already, got None. Pass "
            "MaskedSeqProcessor.from_pretrained(folder), or load both from the folder with "
            "MaskedSeqClassificationPipeline.from_pretrained(folder)."
        )
    try:
        return MaskedSeqProcessor.from_pretrained(path, **hub)
    except OSError as error:
        raise OSError(
            f"{error} Save the one of the training beside the model with "
            f"processor.save_pretrained({path!r}), or pass `processor` or `tokenizer`."
        ) from error


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
    names = [config.id2label[index] for index in range(config.num_labels)]
    known = vocabulary(config)
    if known is not None and max(processor.new_tokens, default=0) >= known:
        raise ValueError(
            f"The processor's markers are the tokens {processor.new_tokens}, and the model knows "
            f"{known}. Is it the model trained with them? If not, resize its embeddings and train."
        )
    if processor.label2id is None:
        return names
    trained = sorted(processor.label2id, key=processor.label2id.__getitem__)
    counted = [f"LABEL_{index}" for index in range(len(trained))]
    if processor.task != config.task or names not in (trained, counted):
        raise ValueError(
            f"The processor is for task={processor.task!r} with the labels {trained}, the model "
            f"for task={config.task!r} with {names}. Use the one that the model was trained with."
        )
    return trained


def explain_failure(rows: Sequence[dict[str, Any]], config: Any) -> str | None:
    """Find a row that an encoder cannot read; None where there is nothing to see.

    Encoders themselves fail deep inside, or not at all where they need no positions.

    Args:
        rows: of the batch that failed.
        config: of the model.

    Example:
        >>> from transformers import BertConfig
        >>> encoder = BertConfig(max_position_embeddings=64)
        >>> row = {"example_ids": 7, "input_ids": [1] * 70, "length": 70}
        >>> explain_failure([row], MaskedSeqModelingConfig(base_model_config=encoder))
        'Input 7: it has a row of 70 tokens, and the encoder knows 64 positions. Set ...
    """
    positions = getattr(config.base_model_config, "max_position_embeddings", None)
    known = vocabulary(config)
    for row in rows:
        # RoBERTa and its kin use two of their positions for padding.
        if positions is not None and row["length"] > positions - 2:
            return (
                f"Input {row['example_ids']}: it has a row of {row['length']} tokens, and the "
                f"encoder knows {positions} positions. Set `max_length` on MaskedSeqProcessor."
            )
        if known is not None and max(row["input_ids"]) >= known:
            return (
                f"Input {row['example_ids']}: it has the token {max(row['input_ids'])}, and the "
                f"encoder knows {known}. Is it the tokenizer that the model was trained with?"
            )
    return None
