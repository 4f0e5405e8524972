"""Options of formats as keywords and as values; records one after the other, in and out."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from irti_custom import formats, read_records, write_records
from irti_custom.formats.conll import Conll
from irti_custom.formats.read_write import iter_records, read_with_report
from irti_custom.formats.registry import FORMATS
from tests.formats.strategies import numbered

SPAN = {"start": 0, "end": 3, "labels": ["x"]}
TEXTS = numbered([{"text": f"Ann {index}", "spans": [SPAN]} for index in range(3)])
FIELDS = numbered([{"fields": [{"name": "a", "value": "1", "labels": ["x"]}]}] * 3)
READ = {"argilla": {"annotations": "predictions"}}


def test_a_format_with_its_options_is_the_same_as_its_name_with_keywords(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("Ann NNP B-x\nsings VBZ O\n")
    by_name = read_records(path, "conll", words="all", tag_columns=[1, 2])
    by_value = read_records(path, Conll(words="all", tag_columns=[1, 2]))
    both = read_records(path, Conll(words="all"), tag_columns=[1, 2])
    assert by_name.to_list() == by_value.to_list() == both.to_list()
    write_records(TEXTS, tmp_path / "a.conll", Conll(scheme="IOBES"))
    assert "S-x" in (tmp_path / "a.conll").read_text()


@pytest.mark.parametrize("call", [read_records, read_with_report, iter_records])
def test_an_option_that_is_misspelt_raises_with_the_close_name(tmp_path, call):
    path = tmp_path / "a.conll"
    path.write_text("Ann B-x\n")
    with pytest.raises(
        ValueError, match=r"its own options, \['comment', .*got \['tag_colums'\]\. Did"
    ):
        call(path, tag_colums=[1])
    with pytest.raises(ValueError, match=r"got \['tag_colums'\]\. Did you mean tag_columns\?"):
        call(path, "conll", tag_colums=[1])
    with pytest.raises(ValueError, match=r"own options, .*, got \['split_words'\]"):  # of writing
        call(path, split_words="spaces")
    with pytest.raises(
        ValueError, match=r"\['scheme', 'split_words', 'words'\], got \['comment'\]"
    ):
        write_records(TEXTS, path, comment="#")


def test_every_option_is_in_the_readme():
    text = Path(formats.__file__).with_name("README.md").read_text()
    for one in FORMATS.values():
        for option in {**one.options("read"), **one.options("write")}:
            assert f"`{option}`" in text, (one.name, option)


@pytest.mark.parametrize("name", [name for name, one in FORMATS.items() if one.writes])
def test_records_that_are_read_one_by_one_are_those_of_the_data_set(tmp_path, name):
    pytest.importorskip({"excel": "openpyxl", "spacy": "spacy"}.get(name, "json"))
    is_table = name in ("csv", "excel", "parquet")
    path, options = tmp_path / "a", {"by": "rows"} if is_table else READ.get(name, {})
    records = FIELDS if is_table else TEXTS
    report = write_records((record for record in records), path, name)  # a generator
    assert report.records == 3
    assert list(iter_records(path, name, **options)) == records
    assert read_records(path, name, **options).to_list() == records


def test_what_is_wrong_raises_where_it_stands_in_a_stream(tmp_path):
    path = tmp_path / "a.jsonl"
    line = '{"text": "Ann", "spans": []}\n'
    path.write_text(line * 2 + '{"fields": {"a": 1}}\n')
    with pytest.raises(ValueError, match="must hold one kind of records"):
        list(iter_records(path))
    path.write_text("\n")
    with pytest.raises(ValueError, match="it is empty"):
        list(iter_records(path, "jsonl"))
    path.write_text('{"text": "Ann", "spans": [], "tags": ["x"]}\n')
    with pytest.raises(ValueError, match=r"the fields \['tags'\] may hold labels"):
        list(iter_records(path))


@pytest.mark.parametrize("name", ["jsonl", "conll", "doccano", "label-studio"])
def test_a_stream_does_not_fill_the_memory(tmp_path, name, monkeypatch):
    monkeypatch.setattr("irti_custom.formats.record_streams._BYTES_IN_MEMORY", 2**16)
    monkeypatch.setattr("irti_custom.formats.files._BLOCK_BYTES", 2**15)
    peaks = []
    for size in (1_000, 5_000):
        records = ({"text": f"Ann {'saw ' * 40}{n}", "spans": [SPAN]} for n in range(size))
        tracemalloc.start()
        write_records(records, tmp_path / "a", name)
        if name != "label-studio":  # an array is read whole
            assert sum(1 for _ in iter_records(tmp_path / "a", name)) == size
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 4_000 * 150  # of 4,000 more records, no more than their ids


SCORED = {**SPAN, "scores": [0.5]}


@pytest.mark.parametrize("kind", ["columns", "fields"])
def test_scores_of_columns_and_fields_come_back_from_json_lines_and_are_counted_elsewhere(
    tmp_path, kind
):
    position = {
        "columns": {"header": "a", "values": ["1"], "labels": ["x"], "scores": [0.5]},
        "fields": {"name": "a", "value": "1", "labels": ["x"], "scores": [0.5]},
    }[kind]
    records = numbered([{kind: [position]}])
    write_records(records, tmp_path / "a.jsonl")
    assert read_records(tmp_path / "a.jsonl").to_list() == records
    report = write_records(records, tmp_path / "a.csv", on_error="skip")
    assert report.notes[f"{kind[:-1]} whose scores are not kept"] == 1
