"""What holds for any text, any spans and any length, on each kind of tokenizer."""

from __future__ import annotations

import functools

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from irti_custom import MaskedSeqProcessor
from tests.tokenizers_for_tests import ALL, make_tokenizer

SETTINGS = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
_ODD = (
    "Ann|lives in|Rome|the unbelievable|東京都|العربية|שלום|😀|👩‍👩‍👧|e\u0301|\u0301|\u200b|"
    "\x00|\x07|\n\t|   |ﬁ|İ|ẛ̣|[MASK]|<s>|\ufeff|가"
)
_PIECES = st.one_of(
    st.text(max_size=12),
    st.sampled_from(_ODD.split("|")),
    st.integers(1, 80).map(lambda n: "x" * n),
)
TEXTS = st.lists(_PIECES, max_size=14).map("".join)


@st.composite
def texts_with_spans(draw) -> tuple[str, list[tuple[int, int]]]:
    text = draw(TEXTS)
    ends = st.integers(0, len(text))
    pairs = draw(st.lists(st.tuples(ends, ends), max_size=8)) if text else []
    return text, [(min(pair), max(pair)) for pair in pairs]


@functools.cache
def tokenizer_of(kind):
    return make_tokenizer(kind)


def offsets_of(tokenizer, text):
    return tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]


def readable(tokenizer, text, spans):
    """Spans with a token, found by looking at every token and every character."""
    covered = [False] * len(text)
    for start, end in offsets_of(tokenizer, text):
        covered[start:end] = [True] * (end - start)
    kept = []
    for start, end in spans:
        inside = [i for i in range(start, end) if not text[i].isspace()]
        if inside and any(covered[inside[0] : inside[-1] + 1]):
            kept.append((start, end))
    return kept


@pytest.mark.parametrize("read", ["start", "end", "mask", "marker"])
@pytest.mark.parametrize("kind", ALL)
@SETTINGS
@given(example=texts_with_spans(), room=st.one_of(st.none(), st.integers(1, 30)))
@example(example=("a\n\tAnn  Bob\n ", [(1, 6), (6, 11), (2, 13), (0, 13)]), room=None)
def test_every_position_reads_its_span_or_its_own_mark(kind, read, example, room):
    tokenizer = tokenizer_of(kind)
    processor = MaskedSeqProcessor(tokenizer, read=read, max_length=room and room + 2)
    text, spans = example
    spans = readable(tokenizer, text, spans)
    rows = processor.encode_spans([text, text], [spans, []])
    taken = []
    offsets, bare = offsets_of(tokenizer, text), tokenizer(text)["input_ids"]
    for row, ids in enumerate(rows["input_ids"]):
        assert room is None or len(ids) <= room + 2
        assert len(ids) == rows["length"][row] == len(rows["attention_mask"][row])
        assert (ids[0], ids[-1]) == (bare[0], bare[-1])
        for span, position in zip(rows["span_ids"][row], rows["mask_indices"][row]):
            assert 0 < position < len(ids) - 1
            taken.append((rows["example_ids"][row], span))
            if read == "mask":
                assert ids[position] == tokenizer.mask_token_id
            elif read == "marker":
                assert ids[position] == processor.new_tokens[0]
    assert sorted(taken) == [(0, span) for span in range(len(spans))]
    if read in ("start", "end") and room is None:
        marks = [tokenizer.get_vocab().get(mark) for mark in ("▁", "Ġ")]
        for (start, end), position in zip(spans, rows["mask_indices"][0]):
            while text[start].isspace():
                start += 1
            while text[end - 1].isspace():
                end -= 1
            others = [n for n, (a, b) in enumerate(offsets) if max(a, start) < min(b, end)]
            while len(others) > 1 and bare[1 + others[0]] in marks:
                del others[0]
            assert position - 1 == others[0 if read == "start" else -1]
        assert rows["input_ids"][0] == bare
    values = [[(row, place) for place in places] for row, places in enumerate(rows["mask_indices"])]
    back = processor.decode(rows, values)
    assert [len(example) for example in back] == [len(spans), 0]
    for span, (row, place) in enumerate(back[0]):
        assert rows["mask_indices"][row][rows["span_ids"][row].index(span)] == place
    counts = processor.stats(rows)
    assert (counts["positions"], counts["dropped"]) == (len(spans), 0)


