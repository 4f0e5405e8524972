"""Choose positions to show, the most confident errors first, and cut out what is around them.

    P positions  ->  at most `max_cases` dicts of text, labels and scores

Where there are more, each label keeps its worst errors, and right positions are drawn at random.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .collect import Scored

KINDS = {
    "missed": "Label missed",
    "false": "False label",
    "confused": "Another label",
    "right": "Right",
}
CHANGES = {"fixed": "Fixed", "broken": "Broken", "changed": "Changed, wrong in both"}
_AROUND = 160  # characters of text on each side
_LONGEST = 400  # characters of a position


def kinds_of(true: np.ndarray, predicted: np.ndarray) -> list[str]:
    """Name what happened at each position, by a key of `KINDS`."""
    missed, spurious = (true & ~predicted).any(axis=1), (predicted & ~true).any(axis=1)
    names = np.array(["right", "missed", "false", "confused"])
    return names[missed + 2 * spurious].tolist()


def changes_of(true: np.ndarray, predicted: np.ndarray, other: np.ndarray) -> list[str | None]:
    """Name how each position differs from another model's, by a key of `CHANGES`; None if not.

    Args:
        true: bool ``(P, L)``, as are the others.
        predicted: of the model of the report.
        other: of the other model.
    """
    right, was_right = (true == predicted).all(axis=1), (true == other).all(axis=1)
    differs = (predicted != other).any(axis=1)
    names = np.array([None, "changed", "broken", "fixed"])
    return names[
        np.where(right & ~was_right, 3, np.where(was_right & ~right, 2, differs * 1))
    ].tolist()


def severities(scored: Scored) -> np.ndarray:
    """Return how sure the model is of its worst error, ``(P,)``; 0 without an error."""
    wrong = scored.true != scored.predicted
    surely = np.where(scored.predicted, scored.probabilities, 1 - scored.probabilities)
    return np.where(wrong, surely, 0).max(axis=1)


def choose(scored: Scored, changes: Sequence[str | None], max_cases: int, seed: int) -> list[int]:
    """Choose the positions to show, in the order to show them.

    Args:
        scored: the P positions.
        changes: from `changes_of`; None for all without another model.
        max_cases: how many to keep; four in five of them are errors or changes, if there are so
            many.
        seed: of the right ones.
    """
    severity = severities(scored)
    wrong = (scored.true != scored.predicted).any(axis=1)
    of_interest = wrong | np.array([change is not None for change in changes])
    errors, right = np.flatnonzero(of_interest), np.flatnonzero(~of_interest)
    num_errors = min(len(errors), max(max_cases - len(right), max_cases * 4 // 5))
    worst = errors[np.lexsort((-severity[errors], _ranks(scored, severity)[errors]))][:num_errors]
    drawn = np.random.default_rng(seed).permutation(right)[: max_cases - num_errors]
    return [*worst[np.argsort(-severity[worst], kind="stable")].tolist(), *sorted(drawn.tolist())]


def _ranks(scored: Scored, severity: np.ndarray) -> np.ndarray:
    """Rank each position among the errors of its labels; the best of these ranks counts."""
    wrong = scored.true != scored.predicted
    ranks = np.full(len(severity), len(severity))
    for column in wrong.T:
        members = np.flatnonzero(column)
        order = members[np.argsort(-severity[members], kind="stable")]
        ranks[order] = np.minimum(ranks[order], np.arange(len(order)))
    return ranks


def describe(
    scored: Scored,
    index: int,
    ids: Sequence[str],
    kind: str,
    change: str | None,
    other: np.ndarray | None,
) -> dict[str, Any]:
    """Describe a position: where it is, its text, and its labels as ids with scores.

    Args:
        scored: the positions.
        index: of the position.
        ids: of all records.
        kind: from `kinds_of`.
        change: from `changes_of`.
        other: bool ``(P, L)``, what the other model predicts.
    """
    place = scored.places[index]
    string = place.string
    if len(string) > _LONGEST:
        string = f"{string[: _LONGEST // 2]} … {string[-_LONGEST // 2 :]}"
    before, after = place.text[: place.start], place.text[place.end :]
    case: dict[str, Any] = {
        "record": ids[place.record],
        "before": _shorten(before[::-1])[::-1],
        "string": string,
        "after": _shorten(after),
        "true": _with_scores(scored, index, scored.true),
        "predicted": _with_scores(scored, index, scored.predicted),
        "kind": kind,
    }
    if other is not None:
        case["other"] = np.flatnonzero(other[index]).tolist()
        case["change"] = change
    return case


def _shorten(text: str) -> str:
    """Return the first `_AROUND` characters of a text, up to a space where there is one near."""
    if len(text) <= _AROUND:
        return text
    cut = max(text.rfind(" ", _AROUND - 20, _AROUND), text.rfind("\n", _AROUND - 20, _AROUND))
    return text[: cut if cut > 0 else _AROUND] + "…"


def _with_scores(scored: Scored, index: int, labels: np.ndarray) -> list[list[float]]:
    ids = np.flatnonzero(labels[index])
    chances = scored.probabilities[index, ids]
    return [[int(ids[one]), round(float(chances[one]), 3)] for one in np.argsort(-chances)]
