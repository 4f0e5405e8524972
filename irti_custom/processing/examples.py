"""Read examples of any kind, each of them once.

    {"text", "spans"} │ {"words", "spans"}  ->  SpannedText
    text with mask tokens                   ->  MaskedText
    {"columns"} │ DataFrame                 ->  Table
    {"fields"}                              ->  Fields

Tokens belong to `processor`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, Union

from ..records.record import check_surfaces
from ..records.sequences import as_list, is_frame, is_missing
from .fields import Fields, read_fields
from .spans import CharSpan, Span, check_span
from .tables import Table, read_table

if TYPE_CHECKING:
    import pandas as pd

ExampleInput = Union[str, Mapping[str, Any], "pd.DataFrame"]
"""An example as users give it, see `read_example`."""
Position = dict[str, Union[int, str, None]]
"""What a position is called: `word`, and `start` and `end`, or `column`, or `field`."""

_KINDS = ("text", "words", "columns", "fields")
_FORMS = (
    'a dict of "text" and "spans", a dict of "words" and "spans", a text with mask tokens, a dict '
    'of "columns", a DataFrame, or a dict of "fields"'
)


class ExampleError(ValueError):
    """An example that cannot be prepared.

    Attributes:
        example_id: which one.
    """

    def __init__(self, message: str, example_id: int) -> None:
        super().__init__(message, example_id)
        self.example_id = example_id

    def __str__(self) -> str:
        return str(self.args[0])


class SpannedText(NamedTuple):
    """A text and the spans that are read in it.

    Attributes:
        text: the text; words are joined by single spaces.
        spans: M spans of characters.
        given: the same, as the user counts: in characters or in words.
        fields: of a record that was written as this text; the spans are its values.
    """

    text: str
    spans: list[CharSpan]
    given: list[CharSpan]
    fields: Fields | None = None


class MaskedText(NamedTuple):
    """A text in which each mask token is a position."""

    text: str


Content = Union[SpannedText, MaskedText, Table, Fields]


class Example(NamedTuple):
    """One example of a batch.

    Attributes:
        id: its id in the rows.
        name: its name in errors, such as "example 3".
        content: what is read in it.
    """

    id: int
    name: str
    content: Content

    @property
    def kind(self) -> str:
        """The kind of its content, see `kind_of`."""
        return kind_of(self.content)

    @property
    def num_missing(self) -> int:
        """How many of its positions are fields without a value."""
        fields = getattr(self.content, "fields", None)
        return 0 if fields is None else fields.values.count(None)


@contextmanager
def errors_of(example_id: int) -> Iterator[None]:
    """Note on an error which example it is about.

    Raises:
        ExampleError: in place of a ValueError that is raised inside.

    Example:
        >>> with errors_of(7):
        ...     raise ValueError("It is empty.")
        Traceback (most recent call last):
        irti_custom.processing.examples.ExampleError: It is empty.
    """
    try:
        yield
    except ValueError as error:
        raise ExampleError(str(error), example_id) from error


def read_example(example: ExampleInput, name: str) -> Content:
    """Find out what kind of example one is, and read it.

    Args:
        example: one of

            - ``{"text": str, "spans": [(start, end), ...]}``, in characters;
            - ``{"words": [str, ...], "spans": [(start, end), ...]}``, in words;
            - a text with mask tokens, each of them a position;
            - ``{"columns": [...]}``, or a DataFrame, each column a position;
            - ``{"fields": {name: value, ...}}``, each value a position.

            Other keys are ignored; None, NaN and the like count as missing. A span may be a dict
            with `start` and `end`; a string in it that is called `word`, `text` or `surface` must
            be what stands there.
        name: of the example in errors.

    Raises:
        ValueError: anything else, or a span that is out of range.

    Example:
        >>> read_example({"words": ["Ann", "sees", "Bob"], "spans": [(2, 3)]}, "example 0").spans
        [(9, 12)]
    """
    if isinstance(example, str):
        return masked_text(example, name)
    if is_frame(example):
        return read_table(example, name)
    if not isinstance(example, Mapping):
        raise ValueError(f"{name} must be {_FORMS}, got {example!r:.80}.")
    kinds = [kind for kind in _KINDS if not is_missing(example.get(kind))]
    if len(kinds) != 1:
        raise ValueError(
            f"{name} must have one of {_KINDS}, got the keys {list(example)} with "
            f"{kinds or 'none'} of them set."
        )
    if kinds == ["columns"]:
        return read_table(example, name)
    if kinds == ["fields"]:
        return read_fields(example["fields"], name)
    if "spans" not in example:
        raise ValueError(
            f'{name} has "{kinds[0]}", so it must have "spans", got the keys {list(example)}. A '
            "text with mask tokens is passed as a string."
        )
    read = spanned_text if kinds == ["text"] else spanned_words
    return read(example[kinds[0]], example["spans"], name)


def kind_of(content: Content) -> str:
    """Name the kind of an example: "spans", "words", "masks", "columns" or "fields".

    Example:
        >>> kind_of(spanned_words(["Ann"], [(0, 1)], "example 0"))
        'words'
    """
    if isinstance(content, Table):
        return "columns"
    if isinstance(content, MaskedText):
        return "masks"
    if isinstance(content, Fields) or content.fields is not None:
        return "fields"
    return "spans" if content.given is content.spans else "words"  # in characters, or in words


def masked_text(text: str, name: str) -> MaskedText:
    """Check a text in which mask tokens are positions.

    Raises:
        ValueError: see `check_text`.

    Example:
        >>> masked_text("A [MASK]", "example 0")
        MaskedText(text='A [MASK]')
    """
    return MaskedText(check_text(text, name))


def spanned_text(text: str, spans: Iterable[Span] | None, name: str) -> SpannedText:
    """Check a text and its spans of characters; None is no span.

    Raises:
        ValueError: see `check_text` and `check_span`; a span of white space only, or one with a
            "word" or "text" that is not what stands there; or something else in place of the spans.

    Example:
        >>> spanned_text("Ann sees Bob", [{"start": 9, "end": 12}], "example 0").spans
        [(9, 12)]
    """
    text = check_text(text, name)
    listed = _list_spans(spans, name)
    checked = _check_spans(listed, len(text), name, "characters")
    return _with_spans(text, checked, checked, listed, name)


def spanned_words(words: Iterable[str], spans: Iterable[Span] | None, name: str) -> SpannedText:
    """Join words by single spaces, and turn spans of words into spans of characters.

    Raises:
        ValueError: as for `spanned_text`; or something else in place of the words.

    Example:
        >>> spanned_words(["Ann", "sees", "Bob"], [(1, 3)], "example 0").spans
        [(4, 12)]
    """
    words = as_list(f"The words of {name}", words)
    for index, word in enumerate(words):
        if not isinstance(word, str):
            raise ValueError(f"Word {index} of {name} must be a string, got {word!r:.80}.")
    listed = _list_spans(spans, name)
    checked = _check_spans(listed, len(words), name, "words")
    starts = [0]
    for word in words:
        starts.append(starts[-1] + len(word) + 1)
    char_spans = [(starts[start], starts[end] - 1) for start, end in checked]
    return _with_spans(check_text(" ".join(words), name), char_spans, checked, listed, name)


def _with_spans(
    text: str, char_spans: list[CharSpan], given: list[CharSpan], spans: list[Span], name: str
) -> SpannedText:
    for index, (span, (start, end)) in enumerate(zip(spans, char_spans)):
        if not text[start:end].strip():
            raise ValueError(
                f"Span {index} of {name} must hold more than white space, got "
                f"{text[start:end]!r} at {given[index]}. Leave it out."
            )
        if isinstance(span, Mapping):
            check_surfaces(span, text, (start, end), f"Span {index} of {name}")
    return SpannedText(text, char_spans, given)


def check_text(text: str, name: str) -> str:
    """Return a text.

    Raises:
        ValueError: something else than a string, or one with half of a surrogate pair, which no
            tokenizer reads.

    Example:
        >>> check_text("Ann", "example 0")
        'Ann'
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


def _list_spans(spans: Iterable[Span] | None, name: str) -> list[Span]:
    if is_missing(spans):  # a data set's empty list
        return []
    return as_list(f"The spans of {name}", spans)


def _check_spans(spans: list[Span], length: int, name: str, unit: str) -> list[CharSpan]:
    return [check_span(index, span, length, name, unit) for index, span in enumerate(spans)]


def describe(example: Example, char_spans: Sequence[CharSpan]) -> list[Position]:
    """Return what each position of an example is called, as the user counts.

    Args:
        example: the example.
        char_spans: the characters of each position; of a table or a record, none.

    Example:
        >>> describe(Example(0, "example 0", MaskedText("A [MASK]")), [(2, 8)])
        [{'start': 2, 'end': 8, 'word': '[MASK]'}]
    """
    content = example.content
    if isinstance(content, Table):
        return [{"column": i, "word": header} for i, header in enumerate(content.headers)]
    if isinstance(content, Fields):
        return [{"field": field, "word": value} for field, value in zip(*content)]
    given = content.given if isinstance(content, SpannedText) else char_spans
    return [
        {"start": start, "end": end, "word": content.text[first:stop]}
        for (start, end), (first, stop) in zip(given, char_spans)
    ]
