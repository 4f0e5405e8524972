"""Presidio's synthetic records, the JSON of `presidio_evaluator`'s `InputSample`.

    {"full_text": "Ann saw Rome", "spans": [{"entity_type": "GPE", "entity_value": "Rome",
      "start_position": 8, "end_position": 12}]}

After https://github.com/microsoft/presidio-research.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .annotations import Annotation, check_annotation, merge_spans, note_others
from .files import read_objects
from .records import Record, check_id, check_list, check_string
from .report import Report

_SPAN = ("entity_type", "entity_value", "start_position", "end_position")


def read(path: Path, report: Report) -> Iterator[Record]:
    """Read texts.

    Example:
        >>> from tempfile import mkdtemp
        >>> path = Path(mkdtemp()) / "a.json"
        >>> span = '{"entity_type": "GPE", "start_position": 0, "end_position": 4}'
        >>> _ = path.write_text(f'[{{"full_text": "Rome", "spans": [{span}]}}]')
        >>> next(read(path, Report("presidio")))
        {'id': '0', 'text': 'Rome', 'spans': [{'start': 0, 'end': 4, 'labels': ['GPE']}]}
    """
    for number, (where, item) in enumerate(read_objects(path)):
        text = check_string(item.get("full_text"), where, "full_text")
        note_others(item, ("sample_id", "full_text", "spans"), report)
        entries = check_list(item.get("spans"), where, "spans")
        spans = merge_spans((_span(entry, text, where, report) for entry in entries), report)
        yield {"id": check_id(item.get("sample_id"), where, number), "text": text, "spans": spans}


def detect(item: dict[str, Any]) -> bool:
    """Return True for a record of Presidio's.

    Example:
        >>> detect({"full_text": "Rome", "spans": []})
        True
    """
    return "full_text" in item and isinstance(item.get("spans"), list)


def _span(entry: Any, text: str, where: str, report: Report) -> Annotation | None:
    if not isinstance(entry, dict) or not isinstance(entry.get("entity_type"), str):
        raise ValueError(f"{where}: A span must be an object of {_SPAN}, got {entry!r:.80}.")
    note_others(entry, _SPAN, report)
    label, surface, start, end = (entry.get(name) for name in _SPAN)
    return check_annotation(start, end, label, text, where, report, surface)
