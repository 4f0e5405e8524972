"""Turn logits into labels and scores per position.

logits (N, L)  ->  N dicts of a label and its score, or of several in a list

Plain Python values, ready for JSON.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ..decisions import Temperature, check_temperature, decide, probabilities, temper
from ..labels import Thresholds, check_count, check_task, check_thresholds

Answer = dict[str, Any]
OPTIONS = ("thresholds", "top_k", "return_all_scores")


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
    """

    def __init__(
        self,
        names: Sequence[str],
        task: str,
        thresholds: Thresholds | None = None,
        top_k: int | None = None,
        return_all_scores: bool = False,
        groups: Sequence[Sequence[int]] = (),
        temperature: Temperature | None = None,
    ) -> None:
        check_task(task)
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
        self.thresholds = check_thresholds(thresholds, task, self.names, len(self.names))
        self.temperature = check_temperature(temperature, task, self.names, groups)
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
        if not options:
            return self
        settings: dict[str, Any] = {"thresholds": self.thresholds, **self.options, **options}
        if settings["thresholds"] is None:
            settings["thresholds"] = self.thresholds
        settings.update(groups=self.groups, temperature=self.temperature)
        return AnswerWriter(self.names, self.task, **settings)

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
        return probabilities(logits, self.task, self.temperature, self.groups)

    def decide(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the decisions that are answered, as `decisions.decide` does."""
        return decide(logits, self.task, self.thresholds, self.groups, self.temperature)

    def unknown(self) -> Answer:
        """Describe a position that ``on_overflow="drop"`` left out: all values are None."""
        if self.task == "multilabel":
            return {"labels": None}
        return {"label": None, "score": None, **({} if self.count is None else {"labels": None})}

    def _lists(self, logits: torch.Tensor) -> list[list[Answer]]:
        """List labels, best first: the first `count`, or those above the thresholds."""
        # Logits are sorted, since probabilities can round to a tie.
        tempered = temper(logits, self.temperature, self.groups)
        order = tempered.argsort(dim=-1, descending=True, stable=True)[:, : self.count]
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


def labels_of(answer: Answer) -> list[dict[str, Any]] | None:
    """Return the labels of an answer with their scores; None for a position without logits."""
    if "labels" in answer:
        return answer["labels"]
    if answer["score"] is None:
        return None
    return [] if answer["label"] is None else [{k: answer[k] for k in ("label", "score")}]
