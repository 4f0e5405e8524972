"""A random model's answers as a report sees them, and records to score."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np

from irti_custom import AutoModelForMaskedSeqModeling, MaskedSeqProcessor
from irti_custom.report.collect import Place, Scored
from irti_custom.rule import Rule
from tests.tiny import WORDS, wide_model, word_tokenizer

LABELS = ["animal", "person", "place", "thing"]
HOSTILE = [
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\u202eevil\u202c",
    "שלום $x^2$ {{ 7*7 }}",
]


def tiny_pair(
    task: str = "multilabel", names: list[str] | None = None, **settings: Any
) -> tuple[AutoModelForMaskedSeqModeling, MaskedSeqProcessor]:
    """A model whose answers depend on everything, and a processor for it."""
    label2id = {name: index for index, name in enumerate(names or LABELS)}
    model = wide_model("bert", num_labels=None, task=task, label2id=label2id)
    settings = {"max_length": 32, **settings}
    return model, MaskedSeqProcessor(word_tokenizer(), label2id=label2id, task=task, **settings)


def save_pair(folder: Path, task: str = "multilabel", **settings: Any) -> str:
    model, processor = tiny_pair(task, **settings)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return str(folder)


def make_records(
    count: int, task: str = "multilabel", names: list[str] | None = None, longest: int = 60
) -> list[dict[str, Any]]:
    """Texts of 1 to `longest` words, some of them in windows; each word may be a position."""
    rng = random.Random(count)
    records = []
    for number in range(count):
        words = [rng.choice(WORDS[:-1]) for _ in range(rng.randint(1, longest))]
        text, spans = " ".join(words), []
        for place in sorted(rng.sample(range(len(words)), min(4, len(words)))):
            start = len(" ".join(words[:place])) + (place > 0)
            amount = 1 if task == "multiclass" else rng.randint(0, 2)
            labels = rng.sample(names or LABELS, amount)
            spans.append({"start": start, "end": start + len(words[place]), "labels": labels})
        records.append({"id": str(number), "text": text, "spans": spans, "genre": "ab"[number % 2]})
    return records


def random_scored(task: str, count: int = 300, seed: int = 0) -> tuple[Scored, np.ndarray]:
    """Answers without a model, and the document of each position."""
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.full(4, 0.5), count)
    if task == "multiclass":
        predicted = np.eye(4, dtype=bool)[probabilities.argmax(axis=1)]
        true = np.eye(4, dtype=bool)[[rng.choice(4, p=row) for row in probabilities]]
    else:
        predicted, true = probabilities >= 0.5, rng.random((count, 4)) < probabilities
    places = [
        Place(row, 0, "Ann sees Bob", 0, 3, [LABELS[i] for i in np.flatnonzero(true[row])])
        for row in range(count)
    ]
    rule = Rule(task, LABELS)
    windows = np.zeros(count, dtype=bool)
    scored = Scored("random", rule, places, true, predicted, probabilities, windows, {})
    return scored, np.sort(rng.integers(0, 30, count))
