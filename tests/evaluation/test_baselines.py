"""The baselines beside a slow reading of what their docstrings promise."""

from __future__ import annotations

import random

import pytest

from irti_custom.evaluation.baselines import look_up, most_frequent


def slow_look_up(train: list[tuple[list[str], set[str]]], strings: list[str]) -> set[str]:
    sets = [
        labels
        for string in strings
        for others, labels in train
        if string.lower() in [other.lower() for other in others]
    ]
    if not sets:
        return set(most_frequent([labels for _, labels in train]))
    names = sorted(set().union(*sets))
    times = {name: sum(name in labels for labels in sets) for name in names}
    best = next((name for name in names if times[name] == max(times.values())), None)
    top = set() if best is None else {best}
    if all(len(labels) == 1 for _, labels in train):
        return top
    return {name for name in names if 2 * times[name] >= len(sets)} or top


@pytest.mark.parametrize("sizes", [(1, 1), (0, 3)])
def test_look_up_is_the_slow_reading_of_its_rule(sizes):
    rng = random.Random(0)
    for _ in range(50):
        train = [
            (
                rng.sample(["Ulm", "ULM", "ann", "Rome"], rng.randint(1, 3)),
                set(rng.sample("abcd", rng.randint(*sizes))),
            )
            for _ in range(12)
        ]
        positions = [["ulm"], ["Ann", "ROME"], ["Bob"], ["Bob", "rome", "Ulm"], []]
        found = look_up(*zip(*train), positions)
        assert [set(one) for one in found] == [slow_look_up(train, one) for one in positions]


def test_strings_for_each_label_set():
    with pytest.raises(ValueError, match="got 1 and 0"):
        look_up([["Ulm"]], [], [])


def test_without_training_positions_nothing_is_predicted():
    assert look_up([], [], [["Ulm"]]) == [frozenset()]
