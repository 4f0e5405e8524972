"""CoNLL columns: a word a line with its tags, sentences divided by empty lines.

    -DOCSTART- O

    Ann B-PER
    saw O
    Rome B-LOC

Columns are divided by tabs, or by spaces where a line has no tab; the first is the word. A sentence
is a record. With -DOCSTART- lines its id is "document.sentence", both counted from 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from .atomic import writing
from .files import MARK, Line, read_lines
from .records import Record
from .report import Report
from .tag_schemes import parse
from .tagged_words import (
    MODES,
    Sentence,
    find_scheme,
    read_sentence,
    write_sentences,
)

_START = "-DOCSTART-"
_DOCUMENT_ID = re.compile(r"(\d+)\.(\d+)")


class _Row(NamedTuple):
    number: int
    cells: list[str]


def read(
    path: Path,
    report: Report,
    words: str = MODES[0],
    tag_columns: Sequence[int] = (-1,),
    scheme: str | None = None,
    word_column: int = 0,
    comment: str | None = None,
) -> Iterator[Record]:
    r"""Read sentences.

    Args:
        path: the file.
        report: counts tags that do not fit their scheme, and comments.
        words: "entities", or "all" to make each word a position.
        tag_columns: the columns of tags.
        scheme: of the tags; found out by default.
        word_column: the column of words.
        comment: what a line before a sentence begins with if it is a comment.

    Example:
        >>> from tempfile import mkdtemp
        >>> path = Path(mkdtemp()) / "a.conll"
        >>> _ = path.write_text("Ann\tB-PER\nRoss\tI-PER\nsings\tO\n")
        >>> next(read(path, Report("conll")))
        {'id': '0', 'text': 'Ann Ross sings', 'spans': [{'start': 0, 'end': 8, 'labels': ['PER']}]}
    """
    if not tag_columns:
        raise ValueError("`tag_columns` must have at least one number, got none.")
    columns = [word_column, *tag_columns]
    every = _sentences(path, columns, comment, Report(report.format))  # says which scheme it is
    chosen = find_scheme(every, words, scheme, path, report)
    for sentence in _sentences(path, columns, comment, report):
        yield read_sentence(sentence, words, chosen, report)


def write(
    records: Iterable[Record],
    path: Path,
    report: Report,
    words: str = MODES[0],
    scheme: str = "BIO",
    split_words: str = "spaces",
) -> None:
    r"""Write sentences: two columns, divided by a tab.

    Example:
        >>> from tempfile import mkdtemp
        >>> path = Path(mkdtemp()) / "a.conll"
        >>> spans = [{"start": 0, "end": 3, "labels": ["PER"]}]
        >>> write([{"id": "0", "text": "Ann sings", "spans": spans}], path, Report("conll"))
        >>> path.read_text()
        'Ann\tB-PER\nsings\tO\n\n'
    """
    sentences = list(write_sentences(records, report, words, scheme, split_words))
    documents = _documents([sentence.id for sentence in sentences])
    if documents is None and [s.id for s in sentences] != list(map(str, range(len(sentences)))):
        report.note("id not kept", len(sentences))
    with writing(path) as file:
        before = None
        if sentences and sentences[0].words[0].startswith(MARK):
            file.write(MARK.encode())  # of which the reader takes one
        for index, (_, texts, (tags,), _) in enumerate(sentences):
            if documents is not None and documents[index] != before:
                before = documents[index]
                file.write(f"{_START}\tO\n\n".encode())
            for word, tag in zip(texts, tags):
                if word == _START or re.search(r"[\t\r\n]", tag) or not tag.strip():
                    raise ValueError(
                        f"record {sentences[index].id!r}: A word must not be {_START}, and a tag "
                        f"must hold no tab or line end, got {word!r} and {tag!r}."
                    )
                file.write(f"{word}\t{tag}\n".encode())
            file.write(b"\n")


def detect(lines: list[str]) -> bool:
    """Return True for words with tags.

    Example:
        >>> detect(["Ann B-PER", "sings O", ""])
        True
        >>> detect(["Ann sings", "O"])
        False
    """
    rows = [_cells(line) for line in lines if line.strip()]
    rows = [row for row in rows if row[0] != "#" or parse(row[-1])]  # comments, most likely
    tagged = all(len(row) > 1 and (row[0] == _START or parse(row[-1])) for row in rows)
    return bool(rows) and tagged


def _cells(line: str) -> list[str]:
    return line.split("\t") if "\t" in line else line.split()


def _sentences(
    path: Path, columns: Sequence[int], comment: str | None, report: Report
) -> Iterator[Sentence]:
    """Read sentences; the first of the columns is that of words."""
    rows = (_Row(number, _cells(text)) for number, text in _lines(path, comment, report))
    document, count, width = -1, 0, None
    for is_word, group in groupby(rows, key=lambda row: any(cell.strip() for cell in row.cells)):
        sentence = list(group) if is_word else []
        if sentence and sentence[0].cells[0] == _START:
            document, count, sentence = document + 1, 0, sentence[1:]
        if not sentence:
            continue
        for number, cells in sentence:
            width = width or len(cells)
            if len(cells) != width or width < 2:
                comments = sentence[0].cells[0].startswith("#")
                raise ValueError(
                    f"{path}, line {number}: Each line must have a word and its tags, "
                    f"{max(width, 2)} columns, got {cells!r:.80}."
                    + (" comment='#' leaves out comments." if comments else "")
                )
        try:
            words, *tags = [[cells[index] for _, cells in sentence] for index in columns]
        except (IndexError, TypeError) as error:
            raise ValueError(
                f"`word_column` and `tag_columns` must be numbers of {path}'s {width} columns, "
                f"from 0, got {list(columns)}."
            ) from error
        blank = next((row.number for row, word in zip(sentence, words) if not word.strip()), None)
        if blank is not None:
            raise ValueError(f"{path}, line {blank}: Each line must have a word, got a blank one.")
        name = str(count) if document < 0 else f"{document}.{count}"
        yield Sentence(name, words, tags, [f"{path}, line {number}" for number, _ in sentence])
        count += 1


def _lines(path: Path, comment: str | None, report: Report) -> Iterator[Line]:
    """Read lines without the comments before a sentence."""
    inside = False
    for line in read_lines(path):
        if comment and not inside and line.text.startswith(comment):
            report.note("comment not kept")
            continue
        if comment is None and not inside and line.text.startswith("#"):
            report.note("line with # before a sentence, read as a word; `comment` leaves it out")
        inside = bool(line.text.strip())
        yield line


def _documents(ids: list[str]) -> list[str] | None:
    """Return the document of each sentence, if ids are as they would be read."""
    matches = [_DOCUMENT_ID.fullmatch(one) for one in ids]
    documents = [match[1] for match in matches if match]
    if len(documents) != len(ids):
        return None
    runs = [len(list(group)) for _, group in groupby(documents)]
    expected = [f"{number}.{index}" for number, size in enumerate(runs) for index in range(size)]
    return documents if ids == expected else None
