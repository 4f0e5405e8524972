"""Regroup values per row by example and span, in the user's order.

    rows, values per row and position  ->  one list per example, one value per span

The order of the rows, and how texts were cut into them, do not matter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Union, cast

if TYPE_CHECKING:
    import torch
    from datasets import Dataset
    from numpy.typing import NDArray

Rows = Union[Mapping[str, Sequence[Any]], Sequence[Mapping[str, Any]], "Dataset"]
"""Prepared rows: columns, a list of dicts, or a `datasets.Dataset`."""
RowValues = Union[Sequence[Sequence[Any]], "torch.Tensor", "NDArray[Any]"]
"""Per row, at least one value per position."""

MISSING = object()
"""Default of `fill`: a span without a value is an error."""


class _Origin(NamedTuple):
    """Per row, which example and which of its spans it holds, and how many spans that has."""

    example_ids: Sequence[int]
    span_ids: Sequence[Sequence[int]]
    num_spans: Sequence[int]


def decode(
    rows: Rows,
    values: RowValues,
    example_ids: Sequence[int] | None = None,
    fill: object = MISSING,
) -> list[list[Any]]:
    """Put values per position back in the order of examples and spans.

    Args:
        rows: N rows as `MaskedSeqProcessor` makes them, in any order: columns, a `datasets.Dataset`
            or a list of dicts.
        values: N entries, one per row, with at least one value per position: logits
            ``(N, M, L)``, padded or not, probabilities, labels, ...
        example_ids: which examples to return, in this order; default: all, 0 to the largest.
        fill: the value of a span that ``on_overflow="drop"`` left out. Without it, such a span is
            an error.

    Returns:
        Per example, one value per span.

    Raises:
        ValueError: counts that differ, an example or a span that is in no row, or in two.

    Example:
        >>> rows = {"example_ids": [1, 0, 0], "span_ids": [[], [1], [0]], "num_spans": [0, 2, 2]}
        >>> decode(rows, [[], ["b", "padding"], ["a"]])
        [['a', 'b'], []]
    """
    origin = _origin(rows)
    if len(values) != len(origin.example_ids):
        raise ValueError(
            f"`values` must have one entry per row, {len(origin.example_ids)}, got {len(values)}. "
            "Are rows and values from the same call?"
        )
    by_example: dict[int, list[Any]] = {}
    for row, (example, spans, count) in enumerate(zip(*origin)):
        slots = by_example.setdefault(example, [MISSING] * count)
        if len(values[row]) < len(spans):
            raise ValueError(
                f"Row {row} has {len(spans)} positions, got {len(values[row])} values."
            )
        for span, value in zip(spans, values[row]):
            if slots[span] is not MISSING:
                raise ValueError(
                    f"Span {span} of example {example} is in two rows. Were rows of two calls put "
                    "together? Give each call its own `example_ids`."
                )
            slots[span] = value
    returned = range(max(by_example, default=-1) + 1) if example_ids is None else example_ids
    return [_filled(by_example, example, fill) for example in returned]


def _filled(by_example: dict[int, list[Any]], example: int, fill: object) -> list[Any]:
    if example not in by_example:
        raise ValueError(
            f"Example {example} is in no row. Were rows filtered? Pass the `example_ids` to return."
        )
    slots = by_example[example]
    missing = [span for span, value in enumerate(slots) if value is MISSING]
    if missing and fill is MISSING:
        raise ValueError(
            f"Span(s) {missing[:8]} of example {example} are in no row. Were rows filtered, or "
            "spans dropped by on_overflow='drop'? Pass `fill` to put something in their place."
        )
    return [fill if value is MISSING else value for value in slots]


def stats(rows: Rows) -> dict[str, int]:
    """Count examples, rows, windows, positions and dropped spans.

    Args:
        rows: see `decode`.

    Returns:
        ``examples``; ``rows``; ``windows``, the rows of examples that take more than one;
        ``positions``; ``dropped``, spans that are in no row.

    Example:
        >>> stats({"example_ids": [0, 1, 1], "span_ids": [[0], [1], [0]], "num_spans": [2, 2, 2]})
        {'examples': 2, 'rows': 3, 'windows': 2, 'positions': 3, 'dropped': 1}
    """
    origin = _origin(rows)
    num_spans = dict(zip(origin.example_ids, origin.num_spans))
    rows_per_example: dict[int, int] = {}
    for example in origin.example_ids:
        rows_per_example[example] = rows_per_example.get(example, 0) + 1
    positions = sum(map(len, origin.span_ids))
    return {
        "examples": len(num_spans),
        "rows": len(origin.example_ids),
        "windows": sum(count for count in rows_per_example.values() if count > 1),
        "positions": positions,
        "dropped": sum(num_spans.values()) - positions,
    }


def _origin(rows: Rows) -> _Origin:
    """Read the columns that say where positions belong."""
    required = _Origin._fields
    names = getattr(rows, "column_names", None)
    if names is None and isinstance(rows, Mapping):
        names = list(rows)
    if names is None:
        listed = list(rows)
        names = list(listed[0]) if listed else required
        if set(required) <= set(names):
            return _Origin(*([row[name] for row in listed] for name in required))
    missing = set(required) - set(names)
    if missing:
        raise ValueError(
            f"Rows must have the columns {list(required)}, {sorted(missing)} are missing from "
            f"{list(names)}. MaskedSeqProcessor makes them; keep them when removing columns."
        )
    columns = cast("Mapping[str, Sequence[Any]]", rows)
    return _Origin(*(list(columns[name]) for name in required))
