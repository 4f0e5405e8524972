"""Add a column of predictions to Arrow tables of records.

text | spans | ...  ->  text | spans | ... | predictions: [{start, end, word, labels}]

A row with an `error` has null for predictions. The scripts that score on one machine and on a Ray
cluster share it, so that they agree.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import torch

from ..inference.answers import Answer
from ..inference.pipeline import MaskedSeqClassificationPipeline
from .identity import model_digest
from .shards import ERROR, PREDICTIONS

_ENDS = [("start", pa.int64()), ("end", pa.int64())]
_POSITIONS = {
    "spans": _ENDS,
    "masks": _ENDS,
    "columns": [("column", pa.int64())],
    "fields": [("field", pa.string())],
}
"""The names of a position, by the column of the records that holds positions."""
_LABEL = pa.struct([("label", pa.string()), ("score", pa.float32())])


class TableScorer:
    """Load a model once, then add predictions to any number of tables.

    Args:
        model: a folder or Hub id with model and processor.
        batch_size: rows per forward pass; a long text takes several.
        device: where to compute; default: the first accelerator, or the CPU.
        runtime: of an exported graph, as `precision`; see `OnnxMaskedSeqModel.from_pretrained`.
        precision: of an exported graph.
        digest: of the model that is meant, see `model_digest`.

    Raises:
        ValueError: the model is not the one of `digest` any more.

    Example:
        >>> scorer = TableScorer("trained")  # doctest: +SKIP
        >>> scorer(pa.table({"text": ["Ann"], "spans": [[[0, 3]]]}))  # doctest: +SKIP
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        batch_size: int = 32,
        device: int | str | torch.device | None = None,
        runtime: str | None = None,
        precision: str | None = None,
        digest: str | None = None,
    ) -> None:
        given = {"runtime": runtime, "precision": precision}
        graph = {name: value for name, value in given.items() if value}
        self.pipe = MaskedSeqClassificationPipeline.from_pretrained(
            model, device=device, batch_size=batch_size, **graph
        )
        if digest not in (None, model_digest(model)):
            raise ValueError(
                f"The model in {os.fspath(model)!r} has changed since the job was begun, and its "
                "answers would not fit the others. Restore it, or begin another job."
            )

    def __call__(self, table: pa.Table) -> pa.Table:
        """Return the table with one list of predictions per row, one prediction per position.

        Args:
            table: with columns `text` and `spans`, or of records as `read_records` returns them.
                Where a column `error` is set, there is null in place of predictions.
        """
        errors = table[ERROR].to_pylist() if ERROR in table.column_names else [None] * len(table)
        good = pa.array([error is None for error in errors], pa.bool_())
        # Other columns of a text are the user's own, whatever they are called.
        texts = [name for name in ("text", "spans") if name in table.column_names]
        records = table.select(texts) if len(texts) == 2 else table
        answers: Iterable[Any] = self.pipe(records.filter(good).to_pylist())
        scored = iter([[_with_labels(answer) for answer in row] for row in answers])
        predictions = [next(scored) if error is None else None for error in errors]
        kind = next((name for name in _POSITIONS if name in records.column_names), "spans")
        # One type for both tasks: "multiclass" gives a position one label, "multilabel" any number.
        position = [*_POSITIONS[kind], ("word", pa.string()), ("labels", pa.list_(_LABEL))]
        column = pa.array(predictions, pa.list_(pa.struct(position)))
        return table.append_column(PREDICTIONS, column)


def _with_labels(answer: Answer) -> Answer:
    """Write the one label of "multiclass" as a list of one; None stays for a dropped span."""
    if "labels" in answer:
        return answer
    label = {name: answer[name] for name in ("label", "score")}
    return {**answer, "labels": None if answer["score"] is None else [label]}
