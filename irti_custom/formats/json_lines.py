"""Our own JSON lines: one record a line, or a JSON array of them.

    {"text": "Ann saw Rome", "spans": [{"start": 8, "end": 12, "labels": ["place"]}], "id": "7"}
    {"columns": [{"header": "city", "values": ["Rome"], "labels": ["place"]}], "id": "7"}
    {"fields": [{"name": "city", "value": "Rome", "labels": ["place"]}], "id": "7"}

`{"fields": {"city": "Rome"}}` is a record whose labels are not known, as the processor takes it;
`words` with spans in words, as the processor takes them, become a text joined by single spaces.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..records.record import ItemError, Record, check_list, check_range, check_record, other_fields
from .files import Block, lines_of, objects_of, read_blocks, read_objects, write_lines
from .format import Format, option
from .json_blocks import read_block, schema_of
from .json_spans import join, read_items
from .read_report import Report

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class JsonLines(Format):
    """Records of any kind.

    Args:
        keep: the names of other fields that each record has, such as "genre", to keep.
    """

    name = "jsonl"
    suffixes = (".jsonl",)
    writes = True
    holds_scores = True

    keep: Sequence[str] = option(())

    def detect_object(self, item: dict[str, Any]) -> bool:
        """Return True if an object is a record."""
        spans = item.get("spans")
        if "_input_hash" in item:  # Prodigy's
            return False
        if ("text" in item or "words" in item) and isinstance(spans, list):
            return all(isinstance(span, dict) and "labels" in span for span in spans)
        if isinstance(item.get("fields"), (dict, list)):
            return not {"responses", "suggestions"} & item.keys()  # Argilla's
        return any(isinstance(item.get(kind), list) for kind in ("columns", "masks"))

    def read(self, path: Path, report: Report) -> Iterator[Record | pa.Table]:
        """Yield records, or tables of texts as far as `json_blocks` is certain of what it reads."""

        def read_item(item: dict[str, Any], where: str, number: int) -> Record:
            words = item.get("words")
            if words is not None and ("text" not in item or isinstance(words, list)):
                item = _from_words(item, where, report)
            with_id = {**item, "id": number if item.get("id") is None else item["id"]}
            record = check_record(with_id, where, report.leave_out)
            record |= other_fields(item, self.keep, where)
            for name in item.keys() - record.keys():
                report.not_kept(name, item[name])
            return record

        blocks, number, schema = read_blocks(path), 0, None
        rest: Iterable[Block] = ()
        for block in blocks if not self.keep else ():
            if block.number == 1:
                schema = schema_of(block.content)
            table = None if schema is None else read_block(block.content, schema, number, report)
            if table is None:
                rest = chain([block], blocks)
                break
            number += len(table)
            yield table
        if number == 0:  # also an array, and an empty file
            items: Iterable[Any] = read_objects(path)
        else:
            items = objects_of(chain.from_iterable(lines_of(one, path) for one in rest), path)
        yield from read_items(items, report, read_item, number)

    def write(self, records: Iterable[Record], path: Path, report: Report) -> None:
        """Write a record a line; see `Format`."""
        write_lines(path, records)


def _from_words(item: dict[str, Any], where: str, report: Report) -> dict[str, Any]:
    words = item["words"]
    if "text" in item or not isinstance(words, list):
        raise ItemError(
            f"{where}: A record must have a `text`, or a list of `words`, got the keys "
            f"{list(item)} and the words {words!r:.80}.",
            "text beside words, or words that are no list",
        )
    if not all(isinstance(word, str) and word for word in words):
        message = f"{where}: `words` must be a list of words, got {words!r:.80}."
        raise ItemError(message, "word that is none")
    text, char_spans = join(words)
    spans = []
    for span in check_list(item.get("spans") or [], where, "spans"):
        ends = (span.get("start"), span.get("end")) if isinstance(span, dict) else (None, None)
        with report:
            start, end = check_range(*ends, words, where)
            first, last = char_spans[start], char_spans[end - 1]
            spans.append({**span, "start": first[0], "end": last[1]})
    rest = {name: value for name, value in item.items() if name != "words"}
    return {**rest, "text": text, "spans": spans}
