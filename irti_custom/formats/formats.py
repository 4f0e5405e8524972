"""The formats: their names, readers and writers, and how a file of each is recognised.

"export.json", {"data": ..., "annotations": ...}  ->  "label-studio"
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from ..records.record import Record
from . import (
    argilla,
    brat,
    conll,
    conllu,
    delimited,
    docbin,
    doccano,
    entity_typing,
    excel,
    gliner,
    hugging_face,
    json_lines,
    label_studio,
    parquet,
    presidio,
    prodigy,
    semeval,
    sotab,
)
from .files import bare_suffix, check_file, is_json, read_lines, read_objects

Reader = Callable[..., Iterator[Record]]
"""`(path, report, **options)`, an iterator over records."""
Writer = Callable[..., None]
"""`(records, path, report, **options)`."""
_FIRST = 100
"""How many objects, or lines, of a file are looked at."""


class Format(NamedTuple):
    """One format.

    Attributes:
        read: reads a file.
        write: writes one; None where it is only read.
        suffixes: of names that say which format to write, without ``.gz``.
        detect_object: for JSON, whether its first object is of this format.
        detect_lines: for text, whether its first lines are.
        detect_path: for all else, whether the path is.
        read_options: the options of `read_records` that it has.
        write_options: the options of `write_records` that it has.
        scores: whether it holds the scores of spans.
    """

    read: Reader
    write: Writer | None
    suffixes: tuple[str, ...] = ()
    detect_object: Callable[[dict[str, Any]], bool] | None = None
    detect_lines: Callable[[list[str]], bool] | None = None
    detect_path: Callable[[Path], bool] | None = None
    read_options: tuple[str, ...] = ()
    write_options: tuple[str, ...] = ()
    scores: bool = False


FORMATS = {
    "jsonl": Format(
        json_lines.read,
        json_lines.write,
        (".jsonl",),
        detect_object=json_lines.detect,
        read_options=("keep",),
        write_options=("keep",),
        scores=True,
    ),
    "conll": Format(
        conll.read,
        conll.write,
        conll.SUFFIXES,
        detect_lines=conll.detect,
        detect_path=conll.detect_path,
        read_options=("words", "tag_columns", "scheme", "word_column", "comment"),
        write_options=("words", "scheme", "split_words"),
    ),
    "conllu": Format(
        conllu.read, None, detect_path=conllu.detect_path, read_options=("entity_fields",)
    ),
    "hugging-face": Format(
        hugging_face.read,
        hugging_face.write,
        detect_object=hugging_face.detect_object,
        detect_path=hugging_face.detect_path,
        read_options=("words", "tag_columns", "scheme", "split"),
        write_options=("words", "scheme", "split_words"),
    ),
    "brat": Format(
        brat.read, brat.write, detect_path=brat.detect_path, read_options=("attributes",)
    ),
    "label-studio": Format(
        label_studio.read,
        label_studio.write,
        detect_object=label_studio.detect,
        read_options=("annotations", "text_field", "offsets"),
        write_options=("predictions",),
        scores=True,
    ),
    "doccano": Format(doccano.read, doccano.write, detect_object=doccano.detect),
    "prodigy": Format(prodigy.read, prodigy.write, detect_object=prodigy.detect),
    "gliner": Format(
        gliner.read, gliner.write, detect_object=gliner.detect, write_options=("split_words",)
    ),
    "argilla": Format(
        argilla.read,
        argilla.write,
        detect_object=argilla.detect,
        read_options=("annotations", "text_field", "question", "offsets"),
        write_options=("question",),
        scores=True,
    ),
    "presidio": Format(presidio.read, None, detect_object=presidio.detect),
    "entity-typing": Format(entity_typing.read, None, detect_object=entity_typing.detect),
    "semeval": Format(semeval.read, None, detect_lines=semeval.detect),
    "sotab": Format(sotab.read, None, detect_path=delimited.detect_sotab),
    "spacy": Format(
        docbin.read,
        docbin.write,
        (".spacy",),
        detect_path=docbin.detect_path,
        read_options=("spans_key",),
        write_options=("spans_key",),
        scores=True,
    ),
    "csv": Format(
        delimited.read,
        delimited.write,
        (".csv", ".tsv"),
        detect_path=delimited.detect_path,
        read_options=("header", "delimiter", "by"),
        write_options=("delimiter",),
    ),
    "excel": Format(
        excel.read,
        excel.write,
        (".xlsx",),
        detect_path=excel.detect_path,
        read_options=("header", "sheet", "by"),
    ),
    "parquet": Format(
        parquet.read,
        parquet.write,
        (".parquet",),
        detect_path=parquet.detect_path,
        read_options=("by",),
    ),
}


def find_format(name: str) -> Format:
    """Return a format by its name.

    Raises:
        ValueError: an unknown name.
    """
    if name not in FORMATS:
        raise ValueError(f'`format` must be "auto" or one of {list(FORMATS)}, got {name!r}.')
    return FORMATS[name]


def detect(path: Path) -> str:
    """Find out which format a file has: by its first JSON object, its first lines, or its name.

    Raises:
        ValueError: none, or several.
        FileNotFoundError: nothing is there.
    """
    matches = [name for name, one in FORMATS.items() if one.detect_path and one.detect_path(path)]
    sight, hint = f"the name {path.name!r}", ""
    if not matches and is_json(check_file(path)):
        sight, matches = _by_objects(path)
    elif not matches:
        lines = [line.text for line in islice(read_lines(path), _FIRST)]
        if not lines:
            raise ValueError(f"{path} must hold at least one record, and it is empty.")
        sight = f"the first line {lines[0]!r:.80}"
        matches = [name for name, one in FORMATS.items() if _says_yes(one.detect_lines, lines)]
        hint = (
            " Columns of words and tags are format='conll', whose words='all' reads tags without "
            "prefixes such as B-."
        )
    if len(matches) != 1:
        raise ValueError(
            f"{path} must be of a format that can be told by its looks, got {sight}, which is "
            f"{' or '.join(matches) or 'none'}. Pass `format`, one of {list(FORMATS)}.{hint}"
        )
    return matches[0]


def _by_objects(path: Path) -> tuple[str, list[str]]:
    """Return what is seen, and the formats that all first objects are of, until it is one.

    An object that is of none of them is left to the reader, which says what is wrong with it.
    """
    matches = [name for name, one in FORMATS.items() if one.detect_object]
    seen: list[str] = []
    is_any = False
    for _, item in islice(read_objects(path), _FIRST):
        if not isinstance(item, dict):
            continue
        seen = seen or list(item)
        fitting = [name for name in matches if _says_yes(FORMATS[name].detect_object, item)]
        matches, is_any = fitting or matches, is_any or bool(fitting)
        if is_any and len(matches) == 1:
            break
    if not seen:
        raise ValueError(f"{path} must hold at least one record, got none.")
    return f"the keys {seen}", matches if is_any else []


def format_to_write(path: Path) -> str:
    """Find out which format a file name asks for.

    Raises:
        ValueError: none.
    """
    matches = [
        name for name, one in FORMATS.items() if one.write and bare_suffix(path) in one.suffixes
    ]
    if len(matches) != 1:
        writable = [name for name, one in FORMATS.items() if one.write]
        raise ValueError(
            f"{path} must have a name that says which format to write, and it may be "
            f"{' or '.join(matches) or 'any'}. Pass `format`, one of {writable}."
        )
    return matches[0]


def check_options(name: str, supported: Iterable[str], options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that were set.

    Raises:
        ValueError: one that the format does not have.
    """
    set_ones = {option: value for option, value in options.items() if value is not None}
    unknown = sorted(set(set_ones) - set(supported))
    if unknown:
        raise ValueError(
            f"format={name!r} must be used with its own options, {sorted(supported)}, got "
            f"{unknown}."
        )
    return set_ones


def _says_yes(detector: Callable[[Any], bool] | None, sample: Any) -> bool:
    return detector is not None and detector(sample)
