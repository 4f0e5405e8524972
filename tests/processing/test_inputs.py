"""What users hand over: containers, missing values, forms of labels, numbers, malformed input."""

from __future__ import annotations

import logging
import os
import random
from decimal import Decimal
from operator import itemgetter
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    CanineTokenizer,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
)

from irti_custom import DataCollatorForMaskedSeq, MaskedSeqProcessor
from irti_custom.labels import as_integer
from irti_custom.processing.decoding import decode, stats
from irti_custom.processing.special_tokens import digest_of
from irti_custom.records.kinds import read_record
from irti_custom.records.sequences import as_list, is_missing
from tests.tiny import tiny_model, word_tokenizer
from tests.tokenizers_for_tests import make_tokenizer

NAMES = {"person": 0, "place": 1, "thing": 2}
MISSING = [
    None,
    float("nan"),
    np.float32("nan"),
    pd.NA,
    pd.NaT,
    np.datetime64("NaT"),
    Decimal("nan"),
]


@pytest.fixture
def processor(tokenizer):
    return MaskedSeqProcessor(tokenizer, label2id=NAMES)


def series(values):
    """By index, the items would come in another order."""
    made = pd.Series([None] * len(values), index=range(len(values))[::-1], dtype=object)
    for place, value in enumerate(values):
        made.iloc[place] = value
    return made


def object_array(values):
    made = np.empty(len(values), dtype=object)
    made[:] = values
    return made


CONTAINERS = {
    "series": series,
    "array": object_array,
    "tuple": tuple,
    "generator": lambda values: (value for value in values),
    "zip": lambda values: map(itemgetter(0), zip(values)),
    "column": lambda values: Dataset.from_dict({"it": values})["it"],
    "arrow": lambda values: pa.chunked_array([pa.array(values)]),
}
CALLS = {
    "encode_spans": (["Ann likes Bob", "Rome"], [[[0, 3], [10, 13]], [[0, 4]]]),
    "encode_words": ([["Ann", "likes"], ["Rome"]], [[[0, 1], [0, 2]], [[0, 1]]]),
    "encode_masked": (["[MASK] likes [MASK]", "[MASK]"],),
    "encode_tables": ([[["Ann"], ["Bob"]], [["Rome"]]],),
}
LABELS = [[["person"], ["place", "thing"]], [[]]]


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("method", CALLS)
def test_sequences_are_read_by_position_whatever_holds_them(processor, method, container):
    encode, wrap = getattr(processor, method), CONTAINERS[container]
    expected = encode(*CALLS[method], LABELS, [5, 3])
    given = [wrap(part) for part in (*CALLS[method], LABELS, [5, 3])]
    assert encode(*given) == expected
    if container in ("series", "array", "tuple"):
        given = [wrap(part) for part in (*CALLS[method], LABELS, [5, 3])]
        inner = [[wrap(x) if isinstance(x, list) else x for x in part] for part in given]
        assert encode(*inner[:-1], [5, 3]) == expected


@pytest.mark.parametrize("container", ["series", "array", "tuple", "generator", "arrow"])
def test_the_way_back_is_by_position(processor, container):
    rows = processor.encode_spans(*CALLS["encode_spans"])
    wrap = CONTAINERS[container]
    assert processor.decode(rows, wrap([["a", "b"], ["c"]])) == [["a", "b"], ["c"]]
    assert processor.decode(rows, [wrap(["a", "b"]), ["c"]]) == [["a", "b"], ["c"]]
    wrapped = {name: wrap(column) for name, column in rows.items()}
    assert processor.decode(wrapped, [["a", "b"], ["c"]], wrap([1, 0])) == [["c"], ["a", "b"]]


def test_rows_come_back_from_a_data_frame(processor):
    rows = processor.encode_spans(*CALLS["encode_spans"])
    frame = pd.DataFrame(rows).iloc[::-1]
    assert decode(frame, [["c"], ["a", "b"]]) == [["a", "b"], ["c"]]
    assert stats(frame) == stats(rows)


