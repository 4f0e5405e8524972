"""Run an exported graph, with the methods of the PyTorch model.

    folder: model.onnx, config.json ──▶ OnnxMaskedSeqModel ──▶ logits (B, M, L)

`export` writes such folders; `engines` are the runtimes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from transformers.utils import CONFIG_NAME

from ..configuration_custom import MaskedSeqModelingConfig
from ..encoders import split_by_length
from ..input_checks import check_inputs, check_length, check_positions
from ..loading.folders import load_one_version, whole_folder
from ..loading.sources import Source, resolve
from .engines import GRAPH_FILES, INT8_FILE, Engine, check_runs_here, open_engine

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from onnxruntime import SessionOptions

ArrayT = TypeVar("ArrayT", torch.Tensor, np.ndarray)

LIMITS = ("max_tokens", "position_limit")  # of the model, in the metadata of a graph


@dataclass(frozen=True)
class OnnxOutput:
    """The result of a call: ``logits`` ``(B, M, L)`` in float32, of the inputs' kind."""

    logits: Any


class OnnxMaskedSeqModel:
    """An exported graph that is called like `AutoModelForMaskedSeqModeling`.

    Several threads may share one.

    Args:
        engine: runs the graph; see `from_pretrained`.
        config: the model's config.

    Attributes:
        source: where it was loaded from.
        device: where tensors come from and go to, wherever the graph runs.
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

    def __init__(self, engine: Engine, config: MaskedSeqModelingConfig) -> None:
        if engine.num_labels != config.num_labels:
            raise ValueError(
                f"The graph scores {engine.num_labels} labels, but its {CONFIG_NAME} names "
                f"{config.num_labels}. The files are of different models: export again."
            )
        self.engine = engine
        self.config = config
        self.max_tokens, self.position_limit = (
            int(engine.metadata[name]) if name in engine.metadata else None for name in LIMITS
        )

    @classmethod
    def from_pretrained(
        cls,
        folder: str | os.PathLike,
        runtime: str = "onnxruntime",
        precision: str = "float32",
        threads: int | None = None,
        streams: int | None = None,
        model_cache_dir: str | os.PathLike | None = None,
        providers: Sequence[Any] | None = None,
        session_options: SessionOptions | None = None,
    ) -> OnnxMaskedSeqModel:
        """Load a folder that `export_onnx` wrote; runs no code from it.

        Args:
            folder: the folder.
            runtime: "onnxruntime", or "openvino" (extra `openvino`), which is faster on a CPU.
            precision: "float32"; "int8", from the file that ``export_onnx(..., int8=True)`` wrote;
                or "bfloat16", with OpenVINO on a CPU that has AMX.
            threads: of the CPU; default: as many as PyTorch uses.
            streams: with OpenVINO, how many calls at the same time share the threads; default: 1.
            model_cache_dir: with OpenVINO, a folder to keep the compiled graph in, for a faster
                start.
            providers: with ONNX Runtime, its execution providers; default: the CPU.
            session_options: with ONNX Runtime, in place of `threads`.

        Raises:
            ModuleNotFoundError: the runtime is not installed.
            OSError: files are missing, or the graph is incomplete.
            ValueError: the files do not belong to one exported model; a runtime or precision that
                does not exist, or not on this machine; an option of the other runtime.
        """
        check_runs_here(runtime, precision)

        def load() -> OnnxMaskedSeqModel:
            place = whole_folder(folder, CONFIG_NAME)
            for needed in (GRAPH_FILES[precision], CONFIG_NAME):
                if not os.path.isfile(os.path.join(place, needed)):
                    how = ", int8=True, rows=rows" if needed == INT8_FILE else ""
                    raise OSError(
                        f"{os.fspath(folder)!r} holds no {needed}. `export_onnx(model, "
                        f"folder{how})` writes it; was that cut off?"
                    )
            source = resolve(folder)
            if source.kind == "encoder":
                raise ValueError(
                    f"{source.path!r} holds another kind of model: its {CONFIG_NAME} says "
                    f"model_type={source.settings.get('model_type')!r}. `export_onnx` writes such "
                    "a folder."
                )
            engine = open_engine(
                source.folder,
                runtime,
                precision,
                threads=threads,
                streams=streams,
                model_cache_dir=model_cache_dir,
                providers=providers,
                session_options=session_options,
            )
            model = cls(engine, source.config)
            model.source = source
            return model

        return load_one_version(folder, load)

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
        feeds = self.feeds(
            input_ids=input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            mask_indices=mask_indices,
            end_indices=end_indices,
        )
        positions = feeds["mask_indices"]
        mask = None if attention_mask is None else _integers("attention_mask", attention_mask)
        groups = split_by_length(self.config.base_model_config, mask)
        if positions.size and groups is None:
            logits = self.engine.run(feeds)
        else:  # rows by their length, if there are positions to score
            logits = np.zeros((*positions.shape, self.config.num_labels), np.float32)
            for rows, tokens in groups or () if positions.size else ():
                logits[rows] = self.engine.run(_part(feeds, rows, tokens))
        if isinstance(input_ids, torch.Tensor):
            return OnnxOutput(torch.from_numpy(logits).to(input_ids.device))
        return OnnxOutput(logits)

    def feeds(self, **arguments: torch.Tensor | ArrayLike | None) -> dict[str, np.ndarray]:
        """Check the arguments of a call, by name; return the arrays that the graph takes for it.

        Raises:
            ValueError: see `__call__`.
        """
        tensors = {name: _integers(name, v) for name, v in arguments.items() if v is not None}
        ids = check_inputs(tensors.get("input_ids"), None, self.config.vocab_size)
        check_length(ids, self.position_limit)
        ends, count = tensors.get("end_indices"), self.config.tokens_per_position
        check_positions(tensors.get("mask_indices"), ends, ids, count)
        for name, value in (("attention_mask", 1), ("token_type_ids", 0)):
            if tensors.setdefault(name, torch.full_like(ids, value)).shape != ids.shape:
                raise ValueError(
                    f"`{name}` must be (B, T) = {tuple(ids.shape)} as `input_ids`, got "
                    f"{tuple(tensors[name].shape)}."
                )
        return {name: tensors[name].numpy() for name in self.engine.inputs}

    def predict_proba(self, logits: ArrayT) -> ArrayT:
        """Turn logits ``(..., L)`` into probabilities, as the PyTorch model does.

        Independent ones per label for "multilabel" (sigmoid); for "multiclass" they sum to 1 over
        the last axis (softmax). Arrays for arrays, tensors for tensors.
        """
        return _apply(logits, self.config.rule.probabilities)

    def predict(self, logits: ArrayT) -> ArrayT:
        """Decide by `config.thresholds`, as the PyTorch model does; see `Rule.decide`."""
        return _apply(logits, self.config.rule.decide)


def _apply(values: ArrayT, function: Callable[[torch.Tensor], torch.Tensor]) -> ArrayT:
    """Call a function of a tensor: returns an array for an array, a tensor for a tensor."""
    if isinstance(values, torch.Tensor):
        return function(values)
    return function(torch.as_tensor(np.asarray(values))).numpy()


def _part(feeds: dict[str, np.ndarray], rows: list[int], tokens: slice) -> dict[str, np.ndarray]:
    """Cut some rows, and the tokens that they have, out of what the graph takes."""
    part = {name: array[rows] for name, array in feeds.items()}
    for name, array in part.items():
        if name.endswith("_indices"):  # those of padded slots may be anywhere
            part[name] = (array - tokens.start).clip(0, tokens.stop - tokens.start - 1)
        else:
            part[name] = array[:, tokens]
    return part


def _integers(name: str, value: torch.Tensor | ArrayLike) -> torch.Tensor:
    """Convert to an int64 tensor on the CPU, which the graph takes."""
    array = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
    if array.dtype.kind not in "iub" and array.size:
        raise ValueError(f"`{name}` must hold integers, got {array.dtype}.")
    return torch.from_numpy(array.astype(np.int64))
