"""Read tables, write their columns as text, and share a row of tokens among them.

    title, columns  ->  title [CLS] name: Ann, Bob [CLS] city: Rome, Ulm

Reading one position per column follows Doduo (Suhara et al. 2022, arXiv:2104.01785).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Union, cast

from ..records.sequences import as_list, is_frame, is_missing
from .rows import Part

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedTokenizerFast

# More characters per token than text has; what lies beyond never gets into a row.
_CHARACTERS_PER_TOKEN = 16

Column = Union[Iterable[object], Mapping[str, object]]
"""A column as users give it: values, or a dict of `values` and an optional `header`."""
TableInput = Union[Sequence[Column], Mapping[str, object], "pd.DataFrame"]
"""A table as users give it, see `read_table`."""


class Table(NamedTuple):
    """A table: its title, and a header, or None, and values per column."""

    title: str
    headers: list[str | None]
    values: list[Iterable[object]]

    def column_texts(self, tokens: int | None) -> list[str]:
        """Write each column as text: ``header: value, value``, without what is missing.

        Args:
            tokens: how many tokens of a column can be used; None for all.

        Example:
            >>> Table("", ["city", None], [["Rome", None, "Ulm"], [1, 2]]).column_texts(9)
            ['city: Rome, Ulm', '1, 2']
        """
        limit = None if tokens is None else tokens * _CHARACTERS_PER_TOKEN
        return [_column_text(h, cells, limit) for h, cells in zip(self.headers, self.values)]


def read_table(table: TableInput, name: str) -> Table:
    """Read a table.

    Args:
        table: a list of columns, a pandas DataFrame, or a dict of `columns` (one of these) and
            an optional `title`. A column is a list of values or a dict of `values` and an optional
            `header`. None, NaN and the like are missing values.
        name: of the table in errors.

    Raises:
        ValueError: anything else.

    Example:
        >>> read_table([{"header": "city", "values": ["Rome"]}, [1, 2]], "table 0")
        Table(title='', headers=['city', None], values=[['Rome'], [1, 2]])
    """
    title, columns = "", cast("Any", table)
    if isinstance(table, Mapping):
        if "columns" not in table:
            raise ValueError(
                f"A dict for {name} must have `columns`, got the keys {list(table)}. A column is a "
                "dict of `values`, and of `header` if it has one."
            )
        title, columns = _as_text(table.get("title")) or "", table["columns"]
    if is_frame(columns):
        headers = [_as_text(header) for header in columns.columns]
        return Table(title, headers, [columns.iloc[:, index] for index in range(len(headers))])
    listed = as_list(f"The columns of {name}", columns)
    read = [_read_column(index, column, name) for index, column in enumerate(listed)]
    return Table(title, [header for header, _ in read], [cells for _, cells in read])


def _read_column(index: int, column: Column, name: str) -> tuple[str | None, Iterable[object]]:
    named = column if isinstance(column, Mapping) else {"values": column}
    cells = as_list(f"The values of column {index} of {name}", named.get("values"))
    return _as_text(named.get("header")), cells


def _as_text(value: object) -> str | None:
    return None if is_missing(value) else str(value) or None


def _column_text(header: str | None, cells: Iterable[object], limit: int | None) -> str:
    parts, length = [], 0
    for cell in cells:
        if is_missing(cell):
            continue
        parts.append(str(cell))
        length += len(parts[-1])
        if limit is not None and length > limit:
            break
    text = ", ".join(parts)
    return f"{header}: {text}" if header else text


def column_token(tokenizer: PreTrainedTokenizerFast, read: str, marker: int | None) -> int:
    """Choose the token that is put before each column, and read there.

    Raises:
        ValueError: the tokenizer has no suitable one.
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
    """Share the room of a row among columns, and take more rows where there is too little.

    Args:
        title: its tokens, repeated in each row; cut at a quarter of the room.
        columns: the tokens of each column.
        column_token: put before each column, and read there.
        size: tokens of a row; None for no limit.
        least: tokens that a column may always have. If all columns fit with as many, the rest of
            the row is shared evenly; else the columns that do not fit go to further rows.

    Returns:
        One part per row.

    Example:
        >>> lay_out([1], [[2, 3], [4, 5, 6]], 9, size=7, least=1)
        [Part(ids=[1, 9, 2, 3, 9, 4, 5], reads=[1, 4], ends=[3, 6], spans=[0, 1])]
        >>> [part.ids for part in lay_out([], [[2, 3], [4]], 9, size=4, least=2)]
        [[9, 2, 3], [9, 4]]
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
    parts = [Part(list(title), [], [], [])]
    for index, column in enumerate(columns):
        ids = [column_token, *column[:share]]
        if parts[-1].spans and len(parts[-1].ids) + len(ids) > room:
            parts.append(Part(list(title), [], [], []))
        parts[-1].reads.append(len(parts[-1].ids))
        parts[-1].ids.extend(ids)
        parts[-1].ends.append(len(parts[-1].ids) - 1)
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
