"""LoRA: what is adapted, trained and refused, and that the stock Trainer does its work on it."""

from __future__ import annotations

import sys

import pytest
import torch
from transformers import BertConfig, TrainerCallback

from irti_custom import AutoModelForMaskedSeqModeling, MaskedSeqModelingConfig, get_lora_model
from tests.test_trainer import make_rows, make_trainer
from tests.tiny import (
    TINY_ENCODERS,
    assert_same_logits,
    save_base,
    tiny_batch,
    tiny_labels,
    tiny_model,
)

peft = pytest.importorskip("peft")
load = AutoModelForMaskedSeqModeling.from_pretrained


def shake(model):
    """Move all trained weights off their start, where an adapter is a zero."""
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(0.05 * torch.randn_like(weight))
    return model.eval()


def adapted_names(model) -> set[str]:
    names = {name.split(".lora_")[0] for name, _ in model.named_parameters() if ".lora_" in name}
    return {name.removeprefix("base_model.model.") for name in names}


def trained_names(model) -> set[str]:
    return {name for name, weight in model.named_parameters() if weight.requires_grad}


@pytest.mark.parametrize("model_type", TINY_ENCODERS)
def test_adapters_and_head_train_and_nothing_else(model_type):
    model = tiny_model(model_type)
    layers = len(list(model.head.parameters()))
    frozen = {name: weight.clone() for name, weight in model.encoder.named_parameters()}
    model = shake(get_lora_model(model))
    adapted = adapted_names(model)
    assert adapted
    assert all(name.startswith(f"{model.base_model_prefix}.") for name in adapted)
    loss = model(**tiny_batch(), labels=tiny_labels("multilabel")).loss
    loss.backward()
    trained = trained_names(model)
    assert trained == {name for name, w in model.named_parameters() if w.grad is not None}
    assert all(w.grad.any() for w in model.parameters() if w.requires_grad)
    assert len(trained) == 2 * len(adapted) + layers
    left = dict(model.unload().encoder.named_parameters())
    assert all(torch.equal(weight, left[name]) for name, weight in frozen.items())


@pytest.mark.parametrize("settings", [None, {"use_reentrant": True}], ids=["default", "reentrant"])
@pytest.mark.parametrize("model_type", TINY_ENCODERS)
def test_gradient_checkpointing_changes_no_gradient(model_type, settings):
    model = shake(get_lora_model(tiny_model(model_type))).train()
    if not model.supports_gradient_checkpointing:
        pytest.skip("the encoder has none")
    if settings and model_type in ("canine", "layoutlm"):
        pytest.skip("the encoder gives a reentrant checkpoint nothing to hold a gradient to")
    model(**tiny_batch())  # BigBird chooses its attention
    grads = []
    for checkpointing in (False, True):
        if checkpointing:
            model.gradient_checkpointing_enable(settings)
        torch.manual_seed(0)  # the same dropout
        model.zero_grad()
        model(**tiny_batch(), labels=tiny_labels("multilabel")).loss.backward()
        grads.append([weight.grad for weight in model.parameters() if weight.requires_grad])
    torch.testing.assert_close(grads[1], grads[0])


@pytest.mark.parametrize(
    "options",
    [
        {"target_modules": "all-linear"},
        {"target_modules": r".*\.query|head\.\d"},
        {"target_modules": ["query", "head.0", "head.3"]},
        {"target_parameters": ["query.weight"], "target_modules": []},
    ],
    ids=["all-linear", "regex", "list", "parameters"],
)
def test_head_never_holds_an_adapter(options):
    model = get_lora_model(tiny_model(), **options)
    assert any(".query" in name for name in adapted_names(model))
    assert not any(name.startswith("head") for name in adapted_names(model))


def test_target_parameters_in_the_head_are_refused():
    model = tiny_model()
    with pytest.raises(ValueError, match=r"must not reach the head.*'head\.3\.weight'"):
        get_lora_model(model, target_parameters=["query.weight", "3.weight"])
    get_lora_model(model)  # as good as new


@pytest.mark.parametrize("model_type", ["funnel", "esm"])
def test_modules_that_are_called_like_the_head_stay_frozen(model_type):
    model = get_lora_model(tiny_model(model_type), modules_to_save=["head"])
    trained = [name for name in trained_names(model) if ".lora_" not in name]
    assert trained
    assert all(name.startswith("base_model.model.head.") for name in trained)


def test_a_name_clash_without_a_way_out_is_refused():
    model = tiny_model()
    model.encoder.add_module("forehead", torch.nn.Sequential(torch.nn.Linear(2, 2)))
    with pytest.raises(ValueError, match=r"cannot tell the head's .*bert\.forehead\.0"):
        get_lora_model(model)


