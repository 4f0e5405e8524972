"""Training: a pass of forward, backward and AdamW over the same texts, ours and the stock model."""

from __future__ import annotations

import copy
import random
from functools import partial
from typing import Any

import torch
from cases import Batch, Case, by_length, in_batches
from timing import Timer, print_table, ratio
from torch import nn
from transformers import AutoModelForTokenClassification, DataCollatorForTokenClassification

from irti_custom import IGNORE_INDEX

BASELINE = "stock, grouped by length, float32"


def report_training(case: Case, texts: int, timer: Timer, bfloat16: bool) -> None:
    """Print a table of speeds."""
    rows = case.rows(case.train[:texts])
    at_random = random.Random(0).sample(rows, len(rows))
    orders = {"grouped by length": by_length(rows), "at random": at_random}
    models: dict[str, nn.Module] = {
        "stock": case.stock(AutoModelForTokenClassification),
        "ours": copy.deepcopy(case.model),
    }
    calls = {}
    for name, model in models.items():
        optimizer = torch.optim.AdamW(model.train().parameters(), lr=1e-5)
        for order, ordered in orders.items():
            batches = case.batches(ordered) if name == "ours" else stock_batches(case, ordered)
            for precision in ("float32", *(("bfloat16",) if bfloat16 else ())):
                calls[f"{name}, {order}, {precision}"] = partial(
                    train, model, optimizer, batches, precision == "bfloat16"
                )
    seconds = timer.interleave(calls)
    print_table(
        f"Training, {case.name}: {len(rows)} rows ({case.source}), batches collated before",
        ["", "speed, × stock grouped by length"],
        [[name, ratio(seconds[BASELINE], seconds[name])] for name in calls],
    )


def train(
    model: nn.Module, optimizer: torch.optim.Optimizer, batches: list[Batch], bfloat16: bool
) -> None:
    for batch in batches:
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def stock_batches(case: Case, rows: list[dict[str, Any]]) -> list[Batch]:
    """Label the first token of each span, with the first of its labels."""
    collator = DataCollatorForTokenClassification(case.processor.tokenizer)
    examples = []
    for row in rows:
        labels = [IGNORE_INDEX] * len(row["input_ids"])
        for token, label in zip(row["mask_indices"], row["labels"]):
            labels[token] = label if isinstance(label, int) else label.index(1)
        examples.append({"input_ids": row["input_ids"], "labels": labels})
    return [dict(collator(part)) for part in in_batches(examples)]
