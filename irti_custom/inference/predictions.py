"""Predictions: logits of the positions of records, from which all else follows.

records ──▶ pipeline.predict ──▶ Predictions ─┬─▶ answers, as the pipeline's call gives them
├─▶ records with labels, for `write_records`
└─▶ table, metrics, report, tuning
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from ..evaluation.metrics import make_compute_metrics
from ..processing.span_labels import LabelIds
from ..records.kinds import Position, Record
from ..rule import Rule
from .answers import Answer, AnswerWriter, labels_of

if TYPE_CHECKING:
    import pandas as pd

    from ..processing.processor import Encoded


class ModelFacts(NamedTuple):
    """Facts about a model for people: no folder of a machine.

    Attributes:
        name: the last part of where it was loaded from; "model" where nothing says so.
        encoder: the Hub id of its base, or the model type.
        read: which tokens of a position are read, see `MaskedSeqProcessor`.
        max_length: tokens of a row.
    """

    name: str = "model"
    encoder: str | None = None
    read: str = "start"
    max_length: int | None = None


class Predictions:
    """Logits of P positions, in the order of the N records and of the positions in each.

    ``pipeline.predict(records)`` makes them.

    Attributes:
        logits: ``(P, L)``, in float32 on the CPU.
        index: long ``(P, 2)``: the number of the record, and that of the position in it.
        inputs: the N records, as they were read.
        positions: per record one dict per position, as the user counts. A field without a value,
            and a position that ``on_overflow="drop"`` left out, is here and has no logits.
        num_rows: per record the number of rows that it took.
        writer: the decisions of the model; see `answers`.
        model: facts about it.
    """

    def __init__(
        self,
        logits: torch.Tensor,
        index: np.ndarray,
        inputs: Sequence[Record],
        positions: Sequence[list[Position]],
        num_rows: Sequence[int],
        writer: AnswerWriter,
        model: ModelFacts,
    ) -> None:
        self.logits, self.index = logits, index
        self.inputs, self.positions, self.num_rows = list(inputs), list(positions), list(num_rows)
        self.writer, self.model = writer, model

    @classmethod
    def of_rows(
        cls,
        encoded: Encoded,
        logits: Sequence[torch.Tensor],
        writer: AnswerWriter,
        model: ModelFacts,
    ) -> Predictions:
        """Put the logits of rows in the order of the records.

        Args:
            encoded: from `MaskedSeqProcessor.prepare`.
            logits: per row ``(m, L)``, one for each of its positions.
            writer: the decisions of the model.
            model: facts about it.
        """
        ids, spans = encoded.rows["example_ids"], encoded.rows["span_ids"]
        first = min(ids, default=0)
        rows = Counter(example - first for example in ids)
        index = [(example - first, number) for example, row in zip(ids, spans) for number in row]
        pairs = np.array(index, dtype=np.int64).reshape(-1, 2)
        order = np.lexsort((pairs[:, 1], pairs[:, 0]))
        whole = torch.cat([torch.zeros(0, len(writer.names)), *logits])  # in float32 or better
        num_rows = [rows[number] for number in range(len(encoded.records))]
        return cls(
            whole[torch.from_numpy(order)],
            pairs[order],
            encoded.records,
            encoded.positions,
            num_rows,
            writer,
            model,
        )

    @classmethod
    def joined(cls, parts: Sequence[Predictions]) -> Predictions:
        """Put predictions of one model behind each other.

        Args:
            parts: at least one.
        """
        starts = np.cumsum([0, *(len(part.inputs) for part in parts)])
        shifts = [np.array([start, 0]) for start in starts]
        return cls(
            torch.cat([part.logits for part in parts]),
            np.concatenate([part.index + shift for part, shift in zip(parts, shifts)]),
            [one for part in parts for one in part.inputs],
            [one for part in parts for one in part.positions],
            [one for part in parts for one in part.num_rows],
            parts[0].writer,
            parts[0].model,
        )

    @property
    def rule(self) -> Rule:
        """The rule that decides the logits."""
        return self.writer.rule

    def __len__(self) -> int:
        """Return N, the number of records."""
        return len(self.inputs)

    def __repr__(self) -> str:
        return f"Predictions({len(self.inputs)} records, {len(self.index)} positions)"

    def answers(self, writer: AnswerWriter | None = None, **options: Any) -> list[list[Answer]]:
        """Return labels and scores, as the pipeline's call does.

        Args:
            writer: in place of the model's own.
            **options: `thresholds`, `top_k`, `return_all_scores`, as for the call.

        Returns:
            Per record a list of one dict per position.

        Raises:
            TypeError: an unknown option.
            ValueError: options out of range.
        """
        writer = (writer or self.writer).changed(**options)
        unknown, found = writer.unknown(), iter(writer.write(self.logits))
        made = [[{**position, **unknown} for position in of_one] for of_one in self.positions]
        for record, number in self.index.tolist():
            made[record][number].update(next(found))
        return made

    def records(self, **options: Any) -> list[dict[str, Any]]:
        """Return the records again, with predicted labels and scores in place of theirs.

        Args:
            **options: see `answers`.

        Returns:
            Per record a dict as `write_records` takes it, with its id and the user's own fields;
            `labels` is None at a position without logits.
        """
        made = []
        for record, positions, answers in zip(self.inputs, self.positions, self.answers(**options)):
            lists = [labels_of(answer) for answer in answers]
            labels = [None if one is None else [pair["label"] for pair in one] for one in lists]
            scores = [None if one is None else [pair["score"] for pair in one] for one in lists]
            made.append(record.plain(positions, labels, scores))
        return made

    def table(self, **options: Any) -> pd.DataFrame:
        """Return one row per label of a position, and one with None for a position without.

        Args:
            **options: see `answers`.

        Returns:
            A DataFrame with the columns ``record``, the id or else the number, ``position``, its
            number, what else the position is called (``start``, ``end``, ``column``, ``field``,
            ``word``), ``label`` and ``score``.
        """
        import pandas as pd  # here: slow to import, and not needed by the model

        rows: list[dict[str, Any]] = []
        names = [name for name in ("start", "end", "column", "field", "word") if self._has(name)]
        for number, (record, answers) in enumerate(zip(self.inputs, self.answers(**options))):
            record_id = record.given.get("id")
            for position, answer in enumerate(answers):
                for pair in labels_of(answer) or [{"label": None, "score": None}]:
                    where = {"record": number if record_id is None else record_id}
                    where.update(position=position, **{name: answer.get(name) for name in names})
                    rows.append({**where, **pair})
        return pd.DataFrame(rows, columns=["record", "position", *names, "label", "score"])

    def _has(self, name: str) -> bool:
        return any(name in position for of_one in self.positions for position in of_one)

    @cached_property
    def labels(self) -> torch.Tensor:
        """The true labels: class ids ``(P,)``, or 0 and 1 ``(P, L)``; -100 where not known.

        Raises:
            ValueError: an unknown label, or other than one class per position.
        """
        names = {name: index for index, name in enumerate(self.rule.label_names or ())}
        ids = LabelIds(self.rule.task, names)
        by_record = []
        for number, (record, positions) in enumerate(zip(self.inputs, self.positions)):
            name = f"record {record.given.get('id', number)!r}"
            by_record.append(ids.of_spans(record.labels, len(positions), name))
        listed = [by_record[record][number] for record, number in self.index.tolist()]
        return torch.tensor(listed, dtype=torch.long).reshape(-1, *ids.shape)

    def metrics(self, per_label: bool = False) -> dict[str, float]:
        """Return the metrics that ``trainer.evaluate()`` reports, by the labels in the records.

        Args:
            per_label: see `make_compute_metrics`.

        Raises:
            ValueError: no position with labels, or see `labels`.
        """
        if not (self.labels != -100).any():
            raise ValueError(
                "`metrics` needs records with labels, and no position has any. None as `labels` "
                "means that they are not known; [] that none holds."
            )
        compute = make_compute_metrics(self.rule, per_label=per_label)
        return compute((self.logits[None].numpy(), self.labels[None].numpy()))
