"""Our own JSON lines."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from irti_custom import read_records
from irti_custom.formats.read_write import read_with_report
from tests.formats.strategies import fast, numbered, round_trip, tables, texts

SAMPLE = """\
{"text": "Ann saw Rome 👍 and Ulm", "spans": [{"start": 8, "end": 12, "labels": ["city", "place"]}]}

{"text": "Nobody.", "spans": [], "id": 7}
{"words": ["Bob", "Ross", "sings"], "spans": [{"start": 0, "end": 2, "labels": "person"}]}
{"text": "Ann", "spans": [{"start": 0, "end": 3, "labels": null}]}
"""


@given(records=st.lists(texts(), min_size=1, max_size=4))
@fast
def test_texts_come_back(records, tmp_path):
    records = numbered(records)
    assert round_trip(records, tmp_path / "a.jsonl", "jsonl") == records
    assert round_trip(records, tmp_path / "a.jsonl.gz", "jsonl") == records


@given(records=st.lists(tables(), min_size=1, max_size=3))
@fast
def test_tables_come_back(records, tmp_path):
    records = numbered(records)
    assert round_trip(records, tmp_path / "a.jsonl", "jsonl") == records


def test_values_are_text_or_missing(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"columns": [{"values": [1, 2.5, true, NaN, null, "x"]}]}')
    values = read_records(path)[0]["columns"][0]["values"]
    assert values == ["1", "2.5", "True", None, None, "x"]


def test_scores_and_titles_come_back_where_only_some_have_them(tmp_path):
    spans = [
        {"start": 0, "end": 3, "labels": ["x"], "scores": [0.5]},
        {"start": 1, "end": 3, "labels": ["y"]},
    ]
    read = round_trip([{"text": "Ann", "spans": spans}], tmp_path / "a.jsonl", "jsonl")
    assert read[0]["spans"] == [spans[0], {**spans[1], "scores": None}]
    assert round_trip(read, tmp_path / "a.jsonl", "jsonl") == read
    read = round_trip(
        [{"columns": [], "title": "cities"}, {"columns": []}], tmp_path / "a.jsonl", "jsonl"
    )
    assert [table["title"] for table in read] == ["cities", None]


def test_documented_shapes_are_read(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(SAMPLE)
    records, report = read_with_report(path)
    assert records["id"][:] == ["0", "7", "2", "3"]
    assert records[2] == {
        "id": "2",
        "text": "Bob Ross sings",
        "spans": [{"start": 0, "end": 8, "labels": ["person"]}],
    }
    assert records[3]["spans"][0]["labels"] is None
    assert (report.records, report.positions) == (4, 3)
    assert report.labels == {"city": 1, "place": 1, "person": 1}
    array = tmp_path / "array.json"
    array.write_text(json.dumps([json.loads(line) for line in SAMPLE.splitlines() if line]))
    assert read_records(array).to_list() == records.to_list()


def test_many_records_keep_their_order(tmp_path):
    records = numbered([{"text": str(n), "spans": []} for n in range(2500)])
    assert round_trip(records, tmp_path / "a.jsonl", "jsonl") == records


def test_errors_have_file_and_line(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(SAMPLE.replace('"end": 3', '"end": 4'))
    with pytest.raises(ValueError, match=r"a\.jsonl, line 5: A span must be 0 <= start < end <= 3"):
        read_records(path)
    path.write_text('{"text": "Ann", "spans": [{"start": 0, "end": 3, "label": "x"}]}')
    with pytest.raises(ValueError, match=r"line 1: .*A single `label` is Prodigy's"):
        read_records(path, "jsonl")
    path.write_text('{"words": ["a", ""], "spans": []}')
    with pytest.raises(ValueError, match="line 1: `words` must be a list of words"):
        read_records(path, "jsonl")
