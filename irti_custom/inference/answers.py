"""Turn logits into labels and scores per position.

logits (N, L)  ->  N dicts of a label and its score, or of several in a list

Plain Python values, ready for JSON.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ..labels import check_count
from ..rule import Rule

Answer = dict[str, Any]
OPTIONS = ("thresholds", "top_k", "return_all_scores")


class AnswerWriter:
    """Turn logits into what a pipeline answers.

    Args:
        rule: decides; with names of all labels.
        top_k: list the best `top_k` labels, all where there are fewer, whatever the thresholds.
        return_all_scores: list all labels.

    Raises:
        ValueError: settings out of range, or that contradict each other.
    """

    def __init__(
        self, rule: Rule, top_k: int | None = None, return_all_scores: bool = False
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
        self.rule, self.names = rule, list(rule.label_names or ())
        self.count = len(self.names) if return_all_scores else top_k
        self.options = {"top_k": top_k, "return_all_scores": return_all_scores}

    def changed(self, **options: Any) -> AnswerWriter:
        """Return one with other `thresholds`, `top_k` or `return_all_scores`.

        Raises:
            TypeError: an unknown option.
            ValueError: options out of range.
        """
        unknown = sorted(options.keys() - set(OPTIONS))
        if unknown:
            raise TypeError(
                f"There is no option {unknown}, only {OPTIONS}. Options of the model go into "
                "pipeline(..., model_kwargs={...}), or by name into from_pretrained."
            )
        settings = {**self.options, **options}
        thresholds = settings.pop("thresholds", None)
        rule = self.rule if thresholds is None else replace(self.rule, thresholds=thresholds)
        return AnswerWriter(rule, **settings) if options else self

    def write(self, logits: torch.Tensor) -> list[Answer]:
        """Describe N positions.

        Args:
            logits: ``(N, L)``.

        Returns:
            N dicts. "multilabel": ``labels``, a list of ``label`` and ``score``, best first.
            "multiclass": ``label`` and ``score`` of the best, `label` None where the threshold
            rejects it; with `top_k` or `return_all_scores` also ``labels``.
        """
        if self.rule.task == "multilabel":
            return [{"labels": labels} for labels in self._lists(logits)]
        ids = self.rule.decide(logits).tolist()
        best = self.rule.probabilities(logits).amax(-1).tolist()
        answers = [
            {"label": None if index < 0 else self.names[index], "score": score}
            for index, score in zip(ids, best)
        ]
        if self.count is not None:
            for answer, labels in zip(answers, self._lists(logits)):
                answer["labels"] = labels
        return answers

    def unknown(self) -> Answer:
        """Describe a position that ``on_overflow="drop"`` left out: all values are None."""
        if self.rule.task == "multilabel":
            return {"labels": None}
        return {"label": None, "score": None, **({} if self.count is None else {"labels": None})}

    def _lists(self, logits: torch.Tensor) -> list[list[Answer]]:
        """List labels, best first: the first `count`, or those above the thresholds."""
        # Logits are sorted, since probabilities can round to a tie.
        tempered = self.rule.temper(logits)
        order = tempered.argsort(dim=-1, descending=True, stable=True)[:, : self.count]
        chances = self.rule.probabilities(logits)
        scores = chances.gather(-1, order)
        if self.count is not None:
            kept = torch.ones_like(order, dtype=torch.bool)
        else:
            kept = self.rule.decide(logits, chances).gather(-1, order)
        lists: list[list[Answer]] = [[] for _ in range(len(logits))]
        rows = kept.nonzero()[:, 0].tolist()
        for row, index, score in zip(rows, order[kept].tolist(), scores[kept].tolist()):
            lists[row].append({"label": self.names[index], "score": score})
        return lists


def labels_of(answer: Answer) -> list[dict[str, Any]] | None:
    """Return the labels of an answer with their scores; None for a position without logits."""
    if "labels" in answer:
        return answer["labels"]
    if answer["score"] is None:
        return None
    return [] if answer["label"] is None else [{k: answer[k] for k in ("label", "score")}]
