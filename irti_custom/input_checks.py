"""Check the arguments of `forward`; each check raises ValueError.

Shapes and dtypes always; values only where reading them costs no device synchronisation, which is
on the CPU and outside of a compiled graph. The data collator checks every value before that.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from types import FrameType

import torch

from .labels import IGNORE_INDEX

NO_PROMPTS = (
    "Prompt methods prepend virtual tokens to each row, so that every position in `mask_indices` "
    "would silently point at another token. Use LoRA: get_lora_model(model)."
)


def check_inputs(
    input_ids: torch.Tensor | None,
    inputs_embeds: torch.Tensor | None,
    vocabulary_size: int | None = None,
) -> torch.Tensor:
    """Return the one of ``(B, T)`` and ``(B, T, H)`` that is given; check ids against a size."""
    if input_ids is not None and inputs_embeds is None:
        inputs, ndim = input_ids, 2
    elif inputs_embeds is not None and input_ids is None:
        inputs, ndim = inputs_embeds, 3
    else:
        what = "neither" if input_ids is None else "both"
        raise ValueError(f"Give either `input_ids` or `inputs_embeds`, got {what}.")
    if inputs.dim() != ndim:
        raise ValueError(
            f"`input_ids` must be (B, T) and `inputs_embeds` (B, T, H), got {tuple(inputs.shape)}. "
            "Add a batch dimension to a single sequence: tensor[None]."
        )
    if ndim == 2 and vocabulary_size is not None:
        _check_range(
            "`input_ids`",
            inputs,
            vocabulary_size,
            ", the tokens that the encoder knows",
            "Is it the tokenizer that the model was trained with? For tokens that were added to "
            "it, as the markers of read='marker' are, call processor.prepare_model(model) or "
            "model.resize_token_embeddings(len(tokenizer)) before training.",
        )
    return inputs


def check_positions(
    mask_indices: torch.Tensor | None,
    end_indices: torch.Tensor | None,
    inputs: torch.Tensor,
    count: int,
) -> list[torch.Tensor]:
    """Return the indices ``(B, M)`` of each of the `count` tokens read for a position."""
    batch, length = inputs.shape[:2]
    if mask_indices is None:
        raise ValueError(
            "`mask_indices` is required: (B, M) long, the tokens to classify. "
            "`DataCollatorForMaskedSeq` makes it from rows of any length."
        )
    if count == 1 and end_indices is not None:
        raise ValueError(
            "`end_indices` were given, and the head reads one token per position. For rows with "
            "read='start_end' call processor.prepare_model(model) before training, or load the "
            "base with tokens_per_position=2."
        )
    if count == 2 and end_indices is None:
        raise ValueError(
            "`end_indices` is required: (B, M) long, the last token of each position. The head "
            "reads the first and the last one. MaskedSeqProcessor(read='start_end') makes both; "
            "for a position of one token, repeat `mask_indices`."
        )
    indices = {"mask_indices": mask_indices, "end_indices": end_indices}
    checked = {name: values for name, values in indices.items() if values is not None}
    for name, values in checked.items():
        if values.dtype != torch.long:
            raise ValueError(f"`{name}` must be torch.long, got {values.dtype}. Use {name}.long().")
        if values.dim() != 2 or values.shape[0] != batch or values.shape != mask_indices.shape:
            raise ValueError(
                f"`{name}` must be (B, M) with B = {batch} as in the inputs, and of one shape, got "
                f"{tuple(values.shape)}. Pad rows with fewer positions with any index in bounds, "
                f"and give those the label {IGNORE_INDEX}."
            )
        _check_range(
            f"`{name}`",
            values,
            length,
            f" for T = {length} tokens",
            f"A padded position needs an index in bounds too (0 will do), with the label "
            f"{IGNORE_INDEX}; text cut off by the tokenizer has no position.",
        )
    return list(checked.values())


def check_labels(labels: torch.Tensor, task: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Return labels ``(B, M, L)`` or ``(B, M)`` that fit the `shape` ``(B, M, L)`` of the logits.

    In a batch without any position, labels ``(B, 0)`` fit either task.
    """
    multilabel, num_labels = task == "multilabel", shape[2]
    expected = tuple(shape if multilabel else shape[:2])
    if labels.numel() == 0 and tuple(labels.shape) == tuple(shape[:2]):
        labels = labels.reshape(expected)
    if tuple(labels.shape) != expected:
        layout, count, other = ("(B, M, L)", "One class", "multiclass")
        if not multilabel:
            layout, count, other = ("(B, M)", "Several labels", "multilabel")
        raise ValueError(
            f"`labels` must be {layout} = {expected} for task={task!r}, got "
            f"{tuple(labels.shape)}. {count} per position? Use task={other!r}."
        )
    if not multilabel and (labels.dtype.is_floating_point or labels.dtype == torch.bool):
        raise ValueError(
            f"`labels` must be integer class ids for task={task!r}, got {labels.dtype}. Use "
            "labels.long()."
        )
    if is_readable(labels):
        top = 1 if multilabel else num_labels - 1
        wrong = ~((labels >= 0) & (labels <= top)) & (labels != IGNORE_INDEX)
        if multilabel:  # an ignored position is ignored whole, whatever else it holds
            wrong &= labels[..., :1] != IGNORE_INDEX
        if wrong.any():
            allowed = "in [0, 1]" if multilabel else f"class ids in [0, {top}]"
            raise ValueError(
                f"`labels` must be {allowed}, or {IGNORE_INDEX} to ignore, for task={task!r}, got "
                f"{labels[wrong].flatten()[0].item()}."
            )
    return labels


