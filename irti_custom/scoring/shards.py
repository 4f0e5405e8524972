"""Check the rows of input files, and write them as Parquet shards of one schema.

    texts.jsonl.gz, notes.conll, ...  ->  chunks of rows  ->  part-00000-00000.parquet, ...

The files are read twice: to learn the columns of the rows that can be scored, and to write them. A
row that cannot be scored keeps its place, with the reason in a column `error`.
"""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from ..formats.atomic import writing
from ..formats.read_write import iter_records
from ..processing.processor import MaskedSeqProcessor
from ..records.record import KINDS

SUFFIXES = (".jsonl", ".json", ".jsonl.gz", ".json.gz", ".parquet")
MAX_LINE_BYTES = 64 * 2**20
"""A longer line is not a row, and is not held in memory."""
ERROR, PREDICTIONS = "error", "predictions"
"""Columns of the output: why a row cannot be scored, or null; and what the model says."""
_MISFITS = (pa.ArrowException, OverflowError, UnicodeEncodeError)
"""The errors that Arrow raises for values that do not fit into a column."""
_ROWS_AT_ONCE = 1000
_SPANS = pa.list_(pa.struct([("start", pa.int64()), ("end", pa.int64())]))
_TEXTS = pa.schema({"text": pa.string(), "spans": _SPANS})


@dataclass
class Chunk:
    """Consecutive rows of a file, which become the shard `name`; `start` rows come before them.

    `errors` has the reasons why some cannot be scored, by their place in the chunk; with `strict`
    the first one raises.
    """

    name: str
    path: str
    start: int
    rows: list[Any] | pa.Table
    strict: bool
    errors: dict[int, str] = field(default_factory=dict)

    def reject(self, place: int, reason: object) -> None:
        """Note why a row cannot be scored."""
        message = f"Row {self.start + place + 1} of {self.path}: {reason}"
        # It may quote half of a surrogate pair, which no file can hold.
        self.errors[place] = message.encode("utf-8", "backslashreplace").decode()
        if self.strict:
            raise ValueError(self.errors[place])

    def good(self) -> dict[int, dict[str, Any]]:
        """Return the rows that can be scored, by their place."""
        return {n: row for n, row in enumerate(self.rows) if n not in self.errors}


def write_shards(
    paths: list[str],
    folder: str,
    processor: MaskedSeqProcessor,
    chunk_size: int,
    on_error: str,
    format: str | None = None,
) -> tuple[dict[str, int], int]:
    """Check the rows of files, and write them with the same columns and types in each shard.

    Args:
        paths: JSON lines or Parquet of texts with spans, or files of `format`.
        folder: for the shards.
        processor: prepares rows as it does for scoring.
        chunk_size: rows per shard.
        on_error: "raise", or "skip" to write rows that cannot be scored with an `error`.
        format: see `read_records`.

    Returns:
        The number of rows of each shard, by its name; and how many of all cannot be scored.

    Raises:
        ValueError: a row that cannot be scored, by its number, with ``on_error="raise"``; a file
            that cannot be read to its end; or columns that do not fit into one table.
    """
    schema, errors, num_rows = pa.schema([]), {}, {}
    for chunk in _read_chunks("Checking", paths, chunk_size, on_error, format):
        _check(chunk, processor, format)
        with _one_table(chunk):
            schema = _learn(schema, chunk)
        if chunk.errors:
            errors[chunk.name] = chunk.errors
    schema = _complete(schema, format)
    for chunk in _read_chunks("Converting", paths, chunk_size, on_error, format):
        errors[chunk.name] = chunk.errors = {**chunk.errors, **errors.get(chunk.name, {})}
        with _one_table(chunk):
            table = _to_table(chunk, schema)
            if on_error == "skip":
                column = [chunk.errors.get(place) for place in range(len(table))]
                table = table.append_column(ERROR, pa.array(column, pa.string()))
            write_table(os.path.join(folder, chunk.name), table)
        num_rows[chunk.name] = len(table)
    return num_rows, sum(map(len, errors.values()))


def read_table(path: str) -> pa.Table:
    """Return a table that `write_table` wrote; a damaged one raises."""
    with pq.ParquetFile(path, page_checksum_verification=True) as shard:
        return shard.read()


def write_table(path: str, table: pa.Table) -> None:
    """Write a Parquet file so that it is there whole or not at all."""
    with writing(path) as file:
        pq.write_table(table, file, write_page_checksum=True)


def _read_chunks(
    title: str, paths: list[str], size: int, on_error: str, format: str | None
) -> Iterator[Chunk]:
    """Read files in chunks; an empty file has one, which is empty."""
    with tqdm(desc=title, unit="row", unit_scale=True) as bar:
        for file, path in enumerate(paths):
            start = 0
            for number, rows in enumerate(_read(path, size, on_error, format)):
                name = f"part-{file:05d}-{number:05d}.parquet"
                chunk = Chunk(name, path, start, rows, on_error == "raise")
                if isinstance(rows, list) and not format:
                    chunk.rows = [_parse(chunk, place, line) for place, line in enumerate(rows)]
                yield chunk
                start += len(rows)
                bar.update(len(rows))


def _read(path: str, size: int, on_error: str, format: str | None) -> Iterator[Any]:
    """Read tables, or lists of records or of lines; a line that is too long is None."""
    if not format and path.endswith(".parquet"):
        yield from _read_tables(path, size)
        return
    records = iter_records(path, format, on_error=on_error) if format else _read_lines(path)
    items = iter(records)
    yield list(islice(items, size))
    while group := list(islice(items, size)):
        yield group


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
                batch.validate(full=True)  # else a string may be other than UTF-8
                yield pa.Table.from_batches([batch])
                number += len(batch)
    except (OSError, pa.ArrowException) as error:
        raise _cut_off(path, number, error) from error


