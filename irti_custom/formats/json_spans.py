"""Objects of a text and its annotations: what the formats of annotation tools share.

    {"text": "Ann saw Rome", "spans": [{"start": 8, "end": 12, "label": "place"}]}

A tool is described by the names of its fields; what is its own goes into the hooks `prepare`,
`read_entry` and `item`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, Callable, ClassVar, Optional

from ..records.record import (
    ItemError,
    Record,
    check_id,
    check_list,
    check_range,
    check_string,
    check_surface,
    check_surfaces,
)
from .files import Item, read_objects, write_array, write_lines
from .format import Format, check_choice, option
from .read_report import Report
from .record_streams import texts

OFFSETS = ("code-points", "utf-16")
SEVERAL = ("first", "last", "merge")
"""Ways to read a text that several people annotated."""

Annotation = tuple[int, int, Optional[str], Optional[float]]
"""Start, end, label and score; no label, or no score, is None."""


@dataclass(frozen=True)
class JsonSpans(Format):
    """Objects of a text and a list of annotations, each with one label.

    Attributes:
        text: the field of the text.
        entries: that of the annotations.
        ids: that of the record's id.
        keys: the fields of start, end and label in an annotation.
        surface: that of the text of an annotation, beside those that any format may have.
        score: that of its score.
        needs_label: whether an annotation must have a label.
        notes_keys: whether other fields of annotations are noted as not kept.
        not_held: lists of what a record cannot hold: the kind by field.
        beside: other fields that are read, or hold no annotation.
        as_array: whether a JSON array is written; else JSON lines.
    """

    text: ClassVar[str] = "text"
    entries: ClassVar[str] = "spans"
    ids: ClassVar[str] = "id"
    keys: ClassVar[tuple[str, str, str]] = ("start", "end", "label")
    surface: ClassVar[str] = ""
    score: ClassVar[str] = ""
    needs_label: ClassVar[bool] = True
    notes_keys: ClassVar[bool] = False
    not_held: ClassVar[Mapping[str, str]] = {}
    beside: ClassVar[tuple[str, ...]] = ()
    as_array: ClassVar[bool] = False

    def items(self, path: Path) -> Iterable[Item]:
        """Return what is in a file, and where."""
        return read_objects(path)

    def prepare(self, item: dict[str, Any], where: str, report: Report) -> dict[str, Any] | None:
        """Return an item with the fields that this class names; None to leave it out."""
        return item

    def read(self, path: Path, report: Report) -> Iterator[Record]:
        """Yield a record per item; see `Format`."""

        def read_item(item: dict[str, Any], where: str, number: int) -> Record | None:
            prepared = self.prepare(item, where, report)
            return None if prepared is None else self.record(prepared, where, number, report)

        return read_items(self.items(path), report, read_item)

    def record(self, item: dict[str, Any], where: str, number: int, report: Report) -> Record:
        """Make a record of a prepared item."""
        text = check_string(item.get(self.text), where, self.text)
        entries = check_list(item.get(self.entries), where, self.entries)
        for name, kind in self.not_held.items():
            for value in check_list(item.get(name) or [], where, name):
                message = f"A record holds spans and no {kind}, got {value!r:.80}."
                report.unsupported(kind, where, message)
        own = (self.text, self.entries, self.ids, *self.not_held, *self.beside)
        note_others(item, own, report)
        annotations: list[Annotation] = []
        for entry in entries:
            with report:
                annotations += self.read_entry(entry, item, where, report)
        spans = merge_spans(annotations, report)
        return {"id": check_id(item.get(self.ids), where, number), "text": text, "spans": spans}

    def read_entry(
        self, entry: Any, item: dict[str, Any], where: str, report: Report
    ) -> list[Annotation]:
        """Return the annotations of an entry of an item, one per label."""
        is_object = isinstance(entry, dict)
        start, end, label = map(entry.get, self.keys) if is_object else (None, None, None)
        if not is_object or (self.needs_label and not isinstance(label, str)):
            raise ItemError(
                f"{where}: A span must be an object of {self.keys}, got {entry!r:.120}.",
                "span that is no object with a label",
            )
        if self.notes_keys:
            note_others(entry, (*self.keys, self.surface, self.score), report)
        text = item[self.text]
        surface = entry.get(self.surface) if self.surface else None
        annotation = check_annotation(start, end, label, text, where, surface)
        check_surfaces(entry, text, annotation[:2], where)
        return [(*annotation[:3], entry.get(self.score) if self.score else None)]

    def write(self, records: Iterable[Record], path: Path, report: Report) -> None:
        """Write an item per record; see `Format`."""
        items = (self.item(record, where, report) for where, record in texts(records, report))
        (write_array if self.as_array else write_lines)(path, items)

    def item(self, record: Record, where: str, report: Report) -> dict[str, Any]:
        """Make the item to be written for a record."""
        raise NotImplementedError


@dataclass(frozen=True)
class AnnotatedTexts(JsonSpans):
    """Texts that several people, or models, may have annotated; the text is one of some fields.

    Args:
        annotations: which to read of a text that has several: one of `choices`; by default several
            raise. "predictions" reads those of models, with their scores.
        text_field: the field of the text; by default "text", or the only string.
        offsets: "code-points", or "utf-16" where offsets count UTF-16 units.
    """

    choices: ClassVar[tuple[str, ...]] = (*SEVERAL, "predictions")

    annotations: str | None = option(only="read")
    text_field: str | None = option(only="read")
    offsets: str | None = option(only="read")

    writes = True
    holds_scores = True
    as_array = True

    def read(self, path: Path, report: Report) -> Iterator[Record]:
        """Yield a record per item; see `Format`."""
        check_choice("annotations", self.annotations, (None, *self.choices))
        check_choice("offsets", self.offsets, (None, *OFFSETS))
        return super().read(path, report)

    def choose_text(self, data: Mapping[str, Any], where: str) -> str:
        """Return the text among the fields of an item."""
        strings = [name for name, value in data.items() if isinstance(value, str)]
        only = strings[0] if len(strings) == 1 else None
        chosen = self.text_field or ("text" if "text" in strings else only)
        if chosen not in strings:
            raise ItemError(
                f"{where}: There must be one string, or `text`, got {self.text_field!r} of "
                f"{list(data)}. `text_field` names it.",
                "item without a text",
            )
        return check_string(data[chosen], where, "text")

    def choose(
        self, made: list[Any], annotators: list[Any], where: str, report: Report
    ) -> list[Any] | None:
        """Return those of the annotations of a text that are read; None to leave out the text."""
        if len(made) > 1 and self.annotations in SEVERAL:
            report.note(f"text with several annotations, {self.annotations} taken")
            return {"first": made[:1], "last": made[-1:]}.get(self.annotations or "", made)
        if len(made) > 1:
            report.unsupported(
                "text with several annotations",
                where,
                f"A text must have one annotation, got {len(made)}, of the annotators "
                f"{annotators}. `annotations` chooses, one of {self.choices}.",
            )
            return None
        return made


def read_items(
    items: Iterable[Item],
    report: Report,
    read_item: Callable[[dict[str, Any], str, int], Record | None],
    first: int = 0,
) -> Iterator[Record]:
    """Read items, without those that are no records, which are counted.

    Args:
        items: JSON values and where they are.
        report: counts.
        read_item: makes a record of an object, where it is and its number; None to leave it out.
        first: the number of the first item.
    """
    for number, (where, item) in enumerate(items, first):
        record = None
        with report:
            record = read_item(check_object(item, where), where, number)
        if record is not None:
            yield record


def check_object(item: object, where: str) -> dict[str, Any]:
    """Return a JSON object; raise an `ItemError` for another value."""
    if not isinstance(item, dict):
        raise ItemError(
            f"{where}: It must be a JSON object, got {item!r:.80}.", "item that is no object"
        )
    return item


def check_annotation(
    start: object, end: object, label: object, text: str, where: str, surface: object = None
) -> Annotation:
    """Return an annotation of a text; raise an `ItemError` if it is none.

    `surface` is the text that the file has beside it, or None.
    """
    first, last = check_range(start, end, text, where)
    if label is not None and (not isinstance(label, str) or not label):
        message = f"{where}: A label must be a name, got {label!r:.80}."
        raise ItemError(message, "label that is no name")
    name = None if label is None else check_string(label, where, "label")
    if surface is not None:
        check_surface(surface, text, (first, last), where)
    return first, last, name, None


def merge_spans(annotations: Iterable[Annotation], report: Report) -> list[dict[str, Any]]:
    """Make one span of the annotations of the same characters, in the order they come.

    [(0, 3, "person", None), (0, 3, "actor", None)]  ->  labels ["person", "actor"]
    """
    spans: dict[tuple[int, int], dict[str, float | None]] = {}
    for start, end, label, score in annotations:
        labels = spans.get((start, end))
        if labels is None:
            spans[start, end] = {} if label is None else {label: score}
        elif label is None or label in labels:
            report.note("repeated label of a span, or repeated span without a label")
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


def labels_to_write(
    span: Mapping[str, Any], where: str, report: Report, needs_one: bool = True
) -> list[str] | None:
    """Return the labels of a span; None, which is counted, if the format cannot hold it so.

    The labels must be known, and with `needs_one` there must be one at least.
    """
    if span["labels"] or (span["labels"] == [] and not needs_one):
        return list(span["labels"])
    if needs_one:
        kind, rule = "span without a label", f"Each span must have a label in {report.format}"
    else:
        kind, rule = "span without known labels", "The labels of a span must be known"
    report.unsupported(kind, where, f"{rule}, got {span}.")
    return None


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
    """Return digits as a number, all else as it is."""
    is_number = isinstance(value, str) and value.isdecimal() and len(value) < 20  # or no offset
    return int(value) if is_number else value  # type: ignore[call-overload]


def join(words: Sequence[str]) -> tuple[str, list[tuple[int, int]]]:
    """Join words by single spaces; return the text, and the characters of each word in it."""
    starts = accumulate((len(word) + 1 for word in words), initial=0)
    return " ".join(words), [(start, start + len(word)) for start, word in zip(starts, words)]
