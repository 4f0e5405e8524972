"""Turn the labels of spans into targets of a loss; errors name example and span.

    "place"              ->  1              multiclass: (M,)
    ["person", "place"]  ->  [1, 1, 0]      multilabel: (M, L)
    [0, 0, 1]            ->  [0, 0, 1]

Names and ids may be mixed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any, Union

from ..labels import IGNORE_INDEX, as_integer, check_task
from ..records.sequences import as_list, is_missing

Label = Union[str, int]
"""A label's name or id."""
SpanLabels = Union[Label, Sequence[Label], None]
"""The labels of one span; None where they are not known. A list of them may be written as 0 or 1,
or False or True, for each of the L labels."""


class LabelIds:
    """Turn the labels of spans into class ids or rows of 0 and 1.

    Args:
        task: "multilabel" or "multiclass".
        label2id: ids ``0..L-1`` by name; None where no labels are expected.

    Attributes:
        shape: of the label of one span: ``()`` or ``(L,)``.

    Raises:
        ValueError: an unknown task.
    """

    def __init__(self, task: str, label2id: Mapping[str, int] | None) -> None:
        self.multiclass = check_task(task) == "multiclass"
        self.named = label2id is not None
        self.label2id = label2id or {}
        self.shape = () if self.multiclass else (len(self.label2id),)

    def of_spans(
        self, labels: Iterable[SpanLabels] | None, count: int, name: str
    ) -> list[int] | list[list[int]]:
        """Turn the labels of one example.

        Args:
            labels: one entry per span: a name or id; for "multilabel" a list of them, or 0 or 1 for
                each of the L labels. None, for a span or for all, where labels are not known; the
                loss ignores these.
            count: how many spans there are.
            name: of the example in errors.

        Returns:
            M class ids, or M rows of L zeros and ones.

        Raises:
            ValueError: counts that differ, an unknown name or id, an id given twice, numbers that
                can be read as ids and as 0 or 1 per label, no or several classes for one position
                of "multiclass", or no `label2id`.
        """
        if not self.named:
            raise ValueError("Labels need `label2id`, got none. Pass it to MaskedSeqProcessor.")
        listed = [None] * count if is_missing(labels) else as_list(f"`labels` of {name}", labels)
        if len(listed) != count:
            raise ValueError(
                f"`labels` of {name} must have one entry per span, {count}, got {listed!r:.80}."
            )
        names = [f"Span {index} of {name}" for index in range(count)]
        if self.multiclass:
            return list(map(self._class, listed, names))
        return list(map(self._row, listed, names))

    def _class(self, entry: Any, name: str) -> int:
        if is_missing(entry):
            return IGNORE_INDEX
        classes = _entries(entry, name)
        if classes is None:
            return self._id(entry, name)
        if len(classes) != 1:
            raise ValueError(
                f"{name} must have one class for task='multiclass', got {classes}. Several or "
                "none? Use task='multilabel'."
            )
        return self._id(classes[0], name)

    def _row(self, entry: Any, name: str) -> list[int]:
        size = len(self.label2id)
        if is_missing(entry):
            return [IGNORE_INDEX] * size
        row, labels = [0] * size, _entries(entry, name)
        if labels is not None and self._is_vector(labels, name):
            return list(map(int, labels))
        for label in [entry] if labels is None else labels:
            row[self._id(label, name)] = 1
        return row

    def _is_vector(self, labels: list[Any], name: str) -> bool:
        """Return True for 0 or 1 per label, False for names and ids."""
        size = len(self.label2id)
        if not labels:
            return False
        flags = [isinstance(label, bool) for label in labels]
        if any(flags):
            if all(flags) and len(flags) == size:
                return True
            raise ValueError(
                f"{name} must have True or False for each of the {size} labels of `label2id`, or "
                f"names or ids, got {labels}."
            )
        ids = [index for index in map(as_integer, labels) if index is not None]
        if len(ids) < len(labels):
            return False
        zeros_and_ones = len(ids) == size and set(ids) <= {0, 1}
        distinct = len(set(ids)) == len(ids) and max(ids) < size
        if zeros_and_ones and distinct:
            raise ValueError(
                f"{name} has the labels {labels}, which may be ids, or 0 or 1 for each of the "
                f"{size} labels. Give names, or True and False."
            )
        if not zeros_and_ones and len(set(ids)) < len(ids):
            raise ValueError(
                f"{name} must have each id once, or 0 or 1 for each of the {size} labels of "
                f"`label2id`, got {labels}."
            )
        return zeros_and_ones

    def _id(self, label: Label, name: str) -> int:
        index = self.label2id.get(label, -1) if isinstance(label, str) else as_integer(label)
        if index is not None and 0 <= index < len(self.label2id):
            return index
        names = list(self.label2id)
        raise ValueError(
            f"{name} must have labels of `label2id` or ids in [0, {len(names)}), got {label!r}. "
            f"The labels are {names[:20]}{' ...' if len(names) > 20 else ''}."
        )


def _entries(entry: Any, name: str) -> list[Any] | None:
    """List several labels of one span, as Python's values; None for a single one."""
    if hasattr(entry, "tolist"):  # of NumPy or PyTorch
        entry = entry.tolist()
    if isinstance(entry, str) or not isinstance(entry, Iterable):
        return None
    if isinstance(entry, Set):
        return sorted(entry, key=str)
    items = as_list(f"The labels of {name}", entry)
    return [item.item() if getattr(item, "ndim", None) == 0 else item for item in items]
