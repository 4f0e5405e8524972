"""Save adapters in folders that describe themselves, and load them again.

    adapter_config.json   PEFT's: the adapted modules, and the base if that is a checkpoint
    adapter_model.*       the adapters, the head, new tokens
    config.json           ours: task, labels, the encoder's config, and the base encoder

Needs PEFT, so other modules import this one only when they create or load an adapter.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers.utils import CONFIG_NAME

from ..configuration_custom import DIGEST
from ..input_checks import NO_PROMPTS
from ..loading.folders import replaced_files
from ..loading.sources import ADAPTER_CONFIG, Source, check_same_settings, read_place

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

if TYPE_CHECKING:
    from torch.nn.modules.module import _IncompatibleKeys as _LoadResult

    from ..modeling_custom import AutoModelForMaskedSeqModeling

__all__ = [
    "ADAPTER_NAME",
    "PEFT_TARGETS",
    "LoraConfig",
    "MaskedSeqPeftModel",
    "PeftConfig",
    "get_peft_model_state_dict",
]

ADAPTER_NAME = "default"


class MaskedSeqPeftModel(PeftModel):
    """A PEFT model around `AutoModelForMaskedSeqModeling`, with its attributes and arguments.

    PEFT's own class for feature extraction takes the third argument of forward for embeddings.

    Attributes:
        source: where the adapter was loaded from; None for a new one.

    Raises:
        ValueError: a prompt method.
    """

    source: Source | None = None
    # Of the encoder without adapters; see `adapter_checks.base_digest`.
    base_digest: str | None = None

    def __init__(
        self,
        model: AutoModelForMaskedSeqModeling,
        peft_config: PeftConfig,
        *args: Any,
        **kwargs: Any,
    ) -> None:
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
        """Save the adapter and the model's config; arguments as in PEFT.

        A save that is interrupted leaves an earlier one as it was.

        Raises:
            ValueError: with_code=True, which is for whole models.
        """
        if kwargs.pop("with_code", None):
            raise ValueError(
                "with_code=True is for a whole model, and an adapter's folder holds the adapter "
                "alone. Save model.merge_and_unload() with its code."
            )
        if not kwargs.get("is_main_process", True):
            super().save_pretrained(
                os.fspath(save_directory), safe_serialization, selected_adapters, **kwargs
            )
            return
        with replaced_files(save_directory, lambda name: name.startswith("adapter_")) as folder:
            card = os.path.join(save_directory, "README.md")
            if os.path.isfile(card):  # which PEFT updates
                shutil.copy(card, folder)
            super().save_pretrained(folder, safe_serialization, selected_adapters, **kwargs)
            for config in self.peft_config.values():  # PEFT 0.17 turns None into a name to look up
                config.base_model_name_or_path = config.base_model_name_or_path or None
            for name in selected_adapters or list(self.peft_config):
                path = folder if name == ADAPTER_NAME else os.path.join(folder, name)
                self.get_base_model().config.save_pretrained(path)
                _add_digest(os.path.join(path, CONFIG_NAME), self.base_digest)

    def load_adapter(self, model_id: str | os.PathLike, *args: Any, **kwargs: Any) -> _LoadResult:
        """Load another adapter; arguments and result as in PEFT.

        Raises:
            ValueError: the adapter lacks weights, or has other labels, thresholds or the like than
                the model.
        """
        name = args[0] if args else kwargs.get("adapter_name")
        check_same_settings(
            self.get_base_model().config,
            os.fspath(model_id),
            kwargs,
            is_loaded=name in self.peft_config,
            digest=self.base_digest,
        )
        return self.load_weights(model_id, *args, **kwargs)

    def add_weighted_adapter(self, adapters: list[str], *args: Any, **kwargs: Any) -> None:
        """Combine adapters; as in PEFT, for those without a head.

        Raises:
            ValueError: one has a head, of which the combination would have a new, untrained one.
        """
        if any(self.peft_config[name].modules_to_save for name in adapters):
            raise ValueError(
                f"Adapters with a head cannot be combined, got {adapters}: the combination would "
                "answer with a head that is not trained. Average their answers instead."
            )
        self.base_model.add_weighted_adapter(adapters, *args, **kwargs)

    def load_weights(self, model_id: str | os.PathLike, *args: Any, **kwargs: Any) -> _LoadResult:
        """Load an adapter without comparing its config; arguments and errors as `load_adapter`."""
        try:
            place, kwargs = read_place(os.fspath(model_id), kwargs, ADAPTER_CONFIG)
            result = super().load_adapter(place, *args, **kwargs)
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

        Checkpoints are not reentrant by default: no gradient would pass a frozen embedding.
        """
        settings = gradient_checkpointing_kwargs or {"use_reentrant": False}
        model = self.get_base_model()
        model.gradient_checkpointing_enable(settings, **kwargs)
        if settings.get("use_reentrant", True):
            model.enable_input_require_grads()


def _add_digest(path: str, digest: str | None) -> None:
    """Note in a config file which encoder an adapter stands on."""
    if digest is not None:
        settings = json.loads(Path(path).read_text(encoding="utf-8"))
        text = json.dumps({**settings, DIGEST: digest}, indent=2, sort_keys=True) + "\n"
        Path(path).write_text(text, encoding="utf-8")
