"""The JSON of annotation tools and data sets that needs little more than names of fields."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from xml.etree import ElementTree

from ..records.record import ItemError, Record, check_labels, check_list, check_string
from .files import Item, read_bytes
from .format import option
from .json_spans import (
    Annotation,
    JsonSpans,
    as_number,
    join,
    labels_to_write,
    note_others,
)
from .read_report import Report
from .tagged_words import split

_ENTRIES = ("label", "labels", "entities", "annotations")
_ENDS = (("start_offset", "end_offset"), ("start", "end"))


class Doccano(JsonSpans):
    """doccano's JSON of sequence labeling, and what others write in its shapes.

        {"id": 1, "text": "Ann saw Rome", "label": [[8, 12, "place"]]}
        {"id": 1, "text": "Ann", "entities": [{"start_offset": 0, "end_offset": 3, "label": "x"}]}

    The second, with `relations`, is that of projects that have these. Entities with `start` and
    `end`, and spaCy's pairs ``["Ann", {"entities": [[0, 3, "x"]]}]``, are read, too. doccano does
    not write the text of a span, so its offsets cannot be checked against it.
    """

    name = "doccano"
    writes = True
    entries = "_entries"
    not_held: ClassVar = {"relations": "relation"}
    beside = _ENTRIES

    def detect_object(self, item: dict[str, Any]) -> bool:
        """Return True for a text with entities, but not with labels of the whole text."""
        entries = next((item[key] for key in _ENTRIES if isinstance(item.get(key), list)), None)
        if "text" not in item or entries is None or {"tokens", "words"} & item.keys():
            return False  # beside words, offsets may count these
        return all(
            (isinstance(one, list) and len(one) == 3)
            or (isinstance(one, dict) and any({*ends, "label"} <= one.keys() for ends in _ENDS))
            for one in entries
        )

    def prepare(self, item: dict[str, Any], where: str, report: Report) -> dict[str, Any]:
        """Find the list of entities."""
        present = [key for key in _ENTRIES if key in item]
        if len(present) != 1:
            raise ItemError(
                f"{where}: A text must have one of {_ENTRIES}, got the keys {list(item)}.",
                "text without one list of entities",
            )
        return {**item, "_entries": check_list(item[present[0]], where, present[0])}

    def read_entry(
        self, entry: Any, item: dict[str, Any], where: str, report: Report
    ) -> list[Annotation]:
        """Read ``[start, end, label]``, or an object with either name of the ends."""
        if isinstance(entry, list) and len(entry) == 3:
            entry = dict(zip(self.keys, entry))
        elif isinstance(entry, dict) and "start_offset" in entry:
            ends = {"start": entry["start_offset"], "end": entry.get("end_offset")}
            entry = {**entry, **ends}
        return super().read_entry(entry, item, where, report)

    def item(self, record: Record, where: str, report: Report) -> dict[str, Any]:
        """Write an entry per label."""
        entries = [
            [span["start"], span["end"], label]
            for span in record["spans"]
            for label in labels_to_write(span, where, report) or ()
        ]
        return {"id": record["id"], "text": record["text"], "label": entries}


class Prodigy(JsonSpans):
    """Prodigy's JSON lines, as `prodigy db-out` writes them for its interfaces of spans.

        {"text": "Ann", "spans": [{"start": 0, "end": 3, "label": "x"}], "answer": "accept"}

    Texts that were not accepted are left out and counted. `token_end` is the last token of a span;
    the id is in `meta`. After https://prodi.gy/docs/api-interfaces.
    """

    name = "prodigy"
    writes = True
    ids = "_id"
    needs_label = False
    not_held: ClassVar = {"relations": "relation", "accept": "choice of a whole text"}
    beside = ("tokens", "answer", "meta")

    def detect_object(self, item: dict[str, Any]) -> bool:
        """Return True for a text with spans of one label, or with another mark of Prodigy's."""
        hashed = "_input_hash" in item or "_task_hash" in item
        marked = hashed or item.get("answer") in ("accept", "reject", "ignore")
        spans, tokens = item.get("spans", [] if marked else None), item.get("tokens")
        if "text" not in item or not isinstance(spans, list):
            return False
        if tokens is not None and not (
            isinstance(tokens, list)
            and all(isinstance(one, dict) and "start" in one for one in tokens)
        ):
            return False  # words, which offsets may count
        labelled = all(isinstance(one, dict) and "label" in one for one in spans)
        return labelled and (bool(spans) or marked or "meta" in item or tokens is not None)

    def prepare(self, item: dict[str, Any], where: str, report: Report) -> dict[str, Any] | None:
        """Leave out a text that was not accepted; find the id."""
        check_string(item.get("text"), where, "text")
        if item.get("answer", "accept") != "accept":
            report.note(f"text with the answer {item['answer']!r}, left out")
            return None
        meta = item["meta"] if isinstance(item.get("meta"), dict) else {}
        if meta.keys() - {"id"}:
            report.note("field 'meta' not kept")
        lists = {
            name: check_list(item.get(name) or [], where, name) for name in ("tokens", "spans")
        }
        own = {name: value for name, value in item.items() if not name.startswith("_")}
        return {**own, **lists, "_id": meta.get("id")}

    def read_entry(
        self, entry: Any, item: dict[str, Any], where: str, report: Report
    ) -> list[Annotation]:
        """Read a span, and compare its ends with those of its tokens."""
        annotations, tokens = super().read_entry(entry, item, where, report), item["tokens"]
        if not tokens or not {"token_start", "token_end"} <= entry.keys():
            return annotations
        try:
            ends = (tokens[entry["token_start"]]["start"], tokens[entry["token_end"]]["end"])
        except (LookupError, TypeError) as error:
            raise ItemError(
                f"{where}: A span must be of tokens, got {entry!r:.120}.", "span of no tokens"
            ) from error
        if ends != (entry["start"], entry["end"]):
            raise ItemError(
                f"{where}: The tokens of a span must be at {entry['start']} to {entry['end']}, as "
                f"it is, got {ends}.",
                "span that is not its tokens",
            )
        return annotations

    def item(self, record: Record, where: str, report: Report) -> dict[str, Any]:
        """Write a span per label, or one without, and the id into `meta`."""
        entries = []
        for span in record["spans"]:
            ends = {"start": span["start"], "end": span["end"]}
            labels = labels_to_write(span, where, report, needs_one=False)
            if labels is not None:
                entries += [{**ends, "label": label} for label in labels] or [ends]
        return {"text": record["text"], "spans": entries, "meta": {"id": record["id"]}}


