"""Turn text, words, mask tokens or table columns into positions a model can score, and back.

    text + spans  ->  {"input_ids": [...], "mask_indices": [...], "span_ids": [...], ...}

Plain lists only: padding belongs to `data_collator`. Every position asked for comes out in exactly
one row, or is reported.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from ..labels import resolve_labels
from .decoding import decode, stats
from .processor_files import ProcessorFiles
from .rows import OVERFLOWS, RowWriter, check_sizes
from .span_labels import LabelIds
from .spans import Extent, SpanFinder, join_words, put_markers, put_masks
from .special_tokens import template_of, tokenize
from .tables import column_token, lay_out, table_text

logger = logging.getLogger(__name__)

READS = ("start", "end", "mask", "marker")
Columns = dict[str, list[Any]]
# Above this, Transformers' tokenizers mean "no limit".
_NO_LIMIT = 10**9


class MaskedSeqProcessor(ProcessorFiles):
    """Prepare texts for `AutoModelForMaskedSeqModeling`, and bring its predictions back.

    The methods take a batch and return columns of rows: ``input_ids``, ``attention_mask``, what
    else the tokenizer adds, ``mask_indices``, ``labels`` where given, and for the way back
    ``example_ids`` (one per row), ``span_ids`` (one list per row), ``num_spans`` (of the example)
    and ``length`` (tokens). They work in ``datasets.map(batched=True)`` with any `num_proc`; pass
    its indices as `example_ids` there.

    Args:
        tokenizer: a fast tokenizer of Transformers.
        read: where a span is read: "start", its first token; "end", its last; "mask", a mask token
            put after it; "marker", the first of two markers put around it (the recipe of LUKE's
            BERT baseline, Yamada et al. 2020). Markers are added to the tokenizer: call
            ``model.resize_token_embeddings(len(processor.tokenizer))``.
        max_length: tokens per row, special ones included; default: the tokenizer's
            `model_max_length`, where it has one.
        on_overflow: what to do with a text that is longer. "window": overlapping windows, each span
            in the one where it has the most context on both sides; "error": refuse the first span
            that does not fit; "drop": leave those spans out, count them and warn.
        label2id: ids ``0..L-1`` by label name, for `labels`.
        task: "multilabel" or "multiclass".
        stride: tokens that a window shares with the one before; default: half of them.
        markers: the two markers of ``read="marker"``.
        column_tokens: the least that a table's column may have of a row, see `encode_tables`.

    Raises:
        ValueError: a slow tokenizer, one without the tokens it needs, or settings out of range.

    Example:
        >>> from tokenizers import Tokenizer, models, pre_tokenizers
        >>> from transformers import PreTrainedTokenizerFast
        >>> vocabulary = {"[UNK]": 0, "Ann": 1, "sees": 2, "Bob": 3}
        >>> words = Tokenizer(models.WordLevel(vocabulary, "[UNK]"))
        >>> words.pre_tokenizer = pre_tokenizers.Whitespace()
        >>> processor = MaskedSeqProcessor(PreTrainedTokenizerFast(tokenizer_object=words))
        >>> rows = processor.encode_spans(["Ann sees Bob"], [[(9, 12), (0, 8)]])
        >>> rows["mask_indices"], rows["span_ids"]
        ([[2, 0]], [[0, 1]])
        >>> processor.decode(rows, [["object", "clause"]])
        [['object', 'clause']]
    """

    def __init__(
        self,
        tokenizer: Any,
        read: str = "start",
        max_length: int | None = None,
        on_overflow: str = "window",
        label2id: Mapping[str, int] | None = None,
        task: str = "multilabel",
        stride: int | None = None,
        markers: Sequence[str] = ("[SPAN]", "[/SPAN]"),
        column_tokens: int = 32,
    ) -> None:
        if not getattr(tokenizer, "is_fast", False):
            raise ValueError(
                "A fast tokenizer is needed to find spans in tokens, got "
                f"{type(tokenizer).__name__}. Load it with AutoTokenizer.from_pretrained(...)."
            )
        for name, value, allowed in (
            ("read", read, READS),
            ("on_overflow", on_overflow, OVERFLOWS),
        ):
            if value not in allowed:
                raise ValueError(f"`{name}` must be one of {allowed}, got {value!r}.")
        self.tokenizer, self.read, self.on_overflow, self.task = tokenizer, read, on_overflow, task
        names = resolve_labels(None, None, None if label2id is None else dict(label2id))
        self.label2id = None if names is None else {name: index for index, name in names.items()}
        self._labels = LabelIds(task, self.label2id)
        self.markers, self.stride, self.column_tokens = list(markers), stride, column_tokens
        self._add_markers()
        self._template = template_of(tokenizer)
        if max_length is None and tokenizer.model_max_length < _NO_LIMIT:
            max_length = tokenizer.model_max_length
        self.max_length = max_length
        check_sizes(self._template, max_length, stride)
        if column_tokens < 1:
            raise ValueError(f"`column_tokens` must be at least 1, got {column_tokens}.")

    def _add_markers(self) -> None:
        if self.read == "mask" and self.tokenizer.mask_token_id is None:
            raise ValueError("read='mask' needs a tokenizer with a mask token. Use read='marker'.")
        if self.read != "marker":
            return
        if len(set(self.markers)) != 2:
            raise ValueError(f"`markers` must be two different strings, got {self.markers}.")
        if self.tokenizer.add_tokens(self.markers, special_tokens=True):
            logger.warning(
                "Added %s to the tokenizer. Now call model.resize_token_embeddings(%d).",
                self.markers,
                len(self.tokenizer),
            )

    @property
    def new_tokens(self) -> list[int]:
        """Ids of the markers, for `get_lora_model(new_tokens=...)`; empty where none are used."""
        return self.tokenizer.convert_tokens_to_ids(self.markers) if self.read == "marker" else []

    def with_max_length(self, max_length: int) -> MaskedSeqProcessor:
        """Return a copy, around the same tokenizer, that makes shorter or longer rows.

        Raises:
            ValueError: no room for a text, or for the `stride`.
        """
        check_sizes(self._template, max_length, self.stride)
        changed = copy.copy(self)
        changed.max_length = max_length
        return changed

    def encode_spans(
        self,
        texts: Sequence[str],
        spans: Sequence[Sequence[Any]],
        labels: Sequence[Sequence[Any]] | None = None,
        example_ids: Sequence[int] | None = None,
    ) -> Columns:
        """Prepare texts with spans of characters.

        Args:
            texts: N texts.
            spans: per text its spans, ``(start, end)`` or dicts with these keys, `end` exclusive;
                nested and overlapping ones are fine. White space at their ends is not looked at.
            labels: per text one entry per span: a name or id, for "multilabel" a list of them;
                None for a span whose labels are not known.
            example_ids: what to call the texts in the rows; default: 0 to N - 1.

        Returns:
            Columns of N rows, or more where texts are cut into windows.

        Raises:
            ValueError: counts that differ, a span that is out of range, reversed, empty or of white
                space only, or a label that is not known; the message names example and span.
        """
        names = self._names(texts, example_ids, spans=spans, labels=labels)
        encoded = tokenize(self.tokenizer, list(texts), return_offsets_mapping=True)
        writer, inner = self._writer(labels), self._template.inner
        for index, example in enumerate(names):
            offsets = inner(encoded["offset_mapping"][index])
            finder = SpanFinder(texts[index], offsets, example[1])
            extents = [finder.find(number, span) for number, span in enumerate(spans[index])]
            found = self._label_ids(labels, index, len(extents), example[1])
            writer.add(example, *self._mark(inner(encoded["input_ids"][index]), extents), found)
        return writer.finish()

    def encode_words(
        self,
        words: Sequence[Sequence[str]],
        spans: Sequence[Sequence[Any]],
        labels: Sequence[Sequence[Any]] | None = None,
        example_ids: Sequence[int] | None = None,
    ) -> Columns:
        """Prepare texts that are split into words, with spans of words.

        The words are joined by single spaces and tokenized as text, so that each gets the token it
        has within a text, also from tokenizers that tell a word with a space before it from one
        without (RoBERTa, ModernBERT).

        Args:
            words: N lists of words.
            spans: per list its spans, ``(start, end)`` in words, `end` exclusive.
            labels: see `encode_spans`.
            example_ids: see `encode_spans`.

        Raises:
            ValueError: as in `encode_spans`.
        """
        names = self._names(words, example_ids, spans=spans, labels=labels)
        joined = [join_words(*example) for example in zip(words, spans, (n for _, n in names))]
        texts, ranges = [text for text, _ in joined], [places for _, places in joined]
        return self.encode_spans(texts, ranges, labels, example_ids)

    def encode_masked(
        self,
        texts: Sequence[str],
        labels: Sequence[Sequence[Any]] | None = None,
        example_ids: Sequence[int] | None = None,
    ) -> Columns:
        """Prepare texts that contain the tokenizer's mask token; each occurrence is a position.

        Args:
            texts: N texts.
            labels: per text one entry per mask token, see `encode_spans`.
            example_ids: see `encode_spans`.

        Raises:
            ValueError: a tokenizer without a mask token, counts that differ, or an unknown label.
        """
        mask = self.tokenizer.mask_token_id
        if mask is None:
            raise ValueError("encode_masked needs a tokenizer with a mask token. Use spans.")
        names = self._names(texts, example_ids, labels=labels)
        encoded = tokenize(self.tokenizer, list(texts))
        writer = self._writer(labels)
        for index, example in enumerate(names):
            ids = self._template.inner(encoded["input_ids"][index])
            places = [place for place, token in enumerate(ids) if token == mask]
            found = self._label_ids(labels, index, len(places), example[1])
            writer.add(example, ids, [(place, place) for place in places], places, found)
        return writer.finish()

    def encode_tables(
        self,
        tables: Sequence[Any],
        labels: Sequence[Sequence[Any]] | None = None,
        example_ids: Sequence[int] | None = None,
    ) -> Columns:
        """Prepare tables; each column is a position.

        A column is written as ``header: value, value, ...`` behind a column token, where it is
        read: the classification token (as in Doduo), with ``read="mask"`` the mask token, with
        ``read="marker"`` the start marker. The columns of a row share its room evenly, and what a
        column has beyond its share is not read; where the share would fall below `column_tokens`,
        the table takes several rows of whole columns (`on_overflow`).

        Args:
            tables: N tables: lists of columns, pandas DataFrames, or dicts of `columns` (one of
                these) and an optional `title`, repeated in each row. A column is a list of values,
                or a dict of `values` and an optional `header`.
            labels: per table one entry per column, see `encode_spans`.
            example_ids: see `encode_spans`.

        Raises:
            ValueError: something else than a table, counts that differ, or an unknown label.
        """
        names = self._names(tables, example_ids, labels=labels)
        marker = self.new_tokens[0] if self.read == "marker" else None
        token = column_token(self.tokenizer, self.read, marker)
        writer = self._writer(labels)
        written = [table_text(t, name, writer.size) for t, (_, name) in zip(tables, names)]
        for index, (example, table) in enumerate(zip(names, written)):
            texts = [table.title, *table.columns]
            title, *columns = tokenize(self.tokenizer, texts, add_special_tokens=False)["input_ids"]
            parts = lay_out(title, columns, token, writer.size, self.column_tokens)
            found = self._label_ids(labels, index, len(columns), example[1])
            writer.add_parts(example, parts, found)
        return writer.finish()

    def decode(self, rows: Any, values: Sequence[Any], **options: Any) -> list[list[Any]]:
        """Put values per position back in the order of examples and spans: `way_back.decode`."""
        return decode(rows, values, **options)

    def stats(self, rows: Any) -> dict[str, int]:
        """Count examples, rows, windows, positions and dropped spans: `way_back.stats`."""
        return stats(rows)

    def _names(
        self, examples: Sequence[Any], example_ids: Sequence[int] | None, **others: Any
    ) -> list[tuple[int, str]]:
        """Name each example, and check that there is one of everything for each."""
        if isinstance(examples, (str, Mapping)):
            raise ValueError(f"Pass a list of examples, got one: {examples!r:.80}.")
        for name, values in {**others, "example_ids": example_ids}.items():
            if values is not None and len(values) != len(examples):
                raise ValueError(
                    f"`{name}` must have one entry per example, got {len(values)} for "
                    f"{len(examples)} examples."
                )
        ids = range(len(examples)) if example_ids is None else example_ids
        return [(index, f"example {index}") for index in ids]

    def _writer(self, labels: Any) -> RowWriter:
        return RowWriter(
            self._template, self.max_length, self.stride, self.on_overflow, labels is not None
        )

    def _label_ids(self, labels: Any, index: int, count: int, name: str) -> list[Any] | None:
        return None if labels is None else self._labels.of_spans(labels[index], count, name)

    def _mark(
        self, ids: list[int], extents: list[Extent]
    ) -> tuple[list[int], list[Extent], list[int]]:
        """Put marks where `read` wants them: ids, the spans' extents, and the tokens to read."""
        if self.read == "mask":
            ids, extents = put_masks(ids, extents, self.tokenizer.mask_token_id)
        elif self.read == "marker":
            ids, extents = put_markers(ids, extents, *self.new_tokens)
        side = 0 if self.read in ("start", "marker") else 1
        return ids, extents, [extent[side] for extent in extents]
