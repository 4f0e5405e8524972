"""Every format is known by its looks, and is not taken for another one."""

from __future__ import annotations

import gzip
import json

import pytest

from irti_custom import read_records, write_records
from irti_custom.formats.read_write import read_with_report
from irti_custom.formats.registry import FORMATS
from tests.formats.strategies import position_labels
from tests.formats.test_argilla import FLAT, NESTED
from tests.formats.test_json_of_tools import SEEDS
from tests.formats.test_published_data import LABELS, MAMS, OPEN_ENTITY, xml

ANN = {"id": "0", "text": "Ann saw Rome", "spans": [{"start": 0, "end": 3, "labels": ["x"]}]}
FIELDS = {"id": "0", "fields": [{"name": "city", "value": "Rome", "labels": ["place"]}]}
OBJECTS = {
    **{f"{name}, a seed": (name, item) for name, item in SEEDS.items()},
    "fields": ("jsonl", FIELDS),
    "fields by name": ("jsonl", {"fields": {"text": "Rome", "spans": "none"}}),
    "a table": ("jsonl", {"columns": [{"values": ["Rome"]}]}),
    "words": ("jsonl", {"words": ["Ann"], "spans": []}),
    "nested, none of it answered": ("argilla", {**NESTED, "responses": {}, "suggestions": {}}),
    "flat": ("argilla", FLAT),
    "open entity": ("entity-typing", OPEN_ENTITY),
}
FILES = {
    "semeval": ("a.xml", xml(MAMS)),
    "semeval without a declaration": ("a.xml", f"<sentences>{MAMS}</sentences>"),
    "conll": ("a.txt", "Ann B-x\nsaw O\n"),
    "csv": ("a.csv", "table_name,column_index\na,0\n"),
    "csv of pairs": ("a.csv", "table_name,main_column_index,column_index,label\na,0,1,x\n"),
    "sotab": ("a.csv", LABELS),
}


@pytest.mark.parametrize("case", OBJECTS)
def test_an_object_is_of_one_format_only(case):
    name, item = OBJECTS[case]
    assert [other for other, one in FORMATS.items() if one.detect_object(item)] == [name]


TEXT = "Ann saw Rome"
WORDS = TEXT.split()
TAGGED = {"text": TEXT, "tokens": WORDS}
# Labels in fields of other tools: never a text without spans.
ELSEWHERE = {
    "doccano before 1.5": {
        "text": TEXT,
        "meta": {},
        "annotations": [{"label": 2, "start_offset": 0, "end_offset": 3}],
    },
    "labels of a text": {"text": TEXT, "meta": {"page": 3}, "cats": {"travel": 1.0}},
    "a category, hashed": {"text": TEXT, "_input_hash": 3, "answer": "accept", "label": "news"},
    "spans and categories": {"text": TEXT, "spans": [], "cats": {"travel": 1.0}},
    "entities and tags": {"text": TEXT, "entities": [], "tags": ["travel"]},
    "offsets in words": {**TAGGED, "spans": [{"start": 0, "end": 1, "label": "x"}]},
    "entities in words": {**TAGGED, "entities": [{"start": 0, "end": 1, "label": "x"}]},
    "triples in words": {**TAGGED, "label": [[0, 1, "x"]]},
    "text beside words": {
        "text": TEXT,
        "words": WORDS,
        "spans": [{"start": 0, "end": 1, "labels": ["x"]}],
    },
    "another full text": {"full_text": TEXT, "spans": [{"start": 0, "end": 3, "label": "x"}]},
    "two columns of tags": {**TAGGED, "fine": ["B-x", "O", "O"], "coarse": ["B-y", "O", "O"]},
    "numbers of tags": {**TAGGED, "ner_tags": [1, 0, 2]},
}


@pytest.mark.parametrize("as_array", [False, True])
@pytest.mark.parametrize("case", ELSEWHERE)
def test_labels_that_would_be_lost_raise_and_name_their_field(tmp_path, case, as_array):
    path = tmp_path / "a.json"
    item = ELSEWHERE[case]
    path.write_text(json.dumps([item] if as_array else item))
    keys = {"doccano before 1.5": "label", "two columns of tags": "fine"}
    key = keys.get(case, list(item)[-1])
    with pytest.raises(ValueError, match=rf"a\.json.*{key}"):
        read_records(path)


@pytest.mark.parametrize("name", ["tags", "entities", "labels", "ner", "ner_tags"])
@pytest.mark.parametrize("words", ["tokens", "words"])
def test_words_with_tags_are_known_by_the_tags(tmp_path, words, name):
    path = tmp_path / "a.jsonl"
    row = {"text": TEXT, words: WORDS, name: ["B-person", "O", "B-place"]}
    path.write_text(json.dumps(row) + "\n")
    records, report = read_with_report(path)
    assert report.format == "hugging-face"
    assert position_labels(records) == [("Ann", ["person"]), ("Rome", ["place"])]


def test_a_bad_item_hides_no_format(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "Ann", "label": "x"}\n7\n{"text": "Ann", "label": [[0, 3, "x"]]}\n')
    with pytest.raises(ValueError, match="line 1: `label` must be a list"):
        read_records(path)
    assert read_with_report(path, on_error="skip").report.format == "doccano"


@pytest.mark.parametrize("name", ["a.conll", "a.txt", "a.tsv"])
@pytest.mark.parametrize("word", ["[", "{", "[{", '{"', '["', "[[", "[]"])
def test_a_first_word_that_is_a_bracket_makes_no_json(tmp_path, name, word):
    path = tmp_path / name
    path.write_text(f"{word}\tO\nAnn\tB-person\n")
    assert read_records(path)["text"][:] == [f"{word} Ann"]


def test_words_without_prefixes_are_told_how_to_be_read(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("[ -LRB-\nAnn NNP\n")
    with pytest.raises(ValueError, match="format='conll', whose words='all' reads tags without"):
        read_records(path)


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("case", FILES)
def test_a_file_is_of_one_format_only(tmp_path, case, zipped):
    name, text = FILES[case]
    content = gzip.compress(text.encode()) if zipped else text.encode()
    path = tmp_path / (name + ".gz" * zipped)
    path.write_bytes(content)
    if case == "sotab":
        for table in ("Hotel_a.json.gz", "Hotel_b.json.gz"):
            (tmp_path / table).write_bytes(
                gzip.compress(json.dumps({"a": 1, "b": 2, "c": 3}).encode())
            )
    assert read_with_report(path).report.format == case.split()[0]


@pytest.mark.parametrize("name", [name for name, one in FORMATS.items() if one.writes])
def test_what_a_format_writes_is_read_as_that_format(tmp_path, name):
    needs = {"spacy": ("spacy", "a.spacy"), "excel": ("openpyxl", "a.xlsx")}
    module, target = needs.get(
        name, (None, {"csv": "a.tsv", "parquet": "a.parquet"}.get(name, "a"))
    )
    if module:
        pytest.importorskip(module)
    tables = ("csv", "excel", "parquet")
    write_records([FIELDS if name in tables else ANN], tmp_path / target, name)
    options = {"argilla": {"annotations": "predictions"}, **{one: {"by": "rows"} for one in tables}}
    records, report = read_with_report(tmp_path / target, **options.get(name, {}))
    assert report.format == name
    assert report.labels == ({"place": 1} if name in tables else {"x": 1})
    assert len(records) == 1


def test_xml_of_another_kind_is_none_of_them(tmp_path):
    path = tmp_path / "a.xml"
    path.write_text("<Reviews><Review rid='1'><sentences/></Review></Reviews>")
    with pytest.raises(ValueError, match="which is none"):
        read_records(path)
