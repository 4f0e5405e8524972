"""Host side: what our pipeline costs beyond the model, on the batches that it makes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from cases import Batch, Case, by_length, in_batches
from inference import PYTORCH
from timing import Timer, print_table, ratio

from irti_custom import DataCollatorForMaskedSeq
from irti_custom.inference.components import OnnxModule
from irti_custom.processing.rows import rows_of


def report_host(case: Case, timer: Timer) -> None:
    """Print the cost of each part in percent of the bare model, in each runtime and precision."""
    models: dict[str, Any] = {PYTORCH: case.model}
    for (runtime, precision), graph in case.graphs.items():
        models[f"ours, {runtime} {precision}"] = graph
    collator = DataCollatorForMaskedSeq(case.processor, model=case.model)
    rows = by_length(rows_of(case.processor.prepare(case.inputs).rows))
    calls: dict[str, Callable[[], object]] = {
        "processor": lambda: case.processor.prepare(case.inputs),
        "collator": lambda: [collator(part) for part in in_batches(rows)],
    }
    for name, model in models.items():
        calls[f"pipeline {name}"], calls[f"bare {name}"] = with_and_without(case, model)
    seconds = timer.interleave(calls)
    lines = []
    for name in models:
        bare = seconds[f"bare {name}"]
        parts = [ratio(seconds[part], bare, 100) for part in ("processor", "collator")]
        whole = ratio(seconds[f"pipeline {name}"] - bare, bare, 100)
        lines.append([name, *parts, whole])
    print_table(
        f"Host side, {case.name}: {len(case.test)} texts ({case.source}), % of the bare model",
        ["", "processor", "collator", "all that the pipeline adds"],
        lines,
    )


def with_and_without(case: Case, model: Any) -> tuple[Callable[[], object], Callable[[], object]]:
    """Return a call of the pipeline, and one of the model on the batches of such a call."""
    module = OnnxModule.around(model)
    call, batches = case.pipeline(module), []

    def record(module: Any, args: tuple, kwargs: Batch) -> None:
        batches.append({name: value for name, value in kwargs.items() if name != "return_dict"})

    hook = module.register_forward_pre_hook(record, with_kwargs=True)
    call()
    hook.remove()

    def bare() -> None:
        with torch.inference_mode():
            for batch in batches:
                module(**batch)

    return call, bare
