"""Write a page that shows what a model does well and badly on labelled records.

    model + records ──▶ collect ──▶ figures ──▶ report.json
                                       └──▶ page ──▶ report.html

The page is drawn from the figures alone, so that each of them is in report.json, too.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from ..formats.atomic import check_apart, writing
from ..inference.components import ProcessorOrPath
from ..inference.predictions import Predictions
from ..labels import as_integer, check_count
from ..records.kinds import read_record
from .bootstrap import CONFIDENCE
from .cases import changes_of
from .collect import (
    ModelInput,
    Place,
    Records,
    Scored,
    collect,
    digest_of,
    id_of,
    places_of,
    predictions_of,
)
from .comparison import compare_figures, other_decisions
from .figures import (
    Draws,
    baselines,
    calibration_figures,
    case_figures,
    confusion_figures,
    label_figures,
    overall_figures,
    position_figures,
    slice_figures,
)
from .page import REPORT_START, check_extra, draw_page, write_json
from .slices import all_slices


def write_report(
    model: ModelInput,
    records: Records | str | os.PathLike[str] | None = None,
    path: str | os.PathLike[str] = "report.html",
    *,
    processor: ProcessorOrPath | None = None,
    train: Records | None = None,
    compare: ModelInput | None = None,
    slices: Sequence[str] = (),
    document: str | None = None,
    data: str | None = None,
    max_cases: int = 2000,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Write a page on how well a model labels records, and its figures as JSON beside it.

    The page is one file that loads nothing: scores with intervals, each label, confusions,
    calibration, slices, and the positions themselves, the most confident errors first. It quotes
    the texts: whoever has the page has them.

    Args:
        model: predictions of labelled records, from ``pipeline.predict``; or the folder or Hub id
            of a checkpoint, an adapter or an exported graph; a loaded model; or a
            `MaskedSeqClassificationPipeline`, for options such as a device.
        records: for a model, labelled ones, as `read_records` returns them. Positions whose labels
            are None, and those that ``on_overflow="drop"`` leaves out, are counted and not scored.
            With predictions, the path may be given here.
        path: of the page; the figures are written to the same name with ``.json``. A page there is
            replaced, and a report; another JSON file is not.
        processor: of a loaded model, or in place of the one beside a folder.
        train: the records that the model was trained on, for two baselines (the most frequent
            label set, and looking the string up) and for strings that training has not seen.
        compare: another model (as `model`, where loaded as a pipeline) or the ``report.json`` of
            one on the same records, for differences and the positions that changed.
        slices: columns of `records` to score by.
        document: a column of `records` that says which of them belong together. Intervals
            resample documents; by default each record is one.
        data: what `records` are called on the page.
        max_cases: how many positions the page shows: errors first, the others drawn at random.
        resamples: draws of the bootstrap; 0 for no intervals.
        seed: of all that is drawn.

    Returns:
        The content of the JSON file.

    Raises:
        ModuleNotFoundError: the extra `report` is not installed.
        ValueError: arguments out of range, another JSON file where the figures go, records that are
            none, without labels or with labels that the model does not have, or a `compare` that
            does not fit.

    Example:
        >>> records = read_records("test.jsonl")  # doctest: +SKIP
        >>> report = write_report("out/finetune", records, "report.html")  # doctest: +SKIP
        >>> report = write_report(pipe.predict(records), "report.html")  # doctest: +SKIP
    """
    if isinstance(model, Predictions) and records is not None:
        if not isinstance(records, (str, os.PathLike)):
            raise ValueError("Predictions bring their own records. Leave `records` out.")
        path, records = records, None
    page_path = Path(path)
    json_path = page_path.with_suffix(".json")
    if page_path.suffix != ".html":
        raise ValueError(
            f"`path` must end in .html, as the figures go to the same name with .json, got "
            f"{str(path)!r}."
        )
    _check_place(json_path)
    if isinstance(compare, (str, os.PathLike)):
        check_apart([json_path], [compare])
    max_cases = check_count("max_cases", max_cases)
    resamples, seed = _whole("resamples", resamples), _whole("seed", seed)
    if isinstance(slices, str):
        raise ValueError(f"`slices` must be a list of names, got {slices!r}. Write [{slices!r}].")
    check_extra()
    train_places = None if train is None else _labelled(train)
    if isinstance(records, (str, os.PathLike)):
        raise ValueError(
            f"`records` must be a data set or a list of records, got {str(records)!r:.80}. "
            "read_records(path) reads a file."
        )
    predictions = predictions_of(model, records, processor)
    documents = _documents(predictions, document)
    scored = collect(predictions)
    other = None if compare is None else other_decisions(compare, scored, predictions, records)

    places = np.array([documents[place.record] for place in scored.places])
    draws = Draws(np.unique(places, return_inverse=True)[1], resamples, seed)
    simple = {} if train_places is None else baselines(scored, train_places)
    strings = None
    if train_places is not None:
        strings = {place.string.lower() for place in train_places}
    changes: list[str | None] = [None] * len(scored.places)
    if other is not None:
        changes = changes_of(scored.true, scored.predicted, other.predicted)
    groups = all_slices(scored, predictions.inputs, strings, slices)
    report = {
        "created": datetime.now().astimezone().isoformat(timespec="minutes"),
        "model": model_facts(predictions, scored),
        "data": {
            "name": data,
            **scored.counts,
            "documents": int(draws.documents.max()) + 1,
            "train_positions": None if train_places is None else len(train_places),
            "digest": digest_of(predictions),
        },
        "bootstrap": {"confidence": CONFIDENCE, "resamples": resamples, "seed": seed},
        "overall": overall_figures(scored, draws, simple),
        "labels": label_figures(scored, draws),
        "confusions": confusion_figures(scored),
        "calibration": calibration_figures(scored),
        "slices": slice_figures(scored, draws, groups),
        "comparison": None
        if other is None
        else compare_figures(scored, other, changes, draws.documents, resamples, seed),
        "cases": case_figures(
            scored,
            [id_of(predictions, number) for number in range(len(predictions))],
            changes,
            None if other is None else other.predicted,
            max_cases,
            seed,
        ),
        "positions": position_figures(scored),
    }
    for target, content in ((json_path, write_json(report)), (page_path, draw_page(report))):
        with writing(target) as file:
            file.write(content)
    return report


