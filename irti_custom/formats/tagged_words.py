"""Between words with tags and records, for all formats that hold these.

    Sentence(words, tags)  <->  {"text": "Ann saw Rome", "spans": [...]}

Formats of words hold no white space but the single space between them, and what belongs to a word,
such as a no-break space.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, Callable, NamedTuple

from ..records.record import Record
from .format import Format, check_choice, option
from .json_spans import Annotation, merge_spans
from .read_report import Report
from .record_streams import texts
from .tag_schemes import SCHEMES, Entity, detect_scheme, entities_of, tags_of

MODES = ("entities", "all")
SPLITS = ("spaces", "punctuation")
_WORD = re.compile(r"[^ \t\r\n]+")
_PIECE = re.compile(r"\w+|[^\w\s]")


class Sentence(NamedTuple):
    """Words, their tags in one or more columns, and where each word is.

    Attributes:
        id: of the record.
        words: M words.
        columns: per column of tags, M tags.
        locations: per word, file and line.
    """

    id: str
    words: list[str]
    columns: list[list[str]]
    locations: Sequence[str] = ()


@dataclass
class Places(Sequence[str]):
    """The lines of the words of a sentence, put into words when asked for."""

    path: Path
    numbers: Sequence[int]

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: Any) -> Any:
        return f"{self.path}, line {self.numbers[index]}"


@dataclass(frozen=True)
class TaggedWords(Format):
    """Words with tags.

    Args:
        words: "entities" for the spans that tags mark, or "all" to make each word a position with
            its tags as labels.
        scheme: "BIO", "IOB1" or "IOBES"; to read, detected by default; to write, "BIO" by default.
        split_words: "spaces", for texts of words and single spaces; "punctuation" cuts off
            punctuation marks, and cuts where spans begin and end.
    """

    writes = True

    words: str = option(MODES[0])
    scheme: str | None = option()
    split_words: str = option(SPLITS[0], "write")

    def opened(self, source: Any, report: Report) -> Callable[[Report], Iterator[Sentence]]:
        """Return what reads the sentences of a source, as often as it is called."""
        raise NotImplementedError

    def read(self, path: Any, report: Report) -> Iterator[Record]:
        """Yield a record per sentence; see `Format`."""
        sentences = self.opened(path, report)
        every = sentences(Report(report.format, "skip"))  # says which scheme it is
        scheme = self._find_scheme(every, path, report)
        for sentence in sentences(report):
            yield self._record(sentence, scheme, report)

    def _find_scheme(self, sentences: Iterable[Sentence], source: object, report: Report) -> str:
        """Return the scheme of a file's tags; "" where tags are taken as they are."""
        check_choice("words", self.words, MODES)
        if self.words == "all":
            if self.scheme is not None:
                raise ValueError(
                    f"words='all' takes tags as they are, got scheme={self.scheme!r}. Leave it out."
                )
            return ""
        scheme = self.scheme
        if scheme is None:
            columns = (column for sentence in sentences for column in sentence.columns)
            scheme = detect_scheme(columns, skip=report.on_error == "skip")
            if scheme is None:
                shown = source if isinstance(source, Path) else "the data set"
                raise ValueError(
                    f"{shown}: Tags must be O, or a letter and a label such as B-PER, to mark "
                    "entities, and some are not. words='all' reads every tag as the label of its "
                    "word; `tag_columns` says which columns are tags, `word_column` which one of a "
                    "CoNLL file holds the words, and `comment` which of its lines are comments."
                )
            report.note(f"tags read as {scheme}, which was found out", lost=False)
        check_choice("scheme", scheme, SCHEMES)
        return scheme

    def _record(self, sentence: Sentence, scheme: str, report: Report) -> Record:
        """Make a record; tags that do not fit their scheme, and blank words, are counted."""
        sentence = _without_blanks(sentence, report)
        lengths = accumulate(map(len, sentence.words), initial=0)
        starts = [length + index for index, length in enumerate(lengths)]  # a space after each
        annotations: list[Annotation] = []
        for column in sentence.columns if scheme else ():
            entities, misplaced = entities_of(column, scheme)
            for index, message in misplaced:
                report.unsupported(f"invalid {scheme} tag", sentence.locations[index], message)
            for start, end, label in entities:
                annotations.append((starts[start], starts[end] - 1, label, None))
        for index, (start, after) in enumerate(zip(starts, starts[1:])) if not scheme else ():
            annotations += [(start, after - 1, column[index], None) for column in sentence.columns]
        text = " ".join(sentence.words)
        return {"id": sentence.id, "text": text, "spans": merge_spans(annotations, report)}

    def sentences_of(self, records: Iterable[Record], report: Report) -> Iterator[Sentence]:
        """Make sentences of records; what tags cannot hold is counted.

        Raises:
            ValueError: with ``words="all"``, a text in which not each word is a span with a label.
        """
        scheme = self.scheme or SCHEMES[0]
        check_choice("words", self.words, MODES)
        check_choice("scheme", scheme, SCHEMES)
        for where, record in texts(records, report):
            parts = split(record, self.split_words, where, report)
            if not parts.words:
                message = f"A text must have words, got {record!r:.80}."
                report.unsupported("text without words", where, message)
                continue
            if self.words == "all":
                tags = _tag_of_each_word(parts, where)
            else:
                tags = tags_of(_entities(parts, where, report), len(parts.words), scheme)
            yield Sentence(record["id"], parts.words, [tags])


