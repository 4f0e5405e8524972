"""doccano's JSON of sequence labeling, and what others write in its shapes.

    {"id": 1, "text": "Ann saw Rome", "label": [[8, 12, "place"]]}
    {"id": 1, "text": "Ann", "entities": [{"start_offset": 0, "end_offset": 3, "label": "x"}]}

The second, with `relations`, is that of projects that have these. Entities with `start` and `end`,
and spaCy's pairs ``["Ann", {"entities": [[0, 3, "x"]]}]``, are read, too. doccano does not write
the text of a span, so its offsets cannot be checked against it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ..records.record import ItemError, Record, check_id, check_list, check_string, check_surfaces
from .annotations import (
    Annotation,
    check_annotation,
    labels_to_write,
    note_others,
    read_items,
    read_spans,
)
from .atomic import writing
from .files import as_line
from .record_streams import texts
from .report import Report

_KEYS = ("label", "labels", "entities", "annotations")
_ENDS = (("start_offset", "end_offset"), ("start", "end"))


def read(path: Path, report: Report) -> Iterator[Record]:
    """Read texts."""

    def read_item(item: dict[str, Any], where: str, number: int) -> Record:
        text = check_string(item.get("text"), where, "text")
        present = [key for key in _KEYS if key in item]
        if len(present) != 1:
            raise ItemError(
                f"{where}: A text must have one of {_KEYS}, got the keys {list(item)}.",
                "text without one list of entities",
            )
        entries = check_list(item[present[0]], where, present[0])
        for relation in check_list(item.get("relations") or [], where, "relations"):
            report.misfit("relation", where, f"A record holds no relations, got {relation!r:.80}.")
        note_others(item, ("id", "text", "relations", *_KEYS), report)
        spans = read_spans(entries, lambda entry: _span(entry, text, where), report)
        return {"id": check_id(item.get("id"), where, number), "text": text, "spans": spans}

    return read_items(path, report, read_item)


def write(records: Iterable[Record], path: Path, report: Report) -> None:
    """Write texts: one line each; a span has an entry per label."""
    with writing(path) as file:
        for where, record in texts(records, report):
            entries: list[list[int | str]] = []
            for span in record["spans"]:
                labels = labels_to_write(span, where, report)
                entries += [[span["start"], span["end"], label] for label in labels]
            file.write(as_line({"id": record["id"], "text": record["text"], "label": entries}))


def detect(item: dict[str, Any]) -> bool:
    """Return True for a text of doccano."""
    entries = next((item[key] for key in _KEYS if isinstance(item.get(key), list)), None)
    if "text" not in item or entries is None or {"tokens", "words"} & item.keys():
        return False  # beside words, offsets may count these
    return all(
        (isinstance(one, list) and len(one) == 3)
        or (isinstance(one, dict) and any({*ends, "label"} <= one.keys() for ends in _ENDS))
        for one in entries
    )


def _span(entry: Any, text: str, where: str) -> Annotation:
    values = entry
    if isinstance(entry, dict):
        ends = _ENDS[0] if _ENDS[0][0] in entry else _ENDS[1]
        values = [entry.get(name) for name in (*ends, "label")]
    if not isinstance(values, list) or len(values) != 3 or not isinstance(values[2], str):
        raise ItemError(
            f"{where}: An entry must be [start, end, label], or an object of `start_offset`, "
            f"`end_offset` and `label`, a name, got {entry!r:.120}.",
            "entry that is no span with a label",
        )
    start, end, label = values
    annotation = check_annotation(start, end, label, text, where)
    if isinstance(entry, dict):
        check_surfaces(entry, text, annotation[:2], where)
    return annotation
