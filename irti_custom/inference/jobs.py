"""Score files part by part into a folder that remembers how far it is, so that a job can resume.

    input files  ->  (name of a part, Arrow table) ...  ->  part-00000-00000.parquet ... + _job.json

A part's name says which chunk of rows of which file it holds. It is there whole or not at all, and
never written twice.
"""

from __future__ import annotations

import base64
import glob
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from huggingface_hub.utils.sha import sha_fileobj

from .row_files import SUFFIXES, Chunk, check_files, read_chunks
from .table_scorer import PREDICTIONS

JOB_FILE = "_job.json"  # readers of Parquet folders pass over names that begin so


class Part(NamedTuple):
    """Rows of one file that are written together.

    Attributes:
        file_index: the number of the file in the job.
        chunk_index: the number of the chunk in the file.
        num_rows: how many rows it has.
    """

    file_index: int
    chunk_index: int
    num_rows: int


class Job:
    """The rows to be scored, and which of them are.

    Args:
        paths: the input files.
        output: the folder of the parts.
        facts: the content of the job's file.

    Attributes:
        schema: the columns of the input.
        parts: the parts by name, in the order of the input.
    """

    def __init__(self, paths: list[str], output: str, facts: dict[str, Any]) -> None:
        self.paths, self.output, self.facts = paths, output, facts
        self.chunk_size: int = facts["chunk_size"]
        self.schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(facts["schema"])))
        self.parts = {
            f"part-{file:05d}-{chunk:05d}.parquet": Part(
                file, chunk, min(self.chunk_size, rows - start)
            )
            for file, rows in enumerate(facts["rows"])
            for chunk, start in enumerate(range(0, max(rows, 1), self.chunk_size))
        }

    def missing(self) -> list[str]:
        """Return the names of the parts that are not written yet."""
        written = set(os.listdir(self.output))
        return [name for name in self.parts if name not in written]

    def count(self, names: list[str] | None = None) -> int:
        """Return the number of rows of parts, by default of all."""
        return sum(self.parts[name].num_rows for name in (self.parts if names is None else names))

    def describe(self, name: str) -> str:
        """Say in words which rows a part holds."""
        file, chunk, rows = self.parts[name]
        start = chunk * self.chunk_size
        return f"rows {start + 1} to {start + rows} of {self.paths[file]}"

    def finish(self) -> bool:
        """Mark the job as complete if all parts are there; return whether they are."""
        if self.missing():
            return False
        for left in glob.glob(os.path.join(glob.escape(self.output), ".part-*.tmp")):
            with suppress(FileNotFoundError):  # another process ends at the same time
                os.remove(left)
        _write_facts(self.output, {**self.facts, "complete": True})
        return True


class PartReader:
    """Read the rows of parts by name; in the order of the input, each file is read once.

    Args:
        job: the job.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self._file_index, self._next_chunk = -1, 0
        self._chunks: Iterator[Chunk] = iter(())

    def __call__(self, name: str) -> pa.Table:
        """Return a part's rows, with the columns and types of the whole input."""
        file, chunk, _ = self.job.parts[name]
        if file != self._file_index or chunk < self._next_chunk:
            self._file_index, self._next_chunk = file, 0
            self._chunks = read_chunks(self.job.paths[file], self.job.chunk_size)
        rows = next(islice(self._chunks, chunk - self._next_chunk, None))
        self._next_chunk = chunk + 1
        return rows.table(self.job.schema)


def open_job(pattern: str, model: str, output: str, chunk_size: int) -> Job:
    """Check every row of the input and begin a job, or take up the one that `output` holds.

    Args:
        pattern: a file, or a pattern of files.
        model: a folder or Hub id.
        output: the folder of the parts.
        chunk_size: rows per part.

    Raises:
        ValueError: no input, a row that cannot be scored, or an `output` of another job.
    """
    paths, output = sorted(glob.glob(os.path.abspath(pattern))), os.path.abspath(output)
    unknown = [path for path in paths if not path.endswith(SUFFIXES)]
    if not paths or unknown:
        raise ValueError(f"--input must match files {SUFFIXES}, got {unknown or pattern}.")
    if chunk_size < 1:
        raise ValueError(f"--chunk_size must be at least 1, got {chunk_size}.")
    identity = {
        "input": [[os.path.basename(path), _digest(path)] for path in paths],
        "model": _model_facts(model),
        "chunk_size": chunk_size,
    }
    os.makedirs(output, exist_ok=True)
    file_name = os.path.join(output, JOB_FILE)
    if os.path.exists(file_name):
        with open(file_name, encoding="utf-8") as file:
            facts = json.load(file)
        changed = [name for name, value in identity.items() if facts[name] != value]
        if changed:
            raise ValueError(
                f"{output} was begun with another {' and '.join(changed)}. Its rows and new ones "
                "would not fit together: restore what it was, or choose another --output."
            )
        return Job(paths, output, facts)
    if glob.glob(os.path.join(glob.escape(output), "*.parquet")):
        raise ValueError(f"{output} holds Parquet files of something else. Choose another folder.")
    rows, schema = check_files(paths)
    if PREDICTIONS in schema.names:
        raise ValueError(f"The input has a column {PREDICTIONS!r} already. Rename it.")
    encoded = base64.b64encode(schema.serialize()).decode()
    facts = {**identity, "rows": rows, "schema": encoded, "complete": False}
    _write_facts(output, facts)
    return Job(paths, output, facts)


def write_part(output: str, name: str, table: pa.Table) -> int:
    """Write a part so that it is there whole or not at all; return its number of rows."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    _write(os.path.join(output, name), sink.getvalue())
    return table.num_rows


def _digest(path: str) -> str:
    with open(path, "rb") as file:
        return sha_fileobj(file).hex()


def _model_facts(model: str) -> str | list[list[str]]:
    """Return the digests of a folder's files; a Hub id stands for itself."""
    if not os.path.isdir(model):
        return model
    files = sorted(entry.name for entry in os.scandir(model) if entry.is_file())
    return [[name, _digest(os.path.join(model, name))] for name in files]


def _write_facts(output: str, facts: dict[str, Any]) -> None:
    _write(os.path.join(output, JOB_FILE), json.dumps(facts, indent=2).encode())


def _write(path: str, content: bytes | pa.Buffer) -> None:
    """Write a file under another name first, so that a kill leaves no half of it."""
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}.{uuid.uuid4().hex[:8]}.tmp")
    with open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
