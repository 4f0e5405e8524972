"""Parquet: one table a file, or a record of fields a row, read as text.

columns "city", "age"  ->  {"id": "a", "columns": [{"header": "city", "values": ["Rome"], ...}]}
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from .atomic import writing
from .files import read_bytes
from .read_report import Report
from .tables import NO_BOUND, Bound, Rows, Tables, as_text


@dataclass(frozen=True)
class Parquet(Tables):
    """Columns of text, numbers or dates; see `Tables`."""

    name = "parquet"
    suffixes = (".parquet",)

    def rows(self, path: Path, report: Report) -> Rows:
        """Read rows; see `Tables`."""
        table = read_table(path)
        cells = [
            [as_text(value, f"{path}, row {row} of {name!r}") for row, value in enumerate(column)]
            for name, column in zip(table.column_names, (c.to_pylist() for c in table.columns))
        ]
        return [[name or None for name in table.column_names], *map(list, zip(*cells))]

    def write_rows(self, rows: Rows, path: Path) -> None:
        """Write columns of strings; see `Tables`."""
        headers, *body = rows
        columns = zip(*body) if body else [() for _ in headers]
        arrays = [pa.array(list(column), pa.string()) for column in columns]
        table = pa.Table.from_arrays(arrays, names=[name or "" for name in headers])
        with writing(path) as file:
            pq.write_table(table, file)


def read_table(path: Path, bound: Bound = NO_BOUND) -> pa.Table:
    """Read a table whole, and check that it is not damaged.

    Args:
        path: the file.
        bound: how large it may be. With one, columns must be of text, numbers or dates.

    Raises:
        ValueError: a damaged file, or a larger one, which is not read.
    """
    content = pa.BufferReader(read_bytes(path, bound.num_bytes))
    try:
        file = pq.ParquetFile(content)
        # Of columns with one name, `pq.read_table` reads none.
        table = file.read() if bound == NO_BOUND else _read_bounded(file, content, path, bound)
        table.validate(full=True)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} must be a Parquet file, which it is not: {error}. Was it written whole?"
        ) from error
    return table


def _read_bounded(
    file: pq.ParquetFile, content: pa.BufferReader, path: Path, bound: Bound
) -> pa.Table:
    """Read a table whose sizes, as its metadata has them, are within a bound."""
    schema, metadata = file.schema_arrow, file.metadata
    if odd := [one.name for one in schema if not _is_plain(one.type)]:
        raise ValueError(f"{path}: A cell must be text, a number or a date, and is not in {odd}.")
    bound.check_cells(metadata.num_rows * len(schema), path)
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    parts = [group.column(index) for group in groups for index in range(group.num_columns)]
    size = sum(part.total_uncompressed_size for part in parts)
    # A text that many cells hold is there once.
    names = [one.name for one in schema if pa.types.is_string(one.type)]
    limit = bound.num_bytes
    if limit is None or size <= limit:
        table = pq.ParquetFile(content, read_dictionary=names).read()
        size = sum(_num_bytes(chunk) for column in table.columns for chunk in column.chunks)
    if limit is not None and size > limit:
        raise ValueError(f"{path} must have at most {limit:,} bytes when unpacked, and has more.")
    return table.cast(schema)


def _is_plain(kind: pa.DataType) -> bool:
    inner = kind.value_type if pa.types.is_dictionary(kind) else kind
    return not pa.types.is_nested(inner) and not any(
        check(inner) for check in (pa.types.is_binary, pa.types.is_fixed_size_binary)
    )


def _num_bytes(chunk: pa.Array) -> int:
    """Return how many bytes the texts of a chunk have, each as often as it is there."""
    if not pa.types.is_dictionary(chunk.type):
        return int(chunk.nbytes)
    lengths = pc.binary_length(chunk.dictionary)
    return pc.sum(lengths.take(chunk.indices)).as_py() or 0
