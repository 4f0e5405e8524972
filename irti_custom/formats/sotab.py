"""SOTAB, the WDC table annotation benchmark: a CSV of column types, and a folder of tables.

    CTA_training_gt.csv          table_name,column_index,label
                                 Hotel_a.de.json.gz,0,Hotel/name
    Train/Hotel_a.de.json.gz     {"0": "Zum Löwen", "1": "Ulm"}

Columns without a type have unknown labels. Tables lie beside the CSV or in a folder there. After
http://webdatacommons.org/structureddata/sotab/.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..records.record import ItemError, Record, check_column
from . import delimited
from .annotations import check_object
from .files import read_objects
from .report import Report


def read(path: Path, report: Report) -> Iterator[Record]:
    r"""Read tables, in the order of the CSV.

    Args:
        path: the CSV of labels.
        report: counts labels of no column, and tables that are not there.

    Raises:
        ValueError: another CSV, such as that of column pairs.
    """
    (labels,) = delimited.read(path, report)
    listed = {column["header"]: column["values"] for column in labels["columns"]}
    if set(listed) != delimited.SOTAB:
        raise ValueError(
            f"{path} must have the columns {sorted(delimited.SOTAB)}, got {list(listed)}. Labels "
            "of pairs of columns are not read."
        )
    by_table: dict[str, list[tuple[str, Any, Any]]] = {}
    rows = zip(listed["table_name"], listed["column_index"], listed["label"])
    for number, (name, index, label) in enumerate(rows, start=2):
        by_table.setdefault(name, []).append((f"{path}, row {number}", index, label))
    folders = [path.parent, *sorted(one for one in path.parent.iterdir() if one.is_dir())]
    for name, entries in by_table.items():
        where = entries[0][0]
        if not name or Path(name).name != name:
            report.misfit(
                "table that is no file name",
                where,
                f"A table must be the name of a file, got {name!r}.",
            )
            continue
        places = [folder / name for folder in folders if (folder / name).is_file()]
        if len(places) == 1:
            try:
                yield {"id": name, "columns": _columns(places[0], entries, report)}
            except ItemError as error:
                report.leave_out(error)
        else:
            report.misfit(
                "table that is not there" if not places else "table that is there several times",
                where,
                f"A table must lie beside the CSV, or in one folder there, got {places}.",
            )


def _columns(
    path: Path, entries: list[tuple[str, Any, Any]], report: Report
) -> list[dict[str, Any]]:
    rows = [check_object(row, where) for where, row in read_objects(path)]
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = []
    for name in names:
        # Cells may be objects of schema.org; numbers are the places of columns, and no headers.
        cells = [_as_text(row.get(name)) for row in rows]
        header = None if name.isdecimal() else name
        columns.append(check_column({"header": header, "values": cells}, f"{path}, {name!r}"))
    for where, index, label in entries:
        if index is None or not index.isdecimal() or label is None:
            report.misfit(
                "row without column or label",
                where,
                f"It must have the number of a column and a label, got {index!r} and {label!r}.",
            )
            continue
        if int(index) >= len(columns):
            report.misfit(
                "label of no column",
                where,
                f"The number must be below that of {path.name}'s columns, {len(columns)}, got "
                f"{index}.",
            )
            continue
        column = columns[int(index)]
        if label in (column["labels"] or ()):
            report.note("label that its column has twice")
        else:
            column["labels"] = [*(column["labels"] or ()), label]
    return columns


def _as_text(cell: Any) -> Any:
    return json.dumps(cell, ensure_ascii=False) if isinstance(cell, (dict, list)) else cell
