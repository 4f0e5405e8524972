"""Calibration: the measures against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics as sk
from sklearn.calibration import calibration_curve

from irti_custom.evaluation.calibration import brier, expected_calibration_error, reliability


def scored(seed, size=400):
    rng = np.random.default_rng(seed)
    scores = rng.random(size).round(rng.integers(1, 17))  # some on the edges of bins
    return scores, (rng.random(size) < scores**2).astype(int)


@pytest.mark.parametrize("num_bins", [1, 5, 10, 15])
@pytest.mark.parametrize("seed", range(2))
def test_the_diagram_is_that_of_scikit_learn(seed, num_bins):
    scores, hits = scored(seed)
    diagram = reliability(scores, hits, num_bins)
    share, mean = calibration_curve(hits, scores, n_bins=num_bins, strategy="uniform")
    filled = diagram.counts > 0
    np.testing.assert_allclose(diagram.share_true[filled], share)
    np.testing.assert_allclose(diagram.mean_score[filled], mean)
    assert diagram.counts.sum() == len(scores)
    assert not diagram.mean_score[~filled].any()
    gaps = np.abs(share - mean) * diagram.counts[filled] / len(scores)
    assert expected_calibration_error(scores, hits, num_bins) == pytest.approx(gaps.sum())


def test_the_brier_score_is_that_of_scikit_learn():
    scores, hits = scored(0)
    assert brier(scores, hits) == pytest.approx(sk.brier_score_loss(hits, scores))
    assert brier(scores.reshape(8, -1), hits.reshape(8, -1)) == pytest.approx(brier(scores, hits))
    rng = np.random.default_rng(1)
    chances, classes = rng.dirichlet(np.ones(4), 50), rng.integers(0, 4, 50)
    by_hand = np.mean(
        [sum((p - (j == y)) ** 2 for j, p in enumerate(row)) for row, y in zip(chances, classes)]
    )
    assert brier(chances, classes) == pytest.approx(by_hand)


def test_ignored_elements_count_nowhere_and_nothing_is_perfect():
    scores, hits = scored(0)
    ignored = np.random.default_rng(1).random(len(hits)) < 0.3
    marked = np.where(ignored, -100, hits)
    wild = np.where(ignored, np.nan, scores)
    for measure in (expected_calibration_error, brier):
        assert measure(wild, marked) == measure(scores[~ignored], hits[~ignored])
        assert measure([], []) == 0.0
    assert brier([[0.2, 0.8], [9, 9]], [1, -100]) == pytest.approx(2 * 0.2**2)


@pytest.mark.parametrize(
    ("scores", "hits", "message"),
    [
        ([0.5], [0, 1], r"shape of `scores`, \(1,\), got \(2,\)"),
        ([[0.5, 0.5]], [0, 1], r"must be 1 class ids|shape of `scores`"),
        ([1.5], [1], "probabilities in"),
        ([np.nan], [1], "probabilities in"),
        ([0.5], [2], "must be 0 or 1, or -100"),
    ],
)
@pytest.mark.parametrize("measure", [expected_calibration_error, brier])
def test_what_cannot_be_measured_is_refused(measure, scores, hits, message):
    with pytest.raises(ValueError, match=message):
        measure(scores, hits)


def test_bins_are_counted():
    with pytest.raises(ValueError, match="`num_bins` must be a whole number of at least 1, got 0"):
        reliability([0.5], [1], num_bins=0)
