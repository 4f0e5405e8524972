"""spaCy's DocBin: `doc.ents`, or a group of spans, of many documents in one file.

    record  <->  Doc, spans in doc.ents, or in doc.spans["sc"] with attrs {"scores": [...]}

Needs spaCy. The words of a document that is written are cut so that each span is whole words; its
text stays as it is, and its id is in `user_data`.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..records.record import Record, check_scores
from .atomic import writing
from .files import Item, bare_suffix, read_bytes
from .format import need, option
from .json_spans import Annotation, JsonSpans, labels_to_write
from .read_report import Report
from .record_streams import Spool, texts

if TYPE_CHECKING:
    from spacy.tokens import Doc

ENTS = "ents"
GROUP = "sc"
"""The group that spaCy's own components write to unless told otherwise."""
_SEGMENT = re.compile(r"\w+|[^\w\s]|\s+")


@dataclass(frozen=True)
class Spacy(JsonSpans):
    """Documents.

    Args:
        spans_key: "ents" for `doc.ents`, else the name of a group. To read, by default the only one
            of these that holds spans; to write, "ents" if no spans overlap, each has one label and
            none has scores, else "sc".
    """

    name = "spacy"
    suffixes = (".spacy",)
    writes = True
    holds_scores = True
    score = "score"
    needs_label = False

    spans_key: str | None = option()

    def detect_path(self, path: Path) -> bool:
        """Return True for the name of a DocBin."""
        return bare_suffix(path) == ".spacy"

    def items(self, path: Path) -> Iterator[Item]:
        """Yield documents, each with the name of their spans."""
        need("spacy", self.name)
        from spacy.tokens import DocBin
        from spacy.vocab import Vocab

        try:
            docs = DocBin().from_bytes(read_bytes(path))
        except (ValueError, TypeError, KeyError, IndexError, zlib.error) as error:
            raise ValueError(
                f"{path} must be a DocBin of spaCy, which it is not: {error}. Was it written whole?"
            ) from error
        vocab = Vocab()
        keys = set() if self.spans_key is None else {self.spans_key}
        for doc in docs.get_docs(vocab) if not keys else ():
            keys |= {ENTS} if doc.ents else set()
            keys |= {name for name, group in doc.spans.items() if len(group)}
        if len(keys) > 1:
            raise ValueError(
                f"{path} must have spans in one place, got {sorted(keys)}. `spans_key` chooses one."
            )
        key = keys.pop() if keys else ENTS
        for number, doc in enumerate(docs.get_docs(vocab)):
            yield Item(f"{path}, document {number}", {"doc": doc, "key": key})

    def prepare(self, item: dict[str, Any], where: str, report: Report) -> dict[str, Any]:
        """Take the spans out of a document."""
        doc, key = item["doc"], item["key"]
        if doc.cats:
            report.unsupported(
                "category of a whole text",
                where,
                f"A record holds labels of spans and no categories, got {doc.cats}.",
            )
        for field in set(doc.user_data) - {"id"}:
            report.note(f"user data {field!r} not kept")
        group: Any = doc.ents if key == ENTS else doc.spans.get(key, ())
        scores: list[Any] = [None] * len(group)
        if key != ENTS and len(group) and group.attrs.get("scores") is not None:
            given = [None if score is None else float(score) for score in group.attrs["scores"]]
            scores = check_scores(given, ["span"] * len(group), where)
        spans = []
        for one, score in zip(group, scores):
            if one.kb_id_ or one.id_:
                report.note("id of a span, or of its entry in a knowledge base, not kept")
            ends = {"start": one.start_char, "end": one.end_char}
            spans.append({**ends, "label": one.label_ or None, "score": score})
        return {"id": doc.user_data.get("id"), "text": doc.text, "spans": spans}

    def write(self, records: Iterable[Record], path: Path, report: Report) -> None:
        """Write a document per record; see `Format`."""
        need("spacy", self.name)
        from spacy.tokens import Doc, DocBin
        from spacy.vocab import Vocab

        spooled = Spool(texts(records, report))
        key = self.spans_key or (ENTS if all(map(_fits_ents, spooled)) else GROUP)
        report.note(f"document with its spans in {key!r}", len(spooled), lost=False)
        docs, vocab = DocBin(store_user_data=True), Vocab()
        for where, record in spooled:
            words, spaces = _words(record)
            doc = Doc(vocab, words=words, spaces=spaces, user_data={"id": record["id"]})
            _set_spans(doc, key, _entries(record, where, report), where, report)
            docs.add(doc)
        with writing(path) as file:
            file.write(docs.to_bytes())


def _set_spans(doc: Doc, key: str, entries: list[Annotation], where: str, report: Report) -> None:
    from spacy.tokens import SpanGroup

    entries = _without_overlap(entries, where, report) if key == ENTS else entries
    spans = [doc.char_span(start, end, label=label or "") for start, end, label, _ in entries]
    if key == ENTS:
        doc.set_ents(spans)
        return
    scores = [score for *_, score in entries]
    attrs = {"scores": scores} if any(score is not None for score in scores) else {}
    doc.spans[key] = SpanGroup(doc, name=key, attrs=attrs, spans=spans)


def _fits_ents(located: tuple[str, Record]) -> bool:
    end_before = 0
    for span in sorted(located[1]["spans"], key=lambda span: (span["start"], span["end"])):
        if span["start"] < end_before or len(span["labels"] or []) != 1 or span.get("scores"):
            return False
        end_before = span["end"]
    return True


def _entries(record: Record, where: str, report: Report) -> list[Annotation]:
    entries: list[Annotation] = []
    for span in record["spans"]:
        labels = labels_to_write(span, where, report, needs_one=False)
        if labels is not None:
            scores = span.get("scores") or [None] * len(labels)
            pairs: list[tuple[Any, Any]] = list(zip(labels, scores)) or [(None, None)]
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
        message = (
            f"Spans in doc.ents must {rule}, got {entry}. spans_key={GROUP!r} holds all spans."
        )
        report.unsupported(kind, where, message)
    return kept


def _words(record: Record) -> tuple[list[str], list[bool]]:
    """Cut a text into words; return them, and for each whether a single space follows."""
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
