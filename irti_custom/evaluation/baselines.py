"""Two baselines that need no model: the most frequent label set, and looking strings up.

    strings and label sets of training positions  ->  one label set per position to predict

A model that does no better has learned nothing from the context of a position.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence, Set

LabelSet = Set[str]


def most_frequent(label_sets: Iterable[LabelSet]) -> frozenset[str]:
    """Return the most frequent label set, of equals the first; none without any."""
    counts = Counter(map(frozenset, label_sets))
    return max(counts, key=counts.__getitem__, default=frozenset())


def look_up(
    train_strings: Sequence[Sequence[str]],
    train_sets: Sequence[LabelSet],
    strings: Iterable[Sequence[str]],
) -> list[frozenset[str]]:
    """Predict from training positions with the same lower-cased strings, or the most frequent set.

    A string that training has votes with all of its positions. Predicted are the labels of at least
    half of the votes and always the most frequent one (of equals, the first in the alphabet); only
    that one if all training positions have a single label.

    Args:
        train_strings: what is written at the training positions, such as the text of a span, or
            header and values of a column.
        train_sets: their labels, as many.
        strings: what is written at the positions to predict.

    Raises:
        ValueError: other numbers of training positions and of label sets.
    """
    if len(train_strings) != len(train_sets):
        raise ValueError(
            f"Training positions must have strings and a label set each, got {len(train_strings)} "
            f"and {len(train_sets)}."
        )
    single = all(len(labels) == 1 for labels in train_sets)
    seen: Counter[str] = Counter()
    votes: dict[str, Counter[str]] = defaultdict(Counter)
    for written, labels in zip(train_strings, train_sets):
        for string in {string.lower() for string in written}:
            seen[string] += 1
            votes[string].update(labels)
    fallback = most_frequent(train_sets)

    def labels_of(written: Sequence[str]) -> frozenset[str]:
        known = [string for string in map(str.lower, written) if string in seen]
        if not known:
            return fallback
        counts: Counter[str] = sum((votes[string] for string in known), Counter())
        voters = sum(seen[string] for string in known)
        top = sorted(counts, key=lambda label: (-counts[label], label))[:1]
        half = [] if single else [name for name in counts if 2 * counts[name] >= voters]
        return frozenset(half or top)

    return [labels_of(written) for written in strings]
