"""The pieces join without glue: any file, of any kind, through predictions to a file again."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import pytest
import torch
from datasets import Dataset
from transformers import Trainer, TrainingArguments

from irti_custom import (
    DataCollatorForMaskedSeq,
    MaskedSeqClassificationPipeline,
    make_compute_metrics,
    read_records,
    tune_thresholds,
    write_records,
    write_report,
)
from irti_custom.inference.predictions import Predictions
from tests.report.scored import LABELS, tiny_pair

RECORDS: dict[str, list[dict[str, Any]]] = {
    "spans": [
        {"id": "a", "text": "Ann sees Bob", "spans": [
            {"start": 0, "end": 3, "labels": ["person"]},
            {"start": 9, "end": 12, "labels": ["place"]}]},
        {"id": "b", "text": "Bob lives", "spans": [{"start": 0, "end": 3, "labels": ["thing"]}]},
    ],
    "masks": [
        {"id": "a", "text": "[MASK] or [MASK]",
         "masks": [{"labels": ["person"]}, {"labels": None}]},
        {"id": "b", "text": "Bob [MASK]", "masks": [{"labels": ["thing"]}]},
    ],
    "columns": [
        {"id": "a", "columns": [{"header": "name", "values": ["Ann", None], "labels": ["person"]},
                                {"header": None, "values": ["Rome", "7"], "labels": ["place"]}]},
    ],
    "fields": [
        {"id": "a", "fields": [{"name": "name", "value": "Ann", "labels": ["person"]},
                               {"name": "fax", "value": None, "labels": None}]},
        {"id": "b", "fields": [{"name": "name", "value": "Bob", "labels": ["thing"]},
                               {"name": "fax", "value": "7", "labels": ["place"]}]},
    ],
}  # fmt: skip
FILES = {
    "spans": ("a.jsonl", "jsonl"),
    "masks": ("a.jsonl", "jsonl"),
    "columns": ("a.jsonl.gz", "jsonl"),
    "fields": ("a.jsonl", "jsonl"),
    "conll": ("a.conll", "conll"),
    "hugging-face": ("a", "hugging-face"),
    "brat": ("a", "brat"),
    "label-studio": ("a.json", "label-studio"),
    "doccano": ("a.jsonl", "doccano"),
    "prodigy": ("a.jsonl", "prodigy"),
    "gliner": ("a.json", "gliner"),
    "argilla": ("a.json", "argilla"),
    "csv of fields": ("a.csv", "csv"),
    "parquet of fields": ("a.parquet", "parquet"),
    "table": ("a.csv", "csv"),
}


@pytest.fixture(scope="module")
def taggers() -> dict[str, MaskedSeqClassificationPipeline]:
    made = {}
    for task in ("multilabel", "multiclass"):
        model, processor = tiny_pair(task)
        model.config.thresholds = 0.4
        made[task] = MaskedSeqClassificationPipeline(model, processor, batch_size=2, look_ahead=1)
    return made


@pytest.mark.parametrize("task", ["multilabel", "multiclass"])
@pytest.mark.parametrize("case", FILES)
def test_a_file_goes_through_encode_predict_write_and_report(case, task, taggers, tmp_path):
    name, format = FILES[case]
    kind = {"table": "columns"}.get(case, "fields" if "fields" in case else case)
    kind = kind if kind in RECORDS else "spans"
    tagger, path = taggers[task], tmp_path / name
    options = {"by": "rows"} if " of fields" in case else {}
    options = {"annotations": "predictions"} if case == "argilla" else options
    write_records(RECORDS[kind], path, format, on_error="skip" if case == "table" else "raise")
    records = read_records(path, "auto" if case in RECORDS else format, **options)

    rows = tagger.processor.encode(records)
    mapped = records.map(
        lambda batch, ids: tagger.processor.encode(batch, example_ids=ids),
        batched=True, with_indices=True, remove_columns=records.column_names,
    )  # fmt: skip
    assert {name: mapped[name][:] for name in rows} == rows
    predictions = tagger.predict(records)
    assert predictions.answers() == list(tagger(records))
    assert predictions.logits.shape == (sum(map(len, rows["mask_indices"])), len(LABELS))
    if case != "table":  # CSV holds no labels of columns
        in_rows = torch.cat([torch.tensor(one) for one in rows["labels"]])
        assert (predictions.labels != -100).sum() == (in_rows != -100).sum() > 0
        write_report(predictions, tmp_path / "report.html", resamples=0)

    labelled = predictions.records()
    out = tmp_path / f"out-{name}"
    write_records(labelled, out, format, on_error="skip")  # some hold one label per position
    options = {"annotations": "predictions"} if case == "label-studio" else options
    again = read_records(out, format, **options)
    assert len(again) == len(records)
    if case in RECORDS:
        for one in labelled[0][kind] if kind == "fields" else ():
            one.setdefault("scores", None)  # as the columns of a data set have it
        assert list(again) == json.loads(json.dumps(labelled))
        assert (tagger.predict(again).logits - predictions.logits).abs().max() < 1e-6


@pytest.mark.parametrize("task", ["multilabel", "multiclass"])
def test_metrics_of_predictions_are_those_of_the_trainer(task, taggers, tmp_path):
    tagger = taggers[task]
    args = TrainingArguments(str(tmp_path), report_to="none", use_cpu=True)
    trainer = Trainer(
        model=tagger.model,
        args=args,
        eval_dataset=Dataset.from_dict(tagger.processor.encode(RECORDS["fields"])),
        data_collator=DataCollatorForMaskedSeq(tagger.processor),
        compute_metrics=make_compute_metrics(task, tagger.model.config.id2label, 0.4),
    )
    expected = trainer.evaluate()
    measured = tagger.predict(RECORDS["fields"]).metrics()
    assert {f"eval_{name}" for name in measured} <= expected.keys()
    for name, value in measured.items():
        assert value == pytest.approx(expected[f"eval_{name}"], nan_ok=True)


def test_a_table_of_predictions_has_a_row_per_label(taggers):
    predictions = taggers["multilabel"].predict(RECORDS["fields"])
    table = predictions.table(top_k=2)
    assert isinstance(table, pd.DataFrame)
    assert table["record"].tolist() == ["a", "a", "a", "b", "b", "b", "b"]
    assert table["field"].tolist() == ["name", "name", "fax", "name", "name", "fax", "fax"]
    missing = table[table["word"].isna()]
    assert missing["label"].isna().tolist() == [True]
    best = [answer["labels"] for one in predictions.answers(top_k=2) for answer in one]
    expected = [pair["label"] for pairs in best for pair in pairs or [{"label": None}]]
    assert table["label"].astype(object).where(table["label"].notna(), None).tolist() == expected


def test_predictions_keep_windows_dropped_positions_ids_and_own_fields():
    model, processor = tiny_pair(max_length=8, on_overflow="window")
    words = ["Ann"] * 30
    record = {
        "id": 7,
        "topic": "x",
        "words": words,
        "spans": [{"start": n, "end": n + 1} for n in range(30)],
    }
    tagger = MaskedSeqClassificationPipeline(model, processor)
    predictions = tagger.predict([record, "no [MASK]"])
    assert predictions.num_rows[0] > 1
    assert len(predictions) == 2
    assert [tuple(pair) for pair in predictions.index.tolist()] == [(0, n) for n in range(30)] + [
        (1, 0)
    ]
    first, second = predictions.records()
    assert (first["id"], first["topic"], len(first["spans"])) == (7, "x", 30)
    assert second.keys() == {"text", "masks"}
    assert [answer["start"] for answer in predictions.answers()[0]] == list(range(30))

    dropping = MaskedSeqClassificationPipeline(*tiny_pair(max_length=8, on_overflow="drop"))
    short = dropping.predict([record])
    assert len(short.logits) < 30
    labels = [span["labels"] for span in short.records()[0]["spans"]]
    assert [one is None for one in labels] == [n >= len(short.logits) for n in range(30)]


def test_labels_come_along_only_where_they_are_meant(caplog):
    _, processor = tiny_pair()
    known = {"text": "Ann", "spans": [{"start": 0, "end": 3, "labels": ["person"]}]}
    bare = {"text": "Bob", "spans": [(0, 3)]}
    rows = processor.encode([known, bare])
    assert rows["labels"] == [[[0, 1, 0, 0]], [[-100] * 4]]
    assert "labels" not in processor.encode([bare])
    assert "labels" not in processor.prepare([known]).rows
    assert processor.encode([known], [[["place"]]])["labels"] == [[[0, 0, 1, 0]]]
    assert processor.encode([{"text": "Ann", "spans": []}])["labels"] == [[]]
    with pytest.raises(ValueError, match="must have labels of `label2id`"):
        processor.encode([{"text": "Ann", "spans": [{"start": 0, "end": 3, "labels": ["actor"]}]}])
    with pytest.raises(ValueError, match="must be a list of records, got one"):
        processor.encode(known)
    processor.label2id = None
    assert "labels" not in processor.encode([known])
    assert "has no `label2id`" in caplog.text


def test_thresholds_are_tuned_on_predictions_and_nothing_is_predicted_of_nothing(taggers):
    predictions = taggers["multilabel"].predict(RECORDS["spans"])
    thresholds = tune_thresholds(predictions.logits, predictions.labels)
    assert len(thresholds) == len(LABELS)
    with pytest.raises(ValueError, match="at least one record"):
        taggers["multilabel"].predict([])
    with pytest.raises(ValueError, match="no position has any"):
        taggers["multilabel"].predict(["a [MASK]"]).metrics()
    joined = Predictions.joined([predictions, predictions])
    assert torch.equal(joined.logits, torch.cat([predictions.logits] * 2))
    assert [len(one) for one in joined.answers()] == [2, 1] * 2
    best = joined.answers(top_k=1)[2][0]["labels"][0]["label"]
    assert joined.records(top_k=1)[2]["spans"][0]["labels"] == [best]
