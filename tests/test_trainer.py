"""The stock Trainer: trains, accumulates exactly, evaluates, predicts, saves and resumes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import Trainer, TrainerCallback, TrainingArguments

from irti_custom import (
    AutoModelForMaskedSeqModeling,
    DataCollatorForMaskedSeq,
    make_compute_metrics,
)
from tests.tiny import make_rows, tiny_model, word_tokenizer

TASKS = ("multilabel", "multiclass")


def make_trainer(task, folder, model=None, rows=None, **kwargs) -> Trainer:
    settings = {
        "output_dir": str(folder),
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
        "per_device_train_batch_size": 4,
        "per_device_eval_batch_size": 5,
        "learning_rate": 5e-3,
        "max_steps": 4,
        **kwargs,
    }
    return Trainer(
        model=model or tiny_model(task=task),
        args=TrainingArguments(**settings),
        train_dataset=rows or make_rows(task),
        eval_dataset=make_rows(task, 13, seed=1),
        data_collator=DataCollatorForMaskedSeq(word_tokenizer(), num_labels=4, task=task),
        compute_metrics=make_compute_metrics(task),
    )


@pytest.mark.parametrize("task", TASKS)
def test_training_learns(task, tmp_path):
    trainer = make_trainer(task, tmp_path, rows=make_rows(task, 64), max_steps=60)
    before = trainer.evaluate()
    trainer.train()
    after = trainer.evaluate()
    measure = "eval_micro_f1" if task == "multilabel" else "eval_accuracy"
    assert after[measure] > max(0.9, before[measure])
    assert after["eval_loss"] < before["eval_loss"]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("steps", [1, 3])
def test_training_goes_on_over_batches_without_any_position(task, steps, tmp_path):
    rows = make_rows(task, 12)
    bare = [{**row, "mask_indices": [], "labels": []} for row in rows[:8]]
    trainer = make_trainer(task, tmp_path, rows=bare + rows, gradient_accumulation_steps=steps)
    trainer.data_collator = DataCollatorForMaskedSeq(word_tokenizer())
    trainer.train()
    assert np.isfinite(trainer.state.log_history[-1]["train_loss"])
    for order in (rows[:5] + bare, bare + rows[:5]):
        if task == "multiclass":
            assert trainer.evaluate(order)["eval_num_positions"] > 0
    listed = make_trainer(task, tmp_path, trainer.model, eval_do_concat_batches=False)
    listed.data_collator = trainer.data_collator
    assert listed.evaluate(bare + rows[:5])["eval_num_positions"] > 0
    named = make_trainer(task, tmp_path, trainer.model)
    assert named.evaluate(bare + rows[:5])["eval_num_positions"] > 0


@pytest.mark.parametrize("task", TASKS)
def test_prediction_keeps_rows_and_positions(task, tmp_path):
    trainer = make_trainer(task, tmp_path)
    rows = trainer.eval_dataset
    output = trainer.predict(rows)
    widest = max(len(row["mask_indices"]) for row in rows)
    assert output.predictions.shape == (13, widest, 4)
    with torch.no_grad():
        for row, logits in zip(rows, output.predictions):
            ids = torch.tensor([row["input_ids"]])
            positions = torch.tensor([row["mask_indices"]], dtype=torch.long)
            alone = trainer.model(ids, torch.ones_like(ids), positions.view(1, -1)).logits[0]
            found = torch.tensor(logits)[: positions.numel()]
            torch.testing.assert_close(found, alone, rtol=1e-4, atol=1e-5)


def test_prediction_needs_no_labels(tmp_path):
    trainer = make_trainer("multilabel", tmp_path)
    bare = [{k: v for k, v in row.items() if k != "labels"} for row in trainer.eval_dataset]
    output = trainer.predict(bare)
    assert output.label_ids is None
    np.testing.assert_allclose(
        output.predictions, trainer.predict(trainer.eval_dataset).predictions, atol=1e-6
    )


@pytest.mark.parametrize("task", TASKS)
def test_rows_of_a_dataset_train_alike(task, tmp_path):
    rows = make_rows(task)
    losses = []
    for data in (rows, Dataset.from_list(rows), Dataset.from_list(rows).with_format("numpy")):
        torch.manual_seed(0)
        trainer = make_trainer(task, tmp_path, rows=data, seed=3)
        losses.append(trainer.train().training_loss)
    assert losses[0] == losses[1] == losses[2]


@pytest.mark.parametrize("task", TASKS)
def test_checkpoint_of_the_trainer_reloads_and_resumes(task, tmp_path):
    torch.manual_seed(0)
    whole = make_trainer(task, tmp_path / "whole", save_steps=2)
    whole.train()
    torch.manual_seed(1)
    resumed = make_trainer(task, tmp_path / "resumed", save_steps=2)
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-2"))
    saved = AutoModelForMaskedSeqModeling.from_pretrained(tmp_path / "whole" / "checkpoint-4")
    for (name, one), two, three in zip(
        whole.model.named_parameters(), resumed.model.parameters(), saved.parameters()
    ):
        assert torch.equal(one, two), name
        assert torch.equal(one, three), name


def test_best_model_is_loaded_at_the_end(tmp_path):
    class Spoil(TrainerCallback):
        def on_step_end(self, args, state, control, model=None, **kwargs):
            if state.global_step > 20:
                torch.nn.init.zeros_(model.head[3].weight)

    trainer = make_trainer(
        "multiclass",
        tmp_path,
        rows=make_rows("multiclass", 64),
        max_steps=40,
        eval_strategy="steps",
        eval_steps=20,
        save_strategy="steps",
        save_steps=20,
        load_best_model_at_end=True,
        metric_for_best_model="accuracy",
        greater_is_better=True,
    )
    trainer.add_callback(Spoil())
    trainer.train()
    assert trainer.state.best_model_checkpoint.endswith("checkpoint-20")
    assert trainer.model.head[3].weight.abs().sum() > 0


def test_rows_without_any_position_train_and_evaluate(tmp_path):
    rows = [{"input_ids": [5, 6], "mask_indices": [], "labels": []} for _ in range(8)]
    trainer = make_trainer("multilabel", tmp_path, rows=rows, max_steps=1)
    assert trainer.train().training_loss == 0
    assert trainer.evaluate(rows)["eval_num_positions"] == 0


# The option's name, and its values for grouped and for plain order.
GROUPING = (
    ("train_sampling_strategy", "group_by_length", "random")
    if "train_sampling_strategy" in TrainingArguments.__dataclass_fields__
    else ("group_by_length", True, False)
)


def test_grouping_by_length_pads_less_and_is_switched_off_for_predictions_in_order(tmp_path):
    option, grouped, plain = GROUPING
    rows = make_rows("multilabel", 64)
    rows = Dataset.from_list([{**row, "length": len(row["input_ids"])} for row in rows])
    shares = []
    for value in (plain, grouped):
        trainer = make_trainer("multilabel", tmp_path, rows=rows, **{option: value})
        masks = [batch["attention_mask"] for batch in trainer.get_train_dataloader()]
        shares.append(sum(m.sum() for m in masks) / sum(m.numel() for m in masks))
    assert shares[1] > shares[0]
    setattr(trainer.args, option, plain)  # the Trainer groups its evaluation by the same option
    counts = (trainer.predict(rows).label_ids[..., 0] != -100).sum(1)
    assert counts.tolist() == [len(positions) for positions in rows["mask_indices"]]
