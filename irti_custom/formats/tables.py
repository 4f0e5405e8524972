"""Between rows of cells and records: a table of columns, or a record of fields per row.

by="columns"   [["city"], ["Rome"]]  <->  {"id": "a", "columns": [{"header": "city", ...}]}
by="rows"      [["city"], ["Rome"]]  <->  {"id": "0", "fields": [{"name": "city", ...}]}

Cells are text or missing; an empty cell is missing. The labels of a column have no place in these
files. A column "email_labels" holds the labels of the field "email", with "; " between them, as
`examples/label_table.py` writes them: an empty cell beside a value is no label, and without such a
column labels are not known.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Optional

from ..records.record import Record, check_field, kind_of
from .files import bare_suffix
from .format import Format, check_choice, option
from .read_report import Report

BETWEEN = ";"
"""The delimiter of labels; it is written with a space."""
_LABELS = "_labels"

Cell = Optional[str]
Rows = Sequence[Sequence[Cell]]


class Bound(NamedTuple):
    """The largest table from somebody else that is read.

    Attributes:
        cells: how many there may be below the headers; None for any number.
        num_bytes: how many bytes the file may have when it is unpacked; None for any number.
    """

    cells: int | None = None
    num_bytes: int | None = None

    def check_cells(self, count: int, path: Path) -> None:
        """Raise a ValueError for more cells."""
        if self.cells is not None and count > self.cells:
            raise ValueError(f"{path} must have at most {self.cells:,} cells, and has more.")


NO_BOUND = Bound()


@dataclass(frozen=True)
class Tables(Format):
    """One table, or records of fields.

    Args:
        by: "columns" for one table, "rows" for a record of fields per row.
        bound: how large the table may be; no option of `read_records`.
    """

    writes = True

    by: str = option("columns", "read")
    bound: Bound = NO_BOUND

    def detect_path(self, path: Path) -> bool:
        """Return True for the name of a table."""
        return bare_suffix(path) in self.suffixes

    def read(self, path: Path, report: Report) -> Iterator[Record]:
        """Yield the table, or a record per row; see `Format`."""
        header = getattr(self, "header", True)
        check_choice("by", self.by, ("columns", "rows"))
        check_choice("header", header, (True, False))
        rows = self.rows(path, report)
        if not rows or not rows[0]:
            raise ValueError(f"{path} must hold a table, and it has no cells.")
        headers, body = (rows[0], rows[1:]) if header else ([None] * len(rows[0]), rows)
        if self.by == "rows":
            yield from _read_fields(headers, body, path, report)
            return
        values = list(zip(*body)) if body else [() for _ in headers]
        columns = [
            {"header": name, "values": list(cells), "labels": None}
            for name, cells in zip(headers, values)
        ]
        yield {"id": table_name(path), "columns": columns}

    def rows(self, path: Path, report: Report) -> Rows:
        """Read the rows of a file, which have the same number of cells."""
        raise NotImplementedError

    def write(self, records: Iterable[Record], path: Path, report: Report) -> None:
        """Write the only table among records, or records of fields; see `Format`."""
        listed = list(records)
        is_fields = all(kind_of(record) == "fields" for record in listed)
        self.write_rows(
            (rows_of_fields if is_fields else rows_of_table)(listed, path, report), path
        )

    def write_rows(self, rows: Rows, path: Path) -> None:
        """Write rows, the headers first."""
        raise NotImplementedError


def table_name(path: Path) -> str:
    """Return the id of the table in a file: its name without suffixes."""
    return Path(path.name[:-3] if path.name.lower().endswith(".gz") else path.name).stem


def as_text(value: object, where: str) -> Cell:
    """Return a cell as text; None, NaN and "" are missing. Raise a ValueError for a list."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, (list, tuple, dict, bytes)):
        raise ValueError(f"{where}: A cell must be text, a number or a date, got {value!r:.80}.")
    return str(value) or None


def rows_of_table(records: Sequence[Record], path: Path, report: Report) -> Rows:
    """Make rows of the only table among records; its labels are counted."""
    record = records[0]
    if len(records) != 1 or not record.get("columns"):
        raise ValueError(
            f"{path} holds one table with columns, or records of fields, got {len(records)} "
            "records that are not. Write each to a file of its own; format='jsonl' holds many."
        )
    where, columns = f"record {record['id']!r}", record["columns"]
    sizes = sorted({len(column["values"]) for column in columns})
    if len(sizes) > 1:
        raise ValueError(f"{where}: All columns must have as many values, got {sizes}.")
    if record["id"] != table_name(path):
        report.note("id not kept")
    if record.get("title"):
        report.note("title not kept")
    for column in columns:
        if column["labels"]:
            message = f"A table file holds no labels, got {column['labels']!r:.80}."
            report.unsupported("labels of a column", where, f"{message} format='jsonl' does.")
        for cell in (column["header"], *column["values"]):
            if cell == "":
                message = "A cell must hold text or be missing, got '', which is read as missing."
                report.unsupported("empty text", where, message)
    headers = [column["header"] for column in columns]
    return [headers, *map(list, zip(*(column["values"] for column in columns)))]


