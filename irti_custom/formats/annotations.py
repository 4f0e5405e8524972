"""What formats of annotated texts share: from the annotations of a file to the spans of a record.

[(8, 12, "place", None), (8, 12, "city", None)]  ->  [{"start": 8, "end": 12, "labels": [...]}]
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Optional

from .report import Report

Annotation = tuple[int, int, Optional[str], Optional[float]]
"""Start, end, label and score; no label, or no score, is None."""


def merge_spans(annotations: Iterable[Annotation], report: Report) -> list[dict[str, Any]]:
    """Make one span of several annotations of the same characters, in the order they come.

    Args:
        annotations: those of one text.
        report: counts annotations that are there twice.

    Example:
        >>> merge_spans([(0, 3, "person", None), (0, 3, "actor", None)], Report("brat"))
        [{'start': 0, 'end': 3, 'labels': ['person', 'actor']}]
    """
    spans: dict[tuple[int, int], dict[str, float | None]] = {}
    for start, end, label, score in annotations:
        is_repeated = (start, end) in spans
        labels = spans.setdefault((start, end), {})
        if label in labels or (is_repeated and label is None):
            report.note("label that its span has twice, or a span without one that is there twice")
        elif label is not None:
            labels[label] = score
    merged: list[dict[str, Any]] = []
    for (start, end), labels in spans.items():
        merged.append({"start": start, "end": end, "labels": list(labels)})
        if any(score is not None for score in labels.values()):
            merged[-1]["scores"] = list(labels.values())
    return merged


def is_its_text(
    surface: str, text: str, span: tuple[int, int], where: str, report: Report, hint: str = ""
) -> bool:
    """Return True if a span is the text that its file has beside it.

    Args:
        surface: the text beside it.
        text: that of the record.
        span: start and end.
        where: file and line.
        report: counts the spans that are not; they are to be left out.
        hint: the end of the error.

    Example:
        >>> is_its_text("Rome", "Ann saw Rome", (8, 12), "a.ann, line 1", Report("brat"))
        True
    """
    start, end = span
    if text[start:end] == surface:
        return True
    report.misfit(
        "span that is not its text",
        where,
        f"The text at {start} to {end} must be {surface!r:.80}, got {text[start:end]!r:.80}.{hint}",
    )
    return False


def note_others(item: Mapping[str, Any], read: Collection[str], report: Report) -> None:
    """Note the fields of an object that are not read, unless they are empty.

    Example:
        >>> report = Report("jsonl")
        >>> note_others({"text": "Ann", "topic": "a", "tags": []}, ["text"], report)
        >>> dict(report.notes)
        {"field 'topic' not kept": 1}
    """
    for name, value in item.items():
        if name not in read and value not in (None, "", [], {}):
            report.note(f"field {name!r} not kept")


def labels_to_write(span: Mapping[str, Any], where: str, report: Report) -> list[str]:
    """Return the labels of a span for a format in which each span has one at least.

    Args:
        span: one of a record.
        where: the record.
        report: counts the spans without; they are left out.

    Example:
        >>> labels_to_write({"start": 0, "end": 3, "labels": ["x"]}, "record '0'", Report("brat"))
        ['x']
    """
    if not span["labels"]:
        report.misfit(
            "span without a label",
            where,
            f"Each span must have a label in {report.format}, got {span}.",
        )
    return list(span["labels"] or ())


def code_points(text: str, units: int) -> int:
    """Turn a number of UTF-16 units, as JavaScript counts, into one of characters.

    Raises:
        ValueError: beyond the text, or half a character.

    Example:
        >>> code_points("a👍b", 3)
        2
    """
    content = text.encode("utf-16-le")
    if not 0 <= 2 * units <= len(content):
        raise ValueError(f"got {units} of {len(content) // 2} UTF-16 units.")
    return len(content[: 2 * units].decode("utf-16-le"))
