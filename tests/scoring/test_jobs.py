"""Jobs: one per folder, begun once; every row checked as it is scored; bad files named."""

from __future__ import annotations

import gzip
import json
import os
import platform
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tokenizers import normalizers

from irti_custom import MaskedSeqProcessor
from irti_custom.scoring import jobs, shards
from irti_custom.scoring.jobs import Job, open_job, read_rows
from irti_custom.scoring.shards import write_table
from irti_custom.scoring.table_scorer import TableScorer
from tests.scoring import make_rows, save_trained, write_rows

GOOD = {"id": 0, "text": "Ann likes Rome", "spans": [[0, 3]]}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    """A trained folder whose tokenizer drops a zero-width space, as many do."""
    folder = save_trained(tmp_path_factory.mktemp("trained"))
    processor = MaskedSeqProcessor.from_pretrained(folder)
    processor.tokenizer.backend_tokenizer.normalizer = normalizers.Replace("\u200b", "")
    processor.save_pretrained(folder)
    return folder


@pytest.fixture
def begin(model, tmp_path):
    def call(file: str, **settings: Any) -> Job:
        return open_job(
            file, model, **{"output": str(tmp_path / "out"), "chunk_size": 4, **settings}
        )

    return call


def read_all(job: Job) -> pa.Table:
    return pa.concat_tables(read_rows(job.output, name) for name in job.parts)


def test_one_of_three_concurrent_jobs_starts_an_equal_one_joins_and_another_raises(
    begin, monkeypatch, caplog, tmp_path
):
    ann = write_rows(tmp_path / "ann.jsonl", [GOOD] * 3)
    bob = write_rows(tmp_path / "bob.jsonl", [{**GOOD, "text": "Bob"}] * 2)
    begun, go_on, checks = threading.Event(), threading.Event(), []
    write_shards = jobs.write_shards

    def slow_check(paths: list[str], *arguments: Any, **settings: Any) -> Any:
        checks.append(paths)
        begun.set()
        assert go_on.wait(60)
        return write_shards(paths, *arguments, **settings)

    monkeypatch.setattr(jobs, "write_shards", slow_check)
    results: dict[str, Any] = {}

    def open_as(name: str, file: str) -> None:
        try:
            results[name] = begin(file).facts
        except ValueError as error:
            results[name] = str(error)

    threads = [threading.Thread(target=open_as, args=("first", ann))]
    threads[0].start()
    assert begun.wait(60)
    for name, file in (("equal", ann), ("another", bob)):
        threads.append(threading.Thread(target=open_as, args=(name, file)))
        threads[-1].start()
    while caplog.text.count("Waiting") < 2:
        assert len(checks) == 1
        threading.Event().wait(0.01)
    go_on.set()
    for thread in threads:
        thread.join()
    assert checks == [[ann]]
    assert results["first"] == results["equal"]
    assert "begun with another input" in results["another"]


def test_a_job_that_was_killed_in_its_check_leaves_the_folder_to_any_other(
    begin, monkeypatch, tmp_path
):
    ann = write_rows(tmp_path / "ann.jsonl", [{**GOOD, "id": 1}] * 9)
    bob = write_rows(tmp_path / "bob.jsonl", [{**GOOD, "id": 2}] * 2)
    kept = tmp_path / "out" / "_rows" / "mine.txt"
    with monkeypatch.context() as patch:
        patch.setattr(jobs, "_write_facts", lambda *_: sys.exit())
        patch.setattr(jobs, "_remove_shards", lambda *_: None)  # as if it were killed
        with pytest.raises(SystemExit):
            begin(ann, on_error="skip")
    assert len(list(kept.parent.iterdir())) == 3
    kept.touch()
    job = begin(bob)
    assert read_all(job)["id"].to_pylist() == [2, 2]
    assert {path.name for path in kept.parent.iterdir()} == {kept.name, *job.parts}


