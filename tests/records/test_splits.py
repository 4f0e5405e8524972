"""Splits: documents stay whole, copies stay together, and every part gets its share of labels."""

from __future__ import annotations

import logging
import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from irti_custom.records.splits import count_labels, draw_folds, split_records, stratify

SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}
SPAN = {"start": 0, "end": 1}


def record(name: str | None, text: str, *labels: str) -> dict[str, Any]:
    return {"id": name, "text": text, "spans": [{**SPAN, "labels": [one]} for one in labels]}


RECORDS = st.lists(
    st.builds(
        lambda document, sentence, text, labels: record(f"{document}.{sentence}", text, *labels),
        st.integers(0, 20),
        st.integers(0, 5),
        st.integers(0, 40).map(str),
        st.lists(st.sampled_from("abcd"), max_size=4),
    ),
    min_size=30,
    max_size=60,
)


@settings(max_examples=60, deadline=None)
@given(RECORDS, st.integers(0, 3))
def test_each_record_is_in_one_part_and_so_are_documents_and_copies(records, seed):
    # Two that are tied to no other: chains of documents and copies may leave but one.
    records = [*records, record("x", "x"), record("y", "y")]
    split = split_records(records, {"train": 0.6, "test": 0.4}, seed=seed)
    assert sorted(index for part in split.values() for index in part) == [*range(len(records))]
    for key in (lambda r: r["id"].split(".")[0], lambda r: r["text"]):
        train, test = ({key(records[index]) for index in part} for part in split.values())
        assert not train & test


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 80), min_size=1, max_size=6), st.integers(0, 3))
def test_of_single_labels_each_part_has_its_share_to_the_nearest_one(counts, seed):
    labels = [{str(label): 1} for label, count in enumerate(counts) for _ in range(count)]
    parts = stratify(labels, [1] * len(labels), [0.8, 0.1, 0.1], seed)
    for label, count in enumerate(counts):
        for share, part in zip((0.8, 0.1, 0.1), parts):
            found = sum(str(label) in labels[unit] for unit in part)
            assert abs(found - share * count) < 1


def deviation(records: list[dict], split: dict[str, list[int]]) -> float:
    """How far the shares of labels are from what was asked for, on average."""
    total = count_labels(records)
    parts = {name: count_labels(records[i] for i in indices) for name, indices in split.items()}
    errors = [abs(parts[n][label] / total[label] - SHARES[n]) for n in SHARES for label in total]
    return sum(errors) / len(errors)


def test_many_labels_per_document_come_out_evener_than_in_the_best_of_20_random_splits():
    generator = random.Random(0)
    records = []
    for document in range(120):
        topic = generator.randrange(12)
        for sentence in range(generator.randint(1, 8)):
            # Label n is about 1/n as frequent as label 1, and documents have a topic.
            labels = generator.choices(range(1, 30), [1 / n for n in range(1, 30)], k=4)
            labels += [topic + 30] * (generator.random() < 0.3)
            text = f"{document} {sentence}"
            records.append(record(f"{document}.{sentence}", text, *map(str, labels)))
    ours = deviation(records, split_records(records, SHARES))
    by_chance = []
    for _ in range(20):
        documents = [*range(120)]
        generator.shuffle(documents)
        parts = {"train": documents[24:], "validation": documents[:12], "test": documents[12:24]}
        split = {
            name: [i for i, r in enumerate(records) if int(r["id"].split(".")[0]) in chosen]
            for name, chosen in parts.items()
        }
        by_chance.append(deviation(records, split))
    assert ours < min(by_chance)


def test_a_split_is_the_same_each_time_and_the_seed_changes_it():
    records = [record(str(n), str(n), "ab"[n % 2]) for n in range(50)]
    assert split_records(records, SHARES) == split_records(list(records), SHARES)
    assert split_records(records, SHARES) != split_records(records, SHARES, seed=1)


