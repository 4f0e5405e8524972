"""Scoring a data set: the right answers in the right order, whatever kills it on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from irti_custom import (
    AutoModelForMaskedSeqModeling,
    MaskedSeqClassificationPipeline,
    MaskedSeqProcessor,
    export_onnx,
    write_records,
)
from irti_custom.export.engines import RUNTIMES
from tests.scoring import (
    EXAMPLES,
    assert_close_answers,
    assert_same_answers,
    make_rows,
    predict,
    save_trained,
    write_rows,
)
from tests.tiny import tiny_model, word_tokenizer

SCRIPT = str(EXAMPLES / "score_dataset.py")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return save_trained(tmp_path_factory.mktemp("trained"))


@pytest.fixture
def score(monkeypatch, tmp_path, model):
    """Score in this process, with defaults of the flags for tests."""

    def call(**flags: Any) -> pa.Table:
        import score_dataset

        given = {"model": model, "output": tmp_path / "out", "chunk_size": 10, **flags}
        arguments = [part for name, value in given.items() for part in (f"--{name}", str(value))]
        monkeypatch.setattr(sys, "argv", [SCRIPT, *arguments])
        score_dataset.main()
        assert json.loads((Path(given["output"]) / "_job.json").read_text())["complete"]
        assert not list(Path(given["output"]).glob(".*"))
        return pq.read_table(given["output"])

    return call


def begin(launcher: list[str], *flags: str) -> subprocess.Popen:
    """Start the script on its own, in a process group of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(EXAMPLES.parent)}
    command = [sys.executable, *launcher, SCRIPT, *flags]
    return subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def group_members(group: int) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.getpgid(int(folder.name)) == group and " Z " not in (folder / "stat").read_text():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


@pytest.mark.parametrize("task", ["multilabel", "multiclass"])
@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz", "rows.parquet"])
def test_rows_keep_their_order_and_columns_and_get_the_answers_of_the_slow_way(
    name, task, score, tmp_path
):
    trained, rows = save_trained(tmp_path / "model", task), make_rows(25)
    table = score(model=trained, input=write_rows(tmp_path / name, rows), batch_size=4)
    assert_same_answers(table, rows, predict(trained, rows))
    sizes = {
        path.name: pq.read_metadata(path).num_rows for path in (tmp_path / "out").glob("part*")
    }
    assert sizes == {
        f"part-00000-0000{chunk}.parquet": size for chunk, size in enumerate([10, 10, 5])
    }


def test_spans_may_be_pairs_and_files_may_differ_in_format_and_columns(score, tmp_path, model):
    rows = make_rows(24)
    pairs = [{**row, "spans": [[s["start"], s["end"]] for s in row["spans"]]} for row in rows]
    alone = score(input=write_rows(tmp_path / "pairs.jsonl", pairs), output=tmp_path / "pairs")
    assert (
        alone["predictions"].to_pylist()
        == score(input=write_rows(tmp_path / "objects.jsonl", rows), output=tmp_path / "objects")[
            "predictions"
        ].to_pylist()
    )

    parts = [rows[:8], [{**row, "more": {"x": 0.5}} for row in rows[8:16]], rows[16:]]
    (tmp_path / "in").mkdir()
    for part, name in zip(parts, ["a.jsonl", "b.parquet", "d.jsonl.gz"]):
        write_rows(tmp_path / "in" / name, part)
    write_rows(tmp_path / "in" / "c.jsonl", [])
    table = score(input=tmp_path / "in" / "*")
    assert table["id"].to_pylist() == list(range(24))
    assert table["more"].to_pylist() == [None] * 8 + [{"x": 0.5}] * 8 + [None] * 8
    assert_same_answers(table.drop_columns("more"), rows, predict(model, rows))


def test_columns_that_show_their_type_late_have_one_type_in_all_parts(score, tmp_path):
    rows = [{"text": "Ann", "spans": [], "n": n} for n in [None] * 10 + [1] * 10 + [1.5] * 10]
    rows[-1]["late"] = ["x"]
    table = score(input=write_rows(tmp_path / "rows.jsonl", rows))
    assert table["n"].to_pylist() == [row["n"] for row in rows]
    assert table["late"].to_pylist() == [None] * 29 + [["x"]]
    assert table["predictions"].to_pylist() == [[]] * 30
    schemas = {str(pq.read_schema(path)) for path in (tmp_path / "out").glob("part*")}
    assert len(schemas) == 1


