"""Adapter folders: what they hold, how they come back, and when they do not."""

from __future__ import annotations

import inspect
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel

from irti_custom import AutoModelForMaskedSeqModeling, get_lora_model
from tests.lora.test_adapt import shake
from tests.tiny import (
    TINY_ENCODERS,
    assert_same_logits,
    save_base,
    tiny_batch,
    tiny_labels,
    tiny_model,
)

peft = pytest.importorskip("peft")
peft_model = pytest.importorskip("irti_custom.lora.peft_model")
load = AutoModelForMaskedSeqModeling.from_pretrained


def adapt(model, **options):
    return shake(get_lora_model(model, **options))


def save(model, folder) -> str:
    model.save_pretrained(folder)
    return str(folder)


@pytest.fixture
def adapter(base, tmp_path) -> str:
    """An adapter on a base encoder; its model had labels, a task and a loss of its own."""
    settings = {"id2label": {0: "person", 1: "place"}, "task": "multiclass", "focal_gamma": 2.0}
    return save(adapt(load(base, **settings)), tmp_path / "adapter")


@pytest.mark.parametrize("model_type", TINY_ENCODERS)
def test_adapter_on_an_encoder_comes_back_whole_and_merges(model_type, tmp_path):
    base = save_base(tmp_path / "base", model_type)
    model, options, batch = load(base, num_labels=4), {}, tiny_batch()
    if model_type != "canine":
        model.resize_token_embeddings(70)
        options["new_tokens"] = range(64, 70)
        batch["input_ids"][:, 2:4] = torch.tensor([64, 69])
    model = adapt(model, **options)
    again = load(save(model, tmp_path / "adapter"))
    assert_same_logits(model, again, atol=1e-6, **batch)
    merged = again.merge_and_unload()
    assert_same_logits(model, merged, atol=2e-5, **batch)
    assert_same_logits(merged, load(save(merged, tmp_path / "merged")), atol=1e-6, **batch)


def test_adapter_on_a_checkpoint_comes_back_whole(base, tmp_path):
    checkpoint = save(load(base, num_labels=4), tmp_path / "checkpoint")
    model = adapt(load(checkpoint))
    folder = save(model, tmp_path / "adapter")
    shutil.rmtree(base)  # the checkpoint needs it no more
    assert_same_logits(model, load(folder))
    auto = peft.AutoPeftModelForFeatureExtraction.from_pretrained(folder)
    assert_same_logits(model, auto)


def test_adapter_brings_its_own_head_to_a_checkpoint_with_other_labels(base, tmp_path):
    checkpoint = save(load(base, num_labels=4), tmp_path / "checkpoint")
    model = adapt(load(checkpoint, num_labels=7, ignore_mismatched_sizes=True))
    again = load(save(model, tmp_path / "adapter"))
    assert again.config.num_labels == 7
    assert_same_logits(model, again)


def test_adapter_comes_back_in_a_fresh_process(adapter):
    script = (
        "import sys, torch; from irti_custom import AutoModelForMaskedSeqModeling as Model\n"
        "model = Model.from_pretrained(sys.argv[1]); ids = torch.arange(5, 13)[None]\n"
        "print(model(ids, torch.ones_like(ids), torch.tensor([[2]])).logits.tolist())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, adapter], capture_output=True, text=True, check=True
    )
    ids = torch.arange(5, 13)[None]
    here = load(adapter)(ids, torch.ones_like(ids), torch.tensor([[2]])).logits
    torch.testing.assert_close(torch.tensor(json.loads(done.stdout)), here)


def test_it_comes_back_with_its_settings_and_in_eval_mode(adapter, base):
    model = load(adapter)
    assert isinstance(model, peft.PeftModel)
    assert model.config.id2label == {0: "person", 1: "place"}
    assert (model.config.task, model.config.focal_gamma) == ("multiclass", 2.0)
    assert model.config.base_model_name_or_path == base
    assert not any(module.training for module in model.modules())
    assert not any(weight.requires_grad for weight in model.parameters())


