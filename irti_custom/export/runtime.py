"""An exported model: ONNX Runtime behind the names of the PyTorch model.

    folder: model.onnx, config.json ──▶ OnnxMaskedSeqModel ──▶ logits (B, M, L)

`export` writes such folders. ONNX Runtime is imported when one is loaded.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import torch
from transformers.utils import CONFIG_NAME

from ..configuration_custom import MaskedSeqModelingConfig
from ..decisions import decide, probabilities
from ..input_checks import check_inputs, check_positions
from ..loading import ONNX_FILE, Source, resolve

INT8_FILE = "model_int8.onnx"
MAX_TOKENS = "max_tokens"  # in the metadata of a graph


@dataclass(frozen=True)
class OnnxOutput:
    """What a call returns: ``logits`` ``(B, M, L)`` float32, an array or a tensor as the inputs."""

    logits: Any


class OnnxMaskedSeqModel:
    """A session of ONNX Runtime that is called like `AutoModelForMaskedSeqModeling`.

    Args:
        session: an `onnxruntime.InferenceSession` of an exported graph.
        config: task, labels and thresholds of the model.

    Raises:
        ValueError: the graph scores another number of labels than `config` names.

    Example:
        >>> model = OnnxMaskedSeqModel.from_pretrained("exported")  # doctest: +SKIP
        >>> model(input_ids=ids, attention_mask=mask, mask_indices=positions).logits.shape
        ... # doctest: +SKIP
        (2, 3, 15)
    """

    source: Source | None = None  # what it was loaded from
    device = torch.device("cpu")  # where tensors come from and go to, whatever the session runs on

    def __init__(self, session: Any, config: MaskedSeqModelingConfig) -> None:
        width = session.get_outputs()[0].shape[-1]
        if width != config.num_labels:
            raise ValueError(
                f"The graph scores {width} labels, but its {CONFIG_NAME} names "
                f"{config.num_labels}. The files are of different models: export again."
            )
        self.session = session
        self.config = config
        self._names = tuple(node.name for node in session.get_inputs())
        facts = session.get_modelmeta().custom_metadata_map
        # How many tokens the encoder has positions for, if it is limited.
        self.max_tokens = int(facts[MAX_TOKENS]) if MAX_TOKENS in facts else None

    @classmethod
    def from_pretrained(
        cls,
        folder: str | os.PathLike,
        providers: Sequence[Any] | None = None,
        session_options: Any = None,
        file_name: str = ONNX_FILE,
    ) -> OnnxMaskedSeqModel:
        """Load a folder that `export_onnx` wrote; no code in it is run.

        Args:
            folder: the folder.
            providers: ONNX Runtime's execution providers; default: the CPU.
            session_options: an `onnxruntime.SessionOptions`, such as the number of threads.
            file_name: the graph in it; "model_int8.onnx" for the quantised one.

        Raises:
            ModuleNotFoundError: ONNX Runtime is not installed.
            OSError: files are missing, or the graph was not written whole.
            ValueError: the files are not of one exported model.
        """
        runtime = import_extra("onnxruntime")
        path = os.path.join(folder, file_name)
        for needed in (path, os.path.join(folder, CONFIG_NAME)):
            if not os.path.isfile(needed):
                raise OSError(
                    f"{os.fspath(folder)!r} holds no {os.path.basename(needed)}. Was the export "
                    "cut off? `export_onnx` writes such a folder."
                )
        source = resolve(folder)
        if source.kind == "encoder":
            raise ValueError(
                f"{source.path!r} holds another kind of model: its {CONFIG_NAME} says "
                f"model_type={source.settings.get('model_type')!r}. `export_onnx` writes such a "
                "folder."
            )
        errors = importlib.import_module("onnxruntime.capi.onnxruntime_pybind11_state")
        try:
            session = runtime.InferenceSession(
                path, session_options, providers=list(providers or ("CPUExecutionProvider",))
            )
        except (
            errors.Fail,
            errors.InvalidArgument,
            errors.InvalidGraph,
            errors.InvalidProtobuf,
            errors.NoSuchFile,
            errors.RuntimeException,
        ) as error:
            raise OSError(
                f"ONNX Runtime cannot load {path!r}: {error}. Was it written whole? Export again."
            ) from error
        model = cls(session, source.config)
        model.source = source
        return model

    def __call__(
        self,
        input_ids: Any = None,
        attention_mask: Any = None,
        mask_indices: Any = None,
        token_type_ids: Any = None,
    ) -> OnnxOutput:
        """Score the tokens that `mask_indices` points at; everything is checked before a run.

        Args:
            input_ids: ``(B, T)`` integers, an array or a tensor.
            attention_mask: ``(B, T)``, 1 for real tokens; default: all are.
            mask_indices: ``(B, M)``, each in ``[0, T)``; padded slots hold any index in bounds.
            token_type_ids: ``(B, T)``, default 0; a graph without segments ignores it.

        Returns:
            `OnnxOutput` with ``logits`` ``(B, M, L)``: tensors for tensors, else arrays.

        Raises:
            ValueError: shapes or dtypes that disagree, or a position outside the sequence.
        """
        given = {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "token_type_ids": token_type_ids,
            "mask_indices": mask_indices,
        }
        tensors = {name: _integers(name, v) for name, v in given.items() if v is not None}
        ids = check_inputs(tensors.get("input_ids"), None, self.config.vocab_size)
        positions = check_positions(tensors.get("mask_indices"), ids)
        for name, fill in (("attention_mask", torch.ones_like), ("token_type_ids", _zeros)):
            if tensors.setdefault(name, fill(ids)).shape != ids.shape:
                raise ValueError(
                    f"`{name}` must be (B, T) = {tuple(ids.shape)} as `input_ids`, got "
                    f"{tuple(tensors[name].shape)}."
                )
        if positions.numel():
            feeds = {name: tensors[name].numpy() for name in self._names}
            logits = self.session.run(None, feeds)[0]
        else:  # nothing is asked for
            logits = np.zeros((*positions.shape, self.config.num_labels), np.float32)
        if isinstance(input_ids, torch.Tensor):
            return OnnxOutput(torch.from_numpy(logits).to(input_ids.device))
        return OnnxOutput(logits)

    def predict_proba(self, logits: Any) -> Any:
        """Turn logits ``(..., L)`` into probabilities, as the PyTorch model does.

        Independent ones per label for "multilabel" (sigmoid); for "multiclass" they sum to 1 over
        the last axis (softmax). Arrays for arrays, tensors for tensors.
        """
        return _as_given(logits, lambda tensor: probabilities(tensor, self.config.task))

    def predict(self, logits: Any) -> Any:
        """Decide by `config.thresholds`, as the PyTorch model does; see `decisions.decide`."""
        config = self.config
        return _as_given(logits, lambda tensor: decide(tensor, config.task, config.thresholds))


def import_extra(name: str) -> ModuleType:
    """Import a module of the extra `onnx`.

    Raises:
        ModuleNotFoundError: saying how to install it.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"ONNX needs {name}, and the import failed: {error}. Run `pip install {name}`, or "
            'install this package as "irti_custom[onnx]".',
            name=error.name,
        ) from error


def _as_given(values: Any, function: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """Call a function of a tensor: an array for an array, a tensor for a tensor."""
    if isinstance(values, torch.Tensor):
        return function(values)
    return function(torch.as_tensor(np.asarray(values))).numpy()


def _integers(name: str, value: Any) -> torch.Tensor:
    """Make it an int64 tensor on the CPU, as the graph wants it."""
    array = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
    if array.dtype.kind not in "iub" and array.size:
        raise ValueError(f"`{name}` must hold integers, got {array.dtype}.")
    return torch.from_numpy(array.astype(np.int64))


def _zeros(ids: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(ids)
