"""The report as it is written: from models and records of every kind, to two files."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset

from irti_custom import (
    DataCollatorForMaskedSeq,
    MaskedSeqClassificationPipeline,
    make_compute_metrics,
    write_records,
    write_report,
)
from irti_custom.processing.rows import rows_of
from irti_custom.report.__main__ import main
from irti_custom.report.page import draw_page
from tests.report.scored import HOSTILE, LABELS, make_records, save_pair, tiny_pair

pytest.importorskip("matplotlib", reason="needs the extra `report`")

tasks = pytest.mark.parametrize("task", ["multilabel", "multiclass"])


def report_on(model, records, folder, **settings):
    return write_report(model, records, folder / "report.html", **{"resamples": 20, **settings})


@tasks
@torch.no_grad()
def test_figures_are_those_of_the_metrics_windows_and_all(task, tmp_path):
    model, processor = tiny_pair(task)
    model.config.thresholds = [0.3, 0.5, 0.4, 0.6] if task == "multilabel" else 0.35
    records = make_records(30, task)
    report = report_on(model, records, tmp_path, processor=processor)

    labels = [[span["labels"] for span in record["spans"]] for record in records]
    spans = [record["spans"] for record in records]
    rows = rows_of(processor.encode_spans([r["text"] for r in records], spans, labels))
    compute = make_compute_metrics(task, model.config.id2label, model.config.thresholds, True)
    batch = DataCollatorForMaskedSeq(processor)(rows)
    targets = batch.pop("labels")
    expected = compute((model(**batch).logits, targets))

    assert len(rows) > len(records)
    rows_per_record = Counter(row["example_ids"] for row in rows)
    cut = [record for record, number in rows_per_record.items() if number > 1]
    assert report["data"]["records_in_windows"] == len(cut)
    for one in report["overall"]:
        assert one["value"] == pytest.approx(expected[one["measure"]])
    for row in report["labels"]:
        for name in ("precision", "recall", "f1", "support"):
            assert row[name] == pytest.approx(expected[f"{row['label']}_{name}"])
    assert report["data"]["positions"] == expected["num_positions"]


def test_records_of_fields_are_scored_where_there_is_a_labelled_value(tmp_path):
    values = [("name", "Ann", ["person"]), ("fax", None, None), (None, " Rome ", ["place"])]
    values += [("pet", "cat", None)]  # labels that are not known
    fields = [{"name": name, "value": value, "labels": labels} for name, value, labels in values]
    report = report_on(save_pair(tmp_path / "model"), [{"id": "a", "fields": fields}], tmp_path)
    assert (report["data"]["positions"], report["data"]["unlabelled"]) == (2, 1)
    assert report["positions"]["number"] == [0, 2]
    assert [[LABELS[i] for i in ids] for ids in report["positions"]["true"]] == [
        ["person"],
        ["place"],
    ]
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "name: " in page
    assert "Rome" in page


def test_the_page_is_drawn_from_the_json_alone(tmp_path):
    report = report_on(save_pair(tmp_path / "model"), make_records(10), tmp_path)
    written = json.loads((tmp_path / "report.json").read_text())
    assert written == json.loads(json.dumps(report))
    pages = [draw_page(written).decode(), (tmp_path / "report.html").read_text(encoding="utf-8")]
    assert len({re.sub(r"chart\d+", "", page) for page in pages}) == 1
    for one in report["overall"]:
        assert f"{one['value']:.3f}" in pages[0]


def test_the_page_loads_nothing_and_runs_only_its_own_script(tmp_path):
    report_on(save_pair(tmp_path / "model"), make_records(5), tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"""(?:src|href|xlink:href)=["'](?!#)""", page)
    assert "@import" not in page
    assert "url(http" not in page
    assert "default-src 'none'" in page
    assert "'unsafe-inline'; script-src 'sha256-" in page
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_hostile_text_stays_text(tmp_path):
    html5lib = pytest.importorskip("html5lib", reason="parses the page as a browser does")
    model, processor = tiny_pair(names=HOSTILE)
    records = [
        {
            **record,
            "text": record["text"] + " " + HOSTILE[number % 4],
            HOSTILE[0]: HOSTILE[1],
        }
        for number, record in enumerate(make_records(12, names=HOSTILE))
    ]
    records[0]["id"] = HOSTILE[0]
    report_on(
        model,
        records,
        tmp_path,
        processor=processor,
        data=HOSTILE[1],
        slices=[HOSTILE[0]],
        train=records,
    )
    page = html5lib.parse(
        (tmp_path / "report.html").read_text(encoding="utf-8"), namespaceHTMLElements=False
    )
    scripts = page.findall(".//script")
    assert len(scripts) == 2
    assert not page.findall(".//img")
    assert not [e for e in page.iter() for name in e.attrib if str(name).startswith("on")]
    cases = json.loads(scripts[0].text)
    assert cases["labels"] == sorted(HOSTILE, key=HOSTILE.index)
    assert any(HOSTILE[0] in row["after"] + row["string"] for row in cases["rows"])
    assert HOSTILE[3] in {bdi.text for bdi in page.iter("bdi")}
    assert "49" not in {bdi.text for bdi in page.iter("bdi")}


