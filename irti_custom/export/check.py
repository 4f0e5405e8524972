"""Compare an exported graph with PyTorch on random ragged batches.

model ──▶ references ──▶ batches with logits ──▶ compare ◀── the graph's logits
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from ..loading.model import base_model_of
from ..rule import check_finite
from .runtime import OnnxMaskedSeqModel

if TYPE_CHECKING:
    from peft import PeftModel

    from ..modeling_custom import AutoModelForMaskedSeqModeling

# (B, T, M): one token, odd sizes, and more tokens than the encoders' local windows and buckets of
# relative positions hold.
_SHAPES = ((1, 1, 1), (3, 5, 4), (1, 33, 2), (4, 64, 7), (2, 300, 3))
_NO_LIMIT = 512  # tokens in a batch for an encoder without a limit


class Reference(NamedTuple):
    """A batch and PyTorch's logits."""

    batch: dict[str, torch.Tensor]
    logits: torch.Tensor


class PadSettings(NamedTuple):
    """The attributes of a tokenizer that the data collator reads."""

    pad_token_id: int
    pad_token_type_id: int = 0
    padding_side: str = "right"


def input_names(model: AutoModelForMaskedSeqModeling) -> list[str]:
    """Name the inputs that the encoder reads; segments only if it distinguishes two or more."""
    names = ["input_ids"]
    if _accepts(model, "attention_mask"):
        names.append("attention_mask")
    segments = getattr(model.config.base_model_config, "type_vocab_size", 0)
    if _accepts(model, "token_type_ids") and segments > 1:
        names.append("token_type_ids")
    return [*names, *("mask_indices", "end_indices")[: model.config.tokens_per_position]]


def segments_unknown(model: AutoModelForMaskedSeqModeling) -> bool:
    """Return True if the encoder takes segments but its config does not say how many."""
    has_count = hasattr(model.config.base_model_config, "type_vocab_size")
    return _accepts(model, "token_type_ids") and not has_count


def _accepts(model: AutoModelForMaskedSeqModeling, name: str) -> bool:
    return model.accepted_arguments is None or name in model.accepted_arguments


def references(model: AutoModelForMaskedSeqModeling | PeftModel) -> list[Reference]:
    """Score random batches with PyTorch.

    Raises:
        FloatingPointError: the model computes NaN.
    """
    random = np.random.default_rng(0)
    batches = [random_batch(base_model_of(model), shape, random) for shape in _SHAPES]
    with torch.no_grad():
        scored = [Reference(batch, model(**batch, return_dict=True).logits) for batch in batches]
    for _, logits in scored:
        check_finite(logits)
    return scored


def random_batch(
    model: AutoModelForMaskedSeqModeling,
    shape: tuple[int, int, int],
    random: np.random.Generator,
) -> dict[str, torch.Tensor]:
    """Draw ragged rows of which the first is full; positions are on real tokens."""
    batch, tokens, positions = shape
    tokens = min(tokens, model.max_tokens or _NO_LIMIT)
    names = input_names(model)
    lengths = random.integers(1, tokens + 1, (batch, 1))
    lengths[0] = tokens
    real = np.arange(tokens) < lengths
    vocabulary = getattr(model.config.base_model_config, "vocab_size", None) or 256
    ids = random.integers(0, vocabulary, real.shape)
    arrays = {"input_ids": np.where(real, ids, pad_settings(model).pad_token_id)}
    if "attention_mask" in names:
        arrays["attention_mask"] = real.astype(np.int64)
    if "token_type_ids" in names:
        arrays["token_type_ids"] = random.integers(0, 2, real.shape)
    for name in ("mask_indices", "end_indices"):
        if name in names:
            arrays[name] = random.integers(0, lengths, (batch, positions))
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def compare(
    folder: str,
    runtime: str,
    expected: Sequence[Reference],
    atol: float,
) -> float:
    """Return the largest difference between PyTorch's logits and those of the graph in a folder.

    Raises:
        RuntimeError: it is more than `atol`, or NaN.
    """
    exported, largest = OnnxMaskedSeqModel.from_pretrained(folder, runtime), 0.0
    for batch, logits in expected:
        difference = float((exported(**batch).logits - logits).abs().max())
        if not difference <= atol:
            raise RuntimeError(
                f"In {runtime} the graph does not compute what PyTorch does: for B, T = "
                f"{tuple(batch['input_ids'].shape)} a logit differs by {difference:.1e}, more than "
                f"atol={atol:.1e}. Nothing was exported."
            )
        largest = max(largest, difference)
    return largest


def pad_settings(model: AutoModelForMaskedSeqModeling) -> PadSettings:
    """Return the pad settings for a model without a tokenizer, from the encoder's config."""
    return PadSettings(getattr(model.config.base_model_config, "pad_token_id", None) or 0)
