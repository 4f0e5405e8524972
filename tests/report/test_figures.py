"""Figures of a report: scikit-learn and slow loops are the judges."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from irti_custom.evaluation.stat_scores import count, measures, tally
from irti_custom.records.kinds import read_record
from irti_custom.report.bootstrap import interval, resample
from irti_custom.report.cases import choose, kinds_of, severities
from irti_custom.report.comparison import Other, compare_figures
from irti_custom.report.confusions import confusions
from irti_custom.report.curves import precision_recall_curve
from irti_custom.report.figures import (
    Draws,
    baselines,
    calibration_figures,
    label_figures,
    overall_figures,
    slice_figures,
)
from irti_custom.report.slices import MISSING, OTHER, Slice, all_slices
from tests.report.scored import LABELS, random_scored

tasks = pytest.mark.parametrize("task", ["multilabel", "multiclass"])


def sklearn_measures(task: str, true: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    if task == "multiclass":
        classes = true.argmax(axis=1), predicted.argmax(axis=1)
        macro = metrics.f1_score(*classes, average="macro", zero_division=0)
        return {"accuracy": metrics.accuracy_score(*classes), "macro_f1": macro, "coverage": 1.0}
    f1 = {
        a: metrics.f1_score(true, predicted, average=a, zero_division=0) for a in ("micro", "macro")
    }
    exact = metrics.accuracy_score(true, predicted)
    return {"micro_f1": f1["micro"], "macro_f1": f1["macro"], "exact_match": exact}


@tasks
def test_measures_are_those_of_scikit_learn(task):
    scored, documents = random_scored(task)
    total = tally(count(scored.true, scored.predicted, documents).sum(axis=0))
    expected = sklearn_measures(task, scored.true, scored.predicted)
    assert measures(total, task) == pytest.approx(expected)


@tasks
def test_a_resample_is_the_measure_of_its_documents(task):
    scored, documents = random_scored(task)
    drawn = resample(count(scored.true, scored.predicted, documents), resamples=3, seed=7)
    generator = np.random.default_rng(7)
    size = documents.max() + 1
    for index, chosen in enumerate(generator.integers(0, size, (3, size))):
        rows = np.concatenate([np.flatnonzero(documents == document) for document in chosen])
        expected = sklearn_measures(task, scored.true[rows], scored.predicted[rows])
        assert measures(tally(drawn[index]), task) == pytest.approx(expected)


def test_intervals_are_the_same_for_the_same_seed_whatever_the_parts(monkeypatch):
    scored, documents = random_scored("multilabel")
    counts = count(scored.true, scored.predicted, documents)
    first = resample(counts, 50, seed=1)
    monkeypatch.setattr("irti_custom.report.bootstrap._ELEMENTS", 30 * 7)
    assert np.array_equal(first, resample(counts, 50, seed=1))
    assert not np.array_equal(first, resample(counts, 50, seed=2))


def test_an_interval_by_document_is_wider_than_one_by_position_where_documents_differ():
    rng = np.random.default_rng(0)
    documents = np.repeat(np.arange(40), 25)
    right = (rng.random(40) < 0.5)[documents][:, None]  # a document is right or wrong as a whole
    true = np.ones_like(right)
    widths = []
    for ids in (documents, np.arange(len(documents))):
        drawn = measures(tally(resample(count(true, right, ids), 500, 0)), "multilabel")
        [(low, high)] = interval(drawn["exact_match"][:, None])
        widths.append(high - low)
    assert widths[0] > 3 * widths[1]


def test_one_document_has_no_interval():
    scored, documents = random_scored("multilabel", 20)
    figures = overall_figures(scored, Draws(np.zeros_like(documents), 100, 0), {})
    assert figures[0]["low"] is None


@tasks
def test_label_figures_are_those_of_scikit_learn(task):
    scored, documents = random_scored(task)
    rows = label_figures(scored, Draws(documents, 50, 0))
    scores = metrics.precision_recall_fscore_support(scored.true, scored.predicted, zero_division=0)
    for index, row in enumerate(rows):
        found = [row[name] for name in ("precision", "recall", "f1", "support")]
        assert found == pytest.approx([part[index] for part in scores])
        average = metrics.average_precision_score(
            scored.true[:, index], scored.probabilities[:, index]
        )
        assert row["curve"]["average_precision"] == pytest.approx(average)
        assert row["low"] <= row["f1"] <= row["high"]


def test_a_thinned_curve_holds_points_of_the_whole_one():
    rng = np.random.default_rng(0)
    scores = rng.random(5000)
    true = rng.random(5000) < scores
    precision, recall, _ = metrics.precision_recall_curve(true, scores)
    whole = set(zip(recall.round(4), precision.round(4)))
    curve = precision_recall_curve(true, scores)
    points = list(zip(curve["recall"], curve["precision"]))
    assert len(points) <= 100
    assert set(points) <= whole
    assert max(np.abs(np.diff(curve["recall"]))) < 0.02


def test_multiclass_confusions_are_the_confusion_matrix():
    scored, _ = random_scored("multiclass")
    expected = metrics.confusion_matrix(scored.true.argmax(1), scored.predicted.argmax(1))
    found = confusions(scored.true, scored.predicted)
    assert np.array_equal(found[:4, :4], expected)
    assert not found[4].any()
    assert not found[:, 4].any()


@pytest.mark.parametrize("groups", [[], [[0, 2]]])
def test_multilabel_confusions_are_those_of_a_loop(groups):
    scored, _ = random_scored("multilabel")
    group_of = {0: "g", 2: "g"} if groups else {}
    expected = np.zeros((5, 5), dtype=int)
    for true, predicted in zip(scored.true, scored.predicted):
        for group in {group_of.get(i) for i in range(4)}:
            ids = [i for i in range(4) if group_of.get(i) == group]
            missed = [i for i in ids if true[i] and not predicted[i]]
            spurious = [i for i in ids if predicted[i] and not true[i]]
            if missed or spurious:
                for i in missed or [4]:
                    for j in spurious or [4]:
                        expected[i, j] += 1
            for i in ids:
                expected[i, i] += true[i] and predicted[i]
    assert np.array_equal(confusions(scored.true, scored.predicted, groups), expected)


def test_calibration_of_classes_is_that_of_the_top_one():
    scored, _ = random_scored("multiclass")
    top = scored.probabilities.max(axis=1)
    right = scored.true[np.arange(len(top)), scored.probabilities.argmax(axis=1)]
    bins = np.clip(np.ceil(top * 15).astype(int) - 1, 0, 14)
    gaps = [
        abs(top[bins == k].mean() - right[bins == k].mean()) * (bins == k).sum() for k in set(bins)
    ]
    assert calibration_figures(scored)["calibration_error"] == pytest.approx(sum(gaps) / len(top))


def test_a_slice_has_the_measure_of_its_positions():
    scored, documents = random_scored("multilabel")
    members = np.arange(len(documents)) % 2
    [row] = slice_figures(scored, Draws(documents, 20, 0), [Slice("half", ["a", "b"], members)])
    for number, group in enumerate(row["groups"]):
        kept = members == number
        expected = sklearn_measures("multilabel", scored.true[kept], scored.predicted[kept])
        assert group["value"] == pytest.approx(expected["micro_f1"])
        assert group["positions"] == kept.sum()


def test_columns_of_any_kind_are_slices():
    scored, _ = random_scored("multilabel", 40)
    records = [
        {"text": "Ann sees Bob", "kind": "ab"[n % 2] if n else None, "size": n, "tag": f"t{n:02}",
         "share": n / 7, "flag": n % 2 == 0, "list": [n % 2]}
        for n in range(40)
    ]  # fmt: skip
    read = [read_record({**record, "spans": []}, "it") for record in records]
    found = {one.name: one for one in all_slices(scored, read, {"ann"}, list(records[0])[1:])}
    assert found["String in training"].groups == ["seen"]
    assert found["kind"].groups == ["a", "b", MISSING]
    assert found["size"].groups == ["up to 9", "10 to 19", "20 to 29", "30 or more"]
    assert np.bincount(found["size"].members).tolist() == [10] * 4
    assert found["share"].groups[1] == "over 1.28571, up to 2.71429"
    assert len(found["tag"].groups) == 12
    assert found["tag"].groups[-1] == OTHER
    assert found["flag"].groups == ["False", "True"]
    assert found["list"].groups == ["[0]", "[1]"]
    with pytest.raises(ValueError, match=r"got 'genre'.*'flag', 'kind'"):
        all_slices(scored, read, None, ["genre"])


@tasks
def test_comparison_is_paired_and_of_the_measures_differences(task):
    scored, documents = random_scored(task)
    other = Other("other", np.roll(scored.predicted, 1, axis=0))
    figures = compare_figures(scored, other, [None] * len(documents), documents, 200, 0)
    here = sklearn_measures(task, scored.true, scored.predicted)
    there = sklearn_measures(task, scored.true, other.predicted)
    for row in figures["measures"]:
        key = row["measure"]
        assert row["difference"] == pytest.approx(here[key] - there[key])
    assert figures["measures"][0]["better"] == 1.0
    same = compare_figures(scored, Other("same", scored.predicted), [], documents, 50, 0)
    assert all((row["low"], row["high"], row["better"]) == (0, 0, 0.5) for row in same["measures"])


def test_errors_come_first_the_worst_of_each_label_among_them():
    scored, _ = random_scored("multilabel", 2000)
    severity = severities(scored)
    chosen = choose(scored, [None] * 2000, 100, seed=0)
    assert len(set(chosen)) == 100
    errors = [index for index in chosen if severity[index] > 0]
    assert len(errors) == 80
    assert errors == chosen[:80]
    assert [severity[i] for i in errors] == sorted((severity[i] for i in errors), reverse=True)
    wrong = scored.true != scored.predicted
    for column in wrong.T:
        worst = np.flatnonzero(column)[severity[np.flatnonzero(column)].argmax()]
        assert worst in errors
    assert choose(scored, [None] * 2000, 100, seed=0) == chosen
    assert sorted(choose(scored, [None] * 2000, 2000, seed=0)) == list(range(2000))


def test_kinds_name_what_happened():
    true = np.array([[1, 0], [1, 0], [1, 0], [0, 0]], dtype=bool)
    predicted = np.array([[1, 0], [0, 0], [0, 1], [1, 0]], dtype=bool)
    assert kinds_of(true, predicted) == ["right", "missed", "confused", "false"]


def test_baselines_know_the_positions_of_the_training_data():
    scored, _ = random_scored("multilabel", 5)
    place = scored.places[0]
    found = baselines(scored, [place._replace(labels=["place"])] * 2)
    assert set(found) == {"look-up", "most frequent"}
    expected = np.tile([name == "place" for name in LABELS], (5, 1))
    assert all(np.array_equal(predicted, expected) for predicted in found.values())
