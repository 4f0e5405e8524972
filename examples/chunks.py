"""Rows of JSON lines and Parquet files in numbered chunks, and a folder that remembers them.

    input files  ->  (name of a part, Arrow table) ...  ->  part-00000-00000.parquet ... + _job.json

A chunk is a range of rows of one file, so that a part's name says which rows it holds. A part is
there whole or not at all, and is never written twice: that is what makes a job resumable.
"""

from __future__ import annotations

import base64
import glob
import gzip
import hashlib
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from scorer import PREDICTIONS
from tqdm import tqdm

JOB = "_job.json"  # readers of Parquet folders pass over names that begin so
SPANS = pa.list_(pa.struct([("start", pa.int64()), ("end", pa.int64())]))
EMPTY = pa.schema({"text": pa.string(), "spans": SPANS})
SUFFIXES = (".jsonl", ".json", ".jsonl.gz", ".json.gz", ".parquet")


class Job:
    """What is to be scored, and how far it is.

    Args:
        paths: the input files.
        output: the folder of the parts.
        facts: what `open_job` found out about the input.
    """

    def __init__(self, paths: list[str], output: str, facts: dict[str, Any]) -> None:
        self.paths, self.output, self.facts = paths, output, facts
        self.chunk_size: int = facts["chunk_size"]
        self.schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(facts["schema"])))
        # The number of rows by the name of each part, in the order of the input.
        self.parts = {
            f"part-{file:05d}-{chunk:05d}.parquet": min(self.chunk_size, rows - start)
            for file, rows in enumerate(facts["rows"])
            for chunk, start in enumerate(range(0, max(rows, 1), self.chunk_size))
        }

    def missing(self) -> list[str]:
        """Return the names of the parts that are not written yet."""
        there = set(os.listdir(self.output))
        return [name for name in self.parts if name not in there]

    def place(self, name: str) -> str:
        """Say in words which rows a part holds."""
        file, chunk = numbers(name)
        start = chunk * self.chunk_size
        return f"rows {start + 1} to {start + self.parts[name]} of {self.paths[file]}"

    def finish(self) -> bool:
        """Mark the job as complete if all parts are there; say whether they are."""
        if self.missing():
            return False
        for left in glob.glob(os.path.join(glob.escape(self.output), ".part-*.tmp")):
            with suppress(FileNotFoundError):  # another process ends at the same time
                os.remove(left)
        _write_job(self.output, {**self.facts, "complete": True})
        return True


class PartReader:
    """Read the rows of parts by name; in the order of the input, each file is read once.

    Args:
        job: what is to be scored.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.file, self.next, self.chunks = -1, 0, iter(())

    def __call__(self, name: str) -> pa.Table:
        """Return a part's rows, with the columns and types of the whole input."""
        file, chunk = numbers(name)
        path, size = self.job.paths[file], self.job.chunk_size
        if file != self.file or chunk < self.next:
            self.file, self.next, self.chunks = file, 0, _read(path, size)
        rows = next(islice(self.chunks, chunk - self.next, None))
        self.next = chunk + 1
        if isinstance(rows, pa.Table):
            return _with_schema(rows, self.job.schema)
        parsed = _parse(rows, path, chunk * size)
        structs = pa.array(parsed, pa.struct(list(self.job.schema)))
        return pa.Table.from_struct_array(structs).cast(self.job.schema)


def numbers(name: str) -> list[int]:
    """Return the number of the file and of the chunk in it that a part's name says."""
    return [int(number) for number in name[len("part-") : -len(".parquet")].split("-")]


def open_job(pattern: str, model: str, output: str, chunk_size: int) -> Job:
    """Check every row of the input and begin a job, or take up the one that `output` holds.

    Raises:
        ValueError: no input, a row that cannot be scored, or an `output` of another job.
    """
    paths, output = sorted(glob.glob(os.path.abspath(pattern))), os.path.abspath(output)
    unknown = [path for path in paths if not path.endswith(SUFFIXES)]
    if not paths or unknown:
        raise ValueError(f"--input must match files {SUFFIXES}, got {unknown or pattern}.")
    if chunk_size < 1:
        raise ValueError(f"--chunk_size must be at least 1, got {chunk_size}.")
    names = [os.path.basename(path) for path in paths]
    asked = {
        "input": [[name, _digest(path)] for name, path in zip(names, paths)],
        "model": _model_facts(model),
        "chunk_size": chunk_size,
    }
    os.makedirs(output, exist_ok=True)
    file_name = os.path.join(output, JOB)
    if os.path.exists(file_name):
        with open(file_name, encoding="utf-8") as file:
            facts = json.load(file)
        changed = [name for name, value in asked.items() if facts[name] != value]
        if changed:
            raise ValueError(
                f"{output} was begun with another {' and '.join(changed)}. Its rows and new ones "
                "would not fit together: restore what it was, or choose another --output."
            )
        return Job(paths, output, facts)
    if glob.glob(os.path.join(glob.escape(output), "*.parquet")):
        raise ValueError(f"{output} holds Parquet files of something else. Choose another folder.")
    rows, schema = _inspect(paths)
    encoded = base64.b64encode(schema.serialize()).decode()
    facts = {**asked, "rows": rows, "schema": encoded, "complete": False}
    _write_job(output, facts)
    return Job(paths, output, facts)


