"""Which encoders may be wrapped, which class each is built from, and what it accepts.

    encoder's config ──▶ check_encoder ──▶ find_encoder_class ──▶ accepted_arguments
                                                 └─ remote code: only with the caller's permission

The code of a remote encoder is fetched and saved here; weights are loaded in `loading`.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from typing import Any

from torch import nn
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_MASKED_LM_MAPPING,
    MODEL_MAPPING,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.dynamic_module_utils import custom_object_save, get_class_from_dynamic_module

from .configuration_custom import OpaqueEncoderConfig

# Registered for causal language modelling only, yet it reads in both directions.
_BIDIRECTIONAL = ("xlnet",)
# What Transformers reads from an encoder's `**kwargs`; anything else would vanish there.
_READ_FROM_KWARGS = {"output_attentions", "output_hidden_states", "return_dict"}
_READ_FROM_KWARGS |= {"cu_seq_lens_q", "cu_seq_lens_k", "max_length_q", "max_length_k"}


def check_encoder(config: PretrainedConfig, strict_mlm_check: bool = False) -> None:
    """Check by its config alone that a model is an encoder.

    Args:
        config: the config of the base model.
        strict_mlm_check: also demand a masked-LM class for this architecture.

    Raises:
        ValueError: a decoder, an encoder-decoder, or no masked-LM class where one is demanded.
    """
    reason = None
    if getattr(config, "is_encoder_decoder", False):
        reason = "an encoder-decoder"
    elif getattr(config, "is_decoder", False):
        reason = "a decoder (is_decoder=True in its config)"
    elif (
        _has_class(config, MODEL_FOR_CAUSAL_LM_MAPPING, "AutoModelForCausalLM")
        and not _has_masked_lm(config)
        and config.model_type not in _BIDIRECTIONAL
    ):
        reason = "a decoder (a causal language model)"
    if reason:
        raise ValueError(
            f"An encoder-only model is needed, but {config.model_type!r} is {reason}. "
            "Use an encoder such as BERT, RoBERTa, DeBERTa or ModernBERT."
        )
    if strict_mlm_check and not _has_masked_lm(config):
        raise ValueError(
            f"strict_mlm_check=True demands a masked-LM class, and {config.model_type!r} has none "
            "in Transformers nor in its own `auto_map`. Pass strict_mlm_check=False to go without."
        )


def find_encoder_class(
    config: PretrainedConfig,
    source: str | os.PathLike | None = None,
    trust_remote_code: bool = False,
    **hub: Any,
) -> type[PreTrainedModel]:
    """Find the class an encoder is built from.

    That of a remote encoder is in the folder or Hub repository `source`, fetched as `hub` says
    (`revision`, `token`, ...), and runs only with the caller's permission.

    Raises:
        ValueError: code is needed but not permitted, or there is no class that takes `input_ids`.
    """
    if _is_remote(config):
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


def build_encoder(
    config: PretrainedConfig | None, encoder_class: type[PreTrainedModel] | None = None
) -> PreTrainedModel:
    """Build an encoder with random weights; one of remote code needs its class.

    Raises:
        ValueError: no config, or not that of an encoder.
    """
    if config is None:
        raise ValueError(
            "`config.base_model_config` must describe an encoder, got None. Use "
            "from_pretrained(base, num_labels=...), or pass base_model_config=BertConfig(...)."
        )
    check_encoder(config)
    encoder_class = encoder_class or find_encoder_class(config)
    return encoder_class(config, **without_pooler(encoder_class))


def remote_config(
    config: OpaqueEncoderConfig,
    source: str | os.PathLike,
    trust_remote_code: bool,
    **hub: Any,
) -> PretrainedConfig:
    """Rebuild a remote encoder's config from the class that the checkpoint carries.

    Raises:
        ValueError: the caller has not given permission, or the checkpoint carries no code.
    """
    config_class = _remote_class("AutoConfig", config, source, trust_remote_code, hub)
    return config_class.from_dict({k: v for k, v in config.to_dict().items() if k != "model_type"})


def save_remote_code(encoder: PreTrainedModel, folder: str | os.PathLike) -> None:
    """Put the code of an encoder beside its weights, if it is remote code."""
    for part in (encoder, encoder.config):
        if getattr(part, "_auto_class", None) is not None:
            custom_object_save(part, folder, config=encoder.config)


def accepted_arguments(encoder: PreTrainedModel) -> frozenset[str] | None:
    """Name the arguments that the encoder's forward reads; None for one that takes any.

    A plain `**kwargs` in a Transformers class drops names without reading them, so it does not
    count as accepting them.
    """
    parameters = inspect.signature(encoder.forward).parameters.values()
    names = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        if not type(encoder).__module__.startswith("transformers."):
            return None
        names |= _READ_FROM_KWARGS
    return frozenset(names)


def without_pooler(cls: type[PreTrainedModel]) -> dict[str, bool]:
    """Return the arguments that leave out the pooler, whose output is never read."""
    takes = "add_pooling_layer" in inspect.signature(cls.__init__).parameters
    return {"add_pooling_layer": False} if takes else {}


def freeze_pooler(encoder: PreTrainedModel) -> None:
    """Stop DDP from waiting for the gradient of a pooler that the class cannot go without."""
    pooler = getattr(encoder, "pooler", None)
    if isinstance(pooler, nn.Module):
        pooler.requires_grad_(False)


def max_tokens(encoder: PreTrainedModel) -> int | None:
    """Count the tokens the encoder was made for; None where nothing limits them.

    The smaller of what its config says and of `position_limit`.
    """
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


def _has_masked_lm(config: PretrainedConfig) -> bool:
    return _has_class(config, MODEL_FOR_MASKED_LM_MAPPING, "AutoModelForMaskedLM")


def _has_class(config: PretrainedConfig, mapping: Mapping[type, object], auto_name: str) -> bool:
    if _is_remote(config):
        return auto_name in (getattr(config, "auto_map", None) or {})
    return type(config) in mapping


def _is_remote(config: PretrainedConfig) -> bool:
    opaque = isinstance(config, OpaqueEncoderConfig)
    return opaque or type(config).__module__.startswith("transformers_modules")


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


def _takes_tokens(cls: type[PreTrainedModel]) -> bool:
    parameters = inspect.signature(cls.forward).parameters
    catches_all = any(p.kind is p.VAR_POSITIONAL for p in parameters.values())
    return "input_ids" in parameters or catches_all
