"""A new head starts from how frequent its labels are; a trained one is left alone."""

import math

import pytest
import torch

from irti_custom import AutoModelForMaskedSeqModeling, get_lora_model, label_frequencies
from irti_custom.loading.label_prior import best_constant
from irti_custom.losses import multiclass_loss, multilabel_loss
from tests.tiny import save_base, tiny_model

FREQUENCIES = [0.5, 0.2, 0.01]


def bias(model):
    return model.head[3].bias.detach()


def test_a_multilabel_head_expects_about_one_label_per_position(tmp_path):
    base = save_base(tmp_path)
    model = AutoModelForMaskedSeqModeling.from_pretrained(base, num_labels=50)
    torch.testing.assert_close(bias(model), torch.full((50,), -math.log(50)))
    for model in (
        tiny_model(num_labels=50, task="multiclass"),
        AutoModelForMaskedSeqModeling.from_pretrained(base, num_labels=50, label_prior=None),
    ):
        assert (bias(model) == 0).all()


@pytest.mark.parametrize(
    ("task", "name"), [("multilabel", "pos_weight"), ("multiclass", "class_weight")]
)
@pytest.mark.parametrize("weight", [None, [1.0, 3.0, 20.0]])
def test_the_prior_is_the_constant_with_the_least_loss(task, name, weight):
    counts = [50, 20, 30] if task == "multiclass" else [50, 20, 1]
    if task == "multiclass":
        labels = torch.arange(3).repeat_interleave(torch.tensor(counts))[None]
        loss = multiclass_loss
    else:
        labels = torch.tensor([[[row < n for n in counts] for row in range(100)]]).float()
        loss = multilabel_loss
    start = best_constant([n / 100 for n in counts], task, weight).requires_grad_()
    factors = None if weight is None else torch.tensor(weight)
    total, _ = loss(start.expand(1, 100, 3), labels, factors)
    total.backward()
    assert start.grad.abs().max() < 1e-4 * total


def test_a_prior_is_given_by_position_by_name_or_for_all(tmp_path):
    base = save_base(tmp_path)
    expected = torch.logit(torch.tensor(FREQUENCIES))
    names = {0: "a", 1: "b", 2: "c"}
    for prior in (FREQUENCIES, {"c": 0.01, "a": 0.5, "b": 0.2}, torch.tensor(FREQUENCIES).numpy()):
        model = AutoModelForMaskedSeqModeling.from_pretrained(
            base, id2label=names, label_prior=prior
        )
        torch.testing.assert_close(bias(model), expected)
    model.set_label_prior(0.25)
    torch.testing.assert_close(bias(model), torch.full((3,), -math.log(3)))
    model.set_label_prior(None)
    assert (bias(model) == 0).all()


@pytest.mark.parametrize("task", ["multilabel", "multiclass"])
@pytest.mark.parametrize("prior", [[0.5, 0.5], [0.5, 0.5, 0.0], [0.5, 0.5, 1.0], {"a": 0.1}, "x"])
def test_a_prior_that_no_head_could_start_from_is_refused(task, prior):
    with pytest.raises(ValueError, match="`label_prior` must hold 3 probabilities"):
        tiny_model(num_labels=3, task=task).set_label_prior(prior)


def test_trained_heads_stay_as_they_are(tmp_path):
    model = tiny_model(num_labels=3)
    model.head[3].bias.data.fill_(7.0)
    model.save_pretrained(tmp_path / "trained")
    for prior in ({}, {"label_prior": None}):
        again = AutoModelForMaskedSeqModeling.from_pretrained(tmp_path / "trained", **prior)
        assert (bias(again) == 7).all()
    with pytest.raises(ValueError, match="has been trained"):
        AutoModelForMaskedSeqModeling.from_pretrained(tmp_path / "trained", label_prior=FREQUENCIES)
    lora = get_lora_model(again, r=2)
    with pytest.raises(ValueError, match="before get_lora_model"):
        lora.set_label_prior(FREQUENCIES)


def test_a_new_label_set_starts_from_its_prior(tmp_path):
    tiny_model(num_labels=2).save_pretrained(tmp_path)
    settings = {"num_labels": 3, "ignore_mismatched_sizes": True}
    model = AutoModelForMaskedSeqModeling.from_pretrained(tmp_path, **settings)
    torch.testing.assert_close(bias(model), torch.full((3,), -math.log(3)))
    model = AutoModelForMaskedSeqModeling.from_pretrained(
        tmp_path, **settings, label_prior=FREQUENCIES
    )
    torch.testing.assert_close(bias(model), torch.logit(torch.tensor(FREQUENCIES)))


def test_frequencies_are_counted_without_ignored_positions():
    labels = [[[1, 0], [-100, -100]], [[1, 1]]]
    assert label_frequencies(labels, "multilabel", 2) == [3 / 4, 2 / 4]
    assert label_frequencies([[0, -100], [0, 2]], "multiclass", 3) == [3 / 6, 1 / 6, 2 / 6]
    with pytest.raises(ValueError, match="Row 0"):
        label_frequencies([[3]], "multiclass", 3)
