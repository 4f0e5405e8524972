"""Tasks and labels: names, weights and thresholds per label, in one form.

    num_labels, id2label, label2id  ->  {0: "person", 1: "place"}
    {"person": 0.4, "place": 0.7}   ->  [0.4, 0.7]
    3, np.int64(3), 3.0             ->  3, the one rule for ids, counts and positions

Every other file asks here.
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
WEIGHT_NAMES = {"multilabel": "pos_weight", "multiclass": "class_weight"}
"""The setting that holds one factor per label, by task."""
DEFAULT_THRESHOLDS = {"multilabel": 0.5, "multiclass": 0.0}  # the latter rejects nothing

Thresholds = Union[float, Sequence[float], Mapping[str, float], np.ndarray]


def as_integer(value: object) -> int | None:
    """Return a whole number as an `int`; None for anything else, booleans included.

    Args:
        value: a number of Python or NumPy, or an array or tensor without dimensions.

    Example:
        >>> as_integer(3.0), as_integer(True), as_integer("3")
        (3, None, None)
    """
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
    """Return a number of things, at least one, as an `int`.

    Raises:
        ValueError: it is none.

    Example:
        >>> check_count("batch_size", 16.0)
        16
    """
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
    label2id: Mapping[str, Any] | None,
) -> dict[int, str] | None:
    """Derive `id2label` from what is known of the labels.

    Args:
        num_labels: L.
        id2label: names by id, or in the order of their ids; JSON makes strings of the ids.
        label2id: ids by name.

    Returns:
        Names by id, in the order of the ids; None where nothing is known.

    Raises:
        ValueError: ids that are not ``0..L-1``, names that are not text, or used twice, or
            arguments that contradict.

    Example:
        >>> resolve_labels(None, None, {"place": 1, "person": 0})
        {0: 'person', 1: 'place'}
        >>> resolve_labels(None, ["person", "place"], None)
        {0: 'person', 1: 'place'}
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


def check_prior(
    prior: Thresholds, task: str, names: Sequence[str] | None, num_labels: int
) -> list[float]:
    """Check how probable each label is before anything is known of a position.

    Args:
        prior: probabilities, L of them, or a dict of all label names; for "multilabel" also one for
            all labels.
        task: "multilabel" or "multiclass".
        names: of all labels, in the order of their ids.
        num_labels: L.

    Raises:
        ValueError: not one per label, or 0 or 1, which a head could never leave.

    Example:
        >>> check_prior(0.25, "multilabel", None, num_labels=2)
        [0.25, 0.25]
    """
    if isinstance(prior, Mapping) and names is not None and set(prior) == set(names):
        prior = [prior[name] for name in names]
    values = as_floats(prior)
    if task == "multilabel" and not values.ndim:
        values = np.full(num_labels, values)
    if values.shape != (num_labels,) or not ((values > 0) & (values < 1)).all():
        raise ValueError(
            f"`label_prior` must hold {num_labels} probabilities above 0 and below 1, one per label"
            f"{' or one for all' if task == 'multilabel' else ''}, got {prior!r:.200}. "
            "`label_frequencies` computes them from labels."
        )
    return values.tolist()


def check_groups(
    groups: Mapping[str, Sequence[str]] | None, task: str, names: Sequence[str]
) -> dict[str, list[str]] | None:
    """Check groups of labels, of which at most one holds at a position.

    Args:
        groups: names of at least two labels by name of the group. None and {} are no groups.
        task: "multilabel"; the labels of "multiclass" are one group by themselves.
        names: of all labels.

    Raises:
        ValueError: another task, labels that there are not, or one in two groups.

    Example:
        >>> check_groups({"kind": ("person", "place")}, "multilabel", ["old", "person", "place"])
        {'kind': ['person', 'place']}
    """
    if groups is None or groups == {}:
        return None
    if task != "multilabel":
        raise ValueError(
            f"`groups` are for task='multilabel', got task={task!r}, whose labels exclude each "
            "other anyway."
        )
    if not isinstance(groups, Mapping) or any(
        isinstance(group, str) or not isinstance(group, Iterable) for group in groups.values()
    ):
        raise ValueError(f"`groups` must be a dict of lists of label names, got {groups!r:.200}.")
    lists = {str(name): list(group) for name, group in groups.items()}
    known, grouped = set(names), [label for group in lists.values() for label in group]
    if unknown := [label for label in grouped if label not in known]:
        raise ValueError(f"`groups` must hold labels of `id2label`, got {unknown}.")
    if len(set(grouped)) < len(grouped) or any(len(group) < 2 for group in lists.values()):
        raise ValueError(
            f"Each of the `groups` must hold at least two labels, and no label twice, got {lists}."
        )
    return lists