@pytest.mark.parametrize(
    "values", ["ab", b"ab", {"a": 1}, {1, 2}, 5, None, np.array(5), pd.DataFrame()]
)
def test_what_has_no_order_is_no_sequence(values):
    with pytest.raises(ValueError, match="`it` must be a list, got "):
        as_list("`it`", values)


@pytest.mark.parametrize("value", MISSING)
def test_missing_is_not_a_value(processor, value):
    assert is_missing(value)
    table = {"title": value, "columns": [{"header": value, "values": ["Ann", value, "Bob"]}]}
    frame = pd.DataFrame({"x": pd.Series(["Ann", value, "Bob"], dtype=object)}).set_axis(
        [value], axis=1
    )
    assert (
        processor.encode_tables([table, frame])["input_ids"]
        == [processor.encode_tables([[["Ann", "Bob"]]])["input_ids"][0]] * 2
    )
    rows = processor.encode_spans(["Ann", "Ann"], [[(0, 3)], value], [[value], value])
    assert rows["labels"] == [[[-100] * 3], []]
    record = {"text": "Ann", "words": value, "columns": value, "spans": [(0, 3)]}
    assert processor.encode([record])["mask_indices"] == [[1]]
    for wrong in ({"text": value, "spans": []}, {"words": ["Ann", value], "spans": []}):
        with pytest.raises(ValueError, match="example 0"):
            processor.encode([wrong])
    with pytest.raises(ValueError, match="Span 0 of example 0"):
        processor.encode_spans(["Ann"], [[(0, value)]])
    with pytest.raises(ValueError, match="Span 0 of example 0"):
        processor.encode_spans(["Ann"], [[(0, 3)]], [[["person", value]]])


FORMS = [
    (["person", "thing"], [1, 0, 1]),
    (("thing",), [0, 0, 1]),
    ({"person", "place"}, [1, 1, 0]),
    ("place", [0, 1, 0]),
    (np.str_("place"), [0, 1, 0]),
    ([], [0, 0, 0]),
    (2, [0, 0, 1]),
    (2.0, [0, 0, 1]),
    (np.int64(2), [0, 0, 1]),
    (np.array([2, 0]), [1, 0, 1]),
    (["person", 2], [1, 0, 1]),
    ([0, 0, 1], [0, 0, 1]),
    ([1.0, 0.0, 1.0], [1, 0, 1]),
    (np.array([0, 1, 0]), [0, 1, 0]),
    (torch.tensor([True, False, True]), [1, 0, 1]),
    ([np.bool_(False), True, False], [0, 1, 0]),
    (pd.Series([0, 0, 1], index=[2, 1, 0]), [0, 0, 1]),
]


@pytest.mark.parametrize(("entry", "expected"), FORMS, ids=map(str, range(len(FORMS))))
def test_labels_mean_what_they_look_like(processor, entry, expected):
    assert processor.encode_spans(["Ann"], [[(0, 3)]], [[entry]])["labels"] == [[expected]]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ([1, 1], "each id once"),
        ([0, 0, 1, 0], "each id once"),
        ([True, False], "True or False for each of the 3 labels"),
        ([True, False, 1], "True or False for each"),
        ([0.5, 0.0, 0.5], "got 0.5"),
        (True, "got True"),
        ([2, 3], "got 3"),
        (-1, "got -1"),
        ("Person", "got 'Person'. The labels are"),
        ([None], "got None"),
        ([["person"]], "got .'person'.."),
        ({"person": 1}, "must be a list"),
        (np.array([[0, 0, 1]]), "got .0, 0, 1."),
    ],
)
def test_labels_that_may_be_mistaken_are_refused_by_span(processor, entry, message):
    with pytest.raises(
        ValueError, match=f"Span 1 of example 7.*{message}|labels of Span 1 .*{message}"
    ):
        processor.encode_spans(["Ann Bob"], [[(0, 3), (4, 7)]], [[[], entry]], [7])


