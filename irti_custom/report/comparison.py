"""Compare a model with another one on the same positions.

    Scored + a model, or the report.json of one  ->  differences with intervals

Both are counted on the same draws of documents, so that what makes a document hard for both does
not blur their difference.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..evaluation.stat_scores import MEASURES, count, label_f1, measures, tally
from ..inference.predictions import Predictions
from .bootstrap import interval, resample
from .cases import CHANGES
from .collect import ModelInput, Records, Scored, collect, digest_of, predictions_of


class Other(NamedTuple):
    """Another model's decisions at the same positions: its name, and bool ``(P, L)``."""

    name: str
    predicted: np.ndarray


def other_decisions(
    compare: ModelInput, scored: Scored, predictions: Predictions, records: Records | None
) -> Other:
    """Get the decisions of another model, with labels in the order of this one.

    Args:
        compare: a ``report.json``, predictions, or a model: a folder, a Hub id or a pipeline.
        scored: the positions of this model.
        predictions: of this model.
        records: that a model answers; None where only predictions are given.

    Raises:
        ValueError: a report of other data or of another format; a model for another task, with
            other labels, or that drops other positions.
    """
    if isinstance(compare, (str, os.PathLike)) and os.fspath(compare).endswith(".json"):
        report = _read(compare)
        model, positions = report["model"], report["positions"]
        order = _order_of_labels(model["task"], model["labels"], scored)
        if report["data"]["digest"] != digest_of(predictions):
            raise ValueError(
                f"{os.fspath(compare)} is a report on other records: their texts, positions or "
                "labels differ. Give the folder of its model, which is then run on these records."
            )
        name, places = model["name"], list(zip(positions["record"], positions["number"]))
        predicted = np.zeros((len(places), len(order)), dtype=bool)
        for row, ids in enumerate(positions["predicted"]):
            predicted[row, ids] = True
    else:
        others = predictions_of(compare, records)
        order = _order_of_labels(others.rule.task, list(others.rule.label_names or ()), scored)
        if digest_of(others) != digest_of(predictions):
            raise ValueError("`compare` must be predictions of the same records, got others.")
        other = collect(others)
        name, places = other.name, [place[:2] for place in other.places]
        predicted = other.predicted
    if places != [place[:2] for place in scored.places]:
        raise ValueError(
            f"`compare` must score the same positions as the model, {len(scored.places)}, got "
            f"{len(places)}: on_overflow='drop' leaves out others. Use on_overflow='window'."
        )
    return Other(name, predicted[:, order])


def _order_of_labels(task: str, labels: Sequence[str], scored: Scored) -> list[int]:
    """Return where the other model has each label of this one."""
    names = scored.names
    if task != scored.rule.task or sorted(labels) != sorted(names):
        raise ValueError(
            f"`compare` must have the task and the labels of the model, {scored.rule.task!r} and "
            f"{names}, got {task!r} and {labels}."
        )
    return [list(labels).index(label) for label in names]


def compare_figures(
    scored: Scored,
    other: Other,
    changes: Sequence[str | None],
    documents: np.ndarray,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Return the differences between two models, this one less the other.

    Args:
        scored: this one.
        other: the other one.
        changes: from `changes_of`.
        documents: ``(P,)``, ids 0 to D - 1.
        resamples: how many.
        seed: of the draws.
    """
    task = scored.rule.task
    both = [count(scored.true, one, documents) for one in (scored.predicted, other.predicted)]
    values = [measures(tally(counts.sum(axis=0)), task) for counts in both]
    drawn = [tally(resample(counts, resamples, seed)) for counts in both]
    spread = [measures(total, task) for total in drawn]
    rows = []
    for key, name in MEASURES[task].items():
        differences = spread[0][key] - spread[1][key]
        better = np.mean((differences > 0) + (differences == 0) / 2) if resamples else np.nan
        rows.append(
            {
                "measure": key,
                "name": name,
                **_difference(values[0][key], values[1][key], differences),
                "better": None if not differences.size else float(better),
            }
        )
    f1, f1_drawn = [label_f1(tally(c.sum(axis=0))) for c in both], list(map(label_f1, drawn))
    labels = [
        {"label": name, **_difference(f1[0][i], f1[1][i], f1_drawn[0][:, i] - f1_drawn[1][:, i])}
        for i, name in enumerate(scored.names)
    ]
    counted = Counter(changes)
    return {
        "name": other.name,
        "measures": rows,
        "labels": labels,
        "positions": {change: counted[change] for change in CHANGES},
    }


def _difference(
    value: np.ndarray, other: np.ndarray, differences: np.ndarray
) -> dict[str, float | None]:
    [found] = interval(differences[:, None])
    low, high = found or (None, None)
    one, two = float(value), float(other)
    numbers = {"value": one, "other": two, "difference": one - two}
    known = {key: None if np.isnan(number) else number for key, number in numbers.items()}
    return {**known, "low": low, "high": high}


def _read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a report.json.

    Raises:
        ValueError: another file.
    """
    with open(path, encoding="utf-8") as file:
        try:
            report = json.load(file)
        except ValueError as error:
            raise ValueError(f"{os.fspath(path)} is no JSON: {error}.") from error
    keys = {"model", "data", "positions"}
    if not isinstance(report, dict) or not keys <= report.keys():
        raise ValueError(
            f"{os.fspath(path)} must be the report.json that write_report writes, and lacks "
            f"{sorted(keys.difference(report)) if isinstance(report, dict) else sorted(keys)}."
        )
    return report
