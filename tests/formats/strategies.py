"""Records of every kind for property tests, and the round trip through a file."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from irti_custom.formats.read_write import read_records, write_records

fast = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
# Letters, a line end, what JSON and XML escape, and characters beyond the basic plane.
TEXT = st.text(
    st.sampled_from('ab Ä\n\t\r"\\<&.,#-_/0\u2028\u00a0👍𐍈\ufeff'), min_size=1, max_size=30
)
NAMES = st.text(st.sampled_from("abÄ-_.👍"), min_size=1, max_size=5)
WORD = st.text(st.sampled_from('abÄ.,#-_/0"👍\ufeff'), min_size=1, max_size=6)


@st.composite
def texts(
    draw: Any, text: Any = TEXT, names: Any = NAMES, least_labels: int = 0, most_labels: int = 3
) -> dict[str, Any]:
    """A text with spans of any place; those of the same characters are one span."""
    content = draw(text)
    end = st.integers(0, len(content))
    ends = draw(st.lists(st.tuples(end, end), max_size=4, unique=True))
    labels = st.lists(names, min_size=least_labels, max_size=most_labels, unique=True)
    spans = [
        {"start": start, "end": stop, "labels": draw(labels)}
        for start, stop in ends
        if start < stop
    ]
    return {"text": content, "spans": spans}


@st.composite
def sentences(draw: Any, names: Any = NAMES, word: Any = WORD) -> dict[str, Any]:
    """Words joined by single spaces; spans are words, have one label and do not overlap."""
    words = draw(st.lists(word, min_size=1, max_size=8))
    spans, start, place = [], 0, 0
    while place < len(words):
        size = draw(st.integers(1, 3))
        chunk = words[place : place + size]
        stop = start + len(" ".join(chunk))
        if draw(st.booleans()):
            spans.append({"start": start, "end": stop, "labels": [draw(names)]})
        start, place = stop + 1, place + size
    return {"text": " ".join(words), "spans": spans}


@st.composite
def tables(draw: Any) -> dict[str, Any]:
    """Columns with or without headers and labels, and missing values."""
    column = st.fixed_dictionaries(
        {
            "header": st.none() | NAMES,
            "values": st.lists(st.none() | TEXT, max_size=3),
            "labels": st.none() | st.lists(NAMES, max_size=2),
        }
    )
    return {"columns": draw(st.lists(column, max_size=3))}


@st.composite
def fields(draw: Any, names: Any, value: Any = TEXT, label: Any = NAMES) -> dict[str, Any]:
    """A record of the fields with these names; a missing value has no labels."""
    drawn = []
    for name in names:
        given = draw(st.none() | value.filter(str.strip))
        labels = draw(st.none() | st.lists(label, max_size=2)) if given else None
        drawn.append({"name": name, "value": given, "labels": labels})
    return {"fields": drawn}


def numbered(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"id": str(index), **record} for index, record in enumerate(records)]


def round_trip(records: list[dict[str, Any]], path: Any, format: str, **options: Any) -> list[Any]:
    """Write records, read them; `read` and `write` in the options are those of one of the two."""
    write_records(records, path, format, **options.get("write", {}))
    return read_records(path, format, **options.get("read", {})).to_list()


def position_labels(records: Any) -> list[Any]:
    """What a span says, as tuples: its text and labels."""
    return [
        (record["text"][span["start"] : span["end"]], span["labels"])
        for record in records
        for span in record["spans"]
    ]
