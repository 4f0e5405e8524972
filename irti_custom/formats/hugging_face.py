"""Hugging Face token classification: `tokens` and `ner_tags` of a data set.

    {"tokens": ["Ann", "sings"], "ner_tags": [1, 0]}, names ["O", "B-PER", "I-PER"] in the features

`words` and `ner`, as run_ner.py reads, are the same. The source is a `Dataset`, a `DatasetDict`
with a `split`, a folder of `save_to_disk`, a name on the Hub, or a JSON file whose tags are names.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ..records.record import ItemError, Record, check_id
from .annotations import check_object, note_others
from .atomic import writing, writing_folder
from .files import as_line, bare_suffix, read_objects
from .report import Report
from .tag_schemes import parse
from .tagged_words import (
    MODES,
    Sentence,
    find_scheme,
    read_sentence,
    write_sentences,
)

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

_SAVED = ("dataset_info.json", "dataset_dict.json")
_DAMAGE = (
    ArithmeticError,
    AttributeError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    pa.ArrowException,
)
"""What `datasets` and Arrow raise for a folder that is damaged, in many ways."""
_TAGS = ("ner_tags", "ner")
"""What columns of tags are called, in data sets and in the files of run_ner.py."""
_FIRST = 100
"""How many rows of a JSON file are looked at to find its columns."""
_JSON = (".json", ".jsonl", ".ndjson")


def read(
    source: Path | Dataset | DatasetDict,
    report: Report,
    words: str = MODES[0],
    tag_columns: Sequence[str] | None = None,
    scheme: str | None = None,
    split: str | None = None,
) -> Iterator[Record]:
    """Read rows of words and tags.

    Args:
        source: the rows, or where they are.
        report: counts what records do not hold.
        words: "entities", or "all" to make each word a position.
        tag_columns: by default "ner_tags", or "ner"; of a JSON file the only one that holds tags.
        scheme: of the tags; found out by default.
        split: of a data set that has several.
    """
    rows = _Rows(source, tag_columns, split)
    every = rows.sentences(Report(report.format, "skip"))  # says which scheme it is
    chosen = find_scheme(every, words, scheme, rows.name, report)
    for sentence in rows.sentences(report):
        yield read_sentence(sentence, words, chosen, report)


def write(
    records: Iterable[Record],
    path: Path,
    report: Report,
    words: str = MODES[0],
    scheme: str = "BIO",
    split_words: str = "spaces",
) -> None:
    """Write a folder for `load_from_disk`, or a JSON file if the name is one's."""
    sentences = write_sentences(records, report, words, scheme, split_words)
    rows = ({"id": s.id, "tokens": s.words, "ner_tags": s.columns[0]} for s in sentences)
    if bare_suffix(path) in _JSON:
        with writing(path) as file:
            file.writelines(map(as_line, rows))
        return
    from datasets import ClassLabel, Dataset, Features, Sequence, Value

    listed = list(rows)
    used = set(chain.from_iterable(row["ner_tags"] for row in listed))
    names = sorted(used) if words == "all" else _tag_names(used, scheme)
    strings = Value("string")
    features = Features(
        {"id": strings, "tokens": Sequence(strings), "ner_tags": Sequence(ClassLabel(names=names))}
    )
    with writing_folder(path) as folder:
        Dataset.from_list(listed, features=features).save_to_disk(str(folder))


def detect_object(item: dict[str, Any]) -> bool:
    """Return True for words with tags."""
    words = _words_column(item)
    return isinstance(item.get(words), list) and bool(_tag_columns(item, words))


def detect_path(path: Path) -> bool:
    """Return True for a folder that `save_to_disk` wrote."""
    return any((path / name).is_file() for name in _SAVED)


