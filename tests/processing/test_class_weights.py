"""Balanced weights against scikit-learn and plain counting."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from irti_custom import balanced_weights


def ragged(task: str) -> list:
    rng = np.random.default_rng(0)
    rows = []
    for count in (4, 0, 7, 1):
        shape = (count, 3) if task == "multilabel" else count
        labels = rng.integers(0, 2 if task == "multilabel" else 3, shape)
        rows.append(labels)
    rows[0][1] = -100
    return rows


def test_class_weights_are_scikit_learns():
    rows = ragged("multiclass")
    kept = np.concatenate(rows)
    kept = kept[kept != -100]
    wanted = compute_class_weight("balanced", classes=np.arange(3), y=kept)
    assert balanced_weights(rows, "multiclass", 3) == pytest.approx(wanted)
    weights = np.array(balanced_weights([row.tolist() for row in rows], "multiclass", 3))
    assert weights[kept].mean() == pytest.approx(1)


def test_positive_weights_are_negatives_per_positive():
    rows = ragged("multilabel")
    rows[2][0, 1] = -100  # one element
    flat = np.concatenate(rows)
    flat = flat[flat[:, 0] != -100]
    wanted = [(column == 0).sum() / (column == 1).sum() for column in flat.T]
    assert balanced_weights(rows, "multilabel", 3) == pytest.approx(wanted)


def test_a_label_that_never_occurs_weighs_one_and_is_named(caplog):
    assert balanced_weights([[0, 0], []], "multiclass", 2) == [0.5, 1.0]
    assert "label(s) [1]" in caplog.text


def test_weights_can_be_limited():
    assert balanced_weights([[0] * 9 + [1]], "multiclass", 2, max_weight=2.0)[1] == 2.0


@pytest.mark.parametrize(
    ("labels", "task", "message"),
    [
        ([[0, 1]], "multilabel", r"Row 0 of the labels: `labels` must have 2 .* got 1. .*\(M, L\)"),
        ([[], [[0, 1]]], "multiclass", r"Row 1 of the labels: `labels` must have 1 .* got 2"),
        ([[0, 2]], "multiclass", r"Row 0 of the labels: `labels` must be in \[0, 2\) .* got 2"),
        ([[0], [0.5]], "multiclass", "Row 1 of the labels: .* integers, got .* dtype float64"),
        ([[[0, 1, 1]]], "multilabel", "Row 0 of the labels: .* L = 2, got L = 3"),
        ([[[0, float("nan")]]], "multilabel", r"must be in \[0, 1\] .* got nan"),
        ([[0]], "regression", "`task` must be one of"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels, task, message):
    with pytest.raises(ValueError, match=message):
        balanced_weights(labels, task, 2)