@pytest.mark.parametrize(
    ("name", "format", "chosen"),
    [
        ("rows.conll.gz", "conll", "auto"),
        ("rows.conll", "conll", "conll"),
        ("folder", "brat", "auto"),
        ("data", "hugging-face", "hugging-face"),
        ("rows.json", "label-studio", "auto"),
        ("rows.txt", "jsonl", "jsonl"),
    ],
)
def test_files_of_other_formats_are_converted_once_and_scored_as_their_json_lines_are(
    name, format, chosen, score, tmp_path
):
    spans = [{"start": 0, "end": 3, "labels": ["a"]}, {"start": 10, "end": 14, "labels": ["b"]}]
    records = [
        {"id": str(n), "text": f"{word} likes Rome", "spans": spans}
        for n, word in enumerate(["Ann", "Bob", "the"] * 8)
    ]
    write_records(records, tmp_path / name, format)
    alone = score(input=write_rows(tmp_path / "rows.jsonl", records), output=tmp_path / "alone")
    table = score(input=tmp_path / name, format=chosen).sort_by("id")
    assert table["predictions"].null_count == 0
    columns = ["id", "text", "predictions"]
    assert table.select(columns).equals(alone.select(columns).sort_by("id"))

    converted = tmp_path / "out" / "_rows" / "part-00000-00001.parquet"
    before = converted.stat().st_mtime_ns
    (tmp_path / "out" / "part-00000-00001.parquet").unlink()
    assert score(input=tmp_path / name, format=chosen).sort_by("id").equals(table)
    assert converted.stat().st_mtime_ns == before
    with pytest.raises(ValueError, match="begun with another format"):
        score(input=tmp_path / name, format="doccano")


def test_records_that_a_format_or_the_job_cannot_hold_are_named(score, tmp_path, caplog):
    (tmp_path / "odd.conll").write_text("Ann B-a\nlikes I-b\nRome B-b\n")
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"Pass --format for other files"):
        score(input=tmp_path / "odd.conll")
    with pytest.raises(ValueError, match=r"odd.conll, line 2: A tag of BIO"):
        score(input=tmp_path / "odd.conll", format="conll")
    with pytest.raises(ValueError, match=r"one kind of records, got \['text with.*, 'table'\]"):
        score(input=tmp_path / "*.c*", format="auto", output=tmp_path / "both", on_error="skip")
    table = score(input=tmp_path / "odd.conll", format="conll", on_error="skip")
    assert [len(row) for row in table["predictions"].to_pylist()] == [2]
    assert "invalid BIO tag 1" in caplog.text


RECORDS = {
    "masks": [{"text": "[MASK] or [MASK]", "masks": [{"labels": None}] * 2}] * 3,
    "columns": [{"columns": [{"header": "a", "values": ["Ann", None], "labels": None}]}] * 3,
    "fields": [
        {"fields": [{"name": name, "value": value, "labels": None} for name, value in pairs]}
        for pairs in [[("who", "Ann"), ("fax", None)], [("where", "Rome")]]
    ],
}


@pytest.mark.parametrize("kind", RECORDS)
def test_records_of_any_kind_are_scored_as_the_pipeline_does(kind, score, tmp_path, model):
    write_records(RECORDS[kind], tmp_path / "rows.jsonl")
    table = score(input=tmp_path / "rows.jsonl", format="auto", chunk_size=2)
    expected = MaskedSeqClassificationPipeline.from_pretrained(model)(RECORDS[kind])
    assert_close_answers(table["predictions"].to_pylist(), expected)
    assert table.column_names == ["id", *RECORDS[kind][0], "predictions"]


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz", "rows.parquet"])
def test_an_empty_file_gives_an_empty_table(name, score, tmp_path):
    if name.endswith("parquet"):
        pq.write_table(pa.Table.from_pylist(make_rows(9)).slice(0, 0), tmp_path / name)
    else:
        write_rows(tmp_path / name, [])
    table = score(input=tmp_path / name)
    assert table.num_rows == 0
    assert {"text", "spans", "predictions"} <= set(table.column_names)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (
            {"text": "Ann", "spans": [{"start": 0, "end": 4}]},
            "Row 13 of .*rows.jsonl: Span 0 .* <= 3, .* characters",
        ),
        ({"text": "Ann", "spans": [[2, 1]]}, "Row 13 of .*: Span 0 .* start=2 and end=1"),
        ({"text": "Ann .", "spans": [[3, 4]]}, "Row 13 .* more than white space"),
        ({"text": "Ann", "spans": ["0-3"]}, "Row 13 .*: Span 0 .* must be"),
        ({"text": "Ann"}, "Row 13 .* `spans` must be a list"),
        ({"spans": []}, "Row 13 .* must have a string `text`"),
        ("Ann", "Row 13 .* must be a JSON object"),
    ],
)
def test_a_bad_row_is_named_before_anything_is_scored(bad, message, score, tmp_path):
    rows: list[Any] = make_rows(20)
    rows[12] = bad
    with pytest.raises(ValueError, match=message):
        score(input=write_rows(tmp_path / "rows.jsonl", rows))
    assert os.listdir(tmp_path / "out") == ["_job.lock"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "Ann", "spa', "Row 3 of .* must be a JSON object"),
        ('{"text": "Ann", "spans": [], "id": "three"}', "Row 3 of .* columns do not fit"),
        ('{"text": "Ann", "spans": [], "id": 3, "empty": {}}', "do not fit into one table"),
        ('{"text": "Ann", "spans": [], "predictions": 1}', "column 'predictions' already"),
    ],
)
def test_rows_that_do_not_fit_into_one_table_raise(line, message, score, tmp_path):
    file = write_rows(tmp_path / "rows.jsonl", make_rows(2))
    with open(file, "a") as end:
        end.write(line + "\n")
    with pytest.raises(ValueError, match=message):
        score(input=file)