class _Rows:
    """The rows of a source as sentences, as often as they are asked for."""

    def __init__(
        self,
        source: Path | Dataset | DatasetDict,
        tag_columns: Sequence[str] | None,
        split: str | None,
    ) -> None:
        self.name = str(source) if isinstance(source, Path) else "the data set"
        is_json = isinstance(source, Path) and (bare_suffix(source) in _JSON or source.is_file())
        self.path = source if isinstance(source, Path) and is_json else None
        if tag_columns is not None and not tag_columns:
            raise ValueError("`tag_columns` must name at least one column, got none.")
        if self.path is not None:
            _no_split(split)
            first = (row for _, row in islice(read_objects(self.path), _FIRST))
            objects = (row for row in first if isinstance(row, dict))
            row = next((row for row in objects if tag_columns or detect_object(row)), {})
            self.words = _words_column(row)
            self.tag_columns = list(tag_columns or _tag_columns(row, self.words) or _TAGS[:1])
            if tag_columns is None and len(self.tag_columns) > 1:
                raise ValueError(
                    f"{self.name} must have one column of tags, got {self.tag_columns}. "
                    "`tag_columns` names those to read."
                )
            self.names: list[list[str] | None] = [None] * len(self.tag_columns)
            return
        self.rows = _load(source, split)
        self.words = _words_column(self.rows.column_names)
        named = [name for name in _TAGS if name in self.rows.column_names]
        self.tag_columns = list(tag_columns or named[:1] or _TAGS[:1])
        columns_read = [self.words, *self.tag_columns]
        missing = [name for name in columns_read if name not in self.rows.column_names]
        if missing:
            raise ValueError(
                f"{self.name} must have the columns {columns_read}, got {self.rows.column_names}. "
                "`tag_columns` names those of tags; `rename_column` renames that of words."
            )
        kept = [name for name in ("id", *columns_read) if name in self.rows.column_names]
        self.rows = self.rows.select_columns(kept)
        self.names = [
            getattr(getattr(self.rows.features[name], "feature", None), "names", None)
            for name in self.tag_columns
        ]

    def sentences(self, report: Report) -> Iterator[Sentence]:
        rows: Iterable[tuple[str, Any]]
        if self.path is not None:
            rows = read_objects(self.path)
        else:
            rows = ((f"{self.name}, row {number}", row) for number, row in enumerate(self.rows))
        for number, (where, row) in enumerate(rows):
            try:
                sentence = self._sentence(check_object(row, where), number, where)
            except ItemError as error:
                report.leave_out(error)
                continue
            note_others(row, ("id", self.words, *self.tag_columns), report)
            yield sentence

    def _sentence(self, row: dict[str, Any], number: int, where: str) -> Sentence:
        words = row.get(self.words)
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise ItemError(
                f"{where}: `{self.words}` must be a list of words, got {words!r:.80}.",
                "words that are no list of strings",
            )
        columns = []
        for column, names_of_tags in zip(self.tag_columns, self.names):
            tags = row.get(column)
            if not isinstance(tags, list) or len(tags) != len(words):
                raise ItemError(
                    f"{where}: `{column}` must have one tag for each of {len(words)} words, got "
                    f"{tags!r:.80}.",
                    "tags that are not one per word",
                )
            columns.append([_tag_name(tag, names_of_tags, f"{where}: `{column}`") for tag in tags])
        name = check_id(number if row.get("id") is None else row["id"], where)
        locations = [f"{where}, word {index}" for index in range(len(words))]
        return Sentence(name, words, columns, locations)


def _words_column(names: Container[str]) -> str:
    return "words" if "words" in names and "tokens" not in names else "tokens"


def _tag_columns(row: dict[str, Any], words: str) -> list[str]:
    """Return the columns of tags of an object: one that is called so, or all that hold tags."""
    named = [name for name in _TAGS if isinstance(row.get(name), list)]
    if named or not isinstance(row.get(words), list):
        return named[:1]
    return [
        name
        for name, tags in row.items()
        if isinstance(tags, list)
        and len(tags) == len(row[words])
        and all(isinstance(tag, str) and parse(tag) for tag in tags)
        and tags
    ]


def _load(source: Path | Dataset | DatasetDict, split: str | None) -> Dataset:
    from datasets import Dataset, DatasetDict, load_dataset, load_from_disk

    loaded: Any = source
    if isinstance(source, Path) and detect_path(source):
        _check_folder(source)
        try:
            loaded = load_from_disk(str(source))
        except _DAMAGE as error:
            raise _damaged(source, error) from error
    elif isinstance(source, Path):
        loaded = load_dataset(str(source))
    if isinstance(loaded, Dataset):
        _no_split(split)
        return loaded
    if not isinstance(loaded, DatasetDict):
        raise ValueError(
            f"The source must be a path, a Dataset or a DatasetDict, got {type(loaded).__name__}."
        )
    if split not in loaded:
        raise ValueError(
            f"`split` must be one of {list(loaded)}, which the data set has, got {split!r}."
        )
    return loaded[split]


def _check_folder(folder: Path) -> None:
    """Check the Arrow files of a folder: they are mapped into memory, and trusted when it is read.

    Raises:
        ValueError: a damaged one.
    """
    for path in sorted(folder.rglob("*.arrow")):
        try:
            with pa.memory_map(str(path)) as content, pa.ipc.open_stream(content) as batches:
                for batch in batches:
                    batch.validate(full=True)
        except _DAMAGE as error:
            raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> ValueError:
    return ValueError(
        f"{path} must be as `save_to_disk` writes it, and it is damaged: "
        f"{str(error) or type(error).__name__}. Was it written whole?"
    )


def _no_split(split: str | None) -> None:
    if split is not None:
        raise ValueError(f"`split` is for a data set that has splits, got {split!r}. Leave it out.")


def _tag_name(tag: object, names: list[str] | None, where: str) -> str:
    if isinstance(tag, str):
        return tag
    if names is not None and isinstance(tag, int) and 0 <= tag < len(names):
        return names[tag]
    raise ItemError(
        f"{where} must have tags that are names, or numbers of a ClassLabel, got {tag!r} of "
        f"{names}. cast_column(name, Sequence(ClassLabel(names=[...]))) gives numbers their names.",
        "tag that is no name",
    )


def _tag_names(used: set[str], scheme: str) -> list[str]:
    letters = "BIES" if scheme == "IOBES" else "BI"
    labels = sorted({tag[2:] for tag in used} - {""})
    return ["O", *(f"{letter}-{label}" for label in labels for letter in letters)]
