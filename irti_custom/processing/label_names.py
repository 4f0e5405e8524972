"""Compare the labels of rows with those of the model that reads them, wherever both meet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class LabelSettings(Protocol):
    """Labels of rows: the attributes that are read from a `MaskedSeqProcessor`."""

    @property
    def task(self) -> str:
        """Either "multilabel" or "multiclass"."""

    @property
    def label2id(self) -> Mapping[str, int] | None:
        """Ids by label name; None for rows without labels."""


def trained_names(config: Any, settings: LabelSettings) -> list[str]:
    """Name the labels: as the model does, or as the processor where the model only counts them.

    Args:
        config: of the model.
        settings: of the rows.

    Returns:
        L names, in the order of their ids.

    Raises:
        ValueError: another task, other labels, or another order of them.
    """
    names, label2id = config.label_names, settings.label2id
    if label2id is None:
        return names
    labels = sorted(label2id, key=label2id.__getitem__)
    counted = [f"LABEL_{index}" for index in range(len(labels))]
    if settings.task != config.task or names not in (labels, counted):
        raise ValueError(
            f"The processor is for task={settings.task!r} with the labels {labels}, the model for "
            f"task={config.task!r} with {names}. Use the one that the model was trained with."
        )
    return labels
