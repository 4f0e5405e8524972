"""The config of a checkpoint: its task, its labels, and the encoder inside.

    MaskedSeqModelingConfig
    ├── task, problem_type, num_labels, id2label, label2id
    ├── base_model_config          the encoder's own config, whole
    └── base_model_name_or_path, base_model_type, base_model_attr_name

A config is data. Nothing in it grants permission to run code: that comes from the caller.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from transformers import CONFIG_MAPPING, AutoConfig, PretrainedConfig

from .labels import PROBLEM_TYPES, Thresholds, as_integer, check_task, resolve_labels
from .losses import WEIGHT_NAMES, check_weights
from .rule import Rule, check_unmoved
from .versions import for_this_version, with_older_names

# Version 0.1.0 stored the first two. The others choose a kernel, which may be code from a hub.
_CALLER_ONLY_KEYS = (
    "trust_remote_code",
    "strict_mlm_check",
    "attn_implementation",
    "_attn_implementation",
    "_attn_implementation_internal",
)
_WIDTH_NAMES = ("hidden_size", "d_model", "dim", "emb_dim")  # of the encoder's config
_LABEL_KEYS = ("num_labels", "id2label", "label2id")
DIGEST = "base_digest"  # in the file of an adapter alone
LOSS_SETTINGS = ("pos_weight", "class_weight", "focal_gamma")
_OF_RULE = ("task", "groups", "temperature", "thresholds")  # and the labels
_OWN_KEYS = (
    *_OF_RULE,
    *LOSS_SETTINGS,
    "problem_type",
    "base_model_attr_name",
    "tokens_per_position",
)
_NEUTRAL = {"thresholds": "0.5 for 'multilabel', 0.0 for 'multiclass'", "temperature": "1"}


class OpaqueEncoderConfig(PretrainedConfig):
    """Settings of an encoder whose config class this process does not have (remote code).

    Keeps every value, so that reading and saving a config loses nothing, and runs nothing.
    """

    def __init__(self, model_type: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model_type = model_type

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as they were, under the encoder's own `model_type`."""
        return {**super().to_dict(), "model_type": self.model_type}