def check_group_ids(groups: Iterable[Iterable[int]], task: str, num_labels: int) -> list[list[int]]:
    """Check groups given by ids, as ``config.group_ids`` holds them.

    Raises:
        ValueError: see `check_groups`.

    Example:
        >>> check_group_ids([(0, 2)], "multilabel", 3)
        [[0, 2]]
    """
    if isinstance(groups, Mapping):
        raise ValueError(
            f"`groups` must be lists of label ids, got {groups!r:.200}. Pass config.group_ids."
        )
    lists = [[as_integer(index) for index in group] for group in groups]
    names = {str(number): [str(index) for index in ids] for number, ids in enumerate(lists)}
    check_groups(names or None, task, [str(index) for index in range(num_labels)])
    return [[int(index) for index in ids if index is not None] for ids in lists]


def default_thresholds(num_labels: int, groups: Iterable[Sequence[int]] = ()) -> list[float]:
    """Return what decides for "multilabel" without thresholds: in a group, nothing is rejected.

    Example:
        >>> default_thresholds(3, groups=[[0, 2]])
        [0.0, 0.5, 0.0]
    """
    values = [DEFAULT_THRESHOLDS["multilabel"]] * num_labels
    for ids in groups:
        for index in ids:
            values[index] = 0.0
    return values


def check_weights(
    name: str, weights: Thresholds | None, task: str, num_labels: int
) -> list[float] | None:
    """Check one factor per label, for the task they are meant for.

    Raises:
        ValueError: another task, another number of factors, or one that is negative.
    """
    if weights is None:
        return None
    if name != WEIGHT_NAMES[task]:
        raise ValueError(
            f"`{name}` does not fit the task: 'multilabel' takes `pos_weight`, 'multiclass' takes "
            "`class_weight`."
        )
    values = as_floats(weights)
    if values.shape != (num_labels,) or not all(0 <= value < math.inf for value in values):
        raise ValueError(
            f"`{name}` must hold {num_labels} finite factors of at least 0, one per label, got "
            f"{weights}. `balanced_weights` computes them from labels."
        )
    return values.tolist()


def as_floats(values: object) -> np.ndarray:
    """Convert one number or a sequence; what holds anything else becomes a NaN.

    Example:
        >>> as_floats([1, 2]).tolist(), as_floats("1").tolist()
        ([1.0, 2.0], [nan])
    """
    try:
        array = np.asarray(values)
    except (RuntimeError, TypeError, ValueError):  # lists of different lengths
        return np.array([math.nan])
    return array.astype(np.float64) if array.dtype.kind in "iuf" else np.array([math.nan])


def in_order(name: str, values: Any, names: Sequence[str] | None) -> Any:
    """Return values by label name in the order of the ids, and any others as they are.

    Raises:
        ValueError: other names than those of the labels.

    Example:
        >>> in_order("thresholds", {"place": 0.7, "person": 0.4}, ["person", "place"])
        [0.4, 0.7]
    """
    if not isinstance(values, Mapping):
        return values
    if names is None or set(values) != set(names):
        raise ValueError(
            f"`{name}` by name must name each label of `id2label` ({names}), got {list(values)}. "
            "One value, or a sequence of L, needs no names."
        )
    return [values[label] for label in names]


def check_thresholds(
    thresholds: Thresholds | None,
    task: str,
    names: Sequence[str] | None = None,
    num_labels: int | None = None,
) -> float | list[float] | None:
    """Check the probabilities from which a label, or the top class, counts as predicted.

    Args:
        thresholds: "multilabel": one for all labels, a sequence of L, or a dict of all label names;
            "multiclass": one for the top class. None passes.
        task: "multilabel" or "multiclass".
        names: of all labels, in the order of their ids.
        num_labels: L; for "multilabel" one threshold then becomes L.

    Returns:
        A float, or for "multilabel" a list of them in the order of the ids.

    Raises:
        ValueError: not probabilities, or not one per label.

    Example:
        >>> check_thresholds({"place": 0.7, "person": 0.4}, "multilabel", ["person", "place"])
        [0.4, 0.7]
    """
    if thresholds is None:
        return None
    if task == "multiclass" and (isinstance(thresholds, Mapping) or as_floats(thresholds).ndim):
        raise ValueError(
            f"`thresholds` must be one probability for task={task!r}, under which the top class is "
            f"rejected, got {thresholds}. One per label is for task='multilabel'."
        )
    values = as_floats(in_order("thresholds", thresholds, names))
    if values.ndim > 1 or not values.size or not ((values >= 0) & (values <= 1)).all():
        raise ValueError(
            "`thresholds` must be probabilities in [0, 1], one or a flat sequence, got "
            f"{thresholds}. For a threshold on logits pass its sigmoid."
        )
    size = num_labels or (None if names is None else len(names))
    if values.ndim and size not in (None, len(values)):
        raise ValueError(
            f"`thresholds` must have one entry per label, got {len(values)} for the {size} labels "
            "of `id2label`."
        )
    if task == "multilabel" and num_labels and not values.ndim:
        values = np.full(num_labels, values)
    return values.tolist()
