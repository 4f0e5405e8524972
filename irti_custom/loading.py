"""Where weights come from: base encoders, and checkpoints that need no base.

    from_pretrained(path) ─┬─ model_type is ours ──▶ checkpoint: config, encoder class, weights
                           ├─ ... with an adapter ─▶ `peft_model`: one of the others, adapted
                           └─ any other ───────────▶ from_encoder: a loaded encoder, a new head

Permission to run remote code is an argument of the call and travels as one; no file can grant it.
"""

from __future__ import annotations

import copy
import os
from typing import Any

from transformers import AutoConfig, AutoModel, PretrainedConfig

from .adapters import find_adapter, origin_of
from .configuration_custom import (
    HUB_ARGUMENTS,
    LOSS_SETTINGS,
    MaskedSeqModelingConfig,
    OpaqueEncoderConfig,
)
from .encoders import (
    check_encoder,
    find_encoder_class,
    freeze_pooler,
    remote_config,
    without_pooler,
)
from .saving import MaskedSeqSaving

# Of both config and loader: they belong to the loader, which passes them on to every sub-config.
_LOADER_ARGUMENTS = (
    *HUB_ARGUMENTS,
    "dtype",
    "torch_dtype",
    "attn_implementation",
    "quantization_config",
    "_commit_hash",
)
# Beside a base encoder, these are settings of the wrapper.
_WRAPPER_SETTINGS = (
    *LOSS_SETTINGS,
    "thresholds",
    "output_attentions",
    "output_hidden_states",
    "return_dict",
)