def test_two_numbers_for_two_labels_are_ambiguous(tokenizer):
    processor = MaskedSeqProcessor(tokenizer, label2id={"person": 0, "place": 1})

    def labels(entry):
        return processor.encode_spans(["Ann"], [[(0, 3)]], [[entry]])["labels"][0][0]

    assert [labels(x) for x in ([0], [1, 1], [0, 0], [True, False])] == [
        [1, 0],
        [1, 1],
        [0, 0],
        [1, 0],
    ]
    for entry in ([0, 1], [1, 0], np.array([0, 1])):
        with pytest.raises(
            ValueError, match=r"may be ids, or 0 or 1 .* Give names, or True and False"
        ):
            labels(entry)


def test_a_class_is_one_label(tokenizer):
    processor = MaskedSeqProcessor(tokenizer, label2id=NAMES, task="multiclass")
    entries = ["place", ["place"], 1, 1.0, np.int64(1), np.array(1), [np.int8(1)], float("nan")]
    rows = processor.encode_spans(["Ann"], [[(0, 3)] * len(entries)], [entries])
    assert rows["labels"] == [[1] * 7 + [-100]]
    for entry in ([0, 0, 1], [], True, ["person", "place"], 1.5, [True]):
        with pytest.raises(ValueError, match="Span 0 of example 0"):
            processor.encode_spans(["Ann"], [[(0, 3)]], [[entry]])


@pytest.mark.parametrize(
    ("label2id", "message"),
    [
        ({1: 0, 2: 1}, "name must be text, got 1"),
        ({"": 0, "a": 1}, "name must be text, got ''"),
        ({None: 0, "a": 1}, "name must be text, got None"),
        ({"a": 0.7, "b": 1}, "id must be a whole number, got 0.7"),
        ({"a": False, "b": True}, "id must be a whole number, got False"),
        ({"a": 0, "b": 0}, "without gaps"),
        (["a", "b"], "`label2id` must be a dict"),
    ],
)
def test_names_are_text_and_ids_are_numbers(tokenizer, label2id, message):
    with pytest.raises(ValueError, match=message):
        MaskedSeqProcessor(tokenizer, label2id=label2id)


def test_names_that_look_alike_stay_apart(tokenizer):
    names = {"Person": np.int64(0), "person": 1.0, "person ": 2}
    processor = MaskedSeqProcessor(tokenizer, label2id=names)
    rows = processor.encode_spans(["Ann"], [[(0, 3)]], [["person"]])
    assert rows["labels"] == [[[0, 1, 0]]]
    assert list(map(type, processor.label2id.values())) == [int] * 3


@pytest.mark.parametrize(
    "number", [3, 3.0, np.int8(3), np.float16(3), np.array(3), torch.tensor(3)]
)
def test_whole_numbers_are_integers(processor, number):
    assert as_integer(number) == 3
    assert type(as_integer(number)) is int
    rows = processor.encode_spans(["Ann Bob"], [[(0, number)]], example_ids=[number])
    assert (rows["mask_indices"], rows["example_ids"]) == ([[1]], [3])


@pytest.mark.parametrize("number", [True, np.bool_(True), 2.5, "3", None, float("inf"), 3j, pd.NA])
def test_nothing_else_is(processor, number):
    assert as_integer(number) is None
    with pytest.raises(ValueError, match="Span 0 of example 0"):
        processor.encode_spans(["Ann Bob"], [[(0, number)]])
    with pytest.raises(ValueError, match="`example_ids` must be whole numbers"):
        processor.encode_spans(["Ann Bob"], [[(0, 3)]], example_ids=[number])
    with pytest.raises(ValueError, match="Span 0"):
        processor.encode_spans(["Ann"], [[(0, 3, "person")]])  # nor is a span's third entry dropped


def test_a_blank_span_is_reported_as_it_was_given(processor):
    with pytest.raises(
        ValueError, match=r"Span 0 of example 0 .* white space, got ' ' at \(1, 2\)"
    ):
        processor.encode_words([["Ann", " "]], [[(1, 2)]])


