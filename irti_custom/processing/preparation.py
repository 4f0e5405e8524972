"""Make a model ready for the rows of a processor.

read         ->  the width of the head
new tokens   ->  rows of the embedding that start from existing ones
label texts  ->  rows of the last layer that start from how the model reads the texts
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch.nn import functional

from .data_collator import DataCollatorForMaskedSeq, PadSettings
from .label_names import LabelSettings, trained_names
from .rows import Columns, rows_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from ..modeling_custom import AutoModelForMaskedSeqModeling


class RowSettings(PadSettings, LabelSettings, Protocol):
    """The attributes of a `MaskedSeqProcessor` that a model is fitted to."""

    @property
    def tokenizer(self) -> PreTrainedTokenizerFast:
        """The tokenizer of the rows."""

    @property
    def new_tokens(self) -> list[int]:
        """Ids of the markers."""

    @property
    def added_tokens(self) -> list[int]:
        """Those of them that the tokenizer did not have before."""

    @property
    def tokens_per_position(self) -> int:
        """The number of tokens that are read for a position."""

    def encode_spans(
        self, texts: Iterable[str], spans: Iterable[Sequence[tuple[int, int]]]
    ) -> Columns:
        """Make rows of texts with spans."""


def prepare_model(
    model: AutoModelForMaskedSeqModeling,
    settings: RowSettings,
    marker_init: Sequence[str],
    label_texts: Mapping[str, str] | None = None,
) -> None:
    """Fit a new model to rows; see `MaskedSeqProcessor.prepare_model`."""
    if hasattr(model, "peft_config"):
        raise ValueError(
            "`model` must be without adapters. Call prepare_model before get_lora_model(model, "
            "new_tokens=processor.new_tokens)."
        )
    if settings.new_tokens and len(marker_init) != len(settings.new_tokens):
        raise ValueError(
            f"`marker_init` must hold one text per marker, {len(settings.new_tokens)}, got "
            f"{marker_init!r}."
        )
    trained_names(model.config, settings)
    texts = None if label_texts is None else _check_texts(label_texts, model)
    model.set_tokens_per_position(settings.tokens_per_position)
    _start_markers(model, settings, marker_init)
    if texts is not None:
        _start_labels(model, settings, texts)


def _start_markers(
    model: AutoModelForMaskedSeqModeling, settings: RowSettings, marker_init: Sequence[str]
) -> None:
    """Make room for the tokenizer's tokens, and start the embeddings of its markers."""
    known, needed = model.vocab_size, len(settings.tokenizer)
    if known is None:
        return
    if needed > known:
        model.resize_token_embeddings(needed)
    for marker, text in zip(settings.new_tokens, marker_init):
        # Some encoders have rows to spare, of which nothing says whether they are trained.
        spare = marker in settings.added_tokens and marker not in model.prepared_tokens
        if marker >= known or (spare and model.is_untrained()):
            _start_row(model, settings.tokenizer, marker, text)
    model.prepared_tokens |= set(settings.new_tokens)


def _start_row(
    model: AutoModelForMaskedSeqModeling, tokenizer: PreTrainedTokenizerFast, marker: int, text: str
) -> None:
    """Start the embedding of a marker from the mean of a text's tokens."""
    tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
    if not tokens:
        raise ValueError(f"`marker_init` must be texts with a token, got {text!r}.")
    weight = model.get_input_embeddings().get_parameter("weight")
    with torch.no_grad():
        weight[marker] = weight[tokens].mean(dim=0)


def _check_texts(label_texts: Mapping[str, str], model: AutoModelForMaskedSeqModeling) -> list[str]:
    """Return the texts in the order of the labels' ids."""
    names = model.config.label_names
    if not isinstance(label_texts, Mapping) or set(label_texts) != set(names):
        raise ValueError(
            f"`label_texts` must be a dict with a text for each label ({names}), got "
            f"{label_texts!r:.200}."
        )
    for name, text in label_texts.items():
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"`label_texts` must hold texts, got {text!r} for {name!r}.")
    if not model.is_untrained(3):
        raise ValueError(
            "`label_texts` are where a new head starts, and this one has been trained. Leave them "
            "out."
        )
    return [label_texts[name].strip() for name in names]


def _start_labels(
    model: AutoModelForMaskedSeqModeling, settings: RowSettings, texts: Sequence[str]
) -> None:
    """Start the last layer: a label scores high where a position looks like the label's text."""
    settings = copy.copy(settings)  # which knows nothing of the rows made before: texts are spans
    collate = DataCollatorForMaskedSeq(settings)
    vectors: list[torch.Tensor] = []
    device, training = next(model.parameters()).device, model.training
    hook = model.head[-1].register_forward_pre_hook(lambda _, inputs: vectors.append(inputs[0]))
    try:
        model.eval()
        with torch.no_grad():
            for text in texts:
                batch = collate([_row_of(text, settings)])
                model(**{name: tensor.to(device) for name, tensor in batch.items()})
            read = torch.cat(vectors).flatten(0, 1)  # (L, H)
            # What the texts share tells no labels apart; the length is that of other new rows.
            apart = functional.normalize(read - read.mean(dim=0), dim=-1)
            weight = model.head[-1].get_parameter("weight")
            weight.copy_(apart * weight.norm(dim=-1, keepdim=True))
        model.note_untrained(3)
    finally:
        hook.remove()
        model.train(training)


def _row_of(text: str, settings: RowSettings) -> dict[str, Any]:
    """Make the row in which a label's text is read as a span."""
    try:
        columns = settings.encode_spans([text], [[(0, len(text))]])
    except ValueError as error:
        raise ValueError(f"`label_texts` cannot be read: {text!r:.80}. {error}") from error
    kept = [row for row in rows_of(columns) if row["mask_indices"]]
    if not kept:  # dropped
        raise ValueError(f"`label_texts` must fit into a row, got {text!r:.80}. Make it shorter.")
    return kept[0]
