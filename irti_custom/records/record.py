"""The record, the one shape that every format is read into and written from.

    {"id": "7", "text": "Ann saw Rome", "spans": [{"start": 8, "end": 12, "labels": ["place"]}]}
    {"id": "7", "text": "Ann saw [MASK]", "masks": [{"labels": ["place"]}]}
    {"id": "7", "columns": [{"header": "city", "values": ["Rome", None], "labels": ["place"]}]}
    {"id": "7", "fields": [{"name": "city", "value": "Rome", "labels": ["place"]}]}

`start` and `end` count characters as Python does; `end` is exclusive. `labels` is None where
they are not known. A span may have `scores`, one per label, and a table a `title`. The names of
fields may be None, or repeat; a missing value is None, and has no labels. A record may have other
fields, such as a `genre`, where whoever reads or writes it names them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from typing import Any

Record = dict[str, Any]
"""A text with spans, a table with columns or a record of fields, see above."""
KINDS = {
    "spans": "text with spans",
    "masks": "text with mask tokens",
    "columns": "table",
    "fields": "record of fields",
}
"""The key of its positions, and what a record with it is."""
_FIELD = {"name", "value", "labels", "scores"}
OWN = {"id", "text", "title", "words", *KINDS}
"""Fields that mean something."""
_SURFACES = ("word", "text", "surface")
"""Keys of a span under which people, tools and our own answers write what stands there."""


class ItemError(ValueError):
    """Something that is no record, or no part of one, in a file that is whole.

    Attributes:
        kind: what is wrong, in words that a count makes sense of.
    """

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message, kind)
        self.kind = kind

    def __str__(self) -> str:
        return str(self.args[0])


def check_record(
    record: Mapping[str, Any], where: str, leave_out: Callable[[ItemError], None] | None = None
) -> Record:
    """Check a record, and return it with nothing else in it.

    Args:
        record: one as at the top of this module; `id` must be there. Fields without labels may be
            a dict of values by name.
        where: what errors begin with.
        leave_out: what to do with a span that is none, which then is not in the record; raise by
            default.

    Raises:
        ValueError: anything else.
    """
    kinds = [kind for kind in ("text", "columns", "fields") if record.get(kind) is not None]
    if len(kinds) != 1:
        raise ItemError(
            f'{where}: A record must have "text" and "spans", or "columns", or "fields", got the '
            f"keys {list(record)}.",
            "object that is no record",
        )
    checked: Record = {"id": check_id(record.get("id"), where)}
    if kinds == ["fields"]:
        fields = record["fields"]
        if isinstance(fields, Mapping):
            fields = [{"name": name, "value": value} for name, value in fields.items()]
        listed = check_list(fields, where, "fields")
        checked["fields"] = [check_field(field, where) for field in listed]
        return checked
    if kinds == ["columns"]:
        if record.get("title") is not None:
            checked["title"] = check_string(record["title"], where, "title")
        columns = check_list(record["columns"], where, "columns")
        checked["columns"] = [check_column(column, where) for column in columns]
        return checked
    checked["text"] = text = check_string(record["text"], where, "text")
    if record.get("spans") is None and record.get("masks") is not None:
        masks = check_list(record["masks"], where, "masks")
        checked["masks"] = [_with_labels({}, mask, where) for mask in masks]
        return checked
    spans = check_list(record.get("spans"), where, "spans")
    checked["spans"] = []
    for span in spans:
        try:
            checked["spans"].append(check_span(span, text, where))
        except ItemError as error:
            if leave_out is None:
                raise
            leave_out(error)
    return checked


def other_fields(record: Mapping[str, Any], keep: Iterable[str], where: str) -> Record:
    """Return the fields of a record, beside those at the top of this module, that are to be kept.

    Args:
        record: may have any fields.
        keep: their names.
        where: what errors begin with.

    Raises:
        ValueError: one name in place of a list, one that the record has not or that means something
            else, or a value that is no string, number, boolean or None.
    """
    if isinstance(keep, str):
        raise ValueError(f"`keep` must be a list of names, got {keep!r}. Write [{keep!r}].")
    kept = {}
    for name in keep:
        if name in OWN:
            raise ValueError(f"`keep` must name other fields than {sorted(OWN)}, got {name!r}.")
        if name not in record:
            raise ItemError(
                f"{where}: A record must have each field that `keep` names, null where it is "
                f"missing, got {name!r} and the keys {list(record)}.",
                "field to keep that is missing",
            )
        value = record[name]
        if value is not None and not isinstance(value, (str, int, float)):
            raise ItemError(
                f"{where}: A field to keep must be a string, a number, a boolean or null, got "
                f"{value!r:.80} for {name!r}.",
                "field to keep that is no string or number",
            )
        kept[name] = check_string(value, where, name) if isinstance(value, str) else value
    return kept


def check_id(value: object, where: str, number: int | None = None) -> str:
    """Return the id of a record as a string.

    Args:
        value: a string or an integer; or None, where there is a number.
        where: what errors begin with.
        number: of the record in its file, the id of one that has none.

    Raises:
        ValueError: neither a string nor an integer.
    """
    value = number if value is None else value
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise ItemError(
            f"{where}: An `id` must be a string or an integer, got {value!r:.80}.",
            "id that is no string or integer",
        )
    return check_string(str(value), where, "id")


def check_span(span: Mapping[str, Any], text: str, where: str) -> dict[str, Any]:
    """Check a span of a text.

    Raises:
        ValueError: not a dict, out of range or empty; or labels or scores of another form; or a
            "word" or "text" beside the ends that is not what stands there.
    """
    if not isinstance(span, Mapping):
        raise ItemError(
            f'{where}: A span must have "start" and "end", got {span!r:.80}.',
            "span that is no object",
        )
    start, end = check_range(span.get("start"), span.get("end"), text, where)
    check_surfaces(span, text, (start, end), where)
    return _with_labels({"start": start, "end": end}, span, where)


def _with_labels(checked: Record, position: object, where: str) -> Record:
    """Add the labels of a position, and their scores where it has some."""
    if not isinstance(position, Mapping):
        raise ItemError(
            f'{where}: A position must be a dict with "labels", got {position!r:.80}.',
            "position that is no object",
        )
    checked["labels"] = labels = check_labels(position, where)
    if position.get("scores") is not None:
        checked["scores"] = check_scores(position["scores"], labels, where)
    return checked


def check_surfaces(span: Mapping[Any, Any], text: str, ends: tuple[int, int], where: str) -> None:
    """Check that a span is what is written beside its ends as its "word", "text" or "surface".

    Args:
        span: it may have any keys; a value that is no string says nothing.
        text: the text.
        ends: its start and end in the text.
        where: what errors begin with.

    Raises:
        ValueError: another text than stands there.
    """
    for key in _SURFACES:
        surface = span.get(key)
        if isinstance(surface, str):
            check_surface(surface, text, ends, where)


def check_surface(
    surface: object, text: str, ends: tuple[int, int], where: str, hint: str = ""
) -> None:
    """Check that a span is the text that its file has beside it.

    Args:
        surface: the text beside it.
        text: that of the record.
        ends: start and end.
        where: file and line.
        hint: the end of the error.

    Raises:
        ValueError: another text than stands there.
    """
    start, end = ends
    if text[start:end] != surface:
        wide = any(ord(character) > 0xFFFF for character in text[:end])
        units = " Do its offsets count UTF-16 units? Count characters." if wide else ""
        raise ItemError(
            f"{where}: The text at {start} to {end} must be {surface!r:.80}, got "
            f"{text[start:end]!r:.80}.{hint or units}",
            "span that is not its text",
        )


def check_range(start: object, end: object, text: Sized, where: str) -> tuple[int, int]:
    """Return the two ends of a span of a text, or of words.

    Raises:
        ValueError: other than integers, out of range, or empty.
    """
    ends = (start, end)
    if any(isinstance(one, bool) or not isinstance(one, int) for one in ends):
        raise ItemError(
            f"{where}: `start` and `end` of a span must be integers, got {start!r:.80} and "
            f"{end!r:.80}.",
            "span whose ends are no integers",
        )
    assert isinstance(start, int)
    assert isinstance(end, int)
    if not 0 <= start < end <= len(text):
        raise ItemError(
            f"{where}: A span must be 0 <= start < end <= {len(text)}, got {start} and {end}.",
            "empty span" if 0 <= start == end <= len(text) else "span beyond its text",
        )
    return start, end


def check_labels(position: Mapping[str, Any], where: str) -> list[str] | None:
    """Return the labels of a position: a list of names; None where they are not known.

    Raises:
        ValueError: no `labels`, or other than names.
    """
    if "labels" not in position:
        raise ItemError(
            f'{where}: A span or column must have "labels", null where they are not known, got '
            f"the keys {list(position)}."
            + (" A single `label` is Prodigy's: format='prodigy'." if "label" in position else ""),
            "span or column without `labels`",
        )
    labels = position["labels"]
    if labels is None:
        return None
    listed = [labels] if isinstance(labels, str) else labels
    if not isinstance(listed, Sequence) or not all(isinstance(one, str) and one for one in listed):
        raise ItemError(
            f"{where}: `labels` must be a list of names, got {labels!r:.80}.",
            "label that is no name",
        )
    return [check_string(label, where, "label") for label in listed]


def check_column(column: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Check a column of a table; numbers become text.

    Raises:
        ValueError: not a dict of values and labels, or a value that is no string or number.
    """
    if not isinstance(column, Mapping):
        raise ItemError(
            f'{where}: A column must have "values", got {column!r:.80}.',
            "column that is no object",
        )
    header = column.get("header")
    header = None if header is None else check_string(header, where, "header")
    values = check_list(column.get("values"), where, "values")
    cells = [_as_cell(cell, where) for cell in values]
    return _with_labels({"header": header, "values": cells}, {"labels": None, **column}, where)


