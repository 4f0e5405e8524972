"""The texts and the model that the sections of `run.py` share.

folder of a data set, or generated texts  ->  Case: texts, model, processor, graphs
"""

from __future__ import annotations

import contextlib
import copy
import gzip
import importlib.util
import itertools
import json
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
from quality import BASE, REAL
from torch import nn
from transformers import AutoTokenizer

from irti_custom import (
    AutoModelForMaskedSeqModeling,
    DataCollatorForMaskedSeq,
    MaskedSeqProcessor,
    OnnxMaskedSeqModel,
    export_onnx,
)
from irti_custom.export.engines import runs_here
from irti_custom.inference.pipeline import MaskedSeqClassificationPipeline
from irti_custom.processing.rows import rows_of

Record = dict[str, Any]
"""``{"text": str, "spans": [{"start", "end", "labels"}]}``"""
Batch = dict[str, torch.Tensor]
BATCH_SIZE = 16


class Shape(NamedTuple):
    """What generated texts take over from a data set; measured on its training texts."""

    mean_words: float
    sigma: float  # of the logarithm of the number of words
    spans_per_word: float
    labels_per_span: int
    num_labels: int


SHAPES = {
    "bionlp13cg": Shape(27.9, 0.45, 0.132, 1, 16),
    "gum_entities": Shape(116.4, 0.33, 0.342, 2, 16),
    "wnut17": Shape(20.7, 0.38, 0.078, 1, 6),
    "presidio_pii": Shape(15.2, 0.62, 0.137, 1, 17),
}


@dataclass
class Case:
    """A data set with a model for it.

    Attributes:
        name: of the data set.
        source: where its texts come from.
        train: texts that int8 is calibrated on, and training is timed on.
        test: texts that are scored.
        model: in eval mode.
        processor: of the model.
        trained: whether its decisions mean anything.
        graphs: the exported model by runtime and precision.
    """

    name: str
    source: str
    train: list[Record]
    test: list[Record]
    model: AutoModelForMaskedSeqModeling
    processor: MaskedSeqProcessor
    trained: bool
    graphs: dict[tuple[str, str], OnnxMaskedSeqModel] = field(default_factory=dict)

    @cached_property
    def inputs(self) -> list[Record]:
        """What our pipeline is given."""
        return [
            {"text": row["text"], "spans": [(span["start"], span["end"]) for span in row["spans"]]}
            for row in self.test
        ]

    @property
    def num_positions(self) -> int:
        """Return the number of spans in the texts that are scored."""
        return sum(len(row["spans"]) for row in self.test)

    def pipeline(self, model: Any) -> Callable[[], object]:
        """Return a call of our pipeline."""
        pipe = MaskedSeqClassificationPipeline(
            model, processor=self.processor, device="cpu", batch_size=BATCH_SIZE
        )
        return lambda: pipe(self.inputs)

    def rows(self, records: list[Record]) -> list[dict[str, Any]]:
        """Encode texts with their labels, as the collator takes them."""
        many = self.processor.task == "multilabel"
        labels = [
            [span["labels"] if many else span["labels"][0] for span in row["spans"]]
            for row in records
        ]
        texts, spans = [row["text"] for row in records], [row["spans"] for row in records]
        return rows_of(self.processor.encode_spans(texts, spans, labels))

    def batches(self, rows: list[dict[str, Any]]) -> list[Batch]:
        """Collate rows in the order they have."""
        collator = DataCollatorForMaskedSeq(self.processor, model=self.model)
        return [dict(collator(part)) for part in in_batches(rows)]

    def stock(self, auto_class: Any) -> nn.Module:
        """Build a stock model around a copy of our encoder, with a new head."""
        config = copy.deepcopy(self.model.config.base_model_config)
        config.num_labels = self.model.config.num_labels
        model = auto_class.from_config(config)
        weights = self.model.encoder.state_dict()
        model.base_model.load_state_dict(weights, strict=False)  # it may have a pooler or not
        return model.eval()


