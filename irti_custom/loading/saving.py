"""Save folders that load by themselves, with the code of remote encoders, and of this package.

    with_code=True: the files of the model's and the config's class ──▶ beside the weights
                    their names                                     ──▶ `auto_map` in config.json

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

from transformers import PreTrainedModel
from transformers.dynamic_module_utils import custom_object_save, get_relative_import_files
from transformers.utils import CONFIG_NAME

from .folders import replaced_files


@contextmanager
def prepared_folder(
    model: PreTrainedModel, folder: str | os.PathLike, with_code: bool, variant: str | None = None
) -> Iterator[str]:
    """Prepare a folder and a model for Transformers' own saving, which runs inside.

    Yields:
        The folder to save to; its files then replace those of an earlier save.

    Raises:
        ValueError: the folder holds an adapter, which would be loaded on top of the model; or see
            `check_code`.
    """
    if with_code:
        check_code(model)
    earlier_code: set[str] = set()

    def outdated(name: str) -> bool:
        return name in earlier_code or (not variant and not name.endswith(".py"))

    code_before = vars(model.config).pop("auto_map", None)
    try:
        with replaced_files(folder, outdated) as scratch:
            if os.path.exists(os.path.join(folder, "adapter_config.json")):
                raise ValueError(
                    f"{str(folder)!r} holds an adapter, which would be loaded on top of this "
                    "model. Save to another folder, or remove the adapter first."
                )
            earlier_code |= carried_code(folder)
            if with_code:
                for part, auto_class in ((model.config, "AutoConfig"), (model, "AutoModel")):
                    part._auto_class = auto_class  # as `register_for_auto_class`, for this save
                    custom_object_save(part, scratch, config=model.config)
                    del part._auto_class
            yield scratch
    finally:
        vars(model.config).pop("auto_map", None)
        if code_before is not None:
            model.config.auto_map = code_before


def check_code(model: PreTrainedModel) -> None:
    """Check that a model's code can lie beside its weights.

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


def carried_code(folder: str | os.PathLike) -> set[str]:
    """Name the files of the model around the encoder that lie in a checkpoint.

    Its ``config.json`` says where they begin, so those of other versions are found, too.
    """
    try:
        settings = json.loads(Path(folder, CONFIG_NAME).read_text(encoding="utf-8"))
        entries = [name.partition(".")[0] for name in settings.get("auto_map", {}).values()]
    except (OSError, ValueError, AttributeError):  # none, or one that was not written whole
        return set()
    files = [path for name in entries if (path := Path(folder, f"{name}.py")).is_file()]
    return {name for file in files for name in _with_imports(file)}


def code_files(part: object) -> set[str]:
    """Name the file that defines the class of `part`, and those it imports relatively."""
    file = getattr(sys.modules[type(part).__module__], "__file__", None)
    return _with_imports(file) if file else set()


def _with_imports(file: str | os.PathLike) -> set[str]:
    return {Path(path).name for path in (file, *get_relative_import_files(file))}


def _encoder_files(model: PreTrainedModel) -> set[str]:
    """Name the files that a remote encoder brings; none for one of Transformers."""
    parts = (model.encoder, model.encoder.config)
    return {
        name for part in parts if getattr(part, "_auto_class", None) for name in code_files(part)
    }
