"""Read records from a file of any format, and write them to one.

    read_records("export.json")                          ->  datasets.Dataset of records
    write_records(records, "tasks.json", "label-studio")  ->  a Report of what was written

`records` says what a record is, `formats` which formats there are.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Union

from .formats import FORMATS, check_options, detect, find_format, format_to_write
from .record_streams import as_dataset, as_records
from .report import Report

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

Source = Union[str, "os.PathLike[str]", "Dataset", "DatasetDict"]
"""A path; for "hugging-face" also a data set, or a name on the Hub."""


class ReadResult(NamedTuple):
    """The records of a file, and what is to be said of it."""

    records: Dataset
    report: Report


def read_records(
    path: Source,
    format: str = "auto",
    *,
    on_error: str = "raise",
    words: str | None = None,
    tag_columns: Sequence[int | str] | None = None,
    scheme: str | None = None,
    split: str | None = None,
    attributes: str | None = None,
    annotations: str | None = None,
    text_field: str | None = None,
    offsets: str | None = None,
    spans_key: str | None = None,
    header: bool | None = None,
    delimiter: str | None = None,
    sheet: str | None = None,
    entity_fields: Sequence[str] | None = None,
    word_column: int | None = None,
    comment: str | None = None,
    by: str | None = None,
    question: str | None = None,
    keep: Sequence[str] | None = None,
) -> Dataset:
    """Read a file into a data set of records.

    Args:
        path: a file, plain or gzipped; a folder for "brat" and "hugging-face".
        format: one of `FORMATS`; "auto" looks at the file.
        on_error: "raise", or "skip" to leave out what a record cannot hold and what is none; what
            was left out is counted by kind and logged, see `read_with_report`. A damaged file
            always raises.
        words: "entities" to read the spans that tags mark, the default, or "all" to make each word
            a position with its tags as labels ("conll", "hugging-face").
        tag_columns: the columns that hold tags: numbers, counted from 0 or from the end with -1,
            for "conll", where the last is the default; names for "hugging-face", by default
            "ner_tags", "ner", or in JSON the only one that holds tags.
        scheme: "BIO", "IOB1" or "IOBES"; found out by default ("conll", "hugging-face").
        word_column: the number of the column of words, 0 by default ("conll").
        comment: what a line begins with if it is a comment, such as "#"; between words, one that
            has not all columns ("conll").
        split: of a data set that has several ("hugging-face").
        attributes: "labels" to make labels of the attributes of spans ("brat").
        annotations: which to take of a text that several annotated: "first", "last", "merge",
            "ground_truth" ("label-studio"), or "predictions" for those; by default several raise
            ("label-studio", "argilla").
        text_field: the field that holds the text ("label-studio", "argilla").
        question: that of spans, if there are several ("argilla").
        offsets: "code-points", or "utf-16" for those of old exports of "label-studio" and of the
            page of "argilla", where texts with emoji need one of the two.
        spans_key: "ents", or the name of a group of spans ("spacy").
        header: False for a table without headers ("csv", "excel").
        delimiter: what divides cells, if it is no comma, or no tab in a ".tsv" ("csv").
        sheet: which, if several are not empty ("excel").
        by: "columns" for one table, the default, or "rows" for a record of fields per row, with the
            labels of "x" in a column "x_labels" ("csv", "excel", "parquet").
        entity_fields: what of an entity is a label, such as "etype", the default, and "infstat"
            ("conllu").
        keep: names of other fields that each record has, such as "genre", to keep as columns
            ("jsonl").

    Returns:
        ``{"id", "text", "spans": [{"start", "end", "labels"}]}``, with `scores` in a span where the
        file has them; or ``{"id", "columns": [{"header", "values", "labels"}]}``; or
        ``{"id", "fields": [{"name", "value", "labels"}]}``.

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
    options = {
        "words": words,
        "tag_columns": tag_columns,
        "scheme": scheme,
        "split": split,
        "attributes": attributes,
        "annotations": annotations,
        "text_field": text_field,
        "offsets": offsets,
        "spans_key": spans_key,
        "header": header,
        "delimiter": delimiter,
        "sheet": sheet,
        "entity_fields": entity_fields,
        "word_column": word_column,
        "comment": comment,
        "by": by,
        "question": question,
        "keep": keep,
    }
    return _read(path, format, on_error, options).records


