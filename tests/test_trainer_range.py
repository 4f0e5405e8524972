"""Options of the stock Trainer, each doing what it says."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState
from datasets import Dataset, IterableDataset
from transformers import EarlyStoppingCallback, Trainer, TrainingArguments

from irti_custom import (
    DataCollatorForMaskedSeq,
    MaskedSeqProcessor,
)
from irti_custom.evaluation.metrics import logits_only
from tests.test_trainer import make_rows, make_trainer
from tests.tiny import tiny_model, word_tokenizer


def train(task, folder, model=None, **kwargs) -> Trainer:
    torch.manual_seed(0)
    trainer = make_trainer(task, folder, model or tiny_model(task=task), **kwargs)
    trainer.train()
    return trainer


def weights(trainer: Trainer) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in trainer.model.parameters()])


@pytest.mark.parametrize("task", ["multilabel", "multiclass"])
def test_batch_eval_metrics_gives_the_same_measures(task, tmp_path):
    whole = make_trainer(task, tmp_path, tiny_model(task=task))
    parts = make_trainer(task, tmp_path, whole.model, batch_eval_metrics=True)
    one, two = whole.evaluate(), parts.evaluate()
    measures = {name for name in two if "runtime" not in name and "second" not in name}
    assert len(measures) > 6
    for name in measures - {"eval_model_preparation_time", "epoch"}:
        assert one[name] == pytest.approx(two[name], abs=1e-6), name


def test_logits_only_keeps_hidden_states_out_of_the_evaluation(tmp_path):
    model = tiny_model()
    model.config.output_hidden_states = True
    model.config.keys_to_ignore_at_inference = []
    trainer = make_trainer("multilabel", tmp_path, model)
    assert isinstance(trainer.predict(trainer.eval_dataset).predictions, tuple)
    trainer.preprocess_logits_for_metrics = logits_only
    assert trainer.predict(trainer.eval_dataset).predictions.shape[-1] == 4


def test_early_stopping_stops(tmp_path):
    trainer = make_trainer(
        "multiclass",
        tmp_path,
        tiny_model(task="multiclass"),
        max_steps=50,
        learning_rate=0.0,
        eval_strategy="steps",
        eval_steps=1,
        save_steps=1,
        load_best_model_at_end=True,
        metric_for_best_model="accuracy",
    )
    trainer.add_callback(EarlyStoppingCallback(early_stopping_patience=2))
    trainer.train()
    assert trainer.state.global_step == 3


def test_model_init_builds_a_model_for_each_search_trial(tmp_path):
    scores = {}
    for rate in (0.0, 5e-3):
        trainer = Trainer(
            model_init=lambda: tiny_model(task="multiclass"),
            args=TrainingArguments(
                str(tmp_path), learning_rate=rate, max_steps=60, report_to="none", use_cpu=True
            ),
            train_dataset=make_rows("multiclass", 64),
            data_collator=DataCollatorForMaskedSeq(word_tokenizer()),
        )
        scores[rate] = trainer.train().training_loss
    assert scores[5e-3] < 0.7 * scores[0.0]


def test_dataloader_workers_change_nothing(tmp_path):
    alone = train("multilabel", tmp_path)
    helped = train("multilabel", tmp_path, dataloader_num_workers=2)
    assert torch.equal(weights(alone), weights(helped))


def encode(batch: dict, ids: list[int], tokenizer) -> dict:
    processor = MaskedSeqProcessor(tokenizer, label2id={"a": 0, "b": 1}, task="multiclass")
    labels = [["a"] * len(spans) for spans in batch["spans"]]
    return processor.encode_spans(batch["text"], batch["spans"], labels, ids)


def test_rows_come_from_parallel_map_and_from_streams_alike(tmp_path):
    texts = {"text": ["Ann sees Bob", "the cat", "a dog in Rome ."] * 8}
    texts["spans"] = [[[0, 3], [9, 12]], [[4, 7]], []] * 8
    tokenizer = word_tokenizer()
    plain = Dataset.from_dict(texts)
    settings = {"batched": True, "with_indices": True, "fn_kwargs": {"tokenizer": tokenizer}}
    settings["remove_columns"] = ["text", "spans"]
    mapped = plain.map(encode, num_proc=2, **settings)
    streamed = plain.to_iterable_dataset().map(encode, **settings)
    assert isinstance(streamed, IterableDataset)
    assert list(mapped) == list(streamed)
    for rows in (mapped, streamed):
        trainer = train("multiclass", tmp_path, rows=rows, max_steps=3)
        assert trainer.state.global_step == 3


def test_bf16_runs_the_layers_in_bf16_and_the_loss_in_float32(tmp_path, monkeypatch):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")  # restored after what the Trainer sets
    AcceleratorState._reset_state(True)  # it outlives a Trainer, and with it the precision
    model, seen = tiny_model(), set()
    model.head[3].register_forward_hook(lambda *call: seen.add(call[-1].dtype))
    trainer = train("multilabel", tmp_path, model, bf16=True)
    AcceleratorState._reset_state(True)
    assert seen == {torch.bfloat16}
    assert {p.dtype for p in trainer.model.parameters()} == {torch.float32}
    batch = trainer.data_collator(trainer.eval_dataset)
    with torch.autocast("cpu", torch.bfloat16):
        assert trainer.model(**batch).loss.dtype is torch.float32


def test_neftune_disturbs_training_only(tmp_path):
    plain = train("multilabel", tmp_path)
    noisy = train("multilabel", tmp_path, neftune_noise_alpha=5.0)
    assert not torch.equal(weights(plain), weights(noisy))
    batch = noisy.data_collator(noisy.eval_dataset)
    batch.pop("labels")
    noisy.model.eval()
    assert torch.equal(noisy.model(**batch).logits, noisy.model(**batch).logits)


def test_label_smoothing_is_the_trainers_for_multiclass(tmp_path):
    trainer = make_trainer(
        "multiclass", tmp_path, tiny_model(task="multiclass"), label_smoothing_factor=0.2
    )
    rows = [row for row in trainer.eval_dataset if row["labels"]]
    batch = trainer.data_collator(rows)
    loss = trainer.compute_loss(trainer.model, dict(batch))
    logits = trainer.model(**{k: v for k, v in batch.items() if k != "labels"}).logits
    wanted = torch.nn.CrossEntropyLoss(label_smoothing=0.2)(
        logits.flatten(0, 1), batch["labels"].flatten()
    )
    torch.testing.assert_close(loss, wanted)


@pytest.mark.parametrize(
    ("task", "settings", "options"),
    [
        ("multiclass", {"class_weight": [1.0, 2.0, 3.0, 4.0]}, {"label_smoothing_factor": 0.2}),
        ("multiclass", {"focal_gamma": 2.0}, {"label_smoothing_factor": 0.2}),
        ("multilabel", {"pos_weight": [1.0, 2.0, 3.0, 4.0]}, {"own": True}),
        ("multilabel", {"groups": {"g": ["LABEL_0", "LABEL_1"]}}, {"own": True}),
    ],
)
def test_settings_that_a_loss_of_the_trainer_leaves_out_are_named_once(
    task, settings, options, tmp_path, caplog
):
    own = options.pop("own", False)
    trainer = make_trainer(task, tmp_path, tiny_model(task=task, **settings), **options)
    if own:
        trainer.compute_loss_func = lambda outputs, labels, **_: outputs["logits"].square().mean()
    trainer.train()
    trainer.evaluate()
    assert caplog.text.count(f"{list(settings)} of its config have no effect") == 1
    caplog.clear()
    make_trainer(task, tmp_path, tiny_model(task=task, **settings)).train()
    assert "no effect" not in caplog.text


def test_columns_that_the_model_does_not_read_are_removed_or_refused_by_name(tmp_path):
    rows = [{**row, "note": "x"} for row in make_rows("multilabel")]
    train("multilabel", tmp_path, rows=Dataset.from_list(rows), max_steps=1)
    with pytest.raises(ValueError, match="note"):
        train("multilabel", tmp_path, rows=rows, max_steps=1, remove_unused_columns=False)


def test_each_checkpoint_holds_the_tokenizer_and_a_card_is_written(tmp_path):
    trainer = make_trainer("multilabel", tmp_path, tiny_model(), save_steps=2)
    trainer.processing_class = word_tokenizer()
    trainer.train()
    assert (tmp_path / "checkpoint-2" / "tokenizer.json").exists()
    trainer.create_model_card(model_name="tiny")
    assert "tiny" in (tmp_path / "README.md").read_text()


def test_training_killed_in_the_middle_resumes_step_exactly(tmp_path):
    script = (
        "import sys, time, torch\n"
        "from transformers import TrainerCallback\n"
        "from tests.test_trainer_range import killed_run\n"
        "class Slow(TrainerCallback):\n"
        "    def on_step_end(self, args, state, control, **kwargs):\n"
        "        if state.global_step > 6: time.sleep(3600)\n"  # until it is killed
        "killed_run(sys.argv[1], Slow())\n"
    )
    folder = tmp_path / "killed"
    root = Path(__file__).parent.parent
    child = subprocess.Popen([sys.executable, "-c", script, str(folder)], cwd=root)
    while not (folder / "checkpoint-6").exists():  # then checkpoint-4 is written whole
        assert child.poll() is None
        time.sleep(0.05)
    child.send_signal(signal.SIGKILL)
    child.wait()
    last = max(int(path.name.split("-")[1]) for path in folder.glob("checkpoint-*"))
    assert last < 12
    resumed = killed_run(folder, resume=str(folder / "checkpoint-4"))
    whole = killed_run(tmp_path / "whole")
    assert torch.equal(weights(resumed), weights(whole))


def killed_run(folder, callback=None, resume=None) -> Trainer:
    torch.manual_seed(0)
    model = tiny_model()
    trainer = make_trainer("multilabel", folder, model, max_steps=12, save_steps=2, logging_steps=1)
    if callback is not None:
        trainer.add_callback(callback)
    trainer.train(resume_from_checkpoint=resume)
    return trainer
