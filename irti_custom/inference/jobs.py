"""The path and the calls of `scoring.jobs` in version 0.3.0."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial

import pyarrow as pa

from ..scoring.jobs import Job, open_job, read_rows
from ..scoring.shards import write_table

__all__ = ["Job", "PartReader", "open_job", "write_part"]


def PartReader(job: Job) -> Callable[[str], pa.Table]:  # noqa: N802
    """Return what reads the rows of a part by its name."""
    return partial(read_rows, job.output)


def write_part(output: str, name: str, table: pa.Table) -> int:
    """Write a part; return its number of rows."""
    write_table(os.path.join(output, name), table)
    return table.num_rows
