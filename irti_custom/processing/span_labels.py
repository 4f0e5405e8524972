"""Turn the labels of spans into targets of a loss; errors name example and span.

    "place"              ->  1              multiclass: (M,)
    ["person", "place"]  ->  [1, 1, 0]      multilabel: (M, L)

Names and ids may be mixed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Union

from ..labels import IGNORE_INDEX, check_task

Label = Union[str, int]
"""A label's name or id."""
SpanLabels = Union[Label, Sequence[Label], None]
"""The labels of one span; None where they are not known."""


class LabelIds:
    """Turn the labels of spans into class ids or rows of 0 and 1.

    Args:
        task: "multilabel" or "multiclass".
        label2id: ids ``0..L-1`` by name; None where no labels are expected.

    Raises:
        ValueError: an unknown task.

    Example:
        >>> labels = LabelIds("multilabel", {"person": 0, "place": 1, "thing": 2})
        >>> labels.of_spans([["person", "place"], [], None], 3, "example 0")
        [[1, 1, 0], [0, 0, 0], [-100, -100, -100]]
        >>> LabelIds("multiclass", {"person": 0, "place": 1}).of_spans(["place", 0], 2, "example 0")
        [1, 0]
    """

    def __init__(self, task: str, label2id: Mapping[str, int] | None) -> None:
        self.multiclass = check_task(task) == "multiclass"
        self.named = label2id is not None
        self.label2id = label2id or {}

    def of_spans(
        self, labels: Sequence[SpanLabels], count: int, name: str
    ) -> list[int] | list[list[int]]:
        """Turn the labels of one example.

        Args:
            labels: one entry per span: a name or id, or for "multilabel" a list of them; None for
                a span whose labels are not known, which the loss ignores.
            count: how many spans there are.
            name: of the example in errors.

        Returns:
            M class ids, or M rows of L zeros and ones.

        Raises:
            ValueError: counts that differ, an unknown name or id, no or several classes for one
                position of "multiclass", or no `label2id`.
        """
        if not self.named:
            raise ValueError("Labels need `label2id`, got none. Pass it to MaskedSeqProcessor.")
        if isinstance(labels, str) or len(labels) != count:
            raise ValueError(
                f"`labels` of {name} must have one entry per span, {count}, got {labels!r}."
            )
        if self.multiclass:
            return [self._class(entry, index, name) for index, entry in enumerate(labels)]
        return [self._row(entry, index, name) for index, entry in enumerate(labels)]

    def _class(self, entry: SpanLabels, span: int, name: str) -> int:
        if entry is None:
            return IGNORE_INDEX
        if not isinstance(entry, (str, int, Integral)):
            if len(entry) != 1:
                raise ValueError(
                    f"Span {span} of {name} must have one class for task='multiclass', got "
                    f"{list(entry)}. Several or none? Use task='multilabel'."
                )
            entry = entry[0]
        return self._id(entry, span, name)

    def _row(self, entry: SpanLabels, span: int, name: str) -> list[int]:
        if entry is None:
            return [IGNORE_INDEX] * len(self.label2id)
        row = [0] * len(self.label2id)
        for label in (entry,) if isinstance(entry, (str, int, Integral)) else entry:
            row[self._id(label, span, name)] = 1
        return row

    def _id(self, label: Label, span: int, name: str) -> int:
        if isinstance(label, str):
            if label in self.label2id:
                return self.label2id[label]
        elif _is_integer(label) and 0 <= label < len(self.label2id):
            return int(label)
        names = list(self.label2id)
        raise ValueError(
            f"Span {span} of {name} must have labels of `label2id` or ids in [0, {len(names)}), "
            f"got {label!r}. The labels are {names[:20]}{' ...' if len(names) > 20 else ''}."
        )


def _is_integer(value: object) -> bool:
    """Return True for integers, including NumPy's; False for booleans."""
    return isinstance(value, Integral) and not isinstance(value, bool)
