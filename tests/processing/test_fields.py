"""Records of fields: every value is a position, missing ones keep their place, names may repeat."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from irti_custom import MaskedSeqClassificationPipeline, MaskedSeqProcessor
from irti_custom.processing.processor import READS
from tests.tiny import WORDS, tiny_model, word_tokenizer

LABELS = {"person": 0, "place": 1}
RECORD = {"a": "Ann", "on": None, "in": "Paris Rome", "the": float("nan"), "dog": "cat"}


def make_processor(**settings) -> MaskedSeqProcessor:
    return MaskedSeqProcessor(word_tokenizer(), label2id=LABELS, **settings)


def tokens(processor, ids) -> str:
    return " ".join(processor.tokenizer.convert_ids_to_tokens(ids))


@pytest.mark.parametrize("read", READS)
def test_a_record_is_read_as_the_text_that_it_is_written_as(read):
    processor = make_processor(read=read)
    rows = processor.encode_fields([RECORD])
    text = "a: Ann | in: Paris Rome | dog: cat"
    spans = [(3, 6), (13, 23), (31, 34)]
    expected = processor.encode_spans([text], [spans])
    own = {"span_ids": [[0, 2, 4]], "num_spans": [5], "num_missing": [2]}
    assert rows == {**expected, **own, "example_kinds": ["fields"]}
    assert processor.stats(rows) == {
        "examples": 1,
        "rows": 1,
        "windows": 0,
        "positions": 3,
        "dropped": 0,
    }
    assert rows["span_ids"] == [[0, 2, 4]]
    assert rows["num_spans"] == [5]
    assert processor.decode(rows, [["x", "y", "z"]], fill=None) == [["x", None, "y", None, "z"]]
    with pytest.raises(ValueError, match=r"Span\(s\) \[1, 3\] of example 0 are in no row"):
        processor.decode(rows, [["x", "y", "z"]])


def test_names_may_be_hidden_and_the_layout_is_saved(tmp_path):
    processor = make_processor(field_names=False)
    processor.save_pretrained(tmp_path)
    for one in (processor, MaskedSeqProcessor.from_pretrained(tmp_path)):
        rows = one.encode_fields([RECORD])
        assert rows["input_ids"] == one.encode_spans(["Ann | Paris Rome | cat"], [[]])["input_ids"]
    with pytest.raises(ValueError, match="`field_names` must be True or False, got 'no'"):
        make_processor(field_names="no")


def test_all_containers_of_a_record_give_the_same_rows():
    processor = make_processor()
    expected = processor.encode_fields([RECORD])
    frame = pd.DataFrame([RECORD], index=["somewhere"])
    pairs = [{"name": name, "value": value} for name, value in RECORD.items()]
    for records in ([pairs], frame, [frame.iloc[0]], (r for r in [RECORD]), [pd.Series(RECORD)]):
        assert processor.encode_fields(records) == expected
    assert processor.encode([{"fields": RECORD}]) == expected


def test_names_may_repeat_or_be_missing_and_values_are_written_as_str():
    processor = make_processor()
    frame = pd.DataFrame([["Ann", 1.5]], columns=["a", "a"])
    encoded = processor.prepare([{"fields": frame.iloc[0]}, {"fields": [{"value": np.int64(7)}]}])
    assert encoded.positions == [
        [{"field": "a", "word": "Ann"}, {"field": "a", "word": "1.5"}],
        [{"field": None, "word": "7"}],
    ]


def test_labels_by_name_and_by_place_agree():
    processor = make_processor()
    by_name = {"dog": ["person"], "a": ["place", "person"]}
    by_place = [["place", "person"], None, None, [], ["person"]]
    rows = processor.encode_fields([RECORD], [by_name])
    assert rows == processor.encode_fields([RECORD], [by_place])
    assert rows["labels"] == [[[1, 1], [-100, -100], [1, 0]]]
    assert processor.encode_fields([RECORD], [None])["labels"] == [[[-100, -100]] * 3]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"fax": ["place"]}, r"by the name of one field, got \['fax'\]"),
        ({"on": ["place"]}, r"Field 1 of example 0 \('on'\) has no value, and the labels"),
        ([None, ["place"], None, None, None], "which would be lost"),
        ([["place"]], "one entry per span, 5"),
        ({"a": ["city"]}, "got 'city'"),
    ],
)
def test_labels_that_would_be_lost_are_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        make_processor().encode_fields([RECORD], [labels])


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ("Ann", "The fields of example 0 must be a list, got 'Ann'"),
        ([{"header": "a", "values": [1]}], 'must be a dict of "value"'),
        ([{"name": "a", "value": 1, "label": 2}], 'must be a dict of "value"'),
        ({"a": ["Ann", "Bob"]}, "The value of field 0 of example 0 must be a single one"),
        ({"a": "\ud800"}, "half of a surrogate pair"),
        (pd.DataFrame([RECORD]), "must be a list"),
    ],
)
def test_what_is_no_record_is_refused(record, message):
    with pytest.raises(ValueError, match=message):
        make_processor().encode([{"fields": record}])


@pytest.mark.parametrize("record", [{}, [], {"a": None}, {"a": " "}])
def test_a_record_without_values_keeps_its_row(record):
    rows = make_processor().encode_fields([record, RECORD])
    assert rows["mask_indices"][0] == []
    assert rows["num_spans"] == [len(record), 5]


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("stride", [None, 0, 4])
def test_long_records_take_windows_and_long_values_are_read_at_their_start(read, stride):
    processor = make_processor(read=read, max_length=14, stride=stride)
    record = {f"{word}": " ".join(WORDS[:12]) for word in WORDS[:5]}
    rows = processor.encode_fields([record])
    assert sorted(span for ids in rows["span_ids"] for span in ids) == [0, 1, 2, 3, 4]
    assert len(rows["input_ids"]) > 1
    assert max(map(len, rows["input_ids"])) <= 14
    if read in ("start", "start_end"):
        read_tokens = [
            ids[index]
            for ids, indices in zip(rows["input_ids"], rows["mask_indices"])
            for index in indices
        ]
        assert tokens(processor, read_tokens) == "Ann Ann Ann Ann Ann"


def test_the_pipeline_names_fields_and_says_which_are_missing():
    model = tiny_model(num_labels=2, id2label=dict(enumerate(LABELS)))
    pipe = MaskedSeqClassificationPipeline(model, make_processor(), device="cpu")
    answers = pipe({"fields": RECORD}, return_all_scores=True)
    assert [(one["field"], one["word"]) for one in answers] == [
        ("a", "Ann"),
        ("on", None),
        ("in", "Paris Rome"),
        ("the", None),
        ("dog", "cat"),
    ]
    assert [one["labels"] is None for one in answers] == [False, True, False, True, False]
    frame = pd.DataFrame([RECORD, {"a": "Bob"}])
    by_row = pipe(frame, rows=True, return_all_scores=True)
    assert [len(row) for row in by_row] == [5, 5]
    assert by_row[0] == pipe([{"fields": RECORD}], return_all_scores=True)[0]
    assert len(pipe(frame)) == 5  # a table of columns
    with pytest.raises(ValueError, match=r"`rows=True` takes a DataFrame, got dict"):
        pipe({"fields": RECORD}, rows=True)