def _read_fields(
    headers: Sequence[Cell], body: Rows, path: Path, report: Report
) -> Iterator[Record]:
    """Make a record of each row; labels of a missing value are counted."""
    labelled_by = _columns_of_labels(headers, path)
    names = [index for index in range(len(headers)) if index not in labelled_by.values()]
    for number, row in enumerate(body):
        where = f"{path}, row {number + 2}"
        fields = []
        for index in names:
            value, labels = row[index], None
            if index in labelled_by:
                labels = _split(row[labelled_by[index]], where)
            if labels and not (value or "").strip():
                report.unsupported(
                    "labels of a missing value",
                    where,
                    f"A field must have a value to have labels, got none and {labels!r:.80} for "
                    f"{headers[index]!r}.",
                )
                labels = None
            field = {"name": headers[index], "value": value, "labels": labels}
            fields.append(check_field(field, where))
        yield {"id": str(number), "fields": fields}


def rows_of_fields(records: Sequence[Record], path: Path, report: Report) -> Rows:
    """Make rows of records that have the same fields; columns of known labels follow these.

    Raises:
        ValueError: a field whose labels would have no column of their own.
    """
    names = [field["name"] for field in records[0]["fields"]]
    if not names:
        raise ValueError(f"{path} must have columns, got records without fields.")
    kept = []
    for record in records:
        own = [field["name"] for field in record["fields"]]
        if own == names:
            kept.append(record)
            continue
        report.unsupported(
            "record with other fields",
            f"record {record['id']!r}",
            f"All records of a table must have the fields {names!r:.200}, in this order, got "
            f"{own!r:.200}. A missing value is None.",
        )
    labelled = [
        index
        for index in range(len(names))
        if any(record["fields"][index]["labels"] is not None for record in kept)
    ]
    headers = [*names, *(f"{names[index]}{_LABELS}" for index in labelled)]
    expected = dict(zip(labelled, range(len(names), len(headers))))
    unnamed = any(names[index] is None for index in labelled)
    if unnamed or _columns_of_labels(headers, path) != expected:
        raise ValueError(
            f"{path}: A field with labels must have a name that is there once, and none may be "
            f"called as the labels of another, got {names!r:.200}. Rename them, or write "
            "format='jsonl'."
        )
    if [record["id"] for record in records] != list(map(str, range(len(records)))):
        report.note("id not kept", len(records))
    rows = (_row(record, labelled, report) for record in kept)
    return [headers, *(row for row in rows if row is not None)]


def _row(record: Record, labelled: list[int], report: Report) -> list[Cell] | None:
    where, fields = f"record {record['id']!r}", record["fields"]
    if any(fields[i]["labels"] is None and fields[i]["value"] is not None for i in labelled):
        report.unsupported(
            "record without known labels among others",
            where,
            "The labels of a field must be known in all records or in none, since an empty cell "
            f"is no label, got {fields!r:.200}. format='jsonl' holds both.",
        )
        return None
    cells = [field["value"] for field in fields]
    return [*cells, *(_join(fields[index]["labels"], where, report) for index in labelled)]


def _columns_of_labels(headers: Sequence[Cell], where: object) -> dict[int, int]:
    """Return by column that of its labels, where there is one."""
    columns: dict[int, int] = {}
    for index, header in enumerate(headers):
        name = (header or "").removesuffix(_LABELS)
        if not name or name == header or name not in headers:
            continue
        is_clear = headers.count(name) == headers.count(header) == 1
        if not is_clear or headers.index(name) in columns.values() or index in columns:
            raise ValueError(
                f"{where}: A column {header!r} holds the labels of {name!r}, and there must be "
                f"one of each, got {list(headers)!r:.200}. Rename them."
            )
        columns[headers.index(name)] = index
    return columns


def _split(cell: Cell, where: str) -> list[str]:
    labels = [] if cell is None else [label.strip() for label in cell.split(BETWEEN)]
    if not all(labels):
        message = f"Labels must be names with {BETWEEN!r} between them, got {cell!r:.80}."
        raise ValueError(f"{where}: {message}")
    return labels


def _join(labels: Iterable[str] | None, where: str, report: Report) -> Any:
    kept = [one for one in labels or () if BETWEEN not in one and one == one.strip()]
    for label in labels or ():
        if label not in kept:
            report.unsupported(
                "label that holds its separator",
                where,
                f"A label in a cell must hold no {BETWEEN!r}, and no white space at its ends, got "
                f"{label!r:.80}. format='jsonl' holds any.",
            )
    return f"{BETWEEN} ".join(kept) or None