class MaskedSeqModelingConfig(PretrainedConfig):
    """Configuration of `AutoModelForMaskedSeqModeling`.

    Args:
        num_labels: L, the width of the logits. Default: the length of the label maps, else 2.
        task: "multilabel" (sigmoid per label) or "multiclass" (softmax over labels).
        id2label: label names by id ``0..L-1``; either label map derives the other.
        label2id: ids by label name.
        problem_type: Transformers' name of the task; follows from `task`.
        pos_weight: L factors on the positive part of the multi-label loss.
        class_weight: L factors on the positions of each class, "multiclass" only.
        focal_gamma: focuses the loss on what is missed (Lin et al. 2017); 0 is the plain loss.
        thresholds: probabilities that `predict` decides by, see `tune_thresholds`. "multilabel":
            one for all labels, L of them, or a dict by label name, kept as a list of L; None is
            0.5. "multiclass": one, under which the top class is rejected; None rejects nothing.
        temperature: divides logits before they become probabilities, see `fit_temperature`; in the
            forms of `thresholds`. Thresholds are for the temperature they were tuned at:
            `set_temperature` moves them.
        groups: label names by name of the group, "multilabel" only. At most one label of a group
            holds at a position: a softmax over its labels and "none" replaces their sigmoids.
        tokens_per_position: how many hidden states the head reads for a position: 1, or 2 for its
            first and its last token, from `mask_indices` and `end_indices`.
        base_model_config: the encoder's config, or the dict it was saved as.
        base_model_name_or_path: where the encoder came from; a checkpoint loads without it.
        base_model_type: the encoder's `model_type`; follows from `base_model_config`.
        base_model_attr_name: the model's attribute that holds the encoder, and the first part of
            its weights' names. Default: the model type, as an identifier.

    Raises:
        ValueError: an unknown task, or settings that contradict each other.

    Example:
        >>> config = MaskedSeqModelingConfig(id2label={0: "person", 1: "place"}, task="multiclass")
        >>> config.num_labels, config.label2id["place"], config.problem_type
        (2, 1, 'single_label_classification')
    """

    model_type = "irti_masked_seq_modeling"
    sub_configs = {"base_model_config": AutoConfig}  # noqa: RUF012 (Transformers' own convention)
    # Keeps `Trainer.predict(...).predictions` one array.
    keys_to_ignore_at_inference = ["hidden_states", "attentions"]  # noqa: RUF012
    _read = None  # the settings of a file and those of the caller; without a hint, so no field

    def __init__(
        self,
        num_labels: int | None = None,
        task: str = "multilabel",
        id2label: dict[int, str] | None = None,
        label2id: dict[str, int] | None = None,
        problem_type: str | None = None,
        pos_weight: Sequence[float] | None = None,
        class_weight: Sequence[float] | None = None,
        focal_gamma: float = 0.0,
        thresholds: Thresholds | None = None,
        temperature: Thresholds | None = None,
        groups: Mapping[str, Sequence[str]] | None = None,
        tokens_per_position: int = 1,
        base_model_config: PretrainedConfig | dict[str, Any] | None = None,
        base_model_name_or_path: str | None = None,
        base_model_type: str | None = None,
        base_model_attr_name: str | None = None,
        **kwargs: Any,
    ) -> None:
        check_task(task)
        if problem_type not in (None, PROBLEM_TYPES[task]):
            raise ValueError(
                f"`problem_type` must be {PROBLEM_TYPES[task]!r} for task={task!r}, got "
                f"{problem_type!r}. Leave it out: it follows from `task`."
            )
        id2label = resolve_labels(num_labels, id2label, label2id) or {0: "LABEL_0", 1: "LABEL_1"}
        rule = Rule(task, list(id2label.values()), groups, temperature, thresholds)
        # Set first: Transformers spreads dtype and attention settings over the sub-configs.
        self.base_model_config = _as_config(base_model_config)
        self.base_model_name_or_path = base_model_name_or_path
        model_type = getattr(self.base_model_config, "model_type", None) or base_model_type
        if base_model_type not in (None, model_type):
            raise ValueError(
                f"`base_model_type` is {base_model_type!r}, but `base_model_config` describes "
                f"{model_type!r}. Leave it out: it follows from `base_model_config`."
            )
        self.base_model_type = model_type
        self.base_model_attr_name = base_model_attr_name or (
            attr_name_of(model_type) if model_type else None
        )
        super().__init__(
            id2label=id2label,
            label2id={name: index for index, name in id2label.items()},
            problem_type=PROBLEM_TYPES[task],
            **kwargs,
        )
        self.rule = rule
        self.pos_weight, self.class_weight = pos_weight, class_weight
        self.focal_gamma = focal_gamma
        self.tokens_per_position = tokens_per_position

    @property
    def rule(self) -> Rule:
        """Task, labels, groups, temperature and thresholds; assigning one sets all of them."""
        groups = tuple((name, tuple(labels)) for name, labels in (self.groups or {}).items())
        given = (self.temperature, self.thresholds)
        numbers = (tuple(x) if isinstance(x, list) else x for x in given)  # hashable
        return _cached_rule(self.task, tuple(self.label_names), groups, *numbers)

    @rule.setter
    def rule(self, rule: Rule) -> None:
        if rule.label_names is None:
            raise ValueError("The rule of a config must name its labels, got `label_names` None.")
        names = dict(enumerate(rule.label_names))
        for name in WEIGHT_NAMES.values():
            check_weights(name, vars(self).get(name), rule.task, len(names))
        self.__dict__.update(  # past the checks of single settings
            task=rule.task,
            problem_type=PROBLEM_TYPES[rule.task],
            id2label=names,
            label2id={name: index for index, name in names.items()},
            groups={name: list(labels) for name, labels in dict(rule.groups or ()).items()} or None,
        )
        for name in ("temperature", "thresholds"):
            value = getattr(rule, name)
            self.__dict__[name] = list(value) if isinstance(value, tuple) else value

    @property
    def group_ids(self) -> list[list[int]]:
        """The ids of the labels of each group."""
        return [[self.label2id[name] for name in group] for group in (self.groups or {}).values()]

    @property
    def label_names(self) -> list[str]:
        """The L names, in the order of their ids."""
        return [self.id2label[index] for index in range(self.num_labels)]

    def set_temperature(self, temperature: Thresholds | None) -> None:
        """Set the temperature, and move the thresholds along, so that no decision changes.

        Raises:
            ValueError: an invalid temperature, or thresholds that cannot follow: those that reject
                the top class or the answer of a group. Nothing has changed then.

        Example:
            >>> config = MaskedSeqModelingConfig(num_labels=2, thresholds=[0.9, 0.5])
            >>> config.set_temperature(2.0)
            >>> config.temperature, config.thresholds
            (2.0, [0.75..., 0.5])
        """
        self.rule = self.rule.at_temperature(temperature)

    @property
    def vocab_size(self) -> int | None:
        """The number of token ids in the encoder's own config; None where it has none."""
        return getattr(self.base_model_config, "vocab_size", None)

    @vocab_size.setter
    def vocab_size(self, value: int) -> None:
        if self.base_model_config is None:
            raise AttributeError("`vocab_size` is the encoder's, and `base_model_config` is None.")
        self.base_model_config.vocab_size = value

    @property
    def hidden_size(self) -> int:
        """H, the width of the encoder's hidden states; AttributeError where its config has none."""
        widths = (getattr(self.base_model_config, name, None) for name in _WIDTH_NAMES)
        width = next((width for width in widths if isinstance(width, int)), None)
        if width is None:
            raise AttributeError(
                f"The config of {self.base_model_type!r} must say how wide its hidden states are, "
                f"under one of {_WIDTH_NAMES}; it has none of them."
            )
        return width

    def __setattr__(self, name: str, value: Any) -> None:
        """Set a setting in its normal form.

        Assigning one label map derives the other; assigning `task`, its `problem_type`.

        Raises:
            ValueError: a value that contradicts the other settings.
        """
        is_built = "task" in vars(self)  # Transformers sets some while it is being built
        if name in ("id2label", "label2id"):
            names = resolve_labels(None, **{"id2label": None, "label2id": None, name: value})
            if names is None:
                raise ValueError(f"`{name}` must name the labels, got None.")
            if is_built:
                self.rule = self.rule.with_(label_names=list(names.values()))
                return
            super().__setattr__("id2label", names)
            name, value = "label2id", {name: index for index, name in names.items()}
        elif name in _OF_RULE and is_built:
            self.rule = self.rule.with_(**{name: value})
            return
        elif name in WEIGHT_NAMES.values() and is_built:
            value = check_weights(name, value, self.task, self.num_labels)
        elif name == "focal_gamma":
            if not isinstance(value, (int, float)) or not 0 <= value < math.inf:
                raise ValueError(f"`{name}` must be at least 0, got {value!r}.")
            value = float(value)
        elif name == "tokens_per_position":
            if as_integer(value) not in (1, 2):
                raise ValueError(
                    f"`{name}` must be 1, or 2 for first and last token, got {value!r}."
                )
            value = as_integer(value)
        elif name == "base_model_attr_name" and (
            not str(value).isidentifier() or str(value).startswith("_")
        ):
            raise ValueError(
                f"`{name}` must be a Python identifier without a leading underscore, got "
                f"{value!r}. The default is the encoder's model type, such as 'bert'."
            )
        super().__setattr__(name, value)

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """Build a config from a saved dict; keyword arguments are the caller's and win.

        Overriding labels or task drops what follows from the saved ones. Permissions are dropped.

        Raises:
            ValueError: settings that contradict each other, or a saved `temperature` or saved
                `thresholds` that are for another task, other labels or another temperature.
        """
        read = (config_dict, dict(kwargs))
        config_dict = _as_data(config_dict)
        if not _is_remote(cls):  # a checkpoint's copy of this code is for processes without it
            config_dict.pop("auto_map", None)
        saved = dict(config_dict)
        overrides = {k: kwargs.pop(k) for k in _LABEL_KEYS if kwargs.get(k) is not None}
        maps = config_dict.get("id2label") or config_dict.get("label2id")
        size = len(maps) if maps else config_dict.get("num_labels")
        if overrides and overrides != {"num_labels": size}:
            config_dict = {k: v for k, v in config_dict.items() if k not in _LABEL_KEYS}
            config_dict.update(overrides)
        if kwargs.get("task") is not None:
            config_dict.pop("problem_type", None)
        for name in ("temperature", "thresholds"):
            if kwargs.get(name) is None and saved.get(name) is not None:
                _check_still_fits(name, saved, {**config_dict, **kwargs})
        # None means "as saved". Without these, Transformers would set the attributes one by one,
        # past the checks of `__init__`.
        for name in (*_LABEL_KEYS, *_OWN_KEYS):
            value = kwargs.pop(name, None)
            if value is not None:
                config_dict[name] = value
        made = super().from_dict(config_dict, **kwargs)
        config = made[0] if isinstance(made, tuple) else made
        config.__dict__["_read"] = read  # past the checks of settings
        return made

    def up_to_date(self, settings: Mapping[str, Any]) -> MaskedSeqModelingConfig:
        """Return this config, or one of a folder's newer settings if the folder was saved to since.

        The Auto classes and ``pipeline`` read a config first and load its weights later.

        Raises:
            ValueError: it was changed since it was read.
        """
        if self._read is None or self._read[0] == settings:
            return self
        before, overrides = self._read
        overrides.pop("return_unused_kwargs", None)
        if self.to_dict() != type(self).from_dict(before, **overrides).to_dict():
            raise ValueError(
                "`config` was read from a folder that has been saved to since, and changed. Read "
                "it again."
            )
        return type(self).from_dict(dict(settings), **overrides)

    def _get_generation_parameters(self) -> dict[str, Any]:
        """Return none, for Transformers would not save them here; our `temperature` is not its."""
        return {}

    _get_non_default_generation_parameters = _get_generation_parameters  # Transformers 4

    def get_text_config(self, *args: Any, **kwargs: Any) -> PretrainedConfig:
        """Return the encoder's config: special tokens, widths and the like are its own."""
        return self if self.base_model_config is None else self.base_model_config

    def __eq__(self, other: object) -> bool:
        """Compare all settings, whether they were read from a file or not."""
        return isinstance(other, type(self)) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]  # as in Transformers

    def to_dict(self) -> dict[str, Any]:
        """Return all settings as plain data, `num_labels` included."""
        output = super().to_dict()
        output.pop("_read", None)
        output["num_labels"] = self.num_labels
        return output

    def to_diff_dict(self) -> dict[str, Any]:
        """Return what is saved. The encoder's settings are whole, to outlive changed defaults."""
        full = self.to_dict()
        if self.base_model_config is None:  # older Transformers cannot compare a missing sub-config
            return full
        output = super().to_diff_dict()
        for name in (*_LABEL_KEYS, "problem_type"):
            output[name] = full[name]
        encoder = with_older_names(full["base_model_config"])
        encoder.pop("_name_or_path", None)  # a folder of this machine
        return {**output, "base_model_config": encoder}