def _read_lines(path: str) -> Iterator[bytes | None]:
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


def _parse(chunk: Chunk, place: int, line: bytes | None) -> dict[str, Any]:
    """Parse a line; one that is no row is rejected, and read as an empty one."""
    try:
        if line is None:
            raise ValueError(f"it has more than {MAX_LINE_BYTES} bytes")
        row = json.loads(line)
        if isinstance(row, dict):
            return row
        raise ValueError(f"got {row!r:.80}")
    except (ValueError, RecursionError) as error:
        chunk.reject(place, f"The line must be a JSON object: {error}.")
    return {}


def _check(chunk: Chunk, processor: MaskedSeqProcessor, format: str | None) -> None:
    """Reject rows that cannot be prepared."""
    if isinstance(chunk.rows, pa.Table):
        rows = dict(enumerate(chunk.rows.select(_TEXTS.names).to_pylist()))
    else:
        rows = chunk.good()
    if not format:
        rows = {place: _text_of(chunk, place, row) for place, row in rows.items()}
    places = [place for place in rows if place not in chunk.errors]
    for begin in range(0, len(places), _ROWS_AT_ONCE):
        batch = places[begin : begin + _ROWS_AT_ONCE]
        for group in (batch, *([place] for place in batch)):  # one by one where one is bad
            numbers = [chunk.start + place + 1 for place in group]
            try:
                processor.prepare([rows[place] for place in group], example_ids=numbers)
                if group is batch:
                    break
            except ValueError as error:
                if group is not batch:
                    chunk.reject(group[0], error)


def _text_of(chunk: Chunk, place: int, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the text and spans of a row; other columns are the user's own."""
    text, spans = row.get("text"), row.get("spans")
    if not isinstance(text, str):
        chunk.reject(place, f"It must have a string `text`, got {text!r:.80}.")
    elif not isinstance(spans, list):
        chunk.reject(place, f"Its `spans` must be a list, [] for none, got {spans!r:.80}.")
    return {"text": text, "spans": spans}


@contextmanager
def _one_table(chunk: Chunk) -> Iterator[None]:
    """Name the file whose columns do not fit, for whatever row."""
    try:
        yield
    except _MISFITS as error:
        raise ValueError(
            f"The columns of {chunk.path} do not fit into one table: {error}"
        ) from error


def _learn(schema: pa.Schema, chunk: Chunk) -> pa.Schema:
    """Return columns that hold those of a schema and of a chunk; reject rows that do not fit."""
    if isinstance(chunk.rows, pa.Table):
        return _merge(schema, chunk.rows.schema)
    good = chunk.good()
    try:
        return _merge(schema, _schema_of(list(good.values())))
    except _MISFITS:
        for place, row in good.items():
            try:
                schema = _merge(schema, _schema_of([row]))
            except _MISFITS as error:
                chunk.reject(place, f"Its columns do not fit those of the rows before: {error}")
    return schema


def _complete(schema: pa.Schema, format: str | None) -> pa.Schema:
    """Check the columns of the input; add those of texts that no row has."""
    for name in (ERROR, PREDICTIONS):
        if name in schema.names:
            raise ValueError(f"The input has a column {name!r} already. Rename it.")
    kinds = [KINDS[name] for name in schema.names if name in KINDS]
    if format and len(kinds) > 1:
        raise ValueError(f"All files must hold one kind of records, got {kinds}. Split them.")
    for one in () if format and kinds else _TEXTS:
        schema = schema if one.name in schema.names else schema.append(one)
    return schema


def _to_table(chunk: Chunk, schema: pa.Schema) -> pa.Table:
    """Return the rows with these columns; a row that cannot be scored keeps what fits."""
    if isinstance(chunk.rows, pa.Table):
        empty = schema.empty_table()
        return pa.concat_tables([empty, chunk.rows], promote_options="permissive")
    good = chunk.good()
    try:
        table = pa.Table.from_pylist(list(good.values()), schema)
    except _MISFITS:  # fractions behind integers made them numbers that may not hold them all
        for place, row in good.items():
            if reason := _mismatch(row, schema):
                chunk.reject(place, f"Its columns do not fit those of the other rows: {reason}")
    if not chunk.errors:
        return table
    rows = [*chunk.rows]
    for place in chunk.errors:
        rows[place] = {k: v for k, v in rows[place].items() if not _mismatch({k: v}, schema)}
        if lost := [ascii(name) for name in chunk.rows[place] if name not in rows[place]]:
            chunk.errors[place] += f" Not kept: {', '.join(lost)}."
    return pa.Table.from_pylist(rows, schema)


def _mismatch(row: dict[str, Any], schema: pa.Schema) -> str | None:
    """Say why a row does not fit into columns; None if it does."""
    try:
        wider = _merge(schema, _schema_of([row]))
        pa.Table.from_pylist([row], schema)
    except _MISFITS as error:
        return str(error)
    return None if wider == schema else f"they hold no {wider}"


def _schema_of(rows: list[dict[str, Any]]) -> pa.Schema:
    return pa.schema(list(pa.array(rows or [{}]).type))


def _merge(schema: pa.Schema, other: pa.Schema) -> pa.Schema:
    return pa.unify_schemas([schema, other], promote_options="permissive")
