"""Count what was read or written, and what could not be: an error, or a count by kind.

a discontinuous span  ->  ValueError with file and line
                      ->  or, with on_error="skip", skipped["discontinuous span"] += 1
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..records.record import ItemError, kind_of

if TYPE_CHECKING:
    import pyarrow as pa

logger = logging.getLogger(__name__)

ON_ERROR = ("raise", "skip")
_LABELS = re.compile(
    r"(?<![a-z])(annotation|cat|categor|class|entit|intent|label|mention|ner|sentiment|span|tag)"
    r"(s|es|y|ies)?(?![a-z])"
)
"""In the names of fields in which tools keep labels."""


@dataclass
class Report:
    """Counts of what was read from a file, or written to one.

    In ``with report:``, an `ItemError` raises, or ends the block and is counted.

    Args:
        format: the name of the format.
        on_error: "raise", or "skip" to count what a record, or the file, cannot hold.
        writing: whether a file is written.

    Attributes:
        records: how many texts, tables or records of fields were read, or given to be written.
        positions: how many spans or columns of these, or fields that have a value.
        labels: how often each of their labels.
        skipped: annotation that was left out, by kind; empty with ``on_error="raise"``.
        notes: all else that is worth knowing: the scheme that was detected, fields not kept.
        lossy: whether some of the notes are of something that was left out.
        unread_labels: names of fields that are not kept, though they seem to hold labels.
        memory: what a reader remembers from record to record.

    Raises:
        ValueError: another `on_error`.

    Example:
        >>> report = Report("brat", on_error="skip")
        >>> report.unsupported("relation", "a.ann, line 3", "Records hold no relations.")
        >>> report.count({"columns": [{"labels": ["place"]}]})
        >>> print(report)
        brat: 1 record, 1 position
        labels: place 1
        skipped: relation 1
    """

    format: str
    on_error: str = "raise"
    writing: bool = False
    records: int = 0
    positions: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    lossy: bool = False
    unread_labels: set[str] = field(default_factory=set)
    memory: dict[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.on_error not in ON_ERROR:
            raise ValueError(f"`on_error` must be one of {ON_ERROR}, got {self.on_error!r}.")

    def __enter__(self) -> Report:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        if not isinstance(error, ItemError):
            return False
        self.leave_out(error)
        return True

    def leave_out(self, error: ItemError) -> None:
        """Raise a ValueError for an invalid item, or count it; the caller then leaves it out."""
        if self.on_error == "raise":
            raise ValueError(f"{error} To count these and go on: on_error='skip'.") from error
        self.skipped[error.kind] += 1

    def unsupported(self, kind: str, where: str, message: str) -> None:
        """Raise for what cannot be represented, or count it; the caller then leaves it out.

        Args:
            kind: names it in `skipped`.
            where: file and line.
            message: the rule, what was received, the way out.
        """
        self.leave_out(ItemError(f"{where}: {message}", kind))

    def note(self, what: str, times: int = 1, lost: bool = True) -> None:
        """Count something that is no error; `lost` says whether it is left out."""
        self.notes[what] += times
        self.lossy |= lost

    def not_kept(self, name: str, value: object) -> None:
        """Note a field of an object that is not read, and its value."""
        self.note(f"field {name!r} not kept")
        if value and may_hold_labels(name):
            self.unread_labels.add(name)

    def count(self, record: Mapping[str, Any]) -> None:
        """Count a record, its positions and its labels."""
        self.records += 1
        for position in record[kind_of(record)]:
            if position.get("value", "") is not None:
                self.positions += 1
                self.labels.update(position["labels"] or ())

    def count_texts(self, table: pa.Table) -> None:
        """Count the texts of a table, their spans and labels."""
        import pyarrow.compute as pc

        self.records += len(table)
        spans = pc.list_flatten(table["spans"])
        self.positions += len(spans)
        labels = pc.list_flatten(pc.struct_field(spans, "labels"))
        for one in pc.value_counts(labels).to_pylist():
            self.labels[one["values"]] += one["counts"]

    def log(self, path: str) -> None:
        """Log the counts; as a warning where something was left out."""
        level = logging.WARNING if self.skipped or self.lossy else logging.INFO
        logger.log(level, "%s: %s", path, self)

    def __str__(self) -> str:
        lines = [
            f"{self.format}: {self.records} record{'s' * (self.records != 1)}, "
            f"{self.positions} position{'s' * (self.positions != 1)}"
            f"{' given' if self.writing else ''}"
        ]
        for name in ("labels", "skipped", "notes"):
            if counts := getattr(self, name).most_common():
                lines.append(f"{name}: " + ", ".join(f"{what} {times}" for what, times in counts))
        return "\n".join(lines)


def may_hold_labels(name: str) -> bool:
    """Return True for a field that, by its name, may hold labels."""
    return _LABELS.search(name.lower()) is not None
