"""Score files of any size into one folder, part by part, and resume after a kill.

    input files  ->  _rows/part-00000-00000.parquet, ...  ->  part-00000-00000.parquet, ...

A part is the shard of the same name with a column of predictions. It is there whole or not at all,
and never written twice. The folder belongs to one job: a lock is held while the job is begun.
"""

from __future__ import annotations

import glob
import json
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from filelock import FileLock, Timeout

from ..formats.atomic import check_apart, remove_abandoned, writing
from .identity import file_digest, model_digest
from .shards import ERROR, SUFFIXES, read_table, write_shards, write_table
from .table_scorer import TableScorer

logger = logging.getLogger(__name__)

ON_ERROR = ("raise", "skip")
# Readers of Parquet folders pass over names that begin with an underscore.
JOB_FILE, LOCK_FILE, SHARDS = "_job.json", "_job.lock", "_rows"
_LAYOUT = 2


@dataclass(frozen=True)
class Job:
    """The input `paths`, the folder of the parts, and the `facts` in the job's file."""

    paths: list[str]
    output: str
    facts: dict[str, Any]

    @property
    def parts(self) -> dict[str, int]:
        """The number of rows of each part, by its name, in the order of the input."""
        return self.facts["parts"]

    def missing(self) -> list[str]:
        """Return the names of the parts that are not written yet."""
        written = set(os.listdir(self.output))
        return [name for name in self.parts if name not in written]

    def count(self, names: Iterable[str] | None = None) -> int:
        """Return the number of rows of parts, by default of all."""
        return sum(self.parts[name] for name in (self.parts if names is None else names))

    def describe(self, name: str) -> str:
        """Return in words which rows a part holds."""
        file, chunk = map(int, name.partition(".")[0].split("-")[1:])
        start = chunk * self.facts["chunk_size"]
        return f"rows {start + 1} to {start + self.parts[name]} of {self.paths[file]}"

    def finish(self) -> str | None:
        """Mark the job as complete if all parts are there; return a summary, or else None."""
        if self.missing():
            return None
        remove_abandoned(self.output)
        _write_facts(self.output, {**self.facts, "complete": True})
        done = f"{self.count()} rows in {len(self.parts)} parts lie in {self.output}"
        skipped = self.facts["skipped"]
        why = f"; {skipped} of them could not be scored and say why in the column {ERROR!r}"
        return done + why * (skipped > 0)


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
    """Check every row of the input and begin a job, or continue the one in `output`.

    Only one of several concurrent calls begins a job; the others wait for its check, and continue
    it if their arguments are the same.

    Args:
        pattern: a file, or a pattern of files.
        model: a folder or Hub id.
        output: the folder of the parts.
        chunk_size: rows per part.
        on_error: what to do with a row that cannot be scored: "raise", before anything is scored;
            or "skip", to keep it without predictions and with the reason in a column `error`.
        runtime: of an exported graph, as `precision`; see `OnnxMaskedSeqModel.from_pretrained`.
        precision: of an exported graph.
        format: how to read files that are not JSON lines or Parquet of texts with spans, see
            `read_records`. With "skip", what a record cannot hold is left out, counted and logged.

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
        "input": [[os.path.basename(path), file_digest(path)] for path in paths],
        "model": model_digest(model),
        "chunk_size": chunk_size,
        "on_error": on_error,
        "runtime": runtime or None,
        "precision": precision or None,
        "format": format or None,
        "layout": _LAYOUT,
    }
    check_apart([output, *_shards_in(output)], [model, *paths])
    os.makedirs(output, exist_ok=True)
    with _claim(output):
        if not os.path.exists(os.path.join(output, JOB_FILE)):
            _begin(paths, model, output, identity)
    with _reading(os.path.join(output, JOB_FILE)) as path, open(path, encoding="utf-8") as file:
        job = Job(paths, output, json.load(file))
        job.count()
    changed = [name for name, value in identity.items() if job.facts.get(name) != value]
    if changed:
        raise ValueError(
            f"{output} was begun with another {' and '.join(changed)}. Its rows and new ones "
            "would not fit together: restore what it was, or choose another --output."
        )
    return job


def read_rows(output: str, name: str) -> pa.Table:
    """Return the rows of a part; with ``on_error="skip"`` they have a column `error`."""
    with _reading(os.path.join(output, SHARDS, name)) as path:
        return read_table(path)


def score_part(output: str, name: str, scorer: TableScorer) -> int:
    """Score the rows of a part, and write it; return their number.

    Raises:
        ValueError: the shard of these rows is damaged.
    """
    table = scorer(read_rows(output, name))
    write_table(os.path.join(output, name), table)
    return table.num_rows


@contextmanager
def _reading(path: str) -> Iterator[str]:
    """Name a file of a job that is damaged."""
    try:
        yield path
    except (ArithmeticError, LookupError, OSError, TypeError, ValueError, pa.ArrowException) as e:
        raise ValueError(
            f"{path} is damaged: {e}. Restore it, or begin the job in another --output."
        ) from e


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
    """Check the input and write its rows, then the job's file, without which they do not count."""
    if glob.glob(os.path.join(glob.escape(output), "*.parquet")):
        raise ValueError(f"{output} holds Parquet files of something else. Choose another folder.")
    graph = {name: identity[name] for name in ("runtime", "precision")}
    scorer = TableScorer(model, device="cpu", **graph)  # raises for wrong settings now
    settings = {name: identity[name] for name in ("chunk_size", "on_error", "format")}
    folder = os.path.join(output, SHARDS)
    _remove_shards(output)  # of a process that was killed
    os.makedirs(folder, exist_ok=True)
    try:
        parts, skipped = write_shards(paths, folder, scorer.pipe.processor, **settings)
        facts = {"parts": parts, "skipped": skipped, "complete": False}
        _write_facts(output, {**identity, **facts})
    except BaseException:
        _remove_shards(output)
        raise


def _shards_in(output: str) -> list[str]:
    return glob.glob(os.path.join(glob.escape(output), SHARDS, "part-*.parquet"))


def _remove_shards(output: str) -> None:
    for path in _shards_in(output):
        os.remove(path)
    remove_abandoned(os.path.join(output, SHARDS))
    with suppress(OSError):  # it holds something else, or there is none
        os.rmdir(os.path.join(output, SHARDS))


def _write_facts(output: str, facts: dict[str, Any]) -> None:
    with writing(os.path.join(output, JOB_FILE)) as file:
        file.write(json.dumps(facts, indent=2).encode())
