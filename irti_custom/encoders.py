"""Find the class of an encoder, what it accepts, and call it so that rows do not meet.

encoder's config ──▶ find_encoder_class ──▶ accepted_arguments, position_limit ──▶ encode
└─ remote code: only with the caller's permission
"""

from __future__ import annotations

import inspect
import os
from typing import Any, NamedTuple

import torch
from torch import nn
from transformers import MODEL_MAPPING, PretrainedConfig, PreTrainedModel
from transformers.dynamic_module_utils import custom_object_save, get_class_from_dynamic_module
from transformers.modeling_outputs import BaseModelOutput

from .configuration_custom import OpaqueEncoderConfig

# Where and how a file is fetched, as in Transformers.
HUB_ARGUMENTS = (
    "cache_dir",
    "force_download",
    "local_files_only",
    "proxies",
    "revision",
    "subfolder",
    "token",
)
# What Transformers reads from an encoder's `**kwargs`; anything else would vanish there.
_READ_FROM_KWARGS = {"output_attentions", "output_hidden_states", "return_dict"}
_READ_FROM_KWARGS |= {"cu_seq_lens_q", "cu_seq_lens_k", "max_length_q", "max_length_k"}
# Convolutions, pooling, a Fourier transform: they read the padding beside a text, mask or not.
_READS_PADDING = ("canine", "convbert", "fnet", "funnel", "mobilebert", "nystromformer", "yoso")


def is_remote(config: PretrainedConfig) -> bool:
    """Return True if an encoder's class is code that comes with a checkpoint."""
    opaque = isinstance(config, OpaqueEncoderConfig)
    return opaque or type(config).__module__.startswith("transformers_modules")


def find_encoder_class(
    config: PretrainedConfig,
    source: str | os.PathLike | None = None,
    trust_remote_code: bool = False,
    **hub: Any,
) -> type[PreTrainedModel]:
    """Find the class an encoder is built from; remote code is in the folder or Hub id `source`.

    Raises:
        ValueError: code is needed but not permitted, or there is no class that takes `input_ids`.
    """
    if is_remote(config):
        encoder_class = _remote_class("AutoModel", config, source, trust_remote_code, hub)
    else:
        encoder_class = MODEL_MAPPING.get(type(config), None)
        if isinstance(encoder_class, (tuple, list)):  # Funnel: with and without its decoder
            named = [c for c in encoder_class if c.__name__ in (config.architectures or ())]
            encoder_class = (named or encoder_class)[0]
    if encoder_class is None or not _takes_tokens(encoder_class):
        raise ValueError(
            f"An encoder that takes `input_ids` is needed, but {config.model_type!r} has "
            f"{encoder_class.__name__ if encoder_class else 'no class in AutoModel'}. Use a text "
            "encoder."
        )
    return encoder_class


def _takes_tokens(cls: type[PreTrainedModel]) -> bool:
    parameters = inspect.signature(cls.forward).parameters
    catches_all = any(p.kind is p.VAR_POSITIONAL for p in parameters.values())
    return "input_ids" in parameters or catches_all


def remote_config(
    config: OpaqueEncoderConfig, source: str | os.PathLike, trust_remote_code: bool, **hub: Any
) -> PretrainedConfig:
    """Rebuild a remote encoder's config from the class that the checkpoint carries."""
    config_class = _remote_class("AutoConfig", config, source, trust_remote_code, hub)
    return config_class.from_dict({k: v for k, v in config.to_dict().items() if k != "model_type"})


def _remote_class(
    auto_class: str,
    config: PretrainedConfig,
    source: str | os.PathLike | None,
    permitted: bool,
    hub: dict[str, Any],
) -> type[Any]:
    """Load a class from the code that comes with an encoder, if the caller permits it."""
    reference = (getattr(config, "auto_map", None) or {}).get(auto_class)
    if not reference:
        raise ValueError(
            f"The encoder type {config.model_type!r} is unknown to this version of Transformers, "
            "and its config names no code of its own (`auto_map`). Update Transformers, or use "
            "another encoder."
        )
    if permitted is not True:
        raise ValueError(
            f"The encoder type {config.model_type!r} runs code that comes with the checkpoint "
            f"({reference}). Read that code, then pass trust_remote_code=True to this call to "
            "permit it."
        )
    hub = {k: v for k, v in hub.items() if k != "subfolder" and v is not None}
    remote_class = get_class_from_dynamic_module(reference, str(source), **hub)
    remote_class.register_for_auto_class(auto_class)  # its code is saved with each checkpoint
    return remote_class


