"""Line predictions up with the labels of their records.

    Predictions  ->  Scored: true, predicted (P, L) and probabilities (P, L) of P positions

A position is a span of a text, a column of a table, or a value of a record of fields. Those
without labels, and those that do not fit into the model's rows, are counted and left out.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Union

import numpy as np
import torch

from ..export.runtime import OnnxMaskedSeqModel
from ..inference.components import LoadedModel, ProcessorOrPath
from ..inference.pipeline import MaskedSeqClassificationPipeline
from ..inference.predictions import Predictions
from ..records.kinds import Position, Record, RecordInput
from ..rule import Rule

Records = Iterable[RecordInput]
ModelInput = Union[
    str,
    "os.PathLike[str]",
    LoadedModel,
    OnnxMaskedSeqModel,
    MaskedSeqClassificationPipeline,
    Predictions,
]
"""A folder or Hub id, a loaded model, a pipeline around one, or predictions."""


class Place(NamedTuple):
    """A position in the text that shows it.

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
        """The characters of the position."""
        return self.text[self.start : self.end]


class Scored(NamedTuple):
    """Decisions and probabilities at the P positions that have labels.

    Attributes:
        name: of the model.
        rule: decides; it holds the labels.
        places: P of them.
        true: bool ``(P, L)``.
        predicted: bool ``(P, L)``; for "multiclass" no label where the threshold rejects the top.
        probabilities: ``(P, L)``.
        in_windows: bool ``(P,)``, True where the text is cut into windows.
        counts: ``records``, ``positions``, ``unlabelled``, ``dropped`` and ``records_in_windows``.
    """

    name: str
    rule: Rule
    places: list[Place]
    true: np.ndarray
    predicted: np.ndarray
    probabilities: np.ndarray
    in_windows: np.ndarray
    counts: dict[str, int]

    @property
    def names(self) -> list[str]:
        """The L labels, in the order of their ids."""
        return list(self.rule.label_names or ())


def predictions_of(
    model: ModelInput, records: Records | None, processor: ProcessorOrPath | None = None
) -> Predictions:
    """Return predictions as they are, or let a model of any kind make them.

    Raises:
        ValueError: no records for a model; a pipeline, or predictions, and a processor.
    """
    if isinstance(model, (Predictions, MaskedSeqClassificationPipeline)) and processor is not None:
        raise ValueError("A pipeline brings its own processor. Leave `processor` out.")
    if isinstance(model, Predictions):
        return model
    if records is None or isinstance(records, (str, os.PathLike, Mapping)):
        raise ValueError(
            f"`records` must be a data set or a list of records, got {records!r:.80}. "
            "read_records(path) reads a file."
        )
    if isinstance(model, MaskedSeqClassificationPipeline):
        return model.predict(records)
    if isinstance(model, (str, os.PathLike)):
        given = {} if processor is None else {"processor": processor}
        return MaskedSeqClassificationPipeline.from_pretrained(model, **given).predict(records)
    return MaskedSeqClassificationPipeline(model, processor).predict(records)


def places_of(number: int, record: Record, positions: Sequence[Position]) -> Iterator[Place]:
    """Yield the positions of a record, but for missing values."""
    labels = record.labels
    for shown in record.show(positions):
        of_position = None if labels is None else labels[shown.number]
        of_position = [of_position] if isinstance(of_position, str) else of_position
        yield Place(number, shown.number, shown.text, shown.start, shown.end, of_position)


def collect(predictions: Predictions) -> Scored:
    """Line predictions up with the labels of their records.

    Raises:
        ValueError: a label that the model does not have, for "multiclass" other than one label, or
            no position with labels.
    """
    rule = predictions.rule
    names = list(rule.label_names or ())
    all_places = {
        (place.record, place.number): place
        for number, (record, positions) in enumerate(zip(predictions.inputs, predictions.positions))
        for place in places_of(number, record, positions)
    }
    _check_labels(list(all_places.values()), rule, predictions)
    scored = [tuple(pair) for pair in predictions.index.tolist()]
    known = [row for row, key in enumerate(scored) if all_places[key].labels is not None]
    places = [all_places[scored[row]] for row in known]
    rows = np.array(predictions.num_rows)
    counts = {
        "records": len(rows),
        "positions": len(places),
        "unlabelled": sum(place.labels is None for place in all_places.values()),
        "dropped": sum(place.labels is not None for place in all_places.values()) - len(places),
        "records_in_windows": int((rows > 1).sum()),
    }
    if not places:
        raise ValueError(
            f"`records` must hold positions with labels, got {counts}. None as `labels` "
            "means that they are not known; [] that none holds."
        )
    logits = predictions.logits[known]
    return Scored(
        predictions.model.name,
        rule,
        places,
        one_hot([place.labels or () for place in places], names),
        _decisions(rule, logits),
        rule.probabilities(logits).double().numpy(),
        rows[predictions.index[known, 0]] > 1,
        counts,
    )


def one_hot(label_sets: Sequence[Iterable[str]], names: Sequence[str]) -> np.ndarray:
    """Mark the labels of each position, bool ``(P, L)``; those not among the names are left out."""
    ids = {name: index for index, name in enumerate(names)}
    marked = np.zeros((len(label_sets), len(names)), dtype=bool)
    for row, labels in enumerate(label_sets):
        marked[row, [ids[label] for label in labels if label in ids]] = True
    return marked


def digest_of(predictions: Predictions) -> str:
    """Return a fingerprint of the texts, positions and labels of records."""
    digest = hashlib.sha256()
    for number, (record, positions) in enumerate(zip(predictions.inputs, predictions.positions)):
        digest.update(json.dumps(getattr(record, "text", None)).encode())
        for place in places_of(number, record, positions):
            labels = None if place.labels is None else sorted(place.labels)
            content = [place.number, place.start, place.end, place.string, labels]
            digest.update(json.dumps(content).encode())
    return digest.hexdigest()


def id_of(predictions: Predictions, number: int) -> str:
    """Return the id of a record, or its number."""
    record_id = predictions.inputs[number].given.get("id")
    return str(number if record_id is None else record_id)


def _check_labels(places: Sequence[Place], rule: Rule, predictions: Predictions) -> None:
    names = list(rule.label_names or ())
    known = set(names)
    unknown = Counter(label for place in places for label in set(place.labels or ()) - known)
    if unknown:
        raise ValueError(
            f"`records` must have labels of the model, which are {names}, got "
            f"{dict(unknown.most_common(8))}, with the number of their positions. Rename these "
            "labels, or leave such positions out with None as their `labels`."
        )
    if rule.task == "multilabel":
        return
    for place in places:
        if place.labels is not None and len(set(place.labels)) != 1:
            raise ValueError(
                f"Position {place.number} of record {id_of(predictions, place.record)!r} must have "
                f"one label for task='multiclass', got {place.labels}. Are labels not known? Use "
                "None."
            )


def _decisions(rule: Rule, logits: torch.Tensor) -> np.ndarray:
    """Decide which labels hold, bool ``(P, L)``; none where the top class is rejected."""
    decided = rule.decide(logits)
    if rule.task == "multiclass":
        decided = decided[:, None] == torch.arange(logits.shape[1])
    return decided.numpy()
