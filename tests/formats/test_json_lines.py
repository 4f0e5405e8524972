"""Our own JSON lines."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from irti_custom import read_records, write_records
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


KEPT = st.one_of(
    st.lists(st.one_of(st.none(), st.text(max_size=3)), min_size=1, max_size=4),
    st.lists(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)), min_size=1, max_size=4),
    st.lists(st.booleans(), min_size=1, max_size=4),
)


@given(values=KEPT, kind=st.sampled_from(['"text": "a", "spans"', '"columns"', '"fields"']))
@fast
def test_fields_that_are_kept_come_back(values, kind, tmp_path):
    bare = json.loads(f"{{{kind}: []}}")
    records = numbered([{**bare, "genre": value, "more": [value]} for value in values])
    write_records(records, tmp_path / "a.jsonl", keep=["genre"])
    read = read_records(tmp_path / "a.jsonl", keep=["genre"])
    assert read.to_list() == [{**bare, "id": one["id"], "genre": one["genre"]} for one in records]
    assert "genre" not in read_records(tmp_path / "a.jsonl").column_names


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        ("genre", r"`keep` must be a list of names, got 'genre'"),
        (["genre", "topic"], r"line 1.*each field that `keep` names.*got 'topic'"),
        (["text"], r"`keep` must name other fields than .*got 'text'"),
        (["tags"], r"line 1.*a string, a number, a boolean or null, got \['a'\] for 'tags'"),
        (["mixed"], r"'mixed', which `keep` names, must have values of one kind"),
    ],
)
def test_fields_that_cannot_be_kept_say_why(keep, message, tmp_path):
    path = tmp_path / "a.jsonl"
    rows = [{"text": "a", "spans": [], "genre": "x", "tags": ["a"], "mixed": m} for m in (1, "b")]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(ValueError, match=message):
        read_records(path, keep=keep)


def test_kept_fields_of_many_records_have_one_kind(tmp_path):
    rows = [{"text": "", "spans": [], "n": None if n < 1500 else n / 2} for n in range(2500)]
    write_records(rows, tmp_path / "a.jsonl", keep=["n"])
    assert read_records(tmp_path / "a.jsonl", keep=["n"])["n"][:] == [row["n"] for row in rows]


def test_many_records_keep_their_order(tmp_path):
    records = numbered([{"text": str(n), "spans": []} for n in range(2500)])
    assert round_trip(records, tmp_path / "a.jsonl", "jsonl") == records


@pytest.mark.parametrize("key", ["word", "text", "surface"])
def test_a_span_is_what_it_says_or_raises_or_is_counted(tmp_path, key):
    path = tmp_path / "a.jsonl"
    good = {"start": 2, "end": 5, key: "Ann", "labels": ["x"]}
    shifted = {"start": 3, "end": 6, key: "Ann", "labels": ["y"]}  # in UTF-16 units
    unsaid = {"start": 2, "end": 4, key: None, "labels": ["z"]}
    for text in ({"text": "👍 Ann saw"}, {"words": ["a", "b", "👍", "Ann"]}):
        path.write_text(json.dumps({**text, "spans": [good, shifted, unsaid]}))
        if "words" in text:
            good.update({"start": 3, "end": 4})
            shifted.update({"start": 2, "end": 3})
            path.write_text(json.dumps({**text, "spans": [good, shifted]}))
        with pytest.raises(ValueError, match=r"line 1: The text at \d to \d must be 'Ann', got"):
            read_records(path)
        records, report = read_with_report(path, on_error="skip")
        assert [span["labels"] for span in records[0]["spans"]][:1] == [["x"]]
        assert report.skipped == {"span that is not its text": 1}


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
