"""Time DataCollatorForMaskedSeq against `tokenizer.pad`, interleaved, in one process.

    python benchmarks/collator.py --rows 1000 --tokens 120

`tokenizer.pad` gets the token columns only; "by hand" adds positions and labels in plain torch.
"""

from __future__ import annotations

import argparse
import statistics
import time
from functools import partial
from typing import Any, Callable

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from irti_custom.processing.data_collator import DataCollatorForMaskedSeq

TOKEN_COLUMNS = ("input_ids", "attention_mask", "token_type_ids")


def make_rows(count: int, mean: float, labels: int, arrays: bool, types: bool) -> list[dict]:
    """Draw rows with lognormal lengths of this mean, 10 positions on average, multilabel."""
    rng = np.random.default_rng(0)
    lengths = rng.lognormal(np.log(mean) - 0.6**2 / 2, 0.6, count).astype(int).clip(4, 512)
    rows = []
    for length in lengths:
        positions = rng.integers(0, length, rng.integers(0, 21))
        row = {
            "input_ids": rng.integers(4, 30_000, length),
            "attention_mask": np.ones(length, np.int64),
            "token_type_ids": np.zeros(length, np.int64),
            "mask_indices": positions,
            "labels": (rng.random((len(positions), labels)) < 0.1).astype(np.float32),
        }
        if not types:
            del row["token_type_ids"]
        rows.append(row if arrays else {name: value.tolist() for name, value in row.items()})
    return rows


def pad_by_hand(tokenizer: Any, rows: list[dict], labels: int) -> dict[str, torch.Tensor]:
    """Do what a user writes without this collator; no value is checked."""
    batch = dict(tokenizer.pad(token_columns(rows), return_tensors="pt"))
    longest = max(len(row["mask_indices"]) for row in rows)
    batch["mask_indices"] = torch.zeros(len(rows), longest, dtype=torch.long)
    batch["labels"] = torch.full((len(rows), longest, labels), -100.0)
    for number, row in enumerate(rows):
        count = len(row["mask_indices"])
        if count:
            batch["mask_indices"][number, :count] = torch.as_tensor(row["mask_indices"])
            batch["labels"][number, :count] = torch.as_tensor(row["labels"])
    return batch


def token_columns(rows: list[dict]) -> list[dict]:
    return [{name: row[name] for name in TOKEN_COLUMNS if name in row} for row in rows]


def medians(calls: list[Callable[[], Any]], repeats: int) -> list[float]:
    """Take turns, so that a slow moment of the machine hits all calls alike; milliseconds."""
    times: list[list[float]] = [[] for _ in calls]
    for turn in range(repeats + 1):
        for call, taken in zip(calls, times):
            start = time.perf_counter()
            call()
            if turn:  # the first turn warms up
                taken.append(1e3 * (time.perf_counter() - start))
    return [statistics.median(taken) for taken in times]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--tokens", type=float, default=120, help="mean length of a row")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--token_type_ids", action="store_true", help="a third token column")
    args = parser.parse_args()

    torch.set_num_threads(1)
    backend = Tokenizer(WordLevel({"[PAD]": 0, "[UNK]": 1}, unk_token="[UNK]"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="[PAD]")
    tokenizer.deprecation_warnings["Asking-to-pad-a-fast-tokenizer"] = True  # as collators do
    collator = DataCollatorForMaskedSeq(tokenizer)

    print(f"{args.rows} rows, {args.tokens:g} tokens and 10 positions on average, milliseconds")
    print(f"{'rows of':8}{'L':>6}{'tokenizer.pad':>15}{'by hand':>10}{'ours':>8}{'ours/pad':>10}")
    for labels in (20, 1000):
        for arrays in (False, True):
            rows = make_rows(args.rows, args.tokens, labels, arrays, args.token_type_ids)
            tokens = token_columns(rows)
            pad, hand, ours = medians(
                [
                    partial(tokenizer.pad, tokens, return_tensors="pt"),
                    partial(pad_by_hand, tokenizer, rows, labels),
                    partial(collator, rows),
                ],
                args.repeats,
            )
            kind = "arrays" if arrays else "lists"
            print(f"{kind:8}{labels:6}{pad:15.1f}{hand:10.1f}{ours:8.1f}{ours / pad:10.3f}")


if __name__ == "__main__":
    main()
