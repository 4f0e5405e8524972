"""Parquet: one table a file, or a record of fields a row, read as text.

columns "city", "age"  ->  {"id": "a", "columns": [{"header": "city", "values": ["Rome"], ...}]}
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from .atomic import writing
from .column_tables import as_text
from .files import bare_suffix, read_bytes
from .records import Record
from .report import Report
from .tables import read_rows, rows_to_write


def read(path: Path, report: Report, by: str = "columns") -> Iterator[Record]:
    """Read a table.

    Args:
        path: the file.
        report: counts what records do not hold.
        by: "columns" for one table, "rows" for a record of fields per row.

    Example:
        >>> from tempfile import mkdtemp
        >>> path = Path(mkdtemp()) / "a.parquet"
        >>> pq.write_table(pa.table({"age": [7, None]}), path)
        >>> next(read(path, Report("parquet")))
        {'id': 'a', 'columns': [{'header': 'age', 'values': ['7', None], 'labels': None}]}
    """
    try:
        # Of columns with one name, `read_table` reads none.
        table = pq.ParquetFile(pa.BufferReader(read_bytes(path))).read()
        values = [column.to_pylist() for column in table.columns]
    except (pa.ArrowException, OSError) as error:
        raise ValueError(
            f"{path} must be a Parquet file, which it is not: {error}. Was it written whole?"
        ) from error
    cells = [
        [as_text(value, f"{path}, row {row} of {name!r}") for row, value in enumerate(column)]
        for name, column in zip(table.column_names, values)
    ]
    headers = [name or None for name in table.column_names]
    yield from read_rows([headers, *map(list, zip(*cells))], path, report, by)


def write(records: Iterable[Record], path: Path, report: Report) -> None:
    """Write a table of strings.

    Example:
        >>> from tempfile import mkdtemp
        >>> path = Path(mkdtemp()) / "a.parquet"
        >>> column = {"header": "city", "values": ["Rome", None], "labels": None}
        >>> write([{"id": "a", "columns": [column]}], path, Report("parquet"))
        >>> pq.read_table(path).to_pydict()
        {'city': ['Rome', None]}
    """
    headers, *rows = rows_to_write(records, path, report)
    columns = zip(*rows) if rows else [[] for _ in headers]
    arrays = [pa.array(list(column), pa.string()) for column in columns]
    with writing(path) as file:
        pq.write_table(pa.Table.from_arrays(arrays, names=[name or "" for name in headers]), file)


def detect_path(path: Path) -> bool:
    """Return True for the name of a Parquet file.

    Example:
        >>> detect_path(Path("a.parquet"))
        True
    """
    return bare_suffix(path) == ".parquet"
