"""Between words with tags and records, for all formats that hold these.

Sentence(words, tags)  <->  {"text": "Ann saw Rome", "spans": [...]}
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

from ..records.record import Record
from .annotations import Annotation, merge_spans
from .record_streams import texts
from .report import Report
from .tag_schemes import Entity, check_scheme, detect_scheme, entities_of, tags_of
from .words import SplitText, split

MODES = ("entities", "all")


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
    locations: Sequence[str]


@dataclass
class Places(Sequence[str]):
    """Where the words of a sentence are, one a line, put into words when asked for."""

    path: Path
    numbers: Sequence[int]

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: Any) -> Any:
        return f"{self.path}, line {self.numbers[index]}"


def check_mode(words: str) -> str:
    """Return how words are read or written.

    Raises:
        ValueError: an unknown way.
    """
    if words not in MODES:
        raise ValueError(f"`words` must be one of {MODES}, got {words!r}.")
    return words


def find_scheme(
    sentences: Iterable[Sentence], words: str, scheme: str | None, source: object, report: Report
) -> str:
    """Return the scheme of a file's tags, and note it; "" where tags are taken as they are.

    Raises:
        ValueError: tags of no scheme, an unknown scheme, or one for ``words="all"``.
    """
    if check_mode(words) == "all":
        if scheme is not None:
            raise ValueError(
                f"words='all' takes tags as they are, got scheme={scheme!r}. Leave it out."
            )
        return ""
    if scheme is None:
        columns = (column for sentence in sentences for column in sentence.columns)
        scheme = detect_scheme(columns, skip=report.on_error == "skip")
        if scheme is None:
            raise ValueError(
                f"{source}: Tags must be O, or a letter and a label such as B-PER, to mark "
                "entities, and some are not. words='all' reads every tag as the label of its word; "
                "`tag_columns` says which columns are tags, `word_column` which one of a CoNLL "
                "file holds the words, and `comment` which of its lines are comments."
            )
        report.note(f"tags read as {scheme}, which was found out", lost=False)
    return check_scheme(scheme)


def read_sentence(sentence: Sentence, words: str, scheme: str, report: Report) -> Record:
    """Make a record of a sentence.

    Args:
        sentence: words and tags.
        words: "entities" or "all".
        scheme: of the tags; not used for "all".
        report: counts tags that do not fit their scheme, and blank words, which are left out.
    """
    sentence = _without_blanks(sentence, report)
    lengths = accumulate(map(len, sentence.words), initial=0)
    starts = [length + index for index, length in enumerate(lengths)]  # a space after each
    annotations: list[Annotation] = []
    if words == "all":
        for index, (start, after) in enumerate(zip(starts, starts[1:])):
            annotations += [(start, after - 1, column[index], None) for column in sentence.columns]
    else:
        for column in sentence.columns:
            entities, misfits = entities_of(column, scheme)
            for index, message in misfits:
                report.misfit(f"tag that is no {scheme}", sentence.locations[index], message)
            for start, end, label in entities:
                annotations.append((starts[start], starts[end] - 1, label, None))
    text = " ".join(sentence.words)
    return {"id": sentence.id, "text": text, "spans": merge_spans(annotations, report)}


def _without_blanks(sentence: Sentence, report: Report) -> Sentence:
    if all(map(str.strip, sentence.words)):
        return sentence
    blank = {index for index, word in enumerate(sentence.words) if not word.strip()}
    for index in sorted(blank):
        report.misfit(
            "word of white space",
            sentence.locations[index],
            f"Each word must be more than white space, got {sentence.words[index]!r}.",
        )
    keep = [index for index in range(len(sentence.words)) if index not in blank]
    return Sentence(
        sentence.id,
        [sentence.words[index] for index in keep],
        [[column[index] for index in keep] for column in sentence.columns],
        [sentence.locations[index] for index in keep],
    )


def write_sentences(
    records: Iterable[Record], report: Report, words: str, scheme: str, split_words: str
) -> Iterator[Sentence]:
    """Make sentences of records.

    Args:
        records: texts with spans.
        report: counts what tags cannot hold: spans that overlap, or have no or several labels.
        words: "entities", or "all" for texts in which each word is a span with one label.
        scheme: "BIO", "IOB1" or "IOBES".
        split_words: "spaces" or "punctuation".

    Raises:
        ValueError: what does not fit, as the report has it; with ``words="all"`` always.
    """
    check_mode(words)
    check_scheme(scheme)
    for where, record in texts(records, report):
        parts = split(record, split_words, where, report)
        if not parts.words:
            report.misfit(
                "text without words", where, f"A text must have words, got {record!r:.80}."
            )
            continue
        if words == "all":
            tags = _tag_of_each_word(parts, where)
        else:
            tags = tags_of(_entities(parts, where, report), len(parts.words), scheme)
        yield Sentence(record["id"], parts.words, [tags], [])


def one_label(span: dict[str, Any], where: str, report: Report) -> str | None:
    """Return the label of a span for a format that holds just one; None if it is left out."""
    labels = span["labels"] or []
    if len(labels) == 1:
        return str(labels[0])
    kind = "span with several labels" if labels else "span without a label"
    report.misfit(kind, where, f"Each span must have one label in {report.format}, got {span}.")
    return None


def _entities(parts: SplitText, where: str, report: Report) -> list[Entity]:
    entities: list[Entity] = []
    end_before = 0
    for start, end, span in sorted(parts.spans, key=lambda word_span: word_span[:2]):
        label = one_label(span, where, report)
        if label is None:
            continue
        if start < end_before:
            report.misfit(
                "span that overlaps",
                where,
                f"Spans must not overlap in {report.format}, got {span} within another one.",
            )
            continue
        entities.append(Entity(start, end, label))
        end_before = end
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
