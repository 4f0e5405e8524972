"""Score files part by part into a folder that remembers how far it is, so that a job can resume.

    input files  ->  (name of a part, Arrow table) ...  ->  part-00000-00000.parquet ... + _job.json

A part's name says which chunk of rows of which file it holds. It is there whole or not at all, and
never written twice. The folder belongs to one job: a lock is held while it is begun.
"""

from __future__ import annotations

import base64
import glob
import hashlib
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from filelock import FileLock, Timeout
from pyarrow import feather

from ..formats.atomic import check_apart, remove_abandoned, writing
from ..formats.read_write import read_records, write_records
from .identity import digest, model_digest
from .row_checks import check_files
from .row_files import ERROR, SUFFIXES, Chunk, read_chunks
from .table_scorer import PREDICTIONS, TableScorer

logger = logging.getLogger(__name__)

ON_ERROR = ("raise", "skip")
# Readers of Parquet folders pass over names that begin so.
JOB_FILE = "_job.json"
LOCK_FILE = "_job.lock"
ERRORS_FILE = "_errors.arrow"


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

    def finish(self) -> str | None:
        """Mark the job as complete if all parts are there; say in words what it wrote, or None."""
        if self.missing():
            return None
        remove_abandoned(self.output)
        _write_facts(self.output, {**self.facts, "complete": True})
        skipped = self.facts["skipped"]
        return f"{self.count()} rows in {len(self.parts)} parts lie in {self.output}" + (
            f"; {skipped} of them could not be scored and say why in the column {ERROR!r}"
            if skipped
            else ""
        )


