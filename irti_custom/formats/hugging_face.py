"""Hugging Face token classification: `tokens` and `ner_tags` of a data set.

    {"tokens": ["Ann", "sings"], "ner_tags": [1, 0]}, names ["O", "B-PER", "I-PER"] in the features

`words` and `ner`, as run_ner.py reads, are the same. The source is a `Dataset`, a `DatasetDict`
with a `split`, a folder of `save_to_disk`, a name on the Hub, or a JSON file whose tags are names.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, NamedTuple

import pyarrow as pa

from ..records.record import ItemError, Record, check_id
from .atomic import writing_folder
from .files import bare_suffix, read_objects, write_lines
from .format import option
from .json_spans import check_object, note_others
from .read_report import Report
from .record_streams import Spool
from .tag_schemes import parse
from .tagged_words import Sentence, TaggedWords

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

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
"""The errors that `datasets` and Arrow raise for damaged folders."""
_TAGS = ("ner_tags", "ner")
"""Names of columns of tags, in data sets and in the files of run_ner.py."""
_FIRST = 100
"""The number of rows of a JSON file that show its columns."""
_JSON = (".json", ".jsonl", ".ndjson")


class _Rows(NamedTuple):
    """A data set, or the path of a JSON file; what errors call it; and its columns.

    Attributes:
        names: per column of tags the names of its numbers, if it has them.
    """

    source: Any
    shown: object
    words: str
    tag_columns: list[str]
    names: Sequence[list[str] | None]


@dataclass(frozen=True)
class HuggingFace(TaggedWords):
    """Rows of words and tags; see `TaggedWords` for the other options.

    Args:
        tag_columns: by default "ner_tags", or "ner"; of a JSON file the only one that holds tags.
        split: of a data set that has several.
    """

    name = "hugging-face"

    tag_columns: Sequence[str] | None = option(only="read")
    split: str | None = option(only="read")

    def detect_object(self, item: dict[str, Any]) -> bool:
        """Return True for words with tags."""
        words = _words_column(item)
        return isinstance(item.get(words), list) and bool(_tag_columns(item, words))

    def detect_path(self, path: Path) -> bool:
        """Return True for a folder that `save_to_disk` wrote."""
        return any((path / name).is_file() for name in ("dataset_info.json", "dataset_dict.json"))

    def opened(self, source: Any, report: Report) -> Callable[[Report], Iterator[Sentence]]:
        """Return what reads the rows of a source; see `TaggedWords`."""
        if self.tag_columns is not None and not self.tag_columns:
            raise ValueError("`tag_columns` must name at least one column, got none.")
        is_json = isinstance(source, Path) and (bare_suffix(source) in _JSON or source.is_file())
        rows = self._rows_of_json(source) if is_json else self._rows_of_data_set(source)
        return partial(_sentences, rows)

    def _rows_of_json(self, path: Path) -> _Rows:
        self._check_no_split()
        objects = (row for _, row in islice(read_objects(path), _FIRST) if isinstance(row, dict))
        row = next((row for row in objects if self.tag_columns or self.detect_object(row)), {})
        words = _words_column(row)
        columns = list(self.tag_columns or _tag_columns(row, words) or _TAGS[:1])
        if self.tag_columns is None and len(columns) > 1:
            raise ValueError(
                f"{path} must have one column of tags, got {columns}. `tag_columns` names those to "
                "read."
            )
        return _Rows(path, path, words, columns, [None] * len(columns))

    def _rows_of_data_set(self, source: Path | Dataset | DatasetDict) -> _Rows:
        rows, name = self._load(source), source if isinstance(source, Path) else "the data set"
        words = _words_column(rows.column_names)
        named = [column for column in _TAGS if column in rows.column_names]
        tag_columns = list(self.tag_columns or named[:1] or _TAGS[:1])
        columns = [words, *tag_columns]
        if not set(columns) <= set(rows.column_names):
            raise ValueError(
                f"{name} must have the columns {columns}, got {rows.column_names}. `tag_columns` "
                "names those of tags; `rename_column` renames that of words."
            )
        rows = rows.select_columns([*(c for c in ("id",) if c in rows.column_names), *columns])
        features = [getattr(rows.features[column], "feature", None) for column in tag_columns]
        names = [getattr(one, "names", None) for one in features]
        return _Rows(rows, name, words, tag_columns, names)

    def _load(self, source: Path | Dataset | DatasetDict) -> Dataset:
        from datasets import Dataset, DatasetDict, load_dataset, load_from_disk

        loaded: Any = source
        if isinstance(source, Path) and self.detect_path(source):
            _check_folder(source)
            with _undamaged(source):
                loaded = load_from_disk(str(source))
        elif isinstance(source, Path):
            loaded = load_dataset(str(source))
        if isinstance(loaded, Dataset):
            self._check_no_split()
            return loaded
        if not isinstance(loaded, DatasetDict):
            raise ValueError(
                "The source must be a path, a Dataset or a DatasetDict, got "
                f"{type(loaded).__name__}."
            )
        if self.split not in loaded:
            raise ValueError(
                f"`split` must be one of {list(loaded)}, which the data set has, got "
                f"{self.split!r}."
            )
        return loaded[self.split]

    def _check_no_split(self) -> None:
        if self.split is not None:
            raise ValueError(
                f"`split` is for a data set that has splits, got {self.split!r}. Leave it out."
            )

    def write(self, records: Iterable[Record], path: Path, report: Report) -> None:
        """Write a folder for `load_from_disk`, or a JSON file if the name is one's."""
        rows: Iterable[dict[str, Any]] = (
            {"id": one.id, "tokens": one.words, "ner_tags": one.columns[0]}
            for one in self.sentences_of(records, report)
        )
        if bare_suffix(path) in _JSON:
            write_lines(path, rows)
            return
        from datasets import ClassLabel, Dataset, Features, Sequence, Value

        rows = Spool(rows)
        names = sorted(set(chain.from_iterable(row["ner_tags"] for row in rows)))
        if self.words != "all":
            letters = "BIES" if self.scheme == "IOBES" else "BI"
            labels = sorted({tag[2:] for tag in names} - {""})
            names = ["O", *(f"{letter}-{label}" for label in labels for letter in letters)]
        text, tag = Value("string"), ClassLabel(names=names)
        features = Features({"id": text, "tokens": Sequence(text), "ner_tags": Sequence(tag)})
        with writing_folder(path) as folder:
            Dataset.from_list(list(rows), features=features).save_to_disk(str(folder))


