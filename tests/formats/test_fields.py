"""Records of fields: JSON lines, and the rows of CSV, TSV, Excel and Parquet."""

from __future__ import annotations

import gzip
import json
from itertools import product

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from irti_custom import read_records, write_records
from irti_custom.formats.read_write import read_with_report
from tests.formats.strategies import NAMES, TEXT, fast, fields, numbered, round_trip
from tests.formats.test_tables import CELL, csv

ROWS = {"by": "rows"}
MAIL = ["contact", "work"]
PEOPLE = "email,note,email_labels\r\na@b.de,call,contact; work\r\nc@d.de,,\r\n,x,\r\n"


def field(name, value, labels=None):
    return {"name": name, "value": value, "labels": labels}


@given(
    records=st.lists(
        st.lists(st.none() | NAMES, max_size=3).flatmap(fields), min_size=1, max_size=3
    )
)
@fast
def test_fields_come_back_from_json_lines(records, tmp_path):
    records = numbered(records)
    assert round_trip(records, tmp_path / "a.jsonl", "auto") == records


@st.composite
def rows(draw, cell=CELL):
    """Records of the same fields; the labels of a field are known in all of them or in none."""
    unnamed = draw(st.lists(st.none() | st.just("same"), max_size=2))  # these have no labels
    named = draw(st.lists(NAMES, unique=True, min_size=1, max_size=3))
    records = draw(st.lists(fields([*named, *unnamed], cell), min_size=1, max_size=3))
    has_labels = [draw(st.booleans()) for _ in named] + [False] * len(unnamed)
    for record, (index, labelled) in product(records, enumerate(has_labels)):
        one = record["fields"][index]
        if one["value"] is not None:
            one["labels"] = (one["labels"] or []) if labelled else None
    return numbered(records)


@pytest.mark.parametrize("name", ["a.csv", "a.tsv.gz", "a.parquet"])
@given(records=rows())
@fast
def test_rows_come_back(records, name, tmp_path):
    if name != "a.parquet" and len(records[0]["fields"]) == 1:  # or it asks for the delimiter
        for record in records:
            record["fields"][0]["name"] = "x"
    assert round_trip(records, tmp_path / name, "auto", read=ROWS) == records


@given(records=rows(TEXT.filter(lambda cell: "\r" not in cell)))
@fast
def test_rows_of_workbooks_come_back(records, tmp_path):
    pytest.importorskip("openpyxl")
    for record in records:  # a sheet begins and ends where cells are
        record["fields"] = [field("first", "x"), *record["fields"], field("last", "x")]
    assert round_trip(records, tmp_path / "a.xlsx", "auto", read=ROWS) == records


def test_sample_of_labelled_rows(tmp_path):
    path = csv(tmp_path, gzip.compress(PEOPLE.encode()), "people.csv.gz")
    records, report = read_with_report(path, by="rows")
    assert records.to_list() == [
        {
            "id": "0",
            "fields": [field("email", "a@b.de", ["contact", "work"]), field("note", "call")],
        },
        {"id": "1", "fields": [field("email", "c@d.de", []), field("note", None)]},
        {"id": "2", "fields": [field("email", None), field("note", "x")]},
    ]
    assert (report.records, report.positions) == (3, 4)
    assert report.labels == {"contact": 1, "work": 1}
    assert "columns" in read_records(path).column_names
    assert write_records(records, tmp_path / "b.csv").positions == 4
    assert (tmp_path / "b.csv").read_bytes() == PEOPLE.encode()


def test_rows_without_headers_have_fields_without_names(tmp_path):
    (record,) = read_records(csv(tmp_path, "7;Rome\n"), by="rows", header=False, delimiter=";")
    assert record["fields"] == [field(None, "7"), field(None, "Rome")]


def test_what_label_table_writes_is_read_with_its_labels(tmp_path):
    """Its columns come after all others, labels between "; ", nothing beside a missing value."""
    frame = pd.DataFrame({"name": ["Ann", None], "age": ["7", "8"]})
    frame = frame.assign(name_labels=["person; first", ""], age_labels=["", "number"])
    for name in ("a.csv", "a.xlsx", "a.parquet"):
        path = tmp_path / name
        if name == "a.csv":
            frame.to_csv(path, index=False)
        elif name == "a.parquet":
            frame.to_parquet(path, index=False)
        else:
            pytest.importorskip("openpyxl")
            frame.to_excel(path, index=False)
        assert [record["fields"] for record in read_records(path, by="rows")] == [
            [field("name", "Ann", ["person", "first"]), field("age", "7", [])],
            [field("name", None), field("age", "8", ["number"])],
        ]


def test_a_dict_of_values_is_a_record_whose_labels_are_not_known(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"fields": {"email": " a@b ", "fax": null, "": 7, "note": " ", "x": NaN}}')
    values = [field("email", " a@b "), field("fax", None), field(None, "7"), field("note", None)]
    assert read_records(path)[0] == {"id": "0", "fields": [*values, field("x", None)]}
    write_records([{"fields": {"age": pd.NA, "city": "Rome"}}], path)
    assert read_records(path)[0]["fields"] == [field("age", None), field("city", "Rome")]


