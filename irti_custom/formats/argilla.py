"""Argilla 2: the records of a span question, as `dataset.records.to_json` writes them.

    [{"id": "7", "fields": {"text": "Ann saw Rome"}, "responses": {"spans": [{"user_id": "...",
      "value": [{"start": 8, "end": 12, "label": "place"}]}]}, "suggestions": {}}]

Rows of `to_datasets`, saved as JSON lines, are read, too; only these say which responses are
drafts. No text lies beside a span, and Argilla's page counts UTF-16 units, its Python characters
(https://github.com/argilla-io/argilla/issues/5729), so after an emoji the file is ambiguous.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..records.record import ItemError, Record, check_list, check_scores
from .format import option
from .json_spans import (
    OFFSETS,
    AnnotatedTexts,
    Annotation,
    code_points,
    labels_to_write,
    note_others,
)
from .read_report import Report

_KEPT = ("id", "fields", "responses", "suggestions", "status", "_server_id")
_FLAT = (".responses", ".suggestion")
_BESIDE = (".users", ".status", ".suggestion", ".score", ".agent")
"""Parts of responses and suggestions in a flat row, which are read with these."""

Answer = dict[str, Any]
"""The `value` of a question by one person, `user`, or by a model, which may give `scores`."""


@dataclass(frozen=True)
class Argilla(AnnotatedTexts):
    """Records of a span question; written as suggestions; see `AnnotatedTexts`.

    Responses to a text with an emoji raise unless `offsets` is given; suggestions count characters.

    Args:
        question: that of spans: to read, by default the only one; to write, "spans" by default.
    """

    name = "argilla"
    score = "_score"
    notes_keys = True

    question: str | None = option()

    def detect_object(self, item: dict[str, Any]) -> bool:
        """Return True for a nested record, or a flat row."""
        if isinstance(item.get("fields"), dict):
            return "responses" in item and "suggestions" in item
        return any(name.endswith(_FLAT) for name in item)

    def read(self, path: Path, report: Report) -> Iterator[Record]:
        """Yield a record per text; see `Format`."""
        yield from super().read(path, report)
        if report.memory.keys() == {"is suggested"}:
            raise ValueError(
                f"{path} must have responses, got suggestions only. annotations='predictions' "
                "reads these."
            )

    def prepare(self, item: dict[str, Any], where: str, report: Report) -> dict[str, Any] | None:
        """Choose the text, the question and whose answers to it are read."""
        item = _nested(item, where)
        text = self.choose_text(item["fields"], where)
        note_others(item, _KEPT, report)
        predictions = self.annotations == "predictions"
        answers = _suggestions(item, where) if predictions else _responses(item, where, report)
        report.memory |= {"is answered": True} if any(answers.values()) else {}
        report.memory |= {"is suggested": True} if item["suggestions"] else {}
        question = self._find_question(answers, where, report)
        given = answers[question] if question else []
        kept = self.choose(given, [answer["user"] for answer in given], where, report)
        if kept is None:
            return None
        if not kept:
            report.note(f"text without {'suggestions' if predictions else 'responses'}", lost=False)
        spans = [entry for answer in kept for entry in _entries(answer, where, report)]
        return {"id": item.get("id"), "text": text, "spans": spans}

    def _find_question(
        self, answers: dict[str, list[Answer]], where: str, report: Report
    ) -> str | None:
        """Return the question whose answers are spans, if there is one."""
        if self.question is not None:
            for name in answers.keys() - {self.question}:
                report.note(f"question {name!r} not kept")
            return self.question if self.question in answers else None
        of_spans = [n for n, some in answers.items() if all(_is_spans(a["value"]) for a in some)]
        for name in answers.keys() - set(of_spans):
            report.unsupported(
                "answer of a whole text",
                where,
                f"A record holds spans, and no answers of a whole text, got {name!r}. `question` "
                "names the one to read.",
            )
        if len(of_spans) > 1:
            raise ValueError(
                f"{where}: There must be one question of spans, got {of_spans}. `question` names "
                "it."
            )
        return of_spans[0] if of_spans else None

    def read_entry(
        self, entry: Any, item: dict[str, Any], where: str, report: Report
    ) -> list[Annotation]:
        """Read a span, counted as `offsets` says."""
        predictions = self.annotations == "predictions"
        offsets = self.offsets or (OFFSETS[0] if predictions else None)
        text, end = item["text"], entry.get("end") if isinstance(entry, dict) else None
        before = text[:end] if isinstance(end, int) else ""
        if offsets is None and any(ord(character) > 0xFFFF for character in before):
            raise ItemError(
                f"{where}: Offsets after an emoji must be said to count UTF-16 units, as those of "
                f"Argilla's page do, or characters, got {entry!r:.80}. offsets='utf-16', or "
                "'code-points'.",
                "span whose offsets are not clear",
            )
        if offsets == "utf-16" and isinstance(entry, dict):
            try:
                ends = {name: code_points(text, entry.get(name)) for name in ("start", "end")}
            except ValueError as error:
                raise ItemError(
                    f"{where}: A span must be in its text: {error}", "span beyond its text"
                ) from error
            entry = {**entry, **ends}
        return super().read_entry(entry, item, where, report)

    def item(self, record: Record, where: str, report: Report) -> dict[str, Any]:
        """Write a suggestion, for `dataset.records.from_json`; a span has an entry per label."""
        value: list[dict[str, Any]] = []
        scores: list[float | None] = []
        for span in record["spans"]:
            labels = labels_to_write(span, where, report) or []
            ends = {"start": span["start"], "end": span["end"]}
            value += [{**ends, "label": label} for label in labels]
            scores += span.get("scores") or [None] * len(labels)
        scored = bool(scores) and None not in scores
        if not scored and any(score is not None for score in scores):
            report.note("text whose scores are not kept, since some spans have none")
        suggestion = {"value": value, "score": scores if scored else None, "agent": "irti_custom"}
        return {
            "id": record["id"],
            "fields": {"text": record["text"]},
            "metadata": {},
            "suggestions": {self.question or "spans": suggestion},
            "responses": {},
            "vectors": {},
            "status": "pending",
        }


def _nested(item: dict[str, Any], where: str) -> dict[str, Any]:
    """Return a record with its fields, responses and suggestions, from a flat row, too."""
    if "fields" in item:
        parts = {name: item.get(name) or {} for name in ("fields", "responses", "suggestions")}
        if not all(isinstance(part, dict) for part in parts.values()):
            message = f"{where}: {list(parts)} must be objects, got {item!r:.120}."
            raise ItemError(message, "record of other parts")
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


def _responses(item: dict[str, Any], where: str, report: Report) -> dict[str, list[Answer]]:
    answers: dict[str, list[Answer]] = {}
    for question, responses in item["responses"].items():
        for response in check_list(responses, where, "responses"):
            if not isinstance(response, dict):
                message = f"{where}: A response must be an object, got {response!r:.80}."
                raise ItemError(message, "response that is no object")
            status = response.get("status") or "submitted"
            if status != "submitted" or response.get("value") is None:
                report.note(f"response that is {status}, left out")
                continue
            answer = {"value": response["value"], "user": response.get("user_id")}
            answers.setdefault(question, []).append(answer)
    return answers


def _suggestions(item: dict[str, Any], where: str) -> dict[str, list[Answer]]:
    answers = {}
    for question, suggestion in item["suggestions"].items():
        if not isinstance(suggestion, dict) or "value" not in suggestion:
            message = f"{where}: A suggestion must have a value, got {suggestion!r:.80}."
            raise ItemError(message, "suggestion without a value")
        answer = {"value": suggestion["value"], "user": None, "scores": suggestion.get("score")}
        answers[question] = [answer]
    return answers


def _is_spans(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, dict) for one in value)


def _entries(answer: Answer, where: str, report: Report) -> list[Any]:
    """Return the spans of an answer, each with its score."""
    entries, scores = check_list(answer["value"], where, "value"), answer.get("scores")
    if isinstance(scores, list):
        checked = check_scores(scores, ["span"] * len(entries), where)
    elif scores is not None:
        report.note("score of all spans of a text, not kept")
    if not isinstance(scores, list):
        checked = [None] * len(entries)
    return [
        {**entry, "_score": score} if isinstance(entry, dict) else entry
        for entry, score in zip(entries, checked)
    ]
