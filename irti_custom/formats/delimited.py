"""CSV and TSV: one table a file, or a record of fields a row; and SOTAB, tables beside a CSV.

    city,age
    Rome,7    ->  {"id": "a", "columns": [{"header": "city", "values": ["Rome"], ...}, ...]}

Commas divide cells, and tabs in a file whose name ends in ".tsv".
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

from ..records.record import ItemError, Record, check_column
from .atomic import writing
from .conll import Conll
from .files import MARK, bare_suffix, read_lines, read_objects, read_text
from .format import Format, option
from .json_spans import check_object
from .read_report import Report
from .tables import NO_BOUND, Bound, Cell, Rows, Tables, as_text

_DIVIDERS = ",;\t|"
_NAMED_DIVIDER = re.compile(r"sep=([,;\t|])\r?\n")
_QUOTED = re.compile(r'"[^"]*(?:""[^"]*)*"')
_FIRST_ROW = re.compile(rf'(?:{_QUOTED.pattern}|[^"\r\n]+)*')
_SOTAB = {"table_name", "column_index", "label"}
"""The headers of SOTAB's files of labels, which are read with the tables that they name."""


@dataclass(frozen=True)
class Csv(Tables):
    """Divided cells; see `Tables` for the other options.

    Empty lines are left out and counted. A first line ``sep=;`` names the delimiter, as Excel
    reads it. In a TSV file that does not quote, quotation marks are text.

    Args:
        header: whether the first row is one of headers.
        delimiter: one character; by default a comma, or a tab for ".tsv".
    """

    name = "csv"
    suffixes = (".csv", ".tsv")

    header: bool = option(True, "read")
    delimiter: str | None = option()

    def detect_path(self, path: Path) -> bool:
        """Return True for the name of a table, if it holds no words with tags or SOTAB's labels."""
        if bare_suffix(path) == ".tsv" and path.is_file():
            return not Conll().detect_lines([line.text for line in islice(read_lines(path), 50)])
        return super().detect_path(path) and not Sotab().detect_path(path)

    def rows(self, path: Path, report: Report) -> Rows:
        """Read rows; see `Tables`."""
        text = read_text(path, self.bound.num_bytes).removeprefix(MARK)
        divider, first_line = self._divider(path), 1
        if named := _NAMED_DIVIDER.match(text):
            text, first_line = text[named.end() :], 2
            divider = self.delimiter or named[1]
        elif self.delimiter is None:
            _check_divider(text, divider, path)
        table = _Text(text, divider, path, first_line, self.bound)
        try:
            rows = table.rows()
        except ValueError as error:
            rows = table.unquoted_rows()
            if not rows:
                hint = "" if self.delimiter else f" Pass `delimiter` if it is not {divider!r}."
                raise ValueError(f"{error}{hint}") from error
        else:
            if divider == "\t" and any(map(_swallows, chain.from_iterable(rows))):
                rows = table.unquoted_rows() or rows
        if table.blank_lines:
            report.note("empty line left out", table.blank_lines, lost=False)
        if table.unquoted:
            report.note("quotation marks read as text, since they divide no cells", lost=False)
        return rows

    def write_rows(self, rows: Rows, path: Path) -> None:
        """Write rows; see `Tables`."""
        headers, *body = rows
        content, divider = io.StringIO(newline=""), self._divider(path)
        content.write(MARK * (headers[0] or "").startswith(MARK))  # of which the reader takes one
        # In quotation marks, headers do not look as if they were divided otherwise, nor as if the
        # file did not quote.
        is_odd = any(sign in (cell or "") for sign in _DIVIDERS for cell in headers) or (
            divider == "\t" and any("\n" in (cell or "") for cell in chain.from_iterable(body))
        )
        quoting: Any = csv.QUOTE_ALL if is_odd else csv.QUOTE_MINIMAL
        csv.writer(content, delimiter=divider, quoting=quoting).writerow(headers)
        csv.writer(content, delimiter=divider).writerows(body)
        with writing(path) as file:
            file.write(content.getvalue().encode())

    def _divider(self, path: Path) -> str:
        chosen = self.delimiter or ("\t" if bare_suffix(path) == ".tsv" else ",")
        if len(chosen) != 1 or chosen in '\r\n"':
            raise ValueError(
                f"`delimiter` must be one character, and no quote, got {self.delimiter!r}."
            )
        return chosen


