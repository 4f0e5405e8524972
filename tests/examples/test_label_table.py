"""Labelling a spreadsheet: the pipeline's answers, nothing reordered, cells as they were."""

from __future__ import annotations

import sys
from typing import Any

import pandas as pd
import pytest

from irti_custom import MaskedSeqClassificationPipeline
from tests.scoring import save_trained

FRAME = pd.DataFrame(
    {
        "name": ["Ann", "Bob", None, "Ann"],
        "no": ["007", "1", "NA", None],
        "in": ["Paris", "Rome, the", "a\nb", "Rome"],
    },
    dtype=object,
)


@pytest.fixture(scope="module", params=["multilabel", "multiclass"])
def model(request, tmp_path_factory) -> str:
    return save_trained(tmp_path_factory.mktemp("trained"), request.param)


@pytest.fixture
def label(model, monkeypatch, tmp_path):
    def call(frame: pd.DataFrame = FRAME, suffix: str = ".csv", **flags: Any) -> pd.DataFrame:
        import label_table

        source, target = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
        kind = label_table.kind_of(str(source), "input")
        label_table.WRITERS[kind](frame, source)
        given = {"model": model, "input": source, "output": target, **flags}
        arguments = [part for name, value in given.items() for part in (f"--{name}", str(value))]
        monkeypatch.setattr(sys, "argv", ["label_table.py", *arguments])
        label_table.main()
        return label_table.read_table(str(given["output"]))

    return call


def plain(frame: pd.DataFrame) -> list[list[str | None]]:
    """List the rows, with None for what is missing or empty."""
    return [
        [None if pd.isna(cell) or cell == "" else cell for cell in row]
        for row in frame.itertuples(index=False)
    ]


def expected(model: str, frame: pd.DataFrame) -> list[list[str | None]]:
    """Per row and field the labels, from records one at a time."""
    pipe = MaskedSeqClassificationPipeline.from_pretrained(model)
    cells = []
    for record in frame.to_dict("records"):
        answers = pipe({"fields": record})
        labels = [one.get("labels") or ([one] if one.get("label") else []) for one in answers]
        cells.append(["; ".join(found["label"] for found in one) or None for one in labels])
    return cells


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".tsv", ".parquet", ".xlsx"])
def test_a_column_of_labels_beside_each(suffix, label, model):
    if suffix == ".xlsx":
        pytest.importorskip("openpyxl")
    found = label(suffix=suffix)
    assert list(found.columns) == [*FRAME, "name_labels", "no_labels", "in_labels"]
    assert plain(found.iloc[:, :3]) == plain(FRAME)
    assert plain(found.iloc[:, 3:]) == expected(model, FRAME)


def test_a_row_per_cell_with_scores(label, model):
    found = label(shape="long")
    assert list(zip(found["row"], found["column"])) == [
        (str(row), column) for row in range(4) for column in FRAME
    ]
    assert plain(found[["value"]]) == [[cell] for row in plain(FRAME) for cell in row]
    labels = [[cell] for row in expected(model, FRAME) for cell in row]
    assert plain(found[["labels"]]) == labels
    for names, scores in zip(found["labels"], found["scores"]):
        assert pd.isna(names) == pd.isna(scores)
        if not pd.isna(names):
            assert len(names.split("; ")) == len(scores.split("; "))


def test_some_columns_only(label, model):
    found = label(columns="in")
    assert list(found.columns) == [*FRAME, "in_labels"]
    assert plain(found[["in_labels"]]) == expected(model, FRAME[["in"]])


def test_by_columns_a_table_is_read(label, model):
    found = label(by="columns")
    assert found["column"].tolist() == list(FRAME)
    answers = MaskedSeqClassificationPipeline.from_pretrained(model)(FRAME)
    names = [one.get("labels") or ([one] if one.get("label") else []) for one in answers]
    labels = [["; ".join(label["label"] for label in one) or None] for one in names]
    assert plain(found[["labels"]]) == labels


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "must hold a table, and it has no cells"),
        (b"a\n\xff\n", "line 2: The file must be UTF-8, got byte 0xff"),
        (b"a,a\n1,2\n", r"a name of its own, got \['a', 'a'\]"),
        (b"a,\n1,2\n", "a name of its own"),
        (b"a;b\n1;2\n", r"';' may divide, as well as ',', .*Pass `delimiter`"),
        (b"a, b;c\n1,5;2\n", r"';' may divide, as well as ',', .*Pass `delimiter`"),
        (b"a\n1,2\n", "line 2: All rows must have as many cells"),
        (None, "got nothing"),
    ],
)
def test_a_file_that_is_no_such_table_is_named(content, message, tmp_path):
    import label_table

    path = tmp_path / "in.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SystemExit, match=f"(?s)in.csv.*{message}"):
        label_table.read_table(str(path))


def test_another_delimiter(tmp_path):
    import label_table

    (tmp_path / "in.csv").write_text("a;b\n1,5;2\n")
    frame = label_table.read_table(str(tmp_path / "in.csv"), ";")
    assert frame.to_dict("records") == [{"a": "1,5", "b": "2"}]


def test_a_lone_quotation_mark_of_a_tsv_is_a_cell(tmp_path):
    import label_table

    (tmp_path / "in.tsv").write_text('word\tclass\n"\tmark\n\nAnn\tname\n"\tmark\n')
    frame = label_table.read_table(str(tmp_path / "in.tsv"))
    assert plain(frame) == [['"', "mark"], ["Ann", "name"], ['"', "mark"]]


def test_a_table_may_be_labelled_in_its_place_and_by_nothing_less(label, model, tmp_path):
    found = label(output=tmp_path / "in.csv")
    assert plain(found.iloc[:, :3]) == plain(FRAME)
    assert plain(found.iloc[:, 3:]) == expected(model, FRAME)
    for flags in ({"shape": "long"}, {"by": "columns"}):
        with pytest.raises(ValueError, match="must not be replaced"):
            label(output=tmp_path / "in.csv", **flags)
        assert (tmp_path / "in.csv").read_text().startswith("name,no,in\nAnn,007,Paris\n")


def test_a_write_that_fails_leaves_the_table(label, monkeypatch, tmp_path):
    import label_table

    def half(frame: pd.DataFrame, file: Any) -> None:
        file.write(b"name,")
        raise OSError("No space left on device")

    write = label_table.WRITERS[".csv"]
    calls = iter([write, half])
    monkeypatch.setitem(label_table.WRITERS, ".csv", lambda *given: next(calls)(*given))
    with pytest.raises(OSError, match="No space left"):
        label(output=tmp_path / "in.csv")
    assert plain(label_table.read_table(str(tmp_path / "in.csv"))) == plain(FRAME)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"by": "cells"}, "2"),  # argparse says the rest
        ({"shape": "round"}, "2"),
        ({"output": "labels.txt"}, r"--output must be one of .*'\.csv'.* got 'labels\.txt'"),
        ({"columns": "fax"}, r"has no \['fax'\]\. It has \['name', 'no', 'in'\]"),
        ({"frame": FRAME.assign(no_labels="x")}, "has the column 'no_labels' already"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_scored(flags, message, label):
    with pytest.raises(SystemExit, match=message):
        label(**{"columns": "no", **flags} if "frame" in flags else flags)
