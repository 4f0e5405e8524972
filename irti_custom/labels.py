"""Tasks, label maps and numbers, in one form.

num_labels, id2label, label2id  ->  {0: "person", 1: "place"}
{"person": 0.4, "place": 0.7}   ->  [0.4, 0.7]
3, np.int64(3), 3.0             ->  3, the one rule for ids, counts and positions
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, Union

import numpy as np

IGNORE_INDEX = -100
"""Label of a position, or of one element of it, that counts neither in the loss nor in a metric."""

PROBLEM_TYPES = {
    "multilabel": "multi_label_classification",
    "multiclass": "single_label_classification",
}
TASKS = tuple(PROBLEM_TYPES)

Thresholds = Union[float, Sequence[float], Mapping[str, float], np.ndarray]
"""One number for all labels, one per label, or numbers by name; temperatures and priors, too."""


def as_integer(value: object) -> int | None:
    """Return a whole number of any library as an `int`; None for anything else, like a boolean."""
    if type(value) is int:
        return value
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, Real):
        return None
    if isinstance(value, Integral):
        return int(value)
    return int(float(value)) if float(value).is_integer() else None


def check_count(name: str, value: object) -> int:
    """Return a count of at least one as an `int`; raise ValueError for anything else."""
    count = as_integer(value)
    if count is None or count < 1:
        raise ValueError(f"`{name}` must be a whole number of at least 1, got {value!r}.")
    return count


def check_task(task: str) -> str:
    """Return the task; raise ValueError if it is not one of `TASKS`."""
    if not isinstance(task, str) or task not in TASKS:
        raise ValueError(f"`task` must be one of {TASKS}, got {task!r}.")
    return task


def resolve_labels(
    num_labels: int | None,
    id2label: Mapping[Any, str] | Sequence[str] | None,
    label2id: Mapping[str, Any] | None = None,
) -> dict[int, str] | None:
    """Derive `id2label` from any of the three.

    Args:
        num_labels: L.
        id2label: names by id, or in the order of their ids; JSON makes strings of the ids.
        label2id: ids by name.

    Returns:
        Names by id, in the order of the ids; None without any argument.

    Raises:
        ValueError: ids that are not ``0..L-1``, names that are not text, or used twice, or
            arguments that contradict each other.
    """
    if id2label is None and label2id is None:
        if num_labels is None:
            return None
        return {index: f"LABEL_{index}" for index in range(check_count("num_labels", num_labels))}
    names = _names_by_id(id2label) if id2label is not None else _inverse(label2id)
    if sorted(names) != list(range(len(names))) or not names:
        raise ValueError(f"Label ids must be 0..L-1 without gaps, got {sorted(names)}.")
    if len(set(names.values())) < len(names):
        raise ValueError(f"Label names must differ from each other, got {list(names.values())}.")
    if id2label is not None and label2id is not None and names != _inverse(label2id):
        raise ValueError(
            f"`id2label` and `label2id` must be each other's inverse, got {id2label} and "
            f"{label2id}. Give one of them: the other is derived."
        )
    if num_labels is not None and as_integer(num_labels) != len(names):
        raise ValueError(
            f"`num_labels` is {num_labels}, but the label maps name {len(names)} labels: "
            f"{list(names.values())}. Leave `num_labels` out: it follows from the maps."
        )
    return {index: names[index] for index in sorted(names)}


def _names_by_id(id2label: Mapping[Any, str] | Sequence[str]) -> dict[int, str]:
    if isinstance(id2label, str) or not isinstance(id2label, Iterable):
        raise ValueError(f"`id2label` must be a dict or a list of names, got {id2label!r:.80}.")
    named = id2label if isinstance(id2label, Mapping) else dict(enumerate(id2label))
    return {_label_id(index): _label_name(name) for index, name in named.items()}


def _inverse(label2id: Mapping[str, Any] | None) -> dict[int, str]:
    if not isinstance(label2id, Mapping):
        raise ValueError(f"`label2id` must be a dict of ids by name, got {label2id!r:.80}.")
    names = {_label_id(index): _label_name(name) for name, index in label2id.items()}
    if len(names) < len(label2id):
        raise ValueError(f"Label ids must be 0..L-1 without gaps, got {label2id}.")
    return names


def _label_id(value: Any) -> int:
    """Read an id; JSON makes strings of them."""
    index = int(value) if isinstance(value, str) and value.isdecimal() else as_integer(value)
    if index is None:
        raise ValueError(f"A label's id must be a whole number, got {value!r}.")
    return index


def _label_name(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(
            f"A label's name must be text, got {value!r}. Write numbers as text, such as "
            f"'label {value}', and give each label a name."
        )
    return str(value)


def as_floats(values: object) -> np.ndarray:
    """Convert one number or a sequence to float64; anything else becomes a NaN."""
    try:
        array = np.asarray(values)
    except (RuntimeError, TypeError, ValueError):  # lists of different lengths
        return np.array([math.nan])
    return array.astype(np.float64) if array.dtype.kind in "iuf" else np.array([math.nan])


def in_order(name: str, values: Any, names: Sequence[str] | None) -> Any:
    """Return values by label name in the order of the ids, and any others as they are."""
    if not isinstance(values, Mapping):
        return values
    if names is None or set(values) != set(names):
        raise ValueError(
            f"`{name}` by name must name each label of `id2label` ({list(names or ())}), got "
            f"{list(values)}. One value, or a sequence of L, needs no names."
        )
    return [values[label] for label in names]
