"""Thresholds tuned at the end of a training with the stock Trainer."""

from __future__ import annotations

import pytest
import torch
from transformers import Trainer, TrainerCallback

from irti_custom import (
    AutoModelForMaskedSeqModeling,
    get_lora_model,
    make_compute_metrics,
    tune_thresholds,
)
from irti_custom.evaluation.callbacks import ThresholdTuningCallback
from tests.test_trainer import make_rows, make_trainer
from tests.tiny import save_base

TASKS = ("multilabel", "multiclass")
load = AutoModelForMaskedSeqModeling.from_pretrained


def tuned(trainer: Trainer, **settings) -> Trainer:
    trainer.add_callback(ThresholdTuningCallback(trainer, **settings))
    trainer.train()
    return trainer


def expected(trainer: Trainer, rows=None, **settings):
    output = trainer.predict(trainer.eval_dataset if rows is None else rows)
    return tune_thresholds(
        output.predictions, output.label_ids, trainer.model.config.task, **settings
    )


@pytest.mark.parametrize("task", TASKS)
def test_thresholds_are_tuned_and_saved_with_the_model(task, tmp_path):
    settings = {"objective": "micro_f1", "beta": 0.5, "min_positives": 1}
    trainer = tuned(make_trainer(task, tmp_path, save_steps=4), **settings)
    found = trainer.model.config.thresholds
    assert found == expected(trainer, **settings)
    assert found not in (None, 0.0, [0.5] * 4)
    trainer.save_model(tmp_path / "saved")
    assert load(tmp_path / "saved").config.thresholds == found
    assert load(tmp_path / "checkpoint-4").config.thresholds is None  # written before the end

    metrics = (make_compute_metrics(task, thresholds=t) for t in (None, found))
    output = trainer.predict(trainer.eval_dataset)
    before, after = (compute((output.predictions, output.label_ids)) for compute in metrics)
    assert before["num_positions"] == after["num_positions"]
    if task == "multilabel":
        assert after["micro_precision"] > before["micro_precision"] or after["micro_f1"] > 0
    else:
        assert after["micro_precision"] > before["accuracy"]


def test_what_predict_uses_afterwards_are_the_tuned_thresholds(tmp_path):
    trainer = tuned(make_trainer("multilabel", tmp_path), min_positives=1)
    output = trainer.predict(trainer.eval_dataset)
    kept = output.label_ids[..., 0] != -100
    decided = trainer.model.predict(torch.tensor(output.predictions[kept])).numpy()
    score = make_compute_metrics("multilabel", thresholds=trainer.model.config.thresholds)
    hits = (decided & (output.label_ids[kept] == 1)).sum()
    results = score((output.predictions, output.label_ids))
    assert results["micro_precision"] == pytest.approx(hits / decided.sum())


@pytest.mark.parametrize("task", TASKS)
def test_an_adapter_saves_its_thresholds(task, tmp_path):
    pytest.importorskip("peft")
    base = save_base(tmp_path / "base")
    model = get_lora_model(load(base, num_labels=4, task=task))
    trainer = tuned(make_trainer(task, tmp_path, model), objective="micro_f1", min_positives=1)
    found = trainer.model.get_base_model().config.thresholds
    assert found == expected(trainer, objective="micro_f1", min_positives=1)
    trainer.save_model(tmp_path / "adapter")
    again = load(tmp_path / "adapter")
    assert again.config.thresholds == found
    logits = torch.randn(2, 3, 4)
    assert torch.equal(again.predict(logits), trainer.model.predict(logits))
    merged = again.merge_and_unload()
    merged.save_pretrained(tmp_path / "merged")
    assert load(tmp_path / "merged").config.thresholds == found


