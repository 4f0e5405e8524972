"""Inference: positions per second of our pipeline, beside what a user would pick instead."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from cases import BATCH_SIZE, Case, by_length
from peers import AS_IT_COMES, BY_HAND, Peer, peers
from timing import Timer, print_table, ratio

from irti_custom.export.changes import Scored, measure, score_rows

PYTORCH = "ours, PyTorch float32"
AUTOCAST = "ours, PyTorch bfloat16, autocast"


class InBfloat16:
    """The model under autocast, as `score_rows` and a pipeline's caller use it."""

    def __init__(self, model: Any) -> None:
        self.model, self.config = model, model.config

    def __call__(self, **batch: torch.Tensor) -> SimpleNamespace:
        """Return ``logits`` in float32."""
        with torch.autocast("cpu", torch.bfloat16):
            return SimpleNamespace(logits=self.model(**batch).logits.float())


def under_autocast(call: Callable[[], object]) -> Callable[[], object]:
    def wrapped() -> object:
        with torch.autocast("cpu", torch.bfloat16):
            return call()

    return wrapped


def report_inference(case: Case, timer: Timer, bfloat16: bool) -> None:
    """Print a table of speeds and, for a trained model, of what changes."""
    models: dict[str, Any] = {PYTORCH: case.model}
    if bfloat16:
        models[AUTOCAST] = InBfloat16(case.model)
    for (runtime, precision), graph in case.graphs.items():
        models[f"ours, {runtime} {precision}"] = graph
    count = case.num_positions
    contenders = peers(case)
    for name, model in models.items():
        call = case.pipeline(case.model if name == AUTOCAST else model)
        contenders[name] = Peer(under_autocast(call) if name == AUTOCAST else call, count)
    seconds = timer.interleave({name: peer.call for name, peer in contenders.items()})

    changes = count_changes(case, models) if case.trained else {}
    score = "micro-F1" if case.model.config.task == "multilabel" else "accuracy"
    columns = ["", "× by hand", "× stock pipeline"]
    columns += ["decisions changed", score] if changes else []
    rows = []
    for name, peer in contenders.items():
        speeds = [
            ratio(seconds[base], seconds[name], peer.num_positions / count)
            for base in (BY_HAND, AS_IT_COMES)
        ]
        rows.append([name, *speeds, *changes.get(name, ("", "") if changes else ())])
    head = "a trained model" if case.trained else "a random head"
    texts = f"{len(case.test)} texts ({case.source})"
    print_table(f"Inference, {case.name}, {head}: {texts}, {count} positions", columns, rows)


def count_changes(case: Case, models: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Return the share of changed decisions and the score of each, from the texts to score."""
    rows = by_length(case.rows(case.test))
    scored: dict[str, Scored] = {}
    with torch.inference_mode():
        for name, model in models.items():
            scored[name] = score_rows(model, rows, case.processor.tokenizer, BATCH_SIZE)
    cells = {}
    for name, found in scored.items():
        report = measure(scored[PYTORCH], found, case.model.config, "", "", 0)
        cells[name] = (f"{100 * report.changed_decisions:.2f} %", f"{report.score:.4f}")
    return cells
