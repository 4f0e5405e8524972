"""The JSON of annotation and training tools: doccano, GLiNER, Prodigy."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from irti_custom import read_records, write_records
from irti_custom.formats.format import Format
from irti_custom.formats.read_write import read_with_report
from irti_custom.formats.registry import FORMATS
from tests.formats.strategies import (
    fast,
    numbered,
    position_labels,
    round_trip,
    sentences,
    texts,
)
from tests.formats.test_argilla import NESTED
from tests.formats.test_published_data import PRESIDIO, UFET


def write(tmp_path, *items, name="a.jsonl"):
    path = tmp_path / name
    path.write_text("\n".join(json.dumps(item) for item in items))
    return path


def span(start, end, *labels):
    return {"start": start, "end": end, "labels": list(labels)}


# Our own words in the shapes of doccano's examples, backend/data_export and data_import.
DOCCANO = {"id": 3, "text": "Peter left Ulm.", "label": [[0, 5, "PERSON"], [11, 14, "CITY"]]}
DOCCANO_ENTITIES = {
    "id": 4,
    "text": "Google began in 1998.",
    "entities": [
        {"id": 0, "start_offset": 0, "end_offset": 6, "label": "ORG"},
        {"id": 1, "start_offset": 16, "end_offset": 20, "label": "DATE"},
        {"id": 2, "start_offset": 0, "end_offset": 6, "label": "FIRM"},
    ],
    "relations": [{"from_id": 0, "to_id": 1, "type": "foundedAt"}],
    "Comments": ["sic"],
}


@given(records=st.lists(texts(least_labels=1), min_size=1, max_size=4))
@fast
def test_doccano_comes_back(records, tmp_path):
    records = numbered(records)
    assert round_trip(records, tmp_path / "a.jsonl", "doccano") == records


def test_doccano_samples(tmp_path):
    records = read_records(write(tmp_path, DOCCANO, {**DOCCANO, "id": None, "label": []}))
    assert records["id"][:] == ["3", "1"]
    assert position_labels(records) == [("Peter", ["PERSON"]), ("Ulm", ["CITY"])]
    path = write(tmp_path, DOCCANO_ENTITIES)
    with pytest.raises(ValueError, match="line 1: A record holds spans and no relation"):
        read_records(path)
    records, report = read_with_report(path, on_error="skip")
    assert position_labels(records) == [("Google", ["ORG", "FIRM"]), ("1998", ["DATE"])]
    assert report.skipped == {"relation": 1}
    assert report.notes == {"field 'Comments' not kept": 1}


SAME_SHAPES = {
    "start and end": {
        "text": "Ann saw Rome",
        "meta": {"page": 3},
        "entities": [{"start": 8, "end": 12, "label": "place", "text": "Rome"}],
    },
    "a pair": ["Ann saw Rome", {"entities": [[8, 12, "place"]]}],
    "annotations": {
        "text": "Ann saw Rome",
        "annotations": [{"start_offset": 8, "end_offset": 12, "label": "place"}],
    },
}


@pytest.mark.parametrize("as_array", [False, True])
@pytest.mark.parametrize("case", SAME_SHAPES)
def test_what_others_write_in_the_shapes_of_doccano_is_read(tmp_path, case, as_array):
    items = [SAME_SHAPES[case], SAME_SHAPES["a pair"]]
    path = write(tmp_path, *([items] if as_array else items))
    records, report = read_with_report(path)
    assert report.format == "doccano"
    assert position_labels(records) == [("Rome", ["place"])] * 2


def test_doccano_compares_the_text_where_there_is_one(tmp_path):
    entity = {"start": 7, "end": 11, "label": "place", "text": "Rome"}
    path = write(tmp_path, {"text": "Ann saw Rome", "entities": [entity]})
    with pytest.raises(ValueError, match="line 1: The text at 7 to 11 must be 'Rome', got ' Rom'"):
        read_records(path)


def test_doccano_errors(tmp_path):
    bad = ([0, 99, "x"], [0, "x"], "x", {"start_offset": 0}, [0, 3, None], [0, 3, ""], [2, 2, "x"])
    for entry in bad:
        path = write(tmp_path, DOCCANO, {"text": "Ann", "label": [entry, [0, 3, "x"]]})
        with pytest.raises(ValueError, match=r"a\.jsonl, line 2: .*on_error='skip'"):
            read_records(path)
        records, report = read_with_report(path, on_error="skip")
        assert position_labels(records)[2:] == [("Ann", ["x"])]
        assert sum(report.skipped.values()) == 1
    with pytest.raises(ValueError, match="must have one of"):
        read_records(write(tmp_path, {"text": "Ann"}), "doccano")
    with pytest.raises(ValueError, match="must have a label in doccano"):
        write_records([{"text": "Ann", "spans": [span(0, 3)]}], tmp_path / "b.jsonl", "doccano")


# The shape that `prodigy db-out` gives to ner_manual.
PRODIGY = {
    "text": "My name is Freya.",
    "_input_hash": 896,
    "_task_hash": -148,
    "tokens": [
        {"text": "My", "start": 0, "end": 2, "id": 0, "ws": True},
        {"text": "name", "start": 3, "end": 7, "id": 1, "ws": True},
        {"text": "is", "start": 8, "end": 10, "id": 2, "ws": True},
        {"text": "Freya", "start": 11, "end": 16, "id": 3, "ws": False},
        {"text": ".", "start": 16, "end": 17, "id": 4, "ws": False},
    ],
    "_view_id": "ner_manual",
    "spans": [{"start": 11, "end": 16, "token_start": 3, "token_end": 3, "label": "PERSON"}],
    "answer": "accept",
    "_timestamp": 1707211049,
}


@given(records=st.lists(texts(), min_size=1, max_size=4))
@fast
def test_prodigy_comes_back(records, tmp_path):
    records = numbered(records)
    assert round_trip(records, tmp_path / "a.jsonl", "prodigy") == records


def test_prodigy_samples(tmp_path):
    more = {**PRODIGY, "meta": {"id": "x", "source": "web"}, "relations": [{"head": 0}], "n": 1}
    path = write(tmp_path, PRODIGY, {**PRODIGY, "answer": "reject"}, more)
    with pytest.raises(ValueError, match="line 3: A record holds spans and no relation"):
        read_records(path)
    records, report = read_with_report(path, on_error="skip")
    assert position_labels(records) == [("Freya", ["PERSON"])] * 2
    assert records["id"][:] == ["0", "x"]
    assert report.skipped == {"relation": 1}
    assert report.notes == {
        "text with the answer 'reject', left out": 1,
        "field 'meta' not kept": 1,
        "field 'n' not kept": 1,
    }
    path = write(tmp_path, {**PRODIGY, "accept": ["news"], "spans": []})
    assert read_with_report(path, on_error="skip").report.skipped == {"choice of a whole text": 1}


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"text": "Ann"}, "span that is not its text"),
        ({"token_start": 2}, "span that is not its tokens"),
        ({"token_end": 4}, "span that is not its tokens"),
    ],
)
def test_prodigy_checks_text_and_tokens(tmp_path, change, kind):
    path = write(tmp_path, {**PRODIGY, "spans": [{**PRODIGY["spans"][0], **change}]})
    with pytest.raises(ValueError, match="line 1: The t"):
        read_records(path)
    assert read_with_report(path, on_error="skip").report.skipped == {kind: 1}


def test_prodigy_errors(tmp_path):
    for change in ({"end": 99}, {"label": 3}, {"start": None}, {"token_end": 99}, {"label": ""}):
        path = write(tmp_path, {**PRODIGY, "spans": [{**PRODIGY["spans"][0], **change}]})
        with pytest.raises(ValueError, match=r"a\.jsonl, line 1: "):
            read_records(path)
        records, report = read_with_report(path, on_error="skip")
        assert (records[0]["spans"], sum(report.skipped.values())) == ([], 1)
    unknown = {"text": "Ann", "spans": [{"start": 0, "end": 3, "labels": None}]}
    with pytest.raises(ValueError, match="The labels of a span must be known"):
        write_records([unknown], tmp_path / "b.jsonl", "prodigy")


# The shape of "Dataset Format" in GLiNER's documentation.
GLINER = {
    "tokenized_text": ["Ulm", "Inc.", "is", "headquartered", "in", "Rome"],
    "ner": [[0, 1, "organization"], [5, 5, "location"], [0, 0, "location"]],
}


@given(
    records=st.lists(sentences(st.sampled_from(["a b", "Ä", "c"])), min_size=1, max_size=4),
    labels=st.lists(st.sampled_from("xyz"), min_size=1, unique=True),
)
@fast
def test_gliner_comes_back(records, labels, tmp_path):
    records = numbered(records)
    for record in records:  # several labels, and spans in spans
        for one in record["spans"]:
            one["labels"] = labels
        whole = span(0, len(record["text"]), "all")
        if all(one["end"] - one["start"] < whole["end"] for one in record["spans"]):
            record["spans"].append(whole)
    assert round_trip(records, tmp_path / "a.json", "gliner") == records


def test_gliner_samples(tmp_path):
    array = tmp_path / "a.json"
    array.write_text(json.dumps([GLINER]))
    for path in (array, write(tmp_path, GLINER)):
        assert position_labels(read_records(path)) == [
            ("Ulm Inc.", ["organization"]),
            ("Rome", ["location"]),
            ("Ulm", ["location"]),
        ]
    path = write(tmp_path, {**GLINER, "ner_labels": ["organization"], "relations": [[0, 1, "in"]]})
    with pytest.raises(ValueError, match="line 1: A record holds spans and no relation"):
        read_records(path)
    report = read_with_report(path, on_error="skip").report
    assert (report.skipped, report.notes) == ({"relation": 1}, {"field 'ner_labels' not kept": 1})


def test_gliner_errors(tmp_path):
    for entry in ([0, 6, "x"], [1, 0, "x"], [0, 0], [0, 0, 1], "x", [0.0, 0, "x"], [-1, 0, "x"]):
        path = write(tmp_path, GLINER, {**GLINER, "ner": [entry]})
        with pytest.raises(ValueError, match=r"line 2: An entity must be \[first, last, label\]"):
            read_records(path)
        records, report = read_with_report(path, on_error="skip")
        assert (len(records), report.skipped) == (2, {"entity of no words": 1})
    with pytest.raises(ValueError, match="line 1: A word must not be empty"):
        read_records(write(tmp_path, {"tokenized_text": [""], "ner": []}))
    with pytest.raises(ValueError, match="must be words and single spaces"):
        write_records([{"text": "Ann!  ", "spans": []}], tmp_path / "b.json", "gliner")
    path = tmp_path / "b.json"
    record = {"text": "Ann!", "spans": [span(0, 3, "x")]}
    write_records([record], path, "gliner", split_words="punctuation")
    assert read_records(path).to_list() == [
        {"id": "0", "text": "Ann !", "spans": [span(0, 3, "x")]}
    ]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 9) | st.text("aé", max_size=2) | st.floats(),
    lambda values: st.lists(values, max_size=3),
    max_leaves=5,
)
SEEDS = {
    "jsonl": {"text": "Ann", "spans": [span(0, 3, "x")]},
    "doccano": DOCCANO_ENTITIES,
    "prodigy": PRODIGY,
    "gliner": GLINER,
    "argilla": NESTED,
    "presidio": PRESIDIO,
    "entity-typing": UFET,
    "hugging-face": {"tokens": ["Ann"], "ner_tags": ["B-X"]},
    "label-studio": {
        "data": {"text": "Ann"},
        "annotations": [{"result": [{"type": "labels", "value": span(0, 3, "x"), "score": 1}]}],
    },
}


def test_every_format_of_objects_is_made_strange():
    overridden = {n for n, one in FORMATS.items() if "detect_object" in own_methods(one)}
    assert set(SEEDS) == overridden


def own_methods(one):
    return {name for kind in type(one).__mro__[:-1] if kind is not Format for name in vars(kind)}


@pytest.mark.parametrize("format", SEEDS)
@given(data=st.data())
@settings(fast, max_examples=100)
def test_a_strange_value_stops_no_file_that_is_to_be_skipped_over(format, data, tmp_path):
    """Put any value in the place of any other: the next item is read as it is without."""
    item = json.loads(json.dumps(SEEDS[format]))
    places = []

    def walk(value):
        for key in value if isinstance(value, dict) else range(len(value)):
            places.append((value, key))
            if isinstance(value[key], (dict, list)):
                walk(value[key])

    walk(item)
    holder, key = data.draw(st.sampled_from(places))
    holder[key] = data.draw(json_values)
    seed = SEEDS[format] if format != "argilla" else {**SEEDS[format], "suggestions": {}}
    expected = read_records(write(tmp_path, seed), format, on_error="skip")[0]
    records, report = read_with_report(write(tmp_path, item, seed), format, on_error="skip")
    assert len(records) in (1, 2)
    assert records[-1]["spans"] == expected["spans"]
    with suppress(ValueError):
        read_records(tmp_path / "a.jsonl", format)
        assert not report.skipped
