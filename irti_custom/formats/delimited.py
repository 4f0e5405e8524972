r"""CSV and TSV: one table a file, or a record of fields a row.

    city,age
    Rome,7    ->  {"id": "a", "columns": [{"header": "city", "values": ["Rome"], ...}, ...]}

Commas divide cells, and tabs in a file whose name ends in ".tsv".
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from . import conll
from .atomic import writing
from .column_tables import as_text
from .files import MARK, bare_suffix, read_lines, read_text
from .records import Record
from .report import Report
from .tables import read_rows, rows_to_write

_OTHERS = ";\t|"
SOTAB = {"table_name", "column_index", "label"}
"""The headers of SOTAB's files of labels, which are read with the tables that they name."""


def read(
    path: Path,
    report: Report,
    header: bool = True,
    delimiter: str | None = None,
    by: str = "columns",
) -> Iterator[Record]:
    r"""Read a table.

    Args:
        path: the file.
        report: counts what records do not hold.
        header: whether the first row is one of headers.
        delimiter: one character; by default a comma, or a tab for ".tsv".
        by: "columns" for one table, "rows" for a record of fields per row.

    Example:
        >>> from tempfile import mkdtemp
        >>> path = Path(mkdtemp()) / "a.csv"
        >>> _ = path.write_text("city,age\nRome,7\n")
        >>> next(read(path, Report("csv")))["columns"][1]
        {'header': 'age', 'values': ['7'], 'labels': None}
    """
    text = read_text(path)
    text = text.removeprefix(MARK)
    divider = _delimiter(path, delimiter)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=divider, strict=True)
    rows: list[list[str | None]] = []
    try:
        for row in reader:
            where = f"{path}, line {reader.line_num}"
            if rows and len(row) != len(rows[0]):
                raise ValueError(
                    f"{where}: All rows must have as many cells, got {len(row)} after "
                    f"{len(rows[0])}: {row!r:.80}."
                )
            rows.append([as_text(cell, where) for cell in row])
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: It must be CSV: {error}.") from error
    if delimiter is None and rows and len(rows[0]) == 1:
        dividers = [one for one in _OTHERS if one in (rows[0][0] or "")]
        if dividers:
            raise ValueError(
                f"{path} must have more than the column {rows[0][0]!r:.80}, if {dividers[0]!r} "
                "divides its cells. Pass `delimiter`."
            )
    yield from read_rows(rows, path, report, by, header)


def write(
    records: Iterable[Record], path: Path, report: Report, delimiter: str | None = None
) -> None:
    """Write a table, or records of fields.

    Example:
        >>> from tempfile import mkdtemp
        >>> path = Path(mkdtemp()) / "a.csv"
        >>> column = {"header": "city", "values": ["Rome", None], "labels": None}
        >>> write([{"id": "a", "columns": [column]}], path, Report("csv"))
        >>> path.read_text().split()
        ['city', 'Rome', '""']
    """
    rows = rows_to_write(records, path, report)
    content = io.StringIO(newline="")
    content.write(MARK * (rows[0][0] or "").startswith(MARK))  # of which the reader takes one
    writer = csv.writer(content, delimiter=_delimiter(path, delimiter))
    writer.writerows(rows)
    with writing(path) as file:
        file.write(content.getvalue().encode())


def detect_path(path: Path) -> bool:
    """Return True for the name of a table, unless it holds words with tags or labels of SOTAB.

    Example:
        >>> detect_path(Path("people.csv.gz"))
        True
    """
    if bare_suffix(path) == ".tsv" and path.is_file():
        return not conll.detect([line.text for line in islice(read_lines(path), 50)])
    return bare_suffix(path) in (".csv", ".tsv") and not detect_sotab(path)


def detect_sotab(path: Path) -> bool:
    """Return True for a CSV with the headers of SOTAB's labels.

    Example:
        >>> detect_sotab(Path("people.csv"))
        False
    """
    if bare_suffix(path) != ".csv" or not path.is_file():
        return False
    first = next((line.text for line in read_lines(path)), "")
    return {cell.strip('" ') for cell in first.split(",")} == SOTAB


def _delimiter(path: Path, delimiter: str | None) -> str:
    chosen = delimiter or ("\t" if bare_suffix(path) == ".tsv" else ",")
    if len(chosen) != 1 or chosen in '\r\n"':
        raise ValueError(f"`delimiter` must be one character, and no quote, got {delimiter!r}.")
    return chosen