class PartReader:
    """Read the rows of parts by name; in the order of the input, each file is read once.

    Args:
        job: the job.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self._file_index, self._next_chunk = -1, 0
        self._chunks: Iterator[Chunk] = iter(())
        self._errors: pa.Table | None = None
        if job.facts["on_error"] == "skip":
            with _reading(os.path.join(job.output, ERRORS_FILE)) as path:
                self._errors = feather.read_table(path, memory_map=True)
                self._errors.validate(full=True)

    def __call__(self, name: str) -> pa.Table:
        """Return a part's rows, with the columns and types of the whole input.

        With ``on_error="skip"`` a column `error` says why a row cannot be scored.
        """
        file, chunk, _ = self.job.parts[name]
        if file != self._file_index or chunk < self._next_chunk:
            self._file_index, self._next_chunk = file, 0
            self._chunks = read_chunks(self.job.paths[file], self.job.chunk_size)
        rows = next(islice(self._chunks, chunk - self._next_chunk, None))
        self._next_chunk = chunk + 1
        return rows.table(self.job.schema, self._errors_of(file, rows))

    def _errors_of(self, file: int, rows: Chunk) -> dict[int, str] | None:
        if self._errors is None:
            return None
        row = pc.field("row")
        here = (row >= rows.start) & (row < rows.start + len(rows))
        found = self._errors.filter((pc.field("file") == file) & here)
        return {one["row"] - rows.start: one["error"] for one in found.to_pylist()}


def open_job(
    pattern: str,
    model: str,
    output: str,
    chunk_size: int,
    on_error: str = "raise",
    runtime: str | None = None,
    precision: str | None = None,
    format: str | None = None,
) -> Job:
    """Check every row of the input and begin a job, or take up the one that `output` holds.

    Of jobs that are opened at the same time, one is begun; the others wait for its check, and take
    it up if they are the same.

    Args:
        pattern: a file, or a pattern of files.
        model: a folder or Hub id.
        output: the folder of the parts.
        chunk_size: rows per part.
        on_error: what to do with a row that cannot be scored: "raise", before anything is scored;
            or "skip", to keep it without predictions and with the reason in a column `error`.
        runtime: of an exported graph, as `precision`; see `OnnxMaskedSeqModel.from_pretrained`.
        precision: of an exported graph.
        format: of files of other kinds, see `read_records`: they are converted to JSON lines in
            `output`, once, and these are scored. With "skip", what a record cannot hold is left
            out, counted and logged.

    Raises:
        OSError: no such model, or no processor beside it.
        ValueError: no input, a row that cannot be scored, or an `output` of another job, or in
            place of the model or the input.
    """
    paths, output = sorted(glob.glob(os.path.abspath(pattern))), os.path.abspath(output)
    unknown = [] if format else [path for path in paths if not path.endswith(SUFFIXES)]
    if not paths or unknown:
        raise ValueError(
            f"--input must match files {SUFFIXES}, got {unknown or pattern}. Pass --format for "
            "other files."
        )
    if chunk_size < 1:
        raise ValueError(f"--chunk_size must be at least 1, got {chunk_size}.")
    if on_error not in ON_ERROR:
        raise ValueError(f"--on_error must be one of {ON_ERROR}, got {on_error!r}.")
    identity = {
        "input": [[os.path.basename(path), _digest(path)] for path in paths],
        "model": model_digest(model),
        "chunk_size": chunk_size,
        "on_error": on_error,
        "runtime": runtime or None,
        "precision": precision or None,
        "format": format or None,
    }
    check_apart([output, *_converted(paths, output)], [model, *paths])
    os.makedirs(output, exist_ok=True)
    with _claim(output):
        if not os.path.exists(os.path.join(output, JOB_FILE)):
            _begin(paths, model, output, identity)
    with _reading(os.path.join(output, JOB_FILE)) as path, open(path, encoding="utf-8") as file:
        facts = json.load(file)
        job = Job(_converted(paths, output) if format else paths, output, facts)
    changed = [name for name, value in identity.items() if facts.get(name) != value]
    if changed:
        raise ValueError(
            f"{output} was begun with another {' and '.join(changed)}. Its rows and new ones "
            "would not fit together: restore what it was, or choose another --output."
        )
    return job


def write_part(output: str, name: str, table: pa.Table) -> int:
    """Write a part so that it is there whole or not at all; return its number of rows."""
    with writing(os.path.join(output, name)) as file:
        pq.write_table(table, file)
    return table.num_rows


@contextmanager
def _reading(path: str) -> Iterator[str]:
    """Name a file of a job that is damaged.

    Raises:
        ValueError: it is.
    """
    try:
        yield path
    except (ArithmeticError, LookupError, TypeError, ValueError, pa.ArrowException) as error:
        raise ValueError(
            f"{path} is damaged: {error}. Restore it, or begin the job in another --output."
        ) from error


@contextmanager
def _claim(output: str) -> Iterator[None]:
    """Keep a folder for this process; the system gives it back when the process dies."""
    lock = FileLock(os.path.join(output, LOCK_FILE))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logger.warning("Another process begins a job in %s. Waiting for it.", output)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _begin(paths: list[str], model: str, output: str, identity: dict[str, Any]) -> None:
    """Check the input, and write the job's file."""
    if glob.glob(os.path.join(glob.escape(output), "*.parquet")):
        raise ValueError(f"{output} holds Parquet files of something else. Choose another folder.")
    graph = {name: identity[name] for name in ("runtime", "precision")}
    scorer = TableScorer(model, device="cpu", **graph)  # refuses wrong settings now
    if identity["format"]:
        paths = _convert(paths, output, identity["format"], identity["on_error"])
    checked = check_files(paths, scorer.pipe.processor, identity["on_error"])
    taken = [name for name in (ERROR, PREDICTIONS) if name in checked.schema.names]
    if taken:
        raise ValueError(f"The input has a column {taken[0]!r} already. Rename it.")
    if identity["on_error"] == "skip":
        with writing(os.path.join(output, ERRORS_FILE)) as file:
            feather.write_feather(checked.errors, file, compression="uncompressed")
    facts = {
        **identity,
        "rows": checked.counts,
        "skipped": checked.errors.num_rows,
        "schema": base64.b64encode(checked.schema.serialize()).decode(),
        "complete": False,
    }
    _write_facts(output, facts)


def _convert(paths: list[str], output: str, format: str, on_error: str) -> list[str]:
    """Write texts with spans, read from files of a format, as JSON lines."""
    converted = _converted(paths, output)
    for path, lines in zip(paths, converted):
        records = read_records(path, format, on_error=on_error)
        if "text" not in records.column_names:
            raise ValueError(f"{path} must hold texts with spans, got {records.column_names}.")
        write_records(records, lines, "jsonl")
    return converted


def _converted(paths: list[str], output: str) -> list[str]:
    return [os.path.join(output, f"_input-{number:05d}.jsonl") for number in range(len(paths))]


def _digest(path: str) -> str:
    if os.path.isdir(path):  # of a format that is a folder
        files = sorted(glob.glob(os.path.join(glob.escape(path), "**", "*"), recursive=True))
        names = [(os.path.relpath(one, path), _digest(one)) for one in files if os.path.isfile(one)]
        return hashlib.sha256(json.dumps(names).encode()).hexdigest()
    return digest(path)


def _write_facts(output: str, facts: dict[str, Any]) -> None:
    with writing(os.path.join(output, JOB_FILE)) as file:
        file.write(json.dumps(facts, indent=2).encode())
