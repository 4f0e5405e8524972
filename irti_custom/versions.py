"""Keep checkpoints readable for Transformers 4 and 5, which name some settings differently.

    5: rope_parameters, layer_types  ──▶  4: rope_theta, global_rope_theta, local_rope_theta, ...

Version 4 would keep the new names as plain attributes, and compute with its defaults.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import transformers

IS_4 = transformers.__version__.startswith("4.")
# Layers of ModernBERT and its kind.
_THETAS = {"full_attention": "global_rope_theta", "sliding_attention": "local_rope_theta"}


def with_older_names(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Add to an encoder's settings what version 4 calls them, where it has names for them."""
    return {**settings, **(_older_rope(settings) or {}), **(_older_layers(settings) or {})}


def for_this_version(settings: Mapping[str, Any], config_class: type) -> dict[str, Any]:
    """Return settings that either version saved, under names that the installed version reads.

    Raises:
        ValueError: version 4 is installed, and has no name for one of them.
    """
    if not IS_4:
        return dict(settings)
    read = inspect.signature(config_class.__init__).parameters  # type: ignore[misc]
    older = {"rope_parameters": _older_rope(settings), "layer_types": _older_layers(settings)}
    for name, names in older.items():
        if name in read or settings.get(name) is None:
            continue
        if names is None or not set(names) <= set(read):
            raise ValueError(
                f"The checkpoint was saved with Transformers 5, and {transformers.__version__} "
                f"cannot read its `{name}` of {config_class.__name__}: {settings[name]!r:.200}. "
                'Run `pip install "transformers>=5"`.'
            )
    return with_older_names(settings)


def hint_of_version(config: transformers.PretrainedConfig) -> str:
    """Return a sentence for errors about a checkpoint of the other version; else nothing."""
    saved = str(config.transformers_version or transformers.__version__)
    if saved.partition(".")[0] == transformers.__version__.partition(".")[0]:
        return ""
    return f" It was saved with Transformers {saved}; {transformers.__version__} is installed."


def _older_rope(settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the bases of rotary positions by older names; None where there are none."""
    rope = settings.get("rope_parameters")
    if not rope:
        return {}
    kinds = rope if set(rope) <= set(_THETAS) else {"": rope}
    if any(kind.get("rope_type", "default") != "default" for kind in kinds.values()):
        return None
    names = {"": "rope_theta", **_THETAS}
    return {names[name]: kind.get("rope_theta") for name, kind in kinds.items()}


def _older_layers(settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return how often attention is global; None for another pattern than every n-th layer."""
    types = settings.get("layer_types")
    if not types:
        return {}
    places = [index for index, kind in enumerate(types) if kind == "full_attention"]
    step = places[1] if len(places) > 1 else len(types)
    every = [index for index in range(len(types)) if index % step == 0]
    only = set(types) <= {"full_attention", "sliding_attention"}
    return {"global_attn_every_n_layers": step} if only and places == every else None
