"""Compare ways to share the cores in a job of `examples/score_dataset.py`: processes, or threads.

    python benchmarks/jobs.py --models out/cg out/graph_int8 --data test.jsonl.gz --rows 6000

Each run is a command of its own, start-up included, and computes with all cores. Texts are repeated
up to the number of rows. An exported graph runs on OpenVINO in int8.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from functools import partial
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import torch
from run import print_header
from timing import Timer, print_table, ratio

from irti_custom import read_records, write_records

SCRIPT = Path(__file__).parent.parent / "examples" / "score_dataset.py"
INT8 = ["--runtime", "openvino", "--precision", "int8"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", required=True, help="folders, graphs among them")
    parser.add_argument("--data", required=True, help="a file of texts with spans")
    parser.add_argument("--rows", type=int, default=6000)
    parser.add_argument("--num_workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    print_header(torch.get_num_threads())
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.jsonl"
        write_records(islice(cycle(read_records(args.data)), args.rows), rows)
        for model in args.models:
            report(model, rows, args)


def report(model: str, rows: Path, args: argparse.Namespace) -> None:
    graph = INT8 if (Path(model) / "model.onnx").exists() else []
    calls = {workers: partial(score, model, rows, workers, graph) for workers in args.num_workers}
    seconds = Timer(args.repeats).interleave(calls)
    first = seconds[args.num_workers[0]]
    table = [
        [workers, ratio(first, taken), f"{args.rows / np.median(taken):.0f}"]
        for workers, taken in seconds.items()
    ]
    title = f"{model}, {args.rows} texts, {'OpenVINO int8' if graph else 'PyTorch'}"
    print_table(title, ["processes", "× speed", "rows per second"], table)


def score(model: str, rows: Path, workers: int, flags: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        io = ["--input", str(rows), "--output", f"{folder}/scored", "--num_workers", str(workers)]
        command = [sys.executable, str(SCRIPT), "--model", model, *io, *flags]
        subprocess.run(command, check=True, capture_output=True)


if __name__ == "__main__":
    main()
