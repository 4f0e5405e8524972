"""Data sets as they are published: UFET, OpenEntity, SemEval-2014, MAMS, SOTAB, Presidio's."""

from __future__ import annotations

import gzip
import json

import pytest

from irti_custom import read_records
from irti_custom.formats.read_write import read_with_report
from tests.formats.strategies import position_labels


def write(path, content):
    path.parent.mkdir(exist_ok=True)
    text = content if isinstance(content, str) else "\n".join(map(json.dumps, content))
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


# Our own words in the shape of crowd/train.json of https://github.com/uwnlp/open_type.
UFET = {
    "y_str": ["day", "time"],
    "annot_id": "wex/1:0",
    "mention_span": "Monday night",
    "right_context_token": [",", "the", "Monday", "night", "train", "stopped", "."],
    "left_context_token": ["On"],
}


def test_ufet_mention_is_between_its_contexts(tmp_path):
    path = write(tmp_path / "a.json.gz", [UFET, {**UFET, "left_context_token": [], "y_str": []}])
    records, report = read_with_report(path)
    assert report.format == "entity-typing"
    assert records.to_list() == [
        {
            "id": "wex/1:0",
            "text": "On Monday night , the Monday night train stopped .",
            "spans": [{"start": 3, "end": 15, "labels": ["day", "time"]}],
        },
        {
            "id": "wex/1:0",
            "text": "Monday night , the Monday night train stopped .",
            "spans": [{"start": 0, "end": 12, "labels": []}],
        },
    ]


# Our own words in the shape that ERNIE's code/run_typing.py reads.
OPEN_ENTITY = {
    "sent": "The Monday paper wrote of the Monday train .",
    "labels": ["day", "time"],
    "start": 30,
    "end": 36,
    "ents": [["Q105", 30, 36, 0.3]],
}


def test_open_entity_mention_that_occurs_twice_is_read_by_its_offsets(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps([OPEN_ENTITY]))
    records, report = read_with_report(tmp_path / "a.json")
    assert report.format == "entity-typing"
    span = {"start": 30, "end": 36, "labels": ["day", "time"]}
    assert records[0] == {"id": "0", "text": OPEN_ENTITY["sent"], "spans": [span]}
    assert report.notes == {"field 'ents' not kept": 1}


NOWHERE = {"start": None, "end": None}


def test_mentions_that_are_none(tmp_path):
    path = write(tmp_path / "a.json", [OPEN_ENTITY, {**OPEN_ENTITY, "end": 30}])
    with pytest.raises(ValueError, match=r"a\.json, line 2: A span must be 0 <= start < end"):
        read_records(path)
    records, report = read_with_report(path, on_error="skip")
    assert records[1]["spans"] == []
    assert report.skipped == {"empty span": 2}  # with each of its labels
    for change in (
        {"end": 99},
        {"start": "4"},
        {"labels": "day"},
        {"labels": [None]},
        {"sent": 7},
        NOWHERE,
    ):
        path = write(tmp_path / "a.json", [{**OPEN_ENTITY, **change}, OPEN_ENTITY])
        with pytest.raises(ValueError, match=r"a\.json, line 1: "):
            read_records(path)
        assert len(read_records(path, on_error="skip")[-1]["spans"]) == 1
    for change in ({"mention_span": ["Monday"]}, {"left_context_token": "On"}, {"y_str": None}):
        path = write(tmp_path / "a.json", [{**UFET, **change}, UFET])
        with pytest.raises(ValueError, match=r"a\.json, line 1: "):
            read_records(path)
        assert read_records(path, on_error="skip")["id"][:] == ["wex/1:0"]


# Our own words in the shape of data/synth_dataset_v2.json of Presidio's research repository.
PRESIDIO = {
    "full_text": "Rome is where Ann Rome lives",
    "masked": "{{GPE}} is where {{PERSON}} lives",
    "spans": [
        {
            "entity_type": "PERSON",
            "entity_value": "Ann Rome",
            "start_position": 14,
            "end_position": 22,
        },
        {"entity_type": "GPE", "entity_value": "Rome", "start_position": 0, "end_position": 4},
    ],
    "template_id": 87,
    "metadata": None,
}


def test_presidio_sample(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps([PRESIDIO, {**PRESIDIO, "spans": []}]))
    records, report = read_with_report(tmp_path / "a.json")
    assert report.format == "presidio"
    assert records["id"][:] == ["0", "1"]
    assert position_labels(records) == [("Ann Rome", ["PERSON"]), ("Rome", ["GPE"])]
    assert report.notes == {"field 'masked' not kept": 2, "field 'template_id' not kept": 2}


