"""Excel workbooks, .xlsx: one table a sheet, or a record of fields a row, read as text.

    city | age
    Rome | 7    ->  {"id": "a", "columns": [{"header": "city", "values": ["Rome"], ...}, ...]}

Needs openpyxl. A formula is read as the value that Excel stored with it.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .atomic import writing
from .column_tables import Cell, as_text
from .extras import need
from .files import bare_suffix, read_bytes
from .records import Record
from .report import Report
from .tables import read_rows, rows_to_write

if TYPE_CHECKING:
    from openpyxl import Workbook

LONGEST = 32767
"""Excel's limit of characters in a cell."""


def read(
    path: Path,
    report: Report,
    header: bool = True,
    sheet: str | None = None,
    by: str = "columns",
) -> Iterator[Record]:
    """Read a sheet.

    Args:
        path: the workbook.
        report: counts formulas without a value.
        header: whether the first row is one of headers.
        sheet: its name; by default there must be one that is not empty.
        by: "columns" for one table, "rows" for a record of fields per row.

    Example:
        >>> import pytest
        >>> openpyxl = pytest.importorskip("openpyxl")  # an optional dependency
        >>> from tempfile import mkdtemp
        >>> path = Path(mkdtemp()) / "a.xlsx"
        >>> book = openpyxl.Workbook()
        >>> for row in (["age"], [7]):
        ...     book.active.append(row)
        >>> book.save(path)
        >>> next(read(path, Report("excel")))["columns"]
        [{'header': 'age', 'values': ['7'], 'labels': None}]
    """
    need("openpyxl", report.format)
    content = read_bytes(path)
    book = _load(content, path, values=False)
    filled = [name for name in book.sheetnames if _filled(book[name])]
    if sheet is None and len(filled) != 1:
        raise ValueError(
            f"{path} must have one sheet that is not empty, got {filled}. `sheet` names it."
        )
    name = sheet or filled[0]
    if name not in book.sheetnames:
        raise ValueError(f"`sheet` must be one of {book.sheetnames}, got {sheet!r}.")
    formulas = [cell for row in book[name].iter_rows() for cell in row if cell.data_type == "f"]
    values = _load(content, path, values=True)[name] if formulas else book[name]
    for cell in formulas:
        if values[cell.coordinate].value is None:
            report.misfit(
                "formula without a value",
                f"{path}, {name}!{cell.coordinate}",
                f"A formula must have its value stored, got {cell.value!r:.80}. Save the file in "
                "Excel.",
            )
    if book[name].merged_cells.ranges:
        report.note("merged cells, read as the first of them", len(book[name].merged_cells.ranges))
    rows: list[list[Cell]] = []
    for index, row in enumerate(values.iter_rows(values_only=True)):
        rows.append([as_text(value, f"{path}, {name}, row {index + 1}") for value in row])
    yield from read_rows(rows, path, report, by, header)


def write(records: Iterable[Record], path: Path, report: Report) -> None:
    """Write a workbook of one sheet, all its cells text.

    Example:
        >>> import pytest
        >>> _ = pytest.importorskip("openpyxl")  # an optional dependency
        >>> from tempfile import mkdtemp
        >>> path = Path(mkdtemp()) / "a.xlsx"
        >>> table = {"id": "a", "columns": [{"header": "age", "values": ["7"], "labels": None}]}
        >>> write([table], path, Report("excel"))
        >>> next(read(path, Report("excel"))) == table
        True
    """
    need("openpyxl", report.format)
    from openpyxl import Workbook
    from openpyxl.utils.exceptions import IllegalCharacterError

    rows = rows_to_write(records, path, report)
    book = Workbook()
    sheet: Any = book.active
    for row, cells in enumerate(rows, start=1):
        for column, value in enumerate(cells, start=1):
            if value is None:
                continue
            try:
                if len(value) > LONGEST or "\r" in value:
                    raise IllegalCharacterError
                cell = sheet.cell(row, column, value)
            except IllegalCharacterError as error:
                raise ValueError(
                    f"Row {row} of the table: A cell of Excel must have at most {LONGEST} "
                    f"characters, and no control characters, got {value!r:.80}."
                ) from error
            cell.data_type = "s"  # a text that begins with "=" is no formula
    content = io.BytesIO()
    book.save(content)
    with writing(path) as file:
        file.write(content.getvalue())


def detect_path(path: Path) -> bool:
    """Return True for the name of a workbook.

    Example:
        >>> detect_path(Path("people.xlsx"))
        True
    """
    return bare_suffix(path) in (".xlsx", ".xlsm")


def _load(content: bytes, path: Path, values: bool) -> Workbook:
    from openpyxl import load_workbook

    try:
        return load_workbook(io.BytesIO(content), data_only=values)
    except (zipfile.BadZipFile, KeyError, OSError, ValueError) as error:
        raise ValueError(
            f"{path} must be an Excel workbook, .xlsx, which it is not: {error}. Was it written "
            "whole?"
        ) from error


def _filled(sheet: Any) -> bool:
    return any(value is not None for row in sheet.iter_rows(values_only=True) for value in row)
