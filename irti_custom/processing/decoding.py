"""From rows back to examples: every span gets its value, in the user's order.

rows, values per row and position  ->  one list per example, one value per span

Whatever the order of the rows, and however texts were cut into them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_COLUMNS = ("example_ids", "span_ids", "num_spans")
_NOT_GIVEN: Any = object()


def decode(
    rows: Any,
    values: Sequence[Any],
    example_ids: Sequence[int] | None = None,
    fill: Any = _NOT_GIVEN,
) -> list[list[Any]]:
    """Put values per position back in the order of examples and spans.

    Args:
        rows: N rows as `MaskedSeqProcessor` makes them, in any order: columns, a `datasets.Dataset`
            or a list of dicts.
        values: N entries, one per row, with at least one value per position: logits
            ``(N, M, L)``, padded or not, probabilities, labels, ...
        example_ids: which examples to return, in this order; default: all, 0 to the largest.
        fill: what stands for a span that ``on_overflow="drop"`` left out. Without it, such a span
            is an error.

    Returns:
        Per example, one value per span.

    Raises:
        ValueError: counts that differ, an example or a span that is in no row, or in two.

    Example:
        >>> rows = {"example_ids": [1, 0, 0], "span_ids": [[], [1], [0]], "num_spans": [0, 2, 2]}
        >>> decode(rows, [[], ["b", "padding"], ["a"]])
        [['a', 'b'], []]
    """
    examples, spans, counts = _columns(rows)
    if len(values) != len(examples):
        raise ValueError(
            f"`values` must have one entry per row, {len(examples)}, got {len(values)}. Are rows "
            "and values from the same call?"
        )
    found: dict[int, list[Any]] = {}
    for row, (example, row_spans, count) in enumerate(zip(examples, spans, counts)):
        slots = found.setdefault(example, [_NOT_GIVEN] * count)
        if len(values[row]) < len(row_spans):
            raise ValueError(
                f"Row {row} has {len(row_spans)} positions, got {len(values[row])} values."
            )
        for span, value in zip(row_spans, values[row]):
            if slots[span] is not _NOT_GIVEN:
                raise ValueError(
                    f"Span {span} of example {example} is in two rows. Were rows of two calls put "
                    "together? Give each call its own `example_ids`."
                )
            slots[span] = value
    wanted = range(max(found, default=-1) + 1) if example_ids is None else example_ids
    return [_whole(found, example, fill) for example in wanted]


def _whole(found: dict[int, list[Any]], example: int, fill: Any) -> list[Any]:
    if example not in found:
        raise ValueError(
            f"Example {example} is in no row. Were rows filtered? Pass the `example_ids` to return."
        )
    slots = found[example]
    missing = [span for span, value in enumerate(slots) if value is _NOT_GIVEN]
    if missing and fill is _NOT_GIVEN:
        raise ValueError(
            f"Span(s) {missing[:8]} of example {example} are in no row. Were rows filtered, or "
            "spans dropped by on_overflow='drop'? Pass `fill` to put something in their place."
        )
    return [fill if value is _NOT_GIVEN else value for value in slots]


def stats(rows: Any) -> dict[str, int]:
    """Count what became of texts and spans.

    Args:
        rows: see `decode`.

    Returns:
        ``examples``; ``rows``; ``windows``, the rows of examples that take more than one;
        ``positions``; ``dropped``, spans that are in no row.

    Example:
        >>> stats({"example_ids": [0, 1, 1], "span_ids": [[0], [1], [0]], "num_spans": [2, 2, 2]})
        {'examples': 2, 'rows': 3, 'windows': 2, 'positions': 3, 'dropped': 1}
    """
    examples, spans, counts = _columns(rows)
    asked = dict(zip(examples, counts))
    per_example: dict[int, int] = {}
    for example in examples:
        per_example[example] = per_example.get(example, 0) + 1
    positions = sum(map(len, spans))
    return {
        "examples": len(asked),
        "rows": len(examples),
        "windows": sum(count for count in per_example.values() if count > 1),
        "positions": positions,
        "dropped": sum(asked.values()) - positions,
    }


def _columns(rows: Any) -> list[list[Any]]:
    """Read the three columns that tell where positions belong."""
    names = getattr(rows, "column_names", None)
    if names is None and isinstance(rows, Mapping):
        names = list(rows)
    if names is None:
        rows = list(rows)
        names = list(rows[0]) if rows else list(_COLUMNS)
        if set(_COLUMNS) <= set(names):
            return [[row[name] for row in rows] for name in _COLUMNS]
    missing = set(_COLUMNS) - set(names)
    if missing:
        raise ValueError(
            f"Rows must have the columns {list(_COLUMNS)}, {sorted(missing)} are missing from "
            f"{list(names)}. MaskedSeqProcessor makes them; keep them when removing columns."
        )
    return [list(rows[name]) for name in _COLUMNS]
