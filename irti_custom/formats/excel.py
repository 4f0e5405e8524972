"""Excel workbooks, .xlsx: one table a sheet, or a record of fields a row, read as text.

    city | age
    Rome | 7    ->  {"id": "a", "columns": [{"header": "city", "values": ["Rome"], ...}, ...]}

Needs openpyxl. A formula is read as the value that Excel stored with it. Empty rows and columns
around the table are left out and counted.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..records.record import Record
from .atomic import writing
from .files import bare_suffix, read_bytes
from .format import need, option
from .read_report import Report
from .tables import Bound, Rows, Tables, as_text

if TYPE_CHECKING:
    from openpyxl import Workbook

LONGEST = 32767
"""Excel's limit of characters in a cell."""
MOST_ROWS = 2**20
"""Excel's limit of rows in a sheet."""
_MARKS = 20
"""The most "<" per cell in all of a workbook; a cell of text has 10."""
_FORMULA = re.compile(rb"<(?:\w+:)?f[\s/>]")
_MERGED = re.compile(rb"<(?:\w+:)?mergeCell\s")
_DAMAGE = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True)
class Excel(Tables):
    """A sheet; see `Tables` for the other options.

    Args:
        header: whether the first row is one of headers.
        sheet: its name; by default there must be one that is not empty.
    """

    name = "excel"
    suffixes = (".xlsx",)

    header: bool = option(True, "read")
    sheet: str | None = option(only="read")

    def detect_path(self, path: Path) -> bool:
        """Return True for the name of a workbook."""
        return bare_suffix(path) in (".xlsx", ".xlsm")

    def rows(self, path: Path, report: Report) -> Rows:
        """Read rows; see `Tables`."""
        need("openpyxl", self.name)
        content = read_bytes(path, self.bound.num_bytes)
        with _openpyxl(path):
            _check_size(content, self.bound)
            book = _load(content, values=False)
            names = [one.title for one in book.worksheets]
            filled = [self.sheet or ""]
            if self.sheet is None:
                filled = [name for name in names if _is_filled(book[name])]
        if len(filled) != 1:
            raise ValueError(
                f"{path} must have one sheet that is not empty, got {filled}. `sheet` names it."
            )
        name = filled[0]
        if name not in names:
            raise ValueError(f"`sheet` must be one of {names}, got {self.sheet!r}.")
        with _openpyxl(path):
            xml = book[name]._get_source().read()
            shown = values = _values(book[name], self.bound)
            missing = []
            if _FORMULA.search(xml):
                values = _values(_load(content, values=True)[name], self.bound)
                missing = _without_value(book[name], values)
        for place, formula in missing:
            report.unsupported(
                "formula without a value",
                f"{path}, {name}!{place}",
                f"A formula must have its value stored, got {formula!r:.80}. Save the file in "
                "Excel.",
            )
        if merged := len(_MERGED.findall(xml)):
            report.note("merged cells, read as the first of them", merged)
        rows, columns = _extent(shown, report)
        self.bound.check_cells(max(len(rows) - 1, 1) * len(columns), path)
        return [
            [
                as_text(cells[column], f"{path}, {name}, row {row + 1}")
                if column < len(cells)
                else None
                for column in columns
            ]
            for row, cells in ((row, values[row]) for row in rows)
        ]

    def write(self, records: Iterable[Record], path: Path, report: Report) -> None:
        """Write a workbook of one sheet; see `Tables`."""
        need("openpyxl", self.name)
        super().write(records, path, report)

    def write_rows(self, rows: Rows, path: Path) -> None:
        """Write rows, all their cells text; see `Tables`."""
        from openpyxl import Workbook
        from openpyxl.utils.exceptions import IllegalCharacterError

        book, content = Workbook(), io.BytesIO()
        cells = (
            (row, column, value)
            for row, values in enumerate(rows, start=1)
            for column, value in enumerate(values, start=1)
            if value is not None
        )
        for row, column, value in cells:
            try:
                if len(value) > LONGEST or "\r" in value:
                    raise IllegalCharacterError
                cell: Any = book.active.cell(row, column, value)
            except IllegalCharacterError as error:
                raise ValueError(
                    f"Row {row} of the table: A cell of Excel must have at most {LONGEST} "
                    f"characters, and no control characters, got {value!r:.80}."
                ) from error
            cell.data_type = "s"  # a text that begins with "=" is no formula
        book.save(content)
        with writing(path) as file:
            file.write(content.getvalue())


@contextmanager
def _openpyxl(path: Path) -> Iterator[None]:
    """Name the file in what openpyxl raises, in many ways, for one that is damaged."""
    try:
        yield
    except _DAMAGE as error:
        raise ValueError(
            f"{path} must be an Excel workbook, .xlsx, which it is not: "
            f"{str(error) or type(error).__name__}. Was it written whole?"
        ) from error


def _check_size(content: bytes, bound: Bound) -> None:
    """Check that a workbook, an archive of XML, is not too large when it is unpacked and parsed."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts = archive.infolist()  # whatever their names are, as any may be a sheet
        size = sum(one.file_size for one in parts)  # of which no more is read
        if bound.num_bytes is not None and size > bound.num_bytes:
            raise ValueError(f"it has more than {bound.num_bytes:,} bytes when unpacked")
        if bound.cells is not None:
            elements = sum(archive.read(one).count(b"<") for one in parts)
            if elements > _MARKS * (bound.cells + 1000):
                raise ValueError(f"it has many more parts than {bound.cells:,} cells have")


def _load(content: bytes, values: bool) -> Workbook:
    from openpyxl import load_workbook

    book = load_workbook(io.BytesIO(content), read_only=True, data_only=values)
    for sheet in book.worksheets:
        sheet.reset_dimensions()  # those that are stored are not always those of its cells
    return book


def _is_filled(sheet: Any) -> bool:
    return any(value is not None for row in sheet.iter_rows(values_only=True) for value in row)


def _values(sheet: Any, bound: Bound) -> list[Sequence[Any]]:
    """Read rows, each as long as it is, and no more than a bound allows and its margins may be."""
    rows: list[Sequence[Any]] = []
    count = 0
    for row in sheet.iter_rows(values_only=True):
        rows.append(row)
        count += len(row)
        if len(rows) > MOST_ROWS:
            raise ValueError(f"it has more than {MOST_ROWS:,} rows")
        if bound.cells is not None and count > 10 * bound.cells:
            raise ValueError(f"it has many more cells than {bound.cells:,}")
    return rows


def _without_value(sheet: Any, values: Sequence[Sequence[Any]]) -> list[tuple[str, Any]]:
    """List the formulas whose value is not stored, and where they are."""
    return [
        (cell.coordinate, cell.value)
        for cells, row in zip(sheet.iter_rows(), values)
        for cell, value in zip(cells, row)
        if cell.data_type == "f" and value is None
    ]


def _extent(rows: Sequence[Sequence[Any]], report: Report) -> tuple[range, range]:
    """Return the rows and columns between which cells are, and count those around them."""
    places = [
        (number, column)
        for number, row in enumerate(rows)
        for column, value in enumerate(row)
        if value not in (None, "")
    ]
    if not places:
        return range(0), range(0)
    extents = []
    for what, size, numbers in zip(
        ("row", "column"), (len(rows), max(map(len, rows))), zip(*places)
    ):
        extents.append(range(min(numbers), max(numbers) + 1))
        if size > len(extents[-1]):
            report.note(
                f"empty {what} around the table left out", size - len(extents[-1]), lost=False
            )
    return extents[0], extents[1]
