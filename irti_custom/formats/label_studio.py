"""Label Studio's JSON export, and tasks to import, with annotations or predictions.

    {"id": 1, "data": {"text": "Ann saw Rome"}, "annotations": [{"result": [
      {"type": "labels", "value": {"start": 8, "end": 12, "text": "Rome", "labels": ["place"]}}]}]}

Offsets count code points, as Python's do; old exports, before label-studio-frontend#308, count
UTF-16 units. A choice per region is a label of its span. Written for a labeling interface with
`<Labels name="label" toName="text">` and `<Text name="text" value="$text"/>`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ..records.record import (
    ItemError,
    Record,
    check_id,
    check_labels,
    check_list,
    check_range,
    check_scores,
)
from .annotations import (
    SEVERAL,
    Annotation,
    as_number,
    choose_annotations,
    choose_text,
    code_points,
    merge_spans,
    read_items,
)
from .files import write_array
from .record_streams import texts
from .report import Report

ANNOTATIONS = (*SEVERAL, "ground_truth", "predictions")
OFFSETS = ("code-points", "utf-16")
_OWN_ID = "record_id"
_KINDS = ("annotations", "predictions")


def read(
    path: Path,
    report: Report,
    annotations: str | None = None,
    text_field: str | None = None,
    offsets: str = OFFSETS[0],
) -> Iterator[Record]:
    """Read tasks.

    Args:
        path: the export.
        report: counts what records do not hold.
        annotations: which to take of a text that has several: "first", "last", "merge" for the
            spans and labels of all, or the one marked as "ground_truth"; "predictions" to read
            these. By default there must be one.
        text_field: of a task's `data`; by default "text", or the only string.
        offsets: "code-points" or "utf-16".
    """
    for option, value, choices in (
        ("annotations", annotations, (None, *ANNOTATIONS)),
        ("offsets", offsets, OFFSETS),
    ):
        if value not in choices:
            raise ValueError(f"`{option}` must be one of {choices}, got {value!r}.")
    annotated = False
    regions = _Regions(report, offsets)

    def read_item(task: dict[str, Any], where: str, number: int) -> Record | None:
        nonlocal annotated
        text = _text(task.get("data"), text_field, where)
        chosen = _choose(task, annotations, where, report)
        annotated |= bool(task.get("annotations") or task.get("completions"))
        if chosen is None:
            return None
        record_id = task["data"].get(_OWN_ID, task.get("id"))
        spans = [span for result in chosen for span in regions.of(result, text, where)]
        return {
            "id": check_id(record_id, where, number),
            "text": text,
            "spans": merge_spans(spans, report),
        }

    yield from read_items(path, report, read_item)
    if not annotated and report.notes["text with predictions, which were not read"]:
        raise ValueError(
            f"{path} must have annotations, got predictions only. annotations='predictions' reads "
            "these."
        )


def write(
    records: Iterable[Record], path: Path, report: Report, predictions: bool | None = None
) -> None:
    """Write tasks to import.

    Args:
        records: texts with spans.
        path: the file.
        report: counts what tasks do not hold.
        predictions: True for pre-annotations, with their scores; False for annotations. By default
            spans that have scores are predictions.
    """
    listed = list(records)
    scored = [r for r in listed if any("scores" in span for span in r.get("spans", ()))]
    as_predictions = bool(scored) if predictions is None else predictions
    if scored and not as_predictions:
        report.note("text whose scores are not kept", len(scored))
    report.note(f"text written with {_KINDS[as_predictions]}", len(listed), lost=False)
    write_array(path, _tasks(listed, as_predictions, report))


def detect(item: dict[str, Any]) -> bool:
    """Return True for a task."""
    made = ("annotations", "predictions", "completions")
    return isinstance(item.get("data"), dict) and any(name in item for name in made)


def _text(data: object, field: str | None, where: str) -> str:
    if not isinstance(data, dict):
        raise ItemError(
            f"{where}: A task must have `data`, got {data!r:.80}. Export as JSON, not as JSON-MIN.",
            "task without `data`",
        )
    return choose_text({k: v for k, v in data.items() if k != _OWN_ID}, field, where)


def _choose(
    task: dict[str, Any], annotations: str | None, where: str, report: Report
) -> list[list[dict[str, Any]]] | None:
    """Return the results to read, or None for a task that is left out."""
    made = check_list(
        task.get("annotations") or task.get("completions") or [], where, "annotations"
    )
    predicted = check_list(task.get("predictions") or [], where, "predictions")
    if not all(isinstance(one, dict) for one in (*made, *predicted)):
        raise ItemError(
            f"{where}: Annotations must be objects, got {[*made, *predicted]!r:.80}.",
            "annotation that is no object",
        )
    kept = [one for one in made if not one.get("was_cancelled")]
    if len(kept) < len(made):
        report.note("annotation that its annotator cancelled", len(made) - len(kept))
    if annotations == "predictions":
        kept = predicted
    elif predicted:
        report.note("text with predictions, which were not read")
    if annotations == "ground_truth":
        kept = [one for one in kept if one.get("ground_truth")]
    if not kept:
        report.note(f"text without {annotations or 'annotations'}", lost=False)
    annotators = [one.get("completed_by") for one in kept]
    chosen = choose_annotations(kept, annotations, ANNOTATIONS, annotators, where, report)
    if chosen is None:
        return None
    return [check_list(one.get("result") or [], where, "result") for one in chosen]


class _Regions:
    """Find the spans of results."""

    def __init__(self, report: Report, offsets: str) -> None:
        self.report, self.utf_16 = report, offsets == "utf-16"
        self.tag: str | None = None  # the name of the text in the labeling interface

    def of(self, result: list[Any], text: str, where: str) -> Iterator[Annotation]:
        for item in result:
            try:
                yield from self._region(item, text, where)
            except ItemError as error:
                self.report.leave_out(error)

    def _region(self, item: Any, text: str, where: str) -> list[Annotation]:
        # What is in a value that is no object is another kind of annotation.
        if not isinstance(item, dict) or not isinstance(item.get("value", {}), dict):
            raise ItemError(
                f"{where}: A region must be an object, got {item!r:.80}.",
                "region that is no object",
            )
        kind, value = item.get("type"), item.get("value") or {}
        at_region = f"{where}, region {item.get('id')!r}"
        part = "region" if "start" in value else "whole text"
        if kind == "relation":
            raise ItemError(f"{at_region}: A record holds no relations, got {item!r:.80}.", kind)
        if kind not in ("labels", "choices") or part != "region":
            raise ItemError(
                f"{at_region}: A record holds labels and choices of regions of a text, got "
                f"{kind!r} of a {part}.",
                f"{kind} of a {part}",
            )
        if self.tag not in (None, item.get("to_name")):
            raise ItemError(
                f"{at_region}: All regions must be of one text, got those of {self.tag!r} and "
                f"{item.get('to_name')!r}.",
                "region of another text",
            )
        span = self._char_span(value, text, at_region)
        labels = check_labels({"labels": value.get(kind) or []}, at_region) or []
        scores = [item.get("score")] * len(labels)
        if labels and scores[0] is not None:
            check_scores(scores, labels, at_region)
        self.tag = item.get("to_name")
        return [(*span, *pair) for pair in zip(labels, scores)] or [(*span, None, None)]

    def _char_span(self, value: dict[str, Any], text: str, where: str) -> tuple[int, int]:
        ends = [as_number(value.get(name)) for name in ("start", "end")]
        surface = value.get("text")
        try:
            if self.utf_16:
                ends = [code_points(text, end) for end in ends]
            start, end = check_range(ends[0], ends[1], text, where)
        except ValueError as error:
            problem = f"The ends of a region must be in its text: {error}"
            raise self._not_its_text(problem, text, where) from error
        if not isinstance(surface, str):
            self.report.note("region without its text, not checked", lost=False)
        elif _flat(text[start:end]) != _flat(surface):
            problem = f"The text at {start} to {end} must be {surface!r:.80}, got "
            raise self._not_its_text(f"{problem}{text[start:end]!r:.80}.", text, where)
        return start, end

    def _not_its_text(self, problem: str, text: str, where: str) -> ItemError:
        wide = not self.utf_16 and any(ord(character) > 0xFFFF for character in text)
        hint = " Is the export an old one? offsets='utf-16' reads it." if wide else ""
        return ItemError(f"{where}: {problem}{hint}", "region that is not its text")


def _tasks(
    records: Iterable[Record], as_predictions: bool, report: Report
) -> Iterator[dict[str, Any]]:
    for where, record in texts(records, report):
        made: dict[str, Any] = {"result": list(_result(record, where, as_predictions, report))}
        if as_predictions:
            made["model_version"] = "irti_custom"
        data = {"text": record["text"], _OWN_ID: record["id"]}
        yield {"data": data, _KINDS[as_predictions]: [made]}


def _result(
    record: Record, where: str, as_predictions: bool, report: Report
) -> Iterator[dict[str, Any]]:
    for number, span in enumerate(record["spans"]):
        labels, scores = span["labels"], span.get("scores")
        if labels is None:
            report.misfit(
                "span without known labels",
                where,
                f"The labels of a region must be known, got {span}.",
            )
            continue
        parts: list[tuple[list[str], float | None]] = [(labels, None)]
        if as_predictions and scores and labels:
            parts = [([label], score) for label, score in zip(labels, scores)]
        for part, (some, score) in enumerate(parts):
            start, end = span["start"], span["end"]
            value = {"start": start, "end": end, "text": record["text"][start:end], "labels": some}
            region = {"id": f"{number}-{part}", "from_name": "label", "to_name": "text"}
            yield {
                **region,
                "type": "labels",
                "value": value,
                **({} if score is None else {"score": score}),
            }


def _flat(text: str) -> str:
    r"""Write line ends as Label Studio writes them into the text of a region: as "\\n"."""
    return re.sub(r"\r\n|[\r\n]", r"\\n", text)
