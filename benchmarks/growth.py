"""Growth: what a forward pass, and a call of our pipeline, cost as a size grows; peak memory."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from cases import Batch, Case
from timing import Timer, print_table, ratio, slope
from transformers import BertConfig

from irti_custom import AutoModelForMaskedSeqModeling, MaskedSeqModelingConfig
from irti_custom.inference.pipeline import MaskedSeqClassificationPipeline

POSITIONS = (1, 4, 16, 64, 256)
LABELS = (2, 10, 100, 1_000, 10_000)
TOKENS = (64, 128, 256, 512, 1_024, 2_048)
ROWS = (100, 1_000, 10_000, 100_000)
ENCODER = BertConfig(
    vocab_size=30_522,
    hidden_size=384,
    num_hidden_layers=6,
    num_attention_heads=12,
    intermediate_size=1_536,
    max_position_embeddings=max(TOKENS),
)


def new_model(num_labels: int = 16) -> AutoModelForMaskedSeqModeling:
    """Build one for "multilabel", with random weights."""
    config = MaskedSeqModelingConfig(
        num_labels=num_labels, base_model_config=copy.deepcopy(ENCODER)
    )
    return AutoModelForMaskedSeqModeling(config).eval()


def new_batch(rows: int, tokens: int, positions: int) -> Batch:
    draw = torch.Generator().manual_seed(0)
    return {
        "input_ids": torch.randint(1_000, 30_000, (rows, tokens), generator=draw),
        "attention_mask": torch.ones(rows, tokens, dtype=torch.long),
        "mask_indices": torch.randint(0, tokens, (rows, positions), generator=draw),
    }


def score(model: AutoModelForMaskedSeqModeling, batch: Batch) -> None:
    with torch.inference_mode():
        model(**batch)


def report_growth(case: Case, timer: Timer, most_rows: int) -> None:
    """Print a table for each size that grows, and one of memory."""
    model = new_model()
    report(
        "positions M (4 rows of 256 tokens)",
        {size: partial(score, model, new_batch(4, 256, size)) for size in POSITIONS},
        timer,
    )
    batch = new_batch(8, 128, 16)
    report(
        "labels L (8 rows of 128 tokens, 16 positions)",
        {size: partial(score, new_model(size), batch) for size in LABELS},
        timer,
    )
    report(
        "tokens T (1 row, 16 positions)",
        {size: partial(score, model, new_batch(1, size, 16)) for size in TOKENS},
        timer,
    )
    sizes = [size for size in ROWS if size <= most_rows]
    report(
        f"texts through the pipeline, PyTorch float32 ({case.name}, repeated as needed)",
        {size: partial(score_texts, case, size) for size in sizes},
        timer._replace(repeats=1) if most_rows > 1_000 else timer,
    )
    print_table(
        "Peak memory, MiB (VmHWM of a process of its own: 16 rows of 128 tokens, 16 positions)",
        ["", *(f"L = {size:,}" for size in (2, 10_000))],
        [
            [what, *(f"{in_process(size, step):,.0f}" for size in (2, 10_000))]
            for what, step in (("model loaded", ""), ("forward", "score"), ("training", "train"))
        ],
    )


def report(title: str, calls: dict[int, Callable[[], object]], timer: Timer) -> None:
    """Print costs relative to the smallest size, and exponents of cost ~ size ** slope."""
    seconds = timer.interleave({str(size): call for size, call in calls.items()})
    sizes = list(calls)
    medians = [float(np.median(seconds[str(size)])) for size in sizes]
    rows: list[Sequence[object]] = []
    for index, size in enumerate(sizes):
        pair = slice(index - 1, index + 1)
        step = f"{slope(sizes[pair], medians[pair]):.2f}" if index else ""
        rows.append([f"{size:,}", ratio(seconds[str(size)], seconds[str(sizes[0])]), step])
    if len(sizes) > 1:
        rows.append(["all", "", f"{slope(sizes, medians):.2f}"])
    print_table(f"Growth: {title}", ["", "cost, × the smallest", "slope"], rows)


def score_texts(case: Case, count: int) -> None:
    """Read texts from a generator, as a job that does not fit into memory does."""
    pipe = MaskedSeqClassificationPipeline(case.model, processor=case.processor, device="cpu")
    for _ in pipe(itertools.islice(itertools.cycle(case.inputs), count)):
        pass


def in_process(num_labels: int, step: str) -> float:
    """Return the peak of a new process, in MiB."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(peak_memory, num_labels, step, torch.get_num_threads()).result()


def peak_memory(num_labels: int, step: str, threads: int) -> float:
    """Build a model, and score or train on one batch."""
    torch.set_num_threads(threads)
    model = new_model(num_labels)
    batch = new_batch(16, 128, 16)
    if step == "score":
        score(model, batch)
    elif step == "train":
        labels = torch.zeros(16, 16, num_labels)
        model.train()(**batch, labels=labels).loss.backward()
        torch.optim.AdamW(model.parameters()).step()
    # Unlike `getrusage`, this starts anew when a process does; Linux only.
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024
