"""Presidio's synthetic records, the JSON of `presidio_evaluator`'s `InputSample`.

    {"full_text": "Ann saw Rome", "spans": [{"entity_type": "GPE", "entity_value": "Rome",
      "start_position": 8, "end_position": 12}]}

After https://github.com/microsoft/presidio-research.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..records.record import ItemError, Record, check_id, check_list, check_string
from .annotations import Annotation, check_annotation, note_others, read_items, read_spans
from .report import Report

_SPAN = ("entity_type", "entity_value", "start_position", "end_position")


def read(path: Path, report: Report) -> Iterator[Record]:
    """Read texts."""

    def read_item(item: dict[str, Any], where: str, number: int) -> Record:
        text = check_string(item.get("full_text"), where, "full_text")
        note_others(item, ("sample_id", "full_text", "spans"), report)
        entries = check_list(item.get("spans"), where, "spans")
        spans = read_spans(entries, lambda entry: _span(entry, text, where, report), report)
        return {"id": check_id(item.get("sample_id"), where, number), "text": text, "spans": spans}

    return read_items(path, report, read_item)


def detect(item: dict[str, Any]) -> bool:
    """Return True for a record of Presidio's."""
    spans = item.get("spans")
    if "full_text" not in item or not isinstance(spans, list):
        return False
    return all(isinstance(span, dict) and "entity_type" in span for span in spans)


def _span(entry: Any, text: str, where: str, report: Report) -> Annotation:
    if not isinstance(entry, dict) or not isinstance(entry.get("entity_type"), str):
        raise ItemError(
            f"{where}: A span must be an object of {_SPAN}, got {entry!r:.80}.",
            "span that is no object with a label",
        )
    note_others(entry, _SPAN, report)
    label, surface, start, end = (entry.get(name) for name in _SPAN)
    return check_annotation(start, end, label, text, where, surface)
