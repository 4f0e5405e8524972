"""CoNLL columns: a word a line with its tags, sentences divided by empty lines.

    -DOCSTART- O

    Ann B-PER
    saw O
    Rome B-LOC

Columns are divided by tabs, or by spaces where a line has no tab, and by no other white space; the
first is the word. A sentence is a record. With -DOCSTART- lines its id is "document.sentence", both
counted from 0.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby, islice
from pathlib import Path
from tempfile import TemporaryFile
from typing import Callable, NamedTuple

from ..records.record import Record
from .atomic import writing
from .files import MARK, MAX_LINE_BYTES, Block, bare_suffix, lines_of, read_blocks
from .format import option
from .read_report import Report
from .tag_schemes import parse
from .tagged_words import Places, Sentence, TaggedWords

_START = "-DOCSTART-"
_BLANK = re.compile(r"^[^\S\n]+$", re.MULTILINE)
_FIRST = 100
"""The number of sentences that show whether words are numbers."""
_HEADERS = ("form", "text", "token", "tokens", "word", "words")
"""First words of a line of headers, in lower case."""
_NUMBER = re.compile(r"(\d{1,9})([-.]\d+)?")
_DOCUMENT_ID = re.compile(r"(\d+)\.(\d+)")


class _Row(NamedTuple):
    number: int
    cells: list[str]
    text: str


@dataclass(frozen=True)
class Conll(TaggedWords):
    """Sentences; see `TaggedWords` for the other options.

    Args:
        tag_columns: the numbers of the columns of tags, from 0, or from the end with -1.
        word_column: that of the column of words, 0 by default.
        comment: what a line begins with if it is a comment, such as "#"; between words, one that
            has not all columns.
    """

    name = "conll"
    suffixes = (".conll", ".bio", ".iob", ".iob2")

    tag_columns: Sequence[int] = option((-1,), "read")
    word_column: int | None = option(only="read")
    comment: str | None = option(only="read")

    def detect_lines(self, lines: list[str]) -> bool:
        """Return True for words with tags: in the last column, or in one that marks entities."""
        rows = [_cells(line) for line in lines if line.strip()]
        # Most likely comments: a line with "#" that ends with no tag.
        rows = [row for row in rows if not row[0].startswith("#") or parse(row[-1])]
        rows = [row for row in rows if row[0] != _START]
        if rows and rows[0][0].lower() in _HEADERS and not any(map(parse, rows[0])):
            del rows[0]
        if not rows or min(map(len, rows)) < 2:
            return False
        columns = list(zip(*rows))[1:] if len(set(map(len, rows))) == 1 else []
        tagged = [column for column in columns if "O" in column and set(column) != {"O"}]
        return any(all(map(parse, one)) for one in tagged) or all(parse(row[-1]) for row in rows)

    def detect_path(self, path: Path) -> bool:
        """Return True for a name that only files of words with tags have."""
        return bare_suffix(path) in self.suffixes and not path.is_dir()

    def opened(self, source: Path, report: Report) -> Callable[[Report], Iterator[Sentence]]:
        """Return what reads the sentences of a file; see `TaggedWords`."""
        if not self.tag_columns:
            raise ValueError("`tag_columns` must have at least one number, got none.")
        columns = [self.word_column or 0, *self.tag_columns]
        sentences = partial(_sentences, source, columns, self.comment, self.words != "all")
        first = sentences(Report(report.format, "skip"))
        if self.word_column is None and _are_numbered(list(islice(first, _FIRST))):
            raise ValueError(
                f"{source}: The first column must hold words, and it counts them, 1, 2, 3. "
                "`word_column` says which one does, such as word_column=1; word_column=0 reads the "
                "numbers."
            )
        return sentences

    def write(self, records: Iterable[Record], path: Path, report: Report) -> None:
        """Write two columns, divided by a tab; see `Format`."""
        ids: list[str] = []
        sizes: list[int] = []
        with TemporaryFile() as body:  # the ids of all say whether there are documents
            for sentence in self.sentences_of(records, report):
                sizes.append(body.write(("".join(_lines(sentence)) + "\n").encode()))
                ids.append(sentence.id)
            documents = _documents(ids)
            if documents is None and ids != list(map(str, range(len(ids)))):
                report.note("id not kept", len(ids))
            body.seek(0)
            starts_with_mark = body.read(3) == MARK.encode()
            body.seek(0)
            with writing(path) as file:
                if documents is None:
                    file.write(MARK.encode() * starts_with_mark)  # of which the reader takes one
                    shutil.copyfileobj(body, file)
                before = None
                for document, size in zip(documents or (), sizes):
                    if document != before:
                        file.write(f"{_START}\tO\n\n".encode())
                    file.write(body.read(size))
                    before = document


def _lines(sentence: Sentence) -> Iterator[str]:
    for word, tag in zip(sentence.words, sentence.columns[0]):
        if word == _START or re.search(r"[\t\r\n]", tag) or not tag.strip():
            raise ValueError(
                f"record {sentence.id!r}: A word must not be {_START}, and a tag must hold no tab "
                f"or line end, got {word!r} and {tag!r}."
            )
        yield f"{word}\t{tag}\n"


def _cells(line: str) -> list[str]:
    return line.split("\t") if "\t" in line else list(filter(None, line.split(" ")))


def _sentences(
    path: Path, columns: Sequence[int], comment: str | None, has_tags: bool, report: Report
) -> Iterator[Sentence]:
    """Read sentences; the first of the columns is that of words.

    With `has_tags`, a first line of headers is known by names that are no tags, and left out.
    """
    document, count, width = -1, 0, 0
    is_first = True
    for numbers, texts in _groups(path, comment, report):
        plain = None if is_first else _plain(texts, width)
        if plain is not None:
            words, *tags = [plain[index] for index in columns]
            name = str(count) if document < 0 else f"{document}.{count}"
            yield Sentence(name, words, tags, Places(path, numbers))
            count += 1
            continue
        sentence = [_Row(number, _cells(text), text) for number, text in zip(numbers, texts)]
        if sentence and sentence[0].cells[0] == _START:
            document, count, sentence = document + 1, 0, sentence[1:]
        if not sentence:
            continue
        width = width or _width(sentence)
        if any(len(row.cells) != width for row in sentence) or width < 2:
            sentence = list(_with_columns(sentence, width, path, comment, report))
        if not sentence:
            continue
        try:
            words, *tags = [[row.cells[index] for row in sentence] for index in columns]
        except (IndexError, TypeError) as error:
            raise ValueError(
                f"`word_column` and `tag_columns` must be numbers of {path}'s {width} columns, "
                f"from 0, got {list(columns)}."
            ) from error
        names_columns = words[0].lower() in _HEADERS and not any(parse(tag[0]) for tag in tags)
        if is_first and names_columns and has_tags:
            report.note("line of headers not kept")
            del sentence[0], words[0]
            tags = [column[1:] for column in tags]
        elif is_first and names_columns:
            report.note("first line that may be one of headers, read as a word")
        is_first = False
        if not sentence:
            continue
        name = str(count) if document < 0 else f"{document}.{count}"
        yield Sentence(name, words, tags, Places(path, [row.number for row in sentence]))
        count += 1


def _plain(texts: list[str], width: int) -> list[list[str]] | None:
    """Return the columns of lines that are divided evenly; None for those to be looked at again."""
    divider = "\t" if "\t" in texts[0] else " "
    joined = f"{divider}\n{divider}".join(texts)
    cells = joined.split(divider)  # "\n" after those of a line
    if len(cells) != len(texts) * (width + 1) - 1 or cells[0] == _START:
        return None
    if width < 2 or cells[width :: width + 1] != ["\n"] * (len(texts) - 1):
        return None
    if divider == " " and ("" in cells or "\t" in joined):
        return None
    return [cells[index :: width + 1] for index in range(width)]


def _width(sentence: list[_Row]) -> int:
    """Return how many columns the first line has that does not look like a comment."""
    return len(next((row for row in sentence if row.text[0] != "#"), sentence[0]).cells)


def _with_columns(
    sentence: list[_Row], width: int, path: Path, comment: str | None, report: Report
) -> Iterator[_Row]:
    """Yield the lines that have all columns; of the others some are comments."""
    for row in sentence:
        if len(row.cells) == width >= 2:
            yield row
        elif comment and row.text.startswith(comment):
            report.note("comment not kept")
        else:
            is_comment = comment is None and row.text.startswith("#")
            report.unsupported(
                "line of other columns",
                f"{path}, line {row.number}",
                f"Each line must have a word and its tags, {max(width, 2)} columns, got "
                f"{row.cells!r:.80}." + " comment='#' leaves out comments." * is_comment,
            )


def _are_numbered(sentences: list[Sentence]) -> bool:
    """Return True if the words of all sentences are their numbers, from 0 or 1, or going on."""
    longest = last = 0
    for _, words, _, _ in sentences:
        matches = [_NUMBER.fullmatch(word) for word in words[words[0].startswith("#") :]]
        if not all(matches):
            return False
        # Of "1-2", a token of two words, and "2.1", a word that is left out, there may be any.
        numbers = [int(match[1]) for match in matches if match and not match[2]]
        if not numbers:
            continue
        first, before, last = numbers[0], last, numbers[-1]
        if first not in (0, 1, before + 1) or numbers != list(range(first, last + 1)):
            return False
        longest = max(longest, len(numbers))
    return longest > 1


def _groups(
    path: Path, comment: str | None, report: Report
) -> Iterator[tuple[Sequence[int], list[str]]]:
    """Read the lines of sentences with their numbers, without comments before and between."""
    numbers: Sequence[int] = []
    texts: list[str] = []
    for block in read_blocks(path):
        content = _plain_text(block, comment)
        if content is not None:
            number = block.number
            for index, part in enumerate(content.split("\n\n")):
                lines = part.lstrip("\n")
                if texts and (index or len(lines) < len(part)):
                    yield numbers, texts
                    numbers, texts = [], []
                number += (index > 0) + len(part) - len(lines)
                if not lines:
                    continue
                listed = lines.split("\n")
                following = range(number, number + len(listed))
                number = following.stop
                numbers, texts = (
                    ([*numbers, *following], texts + listed) if texts else (following, listed)
                )
            if texts and not texts[-1]:  # the block ends with a blank line
                yield numbers[:-1], texts[:-1]
                numbers, texts = [], []
            continue
        for number, text in lines_of(block, path):
            if not text or text.isspace():
                if texts:
                    yield numbers, texts
                numbers, texts = [], []
                continue
            if comment and text.startswith(comment):
                if not texts or ("\t" in texts[-1] and "\t" not in text):
                    report.note("comment not kept")
                    continue
            elif comment is None and not texts and text[0] == "#":
                report.note(
                    "line with # before a sentence, read as a word; `comment` leaves it out"
                )
            numbers, texts = [*numbers, number], [*texts, text]
    if texts:
        yield numbers, texts


def _plain_text(block: Block, comment: str | None) -> str | None:
    """Return the text of a block of words, tags and empty lines; None for any other."""
    if len(block.content) > MAX_LINE_BYTES or b"\r" in block.content:
        return None
    try:
        text = block.content.decode()
    except UnicodeDecodeError:
        return None
    has_comments = (comment or "#") in text
    return None if has_comments or _BLANK.search(text) else text.removesuffix("\n")


def _documents(ids: list[str]) -> list[str] | None:
    """Return the document of each sentence, if ids are as they would be read."""
    matches = [_DOCUMENT_ID.fullmatch(one) for one in ids]
    documents = [match[1] for match in matches if match]
    if len(documents) != len(ids):
        return None
    runs = [len(list(group)) for _, group in groupby(documents)]
    expected = [f"{number}.{index}" for number, size in enumerate(runs) for index in range(size)]
    return documents if ids == expected else None
