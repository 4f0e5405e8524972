"""A format: a value whose fields are its options, and how its files are known, read and written."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from ..records.record import Record
from .read_report import Report

if TYPE_CHECKING:
    import pyarrow as pa

Own = TypeVar("Own", bound="Format")


def option(default: Any = None, only: str = "") -> Any:
    """Declare a field as an option of reading and of writing, or `only` "read" or "write"."""
    verbs = (only,) if only else ("read", "write")
    return field(default=default, metadata={"verbs": verbs})


@dataclass(frozen=True)
class Format:
    """One format; its options, if it has any, are fields of the subclass.

    Attributes:
        name: as `format` of `read_records` and `write_records` calls it.
        suffixes: of file names that say which format to write, without ``.gz``.
        writes: whether it can be written.
        holds_scores: whether it holds the scores of labels.
    """

    name: ClassVar[str] = ""
    suffixes: ClassVar[tuple[str, ...]] = ()
    writes: ClassVar[bool] = False
    holds_scores: ClassVar[bool] = False

    def detect_object(self, item: dict[str, Any]) -> bool:
        """Return True if an object of a JSON file is of this format."""
        return False

    def detect_lines(self, lines: list[str]) -> bool:
        """Return True if the first lines of a text file are of this format."""
        return False

    def detect_path(self, path: Path) -> bool:
        """Return True if a path is of this format by its name, or by what lies beside it."""
        return False

    def read(self, path: Any, report: Report) -> Iterator[Record | pa.Table]:
        """Yield records, or tables of texts with spans; count in `report` what they do not hold."""
        raise NotImplementedError

    def write(self, records: Iterable[Record], path: Path, report: Report) -> None:
        """Write checked records; count in `report` what the format does not hold."""
        raise NotImplementedError

    def options(self, verb: str) -> dict[str, str]:
        """Return the options of "read" or "write": their types by name."""
        return {f.name: str(f.type) for f in fields(self) if verb in f.metadata.get("verbs", ())}

    def with_options(self: Own, verb: str, values: dict[str, Any]) -> Own:
        """Return this format with other options; None leaves one as it is.

        Raises:
            ValueError: an option that the format does not have.
        """
        chosen = {name: value for name, value in values.items() if value is not None}
        own = sorted(self.options(verb))
        if unknown := sorted(chosen.keys() - set(own)):
            close = [near for name in unknown for near in get_close_matches(name, own, 1)]
            raise ValueError(
                f"format={self.name!r} must be used with its own options, {own}, got {unknown}."
                + f" Did you mean {' and '.join(close)}?" * bool(close)
            )
        return replace(self, **chosen)


def check_choice(name: str, value: object, choices: tuple[object, ...]) -> None:
    """Raise a ValueError unless the value of an option is one of the choices."""
    if value not in choices:
        raise ValueError(f"`{name}` must be one of {choices}, got {value!r}.")


def need(module: str, format: str, extra: str = "integrations") -> None:
    """Import a module of an extra.

    Raises:
        ModuleNotFoundError: with the command that installs it.
    """
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"format={format!r} needs {module}, and the import failed: {error}. Run `pip install "
            f'{module}`, or install this package as "irti_custom[{extra}]".',
            name=error.name,
        ) from error
