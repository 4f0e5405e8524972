"""Damaged files, wrong names, and what every format shares: options, reports, the command line."""

from __future__ import annotations

import gzip
import json
import logging
import sys

import pytest
from datasets import Dataset

from irti_custom import read_records, write_records
from irti_custom.formats import files
from irti_custom.formats.__main__ import main
from irti_custom.formats.format import Format
from irti_custom.formats.read_write import read_with_report
from irti_custom.formats.registry import FORMATS

LINE = '{"id": "a", "text": "Ann saw Rome", "spans": [{"start": 8, "end": 12, "labels": ["x"]}]}\n'
ANN = {"id": "a", "text": "Ann", "spans": [{"start": 0, "end": 3, "labels": ["x"]}]}


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


BAD = {
    "truncated": ("a.jsonl.gz", gzip.compress(LINE.encode() * 99)[:-20], "beyond line .*whole"),
    "not gzip": ("a.jsonl.gz", LINE.encode(), "must be gzipped, as its name says"),
    "half a line": ("a.jsonl", LINE + LINE[:30], "line 2: It must be JSON.*Was it written whole"),
    "half an array": ("a.json", "[" + LINE + ",", "line 2: It must be JSON"),
    "latin-1": ("a.jsonl", LINE + "\n" + "Ä", "line 3: It must be JSON"),
    "latin-1 bytes": ("a.jsonl", LINE.encode() + b"\xc4", "line 2: The file must be UTF-8, got"),
    "utf-16": (
        "a.json",
        LINE.encode("utf-16"),
        "must be text, got a file that is UTF-16. Save it as UTF-8",
    ),
    "empty": ("a.jsonl", "", "must hold JSON, and it is empty"),
    "blank": ("a.jsonl", "\n\n", "must hold JSON, and it is empty"),
    "an empty array": ("a.json", "[]", "must hold at least one record, got none"),
    "a name twice": ("a.jsonl", LINE + '{"text": "a", "text": "b"}', "line 2: .* each name once"),
    "many digits": (
        "a.jsonl",
        LINE + '{"id": ' + "1" * 5000 + "}",
        "line 2: The JSON cannot be read",
    ),
    "too deep": ("a.jsonl", "{" + '"a":[' * 99999, "nested too deeply|must be JSON"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("format", ["auto", "jsonl"])
def test_damaged_file_raises_with_its_line_even_when_skipping(tmp_path, case, format):
    name, content, message = BAD[case]
    path = write(tmp_path / name, content)
    for on_error in ("raise", "skip"):
        with pytest.raises(ValueError, match=message) as caught:
            read_records(path, format, on_error=on_error)
        assert name in str(caught.value)


OVER_LINES = {
    "an object": json.dumps(ANN, indent=2),
    "objects": "\n".join([json.dumps(ANN, indent=2)] * 2),
    "objects without a line end": LINE.strip() * 2,
    "a line, then more": LINE + json.dumps(ANN, indent="\t") + "\r\n" + LINE,
    "an array": json.dumps([ANN, ANN], indent=1),
    "arrays": f"[{LINE}]\n[{LINE}]",
    "lines that end as on old Macs": LINE.replace("\n", "\r") * 3,
}


@pytest.mark.parametrize("case", OVER_LINES)
def test_json_may_be_on_any_lines(tmp_path, case):
    content = OVER_LINES[case]
    texts = read_records(write(tmp_path / "a.json", content))["text"][:]
    assert len(texts) == content.count('"text"')
    cut = write(tmp_path / "b.json", content.rstrip()[:-1])
    with pytest.raises(ValueError, match=r"b\.json, line \d+: It must be JSON.*written whole"):
        read_records(cut)


def test_an_item_that_is_no_object_is_counted(tmp_path):
    for content in (f"{LINE}[1]\n{LINE}", f"[{LINE}, null, {LINE}]"):
        path = write(tmp_path / "a.json", content)
        with pytest.raises(ValueError, match=r"(line|item) 2: It must be a JSON object, got"):
            read_records(path)
        records, report = read_with_report(path, on_error="skip")
        assert (len(records), report.skipped) == (2, {"item that is no object": 1})


def test_a_number_of_too_many_digits_has_its_line(tmp_path):
    path = write(tmp_path / "a.jsonl", LINE + LINE.replace("12", "1" * 5000))
    with pytest.raises(ValueError, match=r"a\.jsonl, line 2: "):
        read_records(path)


def test_missing_file_and_folder_say_so(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"must be a file at .*none\.jsonl, got nothing"):
        read_records(tmp_path / "none.jsonl")
    with pytest.raises(ValueError, match="must be a file, got a folder"):
        read_records(tmp_path, "jsonl")


def test_line_that_is_too_long_is_not_held(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_LINE_BYTES", 100)
    monkeypatch.setattr(files, "_BLOCK_BYTES", 50)
    path = write(tmp_path / "a.jsonl", LINE + LINE.replace("Ann", "Ann" * 40))
    with pytest.raises(ValueError, match="line 2: A line must have at most 100 bytes"):
        read_records(path)


@pytest.mark.parametrize("name", ["a.txt", "a", "a.jsonl", "a.json.gz"])
def test_json_is_known_by_its_content(tmp_path, name):
    for content in (LINE, f"\n [{LINE}]", "\ufeff" + LINE):
        content = gzip.compress(content.encode()) if name.endswith(".gz") else content
        assert read_records(write(tmp_path / name, content))["id"][:] == ["a"]


def test_an_array_in_one_line_may_be_long(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_LINE_BYTES", 100)
    items = ",".join([LINE.strip()] * 3)
    assert len(read_records(write(tmp_path / "a.json", f"[{items}]"))) == 3


@pytest.mark.parametrize(("name", "module"), [("a.xlsx", "openpyxl"), ("a.spacy", "spacy")])
def test_a_package_that_is_missing_is_named_with_its_extra(tmp_path, monkeypatch, name, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ModuleNotFoundError, match=rf"needs {module}.*irti_custom\[integrations\]"):
        read_records(write(tmp_path / name, "x"))
    with pytest.raises(ModuleNotFoundError, match=rf"needs {module}.*irti_custom\[integrations\]"):
        write_records([ANN], tmp_path / name)


def test_gzip_is_known_by_its_bytes_and_a_byte_order_mark_is_no_text(tmp_path):
    path = write(tmp_path / "a.jsonl", gzip.compress(b"\xef\xbb\xbf" + LINE.encode()))
    assert read_records(path)[0]["text"] == "Ann saw Rome"


def test_write_leaves_the_old_file_when_it_fails(tmp_path):
    path = write(tmp_path / "a.jsonl", "old")
    with pytest.raises(ValueError, match="record 1: A span must be 0 <= start < end <= 3"):
        write_records([ANN, {**ANN, "spans": [{"start": 1, "end": 9, "labels": []}]}], path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_same_records_are_the_same_bytes(tmp_path):
    paths = [tmp_path / "a.jsonl.gz", tmp_path / "b.jsonl.gz"]
    for path in paths:
        write_records([ANN], path)
    assert paths[0].read_bytes() == paths[1].read_bytes()


NO_RECORD = {
    "no dict": (["Ann"], "record 0: A record must be a dict, got 'Ann'"),
    "none": (None, "Records must be a data set or a list of dicts, got None"),
    "nothing": ([], "at least one record to write, got none"),
    "no text": ([{"spans": []}], r"must have \"text\" and \"spans\", or \"columns\", or"),
    "both": ([{**ANN, "columns": []}], 'or "columns", or "fields", got'),
    "no spans": ([{"text": "Ann"}], r"`spans` must be a list, \[\] for none, got None"),
    "text": ([{"text": 7, "spans": []}], "A text must be a string, got 7"),
    "half a pair": ([{"text": "a\ud83d", "spans": []}], "half of a surrogate pair"),
    "id": ([{**ANN, "id": 1.5}], "An `id` must be a string or an integer, got 1.5"),
    "float": ([{"text": "Ann", "spans": [{"start": 0.0, "end": 1}]}], "must be integers, got 0.0"),
    "bool": ([{"text": "Ann", "spans": [{"start": False, "end": True}]}], "must be integers"),
    "no labels": ([{"text": "Ann", "spans": [{"start": 0, "end": 1}]}], 'must have "labels"'),
    "ids": ([{"text": "A", "spans": [{"start": 0, "end": 1, "labels": [1]}]}], "list of names"),
    "scores": (
        [{"text": "A", "spans": [{"start": 0, "end": 1, "labels": ["x"], "scores": []}]}],
        "one number per label",
    ),
    "cell": ([{"columns": [{"values": [[1]]}]}], "must be a string or number, got"),
}


@pytest.mark.parametrize("case", NO_RECORD)
def test_what_is_no_record_is_not_written(tmp_path, case):
    records, message = NO_RECORD[case]
    with pytest.raises(ValueError, match=message):
        write_records(records, tmp_path / "a.jsonl")


def test_fields_beside_the_annotation_are_counted(tmp_path):
    path = write(tmp_path / "a.jsonl", LINE.replace('"id"', '"topic": 1, "id"'))
    report = read_with_report(path).report
    assert report.notes == {"field 'topic' not kept": 1}
    assert str(report).splitlines()[-1] == "notes: field 'topic' not kept 1"


def test_counts_are_logged(tmp_path, caplog):
    path = write(tmp_path / "a.jsonl", LINE)
    with caplog.at_level(logging.INFO, "irti_custom.formats"):
        read_records(path)
    assert "jsonl: 1 record, 1 position\nlabels: x 1" in caplog.text


def test_an_option_of_another_format_raises(tmp_path):
    path = write(tmp_path / "a.jsonl", LINE)
    with pytest.raises(ValueError, match=r"with its own options, \['keep'\], got \['words'\]"):
        read_records(path, words="all")
    with pytest.raises(ValueError, match=r"must be one of \('raise', 'skip'\), got 'ignore'"):
        read_records(path, on_error="ignore")
    with pytest.raises(ValueError, match='must be "auto" or one of'):
        read_records(path, "word")
    with pytest.raises(ValueError, match="reads from a path"):
        read_records(Dataset.from_list([ANN]), "jsonl")


def test_a_file_that_is_nothing_we_know_says_what_it_looks_like(tmp_path):
    path = write(tmp_path / "a.json", '{"question": "Who?"}')
    with pytest.raises(ValueError, match=r"got the keys \['question'\], which is none"):
        read_records(path)
    path = write(tmp_path / "a.txt", "It was a dark night.\n")
    with pytest.raises(ValueError, match=r"got the first line 'It was a dark night\.', which is"):
        read_records(path)
    with pytest.raises(ValueError, match="must have a name that says which format"):
        write_records([ANN], tmp_path / "a.docx")


def test_texts_and_tables_do_not_share_a_file(tmp_path):
    path = write(tmp_path / "a.jsonl", LINE + json.dumps({"columns": []}))
    with pytest.raises(ValueError, match=r"must hold one kind of records, got .*'table'"):
        read_records(path)


def test_command_line_converts_and_counts(tmp_path, capsys):
    source = write(tmp_path / "a.jsonl", LINE)
    main([str(source), str(tmp_path / "b.jsonl.gz")])
    assert read_records(tmp_path / "b.jsonl.gz").to_list() == read_records(source).to_list()
    assert capsys.readouterr().out.splitlines()[1:3] == [
        "jsonl: 1 record, 1 position",
        "labels: x 1",
    ]
    with pytest.raises(SystemExit, match=r"error: There must be a file at"):
        main([str(tmp_path / "none.jsonl"), str(tmp_path / "b.jsonl")])


def test_a_conversion_does_not_replace_what_it_reads(tmp_path):
    source, folder = write(tmp_path / "a.jsonl", LINE), tmp_path / "brat"
    (tmp_path / "link.jsonl").symlink_to(source)
    write_records([ANN], folder, "brat")
    for paths in (
        [source, source],
        [source, tmp_path / "link.jsonl"],
        [folder, folder / "a.txt", "--to", "conll"],
    ):
        with pytest.raises(ValueError, match="What is read must not be replaced"):
            main([str(path) for path in paths])
    assert source.read_text() == LINE
    assert (folder / "a.txt").read_text() == "Ann"


def test_notes_of_what_is_left_out_are_warnings_and_others_are_not(tmp_path, caplog):
    path = write(tmp_path / "a.conll", "Ann B-x\n")
    read_records(path)
    assert not caplog.records
    with caplog.at_level(logging.INFO, "irti_custom.formats"):
        read_records(path)
    assert "tags read as BIO, which was found out 1" in caplog.text
    caplog.clear()
    read_records(write(tmp_path / "a.jsonl", LINE.replace('"id"', '"topic": 1, "id"')))
    assert "field 'topic' not kept 1" in caplog.text


@pytest.mark.parametrize(
    "format", ["conll", "brat", "doccano", "prodigy", "gliner", "hugging-face"]
)
def test_scores_that_a_format_does_not_hold_are_counted(tmp_path, format):
    span = {"start": 0, "end": 3, "labels": ["x"], "scores": [0.5]}
    report = write_records([{"text": "Ann", "spans": [span]}], tmp_path / "a", format)
    assert report.notes["span whose scores are not kept"] == 1
    assert report.lossy


def test_annotation_that_is_there_twice_is_counted(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"text": "Ann", "label": [[0, 3, "x"], [0, 3, "x"]]}')
    records, report = read_with_report(path)
    assert records[0]["spans"] == ANN["spans"]
    assert sum(report.notes.values()) == 1


def test_what_the_first_texts_do_not_tell_the_next_do(tmp_path):
    empty = '{"text": "Ann", "spans": [], "meta": {}}\n'
    prodigy = '{"text": "Ann", "spans": [{"start": 0, "end": 3, "label": "x"}]}\n'
    assert read_with_report(write(tmp_path / "a.jsonl", empty + prodigy)).report.format == "prodigy"
    assert read_with_report(write(tmp_path / "a.jsonl", empty + LINE)).report.format == "jsonl"
    with pytest.raises(ValueError, match=r"got the keys .* which is jsonl or prodigy\. Pass"):
        read_records(write(tmp_path / "a.jsonl", empty))


def test_command_line_options_are_those_of_reading_and_of_writing(tmp_path, capsys):
    source = write(tmp_path / "a.conll", "Ann\tB-x\tB-y\n!\tO\tO\n")
    target = tmp_path / "b.conll"
    options = ["--read_tag_columns", "1", "--write_scheme", "IOBES"]
    main([str(source), str(target), "--to", "conll", *options])
    assert target.read_text() == "Ann\tS-x\n!\tO\n\n"
    main([str(source), str(target), "--on_error", "skip", "--read_tag_columns", "1", "2"])
    assert "skipped: span with several labels 1" in capsys.readouterr().out
    table = write(tmp_path / "a.csv", "1;2\n")
    main([str(table), str(tmp_path / "b.jsonl"), "--read_header", "false", "--read_delimiter", ";"])
    assert read_records(tmp_path / "b.jsonl")[0]["columns"][0]["values"] == ["1"]
    with pytest.raises(SystemExit):
        main([str(table), str(tmp_path / "b.jsonl"), "--read_header", "first"])
    table.write_text("city,city_labels\nRome,place\n")
    main([str(table), str(tmp_path / "b.jsonl"), "--read_by", "rows"])
    fields = [{"name": "city", "value": "Rome", "labels": ["place"]}]
    assert read_records(tmp_path / "b.jsonl")[0]["fields"] == fields
    main([str(tmp_path / "b.jsonl"), str(tmp_path / "c.csv")])
    assert (tmp_path / "c.csv").read_text() == table.read_text()
    target = tmp_path / "b.json"
    main(
        [
            str(source),
            str(target),
            "--to",
            "argilla",
            "--write_question",
            "who",
            "--read_tag_columns",
            "1",
        ]
    )
    assert read_records(target, question="who", annotations="predictions")["text"][:] == ["Ann !"]


def test_every_format_can_be_detected_and_is_named_in_the_readme():
    readme = (files.Path(files.__file__).parent / "README.md").read_text()
    for name, one in FORMATS.items():
        detectors = ("detect_object", "detect_lines", "detect_path")
        assert any(getattr(type(one), way) is not getattr(Format, way) for way in detectors), name
        assert f'`"{name}"`' in readme, name
