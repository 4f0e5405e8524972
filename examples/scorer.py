"""Texts with spans in, the same rows with a column `predictions` out: one Arrow table at a time.

    text | spans | ...  ->  text | spans | ... | predictions: [{start, end, word, labels}]

`score_dataset.py` and `score_with_ray.py` share it, so that they give the same predictions.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from irti_custom import MaskedSeqClassificationPipeline

PREDICTIONS = "predictions"
LABEL = pa.struct([("label", pa.string()), ("score", pa.float32())])
# One type for both tasks: "multiclass" gives a span one label, "multilabel" any number.
SPAN = pa.struct(
    [("start", pa.int64()), ("end", pa.int64()), ("word", pa.string()), ("labels", pa.list_(LABEL))]
)


class Scorer:
    """Load a model once, then add predictions to any number of tables.

    Args:
        model: a folder or Hub id with model and processor.
        batch_size: texts per forward pass.
        device: where to compute; default: the first GPU, or the CPU.
    """

    def __init__(self, model: str, batch_size: int = 32, device: Any = None) -> None:
        self.pipe = MaskedSeqClassificationPipeline.from_pretrained(
            model, device=device, batch_size=batch_size
        )

    def __call__(self, table: pa.Table) -> pa.Table:
        """Return the table with one list of predictions per row, one prediction per span."""
        rows = table.select(["text", "spans"]).to_pylist()
        found = [[_with_labels(answer) for answer in answers] for answers in self.pipe(rows)]
        return table.append_column(PREDICTIONS, pa.array(found, pa.list_(SPAN)))


def _with_labels(answer: dict[str, Any]) -> dict[str, Any]:
    """Write the one label of "multiclass" as a list of one; None stays for a dropped span."""
    if "labels" in answer:
        return answer
    label = {name: answer[name] for name in ("label", "score")}
    return {**answer, "labels": None if answer["score"] is None else [label]}