def test_modules_to_save_of_the_caller_train_beside_the_head():
    model = get_lora_model(tiny_model(), modules_to_save=["position_embeddings"])
    names = {name for name in trained_names(model) if ".lora_" not in name}
    assert {"bert", "head"} == {name.split(".")[2] for name in names}


@pytest.mark.parametrize("model_type", [name for name in TINY_ENCODERS if name != "canine"])
def test_new_tokens_train_and_the_others_do_not(model_type):
    model = tiny_model(model_type)
    model.resize_token_embeddings(70)
    before = model.get_input_embeddings().weight.clone()
    model = get_lora_model(model, new_tokens=[69, 64])
    batch = tiny_batch()
    batch["input_ids"][:, 2] = 69
    optimizer = torch.optim.SGD([w for w in model.parameters() if w.requires_grad], 10.0)
    model(**batch, labels=tiny_labels("multilabel")).loss.backward()
    optimizer.step()
    after = model.merge_and_unload().get_input_embeddings().weight
    changed = (after != before).any(1).nonzero().flatten().tolist()
    assert changed == [69]


@pytest.mark.parametrize(
    ("tokens", "message"),
    [([70], r"ids in \[0, 63\].*got 70"), (["[CELL]"], "convert_tokens_to_ids"), ([-1], "got -1")],
)
def test_tokens_that_the_embedding_has_not_are_refused(tokens, message):
    with pytest.raises(ValueError, match=message):
        get_lora_model(tiny_model(), new_tokens=tokens)


def test_encoder_without_token_embeddings_has_no_new_tokens():
    with pytest.raises(ValueError, match="'canine' has none"):
        get_lora_model(tiny_model("canine"), new_tokens=[3])


def test_options_of_lora_pass_through():
    model = get_lora_model(
        tiny_model(), 4, 8, 0.25, ["query"], use_dora=True, use_rslora=True, layers_to_transform=[1]
    )
    layer = model.encoder.encoder.layer[1].attention.self.query
    assert adapted_names(model) == {"bert.encoder.layer.1.attention.self.query"}
    assert layer.scaling == {"default": 8 / 4**0.5}
    assert layer.lora_dropout["default"].p == 0.25
    assert "lora_magnitude_vector" in dict(layer.named_children())
    with pytest.raises(TypeError, match="nonsense"):
        get_lora_model(tiny_model(), nonsense=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"peft_type": "PROMPT_TUNING"}, "must be LORA, got PROMPT_TUNING.*virtual tokens"),
        ({"num_virtual_tokens": 3}, "`num_virtual_tokens`.*virtual tokens"),
        ({"task_type": "TOKEN_CLS"}, "must be FEATURE_EXTRACTION, got TOKEN_CLS"),
        ({"new_tokens": [3], "trainable_token_indices": [3]}, "either `new_tokens` or"),
    ],
)
def test_options_of_other_methods_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        get_lora_model(tiny_model(), **options)


def test_prompt_model_is_refused_with_the_reason():
    settings = {"num_layers": 2, "token_dim": 32, "num_attention_heads": 4}
    config = peft.PromptTuningConfig(
        task_type="FEATURE_EXTRACTION", num_virtual_tokens=3, **settings
    )
    with pytest.raises(ValueError, match=r"position .* would silently point at another token"):
        get_lora_model(peft.get_peft_model(tiny_model(), config))


def test_model_with_adapters_is_refused_until_they_are_merged():
    model = get_lora_model(tiny_model())
    for adapted in (model, model.get_base_model()):
        with pytest.raises(ValueError, match=r"merge_and_unload\(\)"):
            get_lora_model(adapted)
    assert adapted_names(get_lora_model(model.merge_and_unload()))


def test_other_models_are_refused():
    with pytest.raises(ValueError, match="an AutoModelForMaskedSeqModeling, got BertModel"):
        get_lora_model(tiny_model().encoder)


def test_what_would_be_trained_but_not_saved_is_refused(monkeypatch):
    from irti_custom.lora import peft_model

    whole = peft_model.get_peft_model_state_dict
    part = lambda *a, **k: {n: v for n, v in whole(*a, **k).items() if "lora_A" not in n}  # noqa: E731
    model = tiny_model()
    with monkeypatch.context() as patch:
        patch.setattr(peft_model, "get_peft_model_state_dict", part)
        with pytest.raises(ValueError, match=r"train but not save .*lora_A"):
            get_lora_model(model)
    get_lora_model(model)  # as good as new