def test_a_job_removes_what_a_dead_process_left_and_nothing_else(begin, tmp_path):
    job = begin(write_rows(tmp_path / "rows.jsonl", [GOOD]))
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    here, name = platform.node(), ".part-00000-00000.parquet"
    dead = f"{name}.{here}.{ended.pid}.0a1b2c3d.tmp"
    others = {f"{name}.{here}.{os.getpid()}.0a1b2c3d.tmp", f"{name}.not-{here}.{ended.pid}.01.tmp"}
    for left in (dead, *others):
        (tmp_path / "out" / left).touch()
    assert job.finish() is None
    write_table(os.path.join(job.output, job.missing()[0]), pa.table({"x": [1]}))
    assert job.finish()
    assert {path.name for path in (tmp_path / "out").glob(".*")} == others


def test_a_part_that_cannot_be_written_leaves_nothing(tmp_path):
    (tmp_path / "part").mkdir()
    with pytest.raises(ValueError, match="must be a file to write, got a folder"):
        write_table(str(tmp_path / "part"), pa.table({"x": [1]}))
    assert os.listdir(tmp_path) == ["part"]


def write_lines(path: Path, *lines: bytes) -> str:
    path.write_bytes(b"\n".join(lines))
    return str(path)


LINE = json.dumps(GOOD).encode()
BAD_LINES = {
    rb'{"text": "Ann", "spa': "must be a JSON object",
    b"[1]": "must be a JSON object",
    b"": "must be a JSON object",
    b"[" * 100_000: "must be a JSON object",
    b'{"text": "\xff", "spans": []}': "must be a JSON object.*utf-8",
    b'{"text": "' + b"a" * 5000 + b'", "spans": []}': "more than 4000 bytes",
    rb'{"id": 1, "text": "Bob \ud83d", "spans": []}': "surrogate",
    rb'{"id": 1, "text": "Bob", "spans": [], "\ud83d": 1}': "surrogate",
    rb'{"id": 1, "text": "Bob \u200b", "spans": [[4, 5]]}': "the tokenizer drops",
    b'{"id": 1, "text": NaN, "spans": []}': "string `text`, got nan",
    b'{"id": 1, "text": "Bob", "spans": null}': "`spans` must be a list",
    b'{"id": "one", "text": "Bob", "spans": []}': "do not fit those of the rows before",
    b'{"id": 1%s, "text": "Bob", "spans": []}' % (b"0" * 30): "do not fit those of the rows",
}


@pytest.mark.parametrize(("line", "reason"), BAD_LINES.items(), ids=lambda x: str(x)[:30])
def test_a_line_that_cannot_be_scored_is_named(line, reason, begin, monkeypatch, tmp_path):
    monkeypatch.setattr(shards, "MAX_LINE_BYTES", 4000)
    file = write_lines(tmp_path / "rows.jsonl", LINE, LINE, line, LINE)
    with pytest.raises(ValueError, match=f"^Row 3 of {re.escape(file)}: .*{reason}"):
        begin(file)


def test_skipped_lines_keep_their_place_and_what_fits(begin, monkeypatch, tmp_path):
    monkeypatch.setattr(shards, "MAX_LINE_BYTES", 4000)
    lines = [part for line in BAD_LINES for part in (line, LINE)]
    job = begin(write_lines(tmp_path / "rows.jsonl", LINE, *lines), on_error="skip")
    rows = read_all(job).to_pylist()
    assert rows[::2] == [{**GOOD, "error": None}] * (len(BAD_LINES) + 1)
    for number, (row, reason) in enumerate(zip(rows[1::2], BAD_LINES.values())):
        assert re.search(f"^Row {2 * number + 2} of .*{reason}", row["error"])
    kept = [{name: row[name] for name in GOOD} for row in rows[1::2]]
    assert kept[:6] == [{"id": None, "text": None, "spans": None}] * 6
    assert kept[6] == {"id": 1, "text": None, "spans": []}
    assert rows[13]["error"].endswith("Not kept: 'text'.")
    assert kept[8] == {"id": 1, "text": "Bob \u200b", "spans": [[4, 5]]}
    assert kept[11] == {"id": None, "text": "Bob", "spans": []}
    assert rows[23]["error"].endswith("Not kept: 'id'.")
    assert job.facts["skipped"] == len(BAD_LINES)
    # Bad rows decide on no column.
    assert set(rows[0]) == {*GOOD, "error"}


