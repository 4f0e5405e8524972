"""What formats of annotated texts share: from the annotations of a file to the spans of a record.

[(8, 12, "place", None), (8, 12, "city", None)]  ->  [{"start": 8, "end": 12, "labels": [...]}]
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

from ..records.record import ItemError, Record, check_range, check_string, check_surface
from .files import Item, read_objects
from .report import Report

SEVERAL = ("first", "last", "merge")
"""How to read a text that several people annotated."""

Annotation = tuple[int, int, Optional[str], Optional[float]]
"""Start, end, label and score; no label, or no score, is None."""


def read_items(
    source: Path | Iterable[Item],
    report: Report,
    read_item: Callable[[dict[str, Any], str, int], Record | None],
    first: int = 0,
) -> Iterator[Record]:
    """Read the objects of a JSON file, without those that are no records, which are counted.

    Args:
        source: the file, or objects of it.
        report: counts these.
        read_item: makes a record of an object, where it is and its number; None to leave it out.
        first: the number of the first object.
    """
    items = read_objects(source) if isinstance(source, Path) else source
    for number, (where, item) in enumerate(items, first):
        try:
            record = read_item(check_object(item, where), where, number)
        except ItemError as error:
            report.leave_out(error)
            continue
        if record is not None:
            yield record


def check_object(item: object, where: str) -> dict[str, Any]:
    """Return a JSON object.

    Raises:
        ValueError: another value.
    """
    if not isinstance(item, dict):
        raise ItemError(
            f"{where}: It must be a JSON object, got {item!r:.80}.", "item that is no object"
        )
    return item


def read_spans(
    entries: Iterable[Any], read_entry: Callable[[Any], Annotation], report: Report
) -> list[dict[str, Any]]:
    """Make spans of the annotations of a text, without those that are none, which are counted.

    Args:
        entries: as a file has them.
        read_entry: makes an annotation of one.
        report: counts.
    """
    annotations = []
    for entry in entries:
        try:
            annotations.append(read_entry(entry))
        except ItemError as error:
            report.leave_out(error)
    return merge_spans(annotations, report)


def check_annotation(
    start: object, end: object, label: object, text: str, where: str, surface: object = None
) -> Annotation:
    """Check an annotation as a file has it.

    Args:
        start: of its characters.
        end: exclusive.
        label: a name; None for no label.
        text: that of the record.
        where: file and line.
        surface: the text that the file has beside it; None where it has none.

    Raises:
        ValueError: a range beyond the text, a label that is no name, or another text than stands
            there.
    """
    first, last = check_range(start, end, text, where)
    if label is not None and (not isinstance(label, str) or not label):
        raise ItemError(
            f"{where}: A label must be a name, got {label!r:.80}.", "label that is no name"
        )
    name = None if label is None else check_string(label, where, "label")
    if surface is not None:
        check_surface(surface, text, (first, last), where)
    return first, last, name, None


def merge_spans(annotations: Iterable[Annotation], report: Report) -> list[dict[str, Any]]:
    """Make one span of several annotations of the same characters, in the order they come.

    Args:
        annotations: those of one text.
        report: counts annotations that are there twice.
    """
    spans: dict[tuple[int, int], dict[str, float | None]] = {}
    for start, end, label, score in annotations:
        labels = spans.get((start, end))
        if labels is None:
            spans[start, end] = {} if label is None else {label: score}
        elif label is None or label in labels:
            report.note("label that its span has twice, or a span without one that is there twice")
        else:
            labels[label] = score
    merged: list[dict[str, Any]] = []
    for (start, end), labels in spans.items():
        merged.append({"start": start, "end": end, "labels": list(labels)})
        scores = list(labels.values())
        if scores.count(None) < len(scores):
            merged[-1]["scores"] = scores
    return merged


def note_others(item: Mapping[str, Any], read: Collection[str], report: Report) -> None:
    """Note the fields of an object that are not read, unless they are empty."""
    for name, value in item.items():
        if name not in read and value not in (None, "", [], {}):
            report.not_kept(name, value)


def labels_to_write(span: Mapping[str, Any], where: str, report: Report) -> list[str]:
    """Return the labels of a span for a format in which each span has one at least.

    Args:
        span: one of a record.
        where: the record.
        report: counts the spans without; they are left out.
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
    """
    content = text.encode("utf-16-le")
    if isinstance(units, bool) or not isinstance(units, int):
        raise ValueError(f"got {units!r:.80}, and no integer.")
    if not 0 <= 2 * units <= len(content):
        raise ValueError(f"got {units} of {len(content) // 2} UTF-16 units.")
    return len(content[: 2 * units].decode("utf-16-le"))


def as_number(value: object) -> Any:
    """Return a number that is written as text as one, and all else as it is."""
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
    """
    strings = [name for name, value in data.items() if isinstance(value, str)]
    only = strings[0] if len(strings) == 1 else None
    chosen = text_field or ("text" if "text" in strings else only)
    if chosen not in strings:
        raise ItemError(
            f"{where}: There must be one string, or `text`, got {text_field!r} of {list(data)}. "
            "`text_field` names it.",
            "item without a text",
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
