"""Two baselines that need no model, and a table that compares a model with them.

    baseline_scores(train, test)  ->  {"baseline_majority_micro_f1": 0.37, ...}
    score_table(metrics, labels, train, test)  ->  scores per label, of the model and the baselines

Records are texts with spans, records of fields, or tables. A position is read as strings: the text
of a span, the value of a field, header and values of a column. Positions whose labels are not known
are left out, as they are by metrics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from typing import NamedTuple

from irti_custom.evaluation.baselines import look_up, most_frequent


class Position(NamedTuple):
    """What stands at a position, and its true labels."""

    strings: list[str]
    labels: frozenset[str]


def positions(records: Iterable[dict]) -> Iterator[Position]:
    """List the positions whose labels are known, in the order of records and positions.

    Example:
        >>> next(positions([{"fields": [{"name": "town", "value": "Ulm", "labels": ["city"]}]}]))
        Position(strings=['Ulm'], labels=frozenset({'city'}))
    """
    for record in records:
        for kind, read in _STRINGS.items():
            for position in record.get(kind) or ():
                if position["labels"] is not None:
                    strings = [str(one) for one in read(record, position) if one]
                    yield Position(strings, frozenset(position["labels"]))


_STRINGS: dict[str, Callable[[dict, dict], list]] = {
    "spans": lambda record, span: [record["text"][span["start"] : span["end"]]],
    "fields": lambda record, field: [field["value"]],
    "columns": lambda record, column: [column["header"], *column["values"]],
}


def label_sets(records: Iterable[dict]) -> list[frozenset[str]]:
    """Return the true label set of every position.

    Example:
        >>> label_sets([{"text": "Ulm", "spans": [{"start": 0, "end": 3, "labels": ["city"]}]}])
        [frozenset({'city'})]
    """
    return [position.labels for position in positions(records)]


def majority_baseline(train: Iterable[dict], test: Iterable[dict]) -> list[frozenset[str]]:
    """Predict the most frequent label set of the training positions for every test position.

    Example:
        >>> row = {"text": "Ulm", "spans": [{"start": 0, "end": 3, "labels": ["city"]}]}
        >>> majority_baseline([row], [row])
        [frozenset({'city'})]
    """
    majority = most_frequent(label_sets(train))
    return [majority for _ in label_sets(test)]


def lookup_baseline(train: Iterable[dict], test: Iterable[dict]) -> list[frozenset[str]]:
    """Predict from training positions with the same strings, as `look_up` does.

    Example:
        >>> row = {"text": "Ulm", "spans": [{"start": 0, "end": 3, "labels": ["city"]}]}
        >>> lookup_baseline([row], [{**row, "text": "ULM"}])
        [frozenset({'city'})]
    """
    known = list(positions(train))
    strings, labels = [one.strings for one in known], [one.labels for one in known]
    return look_up(strings, labels, [position.strings for position in positions(test)])


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
        parts = [f"{name}_{score}" for score in ("precision", "recall", "f1")]
        # With one class per position, micro precision, recall and F1 are all the accuracy.
        scores = [metrics["accuracy" if part not in metrics else part] for part in parts]
        scores += [micro_f1(truth, predicted, label) for predicted in baselines]
        row = "{:20}{:9}{:11.3f}{:8.3f}{:8.3f}{:19.3f}{:17.3f}"
        lines.append(row.format(name, support, *scores))
    return "\n".join(lines)