@dataclass(frozen=True)
class Gliner(JsonSpans):
    """GLiNER's training data: words, and entities by their first and last word, inclusive.

        {"tokenized_text": ["Ann", "saw", "New", "York"], "ner": [[2, 3, "place"]]}

    A JSON array, or one object a line. After https://urchade.github.io/GLiNER/training.html.

    Args:
        split_words: "spaces", for texts of words and single spaces; "punctuation" cuts off
            punctuation marks, and cuts where spans begin and end.
    """

    name = "gliner"
    writes = True
    text = "_text"
    entries = "ner"
    not_held: ClassVar = {"relations": "relation"}
    beside = ("tokenized_text", "_char_spans")
    as_array = True

    split_words: str = option("spaces", "write")

    def detect_object(self, item: dict[str, Any]) -> bool:
        """Return True for words with entities."""
        return "tokenized_text" in item and "ner" in item

    def prepare(self, item: dict[str, Any], where: str, report: Report) -> dict[str, Any]:
        """Join the words."""
        words = check_list(item.get("tokenized_text"), where, "tokenized_text")
        if not all(check_string(word, where, "word").strip() for word in words):
            raise ItemError(
                f"{where}: A word must not be empty, got {words!r:.80}.", "word of white space"
            )
        text, char_spans = join(words)
        return {**item, "_text": text, "_char_spans": char_spans}

    def read_entry(
        self, entry: Any, item: dict[str, Any], where: str, report: Report
    ) -> list[Annotation]:
        """Read ``[first, last, label]``."""
        char_spans = item["_char_spans"]
        if isinstance(entry, list) and list(map(type, entry)) == [int, int, str]:
            first, last, label = entry
            if 0 <= first <= last < len(char_spans):
                check_labels({"labels": label}, where)
                return [(char_spans[first][0], char_spans[last][1], label, None)]
        raise ItemError(
            f"{where}: An entity must be [first, last, label], of {len(char_spans)} words, got "
            f"{entry!r:.80}.",
            "entity of no words",
        )

    def item(self, record: Record, where: str, report: Report) -> dict[str, Any]:
        """Write an entity per label."""
        words, spans = split(record, self.split_words, where, report)
        entries = [
            [start, end - 1, label]
            for start, end, span in spans
            for label in labels_to_write(span, where, report) or ()
        ]
        return {"tokenized_text": words, "ner": entries, "id": record["id"]}


class Presidio(JsonSpans):
    """Presidio's synthetic records, the JSON of `presidio_evaluator`'s `InputSample`.

        {"full_text": "Ann saw Rome", "spans": [{"entity_type": "GPE", "entity_value": "Rome",
          "start_position": 8, "end_position": 12}]}

    After https://github.com/microsoft/presidio-research.
    """

    name = "presidio"
    text = "full_text"
    ids = "sample_id"
    keys = ("start_position", "end_position", "entity_type")
    surface = "entity_value"
    notes_keys = True

    def detect_object(self, item: dict[str, Any]) -> bool:
        """Return True for a text with entities."""
        spans = item.get("spans")
        if "full_text" not in item or not isinstance(spans, list):
            return False
        return all(isinstance(span, dict) and "entity_type" in span for span in spans)


