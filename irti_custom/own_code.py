"""Checkpoints that bring the code of this package, for processes that lack the package.

    the file of the model's class and all it imports ──▶ beside the weights
    their names                                      ──▶ `auto_map` in config.json

Whoever loads such a checkpoint with the package runs the package; without it, the copy, and only
with ``trust_remote_code=True``.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers.dynamic_module_utils import custom_object_save, get_relative_import_files
from transformers.utils import CONFIG_NAME


def check_code(model: Any) -> None:
    """Refuse a model whose code cannot lie beside its weights.

    Raises:
        ValueError: its class is defined in a script or a notebook, or its encoder brings a file of
            the same name as one of its own.
    """
    for part in (model, model.config):
        if type(part).__module__ == "__main__":
            raise ValueError(
                f"with_code=True copies the file that defines {type(part).__name__}, which is "
                "defined in a script or notebook. Move the class to a module of its own."
            )
    shared = code_files(model) & _encoder_files(model)
    if shared:
        raise ValueError(
            f"with_code=True puts the model's code and its encoder's into one folder, and both "
            f"have {sorted(shared)}. Save with with_code=False, or rename the encoder's files."
        )


def copy_code(model: Any, folder: str | os.PathLike) -> None:
    """Copy the files of the model's and the config's class, and what they import, to `folder`."""
    for part in (model.config, model):
        custom_object_save(part, folder)


def remove_code(model: Any, folder: str | os.PathLike) -> bool:
    """Remove an earlier save's copy of the code; the encoder's own code stays.

    Returns:
        Whether there was one.
    """
    if not carries_code(folder):
        return False
    for name in code_files(model) - _encoder_files(model):
        Path(folder, name).unlink(missing_ok=True)
    return True


def carries_code(folder: str | os.PathLike) -> bool:
    """Tell whether the ``config.json`` of a checkpoint names code of the model around the encoder.

    Example:
        >>> carries_code("no/such/folder")
        False
    """
    try:
        settings = json.loads(Path(folder, CONFIG_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # none, or one that was not written whole
        return False
    return bool(isinstance(settings, dict) and settings.get("auto_map"))


@contextmanager
def named_code(model: Any, carried: bool) -> Iterator[None]:
    """Let the config name the code while it is written, or no code; unchanged afterwards."""
    config = model.config
    before = vars(config).pop("auto_map", None)
    if carried:
        config.auto_map = {"AutoConfig": _reference(config), "AutoModel": _reference(model)}
    try:
        yield
    finally:
        vars(config).pop("auto_map", None)
        if before is not None:
            config.auto_map = before


def code_files(part: Any) -> set[str]:
    """Name the file that defines the class of `part`, and those it imports relatively.

    Example:
        >>> from irti_custom import MaskedSeqModelingConfig
        >>> sorted(code_files(MaskedSeqModelingConfig()))
        ['configuration_custom.py']
    """
    file = getattr(sys.modules[type(part).__module__], "__file__", None)
    return {Path(path).name for path in (file, *get_relative_import_files(file))} if file else set()


def _encoder_files(model: Any) -> set[str]:
    """Name the files that a remote encoder brings; none for one of Transformers."""
    parts = (model.encoder, model.encoder.config)
    return {
        name for part in parts if getattr(part, "_auto_class", None) for name in code_files(part)
    }


def _reference(part: Any) -> str:
    return f"{type(part).__module__.rpartition('.')[2]}.{type(part).__name__}"
