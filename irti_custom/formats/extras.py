"""Ask for the packages that only some formats need."""

from __future__ import annotations

import importlib


def need(module: str, format: str) -> None:
    """Import a module of the extra `formats`.

    Args:
        module: its name.
        format: the format that needs it.

    Raises:
        ModuleNotFoundError: with the command that installs it.

    Example:
        >>> need("json", "jsonl")
        >>> need("no_such_module", "excel")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ModuleNotFoundError: format='excel' needs no_such_module, and the import failed: ...
    """
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"format={format!r} needs {module}, and the import failed: {error}. Run `pip install "
            f'{module}`, or install this package as "irti_custom[formats]".',
            name=error.name,
        ) from error
