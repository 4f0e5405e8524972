"""Where spans of characters lie in the tokens of a text, and tokens put around them.

    text, offsets, [(start, end)]  ->  [(first token, last token)]  ->  ids with marks, extents

Plain lists only. Token numbers count the text's own tokens, without special ones.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

Extent = tuple[int, int]
Offsets = Sequence[Extent]


class SpanFinder:
    """Find the tokens of spans in one text.

    Args:
        text: the text.
        offsets: per token the characters ``[start, end)`` it stands for.
        name: what errors call the text, such as "example 3".

    Example:
        >>> finder = SpanFinder("Ann sees Bob", [(0, 3), (4, 8), (9, 11), (11, 12)], "example 0")
        >>> finder.find(0, (9, 12)), finder.find(1, {"start": 0, "end": 8})
        ((2, 3), (0, 1))
    """

    def __init__(self, text: str, offsets: Offsets, name: str) -> None:
        self.text, self.name, self.offsets = text, name, offsets
        self.starts = [start for start, _ in offsets]
        self.ends = [end for _, end in offsets]
        # Normalisation may reorder characters; then each token has to be looked at.
        self.in_order = sorted(self.ends) == self.ends and sorted(self.starts) == self.starts

    def find(self, index: int, span: Any) -> Extent:
        """Return the first and the last token that share a character with a span.

        White space at the span's ends is not looked at.

        Raises:
            ValueError: a span that is out of range, reversed, empty, of white space only, or of
                characters that the tokenizer drops.
        """
        start, end = check_span(index, span, len(self.text), self.name, "characters")
        piece = self.text[start:end]
        start += len(piece) - len(piece.lstrip())
        end -= len(piece) - len(piece.rstrip())
        if start >= end:
            raise ValueError(
                f"Span {index} of {self.name} must hold more than white space, got {piece!r} at "
                f"({start}, {end}). Leave it out."
            )
        found = self._search(start, end) if self.in_order else self._scan(start, end)
        if found is None:
            raise ValueError(
                f"Span {index} of {self.name} must hold a token, but the tokenizer drops all of "
                f"{piece!r}. Leave it out."
            )
        return found

    def _search(self, start: int, end: int) -> Extent | None:
        """Bisect, then step over tokens that stand for no character."""
        first, stop = bisect_right(self.ends, start), bisect_left(self.starts, end)
        while first < stop and self.starts[first] == self.ends[first]:
            first += 1
        while first < stop and self.starts[stop - 1] == self.ends[stop - 1]:
            stop -= 1
        return (first, stop - 1) if first < stop else None

    def _scan(self, start: int, end: int) -> Extent | None:
        found = [
            token
            for token, (left, right) in enumerate(self.offsets)
            if max(left, start) < min(right, end)
        ]
        return (found[0], found[-1]) if found else None


def check_span(index: int, span: Any, length: int, name: str, unit: str) -> Extent:
    """Return start and end of a span of a text with `length` characters or words.

    Raises:
        ValueError: a span that is out of range, reversed or empty, or no span at all.

    Example:
        >>> check_span(0, {"start": 1, "end": 2}, 4, "example 0", "words")
        (1, 2)
    """
    try:
        start, end = (span["start"], span["end"]) if isinstance(span, Mapping) else span[:2]
        valid = 0 <= start < end <= length
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"Span {index} of {name} must be (start, end) or a dict with these keys, in {unit}, "
            f"got {span!r:.80}."
        ) from error
    if not valid:
        raise ValueError(
            f"Span {index} of {name} must have 0 <= start < end <= {length}, which is all the "
            f"{unit} it has, got start={start} and end={end}."
        )
    return start, end


def join_words(words: Sequence[str], spans: Sequence[Any], name: str) -> tuple[str, list[Extent]]:
    """Join words by single spaces, and turn spans of words into spans of characters.

    Raises:
        ValueError: see `check_span`; or a text in place of words.

    Example:
        >>> join_words(["Ann", "sees", "Bob"], [(1, 3)], "example 0")
        ('Ann sees Bob', [(4, 12)])
    """
    if isinstance(words, str):
        raise ValueError(f"{name} must be a list of words, got the text {words!r:.80}.")
    starts = [0]
    for word in words:
        starts.append(starts[-1] + len(word) + 1)
    places = []
    for index, span in enumerate(spans):
        start, end = check_span(index, span, len(words), name, "words")
        places.append((starts[start], starts[end] - 1))
    return " ".join(words), places


def put_masks(ids: list[int], extents: list[Extent], mask: int) -> tuple[list[int], list[Extent]]:
    """Put a mask token after each span; spans that end together follow their order.

    Args:
        ids: the text's n tokens.
        extents: M pairs of first and last token.
        mask: the id to put.

    Returns:
        n + M ids, and per span its extent there, which ends with its mask.

    Example:
        >>> put_masks([5, 6, 7], [(0, 1), (2, 2), (1, 1)], mask=9)
        ([5, 6, 9, 9, 7, 9], [(0, 2), (4, 5), (1, 3)])
    """
    order = sorted(range(len(extents)), key=lambda index: extents[index][1])
    ends = [extents[index][1] for index in order]
    out: list[int] = []
    marks, done = [0] * len(extents), 0
    for index, last in zip(order, ends):
        out += ids[done : last + 1]
        done = last + 1
        marks[index] = len(out)
        out.append(mask)
    out += ids[done:]
    # Before a token stand the masks of all spans that end before it.
    moved = [first + bisect_left(ends, first) for first, _ in extents]
    return out, list(zip(moved, marks))


def put_markers(
    ids: list[int], extents: list[Extent], start: int, end: int
) -> tuple[list[int], list[Extent]]:
    """Put a start and an end marker around each span, the outer span's outside.

    Args:
        ids: the text's n tokens.
        extents: M pairs of first and last token.
        start: the id of the start marker.
        end: the id of the end marker.

    Returns:
        n + 2M ids, and per span the places of its two markers.

    Example:
        >>> put_markers([5, 6, 7], [(0, 2), (1, 1)], start=8, end=9)
        ([8, 5, 8, 6, 9, 7, 9], [(0, 6), (2, 4)])
    """
    # At one place ends come before starts; of two starts the wider span's is first, of two ends
    # the narrower one's. Equal spans nest by their order.
    marks = [(last + 1, 0, -first, -index) for index, (first, last) in enumerate(extents)]
    marks += [(first, 1, -last, index) for index, (first, last) in enumerate(extents)]
    out: list[int] = []
    opened, closed, done = [0] * len(extents), [0] * len(extents), 0
    for place, is_start, _, index in sorted(marks):
        out += ids[done:place]
        done = place
        (opened if is_start else closed)[abs(index)] = len(out)
        out.append(start if is_start else end)
    out += ids[done:]
    return out, list(zip(opened, closed))
