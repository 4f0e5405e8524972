"""Write what a Hugging Face endpoint needs to serve a saved model.

    folder: config.json, ... ──▶ handler.py, requirements.txt

The handler imports `EndpointHandler` of this package, which the requirements install.
"""

from __future__ import annotations

import os
from pathlib import Path

from ..formats.atomic import writing
from ..loading.sources import resolve
from ..processing.settings import has_processor

HANDLER_NAME, REQUIREMENTS_NAME = "handler.py", "requirements.txt"
_HANDLER = '''"""Serve this model on a Hugging Face endpoint, which looks for this class."""

from irti_custom.serving.endpoint import EndpointHandler

__all__ = ["EndpointHandler"]
'''
_EXTRAS = {"checkpoint": "", "adapter": "[lora]", "graph": "[onnx]"}


def write_handler(
    folder: str | os.PathLike, package_url: str, *, overwrite: bool = False
) -> list[str]:
    """Write ``handler.py`` and ``requirements.txt`` beside a saved model and its processor.

    Args:
        folder: a checkpoint, an adapter or an exported graph, with its processor.
        package_url: where the endpoint installs this package from, as pip reads it:
            ``git+https://.../irti_custom@main``, or the address of a wheel.
        overwrite: replace files of these names.

    Returns:
        The paths of the two files.

    Raises:
        OSError: `folder` holds no model, or no processor.
        FileExistsError: `folder` holds a file of these names.
        ValueError: `folder` holds a base encoder, or `package_url` is no URL.

    Example:
        >>> write_handler("trained", "git+https://example.com/irti_custom")  # doctest: +SKIP
        ['trained/handler.py', 'trained/requirements.txt']
    """
    source = resolve(os.path.abspath(folder), local_files_only=True)
    if source.kind == "encoder":
        raise ValueError(
            f"{str(folder)!r} holds a base encoder, which has no labels to serve. Give the folder "
            "that this package saved a model to."
        )
    if not has_processor(folder):
        raise FileNotFoundError(
            f"{str(folder)!r} holds no processor. Save the one of the training there with "
            f"processor.save_pretrained({str(folder)!r})."
        )
    if "://" not in package_url or package_url.split() != [package_url]:
        raise ValueError(
            f"`package_url` must be what pip installs this package from, got {package_url!r}. Give "
            "'git+https://...', or the address of a wheel."
        )
    contents = {
        HANDLER_NAME: _HANDLER,
        REQUIREMENTS_NAME: f"irti_custom{_EXTRAS[source.kind]} @ {package_url}\n",
    }
    paths = {name: Path(folder, name) for name in contents}
    if existing := [name for name, path in paths.items() if path.exists() and not overwrite]:
        raise FileExistsError(
            f"{str(folder)!r} holds {existing} already. Pass overwrite=True to replace them."
        )
    for name, path in paths.items():
        with writing(path) as file:
            file.write(contents[name].encode())
    return [str(path) for path in paths.values()]
