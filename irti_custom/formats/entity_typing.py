"""Entity typing, a mention an object: the JSON of UFET, and of OpenEntity as ERNIE reads it.

    {"left_context_token": ["Ann", "saw"], "mention_span": "Rome", "right_context_token": ["."],
     "y_str": ["place", "city"], "annot_id": "7"}
    {"sent": "Ann saw Rome .", "start": 8, "end": 12, "labels": ["place"]}

The words of the first are joined by single spaces. A text is there once a mention. After
https://github.com/uwnlp/open_type and https://github.com/thunlp/ERNIE, `code/run_typing.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ..records.record import Record, check_id, check_labels, check_list, check_string
from .annotations import check_annotation, note_others, read_items, read_spans
from .report import Report

_UFET = ("left_context_token", "mention_span", "right_context_token", "y_str", "annot_id")
_OPEN_ENTITY = ("sent", "start", "end", "labels")


class _Mention(NamedTuple):
    text: str
    start: Any
    end: Any
    labels: list[str]


def read(path: Path, report: Report) -> Iterator[Record]:
    """Read texts with one span each."""

    def read_item(item: dict[str, Any], where: str, number: int) -> Record:
        is_ufet = "mention_span" in item
        note_others(item, _UFET if is_ufet else _OPEN_ENTITY, report)
        text, start, end, labels = (_ufet if is_ufet else _open_entity)(item, where)
        record_id = check_id(item.get("annot_id") if is_ufet else None, where, number)
        spans = read_spans(
            labels or [None],
            lambda label: check_annotation(start, end, label, text, where),
            report,
        )
        return {"id": record_id, "text": text, "spans": spans}

    return read_items(path, report, read_item)


def detect(item: dict[str, Any]) -> bool:
    """Return True for a mention."""
    return all(name in item for name in _UFET[:4]) or all(name in item for name in _OPEN_ENTITY)


def _ufet(item: dict[str, Any], where: str) -> _Mention:
    left, right = (
        " ".join(check_string(word, where, "word") for word in check_list(item.get(n), where, n))
        for n in (_UFET[0], _UFET[2])
    )
    mention = check_string(item["mention_span"], where, "mention_span")
    start = len(left) + (left != "")
    text = " ".join(part for part in (left, mention, right) if part)
    return _Mention(text, start, start + len(mention), _labels(item, "y_str", where))


def _open_entity(item: dict[str, Any], where: str) -> _Mention:
    text = check_string(item.get("sent"), where, "sent")
    return _Mention(text, item.get("start"), item.get("end"), _labels(item, "labels", where))


def _labels(item: dict[str, Any], name: str, where: str) -> list[str]:
    return check_labels({"labels": check_list(item.get(name), where, name)}, where) or []