def test_the_best_model_is_the_one_that_is_tuned(tmp_path):
    class Spoil(TrainerCallback):
        def on_step_end(self, args, state, control, model=None, **kwargs):
            if state.global_step > 4:
                torch.nn.init.normal_(model.head[3].weight)

    steps = {"eval_strategy": "steps", "eval_steps": 4, "save_strategy": "steps", "save_steps": 4}
    best = {"load_best_model_at_end": True, "metric_for_best_model": "loss"}
    trainer = make_trainer("multilabel", tmp_path, max_steps=8, **steps, **best)
    trainer.add_callback(Spoil())
    tuned(trainer, min_positives=1)
    assert trainer.state.best_model_checkpoint.endswith("checkpoint-4")
    assert trainer.model.config.thresholds == expected(trainer, min_positives=1)


@pytest.mark.parametrize(
    "options",
    [
        {"prediction_loss_only": True},
        {"batch_eval_metrics": True},
        {"eval_do_concat_batches": False},
        {"bf16_full_eval": True},
        {"include_for_metrics": ["inputs", "loss"]},
        {"eval_accumulation_steps": 1},
    ],
    ids=str,
)
def test_the_trainer_is_as_it_was(options, tmp_path):
    def double(logits, labels):
        return logits * 2

    trainer = make_trainer("multilabel", tmp_path, **options)
    trainer.preprocess_logits_for_metrics = double
    compute_metrics = trainer.compute_metrics
    arguments = trainer.args.to_dict()
    tuned(trainer, min_positives=1)
    assert trainer.model.dtype == torch.float32
    assert trainer.model.training
    assert trainer.compute_metrics is compute_metrics
    assert trainer.preprocess_logits_for_metrics is double
    assert trainer.args.to_dict() == arguments
    assert trainer.callback_handler.eval_dataloader is None
    assert not trainer.is_in_train
    assert compute_metrics._merged is None

    plain = make_trainer("multilabel", tmp_path, trainer.model)
    assert trainer.model.config.thresholds == expected(plain, min_positives=1)


def test_training_is_the_same_with_and_without_the_callback(tmp_path):
    weights = []
    for callback in (False, True):
        torch.manual_seed(0)
        trainer = make_trainer("multilabel", tmp_path)
        trainer = tuned(trainer) if callback else trainer
        if not callback:
            trainer.train()
        weights.append(torch.cat([w.detach().flatten() for w in trainer.model.parameters()]))
    assert torch.equal(*weights)


def test_one_of_several_evaluation_sets_is_named(tmp_path):
    sets = {name: make_rows("multilabel", n, seed=n) for name, n in (("small", 6), ("large", 20))}
    trainer = make_trainer("multilabel", tmp_path)
    trainer.eval_dataset = sets
    tuned(trainer, eval_dataset="large", min_positives=1)
    assert trainer.model.config.thresholds == expected(trainer, sets["large"], min_positives=1)
    trainer = make_trainer("multilabel", tmp_path, trainer.model)
    tuned(trainer, eval_dataset=sets["small"], min_positives=1)
    assert trainer.model.config.thresholds == expected(trainer, sets["small"], min_positives=1)


@pytest.mark.parametrize(
    ("known", "settings", "message"),
    [
        (None, {}, "`eval_dataset` must be given, .* got None"),
        ({"a": [], "b": []}, {}, r"got None with \['a', 'b'\]"),
        ({"a": [], "b": []}, {"eval_dataset": "c"}, r"got 'c' with \['a', 'b'\]"),
        ([], {"eval_dataset": "c"}, "got 'c'. Pass it"),
        ([], {"objective": "mcc"}, "`objective` must be one of"),
    ],
)
def test_what_would_fail_at_the_end_is_refused_before_the_training(
    known, settings, message, tmp_path
):
    trainer = make_trainer("multilabel", tmp_path)
    trainer.eval_dataset = known
    with pytest.raises(ValueError, match=message):
        tuned(trainer, **settings)
    assert trainer.state.global_step == 0


def test_an_evaluation_set_without_labels_is_refused(tmp_path):
    trainer = make_trainer("multilabel", tmp_path, max_steps=1)
    bare = [{k: v for k, v in row.items() if k != "labels"} for row in trainer.eval_dataset]
    with pytest.raises(ValueError, match="must have labels"):
        tuned(trainer, eval_dataset=bare)
    assert trainer.model.config.thresholds is None
    assert trainer.compute_metrics is not None