def test_text_that_cannot_be_encoded_names_the_example(processor):
    bad = "Bob \ud83d"
    calls = [
        lambda: processor.encode_spans(["Ann", bad], [[], []]),
        lambda: processor.encode_words([["Ann"], [bad]], [[], []]),
        lambda: processor.encode_masked(["[MASK]", bad]),
        lambda: processor.encode_tables([[["Ann"]], [{"header": bad, "values": [1]}]]),
        lambda: processor.encode_tables([[["Ann"]], [[bad]]]),
        lambda: processor.encode_tables([[["Ann"]], {"title": bad, "columns": [[1]]}]),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=r"example 1 .*\\ud83d' at character .*surrogate"):
            call()


def test_rows_of_several_examples_are_not_merged(processor):
    def rows(*calls):
        made = [processor.encode_spans(*call) for call in calls]
        return {name: [value for one in made for value in one[name]] for name in made[0]}

    ann, two = (["Ann Bob"], [[(0, 3)]]), (["Ann Bob"], [[(0, 3), (4, 7)]])
    for merged in (rows(ann, ann), rows(ann, two), rows((["a"], [[]]), (["b"], [[]]))):
        for call in (lambda m=merged: stats(m), lambda m=merged: decode(m, [["x", "y"]] * 2)):
            with pytest.raises(ValueError, match=r"example id 0 are of several .*with_indices"):
                call()
    with pytest.raises(ValueError, match="`example_ids` must be whole numbers, each of them once"):
        processor.encode_spans(["a", "b"], [[], []], example_ids=[4, 4])


def test_windows_in_any_order_are_still_one_example(tokenizer):
    processor = MaskedSeqProcessor(tokenizer, max_length=6)
    rows = processor.encode_words([["Ann"] * 40], [[(i, i + 1) for i in range(0, 40, 3)]])
    order = random.Random(0).sample(range(len(rows["length"])), len(rows["length"]))
    shuffled = {name: [column[i] for i in order] for name, column in rows.items()}
    assert decode(shuffled, shuffled["span_ids"]) == [list(range(14))]
    assert stats(shuffled)["dropped"] == 0


@pytest.mark.parametrize("task", ["multilabel", "multiclass"])
def test_data_sets_whose_first_texts_have_no_spans_map_whole(tokenizer, task):
    processor = MaskedSeqProcessor(tokenizer, label2id=NAMES, task=task)
    label = "person" if task == "multiclass" else ["person"]
    data = Dataset.from_dict({"n": range(1200)})

    def encode(batch, ids):
        spans = [[(0, 3)] if n == 1199 else [] for n in batch["n"]]
        labels = [[label] * len(one) for one in spans]
        return processor.encode_spans(["Ann"] * len(spans), spans, labels, ids)

    rows = data.map(encode, batched=True, with_indices=True, remove_columns=["n"])
    assert processor.stats(rows)["positions"] == 1
    batch = DataCollatorForMaskedSeq(processor)([rows[0], rows[1199]])
    assert batch["mask_indices"].tolist() == [[0], [1]]
    assert encode({"n": [0]}, [0])["mask_indices"] == [[]]


def test_a_lone_word_mark_is_not_read():
    pieces = ["<unk>", "▁", "喜欢", "我", "▁Ann"]
    model = Tokenizer(models.Unigram([(piece, -1.0) for piece in pieces], unk_id=0))
    model.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=model, unk_token="<unk>", pad_token="<unk>"
    )
    processor = MaskedSeqProcessor(tokenizer)
    for text, start in (("我 喜欢", 2), ("我喜欢", 1), ("喜欢 我", 0), ("Ann 喜欢", 4)):
        rows = processor.encode_spans([text], [[(start, start + 2)]])
        read = rows["input_ids"][0][rows["mask_indices"][0][0]]
        assert tokenizer.convert_ids_to_tokens(read) == "喜欢"


def test_a_slow_tokenizer_is_told_what_works():
    with pytest.raises(ValueError, match=r"no fast one for this encoder.*`mask_indices` yourself"):
        MaskedSeqProcessor(CanineTokenizer())


