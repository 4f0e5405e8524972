"""Two processes train and evaluate as one does: same update, same loss, every position once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.one_step import build, parameters, train

ROOT = Path(__file__).parent.parent
TORCHRUN = ["torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
# Its `--multi_gpu` is torchrun; the script itself stays on the CPU.
ACCELERATE = ["accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
ACCELERATE += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
ACCELERATE += ["--main_process_port", "0"]


def launch(launcher: list[str], folder: Path, *arguments: str) -> tuple[torch.Tensor, dict]:
    folder.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", *launcher, "-m", "tests.one_step", str(folder), *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return torch.load(folder / "after.pt"), json.loads((folder / "log.json").read_text())


@pytest.mark.parametrize("launcher", [TORCHRUN, ACCELERATE], ids=["torchrun", "accelerate"])
@pytest.mark.parametrize("task", ["multilabel", "multiclass"])
def test_two_processes_make_the_same_step_as_one(task, launcher, tmp_path):
    alone = train(tmp_path / "alone", task, 16, 1)
    after, log = launch(launcher, tmp_path / "two", task, "4", "2", "uneven")
    assert log["processes"] == 2
    update = (parameters(alone.model) - parameters(build(task))).abs().max()
    assert (after - parameters(alone.model)).abs().max() < 1e-6 * update
    assert log["loss"] == pytest.approx(alone.state.log_history[0]["loss"], abs=1e-4)
    evaluated = alone.evaluate()
    for name in ("eval_num_positions", "eval_loss"):
        assert log[name] == pytest.approx(evaluated[name], rel=1e-5)


def test_two_processes_with_whole_rows_ignored_make_the_same_step_as_one(tmp_path):
    alone = train(tmp_path / "alone", "multilabel", 16, 1, ["ignored"])
    after, _ = launch(TORCHRUN, tmp_path / "two", "multilabel", "2", "4", "ignored")
    update = (parameters(alone.model) - parameters(build("multilabel"))).abs().max()
    assert (after - parameters(alone.model)).abs().max() < 1e-6 * update


@pytest.mark.parametrize("task", ["multilabel", "multiclass"])
def test_two_processes_tune_the_thresholds_of_one(task, tmp_path):
    alone = train(tmp_path / "alone", task, 16, 1, ["tuned"]).model.config.thresholds
    _, log = launch(TORCHRUN, tmp_path / "two", task, "4", "2", "tuned")
    one, two = log["thresholds"]
    assert one == two == pytest.approx(alone, rel=1e-6)
    assert alone not in (0.0, [0.5] * 4)
