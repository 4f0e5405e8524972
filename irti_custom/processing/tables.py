"""Tables as rows of tokens: each column gets its share of the room, and a place where it is read.

    title, columns  ->  title [CLS] name: Ann, Bob [CLS] city: Rome, Ulm

Reading one position per column follows Doduo (Suhara et al. 2022, arXiv:2104.01785).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from .rows import Part

# More characters per token than text has; what is beyond never gets into a row.
_CHARACTERS_PER_TOKEN = 16


class Table(NamedTuple):
    """A table as text: its title, and one string per column."""

    title: str
    columns: list[str]


def table_headers(table: Any, name: str) -> list[str | None]:
    """List the headers of a table's columns; None for a column without.

    Args:
        table: see `table_text`.
        name: what errors call it.

    Raises:
        ValueError: see `table_text`.

    Example:
        >>> table_headers({"columns": [{"header": "city", "values": ["Rome"]}, [1, 2]]}, "table 0")
        ['city', None]
    """
    _, headers, _ = _read(table, name)
    return [header or None for header in headers]


def table_text(table: Any, name: str, tokens: int | None) -> Table:
    """Write a table as text.

    Args:
        table: a list of columns, a pandas DataFrame, or a dict of `columns` (one of these) and
            an optional `title`. A column is a list of values or a dict of `values` and an optional
            `header`. Values that are None or NaN are left out.
        name: what errors call it.
        tokens: how many of them may be of use per column; None for all.

    Raises:
        ValueError: anything else.

    Example:
        >>> table_text([{"header": "city", "values": ["Rome", None, "Ulm"]}, [1, 2]], "table 0", 9)
        Table(title='', columns=['city: Rome, Ulm', '1, 2'])
    """
    title, headers, values = _read(table, name)
    limit = None if tokens is None else tokens * _CHARACTERS_PER_TOKEN
    texts = [_column_text(header, cells, limit) for header, cells in zip(headers, values)]
    return Table(title, texts)


def _read(table: Any, name: str) -> tuple[str, list[str], Iterable[Iterable[Any]]]:
    """Return a table's title, headers and values."""
    title = ""
    if isinstance(table, Mapping):
        if "columns" not in table:
            raise ValueError(
                f"A dict for {name} must have `columns`, got the keys {list(table)}. A column is a "
                "dict of `values`, and of `header` if it has one."
            )
        title, table = str(table.get("title") or ""), table["columns"]
    if hasattr(table, "iloc") and hasattr(table, "columns"):  # a DataFrame, without its import
        headers = [str(header) for header in table.columns]
        return title, headers, (table.iloc[:, index].dropna() for index in range(len(headers)))
    return (title, *_headers_and_values(table, name))


def _headers_and_values(columns: Any, name: str) -> tuple[list[str], list[Iterable[Any]]]:
    if isinstance(columns, (str, Mapping)) or not isinstance(columns, Iterable):
        raise ValueError(f"{name} must be a list of columns or a DataFrame, got {columns!r:.80}.")
    headers, values = [], []
    for index, column in enumerate(columns):
        cells = column.get("values") if isinstance(column, Mapping) else column
        if cells is None or isinstance(cells, str) or not isinstance(cells, Iterable):
            raise ValueError(
                f"Column {index} of {name} must be a list of values, or a dict of `values` and an "
                f"optional `header`, got {column!r:.80}."
            )
        header = column.get("header") if isinstance(column, Mapping) else None
        headers.append("" if header is None else str(header))
        values.append(cells)
    return headers, values


def _column_text(header: str, cells: Iterable[Any], limit: int | None) -> str:
    parts, length = [], 0
    for cell in cells:
        if cell is None or (isinstance(cell, float) and math.isnan(cell)):
            continue
        parts.append(str(cell))
        length += len(parts[-1])
        if limit is not None and length > limit:
            break
    text = ", ".join(parts)
    return f"{header}: {text}" if header else text


def column_token(tokenizer: Any, read: str, marker: int | None) -> int:
    """Choose the token that is put before each column, and read there.

    Raises:
        ValueError: the tokenizer has none that would do.
    """
    masks = (tokenizer.mask_token_id,) if read == "mask" else ()
    choices = (marker, *masks, tokenizer.cls_token_id, tokenizer.mask_token_id)
    token = next((token for token in choices if token is not None), None)
    if token is None:
        raise ValueError(
            "Tables need a classification or a mask token, and the tokenizer has none. Use "
            "read='marker'."
        )
    return token


def lay_out(
    title: list[int],
    columns: Sequence[list[int]],
    column_token: int,
    size: int | None,
    least: int,
) -> list[Part]:
    """Share the room of a row among columns, and take more rows where it is too little.

    Args:
        title: its tokens, repeated in each row; cut at a quarter of the room.
        columns: the tokens of each column.
        column_token: put before each column, and read there.
        size: tokens of a row; None for no limit.
        least: tokens that a column may have at any rate. If all columns can have as many, what is
            left of the row is shared evenly; else the columns that do not fit go to further rows.

    Returns:
        One part per row.

    Example:
        >>> lay_out([1], [[2, 3], [4, 5, 6]], 9, size=7, least=1)
        [Part(ids=[1, 9, 2, 3, 9, 4, 5], places=[1, 4], spans=[0, 1])]
        >>> lay_out([], [[2, 3], [4]], 9, size=4, least=2)
        [Part(ids=[9, 2, 3], places=[0], spans=[0]), Part(ids=[9, 4], places=[0], spans=[1])]
    """
    if size is None:
        share = max(map(len, columns), default=0)
        room = len(title) + sum(map(len, columns)) + len(columns)
    else:
        title = title[: size // 4]
        room = size
        free = size - len(title)
        least = min(least, free - 1)
        share = max(least, _even_share([len(column) for column in columns], free - len(columns)))
    parts = [Part(list(title), [], [])]
    for index, column in enumerate(columns):
        ids = [column_token, *column[:share]]
        if parts[-1].spans and len(parts[-1].ids) + len(ids) > room:
            parts.append(Part(list(title), [], []))
        parts[-1].places.append(len(parts[-1].ids))
        parts[-1].ids.extend(ids)
        parts[-1].spans.append(index)
    return parts


def _even_share(lengths: Sequence[int], room: int) -> int:
    """Find the largest share with which all fit; short ones leave theirs to the others."""
    left = room
    for done, length in enumerate(sorted(lengths)):
        share = left // (len(lengths) - done)
        if length > share:
            return max(share, 0)
        left -= length
    return max(lengths, default=0)
