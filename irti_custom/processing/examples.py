"""What a pipeline is given becomes rows, and what each of its positions is called.

{"text", "spans"} │ {"words", "spans"} │ text with mask tokens │ {"columns"}
    ->  rows of plain lists, [{"start": 0, "end": 3, "word": "Ann"}, ...]

An error names the input.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from .spans import check_span
from .special_tokens import tokenize
from .tables import table_headers

Place = dict[str, Any]
_KINDS = ("text", "words", "columns")
_FORMS = (
    'a dict of "text" and "spans", a dict of "words" and "spans", a text with mask tokens, a dict '
    'of "columns", or a DataFrame'
)


class Prepared(NamedTuple):
    """Inputs up to the first that is refused.

    Attributes:
        places: per input one dict per position.
        rows: what the processor makes of them, one dict per row.
        error: why the next one is refused.
    """

    places: list[list[Place]]
    rows: list[dict[str, Any]]
    error: ValueError | None


class _Input(NamedTuple):
    method: str  # of the processor
    arguments: tuple[Any, ...]
    places: list[Place]


def is_one_input(inputs: Any) -> bool:
    """Tell one input from many.

    Example:
        >>> is_one_input("Ann [MASK]"), is_one_input(["Ann [MASK]"])
        (True, False)
    """
    one = isinstance(inputs, (str, bytes, Mapping)) or _is_frame(inputs)
    return one or not (isinstance(inputs, Iterable) or hasattr(inputs, "__getitem__"))


def prepare(processor: Any, inputs: Sequence[Any], first: int) -> Prepared:
    """Prepare inputs, and name the first that is refused.

    Args:
        processor: a `MaskedSeqProcessor`.
        inputs: N inputs, of any kinds.
        first: the number of the first one; rows name theirs in ``example_ids``.

    Returns:
        What can be prepared.
    """
    try:
        return _prepare(processor, inputs, first)
    except (TypeError, ValueError):
        for index in range(len(inputs)):
            try:
                _prepare(processor, inputs[index : index + 1], first + index)
            except (TypeError, ValueError) as error:
                named = ValueError(f"Input {first + index}: {error}")
                named.__cause__ = error
                return _prepare(processor, inputs[:index], first)._replace(error=named)
        raise


def _prepare(processor: Any, inputs: Sequence[Any], first: int) -> Prepared:
    found = [_read(processor, given) for given in inputs]
    members: dict[str, list[int]] = {}
    for index, one in enumerate(found):
        members.setdefault(one.method, []).append(index)
    rows: list[dict[str, Any]] = []
    for method, indices in members.items():
        arguments = zip(*(found[index].arguments for index in indices))
        ids = [first + index for index in indices]
        columns = getattr(processor, method)(*map(list, arguments), example_ids=ids)
        rows += [dict(zip(columns, values)) for values in zip(*columns.values())]
    places = [one.places for one in found]
    for row in rows:
        assert row["num_spans"] == len(places[row["example_ids"] - first])
    return Prepared(places, rows, None)


def _read(processor: Any, given: Any) -> _Input:
    """Find out which kind of input it is, and what its positions are called."""
    if isinstance(given, str):
        return _Input("encode_masked", (given,), _mask_places(processor.tokenizer, given))
    if _is_frame(given):
        return _Input("encode_tables", (given,), _column_places(given))
    if not isinstance(given, Mapping):
        raise ValueError(f"An input must be {_FORMS}, got {given!r:.80}.")
    kinds = [kind for kind in _KINDS if given.get(kind) is not None]
    if len(kinds) != 1:
        raise ValueError(
            f"A dict must have one of {_KINDS}, got the keys {list(given)} with {kinds or 'none'} "
            "of them set."
        )
    if kinds == ["columns"]:
        return _Input("encode_tables", (given,), _column_places(given))
    if "spans" not in given:
        raise ValueError(
            f'A dict of "{kinds[0]}" must have "spans", got the keys {list(given)}. A text with '
            "mask tokens is passed as a string."
        )
    # A data set's missing list is None.
    spans = [] if given["spans"] is None else given["spans"]
    if isinstance(spans, (str, Mapping)) or not isinstance(spans, Iterable):
        raise ValueError(f'"spans" must be a list of them, got {spans!r:.80}.')
    if kinds == ["text"]:
        places = _text_places(given["text"], spans)
        return _Input("encode_spans", (given["text"], spans), places)
    return _Input("encode_words", (given["words"], spans), _word_places(given["words"], spans))


def _text_places(text: Any, spans: Iterable[Any]) -> list[Place]:
    if not isinstance(text, str):
        raise ValueError(f'"text" must be a string, got {text!r:.80}.')
    places = []
    for index, span in enumerate(spans):
        start, end = map(int, check_span(index, span, len(text), "the text", "characters"))
        places.append({"start": start, "end": end, "word": text[start:end]})
    return places


def _word_places(words: Any, spans: Iterable[Any]) -> list[Place]:
    listed = isinstance(words, Iterable) and not isinstance(words, str)
    if not listed or not all(isinstance(word, str) for word in words):
        raise ValueError(f'"words" must be a list of strings, got {words!r:.80}.')
    places = []
    for index, span in enumerate(spans):
        start, end = map(int, check_span(index, span, len(words), "the words", "words"))
        places.append({"start": start, "end": end, "word": " ".join(words[start:end])})
    return places


def _mask_places(tokenizer: Any, text: str) -> list[Place]:
    encoded = tokenize(tokenizer, [text], return_offsets_mapping=True)
    places = []
    for token, (start, end) in zip(encoded["input_ids"][0], encoded["offset_mapping"][0]):
        if token == tokenizer.mask_token_id and start < end:
            piece = text[start:end]  # some mask tokens take the white space before them
            start, end = end - len(piece.lstrip()), start + len(piece.rstrip())
            places.append({"start": start, "end": end, "word": text[start:end]})
    return places


def _column_places(table: Any) -> list[Place]:
    headers = table_headers(table, "the table")
    return [{"column": index, "word": header} for index, header in enumerate(headers)]


def _is_frame(value: Any) -> bool:
    return hasattr(value, "iloc") and hasattr(value, "columns")
