"""Measure what a temperature, promised thresholds and sets of classes are worth on a test set.

    python benchmarks/calibration.py DATA/gum_entities --models seed0 seed1 seed2

All are fitted on the validation file and measured on the test file. Each model is a folder that
`examples/finetune.py` wrote; the tables hold the mean over models, with the lowest and highest.
"""

from __future__ import annotations

import argparse
import itertools
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from irti_custom import (
    AutoModelForMaskedSeqModeling,
    MaskedSeqModelingConfig,
    MaskedSeqProcessor,
    fit_set_threshold,
    fit_temperature,
    make_compute_metrics,
    predict_sets,
    read_records,
    tune_thresholds,
)
from irti_custom.evaluation.calibration import expected_calibration_error
from irti_custom.export.changes import score_rows


class Positions(NamedTuple):
    """The positions of a file."""

    logits: np.ndarray  # (P, L)
    labels: np.ndarray  # (P, L) or (P,)


ENOUGH = 50  # positions on test that have the label, or are predicted to have it
SCORES = {"multilabel": ("micro_f1", "macro_f1"), "multiclass": ("accuracy", "macro_f1")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with validation and test files")
    parser.add_argument("--models", nargs="+", required=True, help="one folder per seed")
    parser.add_argument("--at_least", type=float, default=0.95, help="what is promised")
    arguments = parser.parse_args()
    logging.getLogger("irti_custom").setLevel(logging.ERROR)  # labels that keep no promise
    files = [next(arguments.data.glob(f"{name}*")) for name in ("validation", "test")]
    tables: dict[str, dict[str, list[dict[str, float]]]] = {}
    for folder in arguments.models:
        config, (validation, test) = scored(folder, files)
        measured = {
            "Calibration": calibrated(config, validation, test),
            "Promises": promised(config, validation, test, arguments.at_least),
            "Promises, positions of both files shuffled": promised(
                config, *shuffled(validation, test), arguments.at_least
            ),
        }
        for title, rows in measured.items():
            for name, row in rows.items():
                tables.setdefault(title, {}).setdefault(name, []).append(row)
    for title, table in tables.items():
        print(f"\n### {title}: {arguments.data.name}, {len(arguments.models)} models\n")
        print_table(table)


def scored(folder: str, files: Sequence[Path]) -> tuple[MaskedSeqModelingConfig, list[Positions]]:
    """Score all positions of the files."""
    model = AutoModelForMaskedSeqModeling.from_pretrained(folder).eval()
    processor = MaskedSeqProcessor.from_pretrained(folder)
    splits = []
    for file in files:
        records = read_records(str(file))
        labels = [[span["labels"] for span in spans] for spans in records["spans"]]
        columns = processor.encode_spans(list(records["text"]), list(records["spans"]), labels)
        rows = [dict(zip(columns, values)) for values in zip(*columns.values())]
        with torch.inference_mode():
            found = score_rows(model, rows, processor.tokenizer, batch_size=32)
        splits.append(Positions(found.logits, np.asarray(found.labels)))
    return model.config, splits


def calibrated(
    config: MaskedSeqModelingConfig, validation: Positions, test: Positions
) -> dict[str, dict[str, float]]:
    """Measure a model as it comes, with one temperature, and with one per label."""
    rows: dict[str, dict[str, float]] = {}
    task = config.task
    temperatures: dict[str, float | list[float] | None] = {
        "as trained": None,
        "one": fit_temperature(*validation, config),
    }
    if task == "multilabel":
        temperatures["per label"] = fit_temperature(*validation, config, per_label=True)
    for name, temperature in temperatures.items():
        one = MaskedSeqModelingConfig.from_dict(config.to_dict())
        one.set_temperature(temperature)
        metrics = make_compute_metrics(one)((test.logits[None], test.labels[None]))
        chances = one.rule.probabilities(torch.tensor(test.logits)).numpy()
        row = {key: metrics[key] for key in ("ece", "brier", "loss", *SCORES[task])}
        if task == "multilabel":
            each = [expected_calibration_error(x, y) for x, y in zip(chances.T, test.labels.T)]
            row["ece, mean of labels"] = float(np.mean(each))
        before, after = (c.rule.decide(torch.tensor(test.logits)) for c in (config, one))
        row["decisions changed"] = float((before != after).double().mean())
        row["temperature"] = float(np.median(1.0 if temperature is None else temperature))
        rows[name] = row
    return rows


def promised(
    config: MaskedSeqModelingConfig, validation: Positions, test: Positions, at_least: float
) -> dict[str, dict[str, float]]:
    """Measure promises that were made on validation data."""
    rows: dict[str, dict[str, float]] = {}
    task = config.task
    measures = ("recall", "precision") if task == "multilabel" else ("precision",)
    for measure, confidence in itertools.product(measures, (None, "marginal", 0.9)):
        if (measure, confidence) == ("precision", "marginal"):
            continue  # there is no such promise
        thresholds = tune_thresholds(
            *validation,
            config,
            objective=measure,
            at_least=at_least,
            confidence=confidence,
        )
        decided = config.rule.with_(thresholds=thresholds).decide(torch.tensor(test.logits)).numpy()
        name = f"{measure} {at_least:g}" + ("" if confidence is None else f", {confidence}")
        if task == "multiclass":
            kept = decided >= 0
            right = float((decided == test.labels)[kept].mean())
            rows[name] = {"precision": right, "coverage": float(kept.mean())}
        else:
            rows[name] = kept_share(decided, test.labels == 1, measure, at_least)
    for confidence in ("marginal", 0.9) if task == "multiclass" else ():
        threshold = fit_set_threshold(*validation, at_least, confidence)
        sets = predict_sets(test.logits, threshold)
        rows[f"sets {at_least:g}, {confidence}"] = {
            "set holds the class": float(sets[np.arange(len(sets)), test.labels].mean()),
            "classes in a set": float(sets.sum(axis=1).mean()),
        }
    return rows


def shuffled(validation: Positions, test: Positions) -> tuple[Positions, Positions]:
    """Exchange positions between two files, so that they are exchangeable."""
    size = len(validation.labels)
    order = np.random.default_rng(0).permutation(size + len(test.labels))
    logits, labels = (np.concatenate(pair)[order] for pair in zip(validation, test))
    return Positions(logits[:size], labels[:size]), Positions(logits[size:], labels[size:])


def kept_share(
    decided: np.ndarray, true: np.ndarray, measure: str, at_least: float
) -> dict[str, float]:
    """Measure a promise that was made to each label ``(P, L)``, where there is enough to see it."""
    hits, predicted, support = (x.sum(axis=0) for x in (decided & true, decided, true))
    whole = support if measure == "recall" else predicted
    shares = (hits / np.maximum(whole, 1))[whole >= ENOUGH]
    return {
        "recall": hits.sum() / support.sum(),
        "precision": hits.sum() / predicted.sum(),
        "labels seen": float(len(shares)),
        "mean of labels": float(shares.mean()),
        "labels that keep it": float((shares >= at_least).mean()),
    }


def print_table(table: Mapping[str, Sequence[Mapping[str, float]]]) -> None:
    """Print mean, lowest and highest over models."""
    keys = list(dict.fromkeys(key for rows in table.values() for row in rows for key in row))
    print("|  | " + " | ".join(keys) + " |")
    print("|---" * (len(keys) + 1) + "|")
    for name, rows in table.items():
        cells = []
        for key in keys:
            values = [row[key] for row in rows if key in row]
            spread = (
                f"{np.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})" if values else ""
            )
            cells.append(spread)
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
