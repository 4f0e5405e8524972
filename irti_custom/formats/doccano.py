"""doccano's JSON lines of sequence labeling.

    {"id": 1, "text": "Ann saw Rome", "label": [[8, 12, "place"]]}
    {"id": 1, "text": "Ann", "entities": [{"start_offset": 0, "end_offset": 3, "label": "x"}]}

The second, with `relations`, is that of projects that have these. The file does not hold the text
of a span, so offsets cannot be checked against it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from .annotations import Annotation, check_annotation, labels_to_write, merge_spans, note_others
from .atomic import writing
from .files import as_line, read_objects
from .record_streams import texts
from .records import Record, check_id, check_list, check_string
from .report import Report

_KEYS = ("label", "labels", "entities")


def read(path: Path, report: Report) -> Iterator[Record]:
    """Read texts.

    Example:
        >>> from tempfile import mkdtemp
        >>> path = Path(mkdtemp()) / "a.jsonl"
        >>> _ = path.write_text('{"id": 1, "text": "Ann", "label": [[0, 3, "person"]]}')
        >>> next(read(path, Report("doccano")))
        {'id': '1', 'text': 'Ann', 'spans': [{'start': 0, 'end': 3, 'labels': ['person']}]}
    """
    for number, (where, item) in enumerate(read_objects(path)):
        text = check_string(item.get("text"), where, "text")
        present = [key for key in _KEYS if key in item]
        if len(present) != 1:
            raise ValueError(
                f"{where}: A text must have one of {_KEYS}, got the keys {list(item)}."
            )
        entries = check_list(item[present[0]], where, present[0])
        for relation in check_list(item.get("relations") or [], where, "relations"):
            report.misfit("relation", where, f"A record holds no relations, got {relation!r:.80}.")
        note_others(item, ("id", "text", "relations", *_KEYS), report)
        spans = merge_spans((_span(entry, text, where, report) for entry in entries), report)
        yield {"id": check_id(item.get("id"), where, number), "text": text, "spans": spans}


def write(records: Iterable[Record], path: Path, report: Report) -> None:
    """Write texts: one line each; a span has an entry per label.

    Example:
        >>> from tempfile import mkdtemp
        >>> path = Path(mkdtemp()) / "a.jsonl"
        >>> spans = [{"start": 0, "end": 3, "labels": ["person"]}]
        >>> write([{"id": "1", "text": "Ann", "spans": spans}], path, Report("doccano"))
        >>> path.read_text().strip()
        '{"id": "1", "text": "Ann", "label": [[0, 3, "person"]]}'
    """
    with writing(path) as file:
        for where, record in texts(records, report):
            entries: list[list[int | str]] = []
            for span in record["spans"]:
                labels = labels_to_write(span, where, report)
                entries += [[span["start"], span["end"], label] for label in labels]
            file.write(as_line({"id": record["id"], "text": record["text"], "label": entries}))


def detect(item: dict[str, Any]) -> bool:
    """Return True for a text of doccano.

    Example:
        >>> detect({"text": "Ann", "label": [[0, 3, "person"]]})
        True
        >>> detect({"text": "Ann", "label": ["news"]})  # of text classification
        False
    """
    entries = next((item[key] for key in _KEYS if isinstance(item.get(key), list)), None)
    if "text" not in item or entries is None:
        return False
    return all(
        (isinstance(one, list) and len(one) == 3)
        or (isinstance(one, dict) and "start_offset" in one)
        for one in entries
    )


def _span(entry: Any, text: str, where: str, report: Report) -> Annotation | None:
    if isinstance(entry, dict):
        entry = [entry.get(name) for name in ("start_offset", "end_offset", "label")]
    if not isinstance(entry, list) or len(entry) != 3 or not isinstance(entry[2], str):
        raise ValueError(
            f"{where}: An entry must be [start, end, label], or an object of `start_offset`, "
            f"`end_offset` and `label`, got {entry!r:.80}."
        )
    start, end, label = entry
    return check_annotation(start, end, label, text, where, report)
