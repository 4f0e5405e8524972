"""The model card: what it says, what the Hub reads from it, and that its code runs."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import ModelCard

import irti_custom
from irti_custom import (
    AutoModelForMaskedSeqModeling,
    MaskedSeqModelingConfig,
    write_model_card,
)
from tests.bare import run_bare
from tests.tiny import tiny_model

load = AutoModelForMaskedSeqModeling.from_pretrained
TWICE = {"eval_loss": 0.1, "test_loss": 0.2}
FLAT = {
    "test_micro_f1": 0.91,
    "test_runtime": 3.0,
    "test_samples_per_second": 9.0,
    "epoch": 5.0,
    **{
        f"test_{name}_{measure}": 0.25 * index
        for name in ("person", "place", "thing")
        for index, measure in enumerate(("precision", "recall", "f1", "support"))
    },
}


def test_card_says_encoder_task_labels_data_and_scores_per_label(coded):
    path = write_model_card(
        coded,
        metrics=FLAT,
        data="Forty texts.",
        base_model="org/encoder",
        language=["en", "de"],
        license="apache-2.0",
        tags=["pii"],
    )
    text = Path(path).read_text()
    for part in (
        "library_name: transformers",
        "base_model: org/encoder",
        "license: apache-2.0",
        "- masked-seq-classification",
        "- pii",
        "[org/encoder](https://huggingface.co/org/encoder) (`bert`)",
        "Multi-label",
        "| 1 | place |",
        "Forty texts.",
        "| micro_f1 | 0.91 |",
        "| place | 0.000 | 0.250 | 0.500 | 1 |",
    ):
        assert part in text, part
    for part in ("pipeline_tag", "runtime", "epoch", "per_second"):
        assert part not in text, part


def test_card_metadata_is_what_the_hub_reads(coded):
    write_model_card(coded, language="en", base_model="org/encoder")
    data = ModelCard.load(Path(coded, "README.md")).data
    assert (data.library_name, data.base_model, data.language) == (
        "transformers",
        "org/encoder",
        "en",
    )
    assert data.tags == ["masked-seq-classification"]
    assert data.eval_results is None


def test_scores_can_be_read_from_the_metadata(coded):
    more = {"test_loss": float("nan"), "test_num_positions": 40.0, "test_macro_f1": np.float32(0.5)}
    path = write_model_card(coded, metrics={**FLAT, **more, "accuracy": 1}, name="me/model")
    data = ModelCard.load(path).data
    assert data.model_name == "model"
    assert [(r.dataset_split, r.metric_type, r.metric_value) for r in data.eval_results] == [
        ("test", "micro_f1", 0.91),
        ("test", "macro_f1", 0.5),
        (None, "accuracy", 1.0),
    ]
    assert {result.task_type for result in data.eval_results} == {"masked-seq-classification"}
    text = Path(path).read_text()
    assert "| loss | nan |\n| num_positions | 40 |\n| macro_f1 | 0.5 |" in text


@pytest.mark.parametrize(
    ("thresholds", "parts"),
    [
        ([0.25, 0.5, 0.125], ("| 1 | place | 0.500 |", "| 2 | thing | 0.125 |")),
        (0.75, ("| 1 | place | 0.750 |", "| 2 | thing | 0.750 |")),
        (None, ("| 1 | place |\n",)),
    ],
)
def test_card_shows_thresholds(thresholds, parts, coded):
    config = MaskedSeqModelingConfig.from_pretrained(coded)
    config.thresholds = thresholds
    config.save_pretrained(coded)
    text = Path(write_model_card(coded)).read_text()
    assert all(part in text for part in parts)
    assert ("hreshold" in text) == (thresholds is not None)


def test_card_names_groups(coded):
    config = MaskedSeqModelingConfig.from_pretrained(coded)
    config.groups = {"kind": config.label_names[:2]}
    config.save_pretrained(coded)
    text = Path(write_model_card(coded)).read_text()
    assert "Of the group kind at most one label holds: person, place.\n" in text


def test_card_shows_the_threshold_that_rejects_the_top_class(tmp_path):
    tiny_model(task="multiclass", num_labels=2, thresholds=0.75).save_pretrained(tmp_path)
    text = Path(write_model_card(tmp_path)).read_text()
    assert "| 1 | LABEL_1 |\n\nThreshold on the probability: 0.750.\n" in text


def test_card_takes_what_an_evaluation_returns(coded):
    logits, labels = np.array([[[2.0, -1.0, 1.0]]]), np.array([[[1, 0, 0]]])
    names = load(coded).config.id2label
    for kwargs in ({"id2label": names}, {}):
        measure = irti_custom.make_compute_metrics("multilabel", per_label=True, **kwargs)
        metrics = measure((logits, labels))
        text = Path(write_model_card(coded, metrics=metrics, overwrite=True)).read_text()
        assert "| person | 1.000 | 1.000 | 1.000 | 1 |" in text
        assert "person_f1" not in text
        assert "| num_positions | 1 |" in text


def test_card_of_two_evaluations_is_refused(coded):
    with pytest.raises(ValueError, match="must be of one evaluation"):
        write_model_card(coded, metrics=TWICE)


def test_label_names_cannot_break_the_table(tmp_path):
    tiny_model(num_labels=None, id2label={0: "a|b\nc", 1: "<b>"}).save_pretrained(tmp_path)
    text = Path(write_model_card(tmp_path)).read_text()
    assert r"| 0 | a\|b c |" in text
    assert "| 1 | &lt;b> |" in text


def test_card_names_no_folder_of_this_machine(base, tmp_path, monkeypatch):
    load(base, num_labels=3).save_pretrained(tmp_path / "model", with_code=True)
    monkeypatch.chdir(tmp_path)
    load("base", num_labels=3).save_pretrained("relative", with_code=True)
    os.makedirs("out/encoder")
    shutil.copytree("base", "out/encoder", dirs_exist_ok=True)
    load("out/encoder", num_labels=3).save_pretrained("nested", with_code=True)
    shutil.rmtree("out/encoder")
    for folder in ("model", "relative", "nested"):
        text = Path(write_model_card(folder)).read_text()
        assert "base_model" not in text
        assert "encoder)" not in text
        assert str(tmp_path) not in text


@pytest.mark.parametrize("name", ["org/encoder", "bert-base-uncased"])
def test_card_names_the_base_encoder_of_the_hub(name, tmp_path):
    tiny_model(base_model_name_or_path=name).save_pretrained(tmp_path)
    assert f"base_model: {name}\n" in Path(write_model_card(tmp_path)).read_text()


def test_a_card_is_overwritten_only_when_asked(coded):
    card = Path(coded, "README.md")
    for text in ("# Mine\n", Path(write_model_card(coded, data="Forty texts.")).read_text()):
        card.write_text(text)
        with pytest.raises(FileExistsError, match="overwrite=True"):
            write_model_card(coded)
        load(coded).save_pretrained(coded, with_code=True)
        assert card.read_text() == text  # saving touches no card
        write_model_card(coded, overwrite=True)
        assert "Not described." in card.read_text()
        card.unlink()


def test_card_needs_a_model_of_this_kind(base, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="'me/model' is not a folder"):
        write_model_card("me/model")
    with pytest.raises(OSError, match=r"holds no config\.json|file named config\.json"):
        write_model_card(tmp_path)
    with pytest.raises(ValueError, match="holds 'bert'"):
        write_model_card(base)


def test_card_of_an_adapter(base, tmp_path):
    pytest.importorskip("peft")
    model = irti_custom.get_lora_model(load(base, num_labels=3))
    model.save_pretrained(tmp_path / "adapter")
    text = Path(write_model_card(tmp_path / "adapter", overwrite=True)).read_text()
    assert "library_name: peft" in text
    assert "- lora" in text
    assert "AutoModel," not in text


def test_card_of_an_adapter_names_the_checkpoint_it_was_trained_on(tmp_path):
    pytest.importorskip("peft")
    model = tiny_model(base_model_name_or_path="org/encoder")
    irti_custom.get_lora_model(model).save_pretrained(tmp_path)
    text = Path(write_model_card(tmp_path, overwrite=True)).read_text()
    assert "base_model: org/encoder\n" in text
    settings = json.loads((tmp_path / "adapter_config.json").read_text())
    settings["base_model_name_or_path"] = "me/checkpoint"
    (tmp_path / "adapter_config.json").write_text(json.dumps(settings))
    text = Path(write_model_card(tmp_path, overwrite=True)).read_text()
    assert "base_model: me/checkpoint\n" in text
    assert "| Base model | [me/checkpoint](https://huggingface.co/me/checkpoint) (`bert`) |" in text


def test_card_of_an_exported_graph_loads_the_graph(tmp_path):
    tiny_model().config.save_pretrained(tmp_path)
    (tmp_path / "model.onnx").touch()
    text = Path(write_model_card(tmp_path)).read_text()
    assert "library_name: onnx" in text
    assert "model = OnnxMaskedSeqModel.from_pretrained(name)" in text


def code_blocks(text: str) -> list[str]:
    return [block.partition("```")[0] for block in text.split("```python\n")[1:]]


def test_snippet_runs_as_printed(coded, tokenizer, tmp_path, monkeypatch, capsys):
    tokenizer.save_pretrained(coded)
    here, bare = code_blocks(Path(write_model_card(coded)).read_text())
    monkeypatch.chdir(tmp_path)  # the folder above
    exec(compile(here, "card", "exec"), {})
    printed = capsys.readouterr().out
    assert [line.partition(" ")[0] for line in printed.splitlines()] == ["Ann", "Rome"]
    assert "'person'" in printed
    assert run_bare(bare, coded, tmp_path) == printed


def test_snippet_beside_a_processor_runs_as_printed(
    coded, tokenizer, tmp_path, monkeypatch, capsys
):
    irti_custom.MaskedSeqProcessor(tokenizer).save_pretrained(coded)
    here, _ = code_blocks(Path(write_model_card(coded)).read_text())
    monkeypatch.chdir(tmp_path)
    exec(compile(here, "card", "exec"), {})
    assert [line.split("'")[5] for line in capsys.readouterr().out.splitlines()] == ["word", "word"]


@pytest.mark.parametrize("read", ["start", "end", "start_end"])
def test_snippet_without_the_package_reads_where_the_processor_does(
    read, coded, tokenizer, tmp_path, monkeypatch, capsys
):
    processor = irti_custom.MaskedSeqProcessor(tokenizer, read=read)
    if read == "start_end":
        names = load(coded).config.id2label
        model = tiny_model(num_labels=3, id2label=names, tokens_per_position=2)
        model.save_pretrained(coded, with_code=True)
    processor.save_pretrained(coded)
    _, bare = code_blocks(Path(write_model_card(coded)).read_text())
    assert ("char_to_token(end - 1)" in bare) == (read != "start")
    monkeypatch.chdir(tmp_path)
    exec(compile(bare, "card", "exec"), {})
    printed = [eval(line.partition(" ")[2]) for line in capsys.readouterr().out.splitlines()]
    pipe = irti_custom.MaskedSeqClassificationPipeline.from_pretrained(coded, device="cpu")
    answers = pipe(
        {"text": "Ann lives in Rome", "spans": [(0, 3), (13, 17)]}, return_all_scores=True
    )
    for found, answer in zip(printed, answers):
        expected = {entry["label"]: entry["score"] for entry in answer["labels"]}
        assert found == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("read", ["mask", "marker"])
def test_where_marks_are_read_the_card_shows_the_processor_alone(read, coded, tokenizer):
    irti_custom.MaskedSeqProcessor(tokenizer, read=read).save_pretrained(coded)
    text = Path(write_model_card(coded)).read_text()
    (block,) = code_blocks(text)
    assert "MaskedSeqClassificationPipeline" in block
    assert "on rows that the package's" in text


def test_snippet_of_a_wrapped_remote_encoder_asks_for_permission(remote_checkpoint):
    text = Path(write_model_card(remote_checkpoint)).read_text()
    assert "from_pretrained(name, trust_remote_code=True)" in text
    assert "tests-remote" in text
