"""The file that holds a processor's settings beside its tokenizer.

folder or Hub id ──▶ read_settings ──▶ {"read": "start_end", "max_length": 512, ...}
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from transformers.utils import PROCESSOR_NAME

from ..loading.folders import whole_folder
from ..loading.sources import find_file, read_place

SETTINGS = (
    "read",
    "max_length",
    "on_overflow",
    "label2id",
    "task",
    "stride",
    "markers",
    "column_tokens",
    "field_names",
)
PROCESSOR_FILES = (PROCESSOR_NAME, "masked_seq_processor.json")
"""The file that holds a processor's settings; version 0.2.0 wrote the latter."""


def has_processor(folder: str | os.PathLike) -> bool:
    """Return True if a folder holds the settings of a processor."""
    place = whole_folder(folder, *PROCESSOR_FILES)
    return any(Path(place, name).exists() for name in PROCESSOR_FILES)


def read_settings(path: str, hub: dict[str, Any]) -> dict[str, Any]:
    """Read the file that holds a processor's settings.

    Raises:
        OSError: there is none.
        ValueError: it is damaged, or of a later version.
    """
    place, options = read_place(path, hub, *PROCESSOR_FILES)
    file_name = None
    for name in PROCESSOR_FILES:
        file_name = file_name or find_file(place, name, options)
    if file_name is None:
        raise OSError(
            f"{path!r} holds no processor ({PROCESSOR_NAME}). To make one, call "
            "MaskedSeqProcessor(AutoTokenizer.from_pretrained(...), ...)."
        )
    try:
        settings = json.loads(Path(file_name).read_text(encoding="utf-8"))
        settings.pop("processor_class", None)
        names = set(settings)
    except (AttributeError, ValueError) as error:
        raise ValueError(f"{file_name} is damaged: {error}. Save it again.") from error
    unknown = sorted(names - {*SETTINGS, "trained_on", "tokenizer_digest"})
    if unknown:
        raise ValueError(
            f"{file_name} has settings that this version does not know: {unknown}. Update "
            "irti_custom."
        )
    return settings
