"""Tell whether a folder holds one finished save, and whether another one came meanwhile."""

from __future__ import annotations

import os
import re
from contextlib import suppress

WHOLE = ".saved-whole"  # a save that is finished, on its way to the places of its files
WHOLE_0_3 = ".saved"  # of version 0.3.0, whose readers moved its files
_VERSIONED = re.compile(
    r".*model.*\.(safetensors|bin|onnx)(\.data|\.index\.json)?|.*(config|processor|tokenizer)\.json"
)


def file_versions(folder: str | os.PathLike) -> list[tuple[str, int, int, int]]:
    """Return the identities of the files by which two saves are told apart; none for a Hub id."""
    found = []
    with suppress(FileNotFoundError, NotADirectoryError):  # also while a save replaces them
        for name in sorted(os.listdir(folder)):
            if name == WHOLE or _VERSIONED.fullmatch(name):
                state = os.stat(os.path.join(folder, name))
                found.append((name, state.st_ino, state.st_mtime_ns, state.st_size))
    return found


def check_whole(folder: str | os.PathLike) -> None:
    """Raise OSError if a save to the folder was interrupted, which leaves files of two saves."""
    for name in (WHOLE, WHOLE_0_3):
        if os.path.lexists(os.path.join(folder, name, "config.json")):  # a model's, no processor's
            raise OSError(
                f"{os.fspath(folder)!r} holds a save that is not finished, in {name!r}. Load it "
                "where irti_custom is installed, and save it again."
            )
