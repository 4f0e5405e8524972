"""Argilla 2: nested and flat records of a span question."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from irti_custom import read_records, write_records
from irti_custom.formats.read_write import read_with_report
from tests.formats.strategies import fast, numbered, position_labels, round_trip, texts

SUGGESTIONS = {"read": {"annotations": "predictions"}}
# Our own words in the shapes that argilla 2.8.0 gives to `to_list()`, which `to_json` writes, and
# to `to_list(flatten=True)`, of which `to_datasets` makes rows.
NESTED = {
    "id": "7",
    "fields": {"text": "Ann saw Rome"},
    "metadata": {"source": "web"},
    "suggestions": {
        "entities": {
            "value": [{"start": 0, "end": 3, "label": "person"}],
            "score": [0.5],
            "agent": "m",
        }
    },
    "responses": {
        "entities": [{"value": [{"start": 8, "end": 12, "label": "place"}], "user_id": "0-1"}]
    },
    "vectors": {},
    "status": "completed",
    "_server_id": "0-9",
}
FLAT = {
    "id": "7",
    "status": "completed",
    "_server_id": "0-9",
    "text": "Ann saw Rome",
    "pages": 3,
    "entities.responses": [
        [{"start": 8, "end": 12, "label": "place"}],
        [{"start": 8, "end": 12, "label": "city"}],
    ],
    "entities.responses.users": ["0-1", "0-2"],
    "entities.responses.status": ["submitted", "draft"],
    "entities.suggestion": [{"start": 0, "end": 3, "label": "person"}],
    "entities.suggestion.score": [0.5],
    "entities.suggestion.agent": "m",
}
PENDING = {**dict.fromkeys(FLAT), "id": "8", "status": "pending", "text": "Bob"}


def write(tmp_path, *items):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(items))
    return path


def answered(*values, text="Ann saw Rome", **more):
    responses = [{"value": value, "user_id": f"0-{n}"} for n, value in enumerate(values)]
    return {**NESTED, "fields": {"text": text}, "responses": {"entities": responses, **more}}


@given(records=st.lists(texts(least_labels=1), min_size=1, max_size=4), scored=st.booleans())
@fast
def test_suggestions_come_back(records, scored, tmp_path):
    records = numbered(records)
    for record in records:
        for span in record["spans"] if scored else ():
            span["scores"] = [0.25] * len(span["labels"])
    path = tmp_path / "a.json.gz"
    read = round_trip(records, path, "argilla", **SUGGESTIONS)
    assert read == records
    assert read_with_report(path, annotations="predictions").report.format == "argilla"


def test_samples_of_both_shapes(tmp_path):
    nested, report = read_with_report(write(tmp_path, NESTED))
    assert position_labels(nested) == [("Rome", ["place"])]
    assert report.notes == {"field 'metadata' not kept": 1}
    flat, report = read_with_report(write(tmp_path, FLAT, PENDING))
    assert flat.to_list() == [*nested.to_list(), {"id": "8", "text": "Bob", "spans": []}]
    assert report.notes == {
        "field 'pages' not kept": 1,
        "response that is draft, left out": 1,
        "text without responses": 1,
    }
    for item in (NESTED, FLAT):
        (record,) = read_records(write(tmp_path, item), annotations="predictions").to_list()
        assert record["spans"] == [{"start": 0, "end": 3, "labels": ["person"], "scores": [0.5]}]


def test_what_is_written_has_the_shape_that_is_read(tmp_path):
    spans = [{"start": 0, "end": 3, "labels": ["person"], "scores": [0.5]}]
    path = tmp_path / "a.json"
    write_records([{"id": "7", "text": "Ann", "spans": spans}], path, "argilla", question="who")
    (item,) = json.loads(path.read_text())
    assert item.keys() == NESTED.keys() - {"_server_id"}
    assert item["suggestions"]["who"]["value"] == NESTED["suggestions"]["entities"]["value"]
    spans.append({"start": 1, "end": 3, "labels": ["x"]})
    report = write_records([{"text": "Ann", "spans": spans}], path, "argilla")
    assert report.notes == {"text whose scores are not kept, since some spans have none": 1}
    spans.append({"start": 1, "end": 2, "labels": []})
    with pytest.raises(ValueError, match="Each span must have a label in argilla"):
        write_records([{"text": "Ann", "spans": spans}], path, "argilla")


def test_several_annotators_are_chosen_from_or_raise(tmp_path):
    one, two = ([{"start": 0, "end": 3, "label": label}] for label in ("person", "actor"))
    path = write(tmp_path, answered(one, two))
    with pytest.raises(ValueError, match=r"item 1: .*got 2, of the annotators \['0-0', '0-1'\]"):
        read_records(path)
    for chosen, labels in {
        "first": ["person"],
        "last": ["actor"],
        "merge": ["person", "actor"],
    }.items():
        read = read_records(path, annotations=chosen)
        assert position_labels(read) == [("Ann", labels)]
    with pytest.raises(ValueError, match="`annotations` must be one of"):
        read_records(path, "argilla", annotations="ground_truth")


def test_suggestions_alone_are_read_only_when_asked_for(tmp_path):
    with pytest.raises(ValueError, match="must have responses, got suggestions only"):
        read_records(write(tmp_path, {**NESTED, "responses": {}}))


def test_offsets_after_an_emoji_must_be_chosen(tmp_path):
    text = "Rome 👍 Ulm"
    path = write(
        tmp_path,
        answered(
            [{"start": 0, "end": 4, "label": "x"}, {"start": 8, "end": 11, "label": "y"}], text=text
        ),
    )
    with pytest.raises(ValueError, match="item 1: Offsets after an emoji must be said to count"):
        read_records(path)
    records, report = read_with_report(path, on_error="skip")
    assert position_labels(records) == [("Rome", ["x"])]
    assert report.skipped == {"span whose offsets are not clear": 1}
    read = read_records(path, offsets="utf-16")
    assert position_labels(read) == [("Rome", ["x"]), ("Ulm", ["y"])]
    with pytest.raises(ValueError, match="must be 0 <= start < end <= 10, got 8 and 11"):
        read_records(path, offsets="code-points")
    for end in (6, 99, True, "9"):
        bad = write(tmp_path, answered([{"start": 5, "end": end, "label": "x"}], text=text))
        with pytest.raises(ValueError, match="item 1: A span must be in its text"):
            read_records(bad, offsets="utf-16")


def test_other_questions_are_named_or_raise(tmp_path):
    item = answered([], topic=[{"value": "news", "user_id": "0-0"}])
    with pytest.raises(ValueError, match="no answers of a whole text, got 'topic'"):
        read_records(write(tmp_path, item))
    report = read_with_report(write(tmp_path, item), on_error="skip").report
    assert report.skipped == {"answer of a whole text": 1}
    spans = [{"start": 0, "end": 3, "label": "person"}]
    item = answered([], people=[{"value": spans, "user_id": "0-0"}])
    with pytest.raises(ValueError, match=r"one question of spans, got \['entities', 'people'\]"):
        read_records(write(tmp_path, item))
    records, report = read_with_report(write(tmp_path, item), question="people")
    assert position_labels(records) == [("Ann", ["person"])]
    assert report.notes["question 'entities' not kept"] == 1


def test_errors_have_file_and_item(tmp_path):
    span = {"start": 0, "end": 3, "label": "x"}
    for change in ({"end": 99}, {"start": None}, {"label": None}, {"label": ""}, {"end": 0}):
        path = write(tmp_path, answered([{**span, **change}, span]))
        with pytest.raises(ValueError, match=r"a\.json, item 1: "):
            read_records(path)
        records, report = read_with_report(path, on_error="skip")
        assert (len(records[0]["spans"]), sum(report.skipped.values())) == (1, 1)
    for part in ("responses", "suggestions"):
        with pytest.raises(ValueError, match="must be objects, got"):
            read_records(write(tmp_path, {**NESTED, part: [1]}), "argilla")
    two = {**NESTED, "fields": {"title": "a", "body": "b"}}
    with pytest.raises(ValueError, match="There must be one string, or `text`"):
        read_records(write(tmp_path, two))
    read = read_records(
        write(tmp_path, {**two, "responses": {}, "suggestions": {}}), text_field="body"
    )
    assert read["text"][:] == ["b"]
