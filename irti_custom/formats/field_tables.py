"""Between rows of cells and records of fields: a row is a record, a header the name of a field.

    email    email_labels
    a@b.de   contact; work    <->  {"id": "0", "fields": [{"name": "email", "value": "a@b.de",
                                    "labels": ["contact", "work"]}]}

A column "email_labels" holds the labels of "email", as `examples/label_table.py` writes them: an
empty cell beside a value is no label, and without such a column labels are not known.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ..records.record import Record, check_field
from .column_tables import Cell
from .report import Report

BETWEEN = ";"
"""What divides labels; it is written with a space."""
_LABELS = "_labels"


def read_fields(rows: Sequence[Sequence[Cell]], path: Path, report: Report) -> Iterator[Record]:
    """Make a record of each row; their numbers are the ids.

    Args:
        rows: the headers, and the rows below them.
        path: of the file.
        report: counts labels beside no value, which are left out.

    Raises:
        ValueError: a column of labels that may be of several others.
    """
    headers, *body = rows
    labelled_by = _columns_of_labels(headers, str(path))
    names = [index for index in range(len(headers)) if index not in labelled_by.values()]
    for number, row in enumerate(body):
        where = f"{path}, row {number + 2}"
        fields = []
        for index in names:
            value, labels = row[index], None
            if index in labelled_by:
                labels = _split(row[labelled_by[index]], where)
            if labels and not (value or "").strip():
                report.misfit(
                    "labels of a missing value",
                    where,
                    f"A field must have a value to have labels, got none and {labels!r:.80} for "
                    f"{headers[index]!r}.",
                )
                labels = None
            field = {"name": headers[index], "value": value, "labels": labels}
            fields.append(check_field(field, where))
        yield {"id": str(number), "fields": fields}


def rows_of_fields(records: Sequence[Record], path: Path, report: Report) -> list[list[Cell]]:
    """Make rows of records that have the same fields; the first are the headers.

    Args:
        records: one at least; columns of labels follow where some are known.
        path: of the file.
        report: counts records that such rows cannot hold.

    Raises:
        ValueError: a field whose labels would have no column of their own.
    """
    names = [field["name"] for field in records[0]["fields"]]
    if not names:
        raise ValueError(f"{path} must have columns, got records without fields.")
    kept = [record for record in records if _has_fields(record, names, report)]
    labelled = [
        index
        for index in range(len(names))
        if any(record["fields"][index]["labels"] is not None for record in kept)
    ]
    headers = [*names, *(f"{names[index]}{_LABELS}" for index in labelled)]
    expected = dict(zip(labelled, range(len(names), len(headers))))
    if None in (names[index] for index in labelled) or (
        _columns_of_labels(headers, str(path)) != expected
    ):
        raise ValueError(
            f"{path}: A field with labels must have a name that is there once, and none may be "
            f"called as the labels of another, got {names!r:.200}. Rename them, or write "
            "format='jsonl'."
        )
    if [record["id"] for record in records] != list(map(str, range(len(records)))):
        report.note("id not kept", len(records))
    rows = (_row(record, labelled, report) for record in kept)
    return [headers, *(row for row in rows if row is not None)]


def _has_fields(record: Record, names: list[Cell], report: Report) -> bool:
    own = [field["name"] for field in record["fields"]]
    if own != names:
        report.misfit(
            "record with other fields",
            f"record {record['id']!r}",
            f"All records of a table must have the fields {names!r:.200}, in this order, got "
            f"{own!r:.200}. A missing value is None.",
        )
    return own == names


def _row(record: Record, labelled: list[int], report: Report) -> list[Cell] | None:
    where, fields = f"record {record['id']!r}", record["fields"]
    if any(fields[i]["labels"] is None and fields[i]["value"] is not None for i in labelled):
        report.misfit(
            "record without known labels among others",
            where,
            "The labels of a field must be known in all records or in none, since an empty cell "
            f"is no label, got {fields!r:.200}. format='jsonl' holds both.",
        )
        return None
    cells = [field["value"] for field in fields]
    return [*cells, *(_join(fields[index]["labels"], where, report) for index in labelled)]


def _columns_of_labels(headers: Sequence[Cell], where: str) -> dict[int, int]:
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
        raise ValueError(
            f"{where}: Labels must be names with {BETWEEN!r} between them, got {cell!r:.80}."
        )
    return labels


def _join(labels: Iterable[str] | None, where: str, report: Report) -> str | None:
    kept = []
    for label in labels or ():
        if BETWEEN in label or label != label.strip():
            report.misfit(
                "label that holds its separator",
                where,
                f"A label in a cell must hold no {BETWEEN!r}, and no white space at its ends, got "
                f"{label!r:.80}. format='jsonl' holds any.",
            )
        else:
            kept.append(label)
    return f"{BETWEEN} ".join(kept) or None