def test_a_row_that_only_the_processor_cannot_prepare_is_named(score, tmp_path):
    trained = tmp_path / "model"
    tiny_model("bert", num_labels=4).save_pretrained(trained)
    MaskedSeqProcessor(word_tokenizer(), max_length=4, on_overflow="error").save_pretrained(trained)
    rows = [{"text": "Ann", "spans": [[0, 3]]} for _ in range(14)]
    rows[12] = {"text": "Ann sees Bob", "spans": [[9, 12]]}
    with pytest.raises(ValueError, match=r"Row 13 of .*rows.jsonl: .* 2 tokens fit"):
        score(model=trained, input=write_rows(tmp_path / "rows.jsonl", rows))


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.parquet"])
def test_skipped_rows_say_why_and_the_others_get_their_answers(
    name, score, tmp_path, model, capsys
):
    rows = make_rows(25)
    for index, span in ((3, (0, 999)), (12, (2, 1)), (24, (-1, 2))):
        rows[index]["spans"] = [dict(zip(("start", "end"), span))]
    file = write_rows(tmp_path / name, rows)
    table = score(input=file, on_error="skip")
    assert "25 rows in 3 parts" in (printed := capsys.readouterr().out)
    assert "3 of them could not be scored" in printed
    bad = {i: error for i, error in enumerate(table["error"].to_pylist()) if error is not None}
    assert sorted(bad) == [3, 12, 24]
    assert all(f"Row {i + 1} of {file}: Span 0" in error for i, error in bad.items())
    assert [i for i, row in enumerate(table["predictions"].to_pylist()) if row is None] == [*bad]
    good = pa.array([i not in bad for i in range(25)])
    rest = [row for i, row in enumerate(rows) if i not in bad]
    assert_same_answers(table.filter(good).drop_columns("error"), rest, predict(model, rest))
    assert table.drop_columns(["error", "predictions"]).to_pylist() == rows

    (tmp_path / "out" / "part-00000-00001.parquet").unlink()
    assert score(input=file, on_error="skip").equals(table)


@pytest.mark.parametrize("task", ["multilabel", "multiclass"])
def test_a_dropped_span_has_no_labels_and_a_rejected_class_no_name(task, score, tmp_path):
    label2id = {"a": 0, "b": 1}
    settings = {"label2id": label2id, "task": task, "on_overflow": "drop", "max_length": 4}
    MaskedSeqProcessor(word_tokenizer(), **settings).save_pretrained(tmp_path / "model")
    config = {"label2id": label2id, "task": task, "thresholds": 0.99}
    tiny_model("bert", num_labels=2, **config).save_pretrained(tmp_path / "model")
    rows = [{"text": "Ann sees Bob", "spans": [[0, 3], [9, 12]]}]
    table = score(model=tmp_path / "model", input=write_rows(tmp_path / "rows.jsonl", rows))
    ((near, far),) = table["predictions"].to_pylist()
    assert far == {"start": 9, "end": 12, "word": "Bob", "labels": None}
    assert [label["label"] for label in near["labels"]] == [None] * (task == "multiclass")


