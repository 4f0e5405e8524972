"""Read a record of any kind, and answer every question about its kind.

    {"text", "spans"} │ {"words", "spans"}  ->  SpannedText
    text with mask tokens │ {"text", "masks"}  ->  MaskedText
    {"columns"} │ DataFrame                 ->  Table
    {"fields"}                              ->  Fields

`record` has the strict form in which records are written to files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Union, cast

from ..labels import as_integer
from .record import check_surfaces
from .sequences import as_list, is_frame, is_missing

if TYPE_CHECKING:
    import pandas as pd

RecordInput = Union[str, Mapping[str, Any], "pd.DataFrame"]
"""A record as users give it, see `read_record`."""
FieldsInput = Union[Mapping[str, object], Sequence[Mapping[str, object]], "pd.Series"]
"""Fields as users give them, see `read_fields`."""
Column = Union[Iterable[object], Mapping[str, object]]
"""A column as users give it: values, or a dict of `values` and an optional `header`."""
TableInput = Union[Sequence[Column], Mapping[str, object], "pd.DataFrame"]
"""A table as users give it, see `read_table`."""
CharSpan = tuple[int, int]
"""Start and end of a span, the end exclusive."""
Span = Union[Sequence[int], Mapping[str, Any]]
"""A span as users give it: ``(start, end)`` or a dict with these keys."""
Position = dict[str, Union[int, str, None]]
"""The name of a position: `word`, and `start` and `end`, or `column`, or `field`."""

_MEANINGFUL = ("text", "words", "columns", "fields")
_FORMS = (
    'a dict of "text" and "spans", a dict of "words" and "spans", a text with mask tokens, a dict '
    'of "columns", a DataFrame, or a dict of "fields"'
)
_OWN = {*_MEANINGFUL, "id", "title", "spans", "masks"}
_FIELD_KEYS = {"name", "value", "labels", "scores"}
_BETWEEN = " | "
# More characters per token than text has; what lies beyond never gets into a row.
_CHARACTERS_PER_TOKEN = 16


class RecordError(ValueError):
    """A record that cannot be prepared.

    Attributes:
        number: which one.
    """

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message, number)
        self.number = number

    def __str__(self) -> str:
        return str(self.args[0])


@contextmanager
def errors_of(number: int) -> Iterator[None]:
    """Raise a `RecordError` with the number of the record in place of a ValueError."""
    try:
        yield
    except ValueError as error:
        raise RecordError(str(error), number) from error


class Shown(NamedTuple):
    """A position as people see it: its number in the record, a text, and where it is in that."""

    number: int
    text: str
    start: int
    end: int

    @property
    def string(self) -> str:
        """The characters of the position."""
        return self.text[self.start : self.end]


@dataclass(frozen=True)
class Record:
    """One record, checked.

    Attributes:
        kind: "spans", "words", "masks", "columns" or "fields".
        labels: per position its labels as given, None where they are not known; None for a record
            without a word on labels.
        given: the record as given, with its id and the user's own fields; empty for a bare one.
    """

    kind: ClassVar[str]
    labels: list[Any] | None = None
    given: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def num_missing(self) -> int:
        """The number of positions that are fields without a value."""
        return 0

    def labels_in_order(self, labels: Any, name: str) -> Any:
        """Return labels that were given apart from the record, one entry per position."""
        return labels

    def describe(self, char_spans: Sequence[CharSpan]) -> list[Position]:
        """Return the position dicts, as the user counts.

        Args:
            char_spans: the characters of each position; ignored for a table and for fields.
        """
        raise NotImplementedError

    def show(self, positions: Sequence[Position]) -> list[Shown]:
        """Return the positions as people see them; a missing value is none.

        Args:
            positions: from `describe`.
        """
        raise NotImplementedError

    def plain(
        self, positions: Sequence[Position], labels: Sequence[Any], scores: Sequence[Any]
    ) -> dict[str, Any]:
        """Return the record as plain data with other labels, as `write_records` takes it.

        Args:
            positions: from `describe`.
            labels: per position a list of names, or None.
            scores: per position a score for each of these, or None.
        """
        own = {name: value for name, value in self.given.items() if name not in _OWN}
        ends = [
            {"labels": names} if numbers is None else {"labels": names, "scores": numbers}
            for names, numbers in zip(labels, scores)
        ]
        record_id = self.given.get("id")
        with_id = {} if is_missing(record_id) else {"id": record_id}
        return {**with_id, **self._plain(positions, ends), **own}

    def _plain(self, positions: Sequence[Position], ends: list[Any]) -> dict[str, Any]:
        raise NotImplementedError


def _spanned(
    text: str, positions: Sequence[Position], spans: Sequence[CharSpan], ends: list[Any]
) -> dict[str, Any]:
    listed = [{"start": s, "end": e, **labels} for (s, e), labels in zip(spans, ends)]
    return {"text": text, "spans": listed}


@dataclass(frozen=True)
class SpannedText(Record):
    """A text and the spans that are read in it.

    Attributes:
        text: the text; words are joined by single spaces.
        spans: M spans of characters.
        counted: the same, as the user counts: in characters or in words.
        in_words: whether they are counted in words.
    """

    text: str = ""
    spans: list[CharSpan] = field(default_factory=list)
    counted: list[CharSpan] = field(default_factory=list)
    in_words: bool = False

    @property
    def kind(self) -> str:  # type: ignore[override]
        """Either "spans" or "words"."""
        return "words" if self.in_words else "spans"

    def describe(self, char_spans: Sequence[CharSpan]) -> list[Position]:
        """Return ``start``, ``end`` and ``word`` of each span."""
        return [
            {"start": start, "end": end, "word": self.text[first:stop]}
            for (start, end), (first, stop) in zip(self.counted, self.spans)
        ]

    def show(self, positions: Sequence[Position]) -> list[Shown]:
        """Return the spans in the text."""
        return [Shown(number, self.text, *span) for number, span in enumerate(self.spans)]

    def _plain(self, positions: Sequence[Position], ends: list[Any]) -> dict[str, Any]:
        return _spanned(self.text, positions, self.spans, ends)


@dataclass(frozen=True)
class MaskedText(Record):
    """A text in which each mask token is a position."""

    kind: ClassVar[str] = "masks"
    text: str = ""

    def describe(self, char_spans: Sequence[CharSpan]) -> list[Position]:
        """Return ``start``, ``end`` and ``word`` of each mask token."""
        return [{"start": s, "end": e, "word": self.text[s:e]} for s, e in char_spans]

    def show(self, positions: Sequence[Position]) -> list[Shown]:
        """Return the mask tokens in the text."""
        spans = [(cast("int", one["start"]), cast("int", one["end"])) for one in positions]
        return [Shown(number, self.text, *span) for number, span in enumerate(spans)]

    def _plain(self, positions: Sequence[Position], ends: list[Any]) -> dict[str, Any]:
        return {"text": self.text, "masks": ends}


@dataclass(frozen=True)
class Table(Record):
    """A table: its title, and a header, or None, and values per column."""

    kind: ClassVar[str] = "columns"
    title: str = ""
    headers: list[str | None] = field(default_factory=list)
    values: list[Iterable[object]] = field(default_factory=list)

    def column_texts(self, tokens: int | None) -> list[str]:
        """Return each column as text, ``header: value, value``, without missing values.

        Args:
            tokens: how many tokens of a column can be used; None for all.
        """
        limit = None if tokens is None else tokens * _CHARACTERS_PER_TOKEN
        return [_column_text(h, cells, limit) for h, cells in zip(self.headers, self.values)]

    def describe(self, char_spans: Sequence[CharSpan]) -> list[Position]:
        """Return ``column``, its index, and ``word``, its header."""
        return [{"column": index, "word": header} for index, header in enumerate(self.headers)]

    def show(self, positions: Sequence[Position]) -> list[Shown]:
        """Return each column's header in the text of that column, or all of one without."""
        texts = zip(self.headers, self.column_texts(None))
        return [Shown(i, text, 0, len(header or text)) for i, (header, text) in enumerate(texts)]

    def _plain(self, positions: Sequence[Position], ends: list[Any]) -> dict[str, Any]:
        columns = [
            {
                "header": header,
                "values": [None if is_missing(cell) else str(cell) for cell in cells],
                **labels,
            }
            for header, cells, labels in zip(self.headers, self.values, ends)
        ]
        return {"title": self.title, "columns": columns} if self.title else {"columns": columns}