def model_facts(predictions: Predictions, scored: Scored) -> dict[str, Any]:
    """Return facts about a model for people; no folder of this machine."""
    rule, model = scored.rule, predictions.model
    names = scored.names
    return {
        "name": scored.name,
        "task": rule.task,
        "labels": names,
        "groups": [[names[index] for index in group] for group in rule.group_ids],
        "encoder": model.encoder,
        "read": model.read,
        "max_length": model.max_length,
    }


def _labelled(records: Records) -> list[Place]:
    """Return the positions of training records that have labels."""
    read = [read_record(record, f"`train`, record {i}") for i, record in enumerate(records)]
    if not read:
        raise ValueError("`train` must hold at least one record, got none.")
    places = (place for i, record in enumerate(read) for place in places_of(i, record, ()))
    return [place for place in places if place.labels is not None]


def _check_place(path: Path) -> None:
    """Check that the figures would replace nothing but those of another report.

    A test set or a model's config may lie where they go.
    """
    if not path.is_file():
        return
    with open(path, "rb") as file:
        if file.read(len(REPORT_START)) != REPORT_START:
            raise ValueError(
                f"The figures go to {path}, which is there and no report; it would be lost. "
                "Choose another name for `path`."
            )


def _whole(name: str, value: object) -> int:
    number = as_integer(value)
    if number is None or number < 0:
        raise ValueError(f"`{name}` must be a whole number of at least 0, got {value!r}.")
    return number


def _documents(predictions: Predictions, column: str | None) -> list[int]:
    """Return the document of each record."""
    if column is None:
        return list(range(len(predictions)))
    values = [record.given.get(column) for record in predictions.inputs]
    missing = [number for number, value in enumerate(values) if value is None]
    if missing:
        raise ValueError(
            f"`document` must name a column that each record has, got {column!r}, which is missing "
            f"in {len(missing)}, the first with the id {id_of(predictions, missing[0])!r}."
        )
    numbers = {str(name): number for number, name in enumerate(dict.fromkeys(map(str, values)))}
    return [numbers[str(value)] for value in values]
