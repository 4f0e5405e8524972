"""Count what a rule decides: format arrays, validate them, update the counts, compute measures.

    logits, labels ──▶ positions (P, L), (P, L) or (P,) ──▶ StatScores ──▶ precision, F1, ...
               format                              update          compute

Elements are decided and counted in PyTorch, in float64, by the same `Rule` as in the model. Counts
are small arrays that add up over batches, documents and resamples.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from operator import add
from typing import TYPE_CHECKING, Any, NamedTuple, Union

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (PyTorch's own convention)
from transformers.trainer_pt_utils import nested_numpify

from ..labels import IGNORE_INDEX, Thresholds, as_integer, check_task, resolve_labels
from ..rule import Rule

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from transformers import EvalPrediction

    from ..configuration_custom import MaskedSeqModelingConfig

    Predictions = Union[EvalPrediction, tuple[ArrayLike, ArrayLike]]
    RuleLike = Union[str, Rule, MaskedSeqModelingConfig]

NUM_BINS = 15  # of Guo et al. 2017
MEASURES = {
    "multilabel": {"micro_f1": "Micro F1", "macro_f1": "Macro F1", "exact_match": "Exact match"},
    "multiclass": {"accuracy": "Accuracy", "macro_f1": "Macro F1", "coverage": "Coverage"},
}
"""The main measures, the first one first: keys of `make_compute_metrics`, and their names."""
_CHUNK = 2**20  # elements held in float64 at a time


class StatScores(NamedTuple):
    """Sums over kept elements; all measures except the ranking ones follow from them.

    The first five may have leading dimensions, of documents or resamples.
    """

    hits: np.ndarray  # (..., L) true and predicted
    predicted: np.ndarray  # (..., L)
    support: np.ndarray  # (..., L) true
    correct: np.ndarray  # (...) positions without an error
    positions: np.ndarray  # (...)
    elements: np.ndarray = np.array(0)
    loss: np.ndarray = np.array(0.0)
    examples: np.ndarray = np.zeros(5)  # of `_example_sums`; zeros for "multiclass"
    bins: np.ndarray = np.zeros((3, NUM_BINS))  # of `bin_sums`: of elements, or of top classes
    squared_error: np.ndarray = np.array(0.0)  # of the probabilities


def task_of(rule: RuleLike) -> str:
    """Return the task of a rule or a config, or the task itself; raise ValueError otherwise."""
    task: Any = rule
    return check_task(getattr(task, "task", task))


def resolve_rule(
    task: RuleLike,
    id2label: Mapping[Any, str] | Sequence[str] | None = None,
    thresholds: Thresholds | None = None,
    groups: Sequence[Sequence[int]] = (),
    temperature: Thresholds | None = None,
    num_labels: int | None = None,
) -> Rule:
    """Return a rule or that of a config, or make one of a task's name and settings.

    Args:
        task: "multilabel" or "multiclass"; or a rule or a config, which need no other settings.
        id2label: names of all labels.
        thresholds: see `Rule`.
        groups: ids of labels that exclude each other, ``config.group_ids``.
        temperature: see `Rule`.
        num_labels: L of the logits, if known.

    Raises:
        ValueError: settings that contradict each other, or the rule.
    """
    rule = task if isinstance(task, Rule) else getattr(task, "rule", None)
    if rule is None:
        name = task_of(task)
        names = list((resolve_labels(num_labels, id2label) or {}).values())
        return Rule(name, names or None, _by_name(groups, names), temperature, thresholds)
    names = list((resolve_labels(None, id2label) or {}).values())
    for name, value, known in (
        ("id2label", names, list(rule.label_names or ())),
        ("groups", [list(ids) for ids in groups], rule.group_ids),
        ("thresholds", thresholds, rule.thresholds),
        ("temperature", temperature, rule.temperature),
    ):
        if name in ("thresholds", "temperature") and value is not None:
            value = getattr(replace(rule, **{name: value}), name)
        if value not in (None, [], known):
            raise ValueError(
                f"`{name}` contradicts the rule, which has {known!r:.200}, got {value!r:.200}. "
                "Leave it out, or pass another rule: rule.with_(...)."
            )
    if rule.num_labels is None and num_labels:
        rule = replace(rule, label_names=list((resolve_labels(num_labels, None) or {}).values()))
    return rule


def _by_name(groups: Sequence[Sequence[int]], names: Sequence[str]) -> dict[str, list[str]]:
    """Name the labels of groups of ids; `Rule` reports unknown ones."""
    if isinstance(groups, Mapping):
        raise ValueError(
            f"`groups` must be lists of label ids, got {groups!r:.200}. Pass config.group_ids."
        )
    known = dict(enumerate(names))
    return {
        str(number): [known.get(as_integer(index), f"id {index!r}") for index in ids]  # type: ignore[arg-type]
        for number, ids in enumerate(groups)
    }


def check_width(rule: Rule, shape: Sequence[int]) -> None:
    """Raise ValueError if settings of a rule are for another number of labels than logits have."""
    for name, values in (
        ("id2label", rule.label_names),
        ("thresholds", rule.thresholds),
        ("temperature", rule.temperature),
    ):
        if isinstance(values, tuple) and len(values) != shape[-1]:
            raise ValueError(
                f"`{name}` must have one entry per label, got {len(values)} for logits "
                f"{tuple(shape)}. Take both from the same model."
            )


def iterate_batches(eval_pred: Predictions) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (logits, labels) of each batch of an `EvalPrediction` or a tuple of the two.

    Raises:
        TypeError: another type.
        ValueError: lists of different lengths.
    """
    logits: Any
    labels: Any
    if isinstance(eval_pred, tuple) and len(eval_pred) == 2:
        logits, labels = eval_pred
    elif hasattr(eval_pred, "predictions") and hasattr(eval_pred, "label_ids"):
        logits, labels = eval_pred.predictions, eval_pred.label_ids
    else:
        kind = type(eval_pred).__name__
        raise TypeError(f"Metrics take an EvalPrediction or a tuple (logits, labels), got {kind}.")
    if not isinstance(logits, list) or not logits or isinstance(logits[0], list):
        logits, labels = [logits], [labels]  # one array, or nested lists that make one
    if len(logits) != len(labels):
        raise ValueError(
            f"Lists hold one array per batch, got {len(logits)} of logits, {len(labels)} of labels."
        )
    for scores, targets in zip(logits, labels):
        # A model that also returns hidden states gives a tuple, logits first.
        yield to_numpy(scores[0] if isinstance(scores, tuple) else scores), to_numpy(targets)


