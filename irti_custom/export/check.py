"""Random ragged batches, and what PyTorch makes of them: an exported graph is held to it.

model ──▶ references ──▶ batches with logits ──▶ compare ◀── the graph's logits
"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from ..encoders import max_tokens
from .runtime import OnnxMaskedSeqModel

Reference = tuple[dict[str, torch.Tensor], torch.Tensor]
"""A batch, and its logits."""

# (B, T, M): one token, odd sizes, and beyond the local windows and the relative buckets that
# encoders have.
_SHAPES = ((1, 1, 1), (3, 5, 4), (1, 33, 2), (4, 64, 7), (2, 300, 3))
_NO_LIMIT = 512  # tokens to try an encoder with that reads any number of them


def input_names(model: Any) -> list[str]:
    """Name the inputs that the encoder reads; segments only where it tells two of them apart."""
    accepted = model._encoder_arguments
    names = ["input_ids"]
    if accepted is None or "attention_mask" in accepted:
        names.append("attention_mask")
    if accepted is None or "token_type_ids" in accepted:
        segments = getattr(model.config.base_model_config, "type_vocab_size", 0)
        if segments > 1:
            names.append("token_type_ids")
    return [*names, "mask_indices"]


def references(model: Any) -> list[Reference]:
    """Score random batches with PyTorch."""
    random = np.random.default_rng(0)
    batches = [random_batch(base_of(model), shape, random) for shape in _SHAPES]
    with torch.no_grad():
        return [(batch, model(**batch, return_dict=True).logits) for batch in batches]


def random_batch(
    model: Any, shape: tuple[int, int, int], random: np.random.Generator
) -> dict[str, torch.Tensor]:
    """Draw ragged rows: the first is full, positions are on real tokens."""
    batch, tokens, positions = shape
    tokens = min(tokens, max_tokens(model.encoder) or _NO_LIMIT)
    names = input_names(model)
    lengths = random.integers(1, tokens + 1, (batch, 1))
    lengths[0] = tokens
    real = np.arange(tokens) < lengths
    vocabulary = getattr(model.config.base_model_config, "vocab_size", None) or 256
    ids = random.integers(0, vocabulary, real.shape)
    arrays = {"input_ids": np.where(real, ids, pads_of(model).pad_token_id)}
    if "attention_mask" in names:
        arrays["attention_mask"] = real.astype(np.int64)
    if "token_type_ids" in names:
        arrays["token_type_ids"] = random.integers(0, 2, real.shape)
    arrays["mask_indices"] = random.integers(0, lengths, (batch, positions))
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def compare(
    exported: OnnxMaskedSeqModel,
    expected: Sequence[Reference],
    atol: float,
) -> float:
    """Return the largest difference of a logit.

    Raises:
        RuntimeError: it is more than `atol`, or no number.
    """
    largest = 0.0
    for batch, logits in expected:
        difference = float((exported(**batch).logits - logits).abs().max())
        if not difference <= atol:
            raise RuntimeError(
                f"The graph does not compute what PyTorch does: for B, T = "
                f"{tuple(batch['input_ids'].shape)} a logit differs by {difference:.1e}, more than "
                f"atol={atol:.1e}. Nothing was exported."
            )
        largest = max(largest, difference)
    return largest


def pads_of(model: Any) -> Any:
    """Return pad settings as a tokenizer has them, from the encoder's config."""
    pad = getattr(model.config.base_model_config, "pad_token_id", None)
    return SimpleNamespace(pad_token_id=pad or 0, pad_token_type_id=0, padding_side="right")


def base_of(model: Any) -> Any:
    """Return the model inside of a PEFT model; another one is returned as it is."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model
