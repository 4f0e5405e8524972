"""What `forward` asks of its arguments, and the sentences that say so.

Shapes and dtypes always; values only where reading them costs no device synchronisation, which is
on the CPU and outside of a compiled graph. The data collator checks every value before that.
"""

from __future__ import annotations

import torch

from .labels import IGNORE_INDEX


def check_attr_name(name: str, taken: bool) -> None:
    """Refuse a name for the encoder's attribute that is no identifier or is in use.

    Raises:
        ValueError: see above.
    """
    if not name.isidentifier() or name.startswith("_"):
        raise ValueError(
            "`base_model_attr_name` must be a Python identifier without a leading underscore, got "
            f"{name!r}. The default is the encoder's model type, such as 'bert'."
        )
    if taken:
        raise ValueError(
            f"`base_model_attr_name` {name!r} is already an attribute of the model. Choose another "
            "name, or leave it out: the default is the encoder's model type."
        )


def check_inputs(
    input_ids: torch.Tensor | None,
    inputs_embeds: torch.Tensor | None,
    vocabulary_size: int | None = None,
) -> torch.Tensor:
    """Return the one of the two that is given.

    Args:
        input_ids: ``(B, T)``.
        inputs_embeds: ``(B, T, H)``.
        vocabulary_size: how many token ids the encoder knows; None where it counts none.

    Raises:
        ValueError: both, neither, or without the dimensions ``(B, T)``; on the CPU also a token
            that the encoder does not know.
    """
    if (input_ids is None) == (inputs_embeds is None):
        what = "neither" if input_ids is None else "both"
        raise ValueError(f"Give either `input_ids` or `inputs_embeds`, got {what}.")
    inputs = input_ids if input_ids is not None else inputs_embeds
    assert inputs is not None
    wanted = 2 if input_ids is not None else 3
    if inputs.dim() != wanted:
        raise ValueError(
            f"`input_ids` must be (B, T) and `inputs_embeds` (B, T, H), got {tuple(inputs.shape)}. "
            "Add a batch dimension to a single sequence: tensor[None]."
        )
    if input_ids is not None and vocabulary_size is not None and _readable(input_ids):
        low, high = torch.aminmax(input_ids)
        if low < 0 or high >= vocabulary_size:
            raise ValueError(
                f"`input_ids` must lie in [0, {vocabulary_size - 1}], the tokens that the encoder "
                f"knows, got {int(low)} to {int(high)}. Is it the tokenizer that the model was "
                "trained with? After adding tokens to it, call "
                "model.resize_token_embeddings(len(tokenizer))."
            )
    return inputs


def check_positions(mask_indices: torch.Tensor | None, inputs: torch.Tensor) -> torch.Tensor:
    """Check `mask_indices` against the inputs they point into.

    Args:
        mask_indices: ``(B, M)`` long, each in ``[0, T)``.
        inputs: ``(B, T)`` or ``(B, T, H)``.

    Raises:
        ValueError: missing, another dtype or shape, or (on the CPU) out of bounds.
    """
    batch, length = inputs.shape[:2]
    if mask_indices is None:
        raise ValueError(
            "`mask_indices` is required: (B, M) long, the tokens to classify. "
            "`DataCollatorForMaskedSeq` makes it from rows of any length."
        )
    if mask_indices.dtype != torch.long:
        raise ValueError(
            f"`mask_indices` must be torch.long, got {mask_indices.dtype}. Use mask_indices.long()."
        )
    if mask_indices.dim() != 2 or mask_indices.shape[0] != batch:
        raise ValueError(
            f"`mask_indices` must be (B, M) with B = {batch} as in the inputs, got "
            f"{tuple(mask_indices.shape)}. Pad rows with fewer positions with any index in bounds, "
            f"and give those the label {IGNORE_INDEX}."
        )
    if _readable(mask_indices):
        low, high = torch.aminmax(mask_indices)
        if low < 0 or high >= length:
            raise ValueError(
                f"`mask_indices` must lie in [0, {length - 1}] for T = {length} tokens, got "
                f"{int(low)} to {int(high)}. A padded position needs an index in bounds too "
                f"(0 will do), with the label {IGNORE_INDEX}; text cut off by the tokenizer has "
                "no position."
            )
    return mask_indices


def check_labels(labels: torch.Tensor, task: str, shape: tuple[int, ...]) -> None:
    """Check labels against the logits they are to be compared with.

    Args:
        labels: ``(B, M, L)`` for "multilabel", ``(B, M)`` for "multiclass".
        task: one of `TASKS`.
        shape: ``(B, M, L)`` of the logits.

    Raises:
        ValueError: another shape, ids that are not integers, or (on the CPU) values out of range.
    """
    num_labels = shape[2]
    if task == "multilabel":
        if tuple(labels.shape) != tuple(shape):
            raise ValueError(
                f"`labels` must be (B, M, L) = {tuple(shape)} for task='multilabel', got "
                f"{tuple(labels.shape)}. One class per position? Use task='multiclass'."
            )
        allowed, low_end, high_end = "in [0, 1]", 0.0, 1.0
    else:
        if tuple(labels.shape) != tuple(shape[:2]):
            raise ValueError(
                f"`labels` must be (B, M) = {tuple(shape[:2])} for task='multiclass', got "
                f"{tuple(labels.shape)}. Several labels per position? Use task='multilabel'."
            )
        if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
            raise ValueError(
                "`labels` must be integer class ids for task='multiclass', got "
                f"{labels.dtype}. Use labels.long()."
            )
        allowed, low_end, high_end = f"class ids in [0, {num_labels - 1}]", 0.0, num_labels - 1.0
    if _readable(labels):
        wrong = ~((labels >= low_end) & (labels <= high_end)) & (labels != IGNORE_INDEX)
        if task == "multilabel":  # an ignored position is ignored whole, whatever else it holds
            wrong &= labels[..., :1] != IGNORE_INDEX
        if wrong.any():
            raise ValueError(
                f"`labels` must be {allowed}, or {IGNORE_INDEX} to ignore, for task={task!r}, got "
                f"{labels[wrong].flatten()[0].item()}."
            )


def _readable(values: torch.Tensor) -> bool:
    in_graph = torch.compiler.is_compiling() or torch.jit.is_tracing()
    return values.device.type == "cpu" and values.numel() > 0 and not in_graph
