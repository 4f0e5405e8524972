"""Time calls side by side, and report ratios.

    {name: call}  ->  Timer  ->  {name: (turns,) seconds}  ->  ratio  ->  "1.23 (1.20 to 1.27)"

A ratio is taken within a turn, so that a slow moment of the machine is in both of its numbers.
"""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np


class Spread(NamedTuple):
    """A median and the quartiles around it."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"


class Timer(NamedTuple):
    """How often to call, and by which clock.

    Attributes:
        repeats: turns, after one to warm up.
        clock: `time.perf_counter`, or `time.process_time`, which does not see other processes.
    """

    repeats: int
    clock: Callable[[], float] = time.perf_counter

    def interleave(self, calls: Mapping[str, Callable[[], object]]) -> dict[str, np.ndarray]:
        """Call all of them in turn; seconds by name.

        The order is drawn anew in each turn, so that none always follows the same one.
        """
        shuffle = random.Random(0).shuffle
        seconds: dict[str, list[float]] = {name: [] for name in calls}
        gc.collect()
        gc.freeze()  # what is alive now is not searched again while a call is timed
        for turn in range(self.repeats + 1):
            names = list(calls)
            shuffle(names)
            for name in names:
                start = self.clock()
                calls[name]()
                if turn:
                    seconds[name].append(self.clock() - start)
        gc.unfreeze()
        return {name: np.array(taken) for name, taken in seconds.items()}


def ratio(numerator: np.ndarray, denominator: np.ndarray, scale: float = 1.0) -> Spread:
    """Divide turn by turn."""
    low, median, high = np.quantile(scale * numerator / denominator, [0.25, 0.5, 0.75])
    return Spread(float(median), float(low), float(high))


def slope(sizes: Sequence[int], costs: Sequence[float]) -> float:
    """Return the exponent p of cost ~ size**p: the slope of a line through the logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    print(f"\n### {title}\n\n| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    for row in rows:
        print(f"| {' | '.join(map(str, row))} |")
    print(flush=True)
