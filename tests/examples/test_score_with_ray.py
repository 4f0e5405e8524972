"""The same scoring on a local Ray: equal answers, also when an actor is killed in mid-job."""

from __future__ import annotations

import os
import secrets
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

from tests.scoring import (
    EXAMPLES,
    assert_same_answers,
    make_rows,
    predict,
    save_trained,
    write_rows,
)

ray = pytest.importorskip("ray")


@pytest.fixture(scope="module")
def _cluster() -> Iterator[None]:
    """Two processors, nothing shown, nothing written to the home folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        patch.setenv("PYTHONPATH", os.pathsep.join([str(EXAMPLES.parent), str(EXAMPLES)]))
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
        yield
        ray.shutdown()


def actors() -> list[psutil.Process]:
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if "MapWorker" in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def kill_one(out: Path, killed: list[tuple[int, int]], over: threading.Event) -> None:
    """Kill an actor once a few parts are written; note its id, and how many parts there are."""
    while not over.wait(0.005):
        parts = len(list(out.glob("part*")))
        if parts >= 3 and (found := actors()):
            os.kill(found[0].pid, signal.SIGKILL)
            killed.append((found[0].pid, parts))
            return


@pytest.mark.usefixtures("_cluster")
def test_two_actors_of_which_one_is_killed_give_what_one_process_gives(monkeypatch, tmp_path):
    import score_dataset
    import score_with_ray

    model, file = save_trained(tmp_path / "model"), tmp_path / "rows.jsonl.gz"
    rows = make_rows(600)
    rows[7]["spans"] = [{"start": 0, "end": 999}]
    flags = ["--model", model, "--input", write_rows(file, rows), "--chunk_size", "5"]
    flags += ["--on_error", "skip"]
    over = threading.Event()
    for script, name in ((score_dataset, "alone"), (score_with_ray, "ray")):
        killed: list[tuple[int, int]] = []
        out = tmp_path / name
        if name == "ray":
            killer = threading.Thread(target=kill_one, args=(out, killed, over))
            killer.start()
        monkeypatch.setattr(sys, "argv", [name, *flags, "--output", str(out)])
        try:
            script.main()
        finally:
            if name == "ray":
                over.set()
    killer.join()
    ((pid, parts),) = killed
    assert not psutil.pid_exists(pid)
    assert parts < 120
    table = pq.read_table(tmp_path / "ray")
    assert table["error"].null_count == 599
    assert table.equals(pq.read_table(tmp_path / "alone"))


@pytest.mark.usefixtures("_cluster")
def test_the_scorer_works_in_a_ray_pipeline_of_your_own(tmp_path):
    from irti_custom.scoring.table_scorer import TableScorer

    model, rows = save_trained(tmp_path / "model"), make_rows(40)
    texts = ray.data.read_parquet(write_rows(tmp_path / "rows.parquet", rows))
    scored = texts.map_batches(
        TableScorer,
        fn_constructor_args=[model],
        batch_format="pyarrow",
        batch_size=10,
        compute=ray.data.ActorPoolStrategy(size=1),  # the other processor reads and writes
    )
    scored.write_parquet(str(tmp_path / "out"))
    table = pq.read_table(tmp_path / "out").sort_by("id")
    assert_same_answers(table, rows, predict(model, rows))


@pytest.mark.usefixtures("_cluster")
def test_actors_score_a_file_of_another_format(monkeypatch, tmp_path):
    import score_with_ray

    (tmp_path / "a.conll").write_text("Ann B-a\nlikes O\nRome B-b\n\n" * 8)
    flags = {"model": save_trained(tmp_path / "model"), "input": tmp_path / "a.conll"}
    flags |= {"output": tmp_path / "out", "format": "auto", "chunk_size": 4, "num_workers": 1}
    arguments = [part for name, value in flags.items() for part in (f"--{name}", str(value))]
    monkeypatch.setattr(sys, "argv", ["score_with_ray.py", *arguments])
    score_with_ray.main()
    predictions = pq.read_table(tmp_path / "out")["predictions"].to_pylist()
    assert [[one["word"] for one in row] for row in predictions] == [["Ann", "Rome"]] * 8