def write_part(output: str, name: str, table: pa.Table) -> int:
    """Write a part so that it is there whole or not at all; return its number of rows."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    _write(os.path.join(output, name), sink.getvalue())
    return table.num_rows


def check_row(row: Any, name: str) -> None:
    """Refuse what the model cannot score, before hours are spent on the rows ahead of it.

    Raises:
        ValueError: no text, or spans that are no ranges of characters of it.
    """
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


def _inspect(paths: list[str]) -> tuple[list[int], pa.Schema]:
    """Check all rows; return their number by file, and the columns of all files."""
    counts, schemas = [], []
    with tqdm(desc="Checking", unit="row", unit_scale=True) as bar:
        for path in paths:
            counts.append(0)
            for chunk in _read(path, 1000):
                rows = _objects(chunk, path, counts[-1])
                for number, row in enumerate(rows, counts[-1] + 1):
                    check_row(row, f"Row {number} of {path}")
                name = f"rows {counts[-1] + 1} to {counts[-1] + len(rows)} of {path}"
                schema = chunk.schema if isinstance(chunk, pa.Table) else _schema_of(rows, name)
                schemas += [schema] if schema not in schemas else []
                counts[-1] += len(rows)
                bar.update(len(rows))
    try:
        schema = pa.unify_schemas(schemas, promote_options="permissive")
        pq.write_table(schema.empty_table(), pa.BufferOutputStream())
    except pa.ArrowException as error:
        raise ValueError(f"The input's columns do not fit into one table: {error}") from error
    if PREDICTIONS in schema.names:
        raise ValueError(f"The input has a column {PREDICTIONS!r} already. Rename it.")
    return counts, schema


def _objects(chunk: list[bytes] | pa.Table, path: str, start: int) -> list[Any]:
    """Return the rows of a chunk as Python objects; of a table, what has to be checked."""
    if not isinstance(chunk, pa.Table):
        return _parse(chunk, path, start)
    names = [name for name in ("text", "spans") if name in chunk.column_names]
    return chunk.select(names).to_pylist()


def _schema_of(rows: list[dict], name: str) -> pa.Schema:
    try:
        return pa.schema(list(pa.array(rows).type)) if rows else EMPTY
    except (pa.ArrowException, OverflowError) as error:
        raise ValueError(f"The columns of {name} do not fit into a table: {error}") from error


def _with_schema(table: pa.Table, schema: pa.Schema) -> pa.Table:
    columns = [
        table[field.name].cast(field.type)
        if field.name in table.column_names
        else pa.nulls(len(table), field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _parse(lines: list[bytes], path: str, start: int) -> list[Any]:
    """Parse JSON lines, of which `start` come before these."""
    rows = []
    for number, line in enumerate(lines, start + 1):
        try:
            rows.append(json.loads(line))
        except ValueError as error:
            raise ValueError(f"Row {number} of {path} must be JSON: {error}.") from error
    return rows


def _read(path: str, size: int) -> Iterator[Any]:
    """Read a file in lists of lines or in tables; from an empty file, one that is empty."""
    if path.endswith(".parquet"):
        with pq.ParquetFile(path) as parquet:
            if not parquet.metadata.num_rows:
                yield parquet.schema_arrow.empty_table()
            for batch in parquet.iter_batches(batch_size=size):
                yield pa.Table.from_batches([batch])
        return
    with (gzip.open if path.endswith(".gz") else open)(path, "rb") as file:
        lines = list(islice(file, size))
        yield lines
        while lines := list(islice(file, size)):
            yield lines


def _digest(path: str) -> str:
    found = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            found.update(block)
    return found.hexdigest()


def _model_facts(model: str) -> Any:
    """Return the digests of a folder's files; a Hub id stands for itself."""
    if not os.path.isdir(model):
        return model
    files = sorted(entry.name for entry in os.scandir(model) if entry.is_file())
    return [[name, _digest(os.path.join(model, name))] for name in files]


def _write_job(output: str, facts: dict[str, Any]) -> None:
    _write(os.path.join(output, JOB), json.dumps(facts, indent=2).encode())


def _write(path: str, content: Any) -> None:
    """Write a file under another name first, so that a kill leaves no half of it."""
    folder, name = os.path.split(path)
    part = os.path.join(folder, f".{name}.{uuid.uuid4().hex[:8]}.tmp")
    with open(part, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)
