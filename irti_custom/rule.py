"""Turn logits into probabilities, and these into decisions, by one rule.

    scores (..., L) ──▶ logits (..., L) ──▶ probabilities (..., L) ──▶ 0/1 per label (..., L), or
              group_logits       temperature                 thresholds  class ids (...)

PyTorch, metrics, tuning, the pipeline, an exported graph and the report decide by the same `Rule`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Union

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (PyTorch's own convention)

from .labels import IGNORE_INDEX, Thresholds, as_floats, check_task, in_order, resolve_labels

Groups = Union[Mapping[str, Sequence[str]], tuple[tuple[str, tuple[str, ...]], ...]]
TEMPERATURES = (1e-3, 1e3)
"""The lowest and the highest temperature."""
_MAX_DRIFT = 1e-3  # of the logit at which a label is decided, from rounding a moved threshold


@dataclass(frozen=True)
class Rule:
    """Decide logits: task, labels, groups, temperature and thresholds, checked together.

    Frozen and hashable. ``model.config.rule`` is that of a model.

    Args:
        task: "multilabel" or "multiclass".
        label_names: the L labels, in the order of their ids; None for any number of them.
        groups: label names by name of the group; at most one label of a group holds.
        temperature: what logits are divided by: one number or, for "multilabel", one per label.
        thresholds: probabilities, see `decide`: one number or, for "multilabel", one per label.

    Raises:
        ValueError: settings out of range, or that contradict each other.

    Example:
        >>> rule = Rule("multilabel", ["person", "place"], thresholds={"place": 0.2, "person": 0.9})
        >>> rule.thresholds, rule.num_labels
        ((0.9, 0.2), 2)
        >>> rule.decide(torch.tensor([[2.0, -1.0], [0.1, 0.0]])).tolist()
        [[False, True], [False, True]]
    """

    task: str = "multilabel"
    label_names: Sequence[str] | None = None
    groups: Groups | None = None
    temperature: Thresholds | None = None
    thresholds: Thresholds | None = None

    def __post_init__(self) -> None:
        """Check the settings; bring them into one form, of tuples."""
        check_task(self.task)
        labels = resolve_labels(None, self.label_names)
        names = None if labels is None else tuple(labels.values())
        if self.task == "multiclass" and names is not None and len(names) < 2:
            raise ValueError(
                f"task='multiclass' needs at least 2 labels, got {list(names)}. A single "
                "yes-or-no label is task='multilabel'."
            )
        vars(self)["label_names"] = names  # frozen for everybody else
        vars(self)["groups"] = _check_groups(self.groups, self.task, names or ())
        vars(self)["temperature"] = self._check_temperature()
        vars(self)["thresholds"] = self._check_thresholds()

    def with_(self, **changes: Any) -> Rule:
        """Return a rule with other settings.

        Raises:
            ValueError: as the class; or thresholds would stay behind at another temperature.
        """
        rule = replace(self, **changes)
        if "thresholds" not in changes:
            check_unmoved(self.thresholds, self.temperature, rule.temperature)
        return rule

    def at_temperature(self, temperature: Thresholds | None) -> Rule:
        """Return a rule for another temperature that decides as this one, to single precision.

        The order of positions by a sigmoid does not depend on the temperature. By the softmax of
        classes or of a group it does: there, only a threshold that rejects nothing can follow.

        Raises:
            ValueError: an invalid temperature, or a threshold that no other decides as.
        """
        rule = replace(self, temperature=temperature, thresholds=None)
        if self.thresholds is None:
            return rule
        old = torch.tensor(self.thresholds, dtype=torch.float64)
        sizes = torch.zeros_like(old)  # of the softmax that a threshold rejects from
        if self.task == "multiclass":
            sizes += self.num_labels or torch.inf
        for ids in self.group_ids:
            sizes[ids] = len(ids) + 1.0
        before, after = (
            torch.tensor(1.0 if t is None else t, dtype=torch.float64)
            for t in (self.temperature, rule.temperature)
        )
        ratio, odds = before / after, old.logit()
        new = torch.where(ratio == 1, old, (odds * ratio).sigmoid())
        drift = (new.float().double().logit() / ratio - odds).abs()  # `decide` rounds so
        softmax, rejects = (sizes > 0) & (ratio != 1), old * sizes >= 1
        new = torch.where(softmax & ~rejects, 0.0, new)
        lost = torch.where(softmax, rejects, odds.isfinite() & ~(drift < _MAX_DRIFT))
        if lost.any():
            raise ValueError(
                f"`thresholds` cannot be moved to temperature {rule.temperature}, got "
                f"{old[lost].tolist()}: what they decide would change. Fit the temperature first, "
                "then tune the thresholds: set config.thresholds to None, then config.temperature."
            )
        return replace(rule, thresholds=new.tolist())

    @property
    def num_labels(self) -> int | None:
        """L; None where the labels are not named."""
        return None if self.label_names is None else len(self.label_names)

    @cached_property
    def group_ids(self) -> list[list[int]]:
        """The ids of the labels of each group."""
        ids = {name: index for index, name in enumerate(self.label_names or ())}
        return [[ids[name] for name in names] for names in dict(self.groups or ()).values()]

    @property
    def limits(self) -> float | list[float]:
        """The thresholds that decide; without any 0.5, but 0 in groups and for a top class."""
        if self.thresholds is not None:
            return as_floats(self.thresholds).tolist()
        if not self.groups:
            return 0.5 if self.task == "multilabel" else 0.0
        grouped = {index for ids in self.group_ids for index in ids}
        return [0.0 if index in grouped else 0.5 for index in range(self.num_labels or 0)]

    def temper(self, logits: torch.Tensor) -> torch.Tensor:
        """Divide logits ``(..., L)`` by the temperature, in float32 or better.

        In a group it divides the scores that `group_logits` made the logits of, so that the sum of
        its softmax stays 1. A "none" that single precision had lost beside the labels counts as
        just lost.
        """
        scores = at_least_float32(logits)
        if self.temperature is None:
            return scores
        for ids in self.group_ids:
            scores = with_columns(scores, ids, scores_of_group(columns(scores, ids)))
        return group_logits(scores / _like(self.temperature, scores), self.group_ids)

    def probabilities(self, logits: torch.Tensor) -> torch.Tensor:
        """Turn logits ``(..., L)`` into probabilities, in float32 or better; see `check_finite`."""
        check_finite(logits)
        logits = self.temper(logits)
        return logits.sigmoid() if self.task == "multilabel" else logits.softmax(-1)

    def decide(
        self, logits: torch.Tensor, probabilities: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Decide which labels hold, or which class does.

        A label holds from its threshold on, by default 0.5; in a group at most the most probable
        one, unless "none" is more so. A top class below the threshold is rejected.

        Args:
            logits: ``(..., L)``.
            probabilities: those of the logits, where they have been computed.

        Returns:
            bool ``(..., L)``, or long ``(...)`` with `IGNORE_INDEX` for what is rejected.

        Raises:
            FloatingPointError: see `check_finite`.
        """
        chances = self.probabilities(logits) if probabilities is None else probabilities
        if self.task == "multilabel":
            passes = chances >= _like(self.limits, chances)
            return passes & lead(logits, self.group_ids) if self.groups else passes
        ids = logits.argmax(-1)  # of the logits: probabilities can round to a tie
        if self.thresholds is None:
            return ids
        return torch.where(chances.amax(-1) >= _like(self.limits, chances), ids, IGNORE_INDEX)

    def _check_temperature(self) -> float | tuple[float, ...] | None:
        if self.temperature is None:
            return None
        values = as_floats(in_order("temperature", self.temperature, self.label_names))
        size, multilabel = self.num_labels or values.size, self.task == "multilabel"
        if values.shape not in [(), *([(size,)] if multilabel and size else [])]:
            count = f"{self.num_labels}, " if self.num_labels else ""
            raise ValueError(
                f"`temperature` must be one number{f', or {count}one per label,' * multilabel} for "
                f"task={self.task!r}, got {self.temperature!r:.200}."
            )
        lowest, highest = TEMPERATURES
        if not ((values >= lowest) & (values <= highest)).all():
            raise ValueError(
                f"`temperature` must be in [{lowest:g}, {highest:g}], got "
                f"{self.temperature!r:.200}. `fit_temperature` finds it on validation data."
            )
        for ids in self.group_ids if values.ndim else ():
            if len(set(values[ids].tolist())) > 1:
                raise ValueError(
                    "Labels of a group must share a `temperature`, as they share a softmax; got "
                    f"{values[ids].tolist()} for {[(self.label_names or ())[i] for i in ids]}."
                )
        return tuple(values.tolist()) if values.ndim else float(values)

    def _check_thresholds(self) -> float | tuple[float, ...] | None:
        given = self.thresholds
        if given is None:
            return None
        if self.task == "multiclass" and (isinstance(given, Mapping) or as_floats(given).ndim):
            raise ValueError(
                f"`thresholds` must be one probability for task={self.task!r}, under which the top "
                f"class is rejected, got {given}. One per label is for task='multilabel'."
            )
        values = as_floats(in_order("thresholds", given, self.label_names))
        if values.ndim > 1 or not values.size or not ((values >= 0) & (values <= 1)).all():
            raise ValueError(
                "`thresholds` must be probabilities in [0, 1], one or a flat sequence, got "
                f"{given}. For a threshold on logits pass its sigmoid."
            )
        if values.ndim and self.num_labels not in (None, len(values)):
            raise ValueError(
                f"`thresholds` must have one entry per label, got {len(values)} for the "
                f"{self.num_labels} labels of `id2label`."
            )
        if self.task == "multilabel" and self.num_labels:
            values = np.broadcast_to(values, self.num_labels)
        return tuple(values.tolist()) if values.ndim else float(values)


