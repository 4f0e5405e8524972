"""CoNLL-U with entities in MISC, nested, as GUM and CorefUD have them.

    # global.Entity = GRP-etype-infstat-centering-minspan-link-identity
    1  Ann    ...  Entity=(7-person-new-cf1-1-coref
    2  Smith  ...  SpaceAfter=No|Entity=7)

A sentence is a record, with its `sent_id`; its text is made of the words, and checked. A word that
is not to be seen in its token, such as "dem" in "zum", has the characters of the token. Only read.
After the README of https://github.com/UniversalDependencies/UD_English-GUM.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ..records.record import ItemError, Record
from .files import Line, bare_suffix, read_lines
from .format import Format, option
from .json_spans import merge_spans
from .read_report import Report

_BRACKET = re.compile(r"(\()?([^()]+)(\))?")
_COMMENT = re.compile(r"#\s*(\S+)\s*=\s*(.*)")
_PART = re.compile(r".*\[(\d+)/(\d+)\]")
_GROUPS = ("GRP", "eid")
_NO_ENTITY = "brackets of no entity"


class _Chars(NamedTuple):
    start: int
    end: int


class _Token(NamedTuple):
    """A word: its characters in the text, the brackets at it, and its file and line."""

    char_span: _Chars | None
    brackets: str
    where: str


class _Several(NamedTuple):
    """A token of several words, such as "don't" or "zum".

    Attributes:
        char_span: of the token.
        size: how many words it has.
        forms: those so far.
        token_indices: of these in their sentence.
    """

    char_span: _Chars
    size: int
    forms: list[str]
    token_indices: list[int]


@dataclass
class _Sentence:
    """A sentence: its words as they are read, and its comments."""

    text: str = ""
    space: bool = False
    tokens: list[_Token] = field(default_factory=list)
    comments: dict[str, str] = field(default_factory=dict)
    several: _Several | None = None

    def add(self, cells: list[str], misc: dict[str, str], where: str) -> None:
        """Add the line of a word, of a token of several words, or of an empty node."""
        number, form = cells[0], cells[1]
        brackets = misc.get("Entity", "")
        if "." in number:  # an empty node has no text
            self.tokens.append(_Token(None, brackets, where))
            return
        if "-" in number:
            first, last = map(int, number.split("-"))
            start = self._append(form, misc)
            self.several = _Several(_Chars(start, start + len(form)), last - first + 1, [], [])
            return
        if self.several is None:
            start = self._append(form, misc)
            self.tokens.append(_Token(_Chars(start, start + len(form)), brackets, where))
            return
        self.several.forms.append(form)
        self.several.token_indices.append(len(self.tokens))
        self.tokens.append(_Token(self.several.char_span, brackets, where))
        if len(self.several.forms) == self.several.size:
            self._place_each(self.several)
            self.several = None

    def _place_each(self, several: _Several) -> None:
        """Give each word of a token its own characters, where the words make the token."""
        start, end = several.char_span
        if "".join(several.forms) != self.text[start:end]:
            return
        for index, form in zip(several.token_indices, several.forms):
            char_span = _Chars(start, start + len(form))
            self.tokens[index] = self.tokens[index]._replace(char_span=char_span)
            start += len(form)

    def _append(self, form: str, misc: dict[str, str]) -> int:
        self.text += " " * (self.space and bool(self.text))
        start = len(self.text)
        self.text += form
        self.space = misc.get("SpaceAfter") != "No"
        return start


@dataclass(frozen=True)
class Conllu(Format):
    """Sentences with entities.

    Args:
        entity_fields: those of "global.Entity" that are labels, such as "etype" and "infstat".
    """

    name = "conllu"

    entity_fields: Sequence[str] = option(("etype",), "read")

    def detect_path(self, path: Path) -> bool:
        """Return True for the name of a CoNLL-U file."""
        return bare_suffix(path) in (".conllu", ".conllup")

    def read(self, path: Path, report: Report) -> Iterator[Record]:
        """Yield a record per sentence; see `Format`."""
        entities = _Entities(path, list(self.entity_fields), report)
        for number, sentence in enumerate(_sentences(path, report)):
            entities.declare(sentence.comments)
            written = sentence.comments.get("text", sentence.text)
            if written.strip() != sentence.text.strip():
                report.unsupported(
                    "sentence that is not its text",
                    sentence.tokens[0].where,
                    f"The words of a sentence must make its text, {written!r:.80}, got "
                    f"{sentence.text!r:.80}.",
                )
                continue
            mentions = ((*char_span, label, None) for char_span, label in entities.of(sentence))
            yield {
                "id": sentence.comments.get("sent_id", str(number)),
                "text": sentence.text,
                "spans": merge_spans(mentions, report),
            }
        if not entities.seen:
            raise ValueError(f"{path} must have entities, Entity=... in its last column, got none.")


def _sentences(path: Path, report: Report) -> Iterator[_Sentence]:
    sentence = _Sentence()
    for number, text in (*read_lines(path), Line(0, "")):
        where = f"{path}, line {number}"
        if not text.strip():
            if sentence.tokens:
                yield sentence
                sentence = _Sentence()
        elif text.startswith("#"):
            comment = _COMMENT.fullmatch(text)
            if comment:
                sentence.comments[comment[1]] = comment[2]
        else:
            cells = text.split("\t")
            if (
                len(cells) != 10
                or not re.fullmatch(r"\d{1,9}([-.]\d{1,9})?", cells[0])
                or not cells[1]
            ):
                report.unsupported(
                    "line that is no word",
                    where,
                    f"A word must have a number and 10 columns divided by tabs, got {text!r:.80}.",
                )
                continue
            pairs = (entry.partition("=") for entry in cells[9].split("|"))
            sentence.add(cells, {name: value for name, _, value in pairs}, where)


class _Entities:
    """Find the entities of sentences; one may be open from sentence to sentence."""

    def __init__(self, path: Path, entity_fields: list[str], report: Report) -> None:
        self.path, self.entity_fields, self.report = path, entity_fields, report
        self.fields: list[str] = []
        self.left_open: list[str] = []
        self.seen = False

    def declare(self, comments: dict[str, str]) -> None:
        """Read the names of an entity's fields, and begin a document anew."""
        if any(name.startswith("newdoc") for name in comments):
            self.left_open = []
        if "global.Entity" not in comments:
            return
        self.fields = comments["global.Entity"].split("-")
        missing = [name for name in self.entity_fields if name not in self.fields]
        if missing or not set(_GROUPS) & set(self.fields):
            raise ValueError(
                f"{self.path}: `entity_fields` must be among the fields of an entity, "
                f"{self.fields}, and one of these be {' or '.join(_GROUPS)}, got "
                f"{self.entity_fields}."
            )

    def of(self, sentence: _Sentence) -> Iterator[tuple[_Chars, str | None]]:
        open_ones: list[tuple[str, int, dict[str, str]]] = []
        for char_span, brackets, where in sentence.tokens:
            self.seen |= bool(brackets)
            parsed: list[tuple[bool, dict[str, str], bool]] = []
            with self.report:
                parsed = list(self._parse(brackets, where))
            for opens, values, closes in parsed:
                group = next(values[name] for name in _GROUPS if name in values)
                if char_span is None:
                    self._unsupported("entity at an empty node", where, brackets)
                elif opens and self._is_part(group, where):
                    continue
                elif opens and closes:
                    yield from self._labelled(char_span, values)
                elif opens:
                    open_ones.append((group, char_span.start, values))
                elif not _PART.fullmatch(group):
                    match = next((one for one in reversed(open_ones) if one[0] == group), None)
                    if match is not None:
                        open_ones.remove(match)
                        yield from self._labelled(_Chars(match[1], char_span.end), match[2])
                    elif group in self.left_open:
                        self.left_open.remove(group)
                    else:
                        self.report.unsupported(
                            "bracket that closes nothing",
                            where,
                            f"A bracket must close an entity that is open, got {group!r}.",
                        )
        for group, _, _ in open_ones:
            where = sentence.tokens[-1].where
            self._unsupported("entity across sentences", where, group)
            self.left_open.append(group)

    def _parse(self, brackets: str, where: str) -> Iterator[tuple[bool, dict[str, str], bool]]:
        pieces = list(_BRACKET.finditer(brackets))
        whole = "".join(piece[0] for piece in pieces) == brackets
        if brackets and (not whole or not self.fields):
            raise ItemError(
                f"{where}: Entities must be in brackets, and their fields be declared in "
                f"`# global.Entity`, got {brackets!r:.80}.",
                _NO_ENTITY,
            )
        for piece in pieces:
            if not piece[1] and not piece[3]:
                message = f"{where}: An entity must have a bracket, got {brackets!r:.80}."
                raise ItemError(message, _NO_ENTITY)
            parts = piece[2].split("-", len(self.fields) - 1)
            values = dict(zip(self.fields, parts))
            if not set(_GROUPS) & set(values):
                message = f"{where}: An entity must have a group, got {brackets!r:.80}."
                raise ItemError(message, _NO_ENTITY)
            yield bool(piece[1]), values, bool(piece[3])

    def _is_part(self, group: str, where: str) -> bool:
        part = _PART.fullmatch(group)
        if part and part[1] == "1":
            self._unsupported("discontinuous span", where, group)
        return bool(part)

    def _labelled(
        self, char_span: _Chars, values: dict[str, str]
    ) -> Iterator[tuple[_Chars, str | None]]:
        labels: list[str | None] = [values[n] for n in self.entity_fields if values.get(n)]
        yield from ((char_span, label) for label in labels or [None])

    def _unsupported(self, kind: str, where: str, what: str) -> None:
        message = f"A span must be in one piece and one sentence, got {what!r:.80}, an {kind}."
        self.report.unsupported(kind, where, message)
