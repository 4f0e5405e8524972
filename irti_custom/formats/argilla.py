"""Argilla 2: the records of a span question, as `dataset.records.to_json` writes them.

    [{"id": "7", "fields": {"text": "Ann saw Rome"}, "responses": {"spans": [{"user_id": "...",
      "value": [{"start": 8, "end": 12, "label": "place"}]}]}, "suggestions": {}}]

Rows of `to_datasets`, saved as JSON lines, are read, too; only these say which responses are
drafts. No text lies beside a span, and Argilla's page counts UTF-16 units, its Python characters
(https://github.com/argilla-io/argilla/issues/5729), so after an emoji the file is not clear.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ..records.record import ItemError, Record, check_id, check_list, check_scores, check_surfaces
from .annotations import (
    SEVERAL,
    Annotation,
    check_annotation,
    choose_annotations,
    choose_text,
    code_points,
    labels_to_write,
    note_others,
    read_items,
    read_spans,
)
from .files import write_array
from .record_streams import texts
from .report import Report

ANNOTATIONS = (*SEVERAL, "predictions")
OFFSETS = ("code-points", "utf-16")
_KEPT = ("id", "fields", "responses", "suggestions", "status", "_server_id")
_SPAN = ("start", "end", "label")
_FLAT = (".responses", ".suggestion")
_BESIDE = (".users", ".status", ".suggestion", ".score", ".agent")
"""Parts of responses and suggestions in a flat row, which are read with these."""


class _Answer(NamedTuple):
    """The value of a question by one person, or by a model, which may give scores."""

    value: Any
    user: str | None = None
    scores: Any = None


def read(
    path: Path,
    report: Report,
    annotations: str | None = None,
    text_field: str | None = None,
    question: str | None = None,
    offsets: str | None = None,
) -> Iterator[Record]:
    """Read texts.

    Args:
        path: the export.
        report: counts what records do not hold.
        annotations: which to take of a text that has several: "first", "last" or "merge"; or
            "predictions" to read the suggestions. By default there must be one.
        text_field: by default "text", or the only string.
        question: that of spans; by default the only one.
        offsets: "code-points" or "utf-16", which matters after an emoji; responses to such texts
            raise by default, and suggestions are counted in characters.
    """
    for option, chosen, choices in (
        ("annotations", annotations, (None, *ANNOTATIONS)),
        ("offsets", offsets, (None, *OFFSETS)),
    ):
        if chosen not in choices:
            raise ValueError(f"`{option}` must be one of {choices}, got {chosen!r}.")
    predictions = annotations == "predictions"
    answered = suggested = False

    def read_item(flat_or_nested: dict[str, Any], where: str, number: int) -> Record | None:
        nonlocal answered, suggested
        item = _nested(flat_or_nested, where)
        text = choose_text(item["fields"], text_field, where)
        note_others(item, _KEPT, report)
        answers = _suggestions(item, where) if predictions else _responses(item, where, report)
        answered |= any(answers.values())
        suggested |= bool(item["suggestions"])
        name = _question(answers, question, where, report)
        given = answers[name] if name else []
        users = [answer.user for answer in given]
        kept = choose_annotations(given, annotations, ANNOTATIONS, users, where, report)
        if kept is None:
            return None
        if not kept:
            report.note(f"text without {'suggestions' if predictions else 'responses'}", lost=False)
        counted = OFFSETS[0] if predictions and offsets is None else offsets
        entries = [entry for answer in kept for entry in _entries(answer, where, report)]
        spans = read_spans(entries, lambda entry: _span(entry, text, counted, where), report)
        for span, _ in entries:
            note_others(span if isinstance(span, dict) else {}, _SPAN, report)
        return {"id": check_id(item.get("id"), where, number), "text": text, "spans": spans}

    yield from read_items(path, report, read_item)
    if suggested and not answered:
        raise ValueError(
            f"{path} must have responses, got suggestions only. annotations='predictions' reads "
            "these."
        )


def write(records: Iterable[Record], path: Path, report: Report, question: str = "spans") -> None:
    """Write records with suggestions, for `dataset.records.from_json`; a span has an entry a label.

    Args:
        records: texts with spans.
        path: the file.
        report: counts what suggestions do not hold.
        question: the name of the span question. Its text is the field "text".
    """
    write_array(path, _items(records, question, report))


def detect(item: dict[str, Any]) -> bool:
    """Return True for a record of Argilla's."""
    if isinstance(item.get("fields"), dict):
        return "responses" in item and "suggestions" in item
    return any(name.endswith(_FLAT) for name in item)


def _nested(item: dict[str, Any], where: str) -> dict[str, Any]:
    """Return a record with its fields, responses and suggestions, from a flat row, too."""
    if "fields" in item:
        parts = {name: item.get(name) or {} for name in ("fields", "responses", "suggestions")}
        if not all(isinstance(part, dict) for part in parts.values()):
            raise ItemError(
                f"{where}: {list(parts)} must be objects, got {item!r:.120}.",
                "record of other parts",
            )
        return {**item, **parts}
    nested: dict[str, Any] = {"fields": {}, "responses": {}, "suggestions": {}}
    for name, value in item.items():
        question = name.rpartition(".")[0]
        if name.endswith(_FLAT[0]):
            values = check_list(value or [], where, name)
            users, states = (
                check_list(item.get(f"{name}.{part}") or [None] * len(values), where, name)
                for part in ("users", "status")
            )
            nested["responses"][question] = [
                {"value": one, "user_id": user, "status": status}
                for one, user, status in zip(values, users, states)
            ]
        elif name.endswith(_FLAT[1]) and value is not None:
            nested["suggestions"][question] = {"value": value, "score": item.get(f"{name}.score")}
        elif isinstance(value, str) and name not in _KEPT and "." not in name:
            nested["fields"][name] = value
        elif not name.endswith(_BESIDE):
            nested[name] = value
    return nested


