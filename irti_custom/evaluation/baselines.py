"""Two baselines that need no model: the most frequent label set, and looking strings up.

    strings and label sets of training positions  ->  one label set per position to predict

A model that does no better has learned nothing from the context of a position.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence, Set

LabelSet = Set[str]


def most_frequent(label_sets: Iterable[LabelSet]) -> frozenset[str]:
    """Return the most frequent label set, of equals the first; none without any.

    Example:
        >>> sorted(most_frequent([{"city"}, {"name", "city"}, {"city"}]))
        ['city']
    """
    counts = Counter(map(frozenset, label_sets))
    return max(counts, key=counts.__getitem__, default=frozenset())


def look_up(
    train_strings: Sequence[str], train_sets: Sequence[LabelSet], strings: Iterable[str]
) -> list[frozenset[str]]:
    """Predict from training positions with the same lower-cased string, else the most frequent set.

    Predicted are the labels of at least half of these positions and always their most frequent one
    (of equals, the first in the alphabet); only that one if all training positions have a single
    label.

    Args:
        train_strings: what is written at the training positions.
        train_sets: their labels, as many.
        strings: what is written at the positions to predict.

    Raises:
        ValueError: other numbers of strings and of label sets.

    Example:
        >>> [sorted(labels) for labels in look_up(["Ulm"], [{"city"}], ["ULM", "Ann"])]
        [['city'], ['city']]
    """
    if len(train_strings) != len(train_sets):
        raise ValueError(
            f"Training positions must have a string and a label set each, got {len(train_strings)} "
            f"and {len(train_sets)}."
        )
    single = all(len(labels) == 1 for labels in train_sets)
    seen: Counter[str] = Counter()
    votes: dict[str, Counter[str]] = defaultdict(Counter)
    for string, labels in zip(train_strings, train_sets):
        seen[string.lower()] += 1
        votes[string.lower()].update(labels)

    def labels_of(string: str) -> frozenset[str]:
        counts = votes[string]
        top = sorted(counts, key=lambda label: (-counts[label], label))[:1]
        half = [] if single else [name for name in counts if 2 * counts[name] >= seen[string]]
        return frozenset(half or top)

    fallback = most_frequent(train_sets)
    lowered = (string.lower() for string in strings)
    return [labels_of(string) if string in seen else fallback for string in lowered]
