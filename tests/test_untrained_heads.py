"""A head is new as long as nothing has trained it, whoever made it: only then may it be started."""

from __future__ import annotations

import copy

import pytest
import torch

from irti_custom import (
    AutoModelForMaskedSeqModeling,
    DataCollatorForMaskedSeq,
    MaskedSeqProcessor,
)
from irti_custom.inference.components import label_names
from tests.tiny import save_base, tiny_batch, tiny_labels, tiny_model, word_tokenizer

NAMES = {"a": 0, "b": 1, "c": 2, "d": 3}
TEXTS = {"a": "Ann", "b": "Bob", "c": "Rome", "d": "Paris"}


def processor(read: str = "start", **settings) -> MaskedSeqProcessor:
    settings = {"label2id": NAMES, "max_length": 32, **settings}
    return MaskedSeqProcessor(word_tokenizer(), read=read, **settings)


def one_step(model):
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    batch = tiny_batch()
    if model.config.tokens_per_position == 2:
        batch["end_indices"] = batch["mask_indices"]
    model.train()(**batch, labels=tiny_labels(model.config.task)).loss.backward()
    optimizer.step()
    return model.eval()


def new(tmp_path, task="multilabel"):
    return AutoModelForMaskedSeqModeling.from_pretrained(
        save_base(tmp_path / "base"), label2id=NAMES, task=task
    )


TRAINED = {
    "a step": lambda new, folder: one_step(new),
    "a copy after a step": lambda new, folder: copy.deepcopy(one_step(new)),
    "other weights": lambda new, folder: load_weights(new),
    "a checkpoint": lambda new, folder: reloaded(new, folder),
}


def load_weights(model):
    model.load_state_dict(tiny_model(label2id=NAMES).state_dict())
    return model


def reloaded(model, folder):
    model.save_pretrained(folder / "saved")
    return AutoModelForMaskedSeqModeling.from_pretrained(folder / "saved")


START = {
    "label texts": lambda model, task: processor(task=task).prepare_model(model, label_texts=TEXTS),
    "another reading": lambda model, task: processor("start_end", task=task).prepare_model(model),
    "width": lambda model, task: model.set_tokens_per_position(2),
    "prior": lambda model, task: model.set_label_prior(None),
}


@pytest.mark.parametrize("task", ["multilabel", "multiclass"])
@pytest.mark.parametrize("start", START)
@pytest.mark.parametrize("trained", TRAINED)
def test_a_trained_head_is_not_started_again(trained, start, task, tmp_path):
    model = TRAINED[trained](new(tmp_path, task), tmp_path)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match="trained"):
        START[start](model, task)
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("cast", [torch.float32, torch.bfloat16])
def test_a_new_head_is_started_any_number_of_times(cast, tmp_path):
    model = new(tmp_path).to(cast)
    for _ in range(2):
        processor("start_end").prepare_model(model, label_texts=TEXTS)
        model.set_label_prior(0.2)
        processor().prepare_model(model, label_texts=TEXTS)
        reloaded(model, tmp_path)
    assert model.is_untrained()


def test_of_a_checkpoint_with_other_labels_the_last_layer_is_new(tmp_path):
    one_step(new(tmp_path)).save_pretrained(tmp_path / "saved")
    names = {"a": 0, "b": 1}
    model = AutoModelForMaskedSeqModeling.from_pretrained(
        tmp_path / "saved", label2id=names, ignore_mismatched_sizes=True
    )
    texts = {name: TEXTS[name] for name in names}
    processor(label2id=names).prepare_model(model, label_texts=texts)
    assert (model.is_untrained(3), model.is_untrained(0)) == (True, False)
    with pytest.raises(ValueError, match="trained to read 1"):
        model.set_tokens_per_position(2)


def test_labels_in_another_order_are_refused_wherever_processor_and_model_meet(tmp_path):
    model = new(tmp_path)
    for settings in ({"label2id": {**NAMES, "a": 1, "b": 0}}, {"task": "multiclass"}):
        other = processor(**settings)
        message = r"The processor is for task=.* the model for"
        with pytest.raises(ValueError, match=message):
            other.prepare_model(model)
        with pytest.raises(ValueError, match=message):
            DataCollatorForMaskedSeq(other, model=model)
        with pytest.raises(ValueError, match=message):
            label_names(model.config, other)
    counted = tiny_model(num_labels=4)
    processor().prepare_model(counted)
    DataCollatorForMaskedSeq(processor(), model=counted)


@pytest.mark.parametrize(
    ("task", "settings"),
    [("multiclass", {"class_weight": [1.0] * 4}), ("multiclass", {"focal_gamma": 1.0})],
)
def test_training_with_a_loss_of_the_caller_names_settings_without_effect(task, settings, caplog):
    model = tiny_model(task=task, **settings).train()
    for _ in range(2):
        model(**tiny_batch())
    (record,) = caplog.records
    assert str(list(settings)) in record.getMessage()
    caplog.clear()
    model(**tiny_batch(), labels=tiny_labels(task))
    model.eval()(**tiny_batch())
    tiny_model(task=task).train()(**tiny_batch())
    assert not caplog.records
