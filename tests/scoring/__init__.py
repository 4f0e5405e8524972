"""A trained folder, rows to score, and the slow way to score them."""

from __future__ import annotations

import gzip
import json
import random
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from irti_custom import (
    AutoModelForMaskedSeqModeling,
    DataCollatorForMaskedSeq,
    MaskedSeqProcessor,
)
from tests.tiny import WORDS, tiny_model, word_tokenizer

EXAMPLES = Path(__file__).parents[2] / "examples"
if str(EXAMPLES) not in sys.path:
    sys.path.insert(0, str(EXAMPLES))


def save_trained(folder: Path, task: str = "multilabel") -> str:
    """Save a model with random weights, and the processor that belongs to it."""
    torch.manual_seed(0)
    names = dict(enumerate("abcd"))
    tiny_model("bert", num_labels=4, task=task, id2label=names).save_pretrained(folder)
    label2id = {name: index for index, name in names.items()}
    MaskedSeqProcessor(
        word_tokenizer(), max_length=32, label2id=label2id, task=task
    ).save_pretrained(folder)
    return str(folder)


def make_rows(count: int) -> list[dict[str, Any]]:
    """Texts of 1 to 40 words with spans, nested ones among them; every seventh has none."""
    generator = random.Random(count)
    rows = []
    for number in range(count):
        words = [generator.choice(WORDS[:-1]) for _ in range(generator.randint(1, 40))]
        starts = [len(" ".join(words[:place])) + (place > 0) for place in range(len(words))]
        spans = []
        for place in generator.sample(range(len(words)), min(3, len(words))) * (number % 7 > 0):
            last = generator.randint(place, min(place + 2, len(words) - 1))
            spans.append({"start": starts[place], "end": starts[last] + len(words[last])})
        rows.append({"id": number, "text": " ".join(words), "spans": spans, "day": "2024-01-01"})
    return rows


def write_rows(path: Path, rows: list[dict[str, Any]]) -> str:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=7)
        return str(path)
    with (gzip.open if path.suffix == ".gz" else open)(path, "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return str(path)


@torch.no_grad()
def predict(model_folder: str, rows: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Score one row after the other, without a batch and without a pipeline."""
    model = AutoModelForMaskedSeqModeling.from_pretrained(model_folder)
    processor = MaskedSeqProcessor.from_pretrained(model_folder)
    collator, names = DataCollatorForMaskedSeq(processor.tokenizer), model.config.id2label
    answers = []
    for row in rows:
        columns = processor.encode_spans([row["text"]], [row["spans"]])
        windows = [dict(zip(columns, values)) for values in zip(*columns.values())]
        scores = [
            model.predict_proba(model(**collator([window])).logits)[0].tolist()
            for window in windows
        ]
        answers.append(
            [
                {**span, "word": row["text"][span["start"] : span["end"]], "labels": best}
                for span, best in zip(
                    row["spans"],
                    (
                        _labels(s, names, model.config.task)
                        for s in processor.decode(columns, scores)[0]
                    ),
                )
            ]
        )
    return answers


def _labels(scores: list[float], names: dict[int, str], task: str) -> list[dict[str, Any]]:
    found = sorted(({"label": names[i], "score": s} for i, s in enumerate(scores)), key=_negative)
    return found[:1] if task == "multiclass" else [one for one in found if one["score"] >= 0.5]


def _negative(label: dict[str, Any]) -> float:
    return -label["score"]


def assert_same_answers(table: pa.Table, rows: list[dict[str, Any]], answers: list[Any]) -> None:
    """Hold a table to rows and answers: equal in all but rounding, and in this order."""
    assert table.drop_columns("predictions").to_pylist() == rows
    for found, wanted in zip(table["predictions"].to_pylist(), answers):
        assert [_without_scores(one) for one in found] == [_without_scores(one) for one in wanted]
        scores, exact = (
            torch.tensor([label["score"] for one in spans for label in one["labels"]])
            for spans in (found, wanted)
        )
        torch.testing.assert_close(scores, exact, rtol=0, atol=1e-6)


def _without_scores(answer: dict[str, Any]) -> dict[str, Any]:
    return {**answer, "labels": [label["label"] for label in answer["labels"]]}


def assert_close_answers(found: Any, wanted: Any) -> None:
    """Hold a pipeline's answers to others: equal in all but the rounding of scores."""
    if isinstance(wanted, list):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted):
            assert_close_answers(one, other)
        return
    if isinstance(wanted, dict):
        assert found.keys() == wanted.keys()
        for name, value in wanted.items():
            assert_close_answers(found[name], value)
        return
    assert found == (pytest.approx(wanted, abs=1e-6) if isinstance(wanted, float) else wanted)
