"""A PEFT model whose folder describes itself, and the way back from that folder.

    adapter_config.json   PEFT's: what is adapted; the checkpoint it stands on, if it is one
    adapter_model.*       the adapters, the head, new tokens
    config.json           ours: task, labels, the encoder's config, the encoder it stands on

Needs PEFT, so other rooms import this one where an adapter is made or met, not before.
"""

from __future__ import annotations

import json
import os
from typing import Any

from transformers.utils import CONFIG_NAME

from .adapters import NO_PROMPTS, check_added_rows, load_base
from .configuration_custom import MaskedSeqModelingConfig

try:
    from peft import (
        LoraConfig,
        PeftConfig,
        PeftModel,
        get_peft_model_state_dict,
    )
    from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as PEFT_TARGETS
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"LoRA needs PEFT, and the import failed: {error}. Run `pip install peft`, or install "
        'this package as "irti_custom[lora]".',
        name=error.name,
    ) from error

__all__ = [
    "PEFT_TARGETS",
    "LoraConfig",
    "MaskedSeqPeftModel",
    "get_peft_model_state_dict",
    "load_adapted",
]

_ADAPTER = "default"
# Of what `from_pretrained` was given; the base is at its own place in its own repository.
_NOT_FOR_THE_BASE = ("_commit_hash", "adapter_kwargs", "revision", "subfolder")


class MaskedSeqPeftModel(PeftModel):
    """A PEFT model around `AutoModelForMaskedSeqModeling` that answers to its names too.

    PEFT's class for feature extraction would take a third argument for embeddings.

    Raises:
        ValueError: a prompt method.
    """

    def __init__(self, model: Any, peft_config: Any, *args: Any, **kwargs: Any) -> None:
        if peft_config.is_prompt_learning:
            raise ValueError(NO_PROMPTS)
        super().__init__(model, peft_config, *args, **kwargs)

    def save_pretrained(
        self,
        save_directory: str | os.PathLike,
        safe_serialization: bool = True,
        selected_adapters: list[str] | None = None,
        **kwargs: Any,
    ) -> None:
        """Save the adapter, and the config of the model around it; arguments as in PEFT.

        An earlier config goes first and the new one comes last: a folder that was not saved whole
        does not load.

        Raises:
            ValueError: with_code=True, which is for whole models.
        """
        if kwargs.pop("with_code", None):
            raise ValueError(
                "with_code=True is for a whole model, and an adapter's folder holds the adapter "
                "alone. Save model.merge_and_unload() with its code."
            )
        folder = os.fspath(save_directory)
        names = selected_adapters or list(self.peft_config)
        places = [folder if name == _ADAPTER else os.path.join(folder, name) for name in names]
        is_main = kwargs.get("is_main_process", True)
        for place in places:
            if is_main and os.path.isfile(os.path.join(place, CONFIG_NAME)):
                os.remove(os.path.join(place, CONFIG_NAME))
        super().save_pretrained(folder, safe_serialization, selected_adapters, **kwargs)
        for config in self.peft_config.values():  # PEFT 0.17 turns None into a name to look up
            config.base_model_name_or_path = config.base_model_name_or_path or None
        for place in places if is_main else ():
            self.get_base_model().config.save_pretrained(place)

    def load_adapter(self, model_id: str | os.PathLike, *args: Any, **kwargs: Any) -> Any:
        """Load an adapter as PEFT does, but refuse one that lacks weights.

        Raises:
            ValueError: see above.
        """
        try:
            result = super().load_adapter(os.fspath(model_id), *args, **kwargs)
            missing = sorted(result.missing_keys)
        except KeyError as error:  # PEFT looks up the head and new tokens by their names
            missing = [str(error)]
        if missing:
            raise ValueError(
                f"The adapter in {str(model_id)!r} lacks weights: {missing}. Was it saved whole?"
            )
        return result

    def gradient_checkpointing_enable(
        self, gradient_checkpointing_kwargs: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        """Trade compute for memory; arguments as in Transformers.

        Without reentrance by default: with it, no gradient gets past a frozen embedding.
        """
        settings = gradient_checkpointing_kwargs or {"use_reentrant": False}
        model = self.get_base_model()
        model.gradient_checkpointing_enable(settings, **kwargs)
        if settings.get("use_reentrant", True):
            model.enable_input_require_grads()


def load_adapted(
    model_class: Any,
    path: str | os.PathLike,
    adapter_file: str,
    moved: str | os.PathLike | None,
    config: MaskedSeqModelingConfig,
    trust_remote_code: bool,
    strict_mlm_check: bool,
    hub: dict[str, Any],
    kwargs: dict[str, Any],
) -> Any:
    """Load the base that an adapter stands on, and put the adapter on it.

    Args:
        model_class: class of the model around the encoder.
        path: folder or Hub id of the adapter.
        adapter_file: its ``adapter_config.json``, on this disk.
        moved: where the base is now, if not where the adapter says.
        config: its own ``config.json``.
        trust_remote_code: the caller's permission to run code that comes with the base.
        strict_mlm_check: demand that the encoder's architecture has a masked-LM class.
        hub: where and how the adapter is fetched (`revision`, `token`, ...).
        kwargs: for the base, except `is_trainable`, which is for PEFT.

    Returns:
        A `MaskedSeqPeftModel` in eval mode; with ``output_loading_info`` a pair of it and a dict.

    Raises:
        ValueError: the adapter names no base, lacks weights, or is a prompt.
        OSError: the base cannot be loaded.
    """
    with open(adapter_file, encoding="utf-8") as file:
        settings = json.load(file)
    kwargs = {k: v for k, v in kwargs.items() if k not in _NOT_FOR_THE_BASE}
    is_trainable = kwargs.pop("is_trainable", False)
    wants_info = kwargs.pop("output_loading_info", False)
    base = moved or settings.get("base_model_name_or_path") or config.base_model_name_or_path
    if not base:
        raise ValueError(
            f"The adapter in {str(path)!r} stands on a model that came from no folder or Hub id. "
            "Pass `base_model_name_or_path`, or build that model again and call "
            f"PeftModel.from_pretrained(model, {str(path)!r})."
        )
    if settings.get("revision") and not moved:
        kwargs["revision"] = settings["revision"]
    base = os.fspath(base)
    try:
        model, known, info = load_base(
            model_class, base, config, trust_remote_code, strict_mlm_check, kwargs
        )
    except OSError as error:
        raise OSError(
            f"The adapter in {str(path)!r} stands on {str(base)!r}, which cannot be loaded: "
            f"{error} If it is elsewhere now, pass base_model_name_or_path=... to from_pretrained."
        ) from error
    peft_config = PeftConfig.from_pretrained(str(path), **hub)
    peft_config.inference_mode = not is_trainable
    peft_config.base_model_name_or_path = model.name_or_path or None
    peft_config.revision = model._loaded_from["revision"]
    check_added_rows(model, peft_config, known)
    adapted = MaskedSeqPeftModel(model, peft_config, _ADAPTER)
    adapted.load_adapter(path, _ADAPTER, is_trainable=is_trainable, **hub)
    if not is_trainable:
        adapted.requires_grad_(False)  # PEFT 0.17 leaves the head's gradient on
    return (adapted.eval(), info) if wants_info else adapted.eval()
