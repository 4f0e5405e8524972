"""Run an exported graph on ONNX Runtime, with the methods of the PyTorch model.

    folder: model.onnx, config.json ──▶ OnnxMaskedSeqModel ──▶ logits (B, M, L)

`export` writes such folders. ONNX Runtime is imported when one is loaded.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from transformers.utils import CONFIG_NAME

from ..configuration_custom import MaskedSeqModelingConfig
from ..decisions import decide, probabilities
from ..input_checks import check_ends, check_inputs, check_length, check_positions
from ..loading import ONNX_FILE, Source, resolve
from ..saving import finish_save

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from onnxruntime import InferenceSession, SessionOptions

ArrayT = TypeVar("ArrayT", torch.Tensor, np.ndarray)

INT8_FILE = "model_int8.onnx"
LIMITS = ("max_tokens", "position_limit")  # of the model, in the metadata of a graph


@dataclass(frozen=True)
class OnnxOutput:
    """What a call returns: ``logits`` ``(B, M, L)`` in float32, of the inputs' kind."""

    logits: Any


class OnnxMaskedSeqModel:
    """A session of ONNX Runtime that is called like `AutoModelForMaskedSeqModeling`.

    Args:
        session: runs an exported graph.
        config: the model's config.

    Attributes:
        source: where it was loaded from.
        device: where tensors come from and go to, independent of the session's providers.
        max_tokens: how many tokens the encoder was made for; None without a limit.
        position_limit: how many tokens it has a table of positions for; None without one.

    Raises:
        ValueError: the graph scores another number of labels than `config` names.

    Example:
        >>> model = OnnxMaskedSeqModel.from_pretrained("exported")  # doctest: +SKIP
        >>> model(input_ids=ids, attention_mask=mask, mask_indices=positions).logits.shape
        ... # doctest: +SKIP
        (2, 3, 15)
    """

    source: Source | None = None
    device = torch.device("cpu")

    def __init__(self, session: InferenceSession, config: MaskedSeqModelingConfig) -> None:
        width = session.get_outputs()[0].shape[-1]
        if width != config.num_labels:
            raise ValueError(
                f"The graph scores {width} labels, but its {CONFIG_NAME} names "
                f"{config.num_labels}. The files are of different models: export again."
            )
        self.session = session
        self.config = config
        self._names = tuple(node.name for node in session.get_inputs())
        metadata = session.get_modelmeta().custom_metadata_map
        self.max_tokens, self.position_limit = (
            int(metadata[name]) if name in metadata else None for name in LIMITS
        )

    @classmethod
    def from_pretrained(
        cls,
        folder: str | os.PathLike,
        providers: Sequence[Any] | None = None,
        session_options: SessionOptions | None = None,
        file_name: str = ONNX_FILE,
    ) -> OnnxMaskedSeqModel:
        """Load a folder that `export_onnx` wrote; runs no code from it.

        Args:
            folder: the folder.
            providers: ONNX Runtime's execution providers; default: the CPU.
            session_options: such as the number of threads.
            file_name: the graph in it; "model_int8.onnx" for the quantised one.

        Raises:
            ModuleNotFoundError: ONNX Runtime is not installed.
            OSError: files are missing, or the graph is incomplete.
            ValueError: the files do not belong to one exported model.
        """
        runtime = import_extra("onnxruntime")
        finish_save(folder)
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
        input_ids: torch.Tensor | ArrayLike | None = None,
        attention_mask: torch.Tensor | ArrayLike | None = None,
        mask_indices: torch.Tensor | ArrayLike | None = None,
        token_type_ids: torch.Tensor | ArrayLike | None = None,
        end_indices: torch.Tensor | ArrayLike | None = None,
    ) -> OnnxOutput:
        """Score the tokens that `mask_indices` points at; the arguments are checked first.

        Args:
            input_ids: ``(B, T)`` integers, an array or a tensor.
            attention_mask: ``(B, T)``, 1 for real tokens; default: all 1.
            mask_indices: ``(B, M)``, each in ``[0, T)``; padded slots hold any index in bounds.
            token_type_ids: ``(B, T)``; default: all 0. Ignored by a graph without segments.
            end_indices: ``(B, M)``, for a model with ``config.tokens_per_position`` 2.

        Returns:
            `OnnxOutput` with ``logits`` ``(B, M, L)``: tensors for tensors, else arrays.

        Raises:
            ValueError: shapes or dtypes that disagree, a token that the encoder does not know, more
                tokens than it has positions for, or a position outside the sequence.
        """
        arguments = {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "token_type_ids": token_type_ids,
            "mask_indices": mask_indices,
            "end_indices": end_indices,
        }
        tensors = {name: _integers(name, v) for name, v in arguments.items() if v is not None}
        ids = check_inputs(tensors.get("input_ids"), None, self.config.vocab_size)
        check_length(ids, self.position_limit)
        positions = check_positions(tensors.get("mask_indices"), ids)
        count = self.config.tokens_per_position
        check_ends(tensors.get("end_indices"), positions, ids.shape[1], count)
        for name, value in (("attention_mask", 1), ("token_type_ids", 0)):
            if tensors.setdefault(name, torch.full_like(ids, value)).shape != ids.shape:
                raise ValueError(
                    f"`{name}` must be (B, T) = {tuple(ids.shape)} as `input_ids`, got "
                    f"{tuple(tensors[name].shape)}."
                )
        if positions.numel():
            feeds = {name: tensors[name].numpy() for name in self._names}
            logits = self.session.run(None, feeds)[0]
        else:  # there is no position to score
            logits = np.zeros((*positions.shape, self.config.num_labels), np.float32)
        if isinstance(input_ids, torch.Tensor):
            return OnnxOutput(torch.from_numpy(logits).to(input_ids.device))
        return OnnxOutput(logits)

    def predict_proba(self, logits: ArrayT) -> ArrayT:
        """Turn logits ``(..., L)`` into probabilities, as the PyTorch model does.

        Independent ones per label for "multilabel" (sigmoid); for "multiclass" they sum to 1 over
        the last axis (softmax). Arrays for arrays, tensors for tensors.
        """
        return _apply(logits, lambda tensor: probabilities(tensor, self.config.task))

    def predict(self, logits: ArrayT) -> ArrayT:
        """Decide by `config.thresholds`, as the PyTorch model does; see `decisions.decide`."""
        config = self.config
        settings = (config.task, config.thresholds, config.group_ids)
        return _apply(logits, lambda tensor: decide(tensor, *settings))


def import_extra(name: str) -> ModuleType:
    """Import a module of the extra `onnx`.

    Raises:
        ModuleNotFoundError: with the command that installs it.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"ONNX needs {name}, and the import failed: {error}. Run `pip install {name}`, or "
            'install this package as "irti_custom[onnx]".',
            name=error.name,
        ) from error


def _apply(values: ArrayT, function: Callable[[torch.Tensor], torch.Tensor]) -> ArrayT:
    """Call a function of a tensor: returns an array for an array, a tensor for a tensor."""
    if isinstance(values, torch.Tensor):
        return function(values)
    return function(torch.as_tensor(np.asarray(values))).numpy()


def _integers(name: str, value: torch.Tensor | ArrayLike) -> torch.Tensor:
    """Convert to an int64 tensor on the CPU, which the graph takes."""
    array = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
    if array.dtype.kind not in "iub" and array.size:
        raise ValueError(f"`{name}` must hold integers, got {array.dtype}.")
    return torch.from_numpy(array.astype(np.int64))
