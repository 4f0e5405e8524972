"""What is said of each position: its labels and their scores.

logits (N, L)  ->  N dicts of a label and its score, or of several in a list

Plain Python values, ready for JSON.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ..evaluation.stat_scores import resolve_rule
from ..labels import Thresholds, check_count

Answer = dict[str, Any]


class AnswerWriter:
    """Turn logits into what a pipeline answers.

    Args:
        names: the L labels, in the order of their ids.
        task: "multilabel" or "multiclass".
        thresholds: see `MaskedSeqModelingConfig`.
        top_k: list the best `top_k` labels, all where there are fewer, whatever the thresholds.
        return_all_scores: list all labels.
        groups: ``config.group_ids``.
        temperature: ``config.temperature``.

    Raises:
        ValueError: settings out of range, or that contradict each other.

    Example:
        >>> logits = torch.tensor([[2.0, -1.0], [0.0, 0.0]])
        >>> AnswerWriter(["a", "b"], "multilabel", [0.6, 0.2]).write(logits)[0]["labels"]
        [{'label': 'a', 'score': 0.88...}, {'label': 'b', 'score': 0.26...}]
        >>> AnswerWriter(["a", "b"], "multiclass", 0.6).write(logits)[1]
        {'label': None, 'score': 0.5}
    """

    def __init__(
        self,
        names: Sequence[str],
        task: str,
        thresholds: Thresholds | None = None,
        top_k: int | None = None,
        return_all_scores: bool = False,
        groups: Sequence[Sequence[int]] = (),
        temperature: Thresholds | None = None,
    ) -> None:
        top_k = None if top_k is None else check_count("top_k", top_k)
        if not isinstance(return_all_scores, (bool, np.bool_)):
            raise ValueError(
                f"`return_all_scores` must be True or False, got {return_all_scores!r:.80}."
            )
        if top_k is not None and return_all_scores:
            raise ValueError(
                f"`top_k` and `return_all_scores` contradict each other, got top_k={top_k} and "
                "return_all_scores=True. Give one of them."
            )
        self.names, self.task, self.groups = list(names), task, groups
        self.rule = resolve_rule(task, self.names, thresholds, groups, temperature)
        self.thresholds, self.temperature = self.rule.thresholds, self.rule.temperature
        self.count = len(self.names) if return_all_scores else top_k

    def write(self, logits: torch.Tensor) -> list[Answer]:
        """Describe N positions.

        Args:
            logits: ``(N, L)``.

        Returns:
            N dicts. "multilabel": ``labels``, a list of ``label`` and ``score``, best first.
            "multiclass": ``label`` and ``score`` of the best, `label` None where the threshold
            rejects it; with `top_k` or `return_all_scores` also ``labels``.
        """
        if self.task == "multilabel":
            return [{"labels": labels} for labels in self._lists(logits)]
        ids = self.decide(logits).tolist()
        best = self.probabilities(logits).amax(-1).tolist()
        answers = [
            {"label": None if index < 0 else self.names[index], "score": score}
            for index, score in zip(ids, best)
        ]
        if self.count is not None:
            for answer, labels in zip(answers, self._lists(logits)):
                answer["labels"] = labels
        return answers

    def probabilities(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the scores that are answered, ``(N, L)``."""
        return self.rule.probabilities(logits)

    def decide(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the decisions that are answered, as `Rule.decide` does."""
        return self.rule.decide(logits)

    def unknown(self) -> Answer:
        """Describe a position that ``on_overflow="drop"`` left out: all values are None."""
        if self.task == "multilabel":
            return {"labels": None}
        return {"label": None, "score": None, **({} if self.count is None else {"labels": None})}

    def _lists(self, logits: torch.Tensor) -> list[list[Answer]]:
        """List labels, best first: the first `count`, or those above the thresholds."""
        # Logits are sorted, since probabilities can round to a tie.
        order = self.rule.temper(logits).argsort(dim=-1, descending=True, stable=True)[
            :, : self.count
        ]
        scores = self.probabilities(logits).gather(-1, order)
        if self.count is not None:
            kept = torch.ones_like(order, dtype=torch.bool)
        else:
            kept = self.decide(logits).gather(-1, order)
        lists: list[list[Answer]] = [[] for _ in range(len(logits))]
        places = kept.nonzero()
        found = zip(places[:, 0].tolist(), order[kept].tolist(), scores[kept].tolist())
        for row, index, score in found:
            lists[row].append({"label": self.names[index], "score": score})
        return lists
