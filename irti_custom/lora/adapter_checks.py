"""Check what an adapter can hold, before it is trained and after it is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from peft import PeftConfig

    from ..modeling_custom import AutoModelForMaskedSeqModeling

NO_PROMPTS = (
    "Prompt methods prepend virtual tokens to each row, so that every position in `mask_indices` "
    "would silently point at another token. Use LoRA: get_lora_model(model)."
)


def embedding_name(model: AutoModelForMaskedSeqModeling) -> str | None:
    """Name the module with a row per token; None where the encoder has no such module."""
    try:
        embedding = model.get_input_embeddings()
    except NotImplementedError:
        return None
    names = (name for name, module in model.named_modules() if module is embedding)
    return next(names, None) if isinstance(embedding, nn.Embedding) else None


def check_added_rows(
    model: AutoModelForMaskedSeqModeling, peft_config: PeftConfig, known: int | None
) -> None:
    """Check that each row of the embedding is held by the adapter or by its base.

    Args:
        model: with the adapter's rows.
        peft_config: of the adapter.
        known: how many rows the base holds; None where it counts none.

    Raises:
        ValueError: some are in neither.
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
