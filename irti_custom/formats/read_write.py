"""Read records from a file of any format, and write them to one.

    read_records("export.json")                           ->  datasets.Dataset of records
    iter_records("export.json")                           ->  the same, one after the other
    write_records(records, "tasks.json", "label-studio")  ->  a Report of what was written

`records` says what a record is, `registry` which formats there are; the options of each are the
fields of its class. ``read_records(path, "conll", words="all")`` is
``read_records(path, Conll(words="all"))``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Union

from ..records.record import Record
from .format import Format
from .read_report import Report
from .record_streams import as_dataset, as_dicts, as_records
from .registry import FORMATS, detect, find_format, format_to_write

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

Source = Union[str, "os.PathLike[str]", "Dataset", "DatasetDict"]
"""A path; for "hugging-face" also a data set, or a name on the Hub."""


class ReadResult(NamedTuple):
    """Records, and a summary of what was skipped."""

    records: Dataset
    report: Report


def read_records(
    path: Source, format: str | Format = "auto", *, on_error: str = "raise", **options: Any
) -> Dataset:
    """Read a file into a data set of records.

    Args:
        path: a file, plain or gzipped; a folder for "brat" and "hugging-face".
        format: one of `FORMATS`, or a value such as ``Conll(words="all")``; "auto" looks at the
            file.
        on_error: "raise", or "skip" to leave out what a record cannot hold and what is invalid;
            what was left out is counted by kind and logged, see `read_with_report`. A damaged file
            always raises.
        **options: those of the format; `formats/README.md` has a table of them.

    Returns:
        ``{"id", "text", "spans": [{"start", "end", "labels"}]}``, or
        ``{"id", "columns": [{"header", "values", "labels"}]}``, or
        ``{"id", "fields": [{"name", "value", "labels"}]}``, with `scores` beside `labels` where the
        file has them.

    Raises:
        ValueError: a file that is damaged or of another format, an option that the format does not
            have, or something that a record cannot hold, with file and line.
        FileNotFoundError: nothing is there.

    Example:
        >>> from tempfile import mkdtemp
        >>> path = Path(mkdtemp()) / "a.jsonl"
        >>> _ = path.write_text('{"text": "Ann", "spans": [{"start": 0, "end": 3, "labels": "x"}]}')
        >>> read_records(path)[0]
        {'id': '0', 'text': 'Ann', 'spans': [{'start': 0, 'end': 3, 'labels': ['x']}]}
    """
    return read_with_report(path, format, on_error=on_error, **options).records


def read_with_report(
    path: Source, format: str | Format = "auto", *, on_error: str = "raise", **options: Any
) -> ReadResult:
    """Read a file as `read_records` does, and return the records with the counts.

    Example:
        >>> from tempfile import mkdtemp
        >>> path = Path(mkdtemp()) / "a.jsonl"
        >>> _ = path.write_text('{"text": "Ann", "spans": [{"start": 0, "end": 3, "labels": "x"}]}')
        >>> print(read_with_report(path).report)
        jsonl: 1 record, 1 position
        labels: x 1
    """
    opened = _Opened(path, format, on_error, options)
    records = as_dataset(opened.records(), opened.shown, opened.report)
    opened.finish()
    return ReadResult(records, opened.report)


def iter_records(
    path: Source, format: str | Format = "auto", *, on_error: str = "raise", **options: Any
) -> Iterator[Record]:
    r"""Yield the records of a file as dicts; see `read_records`.

    A file of lines is read line by line, so that it may be larger than memory. What is wrong with
    its end raises there, after the records before.

    Example:
        >>> from tempfile import mkdtemp
        >>> path = Path(mkdtemp()) / "a.csv"
        >>> _ = path.write_text("city,age\nRome,7\n")
        >>> [len(record["fields"]) for record in iter_records(path, by="rows")]
        [2]
    """
    return _Opened(path, format, on_error, options).stream()


def write_records(
    records: Iterable[Mapping[str, Any]],
    path: str | os.PathLike[str],
    format: str | Format = "auto",
    *,
    on_error: str = "raise",
    **options: Any,
) -> Report:
    """Write records to a file.

    Args:
        records: a data set, or any iterable of records, which is gone through once.
        path: the file, gzipped if its name ends in ``.gz``; a folder for "brat" and "hugging-face",
            which must be new or empty.
        format: one of `FORMATS`, or a value such as ``Conll(words="all")``; "auto" goes by the
            name.
        on_error: "raise", or "skip" to leave out what the format cannot hold, and count it.
        **options: those of the format; `formats/README.md` has a table of them.

    Returns:
        What was written, and what was left out.

    Raises:
        ValueError: something that is no record, something that the format cannot hold, a format
            that is only read, or an option that it does not have.

    Example:
        >>> from tempfile import mkdtemp
        >>> path = Path(mkdtemp()) / "a.jsonl.gz"
        >>> print(write_records([{"text": "Rome", "spans": []}], path))
        jsonl: 1 record, 0 positions given
    """
    target = Path(path)
    chosen = format_to_write(target) if format == "auto" else _find(format)
    if not chosen.writes:
        raise ValueError(f"format={chosen.name!r} is only read. Choose another one to write.")
    chosen = chosen.with_options("write", options)
    report = Report(chosen.name, on_error, writing=True)
    keep = getattr(chosen, "keep", ())
    chosen.write(as_records(records, report, chosen.holds_scores, keep), target, report)
    report.log(str(target))
    return report


def _find(format: str | Format) -> Format:
    return format if isinstance(format, Format) else find_format(format)


class _Opened:
    """A source, its format with the options that were given, and the report on it."""

    def __init__(
        self, path: Source, format: str | Format, on_error: str, options: dict[str, Any]
    ) -> None:
        in_memory = not isinstance(path, (str, os.PathLike))
        self.source: Any = Path(path) if isinstance(path, (str, os.PathLike)) else path
        self.shown = "The data set" if in_memory else str(path)
        self.is_detected = format == "auto"
        if self.is_detected:
            format = FORMATS["hugging-face"] if in_memory else detect(self.source)
        chosen = _find(format)
        if in_memory and chosen.name != "hugging-face":
            raise ValueError(f"format={chosen.name!r} reads from a path, got {path!r:.80}.")
        self.format = chosen.with_options("read", options)
        self.report = Report(chosen.name, on_error)

    def records(self) -> Iterator[Any]:
        return self.format.read(self.source, self.report)

    def stream(self) -> Iterator[Record]:
        yield from as_dicts(self.records(), self.shown, self.report)
        self.finish()

    def finish(self) -> None:
        """Log the report.

        Raises:
            ValueError: no position was read, and other fields may hold labels.
        """
        report, name = self.report, self.format.name
        if self.is_detected and report.unread_labels and not report.positions:
            raise ValueError(
                f"{self.shown} looks like {name!r}, and has no position at all if it is, while the "
                f"fields {sorted(report.unread_labels)} may hold labels. Pass `format`: another "
                f"one of {list(FORMATS)}, or format={name!r} if there are none to read."
            )
        report.log(self.shown)