_cached_rule = functools.lru_cache(maxsize=64)(Rule)  # `predict` asks for it with every batch


def attr_name_of(model_type: str) -> str:
    """Turn a model type into an identifier, as version 0.1.0 did."""
    name = re.sub(r"[^a-z0-9]+", "_", model_type.lower()).strip("_") or "encoder"
    return f"m_{name}" if name[0].isdigit() else name


def _as_config(value: PretrainedConfig | dict[str, Any] | None) -> PretrainedConfig | None:
    if value is None or isinstance(value, PretrainedConfig):
        return value
    settings = dict(value)
    if not settings:
        return None  # version 0.1.0 wrote {} for "not known"
    model_type = settings.pop("model_type", "")
    if not model_type and "auto_map" not in settings:
        raise ValueError(
            "`base_model_config` must name its `model_type`, got a dict without: "
            f"{sorted(settings)}. Pass the encoder's whole config."
        )
    settings.pop("transformers_version", None)
    # A class that a permitted load has registered is remote code all the same.
    if model_type in CONFIG_MAPPING and not _is_remote(CONFIG_MAPPING[model_type]):
        config_class = CONFIG_MAPPING[model_type]
        return config_class.from_dict(for_this_version(settings, config_class))
    return OpaqueEncoderConfig(model_type=model_type, **settings)