class MaskedSeqPreTrainedModel(MaskedSeqSaving):
    """Loading, on top of saving; `modeling_custom` adds the architecture."""

    config_class = MaskedSeqModelingConfig
    main_input_name = "input_ids"
    # Version 0.1.0 saved poolers, whose output is never read.
    _keys_to_ignore_on_load_unexpected = [r"\.pooler\."]  # noqa: RUF012

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike | None,
        *model_args: Any,
        num_labels: int | None = None,
        task: str | None = None,
        id2label: dict[int, str] | None = None,
        label2id: dict[str, int] | None = None,
        trust_remote_code: bool = False,
        strict_mlm_check: bool = False,
        base_model_attr_name: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """Load a base encoder under a new head, a checkpoint of this class, or an adapter of one.

        Which it is, the files say, for a folder and a Hub id alike: the `model_type` in its
        ``config.json``, and whether it holds an ``adapter_config.json``.

        Args:
            pretrained_model_name_or_path: folder or Hub id.
            *model_args: passed on to the model of a checkpoint.
            num_labels: L; required for a base encoder unless a label map is given.
            task: "multilabel" (the default for a base encoder) or "multiclass".
            id2label: label names by id; derives `label2id`.
            label2id: ids by label name; derives `id2label`.
            trust_remote_code: permit this call to run code that comes with the encoder.
            strict_mlm_check: demand that the encoder's architecture has a masked-LM class.
            base_model_attr_name: the attribute that holds the encoder; default: its model type.
            **kwargs: `thresholds` and settings of the loss (`pos_weight`, `class_weight`,
                `focal_gamma`), see `MaskedSeqModelingConfig`; else as in Transformers: `dtype`,
                `device_map`, `attn_implementation`, `revision`, `subfolder`, `token`, `cache_dir`,
                `output_loading_info`, `ignore_mismatched_sizes`, ...

                For an adapter also `is_trainable`, to train on, and `base_model_name_or_path`,
                where its base is now.

        Returns:
            The model in eval mode, for an adapter a PEFT model around it; with
            ``output_loading_info=True`` a pair of it and a dict.

        Raises:
            ValueError: missing or contradicting arguments, not an encoder, code that is needed but
                not permitted, or a checkpoint that lacks weights.
            OSError: no such folder or repository, or files missing from it.
        """
        path = pretrained_model_name_or_path
        labels: dict[str, Any] = {
            "num_labels": num_labels,
            "id2label": id2label,
            "label2id": label2id,
        }
        overrides = {k: v for k, v in {**labels, "task": task}.items() if v is not None}
        if path is None:  # the weights come as `state_dict`, as for any Transformers model
            return super().from_pretrained(None, *model_args, **overrides, **kwargs)
        hub = {name: kwargs[name] for name in HUB_ARGUMENTS if name in kwargs}
        settings, _ = MaskedSeqModelingConfig.get_config_dict(path, **hub)
        if not settings:
            raise OSError(f"{str(path)!r} holds no config.json. Was it saved whole?")
        config = _of_this_code(kwargs.pop("config", None))
        ours = settings.get("model_type") == MaskedSeqModelingConfig.model_type
        if config is not None and isinstance(config, MaskedSeqModelingConfig) != ours:
            raise ValueError(
                f"`config` is a {type(config).__name__}, which does not fit {str(path)!r}: its "
                f"config.json says model_type={settings.get('model_type')!r}. Leave `config` out."
            )
        if not ours:
            return cls.from_encoder(
                path,
                **labels,
                task=task or "multilabel",
                trust_remote_code=trust_remote_code,
                strict_mlm_check=strict_mlm_check,
                base_model_attr_name=base_model_attr_name,
                **({} if config is None else {"config": config}),
                **kwargs,
            )
        adapter = find_adapter(path, hub)
        moved = kwargs.pop("base_model_name_or_path", None) if adapter else None
        if config is None or overrides:
            own = {k: kwargs.pop(k) for k in list(kwargs) if k not in _LOADER_ARGUMENTS}
            config, unused = MaskedSeqModelingConfig.from_dict(
                settings if config is None else config.to_dict(),
                return_unused_kwargs=True,
                **overrides,
                **own,
            )
            kwargs.update(unused)
        if base_model_attr_name not in (None, config.base_model_attr_name):
            raise ValueError(
                f"The weights in {str(path)!r} are named {config.base_model_attr_name!r}, so "
                f"`base_model_attr_name` cannot be {base_model_attr_name!r}. Leave it out."
            )
        if adapter:
            from .peft_model import load_adapted

            checks = (trust_remote_code, strict_mlm_check)
            return load_adapted(cls, path, adapter, moved, config, *checks, hub, kwargs)
        return cls._from_checkpoint(
            path, config, trust_remote_code, strict_mlm_check, kwargs, *model_args
        )

    @classmethod
    def _from_checkpoint(
        cls,
        path: str | os.PathLike,
        config: MaskedSeqModelingConfig,
        trust_remote_code: bool,
        strict_mlm_check: bool,
        kwargs: dict[str, Any],
        *model_args: Any,
    ) -> Any:
        hub = {name: kwargs[name] for name in HUB_ARGUMENTS if name in kwargs}
        source = os.path.join(path, kwargs.get("subfolder") or "") if os.path.isdir(path) else path
        config = copy.deepcopy(config)
        if isinstance(config.base_model_config, OpaqueEncoderConfig):
            config.base_model_config = remote_config(
                config.base_model_config, trust_remote_code, source, **hub
            )
        if config.base_model_config is not None:  # else the model itself says what is missing
            check_encoder(config.base_model_config, strict_mlm_check)
            kwargs["encoder_class"] = find_encoder_class(
                config.base_model_config,
                trust_remote_code=trust_remote_code,
                source=source,
                **hub,
            )
        wants_info = kwargs.pop("output_loading_info", False)
        model, info = super().from_pretrained(
            path, *model_args, config=config, output_loading_info=True, **kwargs
        )
        if info["missing_keys"]:
            raise ValueError(
                f"The checkpoint in {str(path)!r} lacks weights: {sorted(info['missing_keys'])}. "
                "Was it saved whole? Loading it would leave these at random."
            )
        freeze_pooler(model.encoder)  # loading may have replaced its parameters
        model._loaded_from = origin_of(path, hub)
        return (model, info) if wants_info else model

    @classmethod
    def from_encoder(
        cls,
        base_model_name_or_path: str | os.PathLike,
        num_labels: int | None = None,
        task: str = "multilabel",
        id2label: dict[int, str] | None = None,
        label2id: dict[str, int] | None = None,
        trust_remote_code: bool = False,
        strict_mlm_check: bool = False,
        base_model_attr_name: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """Load a base encoder and put a new, untrained head on it.

        `from_pretrained` comes here for everything that is not a checkpoint of this class; its
        docstring describes the arguments.

        Returns:
            The model in eval mode; with ``output_loading_info=True`` a pair of it and a dict.

        Raises:
            ValueError: missing or contradicting arguments, not an encoder, or code that is needed
                but not permitted.
            OSError: no such folder or repository, or files missing from it.
        """
        path = base_model_name_or_path
        if num_labels is None and id2label is None and label2id is None:
            raise ValueError(
                f"{str(path)!r} is a base encoder, so its head needs a size: pass `num_labels`, or "
                "names as `id2label`. To load a trained model, give the folder it was saved to."
            )
        settings = {name: kwargs.pop(name) for name in _WRAPPER_SETTINGS if name in kwargs}
        config = MaskedSeqModelingConfig(
            num_labels=num_labels,
            task=task,
            id2label=id2label,
            label2id=label2id,
            base_model_name_or_path=str(path),
            base_model_attr_name=base_model_attr_name,
            **settings,
        )
        return cls._with_encoder(path, config, trust_remote_code, strict_mlm_check, kwargs)

    @classmethod
    def _with_encoder(
        cls,
        path: str | os.PathLike,
        config: MaskedSeqModelingConfig,
        trust_remote_code: bool,
        strict_mlm_check: bool,
        kwargs: dict[str, Any],
    ) -> Any:
        hub = {name: kwargs[name] for name in (*HUB_ARGUMENTS, "code_revision") if name in kwargs}
        base = kwargs.get("config")
        if isinstance(base, OpaqueEncoderConfig):
            base = kwargs["config"] = remote_config(base, trust_remote_code, path, **hub)
        if not isinstance(base, PretrainedConfig):
            base = AutoConfig.from_pretrained(
                base or path, trust_remote_code=bool(trust_remote_code), **hub
            )
        if isinstance(base, MaskedSeqModelingConfig):
            raise ValueError(
                f"{str(path)!r} is a checkpoint of {cls.__name__}, not a base encoder. Load it "
                "with from_pretrained; to reuse its encoder, save `model.encoder` on its own."
            )
        check_encoder(base, strict_mlm_check)
        encoder_class = find_encoder_class(
            base, trust_remote_code=trust_remote_code, source=path, **hub
        )
        wants_info = kwargs.pop("output_loading_info", False)
        encoder, info = AutoModel.from_pretrained(
            path,
            trust_remote_code=bool(trust_remote_code),
            output_loading_info=True,
            **without_pooler(encoder_class),
            **kwargs,
        )
        config.base_model_config = encoder.config
        model = cls(config, encoder=encoder).eval()
        model._loaded_from = origin_of(path, hub)
        return (model, _with_head(info, model)) if wants_info else model


def _of_this_code(config: Any) -> Any:
    """Rebuild a config that another copy of this code made: Transformers keeps several."""
    same_type = getattr(config, "model_type", None) == MaskedSeqModelingConfig.model_type
    if same_type and not isinstance(config, MaskedSeqModelingConfig):
        own = MaskedSeqModelingConfig.from_dict(config.to_dict())
        if config._attn_implementation:  # the caller's choice, which is not part of the dict
            own._attn_implementation = config._attn_implementation
        return own
    return config


def _with_head(info: dict[str, Any], model: Any) -> dict[str, Any]:
    """Put the encoder's loading report into the names of the whole model."""
    prefix = f"{model.config.base_model_attr_name}."
    head = [name for name, _ in model.named_parameters() if name.startswith("head.")]
    missing = [*(prefix + key for key in info["missing_keys"]), *head]
    return {**info, "missing_keys": type(info["missing_keys"])(missing)}
