"""Find out what a folder or a Hub id holds, from its files alone.

    resolve(name) ──▶ Source ─┬─ "encoder" ────▶ loaded under a new head
                              ├─ "checkpoint" ─▶ config, encoder class, weights
                              ├─ "adapter" ────▶ its base, which is one of the two; then the adapter
                              └─ "graph" ──────▶ an exported graph, which `OnnxMaskedSeqModel` runs

Permission to run remote code is an argument of the call and travels as one; no file can grant it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from huggingface_hub.utils import HFValidationError, validate_repo_id
from transformers.utils import CONFIG_NAME, cached_file
from transformers.utils.hub import extract_commit_hash

from ..configuration_custom import DIGEST, MaskedSeqModelingConfig
from ..encoders import HUB_ARGUMENTS
from .folders import whole_folder

ONNX_FILE = "model.onnx"
ADAPTER_CONFIG = "adapter_config.json"
# As Transformers does where it looks for an adapter: also without a connection.
_MAY_BE_MISSING = {
    "_raise_exceptions_for_missing_entries": False,
    "_raise_exceptions_for_connection_errors": False,
}


@dataclass(frozen=True)
class Source:
    """The content of a folder or a Hub id.

    Attributes:
        path: the folder or Hub id.
        place: where its files are read from: `path`, or the folder inside of it that holds a save
            which was interrupted.
        kind: "encoder", "checkpoint", "adapter" or "graph".
        settings: its ``config.json``.
        hub: the arguments it is fetched by, see `HUB_ARGUMENTS`.
        base_name: the folder or Hub id of what an adapter was trained on, if that is known.
        base_revision: the commit of that.
        trust_remote_code: whether the caller permitted to run code that comes with it.
    """

    path: str
    place: str
    kind: str = "encoder"
    settings: Mapping[str, Any] = field(default_factory=dict)
    hub: Mapping[str, Any] = field(default_factory=dict)
    base_name: str | None = None
    base_revision: str | None = None
    trust_remote_code: bool = False

    @property
    def config(self) -> MaskedSeqModelingConfig:
        """The config; an encoder's as if there were a model around it. Runs no code."""
        if self.kind == "encoder":
            return MaskedSeqModelingConfig(base_model_config=dict(self.settings))
        return MaskedSeqModelingConfig.from_dict(dict(self.settings))

    @property
    def folder(self) -> str:
        """The folder or Hub id that holds its files."""
        place, hub = self.at(self.hub)
        return os.path.join(place, hub.get("subfolder") or "") if os.path.isdir(place) else place

    def at(self, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Return where to read from, and the options for that."""
        return self.place, _options_at(self.place, self.path, options)

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
    """Return the local path of a file of a folder or Hub id, or None if it has no such file.

    Raises:
        OSError: there is no such folder or repository.
    """
    if not os.path.isdir(path):
        try:
            validate_repo_id(path)
        except HFValidationError as error:
            raise OSError(f"{path!r} is no folder on this machine, and no Hub id.") from error
    return cached_file(path, name, **{**hub, **_MAY_BE_MISSING})


def read_place(path: str, options: Mapping[str, Any], *names: str) -> tuple[str, dict[str, Any]]:
    """Return where files are read from, see `Source.place`, and the options for that."""
    folder = os.path.join(path, options.get("subfolder") or "")
    place = whole_folder(folder, *names)
    place = path if place == folder else place
    return place, _options_at(place, path, options)


def _options_at(place: str, path: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options without the subfolder, where the place is that folder already."""
    return {k: v for k, v in options.items() if k != "subfolder" or place == path}


def resolve(name_or_path: str | os.PathLike, trust_remote_code: bool = False, **hub: Any) -> Source:
    """Find out what a folder or a Hub id holds, from its files; runs no code and loads no weights.

    Args:
        name_or_path: folder or Hub id.
        trust_remote_code: the permission of the caller, which travels with the result.
        **hub: `HUB_ARGUMENTS`.

    Raises:
        OSError: no such folder or repository, or no ``config.json`` in it.
        ValueError: an adapter whose base says nothing about its labels.
    """
    path = os.fspath(name_or_path)
    place, options = read_place(path, hub, CONFIG_NAME, ADAPTER_CONFIG)
    source = Source(path, place, hub=hub, trust_remote_code=trust_remote_code is True)
    adapter: dict[str, Any] | None = None
    if (adapter_file := find_file(place, ADAPTER_CONFIG, options)) is not None:
        with open(adapter_file, encoding="utf-8") as file:
            adapter = json.load(file)
        if find_file(place, CONFIG_NAME, options) is None:
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
    name = adapter.get("base_model_name_or_path") or settings.get("base_model_name_or_path")
    return replace(source, kind="adapter", base_name=name, base_revision=adapter.get("revision"))


def _resolve_plain_adapter(source: Source, adapter: dict[str, Any]) -> Source:
    """Resolve a folder that PEFT alone wrote: labels and task are those of its base."""
    name, revision = adapter.get("base_model_name_or_path"), adapter.get("revision")
    try:
        base = resolve(name, source.trust_remote_code, revision=revision) if name else None
    except OSError:
        base = None
    if base is None or base.kind != "checkpoint":
        raise ValueError(
            f"{source.path!r} holds an adapter that PEFT saved without the model's {CONFIG_NAME}, "
            f"and its base ({name!r}) is no checkpoint of this package, so nothing says what its "
            "labels are. Build the model as for the training, then call "
            f"PeftModel.from_pretrained(model, {source.path!r}); get_lora_model(model) saves "
            "folders that load by themselves."
        )
    return replace(
        source, kind="adapter", settings=base.settings, base_name=name, base_revision=revision
    )


def check_same_settings(
    config: MaskedSeqModelingConfig,
    adapter: str,
    hub: Mapping[str, Any],
    is_loaded: bool = False,
    digest: str | None = None,
) -> None:
    """Check that another adapter goes with a model's labels and decisions, which are one for all.

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
    """Raise ValueError if an adapter was trained on another encoder than one with this digest."""
    wanted = source.settings.get(DIGEST)
    if wanted and digest and wanted != digest and wanted.split()[0] == digest.split()[0]:
        raise ValueError(
            f"The adapter in {source.path!r} was trained on an encoder with other weights than "
            f"{base}. Restore those, or pass base_model_name_or_path=... where they are."
        )
