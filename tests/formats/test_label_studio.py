"""Label Studio's JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from irti_custom import read_records, write_records
from irti_custom.formats.read_write import read_with_report
from tests.formats.strategies import fast, numbered, position_labels, round_trip, texts

TEXT = "Ann 👍 saw\nRome"


def region(start, end, text=None, kind="labels", name="r", **value):
    """A region as the documentation of the Text, Labels and Choices tags has it."""
    value = {"start": start, "end": end, **({} if text is None else {"text": text}), **value}
    item = {"id": name, "from_name": kind, "to_name": "text", "type": kind, "value": value}
    return {**item, "origin": "manual"}


def task(*results, text=TEXT, **more):
    annotations = [
        {"id": 9 + number, "completed_by": number, "was_cancelled": False, "result": result}
        for number, result in enumerate(results)
    ]
    return {"id": 1, "data": {"text": text}, "annotations": annotations, "project": 4, **more}


UNKNOWN = {"text": "Ann", "spans": [{"start": 0, "end": 3, "labels": None}]}


def write(tmp_path, *tasks):
    path = tmp_path / "export.json"
    path.write_text(json.dumps(tasks))
    return path


ANN = region(0, 3, "Ann", labels=["person", "author"])
ROME = region(10, 14, "Rome", name="s", labels=["place"])
WHOLE = {"id": "c", "from_name": "t", "to_name": "text", "type": "choices"}
WHOLE = {**WHOLE, "value": {"choices": ["news"]}}
RELATION = {"type": "relation", "from_id": "r", "to_id": "s", "direction": "right"}


def test_several_labels_and_choices_of_a_region_survive(tmp_path):
    mood = region(0, 3, "Ann", "choices", choices=["glad", "calm"])
    passage = region(6, 14, "saw\\nRome", labels=["passage"])  # as Label Studio writes a line end
    records, report = read_with_report(write(tmp_path, task([ANN, ROME, mood, passage])))
    assert records["id"][:] == ["1"]
    assert position_labels(records) == [
        ("Ann", ["person", "author", "glad", "calm"]),
        ("Rome", ["place"]),
        ("saw\nRome", ["passage"]),
    ]
    assert report.notes == {}


@given(records=st.lists(texts(), min_size=1, max_size=4))
@fast
def test_texts_come_back(records, tmp_path):
    records = numbered(records)
    assert round_trip(records, tmp_path / "a.json.gz", "label-studio") == records


@given(records=st.lists(texts(), min_size=1, max_size=3), data=st.data())
@fast
def test_predictions_come_back_with_their_scores(records, data, tmp_path):
    records = numbered(records)
    for record in records:
        for span in record["spans"]:
            size = len(span["labels"])
            scores = st.lists(st.floats(0, 1), min_size=size, max_size=size)
            span["scores"] = data.draw(scores) if size else None
    options = {"write": {"predictions": True}, "read": {"annotations": "predictions"}}
    read = round_trip(records, tmp_path / "a.json", "label-studio", **options)
    for record in (*records, *read):
        for span in record["spans"]:
            span["scores"] = span.get("scores")
    assert read == records


def test_scores_make_predictions_unless_told_otherwise(tmp_path):
    span = {"start": 0, "end": 3, "labels": ["x", "y"], "scores": [0.75, 0.5]}
    path = tmp_path / "a.json"
    report = write_records([{"text": "Ann", "spans": [span]}], path, "label-studio")
    assert report.notes == {"text written with predictions": 1}
    (made,) = json.loads(path.read_text())[0]["predictions"]
    assert [(one["value"]["labels"], one["score"]) for one in made["result"]] == [
        (["x"], 0.75),
        (["y"], 0.5),
    ]
    with pytest.raises(ValueError, match=r"got predictions only\. annotations='predictions' reads"):
        read_records(path)
    report = write_records(
        [{"text": "Ann", "spans": [span]}], path, "label-studio", predictions=False
    )
    assert report.notes["text whose scores are not kept"] == 1
    assert position_labels(read_records(path)) == [("Ann", ["x", "y"])]


@pytest.mark.parametrize(
    ("annotations", "labels"),
    [
        ("first", [("Ann", ["person", "author"])]),
        ("last", [("Rome", ["place"]), ("Ann", ["x"])]),
        ("merge", [("Ann", ["person", "author", "x"]), ("Rome", ["place"])]),
    ],
)
def test_several_annotators_are_chosen_from_or_merged(tmp_path, annotations, labels):
    path = write(tmp_path, task([ANN], [ROME, region(0, 3, "Ann", labels=["x"])]))
    records, report = read_with_report(path, annotations=annotations)
    assert position_labels(records) == labels
    assert report.notes == {f"text with several annotations, {annotations} taken": 1}


def test_several_annotators_raise_or_are_counted(tmp_path):
    path = write(tmp_path, task([ANN], [ROME]), task([ROME], id=2))
    message = r"export\.json, item 1: .*got 2, of the annotators \[0, 1\]. `annotations` chooses"
    with pytest.raises(ValueError, match=message):
        read_records(path)
    records, report = read_with_report(path, on_error="skip")
    assert records["id"][:] == ["2"]
    assert report.skipped == {"text with several annotations": 1}
    two = task([ANN], [ROME])
    two["annotations"][1]["ground_truth"] = True
    path = write(tmp_path, two)
    assert position_labels(read_records(path, annotations="ground_truth")) == [("Rome", ["place"])]


def test_cancelled_and_missing_annotations_are_counted(tmp_path):
    cancelled = task([ANN], [ROME])
    cancelled["annotations"][1]["was_cancelled"] = True
    predicted = task(id=3, predictions=[{"result": [ROME]}])
    records, report = read_with_report(write(tmp_path, cancelled, task(id=2), predicted))
    assert position_labels(records) == [("Ann", ["person", "author"])]
    assert len(records) == 3
    assert report.notes == {
        "annotation that its annotator cancelled": 1,
        "text without annotations": 2,
        "text with predictions, which were not read": 1,
    }


NOT_HELD = {
    "relation": (RELATION, "relation", "holds spans and no relation"),
    "whole text": (WHOLE, "choices of a whole text", "got 'choices' of a whole text"),
    "rating": (region(0, 3, "Ann", "rating", rating=3), "rating of a region", "got 'rating' of a"),
    "html": (
        {**region("/p[1]/text()[1]", "/p[1]", "Ann"), "type": "hypertextlabels"},
        "hypertextlabels of a region",
        "got 'hypertextlabels' of a region",
    ),
    "other text": (
        {**ANN, "to_name": "title"},
        "region of another text",
        "got those of 'text' and 'title'",
    ),
    "surface": (region(0, 4, "Ann"), "region that is not its text", "must be 'Ann', got 'Ann '"),
    "range": (region(0, 99), "region that is not its text", "got 0 and 99"),
    "no end": (region(0, None), "region that is not its text", "must be integers"),
}


@pytest.mark.parametrize("case", NOT_HELD)
def test_what_a_record_cannot_hold_has_its_place_or_is_counted(tmp_path, case):
    item, kind, message = NOT_HELD[case]
    path = write(tmp_path, task([ROME, item]))
    with pytest.raises(ValueError, match=rf"export\.json, item 1, region .*{message}"):
        read_records(path)
    records, report = read_with_report(path, on_error="skip")
    assert report.skipped == {kind: 1}
    assert position_labels(records) == [("Rome", ["place"])]


def test_old_offsets_in_utf_16_units_are_read_when_asked_for(tmp_path):
    old = [region(0, 3, "Ann", labels=["x"]), region("11", "15", "Rome", labels=["y"])]
    path = write(tmp_path, task(old))
    with pytest.raises(ValueError, match=r"old one\? offsets='utf-16' reads it"):
        read_records(path)
    records = read_records(path, offsets="utf-16")
    assert position_labels(records) == [("Ann", ["x"]), ("Rome", ["y"])]
    path = write(tmp_path, task([region(0, 5, labels=["x"])]))
    with pytest.raises(ValueError, match="ends of a region must be in its text"):
        read_records(path, offsets="utf-16")  # half of the emoji


def test_region_without_its_text_is_counted(tmp_path):
    report = read_with_report(write(tmp_path, task([region(0, 3, labels=["x"])]))).report
    assert report.notes == {"region without its text, not checked": 1}


def test_the_text_is_found_or_named(tmp_path):
    one = task([ANN])
    one["data"] = {"article": TEXT, "number": 3}
    assert read_records(write(tmp_path, one))["text"][:] == [TEXT]
    one["data"]["title"] = "News"
    with pytest.raises(
        ValueError, match=r"one string, or `text`, got None of .*`text_field` names"
    ):
        read_records(write(tmp_path, one))
    assert read_records(write(tmp_path, one), text_field="article")["text"][:] == [TEXT]


def test_other_exports_and_options_say_what_there_is(tmp_path):
    path = write(tmp_path, {"id": 1, "text": TEXT, "label": [{"start": 0, "end": 3}]})
    with pytest.raises(ValueError, match="Export as JSON, not as JSON-MIN"):
        read_records(path, "label-studio")
    with pytest.raises(ValueError, match="Annotations must be objects"):
        read_records(write(tmp_path, {"data": {"text": "a"}, "annotations": [3]}))
    with pytest.raises(ValueError, match="`annotations` must be one of"):
        read_records(write(tmp_path, task([])), annotations="all")
    with pytest.raises(ValueError, match="The labels of a span must be known"):
        write_records([UNKNOWN], path, "label-studio")