def test_a_span_that_is_not_what_it_says_is_not_scored(begin, tmp_path):
    lines = [
        json.dumps(
            {"text": "\U0001f600 Ann", "spans": [{"start": at, "end": at + 3, "word": "Ann"}]}
        )
        for at in (2, 1)
    ]
    file = write_lines(tmp_path / "rows.jsonl", *map(str.encode, lines))
    with pytest.raises(
        ValueError, match=r"^Row 2 of .*The text at 1 to 4 must be 'Ann', got ' An'"
    ):
        begin(file)
    assert begin(file, on_error="skip").facts["skipped"] == 1


def test_an_input_without_a_row_that_can_be_scored_keeps_its_rows(begin, tmp_path):
    job = begin(write_lines(tmp_path / "rows.jsonl", b"no", b"nor this"), on_error="skip")
    (first, second) = read_all(job).to_pylist()
    assert (first["text"], first["spans"], second["text"]) == (None, None, None)
    assert "Row 2 of" in second["error"]


def test_a_long_line_is_not_held_in_memory(monkeypatch, tmp_path):
    monkeypatch.setattr(shards, "MAX_LINE_BYTES", 100)
    lines = [b"a" * 99, b"b" * 100, b"c" * 1000, b"d"]
    file = write_lines(tmp_path / "rows.jsonl", *lines)
    assert list(shards._read_lines(file)) == [b"a" * 99 + b"\n", None, None, b"d"]


@pytest.mark.parametrize(("large", "late"), [(2**60, 0.5), (0.5, 2**60)])
def test_integers_that_no_fraction_holds_are_found_first(large, late, begin, tmp_path):
    rows = [{**GOOD, "id": large}, *[GOOD] * 1500, {**GOOD, "id": late}]
    file = write_rows(tmp_path / "rows.jsonl", rows)
    number = 1 if large == 2**60 else 1502
    with pytest.raises(ValueError, match=f"Row {number} of .*Integer value 1152921504606846976"):
        begin(file)
    job = begin(file, on_error="skip", chunk_size=1000)
    bad = read_all(job).to_pylist()[number - 1]
    assert (job.facts["skipped"], bad["id"], bad["text"]) == (1, None, GOOD["text"])
    assert bad["error"].endswith("Not kept: 'id'.")


def test_a_parquet_file_whose_columns_do_not_fit_is_named(begin, tmp_path):
    write_rows(tmp_path / "a.jsonl", [{**GOOD, "id": 0.5}])
    write_rows(tmp_path / "b.parquet", [{**GOOD, "id": 2**60}])
    write_rows(tmp_path / "c.parquet", [{**GOOD, "id": "one"}])
    for name in "bc":
        with pytest.raises(ValueError, match=f"columns of .*{name}.parquet do not fit into one"):
            begin(str(tmp_path / f"[a{name}].*"), on_error="skip")


