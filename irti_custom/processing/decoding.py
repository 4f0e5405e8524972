"""Regroup values per row by example and span, in the user's order.

    rows, values per row and position  ->  one list per example, one value per span

The order of the rows, and how texts were cut into them, do not matter.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Union, cast

from ..labels import as_integer
from ..records.sequences import as_list, is_frame

if TYPE_CHECKING:
    import pandas as pd
    import torch
    from datasets import Dataset
    from numpy.typing import NDArray

Rows = Union[Mapping[str, Sequence[Any]], Sequence[Mapping[str, Any]], "Dataset", "pd.DataFrame"]
"""Prepared rows: columns, a list of dicts, a `datasets.Dataset`, or a DataFrame."""
RowValues = Union[Iterable[Sequence[Any]], "torch.Tensor", "NDArray[Any]"]
"""Per row, at least one value per position."""

MISSING = object()
"""Default of `fill`: a span without a value is an error."""


class _Origin(NamedTuple):
    """The record and span ids of one row, and the number of spans of that record.

    `num_missing` of these are fields without a value; rows of older versions do not say so.
    """

    example_ids: int
    span_ids: list[int]
    num_spans: int
    num_missing: int = 0


def decode(
    rows: Rows,
    values: RowValues,
    example_ids: Iterable[int] | None = None,
    fill: object = MISSING,
) -> list[list[Any]]:
    """Put values per position back in the order of examples and spans.

    Args:
        rows: N rows as `MaskedSeqProcessor` makes them, in any order: columns, a list of dicts, a
            `datasets.Dataset` or a DataFrame.
        values: N entries, one per row, with at least one value per position: logits
            ``(N, M, L)``, padded or not, probabilities, labels, ...
        example_ids: which examples to return, in this order; default: all, 0 to the largest.
        fill: the value of a span that ``on_overflow="drop"`` left out. Without it, such a span is
            an error.

    Returns:
        Per example, one value per span.

    Raises:
        ValueError: counts that differ, an example or a span that is in no row, or rows of several
            examples under one id.

    Example:
        >>> rows = {"example_ids": [1, 0, 0], "span_ids": [[], [1], [0]], "num_spans": [0, 2, 2]}
        >>> decode(rows, [[], ["b", "padding"], ["a"]])
        [['a', 'b'], []]
    """
    origins = _origins(rows)
    listed = as_list("`values`", values)
    if len(listed) != len(origins):
        raise ValueError(
            f"`values` must have one entry per row, {len(origins)}, got {len(listed)}. Are rows "
            "and values from the same call?"
        )
    by_example: dict[int, list[Any]] = {}
    for row, (origin, of_row) in enumerate(zip(origins, listed)):
        slots = by_example.setdefault(origin.example_ids, [MISSING] * origin.num_spans)
        given = as_list(f"`values` of row {row}", of_row)
        if len(given) < len(origin.span_ids):
            raise ValueError(
                f"Row {row} has {len(origin.span_ids)} positions, got {len(given)} values."
            )
        for span, value in zip(origin.span_ids, given):
            slots[span] = value
    returned: Iterable[int] = range(max(by_example, default=-1) + 1)
    if example_ids is not None:
        returned = as_list("`example_ids`", example_ids)
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
        ``positions``; ``dropped``, spans that are in no row. A field without a value is neither.

    Example:
        >>> stats({"example_ids": [0, 1, 1], "span_ids": [[0], [1], [0]], "num_spans": [2, 2, 2]})
        {'examples': 2, 'rows': 3, 'windows': 2, 'positions': 3, 'dropped': 1}
    """
    origins = _origins(rows)
    num_spans = {one.example_ids: one.num_spans - one.num_missing for one in origins}
    rows_per_example = Counter(origin.example_ids for origin in origins)
    positions = sum(len(origin.span_ids) for origin in origins)
    return {
        "examples": len(num_spans),
        "rows": len(origins),
        "windows": sum(count for count in rows_per_example.values() if count > 1),
        "positions": positions,
        "dropped": sum(num_spans.values()) - positions,
    }


def _origins(rows: Rows) -> list[_Origin]:
    """Read where positions belong, row by row, and check that the rows agree."""
    columns = _columns(rows)
    counts = {name: len(values) for name, values in zip(_Origin._fields, columns)}
    if len(set(counts.values())) > 1:
        raise ValueError(f"Rows must have as many entries in each column, got {counts}.")
    origins = [_origin(row, *values) for row, values in enumerate(zip(*columns))]
    by_example: dict[int, list[_Origin]] = {}
    for origin in origins:
        by_example.setdefault(origin.example_ids, []).append(origin)
    for example, parts in by_example.items():
        spans = [span for part in parts for span in part.span_ids]
        # Of the rows of one example each holds some of its spans; without any, it takes one row.
        if (
            len({part.num_spans for part in parts}) > 1
            or len(set(spans)) < len(spans)
            or (len(parts) > 1 and not all(part.span_ids for part in parts))
        ):
            found = [(part.span_ids, part.num_spans) for part in parts]
            raise ValueError(
                f"The rows with example id {example} are of several examples: their `span_ids` and "
                f"`num_spans` are {str(found)[:200]}. Give each example an id of its own, also "
                "across calls; in datasets.map, pass its indices as `example_ids` "
                "(with_indices=True)."
            )
    return origins


def _columns(rows: Rows) -> list[list[Any]]:
    *required, optional = _Origin._fields
    names = getattr(rows, "column_names", None)
    if names is None and (isinstance(rows, Mapping) or is_frame(rows)):
        names = list(rows)
    if names is None:
        listed = as_list("`rows`", cast("Sequence[Mapping[str, Any]]", rows))
        if not all(isinstance(row, Mapping) for row in listed):
            raise ValueError("`rows` must be columns, a list of dicts, a Dataset or a DataFrame.")
        names = set.intersection(*(set(row) for row in listed)) if listed else set(required)
        if set(required) <= set(names):
            columns = [[row[name] for row in listed] for name in required]
            return [*columns, [row.get(optional, 0) for row in listed]]
    missing = set(required) - set(names)
    if missing:
        raise ValueError(
            f"Rows must have the columns {list(required)}, {sorted(missing)} are missing from "
            f"{list(names)}. MaskedSeqProcessor makes them; keep them when removing columns."
        )
    given = cast("Mapping[str, Sequence[Any]]", rows)
    columns = [as_list(f"`{name}`", given[name]) for name in required]
    if optional in names:
        return [*columns, as_list(f"`{optional}`", given[optional])]
    return [*columns, [0] * len(columns[0])]


def _origin(
    row: int, example: object, spans: Iterable[Any], count: object, missing: object
) -> _Origin:
    numbers = [as_integer(span) for span in as_list(f"`span_ids` of row {row}", spans)]
    example_id, num_spans, num_missing = map(as_integer, (example, count, missing))
    if (
        example_id is None
        or num_spans is None
        or num_missing is None
        or not all(span is not None and 0 <= span < num_spans for span in numbers)
    ):
        raise ValueError(
            f"Row {row} must hold spans in [0, num_spans) of one example, got example_ids="
            f"{example!r}, span_ids={spans!r:.80}, num_spans={count!r}, num_missing={missing!r}."
        )
    known = [span for span in numbers if span is not None]
    return _Origin(example_id, known, num_spans, num_missing)
