"""Split records into parts that hold their share of each label, whole documents each.

    records, {"train": 0.8, "test": 0.2}  ->  {"train": [0, 1, 3, 4], "test": [2]}

Iterative stratification (Sechidis et al. 2011): the rarest label is dealt out first, as it has the
fewest ways to come out even. What is dealt out here is a document, not a record: sentences of one
document, or copies of one text, on both sides would make a test score look better than it is.
"""

from __future__ import annotations

import logging
import math
import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

logger = logging.getLogger(__name__)

SENTENCE_ID = r"(.+)[.-]\d+"
"""Pattern for sentence ids such as "3.17" or "news-12"; group 1 is the document's id."""
_TOO_FAR = 0.1
"""The largest deviation from the requested share before a warning."""


def split_records(
    records: Iterable[Mapping[str, Any]],
    shares: Mapping[str, float],
    document_id: str = SENTENCE_ID,
    seed: int = 0,
) -> dict[str, list[int]]:
    """Split records so that each part has about its share of every label.

    Args:
        records: as `read_records` returns them: texts with spans, tables, or records of fields.
        shares: per name of a part its share of the records; together 1.
        document_id: a pattern for `id`: records whose ids match with the same first group are of
            one document, and stay together. Other ids stand for themselves, as do missing ones.
            ``"(.*)"`` makes each id a document.
        seed: decides between equals.

    Returns:
        Per part the indices of its records, in order. Records of one document are in one part, and
        so are records with the same content, apart from labels.

    Raises:
        ValueError: shares that do not add up, a pattern that cannot be used, something that is no
            record, or a part without one, as there are too few documents.

    Example:
        >>> records = [{"id": f"{i // 2}.{i % 2}", "text": f"{i}", "spans": []} for i in range(8)]
        >>> split_records(records, {"train": 0.75, "test": 0.25})
        {'train': [0, 1, 4, 5, 6, 7], 'test': [2, 3]}
    """
    _check_shares(shares)
    groups = _documents(records, document_id)
    labels = [
        Counter(label for _, record in group for label in _labels(record)) for group in groups
    ]
    parts = stratify(labels, [len(group) for group in groups], list(shares.values()), seed)
    split: dict[str, list[int]] = {name: [] for name in shares}
    for name, part in zip(shares, parts):
        split[name] = sorted(index for unit in part for index, _ in groups[unit])
    total = sum(map(len, split.values()))
    largest = max(map(len, groups), default=0)
    facts = (
        f"{total} records make {len(groups)} documents, the largest of {largest} records, by ids "
        "and repeated texts"
    )
    if empty := [name for name, indices in split.items() if not indices]:
        raise ValueError(
            f"Each part must have a document, got none for {empty}: {facts}. Pass "
            "document_id='(.*)' where each id is a document, larger shares, or more data."
        )
    for name, share in shares.items():
        if abs(len(split[name]) / total - share) > _TOO_FAR:
            logger.warning(
                "Part %r has %d of %d records, not its share of %g: %s.",
                *(name, len(split[name]), total, share, facts),
            )
    return split


def draw_folds(
    records: Sequence[Mapping[str, Any]],
    folds: int,
    document_id: str = SENTENCE_ID,
    seed: int = 0,
) -> np.ndarray:
    """Draw a fold for each record, with as many documents in each.

    A label that occurs in one fold only is logged: a model for that fold, which trains on the
    others, does not know it.

    Args:
        records: as for `split_records`, as are the documents they make.
        folds: how many.
        document_id: as for `split_records`.
        seed: of the draw.

    Returns:
        ``(N,)``, numbers of folds from 0.

    Raises:
        ValueError: fewer documents than folds, or what `split_records` refuses.

    Example:
        >>> ids, texts = ["a", "a", "b", "c"], ["Ann", "Rome", "Rome", "Ulm"]
        >>> records = [{"id": id, "text": text, "spans": []} for id, text in zip(ids, texts)]
        >>> draw_folds(records, folds=2).tolist()
        [0, 0, 0, 1]
    """
    # By their ids, so that the order of the records does not matter.
    groups = sorted(
        _documents(records, document_id), key=lambda group: min(str(r.get("id")) for _, r in group)
    )
    if not 2 <= folds <= len(groups):
        raise ValueError(
            f"`folds` must be at least 2 and at most the number of documents, {len(groups)}, got "
            f"{folds}. Pass document_id='(.*)' where each id is a document."
        )
    drawn = np.zeros(len(records), dtype=np.int64)
    for group, number in zip(groups, np.random.default_rng(seed).permutation(len(groups))):
        drawn[[index for index, _ in group]] = number % folds
    labels = [set(_labels(record)) for record in records]
    for fold in range(folds):
        inside = set().union(*(labels[index] for index in np.flatnonzero(drawn == fold)))
        outside = set().union(*(labels[index] for index in np.flatnonzero(drawn != fold)))
        if inside - outside:
            logger.warning(
                "Only fold %d has the label(s) %s. Its model does not know them, and they look "
                "wrong. More folds may help.",
                fold,
                sorted(inside - outside),
            )
    return drawn