def damage(content: bytes) -> bytes:
    return content[: len(content) // 2]


@pytest.mark.parametrize("on_error", ["raise", "skip"])
@pytest.mark.parametrize("name", ["rows.jsonl.gz", "rows.parquet"])
@pytest.mark.parametrize("change", [damage, lambda content: b"not it" * 9], ids=["half", "other"])
def test_a_file_that_cannot_be_read_to_its_end_is_named(name, change, on_error, begin, tmp_path):
    file = Path(write_rows(tmp_path / name, make_rows(300)))
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(ValueError, match=f"{name} cannot be read beyond row [0-9]+: "):
        begin(str(file), on_error=on_error)


def test_a_damaged_end_is_placed_behind_the_rows_before_it(tmp_path):
    file = tmp_path / "rows.jsonl.gz"
    file.write_bytes(gzip.compress((LINE + b"\n") * 100) + b"no gzip")
    with pytest.raises(ValueError, match="beyond row 100: "):
        list(shards._read_lines(str(file)))


@pytest.mark.parametrize("values", [["Ann", None], pa.array([float("nan")] * 2)])
def test_a_row_of_parquet_without_text_is_named(values, begin, tmp_path):
    file = str(tmp_path / "rows.parquet")
    pq.write_table(pa.table({"text": values, "spans": [[[0, 3]], []]}), file)
    with pytest.raises(ValueError, match=r"^Row [12] of .*must have a string `text`"):
        begin(file)
    if isinstance(values, list):
        table = read_all(begin(file, on_error="skip", output=str(tmp_path / "skip")))
        assert table["text"].to_pylist() == values
        assert [error is None for error in table["error"].to_pylist()] == [True, False]


@pytest.mark.parametrize("columns", [["text"], ["spans"], ["text", "spans", "text"]])
def test_parquet_without_its_columns_raises(columns, begin, tmp_path):
    data = {"text": pa.array(["Ann"]), "spans": pa.array([[[0, 3]]])}
    file = str(tmp_path / "rows.parquet")
    pq.write_table(pa.table([data[name] for name in columns], names=columns), file)
    with pytest.raises(ValueError, match=r"rows.parquet must have a column `text`"):
        begin(file, on_error="skip")


def test_parquet_with_a_string_that_is_not_utf_8_raises(begin, tmp_path):
    file = str(tmp_path / "rows.parquet")
    text = pa.array([b"Ann", b"\xff"]).view(pa.string())
    pq.write_table(pa.table({"text": text, "spans": pa.array([[[0, 3]], []])}), file)
    with pytest.raises(ValueError, match=r"rows.parquet cannot be read beyond row 0: .*UTF8.* 1"):
        begin(file, on_error="skip")


@pytest.mark.parametrize("name", ["_job.json", "_rows/part-00000-00000.parquet"])
@pytest.mark.parametrize("damage", ["half", "swapped", "flipped", "empty", None])
def test_a_file_of_a_job_that_is_damaged_is_named(name, damage, begin, tmp_path):
    file = write_rows(tmp_path / "rows.jsonl", [GOOD, {**GOOD, "spans": [[9, 99]]}] * 2)
    begin(file, on_error="skip")
    path = tmp_path / "out" / name
    content = path.read_bytes()
    half, mask = len(content) // 2, bytes([255])
    damaged = {"half": content[:half], "swapped": mask * half + content[half:], "empty": b"{}"}
    damaged["flipped"] = content[:99] + mask + content[100:]
    path.unlink() if damage is None else path.write_bytes(damaged[damage])
    if damage is None and name == "_job.json":
        assert read_all(begin(file, on_error="skip")).num_rows == 4  # it is begun again
        return
    with pytest.raises(ValueError, match=f"(?s){name} is damaged: .*Restore it, or begin"):
        read_all(begin(file, on_error="skip"))


@pytest.mark.parametrize("taken", ["error", "predictions"])
def test_an_input_with_a_column_of_the_output_raises(taken, begin, tmp_path):
    with pytest.raises(ValueError, match=f"column '{taken}' already"):
        begin(write_rows(tmp_path / "rows.jsonl", [{**GOOD, taken: "x"}]))


def test_a_job_is_written_neither_into_its_model_nor_over_its_input(begin, model, tmp_path):
    file = write_rows(tmp_path / "rows.jsonl", [GOOD])
    before = sorted(os.listdir(model))
    with pytest.raises(ValueError, match="What is read must not be replaced"):
        begin(file, output=model)
    assert sorted(os.listdir(model)) == before
    (tmp_path / "out" / "_rows").mkdir(parents=True)
    inside = write_rows(tmp_path / "out" / "_rows" / "part-00000-00000.parquet", [GOOD])
    with pytest.raises(ValueError, match=r"and .*part-00000-00000\.parquet would be"):
        begin(inside)


def test_a_model_that_is_not_the_one_of_the_job_raises_when_it_is_loaded(begin, model, tmp_path):
    job = begin(write_rows(tmp_path / "rows.jsonl", [GOOD]))
    TableScorer(model, digest=job.facts["model"])
    with pytest.raises(ValueError, match="has changed since the job was begun"):
        TableScorer(save_trained(tmp_path / "other", "multiclass"), digest=job.facts["model"])


def test_a_job_with_another_on_error_raises(begin, tmp_path):
    file = write_rows(tmp_path / "rows.jsonl", [GOOD])
    begin(file)
    with pytest.raises(ValueError, match="begun with another on_error"):
        begin(file, on_error="skip")
    with pytest.raises(ValueError, match="--on_error must be one of"):
        begin(file, on_error="ignore")