def check_exclusive(
    labels: torch.Tensor, groups: Mapping[str, Sequence[str]] | None, ids: list[list[int]]
) -> None:
    """Check that at most one label of each group holds at a position of ``(B, M, L)``."""
    if not is_readable(labels):
        return
    kept = labels[..., :1] != IGNORE_INDEX
    for (name, names), group in zip((groups or {}).items(), ids):
        held = labels[..., group].clamp(min=0) * kept
        wrong = held.sum(-1) > 1 + 1e-4  # rounding, where labels are probabilities
        if wrong.any():
            both = [names[i] for i in held[wrong][0].nonzero().flatten().tolist()]
            raise ValueError(
                f"At most one label of the group {name!r} may hold at a position, got {both} at "
                f"{tuple(wrong.nonzero()[0].tolist())} of (B, M). Correct the labels, or leave "
                "them out of `groups`."
            )


def _check_range(name: str, values: torch.Tensor, stop: int, what: str, way_out: str) -> None:
    if not is_readable(values):
        return
    low, high = torch.aminmax(values)
    if low < 0 or high >= stop:
        raise ValueError(
            f"{name} must lie in [0, {stop - 1}]{what}, got {int(low)} to {int(high)}. {way_out}"
        )


def check_length(inputs: torch.Tensor, limit: int | None) -> None:
    """Check that the encoder has a position for each of the T tokens."""
    if limit is not None and inputs.shape[1] > limit:
        raise ValueError(
            f"A row has {inputs.shape[1]} tokens, padding included, and the encoder has positions "
            f"for {limit}. Set max_length={limit} on MaskedSeqProcessor, which cuts longer texts "
            "into windows, or truncate."
        )


def check_no_prompt() -> None:
    """Check that embeddings in place of tokens do not come from a prompt method of PEFT.

    Its virtual tokens come first, and only the caller, a PEFT model, knows how many there are.
    """
    peft = sys.modules.get("peft")
    if peft is None or torch.compiler.is_compiling():
        return
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        caller = frame.f_locals.get("self")
        if isinstance(caller, peft.PeftModel) and caller.active_peft_config.is_prompt_learning:
            raise ValueError(NO_PROMPTS)
        frame = frame.f_back


def is_readable(values: torch.Tensor) -> bool:
    """Return True if looking at values costs nothing: on the CPU, outside of a compiled graph."""
    in_graph = torch.compiler.is_compiling() or torch.jit.is_tracing()
    return values.device.type == "cpu" and values.numel() > 0 and not in_graph