def test_positions_without_labels_are_counted_and_not_scored(tmp_path):
    model, processor = tiny_pair(on_overflow="drop")
    records = make_records(20)
    records[0]["spans"] += [{"start": 0, "end": 1, "labels": None}] * 3
    whole = [len(record["spans"]) for record in records]
    report = report_on(model, records, tmp_path, processor=processor, train=records)
    data = report["data"]
    assert data["unlabelled"] == 3
    assert data["train_positions"] == sum(whole) - 3
    assert data["dropped"] > 0
    assert data["positions"] + data["unlabelled"] + data["dropped"] == sum(whole)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert f"3 without labels, {data['dropped']} beyond the last token" in page


def test_an_empty_list_of_labels_is_an_answer(tmp_path):
    records = [{"text": "Ann sees Bob", "spans": [{"start": 0, "end": 3, "labels": []}]}]
    model, processor = tiny_pair()
    model.config.thresholds = 1.0
    report = report_on(model, records, tmp_path, processor=processor)
    assert report["overall"][2]["value"] == 1.0  # exact match: none is predicted, none is true


def test_all_kinds_of_models_write_the_same_report(tmp_path):
    folder = save_pair(tmp_path / "model")
    records = make_records(12)
    model, processor = tiny_pair()
    model = type(model).from_pretrained(folder)
    pipe = MaskedSeqClassificationPipeline.from_pretrained(folder, batch_size=3, look_ahead=1)
    reports = [
        report_on(folder, records, tmp_path),
        report_on(model, Dataset.from_list(records), tmp_path, processor=processor),
        report_on(pipe, (dict(record) for record in records), tmp_path),
    ]
    parts = ("overall", "confusions", "positions")
    assert len({json.dumps([report[part] for part in parts]) for report in reports}) == 1


def test_thresholds_of_a_pipeline_hold(tmp_path):
    folder = save_pair(tmp_path / "model")
    pipe = MaskedSeqClassificationPipeline.from_pretrained(folder, thresholds=1.0)
    report = report_on(pipe, make_records(5), tmp_path)
    assert {row["threshold"] for row in report["labels"]} == {1.0}
    assert not any(report["positions"]["predicted"])


def test_an_exported_graph_is_a_model(tmp_path):
    pytest.importorskip("onnxruntime", reason="needs the extra `onnx`")
    pytest.importorskip("onnxscript", reason="needs the extra `onnx`")
    from irti_custom import export_onnx

    model, processor = tiny_pair()
    export_onnx(model, tmp_path / "graph", processor=processor)
    records = make_records(8)
    found = report_on(tmp_path / "graph", records, tmp_path)
    expected = report_on(model, records, tmp_path, processor=processor)
    assert found["positions"] == expected["positions"]


def test_groups_show_in_the_report(tmp_path):
    model, processor = tiny_pair()
    model.config.groups = {"kind": ["animal", "person"]}
    report = report_on(model, make_records(10), tmp_path, processor=processor)
    assert report["model"]["groups"] == [["animal", "person"]]
    assert not any({0, 1} <= set(ids) for ids in report["positions"]["predicted"])
    assert [row["threshold"] for row in report["labels"]] == [None, None, 0.5, 0.5]


def test_tables_are_scored(tmp_path):
    columns = [
        {"header": "name", "values": ["Ann", None], "labels": ["person"]},
        {"header": None, "values": ["Rome", "Paris"], "labels": ["place"]},
        {"header": "x", "values": [], "labels": None},
    ]
    model, processor = tiny_pair()
    records = [{"columns": columns}, {"columns": columns[:1]}]
    report = report_on(model, records, tmp_path, processor=processor, train=records)
    assert report["data"]["positions"] == 3
    assert report["data"]["unlabelled"] == 1
    assert {row["string"] for row in report["cases"]["rows"]} == {"name", "Rome, Paris"}


