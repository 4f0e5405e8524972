"""What a table is read as, and written from: one record of columns, or a record of fields per row.

by="columns"   [["city"], ["Rome"]]  <->  {"id": "a", "columns": [{"header": "city", ...}]}
by="rows"      [["city"], ["Rome"]]  <->  {"id": "0", "fields": [{"name": "city", ...}]}
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ..records.record import Record, kind_of
from .column_tables import Cell, record_of_rows, rows_of_record
from .field_tables import read_fields, rows_of_fields
from .report import Report

BY = ("columns", "rows")


class Bound(NamedTuple):
    """How large a table may be that somebody else chose; a larger one is refused unread.

    Attributes:
        cells: how many there may be below the headers; None for any number.
        num_bytes: how many bytes the file may have when it is unpacked; None for any number.
    """

    cells: int | None = None
    num_bytes: int | None = None

    def check_cells(self, count: int, path: Path) -> None:
        """Check a number of cells.

        Raises:
            ValueError: there are more.
        """
        if self.cells is not None and count > self.cells:
            raise ValueError(f"{path} must have at most {self.cells:,} cells, and has more.")


NO_BOUND = Bound()


def read_rows(
    rows: Sequence[Sequence[Cell]], path: Path, report: Report, by: str, header: bool = True
) -> Iterator[Record]:
    """Read rows that have the same number of cells.

    Args:
        rows: the rows, the headers among them.
        path: of the file.
        report: counts what records do not hold.
        by: "columns" for one table, "rows" for a record of fields per row.
        header: whether the first row is one of headers.

    Raises:
        ValueError: no row, or another option.
    """
    if by not in BY:
        raise ValueError(f"`by` must be one of {BY}, got {by!r}.")
    if not isinstance(header, bool):
        raise ValueError(f"`header` must be True or False, got {header!r}.")
    if not rows or not rows[0]:
        raise ValueError(f"{path} must hold a table, and it has no cells.")
    with_headers = rows if header else [[None] * len(rows[0]), *rows]
    if by == "rows":
        yield from read_fields(with_headers, path, report)
    else:
        yield record_of_rows(with_headers, path)


def rows_to_write(records: Iterable[Record], path: Path, report: Report) -> list[list[Cell]]:
    """Make rows of the only table among records, or of records of fields; the first are headers.

    Raises:
        ValueError: other records.
    """
    listed = list(records)
    if {kind_of(record) for record in listed} == {"fields"}:
        return rows_of_fields(listed, path, report)
    return rows_of_record(listed, path, report)
