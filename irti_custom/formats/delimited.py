r"""CSV and TSV: one table a file, or a record of fields a row.

    city,age
    Rome,7    ->  {"id": "a", "columns": [{"header": "city", "values": ["Rome"], ...}, ...]}

Commas divide cells, and tabs in a file whose name ends in ".tsv".
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

from ..records.record import Record
from . import conll
from .atomic import writing
from .column_tables import Cell, as_text
from .files import MARK, bare_suffix, read_lines, read_text
from .report import Report
from .tables import NO_BOUND, Bound, read_rows, rows_to_write

_DIVIDERS = ",;\t|"
_NAMED_DIVIDER = re.compile(r"sep=([,;\t|])\r?\n")
_QUOTED = re.compile(r'"[^"]*(?:""[^"]*)*"')
_FIRST_ROW = re.compile(rf'(?:{_QUOTED.pattern}|[^"\r\n]+)*')
SOTAB = {"table_name", "column_index", "label"}
"""The headers of SOTAB's files of labels, which are read with the tables that they name."""


def read(
    path: Path,
    report: Report,
    header: bool = True,
    delimiter: str | None = None,
    by: str = "columns",
    bound: Bound = NO_BOUND,
) -> Iterator[Record]:
    r"""Read a table.

    Empty lines are left out and counted. A first line ``sep=;`` names the delimiter, as Excel
    reads it. In a TSV file that does not quote, quotation marks are text.

    Args:
        path: the file.
        report: counts what records do not hold.
        header: whether the first row is one of headers.
        delimiter: one character; by default a comma, or a tab for ".tsv".
        by: "columns" for one table, "rows" for a record of fields per row.
        bound: how large it may be.

    Raises:
        ValueError: rows of several lengths, a first line that another delimiter divides as well, or
            a larger table.
    """
    text = read_text(path, bound.num_bytes).removeprefix(MARK)
    divider, first_line = _delimiter(path, delimiter), 1
    if named := _NAMED_DIVIDER.match(text):
        text, first_line = text[named.end() :], 2
        divider = delimiter or named[1]
    elif delimiter is None:
        _check_divider(text, divider, path)
    table = _Text(text, divider, path, first_line, bound)
    try:
        rows = table.rows()
    except ValueError as error:
        rows = table.unquoted_rows()
        if not rows:
            hint = "" if delimiter else f" Pass `delimiter` if it is not {divider!r}."
            raise ValueError(f"{error}{hint}") from error
    else:
        if divider == "\t" and any(map(_swallows, chain.from_iterable(rows))):
            rows = table.unquoted_rows() or rows
    if table.blank_lines:
        report.note("empty line left out", table.blank_lines, lost=False)
    if table.unquoted:
        report.note("quotation marks read as text, since they divide no cells", lost=False)
    yield from read_rows(rows, path, report, by, header)


def write(
    records: Iterable[Record], path: Path, report: Report, delimiter: str | None = None
) -> None:
    """Write a table, or records of fields."""
    headers, *rows = rows_to_write(records, path, report)
    content = io.StringIO(newline="")
    content.write(MARK * (headers[0] or "").startswith(MARK))  # of which the reader takes one
    divider = _delimiter(path, delimiter)
    # In quotation marks, headers do not look as if they were divided otherwise, nor as if the file
    # did not quote.
    is_odd = any(sign in (cell or "") for sign in _DIVIDERS for cell in headers) or (
        divider == "\t" and any("\n" in (cell or "") for cell in chain.from_iterable(rows))
    )
    quoting: Any = csv.QUOTE_ALL if is_odd else csv.QUOTE_MINIMAL
    csv.writer(content, delimiter=divider, quoting=quoting).writerow(headers)
    csv.writer(content, delimiter=divider).writerows(rows)
    with writing(path) as file:
        file.write(content.getvalue().encode())


def detect_path(path: Path) -> bool:
    """Return True for the name of a table, unless it holds words with tags or labels of SOTAB."""
    if bare_suffix(path) == ".tsv" and path.is_file():
        return not conll.detect([line.text for line in islice(read_lines(path), 50)])
    return bare_suffix(path) in (".csv", ".tsv") and not detect_sotab(path)


