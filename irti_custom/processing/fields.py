"""Write a record of fields as one text, in which each value is a position.

    {"email": "a@b.de", "fax": None, "city": "Rome"}  ->  email: a@b.de | city: Rome

A missing value is no position, and stays in its place among the answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Union, cast

from ..records.sequences import as_list, is_frame, is_missing
from .spans import CharSpan, TokenSpan

if TYPE_CHECKING:
    import pandas as pd

RecordInput = Union[Mapping[str, object], Sequence[Mapping[str, object]], "pd.Series"]
"""A record as users give it, see `read_fields`."""

_BETWEEN = " | "
_KEYS = {"name", "value"}


class Fields(NamedTuple):
    """A record: a name, or None, and a value, or None where it is missing, per field."""

    names: list[str | None]
    values: list[str | None]

    @property
    def present(self) -> list[int]:
        """The fields that have a value."""
        return [index for index, value in enumerate(self.values) if value is not None]

    def write(self, with_names: bool) -> tuple[str, list[CharSpan]]:
        """Write the record as a text; return it with the characters of each value there is.

        Example:
            >>> Fields(["city", "fax", None], ["Rome", None, "7"]).write(with_names=True)
            ('city: Rome | 7', [(6, 10), (13, 14)])
        """
        text, spans = "", []
        for index in self.present:
            name, value = self.names[index], cast("str", self.values[index])
            text += _BETWEEN if text else ""
            text += f"{name}: " if with_names and name else ""
            spans.append((len(text), len(text) + len(value)))
            text += value
        return text, spans


def read_fields(record: RecordInput, name: str) -> Fields:
    """Read a record.

    Args:
        record: a dict of values by field name, a row of a DataFrame, or a list of dicts of
            ``value`` and an optional ``name``, where names may repeat. Values are written as `str`
            does, without white space at their ends. None, NaN and the like, and texts of white
            space only, are missing values.
        name: of the record in errors.

    Raises:
        ValueError: anything else.

    Example:
        >>> read_fields([{"name": "city", "value": "Rome"}, {"value": 7}], "record 0")
        Fields(names=['city', None], values=['Rome', '7'])
    """
    given, pairs = cast("Any", record), []
    if isinstance(record, Mapping):
        pairs = list(record.items())
    elif hasattr(record, "iloc") and not is_frame(record):  # a row of a DataFrame
        pairs = list(zip(given.index, as_list(f"The fields of {name}", given)))
    else:
        for index, field in enumerate(as_list(f"The fields of {name}", record)):
            if not isinstance(field, Mapping) or "value" not in field or field.keys() - _KEYS:
                raise ValueError(
                    f'Field {index} of {name} must be a dict of "value" and, if it has one, '
                    f'"name", got {field!r:.80}. A dict of values by field name is a record, too.'
                )
            pairs.append((field.get("name"), field["value"]))
    names = [None if is_missing(key) else str(key) or None for key, _ in pairs]
    return Fields(names, [_as_value(value, index, name) for index, (_, value) in enumerate(pairs)])


def records_of(records: Any) -> list[Any]:
    """List records; the rows of a DataFrame are records with the names of its columns.

    Example:
        >>> records_of([{"city": "Rome"}])
        [{'city': 'Rome'}]
    """
    return frame_records(records) if is_frame(records) else as_list("`records`", records)


def frame_records(frame: Any) -> list[list[dict[str, Any]]]:
    """List the rows of a DataFrame as records, by place, whatever its index.

    Raises:
        ValueError: it is none.

    Example:
        >>> import pandas as pd
        >>> frame_records(pd.DataFrame({"city": ["Rome"]}))
        [[{'name': 'city', 'value': 'Rome'}]]
    """
    if not is_frame(frame):
        raise ValueError(f"`rows=True` takes a DataFrame, got {type(frame).__name__}.")
    names = list(frame.columns)
    columns = [as_list("A column", frame.iloc[:, index]) for index in range(len(names))]
    return [
        [{"name": name, "value": value} for name, value in zip(names, row)] for row in zip(*columns)
    ]


def labels_by_field(labels: Any, fields: Fields, name: str) -> Any:
    """Put labels by field name in the order of the fields; others stay as they are.

    Raises:
        ValueError: a name that is no field, or is that of several; a label of a missing value.

    Example:
        >>> labels_by_field({"fax": ["phone"]}, Fields(["city", "fax"], ["Rome", "7"]), "record 0")
        [None, ['phone']]
    """
    if isinstance(labels, Mapping):
        unknown = [key for key in labels if fields.names.count(key) != 1]
        if unknown:
            raise ValueError(
                f"`labels` of {name} must be by the name of one field, got {unknown!r:.80} for the "
                f"fields {fields.names!r:.80}. Where names repeat, give a list, one per field."
            )
        labels = [labels.get(key) for key in fields.names]
    listed = None if is_missing(labels) else as_list(f"`labels` of {name}", labels)
    for index, entry in enumerate(listed or ()):
        missing = index < len(fields.values) and fields.values[index] is None
        if missing and not is_missing(entry) and not (hasattr(entry, "__len__") and not len(entry)):
            raise ValueError(
                f"Field {index} of {name} ({fields.names[index]!r}) has no value, and the labels "
                f"{entry!r:.80}, which would be lost. Give None for it."
            )
    return listed


def cut(spans: Iterable[TokenSpan], most: int | None) -> list[TokenSpan]:
    """Let long values be read at their start.

    Args:
        spans: first and last token of each.
        most: tokens that one may have; None for no limit.

    Example:
        >>> cut([(1, 2), (4, 90)], most=8)
        [(1, 2), (4, 11)]
    """
    if most is None:
        return list(spans)
    return [(first, min(last, first + most - 1)) for first, last in spans]


def _as_value(value: object, index: int, name: str) -> str | None:
    if is_missing(value):
        return None
    if isinstance(value, (Mapping, list, tuple, set)):
        raise ValueError(
            f"The value of field {index} of {name} must be a single one, got {value!r:.80}. Write "
            "it as text."
        )
    return str(value).strip() or None