def test_presidio_spans_are_checked_against_their_values(tmp_path):
    span = {**PRESIDIO["spans"][1], "entity_value": "Roma"}
    path = write(tmp_path / "a.json", [{**PRESIDIO, "spans": [span]}])
    with pytest.raises(ValueError, match="line 1: The text at 0 to 4 must be 'Roma', got 'Rome'"):
        read_records(path)
    report = read_with_report(path, on_error="skip").report
    assert report.skipped == {"span that is not its text": 1}
    for change in ({"end_position": 99}, {"entity_type": None}, {"start_position": None}):
        path = write(tmp_path / "a.json", [{**PRESIDIO, "spans": [{**span, **change}]}])
        with pytest.raises(ValueError, match=r"a\.json, line 1: "):
            read_records(path)
        report = read_with_report(path, on_error="skip").report
        assert (report.positions, sum(report.skipped.values())) == (0, 1)


def xml(*sentences):
    declared = '<?xml version="1.0" encoding="utf-8" standalone="yes"?>'
    return "\n".join([declared, "<sentences>", *sentences, "</sentences>"])


# Our own words in the shapes of SemEval-2014's restaurant reviews, and of MAMS-ATSA.
SOUP = """\
<sentence id="813"><text>Soup &amp; wine: the soup was salty, “fine” was the wine 👍 list.</text>
  <aspectTerms>
    <aspectTerm term="soup" polarity="negative" from="17" to="21"/>
    <aspectTerm term="wine 👍 list" polarity="conflict" from="48" to="59"/>
  </aspectTerms>
  <aspectCategories><aspectCategory category="food" polarity="negative"/></aspectCategories>
</sentence>"""
MAMS = """\
<sentence><text>Good soup, bad soup spoon.</text><aspectTerms>
<aspectTerm from="15" polarity="negative" term="soup" to="19"/>
<aspectTerm from="5" polarity="positive" term="soup" to="9"/></aspectTerms></sentence>"""


def test_terms_that_occur_twice_are_read_by_their_offsets(tmp_path):
    records, report = read_with_report(write(tmp_path / "mams.xml.gz", xml(MAMS)))
    assert report.format == "semeval"
    assert records.to_list() == [
        {
            "id": "0",
            "text": "Good soup, bad soup spoon.",
            "spans": [
                {"start": 15, "end": 19, "labels": ["negative"]},
                {"start": 5, "end": 9, "labels": ["positive"]},
            ],
        }
    ]


def test_semeval_sample_with_categories(tmp_path):
    path = write(tmp_path / "a.xml", xml(MAMS, SOUP, SOUP.replace("polarity", "was")))
    with pytest.raises(ValueError, match=r"a\.xml, sentence 2: .*none of a whole text, got .*food"):
        read_records(path)
    records, report = read_with_report(path, on_error="skip")
    assert records["id"][:] == ["0", "813", "813"]
    assert position_labels(records)[2:] == [
        ("soup", ["negative"]),
        ("wine 👍 list", ["conflict"]),
        ("soup", None),  # as in the test files that came without polarities
        ("wine 👍 list", None),
    ]
    assert report.skipped == {"category of a whole text": 2}