@tasks
def test_a_report_compares_models_and_earlier_reports(task, tmp_path):
    model, processor = tiny_pair(task)
    records = make_records(15, task)
    other_folder = save_pair(tmp_path / "other", task)
    other = report_on(other_folder, records, tmp_path / "there")
    reports = [
        report_on(model, records, tmp_path, processor=processor, compare=compare)
        for compare in (other_folder, tmp_path / "there" / "report.json")
    ]
    compared = reports[0]["comparison"]
    assert compared == reports[1]["comparison"]
    assert compared["name"] == "other"
    for row, here, there in zip(compared["measures"], reports[0]["overall"], other["overall"]):
        assert (row["value"], row["other"]) == (here["value"], there["value"])
    truth = reports[0]["positions"]["true"]
    right, was_right = (
        np.array([p == t for p, t in zip(one["positions"]["predicted"], truth)])
        for one in (reports[0], other)
    )
    assert compared["positions"]["fixed"] == (right & ~was_right).sum()
    assert compared["positions"]["broken"] == (was_right & ~right).sum()
    assert "Compared with" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_model_with_its_labels_in_another_order_compares_by_name(tmp_path):
    records = make_records(10)
    model, processor = tiny_pair()
    backwards, its_processor = tiny_pair(names=LABELS[::-1])
    backwards.load_state_dict(model.state_dict())
    last = backwards.head[3]
    last.weight.data, last.bias.data = last.weight.data.flip(0), last.bias.data.flip(0)
    pipe = MaskedSeqClassificationPipeline(backwards, its_processor)
    report = report_on(model, records, tmp_path, processor=processor, compare=pipe)
    assert report["comparison"]["positions"] == {"fixed": 0, "broken": 0, "changed": 0}


def test_what_cannot_be_compared_raises(tmp_path):
    folder = save_pair(tmp_path / "model")
    report_on(folder, make_records(6), tmp_path)
    earlier = tmp_path / "report.json"
    with pytest.raises(ValueError, match="is a report on other records"):
        report_on(folder, make_records(7), tmp_path / "b", compare=earlier)
    other = MaskedSeqClassificationPipeline(*tiny_pair(names=["a", "b", "c", "d"]))
    with pytest.raises(ValueError, match="must have the task and the labels"):
        report_on(folder, make_records(6), tmp_path / "b", compare=other)
    short = MaskedSeqClassificationPipeline(*tiny_pair(on_overflow="drop", max_length=8))
    with pytest.raises(ValueError, match="must score the same positions"):
        report_on(folder, make_records(6), tmp_path / "b", compare=short)
    for content, message in (("[]", "must be the report.json"), ("{", "is no JSON")):
        earlier.write_text(content)
        with pytest.raises(ValueError, match=message):
            report_on(folder, make_records(6), tmp_path / "b", compare=earlier)


def bad(**changes):
    return [{"text": "Ann", "spans": [{"start": 0, "end": 3, "labels": ["person"], **changes}]}]


