"""Read JSON lines and Parquet files in chunks of rows.

texts.jsonl.gz  ->  Chunk(rows 1 to 1000), Chunk(rows 1001 to 2000), ...  ->  Arrow tables

A row that is no row is reported; a file that cannot be read to its end raises.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Optional

import pyarrow as pa
import pyarrow.parquet as pq

SUFFIXES = (".jsonl", ".json", ".jsonl.gz", ".json.gz", ".parquet")
MAX_LINE_BYTES = 64 * 2**20
"""A longer line is not a row, and is not held in memory."""
ERROR = "error"
"""The column that says why a row cannot be scored; null for the others."""
MISFITS = (pa.ArrowException, OverflowError, UnicodeEncodeError)
"""What Arrow raises for values that do not fit into a column."""

Line = Optional[bytes]
"""A line of a file; None for one that is too long."""


@dataclass
class Chunk:
    """Consecutive rows of a file, parsed when they are asked for.

    Attributes:
        path: the file.
        start: how many of its rows come before.
        content: the lines, or the rows of a Parquet file.
    """

    path: str
    start: int
    content: list[Line] | pa.Table

    def __len__(self) -> int:
        return len(self.content)

    def rows(self) -> tuple[list[dict[str, Any]], dict[int, str]]:
        """Parse the rows.

        Returns:
            The rows as dicts, of a Parquet file with `text` and `spans` only; and by the place of
            a line that is no row, the reason. Such a line is an empty dict.

        Raises:
            ValueError: a Parquet file whose strings are not UTF-8.
        """
        rows: list[dict[str, Any]] = []
        errors: dict[int, str] = {}
        if isinstance(self.content, pa.Table):
            columns = [self.content[name] for name in ("text", "spans")]
            for index, (text, spans) in enumerate(zip(*columns)):
                try:
                    rows.append({"text": text.as_py(), "spans": spans.as_py()})
                except UnicodeDecodeError as error:
                    raise ValueError(
                        f"Row {self.start + index + 1} of {self.path} is damaged: {error}."
                    ) from error
            return rows, errors
        for index, line in enumerate(self.content):
            try:
                rows.append(_parse(line))
            except (ValueError, RecursionError) as error:
                rows.append({})
                errors[index] = f"The line must be a JSON object: {error}."
        return rows, errors

    def table(self, schema: pa.Schema, errors: Mapping[int, str] | None = None) -> pa.Table:
        """Return the rows with the columns and types of the whole input.

        Args:
            schema: the columns.
            errors: by the place of a row that cannot be scored, the reason; makes a column `error`.
                What else such a row holds is kept where it fits into the columns.
        """
        content, reasons = self.content, dict(errors or {})
        if not isinstance(content, pa.Table):
            content, _ = self.rows()
            for index in reasons:
                content[index], lost = _fitting(content[index], schema)
                reasons[index] += f" Not kept: {', '.join(lost)}." if lost else ""
        table = as_table(content, schema)
        if errors is None:
            return table
        column = pa.array([reasons.get(index) for index in range(len(self))], pa.string())
        return table.append_column(ERROR, column)


def read_chunks(path: str, size: int) -> Iterator[Chunk]:
    """Read a file in chunks of `size` rows; an empty file has one chunk, which is empty.

    Raises:
        ValueError: a file that cannot be read to its end, or a Parquet file without the columns
            `text` and `spans`.
    """
    start = 0
    for content in (_read_tables if path.endswith(".parquet") else _read_lines)(path, size):
        yield Chunk(path, start, content)
        start += len(content)


def merge(schema: pa.Schema, rows: pa.Table | list[dict[str, Any]]) -> pa.Schema:
    """Return the columns that hold those of a schema, and rows, too.

    Raises:
        ArrowException, OverflowError, UnicodeEncodeError: rows that do not fit; see `MISFITS`.

    Example:
        >>> merge(pa.schema({"n": pa.int64()}), [{"n": 0.5, "m": "a"}]).types
        [DataType(double), DataType(string)]
    """
    found = (
        rows.schema if isinstance(rows, pa.Table) else pa.schema(list(pa.array(rows or [{}]).type))
    )
    return pa.unify_schemas([schema, found], promote_options="permissive")


def as_table(rows: pa.Table | list[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    """Return rows as a table with these columns.

    Raises:
        ArrowException, OverflowError, UnicodeEncodeError: rows that do not fit; see `MISFITS`.

    Example:
        >>> as_table([{"n": 1}, {}], pa.schema({"n": pa.float64()})).to_pylist()
        [{'n': 1.0}, {'n': None}]
    """
    if isinstance(rows, pa.Table):
        return pa.concat_tables([schema.empty_table(), rows], promote_options="permissive")
    return pa.Table.from_pylist(rows, schema)


def _read_tables(path: str, size: int) -> Iterator[pa.Table]:
    number = 0
    try:
        with pq.ParquetFile(path) as parquet:
            names = parquet.schema_arrow.names
            if names.count("text") != 1 or names.count("spans") != 1:
                raise ValueError(f"{path} must have a column `text` and a `spans`, got {names}.")
            if not parquet.metadata.num_rows:
                yield parquet.schema_arrow.empty_table()
            for batch in parquet.iter_batches(batch_size=size):
                yield pa.Table.from_batches([batch])
                number += len(batch)
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        raise _cut_off(path, number, error) from error


def _read_lines(path: str, size: int) -> Iterator[list[Line]]:
    lines = _lines(path)
    yield list(islice(lines, size))
    while chunk := list(islice(lines, size)):
        yield chunk


def _lines(path: str) -> Iterator[Line]:
    number = 0
    try:
        with (gzip.open if path.endswith(".gz") else open)(path, "rb") as file:
            while line := file.readline(MAX_LINE_BYTES):
                piece = line
                while len(piece) == MAX_LINE_BYTES and not piece.endswith(b"\n"):
                    piece = file.readline(MAX_LINE_BYTES)
                yield line if piece is line else None
                number += 1
    except (EOFError, OSError, zlib.error) as error:
        raise _cut_off(path, number, error) from error


def _cut_off(path: str, number: int, error: Exception) -> ValueError:
    return ValueError(f"{path} cannot be read beyond row {number}: {error}. Was it written whole?")


def _parse(line: Line) -> dict[str, Any]:
    if line is None:
        raise ValueError(f"it has more than {MAX_LINE_BYTES} bytes")
    row = json.loads(line)
    if not isinstance(row, dict):
        raise ValueError(f"got {row!r:.80}")
    return row


def _fitting(row: dict[str, Any], schema: pa.Schema) -> tuple[dict[str, Any], list[str]]:
    """Split a row into the values that fit into columns, and the names of all others."""
    kept, lost = {}, []
    for name, value in row.items():
        try:
            fits = merge(schema, [{name: value}]) == schema
        except MISFITS:
            fits = False
        if fits:
            kept[name] = value
        else:
            lost.append(ascii(name))
    return kept, lost
