"""Turn text, words, mask tokens or table columns into positions a model can score, and back.

    text + spans  ->  {"input_ids": [...], "mask_indices": [...], "span_ids": [...], ...}

Plain lists only: padding belongs to `data_collator`. Every position comes out in exactly one row,
or is reported.
"""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from transformers.processing_utils import ProcessorMixin

from ..labels import as_integer, check_count, resolve_labels
from ..loading.folders import load_one_version, replaced_files
from ..loading.sources import hub_arguments, read_place
from ..records.sequences import as_list
from . import decoding
from .examples import (
    Content,
    Example,
    ExampleInput,
    MaskedText,
    Position,
    SpannedText,
    check_text,
    describe,
    errors_of,
    masked_text,
    read_example,
    spanned_text,
    spanned_words,
)
from .fields import Fields, RecordInput, cut, labels_by_field, read_fields, records_of
from .preparation import prepare_model
from .rows import OVERFLOWS, Columns, Part, RowWriter, TextTokens, check_sizes, overlap_of
from .settings import PROCESSOR_FILES, SETTINGS, read_settings
from .span_labels import LabelIds, SpanLabels
from .spans import CharSpan, Span, SpanFinder, put_markers, put_masks
from .special_tokens import (
    check_fast,
    digest_of,
    load_tokenizer,
    template_of,
    tokenize,
    word_marks,
)
from .tables import Table, TableInput, column_token, lay_out, read_table

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
    """Examples as rows, and what their positions are called.

    Attributes:
        rows: columns of rows, see `MaskedSeqProcessor`.
        positions: per example one dict per position: ``start``, ``end`` and ``word`` as the user
            counts; for a table ``column``, its index, and ``word``, its header; for a record
            ``field``, its name, and ``word``, its value or None.
    """

    rows: Columns
    positions: list[list[Position]]


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
        """How many tokens are read for a position, as in the model's config."""
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
        examples: Iterable[ExampleInput],
        labels: Iterable[Sequence[SpanLabels]] | None = None,
        example_ids: Iterable[int] | None = None,
    ) -> Encoded:
        """Prepare examples of any kinds, and describe their positions.

        Args:
            examples: N of them, see `read_example`.
            labels: see `encode_spans`.
            example_ids: see `encode_spans`.

        Raises:
            ValueError: as in the methods for one kind; an `ExampleError` where it is about one
                example.

        Example:
            >>> encoded = processor.encode(["A [MASK]", {"columns": [[1, 2]]}])  # doctest: +SKIP
            >>> encoded.positions  # doctest: +SKIP
            [[{'start': 2, 'end': 8, 'word': '[MASK]'}], [{'column': 0, 'word': None}]]
        """
        batch = self._read(read_example, {"examples": examples}, example_ids)
        rows, char_spans = self._encode(batch, labels)
        return Encoded(rows, list(map(describe, batch, char_spans)))

    def encode_spans(
        self,
        texts: Iterable[str],
        spans: Iterable[Sequence[Span]],
        labels: Iterable[Sequence[SpanLabels]] | None = None,
        example_ids: Iterable[int] | None = None,
    ) -> Columns:
        """Prepare texts with spans of characters.

        Args:
            texts: N texts.
            spans: per text its spans, ``(start, end)`` or dicts with these keys, `end` exclusive;
                nested and overlapping ones are fine. White space at their ends is ignored.
            labels: per text one entry per span: a name or id, for "multilabel" a list of them;
                None for a span whose labels are not known.
            example_ids: ids of the texts in the rows; default: 0 to N - 1.

        Returns:
            Columns of N rows, or more where texts are cut into windows.

        Raises:
            ValueError: counts that differ, a span that is out of range, reversed, empty or of white
                space only, or a label that is not known; the message names example and span.
        """
        batch = self._read(spanned_text, {"texts": texts, "spans": spans}, example_ids)
        return self._encode(batch, labels)[0]

    def encode_words(
        self,
        words: Iterable[Sequence[str]],
        spans: Iterable[Sequence[Span]],
        labels: Iterable[Sequence[SpanLabels]] | None = None,
        example_ids: Iterable[int] | None = None,
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
        batch = self._read(spanned_words, {"words": words, "spans": spans}, example_ids)
        return self._encode(batch, labels)[0]

    def encode_masked(
        self,
        texts: Iterable[str],
        labels: Iterable[Sequence[SpanLabels]] | None = None,
        example_ids: Iterable[int] | None = None,
    ) -> Columns:
        """Prepare texts that contain the tokenizer's mask token; each occurrence is a position.

        Args:
            texts: N texts.
            labels: per text one entry per mask token, see `encode_spans`.
            example_ids: see `encode_spans`.

        Raises:
            ValueError: a tokenizer without a mask token, counts that differ, or an unknown label.
        """
        batch = self._read(masked_text, {"texts": texts}, example_ids)
        return self._encode(batch, labels)[0]

    def encode_tables(
        self,
        tables: Iterable[TableInput],
        labels: Iterable[Sequence[SpanLabels]] | None = None,
        example_ids: Iterable[int] | None = None,
    ) -> Columns:
        """Prepare tables; each column is a position.

        A column is written as ``header: value, value, ...`` behind a column token, where it is
        read: the classification token (as in Doduo), with ``read="mask"`` the mask token, with
        ``read="marker"`` the start marker. The columns of a row share its room evenly, and the rest
        of a longer column is not read; where the share would fall below `column_tokens`, the table
        takes several rows of whole columns (`on_overflow`).

        Args:
            tables: N tables: lists of columns, pandas DataFrames, or dicts of `columns` (one of
                these) and an optional `title`, repeated in each row. A column is a list of values,
                or a dict of `values` and an optional `header`.
            labels: per table one entry per column, see `encode_spans`.
            example_ids: see `encode_spans`.

        Raises:
            ValueError: something else than a table, counts that differ, or an unknown label.
        """
        batch = self._read(read_table, {"tables": tables}, example_ids)
        return self._encode(batch, labels)[0]

    def encode_records(
        self,
        records: Iterable[RecordInput] | pd.DataFrame,
        labels: Iterable[Any] | None = None,
        example_ids: Iterable[int] | None = None,
    ) -> Columns:
        """Prepare records of fields; each value is a position.

        A record is written as one text, ``name: value | name: value``, or with
        ``field_names=False`` without the names, and its values are read as the spans of a text
        are. A missing value is no position: `decode` takes a `fill` for it. Of a value that is
        longer than half the overlap of two windows, the start is read.

        Args:
            records: N dicts of values by field name, lists of dicts of ``name`` and ``value``, or
                a DataFrame, of which each row is a record.
            labels: per record one entry per field, see `encode_spans`, or a dict of them by field
                name; None for a field whose labels are not known, and for a missing value.
            example_ids: see `encode_spans`.

        Raises:
            ValueError: something else than a record, counts that differ, an unknown field or label,
                or the label of a missing value.
        """
        batch = self._read(read_fields, {"records": records_of(records)}, example_ids)
        return self._encode(batch, labels)[0]

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
        read: Callable[..., Content],
        inputs: Mapping[str, Iterable[Any]],
        example_ids: Iterable[int] | None,
    ) -> list[Example]:
        """Read a batch of examples, of which each of `inputs` holds a part."""
        columns = {name: as_list(f"`{name}`", values) for name, values in inputs.items()}
        count = len(next(iter(columns.values())))
        ids = list(range(count)) if example_ids is None else _example_ids(example_ids)
        for name, values in {**columns, "example_ids": ids}.items():
            _check_number(name, len(values), count)
        batch = []
        for example_id, *parts in zip(ids, *columns.values()):
            name = f"example {example_id}"
            with errors_of(example_id):
                batch.append(Example(example_id, name, read(*parts, name)))
        return batch

    def _encode(
        self, batch: list[Example], labels: Iterable[Sequence[SpanLabels]] | None
    ) -> tuple[Columns, list[list[CharSpan]]]:
        """Write the rows of a batch, and return the characters of each example's positions."""
        targets = None if labels is None else as_list("`labels`", labels)
        if targets is not None:
            _check_number("labels", len(targets), len(batch))
            targets = [_in_order(one, entry) for one, entry in zip(batch, targets)]
        kinds = {example.kind for example in batch}
        self._warn_of(kinds) if targets is None else self.note_kinds(kinds)
        shape = None if targets is None else self._labels.shape
        writer = RowWriter(
            self._template,
            self.max_length,
            self.stride,
            self.on_overflow,
            shape,
            reads_ends=self.tokens_per_position == 2,
        )
        batch = [self._written(example) for example in batch]
        texts = [
            one.content.text
            for one in batch
            if isinstance(one.content, (SpannedText, MaskedText))  # records are written by now
        ]
        encoded = tokenize(self.tokenizer, texts) if texts else {}
        tokens = zip(encoded.get("input_ids", ()), encoded.get("offset_mapping", ()))
        char_spans: list[list[CharSpan]] = []
        for index, example in enumerate(batch):
            with errors_of(example.id):
                if isinstance(example.content, Table):
                    parts = self._lay_out(example.content, example.name, writer.size)
                    count = sum(len(part.spans) for part in parts)
                    char_spans.append([])
                else:
                    ids, offsets = map(self._template.inner, next(tokens))
                    find = self._find_masks if _is_masked(example) else self._find_spans
                    text, spans = find(example, ids, offsets)
                    count = text.total
                    char_spans.append(spans)
                of_example = None
                if targets is not None:
                    of_example = self._labels.of_spans(targets[index], count, example.name)
                if isinstance(example.content, Table):
                    writer.add_parts(example, parts, of_example)
                else:
                    writer.add_text(example, text, of_example)
        return writer.finish(), char_spans

    def _written(self, example: Example) -> Example:
        """Write a record as a text with spans; other examples stay as they are."""
        fields = example.content
        if not isinstance(fields, Fields):
            return example
        text, spans = fields.write(self.field_names)
        with errors_of(example.id):
            written = SpannedText(check_text(text, example.name), spans, spans, fields)
        return example._replace(content=written)

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
        self, example: Example, ids: list[int], offsets: list[CharSpan]
    ) -> tuple[TextTokens, list[CharSpan]]:
        """Find the tokens of spans, and put marks where `read` wants them."""
        content = example.content
        assert isinstance(content, SpannedText)
        marks = set()
        if not self._word_marks.isdisjoint(ids):
            marks = {index for index, token in enumerate(ids) if token in self._word_marks}
        finder = SpanFinder(content.text, offsets, example.name, marks)
        token_spans = [finder.find(number, span) for number, span in enumerate(content.spans)]
        numbers, total = list(range(len(token_spans))), len(token_spans)
        if content.fields is not None:
            overlap = overlap_of(self._template, self.max_length, self.stride)
            token_spans = cut(token_spans, None if overlap is None else max(1, overlap // 2))
            numbers, total = content.fields.present, len(content.fields.values)
        if self.read == "mask":
            ids, token_spans = put_masks(ids, token_spans, self.tokenizer.mask_token_id)
        elif self.read == "marker":
            ids, token_spans = put_markers(ids, token_spans, *self.new_tokens)
        side = 1 if self.read in ("end", "mask") else 0
        reads = [span[side] for span in token_spans]
        return TextTokens(ids, token_spans, reads, numbers, total), content.spans

    def _find_masks(
        self, example: Example, ids: list[int], offsets: list[CharSpan]
    ) -> tuple[TextTokens, list[CharSpan]]:
        """Find the mask tokens of a text; each is read itself, whatever `read` says."""
        mask_token, mask = self.tokenizer.mask_token, self.tokenizer.mask_token_id
        content = example.content
        assert isinstance(content, MaskedText)
        if mask is None:
            raise ValueError("A text with mask tokens needs a tokenizer that has one. Use spans.")
        reads = [index for index, token in enumerate(ids) if token == mask]
        foreign = [one for one in _MASK_TOKENS if one in content.text and one != str(mask_token)]
        if foreign or not reads:
            raise ValueError(
                f"{example.name} must hold {mask_token!r}, the mask token of this tokenizer, at "
                f"each position, got {content.text!r:.80}"
                f"{f' with {foreign}' if foreign else ''}. A text may have spans in place of mask "
                'tokens: {"text": ..., "spans": [(start, end), ...]}.'
            )
        char_spans = []
        for start, end in (offsets[index] for index in reads):
            piece = content.text[start:end]  # some mask tokens take the white space before them
            char_spans.append((end - len(piece.lstrip()), start + len(piece.rstrip())))
        token_spans = [(index, index) for index in reads]
        return TextTokens(ids, token_spans, reads, range(len(reads)), len(reads)), char_spans

    def _lay_out(self, table: Table, name: str, size: int | None) -> list[Part]:
        """Write a table's columns as tokens, and share rows among them."""
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


def _in_order(example: Example, labels: Any) -> Any:
    """Return the labels of an example in the order of its positions."""
    if not isinstance(example.content, Fields):
        return labels
    with errors_of(example.id):
        return labels_by_field(labels, example.content, example.name)


def _is_masked(example: Example) -> bool:
    return isinstance(example.content, MaskedText)


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
