"""The forward pass: what comes out, what is refused, and what it works under."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from transformers import AutoModel

from irti_custom import AutoModelForMaskedSeqModeling, MaskedSeqModelingConfig
from tests.tiny import assert_same_logits, tiny_batch, tiny_config, tiny_labels, tiny_model


def test_head_is_the_documented_one():
    head = tiny_model().head
    assert [type(layer).__name__ for layer in head] == ["Linear", "GELU", "LayerNorm", "Linear"]
    names = {"0.weight": (32, 32), "0.bias": (32,), "2.weight": (32,), "2.bias": (32,)}
    names.update({"3.weight": (4, 32), "3.bias": (4,)})
    assert {name: tuple(p.shape) for name, p in head.named_parameters()} == names


def test_forward_takes_its_arguments_in_the_documented_order():
    model, batch, labels = tiny_model(), tiny_batch(), tiny_labels("multilabel")
    by_place = model(batch["input_ids"], batch["attention_mask"], batch["mask_indices"], labels)
    by_name = model(**batch, labels=labels)
    assert torch.equal(by_place.loss, by_name.loss)
    assert torch.equal(by_place.logits, by_name.logits)


@pytest.mark.parametrize("task", ["multilabel", "multiclass"])
def test_loss_is_the_mean_over_kept_elements_or_the_sum_over_the_given_count(task):
    model, batch, labels = tiny_model(task=task), tiny_batch(), tiny_labels(task)
    output = model(**batch, labels=labels)
    kept = labels != -100
    if task == "multilabel":
        loss = torch.nn.BCEWithLogitsLoss(reduction="sum")
        total = loss(output.logits[kept], labels[kept].float())
    else:
        total = torch.nn.CrossEntropyLoss(reduction="sum")(output.logits[kept], labels[kept])
    torch.testing.assert_close(output.loss, total / kept.sum())
    counted = model(**batch, labels=labels, num_items_in_batch=torch.tensor(100))
    torch.testing.assert_close(counted.loss, total / 100)


def test_padding_order_and_batching_change_nothing():
    model, batch = tiny_model(), tiny_batch(batch=3)
    logits = model(**batch).logits
    order = torch.tensor([2, 0, 1])
    shuffled = model(
        batch["input_ids"], batch["attention_mask"], batch["mask_indices"][:, order]
    ).logits
    torch.testing.assert_close(shuffled, logits[:, order])
    longer = {
        "input_ids": torch.nn.functional.pad(batch["input_ids"], (0, 5)),
        "attention_mask": torch.nn.functional.pad(batch["attention_mask"], (0, 5)),
        "mask_indices": torch.nn.functional.pad(batch["mask_indices"], (0, 2)),
    }
    torch.testing.assert_close(model(**longer).logits[:, :3], logits)
    for row in range(3):
        alone = model(**{name: value[row : row + 1] for name, value in batch.items()}).logits
        torch.testing.assert_close(alone, logits[row : row + 1])


def test_a_position_asked_for_twice_is_scored_twice_alike():
    batch = tiny_batch()
    batch["mask_indices"][:, 1] = batch["mask_indices"][:, 0]
    logits = tiny_model()(**batch).logits
    assert torch.equal(logits[:, 0], logits[:, 1])


@pytest.mark.parametrize("task", ["multilabel", "multiclass"])
def test_no_position_gives_empty_logits_and_a_zero_loss(task):
    model = tiny_model(task=task)
    batch = {**tiny_batch(), "mask_indices": torch.zeros(2, 0, dtype=torch.long)}
    labels = torch.zeros((2, 0, 4) if task == "multilabel" else (2, 0), dtype=torch.long)
    output = model(**batch, labels=labels)
    output.loss.backward()
    assert output.logits.shape == (2, 0, 4)
    assert output.loss == 0


def test_tuple_output_on_call_or_by_config():
    model, batch, labels = tiny_model(), tiny_batch(), tiny_labels("multilabel")
    loss, logits = model(**batch, labels=labels, return_dict=False)
    assert torch.equal(logits, model(**batch).logits)
    assert loss.dim() == 0
    model.config.return_dict = False
    assert isinstance(model(**batch), tuple)
    assert not isinstance(model(**batch, return_dict=True), tuple)


@pytest.mark.parametrize("model_type", ["bert", "deberta-v2", "modernbert", "distilbert"])
def test_hidden_states_and_attentions_are_the_encoders(model_type, tmp_path):
    tiny_model(model_type, num_labels=2).save_pretrained(tmp_path)
    model = AutoModelForMaskedSeqModeling.from_pretrained(tmp_path, attn_implementation="eager")
    output = model(**tiny_batch(), output_hidden_states=True, output_attentions=True)
    assert len(output.hidden_states) == 3
    assert len(output.attentions) == 2
    picked = output.hidden_states[-1].gather(
        1, tiny_batch()["mask_indices"].unsqueeze(-1).expand(-1, -1, 32)
    )
    if model_type != "modernbert":  # its last hidden state passes one more norm
        torch.testing.assert_close(model.head(picked), output.logits)


def test_outputs_asked_for_by_config_are_returned():
    model = tiny_model()
    assert model(**tiny_batch()).hidden_states is None
    model.config.output_hidden_states = True
    assert len(model(**tiny_batch()).hidden_states) == 3


def test_an_output_that_is_not_wanted_need_not_be_known_to_the_encoder():
    fnet = tiny_model("fnet")  # has no attentions to return
    assert_same_logits(fnet, lambda **batch: fnet(**batch, output_attentions=False))


def test_inputs_embeds_stand_in_for_input_ids():
    model, batch = tiny_model(), tiny_batch()
    embeds = model.get_input_embeddings()(batch.pop("input_ids"))
    torch.testing.assert_close(
        model(inputs_embeds=embeds, **batch).logits, model(**tiny_batch()).logits
    )


def test_token_types_reach_encoders_with_segments_and_are_ignored_by_others():
    segments = torch.ones(2, 16, dtype=torch.long)
    bert, distilbert = tiny_model("bert"), tiny_model("distilbert")
    plain = bert(**tiny_batch()).logits
    assert not torch.equal(bert(**tiny_batch(), token_type_ids=segments).logits, plain)
    assert_same_logits(distilbert, lambda **b: distilbert(**b, token_type_ids=segments))


def test_position_ids_reach_the_encoder_and_what_it_cannot_take_is_refused():
    backwards = torch.arange(16).flip(0).expand(2, -1)
    bert = tiny_model("bert")
    assert not torch.equal(
        bert(**tiny_batch(), position_ids=backwards).logits, bert(**tiny_batch()).logits
    )
    with pytest.raises(TypeError, match=r"FunnelModel.forward does not take \['position_ids'\]"):
        tiny_model("funnel")(**tiny_batch(), position_ids=backwards)


@pytest.mark.parametrize("model_type", ["bert", "deberta", "xlnet", "modernbert"])
def test_a_misspelt_argument_is_refused_by_name(model_type):
    with pytest.raises(TypeError, match="atention_mask"):
        tiny_model(model_type)(**tiny_batch(), atention_mask=torch.ones(2, 16))


def test_an_argument_of_the_encoder_reaches_it():
    model = tiny_model("layoutlm")
    boxes = torch.randint(0, 100, (2, 16, 1)).expand(-1, -1, 4)
    assert not torch.equal(model(**tiny_batch(), bbox=boxes).logits, model(**tiny_batch()).logits)


POSITIONS = {
    "missing": (None, "`mask_indices` is required"),
    "float": (torch.zeros(2, 3), r"must be torch.long, got torch.float32. Use mask_indices.long"),
    "int32": (torch.zeros(2, 3, dtype=torch.int32), "must be torch.long, got torch.int32"),
    "one dimension": (torch.zeros(2, dtype=torch.long), r"\(B, M\) with B = 2 .* got \(2,\)"),
    "other batch": (torch.zeros(3, 1, dtype=torch.long), r"got \(3, 1\)"),
    "too far": (torch.tensor([[0, 16], [1, 2]]), r"in \[0, 15\] for T = 16 tokens, got 0 to 16"),
    "negative": (torch.tensor([[0, -1], [1, 2]]), r"got -1 to 2"),
}


@pytest.mark.parametrize(("positions", "message"), POSITIONS.values(), ids=POSITIONS)
def test_bad_positions_are_refused_with_the_rule_and_the_way_out(positions, message):
    with pytest.raises(ValueError, match=message):
        tiny_model()(**{**tiny_batch(), "mask_indices": positions})


LABELS = {
    "one class per position": ("multilabel", torch.zeros(2, 3), "Use task='multiclass'"),
    "other width": ("multilabel", torch.zeros(2, 3, 5), r"= \(2, 3, 4\) .* got \(2, 3, 5\)"),
    "above one": ("multilabel", torch.full((2, 3, 4), 2), r"in \[0, 1\].* got 2"),
    "nan": ("multilabel", torch.full((2, 3, 4), float("nan")), "got nan"),
    "one-hot": ("multiclass", torch.zeros(2, 3, 4).long(), "Use task='multilabel'"),
    "float ids": ("multiclass", torch.zeros(2, 3), "integer class ids"),
    "no such class": ("multiclass", torch.full((2, 3), 4), r"class ids in \[0, 3\].* got 4"),
    "negative class": ("multiclass", torch.full((2, 3), -1), "got -1"),
}


@pytest.mark.parametrize(("task", "labels", "message"), LABELS.values(), ids=LABELS)
def test_bad_labels_are_refused_with_the_rule_and_the_way_out(task, labels, message):
    with pytest.raises(ValueError, match=message):
        tiny_model(task=task)(**tiny_batch(), labels=labels)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "got neither"),
        ({"input_ids": torch.zeros(2, 4).long(), "inputs_embeds": torch.zeros(2, 4, 32)}, "both"),
        ({"input_ids": torch.zeros(4).long()}, r"got \(4,\). Add a batch dimension"),
        ({"inputs_embeds": torch.zeros(2, 32)}, r"inputs_embeds` \(B, T, H\), got \(2, 32\)"),
    ],
)
def test_inputs_come_once_and_batched(inputs, message):
    with pytest.raises(ValueError, match=message):
        tiny_model()(**inputs, mask_indices=torch.zeros(2, 1).long())


def test_probabilities_are_sigmoid_or_softmax():
    logits = torch.randn(2, 3, 4)
    assert torch.equal(tiny_model().predict_proba(logits), torch.sigmoid(logits))
    proba = tiny_model(task="multiclass").predict_proba(logits.bfloat16())
    assert proba.dtype is torch.float32
    torch.testing.assert_close(proba, torch.softmax(logits.bfloat16().float(), -1))


@pytest.mark.parametrize("task", ["multilabel", "multiclass"])
def test_compiles_whole(task, compiler):
    model, batch, labels = tiny_model(task=task), tiny_batch(), tiny_labels(task)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(
        compiled(**batch, labels=labels).loss, model(**batch, labels=labels).loss
    )


def test_exports_with_dynamic_shapes():
    model = tiny_model()
    rows, tokens, places = (torch.export.Dim(name, min=2, max=50) for name in "BTM")
    shapes = {
        "input_ids": {0: rows, 1: tokens},
        "attention_mask": {0: rows, 1: tokens},
        "mask_indices": {0: rows, 1: places},
    }
    program = torch.export.export(model, (), tiny_batch(), dynamic_shapes=shapes)
    assert_same_logits(model, program.module(), 1e-5, **tiny_batch(3, 20, 5))


def test_input_embeddings_are_the_encoders():
    model = tiny_model()
    assert model.get_input_embeddings() is model.bert.get_input_embeddings()
    table = torch.nn.Embedding(64, 32)
    model.set_input_embeddings(table)
    assert model.bert.embeddings.word_embeddings is table
    assert model.encoder is model.bert is model.base_model


def test_resizing_is_the_encoders_with_all_its_options():
    model = tiny_model()
    grown = model.resize_token_embeddings(70, pad_to_multiple_of=8, mean_resizing=False)
    assert grown.weight.shape[0] == model.config.base_model_config.vocab_size == 72
    assert model.resize_token_embeddings().weight.shape[0] == 72
    # What the common test of Transformers looks at.
    for size in (82, 60):
        model.resize_token_embeddings(size)
        counts = (model.config.vocab_size, model.config.get_text_config().vocab_size)
        assert (*counts, model.vocab_size) == (size,) * 3
        assert model.get_input_embeddings().num_embeddings == size
    assert model.config.hidden_size == model.encoder.config.hidden_size


@pytest.mark.parametrize("model_type", ["bert", "modernbert"])
def test_gradient_checkpointing_gives_the_same_gradients(model_type):
    without = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    encoder = tiny_config(model_type, **without)
    config = MaskedSeqModelingConfig(num_labels=4, base_model_config=encoder)
    model, labels = AutoModelForMaskedSeqModeling(config).train(), tiny_labels("multilabel")
    gradients = []
    for enable in (False, True):
        if enable:
            model.gradient_checkpointing_enable({"use_reentrant": False})
            assert model.is_gradient_checkpointing
        model.zero_grad()
        model(**tiny_batch(), labels=labels).loss.backward()
        gradients.append(next(model.encoder.parameters()).grad.clone())
    torch.testing.assert_close(*gradients)


def test_gradient_checkpointing_is_refused_where_the_encoder_has_none():
    with pytest.raises(ValueError, match=r"does not support .* checkpointing"):
        tiny_model("mpnet").gradient_checkpointing_enable()


def test_attention_implementation_reaches_the_encoder():
    model = tiny_model("esm")
    assert model.encoder.config._attn_implementation == "sdpa"
    logits = model(**tiny_batch()).logits
    model.set_attn_implementation("eager")
    assert model.encoder.config._attn_implementation == "eager"
    assert model.config._attn_implementation == "eager"
    torch.testing.assert_close(model(**tiny_batch()).logits, logits)


def test_a_given_encoder_keeps_its_weights_and_its_config():
    encoder = AutoModel.from_config(tiny_config())
    torch.nn.init.constant_(encoder.embeddings.LayerNorm.weight, 0.5)
    before = copy.deepcopy(encoder.state_dict())
    model = AutoModelForMaskedSeqModeling(MaskedSeqModelingConfig(num_labels=2), encoder=encoder)
    assert model.config.base_model_config is encoder.config
    assert all(torch.equal(before[name], value) for name, value in encoder.state_dict().items())


def test_head_is_drawn_as_in_transformers():
    model = tiny_model(num_labels=500)
    assert model.head[3].weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert (model.head[0].bias == 0).all()
    assert (model.head[2].weight == 1).all()


def test_head_follows_the_encoders_dtype():
    encoder = AutoModel.from_config(tiny_config()).to(torch.bfloat16)
    model = AutoModelForMaskedSeqModeling(MaskedSeqModelingConfig(num_labels=2), encoder=encoder)
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    output = model(**tiny_batch(), labels=torch.ones(2, 3, 2))
    assert (output.logits.dtype, output.loss.dtype) == (torch.bfloat16, torch.float32)


@pytest.mark.parametrize("name", ["head", "config", "encoder", "forward", "training", "_bert"])
def test_reserved_names_for_the_encoder_are_refused(name):
    with pytest.raises(ValueError, match="`base_model_attr_name`"):
        tiny_model(base_model_attr_name=name)


@pytest.mark.parametrize("name", ["my encoder", "my-encoder", "a.b", "1st"])
def test_names_that_are_no_identifier_are_refused(name):
    with pytest.raises(ValueError, match="must be a Python identifier"):
        tiny_model(base_model_attr_name=name)


def test_model_can_be_copied_and_pickled():
    model = tiny_model()
    assert_same_logits(model, copy.deepcopy(model))
    assert_same_logits(model, pickle.loads(pickle.dumps(model)))


def test_config_without_an_encoder_is_refused():
    with pytest.raises(ValueError, match="must describe an encoder, got None"):
        AutoModelForMaskedSeqModeling(MaskedSeqModelingConfig(num_labels=2))


@pytest.mark.parametrize("model_type", ["bert", "roberta"])
def test_a_row_beyond_the_encoders_positions_is_one_clear_error(model_type):
    model = tiny_model(model_type)
    limit = {"bert": 64, "roberta": 62}[model_type]
    ids = torch.full((1, limit + 1), 7)
    batch = {"attention_mask": torch.ones_like(ids), "mask_indices": torch.tensor([[0]])}
    model(input_ids=ids[:, :limit], **{**batch, "attention_mask": batch["attention_mask"][:, 1:]})
    with pytest.raises(ValueError, match=f"A row has {limit + 1} tokens.*positions for {limit}"):
        model(input_ids=ids, **batch)


def test_relative_positions_have_no_such_limit():
    model, ids = tiny_model("modernbert"), torch.full((1, 100), 7)
    logits = model(ids, torch.ones_like(ids), torch.tensor([[99]])).logits
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("count", [int, float, torch.tensor, lambda n: torch.tensor([[n]])])
def test_labels_ignored_in_channel_0_only_have_the_loss_of_whole_ones(count, caplog):
    model, batch, labels = tiny_model(), tiny_batch(), tiny_labels("multilabel").float()
    whole, marked = labels.clone(), labels.clone()
    whole[0, 1], marked[0, 1, 0] = -100, -100
    marked[-1, -1] = torch.tensor([-100.0, 1, 0, 1])
    expected = model(**batch, labels=whole, num_items_in_batch=count(int((whole != -100).sum())))
    assert not caplog.text
    for _ in range(2):  # what the Trainer counts
        items = count(int((marked != -100).sum()))
        output = model(**batch, labels=marked, num_items_in_batch=items)
        torch.testing.assert_close(output.loss, expected.loss)
    torch.testing.assert_close(model(**batch, labels=whole).loss, expected.loss)
    assert caplog.text.count("channel 0 of `labels` only") == 1
