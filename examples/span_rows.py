"""From texts with spans, as `finetune.py` reads them, to rows of tokens, positions and labels."""

from __future__ import annotations

from typing import Any

from datasets import Dataset, DatasetDict
from floors import label_sets

from irti_custom.positions import encode_spans


def encode(
    batch: dict, tokenizer: Any, label2id: dict[str, int], task: str, max_length: int
) -> dict:
    """Turn texts with spans into rows of tokens, positions and labels."""
    columns = encode_spans(tokenizer, batch["text"], batch["spans"], max_length)
    columns["labels"] = []
    for spans, kept in zip(batch["spans"], columns["span_ids"]):
        sets = [{label2id[name] for name in spans[index]["labels"]} for index in kept]
        if task == "multiclass":
            columns["labels"].append([ids.pop() for ids in sets])
        else:
            rows = [[float(index in ids) for index in range(len(label2id))] for ids in sets]
            columns["labels"].append(rows)
    return columns


def check_one_label(texts: DatasetDict) -> None:
    for split, rows in texts.items():
        odd = next((sorted(names) for names in label_sets(rows) if len(names) != 1), None)
        if odd is not None:
            raise ValueError(f"--task multiclass needs one label per span, got {odd} in {split}.")


def left_out(texts: Dataset, rows: Dataset, split: str, max_length: int) -> int:
    count = sum(map(len, texts["spans"])) - sum(map(len, rows["span_ids"]))
    if count:
        print(f"{count} spans of {split} lie beyond --max_length {max_length} and are left out.")
    return count