@pytest.mark.parametrize(
    ("records", "settings", "message"),
    [
        ([], {}, "at least one record"),
        ("test.jsonl", {}, "read_records"),
        ([3], {}, "must be a dict"),
        (bad(end=9), {}, "Input 0: Span 0 of example 0 must have 0 <= start < end <= 3"),
        (bad(labels=["actor"]), {}, r"labels of the model.*'actor': 1"),
        (bad(labels=None), {}, "must hold positions with labels"),
        (bad(), {"path": "report.json"}, "must end in .html"),
        (bad(), {"max_cases": 0}, "`max_cases` must be"),
        (bad(), {"resamples": -1}, "`resamples` must be"),
        (bad(), {"seed": "a"}, "`seed` must be"),
        (bad(), {"slices": "genre"}, "must be a list of names"),
        (bad(), {"slices": ["genre"]}, "must name columns of the records"),
        (bad(), {"document": "doc"}, "`document` must name a column"),
        (bad(), {"train": []}, "`train` must hold at least one record"),
    ],
)
def test_wrong_arguments_raise_and_write_nothing(records, settings, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pipe = MaskedSeqClassificationPipeline(*tiny_pair())
    with pytest.raises(ValueError, match=message):
        write_report(pipe, records, **settings)
    assert not list(tmp_path.iterdir())


def test_a_class_is_one_label(tmp_path):
    pipe = MaskedSeqClassificationPipeline(*tiny_pair("multiclass"))
    with pytest.raises(ValueError, match=r"Position 0 of record '0' must have one label"):
        report_on(pipe, bad(labels=[]), tmp_path)


def test_documents_of_several_records_are_drawn_together(tmp_path):
    pipe = MaskedSeqClassificationPipeline(*tiny_pair())
    report = report_on(pipe, make_records(12), tmp_path, document="genre")
    assert report["data"]["documents"] == 2


def test_a_hundred_thousand_positions_make_a_page_of_a_few_megabytes(tmp_path):
    class Quick(MaskedSeqClassificationPipeline):
        """The encoder is skipped: this is about the size of the page."""

        def score(self, rows):
            return torch.randn(sum(len(row["mask_indices"]) for row in rows), 4)

    text = " ".join(["Ann"] * 500)
    spans = [{"start": 4 * i, "end": 4 * i + 3, "labels": LABELS[i % 4 :][:1]} for i in range(500)]
    pipe = Quick(*tiny_pair())
    report = report_on(pipe, [{"text": text, "spans": spans}] * 200, tmp_path)
    assert report["data"]["positions"] == 100_000
    assert len(report["cases"]["rows"]) == 2000
    assert (tmp_path / "report.html").stat().st_size < 3e6
    assert (tmp_path / "report.json").stat().st_size < 6e6
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "2\u202f000 of 100\u202f000 positions" in page


def test_without_the_extra_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(ModuleNotFoundError, match=r"irti_custom\[report\]"):
        report_on("nowhere", make_records(2), tmp_path)


def test_no_folder_of_this_machine_is_named(tmp_path):
    report_on(save_pair(tmp_path / "model"), make_records(3), tmp_path)
    for name in ("report.html", "report.json"):
        assert str(Path(tmp_path).parent) not in (tmp_path / name).read_text(encoding="utf-8")


def test_a_report_replaces_a_report_and_nothing_that_it_reads(tmp_path):
    folder, records = save_pair(tmp_path / "model"), make_records(4)
    config = (tmp_path / "model" / "config.json").read_bytes()
    write_records(records, tmp_path / "test.json", "jsonl")
    (tmp_path / "link.json").symlink_to(tmp_path / "test.json")
    labelled = (tmp_path / "test.json").read_bytes()
    for output in ("test.html", "link.html", "model/config.html"):
        with pytest.raises(
            (ValueError, SystemExit), match=r"must not be replaced|there and no report"
        ):
            main([folder, str(tmp_path / "test.json"), "--output", str(tmp_path / output)])
        with pytest.raises(ValueError, match="is there and no report"):
            write_report(folder, records, tmp_path / output)
        assert not (tmp_path / output).exists()
    assert (tmp_path / "test.json").read_bytes() == labelled
    assert (tmp_path / "model" / "config.json").read_bytes() == config
    report_on(folder, records, tmp_path)
    report_on(folder, records, tmp_path, data="again")
    assert json.loads((tmp_path / "report.json").read_text())["data"]["name"] == "again"
    with pytest.raises(ValueError, match=r"must not be replaced, and .*report\.json would be"):
        report_on(folder, records, tmp_path, compare=tmp_path / "report.json")
    shutil.copy(tmp_path / "test.json", tmp_path / "page.html")
    with pytest.raises(ValueError, match=r"must not be replaced, and .*page\.html would be"):
        main([folder, str(tmp_path / "page.html"), "--output", str(tmp_path / "page.html")])


def test_the_command_writes_a_report_and_says_what_is_wrong(tmp_path, capsys):
    folder, file = save_pair(tmp_path / "model"), tmp_path / "test.jsonl"
    records = [
        {**one, "genre": "chat", "talk": number // 2} for number, one in enumerate(make_records(4))
    ]
    write_records(records, file, keep=["genre", "talk"])
    flags = ["--train", str(file), "--slices", "genre", "id", "--document", "talk"]
    main([folder, str(file), "--output", str(tmp_path / "a.html"), *flags])
    assert "Micro F1 0." in capsys.readouterr().out
    report = json.loads((tmp_path / "a.json").read_text())
    assert report["data"]["documents"] == 2
    groups = {one["slice"]: one["groups"] for one in report["slices"]}
    assert [group["group"] for group in groups["genre"]] == ["chat"]
    assert len(groups["id"]) == 4
    write_records(records, tmp_path / "tasks.json", "label-studio")
    with pytest.raises(SystemExit, match=r"error: .*'keep'"):
        main([folder, str(tmp_path / "tasks.json"), "--document", "talk"])
    with pytest.raises(SystemExit, match=r"error: .*nowhere"):
        main([folder, str(tmp_path / "nowhere")])
