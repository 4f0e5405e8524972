"""Hugging Face token classification: `tokens` and `ner_tags` of a data set.

    {"tokens": ["Ann", "sings"], "ner_tags": [1, 0]}, names ["O", "B-PER", "I-PER"] in the features

The source is a `Dataset`, a `DatasetDict` with a `split`, a folder of `save_to_disk`, a name on the
Hub, or a JSON file whose tags are names.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from .atomic import writing, writing_folder
from .files import as_line, bare_suffix, read_objects
from .records import Record, check_id
from .report import Report
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
_JSON = (".json", ".jsonl", ".ndjson")


def read(
    source: Path | Dataset | DatasetDict,
    report: Report,
    words: str = MODES[0],
    tag_columns: Sequence[str] = ("ner_tags",),
    scheme: str | None = None,
    split: str | None = None,
) -> Iterator[Record]:
    """Read rows of words and tags.

    Example:
        >>> from datasets import Dataset
        >>> rows = Dataset.from_dict({"tokens": [["Ann", "sings"]], "ner_tags": [["B-PER", "O"]]})
        >>> next(read(rows, Report("hugging-face")))
        {'id': '0', 'text': 'Ann sings', 'spans': [{'start': 0, 'end': 3, 'labels': ['PER']}]}
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
    """Write a folder for `load_from_disk`, or a JSON file if the name is one's.

    Example:
        >>> from tempfile import mkdtemp
        >>> path = Path(mkdtemp()) / "a.jsonl"
        >>> spans = [{"start": 0, "end": 3, "labels": ["PER"]}]
        >>> write([{"id": "0", "text": "Ann sings", "spans": spans}], path, Report("hugging-face"))
        >>> path.read_text().strip()
        '{"id": "0", "tokens": ["Ann", "sings"], "ner_tags": ["B-PER", "O"]}'
    """
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
    """Return True for words with tags.

    Example:
        >>> detect_object({"tokens": ["Ann"], "ner_tags": ["O"]})
        True
    """
    return isinstance(item.get("tokens"), list) and isinstance(item.get("ner_tags"), list)


def detect_path(path: Path) -> bool:
    """Return True for a folder that `save_to_disk` wrote.

    Example:
        >>> detect_path(Path("a.json"))
        False
    """
    return any((path / name).is_file() for name in _SAVED)


class _Rows:
    """The rows of a source as sentences, as often as they are asked for."""

    def __init__(
        self,
        source: Path | Dataset | DatasetDict,
        tag_columns: Sequence[str],
        split: str | None,
    ) -> None:
        self.tag_columns = list(tag_columns)
        self.name = str(source) if isinstance(source, Path) else "the data set"
        self.path = source if isinstance(source, Path) and bare_suffix(source) in _JSON else None
        if self.path is not None:
            _no_split(split)
            return
        self.rows = _load(source, split)
        columns_read = ["tokens", *self.tag_columns]
        if not self.tag_columns:
            raise ValueError("`tag_columns` must name at least one column, got none.")
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
        if self.path is not None:
            for number, (where, row) in enumerate(read_objects(self.path)):
                yield self._sentence(row, number, where, [None] * len(self.tag_columns), report)
        else:
            for number, row in enumerate(self.rows):
                yield self._sentence(row, number, f"{self.name}, row {number}", self.names, report)

    def _sentence(
        self,
        row: dict[str, Any],
        number: int,
        where: str,
        names: list[list[str] | None],
        report: Report,
    ) -> Sentence:
        words = row.get("tokens")
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise ValueError(f"{where}: `tokens` must be a list of words, got {words!r:.80}.")
        columns = []
        for column, names_of_tags in zip(self.tag_columns, names):
            tags = row.get(column)
            if not isinstance(tags, list) or len(tags) != len(words):
                raise ValueError(
                    f"{where}: `{column}` must have one tag for each of {len(words)} words, got "
                    f"{tags!r:.80}."
                )
            columns.append([_tag_name(tag, names_of_tags, f"{where}: `{column}`") for tag in tags])
        blank = [index for index, word in enumerate(words) if not word.strip()]
        for index in blank:
            report.misfit("word of white space", where, f"Word {index} must not be blank.")
        keep = [index for index in range(len(words)) if index not in set(blank)]
        name = check_id(number if row.get("id") is None else row["id"], where)
        return Sentence(
            name,
            [words[index] for index in keep],
            [[column[index] for index in keep] for column in columns],
            [f"{where}, word {index}" for index in keep],
        )


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
    raise ValueError(
        f"{where} must have tags that are names, or numbers of a ClassLabel, got {tag!r} of "
        f"{names}. cast_column(name, Sequence(ClassLabel(names=[...]))) gives numbers their names."
    )


def _tag_names(used: set[str], scheme: str) -> list[str]:
    letters = "BIES" if scheme == "IOBES" else "BI"
    labels = sorted({tag[2:] for tag in used} - {""})
    return ["O", *(f"{letter}-{label}" for label in labels for letter in letters)]