def in_batches(items: list[Any]) -> Iterator[list[Any]]:
    """Cut a list into batches."""
    return (items[start : start + BATCH_SIZE] for start in range(0, len(items), BATCH_SIZE))


def by_length(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sort encoded rows as our pipeline does, the longest first."""
    return sorted(rows, key=lambda row: -row["length"])


def load_case(
    name: str, data: Path, rows: int, calibration: int, trained: str | None, folder: Path | None
) -> Case:
    """Load the texts and the model.

    Args:
        name: of the data set.
        data: holds a folder of this name; texts are generated where it does not.
        rows: texts to score, at most.
        calibration: texts to calibrate int8 on.
        trained: folder of a model; default: all-MiniLM-L6-v2 with a random head.
        folder: where to export to; None for no export.
    """
    real = (data / name).is_dir()
    # As many again as are calibrated on are held apart by `export_onnx`.
    train, test = (
        list(itertools.islice(read(data / name, split) if real else generate(name, split), count))
        for split, count in (("train", max(2 * calibration, rows)), ("test", rows))
    )
    if trained:
        processor = MaskedSeqProcessor.from_pretrained(trained)
        model = AutoModelForMaskedSeqModeling.from_pretrained(trained)
    else:
        found = {label for row in train + test for span in row["spans"] for label in span["labels"]}
        label2id = {label: index for index, label in enumerate(sorted(found))}
        task, _ = REAL[name]
        processor = MaskedSeqProcessor(
            AutoTokenizer.from_pretrained(BASE),
            read="start_end",
            max_length=512,
            label2id=label2id,
            task=task,
        )
        model = AutoModelForMaskedSeqModeling.from_pretrained(BASE, label2id=label2id, task=task)
        processor.prepare_model(model)
    source = f"{data / name}" if real else "generated texts of the same lengths"
    case = Case(name, source, train, test, model.eval(), processor, trained is not None)
    if folder is not None:
        case.graphs = export(case, folder, calibration)
    return case


def export(case: Case, folder: Path, calibration: int) -> dict[tuple[str, str], OnnxMaskedSeqModel]:
    """Export the model, and open it in each runtime and precision that this machine has."""
    if importlib.util.find_spec("onnxruntime") is None:
        return {}
    int8 = calibration > 0 and importlib.util.find_spec("nncf") is not None
    rows = case.rows(case.train[: 2 * calibration]) if int8 else None
    with contextlib.redirect_stdout(sys.stderr):  # progress bars are no part of the tables
        export_onnx(case.model, folder, processor=case.processor, int8=int8, rows=rows)
    pairs = [pair for pair in runs_here() if int8 or pair[1] != "int8"]
    return {pair: OnnxMaskedSeqModel.from_pretrained(folder, *pair) for pair in pairs}


def read(folder: Path, split: str) -> Iterator[Record]:
    """Read the texts that have spans."""
    path = next(folder.glob(f"{split}.jsonl*"))
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as file:
        records = map(json.loads, file)
        yield from (record for record in records if record["spans"])


def generate(name: str, split: str) -> Iterator[Record]:
    """Draw texts of the lengths of a data set, with as many spans; without end."""
    shape, draw = SHAPES[name], random.Random(split)
    vocabulary = AutoTokenizer.from_pretrained(BASE).get_vocab()
    words = sorted(word for word in vocabulary if word.isascii() and word.isalpha())
    labels = [f"label {index:02}" for index in range(shape.num_labels)]
    center = torch.tensor(shape.mean_words).log().item() - shape.sigma**2 / 2
    while True:
        size = min(300, max(4, round(draw.lognormvariate(center, shape.sigma))))
        text, spans = "", []
        for index in range(size):
            word = draw.choice(words)
            if index == 0 or draw.random() < shape.spans_per_word:
                chosen = sorted(draw.sample(labels, shape.labels_per_span))
                spans.append({"start": len(text), "end": len(text) + len(word), "labels": chosen})
            text += f"{word} "
        yield {"text": text, "spans": spans}