def test_folder_names_no_bare_encoder_as_its_base(adapter):
    with open(os.path.join(adapter, "adapter_config.json")) as file:
        assert not json.load(file)["base_model_name_or_path"]
    with pytest.raises(Exception, match=r"(?i)repo|connect|configuration"):
        peft.AutoPeftModelForFeatureExtraction.from_pretrained(adapter)


def test_encoder_settings_of_the_caller_come_back(base, tmp_path):
    model = adapt(load(base, num_labels=4, num_hidden_layers=1, layer_norm_eps=1e-3))
    again = load(save(model, tmp_path / "adapter"))
    assert again.config.base_model_config.num_hidden_layers == 1
    assert_same_logits(model, again)


def test_training_can_go_on_after_a_reload(adapter, base):
    model = load(adapter, is_trainable=True)
    assert {n for n, w in model.named_parameters() if w.requires_grad} == {
        n for n, w in get_lora_model(load(base, num_labels=2)).named_parameters() if w.requires_grad
    }


@pytest.mark.parametrize(
    "options",
    [
        {"use_dora": True},
        {"use_rslora": True},
        {"bias": "all"},
        {"init_lora_weights": "pissa"},
        {"target_modules": "all-linear", "rank_pattern": {"query": 2}},
        {"modules_to_save": ["word_embeddings"]},
    ],
    ids=lambda options: next(iter(options)),
)
def test_every_option_comes_back(options, base, tmp_path):
    model = adapt(load(base, num_labels=4), **options)
    assert_same_logits(model, load(save(model, tmp_path / "adapter")))


def test_saved_again_it_is_the_same(adapter, tmp_path):
    model = load(adapter)
    assert_same_logits(model, load(save(model, tmp_path / "again")))
    for name in ("config.json", "adapter_config.json"):
        assert (tmp_path / "again" / name).read_text() == (tmp_path / "adapter" / name).read_text()


def test_peft_puts_it_on_a_model_as_its_users_expect(adapter, base):
    model = peft.PeftModel.from_pretrained(load(base, num_labels=2), adapter)
    assert_same_logits(model, load(adapter))


def test_second_adapter_has_a_folder_of_its_own(base, tmp_path):
    model = adapt(load(base, num_labels=4))
    first = load(save(model, tmp_path / "first"))
    options = {"task_type": "FEATURE_EXTRACTION", "target_modules": ["key"]}
    model.add_adapter("other", peft.LoraConfig(**options, modules_to_save=["head"]))
    model.set_adapter("other")
    shake(model)
    folder = save(model, tmp_path / "both")
    assert_same_logits(model, load(folder, subfolder="other"))
    assert_same_logits(first, load(folder))


def test_loading_arguments_reach_the_base(adapter):
    model, info = load(adapter, dtype=torch.float64, output_loading_info=True)
    assert {w.dtype for w in model.encoder.parameters()} >= {torch.float64}
    assert set(info["unexpected_keys"]) <= {"pooler.dense.bias", "pooler.dense.weight"}
    hidden = load(adapter, output_hidden_states=True)
    assert len(hidden(**tiny_batch()).hidden_states) == 3


def test_strict_mlm_check_holds_for_adapters_too(tmp_path):
    model = adapt(load(save_base(tmp_path / "base", "canine"), num_labels=4))
    with pytest.raises(ValueError, match="masked-LM class"):
        load(save(model, tmp_path / "adapter"), strict_mlm_check=True)


@pytest.mark.parametrize("kind", ["encoder", "checkpoint"])
def test_base_that_has_moved_is_named_and_can_be_told(kind, base, tmp_path):
    if kind == "checkpoint":
        base = save(load(base, num_labels=4), tmp_path / "checkpoint")
    model = adapt(load(base, **({"num_labels": 4} if kind == "encoder" else {})))
    folder = save(model, tmp_path / "adapter")
    moved = shutil.move(base, tmp_path / "moved")
    with pytest.raises(OSError, match=rf"adapter' stands on '{base}'.*base_model_name_or_path"):
        load(folder)
    again = load(folder, base_model_name_or_path=moved)
    assert_same_logits(model, again)
    assert_same_logits(model, load(save(again, tmp_path / "again")))


