"""Find the tokens of character spans, and put marks around them.

    text, offsets, [(start, end)]  ->  [(first token, last token)]  ->  ids with marks, token spans

Plain lists only. Token numbers count the text's own tokens, without special ones.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Sequence

from ..records.kinds import CharSpan

TokenSpan = tuple[int, int]
"""First and last token of a span, or of a span and its marks."""


def cut(spans: Iterable[TokenSpan], most: int | None) -> list[TokenSpan]:
    """Let long values be read at their start: at most `most` tokens each; None for no limit."""
    if most is None:
        return list(spans)
    return [(first, min(last, first + most - 1)) for first, last in spans]


class SpanFinder:
    """Find the tokens of spans in one text.

    Args:
        text: the text.
        offsets: per token, the characters ``[start, end)`` it covers.
        name: of the text in errors, such as "example 3".
        word_marks: which tokens are the mark of a word alone; its offsets say the word's first
            character, and it stands for the space before.
    """

    def __init__(
        self,
        text: str,
        offsets: Sequence[CharSpan],
        name: str,
        word_marks: Collection[int] = (),
    ) -> None:
        self.text, self.name, self.offsets = text, name, offsets
        self.word_marks = word_marks
        self.starts = [start for start, _ in offsets]
        self.ends = [end for _, end in offsets]
        # Normalisation may reorder characters; then each token has to be looked at.
        self.in_order = sorted(self.ends) == self.ends and sorted(self.starts) == self.starts

    def find(self, index: int, char_span: CharSpan) -> TokenSpan:
        """Return the first and the last token that share a character with a span.

        White space at the span's ends is ignored, and a word's mark where more follows.

        Args:
            index: the span's number, for errors.
            char_span: a span of more than white space.

        Raises:
            ValueError: a span of characters that the tokenizer drops.
        """
        start, end = char_span
        piece = self.text[start:end]
        start += len(piece) - len(piece.lstrip())
        end -= len(piece) - len(piece.rstrip())
        token_span = self._search(start, end) if self.in_order else self._scan(start, end)
        if token_span is None:
            raise ValueError(
                f"Span {index} of {self.name} must hold a token, but the tokenizer drops all of "
                f"{piece!r}. Leave it out."
            )
        first, last = token_span
        while first < last and first in self.word_marks:
            first += 1
        return first, last

    def _search(self, start: int, end: int) -> TokenSpan | None:
        """Bisect, then step over tokens that cover no character."""
        first, stop = bisect_right(self.ends, start), bisect_left(self.starts, end)
        while first < stop and self.starts[first] == self.ends[first]:
            first += 1
        while first < stop and self.starts[stop - 1] == self.ends[stop - 1]:
            stop -= 1
        return (first, stop - 1) if first < stop else None

    def _scan(self, start: int, end: int) -> TokenSpan | None:
        tokens = [
            token
            for token, (left, right) in enumerate(self.offsets)
            if max(left, start) < min(right, end)
        ]
        return (tokens[0], tokens[-1]) if tokens else None


def put_masks(
    ids: list[int], token_spans: Sequence[TokenSpan], mask: int
) -> tuple[list[int], list[TokenSpan]]:
    """Put a mask token after each span; spans that end together follow their order.

    Args:
        ids: the text's n tokens.
        token_spans: M pairs of first and last token.
        mask: the id to put.

    Returns:
        n + M ids, and the M spans among them, each with its mask as its last token.
    """
    order = sorted(range(len(token_spans)), key=lambda index: token_spans[index][1])
    ends = [token_spans[index][1] for index in order]
    out: list[int] = []
    marks, done = [0] * len(token_spans), 0
    for index, last in zip(order, ends):
        out += ids[done : last + 1]
        done = last + 1
        marks[index] = len(out)
        out.append(mask)
    out += ids[done:]
    # Before a token come the masks of all spans that end before it.
    firsts = [first + bisect_left(ends, first) for first, _ in token_spans]
    return out, list(zip(firsts, marks))


def put_markers(
    ids: list[int], token_spans: Sequence[TokenSpan], start: int, end: int
) -> tuple[list[int], list[TokenSpan]]:
    """Put a start and an end marker around each span, the outer span's outside.

    Args:
        ids: the text's n tokens.
        token_spans: M pairs of first and last token.
        start: the id of the start marker.
        end: the id of the end marker.

    Returns:
        n + 2M ids, and the M spans among them, each from its start marker to its end marker.
    """
    # Between two tokens, ends come before starts; of two starts the wider span's is first, of two
    # ends the narrower one's. Equal spans nest by their order.
    marks = [(last + 1, 0, -first, -index) for index, (first, last) in enumerate(token_spans)]
    marks += [(first, 1, -last, index) for index, (first, last) in enumerate(token_spans)]
    out: list[int] = []
    starts, ends, done = [0] * len(token_spans), [0] * len(token_spans), 0
    for token_index, is_start, _, index in sorted(marks):
        out += ids[done:token_index]
        done = token_index
        (starts if is_start else ends)[abs(index)] = len(out)
        out.append(start if is_start else end)
    out += ids[done:]
    return out, list(zip(starts, ends))
