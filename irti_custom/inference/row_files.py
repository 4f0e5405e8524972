"""Read JSON lines and Parquet files in chunks of rows, and check that each can be scored.

texts.jsonl.gz  ->  Chunk(rows 1 to 1000), Chunk(rows 1001 to 2000), ...  ->  Arrow tables
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

SUFFIXES = (".jsonl", ".json", ".jsonl.gz", ".json.gz", ".parquet")
_SPANS = pa.list_(pa.struct([("start", pa.int64()), ("end", pa.int64())]))
_NO_ROWS = pa.schema({"text": pa.string(), "spans": _SPANS})


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
    content: list[bytes] | pa.Table

    def __len__(self) -> int:
        return len(self.content)

    def __str__(self) -> str:
        return f"rows {self.start + 1} to {self.start + len(self)} of {self.path}"

    def table(self, schema: pa.Schema) -> pa.Table:
        """Return the rows with the columns and types of the whole input."""
        if isinstance(self.content, pa.Table):
            whole = [schema.empty_table(), self.content]
            return pa.concat_tables(whole, promote_options="permissive")
        return pa.Table.from_pylist(self._parse(), schema)

    def check(self) -> pa.Schema:
        """Return the columns of the rows.

        Raises:
            ValueError: a row that cannot be scored, or rows that do not fit into a table.
        """
        if isinstance(self.content, pa.Table):
            names = [name for name in ("text", "spans") if name in self.content.column_names]
            rows = self.content.select(names).to_pylist()
        else:
            rows = self._parse()
        for number, row in enumerate(rows, self.start + 1):
            _check_row(row, f"Row {number} of {self.path}")
        if isinstance(self.content, pa.Table):
            return self.content.schema
        try:
            return pa.schema(list(pa.array(rows).type)) if rows else _NO_ROWS
        except (pa.ArrowException, OverflowError) as error:
            raise ValueError(f"The columns of {self} do not fit into a table: {error}") from error

    def _parse(self) -> list[Any]:
        rows = []
        for number, line in enumerate(self.content, self.start + 1):
            try:
                rows.append(json.loads(line))
            except ValueError as error:
                raise ValueError(f"Row {number} of {self.path} must be JSON: {error}.") from error
        return rows


def read_chunks(path: str, size: int) -> Iterator[Chunk]:
    """Read a file in chunks of `size` rows; an empty file has one chunk, which is empty."""
    if path.endswith(".parquet"):
        with pq.ParquetFile(path) as parquet:
            if not parquet.metadata.num_rows:
                yield Chunk(path, 0, parquet.schema_arrow.empty_table())
            for number, batch in enumerate(parquet.iter_batches(batch_size=size)):
                yield Chunk(path, number * size, pa.Table.from_batches([batch]))
        return
    with (gzip.open if path.endswith(".gz") else open)(path, "rb") as file:
        start, lines = 0, list(islice(file, size))
        while lines or not start:
            yield Chunk(path, start, lines)
            start, lines = start + size, list(islice(file, size))


def check_files(paths: list[str]) -> tuple[list[int], pa.Schema]:
    """Check every row, before hours are spent on the rows ahead of it.

    Returns:
        The number of rows of each file, and the columns of all.

    Raises:
        ValueError: a row that cannot be scored, or rows that do not fit into one table.
    """
    counts, schemas = [0] * len(paths), []
    with tqdm(desc="Checking", unit="row", unit_scale=True) as bar:
        for index, path in enumerate(paths):
            for chunk in read_chunks(path, 1000):
                schema = chunk.check()
                schemas += [schema] if schema not in schemas else []
                counts[index] += len(chunk)
                bar.update(len(chunk))
    try:
        schema = pa.unify_schemas(schemas, promote_options="permissive")
        pq.write_table(schema.empty_table(), pa.BufferOutputStream())
    except pa.ArrowException as error:
        raise ValueError(f"The input's columns do not fit into one table: {error}") from error
    return counts, schema


def _check_row(row: Any, name: str) -> None:
    if not isinstance(row, dict) or not isinstance(row.get("text"), str):
        raise ValueError(f"{name} must be an object with a string `text`, got {row!r:.80}.")
    text, spans = row["text"], row.get("spans")
    if not isinstance(spans, list):
        raise ValueError(f"`spans` of {name} must be a list, [] for none, got {spans!r:.80}.")
    for span in spans:
        try:
            start, end = (span["start"], span["end"]) if isinstance(span, dict) else span
            fits = 0 <= start < end <= len(text) and text[start:end].strip()
        except (KeyError, TypeError, ValueError):
            fits = False
        if not fits:
            raise ValueError(
                f"Spans of {name} must be (start, end) or objects with these keys, in its "
                f"{len(text)} characters, and hold more than white space, got {span!r:.80}."
            )
