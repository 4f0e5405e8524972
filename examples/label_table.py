"""Label a spreadsheet: CSV, TSV, Excel or Parquet in, the same file with labels out.

    python examples/label_table.py --model out/demo --input people.csv --output labelled.csv

Each row is a record whose fields are read beside each other; "email" gets a column "email_labels".
`--shape long` writes a row per cell instead, with scores. `--by columns` labels the columns of the
table. Rows, columns and cells stay as they are. Needs pandas, for Excel also openpyxl.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm
from transformers import HfArgumentParser

from irti_custom import MaskedSeqClassificationPipeline
from irti_custom.formats.atomic import check_apart, writing
from irti_custom.formats.delimited import Csv
from irti_custom.formats.excel import Excel
from irti_custom.formats.parquet import read_table as read_parquet
from irti_custom.formats.read_report import Report
from irti_custom.formats.tables import NO_BOUND, Bound
from irti_custom.records.kinds import frame_fields

WRITERS: dict[str, Callable[..., object]] = {
    ".csv": partial(pd.DataFrame.to_csv, index=False),
    ".tsv": partial(pd.DataFrame.to_csv, index=False, sep="\t"),
    ".xlsx": partial(pd.DataFrame.to_excel, index=False, engine="openpyxl"),
    ".parquet": partial(pd.DataFrame.to_parquet, index=False),
}


@dataclass
class ScriptArguments:
    model: str
    input: str
    output: str
    columns: list[str] = field(default_factory=list)  # which are read; default: all
    by: str = field(default="rows", metadata={"choices": ["rows", "columns"]})
    shape: str = field(default="wide", metadata={"choices": ["wide", "long"]})
    batch_size: int = 32
    delimiter: str = ""  # of a CSV file whose cells are not divided by commas


def kind_of(name: str, flag: str) -> str:
    suffix = Path(name.removesuffix(".gz")).suffix.lower()
    if suffix not in WRITERS:
        raise SystemExit(f"--{flag} must be one of {[*WRITERS]}, got {name!r}.")
    return suffix


def read_table(path: str, delimiter: str = "", bound: Bound = NO_BOUND) -> pd.DataFrame:
    """Read a table whose first row holds the names of its columns, each of them once.

    All but Parquet is read as text, so that "007" stays what it is.
    """
    suffix, report = kind_of(path, "input"), Report("table", on_error="skip")
    try:
        if suffix == ".parquet":
            frame = read_parquet(Path(path), bound).to_pandas()
        else:
            table_format = Excel(bound=bound) if suffix == ".xlsx" else Csv(bound=bound)
            table_format = table_format.with_options("read", {"delimiter": delimiter or None})
            (table,) = table_format.read(Path(path), report)
            cells = [column["values"] for column in table["columns"]]
            frame = pd.DataFrame(dict(enumerate(cells)), dtype=object)
            frame.columns = [column["header"] for column in table["columns"]]
    except (ImportError, LookupError, OSError, TypeError, ValueError) as error:
        raise SystemExit(str(error)) from error
    report.log(path)
    names = list(frame.columns)
    if len({name for name in names if isinstance(name, str)}) < len(names):
        raise SystemExit(f"Each column of {path} must have a name of its own, got {names}.")
    return frame


def names_and_scores(answer: dict[str, Any]) -> tuple[list[str], list[float]]:
    """List the labels of a position; none where the value is missing or no label holds."""
    single = [answer] if answer.get("label") is not None else []  # one class per position
    labels = answer.get("labels") or single
    return [one["label"] for one in labels], [round(one["score"], 4) for one in labels]


def cells(answers: Iterable[list[dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    """Write a row per cell, or where a table was read, per column."""
    for row, answered in enumerate(answers):
        for answer in answered:
            labels, scores = names_and_scores(answer)
            where = {"column": answer["word"]}
            if "field" in answer:
                where = {"row": row, "column": answer["field"], "value": answer["word"]}
            yield {**where, "labels": "; ".join(labels), "scores": "; ".join(map(str, scores))}


def main() -> None:
    (args,) = HfArgumentParser(ScriptArguments).parse_args_into_dataclasses()
    write, frame = WRITERS[kind_of(args.output, "output")], read_table(args.input, args.delimiter)
    if args.by == "columns" or args.shape == "long":  # what is written holds no rows of the table
        check_apart([args.output], [args.input])
    columns = args.columns or list(frame.columns)
    if unknown := [name for name in columns if name not in frame.columns]:
        raise SystemExit(f"--columns: {args.input} has no {unknown}. It has {list(frame.columns)}.")
    read, names = frame[columns], [f"{name}_labels" for name in columns]
    if taken := [name for name in names if name in frame.columns]:
        raise SystemExit(f"{args.input} has the column {taken[0]!r} already. Rename it.")

    tagger = MaskedSeqClassificationPipeline.from_pretrained(args.model, batch_size=args.batch_size)
    records: list[Any] = [{"fields": record} for record in frame_fields(read)]
    inputs = [read] if args.by == "columns" else records
    answers: Any = tqdm(tagger(iter(inputs)), total=len(inputs), unit="row")
    if args.by == "columns" or args.shape == "long":
        labelled = pd.DataFrame(cells(answers))
    else:
        found = [["; ".join(names_and_scores(one)[0]) for one in row] for row in answers]
        labelled = frame.assign(**{n: [r[i] for r in found] for i, n in enumerate(names)})
    with writing(args.output) as file:  # beside it first: --output may be --input
        write(labelled, file)
    print(f"{len(labelled)} rows lie in {args.output}")


if __name__ == "__main__":
    main()
