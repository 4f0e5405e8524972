"""spaCy's DocBin."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from irti_custom import read_records, write_records
from irti_custom.formats.read_write import read_with_report
from tests.formats.strategies import fast, numbered, position_labels, round_trip, texts

spacy = pytest.importorskip("spacy")


def span(start, end, *labels, **more):
    return {"start": start, "end": end, "labels": list(labels), **more}


@given(records=st.lists(texts(), min_size=1, max_size=3))
@fast
def test_texts_come_back_from_a_group(records, tmp_path):
    records = numbered(records)
    options = {"write": {"spans_key": "all"}, "read": {"spans_key": "all"}}
    assert round_trip(records, tmp_path / "a.spacy", "spacy", **options) == records


@given(record=texts(least_labels=1))
@fast
def test_texts_come_back_from_wherever_they_fit(record, tmp_path):
    read = round_trip([record], tmp_path / "a.spacy.gz", "spacy")[0]["spans"]

    def order(one):
        return (one["start"], one["end"])

    assert sorted(read, key=order) == sorted(record["spans"], key=order)


def test_scores_come_back(tmp_path):
    spans = [span(0, 3, "x", "y", scores=[0.5, 0.25]), span(4, 7, "x", scores=[1.0])]
    read = round_trip([{"text": "Ann saw", "spans": spans}], tmp_path / "a.spacy", "spacy")
    assert read[0]["spans"] == spans


def docbin(path, *docs):
    spacy.tokens.DocBin(docs=docs, store_user_data=True).to_disk(path)
    return path


@pytest.fixture
def doc():
    """A document as spaCy's own documentation makes one."""
    doc = spacy.blank("en")("Welcome to the Bank of China.")
    doc.set_ents([spacy.tokens.Span(doc, 3, 6, "ORG")])
    return doc


def test_ents_and_groups_of_spacy(tmp_path, doc):
    path = docbin(tmp_path / "a.spacy", doc)
    assert position_labels(read_records(path)) == [("Bank of China", ["ORG"])]
    spans = [spacy.tokens.Span(doc, 3, 6, "ORG"), spacy.tokens.Span(doc, 5, 6, "GPE")]
    doc.spans["sc"] = spacy.tokens.SpanGroup(
        doc, name="sc", attrs={"scores": [0.9, 0.5]}, spans=spans
    )
    path = docbin(tmp_path / "a.spacy", doc)
    with pytest.raises(
        ValueError, match=r"in one place, got \['ents', 'sc'\]. `spans_key` chooses"
    ):
        read_records(path)
    records = read_records(path, spans_key="sc")
    assert position_labels(records) == [("Bank of China", ["ORG"]), ("China", ["GPE"])]
    assert records[0]["spans"][1]["scores"] == [0.5]
    assert position_labels(read_records(path, spans_key="ents")) == [("Bank of China", ["ORG"])]


def test_what_a_record_cannot_hold_raises_or_is_counted(tmp_path, doc):
    doc.cats = {"news": 1.0}
    doc.user_data["source"] = "web"
    doc.set_ents([spacy.tokens.Span(doc, 5, 6, "GPE", kb_id="Q148")])
    path = docbin(tmp_path / "a.spacy", doc)
    with pytest.raises(ValueError, match=r"a\.spacy, document 0: .*no categories"):
        read_records(path)
    report = read_with_report(path, on_error="skip").report
    assert report.skipped == {"category of a whole text": 1}
    assert report.notes == {
        "user data 'source' not kept": 1,
        "id of a span, or of its entry in a knowledge base, not kept": 1,
    }


def test_what_ents_cannot_hold_raises_or_is_counted(tmp_path):
    path = tmp_path / "a.spacy"
    record = {"text": "Ann saw", "spans": [span(0, 7, "x"), span(4, 7, "y"), span(0, 3)]}
    with pytest.raises(ValueError, match="spans_key='sc' holds all spans"):
        write_records([record], path, spans_key="ents")
    report = write_records([record], path, spans_key="ents", on_error="skip")
    assert report.skipped == {"span without a label": 1, "span that overlaps": 1}
    assert position_labels(read_records(path)) == [("Ann saw", ["x"])]
    unknown = {"text": "Ann", "spans": [{"start": 0, "end": 3, "labels": None}]}
    with pytest.raises(ValueError, match="The labels of a span must be known"):
        write_records([unknown], path)


@pytest.mark.parametrize("content", [b"", b"text", b"x\x9c\x03\x00\x00\x00\x00\x01"])
def test_damaged_file_says_so(tmp_path, content):
    path = tmp_path / "a.spacy"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.spacy must be a DocBin of spaCy, which it is not"):
        read_records(path)


def test_one_bad_span_or_document_stops_no_file(tmp_path, doc):
    bad = spacy.blank("en")("Ann saw Rome")
    bad.spans["sc"] = [spacy.tokens.Span(bad, 1, 1, "x"), spacy.tokens.Span(bad, 2, 3, "place")]
    nameless = spacy.blank("en")("Ann")
    nameless.user_data["id"] = 1.5
    path = docbin(tmp_path / "a.spacy", bad, nameless)
    with pytest.raises(ValueError, match=r"document 0: A span must be 0 <= start < end"):
        read_records(path)
    records, report = read_with_report(path, on_error="skip")
    assert position_labels(records) == [("Rome", ["place"])]
    assert report.skipped == {"empty span": 1, "id that is no string or integer": 1}