@dataclass(frozen=True)
class Fields(Record):
    """Fields: a name, or None, and a value, or None where it is missing, for each."""

    kind: ClassVar[str] = "fields"
    names: list[str | None] = field(default_factory=list)
    values: list[str | None] = field(default_factory=list)

    @property
    def present(self) -> list[int]:
        """The fields that have a value."""
        return [index for index, value in enumerate(self.values) if value is not None]

    @property
    def num_missing(self) -> int:
        """The number of fields without a value."""
        return self.values.count(None)

    def write(self, with_names: bool) -> tuple[str, list[CharSpan]]:
        """Return all fields as one text, and the characters of each value there is."""
        text, spans = "", []
        for index in self.present:
            name, value = self.names[index], cast("str", self.values[index])
            text += _BETWEEN if text else ""
            text += f"{name}: " if with_names and name else ""
            spans.append((len(text), len(text) + len(value)))
            text += value
        return text, spans

    def labels_in_order(self, labels: Any, name: str) -> Any:
        """Return labels by field name, or in a list, in the order of the fields.

        Raises:
            ValueError: a name that no field or several have; a label of a missing value.
        """
        if isinstance(labels, Mapping):
            unknown = [key for key in labels if self.names.count(key) != 1]
            if unknown:
                raise ValueError(
                    f"`labels` of {name} must be by the name of one field, got {unknown!r:.80} for "
                    f"the fields {self.names!r:.80}. Where names repeat, give a list, one per "
                    "field."
                )
            labels = [labels.get(key) for key in self.names]
        listed = None if is_missing(labels) else as_list(f"`labels` of {name}", labels)
        for index, entry in enumerate(listed or ()):
            missing = index < len(self.values) and self.values[index] is None
            empty = is_missing(entry) or (hasattr(entry, "__len__") and not len(entry))
            if missing and not empty:
                raise ValueError(
                    f"Field {index} of {name} ({self.names[index]!r}) has no value, and the labels "
                    f"{entry!r:.80}, which would be lost. Give None for it."
                )
        return listed

    def describe(self, char_spans: Sequence[CharSpan]) -> list[Position]:
        """Return ``field``, its name, and ``word``, its value or None."""
        return [{"field": name, "word": value} for name, value in zip(self.names, self.values)]

    def show(self, positions: Sequence[Position]) -> list[Shown]:
        """Return the values in the text of all fields."""
        text, spans = self.write(with_names=True)
        return [Shown(number, text, *span) for number, span in zip(self.present, spans)]

    def _plain(self, positions: Sequence[Position], ends: list[Any]) -> dict[str, Any]:
        pairs = zip(self.names, self.values, ends)
        return {"fields": [{"name": n, "value": v, **labels} for n, v, labels in pairs]}