def kind_of(record: Mapping[str, Any]) -> str:
    """Return the key of a record's positions, one of `KINDS`."""
    return next(kind for kind in KINDS if record.get(kind) is not None)


def check_field(field: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Check a field of a record; a number becomes text, and white space only is a missing value.

    Raises:
        ValueError: not a dict of a value, name and labels, or labels of a missing value.
    """
    if not isinstance(field, Mapping) or "value" not in field or field.keys() - _FIELD:
        raise ItemError(
            f'{where}: A field must be a dict of "value" and, if it has them, "name" and "labels", '
            f"got {field!r:.80}. A dict of values by field name is a record, too.",
            "field that is none",
        )
    name = field.get("name")
    name = None if name is None else check_string(name, where, "name") or None
    value = _as_cell(field["value"], where)
    value = value if value and value.strip() else None
    checked = _with_labels({"name": name, "value": value}, {"labels": None, **field}, where)
    if checked["labels"] and value is None:
        raise ItemError(
            f"{where}: The field {name!r} has no value, and the labels {checked['labels']!r:.80}, "
            "which would be lost. Give None for them.",
            "labels of a missing value",
        )
    return checked if value is not None else {"name": name, "value": None, "labels": None}


def check_string(value: object, where: str, name: str) -> str:
    """Return a string that can be written to a file.

    Raises:
        ValueError: something else, or half of a surrogate pair.
    """
    if not isinstance(value, str):
        raise ItemError(
            f"{where}: A {name} must be a string, got {value!r:.80}.",
            f"{name} that is no string",
        )
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ItemError(
            f"{where}: A {name} must be Unicode text, got {value[error.start]!r} at character "
            f"{error.start}, half of a surrogate pair. Was it cut, or decoded wrongly?",
            f"{name} that is no Unicode text",
        ) from error
    return value


def check_list(value: object, where: str, name: str) -> list[Any]:
    """Return a list.

    Raises:
        ValueError: something else, None among it.
    """
    if not isinstance(value, (list, tuple)):
        raise ItemError(
            f"{where}: `{name}` must be a list, [] for none, got {value!r:.80}.",
            f"`{name}` that is no list",
        )
    return list(value)


def check_scores(scores: object, labels: list[str] | None, where: str) -> list[float | None]:
    """Return the scores of labels, None where there is none.

    Raises:
        ValueError: other than one number per label.
    """
    listed = check_list(scores, where, "scores")
    numbers = all(
        one is None or (isinstance(one, (int, float)) and not isinstance(one, bool))
        for one in listed
    )
    if labels is None or len(listed) != len(labels) or not numbers:
        raise ItemError(
            f"{where}: `scores` must be one number per label of {labels}, got {scores!r:.80}.",
            "scores that are not one per label",
        )
    return [None if one is None else float(one) for one in listed]


def _as_cell(cell: object, where: str) -> str | None:
    if cell is None or type(cell).__name__ == "NAType" or cell != cell:  # NA of pandas, NaN
        return None
    if isinstance(cell, (str, int, float)):
        return check_string(str(cell), where, "value")
    raise ItemError(
        f"{where}: A value must be a string or number, got {cell!r:.80}.",
        "value that is no string or number",
    )
