"""Every encoder the README names: right logits, a gradient, and a checkpoint that reloads."""

from __future__ import annotations

import copy

import pytest
import torch
from transformers import CONFIG_MAPPING, AutoModel, AutoModelForMaskedLM, BertConfig, ViTConfig

from irti_custom import AutoModelForMaskedSeqModeling, MaskedSeqModelingConfig
from irti_custom.encoders import find_encoder_class
from irti_custom.loading.base_encoders import check_encoder
from tests.tiny import (
    TINY_ENCODERS,
    assert_same_logits,
    save_base,
    tiny_batch,
    tiny_config,
    tiny_labels,
    tiny_model,
)

WITHOUT_MLM = ("canine", "xlnet")
SPARSE = {"block_size": 2, "num_random_blocks": 1}  # BigBird's attention, above 14 tokens


@pytest.mark.parametrize("model_type", TINY_ENCODERS)
@torch.no_grad()
def test_logits_are_the_head_on_the_bare_encoders_states_of_each_row_alone(model_type, tmp_path):
    base = save_base(tmp_path, model_type)
    model = AutoModelForMaskedSeqModeling.from_pretrained(base, num_labels=4)
    batch = tiny_batch()
    bare, lengths = AutoModel.from_pretrained(base), batch["attention_mask"].sum(1)
    rows = [ids[None, :length] for ids, length in zip(batch["input_ids"], lengths)]
    states = [bare(row).last_hidden_state[0] for row in rows]
    picked = torch.stack([own[at] for own, at in zip(states, batch["mask_indices"])])
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


def deep_model(model_type: str, **settings: object) -> AutoModelForMaskedSeqModeling:
    """A model of four layers and large weights, so that everything it reads shows."""
    depth = {"funnel": {"block_sizes": [2, 2]}, "longformer": {"attention_window": [8] * 4}}
    names = ("num_hidden_layers", "n_layers", "n_layer")
    name = next((name for name in names if hasattr(tiny_config(model_type), name)), names[0])
    settings = {name: 4, **depth.get(model_type, {}), **settings}
    if model_type == "funnel":
        del settings[name]
    config = tiny_config(model_type, **settings)
    model = AutoModelForMaskedSeqModeling(
        MaskedSeqModelingConfig(base_model_config=config, num_labels=4)
    )
    for weight in model.parameters():
        if weight.dim() > 1:
            torch.nn.init.normal_(weight, std=0.3)
    return model.eval()


FAMILIES = [
    *[(model_type, {}) for model_type in TINY_ENCODERS],
    ("big_bird", SPARSE),
    ("deberta-v2", {"conv_kernel_size": 3}),
    ("nystromformer", {"num_landmarks": 64, "conv_kernel_size": 3}),
    ("yoso", {"use_expectation": True}),
]


@pytest.mark.parametrize(("model_type", "settings"), FAMILIES)
@torch.no_grad()
def test_no_row_reads_what_is_beside_it(model_type, settings):
    model = deep_model(model_type, **settings)
    lengths = torch.tensor([6, 16, 40, 39, 5, 15, 6])
    real = torch.arange(40) < lengths[:, None]
    random = torch.Generator().manual_seed(1)
    pad = model.config.base_model_config.pad_token_id or 0
    ids = torch.where(real, torch.randint(5, 60, real.shape, generator=random), pad)
    positions = (torch.rand(7, 3, generator=random) * lengths[:, None]).long()
    together = model(ids, real.long(), positions).logits
    for row, length in enumerate(lengths.tolist()):
        alone = model(ids[row, None, :length], None, positions[row, None]).logits
        torch.testing.assert_close(together[row, None], alone, rtol=0, atol=1e-4)
        assert alone.abs().max() > 0.1


@torch.no_grad()
def test_bigbird_keeps_its_attention_after_a_short_batch(tmp_path):
    model = deep_model("big_bird", **SPARSE)
    random, first = torch.Generator().manual_seed(1), torch.tensor([[0]])
    long, short = (torch.randint(5, 60, (1, n), generator=random) for n in (40, 14))
    before = model(long, None, first).logits
    state = torch.get_rng_state()
    alone = model(short, None, first).logits
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(model(long, None, first).logits, before)
    model.train()
    model(short, None, first)
    assert torch.equal(model.eval()(long, None, first).logits, before)
    model(short, None, first)
    model.save_pretrained(tmp_path)
    reloaded = AutoModelForMaskedSeqModeling.from_pretrained(tmp_path)
    torch.testing.assert_close(reloaded(long, None, first).logits, before)
    torch.testing.assert_close(reloaded(short, None, first).logits, alone)
    model.encoder.config.attention_type = "original_full"
    assert torch.equal(model(short, None, first).logits, alone)
    assert not torch.allclose(model(long, None, first).logits, before, atol=1e-3)


@pytest.mark.parametrize("model_type", ["fnet", "convbert"])
def test_gradients_do_not_depend_on_padding(model_type):
    whole, parts = deep_model(model_type), []
    batch, labels = tiny_batch(batch=3), tiny_labels("multilabel", batch=3)
    whole.double()(**batch, labels=labels).loss.backward()
    for row, length in enumerate(batch["attention_mask"].sum(1)):
        one = {name: value[row, None] for name, value in batch.items()}
        one["input_ids"] = one["input_ids"][:, :length]
        one["attention_mask"] = None
        parts.append((one, labels[row, None]))
    apart = copy.deepcopy(whole)
    apart.zero_grad()
    for one, own in parts:
        apart(**one, labels=own, num_items_in_batch=(labels != -100).sum()).loss.backward()
    for (name, ours), other in zip(whole.named_parameters(), apart.parameters()):
        torch.testing.assert_close(ours.grad, other.grad, msg=name)


def test_hidden_states_of_encoders_that_read_padding_are_refused_for_ragged_rows():
    model, batch = deep_model("convbert"), tiny_batch()
    with pytest.raises(ValueError, match="Pass rows of one length"):
        model(**batch, output_hidden_states=True)
    batch["attention_mask"][:] = 1
    assert len(model(**batch, output_hidden_states=True).hidden_states) == 5


@pytest.mark.parametrize("kind", ["dynamic", "longrope"])
def test_positions_that_follow_other_texts_are_refused(kind):
    config = tiny_config("roformer")
    config.rope_parameters = {"rope_type": kind, "factor": 2.0}
    with pytest.raises(ValueError, match=f"rope_type='{kind}'"):
        check_encoder(config)
