"""Between a text and its words: join them, split them, find the words of a span.

    ["Ann", "saw", "Rome"]  ->  "Ann saw Rome", [(0, 3), (4, 7), (8, 12)]

Formats of words hold no white space but the single space between them, and what belongs to a word,
such as a no-break space.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from ..records.record import Record
from .report import Report

SPLITS = ("spaces", "punctuation")
_WORD = re.compile(r"[^ \t\r\n]+")
_PIECE = re.compile(r"\w+|[^\w\s]")


class Word(NamedTuple):
    """The characters of a word in its text."""

    start: int
    end: int


class WordSpan(NamedTuple):
    """The words of a span, `end` exclusive, and the span itself."""

    start: int
    end: int
    span: dict[str, Any]


class SplitText(NamedTuple):
    """The words of a text, and which of them each span holds."""

    words: list[str]
    spans: list[WordSpan]


def join(words: Sequence[str]) -> tuple[str, list[Word]]:
    """Join words by single spaces."""
    char_spans, start = [], 0
    for word in words:
        char_spans.append(Word(start, start + len(word)))
        start += len(word) + 1
    return " ".join(words), char_spans


def split(record: Record, split_words: str, where: str, report: Report) -> SplitText:
    """Split a text into words, and find those of each span.

    Args:
        record: a text with spans.
        split_words: "spaces", for a text that is words and single spaces; or "punctuation" to cut
            off each punctuation mark, and cut where spans begin and end.
        where: of the record, in errors.
        report: counts the spans that are not made of whole words, and those whose white space at an
            end is left out.

    Raises:
        ValueError: another `split_words`; or what does not fit, as the report has it.

    Example:
        >>> record = {"id": "0", "text": "Ann!", "spans": [{"start": 0, "end": 3, "labels": ["x"]}]}
        >>> split(record, "punctuation", "record 0", Report("conll")).words
        ['Ann', '!']
    """
    if split_words not in SPLITS:
        raise ValueError(f"`split_words` must be one of {SPLITS}, got {split_words!r}.")
    text = record["text"]
    # What is no space or line end may belong to a word, unless the text is split anew.
    white = None if split_words == "punctuation" else " \t\r\n"
    trimmed = (_trimmed(span, text, white, where, report) for span in record["spans"])
    spans = [span for span in trimmed if span is not None]
    char_spans = _char_spans(text, spans, split_words)
    words = [text[start:end] for start, end in char_spans]
    if " ".join(words) != text or not all(map(str.strip, words)):
        if split_words == "punctuation":
            report.note("texts whose white space changed")
        else:
            report.misfit(
                "white space",
                where,
                f"A text must be words and single spaces between them, got {text!r:.80}. "
                "split_words='punctuation' writes it with other white space.",
            )
            char_spans = [word for word in char_spans if text[slice(*word)].strip()]
            words = [text[start:end] for start, end in char_spans]
    first = {start: index for index, (start, _) in enumerate(char_spans)}
    last = {end: index + 1 for index, (_, end) in enumerate(char_spans)}
    word_spans = []
    for span in spans:
        start, end = first.get(span["start"]), last.get(span["end"])
        if start is None or end is None:
            report.misfit(
                "span that is not whole words",
                where,
                "A span must begin and end where words do, got "
                f"{text[span['start'] : span['end']]!r:.80} at {span['start']}. "
                "split_words='punctuation' cuts words where spans begin and end.",
            )
        else:
            word_spans.append(WordSpan(start, end, span))
    return SplitText(words, word_spans)


def _trimmed(
    span: dict[str, Any], text: str, white: str | None, where: str, report: Report
) -> dict[str, Any] | None:
    """Return a span without white space at its ends; None if it is nothing else."""
    piece = text[span["start"] : span["end"]]
    start = span["start"] + len(piece) - len(piece.lstrip(white))
    end = span["end"] - (len(piece) - len(piece.rstrip(white)))
    if not piece.strip():
        report.misfit(
            "span of white space", where, f"A span must hold a word, got {piece!r} at {start}."
        )
        return None
    if end - start == len(piece):
        return span
    report.note("span without the white space at its ends")
    return {**span, "start": start, "end": end}


def _char_spans(text: str, spans: list[dict[str, Any]], split_words: str) -> list[Word]:
    if split_words == "spaces":
        return [Word(*match.span()) for match in _WORD.finditer(text)]
    cuts = {end for span in spans for end in (span["start"], span["end"])}
    char_spans = []
    for match in _PIECE.finditer(text):
        inner = sorted(cut for cut in cuts if match.start() < cut < match.end())
        ends = [match.start(), *inner, match.end()]
        char_spans += [Word(start, end) for start, end in zip(ends, ends[1:])]
    return char_spans
