"""What a user would pick instead of our pipeline, on the same texts with the same encoder.

Each returns calls that score all texts, by name. Heads are random, which changes no time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from cases import Batch, Case, Record, in_batches
from quality import mark_spans
from torch import nn
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    LukeConfig,
    LukeForEntitySpanClassification,
    pipeline,
)

BY_HAND = "stock model, sorted and batched by hand"
AS_IT_COMES = "stock pipeline as it comes"
LONGEST_MENTION = 30  # tokens of a mention that LUKE reads
Answer = tuple[Any, Any]
"""A label id and its score, or a list of each."""


class Peer(NamedTuple):
    """A call, and how many positions it scores."""

    call: Callable[[], object]
    num_positions: int


def peers(case: Case) -> dict[str, Peer]:
    """Build all that this machine can run."""
    tokenizer, count = case.processor.tokenizer, case.num_positions
    tokenizer.deprecation_warnings["Asking-to-pad-a-fast-tokenizer"] = True
    texts = [row["text"] for row in case.test]
    stock = case.stock(AutoModelForTokenClassification)
    pipe = pipeline("token-classification", model=stock, tokenizer=tokenizer, device="cpu")
    passes = case.stock(AutoModelForSequenceClassification)
    few = case.test[::8]
    columns = {name: [row[name] for row in few] for name in ("text", "spans")}
    marked = mark_spans(columns)["text"]
    return {
        BY_HAND: Peer(partial(tag_by_hand, stock, case), count),
        AS_IT_COMES: Peer(lambda: pipe(texts), count),
        "stock pipeline, batch_size=16": Peer(lambda: pipe(texts, batch_size=16), count),
        "sequence classification, M passes by hand": Peer(
            partial(classify_by_hand, passes, case, marked), len(marked)
        ),
        "LUKE of this size, forward pass alone": Peer(luke(case), count),
    }


def tag_by_hand(model: nn.Module, case: Case) -> list[list[Answer]]:
    """Return label ids and scores of the first token of each span, in the order of the texts."""
    tokenizer, many = case.processor.tokenizer, case.model.config.task == "multilabel"
    texts = [row["text"] for row in case.test]
    encoded = tokenizer(texts, truncation=True, max_length=case.processor.max_length)
    ids = encoded["input_ids"]
    answers: list[list[Answer]] = [[] for _ in texts]
    for indices in in_batches(sorted(range(len(ids)), key=lambda index: -len(ids[index]))):
        batch = tokenizer.pad({"input_ids": [ids[i] for i in indices]}, return_tensors="pt")
        with torch.inference_mode():
            logits = model(**batch).logits
        owners, rows, tokens = [], [], []
        for row, index in enumerate(indices):
            for span in case.test[index]["spans"]:
                token = encoded.char_to_token(index, span["start"])
                if token is not None:  # else it was cut off
                    owners.append(index)
                    rows.append(row)
                    tokens.append(token)
        for index, answer in zip(owners, decide(logits[rows, tokens], many)):
            answers[index].append(answer)
    return answers


def decide(logits: torch.Tensor, many: bool) -> list[Answer]:
    """Return per position an id and its score, or lists of those above one half."""
    if not many:
        best, ids = logits.softmax(-1).max(-1)
        return list(zip(ids.tolist(), best.tolist()))
    answers: list[Answer] = [([], []) for _ in logits]
    probabilities = logits.sigmoid()
    positions, labels = (probabilities > 0.5).nonzero(as_tuple=True)
    scores = probabilities[positions, labels].tolist()
    for position, label, score in zip(positions.tolist(), labels.tolist(), scores):
        answers[position][0].append(label)
        answers[position][1].append(score)
    return answers


def classify_by_hand(model: nn.Module, case: Case, texts: list[str]) -> list[Answer]:
    """Score texts of one marked span each, sorted and batched."""
    tokenizer, many = case.processor.tokenizer, case.model.config.task == "multilabel"
    ids = tokenizer(texts, truncation=True, max_length=case.processor.max_length)["input_ids"]
    answers: list[Answer] = [(None, None)] * len(texts)
    for indices in in_batches(sorted(range(len(ids)), key=lambda index: -len(ids[index]))):
        batch = tokenizer.pad({"input_ids": [ids[i] for i in indices]}, return_tensors="pt")
        with torch.inference_mode():
            decided = decide(model(**batch).logits, many)
        for index, answer in zip(indices, decided):
            answers[index] = answer
    return answers


def luke(case: Case) -> Callable[[], object]:
    """Build LUKE with random weights; its batches are ready, and its answers stay logits."""
    encoder = case.model.config.base_model_config
    config = LukeConfig(
        vocab_size=encoder.vocab_size,
        hidden_size=encoder.hidden_size,
        num_hidden_layers=encoder.num_hidden_layers,
        num_attention_heads=encoder.num_attention_heads,
        intermediate_size=encoder.intermediate_size,
        max_position_embeddings=encoder.max_position_embeddings + 2,  # it counts from the pad id
        entity_vocab_size=10,
        num_labels=case.model.config.num_labels,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=None,
    )
    model = LukeForEntitySpanClassification(config).eval()
    by_size = sorted(case.test, key=lambda row: -len(row["text"]))
    batches = [luke_batch(part, case) for part in in_batches(by_size)]

    def score() -> None:
        with torch.inference_mode():
            for batch in batches:
                model(**batch)

    return score


def luke_batch(records: list[Record], case: Case) -> Batch:
    """Make the tensors of LUKE's tokenizer: an entity for each span, and the tokens it covers."""
    tokenizer = case.processor.tokenizer
    encoded = tokenizer(
        [row["text"] for row in records],
        truncation=True,
        max_length=case.processor.max_length,
        padding=True,
        return_tensors="pt",
    )
    most = max(len(row["spans"]) for row in records)
    shape = (len(records), most)
    batch: Batch = {
        "input_ids": encoded["input_ids"],
        "attention_mask": encoded["attention_mask"],
        "entity_ids": torch.zeros(shape, dtype=torch.long),
        "entity_attention_mask": torch.zeros(shape, dtype=torch.long),
        "entity_position_ids": torch.full((*shape, LONGEST_MENTION), -1),
        "entity_start_positions": torch.zeros(shape, dtype=torch.long),
        "entity_end_positions": torch.zeros(shape, dtype=torch.long),
    }
    for row, record in enumerate(records):
        for slot, span in enumerate(record["spans"]):
            first = encoded.char_to_token(row, span["start"])
            last = encoded.char_to_token(row, span["end"] - 1)
            if first is None or last is None:  # it was cut off
                continue
            covered = torch.arange(first, min(last + 1, first + LONGEST_MENTION))
            batch["entity_ids"][row, slot] = 2  # the entity [MASK]
            batch["entity_attention_mask"][row, slot] = 1
            batch["entity_position_ids"][row, slot, : len(covered)] = covered
            batch["entity_start_positions"][row, slot] = first
            batch["entity_end_positions"][row, slot] = last
    return batch