class _Text:
    """The text of a table, read with quotation marks or without.

    Attributes:
        first_line: the number of the line that the text begins with.
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
        """Read rows; raise a ValueError if they have several lengths, or too many cells."""
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
        """Read a TSV that does not quote; return no rows where the text is none."""
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
    """Raise a ValueError if another sign divides all rows, or the first where that has one cell."""
    first = _FIRST_ROW.match(text.lstrip("\r\n"))
    unquoted = _QUOTED.sub("", first[0] if first else "")
    for sign in _DIVIDERS.replace(divider, "").replace("," if divider == "\t" else "", ""):
        if sign not in unquoted:
            continue
        if divider in unquoted:
            try:
                _Text(text, sign, path).rows()
            except ValueError:
                continue
        raise ValueError(
            f"{path} has cells that {sign!r} may divide, as well as {divider!r}, in the first line "
            f"{unquoted!r:.80}. Pass `delimiter`."
        )


class Sotab(Format):
    """SOTAB, the WDC table annotation benchmark: a CSV of column types, and a folder of tables.

        CTA_training_gt.csv          table_name,column_index,label
                                     Hotel_a.de.json.gz,0,Hotel/name
        Train/Hotel_a.de.json.gz     {"0": "Zum Löwen", "1": "Ulm"}

    Columns without a type have unknown labels. Tables lie beside the CSV or in a folder there.
    After http://webdatacommons.org/structureddata/sotab/.
    """

    name = "sotab"

    def detect_path(self, path: Path) -> bool:
        """Return True for a CSV with the headers of SOTAB's labels."""
        if bare_suffix(path) != ".csv" or not path.is_file():
            return False
        first = next((line.text for line in read_lines(path)), "")
        return {cell.strip('" ') for cell in first.split(",")} == _SOTAB

    def read(self, path: Path, report: Report) -> Iterator[Record]:
        """Yield tables in the order of the CSV; see `Format`."""
        headers, *rows = Csv().rows(path, report) or [[]]
        if set(headers) != _SOTAB:
            raise ValueError(
                f"{path} must have the columns {sorted(_SOTAB)}, got {headers}. Labels of pairs of "
                "columns are not read."
            )
        by_table: dict[Any, list[tuple[str, Any, Any]]] = {}
        for number, row in enumerate(rows, start=2):
            cells = dict(zip(headers, row))
            entry = (f"{path}, row {number}", cells["column_index"], cells["label"])
            by_table.setdefault(cells["table_name"], []).append(entry)
        folders = [path.parent, *sorted(one for one in path.parent.iterdir() if one.is_dir())]
        for name, entries in by_table.items():
            where, is_name = entries[0][0], name and Path(name).name == name
            paths = [one / name for one in folders if (one / name).is_file()] if is_name else []
            if not is_name:
                message = f"A table must be the name of a file, got {name!r}."
                report.unsupported("table that is no file name", where, message)
            elif len(paths) == 1:
                columns = None
                with report:
                    columns = _columns(paths[0], entries, report)
                if columns is not None:
                    yield {"id": name, "columns": columns}
            else:
                kind = "table that is there several times" if paths else "table that is not there"
                message = f"A table must lie beside the CSV, or in one folder there, got {paths}."
                report.unsupported(kind, where, message)


def _columns(
    path: Path, entries: Iterable[tuple[str, Any, Any]], report: Report
) -> list[dict[str, Any]]:
    rows = [check_object(row, where) for where, row in read_objects(path)]
    columns = []
    for name in dict.fromkeys(name for row in rows for name in row):
        # Cells may be objects of schema.org; numbers are the places of columns, and no headers.
        cells = [
            json.dumps(cell, ensure_ascii=False) if isinstance(cell, (dict, list)) else cell
            for cell in (row.get(name) for row in rows)
        ]
        header = None if name.isdecimal() else name
        columns.append(check_column({"header": header, "values": cells}, f"{path}, {name!r}"))
    for where, index, label in entries:
        with report:
            if index is None or not index.isdecimal() or label is None:
                raise ItemError(
                    f"{where}: It must have the number of a column and a label, got {index!r} and "
                    f"{label!r}.",
                    "row without column or label",
                )
            if int(index) >= len(columns):
                raise ItemError(
                    f"{where}: The number must be below that of {path.name}'s columns, "
                    f"{len(columns)}, got {index}.",
                    "label of no column",
                )
            labels = columns[int(index)]["labels"] or []
            if label in labels:
                report.note("label that its column has twice")
            else:
                columns[int(index)]["labels"] = [*labels, label]
    return columns
