"""Tell models apart by the files that decide their answers.

folder or Hub id  ->  digests of its files, or its commit; those of its base  ->  sha256
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from huggingface_hub.utils.sha import sha_fileobj
from transformers.utils import CONFIG_NAME

from ..loading.folders import OUTDATED, load_one_version, whole_folder
from ..loading.sources import ADAPTER_CONFIG, Source, resolve
from ..processing.settings import PROCESSOR_FILES


def model_digest(model: str | os.PathLike) -> str:
    """Return a digest of a folder or Hub id as it is now; models with equal ones answer equally.

    It covers weights, config, processor and code, an adapter's base, and commits of the Hub.

    Raises:
        OSError: no such folder or repository; or the base of an adapter cannot be found.
    """
    return _digest_of(load_one_version(model, lambda: _facts_of(resolve(model))))


def file_digest(path: str | os.PathLike) -> str:
    """Return a digest of a file, or of the files in a folder."""
    if os.path.isdir(path):
        found = glob.glob(os.path.join(glob.escape(os.fspath(path)), "**"), recursive=True)
        files = sorted(one for one in found if os.path.isfile(one))
        return _digest_of([[os.path.relpath(one, path), file_digest(one)] for one in files])
    with open(path, "rb") as file:
        return sha_fileobj(file).hex()


def _digest_of(facts: list[Any]) -> str:
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _facts_of(source: Source) -> list[Any]:
    local = os.path.isdir(source.path)
    base = None
    if source.kind == "adapter" and source.base_name:
        name, revision = source.base_name, source.base_revision
        base = load_one_version(name, lambda: _facts_of(resolve(name, revision=revision)))
    own = _digests(source) if local else [[source.path, source.revision]]
    return [own, base]


def _digests(source: Source) -> list[list[str | None]]:
    """Return names and digests of the files in a folder, or in a save that was interrupted."""
    folder = os.path.join(source.path, source.hub.get("subfolder") or "")
    hidden = whole_folder(folder, CONFIG_NAME, ADAPTER_CONFIG, *PROCESSOR_FILES)
    files = {path.name: path for place in (folder, hidden) for path in Path(place).iterdir()}
    names = sorted(name for name, path in files.items() if path.is_file() and _decides(name))
    return [[name, file_digest(files[name])] for name in names]


def _decides(name: str) -> bool:
    return not name.startswith(".") and not name.endswith(".md") and name != OUTDATED
