"""Measure what a temperature, promised thresholds and sets of classes are worth on a test set.

    python benchmarks/calibration.py DATA/gum_entities --models seed0 seed1 seed2

All are fitted on the validation file and measured on the test file. Each model is a folder that
`examples/finetune.py` wrote; the tables hold the mean over models, with the lowest and highest.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

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
from irti_custom.decisions import decide, probabilities
from irti_custom.evaluation.calibration import expected_calibration_error
from irti_custom.export.changes import Scored, score_rows

SCORES = {"multilabel": ("micro_f1", "macro_f1"), "multiclass": ("accuracy", "macro_f1")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with validation and test files")
    parser.add_argument("--models", nargs="+", required=True, help="one folder per seed")
    arguments = parser.parse_args()
    logging.getLogger("irti_custom").setLevel(logging.ERROR)  # labels that keep no promise
    files = [next(arguments.data.glob(f"{name}*")) for name in ("validation", "test")]
    calibration: dict[str, list[dict[str, float]]] = {}
    promises: dict[str, list[dict[str, float]]] = {}
    for folder in arguments.models:
        config, splits = scored(folder, files)
        for table, rows in (
            (calibration, calibrated(config, *splits)),
            (promises, promised(config, *splits)),
        ):
            for name, row in rows.items():
                table.setdefault(name, []).append(row)
    for title, table in (("Calibration", calibration), ("Promises", promises)):
        print(f"\n### {title}, {arguments.data.name}, {len(arguments.models)} models\n")
        print_table(table)


def scored(folder: str, files: Sequence[Path]) -> tuple[MaskedSeqModelingConfig, list[Scored]]:
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
            splits.append(score_rows(model, rows, processor.tokenizer, batch_size=32))
    return model.config, splits


def calibrated(
    config: MaskedSeqModelingConfig, validation: Scored, test: Scored
) -> dict[str, dict[str, float]]:
    """Measure a model as it comes, with one temperature, and with one per label."""
    rows: dict[str, dict[str, float]] = {}
    task, groups = config.task, config.group_ids
    assert test.labels is not None
    kept = {"task": task, "groups": groups}
    temperatures = {"as trained": None, "one": fit_temperature(*validation, **kept)}
    if task == "multilabel":
        temperatures["per label"] = fit_temperature(*validation, **kept, per_label=True)
    for name, temperature in temperatures.items():
        one = MaskedSeqModelingConfig.from_dict(config.to_dict())
        one.set_temperature(temperature)
        metrics = make_compute_metrics(
            task, one.id2label, one.thresholds, groups=groups, temperature=temperature
        )((test.logits[None], test.labels[None]))
        chances = probabilities(torch.tensor(test.logits), task, temperature, groups).numpy()
        row = {key: metrics[key] for key in ("ece", "brier", "loss", *SCORES[task])}
        if task == "multilabel":
            each = [expected_calibration_error(x, y) for x, y in zip(chances.T, test.labels.T)]
            row["ece, mean of labels"] = float(np.mean(each))
        before, after = (
            decide(torch.tensor(test.logits), task, c.thresholds, groups, c.temperature)
            for c in (config, one)
        )
        row["decisions changed"] = float((before != after).double().mean())
        row["temperature"] = float(np.median(1.0 if temperature is None else temperature))
        rows[name] = row
    return rows


def promised(
    config: MaskedSeqModelingConfig, validation: Scored, test: Scored
) -> dict[str, dict[str, float]]:
    """Measure promises that were made on validation data."""
    rows: dict[str, dict[str, float]] = {}
    task, groups = config.task, config.group_ids
    assert test.labels is not None
    for measure in ("recall", "precision"):
        for confidence in (None, "marginal", 0.9):
            if (measure, confidence) == ("precision", "marginal"):
                continue
            thresholds = tune_thresholds(
                *validation,
                task,
                objective=measure,
                at_least=0.9,
                confidence=confidence,
                groups=groups,
                temperature=config.temperature,
            )
            metrics = make_compute_metrics(
                task,
                config.id2label,
                thresholds,
                per_label=True,
                groups=groups,
                temperature=config.temperature,
            )((test.logits[None], test.labels[None]))
            name = f"{measure} .9" + ("" if confidence is None else f", {confidence}")
            rows[name] = kept_share(config, metrics, measure)
    if task == "multiclass":
        for confidence in ("marginal", 0.9):
            threshold = fit_set_threshold(*validation, coverage=0.9, confidence=confidence)
            sets = predict_sets(test.logits, threshold)
            hits = sets[np.arange(len(sets)), test.labels.astype(int)]
            rows[f"sets .9, {confidence}"] = {
                "covered": float(hits.mean()),
                "classes in a set": float(sets.sum(axis=1).mean()),
            }
    return rows


def kept_share(
    config: MaskedSeqModelingConfig, metrics: Mapping[str, float], measure: str
) -> dict[str, float]:
    """Pick the measures that show whether a promise was kept on test."""
    if config.task == "multiclass":
        keys = ("micro_precision", "micro_recall", "coverage")
        return {key: metrics.get(key, 1.0) for key in keys}
    names = [name for name in config.label_names if metrics[f"{name}_support"] >= 20]
    shares = [metrics[f"{name}_{measure}"] >= 0.9 for name in names]
    mean = {f"micro_{key}": metrics[f"micro_{key}"] for key in ("recall", "precision")}
    return {**mean, f"labels that keep it (of {len(names)} with 20)": float(np.mean(shares))}


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
                f"{np.mean(values):.4f} ({min(values):.4f} to {max(values):.4f})" if values else ""
            )
            cells.append(spread)
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
