"""Prodigy's JSON lines, as `prodigy db-out` writes them for its interfaces of spans.

    {"text": "Ann sings", "spans": [{"start": 0, "end": 3, "label": "x"}], "answer": "accept"}

Texts that were not accepted are left out and counted. `token_end` is the last token of a span.
After https://prodi.gy/docs/api-interfaces.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ..records.record import ItemError, Record, check_id, check_list, check_string, check_surfaces
from .annotations import Annotation, check_annotation, note_others, read_items, read_spans
from .atomic import writing
from .files import as_line
from .record_streams import texts
from .report import Report

_HASHES = ("_input_hash", "_task_hash")
_ANSWERS = ("accept", "reject", "ignore")
_READ = ("text", "spans", "tokens", "answer", "relations", "accept", "meta")


def read(path: Path, report: Report) -> Iterator[Record]:
    """Read texts."""

    def read_item(item: dict[str, Any], where: str, number: int) -> Record | None:
        text = check_string(item.get("text"), where, "text")
        if item.get("answer", "accept") != "accept":
            report.note(f"text with the answer {item['answer']!r}, left out")
            return None
        for name, kind in (("relations", "relation"), ("accept", "choice of a whole text")):
            for entry in check_list(item.get(name) or [], where, name):
                report.misfit(
                    kind, where, f"A record holds spans and no {kind}, got {entry!r:.80}."
                )
        meta = item.get("meta") if isinstance(item.get("meta"), dict) else {}
        note_others(item, [*_READ, *(name for name in item if name.startswith("_"))], report)
        if set(meta or ()) - {"id"}:
            report.note("field 'meta' not kept")
        tokens = check_list(item.get("tokens") or [], where, "tokens")
        entries = check_list(item.get("spans") or [], where, "spans")
        spans = read_spans(entries, lambda entry: _span(entry, text, tokens, where), report)
        record_id = check_id((meta or {}).get("id"), where, number)
        return {"id": record_id, "text": text, "spans": spans}

    return read_items(path, report, read_item)


def write(records: Iterable[Record], path: Path, report: Report) -> None:
    """Write texts to annotate; a span has an entry per label, and `meta` the id."""
    with writing(path) as file:
        for where, record in texts(records, report):
            entries = []
            for span in record["spans"]:
                ends = {"start": span["start"], "end": span["end"]}
                if span["labels"] is None:
                    report.misfit(
                        "span without known labels",
                        where,
                        f"The labels of a span must be known, got {span}.",
                    )
                elif span["labels"]:
                    entries += [{**ends, "label": label} for label in span["labels"]]
                else:
                    entries.append(ends)
            meta = {"id": record["id"]}
            file.write(as_line({"text": record["text"], "spans": entries, "meta": meta}))


def detect(item: dict[str, Any]) -> bool:
    """Return True for a text of Prodigy's."""
    marked = any(name in item for name in _HASHES) or item.get("answer") in _ANSWERS
    spans, tokens = item.get("spans", [] if marked else None), item.get("tokens")
    if "text" not in item or not isinstance(spans, list):
        return False
    if tokens is not None and not (
        isinstance(tokens, list) and all(isinstance(one, dict) and "start" in one for one in tokens)
    ):
        return False  # words, which offsets may count
    labelled = all(isinstance(one, dict) and "label" in one for one in spans)
    return labelled and (bool(spans) or marked or "meta" in item or tokens is not None)


def _span(entry: Any, text: str, tokens: list[Any], where: str) -> Annotation:
    if not isinstance(entry, dict):
        raise ItemError(
            f"{where}: A span must be an object, got {entry!r:.80}.", "span that is no object"
        )
    ends = entry.get("start"), entry.get("end")
    annotation = check_annotation(*ends, entry.get("label"), text, where)
    check_surfaces(entry, text, annotation[:2], where)
    if tokens and {"token_start", "token_end"} <= entry.keys():
        try:
            of_tokens = (tokens[entry["token_start"]]["start"], tokens[entry["token_end"]]["end"])
        except (LookupError, TypeError) as error:
            raise ItemError(
                f"{where}: A span must be of tokens, got {entry!r:.120}.", "span of no tokens"
            ) from error
        if of_tokens != ends:
            raise ItemError(
                f"{where}: The tokens of a span must be at {ends[0]} to {ends[1]}, as it is, "
                f"got {of_tokens}.",
                "span that is not its tokens",
            )
    return annotation
