"""What an adapter stands on: its base, found again and made to fit.

    adapter folder ─┬─ adapter_config.json ─▶ a checkpoint ─┬─▶ model, resized as the adapter's was
                    └─ config.json ─────────▶ an encoder ───┘

The base's weights are not in the adapter's folder. Nothing here needs PEFT.
"""

from __future__ import annotations

import copy
import os
from typing import Any

from torch import nn
from transformers.utils import cached_file
from transformers.utils.hub import extract_commit_hash

from .configuration_custom import MaskedSeqModelingConfig

NO_PROMPTS = (
    "Prompt methods prepend virtual tokens to each row, so that every position in `mask_indices` "
    "would silently point at another token. Use LoRA: get_lora_model(model)."
)
_HUB = ("cache_dir", "force_download", "local_files_only", "proxies", "revision", "token")
# As Transformers does where it looks for an adapter: also without a connection.
_MAY_BE_MISSING = {
    "_raise_exceptions_for_missing_entries": False,
    "_raise_exceptions_for_connection_errors": False,
}


def load_base(
    model_class: Any,
    base: str | os.PathLike,
    config: MaskedSeqModelingConfig,
    trust_remote_code: bool,
    strict_mlm_check: bool,
    kwargs: dict[str, Any],
) -> tuple[Any, int | None, dict[str, Any]]:
    """Load a checkpoint or an encoder for the adapter that `config` came with.

    Args:
        model_class: class of the model around the encoder.
        base: folder or Hub id.
        config: the adapter's; what differs from the base's own is the adapter's to say.
        trust_remote_code: the caller's permission to run code that comes with the base.
        strict_mlm_check: demand that the encoder's architecture has a masked-LM class.
        kwargs: as for `from_pretrained`.

    Returns:
        The model, the number of token ids that the base knows, and the loading report.

    Raises:
        ValueError: weights that do not fit.
        OSError: no such base, or files missing from it.
    """
    found, is_checkpoint = read_config(base, **{k: v for k, v in kwargs.items() if k in _HUB})
    known, rows, config = vocabulary(found), vocabulary(config), copy.deepcopy(config)
    if config.base_model_config is not None and rows != known:
        config.base_model_config.vocab_size = known
    if not is_checkpoint:
        config.base_model_name_or_path = str(base)
        kwargs = {**kwargs, "config": config.base_model_config}
    elif found.num_labels != config.num_labels:
        kwargs = {**kwargs, "ignore_mismatched_sizes": True}  # the adapter brings its own head
    load = model_class._from_checkpoint if is_checkpoint else model_class._with_encoder
    options = {**kwargs, "output_loading_info": True}
    model, info = load(base, config, trust_remote_code, strict_mlm_check, options)
    keys = [key if isinstance(key, str) else key[0] for key in info["mismatched_keys"]]
    others = sorted(key for key in keys if not key.startswith("head."))
    if others:
        raise ValueError(f"{str(base)!r} does not fit the adapter: other shapes in {others}.")
    if rows != known:
        model.resize_token_embeddings(rows, mean_resizing=False)
    return model, known, info


def read_config(path: str | os.PathLike, **hub: Any) -> tuple[MaskedSeqModelingConfig, bool]:
    """Read the config of a checkpoint, or of an encoder as if there were a model around it.

    Runs no code: an unknown encoder's settings are kept as they are.

    Returns:
        The config, and whether `path` is a checkpoint.

    Raises:
        OSError: there is none.
    """
    settings, _ = MaskedSeqModelingConfig.get_config_dict(path, **hub)
    if settings.get("model_type") == MaskedSeqModelingConfig.model_type:
        return MaskedSeqModelingConfig.from_dict(settings), True
    return MaskedSeqModelingConfig(base_model_config=settings), False


def find_adapter(path: str | os.PathLike, hub: dict[str, Any]) -> str | None:
    """Find the ``adapter_config.json`` of a folder or Hub id; None where it is no adapter."""
    return cached_file(path, "adapter_config.json", **hub, **_MAY_BE_MISSING)


def origin_of(path: str | os.PathLike, hub: dict[str, Any]) -> dict[str, str | None]:
    """Tell which commit and subfolder a model was loaded from just now."""
    origin = {"revision": None, "subfolder": hub.get("subfolder") or None}
    if not os.path.isdir(path):
        options = {k: v for k, v in hub.items() if k in _HUB and k != "force_download"}
        options = {**options, **_MAY_BE_MISSING, "subfolder": hub.get("subfolder") or ""}
        file = cached_file(path, "config.json", **{**options, "local_files_only": True})
        origin["revision"] = extract_commit_hash(file, None)
    return origin


def vocabulary(config: MaskedSeqModelingConfig) -> int | None:
    """Count the token ids that the encoder knows; None where it counts none.

    Example:
        >>> from transformers import BertConfig
        >>> vocabulary(MaskedSeqModelingConfig(base_model_config=BertConfig(vocab_size=10)))
        10
    """
    return getattr(config.base_model_config, "vocab_size", None)


def embedding_name(model: Any) -> str | None:
    """Name the module with a row per token; None where the encoder has no such module."""
    try:
        embedding = model.get_input_embeddings()
    except NotImplementedError:
        return None
    found = (name for name, module in model.named_modules() if module is embedding)
    return next(found, None) if isinstance(embedding, nn.Embedding) else None


def check_added_rows(model: Any, peft_config: Any, known: int | None) -> None:
    """Refuse embedding rows that neither the adapter nor the base, with `known` of them, holds.

    Raises:
        ValueError: see above.
    """
    rows = vocabulary(model.config)
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
