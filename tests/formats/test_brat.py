"""brat standoff."""

from __future__ import annotations

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from irti_custom import read_records, write_records
from irti_custom.formats.read_write import read_with_report
from tests.formats.strategies import fast, numbered, position_labels, round_trip, texts

# The lines are those of brat's own documentation of the format, the text is ours.
TEXT = "Sony formed a joint venture with Ericsson,\na firm in North and South America."
ANNOTATION = """\
T1\tOrganization 0 4\tSony
T2\tMERGE-ORG 14 27\tjoint venture
T3\tOrganization 33 41\tEricsson
T4\tPlace 72 79;48 53\tAmerica firm
T5\tPassage 33 49\tEricsson, a firm
T6\tCompany 0 4\tSony
E1\tMERGE-ORG:T2 Org1:T1 Org2:T3
R1\tOrigin Arg1:T3 Arg2:T4
*\tEquiv T1 T3
A1\tNegation E1
A2\tConfidence T3 High
M1\tCertain T1
N1\tReference T1 Wikipedia:534366\tSony
#1\tAnnotatorNotes T1\tsee above
"""
SKIPPED = {
    "discontinuous span": 1,
    "event": 1,
    "relation": 1,
    "equivalence": 1,
    "normalization": 1,
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "corpus" / "part").mkdir(parents=True)
    (tmp_path / "corpus" / "part" / "a.txt").write_text(TEXT)
    (tmp_path / "corpus" / "part" / "a.ann").write_text(ANNOTATION)
    (tmp_path / "corpus" / "b.txt.gz").write_bytes(gzip.compress("Ann 👍 saw Rome".encode()))
    (tmp_path / "corpus" / "b.ann.gz").write_bytes(gzip.compress(b"T1\tplace 10 14\tRome\r\n"))
    return tmp_path / "corpus"


def test_a_documented_sample_with_its_counts(folder):
    records, report = read_with_report(folder, on_error="skip")
    assert records["id"][:] == ["b", "part/a"]
    assert position_labels(records) == [
        ("Rome", ["place"]),
        ("Sony", ["Organization", "Company"]),
        ("joint venture", ["MERGE-ORG"]),
        ("Ericsson", ["Organization"]),
        ("Ericsson,\na firm", ["Passage"]),
    ]
    assert report.skipped == {**SKIPPED, "attribute": 3}
    assert report.notes == {"annotator's note not kept": 1}


def test_attributes_become_labels_when_asked_for(folder):
    records, report = read_with_report(folder, on_error="skip", attributes="labels")
    labels = dict(position_labels(records))
    assert labels["Ericsson"] == ["Organization", "Confidence=High"]
    assert labels["Sony"] == ["Organization", "Company", "Certain"]
    assert report.skipped == {**SKIPPED, "attribute of no span": 1}  # of the event


@given(
    records=st.lists(texts(least_labels=1), min_size=1, max_size=3), names=st.permutations("abc")
)
@fast
def test_texts_come_back(records, names, tmp_path_factory):
    records = [{"id": name, **record} for name, record in zip(names, records)]
    path = tmp_path_factory.mktemp("brat") / "a"
    expected = sorted(records, key=lambda record: record["id"])
    assert round_trip(records, path, "brat") == expected
    assert read_records(path).to_list() == expected


@pytest.mark.parametrize("name", ["part/a.txt", "part/a.ann", "b.txt.gz", "b.ann.gz"])
def test_one_document_is_read_by_either_name(folder, name):
    record = read_records(folder / name, on_error="skip")[0]
    assert record["text"] == (TEXT if "part" in name else "Ann 👍 saw Rome")
    assert record["spans"]


@pytest.mark.parametrize(
    ("line", "kind", "message"),
    [
        ("T1\tx 0 3;4 7\tAnn saw", "discontinuous span", "one piece, got 'x 0 3;4 7'"),
        ("T1\tx 4 7\tAnn", "span that is not its text", "4 to 7 must be 'Ann', got 'saw'"),
        ("A1\tCertain T1", "attribute", "attributes='labels' makes labels of them"),
        ("R1\tOf Arg1:T1 Arg2:T2", "relation", "holds spans and no relation"),
    ],
)
def test_what_a_record_cannot_hold_has_a_line_or_is_counted(tmp_path, line, kind, message):
    (tmp_path / "a.txt").write_text("Ann saw")
    (tmp_path / "a.ann").write_text(f"\n{line}\n")
    with pytest.raises(ValueError, match=rf"a\.ann, line 2: .*{message}"):
        read_records(tmp_path)
    records, report = read_with_report(tmp_path, on_error="skip")
    assert report.skipped == {kind: 1}
    assert records[0]["spans"] == []