def save_remote_code(encoder: PreTrainedModel, folder: str | os.PathLike) -> None:
    """Put the code of an encoder beside its weights, if it is remote code."""
    for part in (encoder, encoder.config):
        if getattr(part, "_auto_class", None) is not None:
            os.makedirs(folder, exist_ok=True)
            custom_object_save(part, folder, config=encoder.config)


def build_encoder(
    config: PretrainedConfig | None, encoder_class: type[PreTrainedModel] | None = None
) -> PreTrainedModel:
    """Build an encoder with random weights; one of remote code needs its class."""
    if config is None:
        raise ValueError(
            "`config.base_model_config` must describe an encoder, got None. Use "
            "from_pretrained(base, num_labels=...), or pass base_model_config=BertConfig(...)."
        )
    encoder_class = encoder_class or find_encoder_class(config)
    return encoder_class(config, **without_pooler(encoder_class))


def without_pooler(cls: type[PreTrainedModel]) -> dict[str, bool]:
    """Return the arguments that leave out the pooler, whose output is never read."""
    takes = "add_pooling_layer" in inspect.signature(cls.__init__).parameters
    return {"add_pooling_layer": False} if takes else {}


def freeze_pooler(encoder: PreTrainedModel) -> None:
    """Stop DDP from waiting for the gradient of a pooler that the class cannot go without."""
    pooler = getattr(encoder, "pooler", None)
    if isinstance(pooler, nn.Module):
        pooler.requires_grad_(False)


def accepted_arguments(encoder: PreTrainedModel) -> frozenset[str] | None:
    """Name the arguments that the encoder's forward reads; None for one that takes any.

    A plain `**kwargs` in a class of Transformers drops names without reading them.
    """
    parameters = inspect.signature(encoder.forward).parameters.values()
    names = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        if not type(encoder).__module__.startswith("transformers."):
            return None
        names |= _READ_FROM_KWARGS
    return frozenset(names)


def max_tokens(encoder: PreTrainedModel) -> int | None:
    """Count the tokens the encoder was made for, by its config and its table of positions."""
    limit = getattr(encoder.config, "max_position_embeddings", None) or 0
    limits = [limit] if limit > 0 else []  # some count positions relatively and say so with -1
    table = position_limit(encoder)
    return min(limits if table is None else [*limits, table], default=None)


def position_limit(encoder: PreTrainedModel) -> int | None:
    """Count the tokens for which the encoder has a table of positions; None without a table.

    RoBERTa and its kin count from behind the pad token, so that some rows of it stay unused.
    """
    sizes = []
    for name, table in encoder.named_modules():
        if name.endswith("position_embeddings") and isinstance(table, nn.Embedding):
            unused = 0 if table.padding_idx is None else table.padding_idx + 1
            sizes.append(table.num_embeddings - unused)
    return min(sizes, default=None)


class _Group(NamedTuple):
    """Rows of a batch that share a call, and the tokens from their first to their last one."""

    rows: list[int]
    tokens: slice


