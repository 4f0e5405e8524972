"""Text in, labelled positions out.

    inputs ──▶ a window of them ──▶ rows, sorted by length ──▶ batches ──▶ logits
                                                                             │
    answers, in the order of the inputs  ◀── positions, put back in place ◀──┘

The processor prepares inputs, `predictions` describes positions; what is between them is here.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import Any

import torch
from transformers import Pipeline

from ..evaluation.stat_scores import resolve_rule
from ..export.runtime import OnnxMaskedSeqModel
from ..hub.card import hub_id_of
from ..labels import check_count
from ..processing.data_collator import DataCollatorForMaskedSeq
from ..processing.processor import Encoded
from ..processing.rows import rows_of
from ..records.kinds import RecordError, RecordInput, frame_fields
from ..records.sequences import is_frame
from .answers import OPTIONS, Answer, AnswerWriter
from .components import (
    GRAPH_OPTIONS,
    LoadedModel,
    MaskedSeqModelLoader,
    OnnxModule,
    ProcessorOrPath,
    TokenizerOrPath,
    check_model,
    find_processor,
    fit_length,
    label_names,
    on_cpu,
    with_graph_options,
)
from .predictions import ModelFacts, Predictions

TASK = "masked-seq-classification"


class MaskedSeqClassificationPipeline(Pipeline):
    """Classify the positions of texts, words or tables.

    ``pipeline("masked-seq-classification", model=folder)`` makes one, as does `from_pretrained`.

    Args:
        model: an `AutoModelForMaskedSeqModeling`, a PEFT model around one, or an
            `OnnxMaskedSeqModel`. It is moved to `device`, and put into eval mode when it is used.
        processor: a `MaskedSeqProcessor`, or where to load it from; default: the one that lies
            beside the model, which another must agree with. Its `max_length` is lowered, in a copy,
            to what the model can read.
        tokenizer: the processor's; where none lies beside the model, one with default settings is
            made around it.
        device: as in Transformers; default: the first accelerator.
        batch_size: rows per forward pass; a long text takes several rows.
        look_ahead: inputs are read, and sorted by length, `look_ahead` times `batch_size` at a
            time. Order, results and memory do not depend on how many there are in all.
        thresholds: of `__call__`, for all calls; so are `top_k` and `return_all_scores`.
        **kwargs: for an ONNX folder, options of `OnnxMaskedSeqModel.from_pretrained`; else as for
            any pipeline of Transformers.

    Raises:
        ValueError: not such a model, no processor, or one that does not fit the model.

    Example:
        >>> pipe = MaskedSeqClassificationPipeline.from_pretrained("trained")  # doctest: +SKIP
        >>> pipe({"text": "Ann lives in Rome", "spans": [(0, 3)]})  # doctest: +SKIP
        [{'start': 0, 'end': 3, 'word': 'Ann', 'labels': [{'label': 'person', 'score': 0.98}]}]
    """

    # The stock loading knows neither the processor nor the kinds of folders.
    _load_processor = False
    _load_image_processor = False
    _load_video_processor = False
    _load_feature_extractor = False
    _load_tokenizer = False
    _pipeline_calls_generate = False

    def __init__(
        self,
        model: LoadedModel | OnnxMaskedSeqModel,
        processor: ProcessorOrPath | None = None,
        tokenizer: TokenizerOrPath | None = None,
        device: int | str | torch.device | None = None,
        batch_size: int | None = None,
        look_ahead: int = 64,
        task: str = TASK,
        **kwargs: Any,
    ) -> None:
        options = {name: kwargs.pop(name) for name in GRAPH_OPTIONS if name in kwargs}
        module = OnnxModule.around(model)
        check_model(module)
        module = with_graph_options(module, options)
        if isinstance(module, OnnxModule):
            device = on_cpu(device)
        processor = fit_length(find_processor(module, processor, tokenizer), module.max_tokens)
        self._names = label_names(module.config, processor)
        super().__init__(
            model=module,
            tokenizer=processor.tokenizer,
            processor=processor,
            task=task,
            device=device,
            batch_size=16 if batch_size is None else batch_size,
            **kwargs,
        )
        self.look_ahead = check_count("look_ahead", look_ahead)
        self._collator = DataCollatorForMaskedSeq(processor.tokenizer, model=module)
        self.writer()  # refuses wrong settings now
        check_count("batch_size", self._batch_size)

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike, **kwargs: Any
    ) -> MaskedSeqClassificationPipeline:
        """Load model and processor from a checkpoint, an adapter, or an ONNX folder.

        Args:
            pretrained_model_name_or_path: folder or Hub id.
            **kwargs: arguments of the class, by name; else as for
                `AutoModelForMaskedSeqModeling.from_pretrained`, or for an ONNX folder
                `OnnxMaskedSeqModel.from_pretrained`.

        Raises:
            OSError: no such folder or repository, or files missing from it.
            ValueError: what is there does not fit together.
        """
        own = ("processor", "tokenizer", "device", "batch_size", "look_ahead", *OPTIONS)
        settings = {name: kwargs.pop(name) for name in own if name in kwargs}
        model = MaskedSeqModelLoader.from_pretrained(pretrained_model_name_or_path, **kwargs)
        return cls(model, **settings)

    def __call__(
        self, inputs: Any, batch_size: int | None = None, rows: bool = False, **options: Any
    ) -> list[Answer] | list[list[Answer]] | Iterator[list[Answer]]:
        """Classify the positions of one input or many.

        Args:
            inputs: one or many of

                - ``{"text": str, "spans": [(start, end), ...]}``, in characters;
                - ``{"words": [str, ...], "spans": [(start, end), ...]}``, in words;
                - a text with mask tokens, each of them a position;
                - ``{"columns": [...]}``, or a DataFrame, each column a position;
                - ``{"fields": {name: value, ...}}``, each value a position.

                Other keys are ignored. Many: a list, a generator, a data set or a column of
                one.
            batch_size: rows per forward pass.
            rows: read each row of a DataFrame as a record of fields, and not its columns.
            **options: `thresholds`, in place of the config's; `top_k`, to list the best labels
                whatever the thresholds; `return_all_scores`, to list all.

        Returns:
            Per input a list with one dict per position, in the order they were given. It has
            ``start``, ``end`` and ``word``; for a table ``column``, its index, and ``word``, its
            header; for a record ``field``, its name, and ``word``, its value. For "multiclass" it
            has ``label`` and ``score``, `label` None where the threshold rejects it; for
            "multilabel" ``labels``, dicts of ``label`` and ``score``, best first. `top_k` and
            `return_all_scores` add ``labels`` for "multiclass", too. One input gives its list, a
            list a list of them, everything else a generator that reads no further ahead than it
            must.

            Positions that a processor with ``on_overflow="drop"`` drops, and fields without a
            value, have None for all of these.

        Raises:
            ValueError: options out of range; an input that cannot be prepared, by its number. It is
                raised when its window is reached, after the answers of the windows before it.
        """
        size = check_count("batch_size", self._batch_size if batch_size is None else batch_size)
        writer = self.writer(**options)
        if rows:
            inputs = [{"fields": record} for record in frame_fields(inputs)]
        if is_one_input(inputs):
            return next(self._windows([inputs], size)).answers(writer)[0]
        parts = self._windows(_listed(inputs), size)
        answers = (answer for part in parts for answer in part.answers(writer))
        return list(answers) if isinstance(inputs, (list, tuple)) else answers

    def predict(self, records: Iterable[RecordInput], batch_size: int | None = None) -> Predictions:
        """Score the positions of records, and keep the logits.

        Args:
            records: as for a call: a data set as `read_records` returns it, a list, a generator, or
                one record. Labels in them are kept for comparison.
            batch_size: rows per forward pass.

        Raises:
            ValueError: none at all, or one that cannot be prepared, by its number.

        Example:
            >>> predictions = pipe.predict(read_records("test.jsonl"))  # doctest: +SKIP
            >>> predictions.metrics()["micro_f1"]  # doctest: +SKIP
            0.86
        """
        size = check_count("batch_size", self._batch_size if batch_size is None else batch_size)
        listed = [records] if is_one_input(records) else _listed(records)
        parts = list(self._windows(listed, size))
        if not parts:
            raise ValueError("`records` must hold at least one record, got none.")
        return Predictions.joined(parts)

    def _sanitize_parameters(self, **options: Any) -> tuple[dict, dict, dict]:
        unknown = sorted(options.keys() - set(OPTIONS))
        if unknown:
            raise TypeError(
                f"{type(self).__name__} has no option {unknown}. It has {OPTIONS}; options of the "
                "model go into pipeline(..., model_kwargs={...}), or by name into from_pretrained."
            )
        return {}, {}, options

    def writer(self, **options: Any) -> AnswerWriter:
        """Return the decisions of the model with these options; see `__call__`.

        Raises:
            TypeError: an unknown option.
            ValueError: options out of range.
        """
        config = self.model.config
        rule = resolve_rule(
            config.task, self._names, config.thresholds, config.group_ids, config.temperature
        )
        _, _, given = self._sanitize_parameters(**options)
        return AnswerWriter(rule).changed(**{**self._postprocess_params, **given})

    def _windows(self, records: Iterable[RecordInput], batch_size: int) -> Iterator[Predictions]:
        """Predict window by window, so that memory does not depend on how many there are."""
        iterator, size, first = iter(records), batch_size * self.look_ahead, 0
        while window := list(islice(iterator, size)):
            encoded = self.preprocess(window, first=first)
            rows = rows_of(encoded.rows)
            # The longest come first, so that what does not fit into memory fails at once.
            order = sorted(range(len(rows)), key=lambda index: -rows[index]["length"])
            order = [index for index in order if rows[index]["mask_indices"]]
            logits = [torch.zeros(0, len(self._names)) for _ in rows]
            for start in range(0, len(order), batch_size):
                batch = order[start : start + batch_size]
                counts = [len(rows[index]["mask_indices"]) for index in batch]
                scored = self.score([rows[index] for index in batch]).split(counts)
                for index, of_row in zip(batch, scored):
                    logits[index] = of_row
            yield self.predictions(encoded, logits)
            first += len(window)

    def predictions(self, encoded: Encoded, logits: Sequence[torch.Tensor]) -> Predictions:
        """Put logits of rows in the order of the records.

        Args:
            encoded: from `preprocess`.
            logits: per row ``(m, L)``, one for each of its positions.
        """
        return Predictions.of_rows(encoded, logits, self.writer(), self.facts)

    @cached_property
    def facts(self) -> ModelFacts:
        """Facts about the model for people."""
        source, config = getattr(self.model, "source", None), self.model.config
        path = source.path if source is not None else config._name_or_path
        return ModelFacts(
            os.path.basename(os.path.abspath(path)) if path else "model",
            hub_id_of(config.base_model_name_or_path) or config.base_model_type,
            self.processor.read,
            self.processor.max_length,
        )

    def score(self, rows: list[dict[str, Any]]) -> torch.Tensor:
        """Score the N positions of a batch of rows, row by row: logits ``(N, L)`` on the CPU."""
        if self.model.training:
            self.model.eval()
        logits = self.forward(self._collator(rows))["logits"]
        counts = torch.tensor([len(row["mask_indices"]) for row in rows])
        return logits[torch.arange(logits.shape[1]) < counts[:, None]]

    def get_inference_context(self) -> Any:
        """Return what forward passes run in."""
        return torch.inference_mode

    def preprocess(self, input_: list[RecordInput], first: int = 0, **options: Any) -> Encoded:
        """Turn a list of records, of which the first has the number `first`, into rows.

        Raises:
            ValueError: a record that cannot be prepared, by its number.
        """
        try:
            return self.processor.prepare(input_, range(first, first + len(input_)))
        except RecordError as error:
            raise ValueError(f"Input {error.number}: {error}") from error

    def _forward(self, input_tensors: dict[str, torch.Tensor], **options: Any) -> Any:
        """Score a batch of rows: ``logits`` ``(B, M, L)``."""
        return {"logits": self.model(**input_tensors, return_dict=True).logits}

    def postprocess(self, model_outputs: Any, writer: AnswerWriter, **options: Any) -> Any:
        """Return answers for logits ``(N, L)``; see `AnswerWriter`."""
        return writer.write(model_outputs)

    def save_pretrained(self, save_directory: str | os.PathLike, **kwargs: Any) -> None:
        """Save model and processor to a folder that loads again; arguments as for the model.

        Raises:
            ValueError: an ONNX model, whose folder can be copied.
        """
        if isinstance(self.model, OnnxModule):
            raise ValueError("An ONNX model cannot be saved again. Copy its folder.")
        self.model.save_pretrained(save_directory, **kwargs)
        self.processor.save_pretrained(save_directory)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({type(self.model).__name__}, device={str(self.device)!r})"


def is_one_input(inputs: object) -> bool:
    """Return True for one input, False for many."""
    one = isinstance(inputs, (str, bytes, Mapping)) or is_frame(inputs)
    one = one or getattr(inputs, "ndim", 1) == 0
    return one or not (isinstance(inputs, Iterable) or hasattr(inputs, "__len__"))


def _listed(inputs: Any) -> Iterable[Any]:
    """Return many inputs as an iterable; a data set of PyTorch may have a length and items only."""
    return inputs if isinstance(inputs, Iterable) else map(inputs.__getitem__, range(len(inputs)))
