"""Sort positions into groups that may be easier or harder than others.

    positions  ->  [Slice("String in training", ["seen", "not seen"], group of each position)]

Numbers are cut at their quartiles, so that groups are of similar size.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from ..records.kinds import Record
from .collect import Place, Scored

MAX_GROUPS = 12
MISSING = "(missing)"
OTHER = "(other)"


class Slice(NamedTuple):
    """A way to sort positions into groups.

    Attributes:
        name: of the slice.
        groups: names of the groups.
        members: ``(P,)``, the group of each position.
    """

    name: str
    groups: list[str]
    members: np.ndarray


def all_slices(
    scored: Scored,
    records: Sequence[Record],
    train_strings: Collection[str] | None,
    columns: Sequence[str],
) -> list[Slice]:
    """Return the slices of a report.

    Args:
        scored: the positions.
        records: their records.
        train_strings: what is written at the positions of the training data, in lower case.
        columns: names of columns of the records.

    Raises:
        ValueError: a column that no record has.
    """
    places = scored.places
    of_texts = records[places[0].record].kind in ("spans", "words", "masks")
    slices = []
    if train_strings is not None:
        seen = [place.string.lower() in train_strings for place in places]
        groups = ["seen" if one else "not seen" for one in seen]
        slices.append(_named("String in training", groups))
    slices.append(_named("Words at the position", [_words(place) for place in places]))
    slices.append(_numbers("Characters of the text", [len(place.text) for place in places]))
    if of_texts:
        slices.append(_named("Place in the text", [_third(place) for place in places]))
    in_windows = ["cut into windows" if cut else "in one row" for cut in scored.in_windows]
    slices.append(_named("Long texts", in_windows))
    if scored.rule.task == "multilabel":
        sizes = scored.true.sum(axis=1)
        slices.append(_named("True labels", ["3 or more" if n > 2 else str(n) for n in sizes]))
    return slices + [_column(name, places, records) for name in columns]


def _column(name: str, places: Sequence[Place], records: Sequence[Record]) -> Slice:
    """Sort positions by a column of their records."""
    given = [record.given for record in records]
    if not any(name in one for one in given):
        raise ValueError(
            f"`slices` must name columns of the records, got {name!r}. Their columns are "
            f"{sorted(set().union(*given))}."
        )
    values = [_plain(given[place.record].get(name)) for place in places]
    known = {value for value in values if value is not None}
    numeric = all(isinstance(value, Real) and not isinstance(value, bool) for value in known)
    if numeric and len(known) > MAX_GROUPS:
        return _numbers(name, values)
    names = [MISSING if value is None else str(value)[:80] or "(empty)" for value in values]
    frequent = [value for value, _ in Counter(names).most_common()]
    kept = set(frequent if len(frequent) <= MAX_GROUPS else frequent[: MAX_GROUPS - 1])
    return _named(name, [value if value in kept else OTHER for value in names])


def _plain(value: Any) -> Any:
    """Return a value that can be compared and hashed; None for a missing one."""
    if value is None or value != value:  # NaN
        return None
    return value if isinstance(value, (str, bool, Real)) else str(value)


def _named(name: str, groups: Sequence[str]) -> Slice:
    """Make a slice of names: numbers first, then the alphabet, `OTHER` and `MISSING` last."""
    order = sorted(set(groups), key=lambda group: (group in (OTHER, MISSING), group))
    ids = {group: index for index, group in enumerate(order)}
    return Slice(name, order, np.array([ids[group] for group in groups]))


def _numbers(name: str, values: Iterable[Any]) -> Slice:
    """Cut numbers at their quartiles."""
    given = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    known = given[~np.isnan(given)]
    cuts = np.unique(np.quantile(known, [0.25, 0.5, 0.75], method="lower"))
    cuts = cuts[cuts < known.max()]
    edges = [f"{cut:.6g}" for cut in cuts]
    if (known == np.rint(known)).all():
        nexts = [f"{cut + 1:.6g}" for cut in cuts]
        between = [f"{low} to {high}" for low, high in zip(nexts, edges[1:])]
        last = [f"{nexts[-1]} or more"] if edges else []
    else:
        between = [f"over {low}, up to {high}" for low, high in zip(edges, edges[1:])]
        last = [f"over {edges[-1]}"] if edges else []
    groups = [f"up to {edge}" for edge in edges[:1] or [f"{known.max():.6g}"]] + between + last
    members = np.searchsorted(cuts, given, side="left")
    if len(known) < len(given):
        members[np.isnan(given)] = len(groups)
        groups.append(MISSING)
    return Slice(name, groups, members)


def _words(place: Place) -> str:
    words = len(place.string.split())
    return {0: "1", 1: "1", 2: "2", 3: "3 or 4", 4: "3 or 4"}.get(words, "5 or more")


def _third(place: Place) -> str:
    third = 3 * place.start // max(1, len(place.text))
    return ("1st third", "2nd third", "3rd third")[min(third, 2)]
