"""Normalise sequences to lists, and detect missing values.

Series, array, tensor, column, generator  ->  list
None, NaN, NaT, pandas.NA                 ->  missing
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from typing import Any, cast


def as_list(name: str, values: object) -> list[Any]:
    """Return the items of a sequence by position, whatever their index or container.

    Args:
        name: of the argument, for errors.
        values: a list, an array, a tensor, a Series, a column of a data set, a generator, ...

    Raises:
        ValueError: a single text, a dict, a set or a DataFrame, or nothing that can be iterated.
    """
    if isinstance(values, list):
        return values
    check_sequence(name, values)
    arrow = getattr(values, "to_pylist", None)  # else its items are of Arrow's types
    return list(cast("Iterable[Any]", values)) if arrow is None else arrow()


def check_sequence(name: str, values: object) -> None:
    """Check that a value is a sequence of things, without reading it.

    Raises:
        ValueError: see `as_list`.
    """
    without_order = isinstance(values, (str, bytes, Mapping, Set)) or is_frame(values)
    if without_order or not hasattr(values, "__iter__") or getattr(values, "ndim", 1) == 0:
        raise ValueError(f"{name} must be a list, got {values!r:.80}.")


def is_frame(value: object) -> bool:
    """Return True for a pandas DataFrame, without importing pandas."""
    return hasattr(value, "iloc") and hasattr(value, "columns")


def is_missing(value: object) -> bool:
    """Return True for None and for the NaN, NaT and NA of any library."""
    if value is None or type(value).__name__ == "NAType":
        return True
    if isinstance(value, (str, Iterable)) and getattr(value, "ndim", 1) != 0:
        return False
    # What is missing does not equal itself.
    return bool(value != value)
