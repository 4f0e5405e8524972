"""Two baselines that need no model, and a table that compares a model with them.

    baseline_scores(train, test)  ->  {"baseline_majority_micro_f1": 0.37, ...}
    score_table(metrics, labels, train, test)  ->  scores per label, of the model and the baselines

Records are `{"text": str, "spans": [{"start": int, "end": int, "labels": [str, ...]}]}`. Label
sets come one per span, in the order of records and spans.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set

from irti_custom.evaluation.baselines import look_up, most_frequent


def label_sets(records: Iterable[dict]) -> list[frozenset[str]]:
    """Return the true label set of every span.

    Example:
        >>> label_sets([{"text": "Ulm", "spans": [{"start": 0, "end": 3, "labels": ["city"]}]}])
        [frozenset({'city'})]
    """
    return [frozenset(span["labels"]) for record in records for span in record["spans"]]


def majority_baseline(train: Iterable[dict], test: Iterable[dict]) -> list[frozenset[str]]:
    """Predict the most frequent label set of the training spans for every test span.

    Example:
        >>> row = {"text": "Ulm", "spans": [{"start": 0, "end": 3, "labels": ["city"]}]}
        >>> majority_baseline([row], [row])
        [frozenset({'city'})]
    """
    majority = most_frequent(label_sets(train))
    return [majority for _ in label_sets(test)]


def lookup_baseline(train: Iterable[dict], test: Iterable[dict]) -> list[frozenset[str]]:
    """Predict from training spans with the same string, as `look_up` does.

    Example:
        >>> row = {"text": "Ulm", "spans": [{"start": 0, "end": 3, "labels": ["city"]}]}
        >>> lookup_baseline([row], [{**row, "text": "ULM"}])
        [frozenset({'city'})]
    """
    train = list(train)
    return look_up(_strings(train), label_sets(train), _strings(test))


def micro_f1(
    truth: Iterable[Set[str]], predicted: Iterable[Set[str]], label: str | None = None
) -> float:
    """Return F1 over all decisions, or over those on one label; 0 where there is no positive.

    Example:
        >>> micro_f1([{"city"}, {"name", "direct"}], [{"city"}, {"city"}])
        0.4
        >>> micro_f1([{"city"}, {"name", "direct"}], [{"city"}, {"city"}], label="city")
        0.6666666666666666
    """
    hits = total = 0
    for true, guess in zip(truth, predicted):
        if label is not None:
            true, guess = true & {label}, guess & {label}
        hits += len(true & guess)
        total += len(true) + len(guess)
    return 2 * hits / total if total else 0.0


def baseline_scores(train: Iterable[dict], test: Iterable[dict]) -> dict[str, float]:
    """Return the micro-F1 of both baselines on `test`.

    Example:
        >>> row = {"text": "Ulm", "spans": [{"start": 0, "end": 3, "labels": ["city"]}]}
        >>> baseline_scores([row], [row])
        {'baseline_majority_micro_f1': 1.0, 'baseline_lookup_micro_f1': 1.0}
    """
    train, test = list(train), list(test)
    truth = label_sets(test)
    return {
        "baseline_majority_micro_f1": micro_f1(truth, majority_baseline(train, test)),
        "baseline_lookup_micro_f1": micro_f1(truth, lookup_baseline(train, test)),
    }


def score_table(
    metrics: Mapping[str, float], labels: Iterable[str], train: Iterable[dict], test: Iterable[dict]
) -> str:
    """Format the results of `make_compute_metrics(..., per_label=True)` beside both baselines.

    Args:
        metrics: the measures of a model on `test`, without a prefix.
        labels: one line of the table each; a line of micro averages follows.
        train: the records that the baselines learn from.
        test: the records to score.
    """
    train, test = list(train), list(test)
    truth = label_sets(test)
    baselines = [majority_baseline(train, test), lookup_baseline(train, test)]
    names = (
        "label",
        "support",
        "precision",
        "recall",
        "F1",
        "majority baseline",
        "lookup baseline",
    )
    lines = ["{:20}{:>9}{:>11}{:>8}{:>8}{:>19}{:>17}".format(*names)]
    for label in [*labels, None]:
        name = label or "micro"
        support = sum(len(true if label is None else true & {label}) for true in truth)
        scores = [metrics[f"{name}_{score}"] for score in ("precision", "recall", "f1")]
        scores += [micro_f1(truth, predicted, label) for predicted in baselines]
        row = "{:20}{:9}{:11.3f}{:8.3f}{:8.3f}{:19.3f}{:17.3f}"
        lines.append(row.format(name, support, *scores))
    return "\n".join(lines)


def _strings(records: Iterable[dict]) -> list[str]:
    return [
        record["text"][span["start"] : span["end"]]
        for record in records
        for span in record["spans"]
    ]