@pytest.mark.parametrize("kind", ALL)
@SETTINGS
@given(example=texts_with_spans(), room=st.integers(1, 30))
def test_in_windows_the_token_read_is_the_one_of_the_whole_text(kind, example, room):
    tokenizer = tokenizer_of(kind)
    text, spans = example
    spans = readable(tokenizer, text, spans)
    whole = MaskedSeqProcessor(tokenizer).encode_spans([text], [spans])
    cut = MaskedSeqProcessor(tokenizer, max_length=room + 2).encode_spans([text], [spans])
    inner = whole["input_ids"][0][1:-1]
    for ids, places, numbers in zip(cut["input_ids"], cut["mask_indices"], cut["span_ids"]):
        for place, number in zip(places, numbers):
            position = whole["mask_indices"][0][number] - 1
            start = position - (place - 1)
            assert ids[1:-1] == inner[start : start + room]


@pytest.mark.parametrize("kind", ALL)
@SETTINGS
@given(example=texts_with_spans(), room=st.integers(1, 20))
def test_what_is_dropped_is_counted(kind, example, room):
    tokenizer = tokenizer_of(kind)
    text, spans = example
    spans = readable(tokenizer, text, spans)
    processor = MaskedSeqProcessor(tokenizer, max_length=room + 2, on_overflow="drop")
    rows = processor.encode_spans([text], [spans])
    counts = processor.stats(rows)
    assert counts["positions"] + counts["dropped"] == len(spans)
    beyond = [
        p > room
        for p in MaskedSeqProcessor(tokenizer).encode_spans([text], [spans])["mask_indices"][0]
    ]
    assert counts["dropped"] == sum(beyond)
    if counts["dropped"]:
        with pytest.raises(ValueError, match="in no row"):
            processor.decode(rows, rows["span_ids"])
        with pytest.raises(ValueError, match=f"Span {beyond.index(True)} of example 0 is read"):
            MaskedSeqProcessor(tokenizer, max_length=room + 2, on_overflow="error").encode_spans(
                [text], [spans]
            )
    wanted = [None if lost else span for span, lost in enumerate(beyond)]
    assert processor.decode(rows, rows["span_ids"], fill=None) == [wanted]


@pytest.mark.parametrize("kind", ALL)
@SETTINGS
@given(text=TEXTS, data=st.data())
def test_nothing_raises_but_the_documented_errors(kind, text, data):
    tokenizer = tokenizer_of(kind)
    number = st.integers(-2, len(text) + 2)
    spans = data.draw(st.lists(st.tuples(number, number), max_size=3))
    wrong = [s for s in spans if not 0 <= s[0] < s[1] <= len(text)]
    wrong += [s for s in spans if s not in wrong and s not in readable(tokenizer, text, [s])]
    try:
        MaskedSeqProcessor(tokenizer).encode_spans([text], [spans])
    except ValueError as error:
        assert "of example 0 must" in str(error)  # noqa: PT017 (an error is allowed, not demanded)
        assert wrong
    else:
        assert not wrong


@pytest.mark.parametrize("kind", ALL)
@SETTINGS
@given(words=st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=8), data=st.data())
def test_words_and_characters_agree(kind, words, data):
    tokenizer = tokenizer_of(kind)
    text, starts = " ".join(words), [0]
    for word in words:
        starts.append(starts[-1] + len(word) + 1)
    number = st.integers(0, len(words))
    pairs = data.draw(st.lists(st.tuples(number, number), max_size=5))
    pairs = [(a, b) for a, b in pairs if a < b]
    pairs = [p for p in pairs if readable(tokenizer, text, [(starts[p[0]], starts[p[1]] - 1)])]
    spans = [(starts[a], starts[b] - 1) for a, b in pairs]
    processor = MaskedSeqProcessor(tokenizer, read="mask")
    of_words = processor.encode_words([words], [pairs])
    of_text = processor.encode_spans([text], [spans])
    assert of_words == {**of_text, "example_kinds": ["words"]}