def test_without_peft_the_error_says_what_to_install(base, tmp_path, monkeypatch):
    get_lora_model(load(base, num_labels=4)).save_pretrained(tmp_path / "adapter")
    model = load(base, num_labels=4)
    monkeypatch.setitem(sys.modules, "peft", None)
    monkeypatch.delitem(sys.modules, "irti_custom.lora.peft_model")
    for needs_peft in (lambda: get_lora_model(model), lambda: load(tmp_path / "adapter")):
        with pytest.raises(ModuleNotFoundError, match="pip install peft"):
            needs_peft()


def test_it_keeps_the_mode_and_the_names_of_the_model():
    for mode in (True, False):
        model = get_lora_model(tiny_model(task="multiclass").train(mode), lora_dropout=0.5)
        assert {module.training for module in model.modules()} == {mode}
    proba = model.predict_proba(model(**tiny_batch()).logits)
    torch.testing.assert_close(proba.sum(-1), torch.ones(2, 3))
    assert model.config.task == "multiclass"
    assert model.encoder.config.model_type == "bert"


def test_adapter_is_under_5_percent_of_bert_base():
    config = MaskedSeqModelingConfig(num_labels=15, base_model_config=BertConfig())
    with torch.device("meta"):
        model = get_lora_model(AutoModelForMaskedSeqModeling(config), r=8)
    trained, total = model.get_nb_trainable_parameters()
    saved = sum(w.numel() for w in peft.get_peft_model_state_dict(model).values())
    assert saved == trained
    assert trained / total < 0.05
    print(f"{trained:,} of {total:,} parameters: {trained / total:.2%}")


def without_dropout(folder) -> str:
    off = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return save_base(folder / "base", **off)


@pytest.mark.parametrize("task", ["multilabel", "multiclass"])
def test_the_gradient_does_not_depend_on_how_a_batch_is_cut(task, tmp_path):
    source = load(without_dropout(tmp_path), num_labels=4, task=task)
    source.save_pretrained(tmp_path / "source")
    shake(get_lora_model(source)).save_pretrained(tmp_path / "start")
    ends = []
    for size, steps, checkpointing in ((16, 1, False), (4, 4, False), (2, 8, True)):
        model = load(tmp_path / "start", is_trainable=True)
        before = torch.cat([w.detach().flatten().clone() for w in model.parameters()])
        make_trainer(
            task,
            tmp_path / "out",
            model,
            per_device_train_batch_size=size,
            gradient_accumulation_steps=steps,
            gradient_checkpointing=checkpointing,
            optim="sgd",
            max_grad_norm=0.0,
            max_steps=1,
            lr_scheduler_type="constant",
            learning_rate=1.0,
        ).train()
        ends.append(torch.cat([w.detach().flatten() for w in model.parameters()]) - before)
    assert ends[0].abs().max() > 1e-3
    for other in ends[1:]:
        assert (other - ends[0]).abs().max() < 1e-5 * ends[0].abs().max()


def test_trainer_evaluates_saves_and_resumes_step_by_step(base, tmp_path):
    def trainer(name, **kwargs):
        torch.manual_seed(0)
        model = get_lora_model(load(base, num_labels=4), lora_dropout=0.1)
        return make_trainer("multilabel", tmp_path / name, model, save_steps=2, **kwargs)

    whole, resumed = trainer("whole"), trainer("resumed")
    whole.train()
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-2"))
    for (name, one), two in zip(whole.model.named_parameters(), resumed.model.parameters()):
        assert torch.equal(one, two), name
    metrics = whole.evaluate()
    assert metrics["eval_num_positions"] > 0
    assert metrics["eval_loss"] == pytest.approx(resumed.evaluate()["eval_loss"])
    whole.save_model(str(tmp_path / "saved"))
    whole.model.eval()
    assert_same_logits(whole.model, load(tmp_path / "saved"))
    assert_same_logits(whole.model, load(tmp_path / "whole" / "checkpoint-4"))


def test_best_model_is_loaded_at_the_end(base, tmp_path):
    class Spoil(TrainerCallback):
        def on_step_end(self, args, state, control, model=None, **kwargs):
            if state.global_step > 20:
                for name, weight in model.named_parameters():
                    if "head.modules_to_save" in name or "lora_B" in name:
                        torch.nn.init.zeros_(weight)

    trainer = make_trainer(
        "multiclass",
        tmp_path / "out",
        get_lora_model(load(base, num_labels=4, task="multiclass")),
        rows=make_rows("multiclass", 64),
        max_steps=40,
        learning_rate=2e-2,
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
    assert trainer.evaluate()["eval_accuracy"] == trainer.state.best_metric > 0.5
    assert_same_logits(trainer.model.eval(), load(trainer.state.best_model_checkpoint))


def test_a_merged_model_is_not_saved_over_its_adapter(tmp_path):
    model = get_lora_model(tiny_model())
    model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="holds an adapter, which would be loaded on top"):
        model.merge_and_unload().save_pretrained(tmp_path)