def test_tables_and_records_of_fields_are_told_apart_by_content_and_not_by_labels():
    tables = [
        {"columns": [{"header": "a", "values": [str(n // 2)], "labels": [str(n % 2)]}]}
        for n in range(20)
    ]
    fields = [
        {"fields": [{"name": "a", "value": str(n // 2), "labels": [str(n % 2)]}]} for n in range(20)
    ]
    for records in (tables, fields):
        split = split_records(records, {"train": 0.5, "test": 0.5})
        for part in split.values():
            assert Counter(n // 2 for n in part) == dict.fromkeys({n // 2 for n in part}, 2)
            assert count_labels(records[n] for n in part) == {"0": 5, "1": 5}


def test_unknown_labels_and_missing_ids_are_no_obstacle():
    spans = [{**SPAN, "labels": None}]
    records = [{"text": str(n), "spans": spans} for n in range(10)]
    assert {name: len(part) for name, part in split_records(records, SHARES).items()} == {
        "train": 8,
        "validation": 1,
        "test": 1,
    }


@pytest.mark.parametrize(
    ("ids", "documents"),
    [
        (["0.0", "0.1", "1.0", "1.1"], [{0, 1}, {2, 3}]),  # CoNLL with -DOCSTART-
        (["news-1", "news-2", "talk-1", "talk-2"], [{0, 1}, {2, 3}]),  # Universal Dependencies
        (["1", "2", "3", "3"], [{0}, {1}, {2, 3}]),
        (["a", "b/c", "b/d", None], [{0}, {1}, {2}, {3}]),
    ],
)
def test_documents_are_found_by_ids(ids, documents):
    records = [record(name, str(number)) for number, name in enumerate(ids)]
    for seed in range(8):
        for part in split_records(records, {"a": 0.5, "b": 0.5}, seed=seed).values():
            assert all(document <= {*part} or not document & {*part} for document in documents)


def test_a_share_that_large_documents_do_not_allow_is_logged(caplog):
    records = [record(f"{n // 70}.{n}", str(n)) for n in range(100)]
    with caplog.at_level(logging.WARNING):
        split_records(records, {"train": 0.5, "test": 0.5})
    assert "'train' has 70 of 100 records, not its share of 0.5: 100 records make 2" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shares": {"train": 0.8, "test": 0.1}}, "add up to 1, got"),
        ({"shares": {"train": 1.0}}, "two or more numbers between 0 and 1"),
        ({"shares": {"train": 1.5, "test": -0.5}}, "two or more numbers between 0 and 1"),
        ({"shares": {"train": float("nan"), "test": 0.5}}, "two or more numbers between 0 and 1"),
        ({"document_id": "doc-1"}, "must have a group"),
        ({"document_id": "("}, "must be a pattern"),
        ({}, r"got none for \['validation', 'test'\]: 9 records make 1 documents"),
        ({"records": []}, "got none for"),
        ({"records": ["Ann"]}, "Record 0 must be a dict, got 'Ann'"),
        ({"shares": {"train": "0.5", "test": 0.5}}, "two or more numbers between 0 and 1"),
    ],
)
def test_what_cannot_be_split_says_why(arguments, message):
    records = [record(f"doc-{n}", str(n)) for n in range(9)]
    with pytest.raises(ValueError, match=message):
        split_records(**{"records": records, "shares": SHARES, **arguments})
    split = split_records(records, {"train": 0.6, "test": 0.4}, document_id="(.*)")
    assert len(split["test"]) in (3, 4)


@pytest.mark.parametrize("seed", range(20))
def test_records_with_an_equal_id_or_an_equal_text_share_a_fold(seed):
    draw = random.Random(seed)
    records = [record(str(draw.randrange(60)), str(draw.randrange(60))) for _ in range(50)]
    folds = draw_folds(records, 3, seed=seed).tolist()
    for one, of_one in zip(records, folds):
        for other, of_other in zip(records, folds):
            if one["id"] == other["id"] or one["text"] == other["text"]:
                assert of_one == of_other
    assert set(folds) == {0, 1, 2}


def test_folds_of_different_texts_are_of_equal_size():
    folds = draw_folds([record(str(n), str(n)) for n in range(32)], 3)
    assert sorted(Counter(folds.tolist()).values()) == [10, 11, 11]


def test_folds_are_of_whole_documents():
    records = [record(f"{n // 2}.{n % 2}", str(n)) for n in range(8)]
    folds = draw_folds(records, 2).tolist()
    assert folds[::2] == folds[1::2]
    apart = [draw_folds(records, 2, "(.*)", seed).tolist() for seed in range(9)]
    assert any(one[::2] != one[1::2] for one in apart)


def test_a_label_that_only_one_fold_has_is_logged(caplog):
    records = [record(str(n), str(n), "common", *(["rare"] if n == 4 else [])) for n in range(9)]
    fold = draw_folds(records, 3)[4]
    assert f"Only fold {fold} has the label(s) ['rare']" in caplog.text


def test_too_few_documents_for_the_folds_are_refused():
    with pytest.raises(ValueError, match="the number of documents, 1, got 2"):
        draw_folds([record("0", "a"), record("1", "a")], 2)
    with pytest.raises(ValueError, match="the number of documents, 2, got 1"):
        draw_folds([record("0", "a"), record("1", "b")], 1)