def _is_remote(config_class: type) -> bool:
    return config_class.__module__.startswith("transformers_modules")


def _as_data(config_dict: dict[str, Any]) -> dict[str, Any]:
    """Drop from a saved dict what only a caller may say."""
    data = {k: v for k, v in config_dict.items() if k not in (*_CALLER_ONLY_KEYS, DIGEST)}
    if "strict_mlm_check" in config_dict and data.get("base_model_attr_name"):
        # Version 0.1.0 stored the name as the caller gave it and normalised it on use.
        data["base_model_attr_name"] = attr_name_of(data["base_model_attr_name"])
    if isinstance(data.get("base_model_config"), dict):
        data["base_model_config"] = _as_data(data["base_model_config"])
    return data


def _check_still_fits(name: str, saved: dict[str, Any], changed: dict[str, Any]) -> None:
    """Raise if labels would be decided by what was tuned for others, or at another temperature."""
    if name == "temperature" and saved[name] == 1:  # Transformers 4 may have written it
        return
    labels = [resolve_labels(*(c.get(key) for key in _LABEL_KEYS)) for c in (saved, changed)]
    tasks = [config.get("task") or "multilabel" for config in (saved, changed)]
    if labels[0] != labels[1] or tasks[0] != tasks[1]:
        raise ValueError(
            f"The saved `{name}` are for task={tasks[0]!r} with the labels {labels[0]}, got "
            f"task={tasks[1]!r} with {labels[1]}. Pass `{name}` for these, too: {_NEUTRAL[name]} "
            "is as if there were none."
        )
    if name == "thresholds" and changed.get("temperature") is not None:
        check_unmoved(saved[name], saved.get("temperature"), changed["temperature"])