def test_adapter_on_a_model_from_nowhere_says_so(tmp_path):
    model = adapt(tiny_model())
    folder = save(model, tmp_path / "adapter")
    with pytest.raises(ValueError, match=r"came from no folder.*PeftModel\.from_pretrained"):
        load(folder)
    plain = peft.PeftModel.from_pretrained(model.unload(), folder)
    assert plain(**tiny_batch()).logits.shape == (2, 3, 4)


def test_base_of_another_shape_is_refused(base, tmp_path):
    checkpoint = save(load(base, num_labels=4), tmp_path / "checkpoint")
    model = adapt(load(checkpoint, num_labels=7, ignore_mismatched_sizes=True))
    folder = save(model, tmp_path / "adapter")
    other = save_base(tmp_path / "other", intermediate_size=40)
    small = save(load(other, num_labels=4), tmp_path / "small")
    with pytest.raises(ValueError, match=r"other shapes in \['bert"):
        load(folder, base_model_name_or_path=small)


def test_added_rows_that_nobody_keeps_are_refused_before_training(base, tmp_path):
    model = load(base, num_labels=4)
    model.resize_token_embeddings(70)
    with pytest.raises(ValueError, match=r"3 are not \(the first is 67\).*range\(64, 70\)"):
        get_lora_model(model, new_tokens=[64, 65, 66])
    model = adapt(load(save(model, tmp_path / "resized")))  # the way out
    batch = {**tiny_batch(), "input_ids": torch.full((2, 16), 69)}
    assert_same_logits(model, load(save(model, tmp_path / "adapter")), **batch)


def test_added_rows_of_a_fully_trained_embedding_are_kept(base, tmp_path):
    model = load(base, num_labels=4)
    model.resize_token_embeddings(70)
    model = adapt(model, modules_to_save=["word_embeddings"])
    batch = {**tiny_batch(), "input_ids": torch.full((2, 16), 69)}
    assert_same_logits(model, load(save(model, tmp_path / "adapter")), **batch)


def test_adapter_that_lacks_weights_is_refused(adapter):
    file = os.path.join(adapter, "adapter_model.safetensors")
    whole = load_file(file)
    for lost in ("head.3.weight", "layer.1.attention.self.query.lora_B.weight"):
        part = {name: value for name, value in whole.items() if not name.endswith(lost)}
        assert len(part) == len(whole) - 1
        save_file(part, file)
        with pytest.raises(ValueError, match=f"lacks weights: .*{lost.split('.')[-2]}"):
            load(adapter)


@pytest.mark.parametrize(
    "lost", ["config.json", "adapter_config.json", "adapter_model.safetensors"]
)
def test_adapter_that_was_not_saved_whole_is_refused(lost, adapter):
    os.remove(os.path.join(adapter, lost))
    with pytest.raises((OSError, ValueError)):
        load(adapter)


