"""Read examples of any kind, each of them once.

    {"text", "spans"} │ {"words", "spans"}  ->  SpannedText
    text with mask tokens                   ->  MaskedText
    {"columns"} │ DataFrame                 ->  Table

Tokens belong to `processor`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, Union

from .spans import CharSpan, Span, check_span
from .tables import Table, is_frame, read_table

if TYPE_CHECKING:
    import pandas as pd

ExampleInput = Union[str, Mapping[str, Any], "pd.DataFrame"]
"""An example as users give it, see `read_example`."""
Position = dict[str, Union[int, str, None]]
"""What a position is called: `start`, `end` and `word`, or `column` and `word`."""

_KINDS = ("text", "words", "columns")
_FORMS = (
    'a dict of "text" and "spans", a dict of "words" and "spans", a text with mask tokens, a dict '
    'of "columns", or a DataFrame'
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
    """

    text: str
    spans: list[CharSpan]
    given: list[CharSpan]


class MaskedText(NamedTuple):
    """A text in which each mask token is a position."""

    text: str


class Example(NamedTuple):
    """One example of a batch.

    Attributes:
        id: its id in the rows.
        name: its name in errors, such as "example 3".
        content: what is read in it.
    """

    id: int
    name: str
    content: SpannedText | MaskedText | Table


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


def as_list(name: str, values: Iterable[Any]) -> list[Any]:
    """Return the items of a sequence by position, whatever their index or container.

    Args:
        name: of the argument, for errors.
        values: a list, an array, a Series, a column of a data set, ...

    Raises:
        ValueError: a single text or dict, or nothing that can be iterated.

    Example:
        >>> as_list("labels", (3, 4))
        [3, 4]
    """
    if isinstance(values, list):
        return values
    if isinstance(values, (str, bytes, Mapping)) or is_frame(values):
        raise ValueError(f"`{name}` must be a list with one entry per example, got {values!r:.80}.")
    try:
        return list(values)
    except TypeError as error:
        raise ValueError(f"`{name}` must be a list, got {values!r:.80}.") from error


def read_example(example: ExampleInput, name: str) -> SpannedText | MaskedText | Table:
    """Find out what kind of example one is, and read it.

    Args:
        example: one of

            - ``{"text": str, "spans": [(start, end), ...]}``, in characters;
            - ``{"words": [str, ...], "spans": [(start, end), ...]}``, in words;
            - a text with mask tokens, each of them a position;
            - ``{"columns": [...]}``, or a DataFrame, each column a position.

            Other keys are ignored; a value of None counts as missing.
        name: of the example in errors.

    Raises:
        ValueError: anything else, or a span that is out of range.

    Example:
        >>> read_example({"words": ["Ann", "sees", "Bob"], "spans": [(2, 3)]}, "example 0")
        SpannedText(text='Ann sees Bob', spans=[(9, 12)], given=[(2, 3)])
    """
    if isinstance(example, str):
        return MaskedText(example)
    if is_frame(example):
        return read_table(example, name)
    if not isinstance(example, Mapping):
        raise ValueError(f"{name} must be {_FORMS}, got {example!r:.80}.")
    kinds = [kind for kind in _KINDS if example.get(kind) is not None]
    if len(kinds) != 1:
        raise ValueError(
            f"{name} must have one of {_KINDS}, got the keys {list(example)} with "
            f"{kinds or 'none'} of them set."
        )
    if kinds == ["columns"]:
        return read_table(example, name)
    if "spans" not in example:
        raise ValueError(
            f'{name} has "{kinds[0]}", so it must have "spans", got the keys {list(example)}. A '
            "text with mask tokens is passed as a string."
        )
    # A data set's missing list is None.
    spans = [] if example["spans"] is None else example["spans"]
    read = spanned_text if kinds == ["text"] else spanned_words
    return read(example[kinds[0]], spans, name)


def spanned_text(text: str, spans: Sequence[Span], name: str) -> SpannedText:
    """Check a text and its spans of characters.

    Raises:
        ValueError: see `check_span`; or something else in place of the text or the spans.

    Example:
        >>> spanned_text("Ann sees Bob", [{"start": 9, "end": 12}], "example 0").spans
        [(9, 12)]
    """
    text = check_text(text, name)
    checked = _check_spans(spans, len(text), name, "characters")
    return SpannedText(text, checked, checked)


def spanned_words(words: Sequence[str], spans: Sequence[Span], name: str) -> SpannedText:
    """Join words by single spaces, and turn spans of words into spans of characters.

    Raises:
        ValueError: see `check_span`; or something else in place of the words or the spans.

    Example:
        >>> spanned_words(["Ann", "sees", "Bob"], [(1, 3)], "example 0")
        SpannedText(text='Ann sees Bob', spans=[(4, 12)], given=[(1, 3)])
    """
    listed = isinstance(words, Iterable) and not isinstance(words, (str, Mapping))
    if not listed or not all(isinstance(word, str) for word in words):
        raise ValueError(f"{name} must be a list of words, got {words!r:.80}.")
    checked = _check_spans(spans, len(words), name, "words")
    starts = [0]
    for word in words:
        starts.append(starts[-1] + len(word) + 1)
    char_spans = [(starts[start], starts[end] - 1) for start, end in checked]
    return SpannedText(" ".join(words), char_spans, checked)


def check_text(text: str, name: str) -> str:
    """Return a text.

    Raises:
        ValueError: something else than a string.

    Example:
        >>> check_text("Ann", "example 0")
        'Ann'
    """
    if not isinstance(text, str):
        raise ValueError(f"The text of {name} must be a string, got {text!r:.80}.")
    return text


def _check_spans(spans: Sequence[Span], length: int, name: str, unit: str) -> list[CharSpan]:
    if isinstance(spans, (str, Mapping)) or not isinstance(spans, Iterable):
        raise ValueError(f"The spans of {name} must be a list, got {spans!r:.80}.")
    return [check_span(index, span, length, name, unit) for index, span in enumerate(spans)]


def describe(example: Example, char_spans: Sequence[CharSpan]) -> list[Position]:
    """Return what each position of an example is called, as the user counts.

    Args:
        example: the example.
        char_spans: the characters of each position; of a table, none.

    Example:
        >>> describe(Example(0, "example 0", MaskedText("A [MASK]")), [(2, 8)])
        [{'start': 2, 'end': 8, 'word': '[MASK]'}]
    """
    content = example.content
    if isinstance(content, Table):
        return [{"column": i, "word": header} for i, header in enumerate(content.headers)]
    given = content.given if isinstance(content, SpannedText) else char_spans
    return [
        {"start": start, "end": end, "word": content.text[first:stop]}
        for (start, end), (first, stop) in zip(given, char_spans)
    ]
