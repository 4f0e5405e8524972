"""Score on a Ray cluster: what `score_dataset.py` does, as a Ray Data `map_batches` job.

    python examples/score_with_ray.py --model out/finetune --input "texts/*.jsonl.gz" \
        --output out/scored --num_workers 8 --gpus_per_worker 1

It needs Ray Data (`pip install "ray[data]>=2.51"`), and folders that all machines see. It joins the
cluster that RAY_ADDRESS names, or starts one on this machine: `ray job submit --working-dir
examples -- python score_with_ray.py ...` sends the scripts along. Input, output, resuming and
predictions are those of `score_dataset.py`: either may finish what the other began.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import ray
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
    chunk_size: int = 1000  # rows per part of the output; a kill costs an actor at most one
    on_error: str = "raise"  # or "skip": keep a row that cannot be scored, and say why
    num_workers: int = 2  # actors, in the whole cluster
    cpus_per_worker: float = 1
    gpus_per_worker: float = 0
    runtime: str = ""  # of an ONNX folder: "onnxruntime" or "openvino"
    precision: str = ""  # of an ONNX folder: "float32", "bfloat16" or "int8"
    format: str = ""  # of other files: "auto", "conll", ...; see `read_records`


class PartScorer:
    """An actor: loads the model once, then reads, scores and writes parts."""

    def __init__(self, output: str, model: tuple) -> None:
        self.output, self.scorer = output, TableScorer(*model)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Score the parts that a batch names; return their numbers of rows."""
        return {"rows": [score_part(self.output, name, self.scorer) for name in batch["item"]]}


def main() -> None:
    # 1. Settings.
    (args,) = HfArgumentParser(ScriptArguments).parse_args_into_dataclasses()
    if not ray.is_initialized():
        ray.init()
    ray.data.DataContext.get_current().enable_progress_bars = False  # the one below counts rows

    # 2. Data.
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
    missing = job.missing()
    # Actors may run in another folder.
    path = os.path.abspath(args.model) if os.path.isdir(args.model) else args.model
    model = (path, args.batch_size, None, args.runtime, args.precision, job.facts["model"])

    # 3. Model, loaded once per actor. Ray Data restarts an actor that dies and repeats its tasks
    # (max_restarts=-1 and max_task_retries=-1 are its defaults).
    if missing:
        parts = ray.data.from_items(missing, override_num_blocks=len(missing))
        scored = parts.map_batches(
            PartScorer,
            fn_constructor_args=(job.output, model),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=args.num_workers),
            num_cpus=args.cpus_per_worker,
            num_gpus=args.gpus_per_worker,
        )
        # 4. Predictions, part by part.
        total, left = job.count(), job.count(missing)
        with tqdm(total=total, initial=total - left, unit="row") as bar:
            for batch in scored.iter_batches(batch_size=None):
                bar.update(int(sum(batch["rows"])))

    # 5. All parts are there: the job is complete.
    if done := job.finish():
        print(done)


if __name__ == "__main__":
    main()
