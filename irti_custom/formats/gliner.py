"""GLiNER's training data: words, and entities by their first and last word.

    {"tokenized_text": ["Ann", "saw", "New", "York"], "ner": [[2, 3, "place"]]}

The last word is part of the entity. A JSON array, or one object a line. After
https://urchade.github.io/GLiNER/training.html.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ..records.record import ItemError, Record, check_id, check_labels, check_list, check_string
from .annotations import Annotation, labels_to_write, note_others, read_items, read_spans
from .files import write_array
from .record_streams import texts
from .report import Report
from .words import Word, join, split


def read(path: Path, report: Report) -> Iterator[Record]:
    """Read sentences."""

    def read_item(item: dict[str, Any], where: str, number: int) -> Record:
        words = check_list(item.get("tokenized_text"), where, "tokenized_text")
        for word in words:
            if not check_string(word, where, "word").strip():
                raise ItemError(
                    f"{where}: A word must not be empty, got {words!r:.80}.", "word of white space"
                )
        text, char_spans = join(words)
        entries = check_list(item.get("ner"), where, "ner")
        spans = read_spans(entries, lambda entry: _span(entry, char_spans, where), report)
        for relation in check_list(item.get("relations") or [], where, "relations"):
            report.misfit("relation", where, f"A record holds no relations, got {relation!r:.80}.")
        note_others(item, ("id", "tokenized_text", "ner", "relations"), report)
        return {"id": check_id(item.get("id"), where, number), "text": text, "spans": spans}

    return read_items(path, report, read_item)


def write(
    records: Iterable[Record], path: Path, report: Report, split_words: str = "spaces"
) -> None:
    r"""Write a JSON array of sentences; a span has an entry per label."""
    write_array(path, _items(records, report, split_words))


def detect(item: dict[str, Any]) -> bool:
    """Return True for a sentence of GLiNER's."""
    return "tokenized_text" in item and "ner" in item


def _items(records: Iterable[Record], report: Report, split_words: str) -> Iterator[dict[str, Any]]:
    for where, record in texts(records, report):
        words, spans = split(record, split_words, where, report)
        entries = [
            [start, end - 1, label]
            for start, end, span in spans
            for label in labels_to_write(span, where, report)
        ]
        yield {"tokenized_text": words, "ner": entries, "id": record["id"]}


def _span(entry: Any, char_spans: list[Word], where: str) -> Annotation:
    if isinstance(entry, list) and len(entry) == 3:
        first, last, label = entry
        whole = all(isinstance(one, int) and not isinstance(one, bool) for one in (first, last))
        if whole and isinstance(label, str) and 0 <= first <= last < len(char_spans):
            check_labels({"labels": label}, where)
            return char_spans[first].start, char_spans[last].end, label, None
    raise ItemError(
        f"{where}: An entity must be [first, last, label], of {len(char_spans)} words, got "
        f"{entry!r:.80}.",
        "entity of no words",
    )
