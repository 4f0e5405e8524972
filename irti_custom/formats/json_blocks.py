r"""Texts with spans from blocks of JSON lines, by Arrow's parser where it certainly reads the same.

b'{"text": "Ann", "spans": []}\n...'  ->  a table, or None: then `json_lines` reads line by line

Arrow refuses what `json_lines` refuses: names that are there twice, other types than those of the
schema, text that is no Unicode. What it lets pass is looked for here; nothing is repaired.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from . import files
from .read_report import Report, may_hold_labels
from .record_streams import texts_schema

if TYPE_CHECKING:
    import pyarrow as pa

_FIRST = 100
"""The number of lines that show the fields of a file."""
_TEXT = ("text", "spans")
_NO_JSON = re.compile(rb"-NaN|Inf[\s,\]}]")  # a number to Arrow
_NULL_LABELS = re.compile(rb'"labels"\s*:\s*null')


def schema_of(content: bytes) -> pa.Schema | None:
    r"""Return the schema of the lines that begin a file; None if they are no texts with spans."""
    import pyarrow as pa

    try:
        items = [json.loads(line) for line in content.split(b"\n", _FIRST)[:_FIRST] if line.strip()]
    except (RecursionError, ValueError):
        return None
    if not all(isinstance(item, dict) for item in items):
        return None
    own = texts_schema(scores=True)
    values: dict[str, list[Any]] = {"text": [], "spans": []}
    for item in items:
        for name, value in item.items():
            values.setdefault(name, []).append(value)
    if values.keys() & {"columns", "fields", "words"} or not all(map(_is_shallow, items)):
        return None
    if any(map(may_hold_labels, values.keys() - set(_TEXT))):  # which are looked at one by one
        return None
    try:
        types = {name: pa.infer_type(some) for name, some in values.items() if name not in _TEXT}
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return None
    return pa.schema([own.field("text"), own.field("spans"), *types.items()])


def _is_shallow(value: object, levels: int = 6) -> bool:
    """Return True for a value whose schema is not too deep for Arrow."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels > 0 and all(_is_shallow(one, levels - 1) for one in inner)


def read_block(content: bytes, schema: pa.Schema, first: int, report: Report) -> pa.Table | None:
    r"""Read a block of whole lines; None if it is not certain what they are.

    Args:
        content: the block.
        schema: of the lines that began the file.
        first: the number of the first line, which is its id if it has none.
        report: counts fields that are not kept.
    """
    import pyarrow as pa
    import pyarrow.json as pj

    content = content.replace(b"\r\n", b"\n")
    content = content if content.endswith(b"\n") else content + b"\n"
    lines = content.count(b"\n")
    each_line_is_an_object = (
        content.startswith(b"{")
        and content.count(b"\n{") == lines - 1
        and content.count(b"}\n") == lines
    )
    if not each_line_is_an_object or len(content) > files.MAX_LINE_BYTES:
        return None
    if (b"Inf" in content or b"-NaN" in content) and _NO_JSON.search(content):
        return None
    try:
        table = pj.read_json(
            pa.BufferReader(content),
            pj.ReadOptions(use_threads=False, block_size=len(content) + 1),
            pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior="error"),
        ).combine_chunks()
        table.validate(full=True)
    except pa.ArrowInvalid:
        return None
    others = [name for name in schema.names if name not in _TEXT]
    nullable = len(table) != lines or any(table[name].null_count for name in _TEXT)
    if nullable or (b"null" in content and any(table[name].null_count for name in others)):
        return None  # null is another thing than a field that is not there
    if "id" not in others:
        ids = pa.array(range(first, first + lines), pa.int64())
    elif table["id"].null_count or table["id"].type not in (pa.string(), pa.int64()):
        return None
    else:
        ids = table["id"]
    nested = any(pa.types.is_nested(table[name].type) for name in others)
    nulls = 0 if nested or b"null" not in content else len(_NULL_LABELS.findall(content))
    spans = _checked(table["text"].chunk(0), table["spans"].chunk(0), nulls)
    if spans is None:
        return None
    for name in others:
        if name != "id" and table[name].null_count < lines:
            report.note(f"field {name!r} not kept", lines - table[name].null_count)
    return pa.table({"id": ids.cast(pa.string()), "text": table["text"], "spans": spans})


def _checked(text: pa.Array, spans: pa.ListArray, nulls: int) -> pa.ListArray | None:
    """Return spans, without scores if there are none; None if one breaks a rule of records.

    Args:
        text: that of each record.
        spans: those of each record.
        nulls: how many labels are null in the file, as far as that is known.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    start, end, labels, scores = spans.values.flatten()
    length = pc.utf8_length(text).take(pc.list_parent_indices(spans))
    in_range = pc.and_(
        pc.and_(pc.less_equal(0, start), pc.less(start, end)), pc.less_equal(end, length)
    )
    names = labels.flatten()
    scored = pc.equal(pc.list_value_length(labels), pc.list_value_length(scores))
    if (
        any(one.null_count for one in (spans.values, start, end, names))
        or not pc.all(in_range, min_count=0).as_py()
        or pc.any(pc.equal(names, "")).as_py()
        or labels.null_count != nulls
        or scored.null_count != scores.null_count
        or not pc.all(scored, min_count=0).as_py()
    ):
        return None
    if scores.null_count < len(scores):
        return spans
    bare = pa.StructArray.from_arrays([start, end, labels], ["start", "end", "labels"])
    return pa.ListArray.from_arrays(spans.offsets, bare)
