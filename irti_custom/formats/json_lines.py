"""Our own JSON lines: one record a line, or a JSON array of them.

    {"text": "Ann saw Rome", "spans": [{"start": 8, "end": 12, "labels": ["place"]}], "id": "7"}
    {"columns": [{"header": "city", "values": ["Rome"], "labels": ["place"]}], "id": "7"}
    {"fields": [{"name": "city", "value": "Rome", "labels": ["place"]}], "id": "7"}

`{"fields": {"city": "Rome"}}` is a record whose labels are not known, as the processor takes it;
`words` with spans in words, as the processor takes them, become a text joined by single spaces.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from .atomic import writing
from .files import as_line, read_objects
from .records import Record, check_record, check_span, other_fields
from .report import Report
from .words import join


def read(path: Path, report: Report, keep: Sequence[str] = ()) -> Iterator[Record]:
    """Read records, with the other fields that `keep` names.

    Example:
        >>> from tempfile import mkdtemp
        >>> path = Path(mkdtemp()) / "a.jsonl"
        >>> _ = path.write_text('{"text": "Ann", "spans": [{"start": 0, "end": 3, "labels": "x"}]}')
        >>> next(read(path, Report("jsonl")))
        {'id': '0', 'text': 'Ann', 'spans': [{'start': 0, 'end': 3, 'labels': ['x']}]}
    """
    for number, (where, item) in enumerate(read_objects(path)):
        if "words" in item and "text" not in item:
            item = _from_words(item, where)
        with_id = {**item, "id": number if item.get("id") is None else item["id"]}
        record = check_record(with_id, where) | other_fields(item, keep, where)
        for name in item.keys() - record.keys():
            report.note(f"field {name!r} not kept")
        yield record


def write(records: Iterable[Record], path: Path, report: Report) -> None:
    r"""Write records, one a line.

    Example:
        >>> from tempfile import mkdtemp
        >>> path = Path(mkdtemp()) / "a.jsonl"
        >>> write([{"id": "0", "text": "Ann", "spans": []}], path, Report("jsonl"))
        >>> path.read_text()
        '{"id": "0", "text": "Ann", "spans": []}\n'
    """
    with writing(path) as file:
        for record in records:
            file.write(as_line(record))


def detect(item: dict[str, Any]) -> bool:
    """Return True if an object is a record.

    Example:
        >>> detect({"text": "Ann", "spans": []})
        True
        >>> detect({"text": "Ann", "spans": [{"start": 0, "end": 3, "label": "x"}]})  # Prodigy's
        False
    """
    spans = item.get("spans")
    if "_input_hash" in item:  # Prodigy's
        return False
    if ("text" in item or "words" in item) and isinstance(spans, list):
        return all(isinstance(span, dict) and "labels" in span for span in spans)
    if isinstance(item.get("fields"), (dict, list)):
        return not {"responses", "suggestions"} & item.keys()  # Argilla's
    return isinstance(item.get("columns"), list)


def _from_words(item: dict[str, Any], where: str) -> dict[str, Any]:
    words = item["words"]
    if not isinstance(words, list) or not all(isinstance(w, str) and w for w in words):
        raise ValueError(f"{where}: `words` must be a list of words, got {words!r:.80}.")
    text, char_spans = join(words)
    spans = []
    for span in item.get("spans") or []:
        checked = check_span(span, words, where)  # type: ignore[arg-type]  # only their number counts
        first, last = char_spans[checked["start"]], char_spans[checked["end"] - 1]
        spans.append({**checked, "start": first.start, "end": last.end})
    rest = {name: value for name, value in item.items() if name != "words"}
    return {**rest, "text": text, "spans": spans}
