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
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ..records.record import ItemError, Record, check_labels, check_list, check_range, check_scores
from .files import write_array
from .format import option
from .json_spans import (
    SEVERAL,
    AnnotatedTexts,
    Annotation,
    as_number,
    code_points,
    labels_to_write,
)
from .read_report import Report
from .record_streams import Spool, texts

_OWN_ID = "record_id"
_UNREAD = "text with predictions, which were not read"


@dataclass(frozen=True)
class LabelStudio(AnnotatedTexts):
    """Tasks, for reading and for import; see `AnnotatedTexts` for the other options.

    Args:
        predictions: True to write pre-annotations, with their scores; False for annotations. By
            default spans that have scores are predictions.
    """

    name = "label-studio"
    choices: ClassVar[tuple[str, ...]] = (*SEVERAL, "ground_truth", "predictions")

    predictions: bool | None = option(only="write")

    def detect_object(self, item: dict[str, Any]) -> bool:
        """Return True for a task."""
        made = {"annotations", "predictions", "completions"}
        return isinstance(item.get("data"), dict) and bool(made & item.keys())

    def read(self, path: Path, report: Report) -> Iterator[Record]:
        """Yield a record per task; see `Format`."""
        yield from super().read(path, report)
        if "is annotated" not in report.memory and report.notes[_UNREAD]:
            raise ValueError(
                f"{path} must have annotations, got predictions only. annotations='predictions' "
                "reads these."
            )

    def prepare(self, item: dict[str, Any], where: str, report: Report) -> dict[str, Any] | None:
        """Choose the text of a task, and its regions."""
        data = item.get("data")
        if not isinstance(data, dict):
            raise ItemError(
                f"{where}: A task must have `data`, got {data!r:.80}. Export as JSON, not as "
                "JSON-MIN.",
                "task without `data`",
            )
        text = self.choose_text({k: v for k, v in data.items() if k != _OWN_ID}, where)
        made, predicted = (
            check_list(item.get(name) or item.get(other) or [], where, name)
            for name, other in (("annotations", "completions"), ("predictions", ""))
        )
        if not all(isinstance(one, dict) for one in (*made, *predicted)):
            raise ItemError(
                f"{where}: Annotations must be objects, got {[*made, *predicted]!r:.80}.",
                "annotation that is no object",
            )
        report.memory |= {"is annotated": True} if made else {}
        kept = [one for one in made if not one.get("was_cancelled")]
        if len(kept) < len(made):
            report.note("annotation that its annotator cancelled", len(made) - len(kept))
        if self.annotations == "predictions":
            kept = predicted
        elif predicted:
            report.note(_UNREAD)
        if self.annotations == "ground_truth":
            kept = [one for one in kept if one.get("ground_truth")]
        if not kept:
            report.note(f"text without {self.annotations or 'annotations'}", lost=False)
        chosen = self.choose(kept, [one.get("completed_by") for one in kept], where, report)
        if chosen is None:
            return None
        results = [check_list(one.get("result") or [], where, "result") for one in chosen]
        spans = [region for result in results for region in result]
        return {"id": data.get(_OWN_ID, item.get("id")), "text": text, "spans": spans}

    def read_entry(
        self, entry: Any, item: dict[str, Any], where: str, report: Report
    ) -> list[Annotation]:
        """Read a region, which may have several labels."""
        # A value that is no object is that of another kind of annotation.
        if not isinstance(entry, dict) or not isinstance(entry.get("value", {}), dict):
            message = f"{where}: A region must be an object, got {entry!r:.80}."
            raise ItemError(message, "region that is no object")
        kind, value = entry.get("type"), entry.get("value") or {}
        at_region = f"{where}, region {entry.get('id')!r}"
        part = "region" if "start" in value else "whole text"
        if kind == "relation":
            message = f"{at_region}: A record holds spans and no relation, got {entry!r:.80}."
            raise ItemError(message, kind)
        if kind not in ("labels", "choices") or part != "region":
            raise ItemError(
                f"{at_region}: A record holds labels and choices of regions of a text, got "
                f"{kind!r} of a {part}.",
                f"{kind} of a {part}",
            )
        tag = report.memory.get("to_name")  # the name of the text in the labeling interface
        if tag not in (None, entry.get("to_name")):
            raise ItemError(
                f"{at_region}: All regions must be of one text, got those of {tag!r} and "
                f"{entry.get('to_name')!r}.",
                "region of another text",
            )
        span = self._char_span(value, item["text"], at_region, report)
        labels = check_labels({"labels": value.get(kind) or []}, at_region) or []
        scores = [entry.get("score")] * len(labels)
        if labels and scores[0] is not None:
            check_scores(scores, labels, at_region)
        report.memory["to_name"] = entry.get("to_name")
        return [(*span, *pair) for pair in zip(labels, scores)] or [(*span, None, None)]

    def _char_span(
        self, value: dict[str, Any], text: str, where: str, report: Report
    ) -> tuple[int, int]:
        ends = [as_number(value.get(name)) for name in ("start", "end")]
        surface = value.get("text")
        wide = self.offsets != "utf-16" and any(ord(character) > 0xFFFF for character in text)
        hint = " Is the export an old one? offsets='utf-16' reads it." if wide else ""
        try:
            if self.offsets == "utf-16":
                ends = [code_points(text, end) for end in ends]
            start, end = check_range(ends[0], ends[1], text, where)
            if isinstance(surface, str) and _flat(text[start:end]) != _flat(surface):
                raise ValueError(
                    f"The text at {start} to {end} must be {surface!r:.80}, got "
                    f"{text[start:end]!r:.80}."
                )
        except ValueError as error:
            raise ItemError(
                f"{where}: The ends of a region must be in its text: {error}{hint}",
                "region that is not its text",
            ) from error
        if not isinstance(surface, str):
            report.note("region without its text, not checked", lost=False)
        return start, end

    def write(self, records: Iterable[Record], path: Path, report: Report) -> None:
        """Write a task per record; see `Format`."""
        spooled = Spool(texts(records, report))
        scored = sum(any("scores" in one for one in record["spans"]) for _, record in spooled)
        as_predictions = bool(scored) if self.predictions is None else self.predictions
        if scored and not as_predictions:
            report.note("text whose scores are not kept", scored)
        kind = "predictions" if as_predictions else "annotations"
        report.note(f"text written with {kind}", len(spooled), lost=False)
        model = {"model_version": "irti_custom"} if as_predictions else {}
        tasks = (
            {
                "data": {"text": record["text"], _OWN_ID: record["id"]},
                kind: [{"result": list(_regions(record, where, as_predictions, report)), **model}],
            }
            for where, record in spooled
        )
        write_array(path, tasks)


def _regions(
    record: Record, where: str, as_predictions: bool, report: Report
) -> Iterator[dict[str, Any]]:
    """Make regions: of predictions one per label, each with its score."""
    for number, span in enumerate(record["spans"]):
        labels = labels_to_write(span, where, report, needs_one=False)
        if labels is None:
            continue
        parts: list[tuple[list[str], float | None]] = [(labels, None)]
        if as_predictions and span.get("scores") and labels:
            parts = [([label], score) for label, score in zip(labels, span["scores"])]
        start, end = span["start"], span["end"]
        for part, (some, score) in enumerate(parts):
            value = {"start": start, "end": end, "text": record["text"][start:end], "labels": some}
            region = {"id": f"{number}-{part}", "from_name": "label", "to_name": "text"}
            scored = {} if score is None else {"score": score}
            yield {**region, "type": "labels", "value": value, **scored}


def _flat(text: str) -> str:
    r"""Write line ends as Label Studio writes them into the text of a region: as "\\n"."""
    return re.sub(r"\r\n|[\r\n]", r"\\n", text)