def _without_blanks(sentence: Sentence, report: Report) -> Sentence:
    name, words, columns, locations = sentence
    if all(map(str.strip, words)):
        return sentence
    blank = {index for index, word in enumerate(words) if not word.strip()}
    for index in sorted(blank):
        message = f"Each word must be more than white space, got {words[index]!r}."
        report.unsupported("word of white space", locations[index], message)
    keep = [index for index in range(len(words)) if index not in blank]
    listed = [[column[index] for index in keep] for column in columns]
    return Sentence(name, [words[i] for i in keep], listed, [locations[i] for i in keep])


def _entities(parts: SplitText, where: str, report: Report) -> list[Entity]:
    entities: list[Entity] = []
    for start, end, span in sorted(parts.spans, key=lambda word_span: word_span[:2]):
        labels, rule = span["labels"] or [], f"have one label in {report.format}"
        if len(labels) != 1:
            kind = "span with several labels" if labels else "span without a label"
        elif entities and start < entities[-1].end:
            kind, rule = "span that overlaps", f"not overlap another one in {report.format}"
        else:
            entities.append(Entity(start, end, str(labels[0])))
            continue
        report.unsupported(kind, where, f"Each span must {rule}, got {span}.")
    return entities


def _tag_of_each_word(parts: SplitText, where: str) -> list[str]:
    tags: list[str | None] = [None] * len(parts.words)
    for start, end, span in parts.spans:
        if end - start == 1 and tags[start] is None and len(span["labels"] or []) == 1:
            tags[start] = span["labels"][0]
    whole = [tag for tag in tags if tag is not None]
    if len(whole) != len(tags) or len(parts.spans) != len(tags):
        raise ValueError(
            f"{where}: With words='all' each word must be a span with one label, got {tags!r:.80}. "
            "words='entities' writes the spans as entities."
        )
    return whole


class SplitText(NamedTuple):
    """The words of a text; and per span its words, from and to (exclusive), and the span."""

    words: list[str]
    spans: list[tuple[int, int, dict[str, Any]]]


def split(record: Record, split_words: str, where: str, report: Report) -> SplitText:
    """Split a text into words, and find those of each span.

    Args:
        record: a text with spans.
        split_words: see `TaggedWords`.
        where: of the record, in errors.
        report: counts the spans that are not made of whole words, and those whose white space at an
            end is left out.
    """
    check_choice("split_words", split_words, SPLITS)
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
            report.unsupported(
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
        if start is not None and end is not None:
            word_spans.append((start, end, span))
            continue
        report.unsupported(
            "span that is not whole words",
            where,
            "A span must begin and end where words do, got "
            f"{text[span['start'] : span['end']]!r:.80} at {span['start']}. "
            "split_words='punctuation' cuts words where spans begin and end.",
        )
    return SplitText(words, word_spans)


def _trimmed(
    span: dict[str, Any], text: str, white: str | None, where: str, report: Report
) -> dict[str, Any] | None:
    """Return a span without white space at its ends; None if it is nothing else."""
    piece = text[span["start"] : span["end"]]
    start = span["start"] + len(piece) - len(piece.lstrip(white))
    end = span["end"] - (len(piece) - len(piece.rstrip(white)))
    if not piece.strip():
        message = f"A span must hold a word, got {piece!r} at {start}."
        report.unsupported("span of white space", where, message)
        return None
    if end - start == len(piece):
        return span
    report.note("span without the white space at its ends")
    return {**span, "start": start, "end": end}


def _char_spans(text: str, spans: list[dict[str, Any]], split_words: str) -> list[tuple[int, int]]:
    if split_words == "spaces":
        return [match.span() for match in _WORD.finditer(text)]
    cuts = {end for span in spans for end in (span["start"], span["end"])}
    char_spans: list[tuple[int, int]] = []
    for match in _PIECE.finditer(text):
        inner = sorted(cut for cut in cuts if match.start() < cut < match.end())
        char_spans += zip([match.start(), *inner], [*inner, match.end()])
    return char_spans
