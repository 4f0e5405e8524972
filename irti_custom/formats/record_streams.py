"""Put records that were read into a data set, and check those to be written.

reader  ->  records  ->  Dataset         any iterable  ->  records  ->  writer
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate, groupby, islice
from mmap import ACCESS_READ, mmap
from tempfile import SpooledTemporaryFile, TemporaryFile
from typing import TYPE_CHECKING, Any

from ..records.record import KINDS, Record, check_record, kind_of, other_fields
from .read_report import Report

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset

_ROWS_AT_ONCE = 1000
_BYTES_IN_MEMORY = 64 * 2**20
"""Beyond this, tables go to disk."""
_POSITIONS = {"spans": "span", "masks": "mask", "columns": "column", "fields": "field"}


def as_dataset(records: Iterable[Record | pa.Table], source: object, report: Report) -> Dataset:
    """Put records into a data set with the same columns whatever the records.

    Other fields of records, where a reader kept them, are columns of their own.

    Args:
        records: what a reader yields: records, or tables of texts with spans.
        source: what is read, for errors.
        report: counts the records.

    Raises:
        ValueError: several kinds of records in one file, no record, or a field that is kept and has
            several kinds of values.
    """
    import pyarrow as pa
    from datasets import Dataset
    from datasets.fingerprint import generate_random_fingerprint

    tables: list[pa.Table] = []
    held: list[pa.Table] = []
    others: dict[str, list[Any]] = {}
    for batch in batches(records, source):
        if isinstance(batch, pa.Table):
            table = batch
        else:
            table = _as_table(batch)
            for name in [name for name in batch[0] if name not in table.column_names]:
                others.setdefault(name, []).extend(record[name] for record in batch)
        count(batch, report, table)
        held.append(table)
        if sum(one.nbytes for one in held) > _BYTES_IN_MEMORY:
            tables, held = [*tables, _on_disk(_joined(held))], []
    tables += held
    check_any(tables, source, report)
    table = _joined(tables)
    for name, values in others.items():
        try:
            table = table.append_column(name, pa.array(values))
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
            raise ValueError(
                f"{source}: The field {name!r}, which `keep` names, must have values of one kind "
                f"in all records: {error}"
            ) from error
    return Dataset(table, fingerprint=generate_random_fingerprint())  # any other reads the table


def as_dicts(
    records: Iterable[Record | pa.Table], source: object, report: Report
) -> Iterator[Record]:
    """Yield records as plain dicts, a batch of them in memory at a time; see `as_dataset`."""
    for batch in batches(records, source):
        count(batch, report)
        if isinstance(batch, list):
            yield from batch
            continue
        for record in batch.to_pylist():
            for span in record["spans"]:
                if span.get("scores", ()) is None:
                    del span["scores"]
            yield record
    check_any(report.records, source, report)


def batches(
    records: Iterable[Record | pa.Table], source: object
) -> Iterator[list[Record] | pa.Table]:
    """Group records, and check that they are of one kind."""
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
            yield batch[0] if is_table else batch


def count(batch: list[Record] | pa.Table, report: Report, table: pa.Table = None) -> None:
    """Count records; of texts, those of the table made of them, which is faster."""
    if not isinstance(batch, list):
        report.count_texts(batch)
    elif table is not None and "spans" in table.column_names:
        report.count_texts(table)
    else:
        for record in batch:
            report.count(record)


def check_any(records: Any, source: object, report: Report) -> None:
    """Raise a ValueError if nothing was read."""
    if not records:
        left_out = f", and left out {dict(report.skipped)}" if report.skipped else ""
        raise ValueError(f"{source} must hold at least one record, got none{left_out}.")


def _as_table(batch: list[Record]) -> pa.Table:
    """Put records of a kind into a table column by column, which is faster than row by row."""
    import pyarrow as pa

    kind = kind_of(batch[0])
    positions = [position for record in batch for position in record[kind]]
    has_title = any("title" in record for record in batch)
    schema = _schema(kind, any("scores" in one for one in positions), has_title)
    columns = schema.field(kind).type.value_type
    made = pa.StructArray.from_arrays(
        [pa.array([one.get(column.name) for one in positions], column.type) for column in columns],
        fields=list(columns),
    )
    ends = pa.array([0, *accumulate(len(record[kind]) for record in batch)], pa.int32())
    texts = [
        pa.array([record.get(name) for record in batch], pa.string()) for name in schema.names[:-1]
    ]
    return pa.Table.from_arrays([*texts, pa.ListArray.from_arrays(ends, made)], schema=schema)


def _schema(kind: str, scores: bool, title: bool = False) -> pa.Schema:
    import pyarrow as pa

    text, names = pa.string(), pa.list_(pa.string())
    own = {
        "spans": [("start", pa.int64()), ("end", pa.int64())],
        "masks": [],
        "columns": [("header", text), ("values", names)],
        "fields": [("name", text), ("value", text)],
    }[kind]
    more = [("scores", pa.list_(pa.float64()))] if scores else []
    position = pa.struct([*own, ("labels", names), *more])
    heads = {"spans": ["text"], "masks": ["text"], "columns": ["title"] * title}
    head = ["id", *heads.get(kind, [])]
    return pa.schema([*((name, text) for name in head), (kind, pa.list_(position))])


def texts_schema(scores: bool) -> pa.Schema:
    """Return the columns of texts with spans, which may have scores."""
    return _schema("spans", scores)


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


def as_records(
    records: Iterable[Mapping[str, Any]], report: Report, scores: bool, keep: Iterable[str] = ()
) -> Iterator[Record]:
    """Check records that are to be written; one without an id is called by its number.

    Args:
        records: any records.
        report: counts what is not kept.
        scores: whether the format holds the scores of labels.
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
        kind = kind_of(checked)
        scored = sum(one.get("scores") is not None for one in checked[kind])
        if scored and not scores:
            report.note(f"{_POSITIONS[kind]} whose scores are not kept", scored)
        report.count(checked)
        yield checked
    if number < 0:
        raise ValueError("There must be at least one record to write, got none.")


def texts(records: Iterable[Record], report: Report) -> Iterator[tuple[str, Record]]:
    """Yield the records that a format of texts writes, each after what errors call it.

    Raises:
        ValueError: a record of another kind.
    """
    for record in records:
        where = f"record {record['id']!r}"
        if "spans" not in record:
            raise ValueError(
                f"{where}: format={report.format!r} holds texts with spans, got a "
                f"{KINDS[kind_of(record)]}."
            )
        yield where, record


class Spool:
    """Values that can be gone through several times; many are kept on disk."""

    def __init__(self, values: Iterable[Any]) -> None:
        self._file: Any = SpooledTemporaryFile(_BYTES_IN_MEMORY)  # noqa: SIM115 (closed with this object)
        self._size = 0
        for value in values:
            pickle.dump(value, self._file, pickle.HIGHEST_PROTOCOL)
            self._size += 1

    def __del__(self) -> None:
        self._file.close()

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Any]:
        self._file.seek(0)
        for _ in range(self._size):
            yield pickle.load(self._file)
