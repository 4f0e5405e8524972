"""Find out what a name stands for, then load it.

    resolve(name) ──▶ Source ─┬─ "encoder" ────▶ the encoder, loaded, under a new head
                              ├─ "checkpoint" ─▶ config, encoder class, weights
                              ├─ "adapter" ────▶ its base, which is one of the two; then the adapter
                              └─ "graph" ──────▶ an exported graph, which `OnnxMaskedSeqModel` runs

Permission to run remote code is an argument of the call and travels as one; no file can grant it.
"""

from __future__ import annotations

import copy
import importlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Optional

from huggingface_hub.utils import HFValidationError, validate_repo_id
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel
from transformers.utils import CONFIG_NAME, cached_file
from transformers.utils.hub import extract_commit_hash

from .configuration_custom import (
    DIGEST,
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
from .folders import load_one_version, whole_folder
from .labels import Thresholds
from .versions import hint_of_version

ONNX_FILE = "model.onnx"
ADAPTER_CONFIG = "adapter_config.json"
HUB_ARGUMENTS = (
    "cache_dir",
    "force_download",
    "local_files_only",
    "proxies",
    "revision",
    "subfolder",
    "token",
)
"""Where and how a file is fetched, as in Transformers."""

# Settings of the config; every other keyword argument is for Transformers' loader.
_OUTPUTS = ("output_attentions", "output_hidden_states", "return_dict")
_SETTINGS = (
    *LOSS_SETTINGS,
    "thresholds",
    "temperature",
    "groups",
    "tokens_per_position",
    "problem_type",
    "base_model_config",
    *_OUTPUTS,
)
# These apply to the adapter; its base is at a place of its own.
_ADAPTER_ARGUMENTS = (
    "_commit_hash",
    "adapter_kwargs",
    "base_model_name_or_path",
    "is_trainable",
    "revision",
    "subfolder",
)
# As Transformers does where it looks for an adapter: also without a connection.
_MAY_BE_MISSING = {
    "_raise_exceptions_for_missing_entries": False,
    "_raise_exceptions_for_connection_errors": False,
}


@dataclass(frozen=True)
class Source:
    """What a folder or a Hub id holds.

    Attributes:
        path: the folder or Hub id.
        kind: "encoder", "checkpoint", "adapter" or "graph".
        settings: its ``config.json``.
        hub: the arguments it is fetched by, see `HUB_ARGUMENTS`.
        base_name: of an adapter, the folder or Hub id of what it was trained on, if that is known.
        base_revision: the commit of that.
        trust_remote_code: whether the caller permitted to run code that comes with it.
        hidden: the folder inside of `path` that its files are read from, where a save into it was
            interrupted; else None.
    """

    path: str
    kind: str
    settings: Mapping[str, Any]
    hub: Mapping[str, Any] = field(default_factory=dict)
    base_name: str | None = None
    base_revision: str | None = None
    trust_remote_code: bool = False
    hidden: str | None = None

    @property
    def config(self) -> MaskedSeqModelingConfig:
        """The config; an encoder's as if there were a model around it. Runs no code."""
        if self.kind == "encoder":
            return MaskedSeqModelingConfig(base_model_config=dict(self.settings))
        return MaskedSeqModelingConfig.from_dict(dict(self.settings))

    @property
    def folder(self) -> str:
        """The folder or Hub id that holds its files."""
        if self.hidden:
            return self.hidden
        subfolder = self.hub.get("subfolder") or ""
        return os.path.join(self.path, subfolder) if os.path.isdir(self.path) else self.path

    def at(self, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Return where to read from, and the options for that."""
        if self.hidden is None:
            return self.path, dict(options)
        return self.hidden, {k: v for k, v in options.items() if k != "subfolder"}

    @property
    def revision(self) -> str | None:
        """The commit that was downloaded from the Hub; None for a folder."""
        if os.path.isdir(self.path):
            return None
        options = {k: v for k, v in self.hub.items() if k != "force_download"}
        options["local_files_only"] = True
        return extract_commit_hash(find_file(self.path, CONFIG_NAME, options), None)


def hub_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Pick the arguments that say where and how a file is fetched."""
    return {name: arguments[name] for name in HUB_ARGUMENTS if name in arguments}


def find_file(path: str, name: str, hub: Mapping[str, Any]) -> str | None:
    """Return where a file of a folder or of a Hub id lies on this machine; None: it has no such.

    Raises:
        OSError: there is no such folder or repository.
    """
    if not os.path.isdir(path):
        try:
            validate_repo_id(path)
        except HFValidationError as error:
            raise OSError(f"{path!r} is no folder on this machine, and no Hub id.") from error
    return cached_file(path, name, **{**hub, **_MAY_BE_MISSING})


def resolve(name_or_path: str | os.PathLike, trust_remote_code: bool = False, **hub: Any) -> Source:
    """Find out what a folder or a Hub id holds, from its files; runs no code and loads no weights.

    Args:
        name_or_path: folder or Hub id.
        trust_remote_code: the permission of the caller, which travels with the result.
        **hub: `HUB_ARGUMENTS`.

    Raises:
        OSError: no such folder or repository, or no ``config.json`` in it.
    """
    path = os.fspath(name_or_path)
    place, options = read_place(path, hub, CONFIG_NAME, ADAPTER_CONFIG)
    hidden = None if place == path else place
    permitted = trust_remote_code is True
    source = Source(path, "encoder", {}, hub, trust_remote_code=permitted, hidden=hidden)
    adapter = _adapter_settings(place, options)
    if adapter is not None and find_file(place, CONFIG_NAME, options) is None:
        return _resolve_plain_adapter(source, adapter)
    settings, _ = MaskedSeqModelingConfig.get_config_dict(place, **options)
    if not settings:
        raise OSError(f"{path!r} holds no {CONFIG_NAME}. Was it saved whole?")
    source = replace(source, settings=settings)
    if settings.get("model_type") != MaskedSeqModelingConfig.model_type:
        return source
    if os.path.isfile(os.path.join(source.folder, ONNX_FILE)):
        return replace(source, kind="graph")
    if adapter is None:
        return replace(source, kind="checkpoint")
    base_name = adapter.get("base_model_name_or_path") or settings.get("base_model_name_or_path")
    return replace(
        source, kind="adapter", base_name=base_name, base_revision=adapter.get("revision")
    )


def read_place(path: str, options: Mapping[str, Any], *names: str) -> tuple[str, dict[str, Any]]:
    """Return where files are read from, and the options for that.

    That is `path`, or the hidden folder inside of it that holds a save which was interrupted.
    """
    folder = os.path.join(path, options.get("subfolder") or "")
    place = whole_folder(folder, *names)
    if place == folder:
        return path, dict(options)
    return place, {k: v for k, v in options.items() if k != "subfolder"}


def check_same_settings(
    config: MaskedSeqModelingConfig,
    adapter: str,
    hub: Mapping[str, Any],
    is_loaded: bool = False,
    digest: str | None = None,
) -> None:
    """Check that an adapter goes with a model's labels and decisions, which are one for all.

    Args:
        config: the model's.
        adapter: folder or Hub id.
        hub: where and how it is fetched.
        is_loaded: whether it is an earlier state of an adapter that the model has; thresholds may
            have been tuned since.
        digest: of the encoder under the model's adapters, if that is known.

    Raises:
        ValueError: it has a config of its own that differs, or was trained on another encoder.
    """
    try:
        source = resolve(adapter, **hub_arguments(hub))
        other = source.config
    except (OSError, ValueError):  # what PEFT alone saved, or what loading will complain of
        return
    check_digest(source, digest, "the one under the model's adapters")
    names: tuple[str, ...] = ("task", "label_names", "groups", "tokens_per_position")
    names += () if is_loaded else ("thresholds", "temperature")
    pairs = {name: (getattr(config, name), getattr(other, name)) for name in names}
    different = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
    if different:
        raise ValueError(
            f"The adapter in {adapter!r} differs from the model in {different}, and a model has "
            "one config for all adapters. Load each with from_pretrained, as a model of its own."
        )


def check_digest(source: Source, digest: str | None, base: str) -> None:
    """Check that an adapter was trained on an encoder with this digest, if of one data type.

    Raises:
        ValueError: it was not.
    """
    wanted = source.settings.get(DIGEST)
    if wanted and digest and wanted != digest and wanted.split()[0] == digest.split()[0]:
        raise ValueError(
            f"The adapter in {source.path!r} was trained on an encoder with other weights than "
            f"{base}. Restore those, or pass base_model_name_or_path=... where they are."
        )


def _adapter_settings(path: str, hub: dict[str, Any]) -> dict[str, Any] | None:
    file_name = find_file(path, ADAPTER_CONFIG, hub)
    if file_name is None:
        return None
    with open(file_name, encoding="utf-8") as file:
        return json.load(file)


def _resolve_plain_adapter(source: Source, adapter: dict[str, Any]) -> Source:
    """Resolve a folder that PEFT alone wrote: labels and task are those of its base."""
    path, name = source.path, adapter.get("base_model_name_or_path")
    permitted, revision = source.trust_remote_code, adapter.get("revision")
    try:
        base = resolve(name, permitted, revision=revision) if name else None
    except OSError:
        base = None
    if base is None or base.kind != "checkpoint":
        raise ValueError(
            f"{path!r} holds an adapter that PEFT saved without the model's {CONFIG_NAME}, and its "
            f"base ({name!r}) is no checkpoint of this package, so nothing says what its labels "
            "are. Build the model as for the training, then call PeftModel.from_pretrained(model, "
            f"{path!r}); get_lora_model(model) saves folders that load by themselves."
        )
    return replace(
        source, kind="adapter", settings=base.settings, base_name=name, base_revision=revision
    )


class MaskedSeqPreTrainedModel(PreTrainedModel):
    """Loading; `modeling_custom` adds the architecture."""

    config_class = MaskedSeqModelingConfig
    main_input_name = "input_ids"
    # What the model was loaded from; None for one that was built. Transformers evaluates the hint.
    source: Optional[Source] = None  # noqa: UP045
    # Ids of the markers whose embeddings `MaskedSeqProcessor.prepare_model` has started.
    prepared_tokens: frozenset = frozenset()
    # Version 0.1.0 saved poolers, whose output is never read.
    _keys_to_ignore_on_load_unexpected = [r"\.pooler\."]  # noqa: RUF012

    def load_adapter(self, peft_model_id: str | None = None, *args: Any, **kwargs: Any) -> Any:
        """Put an adapter on this very model; as in Transformers.

        Raises:
            ValueError: its labels, thresholds or the like differ from the model's.
        """
        if peft_model_id is not None:
            check_same_settings(self.config, os.fspath(peft_model_id), kwargs)
        return super().load_adapter(peft_model_id, *args, **kwargs)

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
        label_prior: Thresholds | str | None = "auto",
        **kwargs: Any,
    ) -> Any:
        """Load a base encoder under a new head, a checkpoint of this class, or an adapter of one.

        Its files say which: the `model_type` in ``config.json``, and ``adapter_config.json``.

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
            label_prior: where a new head starts, see `set_label_prior`. "auto": for "multilabel"
                at about one label per position, probabilities of ``1 / (L + 1)``; for "multiclass"
                at equal ones.
            **kwargs: `thresholds`, `temperature`, `groups`, `tokens_per_position` and settings of
                the loss (`pos_weight`, `class_weight`, `focal_gamma`), see
                `MaskedSeqModelingConfig`; else as in Transformers: `dtype`, `device_map`,
                `attn_implementation`, `revision`, `subfolder`, `token`, `cache_dir`,
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
        labels: dict = {"num_labels": num_labels, "id2label": id2label, "label2id": label2id}
        overrides = {k: v for k, v in {**labels, "task": task}.items() if v is not None}
        if path is None:  # the weights come as `state_dict`, as for any Transformers model
            return super().from_pretrained(None, *model_args, **overrides, **kwargs)

        def load() -> Any:
            source = resolve(path, trust_remote_code, **hub_arguments(kwargs))
            options = dict(kwargs)
            config = _own_config(options.pop("config", None), source)
            if source.kind == "encoder":
                return cls.from_encoder(
                    path,
                    **labels,
                    task=task or "multilabel",
                    trust_remote_code=trust_remote_code,
                    strict_mlm_check=strict_mlm_check,
                    base_model_attr_name=base_model_attr_name,
                    label_prior=label_prior,
                    **({} if config is None else {"config": config}),
                    **options,
                )
            settings = {name: options.pop(name) for name in _SETTINGS if name in options}
            if config is None or overrides or settings:
                config = MaskedSeqModelingConfig.from_dict(
                    dict(source.settings) if config is None else config.to_dict(),
                    **overrides,
                    **settings,
                )
            if base_model_attr_name not in (None, config.base_model_attr_name):
                raise ValueError(
                    f"The weights in {str(path)!r} are named {config.base_model_attr_name!r}, so "
                    f"`base_model_attr_name` cannot be {base_model_attr_name!r}. Leave it out."
                )
            if config.base_model_config is not None:  # else the model itself says what is missing
                check_encoder(config.base_model_config, strict_mlm_check)
            return cls._load_trained(source, config, label_prior, options, *model_args)

        return load_one_version(os.path.join(path, kwargs.get("subfolder") or ""), load)

    @classmethod
    def _load_trained(
        cls,
        source: Source,
        config: MaskedSeqModelingConfig,
        label_prior: Thresholds | str | None,
        options: dict[str, Any],
        *model_args: Any,
    ) -> Any:
        """Load what this package saved: a checkpoint or an adapter."""
        if source.kind == "graph":
            raise ValueError(
                f"{source.path!r} holds an exported graph, which has no PyTorch weights. Load it "
                "with OnnxMaskedSeqModel.from_pretrained, or as a pipeline."
            )
        wants_info = options.pop("output_loading_info", False)
        if source.kind == "adapter":
            model, info = cls._load_adapter(source, config, options)
        else:
            model, info = cls._load_checkpoint(source, config, options, *model_args)
        if label_prior is not None and not _is_auto(label_prior):
            model.set_label_prior(label_prior)
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
        label_prior: Thresholds | str | None = "auto",
        **kwargs: Any,
    ) -> Any:
        """Load a base encoder and put a new, untrained head on it.

        `from_pretrained` describes the arguments, the result and the errors. Here a checkpoint of
        this class is an error, too.
        """
        source = resolve(base_model_name_or_path, trust_remote_code, **hub_arguments(kwargs))
        if source.kind != "encoder":
            raise ValueError(
                f"{source.path!r} is a {source.kind} of {cls.__name__}, not a base encoder. Load "
                "it with from_pretrained; to reuse its encoder, save `model.encoder` on its own."
            )
        if num_labels is None and id2label is None and label2id is None:
            raise ValueError(
                f"{source.path!r} is a base encoder, so its head needs a size: pass `num_labels`, "
                "or names as `id2label`. To load a trained model, give the folder it was saved to."
            )
        settings = {name: kwargs.pop(name) for name in _SETTINGS if name in kwargs}
        config = MaskedSeqModelingConfig(
            num_labels=num_labels,
            task=task,
            id2label=id2label,
            label2id=label2id,
            base_model_name_or_path=source.path,
            base_model_attr_name=base_model_attr_name,
            **settings,
        )
        wants_info = kwargs.pop("output_loading_info", False)
        model, info = cls._load_encoder(source, config, kwargs, strict_mlm_check)
        if not _is_auto(label_prior):
            model.set_label_prior(label_prior)
        return (model, info) if wants_info else model

    @classmethod
    def _load_encoder(
        cls,
        source: Source,
        config: MaskedSeqModelingConfig,
        options: Mapping[str, Any],
        strict_mlm_check: bool = False,
    ) -> tuple[Any, dict[str, Any]]:
        """Load an encoder and put a new head on it; `config` describes the whole model."""
        permitted, options = source.trust_remote_code, dict(options)
        code = {k: v for k, v in options.items() if k in (*HUB_ARGUMENTS, "code_revision")}
        base = options.get("config")
        if isinstance(base, OpaqueEncoderConfig):
            base = options["config"] = remote_config(base, source.path, permitted, **code)
        if not isinstance(base, PretrainedConfig):
            base = AutoConfig.from_pretrained(
                base or source.path, trust_remote_code=permitted, **code
            )
        check_encoder(base, strict_mlm_check)
        encoder_class = find_encoder_class(base, source.path, permitted, **code)
        encoder, info = AutoModel.from_pretrained(
            source.path,
            trust_remote_code=permitted,
            output_loading_info=True,
            **without_pooler(encoder_class),
            **options,
        )
        config.base_model_config = encoder.config
        model = cls(config, encoder=encoder).eval()
        model.source = source
        # The report on the encoder becomes one on the whole model.
        head = [name for name, _ in model.named_parameters() if name.startswith("head.")]
        names = [f"{config.base_model_attr_name}.{key}" for key in info["missing_keys"]]
        return model, {**info, "missing_keys": type(info["missing_keys"])([*names, *head])}

    @classmethod
    def _load_checkpoint(
        cls,
        source: Source,
        config: MaskedSeqModelingConfig,
        options: Mapping[str, Any],
        *model_args: Any,
    ) -> tuple[Any, dict[str, Any]]:
        """Load the weights of a whole model."""
        config, options = copy.deepcopy(config), dict(options)
        base, permitted = config.base_model_config, source.trust_remote_code
        if isinstance(base, OpaqueEncoderConfig):
            base = remote_config(base, source.folder, permitted, **source.hub)
            config.base_model_config = base
        if base is not None:
            options["encoder_class"] = find_encoder_class(
                base, source.folder, permitted, **source.hub
            )
        place, options = source.at(options)
        model, info = super().from_pretrained(
            place, *model_args, config=config, output_loading_info=True, **options
        )
        model.name_or_path = model.config.name_or_path = source.path
        if info["missing_keys"]:
            raise ValueError(
                f"The checkpoint in {source.path!r} lacks weights: {sorted(info['missing_keys'])}. "
                "Was it saved whole? Loading it would leave these at random."
                + hint_of_version(source.settings)
            )
        freeze_pooler(model.encoder)  # loading may have replaced its parameters
        keys = [key if isinstance(key, str) else key[0] for key in info["mismatched_keys"]]
        if begun := {int(key.split(".")[1]) for key in keys if key.startswith("head.")}:
            model.note_untrained(*begun)  # with ignore_mismatched_sizes
        model.source = source
        return model, info

    @classmethod
    def _load_adapter(
        cls, source: Source, config: MaskedSeqModelingConfig, options: Mapping[str, Any]
    ) -> tuple[Any, dict[str, Any]]:
        """Load the base of an adapter, and have `lora` put the adapter on it."""
        for_base = {k: v for k, v in options.items() if k not in _ADAPTER_ARGUMENTS}
        moved = options.get("base_model_name_or_path")
        name = moved or source.base_name
        if not name:
            raise ValueError(
                f"The adapter in {source.path!r} stands on a model that came from no folder or Hub "
                "id. Pass `base_model_name_or_path`, or build that model again and call "
                f"PeftModel.from_pretrained(model, {source.path!r})."
            )
        if source.base_revision and not moved:
            for_base["revision"] = source.base_revision
        try:
            base = resolve(name, source.trust_remote_code, **hub_arguments(for_base))
            model, info = cls.load_base(base, config, for_base)
        except OSError as error:
            raise OSError(
                f"The adapter in {source.path!r} stands on {str(name)!r}, which cannot be loaded: "
                f"{error} If it has moved, pass base_model_name_or_path=... to from_pretrained."
            ) from error
        # The one way from here up into a folder: who loads no adapter needs neither it nor PEFT.
        try:
            peft_model = importlib.import_module(f"{__package__}.lora.peft_model")
        except ModuleNotFoundError as error:
            if error.name == "peft":
                raise
            message = f"{source.path!r} is an adapter; to load one, install irti_custom."
            raise ModuleNotFoundError(message, name=error.name) from error
        trainable = options.get("is_trainable", False)
        return peft_model.attach_adapter(model, source, config, trainable), info

    @classmethod
    def load_base(
        cls, base: Source, config: MaskedSeqModelingConfig, options: dict[str, Any]
    ) -> tuple[Any, dict[str, Any]]:
        """Load what an adapter with this config was trained on, with the base's own vocabulary."""
        known, config = base.config, copy.deepcopy(config)
        if config.base_model_config is not None and known.vocab_size is not None:
            config.base_model_config.vocab_size = known.vocab_size
        if base.kind == "encoder":
            config.base_model_name_or_path = base.path
            options = {**options, "config": config.base_model_config}
            model, info = cls._load_encoder(base, config, options)
        else:
            if known.num_labels != config.num_labels:
                options = {**options, "ignore_mismatched_sizes": True}  # the adapter has its head
            model, info = cls._load_checkpoint(base, config, options)
        keys = [key if isinstance(key, str) else key[0] for key in info["mismatched_keys"]]
        others = sorted(key for key in keys if not key.startswith("head."))
        if others:
            raise ValueError(f"{base.path!r} does not fit the adapter: other shapes in {others}.")
        return model, info


def _is_auto(label_prior: Any) -> bool:
    return isinstance(label_prior, str) and label_prior == "auto"


def _own_config(config: Any, source: Source) -> Any:
    """Check the caller's config, and rebuild one that another copy of this code made."""
    if config is None:
        return None
    ours = getattr(config, "model_type", None) == MaskedSeqModelingConfig.model_type
    if ours != (source.kind != "encoder"):
        raise ValueError(
            f"`config` is a {type(config).__name__}, which does not fit {source.path!r}: that is "
            f"of model_type={source.settings.get('model_type')!r}. Leave `config` out."
        )
    if not ours:
        return config
    if isinstance(config, MaskedSeqModelingConfig):
        from_there = config.name_or_path == source.path
        return config.up_to_date(source.settings) if from_there else config
    rebuilt = MaskedSeqModelingConfig.from_dict(config.to_dict())
    if config._attn_implementation:  # the caller's choice, which is not part of the dict
        rebuilt._attn_implementation = config._attn_implementation
    return rebuilt