def test_save_that_breaks_off_leaves_the_earlier_one(adapter, monkeypatch):
    model, before = load(adapter), load(adapter)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    monkeypatch.setattr(peft.LoraConfig, "save_pretrained", lambda *a, **k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        model.save_pretrained(adapter)
    assert_same_logits(before, load(adapter))
    assert not list(Path(adapter).glob(".s*"))


def test_folder_of_plain_peft_opens_if_its_base_is_a_checkpoint(base, tmp_path):
    checkpoint = save(load(base, num_labels=4), tmp_path / "checkpoint")
    settings = peft.LoraConfig(r=2, target_modules=["query"], modules_to_save=["head"])
    plain = peft.get_peft_model(load(checkpoint), settings).eval()
    plain.save_pretrained(tmp_path / "plain")
    assert not (tmp_path / "plain" / "config.json").exists()
    assert_same_logits(plain, load(tmp_path / "plain"))
    allowed = {}
    if "import_allowlist" in inspect.signature(peft.AutoPeftModel.from_pretrained).parameters:
        allowed = {"import_allowlist": ["irti_custom.modeling_custom"]}
    folder = str(tmp_path / "plain")
    again = peft.AutoPeftModelForFeatureExtraction.from_pretrained(folder, **allowed)
    assert_same_logits(plain, again.eval())


def test_folder_of_plain_peft_around_a_new_head_says_what_it_is(base, tmp_path):
    settings = peft.LoraConfig(r=2, target_modules=["query"], modules_to_save=["head"])
    peft.get_peft_model(load(base, num_labels=4), settings).save_pretrained(tmp_path / "plain")
    with pytest.raises(ValueError, match=r"adapter that PEFT saved .*PeftModel\.from_pretrained"):
        load(tmp_path / "plain")


def test_prompts_of_plain_peft_are_named_in_the_first_forward(base):
    settings = peft.PromptTuningConfig(
        task_type="FEATURE_EXTRACTION",
        num_virtual_tokens=3,
        num_layers=2,
        token_dim=32,
        num_attention_heads=4,
    )
    model = peft.get_peft_model(load(base, num_labels=4), settings)
    with pytest.raises(ValueError, match="virtual tokens"):
        model(**tiny_batch())


@pytest.mark.parametrize("head", [None, ["head"]])
def test_a_new_head_that_plain_peft_freezes_is_named_once(head, base, caplog):
    model = load(base, num_labels=4)
    settings = peft.LoraConfig(r=2, target_modules=["query"], modules_to_save=head)
    adapted = peft.get_peft_model(model, settings).train()
    for _ in range(2):
        adapted(**tiny_batch(), labels=tiny_labels("multilabel"))
    assert caplog.text.count("modules_to_save=['head']") == (head is None)


def test_saved_prompt_is_refused_with_the_reason(adapter):
    config = peft.PromptTuningConfig(task_type="FEATURE_EXTRACTION", num_virtual_tokens=3)
    config.save_pretrained(adapter)
    with pytest.raises(ValueError, match="virtual tokens"):
        load(adapter)


def test_base_on_the_hub_is_the_one_that_was_adapted(tmp_path):
    def publish(name, commit, save_to):
        repository = tmp_path / "hub" / f"models--org--{name}"
        save_to(repository / "snapshots" / commit)
        (repository / "refs").mkdir(exist_ok=True)
        (repository / "refs" / "main").write_text(commit)

    publish("base", "a" * 40, save_base)
    place = {"cache_dir": str(tmp_path / "hub")}
    model = adapt(load("org/base", num_labels=4, **place))
    publish("base", "b" * 40, save_base)  # other weights now
    assert_same_logits(model, load(save(model, tmp_path / "adapter"), **place))
    publish("adapter", "c" * 40, model.save_pretrained)
    assert_same_logits(model, load("org/adapter", **place))


@pytest.mark.parametrize("kind", ["encoder", "checkpoint"])
def test_code_of_the_base_runs_with_permission_of_the_call_only(kind, remote, tmp_path):
    model = load(remote, num_labels=3, trust_remote_code=True)
    if kind == "checkpoint":
        model = load(save(model, tmp_path / "checkpoint"), trust_remote_code=True)
    model = adapt(model)
    assert {n for n, _ in model.named_modules() if n.endswith("lora_A")} == {
        "base_model.model.tests_remote.dense.lora_A"
    }
    folder = save(model, tmp_path / "adapter")
    (tmp_path / "trace").unlink(missing_ok=True)
    with pytest.raises(ValueError, match="trust_remote_code"):
        load(folder)
    assert not (tmp_path / "trace").exists()
    assert_same_logits(model, load(folder, trust_remote_code=True))


def test_base_in_a_subfolder_is_refused_before_training(base, tmp_path):
    model = load(tmp_path, num_labels=4, subfolder="base")
    with pytest.raises(ValueError, match="subfolder='base', which an adapter cannot record"):
        get_lora_model(model)


def test_folder_loads_through_the_auto_class(base, tmp_path):
    checkpoint = save(load(base, num_labels=4), tmp_path / "checkpoint")
    model = adapt(load(checkpoint))
    assert_same_logits(model, AutoModel.from_pretrained(save(model, tmp_path / "adapter")))


@pytest.mark.parametrize("kind", ["encoder", "checkpoint"])
def test_an_adapter_on_weights_that_no_folder_holds_is_refused(kind, base, tmp_path):
    def fresh():
        model = load(base, num_labels=4)
        if kind == "checkpoint":
            model.save_pretrained(tmp_path / "checkpoint")
            model = load(tmp_path / "checkpoint")
        return model

    merged = adapt(fresh()).merge_and_unload()
    trained = fresh()
    next(trained.encoder.parameters()).data += 0.01
    for model in (merged, trained):
        with pytest.raises(ValueError, match="Save the model, load it from there"):
            get_lora_model(model)
        model.save_pretrained(tmp_path / "stage")
        second = adapt(load(tmp_path / "stage"))
        assert_same_logits(second, load(save(second, tmp_path / "second")), atol=1e-6)


def test_an_adapter_does_not_load_on_a_base_that_was_trained_further(base, tmp_path):
    model = load(base, num_labels=4)
    model.resize_token_embeddings(70)
    folder = save(adapt(model, new_tokens=[3, *range(64, 70)]), tmp_path / "adapter")
    saved = AutoModel.from_pretrained(base)
    saved.get_input_embeddings().weight.data[3] += 1.0  # a row that the adapter holds
    saved.save_pretrained(base)
    load(folder)
    load(folder, dtype=torch.bfloat16)
    saved.get_input_embeddings().weight.data[4] += 0.01
    saved.save_pretrained(base)
    with pytest.raises(ValueError, match="other weights than"):
        load(folder)
    settings = json.loads(Path(folder, "config.json").read_text())
    assert settings.pop("base_digest").startswith("torch.float32 ")
    Path(folder, "config.json").write_text(json.dumps(settings))  # as earlier versions wrote it
    load(folder)


@pytest.mark.parametrize(
    "settings",
    [
        {"label2id": {"place": 0, "person": 1}},
        {"thresholds": [0.2, 0.3]},
        {"temperature": 2.0},
        {"task": "multiclass"},
        {"groups": {"kind": ["person", "place"]}},
    ],
)
def test_a_second_adapter_with_other_settings_is_refused(settings, base, tmp_path):
    first = {"label2id": {"person": 0, "place": 1}}
    model = adapt(load(base, **first))
    save(adapt(load(base, **{**first, **settings})), tmp_path / "second")
    save(adapt(load(base, **first)), tmp_path / "third")
    whole = load(base, **first)
    for loader in (model.load_adapter, whole.load_adapter):
        with pytest.raises(ValueError, match="differs from the model in"):
            loader(str(tmp_path / "second"), adapter_name="second")
    model.load_adapter(tmp_path / "third", "third")
    assert set(model.peft_config) == {"default", "third"}


def test_an_adapter_of_the_same_training_loads_again_after_thresholds_were_tuned(base, tmp_path):
    model = adapt(load(base, num_labels=4))
    folder = save(model, tmp_path / "adapter")
    model.config.thresholds = [0.1] * 4
    model.load_adapter(folder, "default")  # as the Trainer does for its best checkpoint


def test_adapters_with_heads_are_not_combined(base):
    model = adapt(load(base, num_labels=4))
    with pytest.raises(ValueError, match="a head that is not trained"):
        model.add_weighted_adapter(["default"], [0.5], "mix")


def test_a_second_adapter_on_another_encoder_is_refused(base, tmp_path):
    model = adapt(load(base, num_labels=4))
    other = AutoModel.from_pretrained(base)
    next(other.parameters()).data += 0.1
    other.save_pretrained(tmp_path / "other")
    AutoModel.from_pretrained(tmp_path / "other")
    second = save(adapt(load(tmp_path / "other", num_labels=4)), tmp_path / "second")
    with pytest.raises(ValueError, match="an encoder with other weights"):
        model.load_adapter(second, "second")


def test_the_base_that_is_recorded_is_the_one_compared(base, tmp_path):
    merged = adapt(load(base, num_labels=4)).merge_and_unload()
    folder = save(merged, tmp_path / "stage")
    second = adapt(merged, base_model_name_or_path=folder)
    assert_same_logits(second, load(save(second, tmp_path / "second")), atol=1e-6)
