"""Label the regions of Label Studio's tasks, and train on its annotations: an ML backend.

    MODEL=out/first EXPORT=export.json python examples/label_studio_backend.py   # port 9090

A task's regions are those of the request, its draft or its last annotation; where there is none,
what PATTERN matches, by default every word. "Start training" trains STEPS steps on EXPORT, the
project's JSON export, and predictions come from that model from then on. For the class of
github.com/HumanSignal/label-studio-ml-backend, and for that of label-studio-ml 1.0.9.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
from inspect import signature
from pathlib import Path
from statistics import fmean
from typing import Any

import regex
from label_studio_ml.api import init_app
from label_studio_ml.model import LabelStudioMLBase
from label_studio_model import TRAINED, load, newest, train_next
from label_table import names_and_scores

from irti_custom import read_records, write_records

PATTERN = os.environ.get("PATTERN", r"[\w\p{M}]+")
logger = logging.getLogger(__name__)


def as_export(task: dict[str, Any], field: str, context: dict[str, Any] | None) -> dict[str, Any]:
    """Return a task as an export has it, with one annotation: the regions to label.

    Those on the screen, in `context`, come before those of a draft, and of an annotation.
    """
    text = (task.get("data") or {}).get(field)
    if not isinstance(text, str) or regex.search(r"\p{Cs}", text):  # half a surrogate pair
        logger.warning("Task %s has no text in %r, and gets no labels.", task.get("id"), field)
        text = ""
    made = [context or {}, *(task.get("drafts") or []), *reversed(task.get("annotations") or [])]
    result: Any = next((one["result"] for one in made if one.get("result")), [])
    return {"data": {"text": text}, "annotations": [{"result": result}]}


def with_spans(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Read tasks as from an export; those without regions get what the pattern matches."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "tasks.json")
        path.write_text(json.dumps(tasks), "utf-8")
        records = list(read_records(path, "label-studio", on_error="skip"))
    for record in records:
        proposed = [found.span() for found in regex.finditer(PATTERN, record["text"])]
        record["spans"] = record["spans"] or proposed
    return records


def as_predictions(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Write records as a file to import, and return the predictions in it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "tasks.json")
        write_records(records, path, "label-studio", predictions=True)
        return [task["predictions"][0] for task in json.loads(path.read_text("utf-8"))]


class MaskedSeqBackend(LabelStudioMLBase):
    def setup(self) -> None:
        """Tell Label Studio which model answers; not asked by version 1.0.9."""
        self.set("model_version", Path(newest()).name)

    def predict(
        self, tasks: list[dict[str, Any]], context: dict[str, Any] | None = None, **kwargs: Any
    ) -> list[dict[str, Any]]:
        """Return a prediction per task, in the order of the tasks."""
        parsed: Any = self.parsed_label_config
        name, tag = next((n, tag) for n, tag in parsed.items() if tag["type"] == "Labels")
        field, folder = tag["inputs"][0]["value"], newest()
        records = with_spans([as_export(task, field, context) for task in tasks])
        answered: Any = load(folder)(records)
        for record, answers in zip(records, answered):
            spans = [self._span(answer, tag["labels"]) for answer in answers]
            record["spans"] = [span for span in spans if span["labels"]]
        predictions = as_predictions(records)
        for made in predictions:
            made["model_version"] = Path(folder).name
            made["score"] = fmean([region["score"] for region in made["result"]] or [0.0])
            for region in made["result"]:
                region.update(from_name=name, to_name=tag["to_name"][0])
        return predictions

    def _span(self, answer: dict[str, Any], known: list[str]) -> dict[str, Any]:
        """Turn an answer into a span with those of its labels that the project has."""
        scores = dict(zip(*names_and_scores(answer)))
        if unknown := [label for label in scores if label not in known]:
            logger.warning("The project has the labels %s, and not %s.", known, unknown)
        kept = {label: score for label, score in scores.items() if label in known}
        return {**answer, "labels": [*kept], "scores": [*kept.values()]}

    def fit(self, event: str, data: Any, **kwargs: Any) -> dict[str, Any]:
        """Train when "Start training" is pressed; single annotations are left to the export."""
        if event != "START_TRAINING":
            return {}
        try:
            return train_next()
        except (OSError, ValueError) as error:
            logger.error("Not trained: %s", error)
            return {"error": str(error)}

    def process_event(self, event: str, data: Any, job_id: str, additional_params: Any) -> Any:
        """Do as `fit`, for version 1.0.9, which calls that differently."""
        return self.fit(event, data)


is_1_0_9 = "kwargs" in signature(init_app).parameters
app = init_app(MaskedSeqBackend, **({"model_dir": str(TRAINED)} if is_1_0_9 else {}))

if __name__ == "__main__":
    app.run(host="127.0.0.1", port=int(os.environ.get("PORT", "9090")), threaded=False)
