"""spaCy's DocBin: `doc.ents`, or a group of spans, of many documents in one file.

    record  <->  Doc, spans in doc.ents, or in doc.spans["sc"] with attrs {"scores": [...]}

Needs spaCy. The words of a document that is written are cut so that each span is whole words; its
text stays as it is, and its id is in `user_data`.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..records.record import ItemError, Record, check_id, check_scores
from .annotations import Annotation, check_annotation, read_spans
from .atomic import writing
from .extras import need
from .files import bare_suffix, read_bytes
from .record_streams import texts
from .report import Report

if TYPE_CHECKING:
    from spacy.tokens import Doc, DocBin

ENTS = "ents"
GROUP = "sc"
"""The group that spaCy's own components write to unless told otherwise."""
_SEGMENT = re.compile(r"\w+|[^\w\s]|\s+")


def read(path: Path, report: Report, spans_key: str | None = None) -> Iterator[Record]:
    """Read documents.

    Args:
        path: the file.
        report: counts what records do not hold.
        spans_key: "ents" for `doc.ents`, else the name of a group; by default the only one of
            these that holds spans.
    """
    need("spacy", report.format)
    from spacy.tokens import DocBin
    from spacy.vocab import Vocab

    try:
        docs = DocBin().from_bytes(read_bytes(path))
    except (ValueError, TypeError, KeyError, IndexError, zlib.error) as error:
        raise ValueError(
            f"{path} must be a DocBin of spaCy, which it is not: {error}. Was it written whole?"
        ) from error
    vocab = Vocab()
    key = spans_key or _key(docs, vocab, path)
    for number, doc in enumerate(docs.get_docs(vocab)):
        where = f"{path}, document {number}"
        if doc.cats:
            report.misfit(
                "category of a whole text",
                where,
                f"A record holds labels of spans and no categories, got {doc.cats}.",
            )
        user_data = dict(doc.user_data)
        try:
            name = check_id(user_data.pop("id", number), where)
            entries = list(_spans(doc, key, where, report))
        except ItemError as error:
            report.leave_out(error)
            continue
        for field in user_data:
            report.note(f"user data {field!r} not kept")
        yield {
            "id": name,
            "text": doc.text,
            "spans": read_spans(entries, partial(_annotation, doc.text, where), report),
        }


def write(
    records: Iterable[Record], path: Path, report: Report, spans_key: str | None = None
) -> None:
    """Write documents.

    Args:
        records: texts with spans.
        path: the file.
        report: counts what documents do not hold.
        spans_key: "ents" or the name of a group; by default "ents" if no spans overlap, each has
            one label and none has scores, else "sc".
    """
    need("spacy", report.format)
    from spacy.tokens import Doc, DocBin, SpanGroup
    from spacy.vocab import Vocab

    listed = list(texts(records, report))
    key = spans_key or (ENTS if all(_fits_ents(record) for _, record in listed) else GROUP)
    report.note(f"document with its spans in {key!r}", len(listed), lost=False)
    docs, vocab = DocBin(store_user_data=True), Vocab()
    for where, record in listed:
        words, spaces = _words(record)
        doc = Doc(vocab, words=words, spaces=spaces, user_data={"id": record["id"]})
        entries = _entries(record, where, report)
        if key == ENTS:
            entries = _without_overlap(entries, where, report)
        spans = [doc.char_span(start, end, label=label or "") for start, end, label, _ in entries]
        if key == ENTS:
            doc.set_ents(spans)
        else:
            scores = [score for *_, score in entries]
            scored = any(score is not None for score in scores)
            attrs = {"scores": scores} if scored else {}
            doc.spans[key] = SpanGroup(doc, name=key, attrs=attrs, spans=spans)
        docs.add(doc)
    with writing(path) as file:
        file.write(docs.to_bytes())


def detect_path(path: Path) -> bool:
    """Return True for the name of a DocBin."""
    return bare_suffix(path) == ".spacy"


def _key(docs: DocBin, vocab: Any, path: Path) -> str:
    keys = set()
    for doc in docs.get_docs(vocab):
        keys |= {ENTS} if doc.ents else set()
        keys |= {name for name, group in doc.spans.items() if len(group)}
    if len(keys) > 1:
        raise ValueError(
            f"{path} must have spans in one place, got {sorted(keys)}. `spans_key` chooses one."
        )
    return keys.pop() if keys else ENTS


def _annotation(text: str, where: str, entry: Annotation) -> Annotation:
    start, end, label, score = entry
    return (*check_annotation(start, end, label, text, where)[:3], score)


def _spans(doc: Doc, key: str, where: str, report: Report) -> Iterator[Annotation]:
    spans = list(doc.ents) if key == ENTS else list(doc.spans[key]) if key in doc.spans else []
    scores: list[float | None] = [None] * len(spans)
    if key != ENTS and spans and doc.spans[key].attrs.get("scores") is not None:
        given = [None if s is None else float(s) for s in doc.spans[key].attrs["scores"]]
        scores = check_scores(given, ["span"] * len(spans), where)
    for span, score in zip(spans, scores):
        if span.kb_id_ or span.id_:
            report.note("id of a span, or of its entry in a knowledge base, not kept")
        yield span.start_char, span.end_char, span.label_ or None, score


def _fits_ents(record: Record) -> bool:
    end_before = 0
    for span in sorted(record["spans"], key=lambda span: (span["start"], span["end"])):
        if span["start"] < end_before or len(span["labels"] or []) != 1 or span.get("scores"):
            return False
        end_before = span["end"]
    return True


def _entries(record: Record, where: str, report: Report) -> list[Annotation]:
    entries: list[Annotation] = []
    for span in record["spans"]:
        labels = span["labels"]
        if labels is None:
            report.misfit(
                "span without known labels",
                where,
                f"The labels of a span must be known, got {span}.",
            )
            continue
        scores = span.get("scores") or [None] * len(labels)
        pairs = list(zip(labels, scores)) or [(None, None)]
        entries += [(span["start"], span["end"], *pair) for pair in pairs]
    return entries


def _without_overlap(entries: list[Annotation], where: str, report: Report) -> list[Annotation]:
    kept: list[Annotation] = []
    for entry in sorted(entries, key=lambda entry: entry[:2]):
        start, _, label, score = entry
        if score is not None:
            report.note("score not kept")
        if label is None:
            kind, rule = "span without a label", "have a label"
        elif kept and start < kept[-1][1]:
            kind, rule = "span that overlaps", "not overlap"
        else:
            kept.append(entry)
            continue
        report.misfit(
            kind,
            where,
            f"Spans in doc.ents must {rule}, got {entry}. spans_key={GROUP!r} holds all spans.",
        )
    return kept


def _words(record: Record) -> tuple[list[str], list[bool]]:
    """Cut a text into words, and say which of them a single space follows."""
    text = record["text"]
    starts = {span["start"] for span in record["spans"]}
    ends = {span["end"] for span in record["spans"]}
    words: list[str] = []
    spaces: list[bool] = []
    for match in _SEGMENT.finditer(text):
        first, last = match.span()
        cuts = sorted(cut for cut in starts | ends if first < cut < last)
        for start, end in zip([first, *cuts], [*cuts, last]):
            lone = text[start:end] == " " and bool(words) and not spaces[-1]
            if lone and start not in starts and end not in ends:
                spaces[-1] = True
            else:
                words.append(text[start:end])
                spaces.append(False)
    return words, spaces