@pytest.mark.parametrize(
    ("line", "message", "kind"),
    [
        ("T1\tx 0 9\tAnn saw", "0 <= start < end <= 7, got 0 and 9", "span beyond its text"),
        ("T1\tx 3 3\t", "got 3 and 3", "empty span"),
        ("T1\tx 0 3", "a type, start, end and text", "span without type, ends and text"),
        ("T1\tx y\tAnn", "a type, start, end and text", "span without type, ends and text"),
        (f"T1\tx 0 {'9' * 5000}\tAnn", "a type, start", "span without type, ends and text"),
        ("Ann saw", "must begin with T, A or the like", "line that is no annotation"),
        (
            "T0\tx 0 3\tAnn",
            "a name of its own, got T0 again",
            "annotation with the name of another",
        ),
    ],
)
def test_bad_line_has_its_number_or_is_counted_and_the_rest_is_read(tmp_path, line, message, kind):
    (tmp_path / "a.txt").write_text("Ann saw")
    (tmp_path / "a.ann").write_text(f"T0\tsee 4 7\tsaw\n{line}\nT9\tper\u00a0son 0 3\tAnn\n")
    with pytest.raises(ValueError, match=rf"a\.ann, line 2: .*{message}"):
        read_records(tmp_path)
    records, report = read_with_report(tmp_path, on_error="skip")
    assert position_labels(records) == [("saw", ["see"]), ("Ann", ["per\u00a0son"])]
    assert report.skipped == {kind: 1}


def test_the_two_files_of_bionlp_are_read_as_one(tmp_path):
    (tmp_path / "a.txt").write_text("Ann saw Rome")
    (tmp_path / "a.a1").write_text("T1\tperson 0 3\tAnn\n")
    (tmp_path / "a.a2.gz").write_bytes(gzip.compress(b"T2\tsee 4 7\tsaw\nE1\tsee:T2 Theme:T1\n"))
    for path in (tmp_path, tmp_path / "a.txt", tmp_path / "a.a2.gz"):
        with pytest.raises(ValueError, match=r"a\.a2\.gz, line 2: .*holds spans and no event"):
            read_records(path)
        records, report = read_with_report(path, on_error="skip")
        assert position_labels(records) == [("Ann", ["person"]), ("saw", ["see"])]
        assert report.skipped == {"event": 1}


def test_texts_without_any_annotation_raise(tmp_path):
    (tmp_path / "a.txt").write_text("Ann")
    for path in (tmp_path, tmp_path / "a.txt"):
        with pytest.raises(ValueError, match=r"must hold annotations.*got 1 texts and none"):
            read_records(path, "brat")
    with pytest.raises(ValueError, match=r"A folder is read if it holds \.ann files, or \.a1 and"):
        read_records(tmp_path)


def test_a_text_without_annotation_is_counted_and_an_annotation_without_text_raises(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"Ann\r\nsaw")
    (tmp_path / "b.txt").write_text("Rome")
    (tmp_path / "b.ann").write_text("")
    records, report = read_with_report(tmp_path)
    assert report.notes == {"text without .ann, read as one without spans": 1}
    assert report.lossy
    assert records["text"][:] == ["Ann\r\nsaw", "Rome"]
    (tmp_path / "c.ann").write_text("")
    with pytest.raises(
        ValueError, match=r"one for each \.ann, got 2 of them, and none for \['c'\]"
    ):
        read_records(tmp_path)
    with pytest.raises(ValueError, match="must have its text beside it"):
        read_records(tmp_path / "c.ann")
    with pytest.raises(ValueError, match="`attributes` must be None or 'labels'"):
        read_records(tmp_path, attributes="all")


def test_what_brat_cannot_hold_raises_or_is_counted(tmp_path):
    record = {"id": "a", "text": "Ann", "spans": [{"start": 0, "end": 3, "labels": ["a b", "c"]}]}
    with pytest.raises(ValueError, match="no white space in brat, got 'a b'"):
        write_records([record], tmp_path / "x", "brat")
    none = {**record, "id": "b", "spans": [{"start": 0, "end": 3, "labels": None}]}
    report = write_records([record, none], tmp_path / "x", "brat", on_error="skip")
    assert report.skipped == {"label with white space": 1, "span without a label": 1}
    assert position_labels(read_records(tmp_path / "x")) == [("Ann", ["c"])]


@pytest.mark.parametrize("name", ["../a", "/a", ".a", "a/.b", "a\\b", "a\0", "", "a//b"])
def test_an_id_that_names_no_file_of_the_folder_raises(tmp_path, name):
    with pytest.raises(ValueError, match="An id names the files of its record"):
        write_records([{"id": name, "text": "Ann", "spans": []}], tmp_path / "x", "brat")
    with pytest.raises(ValueError, match="it must be there once"):
        write_records([{"id": "a", "text": "Ann", "spans": []}] * 2, tmp_path / "x", "brat")
    assert not (tmp_path / "x").exists()


def test_the_default_ids_are_names_of_files(tmp_path):
    records = numbered([{"text": "Ann", "spans": []}, {"text": "Rome", "spans": []}])
    assert round_trip(records, tmp_path / "x", "brat") == records
