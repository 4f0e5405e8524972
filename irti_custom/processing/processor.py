"""Turn text, words, mask tokens or table columns into positions a model can score, and back.

    text + spans  ->  {"input_ids": [...], "mask_indices": [...], "span_ids": [...], ...}

Plain lists only: padding belongs to `data_collator`. Every position comes out in exactly one row,
or is reported.
"""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from transformers.processing_utils import ProcessorMixin

from ..labels import as_integer, check_count, resolve_labels
from ..loading.folders import load_one_version, replaced_files
from ..loading.sources import hub_arguments, read_place
from ..records.kinds import (
    CharSpan,
    Fields,
    FieldsInput,
    MaskedText,
    Position,
    Record,
    RecordInput,
    Span,
    SpannedText,
    Table,
    TableInput,
    check_text,
    errors_of,
    frame_fields,
    read_record,
)
from ..records.sequences import as_list, is_frame
from . import decoding
from .preparation import prepare_model
from .rows import (
    OVERFLOWS,
    Columns,
    Numbered,
    Part,
    RowWriter,
    TextTokens,
    check_sizes,
    overlap_of,
)
from .settings import PROCESSOR_FILES, SETTINGS, read_settings
from .span_labels import LabelIds, SpanLabels
from .spans import SpanFinder, cut, put_markers, put_masks
from .special_tokens import (
    check_fast,
    digest_of,
    load_tokenizer,
    template_of,
    tokenize,
    word_marks,
)
from .tables import column_token, lay_out

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedTokenizerFast

    from ..modeling_custom import AutoModelForMaskedSeqModeling

logger = logging.getLogger(__name__)

READS = ("start", "end", "start_end", "mask", "marker")
_SAME_TOKENS = {"spans", "words"}  # of a text, however its spans are counted
_MASK_TOKENS = ("[MASK]", "<mask>")
# Above this, Transformers' tokenizers mean "no limit".
_NO_LIMIT = 10**9


class Encoded(NamedTuple):
    """Records as rows, and what their positions are called.

    Attributes:
        rows: columns of rows, see `MaskedSeqProcessor`.
        positions: per record one dict per position: ``start``, ``end`` and ``word`` as the user
            counts; for a table ``column``, its index, and ``word``, its header; for fields
            ``field``, the name, and ``word``, the value or None.
        records: the records, as they were read.
    """

    rows: Columns
    positions: list[list[Position]]
    records: list[Record]