def test_the_processor_warns_of_kinds_it_was_not_trained_on(processor, tmp_path, caplog):
    processor.encode_spans(["Ann"], [[(0, 3)]], [["person"]])
    processor.encode_words([["Ann"]], [[(0, 1)]], [["person"]])
    processor.save_pretrained(tmp_path)
    again = MaskedSeqProcessor.from_pretrained(tmp_path)
    assert again.trained_on == ["spans", "words"]
    with caplog.at_level(logging.WARNING, "irti_custom"):
        again.encode_spans(["Ann"], [[(0, 3)]])
        assert not caplog.text
        for _ in range(2):
            again.with_max_length(9).prepare([pd.DataFrame({"a": [1]})])
    assert caplog.text.count("was trained on spans and words, and is asked for columns") == 1
    kinds = [read_record(one, "it").kind for one in ({"words": [], "spans": []}, "[MASK]")]
    assert kinds == ["words", "masks"]


@pytest.mark.parametrize("num_proc", [None, 2])
def test_rows_from_a_cache_or_another_process_say_what_was_trained_on(num_proc, tmp_path):
    """The second trainer gets rows that its own processor has not encoded."""
    model = tiny_model(label2id=NAMES, num_labels=3)
    texts = Dataset.from_dict({"words": [["Ann"], ["Bob", "sees"]]})
    texts.save_to_disk(tmp_path / "texts")

    def encode(batch, processor):
        spans = [[(0, 1)] for _ in batch["words"]]
        labels = [[["person"]] for _ in spans]
        return processor.encode_words(batch["words"], spans, labels)

    for run in ("first", "second"):
        processor = MaskedSeqProcessor(word_tokenizer(), label2id=NAMES)
        rows = Dataset.load_from_disk(tmp_path / "texts").map(
            encode,
            batched=True,
            num_proc=num_proc,
            fn_kwargs={"processor": processor},
            remove_columns=["words"],
        )
        trainer = Trainer(
            model,
            TrainingArguments(tmp_path / run, max_steps=1, report_to=[], use_cpu=True),
            train_dataset=rows,
            data_collator=DataCollatorForMaskedSeq(processor),
            processing_class=processor,
        )
        if run == "second" or num_proc:
            assert processor.trained_on == []
        trainer.train()
        trainer.save_model()
        assert MaskedSeqProcessor.from_pretrained(tmp_path / run).trained_on == ["words"]


def test_words_and_spans_of_a_text_are_the_same_to_a_model(processor, caplog):
    processor.encode_words([["Ann"]], [[(0, 1)]], [["person"]])
    with caplog.at_level(logging.WARNING, "irti_custom"):
        processor.encode_spans(["Ann"], [[(0, 3)]])
        assert not caplog.text
        processor.encode_masked(["[MASK]"])
    assert "was trained on words, and is asked for masks" in caplog.text


def test_use_does_not_change_what_data_sets_cache_by(processor):
    from datasets.fingerprint import Hasher

    before = Hasher.hash(processor)
    processor.encode_spans(["Ann"], [[(0, 3)]], [["person"]])
    assert Hasher.hash(processor) == before


def test_a_processor_does_not_load_beside_another_tokenizer(tokenizer, tmp_path):
    processor = MaskedSeqProcessor(tokenizer, read="marker")
    tokenizer.add_tokens(["later"])
    processor.save_pretrained(tmp_path)
    again = MaskedSeqProcessor.from_pretrained(tmp_path)
    assert digest_of(again.tokenizer) == digest_of(tokenizer)
    make_tokenizer("wordpiece").save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="is not the one that the processor was saved with"):
        MaskedSeqProcessor.from_pretrained(tmp_path)


def test_a_save_that_stops_leaves_the_earlier_processor(processor, tmp_path, monkeypatch):
    processor.save_pretrained(tmp_path)
    other = MaskedSeqProcessor(make_tokenizer("wordpiece"), read="end")
    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            other.save_pretrained(tmp_path)
    again = MaskedSeqProcessor.from_pretrained(tmp_path)
    assert (again.read, digest_of(again.tokenizer)) == ("start", digest_of(processor.tokenizer))
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]


