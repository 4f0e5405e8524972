"""Aspects of reviews: the XML of SemEval-2014 task 4, and of MAMS, which follows it.

    <sentences><sentence id="7"><text>Good soup, bad soup spoon</text><aspectTerms>
      <aspectTerm term="soup" polarity="positive" from="5" to="9"/></aspectTerms></sentence>

The polarity of a term is its label. After https://alt.qcri.org/semeval2014/task4/ and
https://github.com/siat-nlp/MAMS-for-ABSA.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from ..records.record import ItemError, Record, check_id, check_string
from .annotations import Annotation, as_number, check_annotation, read_spans
from .files import read_bytes
from .report import Report

_START = re.compile(r"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<sentences\b", re.DOTALL)
_READ = ("text", "aspectTerms", "aspectCategories")


def read(path: Path, report: Report) -> Iterator[Record]:
    """Read sentences."""
    content = read_bytes(path)
    try:
        root = ElementTree.fromstring(content)
    except (ElementTree.ParseError, LookupError, ValueError) as error:  # or another encoding
        raise ValueError(f"{path}: It must be XML: {error}. Was it written whole?") from error
    for number, sentence in enumerate(root):
        where = f"{path}, sentence {number + 1}"
        if (root.tag, sentence.tag) != ("sentences", "sentence"):
            raise ValueError(
                f"{where}: The file must hold <sentences> of <sentence>, as that of SemEval-2014, "
                f"got <{sentence.tag}> in <{root.tag}>."
            )
        try:
            yield _record(sentence, where, number, report)
        except ItemError as error:
            report.leave_out(error)


def detect(lines: list[str]) -> bool:
    """Return True for the first lines of such a file."""
    return _START.match("\n".join(lines)) is not None


def _record(sentence: ElementTree.Element, where: str, number: int, report: Report) -> Record:
    part = sentence.find("text")
    text = check_string(None if part is None else "".join(part.itertext()), where, "text")
    for child in sentence:
        if child.tag not in _READ:
            report.note(f"element {child.tag!r} not kept")
    for category in sentence.iterfind("aspectCategories/*"):
        report.misfit(
            "category of a whole text",
            where,
            f"A record holds labels of terms, and none of a whole text, got {category.attrib}.",
        )
    terms = sentence.iterfind("aspectTerms/*")
    spans = read_spans(terms, lambda term: _term(term, text, where), report)
    for span in spans:
        span["labels"] = span["labels"] or None  # of test files without polarities
    return {"id": check_id(sentence.get("id"), where, number), "text": text, "spans": spans}


def _term(term: ElementTree.Element, text: str, where: str) -> Annotation:
    start, end = as_number(term.get("from")), as_number(term.get("to"))
    return check_annotation(start, end, term.get("polarity"), text, where, term.get("term"))
