"""What formats of annotated texts share: from the annotations of a file to the spans of a record.

[(8, 12, "place", None), (8, 12, "city", None)]  ->  [{"start": 8, "end": 12, "labels": [...]}]
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Optional

from .records import check_range, check_string
from .report import Report

SEVERAL = ("first", "last", "merge")
"""How to read a text that several people annotated."""

Annotation = tuple[int, int, Optional[str], Optional[float]]
"""Start, end, label and score; no label, or no score, is None."""


def check_annotation(
    start: object,
    end: object,
    label: object,
    text: str,
    where: str,
    report: Report,
    surface: object = None,
) -> Annotation | None:
    """Check an annotation as a file has it; None if it is left out.

    Args:
        start: of its characters.
        end: exclusive.
        label: a name; None for no label.
        text: that of the record.
        where: file and line.
        report: counts annotations that are not their text.
        surface: the text that the file has beside it; None where it has none.

    Raises:
        ValueError: a range beyond the text, or a label that is no name.

    Example:
        >>> check_annotation(8, 12, "place", "Ann saw Rome", "line 1", Report("brat"), "Rome")
        (8, 12, 'place', None)
    """
    first, last = check_range(start, end, text, where)
    if label is not None and (not isinstance(label, str) or not label):
        raise ValueError(f"{where}: A label must be a name, got {label!r:.80}.")
    name = None if label is None else check_string(label, where, "label")
    if surface is not None and not is_its_text(surface, text, (first, last), where, report):
        return None
    return first, last, name, None


def merge_spans(annotations: Iterable[Annotation | None], report: Report) -> list[dict[str, Any]]:
    """Make one span of several annotations of the same characters, in the order they come.

    Args:
        annotations: those of one text; None for one that is left out.
        report: counts annotations that are there twice.

    Example:
        >>> merge_spans([(0, 3, "person", None), (0, 3, "actor", None)], Report("brat"))
        [{'start': 0, 'end': 3, 'labels': ['person', 'actor']}]
    """
    spans: dict[tuple[int, int], dict[str, float | None]] = {}
    for start, end, label, score in filter(None, annotations):
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
    surface: object, text: str, span: tuple[int, int], where: str, report: Report, hint: str = ""
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


def code_points(text: str, units: object) -> int:
    """Turn a number of UTF-16 units, as JavaScript counts, into one of characters.

    Raises:
        ValueError: no integer, beyond the text, or half a character.

    Example:
        >>> code_points("a👍b", 3)
        2
    """
    content = text.encode("utf-16-le")
    if isinstance(units, bool) or not isinstance(units, int):
        raise ValueError(f"got {units!r:.80}, and no integer.")
    if not 0 <= 2 * units <= len(content):
        raise ValueError(f"got {units} of {len(content) // 2} UTF-16 units.")
    return len(content[: 2 * units].decode("utf-16-le"))


def as_number(value: object) -> Any:
    """Return a number that is written as text as one, and all else as it is.

    Example:
        >>> as_number("7"), as_number("7a")
        (7, '7a')
    """
    is_number = isinstance(value, str) and value.isdecimal() and len(value) < 20  # or no offset
    return int(value) if is_number else value  # type: ignore[call-overload]


def choose_text(data: Mapping[str, Any], text_field: str | None, where: str) -> str:
    """Return the text among the fields of an annotation tool.

    Args:
        data: by the name of the field.
        text_field: the name; by default "text", or that of the only string.
        where: file and line.

    Raises:
        ValueError: no such string.

    Example:
        >>> choose_text({"body": "Ann", "year": 7}, None, "line 1")
        'Ann'
    """
    strings = [name for name, value in data.items() if isinstance(value, str)]
    only = strings[0] if len(strings) == 1 else None
    chosen = text_field or ("text" if "text" in strings else only)
    if chosen not in strings:
        raise ValueError(
            f"{where}: There must be one string, or `text`, got {text_field!r} of {list(data)}. "
            "`text_field` names it."
        )
    return check_string(data[chosen], where, "text")


def choose_annotations(
    made: list[Any],
    annotations: str | None,
    choices: Sequence[str],
    annotators: list[Any],
    where: str,
    report: Report,
) -> list[Any] | None:
    """Return the annotations of a text to be read, or None for a text that is left out.

    Args:
        made: each by another annotator.
        annotations: "first", "last" or "merge"; otherwise there must be one.
        choices: all that `annotations` may be, for the error.
        annotators: who made them.
        where: file and line.
        report: counts texts that have several.

    Example:
        >>> report = Report("argilla")
        >>> choose_annotations(["a", "b"], "last", SEVERAL, ["Ann", "Bob"], "line 1", report)
        ['b']
    """
    if len(made) > 1 and annotations in SEVERAL:
        report.note(f"text with several annotations, {annotations} taken")
        return {"first": made[:1], "last": made[-1:]}.get(annotations or "", made)
    if len(made) > 1:
        report.misfit(
            "text with several annotations",
            where,
            f"A text must have one annotation, got {len(made)}, of the annotators {annotators}. "
            f"`annotations` chooses, one of {choices}.",
        )
        return None
    return made
