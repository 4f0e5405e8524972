"""Find the rows that cannot be scored, before hours are spent on the rows ahead of them.

chunks of rows  ->  the number of rows, their columns, and the reasons why some cannot be scored

A row is prepared here as it is for scoring, by the model's own processor.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from ..processing.processor import MaskedSeqProcessor
from .row_files import MISFITS, Chunk, as_table, merge, read_chunks

_CHUNK_SIZE = 1000
_ERRORS = pa.schema({"file": pa.int64(), "row": pa.int64(), "error": pa.string()})
_SPANS = pa.list_(pa.struct([("start", pa.int64()), ("end", pa.int64())]))
_REQUIRED = pa.schema({"text": pa.string(), "spans": _SPANS})


class CheckedRows(NamedTuple):
    """What is known of an input after every row was checked.

    Attributes:
        counts: the number of rows of each file.
        schema: the columns of all rows that can be scored.
        errors: why the others cannot: `file`, an index; `row`, counted from 0; `error`.
    """

    counts: list[int]
    schema: pa.Schema
    errors: pa.Table


def check_files(paths: list[str], processor: MaskedSeqProcessor, on_error: str) -> CheckedRows:
    """Check every row of files.

    Args:
        paths: the files.
        processor: the one that prepares the rows for scoring.
        on_error: "raise", or "skip" to list the rows that cannot be scored.

    Raises:
        ValueError: a row that cannot be scored, by its number, with ``on_error="raise"``; a file
            that cannot be read to its end; or columns that do not fit into one table.
    """
    checker = _Checker(processor, on_error)
    checked = checker.check(paths)
    if checker.promoted:
        # Fractions behind integers make them floating-point numbers, which may not hold them all.
        checked = checker.check(paths)
    schema = checked.schema
    try:
        pq.write_table(schema.empty_table(), pa.BufferOutputStream())
    except pa.ArrowException as error:
        raise ValueError(f"The input's columns do not fit into one table: {error}") from error
    return checked


class _Checker:
    """Check rows, and learn their columns on the way.

    Args:
        processor: the one that prepares the rows for scoring.
        on_error: "raise" or "skip".

    Attributes:
        schema: the columns of the rows so far.
        promoted: whether a column with values took another type on the way.
    """

    def __init__(self, processor: MaskedSeqProcessor, on_error: str) -> None:
        self.processor, self.on_error = processor, on_error
        self.schema, self.promoted = pa.schema([]), False

    def check(self, paths: list[str]) -> CheckedRows:
        """Check every row of files."""
        counts, errors = [0] * len(paths), [_ERRORS.empty_table()]
        with tqdm(desc="Checking", unit="row", unit_scale=True) as bar:
            for file, path in enumerate(paths):
                for chunk in read_chunks(path, _CHUNK_SIZE):
                    reasons = self._check_chunk(chunk)
                    if reasons:
                        errors.append(self._report(file, chunk, reasons))
                    counts[file] += len(chunk)
                    bar.update(len(chunk))
        schema = self.schema
        for field in _REQUIRED:  # of which no row tells the type
            schema = schema if field.name in schema.names else schema.append(field)
        return CheckedRows(counts, schema, pa.concat_tables(errors))

    def _check_chunk(self, chunk: Chunk) -> dict[int, str]:
        """Return the reasons why rows cannot be scored, by their place in the chunk."""
        rows, reasons = chunk.rows()
        good = {index: row for index, row in enumerate(rows) if index not in reasons}
        reasons.update(_unscorable(good, self.processor, chunk.start + 1))
        if isinstance(chunk.content, pa.Table):
            try:
                self._fit(chunk.content)
            except MISFITS as error:
                raise ValueError(
                    f"The columns of {chunk.path} do not fit those of the rows before: {error}"
                ) from error
            return reasons
        good = {index: row for index, row in good.items() if index not in reasons}
        try:
            self._fit(list(good.values()))
        except MISFITS:
            for index, row in good.items():
                try:
                    self._fit([row])
                except MISFITS as error:
                    reasons[index] = f"Its columns do not fit those of the rows before: {error}"
        return reasons

    def _fit(self, rows: pa.Table | list[dict[str, Any]]) -> None:
        """Take rows into the table that all rows are in; as it was, if they do not fit."""
        schema = merge(self.schema, rows)
        as_table(rows, schema)
        self.promoted |= any(
            field.type not in (pa.null(), schema.field(field.name).type) for field in self.schema
        )
        self.schema = schema

    def _report(self, file: int, chunk: Chunk, reasons: dict[int, str]) -> pa.Table:
        """Return the errors of a chunk as rows, or raise the first."""
        places = sorted(reasons)
        # Names and values may hold half a surrogate pair, which no file can hold.
        errors = [
            f"Row {chunk.start + place + 1} of {chunk.path}: {reasons[place]}".encode(
                "utf-8", "backslashreplace"
            ).decode()
            for place in places
        ]
        if self.on_error == "raise":
            raise ValueError(errors[0])
        numbers = [chunk.start + place for place in places]
        return pa.table([[file] * len(places), numbers, errors], schema=_ERRORS)


def _unscorable(
    rows: dict[int, dict[str, Any]], processor: MaskedSeqProcessor, first: int
) -> dict[int, str]:
    """Prepare rows for scoring; return the reasons why some cannot be, by their place.

    Args:
        rows: by their place in the chunk.
        processor: prepares them.
        first: the number of the chunk's first row, for errors.
    """
    reasons = {}
    for index, row in rows.items():
        text, spans = row.get("text"), row.get("spans")
        if not isinstance(text, str):
            reasons[index] = f"It must have a string `text`, got {text!r:.80}."
        elif not isinstance(spans, list):
            reasons[index] = f"Its `spans` must be a list, [] for none, got {spans!r:.80}."
    examples = {
        index: {"text": row["text"], "spans": row["spans"]}
        for index, row in rows.items()
        if index not in reasons
    }
    try:
        processor.prepare(examples.values(), example_ids=[first + index for index in examples])
    except ValueError:
        for index, example in examples.items():
            try:
                processor.prepare([example], example_ids=[first + index])
            except ValueError as error:
                reasons[index] = str(error)
    return reasons