NO_FIELDS = {
    "text": ("Rome", "`fields` must be a list"),
    "texts": (["Rome"], 'must be a dict of "value"'),
    "no value": ([{"name": "city"}], 'must be a dict of "value"'),
    "name": ([field(7, "Rome")], "A name must be a string, got 7"),
    "value": ([field("city", ["Rome"])], "A value must be a string or number, got"),
    "labels": ([field("city", "Rome", 3)], "`labels` must be a list of names, got 3"),
    "lost": ([field("city", " ", ["place"])], r"'city' has no value, and the labels \['place'\]"),
}


@pytest.mark.parametrize("case", NO_FIELDS)
def test_what_is_no_record_of_fields_raises(tmp_path, case):
    given, message = NO_FIELDS[case]
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"fields": given}))
    with pytest.raises(ValueError, match=rf"a\.jsonl, line 1: .*{message}"):
        read_records(path, "jsonl")
    with pytest.raises(ValueError, match=rf"record 0: .*{message}"):
        write_records([{"fields": given}], tmp_path / "b.csv")


def test_kinds_do_not_share_a_file(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"fields": {"a": 1}}\n{"text": "Ann", "spans": []}\n')
    with pytest.raises(ValueError, match=r"one kind of records, got .*'record of fields'"):
        read_records(path)
    with pytest.raises(ValueError, match="holds texts with spans, got a record of fields"):
        write_records([{"fields": {"a": 1}}], tmp_path / "b.conll")
    with pytest.raises(ValueError, match="got 2 records that are not"):
        write_records([{"fields": {"a": 1}}, {"columns": []}], tmp_path / "b.csv")


CLASHES = ["a,a_labels,a_labels", "a,a,a_labels", "a,a_labels,a_labels_labels"]


@pytest.mark.parametrize("header", CLASHES)
def test_columns_whose_labels_cannot_be_told_apart_raise(tmp_path, header):
    path = csv(tmp_path, f"{header}\n1,2,3\n")
    with pytest.raises(ValueError, match=r"holds the labels of .*, and there must be one of each"):
        read_records(path, by="rows")
    records = [{"fields": [field(name, "1") for name in header.split(",")]}]
    with pytest.raises(ValueError, match="holds the labels of"):
        write_records(records, tmp_path / "b.csv")


def test_a_column_of_labels_of_no_other_is_a_field(tmp_path):
    (record,) = read_records(csv(tmp_path, "care_labels,_labels\nwool,x\n"), by="rows")
    assert record["fields"] == [field("care_labels", "wool"), field("_labels", "x")]


def test_labels_that_a_row_cannot_hold_raise_or_are_counted(tmp_path):
    path = csv(tmp_path, "a,a_labels\n1,x\n,y\n")
    with pytest.raises(ValueError, match=r"people\.csv, row 3: A field must have a value to have"):
        read_records(path, by="rows")
    records, report = read_with_report(path, by="rows", on_error="skip")
    assert records[1]["fields"] == [field("a", None)]
    assert report.skipped == {"labels of a missing value": 1}
    with pytest.raises(ValueError, match="row 2: Labels must be names with ';' between them"):
        read_records(csv(tmp_path, "a,a_labels\n1,x;\n"), by="rows", on_error="skip")


WRITES = {
    "separator": ([[field("a", "1", ["x;y", "z"])]], "label that holds its separator", 1),
    "white space": ([[field("a", "1", ["x ", "z"])]], "label that holds its separator", 1),
    "unknown": (
        [[field("a", "1", ["x"])], [field("a", "2")]],
        "record without known labels among others",
        1,
    ),
    "other fields": ([[field("a", "1", ["x"])], [field("b", "2")]], "record with other fields", 1),
    "fewer fields": ([[field("a", "1", ["x"])], []], "record with other fields", 1),
    "order": (
        [[field("a", "1"), field("b", "2")], [field("b", "1"), field("a", "2")]],
        "record with other fields",
        1,
    ),
}


@pytest.mark.parametrize("case", WRITES)
def test_what_rows_cannot_hold_raises_or_is_counted(tmp_path, case):
    given, kind, kept = WRITES[case]
    records, path = [{"fields": one} for one in given], tmp_path / "a.csv"
    with pytest.raises(ValueError, match=r"record '[01]': "):
        write_records(records, path)
    assert not path.exists()
    assert write_records(records, path, on_error="skip").skipped == {kind: 1}
    assert len(read_records(path, by="rows")) == kept


def test_labels_of_fields_without_a_name_of_their_own_raise(tmp_path):
    with pytest.raises(ValueError, match="must have a name that is there once"):
        write_records([{"fields": [field(None, "1", ["x"])]}], tmp_path / "a.csv")
    twice = [{"fields": [field("a", "1", ["x"]), field("a", "2")]}]
    with pytest.raises(ValueError, match="'a_labels' holds the labels of 'a', and there must be"):
        write_records(twice, tmp_path / "a.csv")
    with pytest.raises(ValueError, match="must have columns, got records without fields"):
        write_records([{"fields": []}], tmp_path / "a.csv")


def test_ids_of_rows_are_their_numbers_and_others_are_counted(tmp_path):
    records = [{"id": "x", "fields": {"a": 1}}]
    assert write_records(records, tmp_path / "a.csv").notes == {"id not kept": 1}


def test_by_is_an_option_of_tables_only(tmp_path):
    path = csv(tmp_path, "a\n1\n")
    with pytest.raises(ValueError, match=r"`by` must be one of \('columns', 'rows'\), got 'cell'"):
        read_records(path, by="cell")
    with pytest.raises(ValueError, match=r"with its own options, .*, got \['by'\]"):
        read_records(path, "jsonl", by="rows")
