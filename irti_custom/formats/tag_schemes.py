"""Between tags of words and entities: BIO, IOB1, IOBES.

    B-PER I-PER O B-LOC  <->  Entity(0, 2, "PER"), Entity(3, 4, "LOC")

Of IOBES the letters of BILOU (L for E, U for S) are read, too, and of BMES and BMEOW (M for I, W
for S).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

SCHEMES = ("BIO", "IOB1", "IOBES")
_TAG = re.compile(r"([BIESLUMW])-(.+)", re.DOTALL)
_LETTERS = {"L": "E", "U": "S", "M": "I", "W": "S"}
"""Letters of other schemes, and their names in IOBES."""


class Entity(NamedTuple):
    """The words of an entity, `end` exclusive, and its label."""

    start: int
    end: int
    label: str


class _Tag(NamedTuple):
    letter: str
    label: str


@lru_cache(maxsize=1024)
def parse(tag: str) -> _Tag | None:
    """Split a tag into letter and label; None for something else."""
    if tag == "O":
        return _Tag("O", "")
    match = _TAG.fullmatch(tag)
    return _Tag(_LETTERS.get(match[1], match[1]), match[2]) if match else None


def detect_scheme(sentences: Iterable[Sequence[str]], skip: bool = False) -> str | None:
    """Detect the scheme of tags; "BIO" where nothing speaks against it.

    IOBES has letters of its own. In IOB1, "B" stands only between two entities of the same label
    that touch, so an "I" begins all others; in BIO it begins none.

    Args:
        sentences: the tags of each.
        skip: whether tags that are of no scheme are left out, if there are others.

    Returns:
        The scheme, or None for tags that are of none.
    """
    starts_with_i = lone_b = is_tagged = has_others = False
    seen: set[tuple[str, str]] = set()  # only a new pair of neighbours says something new
    for sentence in sentences:
        pairs = set(zip(("O", *sentence), sentence))
        if pairs <= seen:
            continue
        if all(map(parse, sentence)):
            seen |= pairs
        before = _Tag("O", "")
        for tag in map(parse, sentence):
            if tag is None:
                has_others = True
                if not skip:
                    return None
                continue
            if tag.letter in "ES":
                return "IOBES"
            is_tagged |= tag.letter != "O"
            touches = before.label == tag.label
            starts_with_i |= tag.letter == "I" and not touches
            lone_b |= tag.letter == "B" and not touches
            before = tag
    if has_others and not is_tagged:
        return None
    return "IOB1" if starts_with_i and not lone_b else "BIO"


def entities_of(tags: Sequence[str], scheme: str) -> tuple[list[Entity], list[tuple[int, str]]]:
    """Find the entities that the tags of a sentence mark.

    Returns:
        The entities; and the tags that their scheme does not allow where they are, of which no
        entity is made: the index of the word, and a message.
    """
    allowed = "BIOES" if scheme == "IOBES" else "BIO"
    entities: list[Entity] = []
    misplaced: list[tuple[int, str]] = []
    open_at: int | None = None  # where the entity begins that is not at its end yet
    open_label = ""

    def close(end: int) -> None:
        nonlocal open_at
        if open_at is not None:
            if scheme == "IOBES":
                message = f"An entity of IOBES must end with E-, got {tags[end - 1]!r}."
                misplaced.append((end - 1, message))
            else:
                entities.append(Entity(open_at, end, open_label))
        open_at = None

    for index, text in enumerate(tags):
        if text == "O" and open_at is None:
            continue
        tag = parse(text)
        goes_on = tag is not None and open_at is not None and tag.label == open_label
        if tag is None or tag.letter not in allowed:
            close(index)
            message = f"A tag of {scheme} must be O or one of {allowed} with a label, got {text!r}."
            misplaced.append((index, message))
        elif tag.letter == "O":
            close(index)
        elif tag.letter == "S":
            close(index)
            entities.append(Entity(index, index + 1, tag.label))
        elif tag.letter == "E" and goes_on:
            assert open_at is not None
            entities.append(Entity(open_at, index + 1, tag.label))
            open_at = None
        elif tag.letter == "I" and goes_on:
            pass
        elif tag.letter == "B" or (tag.letter == "I" and scheme == "IOB1"):
            close(index)
            open_at, open_label = index, tag.label
        else:
            close(index)
            before = tags[index - 1] if index else "nothing"
            hint = " In scheme='IOB1' it may begin an entity." if scheme == "BIO" else ""
            rule = f"A tag of {scheme} must be O, begin with B-, or go on with its label"
            misplaced.append((index, f"{rule}, got {text!r} after {before!r}.{hint}"))
    close(len(tags))
    return entities, misplaced


def tags_of(entities: Iterable[Entity], length: int, scheme: str) -> list[str]:
    """Write the tags of a sentence of `length` words and entities that do not overlap."""
    tags = ["O"] * length
    for start, end, label in sorted(entities):
        letters = ["B"] + ["I"] * (end - start - 1)
        if scheme == "IOBES":
            letters[-1] = "S" if end - start == 1 else "E"
        if scheme == "IOB1":
            before = tags[start - 1][2:] if start else ""
            letters[0] = "B" if before == label else "I"
        tags[start:end] = [f"{letter}-{label}" for letter in letters]
    return tags
