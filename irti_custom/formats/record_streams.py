"""Records on their way: those that were read into a data set, those to be written past a check.

reader  ->  records  ->  Dataset         any iterable  ->  records  ->  writer
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

from .records import KINDS, Record, check_record, kind_of, other_fields
from .report import Report

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset

_ROWS_AT_ONCE = 1000


def as_dataset(records: Iterable[Record], source: object, report: Report) -> Dataset:
    """Put records into a data set with the same columns whatever the records.

    Other fields of records, where a reader kept them, are columns of their own.

    Args:
        records: what a reader yields.
        source: what is read, for errors.
        report: counts the records.

    Raises:
        ValueError: several kinds of records in one file, nothing at all, or a field that is kept
            and has several kinds of values.

    Example:
        >>> as_dataset([{"id": "0", "text": "Rome", "spans": []}], "a.jsonl", Report("jsonl"))
        Dataset({
            features: ['id', 'text', 'spans'],
            num_rows: 1
        })
    """
    import pyarrow as pa
    from datasets import Dataset

    tables: list[pa.Table] = []
    kinds: set[str] = set()
    others: dict[str, list[Any]] = {}
    iterator = iter(records)
    while batch := list(islice(iterator, _ROWS_AT_ONCE)):
        for record in batch:
            report.count(record)
            kinds.add(kind_of(record))
        if len(kinds) > 1:
            raise ValueError(
                f"{source} must hold one kind of records, got {[KINDS[k] for k in kinds]}. "
                "Write each to a file of its own."
            )
        optional = {"title"} & set().union(*batch)
        optional |= {"scores" for r in batch for s in r.get("spans", ()) if "scores" in s}
        tables.append(pa.Table.from_pylist(batch, _schema(kinds, optional)))
        for name in [name for name in batch[0] if name not in tables[-1].column_names]:
            others.setdefault(name, []).extend(record[name] for record in batch)
    if not tables:
        left_out = f", and left out {dict(report.skipped)}" if report.skipped else ""
        raise ValueError(f"{source} must hold at least one record, got none{left_out}.")
    table = pa.concat_tables(tables, promote_options="permissive")
    for name, values in others.items():
        table = table.append_column(name, _column(name, values, source))
    return Dataset(table)


def _column(name: str, values: list[Any], source: object) -> pa.Array:
    import pyarrow as pa

    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
        raise ValueError(
            f"{source}: The field {name!r}, which `keep` names, must have values of one kind in "
            f"all records: {error}"
        ) from error


def _schema(kinds: set[str], optional: set[str]) -> pa.Schema:
    import pyarrow as pa

    names = pa.list_(pa.string())
    if kinds == {"columns"}:
        title = [("title", pa.string())] if "title" in optional else []
        column = pa.struct([("header", pa.string()), ("values", names), ("labels", names)])
        return pa.schema([("id", pa.string()), *title, ("columns", pa.list_(column))])
    if kinds == {"fields"}:
        field = pa.struct([("name", pa.string()), ("value", pa.string()), ("labels", names)])
        return pa.schema([("id", pa.string()), ("fields", pa.list_(field))])
    ends = [("start", pa.int64()), ("end", pa.int64()), ("labels", names)]
    scores = [("scores", pa.list_(pa.float64()))] if "scores" in optional else []
    spans = pa.list_(pa.struct([*ends, *scores]))
    return pa.schema([("id", pa.string()), ("text", pa.string()), ("spans", spans)])


def as_records(
    records: Iterable[Mapping[str, Any]], report: Report, scores: bool, keep: Iterable[str] = ()
) -> Iterator[Record]:
    """Check records that are to be written; one without an id is called by its number.

    Args:
        records: any records.
        report: counts what is not kept.
        scores: whether the format holds the scores of spans.
        keep: the other fields that stay in a record.

    Raises:
        ValueError: something that is no record.

    Example:
        >>> list(as_records([{"text": "Rome", "spans": [], "topic": "a"}], Report("jsonl"), False))
        [{'id': '0', 'text': 'Rome', 'spans': []}]
    """
    number = -1
    if not isinstance(records, Iterable):
        raise ValueError(f"Records must be a data set or a list of dicts, got {records!r:.80}.")
    for number, record in enumerate(records):
        if not isinstance(record, Mapping):
            raise ValueError(f"record {number}: A record must be a dict, got {record!r:.80}.")
        with_id = {**record, "id": number if record.get("id") is None else record["id"]}
        where = f"record {number}"
        checked = check_record(with_id, where) | other_fields(with_id, keep, where)
        for name in with_id.keys() - checked.keys():
            if with_id[name] is not None:
                report.note(f"field {name!r} not kept")
        scored = [span for span in checked.get("spans", ()) if "scores" in span]
        if scored and not scores:
            report.note("span whose scores are not kept", len(scored))
        report.count(checked)
        yield checked
    if number < 0:
        raise ValueError("There must be at least one record to write, got none.")


def texts(records: Iterable[Record], report: Report) -> Iterator[tuple[str, Record]]:
    """Yield the records that a format of texts writes, each after what errors call it.

    Raises:
        ValueError: a record of another kind.

    Example:
        >>> next(texts([{"id": "7", "columns": []}], Report("brat")))
        Traceback (most recent call last):
        ValueError: record '7': format='brat' holds texts with spans, got a table.
    """
    for record in records:
        where = f"record {record['id']!r}"
        if "text" not in record:
            raise ValueError(
                f"{where}: format={report.format!r} holds texts with spans, got a "
                f"{KINDS[kind_of(record)]}."
            )
        yield where, record