def read_record(record: RecordInput, name: str) -> Record:
    """Read a record of any kind.

    Args:
        record: one of

            - ``{"text": str, "spans": [(start, end), ...]}``, in characters;
            - ``{"words": [str, ...], "spans": [(start, end), ...]}``, in words;
            - a text with mask tokens, each of them a position, or ``{"text": str, "masks": [{},
              ...]}`` with a dict for each mask token;
            - ``{"columns": [...]}``, or a DataFrame, each column a position;
            - ``{"fields": {name: value, ...}}``, each value a position.

            None, NaN and the like count as missing. Any position may be a dict with `labels`. A
            span that is one has `start` and `end`; a string in it that is called `word`, `text` or
            `surface` must be what stands there. Other keys, such as `id`, are the user's own.
        name: of the record in errors.

    Raises:
        ValueError: anything else, or a span that is out of range.

    Example:
        >>> read_record({"words": ["Ann", "sees", "Bob"], "spans": [(2, 3)]}, "example 0").spans
        [(9, 12)]
    """
    if isinstance(record, str):
        return MaskedText(text=check_text(record, name))
    if is_frame(record):
        return read_table(record, name)
    if not isinstance(record, Mapping):
        raise ValueError(f"{name} must be {_FORMS}, got {record!r:.80}.")
    kinds = [kind for kind in _MEANINGFUL if not is_missing(record.get(kind))]
    if len(kinds) != 1:
        raise ValueError(
            f"{name} must have one of {_MEANINGFUL}, got the keys {list(record)} with "
            f"{kinds or 'none'} of them set."
        )
    if kinds == ["columns"]:
        return read_table(record, name, record)
    if kinds == ["fields"]:
        return read_fields(record["fields"], name, record)
    if kinds == ["text"] and "masks" in record and is_missing(record.get("spans")):
        return _masked(record, name)
    if "spans" not in record:
        raise ValueError(
            f'{name} has "{kinds[0]}", so it must have "spans", got the keys {list(record)}. A '
            "text with mask tokens is passed as a string."
        )
    return (_spanned_text if kinds == ["text"] else _spanned_words)(record, name)