def detect_sotab(path: Path) -> bool:
    """Return True for a CSV with the headers of SOTAB's labels."""
    if bare_suffix(path) != ".csv" or not path.is_file():
        return False
    first = next((line.text for line in read_lines(path)), "")
    return {cell.strip('" ') for cell in first.split(",")} == SOTAB


class _Text:
    """The text of a table, read with quotation marks or without.

    Args:
        text: the text.
        divider: what divides its cells.
        path: of the file, for errors.
        first_line: the number of the line that the text begins with.
        bound: how large it may be.

    Attributes:
        blank_lines: how many were left out.
        unquoted: whether the rows last read are those without quotation marks.
    """

    def __init__(
        self, text: str, divider: str, path: Path, first_line: int = 1, bound: Bound = NO_BOUND
    ) -> None:
        self.text, self.divider, self.path = text, divider, path
        self.first_line, self.bound = first_line, bound
        self.blank_lines, self.unquoted = 0, False

    def rows(self, quotes: bool = True) -> list[list[Cell]]:
        """Read the rows.

        Raises:
            ValueError: a row that has another number of cells than the first, or too many cells.
        """
        lines = io.StringIO(self.text, newline="")
        quoting: Any = csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE
        reader = csv.reader(lines, delimiter=self.divider, strict=True, quoting=quoting)
        rows: list[list[Cell]] = []
        self.blank_lines = 0
        try:
            for row in reader:
                width = len(rows[0]) if rows else len(row)
                if not row or (len(row) == 1 < width and not row[0].strip()):
                    self.blank_lines += 1
                    continue
                where = f"{self.path}, line {reader.line_num + self.first_line - 1}"
                if len(row) != width:
                    raise ValueError(
                        f"{where}: All rows must have as many cells, got {len(row)} after "
                        f"{width}: {row!r:.80}."
                    )
                self.bound.check_cells(max(len(rows), 1) * width, self.path)
                rows.append([as_text(cell, where) for cell in row])
        except csv.Error as error:
            line = reader.line_num + self.first_line - 1
            raise ValueError(f"{self.path}, line {line}: It must be CSV: {error}.") from error
        return rows

    def unquoted_rows(self) -> list[list[Cell]]:
        """Read a TSV that does not quote; no rows where the text is none."""
        is_quoted = re.match(rf"{_QUOTED.pattern}(\t{_QUOTED.pattern})*\r?(\n|$)", self.text)
        if self.divider != "\t" or '"' not in self.text or is_quoted:
            return []
        blank_lines = self.blank_lines
        try:
            rows = self.rows(quotes=False)
        except ValueError:  # then it is judged as one that does
            self.blank_lines = blank_lines
            return []
        self.unquoted = True
        return rows


def _swallows(cell: Cell) -> bool:
    """Return whether a cell looks like lines of a TSV between two lone quotation marks."""
    return cell is not None and "\n" in cell and ("\t" in cell or cell[0] in "\r\n")


def _check_divider(text: str, divider: str, path: Path) -> None:
    """Check that no other sign divides the cells of the first line.

    Raises:
        ValueError: a sign that does so in all rows, or in the first where that has one cell.
    """
    first = _FIRST_ROW.match(text.lstrip("\r\n"))
    unquoted = _QUOTED.sub("", first[0] if first else "")
    for sign in _DIVIDERS.replace(divider, "").replace("," if divider == "\t" else "", ""):
        if sign not in unquoted:
            continue
        is_clear = divider in unquoted
        if is_clear:
            try:
                _Text(text, sign, path).rows()
            except ValueError:
                continue
        raise ValueError(
            f"{path} has cells that {sign!r} may divide, as well as {divider!r}, in the first line "
            f"{unquoted!r:.80}. Pass `delimiter`."
        )


def _delimiter(path: Path, delimiter: str | None) -> str:
    chosen = delimiter or ("\t" if bare_suffix(path) == ".tsv" else ",")
    if len(chosen) != 1 or chosen in '\r\n"':
        raise ValueError(f"`delimiter` must be one character, and no quote, got {delimiter!r}.")
    return chosen
