"""Compute all that a report shows, as plain values: the content of report.json.

Scored + records  ->  {"overall": [...], "labels": [...], "slices": [...], "cases": [...], ...}
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..evaluation.baselines import look_up, most_frequent
from ..evaluation.stat_scores import (
    MEASURES,
    count,
    label_f1,
    measures,
    precision_recall_f1,
    tally,
)
from .bootstrap import interval, resample
from .cases import choose, describe, kinds_of
from .collect import Place, Scored, one_hot
from .confusions import confusions
from .curves import precision_recall_curve, reliability_figures
from .slices import Slice


class Draws(NamedTuple):
    """The resampling of documents: the document id per position ``(P,)``, the draws, the seed."""

    documents: np.ndarray
    resamples: int
    seed: int

    def of(self, true: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the sums of counts over all documents ``(K,)``, and of each draw ``(R, K)``."""
        counts = count(true, predicted, self.documents)
        return counts.sum(axis=0), resample(counts, self.resamples, self.seed)


def baselines(scored: Scored, train: Sequence[Place]) -> dict[str, np.ndarray]:
    """Return what each baseline predicts, bool ``(P, L)``, by its name.

    Args:
        scored: the positions to predict.
        train: those of the training data that have labels.
    """
    strings = [[place.string] for place in train]
    sets = [frozenset(place.labels or ()) for place in train]
    predictions = {
        "look-up": look_up(strings, sets, [[place.string] for place in scored.places]),
        "most frequent": [most_frequent(sets)] * len(scored.places),
    }
    names = scored.names
    return {system: one_hot(predicted, names) for system, predicted in predictions.items()}


def overall_figures(
    scored: Scored, draws: Draws, predictions: Mapping[str, np.ndarray]
) -> list[dict[str, Any]]:
    """Return the main measures with intervals, beside those of the baselines."""
    task = scored.rule.task
    systems = {"": scored.predicted, **predictions}
    rows: dict[str, list[dict[str, Any]]] = {key: [] for key in MEASURES[task]}
    for system, predicted in systems.items():
        total, drawn = draws.of(scored.true, predicted)
        values, spread = measures(tally(total), task), measures(tally(drawn), task)
        for key in rows:
            [found] = interval(spread[key][:, None])
            rows[key].append({"name": system, "value": float(values[key]), **_ends(found)})
    if task == "multiclass" and not scored.rule.thresholds:
        del rows["coverage"]  # of a model that rejects nothing
    return [
        {
            "measure": key,
            **first,
            "name": MEASURES[task][key],
            "baselines": [] if key == "coverage" else rest,
        }
        for key, (first, *rest) in rows.items()
    ]


def label_figures(scored: Scored, draws: Draws) -> list[dict[str, Any]]:
    """Return precision, recall, F1, support, threshold and curves of each label."""
    total, drawn = draws.of(scored.true, scored.predicted)
    one = tally(total)
    scores = precision_recall_f1(one.hits, one.predicted, one.support)
    intervals = interval(label_f1(tally(drawn)))
    thresholds = label_thresholds(scored)
    rows = []
    for index, name in enumerate(scored.names):
        true, chances = scored.true[:, index], scored.probabilities[:, index]
        rows.append(
            {
                "label": name,
                "support": int(one.support[index]),
                "predicted": int(one.predicted[index]),
                **{key: float(values[index]) for key, values in scores.items()},
                **_ends(intervals[index]),
                "threshold": thresholds[index],
                "curve": precision_recall_curve(true, chances),
                "reliability": reliability_figures(chances, true),
            }
        )
    return rows


def label_thresholds(scored: Scored) -> list[float | None]:
    """Return the probability from which each label holds; None where the top one is taken."""
    rule = scored.rule
    limits = np.broadcast_to(rule.limits, len(scored.names)).tolist()
    is_set = rule.task == "multilabel" and rule.thresholds is not None  # else 0 rejects nothing
    return [limit if is_set else limit or None for limit in limits]


def calibration_figures(scored: Scored) -> dict[str, Any]:
    """Return the reliability over all labels; for "multiclass" of the top class."""
    if scored.rule.task == "multilabel":
        return reliability_figures(scored.probabilities, scored.true)
    top = scored.probabilities.argmax(axis=1)
    rows = np.arange(len(top))
    return reliability_figures(scored.probabilities[rows, top], scored.true[rows, top])


def confusion_figures(scored: Scored) -> dict[str, Any]:
    """Return which labels are taken for which, with "nothing" as the last row and column."""
    matrix = confusions(scored.true, scored.predicted, scored.rule.group_ids)
    return {"names": [*scored.names, "nothing"], "counts": matrix.tolist()}


def slice_figures(scored: Scored, draws: Draws, slices: Sequence[Slice]) -> list[dict[str, Any]]:
    """Return the main measure of each group of each slice."""
    task = scored.rule.task
    key = next(iter(MEASURES[task]))
    rows = []
    for name, groups, members in slices:
        figures = []
        for number, group in enumerate(groups):
            chosen = np.flatnonzero(members == number)
            documents = np.unique(draws.documents[chosen], return_inverse=True)
            part = draws._replace(documents=documents[1])
            total, drawn = part.of(scored.true[chosen], scored.predicted[chosen])
            [found] = interval(measures(tally(drawn), task)[key][:, None])
            figures.append(
                {
                    "group": group,
                    "positions": len(chosen),
                    "documents": len(documents[0]),
                    "value": float(measures(tally(total), task)[key]),
                    **_ends(found),
                }
            )
        rows.append({"slice": name, "groups": figures})
    return rows


def case_figures(
    scored: Scored,
    ids: Sequence[str],
    changes: Sequence[str | None],
    other: np.ndarray | None,
    max_cases: int,
    seed: int,
) -> dict[str, Any]:
    """Return the positions to show, and how many there are of each kind in all."""
    kinds = kinds_of(scored.true, scored.predicted)
    chosen = choose(scored, changes, max_cases, seed)
    rows = [describe(scored, i, ids, kinds[i], changes[i], other) for i in chosen]
    return {
        "of": len(kinds),
        "kinds": dict(Counter(kinds)),
        "shown_kinds": dict(Counter(row["kind"] for row in rows)),
        "rows": rows,
    }


def position_figures(scored: Scored) -> dict[str, list[Any]]:
    """Return for each position its record, its number there, true and predicted labels as ids."""
    return {
        "record": [place.record for place in scored.places],
        "number": [place.number for place in scored.places],
        "true": [np.flatnonzero(row).tolist() for row in scored.true],
        "predicted": [np.flatnonzero(row).tolist() for row in scored.predicted],
    }


def _ends(found: tuple[float, float] | None) -> dict[str, float | None]:
    low, high = found or (None, None)
    return {"low": low, "high": high}
