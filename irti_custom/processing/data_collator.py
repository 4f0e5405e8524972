"""Pad rows into the tensors that the model reads, and check their values on the way.

    rows of input_ids (T_i), mask_indices (M_i), labels (M_i, L)
        ->  input_ids (B, T), attention_mask (B, T), mask_indices (B, M), labels (B, M, L)

The model's `forward` checks shapes; what takes a look at the values is refused here, on the CPU.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..labels import IGNORE_INDEX, check_task
from .ragged import check_lengths, columns_of, flat_integers, refuse, row_error, scatter, sequence
from .rows import BOOKKEEPING

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerBase

    Array = NDArray[Any]
    Bools = NDArray[np.bool_]
    Ints = NDArray[np.int64]

_LABEL_NDIM = {"multiclass": 1, "multilabel": 2}


@dataclass
class DataCollatorForMaskedSeq:
    """Pad the tokens and the positions of a batch; every padded position is harmless.

    It points at its row's first real token, because hidden states are gathered before the loss is
    masked, and its labels are -100 in all channels, because `Trainer` counts the label elements
    that are not -100. Rows, and whole batches, may have no position at all.

    Args:
        tokenizer: a tokenizer or a `MaskedSeqProcessor`; only `pad_token_id`,
            `pad_token_type_id` and `padding_side` are read.
        pad_to_multiple_of: round T up to a multiple of this; the longest input makes T constant.
        task: "multilabel" or "multiclass"; by default the processor's, where it has `label2id`,
            else the labels' dimensions tell.
        num_labels: L, to check the labels against; by default the processor's. A batch without any
            position shows neither its task nor L: where that can happen, pass `task`, and
            `num_labels` for "multilabel".

    Example:
        >>> from types import SimpleNamespace
        >>> tokenizer = SimpleNamespace(pad_token_id=0, pad_token_type_id=0, padding_side="right")
        >>> collator = DataCollatorForMaskedSeq(tokenizer, task="multiclass", num_labels=3)
        >>> batch = collator([
        ...     {"input_ids": [5, 6, 7], "mask_indices": [1, 2], "labels": [0, 2]},
        ...     {"input_ids": [8], "mask_indices": [0], "labels": [1]},
        ... ])
        >>> batch["mask_indices"].tolist(), batch["labels"].tolist()
        ([[1, 2], [0, 0]], [[0, 2], [1, -100]])
    """

    tokenizer: PreTrainedTokenizerBase | Any
    pad_to_multiple_of: int | None = None
    task: str | None = None
    num_labels: int | None = None

    def __post_init__(self) -> None:
        if getattr(self.tokenizer, "label2id", None):  # a processor knows more than a tokenizer
            self.task = self.task or self.tokenizer.task
            self.num_labels = self.num_labels or len(self.tokenizer.label2id)
        if self.tokenizer.pad_token_id is None:
            raise ValueError(
                "`tokenizer` must have a pad token, got pad_token_id=None. Set `pad_token` on it."
            )
        if self.task is not None:
            check_task(self.task)
        for name in ("pad_to_multiple_of", "num_labels"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"`{name}` must be at least 1 or None, got {value}.")

    def __call__(self, features: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        """Pad a list of rows, whose values are lists, numpy arrays or tensors; rows stay unchanged.

        Args:
            features: rows with `input_ids` ``(T_i,)``, T_i > 0, and `mask_indices` ``(M_i,)``, each
                in ``[0, T_i)``. Optional: `attention_mask`, `token_type_ids`, `position_ids`
                ``(T_i,)``; `labels`, class ids ``(M_i,)`` or ``(M_i, L)`` in [0, 1], where -100 is
                ignored (in channel 0 with the whole position); other numeric columns
                ``(T_i, ...)``, padded with 0. A value of None counts as missing; what the processor
                adds for the way back is left out.

        Returns:
            `input_ids`, `attention_mask` (always there) and other columns ``(B, T, ...)``,
            `mask_indices` ``(B, M)``, `labels` ``(B, M)`` int64 or ``(B, M, L)`` float32.

        Raises:
            ValueError: no rows; a column that only some rows have; a value against the rules above
                (the message names the row's index in the batch); a labelled position on a token
                that `attention_mask` hides; columns that cannot be padded.
        """
        columns = columns_of(features)
        for name in BOOKKEEPING:
            columns.pop(name, None)
        input_ids, lengths = flat_integers("input_ids", columns.pop("input_ids"))
        if not lengths.all():
            # A sequence that is all padding turns some attention kernels into NaN.
            row = int(lengths.argmin())
            raise row_error(row, "`input_ids` must hold a token", "none", "Drop it.")
        indices, counts = flat_integers("mask_indices", columns.pop("mask_indices"))
        rule = "`mask_indices` must be in [0, T) of its row"
        way_out = "Was the text truncated? Another window takes the rest."
        refuse(indices >= np.repeat(lengths, counts), indices, counts, rule, way_out)
        labels = self._flat_labels(columns.pop("labels"), counts) if "labels" in columns else None

        real = self._real_tokens(lengths)
        batch = {"input_ids": scatter(input_ids, real, self.tokenizer.pad_token_id)}
        batch.update(self._token_columns(columns, lengths, real))
        batch.update(_extra_columns(columns, real))

        rows = np.repeat(np.arange(len(counts)), counts)
        moved = indices + real.argmax(axis=1)[rows]  # left padding shifts the tokens
        taken = np.arange(counts.max()) < counts[:, None]
        first = (batch["attention_mask"] > 0).argmax(axis=1)
        batch["mask_indices"] = scatter(moved, taken, first[:, None])
        if labels is not None:
            scored = (labels if labels.ndim == 1 else labels[:, 0]) != IGNORE_INDEX
            hidden = batch["attention_mask"][rows, moved] == 0
            rule = "a labelled `mask_indices` entry must be at a token with attention_mask 1"
            refuse(scored & hidden, indices, counts, rule, f"Label padding {IGNORE_INDEX}.")
            batch["labels"] = scatter(labels, taken, IGNORE_INDEX)
        return {name: torch.from_numpy(values) for name, values in batch.items()}

    def _real_tokens(self, lengths: Ints) -> Bools:
        """Say where the tokens of each row go, as ``(B, T)``, True for a token."""
        step = self.pad_to_multiple_of or 1
        width = -(-int(lengths.max()) // step) * step
        place = np.arange(width)
        if self.tokenizer.padding_side == "left":
            place = place[::-1]
        return place < lengths[:, None]

    def _token_columns(
        self, columns: dict[str, list[Any]], lengths: Ints, real: Bools
    ) -> dict[str, Array]:
        """Take the columns that a tokenizer makes out of `columns`, padded to ``(B, T)``."""
        padded: dict[str, Array] = {"attention_mask": real.astype(np.int64)}
        fills = {"token_type_ids": self.tokenizer.pad_token_type_id}
        for name in ("attention_mask", "token_type_ids", "position_ids"):
            if name in columns:
                flat, found = flat_integers(name, columns.pop(name))
                check_lengths(name, found, lengths, "input_ids")
                padded[name] = scatter(flat, real, fills.get(name, 0))
        return padded

    def _flat_labels(self, values: list[Any], counts: Ints) -> Array:
        """Join the labels of all rows: ``(N,)`` int64 or ``(N, L)`` float32, N positions in all."""
        labels = [sequence("labels", row, value) for row, value in enumerate(values)]
        check_lengths("labels", np.fromiter(map(len, labels), np.int64), counts, "mask_indices")
        if self._task_of(labels) == "multiclass":
            ids, _ = flat_integers("labels", labels)
            wrong = (ids < 0) & (ids != IGNORE_INDEX)
            if self.num_labels is not None:
                wrong |= ids >= self.num_labels
            rule = f"`labels` must be in [0, {self.num_labels or 'num_labels'}) or {IGNORE_INDEX}"
            refuse(wrong, ids, counts, rule, "Map labels with the model's `label2id`.")
            return ids

        flat = self._label_matrix(labels)
        if flat.size and not (flat.min() >= 0 and flat.max() <= 1):  # so written that NaN fails
            wrong = ~(((flat >= 0) & (flat <= 1)) | (flat == IGNORE_INDEX))
            at = (np.arange(len(flat)), wrong.argmax(axis=1))
            rule = f"`labels` must be in [0, 1] or {IGNORE_INDEX} for task='multilabel'"
            refuse(wrong[at], flat[at], counts, rule, "Class ids? They are (M,), not (M, L).")
            flat[flat[:, 0] == IGNORE_INDEX] = IGNORE_INDEX
        return flat

    def _task_of(self, labels: list[Any]) -> str:
        """Return the option, or the task that the labels' dimensions show in every row."""
        ndims = [_shown_ndim(cell) for cell in labels]
        shown = [ndim for ndim in ndims if ndim is not None]
        task = self.task
        if task is None and shown:
            task = "multiclass" if shown[0] == 1 else "multilabel"
        if task is None or (task == "multilabel" and self.num_labels is None and not shown):
            raise ValueError(
                "`labels` must show the task and L, got a batch without any position. "
                "Pass `task` and `num_labels` to DataCollatorForMaskedSeq."
            )
        for row, ndim in enumerate(ndims):
            if ndim not in (None, _LABEL_NDIM[task]):
                rule = f"`labels` must have {_LABEL_NDIM[task]} dimension(s) for task={task!r}"
                way_out = "Class ids are (M,), several labels per position (M, L), in all rows."
                raise row_error(row, rule, ndim, way_out)
        return task

    def _label_matrix(self, labels: list[Any]) -> Array:
        """Join multilabel rows into ``(N, L)``; a row without positions need not show L."""
        shown = [row for row, cell in enumerate(labels) if _shown_ndim(cell) is not None]
        matrices = [_label_cell(row, labels[row]) for row in shown]
        width = self.num_labels or matrices[0].shape[1]
        for row, matrix in zip(shown, matrices):
            if matrix.shape[1] != width:
                rule = f"`labels` must be (M, L) with L = {width}"
                raise row_error(row, rule, f"L = {matrix.shape[1]}", "Is `num_labels` right?")
        empty = np.empty((0, width), np.float32)
        return np.concatenate([empty, *matrices], dtype=np.float32, casting="unsafe")


def _shown_ndim(cell: Any) -> int | None:
    """Count the dimensions of one row's labels; None where an empty row does not show them."""
    if isinstance(cell, np.ndarray):
        return cell.ndim if cell.size or cell.ndim > 1 else None
    if not cell:
        return None
    return 1 + getattr(cell[0], "ndim", int(isinstance(cell[0], (list, tuple))))


def _label_cell(row: int, cell: Any) -> Array:
    """Make one row's multilabel labels an array ``(M_i, L)``."""
    if isinstance(cell, list):
        for code in "bf":  # one byte holds 0, 1 and -100, in half the time of a float
            flat = array(code)
            try:
                for entry in cell:
                    flat.fromlist(entry)
            except (OverflowError, TypeError):
                continue
            if len(flat) and len({len(entry) for entry in cell}) == 1:
                return np.asarray(flat).reshape(len(cell), -1)
    rule, way_out = "`labels` must be (M, L) numbers", "Give every position all L labels."
    try:
        matrix = np.asarray(cell)
    except ValueError as error:
        raise row_error(row, rule, error, way_out) from error
    if matrix.ndim != 2 or matrix.shape[1] == 0 or matrix.dtype.kind not in "biuf":
        raise row_error(row, rule, f"shape {matrix.shape}, dtype {matrix.dtype}", way_out)
    return matrix


def _extra_columns(columns: dict[str, list[Any]], real: Bools) -> dict[str, Array]:
    """Pad numeric ``(T_i, ...)`` columns with 0, and refuse all others by name."""
    padded, refused = {}, {}
    for name, values in columns.items():
        try:
            cells = [np.asarray(value) for value in values]
        except (RuntimeError, TypeError, ValueError) as error:
            refused[name] = str(error)
            continue
        kinds = {cell.dtype.kind for cell in cells}
        shapes = {cell.shape[1:] for cell in cells}
        fits = [cell.shape[:1] == (n,) for cell, n in zip(cells, real.sum(axis=1))]
        if all(fits) and len(shapes) == 1 and kinds <= set("biuf"):
            dtype = np.float32 if "f" in kinds else np.bool_ if kinds == {"b"} else np.int64
            padded[name] = scatter(np.concatenate(cells, dtype=dtype, casting="unsafe"), real, 0)
        else:
            row = fits.index(False) if False in fits else 0
            refused[name] = f"{type(values[row]).__name__} of shape {cells[row].shape} in row {row}"
    if refused:
        raise ValueError(
            f"Extra columns must be numeric and (T_i, ...) in every row, got {refused}. "
            f"Use dataset.remove_columns({list(refused)}) or Trainer's remove_unused_columns=True."
        )
    return padded
