"""Labels that were changed on purpose are found; nothing is ranked twice or left out."""

from __future__ import annotations

import doctest
import importlib
import json
import random
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from irti_custom import read_records
from tests.examples.test_examples import EXAMPLES, run
from tests.tiny import save_base

pytest.importorskip("cleanlab", reason="needs cleanlab")

CLASSES = {"Ann": "person", "Bob": "person", "Paris": "place", "Rome": "place", "cat": "animal"}
LABELS = sorted(set(CLASSES.values()))
FAST = ["--num_train_epochs", "4", "--learning_rate", "5e-3", "--warmup_steps", "10"]
FAST += ["--per_device_train_batch_size", "8", "--use_cpu", "True", "--disable_tqdm", "True"]


def texts_with_errors(task: str, seed: int = 0) -> tuple[list[dict[str, Any]], set[tuple]]:
    """Texts of 3 to 40 words, some of them equal, with wrong and with unknown labels."""
    draw = random.Random(seed)
    records: list[dict[str, Any]] = []
    for number in range(200):
        words = draw.choices([*CLASSES, "the", "likes", "in"], k=draw.choice([3, 6, 6, 6, 40]))
        text, spans = " ".join(words), []
        for index, word in enumerate(words):
            start = len(" ".join([*words[:index], ""]))
            if word in CLASSES:
                labels = [CLASSES[word]] if task == "multiclass" or word != "cat" else LABELS[:2]
                spans.append({"start": start, "end": start + len(word), "labels": labels})
        records.append({"id": f"text {number}", "text": text, "spans": spans})
    places = [(record, span) for record in records for span in record["spans"]]
    wrong = draw.sample(places, len(places) // 20)
    for _, span in wrong:
        if task == "multiclass":
            span["labels"] = [draw.choice([one for one in LABELS if one not in span["labels"]])]
        else:
            span["labels"] = sorted({*span["labels"]} ^ {draw.choice(LABELS)})
    flipped = {place(record["id"], span) for record, span in wrong}
    for _, span in draw.sample([one for one in places if one not in wrong], 10):
        span["labels"] = None
    return records, flipped


def place(id: str, span: dict[str, Any]) -> tuple[str, int, int]:
    return id, span["start"], span["end"]


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_changed_labels_are_among_the_first_and_every_position_is_ranked_once(task, tmp_path):
    records, flipped = texts_with_errors(task)
    file, out = tmp_path / "train.jsonl", tmp_path / "out"
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    flags = ["--file", str(file), "--task", task, "--output_dir", str(out), "--max_length", "16"]
    flags += ["--model_name_or_path", save_base(tmp_path / "base"), "--folds", "3", *FAST]
    printed = run("find_label_errors.py", tmp_path, *flags, "--share", "1")
    assert "Positions without labels, left out: 10" in printed

    ranking = lines_of(out / "suspects.jsonl")
    known = {
        place(record["id"], span): (record, span)
        for record in records
        for span in record["spans"]
        if span["labels"] is not None
    }
    assert [line["rank"] for line in ranking] == list(range(1, len(known) + 1))
    assert {place(line["id"], line) for line in ranking} == set(known)
    scores = [line["score"] for line in ranking]
    assert scores == sorted(scores)
    for line in ranking:
        record, span = known[place(line["id"], line)]
        assert line["span"] == record["text"][line["start"] : line["end"]]
        assert list(line["given"]) == sorted(span["labels"])
        assert f"[{line['span']}]" in line["context"]
    first = {place(line["id"], line) for line in ranking[: len(ranking) // 10]}
    assert len(first & flipped) >= 0.9 * len(flipped)

    tasks = read_records(out / "label_studio.json", annotations="predictions")
    suggested = {place(line["id"], line): line["suggested"] for line in ranking}
    for record in tasks:
        for span in record["spans"]:
            assert span["labels"] == list(suggested.pop(place(record["id"], span)))
    assert not suggested


@pytest.fixture
def suspects(monkeypatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module("suspects")


def record(id: int, text: int, *labels: str) -> dict[str, Any]:
    spans = [{"start": 0, "end": 1, "labels": [label]} for label in labels]
    return {"id": f"{id}", "text": f"{text}", "spans": spans}


def test_what_cannot_be_ranked_is_refused(suspects):
    with pytest.raises(ValueError, match="at least two labels, got \\['a'\\]"):
        suspects.label_names([record(0, 0, "a")])
    with pytest.raises(ValueError, match="got tables"):
        suspects.label_names([{"id": "0", "columns": []}])


def test_its_examples_hold(suspects):
    result = doctest.testmod(suspects)
    assert result.attempted
    assert not result.failed
