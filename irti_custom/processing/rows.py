"""Rows of plain lists: special tokens around a text's own, cut into windows where it is too long.

ids, extents, reads, labels  ->  {"input_ids": [...], "mask_indices": [...], "span_ids": [...]}

A span is in exactly one row, or counted as dropped.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

from .spans import Extent
from .special_tokens import Template
from .windows import Windows

logger = logging.getLogger(__name__)

BOOKKEEPING = ("example_ids", "span_ids", "num_spans", "length")
"""Columns of prepared rows that are for the way back and for sampling, not for the model."""

OVERFLOWS = ("window", "error", "drop")


class Part(NamedTuple):
    """The text tokens of one row, the places read there, and which of the example's they are."""

    ids: list[int]
    places: list[int]
    spans: list[int]


class RowWriter:
    """Collect the rows of a batch of examples.

    Args:
        template: what goes around each row.
        max_length: tokens per row, special tokens included; None for no limit.
        stride: how many tokens a window shares with the one before.
        on_overflow: "window", "error" or "drop".
        labelled: whether rows have labels.
    """

    def __init__(
        self,
        template: Template,
        max_length: int | None,
        stride: int | None,
        on_overflow: str,
        labelled: bool,
    ) -> None:
        self.template = template
        self.size = None if max_length is None else template.room(max_length)
        if self.size is not None:
            self.step = self.size - (self.size // 2 if stride is None else stride)
        self.on_overflow = on_overflow
        self.columns: dict[str, list[Any]] = {"input_ids": [], "attention_mask": []}
        if template.types is not None:
            self.columns["token_type_ids"] = []
        self.columns["mask_indices"] = []
        if labelled:
            self.columns["labels"] = []
        self.columns.update({name: [] for name in BOOKKEEPING})
        self.dropped = 0

    def add(
        self,
        example: tuple[int, str],
        ids: list[int],
        extents: Sequence[Extent],
        reads: Sequence[int],
        labels: list[Any] | None,
    ) -> None:
        """Add one example, in as many rows as it takes.

        Args:
            example: its id, and what errors call it.
            ids: the text's n tokens, marks included.
            extents: per span its first and last token.
            reads: per span the token that is read.
            labels: one entry per span.

        Raises:
            ValueError: a span that does not fit, with ``on_overflow="error"``.
        """
        count = len(reads)
        if self.size is None or len(ids) <= self.size:
            self._row(example[0], ids, reads, list(range(count)), labels, count)
            return
        windows = Windows(len(ids), self.size, self.step)
        chosen: dict[int, list[int]] = {}
        for span, ((first, last), read) in enumerate(zip(extents, reads)):
            if self.on_overflow == "window":
                chosen.setdefault(windows.best(first, last, read), []).append(span)
            elif self._fits(example[1], span, read):
                chosen.setdefault(0, []).append(span)
        # Nothing is read in a window without spans; one row says that the example exists.
        for index in sorted(chosen) or [0]:
            start, spans = windows.start(index), chosen.get(index, [])
            places = [reads[span] - start for span in spans]
            self._row(example[0], ids[start : start + self.size], places, spans, labels, count)

    def add_parts(
        self, example: tuple[int, str], parts: Sequence[Part], labels: list[Any] | None
    ) -> None:
        """Add an example that comes in parts, such as a wide table.

        Args:
            example: its id, and what errors call it.
            parts: what each row holds; more than one is overflow.
            labels: one entry per position of all parts.

        Raises:
            ValueError: more than one part, with ``on_overflow="error"``.
        """
        count = sum(len(part.spans) for part in parts)
        if len(parts) > 1 and self.on_overflow == "error":
            raise ValueError(
                f"Column {parts[1].spans[0]} of {example[1]} does not fit into a row of "
                f"{self.size} tokens beside the special ones. Raise `max_length`, lower "
                "`column_tokens`, or use on_overflow='window'."
            )
        if self.on_overflow == "drop":
            parts = parts[:1]
            self.dropped += count - len(parts[0].spans)
        for part in parts:
            self._row(example[0], part.ids, part.places, part.spans, labels, count)

    def _fits(self, name: str, span: int, read: int) -> bool:
        assert self.size is not None
        if read < self.size:
            return True
        if self.on_overflow == "error":
            raise ValueError(
                f"Span {span} of {name} is read at token {read}, and {self.size} tokens fit into a "
                "row beside the special ones. Raise `max_length`, or use on_overflow='window'."
            )
        self.dropped += 1
        return False

    def _row(
        self,
        example_id: int,
        ids: list[int],
        places: Sequence[int],
        spans: list[int],
        labels: list[Any] | None,
        count: int,
    ) -> None:
        columns, shift = self.columns, len(self.template.prefix)
        for name, values in self.template.around(ids).items():
            columns[name].append(values)
        columns["mask_indices"].append([place + shift for place in places])
        if labels is not None:
            columns["labels"].append([labels[span] for span in spans])
        columns["example_ids"].append(example_id)
        columns["span_ids"].append(spans)
        columns["num_spans"].append(count)
        columns["length"].append(len(columns["input_ids"][-1]))

    def finish(self) -> dict[str, list[Any]]:
        """Return the columns; says once how many spans were dropped."""
        if self.dropped:
            kept = sum(map(len, self.columns["span_ids"]))
            logger.warning(
                "%d of %d positions do not fit into `max_length` and are dropped. "
                "on_overflow='window' keeps them.",
                self.dropped,
                kept + self.dropped,
            )
        return self.columns


def check_sizes(template: Template, max_length: int | None, stride: int | None) -> None:
    """Refuse rows without room for a text, and windows that do not move on.

    Raises:
        ValueError: see above.

    Example:
        >>> check_sizes(Template([2], [3], None), max_length=8, stride=5)
    """
    room = None if max_length is None else template.room(max_length)
    if room is not None and room < 1:
        raise ValueError(
            f"`max_length` must be more than the {-template.room(0)} special tokens of a row, got "
            f"{max_length}."
        )
    if stride is not None and not 0 <= stride < (room or stride + 1):
        raise ValueError(
            f"`stride` must be at least 0 and less than the {room} tokens beside the special ones, "
            f"got {stride}."
        )
