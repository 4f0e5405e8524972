"""Check which models take an adapter, and what an adapter can hold."""

from __future__ import annotations

import hashlib
import zlib
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from peft import PeftConfig

    from ..modeling_custom import AutoModelForMaskedSeqModeling


def embedding_name(model: AutoModelForMaskedSeqModeling) -> str | None:
    """Name the module with a row per token; None where the encoder has no such module."""
    try:
        embedding = model.get_input_embeddings()
    except NotImplementedError:
        return None
    names = (name for name, module in model.named_modules() if module is embedding)
    return next(names, None) if isinstance(embedding, nn.Embedding) else None


def base_digest(
    model: AutoModelForMaskedSeqModeling, peft_config: PeftConfig, rows: int | None
) -> str | None:
    """Return a short text that differs where the encoder under an adapter does.

    Args:
        model: the base, without adapters.
        peft_config: the adapter's, which holds rows of the embedding itself.
        rows: how many rows of the embedding are the base's own; None for all.

    Returns:
        The data type and a digest; None for weights that are elsewhere, or quantised.
    """
    embedding = embedding_name(model)
    held = (getattr(peft_config, "trainable_token_indices", None) or {}).get(embedding, ())
    found, kinds = hashlib.sha256(), set()
    for name, weight in model.encoder.named_parameters(prefix=model.base_model_prefix):
        if weight.is_meta or not weight.is_floating_point():
            return None
        values = weight.detach().cpu()
        if name == f"{embedding}.weight":
            values = values[:rows].clone()
            values[[row for row in held if row < len(values)]] = 0
        kinds.add(str(values.dtype))
        found.update(b"%d" % zlib.crc32(values.contiguous().view(torch.uint8).numpy().data))
    return f"{'+'.join(sorted(kinds))} {found.hexdigest()[:16]}"


def check_added_rows(
    model: AutoModelForMaskedSeqModeling, peft_config: PeftConfig, known: int | None
) -> None:
    """Check that the adapter or its base holds every row of the embedding.

    Args:
        model: with the adapter's rows.
        peft_config: the adapter's.
        known: how many rows the base holds; None if it has no vocabulary.

    Raises:
        ValueError: neither holds some of them.
    """
    rows = model.config.vocab_size
    if known is None or rows is None or rows <= known:
        return
    name = embedding_name(model) or ""
    if any(name.endswith(part) for part in peft_config.modules_to_save or ()):
        return
    held = (getattr(peft_config, "trainable_token_indices", None) or {}).get(name, ())
    lost = sorted(set(range(known, rows)) - set(held))
    if lost:
        raise ValueError(
            f"The embedding has {rows} rows, {known} of them from the base. An adapter holds the "
            f"added ones that are in `new_tokens`, and {len(lost)} are not (the first is "
            f"{lost[0]}): a reload would leave them at random. Pass new_tokens=range({known}, "
            f"{rows}), or save the resized model, load it from there, and adapt that."
        )
