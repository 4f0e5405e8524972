"""Every encoder the README names: right logits, a gradient, and a checkpoint that reloads."""

from __future__ import annotations

import pytest
import torch
from transformers import CONFIG_MAPPING, AutoModel, AutoModelForMaskedLM, BertConfig, ViTConfig

from irti_custom import AutoModelForMaskedSeqModeling, MaskedSeqModelingConfig
from irti_custom.encoders import check_encoder, find_encoder_class
from tests.tiny import (
    TINY_ENCODERS,
    assert_same_logits,
    save_base,
    tiny_batch,
    tiny_config,
    tiny_labels,
    tiny_model,
)

WITHOUT_MASK = ("fnet",)
WITHOUT_MLM = ("canine", "xlnet")


@pytest.mark.parametrize("model_type", TINY_ENCODERS)
@torch.no_grad()
def test_logits_are_the_head_on_the_bare_encoders_states(model_type, tmp_path):
    base = save_base(tmp_path, model_type)
    model = AutoModelForMaskedSeqModeling.from_pretrained(base, num_labels=4)
    batch = tiny_batch()
    mask = {} if model_type in WITHOUT_MASK else {"attention_mask": batch["attention_mask"]}
    states = AutoModel.from_pretrained(base)(batch["input_ids"], **mask).last_hidden_state
    picked = torch.stack([states[row, batch["mask_indices"][row]] for row in range(2)])
    torch.testing.assert_close(model(**batch).logits, model.head(picked))


@pytest.mark.parametrize("model_type", TINY_ENCODERS)
def test_checkpoint_reloads_without_its_base_model(model_type, tmp_path):
    model = tiny_model(model_type)
    model.save_pretrained(tmp_path)
    assert_same_logits(model, AutoModelForMaskedSeqModeling.from_pretrained(tmp_path))


@pytest.mark.parametrize("task", ["multilabel", "multiclass"])
@pytest.mark.parametrize("model_type", TINY_ENCODERS)
def test_loss_reaches_embeddings_and_head(model_type, task):
    model = tiny_model(model_type, task=task).train()
    loss = model(**tiny_batch(), labels=tiny_labels(task)).loss
    loss.backward()
    assert torch.isfinite(loss)
    first = next(p for name, p in model.encoder.named_parameters() if "embed" in name.lower())
    for parameter in (first, model.head[0].weight, model.head[3].weight):
        assert parameter.grad is not None
        assert parameter.grad.abs().sum() > 0


@pytest.mark.parametrize("model_type", sorted({*TINY_ENCODERS} - {*WITHOUT_MLM}))
def test_masked_lm_checkpoint_serves_as_base(model_type, tmp_path):
    settings = {"architectures": None} if model_type == "funnel" else {}
    mlm = AutoModelForMaskedLM.from_config(tiny_config(model_type, **settings)).eval()
    mlm.save_pretrained(tmp_path)
    model = AutoModelForMaskedSeqModeling.from_pretrained(
        tmp_path, num_labels=2, strict_mlm_check=True
    )
    ours = dict(model.encoder.named_parameters())
    theirs = dict(mlm.base_model.named_parameters())
    shared = sorted(ours.keys() & theirs.keys())
    assert len(shared) >= len(ours) - 2  # a pooler that no masked LM has
    for name in shared:
        assert torch.equal(ours[name], theirs[name]), name


@pytest.mark.parametrize("model_type", WITHOUT_MLM)
def test_strict_mlm_check_refuses_encoders_without_a_masked_lm(model_type, tmp_path):
    base = save_base(tmp_path, model_type)
    with pytest.raises(ValueError, match=f"masked-LM class, and '{model_type}' has none"):
        AutoModelForMaskedSeqModeling.from_pretrained(base, num_labels=2, strict_mlm_check=True)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (CONFIG_MAPPING["t5"](), "an encoder-decoder"),
        (BertConfig(is_decoder=True), "a decoder"),
        (CONFIG_MAPPING["gpt2"](), "a decoder"),
        (CONFIG_MAPPING["llama"](), "a decoder"),
        (ViTConfig(), None),
    ],
    ids=["t5", "bert-decoder", "gpt2", "llama", "vit"],
)
def test_other_architectures_are_refused_before_weights_are_read(config, reason, tmp_path):
    config.save_pretrained(tmp_path)  # no weights there at all
    message = f"encoder-only model is needed, but .* is {reason}" if reason else "takes `input_ids`"
    with pytest.raises(ValueError, match=message):
        AutoModelForMaskedSeqModeling.from_pretrained(tmp_path, num_labels=2)


def test_funnel_without_its_decoder_is_refused_for_its_shorter_states():
    model = tiny_model("bert")
    short = AutoModel.from_config(tiny_config("funnel", architectures=["FunnelBaseModel"]))
    assert find_encoder_class(short.config) is type(short)
    config = model.config.__class__(num_labels=2, base_model_config=short.config)
    with pytest.raises(ValueError, match="one hidden state per token"):
        AutoModelForMaskedSeqModeling(config)(**tiny_batch())


def test_width_is_found_under_every_name():
    configs = [MaskedSeqModelingConfig(base_model_config=tiny_config(n)) for n in TINY_ENCODERS]
    assert {config.hidden_size for config in configs} == {32}


def test_encoder_keeps_no_pooler_to_train():
    for model_type in TINY_ENCODERS:
        names = dict(tiny_model(model_type).named_parameters())
        assert not [n for n, p in names.items() if ".pooler." in n and p.requires_grad], model_type


def test_check_passes_every_tiny_encoder():
    for model_type in TINY_ENCODERS:
        check_encoder(tiny_config(model_type))
    with pytest.raises(ValueError, match="encoder-only"):
        check_encoder(CONFIG_MAPPING["gpt2"]())
