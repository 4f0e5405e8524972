"""Label a spreadsheet: CSV, TSV, Excel or Parquet in, the same file with labels out.

    python examples/label_table.py --model out/demo --input people.csv --output labelled.csv

Each row is a record whose fields are read beside each other; "email" gets a column "email_labels".
`--shape long` writes a row per cell instead, with scores. `--by columns` labels the columns of
the table: what is in this one? Rows and columns keep their order, and cells stay as they are.
Needs pandas, for Excel also openpyxl.
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
from irti_custom.processing.fields import frame_records

# As text, so that "007" stays what it is; only an empty cell is a missing value.
_AS_TEXT: dict[str, Any] = {"dtype": str, "keep_default_na": False, "na_values": [""]}
READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    ".csv": partial(pd.read_csv, **_AS_TEXT),
    ".tsv": partial(pd.read_csv, sep="\t", **_AS_TEXT),
    ".xlsx": partial(pd.read_excel, **_AS_TEXT),
    ".parquet": pd.read_parquet,
}
WRITERS: dict[str, Callable[[pd.DataFrame, Path], object]] = {
    ".csv": lambda frame, path: frame.to_csv(path, index=False),
    ".tsv": lambda frame, path: frame.to_csv(path, sep="\t", index=False),
    ".xlsx": lambda frame, path: frame.to_excel(path, index=False),
    ".parquet": lambda frame, path: frame.to_parquet(path, index=False),
}


@dataclass
class ScriptArguments:
    model: str
    input: str
    output: str
    columns: list[str] = field(default_factory=list)  # which are read; default: all
    by: str = "rows"  # or "columns"
    shape: str = "wide"  # or "long"
    batch_size: int = 32


def kind_of(name: str, flag: str) -> str:
    """Return the suffix that says how a file is read."""
    suffix = Path(name.removesuffix(".gz")).suffix.lower()  # pandas sees to the compression
    if suffix not in READERS:
        raise SystemExit(f"--{flag} must be one of {[*READERS]}, got {name!r}.")
    return suffix


def names_and_scores(answer: dict[str, Any]) -> tuple[list[str], list[float]]:
    """List the labels of a position; none where the value is missing or no label holds."""
    labels = answer.get("labels") or []
    if answer.get("label") is not None:  # one class per position
        labels = [answer]
    return [one["label"] for one in labels], [round(one["score"], 4) for one in labels]


def cells(answers: Iterable[list[dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    """Write a row per cell, or where a table was read, per column."""
    for row, answered in enumerate(answers):
        for answer in answered:
            labels, scores = names_and_scores(answer)
            of_record = {"row": row, "column": answer.get("field"), "value": answer["word"]}
            yield {
                **(of_record if "field" in answer else {"column": answer["word"]}),
                "labels": "; ".join(labels),
                "scores": "; ".join(map(str, scores)),
            }


def main() -> None:
    (args,) = HfArgumentParser(ScriptArguments).parse_args_into_dataclasses()
    for name, allowed in (("by", ("rows", "columns")), ("shape", ("wide", "long"))):
        if getattr(args, name) not in allowed:
            raise SystemExit(f"--{name} must be one of {allowed}, got {getattr(args, name)!r}.")
    write = WRITERS[kind_of(args.output, "output")]
    frame = READERS[kind_of(args.input, "input")](Path(args.input))
    columns = args.columns or list(frame.columns)
    if unknown := [name for name in columns if name not in frame.columns]:
        raise SystemExit(f"--columns: {args.input} has no {unknown}. It has {list(frame.columns)}.")
    if len(set(frame.columns)) < len(frame.columns):
        raise SystemExit(f"{args.input} has a column twice: {list(frame.columns)}. Rename one.")
    read, names = frame[columns], [f"{name}_labels" for name in columns]
    if taken := [name for name in names if name in frame.columns]:
        raise SystemExit(f"{args.input} has the column {taken[0]!r} already. Rename it.")

    tagger = MaskedSeqClassificationPipeline.from_pretrained(args.model, batch_size=args.batch_size)
    if args.by == "columns":
        answers: Any = tagger([read])
        labelled = pd.DataFrame(cells(answers))
    else:
        records = ({"fields": record} for record in frame_records(read))
        answers = tqdm(tagger(records), total=len(read), unit="row")
        if args.shape == "long":
            labelled = pd.DataFrame(cells(answers))
        else:
            found = [["; ".join(names_and_scores(one)[0]) for one in row] for row in answers]
            labelled = frame.assign(**{n: [r[i] for r in found] for i, n in enumerate(names)})
    write(labelled, Path(args.output))
    print(f"{len(labelled)} rows lie in {args.output}")


if __name__ == "__main__":
    main()