def stratify(
    labels: Sequence[Mapping[str, int]],
    sizes: Sequence[int],
    shares: Sequence[float],
    seed: int = 0,
) -> list[list[int]]:
    """Deal units out to parts: of the rarest label first, each to the part that lacks it most.

    Args:
        labels: per unit how often it has which label.
        sizes: per unit its number of records, which is evened out where labels do not decide.
        shares: per part.
        seed: decides between equals.

    Returns:
        Per part its units, in the order in which they were dealt out.
    """
    generator = random.Random(seed)
    waiting = list(range(len(labels)))
    generator.shuffle(waiting)
    waiting.sort(key=lambda unit: -sizes[unit])  # what is large finds room while there is some
    of_label: dict[str, list[int]] = {}
    for unit in waiting:
        for label in labels[unit]:
            of_label.setdefault(label, []).append(unit)
    counts = {name: sum(labels[unit][name] for unit in units) for name, units in of_label.items()}
    lacking = [{name: share * count for name, count in counts.items()} for share in shares]
    room = [share * sum(sizes) for share in shares]
    parts: list[list[int]] = [[] for _ in shares]
    done: set[int] = set()

    def deal(unit: int, label: str | None) -> None:
        best = max(
            range(len(parts)),
            key=lambda part: (
                round(lacking[part][label], 9) if label is not None else 0,
                round(room[part], 9),
                generator.random(),
            ),
        )
        parts[best].append(unit)
        done.add(unit)
        room[best] -= sizes[unit]
        for name, count in labels[unit].items():
            lacking[best][name] -= count

    left = {label: len(units) for label, units in of_label.items()}
    while left:
        rarest = min(left, key=lambda label: (left[label], label))
        units = [unit for unit in of_label[rarest] if unit not in done]
        for unit in sorted(units, key=lambda unit: -labels[unit][rarest]):
            deal(unit, rarest)
            left.update({label: left[label] - 1 for label in labels[unit] if label in left})
        del left[rarest]
    for unit in waiting:
        if unit not in done:
            deal(unit, None)
    return parts


def count_labels(records: Iterable[Mapping[str, Any]]) -> Counter[str]:
    """Count the labels of records.

    Example:
        >>> count_labels([{"text": "Ann", "spans": [{"start": 0, "end": 3, "labels": ["x", "y"]}]}])
        Counter({'x': 1, 'y': 1})
    """
    return Counter(label for record in records for label in _labels(record))


def _labels(record: Mapping[str, Any]) -> list[str]:
    positions = [one for kind in ("spans", "columns", "fields") for one in record.get(kind) or ()]
    return [label for position in positions for label in position.get("labels") or ()]


def _check_shares(shares: Mapping[str, float]) -> None:
    values = list(shares.values())
    if len(values) < 2 or not all(isinstance(one, (int, float)) and 0 < one < 1 for one in values):
        raise ValueError(
            f"`shares` must be two or more numbers between 0 and 1, got {dict(shares)!r}."
        )
    if not math.isclose(sum(values), 1):
        raise ValueError(f"`shares` must add up to 1, got {dict(shares)!r}.")


def _documents(
    records: Iterable[Mapping[str, Any]], document_id: str
) -> list[list[tuple[int, Mapping[str, Any]]]]:
    """Group records, with their indices, by ids and contents, also where these form chains."""
    pattern = _compile(document_id)
    listed = list(records)
    for index, record in enumerate(listed):
        if not isinstance(record, Mapping):
            raise ValueError(f"Record {index} must be a dict, got {record!r:.80}.")
    parents = list(range(len(listed)))

    def first_of(index: int) -> int:
        while parents[index] != index:
            parents[index] = index = parents[parents[index]]
        return index

    seen: dict[tuple[str, object], int] = {}
    for index, record in enumerate(listed):
        for key in (_document(record.get("id"), index, pattern), ("content", _content(record))):
            parents[first_of(index)] = first_of(seen.setdefault(key, index))
    groups: dict[int, list[tuple[int, Mapping[str, Any]]]] = {}
    for index, record in enumerate(listed):
        groups.setdefault(first_of(index), []).append((index, record))
    return list(groups.values())


def _compile(document_id: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(document_id)
    except (re.error, TypeError) as error:
        raise ValueError(
            f"`document_id` must be a pattern of `re`, got {document_id!r}: {error}."
        ) from error
    if not pattern.groups:
        raise ValueError(
            f"`document_id` must have a group, which names the document, got {document_id!r}. Put "
            "parentheses around that part."
        )
    return pattern


def _document(record_id: object, index: int, pattern: re.Pattern[str]) -> tuple[str, object]:
    if record_id is None:
        return "record", index
    match = pattern.fullmatch(str(record_id))
    return "document", match[1] if match else str(record_id)


def _content(record: Mapping[str, Any]) -> str:
    """Write what is labelled, but not the labels, with white space evened out."""
    positions = [
        {name: value for name, value in position.items() if name not in ("labels", "scores")}
        for kind in ("columns", "fields")
        for position in record.get(kind) or ()
    ]
    return " ".join((record.get("text") or repr(positions)).split())
