"""Make a model ready for the rows of a processor.

new tokens  ->  rows of the embedding that start from existing ones
read        ->  the width of the head
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from ..modeling_custom import AutoModelForMaskedSeqModeling


class RowSettings(Protocol):
    """What rows ask of a model: the attributes that are read from a `MaskedSeqProcessor`."""

    @property
    def tokenizer(self) -> PreTrainedTokenizerFast:
        """Whose tokens the rows hold."""

    @property
    def new_tokens(self) -> list[int]:
        """Ids of the markers."""

    @property
    def added_tokens(self) -> list[int]:
        """Those of them that the tokenizer did not have before."""

    @property
    def tokens_per_position(self) -> int:
        """How many tokens are read for a position."""


def prepare_model(
    model: AutoModelForMaskedSeqModeling, settings: RowSettings, marker_init: Sequence[str]
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
    model.set_tokens_per_position(settings.tokens_per_position)
    known, needed = model.vocab_size, len(settings.tokenizer)
    if known is None:
        return
    if needed > known:
        model.resize_token_embeddings(needed)
    is_new = model.source is None or model.source.kind == "encoder"
    for marker, text in zip(settings.new_tokens, marker_init):
        # Some encoders have rows to spare, of which nothing says whether they are trained.
        spare = is_new and marker in settings.added_tokens and marker not in model.prepared_tokens
        if marker >= known or spare:
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