def test_only_missing_parts_are_scored_again(score, tmp_path):
    file = write_rows(tmp_path / "rows.jsonl", make_rows(30))
    before = score(input=file)
    parts = sorted((tmp_path / "out").glob("part*"))
    times = [path.stat().st_mtime_ns for path in parts]
    parts[1].unlink()
    assert score(input=file, batch_size=32).equals(before)
    assert [path.stat().st_mtime_ns == t for path, t in zip(parts, times)] == [True, False, True]


def test_another_input_model_or_chunk_size_raises(score, tmp_path, model):
    file = write_rows(tmp_path / "rows.jsonl", make_rows(12))
    score(input=file)
    with pytest.raises(ValueError, match="begun with another chunk_size"):
        score(input=file, chunk_size=5)
    with pytest.raises(ValueError, match="begun with another model"):
        score(input=file, model=save_trained(tmp_path / "model", "multiclass"))
    changed = make_rows(12)
    changed[5]["id"] = 77
    write_rows(tmp_path / "rows.jsonl", changed)
    with pytest.raises(ValueError, match="begun with another input"):
        score(input=file)
    pq.write_table(pa.table({"x": [1]}), tmp_path / "other.parquet")
    with pytest.raises(ValueError, match="holds Parquet files of something else"):
        score(input=file, output=tmp_path)
    with pytest.raises(ValueError, match="must match files"):
        score(input=tmp_path / "none*.jsonl")


def test_two_workers_killed_in_mid_run_and_resumed_give_what_one_gives(
    score, tmp_path, model, capsys
):
    file, out = write_rows(tmp_path / "rows.jsonl", make_rows(600)), tmp_path / "killed"
    alone = score(input=file, chunk_size=5)
    flags = ["--model", model, "--input", file, "--output", str(out), "--chunk_size", "5"]
    flags += ["--num_workers", "2"]
    run = begin([], *flags)
    while len(list(out.glob("part*"))) < 3:
        assert run.poll() is None, run.stderr.read()
        time.sleep(0.002)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    while group_members(run.pid):  # its workers end with it
        time.sleep(0.05)
    kept = {path.name: path.stat().st_mtime_ns for path in out.glob("part*")}
    assert 3 <= len(kept) < 120
    assert not json.loads((out / "_job.json").read_text())["complete"]

    resumed = score(input=file, output=out, chunk_size=5, num_workers=2)
    assert resumed.equals(alone)
    assert f"{5 * len(kept)}/600" in capsys.readouterr().err  # the bar counts what was there
    assert kept == {name: (out / name).stat().st_mtime_ns for name in kept}


def test_a_worker_that_dies_ends_the_run_with_a_way_out(score, tmp_path, monkeypatch):
    import score_dataset

    class Broken:
        def __init__(self, *args: Any) -> None:
            raise score_dataset.BrokenProcessPool

    monkeypatch.setattr(score_dataset, "ProcessPoolExecutor", Broken)
    with pytest.raises(SystemExit, match="Run the command again"):
        score(input=write_rows(tmp_path / "rows.jsonl", make_rows(3)), num_workers=2)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_an_exported_graph_scores_in_its_runtime(runtime, score, tmp_path, model):
    for name in ("onnx", "onnxscript", runtime):
        pytest.importorskip(name)
    processor = MaskedSeqProcessor.from_pretrained(model)
    graph = tmp_path / "graph"
    export_onnx(AutoModelForMaskedSeqModeling.from_pretrained(model), graph, processor=processor)
    rows = make_rows(25)
    file = write_rows(tmp_path / "rows.jsonl", rows)
    table = score(model=graph, input=file, runtime=runtime)
    assert_same_answers(table, rows, predict(model, rows))
    with pytest.raises(ValueError, match="begun with another runtime"):
        score(model=graph, input=file)
    with pytest.raises(TypeError, match=r"\['runtime'\] are for the folder of an exported graph"):
        score(model=model, input=file, runtime=runtime, output=tmp_path / "other")


def test_two_processes_of_accelerate_share_the_parts(score, tmp_path, model):
    file, out = write_rows(tmp_path / "rows.jsonl", make_rows(60)), tmp_path / "shared"
    flags = ["--model", model, "--input", file, "--output", str(out), "--chunk_size", "10"]
    launcher = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    launcher += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    run = begin([*launcher, "--main_process_port", "0"], *flags)
    _, printed = run.communicate()
    assert run.returncode == 0, printed
    assert "30/30" in printed
    assert pq.read_table(out).equals(score(input=file))
