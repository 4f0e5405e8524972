"""Pad rows into the tensors that the model reads, and check their values on the way.

    rows of input_ids (T_i), mask_indices (M_i), labels (M_i, L)
        ->  input_ids (B, T), attention_mask (B, T), mask_indices (B, M), labels (B, M, L)

Values are checked here, on the CPU; the model's `forward` checks shapes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Callable, Protocol, cast

import numpy as np
import torch

from ..labels import IGNORE_INDEX, check_count, check_task
from ..records.sequences import as_list
from .label_names import LabelSettings, trained_names
from .rows import BOOKKEEPING

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Array = NDArray[Any]
    Bools = NDArray[np.bool_]
    Ints = NDArray[np.int64]

_KINDS = "example_kinds"  # may differ, or be missing, from row to row
_LABEL_NDIM = {"multiclass": 1, "multilabel": 2}


class PadSettings(Protocol):
    """Padding: the attributes that are read from a tokenizer or a `MaskedSeqProcessor`."""

    @property
    def pad_token_id(self) -> int | None:
        """Fill of `input_ids`."""

    @property
    def pad_token_type_id(self) -> int:
        """Fill of `token_type_ids`."""

    @property
    def padding_side(self) -> str:
        """Either "right" or "left"."""


class ModelLimits(Protocol):
    """Limits of a model: the attributes that are read."""

    @property
    def config(self) -> Any:
        """Has `vocab_size`, how many token ids the encoder knows."""


@dataclass
class DataCollatorForMaskedSeq:
    """Pad the tokens and the positions of a batch; every padded position is harmless.

    It points at its row's first real token, because hidden states are gathered before the loss is
    masked, and its labels are -100 in all channels, because `Trainer` counts the label elements
    that are not -100. Rows, and whole batches, may have no position at all.

    Args:
        tokenizer: a tokenizer or a `MaskedSeqProcessor`; only `pad_token_id`,
            `pad_token_type_id` and `padding_side` are read, and a processor's label settings. A
            processor is told the kinds of the rows with labels, see `trained_on` there.
        pad_to_multiple_of: round T up to a multiple of this; the longest input makes T constant.
        task: "multilabel" or "multiclass"; default: the processor's if it has `label2id`, else
            inferred from the dimensions of the labels.
        num_labels: L, to check the labels against; default: the processor's. A batch without any
            position shows neither its task nor L; its labels are then ``(B, 0)``, which the model
            takes for either task. To evaluate such data with "multilabel", pass `num_labels`: the
            `Trainer` concatenates only labels of equal dimensions.
        model: to check a processor's labels against, and tokens and lengths. On a CPU `forward`
            checks these, too; on an accelerator it would have to wait for the device, and the error
            is not a clear one.

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

    tokenizer: PadSettings
    pad_to_multiple_of: int | None = None
    task: str | None = None
    num_labels: int | None = None
    model: ModelLimits | None = None

    def __post_init__(self) -> None:
        label2id = getattr(self.tokenizer, "label2id", None)
        if label2id:  # a processor knows more than a tokenizer
            self.task = self.task or getattr(self.tokenizer, "task", None)
            self.num_labels = self.num_labels or len(label2id)
            config = getattr(self.model, "config", None)
            if hasattr(config, "label_names"):
                trained_names(config, cast("LabelSettings", self.tokenizer))
        if self.tokenizer.pad_token_id is None:
            raise ValueError(
                "`tokenizer` must have a pad token, got pad_token_id=None. Set `pad_token` on it."
            )
        if self.task is not None:
            check_task(self.task)
        for name in ("pad_to_multiple_of", "num_labels"):
            value = getattr(self, name)
            if value is not None:
                setattr(self, name, check_count(name, value))

    def __call__(self, features: Iterable[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        """Pad a list of rows, whose values are lists, numpy arrays or tensors; rows stay unchanged.

        Args:
            features: rows with `input_ids` ``(T_i,)``, T_i > 0, and `mask_indices` ``(M_i,)``, each
                in ``[0, T_i)``. Optional: `end_indices`, like these; `attention_mask`,
                `token_type_ids`, `position_ids` ``(T_i,)``; `labels`, class ids ``(M_i,)`` or
                ``(M_i, L)`` in [0, 1], where -100 is ignored (in channel 0 with the whole
                position); other numeric columns
                ``(T_i, ...)``, padded with 0. A value of None counts as missing. The columns that
                the processor adds for decoding are left out.

        Returns:
            `input_ids`, `attention_mask` (always there) and other columns ``(B, T, ...)``,
            `mask_indices` and `end_indices` ``(B, M)``, `labels` ``(B, M)`` int64 or ``(B, M, L)``
            float32.

        Raises:
            ValueError: no rows; a column that only some rows have; a value against the rules above
                (the message names the row's index in the batch); a labelled position on a token
                that `attention_mask` hides; columns that cannot be padded; with `model`, a row it
                cannot read.
        """
        columns = _columns(features)
        rows = _integers("input_ids", columns.pop("input_ids"))
        lengths = np.array([len(row) for row in rows])
        if not lengths.all():
            # A sequence that is all padding turns some attention kernels into NaN.
            row = int(lengths.argmin())
            raise ValueError(f"Row {row} of the batch: `input_ids` must hold a token, got none.")
        kinds = columns.pop(_KINDS, ())
        if "labels" in columns and hasattr(self.tokenizer, "note_kinds"):
            self.tokenizer.note_kinds(kind for kind in kinds if isinstance(kind, str))
        if self.model is not None:
            _check_readable(rows, self.model)
        step = self.pad_to_multiple_of or 1
        width = -(-int(lengths.max()) // step) * step
        left = self.tokenizer.padding_side == "left"
        batch = {"input_ids": _pad(rows, width, self.tokenizer.pad_token_id, left)}
        columns.setdefault("attention_mask", [np.ones_like(row) for row in rows])
        fills = {"token_type_ids": self.tokenizer.pad_token_type_id}
        for name in ("attention_mask", "token_type_ids", "position_ids"):
            if name in columns:
                rows = _integers(name, columns.pop(name))
                _check_lengths(name, rows, lengths, "input_ids")
                batch[name] = _pad(rows, width, fills.get(name, 0), left)

        positions = _integers("mask_indices", columns.pop("mask_indices"))
        _check_bounds(positions, lengths, "mask_indices")
        visible = batch["attention_mask"] > 0
        first = visible.argmax(axis=1)
        indices = {"mask_indices": positions}
        if "end_indices" in columns:
            indices["end_indices"] = ends = _integers("end_indices", columns.pop("end_indices"))
            _check_lengths("end_indices", ends, list(map(len, positions)), "mask_indices")
            _check_bounds(ends, lengths, "end_indices")
        for name, rows in indices.items():
            shifted = [row + width - n for row, n in zip(rows, lengths)] if left else rows
            batch[name] = _pad(shifted, max(map(len, positions)), first[:, None])
        if "labels" in columns:
            batch["labels"] = self._pad_labels(columns.pop("labels"), positions)
            for name, rows in indices.items():
                hidden = ~np.take_along_axis(visible, batch[name], axis=1)
                _check_hidden(batch["labels"], hidden, rows, name)
        for name, rows in _extra_columns(columns, lengths).items():
            batch[name] = _pad(rows, width, 0, left)
        return {name: torch.from_numpy(values) for name, values in batch.items()}

    def _pad_labels(self, values: list[object], positions: list[Array]) -> Array:
        """Make labels ``(B, M)`` int64 or ``(B, M, L)`` float32, with -100 where padded."""
        rows = list(read_rows(partial(as_array, "labels"), values))
        _check_lengths("labels", rows, [len(row) for row in positions], "mask_indices")
        shown = [row for row in rows if row.shape != (0,)]  # an empty list shows neither task nor L
        task, num_labels = self.task, self.num_labels
        if task is None and shown:
            task = "multiclass" if shown[0].ndim == 1 else "multilabel"
        if task == "multilabel" and num_labels is None and shown and shown[0].ndim == 2:
            num_labels = shown[0].shape[1]
        if task is None or (task == "multilabel" and num_labels is None and not shown):
            return np.empty((len(rows), 0), np.int64)
        rows = list(read_rows(partial(task_labels, task=task, num_labels=num_labels), rows))
        labels = _pad(rows, max(map(len, positions)), IGNORE_INDEX)
        check = partial(check_label_values, task=task, num_labels=num_labels)
        try:
            check(labels)
        except ValueError:
            list(read_rows(check, rows))  # slower, and names the row
            raise
        if task == "multilabel":
            labels[labels[..., 0] == IGNORE_INDEX] = IGNORE_INDEX
        return labels


def _columns(features: Iterable[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Turn rows into columns that every row has; a column that is None everywhere is left out."""
    features = as_list("A batch of rows", features)
    if not features:
        raise ValueError("A batch must have at least one row, got none. Is the dataset empty?")
    for row, feature in enumerate(features):
        if not isinstance(feature, Mapping):
            raise ValueError(
                f"Row {row} of the batch: a row must be a mapping, got {type(feature).__name__}. "
                "Pass a list of rows, not a tokenizer's batch."
            )
    columns = {}
    names = dict.fromkeys(name for feature in features for name in feature)
    for name in (name for name in names if name == _KINDS or name not in BOOKKEEPING):
        values = [feature.get(name) for feature in features]
        missing = [row for row, value in enumerate(values) if value is None]
        if not missing or name == _KINDS:
            columns[name] = values
        elif len(missing) < len(values):
            raise ValueError(
                f"`{name}` must be in all rows or in none, got a batch without it in row(s) "
                f"{str(missing[:8])[1:-1]}. Prepare all rows alike or remove the column."
            )
    for name in ("input_ids", "mask_indices"):
        if name not in columns:
            raise ValueError(
                f"Rows must have `{name}`, got the columns {sorted(columns)}. Does Trainer remove "
                "it? A row without positions has mask_indices=[]."
            )
    return columns


def read_rows(
    read: Callable[[Any], Array], values: Iterable[object], source: str = "the batch"
) -> Iterator[Array]:
    """Apply `read` to the value of each row; its errors are raised with the row's index."""
    for row, value in enumerate(values):
        try:
            array = read(value)
        except ValueError as error:
            raise ValueError(f"Row {row} of {source}: {error}") from error
        yield array


def as_array(name: str, value: object) -> Array:
    """Convert one row's value of a column to an array.

    Raises:
        ValueError: it is a single value, or a list that numpy cannot read.
    """
    rule = f"`{name}` must be a list or an array"
    try:
        array = np.asarray(value)
    except (RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"{rule}, got {error}. Use numbers, as many for each entry.") from error
    if array.ndim == 0:
        kind = type(value).__name__
        raise ValueError(f"{rule}, got {kind}. Use one list per row, also for one entry.")
    return array


def _integers(name: str, values: list[Any]) -> list[Ints]:
    """Convert a column of token or position numbers, row by row."""
    rows = list(read_rows(partial(_integer_array, name), values))
    lowest = np.concatenate(rows).min(initial=2)
    if lowest < 2 and name in ("input_ids", "mask_indices", "end_indices"):
        _check_no_booleans(name, values)
    if lowest < 0:
        row = next(row for row, numbers in enumerate(rows) if numbers.min(initial=0) < 0)
        raise ValueError(
            f"Row {row} of the batch: `{name}` must not be negative, got "
            f"{rows[row][rows[row] < 0][0]}. {IGNORE_INDEX} belongs in `labels` only."
        )
    return rows


def _check_no_booleans(name: str, values: list[object]) -> None:
    """Raise for a boolean among numbers, which NumPy turned into 0 or 1."""
    for row, value in enumerate(values):
        if isinstance(value, (list, tuple)) and not {bool, np.bool_}.isdisjoint(map(type, value)):
            raise ValueError(f"Row {row} of the batch: `{name}` must be integers, got a boolean.")


def _integer_array(name: str, value: object) -> Ints:
    array = as_array(name, value)
    kinds = "biu" if name == "attention_mask" else "iu"
    # An empty array has no values: its dtype (float32 from `datasets`) says nothing.
    if array.ndim != 1 or (array.size and array.dtype.kind not in kinds):
        raise ValueError(
            f"`{name}` must be one flat list or array of integers, got shape {array.shape}, dtype "
            f"{array.dtype}. Tokenize without `return_tensors`; convert floats and masks yourself."
        )
    return array.astype(np.int64, copy=False)


def task_labels(labels: Array, task: str, num_labels: int | None) -> Array:
    """Return the labels of one row with the dimensions and the dtype of the task.

    Args:
        labels: ``(M,)`` for "multiclass", ``(M, L)`` for "multilabel"; ``(0,)`` for either where
            there is no position.
        task: "multilabel" or "multiclass".
        num_labels: L; None is for "multiclass" only.

    Raises:
        ValueError: other dimensions, another L, no numbers.
    """
    if labels.shape == (0,) and task == "multilabel":
        return np.empty((0, num_labels or 0), np.float32)
    if labels.ndim != _LABEL_NDIM[task]:
        raise ValueError(
            f"`labels` must have {_LABEL_NDIM[task]} dimension(s) for task={task!r}, got "
            f"{labels.ndim}. Class ids are (M,), several labels per position (M, L), in all rows."
        )
    if task == "multiclass":
        return _integer_array("labels", labels)
    if labels.shape[1] == 0 or labels.dtype.kind not in "biuf":
        raise ValueError(
            f"`labels` must be (M, L) numbers, got shape {labels.shape}, dtype {labels.dtype}. "
            "Give every position all L labels."
        )
    if labels.shape[1] != num_labels:
        raise ValueError(
            f"`labels` must be (M, L) with L = {num_labels}, got L = {labels.shape[1]}. Is "
            "`num_labels` right?"
        )
    return labels.astype(np.float32, copy=False)


def check_label_values(labels: Array, task: str, num_labels: int | None) -> Array:
    """Return labels of any shape if each is valid for the task, or `IGNORE_INDEX`.

    Raises:
        ValueError: a class id that is not in ``[0, L)``, a multi-label value not in [0, 1].
    """
    if task == "multiclass":
        wrong = (labels < 0) if num_labels is None else (labels < 0) | (labels >= num_labels)
        rule = f"in [0, {num_labels or 'num_labels'}) or {IGNORE_INDEX}"
        way_out = "Map labels with the model's `label2id`."
    else:
        wrong = ~((labels >= 0) & (labels <= 1))  # True for NaN
        rule = f"in [0, 1] or {IGNORE_INDEX} for task='multilabel'"
        way_out = "Class ids? They are (M,), not (M, L)."
    wrong &= labels != IGNORE_INDEX
    if wrong.any():
        raise ValueError(f"`labels` must be {rule}, got {labels[wrong][0]}. {way_out}")
    return labels


def _check_lengths(name: str, rows: list[Array], lengths: Sequence[int] | Ints, other: str) -> None:
    """Raise for the first row that has more or fewer entries than another column of it."""
    for row, (values, length) in enumerate(zip(rows, lengths)):
        if len(values) != length:
            raise ValueError(
                f"Row {row} of the batch: `{name}` must have one entry for each of `{other}`, "
                f"{length}, got {len(values)}. Cut or filter both together."
            )


def _check_bounds(positions: list[Ints], lengths: Ints, name: str) -> None:
    for row, (indices, length) in enumerate(zip(positions, lengths)):
        if indices.max(initial=-1) >= length:
            raise ValueError(
                f"Row {row} of the batch: `{name}` must be in [0, T) of its row, got "
                f"{indices.max()}. Was the text truncated? Another window takes the rest."
            )


def _check_hidden(labels: Array, hidden: Bools, positions: list[Ints], name: str) -> None:
    """Raise for the first labelled position at a token that `attention_mask` hides."""
    scored = (labels if labels.ndim == 2 else labels[..., 0]) != IGNORE_INDEX
    for row, number in np.argwhere(scored & hidden):
        raise ValueError(
            f"Row {row} of the batch: a labelled `{name}` entry must be at a token with "
            f"attention_mask 1, got {positions[row][number]}. Label padding {IGNORE_INDEX}."
        )


def _check_readable(rows: list[Ints], model: ModelLimits) -> None:
    """Raise for the first row with a token, or more tokens, than the model knows."""
    known, limit = model.config.vocab_size, getattr(model, "position_limit", None)
    for row, ids in enumerate(rows):
        if known is not None and ids.max() >= known:
            raise ValueError(
                f"Row {row} of the batch: `input_ids` must be in [0, {known}), the tokens that the "
                f"model knows, got {ids.max()}. Is it the model's tokenizer? For tokens that were "
                "added to it, as the markers of read='marker' are, call "
                "processor.prepare_model(model) before training."
            )
        if limit is not None and len(ids) > limit:
            raise ValueError(
                f"Row {row} of the batch has {len(ids)} tokens, and the model has positions for "
                f"{limit}. Set max_length={limit} on MaskedSeqProcessor, which cuts longer texts "
                "into windows, or truncate."
            )


def _extra_columns(columns: dict[str, list[Any]], lengths: Ints) -> dict[str, list[Array]]:
    """Convert numeric ``(T_i, ...)`` columns; raise for all others at once, by name."""
    converted, rejected = {}, {}
    for name, values in columns.items():
        try:
            rows = [np.asarray(value) for value in values]
        except (RuntimeError, TypeError, ValueError) as error:
            rejected[name] = str(error)
            continue
        kinds = {row.dtype.kind for row in rows}
        fits = [row.shape[:1] == (length,) for row, length in zip(rows, lengths)]
        if all(fits) and len({row.shape[1:] for row in rows}) == 1 and kinds <= set("biuf"):
            dtype = np.float32 if "f" in kinds else np.bool_ if kinds == {"b"} else np.int64
            converted[name] = [row.astype(dtype) for row in rows]
        else:
            row = fits.index(False) if False in fits else 0
            kind, shape = type(values[row]).__name__, rows[row].shape
            rejected[name] = f"{kind} of shape {shape} in row {row}"
    if rejected:
        raise ValueError(
            f"Extra columns must be numeric and (T_i, ...) in every row, got {rejected}. "
            f"Use dataset.remove_columns({list(rejected)}) or Trainer's remove_unused_columns=True."
        )
    return converted


def _pad(rows: list[Array], width: int, fill: ArrayLike | None, left: bool = False) -> Array:
    """Lay rows ``(X_i, ...)`` out as ``(B, width, ...)``."""
    padded = np.full((len(rows), width, *rows[0].shape[1:]), fill, rows[0].dtype)
    for line, row in zip(padded, rows):
        line[slice(width - len(row), None) if left else slice(len(row))] = row
    return padded
