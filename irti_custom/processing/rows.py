"""Write rows of plain lists; cut texts that are too long into overlapping windows.

    ids, token spans, reads, labels  ->  {"input_ids": [...], "mask_indices": [...], ...}

    n = 10 tokens, size 6, overlap 4  ->  [0, 6)  [2, 8)  [4, 10)

Every span is in exactly one row, or counted as dropped.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ..labels import as_integer
from .spans import TokenSpan
from .special_tokens import Template

if TYPE_CHECKING:
    import pyarrow as pa

    from ..records.kinds import Record

logger = logging.getLogger(__name__)

BOOKKEEPING = ("example_ids", "span_ids", "num_spans", "length", "num_missing", "example_kinds")
"""Columns of prepared rows that serve decoding, sampling and the collator, not the model."""

OVERFLOWS = ("window", "error", "drop")
Columns = dict[str, list[Any]]
"""Rows, as one list of N values per column."""
SpanTargets = Sequence[Any]
"""Per span its target: a class id, or a list of zeros and ones."""


def rows_of(columns: Columns) -> list[dict[str, Any]]:
    """Turn columns into rows, as the collator takes them."""
    return [dict(zip(columns, values)) for values in zip(*columns.values())]


class Numbered(NamedTuple):
    """A record of a batch: its id in the rows, its name in errors, such as "example 3"."""

    id: int
    name: str
    record: Record


class TextTokens(NamedTuple):
    """The n tokens of a text, marks included; per span its tokens, and the one that is read.

    `numbers` are the spans' own, where others of the example's `total` have no token to read.
    """

    ids: list[int]
    spans: Sequence[TokenSpan]
    reads: Sequence[int]
    numbers: Sequence[int]
    total: int


class Part(NamedTuple):
    """The text tokens of one row, which of them are read, and for which spans of the example.

    `ends` are the last tokens of the spans, which are read as well with ``read="start_end"``.
    """

    ids: list[int]
    reads: list[int]
    ends: list[int]
    spans: list[int]


class RowWriter:
    """Collect the rows of a batch of examples.

    Args:
        template: the special tokens of each row.
        max_length: tokens per row, special tokens included; None for no limit.
        stride: how many tokens a window shares with the one before; default: half of them.
        on_overflow: "window", "error" or "drop".
        label_shape: of a position's label: ``()`` or ``(L,)``; None for rows without labels.
        reads_ends: whether the last token of a span is read, too.
    """

    def __init__(
        self,
        template: Template,
        max_length: int | None,
        stride: int | None,
        on_overflow: str,
        label_shape: tuple[int, ...] | None,
        reads_ends: bool = False,
    ) -> None:
        self.template, self.reads_ends = template, reads_ends
        self.size = None if max_length is None else template.text_size(max_length)
        overlap = overlap_of(template, max_length, stride)
        if self.size is not None and overlap is not None:
            self.step = self.size - overlap
        self.on_overflow, self.label_shape = on_overflow, label_shape
        self.columns: Columns = {"input_ids": [], "attention_mask": []}
        if template.types is not None:
            self.columns["token_type_ids"] = []
        self.columns["mask_indices"] = []
        if reads_ends:
            self.columns["end_indices"] = []
        if label_shape is not None:
            self.columns["labels"] = []
        self.columns.update({name: [] for name in BOOKKEEPING})
        self.dropped = 0

    def add_text(self, example: Numbered, text: TextTokens, targets: SpanTargets | None) -> None:
        """Add a text, in as many rows as it takes.

        Raises:
            ValueError: a span that does not fit, with ``on_overflow="error"``; one that fits into
                no window, where both its ends are read.
        """
        ends = [last for _, last in text.spans]
        if self.size is None or len(text.ids) <= self.size:
            part = Part(text.ids, list(text.reads), ends, list(text.numbers))
            self._add_row(example, part, targets, text.total)
            return
        windows = Windows(len(text.ids), self.size, self.step)
        spans_by_window: dict[int, list[int]] = {}
        for span, ((first, last), read) in enumerate(zip(text.spans, text.reads)):
            if self.on_overflow == "window":
                best = windows.best(first, last, read)
                if self.reads_ends and not windows.holds(best, first, last):
                    raise ValueError(
                        f"Span {span} of {example.name} has {last - first + 1} tokens, and no "
                        f"window of {self.size} holds its first and its last one. Raise "
                        "`max_length` or `stride`, or use read='start'."
                    )
                spans_by_window.setdefault(best, []).append(span)
            elif self._fits(example, span, last if self.reads_ends else read, self.size):
                spans_by_window.setdefault(0, []).append(span)
        # Nothing is read in a window without spans; one row says that the example exists.
        for index in sorted(spans_by_window) or [0]:
            start, spans = windows.start(index), spans_by_window.get(index, [])
            reads = [text.reads[span] - start for span in spans]
            lasts = [ends[span] - start for span in spans]
            numbers = [text.numbers[span] for span in spans]
            part = Part(text.ids[start : start + self.size], reads, lasts, numbers)
            self._add_row(example, part, targets, text.total)

    def add_parts(
        self, example: Numbered, parts: Sequence[Part], targets: SpanTargets | None
    ) -> None:
        """Add an example that comes in parts, one per row, such as a wide table.

        Raises:
            ValueError: more than one part, with ``on_overflow="error"``.
        """
        count = sum(len(part.spans) for part in parts)
        if len(parts) > 1 and self.on_overflow == "error":
            raise ValueError(
                f"Column {parts[1].spans[0]} of {example.name} does not fit into a row of "
                f"{self.size} tokens beside the special ones. Raise `max_length`, lower "
                "`column_tokens`, or use on_overflow='window'."
            )
        if self.on_overflow == "drop":
            parts = parts[:1]
            self.dropped += count - len(parts[0].spans)
        for part in parts:
            self._add_row(example, part, targets, count)

    def _fits(self, example: Numbered, span: int, read: int, size: int) -> bool:
        if read < size:
            return True
        if self.on_overflow == "error":
            raise ValueError(
                f"Span {span} of {example.name} is read at token {read}, and {size} tokens fit "
                "into a row beside the special ones. Raise `max_length`, or use "
                "on_overflow='window'."
            )
        self.dropped += 1
        return False

    def _add_row(
        self, example: Numbered, part: Part, targets: SpanTargets | None, count: int
    ) -> None:
        columns, shift = self.columns, len(self.template.prefix)
        for name, values in self.template.around(part.ids).items():
            columns[name].append(values)
        columns["mask_indices"].append([read + shift for read in part.reads])
        if self.reads_ends:
            columns["end_indices"].append([last + shift for last in part.ends])
        if targets is not None:
            columns["labels"].append([targets[span] for span in part.spans])
        columns["example_ids"].append(example.id)
        columns["span_ids"].append(part.spans)
        columns["num_spans"].append(count)
        columns["length"].append(len(columns["input_ids"][-1]))
        columns["num_missing"].append(example.record.num_missing)
        columns["example_kinds"].append(example.record.kind)

    def finish(self) -> Columns:
        """Return the columns; warn once about all dropped spans."""
        if self.dropped:
            kept = sum(map(len, self.columns["span_ids"]))
            logger.warning(
                "%d of %d positions do not fit into `max_length` and are dropped. "
                "on_overflow='window' keeps them.",
                self.dropped,
                kept + self.dropped,
            )
        for name in ("mask_indices", "end_indices", "labels", "span_ids"):
            column = self.columns.get(name)
            if column and not any(column):
                dims = 1 + len(self.label_shape or ()) if name == "labels" else 1
                self.columns[name] = EmptyLists(column, dims)
        return self.columns


class EmptyLists(list):
    """N empty lists of integers; Arrow, and so `datasets`, could not tell their type.

    Args:
        rows: the lists.
        dims: how deep they nest.
    """

    def __init__(self, rows: Iterable[list[Any]], dims: int) -> None:
        super().__init__(rows)
        self.dims = dims

    def __arrow_array__(self, type: pa.DataType | None = None) -> pa.Array:
        """Convert to Arrow, as `pyarrow.array` asks for it."""
        import pyarrow as pa

        found = pa.int64()
        for _ in range(self.dims):
            found = pa.list_(found)
        return pa.array(list(self), found if type is None else type)

    def __reduce__(self) -> tuple[type, tuple[list[Any], int]]:
        return EmptyLists, (list(self), self.dims)


class Windows(NamedTuple):
    """Windows of `size` tokens over `length` of them, each `step` further than the one before.

    All have the full size, so the last one may overlap more.

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
        """The number of windows that cover the sequence."""
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

    def holds(self, index: int, first: int, last: int) -> bool:
        """Return True if both tokens are in a window."""
        return self.start(index) <= first and last < self.start(index) + self.size

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


def overlap_of(template: Template, max_length: int | None, stride: int | None) -> int | None:
    """Return how many tokens a window shares with the one before; None where there is one only."""
    if max_length is None:
        return None
    return template.text_size(max_length) // 2 if stride is None else stride


def check_sizes(template: Template, max_length: int | None, stride: int | None) -> None:
    """Check that rows have room for a text, and that windows advance.

    Raises:
        ValueError: they do not.
    """
    size = None if max_length is None else template.text_size(max_length)
    if size is not None and size < 1:
        raise ValueError(
            f"`max_length` must be more than the {-template.text_size(0)} special tokens of a row, "
            f"got {max_length}."
        )
    whole = 0 if stride is None else as_integer(stride)
    if whole is None or not 0 <= whole < (size or whole + 1):
        raise ValueError(
            f"`stride` must be at least 0 and less than the {size} tokens beside the special ones, "
            f"got {stride}."
        )