def _masked(record: Mapping[str, Any], name: str) -> MaskedText:
    masks = record["masks"]
    labels = None if is_missing(masks) else _labels_of(as_list(f"The masks of {name}", masks))
    return MaskedText(labels, record, check_text(record["text"], name))


def _spanned_text(record: Mapping[str, Any], name: str) -> SpannedText:
    text = check_text(record["text"], name)
    listed = _list_spans(record["spans"], name)
    checked = _check_spans(listed, len(text), name, "characters")
    _check_contents(text, checked, checked, listed, name)
    return SpannedText(_labels_of(listed), record, text, checked, checked)


def _spanned_words(record: Mapping[str, Any], name: str) -> SpannedText:
    """Join words by single spaces, and turn spans of words into spans of characters."""
    words = as_list(f"The words of {name}", record["words"])
    for index, word in enumerate(words):
        if not isinstance(word, str):
            raise ValueError(f"Word {index} of {name} must be a string, got {word!r:.80}.")
    listed = _list_spans(record["spans"], name)
    checked = _check_spans(listed, len(words), name, "words")
    starts = [0]
    for word in words:
        starts.append(starts[-1] + len(word) + 1)
    spans = [(starts[start], starts[end] - 1) for start, end in checked]
    text = check_text(" ".join(words), name)
    _check_contents(text, spans, checked, listed, name)
    return SpannedText(_labels_of(listed), record, text, spans, checked, in_words=True)


def _check_contents(
    text: str, spans: list[CharSpan], counted: list[CharSpan], given: list[Span], name: str
) -> None:
    for index, (span, (start, end)) in enumerate(zip(given, spans)):
        if not text[start:end].strip():
            raise ValueError(
                f"Span {index} of {name} must hold more than white space, got "
                f"{text[start:end]!r} at {counted[index]}. Leave it out."
            )
        if isinstance(span, Mapping):
            check_surfaces(span, text, (start, end), f"Span {index} of {name}")


def _labels_of(positions: Sequence[Any]) -> list[Any] | None:
    """Return the labels of positions; None if none of them says anything about labels."""
    told = [isinstance(one, Mapping) and "labels" in one for one in positions]
    if positions and not any(told):
        return None
    return [one["labels"] if has else None for one, has in zip(positions, told)]


def _list_spans(spans: Iterable[Span] | None, name: str) -> list[Span]:
    if is_missing(spans):  # a data set's empty list
        return []
    return as_list(f"The spans of {name}", spans)


def _check_spans(spans: list[Span], length: int, name: str, unit: str) -> list[CharSpan]:
    return [check_span(index, span, length, name, unit) for index, span in enumerate(spans)]


def check_span(index: int, span: Span, length: int, name: str, unit: str) -> CharSpan:
    """Return start and end of a span of a text with `length` characters or words.

    Raises:
        ValueError: a span that is out of range, reversed or empty, or another value.
    """
    try:
        ends = [span["start"], span["end"]] if isinstance(span, Mapping) else list(span)
    except (KeyError, TypeError):
        ends = []
    start, end = map(as_integer, ends) if len(ends) == 2 else (None, None)
    if start is None or end is None:
        raise ValueError(
            f"Span {index} of {name} must be (start, end) or a dict with these keys, whole numbers "
            f"of {unit}, got {span!r:.80}. Labels go into `labels`."
        )
    if not 0 <= start < end <= length:
        raise ValueError(
            f"Span {index} of {name} must have 0 <= start < end <= {length}, which is all the "
            f"{unit} it has, got start={start} and end={end}."
        )
    return start, end


def check_text(text: str, name: str) -> str:
    """Return a text.

    Raises:
        ValueError: something else than a string, or one with half of a surrogate pair, which no
            tokenizer reads.
    """
    if not isinstance(text, str):
        raise ValueError(f"The text of {name} must be a string, got {text!r:.80}.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"The text of {name} must be Unicode text, got {text[error.start]!r} at character "
            f"{error.start}, half of a surrogate pair. Was it cut, or decoded wrongly? "
            "text.encode(errors='replace').decode() puts '?' in its place."
        ) from error
    return text


