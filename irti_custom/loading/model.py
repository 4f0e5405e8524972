"""The model of the installed package: it loads bases, checkpoints and adapters, and saves safely.

    from_pretrained(name) ─▶ resolve ─┬─ "encoder" ────▶ load_encoder
                                      ├─ "checkpoint" ─▶ load_checkpoint
                                      └─ "adapter" ────▶ load_base ─▶ attach_adapter

`modeling_custom` has the architecture, and what the copy of it in a checkpoint needs.
"""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel

from ..configuration_custom import LOSS_SETTINGS, MaskedSeqModelingConfig, OpaqueEncoderConfig
from ..encoders import find_encoder_class, remote_config, without_pooler
from ..labels import Thresholds
from ..losses import WEIGHT_NAMES
from ..modeling_custom import AutoModelForMaskedSeqModeling as TravellingModel
from .base_encoders import check_encoder
from .folders import load_one_version
from .label_prior import best_constant, check_prior
from .saving import prepared_folder
from .self_test import run
from .sources import HUB_ARGUMENTS, Source, check_same_settings, hub_arguments, resolve

logger = logging.getLogger(__name__)

# Settings of the config; every other keyword argument is for Transformers' loader.
_SETTINGS = (
    *LOSS_SETTINGS,
    "thresholds",
    "temperature",
    "groups",
    "tokens_per_position",
    "problem_type",
    "base_model_config",
    "output_attentions",
    "output_hidden_states",
    "return_dict",
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


class AutoModelForMaskedSeqModeling(TravellingModel):
    """Any encoder-only Transformer, scoring the positions in `mask_indices`.

    Args:
        config: `base_model_config` in it describes the encoder.
        encoder: the encoder itself, loaded; its config replaces `base_model_config`. Without it
            one is built from the config, with random weights.
        encoder_class: the class to build it from, for an encoder of remote code.

    Attributes:
        source: what it was loaded from; None for a model that was built.

    Raises:
        ValueError: no encoder is described, it is not an encoder, or `base_model_attr_name`
            cannot name an attribute.

    Example:
        >>> from transformers import BertConfig
        >>> encoder = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1,
        ...     intermediate_size=8, vocab_size=10)
        >>> config = MaskedSeqModelingConfig(num_labels=3, base_model_config=encoder)
        >>> model = AutoModelForMaskedSeqModeling(config)
        >>> ids, positions = torch.tensor([[1, 2, 3, 4]]), torch.tensor([[0, 2]])
        >>> tuple(model(ids, torch.ones_like(ids), positions).logits.shape)
        (1, 2, 3)
    """

    # Of hints here, only names that `modeling_custom` has: Transformers evaluates them there.
    source: Any = None
    # Puts a saved adapter on its base; `irti_custom` fills it in, since `lora` builds on this room.
    attach_adapter: Any = None
    # Ids of the markers whose embeddings `MaskedSeqProcessor.prepare_model` has started.
    prepared_tokens: frozenset = frozenset()

    def __init__(
        self,
        config: MaskedSeqModelingConfig,
        encoder: PreTrainedModel | None = None,
        encoder_class: type[PreTrainedModel] | None = None,
    ) -> None:
        described = config.base_model_config if encoder is None else encoder.config
        if described is not None:
            check_encoder(described)
        super().__init__(config, encoder, encoder_class)
        self._head_is_checked = self._loss_is_checked = False
        self._untrained: dict[str, torch.Tensor] = {}  # by name, weights of the head as they began
        self.note_untrained()

    def _init_weights(self, module: nn.Module) -> None:
        """Initialize a new module; of many labels, a position has about one."""
        super()._init_weights(module)
        is_new = not getattr(getattr(module, "bias", None), "_is_hf_initialized", False)
        if module is self.head[-1] and is_new and self.config.task == "multilabel":
            self._start_bias([1 / (self.config.num_labels + 1)] * self.config.num_labels)

    def _start_bias(self, prior: list[float]) -> None:
        """Start the last layer where its labels have these probabilities."""
        config = self.config
        weight = getattr(config, WEIGHT_NAMES[config.task])
        start = best_constant(prior, config.task, weight, config.group_ids)
        with torch.no_grad():
            self.head[-1].get_parameter("bias").copy_(start)

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
            wants_info = options.pop("output_loading_info", False)
            model, info = cls._load_trained(source, config, options, *model_args)
            if label_prior is not None and not _is_auto(label_prior):
                model.set_label_prior(label_prior)
            return (model, info) if wants_info else model

        return load_one_version(os.path.join(path, kwargs.get("subfolder") or ""), load)

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
        config = MaskedSeqModelingConfig(
            num_labels=num_labels,
            task=task,
            id2label=id2label,
            label2id=label2id,
            base_model_name_or_path=source.path,
            base_model_attr_name=base_model_attr_name,
            **{name: kwargs.pop(name) for name in _SETTINGS if name in kwargs},
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
    def _load_trained(
        cls,
        source: Source,
        config: MaskedSeqModelingConfig,
        options: dict[str, Any],
        *model_args: Any,
    ) -> tuple[Any, dict[str, Any]]:
        """Load what this package saved: a checkpoint or an adapter."""
        if source.kind == "checkpoint":
            return cls._load_checkpoint(source, config, options, *model_args)
        if source.kind == "graph":
            raise ValueError(
                f"{source.path!r} holds an exported graph, which has no PyTorch weights. Load it "
                "with OnnxMaskedSeqModel.from_pretrained, or as a pipeline."
            )
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
        trainable = options.get("is_trainable", False)
        return cls.attach_adapter(model, source, config, trainable), info

    @classmethod
    def _load_checkpoint(
        cls,
        source: Source,
        config: MaskedSeqModelingConfig,
        options: Mapping[str, Any],
        *model_args: Any,
    ) -> tuple[Any, dict[str, Any]]:
        """Load the weights of a whole model."""
        place, options = source.at(options)
        model, info = super().from_pretrained(
            place,
            *model_args,
            config=config,
            trust_remote_code=source.trust_remote_code,
            output_loading_info=True,
            **options,
        )
        model.name_or_path = model.config.name_or_path = source.path
        layers = {key.split(".")[1] for key in _mismatched(info) if key.startswith("head.")}
        if layers:  # with ignore_mismatched_sizes
            model.note_untrained(*map(int, layers))
        model.source = source
        return model, info

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
        if others := [key for key in _mismatched(info) if not key.startswith("head.")]:
            raise ValueError(f"{base.path!r} does not fit the adapter: other shapes in {others}.")
        return model, info

    def load_adapter(self, peft_model_id: str | None = None, *args: Any, **kwargs: Any) -> Any:
        """Put an adapter on this very model; as in Transformers.

        Raises:
            ValueError: its labels, thresholds or the like differ from the model's.
        """
        if peft_model_id is not None:
            check_same_settings(self.config, os.fspath(peft_model_id), kwargs)
        return super().load_adapter(peft_model_id, *args, **kwargs)

    def save_pretrained(
        self,
        save_directory: str | os.PathLike,
        is_main_process: bool = True,
        *,
        with_code: bool | None = None,
        push_to_hub: bool = False,
        **kwargs: Any,
    ) -> None:
        """Save weights and config, and the code of a remote encoder; as in Transformers.

        Args:
            save_directory: the folder.
            is_main_process: whether this process writes.
            with_code: also save the code of this package, so that
                ``AutoModel.from_pretrained(folder, trust_remote_code=True)`` works without it.
                Default: where the save is pushed. A model whose class was given to
                `register_for_auto_class` always does.
            push_to_hub: also upload what was saved, as in Transformers.
            **kwargs: as in Transformers.

        Raises:
            ValueError: the folder holds an adapter, which would be loaded on top; or the code
                cannot be saved, as its files and the encoder's have the same names.
        """
        settings = {"is_main_process": is_main_process, "push_to_hub": push_to_hub, **kwargs}
        save_directory = os.fspath(save_directory)  # Transformers 4 splits it to name a repository
        adapted = getattr(self, "_hf_peft_config_loaded", False)  # then it alone is saved
        if adapted and with_code:
            raise ValueError(
                "with_code=True is for a whole model, and with an adapter attached only the "
                "adapter is saved. Merge it first, or pass with_code=False."
            )
        with_code = (push_to_hub if with_code is None else with_code) or bool(self._auto_class)
        # A file in the folder's place is for Transformers to report.
        if adapted or not is_main_process or os.path.isfile(save_directory):
            return super().save_pretrained(save_directory, **settings)
        if push_to_hub:
            folder_name = os.path.basename(os.path.abspath(save_directory))
            settings["repo_id"] = kwargs.get("repo_id") or folder_name
        with prepared_folder(self, save_directory, with_code, kwargs.get("variant")) as folder:
            return super().save_pretrained(folder, **settings)

    @classmethod
    def run_self_test(
        cls,
        base: str,
        trust_remote_code: bool = False,
        task: str = "multilabel",
        num_labels: int = 3,
    ) -> dict[str, Any]:
        """Try one base encoder: load, forward, loss, gradient, save, reload.

        Args:
            base: folder or Hub id of an encoder.
            trust_remote_code: permit this call to run code that comes with the encoder.
            task: "multilabel" or "multiclass".
            num_labels: L of the head.

        Returns:
            ``base``, ``model_type``, ``task``, ``logits_shape``, ``loss``, ``parameters``.

        Raises:
            RuntimeError: a step failed; it names which, and the cause is chained.
        """
        return run(cls, base, trust_remote_code, task, num_labels)

    def note_untrained(self, *layers: int) -> None:
        """Note that layers of the head, by default all, are as they began: no training, no file."""
        for name, weight in self.head.named_parameters():
            if not layers or int(name.partition(".")[0]) in layers:
                self._untrained[name] = weight.detach().clone()

    def is_untrained(self, *layers: int) -> bool:
        """Return True while layers of the head, by default all, are as they began.

        A step of an optimizer, a checkpoint and `load_state_dict` change them; a cast does not.
        """
        if not isinstance(self.head, nn.Sequential):  # under an adapter
            return False
        for name, weight in self.head.named_parameters():
            if not layers or int(name.partition(".")[0]) in layers:
                began = self._untrained.get(name)
                if began is None or began.is_meta or not torch.equal(began.to(weight), weight):
                    return False
        return True

    def set_tokens_per_position(self, tokens_per_position: int) -> None:
        """Let a new head read 1 token, or 2: the first and the last one of a position.

        Raises:
            ValueError: another number, or the head has been trained to read the other one.
        """
        config = self.config
        if tokens_per_position == config.tokens_per_position:
            return
        if not self.is_untrained(0):
            place = f" of {self.source.path!r}" if self.source is not None else ""
            raise ValueError(
                f"The head{place} was trained to read {config.tokens_per_position} token(s) per "
                f"position, and the rows want {tokens_per_position}. Use the processor that it was "
                "trained with, or start from its encoder."
            )
        config.tokens_per_position = tokens_per_position
        layer = nn.Linear(tokens_per_position * config.hidden_size, config.hidden_size)
        self._init_weights(layer)
        self.head[0] = layer.to(next(self.head.parameters()))
        self.note_untrained(0)

    def set_label_prior(self, prior: Thresholds | None) -> None:
        """Start a new head from how frequent its labels are; it then learns rare ones sooner.

        Only the bias of the last layer changes.

        Args:
            prior: probabilities above 0 and below 1: one per label, in the order of their ids or by
                name, as from `label_frequencies`; for "multilabel" also one for all. None: 0.5 for
                "multilabel", equal ones for "multiclass".

        Raises:
            ValueError: other values; or the last layer has been trained, or is under an adapter.

        Example:
            >>> model = AutoModelForMaskedSeqModeling.from_pretrained(...)  # doctest: +SKIP
            >>> model.set_label_prior({"person": 0.3, "place": 0.01})  # doctest: +SKIP
        """
        if not isinstance(self.head, nn.Sequential) or not isinstance(self.head[-1], nn.Linear):
            raise ValueError("Set the prior before get_lora_model(model): the head is adapted.")
        if not self.is_untrained(3):
            raise ValueError(
                "`label_prior` is where a new head starts, and the last layer of this one has been "
                "trained. Leave it out."
            )
        config = self.config
        if prior is None:
            nn.init.zeros_(self.head[-1].get_parameter("bias"))
        else:
            self._start_bias(check_prior(prior, config.rule))
        self.note_untrained(3)

    def _loss(
        self,
        logits: torch.Tensor,
        labels: torch.Tensor | None,
        num_items_in_batch: torch.Tensor | int | None,
    ) -> torch.Tensor | None:
        """Compute the loss; warn once about a training that cannot be what is meant."""
        if self.training and labels is not None and not self._head_is_checked:
            self._check_head_trains()
        if self.training and labels is None and not self._loss_is_checked:
            self._check_loss_settings()
        return super()._loss(logits, labels, num_items_in_batch)

    def _check_head_trains(self) -> None:
        """Warn if a new head is frozen: it would stay random. PEFT freezes it unless told."""
        self._head_is_checked = True
        if self.is_untrained() and not any(p.requires_grad for p in self.head.parameters()):
            logger.warning(
                "The head is new and frozen, so it stays random and is not saved with an adapter. "
                "Use get_lora_model(model), or modules_to_save=['head'] in the PEFT config."
            )

    def _check_loss_settings(self) -> None:
        """Warn if another loss is trained with, such as the Trainer's for smoothed labels."""
        self._loss_is_checked = True
        names = (*LOSS_SETTINGS, "groups")
        set_here = [name for name in names if getattr(self.config, name)]
        if set_here and torch.is_grad_enabled():
            logger.warning(
                "The model is trained without `labels`, so with a loss of its caller, and %s of "
                "its config have no effect. label_smoothing_factor of TrainingArguments does that: "
                "leave it out.",
                set_here,
            )


# The name it is saved, pickled and found under; `irti_custom` puts it there.
AutoModelForMaskedSeqModeling.__module__ = TravellingModel.__module__


def base_model_of(model: Any) -> Any:
    """Return the model inside a PEFT model; one without PEFT, or a graph, as it is.

    Raises:
        ValueError: not a model of this package.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    model_type = getattr(getattr(base, "config", None), "model_type", None)
    if model_type != MaskedSeqModelingConfig.model_type:
        raise ValueError(
            f"`model` must be an AutoModelForMaskedSeqModeling, got {type(base).__name__}. To put "
            "a head on an encoder, call AutoModelForMaskedSeqModeling.from_pretrained(base, "
            "num_labels=...)."
        )
    return base


def _is_auto(label_prior: Any) -> bool:
    return isinstance(label_prior, str) and label_prior == "auto"


def _mismatched(info: Mapping[str, Any]) -> list[str]:
    """Name the weights whose shapes in the file were others; Transformers 4 adds these."""
    return sorted(key if isinstance(key, str) else key[0] for key in info["mismatched_keys"])


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
