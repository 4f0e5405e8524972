"""Overlapping windows over a sequence that is too long, and the best one for a span of it.

    n = 10 tokens, size 6, overlap 4   ->   [0, 6)  [2, 8)  [4, 10)

All windows have the full size, so the last one may overlap more.
"""

from __future__ import annotations

from typing import NamedTuple


class Windows(NamedTuple):
    """Windows of `size` tokens over `length` of them, each `step` further than the one before.

    Example:
        >>> windows = Windows(length=10, size=6, step=2)
        >>> [windows.start(index) for index in range(windows.total)]
        [0, 2, 4]
        >>> windows.best(4, 5, 4)
        1
    """

    length: int
    size: int
    step: int

    @property
    def total(self) -> int:
        """How many windows cover the sequence."""
        return 1 + max(0, -(-(self.length - self.size) // self.step))

    def start(self, index: int) -> int:
        """Return the first token of a window; the last window ends with the sequence."""
        return max(0, min(index * self.step, self.length - self.size))

    def best(self, first: int, last: int, read: int) -> int:
        """Choose the window in which a span has the most context on both sides.

        Args:
            first: the span's first token.
            last: its last one.
            read: the token that is read, which decides where no window holds the whole span.

        Returns:
            The index of the window in which the smaller of the two sides is largest; the earlier
            of equals.
        """
        index, context = self._best(first, last)
        return index if context >= 0 else self._best(read, read)[0]

    def _best(self, first: int, last: int) -> tuple[int, int]:
        # The smaller side grows until the span is in the middle and shrinks from there on.
        middle = max(0, (first + last + 1 - self.size) // 2) // self.step
        final = self.total - 1
        scored = []
        for index in sorted({min(middle, final), min(middle + 1, final), final}):
            start = self.start(index)
            scored.append((min(first - start, start + self.size - 1 - last), -index))
        context, index = max(scored)
        return -index, context
