"""Decide by its config alone whether a base model can be wrapped."""

from __future__ import annotations

from collections.abc import Mapping

from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_MASKED_LM_MAPPING,
    PretrainedConfig,
)

from ..encoders import is_remote

# Registered for causal language modelling only, yet it reads in both directions.
_BIDIRECTIONAL = ("xlnet",)
_HISTORY_ROPE = ("dynamic", "longrope")  # their frequencies follow the longest row so far


def check_encoder(config: PretrainedConfig, strict_mlm_check: bool = False) -> None:
    """Raise ValueError if a config does not describe an encoder.

    Args:
        config: the config of the base model.
        strict_mlm_check: also demand a masked-LM class for this architecture.
    """
    reason, kind = None, config.model_type
    has_masked_lm = _has_class(config, MODEL_FOR_MASKED_LM_MAPPING, "AutoModelForMaskedLM")
    if getattr(config, "is_encoder_decoder", False):
        reason = "an encoder-decoder"
    elif getattr(config, "is_decoder", False):
        reason = "a decoder (is_decoder=True in its config)"
    elif (
        _has_class(config, MODEL_FOR_CAUSAL_LM_MAPPING, "AutoModelForCausalLM")
        and not has_masked_lm
        and kind not in _BIDIRECTIONAL
    ):
        reason = "a decoder (a causal language model)"
    if reason:
        raise ValueError(
            f"An encoder-only model is needed, but {kind!r} is {reason}. "
            "Use an encoder such as BERT, RoBERTa, DeBERTa or ModernBERT."
        )
    if strict_mlm_check and not has_masked_lm:
        raise ValueError(
            f"strict_mlm_check=True demands a masked-LM class, and {kind!r} has none in "
            "Transformers nor in its own `auto_map`. Pass strict_mlm_check=False to go without."
        )
    if rope_types := sorted(_rope_types(config).intersection(_HISTORY_ROPE)):
        raise ValueError(
            f"The positions of an encoder must not depend on other texts, and with rope_type="
            f"{rope_types[0]!r} {kind!r} rescales them by the longest text of the batch, or so "
            "far. Use rope_type 'yarn' or 'linear'."
        )


def _rope_types(config: PretrainedConfig) -> set[str]:
    """Name how rotary positions are scaled, in any layer."""
    settings = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None)
    if not isinstance(settings, Mapping):
        return set()
    nested = [value for value in settings.values() if isinstance(value, Mapping)]
    return {str(one.get("rope_type", one.get("type"))) for one in [settings, *nested]}


def _has_class(config: PretrainedConfig, mapping: Mapping[type, object], auto_name: str) -> bool:
    if is_remote(config):
        return auto_name in (getattr(config, "auto_map", None) or {})
    return type(config) in mapping
