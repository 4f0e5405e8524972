"""Between rows of cells and the record of a table, for the formats that hold one table a file.

    [["city", "age"], ["Rome", "7"]]  <->  {"id": "a", "columns": [{"header": "city", ...}, ...]}

Cells are text or missing; an empty cell is missing. Labels have no place in these files.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

from ..records.record import Record
from .report import Report

Cell = Optional[str]


def table_name(path: Path) -> str:
    """Return the id of the table in a file: its name without suffixes."""
    name = path.name[:-3] if path.name.lower().endswith(".gz") else path.name
    return Path(name).stem


def as_text(value: object, where: str) -> Cell:
    """Return a cell as text; None, NaN and "" are missing.

    Raises:
        ValueError: a list or the like.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, (list, tuple, dict, bytes)):
        raise ValueError(f"{where}: A cell must be text, a number or a date, got {value!r:.80}.")
    return str(value) or None


def record_of_rows(rows: Sequence[Sequence[Cell]], path: Path) -> Record:
    """Make a record of rows that have the same number of cells; the first are the headers."""
    columns = [
        {"header": header, "values": list(cells), "labels": None} for header, *cells in zip(*rows)
    ]
    return {"id": table_name(path), "columns": columns}


def rows_of_record(records: Sequence[Record], path: Path, report: Report) -> list[list[Cell]]:
    """Make rows of the only table among records; the first are its headers.

    Args:
        records: one table.
        path: of the file.
        report: counts the labels of columns, which a table file does not hold.

    Raises:
        ValueError: a text, several tables, none, no columns, or columns of several lengths.
    """
    if len(records) != 1 or not records[0].get("columns"):
        raise ValueError(
            f"{path} holds one table with columns, or records of fields, got {len(records)} "
            "records that are not. Write each to a file of its own; format='jsonl' holds many."
        )
    record = records[0]
    where = f"record {record['id']!r}"
    columns = record["columns"]
    sizes = sorted({len(column["values"]) for column in columns})
    if len(sizes) > 1:
        raise ValueError(f"{where}: All columns must have as many values, got {sizes}.")
    if record["id"] != table_name(path):
        report.note("id not kept")
    if record.get("title"):
        report.note("title not kept")
    for column in columns:
        if column["labels"]:
            report.misfit(
                "labels of a column",
                where,
                f"A table file holds no labels, got {column['labels']!r:.80}. format='jsonl' does.",
            )
        for cell in (column["header"], *column["values"]):
            if cell == "":
                report.misfit(
                    "empty text",
                    where,
                    "A cell must hold something or be missing, got an empty text, which is read "
                    "as a missing one.",
                )
    headers = [column["header"] for column in columns]
    return [headers, *map(list, zip(*(column["values"] for column in columns)))]