def read_with_report(
    path: Source, format: str = "auto", *, on_error: str = "raise", **options: Any
) -> ReadResult:
    """Read a file as `read_records` does, and return with the records what was counted.

    Args:
        path: as there.
        format: as there.
        on_error: as there.
        **options: the others of `read_records`.

    Example:
        >>> from tempfile import mkdtemp
        >>> path = Path(mkdtemp()) / "a.jsonl"
        >>> _ = path.write_text('{"text": "Ann", "spans": [{"start": 0, "end": 3, "labels": "x"}]}')
        >>> print(read_with_report(path).report)
        jsonl: 1 record, 1 position
        labels: x 1
    """
    return _read(path, format, on_error, options)


def write_records(
    records: Iterable[Mapping[str, Any]],
    path: str | os.PathLike[str],
    format: str = "auto",
    *,
    on_error: str = "raise",
    split_words: str | None = None,
    words: str | None = None,
    scheme: str | None = None,
    predictions: bool | None = None,
    spans_key: str | None = None,
    delimiter: str | None = None,
    question: str | None = None,
    keep: Sequence[str] | None = None,
) -> Report:
    """Write records to a file.

    Args:
        records: a data set, or any iterable of records.
        path: the file, gzipped if its name ends in ``.gz``; a folder for "brat" and "hugging-face",
            which must be new or empty.
        format: one of `FORMATS`; "auto" goes by the name.
        on_error: "raise", or "skip" to leave out what the format cannot hold, and count it.
        split_words: for formats of words: "spaces", the default, for texts that are words and
            single spaces; "punctuation" cuts off punctuation marks, and cuts where spans begin and
            end ("conll", "hugging-face", "gliner").
        words: "entities", or "all" to write the label of each word as its tag ("conll",
            "hugging-face").
        scheme: "BIO", the default, "IOB1" or "IOBES" ("conll", "hugging-face").
        predictions: True for pre-annotations, False for annotations; by default spans that have
            scores are predictions ("label-studio").
        spans_key: "ents", or the name of a group of spans; by default "ents" where that holds all
            spans, else "sc" ("spacy").
        delimiter: as for reading ("csv").
        question: the name of the span question, "spans" by default ("argilla").
        keep: names of other fields of the records to write, too ("jsonl").

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
    name = format_to_write(target) if format == "auto" else format
    chosen_format = find_format(name)
    if chosen_format.write is None:
        raise ValueError(f"format={name!r} is only read. Choose another one to write.")
    options = {
        "split_words": split_words,
        "words": words,
        "scheme": scheme,
        "predictions": predictions,
        "spans_key": spans_key,
        "delimiter": delimiter,
        "question": question,
        "keep": keep,
    }
    chosen = check_options(name, chosen_format.write_options, options)
    report = Report(name, on_error, writing=True)
    checked = as_records(records, report, chosen_format.scores, chosen.pop("keep", ()))
    chosen_format.write(checked, target, report, **chosen)
    report.log(str(target))
    return report


def _read(path: Source, format: str, on_error: str, options: dict[str, Any]) -> ReadResult:
    in_memory = not isinstance(path, (str, os.PathLike))
    source: Any = path if in_memory else Path(path)
    name = format
    if format == "auto":
        name = "hugging-face" if in_memory else detect(source)
    chosen_format = find_format(name)
    if in_memory and name != "hugging-face":
        raise ValueError(f"format={name!r} reads from a path, got {path!r:.80}.")
    chosen = check_options(name, chosen_format.read_options, options)
    report = Report(name, on_error)
    shown = "The data set" if in_memory else str(source)
    records = as_dataset(chosen_format.read(source, report, **chosen), shown, report)
    if format == "auto" and report.unread_labels and not report.positions:
        raise ValueError(
            f"{shown} looks like {name!r}, and has no position at all if it is, while the fields "
            f"{sorted(report.unread_labels)} may hold labels. Pass `format`: another one of "
            f"{list(FORMATS)}, or format={name!r} if there are none to read."
        )
    report.log(shown)
    return ReadResult(records, report)
