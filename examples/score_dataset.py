"""Score a million rows: files in, Parquet with a column `predictions` out.

    python examples/score_dataset.py --model out/finetune --input "texts/*.jsonl.gz" \
        --output out/scored --num_workers 4
    accelerate launch --multi_gpu examples/score_dataset.py --model ...     # one process per GPU

A row of JSON lines or Parquet has `text` and `spans` ({"start", "end"} or [start, end]); its other
columns are kept. With --format auto, or a name, files are read as `read_records` does: CoNLL, CSV,
Label Studio, ... The command resumes: run it again after a kill, and it scores the parts that are
not there yet. `_job.json` in the output says "complete": true when all are.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from multiprocessing import get_context, parent_process
from multiprocessing.process import BaseProcess
from typing import Any

import torch
from accelerate import PartialState
from tqdm import tqdm
from transformers import HfArgumentParser

from irti_custom.scoring.jobs import open_job, score_part
from irti_custom.scoring.table_scorer import TableScorer


@dataclass
class ScriptArguments:
    model: str
    input: str  # a file, or a pattern in quotes
    output: str
    batch_size: int = 32  # rows per forward pass
    chunk_size: int = 1000  # rows per part of the output; a kill costs a process at most one
    on_error: str = "raise"  # or "skip": keep a row that cannot be scored, and say why
    num_workers: int = 1  # processes, on each GPU or on the CPU
    runtime: str = ""  # of an ONNX folder: "onnxruntime" or "openvino"
    precision: str = ""  # of an ONNX folder: "float32", "bfloat16" or "int8"
    format: str = ""  # of other files: "auto", "conll", ...; see `read_records`


@cache
def load(*model: Any) -> TableScorer:
    """Load the model, once per process."""
    return TableScorer(*model)


def score(model: tuple, output: str, name: str, rows: str) -> int:
    """Write a part; return its number of rows."""
    scorer = load(*model)
    try:
        return score_part(output, name, scorer)
    except ValueError as error:
        raise ValueError(f"Of {rows}, counted from 0: {error}") from error


def begin_worker(threads: int) -> None:
    """Share the processor, and end with the parent; a worker would wait for it forever."""
    torch.set_num_threads(threads)
    if parent := parent_process():
        threading.Thread(target=end_after, args=(parent,), daemon=True).start()


def end_after(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)


def score_all(parts: list[tuple], model: tuple, output: str, workers: int) -> Iterator[int]:
    """Score parts in this process or in several; yield numbers of rows."""
    if workers <= 1:
        yield from (score(model, output, *part) for part in parts)
        return
    threads = max(1, torch.get_num_threads() // workers)
    with ProcessPoolExecutor(workers, get_context("spawn"), begin_worker, (threads,)) as pool:
        futures = [pool.submit(score, model, output, *part) for part in parts]
        try:
            yield from (future.result() for future in as_completed(futures))
        finally:
            pool.shutdown(cancel_futures=True)  # the others, where one has failed


def main() -> None:
    # 1. Settings.
    (args,) = HfArgumentParser(ScriptArguments).parse_args_into_dataclasses()
    gpu = getattr(torch, "accelerator", torch.cuda).is_available()
    # Some processes may end long before others.
    state = PartialState(cpu=not gpu, timeout=timedelta(days=30))

    # 2. Data. One process checks all rows; each takes every n-th part.
    with state.main_process_first():
        job = open_job(
            args.input,
            args.model,
            args.output,
            args.chunk_size,
            args.on_error,
            args.runtime,
            args.precision,
            args.format,
        )
    missing = set(job.missing())
    mine = list(job.parts)[state.process_index :: state.num_processes]
    todo = [name for name in mine if name in missing]
    parts = [(name, job.describe(name)) for name in todo]

    # 3. Model, loaded once per process.  4. Predictions, part by part.
    model = (
        args.model,
        args.batch_size,
        state.device,
        args.runtime,
        args.precision,
        job.facts["model"],
    )
    total, left = job.count(mine), job.count(todo)
    with tqdm(total=total, initial=total - left, unit="row", position=state.process_index) as bar:
        try:
            for rows in score_all(parts, model, job.output, args.num_workers):
                bar.update(rows)
        except BrokenProcessPool as error:
            raise SystemExit("A worker died. Run the command again for what is left.") from error

    # 5. The last process to end marks the job as complete.
    if done := job.finish():
        print(done)
    state.wait_for_everyone()


if __name__ == "__main__":
    main()
