"""Let a model answer labelled records, and line its answers up with the truth.

    model + records  ->  Scored: true, predicted (P, L) and probabilities (P, L) of P positions

A position is a span of a text, a column of a table, or a value of a record of fields. Those
without labels, and those that do not fit into the model's rows, are counted and left out.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Union

import numpy as np
import torch

from ..export.runtime import OnnxMaskedSeqModel
from ..inference.components import LoadedModel, ProcessorOrPath
from ..inference.pipeline import MaskedSeqClassificationPipeline
from ..inference.predictions import Answer, AnswerWriter
from ..labels import IGNORE_INDEX
from ..processing.examples import ExampleInput
from ..processing.fields import read_fields
from ..records.record import check_record

ModelInput = Union[
    str, "os.PathLike[str]", LoadedModel, OnnxMaskedSeqModel, MaskedSeqClassificationPipeline
]
"""A folder or Hub id, a loaded model, or a pipeline around one."""


class Place(NamedTuple):
    """Where a position is, and what is written there.

    Attributes:
        record: the number of the record.
        number: of the position in the record.
        text: of the record, or what stands for it where that is a table.
        start: of the position in the text.
        end: of it, exclusive.
        labels: the true ones; None where they are not known.
    """

    record: int
    number: int
    text: str
    start: int
    end: int
    labels: list[str] | None

    @property
    def string(self) -> str:
        """What is written at the position."""
        return self.text[self.start : self.end]


class Scored(NamedTuple):
    """What a model answers at the P positions that have labels.

    Attributes:
        name: of the model.
        writer: holds its labels, task, thresholds and groups.
        places: P of them.
        true: bool ``(P, L)``.
        predicted: bool ``(P, L)``; for "multiclass" no label where the threshold rejects the top.
        probabilities: ``(P, L)``.
        in_windows: bool ``(P,)``, True where the text is cut into windows.
        counts: ``records``, ``positions``, ``unlabelled``, ``dropped`` and ``records_in_windows``.
    """

    name: str
    writer: AnswerWriter
    places: list[Place]
    true: np.ndarray
    predicted: np.ndarray
    probabilities: np.ndarray
    in_windows: np.ndarray
    counts: dict[str, int]


class _Logits(AnswerWriter):
    """Answer with the logits themselves."""

    def write(self, logits: torch.Tensor) -> list[Answer]:
        return [{"logits": row} for row in logits]

    def unknown(self) -> Answer:
        return {"logits": None}


def open_pipeline(
    model: ModelInput, processor: ProcessorOrPath | None
) -> MaskedSeqClassificationPipeline:
    """Return a pipeline around a model of any kind, or the one that is given.

    Raises:
        ValueError: a pipeline and a processor.
    """
    if isinstance(model, MaskedSeqClassificationPipeline):
        if processor is not None:
            raise ValueError("A pipeline brings its own processor. Leave `processor` out.")
        return model
    if isinstance(model, (str, os.PathLike)):
        given = {} if processor is None else {"processor": processor}
        return MaskedSeqClassificationPipeline.from_pretrained(model, **given)
    return MaskedSeqClassificationPipeline(model, processor)


def check_records(records: Iterable[Mapping[str, Any]], name: str) -> list[dict[str, Any]]:
    """Check records, and keep their other columns.

    Args:
        records: as `read_records` returns them, or a list of such dicts.
        name: of the argument, for errors.

    Raises:
        ValueError: something that is no record, or none at all.

    Example:
        >>> check_records([{"text": "Rome", "spans": [], "topic": "a"}], "records")
        [{'text': 'Rome', 'spans': [], 'topic': 'a', 'id': '0'}]
    """
    if isinstance(records, (str, os.PathLike, Mapping)) or not isinstance(records, Iterable):
        raise ValueError(
            f"`{name}` must be a data set or a list of records, got {records!r:.80}. "
            "read_records(path) reads a file."
        )
    checked = []
    for number, record in enumerate(records):
        where = f"`{name}`, record {number}"
        if not isinstance(record, Mapping):
            raise ValueError(f"{where}: A record must be a dict, got {record!r:.80}.")
        with_id = {**record, "id": number if record.get("id") is None else record["id"]}
        checked.append({**record, **check_record(with_id, where)})
    if not checked:
        raise ValueError(f"`{name}` must hold at least one record, got none.")
    return checked


def places_of(number: int, record: Mapping[str, Any]) -> Iterator[Place]:
    """Yield the positions of a record.

    Example:
        >>> column = {"header": "city", "values": ["Rome", None, "Ulm"], "labels": ["place"]}
        >>> [place.text for place in places_of(0, {"columns": [column]})]
        ['city: Rome, Ulm']
    """
    if record.get("text") is not None:
        for index, span in enumerate(record["spans"]):
            yield Place(number, index, record["text"], span["start"], span["end"], span["labels"])
    elif record.get("columns") is not None:
        for index, column in enumerate(record["columns"]):
            header = column["header"] or ""
            values = ", ".join(value for value in column["values"] if value is not None)
            text = f"{header}: {values}" if header else values
            yield Place(number, index, text, 0, len(header or values), column["labels"])
    else:
        fields = read_fields(_example_of(record)["fields"], f"record {number}")
        text, spans = fields.write(with_names=True)
        for index, (start, end) in zip(fields.present, spans):  # a missing value is no position
            yield Place(number, index, text, start, end, record["fields"][index]["labels"])


def collect(pipe: MaskedSeqClassificationPipeline, records: Sequence[Mapping[str, Any]]) -> Scored:
    """Let a model answer records.

    Args:
        pipe: the model and its processor.
        records: N of them, from `check_records`.

    Raises:
        ValueError: a label that the model does not have, for "multiclass" other than one label, a
            position that cannot be prepared, or no position with labels.
    """
    writer = pipe.writer()
    all_places = [list(places_of(number, record)) for number, record in enumerate(records)]
    _check_labels([place for places in all_places for place in places], writer, records)
    as_logits = _Logits(writer.names, writer.task)
    batch_size = pipe._batch_size
    size = batch_size * pipe.look_ahead
    places: list[Place] = []
    logits: list[torch.Tensor] = []
    cut: list[bool] = []
    counts = Counter(records=len(records), unlabelled=0, dropped=0, records_in_windows=0)
    for first in range(0, len(records), size):
        examples: list[ExampleInput] = [
            _example_of(record) for record in records[first : first + size]
        ]
        encoded = pipe.preprocess(examples, first=first)
        rows_per_record = Counter(encoded.rows["example_ids"])
        answers = pipe.answer(encoded, first, batch_size, as_logits)
        for number, of_record in enumerate(answers, start=first):
            is_cut = rows_per_record[number] > 1
            counts["records_in_windows"] += is_cut
            for place in all_places[number]:
                answer = of_record[place.number]["logits"]
                counts["unlabelled"] += place.labels is None
                counts["dropped"] += place.labels is not None and answer is None
                if place.labels is not None and answer is not None:
                    places.append(place)
                    logits.append(answer)
                    cut.append(is_cut)
    counts["positions"] = len(places)
    if not places:
        raise ValueError(
            f"`records` must hold positions with labels, got {dict(counts)}. None as `labels` "
            "means that they are not known; [] that none holds."
        )
    stacked = torch.stack(logits)
    return Scored(
        name_of(pipe),
        writer,
        places,
        one_hot([place.labels or () for place in places], writer.names),
        _decisions(stacked, writer),
        writer.probabilities(stacked).double().numpy(),
        np.array(cut),
        dict(counts),
    )


def one_hot(label_sets: Sequence[Iterable[str]], names: Sequence[str]) -> np.ndarray:
    """Mark the labels of each position, bool ``(P, L)``; those not among the names are left out.

    Example:
        >>> one_hot([["b"], [], ["a", "c"]], ["a", "b"]).tolist()
        [[False, True], [False, False], [True, False]]
    """
    ids = {name: index for index, name in enumerate(names)}
    marked = np.zeros((len(label_sets), len(names)), dtype=bool)
    for row, labels in enumerate(label_sets):
        marked[row, [ids[label] for label in labels if label in ids]] = True
    return marked


def digest_of(records: Sequence[Mapping[str, Any]]) -> str:
    """Return a fingerprint of the texts, positions and labels of records.

    Example:
        >>> digest_of([{"text": "Rome", "spans": []}])[:8]
        '9854af7c'
    """
    digest = hashlib.sha256()
    for number, record in enumerate(records):
        digest.update(json.dumps(record.get("text")).encode())
        for place in places_of(number, record):
            labels = None if place.labels is None else sorted(place.labels)
            content = [place.number, place.start, place.end, place.string, labels]
            digest.update(json.dumps(content).encode())
    return digest.hexdigest()


def name_of(pipe: MaskedSeqClassificationPipeline) -> str:
    """Return the last part of where the model was loaded from; "model" where nothing says so."""
    source = getattr(pipe.model, "source", None)
    path = source.path if source is not None else pipe.model.config._name_or_path
    return os.path.basename(os.path.abspath(path)) if path else "model"


def _check_labels(
    places: Sequence[Place], writer: AnswerWriter, records: Sequence[Mapping[str, Any]]
) -> None:
    known = set(writer.names)
    unknown = Counter(label for place in places for label in set(place.labels or ()) - known)
    if unknown:
        raise ValueError(
            f"`records` must have labels of the model, which are {writer.names}, got "
            f"{dict(unknown.most_common(8))}, with the number of their positions. Rename these "
            "labels, or leave such positions out with None as their `labels`."
        )
    if writer.task == "multilabel":
        return
    for place in places:
        if place.labels is not None and len(set(place.labels)) != 1:
            raise ValueError(
                f"Position {place.number} of record {records[place.record]['id']!r} must have one "
                f"label for task='multiclass', got {place.labels}. Are labels not known? Use None."
            )


def _example_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record without its labels, as the processor takes it."""
    if record.get("text") is not None:
        return {"text": record["text"], "spans": record["spans"]}
    if record.get("columns") is not None:
        columns = [
            {key: column[key] for key in ("header", "values")} for column in record["columns"]
        ]
        return {"columns": columns, "title": record.get("title")}
    return {
        "fields": [{key: field[key] for key in ("name", "value")} for field in record["fields"]]
    }


def _decisions(logits: torch.Tensor, writer: AnswerWriter) -> np.ndarray:
    decided = writer.decide(logits)
    if writer.task == "multilabel":
        return decided.numpy()
    return (decided[:, None] == torch.arange(logits.shape[1])).numpy() & (
        decided != IGNORE_INDEX
    ).numpy()[:, None]
