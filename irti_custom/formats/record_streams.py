"""Records on their way: those that were read into a data set, those to be written past a check.

reader  ->  records  ->  Dataset         any iterable  ->  records  ->  writer
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate, groupby, islice
from mmap import ACCESS_READ, mmap
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

from ..records.record import KINDS, Record, check_record, kind_of, other_fields
from .report import Report

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset

_ROWS_AT_ONCE = 1000
_BYTES_IN_MEMORY = 64 * 2**20
"""What is more goes to disk."""


def as_dataset(records: Iterable[Record | pa.Table], source: object, report: Report) -> Dataset:
    """Put records into a data set with the same columns whatever the records.

    Other fields of records, where a reader kept them, are columns of their own.

    Args:
        records: what a reader yields: records, or tables of texts with spans.
        source: what is read, for errors.
        report: counts the records.

    Raises:
        ValueError: several kinds of records in one file, nothing at all, or a field that is kept
            and has several kinds of values.
    """
    from datasets import Dataset
    from datasets.fingerprint import generate_random_fingerprint

    tables: list[pa.Table] = []
    held: list[pa.Table] = []
    size = 0
    others: dict[str, list[Any]] = {}
    for table in _tables(records, source, report, others):
        held.append(table)
        size += table.nbytes
        if size > _BYTES_IN_MEMORY:
            tables.append(_on_disk(_joined(held)))
            held, size = [], 0
    tables += held
    if not tables:
        left_out = f", and left out {dict(report.skipped)}" if report.skipped else ""
        raise ValueError(f"{source} must hold at least one record, got none{left_out}.")
    table = _joined(tables)
    for name, values in others.items():
        table = table.append_column(name, _column(name, values, source))
    return Dataset(table, fingerprint=generate_random_fingerprint())  # any other reads the table


def _tables(
    records: Iterable[Record | pa.Table], source: object, report: Report, others: dict[str, Any]
) -> Iterator[pa.Table]:
    """Count records, and put them into tables; the values of other fields into `others`."""
    import pyarrow as pa

    kinds: set[str] = set()
    for is_table, group in groupby(records, key=lambda one: isinstance(one, pa.Table)):
        while batch := list(islice(group, 1 if is_table else _ROWS_AT_ONCE)):
            kinds |= {"spans"} if is_table else set(map(kind_of, batch))
            if len(kinds) > 1:
                raise ValueError(
                    f"{source} must hold one kind of records, got {[KINDS[k] for k in kinds]}. "
                    "Write each to a file of its own."
                )
            if is_table or kinds == {"spans"}:
                table: pa.Table = batch[0] if is_table else _texts_table(batch)
                report.count_texts(table)
            else:
                for record in batch:
                    report.count(record)
                table = pa.Table.from_pylist(batch, _schema(batch))
            yield table
            if not is_table:
                for name in [name for name in batch[0] if name not in table.column_names]:
                    others.setdefault(name, []).extend(record[name] for record in batch)


def _texts_table(batch: list[Record]) -> pa.Table:
    """Put texts with spans into a table column by column, which is faster than row by row."""
    import pyarrow as pa

    spans = [span for record in batch for span in record["spans"]]
    schema = texts_schema(any("scores" in span for span in spans))
    columns = schema.field("spans").type.value_type
    made = pa.StructArray.from_arrays(
        [pa.array([span.get(one.name) for span in spans], one.type) for one in columns],
        fields=list(columns),
    )
    ends = pa.array([0, *accumulate(len(record["spans"]) for record in batch)], pa.int32())
    texts = [pa.array([record[name] for record in batch], pa.string()) for name in ("id", "text")]
    return pa.Table.from_arrays([*texts, pa.ListArray.from_arrays(ends, made)], schema=schema)


def _joined(tables: list[pa.Table]) -> pa.Table:
    import pyarrow as pa

    return pa.concat_tables(tables, promote_options="permissive")


def _on_disk(table: pa.Table) -> pa.Table:
    """Move a table from memory into a file without a name, which goes when the table does."""
    import pyarrow as pa

    with TemporaryFile() as file:
        with pa.ipc.new_stream(file, table.schema) as stream:
            stream.write_table(table)
        file.flush()
        content = mmap(file.fileno(), 0, access=ACCESS_READ)
    return pa.ipc.open_stream(pa.py_buffer(content)).read_all()


def _column(name: str, values: list[Any], source: object) -> pa.Array:
    import pyarrow as pa

    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
        raise ValueError(
            f"{source}: The field {name!r}, which `keep` names, must have values of one kind in "
            f"all records: {error}"
        ) from error


def _schema(batch: list[Record]) -> pa.Schema:
    """Return the columns of records of one kind, of which some may have a title or scores."""
    import pyarrow as pa

    string, names = pa.string(), pa.list_(pa.string())
    kind = kind_of(batch[0])
    position = {
        "masks": [],
        "columns": [("header", string), ("values", names)],
        "fields": [("name", string), ("value", string)],
    }[kind]
    position += [("labels", names)]
    if any("scores" in one for record in batch for one in record[kind]):
        position += [("scores", pa.list_(pa.float64()))]
    first = [name for name in ("text", "title") if any(name in record for record in batch)]
    return pa.schema(
        [(name, string) for name in ("id", *first)] + [(kind, pa.list_(pa.struct(position)))]
    )


def texts_schema(scores: bool) -> pa.Schema:
    """Return the columns of texts with spans, which may have scores."""
    import pyarrow as pa

    span = [("start", pa.int64()), ("end", pa.int64()), ("labels", pa.list_(pa.string()))]
    span += [("scores", pa.list_(pa.float64()))] if scores else []
    spans = pa.list_(pa.struct(span))
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
        scored = [one for one in checked[kind_of(checked)] if "scores" in one]
        if scored and not scores:
            report.note("position whose scores are not kept", len(scored))
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
        if "spans" not in record:
            raise ValueError(
                f"{where}: format={report.format!r} holds texts with spans, got a "
                f"{KINDS[kind_of(record)]}."
            )
        yield where, record
