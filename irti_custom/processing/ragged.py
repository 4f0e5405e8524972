"""Rows of any length, joined into flat arrays and laid out again on a padded grid.

    [[5, 6, 7], [8]]  ->  flat [5, 6, 7, 8], lengths [3, 1]  ->  [[5, 6, 7], [8, 0, 0]]

Every error names the row it came from.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..labels import IGNORE_INDEX

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]
    Bools = NDArray[np.bool_]
    Ints = NDArray[np.int64]


def columns_of(features: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Turn rows into columns that every row has; a column that is None everywhere is left out."""
    if len(features) == 0:
        raise ValueError("A batch must have at least one row, got none. Is the dataset empty?")
    for row, feature in enumerate(features):
        if not isinstance(feature, Mapping):
            way_out = "Pass a list of rows, not a tokenizer's batch."
            raise row_error(row, "a row must be a mapping", type(feature).__name__, way_out)
    columns = {}
    for name in dict.fromkeys(name for feature in features for name in feature):
        values = [feature.get(name) for feature in features]
        missing = [row for row, value in enumerate(values) if value is None]
        if not missing:
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


def sequence(name: str, row: int, value: Any) -> list[Any] | Array:
    """Leave a list as it is and make an array of anything else that has entries."""
    if isinstance(value, list):
        return value
    rule = f"`{name}` must be a list or an array"
    way_out = "Use one list per row, also for one entry."
    try:
        cell = np.asarray(value)
    except (RuntimeError, TypeError, ValueError) as error:
        raise row_error(row, rule, error, way_out) from error
    if cell.ndim == 0:
        raise row_error(row, rule, type(value).__name__, way_out)
    return cell


def flat_integers(name: str, values: list[Any]) -> tuple[Ints, Ints]:
    """Join a column of integers into one array, with the number of entries of each row.

    `array` reads a list faster than numpy does, and refuses floats where numpy would cut them.
    """
    flat, lengths = array("q"), np.empty(len(values), np.int64)
    rule = f"`{name}` must be one flat list or array of integers"
    way_out = "Tokenize without `return_tensors`; convert floats and masks yourself."
    kinds = "biu" if name in ("attention_mask", "labels") else "iu"  # no masks as positions
    for row, value in enumerate(values):
        cell = sequence(name, row, value)
        lengths[row] = len(cell)
        if isinstance(cell, list):
            if cell and isinstance(cell[0], bool) and "b" not in kinds:
                raise row_error(row, rule, "booleans", way_out)
            try:
                flat.fromlist(cell)
            except (OverflowError, TypeError) as error:
                raise row_error(row, rule, error, way_out) from error
        elif cell.ndim == 1 and (cell.dtype.kind in kinds or not cell.size):
            # An empty array has no values: its dtype (float32 from `datasets`) says nothing.
            flat.frombytes(cell.astype(np.int64, copy=False).tobytes())
        else:
            raise row_error(row, rule, f"shape {cell.shape}, dtype {cell.dtype}", way_out)
    joined = np.asarray(flat)
    if name != "labels":
        rule = f"`{name}` must not be negative"
        refuse(joined < 0, joined, lengths, rule, f"{IGNORE_INDEX} belongs into `labels` only.")
    return joined, lengths


def scatter(flat: Array, place: Bools, fill: Any) -> Array:
    """Put ``(N, ...)`` values at the N True places of a padded ``(B, X)`` grid.

    Example:
        >>> scatter(np.array([5, 6, 7]), np.array([[True, True], [False, True]]), -1).tolist()
        [[5, 6], [-1, 7]]
    """
    out = np.full(place.shape + flat.shape[1:], fill, flat.dtype)
    out[place] = flat
    return out


def check_lengths(name: str, found: Ints, expected: Ints, other: str) -> None:
    """Raise for the first row whose column has more or fewer entries than another one."""
    if (found != expected).any():
        row = int((found != expected).argmax())
        rule = f"`{name}` must have one entry for each of `{other}`, {expected[row]}"
        raise row_error(row, rule, found[row], "Cut or filter both together.")


def refuse(wrong: Bools, flat: Array, lengths: Ints, rule: str, way_out: str) -> None:
    """Raise for the first wrong value of a joined column, naming the row that it came from."""
    if wrong.any():
        first = int(wrong.argmax())
        row = int(np.searchsorted(lengths.cumsum(), first, side="right"))
        raise row_error(row, rule, flat[first], way_out)


def row_error(row: int, rule: str, got: object, way_out: str) -> ValueError:
    """Build the error that all checks of a row raise: the rule, what came, the way out."""
    return ValueError(f"Row {row} of the batch: {rule}, got {got}. {way_out}")
