"""Blocks that Arrow reads are what is read line by line, errors and counts included."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from irti_custom.formats import files, json_lines
from irti_custom.formats.read_write import read_with_report

LINE = '{"id": "a", "text": "Ann saw", "spans": [{"start": 0, "end": 3, "labels": ["x"]}]}'


def read(path):
    try:
        records, report = read_with_report(path, "jsonl")
    except ValueError as error:
        return str(error)
    return records.features, records.to_list(), report, list(report.labels)


def agree(path, monkeypatch, lines, end="\n"):
    """Whether lines are read the same in small blocks as by the line."""
    path.write_bytes((end.join(lines) + end).encode("utf-8", "surrogatepass"))
    with monkeypatch.context() as patch:
        patch.setattr(json_lines, "schema_of", lambda content: None)
        expected = read(path)
    with monkeypatch.context() as patch:
        patch.setattr(files, "_BLOCK_BYTES", 300)
        blocks = []
        read_block = json_lines.read_block
        patch.setattr(
            json_lines, "read_block", lambda *a: blocks.append(read_block(*a)) or blocks[-1]
        )
        assert read(path) == expected
    return [block is not None for block in blocks]


ODD = [
    LINE.replace('"a"', "7"),
    LINE.replace('"a"', "null"),
    LINE.replace('"a"', "true"),
    LINE.replace('"id": "a", ', ""),
    LINE.replace('"text"', '"text": "b", "text"'),
    LINE.replace('"text"', '"text": "b", "te\\u0078t"'),
    LINE.replace("{", '{"topic": 1, "topic": 2, ', 1),
    LINE.replace("{", '{"topic": {"a": 1, "a": 2}, ', 1),
    LINE.replace("{", '{"topic": null, ', 1),
    LINE.replace("{", '{"topic": Inf, ', 1),
    LINE.replace("{", '{"topic": -NaN, ', 1),
    LINE.replace("{", '{"topic": -Infinity, ', 1),
    LINE.replace("{", '{"labels": null, ', 1),
    LINE.replace("{", '{"columns": null, ', 1),
    LINE.replace("{", '{"words": ["Ann"], ', 1),
    LINE.replace("saw", "\\ud83d\\ude00"),
    LINE.replace("saw", "\\ud83d"),
    LINE.replace("saw", "\\ude00"),
    LINE.replace("saw", "\\u0000"),
    LINE.replace("saw", "\x00"),
    LINE.replace("saw", "\x85\u2028"),
    LINE.replace("saw", "\ud83d"),
    LINE.replace("saw", "\t"),
    LINE.replace('"Ann saw"', "null"),
    LINE.replace('"Ann saw"', "7"),
    LINE.replace("[{", "null, [{"),
    LINE.replace('["x"]', '"x"'),
    LINE.replace('["x"]', "[]"),
    LINE.replace('["x"]', "null"),
    LINE.replace('["x"]', "[null]"),
    LINE.replace('["x"]', '[""]'),
    LINE.replace('["x"]', '["x", "x"]'),
    LINE.replace('"labels"', '"label"'),
    LINE.replace(', "labels": ["x"]', ""),
    LINE.replace('["x"]', '["x"], "scores": [0.1]'),
    LINE.replace('["x"]', '["x"], "scores": [1]'),
    LINE.replace('["x"]', '["x"], "scores": [null]'),
    LINE.replace('["x"]', '["x"], "scores": null'),
    LINE.replace('["x"]', '["x"], "scores": [0.1, 0.2]'),
    LINE.replace('["x"]', 'null, "scores": [0.1]'),
    LINE.replace('["x"]', '["x"], "scores": [Infinity]'),
    LINE.replace('["x"]', '["x"], "scores": [1e400]'),
    LINE.replace('["x"]', '["x"], "scores": [true]'),
    LINE.replace('["x"]', '["x"], "note": "b"'),
    LINE.replace("[{", "[null, {"),
    *(LINE.replace("0", start) for start in ("-0", "0.0", "1e0", "-1", "3", "null", "01", '"0"')),
    *(LINE.replace("3", end) for end in ("7", "8", "false", "9" * 30)),
    LINE.replace(' "spans"', '\n"spans"'),
    LINE + LINE,
    LINE + "{",
    LINE + "\x00",
    LINE + " ",
    " " + LINE,
    "",
    "\x0b",
    LINE[:30],
    LINE[:-1] + ",}",
    "[1]",
    "{}",
    '{"columns": []}',
    "{" + '"a":[' * 99999,
    LINE.replace("{", '{"topic": ' + "[" * 99999 + "]" * 99999 + ", ", 1),
]


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("field", ["", '"topic": {"a": 1}, '])
def test_an_odd_line_is_read_the_same_in_a_block_as_alone(tmp_path, monkeypatch, odd, field):
    plain = LINE.replace("{", "{" + field, 1)
    agree(tmp_path / "a.jsonl", monkeypatch, [plain] * 9 + [odd] + [plain] * 9)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_blocks_of_good_lines_are_all_read_by_arrow(tmp_path, monkeypatch, end):
    """Otherwise the tests above compare nothing."""
    for name, value in {"topic": "a", "year": 7, "meta": {"a": ["b"]}, "id": 7}.items():
        line = json.dumps({**json.loads(LINE), name: value})
        assert all(agree(tmp_path / "a.jsonl", monkeypatch, [line] * 20, end))
        assert len(agree(tmp_path / "a.jsonl", monkeypatch, [line] * 20, end)) > 3


names = st.sampled_from(["x", "ü", ""])
spans = st.fixed_dictionaries(
    {
        "start": st.integers(0, 2),
        "end": st.integers(1, 5),
        "labels": st.none() | st.lists(st.sampled_from(["x", "ü"]), max_size=2),
    },
    optional={"scores": st.none() | st.lists(st.none() | st.floats(0, 1), max_size=2)},
)
items = st.fixed_dictionaries(
    {"text": st.text(min_size=4, max_size=8), "spans": st.lists(spans, max_size=2)},
    optional={
        "id": st.none() | st.text(max_size=3) | st.integers(0, 9),
        "topic": st.none() | st.booleans() | st.text(max_size=3) | st.floats(),
    },
)


@settings(max_examples=100, deadline=None)
@given(st.lists(items, min_size=5, max_size=12), st.booleans())
def test_any_records_are_read_the_same_in_blocks_as_by_the_line(tmp_path_factory, made, ascii):
    path = tmp_path_factory.mktemp("blocks") / "a.jsonl"
    with pytest.MonkeyPatch.context() as monkeypatch:
        agree(path, monkeypatch, [json.dumps(item, ensure_ascii=ascii) for item in made])