# What a field of a call may be by mistake; each is valid somewhere, or nowhere.
ODD = [
    *MISSING, True, 0, 1, -1, 10**30, 1.5, float("inf"), "", " ", "Ann", "a\ud83d", b"x", 1j,
    np.int64(1), np.array(1), np.array([]), np.array(None), np.zeros((2, 2)), torch.tensor([0, 1]),
    [], [None], [[]], {}, {"start": 0}, (0, 3, "x"), {"a"}, range(3), object(), type, ...,
    pd.Series([0, 3], index=[5, 6]), pd.DataFrame({"a": [1]}), pd.array([1, None]), iter([1]),
    ["person", "person"], [0, 0], {"columns": None}, {"text": 5, "spans": []},
]  # fmt: skip


def with_one_mistake(rng, value):
    """Replace, drop or add one thing anywhere in nested lists and dicts."""
    if not value or not isinstance(value, (list, tuple, dict)) or rng.random() < 0.2:
        return rng.choice(ODD)
    if isinstance(value, dict):
        name = rng.choice(list(value))
        changed = {**value, name: with_one_mistake(rng, value[name])}
        return changed if rng.random() < 0.9 else {k: v for k, v in value.items() if k != name}
    at, items = rng.randrange(len(value)), list(value)
    items[at : at + 1] = rng.choice([[], *[[with_one_mistake(rng, items[at])]] * 9])
    return items


@pytest.mark.parametrize("task", ["multilabel", "multiclass"])
def test_malformed_input_is_a_clear_error_or_right(tokenizer, task):
    """Whatever goes wrong, it is a ValueError that says where; never an error from within."""
    processor = MaskedSeqProcessor(tokenizer, label2id=NAMES, task=task, max_length=12)
    collate = DataCollatorForMaskedSeq(processor)
    labels = LABELS if task == "multilabel" else [["person", 1], ["thing"]]
    records = [{"text": "Ann likes Bob", "spans": [(0, 3), {"start": 4, "end": 9}]}]
    records += [{"words": ["Ann"], "spans": [(0, 1)]}]
    calls = {name: [*map(list, parts), labels, [0, 1]] for name, parts in CALLS.items()}
    calls["encode"] = [records, labels, [0, 1]]
    rows = processor.encode_spans(*CALLS["encode_spans"], labels)
    listed = [dict(zip(rows, values)) for values in zip(*rows.values())]
    rng, refused = random.Random(0), 0
    for _ in range(1500):
        name = rng.choice([*calls, "decode", "stats", "collate"])
        if name in calls:
            arguments = list(calls[name])
            place = rng.randrange(len(arguments))
            arguments[place] = with_one_mistake(rng, arguments[place])
            call = getattr(processor, name)
        elif name == "decode":
            arguments, call = [rng.choice([rows, listed]), [["a", "b"], ["c"]]], processor.decode
            place = rng.randrange(2)
            arguments[place] = with_one_mistake(rng, arguments[place])
        else:
            arguments = [with_one_mistake(rng, listed)]
            call = processor.stats if name == "stats" else collate
        try:
            call(*arguments)
        except ValueError:
            refused += 1
        except Exception as error:
            raise AssertionError(f"{name}{arguments!r}") from error
    assert refused > 900


SAID = {
    "characters": {"text": "\U0001f600 Ann saw", "spans": [{"start": 2, "end": 5}]},
    "words": {"words": ["a", "Ann", "saw"], "spans": [{"start": 1, "end": 2}]},
}


@pytest.mark.parametrize("key", ["word", "text", "surface"])
@pytest.mark.parametrize("case", SAID)
def test_a_span_that_says_what_stands_there_is_compared_with_the_text(case, key):
    example = SAID[case]
    (span,) = example["spans"]
    plain = read_record(example, "example 0")
    for said in ("Ann", None, 7):
        assert read_record({**example, "spans": [{**span, key: said}]}, "example 0") == plain
    shifted = {"start": span["start"] + 1, "end": span["end"] + 1, key: "Ann"}
    with pytest.raises(ValueError, match=r"Span 0 of example 0: The text at .* must be 'Ann', got"):
        read_record({**example, "spans": [shifted]}, "example 0")