def _check_groups(
    groups: Groups | None, task: str, names: Sequence[str]
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    if not groups:
        return ()
    if task != "multilabel":
        raise ValueError(
            f"`groups` are for task='multilabel', got task={task!r}, whose labels exclude each "
            "other anyway."
        )
    if isinstance(groups, tuple) and all(isinstance(pair, tuple) for pair in groups):
        groups = dict(groups)  # the form of a rule
    if not isinstance(groups, Mapping) or any(
        isinstance(group, str) or not isinstance(group, Iterable) for group in groups.values()
    ):
        raise ValueError(f"`groups` must be a dict of lists of label names, got {groups!r:.200}.")
    lists = {str(name): list(group) for name, group in groups.items()}
    grouped = [label for group in lists.values() for label in group]
    if unknown := [label for label in grouped if label not in names]:
        raise ValueError(f"`groups` must hold labels of `id2label`, got {unknown}.")
    if len(set(grouped)) < len(grouped) or any(len(group) < 2 for group in lists.values()):
        raise ValueError(
            f"Each of the `groups` must hold at least two labels, and no label twice, got {lists}."
        )
    return tuple((name, tuple(group)) for name, group in lists.items())


def check_unmoved(
    thresholds: Thresholds | None, before: Thresholds | None, after: Thresholds | None
) -> None:
    """Raise ValueError if thresholds would stay where they are at another temperature."""
    one, other = (1.0 if value is None else value for value in (before, after))
    if thresholds is not None and one != other:
        raise ValueError(
            f"The `thresholds` are for temperature {one!r:.200}, got {other!r:.200}. Call "
            "config.set_temperature, which moves them along, or set new `thresholds` for it: "
            "assign None first, or pass both."
        )


def check_finite(logits: torch.Tensor) -> None:
    """Raise FloatingPointError for a logit that is infinite or NaN.

    Every probability and every decision passes here. It waits for the device, and does nothing in
    a graph.
    """
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        return
    wrong = ~torch.isfinite(logits)
    if wrong.any():
        place, positions = wrong.nonzero()[0].tolist(), wrong.any(-1)
        raise FloatingPointError(
            f"Logits must be finite, and the model computed {logits[tuple(place)].item()} at "
            f"{place} of {tuple(logits.shape)}, in {int(positions.sum())} of {positions.numel()} "
            "positions. Has its training diverged, is its file damaged, or did float16 overflow? "
            "Take an earlier checkpoint, or load it with dtype=torch.float32."
        )


def group_logits(scores: torch.Tensor, groups: Sequence[Sequence[int]]) -> torch.Tensor:
    """Turn scores ``(..., L)`` into logits of which those of a group exclude each other.

    A logit becomes the log-odds of its label in a softmax over its group and "none": its sigmoid is
    that softmax, and what works with sigmoids works with it. Labels in no group stay as they are.
    """
    logits = scores
    for ids in groups:
        full = with_none(at_least_float32(columns(scores, ids)))
        top = full.argmax(-1, keepdim=True)
        rest = full.scatter(-1, top, -torch.inf).logsumexp(-1, keepdim=True)
        share = full - full.logsumexp(-1, keepdim=True)  # a logarithm
        # Only the top one can be above one half, where 1 - p loses its digits.
        below = share - torch.log1p(-share.exp().clamp(max=0.5))
        odds = below.scatter(-1, top, full.gather(-1, top) - rest)[..., :-1]
        logits = with_columns(logits, ids, odds.to(scores.dtype))
    return logits


def scores_of_group(logits: torch.Tensor) -> torch.Tensor:
    """Return the scores of one group ``(..., G)``, of which `group_logits` made these logits.

    A score is the logarithm of a label's probability over that of "none".
    """
    share = F.logsigmoid(logits)
    top = logits.argmax(-1, keepdim=True)
    rest = F.logsigmoid(-logits.gather(-1, top))  # of all but the top label, without cancellation
    others = (share.scatter(-1, top, -torch.inf) - rest).exp().sum(-1, keepdim=True)
    none = rest + torch.log1p(-others.clamp(max=1 - torch.finfo(logits.dtype).eps))
    return share - none


def lead(logits: torch.Tensor, groups: Sequence[Sequence[int]]) -> torch.Tensor:
    """Mark the answer of each group, the most probable of its labels unless "none" is more so.

    Args:
        logits: ``(..., L)`` of `group_logits`; a temperature changes no answer.
        groups: ids of labels that exclude each other.

    Returns:
        bool ``(..., L)``, True also for labels in no group.
    """
    leads = torch.ones_like(logits, dtype=torch.bool)
    for ids in groups:
        group = at_least_float32(columns(logits, ids)).sigmoid()
        best, place = group.max(-1, keepdim=True)
        most = best >= 1 - group.sum(-1, keepdim=True)
        answers = torch.zeros_like(group, dtype=torch.bool).scatter(-1, place, most)
        leads = with_columns(leads, ids, answers)
    return leads


def at_least_float32(logits: torch.Tensor) -> torch.Tensor:
    """Return logits in float32 or better."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def columns(values: torch.Tensor, ids: Sequence[int]) -> torch.Tensor:
    """Pick the columns of some labels from ``(..., L)``, without waiting for the device."""
    return values.index_select(-1, _index(ids, values.device))


def with_columns(values: torch.Tensor, ids: Sequence[int], new: torch.Tensor) -> torch.Tensor:
    """Return the values with other columns for some labels, without waiting for the device."""
    return values.index_copy(-1, _index(ids, values.device), new)


def with_none(scores: torch.Tensor) -> torch.Tensor:
    """Append the score of "none" to those of a group's labels: 0, ``(..., G + 1)``.

    Of a single label, the softmax is then its sigmoid.
    """
    return F.pad(scores, (0, 1))


def _index(ids: Sequence[int], device: torch.device) -> torch.Tensor:
    return torch.tensor(ids, dtype=torch.long).to(device, non_blocking=True)


def _like(values: Any, other: torch.Tensor) -> torch.Tensor:
    return torch.tensor(values, dtype=other.dtype).to(other.device, non_blocking=True)