def read_table(table: TableInput, name: str, given: Mapping[str, Any] | None = None) -> Table:
    """Read a table.

    Args:
        table: a list of columns, a pandas DataFrame, or a dict of `columns` (one of these) and
            an optional `title`. A column is a list of values or a dict of `values` and an optional
            `header` and `labels`. None, NaN and the like are missing values.
        name: of the table in errors.
        given: the record that the table is read from.

    Raises:
        ValueError: anything else.
    """
    title, columns, given = "", cast("Any", table), given or {}
    if isinstance(table, Mapping):
        if "columns" not in table:
            raise ValueError(
                f"A dict for {name} must have `columns`, got the keys {list(table)}. A column is a "
                "dict of `values`, and of `header` if it has one."
            )
        title, columns = _as_text(table.get("title")) or "", table["columns"]
    if is_frame(columns):
        headers = [_as_text(header) for header in columns.columns]
        values = [columns.iloc[:, index] for index in range(len(headers))]
        return Table(None, given, title, headers, values)
    listed = as_list(f"The columns of {name}", columns)
    read = [_read_column(index, column, name) for index, column in enumerate(listed)]
    return Table(_labels_of(listed), given, title, [h for h, _ in read], [c for _, c in read])


def _read_column(index: int, column: Column, name: str) -> tuple[str | None, Iterable[object]]:
    named = column if isinstance(column, Mapping) else {"values": column}
    cells = as_list(f"The values of column {index} of {name}", named.get("values"))
    return _as_text(named.get("header")), cells


def _as_text(value: object) -> str | None:
    return None if is_missing(value) else str(value) or None


def _column_text(header: str | None, cells: Iterable[object], limit: int | None) -> str:
    parts, length = [], 0
    for cell in cells:
        if is_missing(cell):
            continue
        parts.append(str(cell))
        length += len(parts[-1])
        if limit is not None and length > limit:
            break
    text = ", ".join(parts)
    return f"{header}: {text}" if header else text


def read_fields(fields: FieldsInput, name: str, given: Mapping[str, Any] | None = None) -> Fields:
    """Read fields.

    Args:
        fields: a dict of values by field name, a row of a DataFrame, or a list of dicts of
            ``value`` and an optional ``name`` and ``labels``, where names may repeat. Values are
            written as `str` does, without white space at their ends. None, NaN and the like, and
            texts of white space only, are missing values.
        name: of the record in errors.
        given: the record that the fields are read from.

    Raises:
        ValueError: anything else, or labels of a missing value.
    """
    source, pairs, labels = cast("Any", fields), [], None
    if isinstance(fields, Mapping):
        pairs = list(fields.items())
    elif hasattr(fields, "iloc") and not is_frame(fields):  # a row of a DataFrame
        pairs = list(zip(source.index, as_list(f"The fields of {name}", source)))
    else:
        listed = as_list(f"The fields of {name}", fields)
        for index, one in enumerate(listed):
            if not isinstance(one, Mapping) or "value" not in one or one.keys() - _FIELD_KEYS:
                raise ValueError(
                    f'Field {index} of {name} must be a dict of "value" and, if it has one, '
                    f'"name", got {one!r:.80}. A dict of values by field name is a record, too.'
                )
            pairs.append((one.get("name"), one["value"]))
        labels = _labels_of(listed)
    names = [None if is_missing(key) else str(key) or None for key, _ in pairs]
    values = [_as_value(value, index, name) for index, (_, value) in enumerate(pairs)]
    read = Fields(labels, given or {}, names, values)
    read.labels_in_order(labels, name)
    return read


def _as_value(value: object, index: int, name: str) -> str | None:
    if is_missing(value):
        return None
    if isinstance(value, (Mapping, list, tuple, set)):
        raise ValueError(
            f"The value of field {index} of {name} must be a single one, got {value!r:.80}. Write "
            "it as text."
        )
    return str(value).strip() or None


def frame_fields(frame: Any) -> list[list[dict[str, Any]]]:
    """List the rows of a DataFrame as fields, by place, whatever its index.

    Raises:
        ValueError: another value.
    """
    if not is_frame(frame):
        raise ValueError(f"`rows=True` takes a DataFrame, got {type(frame).__name__}.")
    names = list(frame.columns)
    columns = [as_list("A column", frame.iloc[:, index]) for index in range(len(names))]
    return [
        [{"name": name, "value": value} for name, value in zip(names, row)] for row in zip(*columns)
    ]
