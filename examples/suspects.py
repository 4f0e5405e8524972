"""Rank positions by how badly their labels fit what a model says, and write the worst.

    records, logits per span  ──▶  rank_labels (cleanlab)  ──▶  write_suspects: JSON lines, tasks

Records are those of `read_records`. The logits must come from models that did not train on the
same texts.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from cleanlab.multilabel_classification import get_label_quality_scores as quality_of_sets
from cleanlab.rank import get_label_quality_scores as quality_of_classes

from irti_custom import write_records
from irti_custom.formats.atomic import writing
from irti_custom.formats.files import as_line
from irti_custom.records.splits import count_labels

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import Trainer

    from irti_custom import AutoModelForMaskedSeqModeling

FILES = ("suspects.jsonl", "label_studio.json")
CONTEXT = 40  # characters on each side of a span


class Suspect(NamedTuple):
    """A position, and how well its labels fit.

    Attributes:
        record: its index.
        span: the index of the span in it.
        score: cleanlab's label quality, 0 for labels that do not fit at all, to 1.
        given: its labels, each with its probability.
        suggested: the labels that the model gives it, each with its probability.
    """

    record: int
    span: int
    score: float
    given: dict[str, float]
    suggested: dict[str, float]


def label_names(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names of all labels.

    Raises:
        ValueError: tables, or too few labels to take one for another.

    Example:
        >>> label_names([{"text": "Ulm", "spans": [{"start": 0, "end": 3, "labels": ["b", "a"]}]}])
        ['a', 'b']
    """
    if not all("spans" in record for record in records):
        raise ValueError("The records must be texts with spans, got tables.")
    names = sorted(count_labels(records))
    if len(names) < 2:
        raise ValueError(f"The records must have at least two labels, got {names}.")
    return names


def predict_in_order(trainer: Trainer, rows: Dataset) -> Iterable[np.ndarray]:
    """Return logits ``(M, L)`` row by row; a trainer that groups by length mixes the rows up."""
    trainer.args.train_sampling_strategy = "random"  # in Transformers 5
    trainer.args.group_by_length = False  # in Transformers 4
    return trainer.predict(rows).predictions


def rank_labels(
    records: Sequence[Mapping[str, Any]],
    logits: Sequence[Sequence[np.ndarray | None]],
    model: AutoModelForMaskedSeqModeling,
) -> list[Suspect]:
    """Rank the positions whose labels are known, the worst first.

    Args:
        records: texts with spans.
        logits: ``(L,)`` for each span of each record; None for a span without a prediction.
        model: turns logits into probabilities and decisions.

    Raises:
        ValueError: no position to rank, or logits that are not finite.
    """
    places = [
        (record, span)
        for record, of_spans in enumerate(logits)
        for span, of_span in enumerate(of_spans)
        if of_span is not None and records[record]["spans"][span]["labels"] is not None
    ]
    if not places:
        raise ValueError("At least one position must have known labels and a prediction.")
    scores = torch.from_numpy(np.stack([logits[record][span] for record, span in places]))  # type: ignore[misc]
    if not scores.isfinite().all():
        raise ValueError("Logits must be finite. Does a lower learning rate help?")
    chances, decided = model.predict_proba(scores).numpy(), model.predict(scores)
    ids, names = model.config.label2id, model.config.id2label
    labels = [records[record]["spans"][span]["labels"] for record, span in places]
    given = [sorted({ids[name] for name in of_span}) for of_span in labels]
    if model.config.task == "multilabel":
        # By default the second worst label counts, too: a clear position with one wrong label would
        # come after many that are unsure in two.
        quality = quality_of_sets(given, chances, aggregator_kwargs={"method": "softmin"})
        suggested = [of_span.nonzero()[:, 0].tolist() for of_span in decided]
    else:
        quality = quality_of_classes(np.concatenate(given), chances)
        suggested = decided[:, None].tolist()

    def named(position: int, labels: list[int]) -> dict[str, float]:
        return {names[label]: round(float(chances[position, label]), 4) for label in labels}

    return [
        Suspect(
            places[position][0],
            places[position][1],
            round(float(quality[position]), 4),
            named(position, given[position]),
            named(position, suggested[position]),
        )
        for position in np.argsort(quality, kind="stable").tolist()
    ]


def write_suspects(
    records: Sequence[Mapping[str, Any]], suspects: Sequence[Suspect], folder: str
) -> None:
    """Write ``suspects.jsonl``, one a line, and ``label_studio.json``, the texts that have them.

    A task shows all spans of its text whose labels are known, a suspect with the suggested labels
    and their scores in place of its own.
    """
    tasks: dict[int, dict[str, Any]] = {}
    with writing(Path(folder, FILES[0])) as file:
        for rank, suspect in enumerate(suspects, start=1):
            task = tasks.setdefault(suspect.record, copy.deepcopy(dict(records[suspect.record])))
            text, span = task["text"], task["spans"][suspect.span]
            start, end = span["start"], span["end"]
            before, after = text[max(0, start - CONTEXT) : start], text[end : end + CONTEXT]
            line = {
                "rank": rank,
                "score": suspect.score,
                "span": text[start:end],
                "given": suspect.given,
                "suggested": suspect.suggested,
                "context": f"{before}[{text[start:end]}]{after}",
                "id": task["id"],
                "start": start,
                "end": end,
            }
            file.write(as_line(line))
            span["labels"], span["scores"] = (
                list(suspect.suggested),
                list(suspect.suggested.values()),
            )
    for task in tasks.values():
        task["spans"] = [span for span in task["spans"] if span["labels"] is not None]
    write_records(tasks.values(), Path(folder, FILES[1]), "label-studio", predictions=True)
