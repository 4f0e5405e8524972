r"""brat standoff: a text file, and beside it one with a line per annotation.

    a.txt   Ann saw Rome
    a.ann   T1 \t place 8 12 \t Rome
            A1 \t Certain T1

In BioNLP's tasks the lines are in two files, a.a1 and a.a2, which are read as one. A folder is read
with all below it; the id of a record is its file's path without ".txt". After
http://brat.nlplab.org/standoff.html.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ..records.record import ItemError, Record, check_range, check_surface
from .atomic import writing_folder
from .files import bare_suffix, check_file, read_lines, read_text
from .format import Format, option
from .json_spans import Annotation, labels_to_write, merge_spans
from .read_report import Report
from .record_streams import texts

_ID = re.compile(r"(?!.*(^|/)\.)[\w.,@+= -]+(/[\w.,@+= -]+)*")
_NAME = re.compile(r"[TEAMRN]\d+|#\d*|\*")
_TYPE = re.compile(r"([^ ]+) (\d{1,18}) (\d{1,18})")
_ANNOTATIONS = (".ann", ".a1", ".a2")
_KINDS = {"E": "event", "R": "relation", "*": "equivalence", "N": "normalization"}


class _Document(NamedTuple):
    name: str
    text: Path
    annotations: list[Path]


@dataclass(frozen=True)
class Brat(Format):
    """A folder, or one document of it: a ``.txt`` or ``.ann`` file, or one of ``.a1`` and ``.a2``.

    Args:
        attributes: "labels" to make labels of attributes, "Certain" or "Tense=Past".
    """

    name = "brat"
    writes = True

    attributes: str | None = option(only="read")

    def detect_path(self, path: Path) -> bool:
        """Return True for a folder with annotations, such a file, or a text beside one."""
        if path.is_dir():
            return any(bare_suffix(one) in _ANNOTATIONS for one in path.rglob("*.a*"))
        if bare_suffix(path) in _ANNOTATIONS:
            return True
        return bare_suffix(path) == ".txt" and bool(_beside(path, _ANNOTATIONS))

    def read(self, path: Path, report: Report) -> Iterator[Record]:
        """Yield a record per document; see `Format`."""
        if self.attributes not in (None, "labels"):
            raise ValueError(f"`attributes` must be None or 'labels', got {self.attributes!r}.")
        for name, text_path, annotation_paths in _documents(path):
            text = read_text(text_path)
            if not annotation_paths:
                report.note("text without .ann, read as one without spans")
            annotations = _annotations(annotation_paths, text, report, self.attributes == "labels")
            yield {"id": name, "text": text, "spans": merge_spans(annotations, report)}

    def write(self, records: Iterable[Record], path: Path, report: Report) -> None:
        """Write a folder: two files per record, named by its id; a span has a line per label."""
        names = set()
        with writing_folder(path) as folder:
            for where, record in texts(records, report):
                name = record["id"]
                if not _ID.fullmatch(name) or name in names:
                    raise ValueError(
                        f"{where}: An id names the files of its record: it must be there once, and "
                        "be of letters, digits, '/' and a few signs, and no part may begin with a "
                        "dot."
                    )
                names.add(name)
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / f"{name}.txt").write_bytes(record["text"].encode())
                lines = "".join(_lines(record, where, report))
                (folder / f"{name}.ann").write_bytes(lines.encode())


def _documents(path: Path) -> list[_Document]:
    if not path.is_dir():
        texts_beside = (
            [path] if bare_suffix(check_file(path)) == ".txt" else _beside(path, [".txt"])
        )
        if not texts_beside:
            raise ValueError(f"{path} must have its text beside it, a .txt of the same name.")
        documents = [_Document(_stem(path.name), texts_beside[0], _beside(path, _ANNOTATIONS))]
    else:
        files = sorted(one for one in path.rglob("*") if one.is_file())
        bodies = {_stem(_name(one, path)): one for one in files if bare_suffix(one) == ".txt"}
        notes: dict[str, list[Path]] = {}
        for one in files:
            if bare_suffix(one) in _ANNOTATIONS:
                notes.setdefault(_stem(_name(one, path)), []).append(one)
        alone = sorted(set(notes) - set(bodies))
        if alone:
            raise ValueError(
                f"{path} must hold .txt files, one for each .ann, got {len(bodies)} of them, and "
                f"none for {alone[:5]}."
            )
        documents = [_Document(name, bodies[name], notes.get(name, [])) for name in sorted(bodies)]
    if not any(document.annotations for document in documents):
        raise ValueError(
            f"{path} must hold annotations, .ann files beside the .txt files, or .a1 and .a2, got "
            f"{len(documents)} texts and none of these. An empty .ann is that of a text without "
            "spans."
        )
    return documents


def _name(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _stem(name: str) -> str:
    return re.sub(r"\.(txt|ann|a1|a2)(\.gz)?$", "", name, flags=re.IGNORECASE)


def _beside(path: Path, suffixes: Iterable[str]) -> list[Path]:
    names = [
        path.with_name(_stem(path.name) + suffix + zipped)
        for suffix in suffixes
        for zipped in ("", ".gz")
    ]
    return [name for name in names if name.is_file()]


def _annotations(
    paths: list[Path], text: str, report: Report, with_attributes: bool
) -> list[Annotation]:
    by_name: dict[str, Annotation] = {}
    attributes: list[tuple[str, str, str]] = []
    for path in paths:
        for number, line in read_lines(path):
            where = f"{path}, line {number}"
            if not line.strip():
                continue
            with report:
                name, content = _name_and_content(line, where)
                if name[0] == "T":
                    span = _text_bound(content, text, where)
                    if name in by_name:
                        raise ItemError(
                            f"{where}: Each annotation must have a name of its own, got {name} "
                            "again.",
                            "annotation with the name of another",
                        )
                    by_name[name] = span
                elif name[0] in "AM" and with_attributes:
                    kind, _, rest = content.partition(" ")
                    target, _, value = rest.partition(" ")
                    attributes.append((target, f"{kind}={value}" if value else kind, where))
                else:
                    _check_others(name, content, where)
                    report.note("annotator's note not kept")
    labels = list(by_name.values())
    for target, label, where in attributes:
        if target in by_name:
            start, end, *_ = by_name[target]
            labels.append((start, end, label, None))
        else:
            message = (
                f"An attribute must be of a span that is read, got {label!r} of {target!r:.80}."
            )
            report.unsupported("attribute of no span", where, message)
    return labels


def _name_and_content(line: str, where: str) -> tuple[str, str]:
    name, tab, content = line.partition("\t")
    if not tab or not _NAME.fullmatch(name):
        raise ItemError(
            f"{where}: A line must begin with T, A or the like, got {line!r:.80}.",
            "line that is no annotation",
        )
    return name, content


def _check_others(name: str, content: str, where: str) -> None:
    """Raise for what a record does not hold, all but the notes of annotators."""
    if name[0] in "AM":
        raise ItemError(
            f"{where}: A record holds labels and no attributes, got {content!r:.80}. "
            "attributes='labels' makes labels of them.",
            "attribute",
        )
    if name[0] in _KINDS:
        kind = _KINDS[name[0]]
        raise ItemError(f"{where}: A record holds spans and no {kind}, got {content!r:.80}.", kind)


def _text_bound(content: str, text: str, where: str) -> Annotation:
    ends, tab, surface = content.partition("\t")
    if ";" in ends:
        raise ItemError(
            f"{where}: A span must be in one piece, got {ends!r:.80}.", "discontinuous span"
        )
    match = _TYPE.fullmatch(ends)
    if not match or not tab:
        raise ItemError(
            f"{where}: A span must be a type, start, end and text, got {content!r:.80}.",
            "span without type, ends and text",
        )
    start, end = check_range(int(match[2]), int(match[3]), text, where)
    hint = " Were line ends or the encoding of the .txt changed?"
    check_surface(_flat(surface), _flat(text), (start, end), where, hint)
    return start, end, match[1], None


def _lines(record: Record, where: str, report: Report) -> Iterator[str]:
    number = 0
    for span in record["spans"]:
        for label in labels_to_write(span, where, report) or ():
            if re.search(r"\s", label):
                message = f"A label must have no white space in brat, got {label!r}."
                report.unsupported("label with white space", where, message)
                continue
            number += 1
            start, end = span["start"], span["end"]
            surface = _flat(record["text"][start:end])
            yield f"T{number}\t{label} {start} {end}\t{surface}\n"


def _flat(text: str) -> str:
    return re.sub(r"[\r\n]", " ", text)