class MaskedSeqProcessor(ProcessorMixin):
    """Prepare texts for `AutoModelForMaskedSeqModeling`, and regroup its predictions.

    The `encode_*` methods take a batch and return columns of rows: ``input_ids``,
    ``attention_mask``, what else the tokenizer adds, ``mask_indices`` (with ``read="start_end"``
    also ``end_indices``), ``labels`` where given, and
    for `decode` ``example_ids`` (one per row), ``span_ids`` (one list per row), ``num_spans`` (of
    the example) and ``length`` (tokens). They work in ``datasets.map(batched=True)`` with any
    `num_proc`; pass its indices as `example_ids` there. `encode` takes all kinds of examples at
    once and also describes their positions.

    Serves as `processing_class` of a stock `Trainer`, and as `tokenizer` of the data collator.

    Its file also holds `trained_on`, the kinds of examples that it prepared with labels, or that a
    `DataCollatorForMaskedSeq` around it was given ("spans", "words", "masks", "columns", "fields"),
    and warns where it is asked for others without; and a digest of the tokenizer, so that it does
    not load beside another one.

    Args:
        tokenizer: a fast tokenizer of Transformers.
        read: where a span is read: "start", its first token; "end", its last; "start_end", both;
            "mask", a mask token put after it; "marker", the first of two markers put around it (the
            recipe of LUKE's BERT baseline, Yamada et al. 2020). "start_end" needs a head that reads
            two tokens, and markers are added to the tokenizer: call ``prepare_model(model)``.
        max_length: tokens per row, special ones included; default: the tokenizer's
            `model_max_length`, where it has one.
        on_overflow: what to do with a text that is longer. "window": overlapping windows, each span
            in the one where it has the most context on both sides; "error": raise at the first span
            that does not fit; "drop": leave those spans out, count them and warn.
        label2id: ids ``0..L-1`` by label name, for `labels`.
        task: "multilabel" or "multiclass".
        stride: tokens that a window shares with the one before; default: half of them.
        markers: the two markers of ``read="marker"``.
        column_tokens: tokens of a row that a table's column may always have, see `encode_tables`.
        field_names: whether the names of a record's fields are written before their values, see
            `encode_records`.

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

    # Transformers 4 reads these; 5 looks at the signature.
    attributes = ["tokenizer"]  # noqa: RUF012
    tokenizer_class = "AutoTokenizer"

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        read: str = "start",
        max_length: int | None = None,
        on_overflow: str = "window",
        label2id: Mapping[str, int] | None = None,
        task: str = "multilabel",
        stride: int | None = None,
        markers: Sequence[str] = ("[SPAN]", "[/SPAN]"),
        column_tokens: int = 32,
        field_names: bool = True,
    ) -> None:
        check_fast(tokenizer)
        for name, value, allowed in (
            ("read", read, READS),
            ("on_overflow", on_overflow, OVERFLOWS),
        ):
            if not isinstance(value, str) or value not in allowed:
                raise ValueError(f"`{name}` must be one of {allowed}, got {value!r}.")
        super().__init__(tokenizer)
        self.read, self.on_overflow, self.task = read, on_overflow, task
        names = resolve_labels(None, None, label2id)
        self.label2id = None if names is None else {name: index for index, name in names.items()}
        self._labels = LabelIds(task, self.label2id)
        self.markers, self.stride = as_list("`markers`", markers), stride
        self.column_tokens = check_count("column_tokens", column_tokens)
        if not isinstance(field_names, bool):
            raise ValueError(f"`field_names` must be True or False, got {field_names!r}.")
        self.field_names = field_names
        self.added_tokens = self._add_markers()
        self._template, self._word_marks = template_of(tokenizer), word_marks(tokenizer)
        if max_length is None and tokenizer.model_max_length < _NO_LIMIT:
            max_length = tokenizer.model_max_length
        self.max_length = None if max_length is None else check_count("max_length", max_length)
        check_sizes(self._template, self.max_length, stride)
        self.trained_on: list[str] = []
        self._unfamiliar: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy needs; `datasets.map` caches by it, so it does not change in use."""
        return {**vars(self), "trained_on": [], "_unfamiliar": set()}

    def _add_markers(self) -> list[int]:
        """Add the markers to the tokenizer; return the ids of those that it did not have."""
        if self.read == "mask" and self.tokenizer.mask_token_id is None:
            raise ValueError("read='mask' needs a tokenizer with a mask token. Use read='marker'.")
        if self.read != "marker":
            return []
        if [type(one) for one in self.markers] != [str, str] or len(set(self.markers)) < 2:
            raise ValueError(f"`markers` must be two different strings, got {self.markers}.")
        new = [marker for marker in self.markers if marker not in self.tokenizer.get_vocab()]
        if self.tokenizer.add_tokens(self.markers, special_tokens=True):
            logger.warning(
                "Added %s to the tokenizer. Now call processor.prepare_model(model).",
                self.markers,
            )
        return self.tokenizer.convert_tokens_to_ids(new)

    @property
    def new_tokens(self) -> list[int]:
        """Ids of the markers, for `get_lora_model(new_tokens=...)`; empty where none are used."""
        return self.tokenizer.convert_tokens_to_ids(self.markers) if self.read == "marker" else []

    @property
    def tokens_per_position(self) -> int:
        """The number of tokens that are read for a position, as in the model's config."""
        return 2 if self.read == "start_end" else 1

    def prepare_model(
        self,
        model: AutoModelForMaskedSeqModeling,
        marker_init: Sequence[str] = ("@", "#"),
        label_texts: Mapping[str, str] | None = None,
    ) -> None:
        """Make a new model fit the rows of this processor; call it before training and LoRA.

        Gives the head a width for `read`, and the encoder a row for each token of the tokenizer.
        The rows of markers start as copies of existing ones, from which they learn at once; rows
        at random learn slowly. A model that fits already stays as it is.

        With `label_texts`, each label starts where a position looks like its text: its row of the
        last layer is what the head makes of the text, less the mean over labels, as long as the
        random row before.

        Args:
            model: changed in place.
            marker_init: one text per marker, whose tokens' mean embedding the marker starts from.
            label_texts: a name or a description in words for each label, by label name.

        Raises:
            ValueError: a model with adapters, one whose head was trained for another `read`, an
                encoder whose embeddings cannot be resized, `label_texts` for other labels than the
                model's, or for a trained head.
        """
        prepare_model(model, self, marker_init, label_texts)

    def with_max_length(self, max_length: int) -> MaskedSeqProcessor:
        """Return a copy, around the same tokenizer, that makes shorter or longer rows.

        Raises:
            ValueError: no room for a text, or for the `stride`.
        """
        check_sizes(self._template, max_length, self.stride)
        changed = copy.copy(self)
        changed.max_length = max_length
        changed.trained_on, changed._unfamiliar = self.trained_on, self._unfamiliar
        return changed

    def encode(
        self,
        records: Iterable[RecordInput] | Mapping[str, Sequence[Any]],
        labels: Iterable[Any] | None = None,
        example_ids: Iterable[int] | None = None,
    ) -> Columns:
        """Prepare records of any kinds, as `read_records` returns them, with their labels.

        Args:
            records: N of them, see `records.kinds.read_record`, or a dict of columns, which
                `datasets.map` hands over. Labels in them come along; positions without are
                unknown.
            labels: in place of those in the records: per record one entry per position, a name or
                id, for "multilabel" a list of them; None where they are not known. For fields also
                a dict by field name.
            example_ids: ids of the records in the rows; default: 0 to N - 1.

        Returns:
            Columns of N rows, or more where texts are cut into windows. They have ``labels`` if
            these are given, or if a position of the batch has an entry `labels`, None included.

        Raises:
            ValueError: counts that differ, or a record or label that cannot be prepared; a
                `RecordError` where it is about one record.

        Example:
            >>> processor.encode(read_records("train.jsonl"))["labels"]  # doctest: +SKIP
            [[[1, 0], [0, 1]], [[0, 0]]]
        """
        batch = self._read(records, example_ids)
        if labels is None:
            return self._encode(batch, self._own_labels(batch))[0]
        targets = as_list("`labels`", labels)
        _check_number("labels", len(targets), len(batch))
        return self._encode(batch, targets)[0]

    def prepare(
        self, records: Iterable[RecordInput], example_ids: Iterable[int] | None = None
    ) -> Encoded:
        """Prepare records without labels, and describe their positions, for inference.

        Args:
            records: see `encode`.
            example_ids: see `encode`.

        Raises:
            ValueError: as in `encode`.

        Example:
            >>> encoded = processor.prepare(["A [MASK]", {"columns": [[1, 2]]}])  # doctest: +SKIP
            >>> encoded.positions  # doctest: +SKIP
            [[{'start': 2, 'end': 8, 'word': '[MASK]'}], [{'column': 0, 'word': None}]]
        """
        batch = self._read(records, example_ids)
        rows, char_spans = self._encode(batch, None)
        described = [one.record.describe(spans) for one, spans in zip(batch, char_spans)]
        return Encoded(rows, described, [one.record for one in batch])

    def encode_spans(
        self,
        texts: Iterable[str],
        spans: Iterable[Sequence[Span]],
        labels: Iterable[Sequence[SpanLabels]] | None = None,
        example_ids: Iterable[int] | None = None,
    ) -> Columns:
        """Prepare texts with spans of characters, as `encode` does.

        Args:
            texts: N texts.
            spans: per text its spans, ``(start, end)`` or dicts with these keys, `end` exclusive;
                nested and overlapping ones are fine. White space at their ends is ignored.
            labels: see `encode`.
            example_ids: see `encode`.

        Raises:
            ValueError: counts that differ, a span that is out of range, reversed, empty or of white
                space only, or an unknown label; the message names example and span.
        """
        return self.encode(_zipped("text", texts, spans), labels, example_ids)

    def encode_words(
        self,
        words: Iterable[Sequence[str]],
        spans: Iterable[Sequence[Span]],
        labels: Iterable[Sequence[SpanLabels]] | None = None,
        example_ids: Iterable[int] | None = None,
    ) -> Columns:
        """Prepare texts that are split into words, with spans of words, as `encode` does.

        The words are joined by single spaces and tokenized as text, so that each gets the token it
        has within a text, also from tokenizers that tell a word with a space before it from one
        without (RoBERTa, ModernBERT).

        Args:
            words: N lists of words.
            spans: per list its spans, ``(start, end)`` in words, `end` exclusive.
            labels: see `encode`.
            example_ids: see `encode`.

        Raises:
            ValueError: as in `encode_spans`.
        """
        return self.encode(_zipped("words", words, spans), labels, example_ids)

    def encode_masked(
        self,
        texts: Iterable[str],
        labels: Iterable[Sequence[SpanLabels]] | None = None,
        example_ids: Iterable[int] | None = None,
    ) -> Columns:
        """Prepare texts that contain the tokenizer's mask token; each occurrence is a position.

        Args:
            texts: N texts.
            labels: see `encode`.
            example_ids: see `encode`.

        Raises:
            ValueError: a tokenizer without a mask token, counts that differ, or an unknown label.
        """
        listed = [{"text": text, "masks": None} for text in as_list("`texts`", texts)]
        return self.encode(listed, labels, example_ids)

    def encode_tables(
        self,
        tables: Iterable[TableInput],
        labels: Iterable[Sequence[SpanLabels]] | None = None,
        example_ids: Iterable[int] | None = None,
    ) -> Columns:
        """Prepare tables, as `encode` does; each column is a position.

        A column is written as ``header: value, value, ...`` behind a column token, where it is
        read: the classification token (as in Doduo), with ``read="mask"`` the mask token, with
        ``read="marker"`` the start marker. The columns of a row share its room evenly, and the rest
        of a longer column is not read; where the share would fall below `column_tokens`, the table
        takes several rows of whole columns (`on_overflow`).

        Args:
            tables: N tables: lists of columns, pandas DataFrames, or dicts of `columns` (one of
                these) and an optional `title`, repeated in each row. A column is a list of values,
                or a dict of `values` and an optional `header`.
            labels: see `encode`.
            example_ids: see `encode`.

        Raises:
            ValueError: something else than a table, counts that differ, or an unknown label.
        """
        listed = as_list("`tables`", tables)
        columns = [one if isinstance(one, Mapping) else {"columns": one} for one in listed]
        return self.encode(columns, labels, example_ids)

    def encode_fields(
        self,
        fields: Iterable[FieldsInput] | pd.DataFrame,
        labels: Iterable[Any] | None = None,
        example_ids: Iterable[int] | None = None,
    ) -> Columns:
        """Prepare fields, as `encode` does; each value is a position.

        The fields of a record are written as one text, ``name: value | name: value``, or with
        ``field_names=False`` without the names, and the values are read as the spans of a text
        are. A missing value is no position: `decode` takes a `fill` for it. A value that is longer
        than half the overlap of two windows is read at its start.

        Args:
            fields: N dicts of values by field name, lists of dicts of ``name`` and ``value``, or
                a DataFrame, of which each row is a record.
            labels: see `encode`; None for a missing value.
            example_ids: see `encode`.

        Raises:
            ValueError: something else than fields, counts that differ, an unknown field or label,
                or the label of a missing value.
        """
        listed = frame_fields(fields) if is_frame(fields) else as_list("`fields`", fields)
        return self.encode([{"fields": one} for one in listed], labels, example_ids)

    encode_records = encode_fields  # its name in version 0.2.0

    def decode(
        self,
        rows: decoding.Rows,
        values: decoding.RowValues,
        example_ids: Sequence[int] | None = None,
        fill: object = decoding.MISSING,
    ) -> list[list[Any]]:
        """Put values per position back in the order of examples and spans.

        Args:
            rows: see `processing.decoding.decode`, as are the others.
            values: one entry per row, with at least one value per position.
            example_ids: which examples to return; default: all.
            fill: the value of a span that was dropped, or of a field without a value; without it,
                such a one is an error.
        """
        return decoding.decode(rows, values, example_ids, fill)

    def stats(self, rows: decoding.Rows) -> dict[str, int]:
        """Count examples, rows, windows, positions and dropped spans of rows."""
        return decoding.stats(rows)

    def _read(
        self,
        records: Iterable[RecordInput] | Mapping[str, Sequence[Any]],
        example_ids: Iterable[int] | None,
    ) -> list[Numbered]:
        listed = _by_row(records) if isinstance(records, Mapping) else as_list("`records`", records)
        ids = list(range(len(listed))) if example_ids is None else _example_ids(example_ids)
        _check_number("example_ids", len(ids), len(listed))
        batch = []
        for example_id, record in zip(ids, listed):
            name = f"example {example_id}"
            with errors_of(example_id):
                batch.append(Numbered(example_id, name, read_record(record, name)))
        return batch

    def _own_labels(self, batch: list[Numbered]) -> list[Any] | None:
        """Return the labels in records; None if no position says anything about labels.

        A batch without a position has labels where labels are expected, since `datasets.map` takes
        the same columns of each batch.
        """
        told = [one.record.labels for one in batch]
        if self.label2id is not None:
            return told if any(told) or (batch and None not in told) else None
        if any(entry is not None for of_one in told for entry in of_one or ()):
            logger.warning(
                "The records hold labels, and the processor has no `label2id`, so that the rows "
                "are without. Pass it to MaskedSeqProcessor."
            )
        return None

    def _encode(
        self, batch: list[Numbered], labels: list[Any] | None
    ) -> tuple[Columns, list[list[CharSpan]]]:
        """Write the rows of a batch, and return the characters of each record's positions."""
        kinds = {example.record.kind for example in batch}
        self._warn_of(kinds) if labels is None else self.note_kinds(kinds)
        writer = RowWriter(
            self._template,
            self.max_length,
            self.stride,
            self.on_overflow,
            None if labels is None else self._labels.shape,
            reads_ends=self.tokens_per_position == 2,
        )
        written = [self._written(example) for example in batch]
        texts = [text for text, _ in filter(None, written)]
        encoded = tokenize(self.tokenizer, texts) if texts else {}
        tokens = zip(encoded.get("input_ids", ()), encoded.get("offset_mapping", ()))
        char_spans: list[list[CharSpan]] = []
        for index, (example, content) in enumerate(zip(batch, written)):
            with errors_of(example.id):
                if content is None:
                    parts = self._lay_out(example, writer.size)
                    count = sum(len(part.spans) for part in parts)
                    spans: list[CharSpan] = []
                else:
                    ids, offsets = map(self._template.inner, next(tokens))
                    find = self._find_masks if content[1] is None else self._find_spans
                    text, spans = find(example, content, ids, offsets)
                    count = text.total
                char_spans.append(spans)
                targets = None
                if labels is not None:
                    ordered = example.record.labels_in_order(labels[index], example.name)
                    targets = self._labels.of_spans(ordered, count, example.name)
                if content is None:
                    writer.add_parts(example, parts, targets)
                else:
                    writer.add_text(example, text, targets)
        return writer.finish(), char_spans

    def _written(self, example: Numbered) -> tuple[str, list[CharSpan] | None] | None:
        """Return the text of a record and its spans, None for mask tokens; None for a table."""
        record = example.record
        if isinstance(record, Fields):
            text, spans = record.write(self.field_names)
            with errors_of(example.id):
                return check_text(text, example.name), spans
        if isinstance(record, SpannedText):
            return record.text, record.spans
        return (record.text, None) if isinstance(record, MaskedText) else None

    def note_kinds(self, kinds: Iterable[str]) -> None:
        """Remember kinds of labelled examples, as `DataCollatorForMaskedSeq` does in training."""
        self.trained_on += sorted(set(kinds).difference(self.trained_on))

    def _warn_of(self, kinds: set[str]) -> None:
        """Warn once of each kind that the model was not trained on."""
        known = {*self.trained_on}
        if not known.isdisjoint(_SAME_TOKENS):
            known |= _SAME_TOKENS
        new = sorted(kinds - known)
        if known and not self._unfamiliar.issuperset(new):
            self._unfamiliar.update(new)
            logger.warning(
                "This processor's model was trained on %s, and is asked for %s, which it has not "
                "seen.",
                " and ".join(self.trained_on),
                " and ".join(new),
            )

    def _find_spans(
        self, example: Numbered, content: tuple[str, Any], ids: list[int], offsets: list[CharSpan]
    ) -> tuple[TextTokens, list[CharSpan]]:
        """Find the tokens of spans, and put marks where `read` wants them."""
        text, spans = content
        marks = set()
        if not self._word_marks.isdisjoint(ids):
            marks = {index for index, token in enumerate(ids) if token in self._word_marks}
        finder = SpanFinder(text, offsets, example.name, marks)
        token_spans = [finder.find(number, span) for number, span in enumerate(spans)]
        numbers, total = list(range(len(token_spans))), len(token_spans)
        if isinstance(example.record, Fields):
            overlap = overlap_of(self._template, self.max_length, self.stride)
            token_spans = cut(token_spans, None if overlap is None else max(1, overlap // 2))
            numbers, total = example.record.present, len(example.record.values)
        if self.read == "mask":
            ids, token_spans = put_masks(ids, token_spans, self.tokenizer.mask_token_id)
        elif self.read == "marker":
            ids, token_spans = put_markers(ids, token_spans, *self.new_tokens)
        side = 1 if self.read in ("end", "mask") else 0
        reads = [span[side] for span in token_spans]
        return TextTokens(ids, token_spans, reads, numbers, total), spans

    def _find_masks(
        self, example: Numbered, content: tuple[str, Any], ids: list[int], offsets: list[CharSpan]
    ) -> tuple[TextTokens, list[CharSpan]]:
        """Find the mask tokens of a text; each is read itself, whatever `read` says."""
        mask_token, mask = self.tokenizer.mask_token, self.tokenizer.mask_token_id
        text = content[0]
        if mask is None:
            raise ValueError("A text with mask tokens needs a tokenizer that has one. Use spans.")
        reads = [index for index, token in enumerate(ids) if token == mask]
        foreign = [one for one in _MASK_TOKENS if one in text and one != str(mask_token)]
        if foreign or not reads:
            raise ValueError(
                f"{example.name} must hold {mask_token!r}, the mask token of this tokenizer, at "
                f"each position, got {text!r:.80}"
                f"{f' with {foreign}' if foreign else ''}. A text may have spans in place of mask "
                'tokens: {"text": ..., "spans": [(start, end), ...]}.'
            )
        char_spans = []
        for start, end in (offsets[index] for index in reads):
            piece = text[start:end]  # some mask tokens take the white space before them
            char_spans.append((end - len(piece.lstrip()), start + len(piece.rstrip())))
        token_spans = [(index, index) for index in reads]
        return TextTokens(ids, token_spans, reads, range(len(reads)), len(reads)), char_spans

    def _lay_out(self, example: Numbered, size: int | None) -> list[Part]:
        """Write a table's columns as tokens, and share rows among them."""
        table, name = example.record, example.name
        assert isinstance(table, Table)
        marker = self.new_tokens[0] if self.read == "marker" else None
        token = column_token(self.tokenizer, self.read, marker)
        texts = [check_text(text, name) for text in (table.title, *table.column_texts(size))]
        title, *columns = tokenize(self.tokenizer, texts, special_tokens=False)["input_ids"]
        return lay_out(title, columns, token, size, self.column_tokens)

    @property
    def pad_token_id(self) -> int | None:
        """The tokenizer's."""
        return self.tokenizer.pad_token_id

    @property
    def pad_token_type_id(self) -> int:
        """The tokenizer's."""
        return self.tokenizer.pad_token_type_id

    @property
    def padding_side(self) -> str:
        """The tokenizer's."""
        return self.tokenizer.padding_side

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike, **kwargs: Any
    ) -> MaskedSeqProcessor:
        """Load a processor from a folder or Hub id.

        Args:
            pretrained_model_name_or_path: the folder or Hub id.
            **kwargs: settings to change, by their names in the class; else as for
                `AutoTokenizer.from_pretrained` (`revision`, `token`, `subfolder`, ...).

        Raises:
            OSError: no such folder or repository, or no processor in it.
            ValueError: a file that is damaged, another tokenizer than the one it was saved with,
                settings out of range, or code that is needed but not permitted.
        """
        path = os.fspath(pretrained_model_name_or_path)
        changed = {name: kwargs.pop(name) for name in SETTINGS if name in kwargs}
        folder = os.path.join(path, kwargs.get("subfolder") or "")
        return load_one_version(folder, lambda: cls._load(path, changed, kwargs))

    @classmethod
    def _load(
        cls, path: str, changed: Mapping[str, Any], options: Mapping[str, Any]
    ) -> MaskedSeqProcessor:
        saved = read_settings(path, hub_arguments(options))
        place, kwargs = read_place(path, options, *PROCESSOR_FILES)
        # Left unset, Transformers would ask on standard input.
        kwargs["trust_remote_code"] = kwargs.get("trust_remote_code") is True
        tokenizer = load_tokenizer(place, **kwargs)
        digest = saved.pop("tokenizer_digest", None)
        if digest not in (None, digest_of(tokenizer)):
            raise ValueError(
                f"The tokenizer in {path!r} ({type(tokenizer).__name__}, {len(tokenizer)} tokens) "
                "is not the one that the processor was saved with. Are its files complete? If it "
                "was replaced on purpose, make a new processor and save it there."
            )
        trained_on = saved.pop("trained_on", [])
        processor = cls(tokenizer, **{**saved, **changed})
        processor.trained_on = trained_on
        return processor

    def save_pretrained(
        self, save_directory: str | os.PathLike, push_to_hub: bool = False, **kwargs: Any
    ) -> None:
        """Save settings and tokenizer, as in Transformers; a kill leaves an earlier save whole."""
        if push_to_hub:
            super().save_pretrained(os.fspath(save_directory), push_to_hub=True, **kwargs)
        else:
            with replaced_files(save_directory) as folder:
                super().save_pretrained(folder, **kwargs)

    def to_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Return what `save_pretrained` writes, as in Transformers."""
        noted = {"trained_on": self.trained_on, "tokenizer_digest": digest_of(self.tokenizer)}
        return {**super().to_dict(*args, **kwargs), **noted}


def _zipped(key: str, texts: Iterable[Any], spans: Iterable[Any]) -> list[dict[str, Any]]:
    """Make records of parallel lists: of texts, or of lists of words, and of their spans."""
    listed = as_list("`words`" if key == "words" else "`texts`", texts)
    spans = as_list("`spans`", spans)
    _check_number("spans", len(spans), len(listed))
    return [{key: one, "spans": given} for one, given in zip(listed, spans)]


def _by_row(columns: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Make records of columns."""
    if any(isinstance(columns.get(name), str) for name in ("text", "id")):
        raise ValueError(f"`records` must be a list of records, got one: {columns!r:.80}.")
    listed = {name: as_list(f"`{name}`", values) for name, values in columns.items()}
    counts = {name: len(values) for name, values in listed.items()}
    if len(set(counts.values())) > 1:
        raise ValueError(f"Columns of records must have one entry per record, got {counts}.")
    return [dict(zip(listed, values)) for values in zip(*listed.values())]


def _example_ids(values: Iterable[int]) -> list[int]:
    ids = [as_integer(value) for value in as_list("`example_ids`", values)]
    if None in ids or len(set(ids)) < len(ids):
        raise ValueError(
            f"`example_ids` must be whole numbers, each of them once, got {str(ids)[:80]}. The "
            "indices of the examples will do."
        )
    return [index for index in ids if index is not None]


def _check_number(name: str, count: int, examples: int) -> None:
    if count != examples:
        raise ValueError(
            f"`{name}` must have one entry per example, got {count} for {examples} examples."
        )