class EntityTyping(JsonSpans):
    """Entity typing, a mention an object: the JSON of UFET, and of OpenEntity as ERNIE reads it.

        {"left_context_token": ["Ann", "saw"], "mention_span": "Rome",
         "right_context_token": ["."], "y_str": ["place", "city"], "annot_id": "7"}
        {"sent": "Ann saw Rome .", "start": 8, "end": 12, "labels": ["place"]}

    The words of the first are joined by single spaces. A text is there once a mention. After
    https://github.com/uwnlp/open_type and https://github.com/thunlp/ERNIE, `code/run_typing.py`.
    """

    name = "entity-typing"
    needs_label = False
    ufet = ("left_context_token", "mention_span", "right_context_token", "y_str", "annot_id")
    open_entity = ("sent", "start", "end", "labels")

    def detect_object(self, item: dict[str, Any]) -> bool:
        """Return True for a mention."""
        return item.keys() >= set(self.ufet[:4]) or item.keys() >= set(self.open_entity)

    def prepare(self, item: dict[str, Any], where: str, report: Report) -> dict[str, Any]:
        """Make an annotation of each label."""
        is_ufet = "mention_span" in item
        note_others(item, self.ufet if is_ufet else self.open_entity, report)
        if is_ufet:
            left, right = (
                " ".join(
                    check_string(one, where, "word") for one in check_list(item.get(n), where, n)
                )
                for n in ("left_context_token", "right_context_token")
            )
            mention = check_string(item["mention_span"], where, "mention_span")
            text = " ".join(part for part in (left, mention, right) if part)
            start = len(left) + (left != "")
            ends: dict[str, Any] = {"start": start, "end": start + len(mention)}
        else:
            text = check_string(item.get("sent"), where, "sent")
            ends = {"start": item.get("start"), "end": item.get("end")}
        name = "y_str" if is_ufet else "labels"
        labels: Any = check_labels({"labels": check_list(item.get(name), where, name)}, where)
        spans = [{**ends, "label": label} for label in labels or [None]]
        return {"id": item.get("annot_id") if is_ufet else None, "text": text, "spans": spans}


class SemEval(JsonSpans):
    """Aspects of reviews: the XML of SemEval-2014 task 4, and of MAMS, which follows it.

        <sentences><sentence id="7"><text>Good soup, bad soup spoon</text><aspectTerms>
          <aspectTerm term="soup" polarity="positive" from="5" to="9"/></aspectTerms></sentence>

    The polarity of a term is its label; in test files without polarities it is unknown. After
    https://alt.qcri.org/semeval2014/task4/ and https://github.com/siat-nlp/MAMS-for-ABSA.
    """

    name = "semeval"
    keys = ("from", "to", "polarity")
    surface = "term"
    needs_label = False
    opening = re.compile(r"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<sentences\b", re.DOTALL)

    def detect_lines(self, lines: list[str]) -> bool:
        """Return True for the first lines of such a file."""
        return self.opening.match("\n".join(lines)) is not None

    def items(self, path: Path) -> Iterator[Item]:
        """Yield the elements of sentences."""
        content = read_bytes(path)
        try:
            root = ElementTree.fromstring(content)
        except (ElementTree.ParseError, LookupError, ValueError) as error:  # or another encoding
            raise ValueError(f"{path}: It must be XML: {error}. Was it written whole?") from error
        for number, sentence in enumerate(root, start=1):
            where = f"{path}, sentence {number}"
            if (root.tag, sentence.tag) != ("sentences", "sentence"):
                raise ValueError(
                    f"{where}: The file must hold <sentences> of <sentence>, as that of "
                    f"SemEval-2014, got <{sentence.tag}> in <{root.tag}>."
                )
            yield Item(where, {"sentence": sentence})

    def prepare(self, item: dict[str, Any], where: str, report: Report) -> dict[str, Any]:
        """Read the elements of a sentence."""
        sentence = item["sentence"]
        part = sentence.find("text")
        text = check_string(None if part is None else "".join(part.itertext()), where, "text")
        for child in sentence:
            if child.tag not in ("text", "aspectTerms", "aspectCategories"):
                report.note(f"element {child.tag!r} not kept")
        for category in sentence.iterfind("aspectCategories/*"):
            report.unsupported(
                "category of a whole text",
                where,
                f"A record holds labels of terms, and none of a whole text, got {category.attrib}.",
            )
        terms = [
            {name: as_number(value) if name in ("from", "to") else value for name, value in pairs}
            for pairs in (term.attrib.items() for term in sentence.iterfind("aspectTerms/*"))
        ]
        return {"id": sentence.get("id"), "text": text, "spans": terms}

    def record(self, item: dict[str, Any], where: str, number: int, report: Report) -> Record:
        """Leave labels unknown where a term has no polarity."""
        record = super().record(item, where, number, report)
        for span in record["spans"]:
            span["labels"] = span["labels"] or None
        return record