def _sentences(rows: _Rows, report: Report) -> Iterator[Sentence]:
    if isinstance(rows.source, Path):
        located: Iterable[Any] = read_objects(rows.source)
    else:
        located = ((f"{rows.shown}, row {index}", row) for index, row in enumerate(rows.source))
    for number, (where, row) in enumerate(located):
        sentence = None
        with report:
            sentence = _sentence(check_object(row, where), rows, number, where)
        if sentence is not None:
            note_others(row, ("id", rows.words, *rows.tag_columns), report)
            yield sentence


def _sentence(row: dict[str, Any], rows: _Rows, number: int, where: str) -> Sentence:
    words = row.get(rows.words)
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ItemError(
            f"{where}: `{rows.words}` must be a list of words, got {words!r:.80}.",
            "words that are no list of strings",
        )
    columns = []
    for column, names in zip(rows.tag_columns, rows.names):
        tags = row.get(column)
        if not isinstance(tags, list) or len(tags) != len(words):
            raise ItemError(
                f"{where}: `{column}` must have one tag for each of {len(words)} words, got "
                f"{tags!r:.80}.",
                "tags that are not one per word",
            )
        columns.append([_tag_name(tag, names, f"{where}: `{column}`") for tag in tags])
    locations = [f"{where}, word {index}" for index in range(len(words))]
    return Sentence(check_id(row.get("id"), where, number), words, columns, locations)


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


def _check_folder(folder: Path) -> None:
    """Check the Arrow files of a folder: they are mapped into memory, and trusted when read."""
    for path in sorted(folder.rglob("*.arrow")):
        with _undamaged(path), pa.memory_map(str(path)) as content:
            for batch in pa.ipc.open_stream(content):
                batch.validate(full=True)


@contextmanager
def _undamaged(path: Path) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        raise ValueError(
            f"{path} must be as `save_to_disk` writes it, and it is damaged: "
            f"{str(error) or type(error).__name__}. Was it written whole?"
        ) from error


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