def _responses(item: dict[str, Any], where: str, report: Report) -> dict[str, list[_Answer]]:
    answers: dict[str, list[_Answer]] = {}
    for question, responses in item["responses"].items():
        for response in check_list(responses, where, "responses"):
            if not isinstance(response, dict):
                raise ItemError(
                    f"{where}: A response must be an object, got {response!r:.80}.",
                    "response that is no object",
                )
            status = response.get("status") or "submitted"
            if status != "submitted" or response.get("value") is None:
                report.note(f"response that is {status}, left out")
                continue
            answer = _Answer(response["value"], response.get("user_id"))
            answers.setdefault(question, []).append(answer)
    return answers


def _suggestions(item: dict[str, Any], where: str) -> dict[str, list[_Answer]]:
    for suggestion in item["suggestions"].values():
        if not isinstance(suggestion, dict) or "value" not in suggestion:
            raise ItemError(
                f"{where}: A suggestion must have a value, got {suggestion!r:.80}.",
                "suggestion without a value",
            )
    return {
        question: [_Answer(suggestion["value"], scores=suggestion.get("score"))]
        for question, suggestion in item["suggestions"].items()
    }


def _question(
    answers: dict[str, list[_Answer]], question: str | None, where: str, report: Report
) -> str | None:
    """Return the question whose answers are spans; None if there is none."""
    if question is not None:
        for name in answers.keys() - {question}:
            report.note(f"question {name!r} not kept")
        return question if question in answers else None
    of_spans = [
        name for name, given in answers.items() if all(_is_spans(one.value) for one in given)
    ]
    for name in answers.keys() - set(of_spans):
        report.misfit(
            "answer of a whole text",
            where,
            f"A record holds spans, and no answers of a whole text, got {name!r}. `question` "
            "names the one to read.",
        )
    if len(of_spans) > 1:
        raise ValueError(
            f"{where}: There must be one question of spans, got {of_spans}. `question` names it."
        )
    return of_spans[0] if of_spans else None


def _is_spans(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, dict) for one in value)


def _entries(answer: _Answer, where: str, report: Report) -> list[tuple[Any, float | None]]:
    """Return the spans of an answer as they are written, each with its score."""
    entries = check_list(answer.value, where, "value")
    scores: list[float | None] = [None] * len(entries)
    if isinstance(answer.scores, list):
        scores = check_scores(answer.scores, ["span"] * len(entries), where)
    elif answer.scores is not None:
        report.note("score of all spans of a text, not kept")
    return list(zip(entries, scores))


def _span(
    scored: tuple[Any, float | None], text: str, offsets: str | None, where: str
) -> Annotation:
    entry, score = scored
    if not isinstance(entry, dict) or not isinstance(entry.get("label"), str):
        raise ItemError(
            f"{where}: A span must be an object with a label, got {entry!r:.80}.",
            "span that is no object with a label",
        )
    start, end = entry.get("start"), entry.get("end")
    before = text[:end] if isinstance(end, int) else ""
    if offsets is None and any(ord(character) > 0xFFFF for character in before):
        raise ItemError(
            f"{where}: Offsets after an emoji must be said to count UTF-16 units, as those of "
            f"Argilla's page do, or characters, got {entry!r:.80}. offsets='utf-16', or "
            "'code-points'.",
            "span whose offsets are not clear",
        )
    if offsets == "utf-16":
        try:
            start, end = code_points(text, start), code_points(text, end)
        except ValueError as error:
            raise ItemError(
                f"{where}: A span must be in its text: {error}", "span beyond its text"
            ) from error
    annotation = check_annotation(start, end, entry["label"], text, where)
    check_surfaces(entry, text, annotation[:2], where)
    return (*annotation[:3], score)


def _items(records: Iterable[Record], question: str, report: Report) -> Iterator[dict[str, Any]]:
    for where, record in texts(records, report):
        value: list[dict[str, Any]] = []
        scores: list[float | None] = []
        for span in record["spans"]:
            ends = {"start": span["start"], "end": span["end"]}
            labels = labels_to_write(span, where, report)
            value += [{**ends, "label": label} for label in labels]
            scores += span.get("scores") or [None] * len(labels)
        scored = bool(scores) and None not in scores
        if not scored and any(score is not None for score in scores):
            report.note("text whose scores are not kept, since some spans have none")
        suggestion = {"value": value, "score": scores if scored else None, "agent": "irti_custom"}
        yield {
            "id": record["id"],
            "fields": {"text": record["text"]},
            "metadata": {},
            "suggestions": {question: suggestion},
            "responses": {},
            "vectors": {},
            "status": "pending",
        }
