"""The formats by name, and how a file of each is recognised.

"export.json", {"data": ..., "annotations": ...}  ->  "label-studio"
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from .argilla import Argilla
from .brat import Brat
from .conll import Conll
from .conllu import Conllu
from .delimited import Csv, Sotab
from .docbin import Spacy
from .excel import Excel
from .files import bare_suffix, check_file, is_json, read_lines, read_objects
from .format import Format
from .hugging_face import HuggingFace
from .json_lines import JsonLines
from .json_tools import Doccano, EntityTyping, Gliner, Presidio, Prodigy, SemEval
from .label_studio import LabelStudio
from .parquet import Parquet

_FIRST = 100
"""The number of objects, or lines, that detection reads."""

FORMATS: dict[str, Format] = {
    one.name: one
    for one in (
        JsonLines(),
        Conll(),
        Conllu(),
        HuggingFace(),
        Brat(),
        LabelStudio(),
        Doccano(),
        Prodigy(),
        Gliner(),
        Argilla(),
        Presidio(),
        EntityTyping(),
        SemEval(),
        Sotab(),
        Spacy(),
        Csv(),
        Excel(),
        Parquet(),
    )
}


def find_format(name: str) -> Format:
    """Return a format by its name.

    Raises:
        ValueError: an unknown name.
    """
    if name not in FORMATS:
        raise ValueError(f'`format` must be "auto" or one of {list(FORMATS)}, got {name!r}.')
    return FORMATS[name]


def detect(path: Path) -> Format:
    """Detect the format of a file: by its first JSON objects, its first lines, or its name.

    Raises:
        ValueError: none, or several.
        FileNotFoundError: nothing is there.
    """
    matches = [name for name, one in FORMATS.items() if one.detect_path(path)]
    sight, hint = f"the name {path.name!r}", ""
    if not matches and is_json(check_file(path)):
        sight, matches = _by_objects(path)
    elif not matches:
        lines = [line.text for line in islice(read_lines(path), _FIRST)]
        if not lines:
            raise ValueError(f"{path} must hold at least one record, and it is empty.")
        sight = f"the first line {lines[0]!r:.80}"
        matches = [name for name, one in FORMATS.items() if one.detect_lines(lines)]
        hint = (
            " Columns of words and tags are format='conll', whose words='all' reads tags without "
            "prefixes such as B-."
        )
    if len(matches) != 1:
        raise ValueError(
            f"{path} must be of a format that can be told by its looks, got {sight}, which is "
            f"{' or '.join(matches) or 'none'}. Pass `format`, one of {list(FORMATS)}.{hint}"
        )
    return FORMATS[matches[0]]


def _by_objects(path: Path) -> tuple[str, list[str]]:
    """Return what is seen, and the formats that all first objects are of, until it is one.

    An object that is of none of them is left to the reader, which says what is wrong with it.
    """
    matches: list[str] = []
    seen: list[str] = []
    for _, item in islice(read_objects(path), _FIRST):
        if not isinstance(item, dict):
            continue
        seen = seen or list(item)
        among = matches or list(FORMATS)
        matches = [name for name in among if FORMATS[name].detect_object(item)] or matches
        if len(matches) == 1:
            break
    if not seen:
        raise ValueError(f"{path} must hold at least one record, got none.")
    return f"the keys {seen}", matches


def format_to_write(path: Path) -> Format:
    """Return the format that a file name asks for.

    Raises:
        ValueError: none.
    """
    writable = {name: one for name, one in FORMATS.items() if one.writes}
    matches = [name for name, one in writable.items() if bare_suffix(path) in one.suffixes]
    if len(matches) != 1:
        raise ValueError(
            f"{path} must have a name that says which format to write, and it may be "
            f"{' or '.join(matches) or 'any'}. Pass `format`, one of {list(writable)}."
        )
    return FORMATS[matches[0]]