def split_by_length(config: PretrainedConfig, mask: torch.Tensor | None) -> list[_Group] | None:
    """Group the rows of a batch so that no row's states depend on padding.

    Args:
        config: the encoder's.
        mask: ``(B, T)``, 1 for real tokens. None, other shapes, and one that is being exported
            split nothing.

    Returns:
        Groups of rows of one length; None where the batch can be encoded as it is.
    """
    limit = full_attention_limit(config)
    reads_padding = config.model_type in _READS_PADDING or limit is not None
    if not reads_padding or mask is None or mask.dim() != 2 or _is_exported():
        return None
    width = mask.shape[1]
    if limit is not None and width <= limit:
        return None
    shown = (mask > 0).int()
    firsts = shown.argmax(1).tolist()
    lengths = (width - shown.flip(1).argmax(1) - shown.argmax(1)).tolist()
    groups: dict[tuple[int, int], list[int]] = {}
    for row, (first, length) in enumerate(zip(firsts, lengths)):
        lengths[row] = length = min(width, max(length, _fewest_tokens(config)))
        first = min(first, width - length)
        if limit is not None:  # BigBird pads to whole blocks itself, and masks what it pads
            length = 0 if length <= limit else -(-length // config.block_size)
        groups.setdefault((first, length), []).append(row)
    found = [
        _Group(rows, slice(first, first + max(lengths[row] for row in rows)))
        for (first, _), rows in groups.items()
    ]
    return None if len(found) == 1 and found[0].tokens == slice(0, width) else found


def _fewest_tokens(config: PretrainedConfig) -> int:
    """Count the tokens that an encoder needs, to have one left where it pools them."""
    if config.model_type == "funnel":
        return int(2 ** (len(config.block_sizes) - 1)) + 1
    return int(config.downsampling_rate) if config.model_type == "canine" else 1


def full_attention_limit(config: PretrainedConfig) -> int | None:
    """Return up to how many tokens a BigBird with sparse attention attends to all; else None."""
    if config.model_type != "big_bird" or config.attention_type != "block_sparse":
        return None
    return (5 + 2 * config.num_random_blocks) * config.block_size


def _is_exported() -> bool:
    """Return True inside of an exporter, which cannot look at values; `torch.compile` can."""
    compiled = torch.compiler.is_compiling() and not torch.compiler.is_dynamo_compiling()
    return torch.jit.is_tracing() or compiled


def encode(
    encoder: PreTrainedModel, arguments: dict[str, Any], mask: torch.Tensor | None
) -> BaseModelOutput:
    """Call an encoder so that the states of a row depend on that row alone.

    Args:
        encoder: the encoder.
        arguments: of its forward.
        mask: ``(B, T)``, 1 for real tokens, also for an encoder that takes none.

    Raises:
        ValueError: attentions or all hidden states are asked for, and rows need calls of their
            own; or the encoder does not return one state per token.
    """
    groups = split_by_length(encoder.config, mask)
    if groups is None:
        return _call(encoder, arguments)
    shape = _shape(arguments)
    if arguments.get("output_attentions") or arguments.get("output_hidden_states"):
        raise ValueError(
            f"{type(encoder).__name__} reads padding, so rows of different lengths are encoded "
            "apart, and their attentions and hidden states do not fit into one tensor. Pass rows "
            "of one length."
        )
    parts = []
    for rows, tokens in groups:
        part = {name: _take(value, rows, tokens, shape) for name, value in arguments.items()}
        states = _call(encoder, part).last_hidden_state
        parts.append(nn.functional.pad(states, (0, 0, tokens.start, shape[1] - tokens.stop)))
    order = torch.tensor([row for rows, _ in groups for row in rows]).argsort()
    return BaseModelOutput(last_hidden_state=torch.cat(parts)[order.to(parts[0].device)])


def _take(value: Any, rows: list[int], tokens: slice, shape: torch.Size) -> Any:
    """Cut rows and tokens out of an argument of the encoder, if it has them."""
    if not isinstance(value, torch.Tensor) or value.shape[:1] != shape[:1]:
        return value
    return value[rows, tokens] if value.shape[:2] == shape else value[rows]


def _call(encoder: PreTrainedModel, arguments: dict[str, Any]) -> BaseModelOutput:
    """Call an encoder on rows as they are, whatever it was called with before.

    BigBird turns its own sparse attention off for a short batch, and never on again.
    """
    shape = _shape(arguments)
    if encoder.config.model_type == "big_bird":
        limit = full_attention_limit(encoder.config)
        kind = "original_full" if limit is None or shape[1] <= limit else "block_sparse"
        if encoder.attention_type != kind:
            with torch.random.fork_rng(devices=[]):  # it draws weights, and throws them away
                encoder.set_attention_type(kind)
    outputs = encoder(**arguments)
    if outputs.last_hidden_state.shape[:2] != shape:
        raise ValueError(
            f"The encoder must return one hidden state per token, {tuple(shape)}, got "
            f"{tuple(outputs.last_hidden_state.shape[:2])}: positions would point at other tokens."
        )
    return outputs


def _shape(arguments: dict[str, Any]) -> torch.Size:
    """Return ``(B, T)`` of what an encoder is called with."""
    inputs: torch.Tensor = arguments["input_ids" if "input_ids" in arguments else "inputs_embeds"]
    return inputs.shape[:2]
