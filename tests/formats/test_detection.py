"""Every format is known by its looks, and is not taken for another one."""

from __future__ import annotations

import gzip
import json

import pytest

from irti_custom import read_records, write_records
from irti_custom.formats.formats import FORMATS
from irti_custom.formats.read_write import read_with_report
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
    found = [
        other for other, one in FORMATS.items() if one.detect_object and one.detect_object(item)
    ]
    assert found == [name]


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


@pytest.mark.parametrize("name", [name for name, one in FORMATS.items() if one.write])
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
