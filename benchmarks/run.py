"""Compare our speed with what a user would pick instead; prints Markdown tables.

    python benchmarks/run.py --threads 1                                   # all, a random head
    python benchmarks/run.py --only inference --sets bionlp13cg --models out/finetune

Ratios, interleaved in one process after a turn to warm up: "1.23 (1.20 to 1.27)" is the median of
the turns and the quartiles around it. How to read each table is in `benchmarks/README.md`.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import importlib.util
import os
import platform
import shlex
import sys
import tempfile
import time
from pathlib import Path

import torch
import transformers
from cases import BATCH_SIZE, SHAPES, Case, load_case
from growth import ROWS, report_growth
from host import report_host
from inference import report_inference
from limit import report_limit
from timing import Timer
from training import report_training

from irti_custom.export.engines import has_amx

SECTIONS = ("inference", "training", "growth", "host", "limit")
FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
PACKAGES = ("torch", "transformers", "tokenizers", "onnxruntime", "openvino", "nncf", "gliner")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--sets", nargs="+", choices=SHAPES, default=["bionlp13cg", "gum_entities"])
    parser.add_argument("--models", nargs="+", default=[], help="a trained model for each set")
    parser.add_argument(
        "--data", type=Path, default=Path("../shared/data"), help="texts are generated without it"
    )
    parser.add_argument("--rows", type=int, default=400, help="texts to score, at most")
    parser.add_argument("--training_rows", type=int, default=64)
    parser.add_argument("--calibration", type=int, default=300, help="rows for int8; 0: no int8")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--cpu_time", action="store_true", help="of one thread, on a machine that is busy"
    )
    parser.add_argument("--bfloat16", action="store_true", help="time PyTorch's without AMX, too")
    parser.add_argument("--full", action="store_true", help=f"growth up to {ROWS[-1]:,} texts")
    args = parser.parse_args()
    if args.cpu_time and args.threads > 1:
        parser.error("--cpu_time adds up the time of all threads. Use --threads 1.")
    if args.models and len(args.models) != len(args.sets):
        parser.error(f"--models must name {len(args.sets)}, one for each of --sets.")

    torch.set_num_threads(args.threads)
    os.environ["RAYON_NUM_THREADS"] = str(args.threads)  # of the tokenizers
    os.environ["TOKENIZERS_PARALLELISM"] = "true" if args.threads > 1 else "false"
    torch.manual_seed(0)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    print_header(args.threads)
    graphs = bool({"inference", "host", "limit"} & set(args.only))
    for number, name in enumerate(args.sets):
        trained = args.models[number] if args.models else None
        with tempfile.TemporaryDirectory() as folder:
            export_to = Path(folder) if graphs else None
            case = load_case(name, args.data, args.rows, args.calibration, trained, export_to)
            report(case, args, with_growth=number == 0)


def report(case: Case, args: argparse.Namespace, with_growth: bool) -> None:
    """Print the sections that were asked for."""
    bfloat16 = args.bfloat16 or has_amx()
    timer = Timer(args.repeats, time.process_time if args.cpu_time else time.perf_counter)
    if "inference" in args.only:
        report_inference(case, timer, bfloat16)
    if "training" in args.only:
        report_training(case, args.training_rows, timer, bfloat16)
    if "growth" in args.only and with_growth:
        report_growth(case, timer, ROWS[-1] if args.full else ROWS[-2])
    if "host" in args.only:
        report_host(case, timer)
    if "limit" in args.only:
        report_limit(case, timer)


def print_header(threads: int) -> None:
    """Name the machine and the versions that the figures hold for."""
    found = [name for name in PACKAGES if importlib.util.find_spec(name)]
    versions = [f"{name} {importlib.metadata.version(name)}" for name in found]
    cpu, flags = read_cpu()
    having = [name for name in FLAGS if name in flags]
    lacking = [name for name in FLAGS if name not in flags]
    print(f"{datetime.date.today()}, {cpu}, {os.cpu_count()} cores, {threads} thread(s);")
    print(f"flags: {', '.join(having) or 'none'}; without: {', '.join(lacking) or 'none'};")
    print(f"Python {platform.python_version()}, {', '.join(versions)}; batches of {BATCH_SIZE}.")
    print(f"`python {shlex.join(sys.argv)}`", flush=True)


def read_cpu() -> tuple[str, set[str]]:
    """Return its name and its flags; on other systems than Linux, no flags."""
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return platform.processor() or platform.machine(), set()
    lines = [line.partition(":") for line in path.read_text().splitlines()]
    facts = {name.strip(): value.strip() for name, _, value in lines}
    return facts.get("model name", platform.machine()), set(facts.get("flags", "").split())


if __name__ == "__main__":
    main()