BROKEN = {
    "cut off": (xml(MAMS)[:-20], "It must be XML: .*line 5.*Was it written whole"),
    "encoding": ('<?xml version="1.0" encoding="x9"?>' + xml(MAMS), "a.xml: It must be XML: .*x9"),
    "another file": ("<Reviews><Review rid='1'/></Reviews>", "got <Review> in <Reviews>"),
    "nothing": (xml(), "must hold at least one record"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_xml_has_its_place(tmp_path, case):
    content, message = BROKEN[case]
    with pytest.raises(ValueError, match=message):
        read_records(write(tmp_path / "a.xml", content), "semeval", on_error="skip")


BAD_SENTENCES = {
    "no text": ("<sentence/>", "sentence 2: A text must be a string, got None", 0),
    "no offsets": (MAMS.replace('from="5"', ""), "sentence 2: `start` and `end`", 1),
    "offsets": (MAMS.replace('"9"', '"99"'), "sentence 2: A span must be 0 <= start", 1),
    "half": (MAMS.replace('"9"', '"9.0"'), "sentence 2: .* must be integers", 1),
    "digits": (MAMS.replace('"9"', f'"{"9" * 5000}"'), "sentence 2: .* must be integers", 1),
    "no polarity": (MAMS.replace('"positive"', '""'), "sentence 2: A label must be a name", 1),
}


@pytest.mark.parametrize("case", BAD_SENTENCES)
def test_a_bad_sentence_or_term_has_its_place_or_is_counted(tmp_path, case):
    sentence, message, kept = BAD_SENTENCES[case]
    path = write(tmp_path / "a.xml", xml(MAMS, sentence, MAMS))
    with pytest.raises(ValueError, match=message):
        read_records(path)
    records, report = read_with_report(path, on_error="skip")
    assert (len(position_labels(records)), sum(report.skipped.values())) == (4 + kept, 1)


def test_terms_are_checked_and_other_elements_are_counted(tmp_path):
    path = write(
        tmp_path / "a.xml", xml(MAMS.replace('term="soup" to="19"', 'term="soap" to="19"'))
    )
    with pytest.raises(ValueError, match="sentence 1: The text at 15 to 19 must be 'soap'"):
        read_records(path)
    report = read_with_report(path, on_error="skip").report
    assert report.skipped == {"span that is not its text": 1}
    path = write(tmp_path / "a.xml", xml(MAMS.replace("<text>", "<stars>5</stars><text>")))
    assert read_with_report(path).report.notes == {"element 'stars' not kept": 1}


# Our own words in the shape of SOTAB's CTA_training_gt.csv, and a table of Train/.
LABELS = """\
table_name,column_index,label
Hotel_b.json.gz,1,PostalAddress
Hotel_a.json.gz,0,Hotel/name
Hotel_a.json.gz,2,PostalAddress
Hotel_a.json.gz,2,Place
"""
HOTELS = [
    {"0": "Zum Löwen", "1": 12, "2": {"type": "postaladdress", "city": "Ulm"}},
    {"0": "Sonne", "1": None, "2": "Neue Str. 7", "3": ["a", "b"]},
]


def sotab(tmp_path, labels=LABELS, name="CTA_training_gt.csv"):
    write(tmp_path / "Train" / "Hotel_a.json.gz", HOTELS)
    write(tmp_path / "Validation" / "Hotel_b.json.gz", [{"name": "Rose", "address": "Ulm"}])
    return write(tmp_path / name, labels)


def column(values, labels=None, header=None):
    return {"header": header, "values": values, "labels": labels}


@pytest.mark.parametrize("name", ["CTA_training_gt.csv", "labels.csv.gz"])
def test_sotab_sample(tmp_path, name):
    records, report = read_with_report(sotab(tmp_path, name=name))
    assert report.format == "sotab"
    assert records.to_list() == [
        {
            "id": "Hotel_b.json.gz",
            "columns": [
                column(["Rose"], header="name"),
                column(["Ulm"], ["PostalAddress"], header="address"),
            ],
        },
        {
            "id": "Hotel_a.json.gz",
            "columns": [
                column(["Zum Löwen", "Sonne"], ["Hotel/name"]),
                column(["12", None]),
                column(
                    ['{"type": "postaladdress", "city": "Ulm"}', "Neue Str. 7"],
                    ["PostalAddress", "Place"],
                ),
                column([None, '["a", "b"]']),
            ],
        },
    ]
    assert report.labels == {"PostalAddress": 2, "Hotel/name": 1, "Place": 1}


SOTAB_ERRORS = {
    "pairs": ("table_name,main_column_index,column_index,label\na,0,1,x\n", "Labels of pairs"),
    "path": ("table_name,column_index,label\n../a.json,0,x\n", "row 2: A table must be the name"),
    "index": (LABELS.replace(",0,", ",first,"), "row 3: It must have the number of a column"),
    "label": (LABELS.replace("Hotel/name", ""), "row 3: It must have the number of a column"),
}


@pytest.mark.parametrize("case", SOTAB_ERRORS)
def test_sotab_labels_that_are_none_raise_or_are_counted(tmp_path, case):
    content, message = SOTAB_ERRORS[case]
    path = sotab(tmp_path, content)
    with pytest.raises(ValueError, match=message):
        read_records(path, "sotab")
    if case in ("index", "label"):
        report = read_with_report(path, "sotab", on_error="skip").report
        assert report.skipped == {"row without column or label": 1}


def test_sotab_tables_and_columns_that_are_not_there_are_counted(tmp_path):
    path = sotab(
        tmp_path, LABELS + "none.json.gz,0,x\nHotel_a.json.gz,4,x\nHotel_a.json.gz,2,Place"
    )
    with pytest.raises(ValueError, match=r"row 7: The number must be below .* columns, 4, got 4"):
        read_records(path)
    records, report = read_with_report(path, on_error="skip")
    assert records["id"][:] == ["Hotel_b.json.gz", "Hotel_a.json.gz"]
    assert report.skipped == {"table that is not there": 1, "label of no column": 1}
    assert report.notes == {"label that its column has twice": 1}
    write(tmp_path / "Test" / "Hotel_a.json.gz", HOTELS)
    report = read_with_report(path, on_error="skip").report
    assert report.skipped["table that is there several times"] == 1