def format_batch(
    task: str, logits: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Check the shapes of a batch and drop its ignored positions.

    Args:
        task: "multilabel" or "multiclass".
        logits: ``(N, M, L)``.
        labels: ``(N, M, L)`` or ``(N, M)``.

    Returns:
        Logits ``(P, L)`` and labels ``(P, L)`` or ``(P,)`` of the P positions that are kept.

    Raises:
        ValueError: shapes that disagree.
    """
    if logits.ndim != 3 or logits.shape[-1] == 0:
        raise ValueError(
            f"Logits must be (N, M, L) with L > 0, got {logits.shape}. Other outputs of the "
            "model belong in its config's `keys_to_ignore_at_inference`."
        )
    for name, values in (("Logits", logits), ("Labels", labels)):
        if values.size and values.dtype.kind not in "biuf":
            raise ValueError(
                f"{name} must be numbers, got dtype {values.dtype}: {values.flat[0]!r}."
            )
    multilabel = task == "multilabel"
    expected = logits.shape if multilabel else logits.shape[:2]
    if labels.size == 0 and labels.shape == logits.shape[:2]:
        labels = labels.reshape(expected)  # (N, 0): the collator's for a batch without any position
    if labels.shape != expected:
        layout = "(N, M, L)" if multilabel else "(N, M)"
        way_out = "One class: 'multiclass'" if multilabel else "Several labels: 'multilabel'"
        raise ValueError(
            f"Labels must be {layout} = {expected} for task={task!r}, got {labels.shape}. "
            f"Which task fits? {way_out}."
        )
    kept = (labels[..., 0] if multilabel else labels) != IGNORE_INDEX
    return logits[kept], labels[kept]


def collect_positions(
    task: RuleLike, logits: ArrayLike, labels: ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    """Gather the positions that are kept, from arrays, tensors, or lists with one per batch.

    Args:
        task: a task, or a rule or config of it.
        logits: ``(N, M, L)`` or ``(P, L)``.
        labels: as for `make_compute_metrics`; ``(P, L)`` or ``(P,)`` for logits ``(P, L)``.

    Returns:
        Logits ``(P, L)`` and labels ``(P, L)`` or ``(P,)``.

    Raises:
        ValueError: an unknown task, or shapes that disagree.
    """
    name, parts = task_of(task), []
    for scores, targets in iterate_batches((logits, labels)):
        if scores.ndim == 2:  # (P, L): one row of P positions
            scores, targets = scores[None], targets[None]
        parts.append(format_batch(name, scores, targets))
    scores, targets = (np.concatenate(arrays) for arrays in zip(*parts))
    return scores, targets


def to_numpy(value: ArrayLike | torch.Tensor) -> np.ndarray:
    """Convert a tensor, an array or nested lists to an array, bfloat16 to float32."""
    return nested_numpify(value.detach()) if isinstance(value, torch.Tensor) else np.asarray(value)


def to_tensor(values: np.ndarray) -> torch.Tensor:
    """Copy an array of any type into a float64 tensor."""
    return torch.from_numpy(np.array(values, dtype=np.float64))


def validate(task: str, logits: torch.Tensor, labels: torch.Tensor) -> None:
    """Check that kept labels are valid, and the logits of kept labels finite.

    Args:
        task: "multilabel" or "multiclass".
        logits: ``(P, L)``.
        labels: ``(P, L)`` or ``(P,)``; `IGNORE_INDEX` drops an element of the former.

    Raises:
        ValueError: another label, or a logit that is infinite or NaN.
    """
    if task == "multilabel":
        allowed, ignored = "0 or 1", labels == IGNORE_INDEX
        wrong = (labels != 0) & (labels != 1)
    else:
        size = logits.shape[-1]
        allowed, ignored = f"in [0, {size - 1}]", torch.tensor(False)
        wrong = ~((labels >= 0) & (labels < size) & (labels == labels.floor()))
    not_finite = ~logits.isfinite()
    if ignored.any():
        wrong, not_finite = wrong & ~ignored, not_finite & ~ignored
    if wrong.any():
        first = labels[wrong][0].item()
        raise ValueError(
            f"Labels must be {allowed}, or {IGNORE_INDEX} to be ignored, got {first:g} "
            f"({int(wrong.sum())} such labels). Correct them in the data set."
        )
    if not_finite.any():
        raise ValueError(
            f"Logits must be finite where labels are kept, got {logits[not_finite][0].item()} "
            f"({int(not_finite.sum())} of {logits.numel()}). Has training diverged, or half "
            "precision overflowed?"
        )


def validated(
    task: str, logits: np.ndarray, labels: np.ndarray
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return valid positions as float64 tensors, with 0 for logits that are not finite."""
    x, y = to_tensor(logits), to_tensor(labels)
    validate(task, x, y)
    return x if x.isfinite().all() else x.nan_to_num_(0.0, 0.0, 0.0), y


def probabilities(rule: Rule, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Validate positions, and compute their probabilities in float64 as `update` does.

    Args:
        rule: see `Rule.probabilities`.
        logits: ``(P, L)``.
        labels: ``(P, L)`` or ``(P,)``; without one, a logit may be anything.

    Raises:
        ValueError: see `validate`.
    """
    return rule.probabilities(validated(rule.task, logits, labels)[0]).numpy()


def update(rule: Rule, logits: np.ndarray, labels: np.ndarray) -> StatScores:
    """Count over the positions of a batch.

    Args:
        rule: decides.
        logits: ``(P, L)``.
        labels: ``(P, L)`` or ``(P,)``.

    Raises:
        ValueError: see `validate`.
    """
    num_labels = logits.shape[-1]
    none = np.zeros(num_labels, dtype=np.int64)
    total = StatScores(none, none, none, np.array(0), np.array(0))
    step = max(1, _CHUNK // num_labels)
    count = _update_multilabel if rule.task == "multilabel" else _update_multiclass
    for start in range(0, len(logits), step):
        chunk = slice(start, start + step)
        total = merge(total, count(rule, *validated(rule.task, logits[chunk], labels[chunk])))
    return total


def _update_multilabel(rule: Rule, logits: torch.Tensor, labels: torch.Tensor) -> StatScores:
    kept, true = labels != IGNORE_INDEX, labels == 1
    tempered = rule.temper(logits)
    chances, targets = tempered.sigmoid(), true.to(logits.dtype)
    predicted = rule.decide(logits, chances) & kept
    hits = predicted & true
    by_position = (flags.sum(1).numpy() for flags in (hits, predicted, true))
    loss = F.binary_cross_entropy_with_logits(tempered, targets, reduction="none")
    elements = [values.flatten() for values in (chances, targets, loss)]
    if not kept.all():
        elements = [values[kept.flatten()] for values in elements]
    scores, held, losses = elements
    return _as_arrays(
        hits=hits.sum(0),
        predicted=predicted.sum(0),
        support=true.sum(0),
        correct=(predicted == true).all(1).sum(),
        positions=torch.tensor(len(labels)),
        elements=torch.tensor(len(scores)),
        loss=losses.sum(),
        examples=_example_sums(*by_position),
        bins=bin_sums(scores, held),
        squared_error=(scores - held).square_().sum(),
    )


def _example_sums(hits: np.ndarray, predicted: np.ndarray, support: np.ndarray) -> np.ndarray:
    """Add up each position's precision, recall and F1, and count those with any predicted, or true.

    A measure of a position without a denominator is 0.
    """
    sums = [values.sum() for values in precision_recall_f1(hits, predicted, support).values()]
    return np.array([*sums, (predicted > 0).sum(), (support > 0).sum()])


def _update_multiclass(rule: Rule, logits: torch.Tensor, labels: torch.Tensor) -> StatScores:
    num_labels, true = logits.shape[1], labels.long()
    tempered = rule.temper(logits)
    chances = tempered.softmax(1)
    best, ids = chances.amax(1), logits.argmax(1)
    decided = rule.decide(logits, chances)
    hits = true[decided == true]
    chances[torch.arange(len(true)), true] -= 1  # now the errors
    return _as_arrays(
        hits=hits.bincount(minlength=num_labels),
        predicted=decided[decided >= 0].bincount(minlength=num_labels),
        support=true.bincount(minlength=num_labels),
        correct=torch.tensor(len(hits)),
        positions=torch.tensor(len(true)),
        elements=torch.tensor(len(true)),
        loss=F.cross_entropy(tempered, true, reduction="sum"),
        bins=bin_sums(best, ids == true),
        squared_error=(chances**2).sum(),
    )


def _as_arrays(**sums: torch.Tensor | np.ndarray) -> StatScores:
    return StatScores(**{name: np.asarray(value) for name, value in sums.items()})


def bin_sums(scores: torch.Tensor, hits: torch.Tensor, num_bins: int = NUM_BINS) -> np.ndarray:
    """Add up ``(3, K)`` per bin: how many scores, their sum, and how many came true.

    Args:
        scores: ``(P,)`` in ``[0, 1]``; one on an edge belongs to the bin below it.
        hits: ``(P,)`` of 0/1.
        num_bins: K.
    """
    edges = torch.from_numpy(np.linspace(0, 1, num_bins + 1)[1:-1])
    bins = torch.bucketize(scores, edges)
    weights = (torch.ones_like(scores), scores, hits.to(scores.dtype))
    return torch.stack([bins.bincount(part, num_bins) for part in weights]).numpy()


def merge(left: StatScores, right: StatScores) -> StatScores:
    """Add up the counts of two batches; raise ValueError for other numbers of labels."""
    if left.hits.shape != right.hits.shape:
        raise ValueError(
            f"All batches must have the same number of labels, got L = {left.hits.size} and "
            f"{right.hits.size}. Was an evaluation broken off before? Call `reset()`."
        )
    return StatScores(*map(add, left, right))


def count(true: np.ndarray, predicted: np.ndarray, documents: np.ndarray) -> np.ndarray:
    """Count decisions per document, in columns that `tally` reads.

    Args:
        true: bool ``(P, L)``.
        predicted: bool ``(P, L)``.
        documents: ``(P,)``, ids 0 to D - 1.

    Returns:
        ``(D, 3 L + 2)``, of which sums over documents are counts, too.
    """
    correct = (true == predicted).all(axis=1, keepdims=True)
    columns = np.hstack([true & predicted, predicted, true, correct, np.ones_like(correct)])
    size = int(documents.max(initial=-1)) + 1
    return np.stack([np.bincount(documents, column, size) for column in columns.T], axis=1)


def tally(sums: np.ndarray) -> StatScores:
    """Name the columns of `count`, or of sums of them, ``(..., 3 L + 2)``."""
    hits, predicted, support = np.split(sums[..., :-2], 3, axis=-1)
    return StatScores(hits, predicted, support, sums[..., -2], sums[..., -1])


def compute(total: StatScores, task: str) -> dict[str, np.ndarray]:
    """Compute the measures that follow from counts per label, see `make_compute_metrics`."""
    scores = precision_recall_f1(total.hits, total.predicted, total.support)
    micro = precision_recall_f1(*(part.sum(axis=-1) for part in total[:3]))
    correct = ratio(total.correct, total.positions)
    results = {f"micro_{key}": values for key, values in micro.items()}
    if task == "multilabel":
        results.update((f"macro_{key}", values.mean(axis=-1)) for key, values in scores.items())
        return {**results, "exact_match": correct}
    present = (total.predicted + total.support > 0).sum(axis=-1)
    results.update((f"macro_{key}", ratio(x.sum(axis=-1), present)) for key, x in scores.items())
    weighted = (scores["f1"] * total.support).sum(axis=-1)
    return {
        **results,
        "weighted_f1": ratio(weighted, total.positions),
        "accuracy": correct,
        "coverage": ratio(total.predicted.sum(axis=-1), total.positions),
        "matthews_correlation": _matthews_correlation(total),
    }


def measures(total: StatScores, task: str) -> dict[str, np.ndarray]:
    """Compute the measures of `MEASURES`."""
    every = compute(total, task)
    return {key: every[key] for key in MEASURES[task]}


def label_f1(total: StatScores) -> np.ndarray:
    """Return F1 per label ``(..., L)``, NaN where a label is neither true nor predicted."""
    whole = total.predicted + total.support
    return np.where(whole > 0, ratio(2 * total.hits, whole), np.nan)


def ratio(part: ArrayLike, whole: ArrayLike) -> np.ndarray:
    """Divide element by element; the result is 0 where `whole` is 0."""
    part, whole = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def precision_recall_f1(
    hits: np.ndarray | int, predicted: np.ndarray | int, support: np.ndarray | int
) -> dict[str, np.ndarray]:
    """Compute the three measures from counts, per label ``(..., L)`` or in total ``(...)``."""
    return {
        "precision": ratio(hits, predicted),
        "recall": ratio(hits, support),
        "f1": ratio(2 * hits, predicted + support),
    }


def _matthews_correlation(total: StatScores) -> np.ndarray:
    """Compute the coefficient for several classes (Gorodkin 2004) from counts per class."""
    n, predicted, true = (np.asarray(part, dtype=float) for part in (total.positions, *total[1:3]))
    rejected = n - predicted.sum(axis=-1)  # predicted as a class of their own, which is never true
    spread = n**2 - (predicted**2).sum(axis=-1) - rejected**2
    spread = spread * (n**2 - (true**2).sum(axis=-1))
    return ratio(n * total.correct - (predicted * true).sum(axis=-1), np.sqrt(spread))
