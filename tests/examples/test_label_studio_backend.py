"""The ML backend, asked over HTTP what Label Studio asks: `label_studio/ml/api_connector.py`."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from irti_custom import MaskedSeqClassificationPipeline, MaskedSeqProcessor
from tests.scoring import EXAMPLES
from tests.tiny import wide_model, word_tokenizer

pytest.importorskip("label_studio_ml", reason="needs label-studio-ml")

CONFIG = """<View><Labels name="kind" toName="story">
  <Label value="a"/><Label value="b"/><Label value="c"/></Labels>
  <Text name="story" value="$body"/></View>"""  # without "d", which the model has
TEXT = "Ann likes the Paris dog"


def region(start: int, end: int, *labels: str, text: str = TEXT) -> dict[str, Any]:
    value = {"start": start, "end": end, "text": text[start:end], "labels": [*labels]}
    names = {"from_name": "kind", "to_name": "story", "type": "labels"}
    return {"id": f"{start}-{end}", **names, "value": value}


def task(number: int = 1, **more: Any) -> dict[str, Any]:
    return {"id": number, "project": 7, "data": {"body": TEXT}, **more}


def save_model(folder: Path, kind: str) -> str:
    """Save a model that gives several labels, as its weights are large."""
    names = dict(enumerate("abcd"))
    limits = {"thresholds": 0.02} if kind == "multilabel" else {}
    wide_model(task=kind, num_labels=4, id2label=names, **limits).save_pretrained(folder)
    label2id = {name: index for index, name in names.items()}
    MaskedSeqProcessor(word_tokenizer(), label2id=label2id, task=kind).save_pretrained(folder)
    return str(folder)


class Backend:
    """A running backend with its model; the export does not exist yet."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.model, self.export = save_model(folder / "model", kind), folder / "export.json"
        self.trained = folder / "trained"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        environment = {"MODEL": self.model, "TRAINED": str(self.trained), "PORT": str(self.port)}
        environment |= {"EXPORT": str(self.export), "STEPS": "2", "LEARNING_RATE": "0.1"}
        path = os.pathsep.join([str(EXAMPLES.parent), os.environ.get("PYTHONPATH", "")])
        self.process = subprocess.Popen(
            [sys.executable, str(EXAMPLES / "label_studio_backend.py")],
            env={**os.environ, **environment, "PYTHONPATH": path},
            cwd=folder,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr is not None
        assert any("Running on" in line for line in self.process.stderr)

    def get(self, path: str) -> Any:
        with urlopen(f"http://127.0.0.1:{self.port}/{path}") as response:
            return json.load(response)

    def post(self, path: str, content: dict[str, Any]) -> Any:
        headers = {"Content-Type": "application/json"}
        address = f"http://127.0.0.1:{self.port}/{path}"
        with urlopen(Request(address, json.dumps(content).encode(), headers)) as response:
            return json.load(response)

    def setup(self) -> Any:
        content = {"project": "7.1700000000", "schema": CONFIG, "hostname": "http://localhost:8080"}
        return self.post("setup", {**content, "access_token": "x", "extra_params": None})

    def predict(self, *tasks: dict[str, Any], context: Any = None) -> list[dict[str, Any]]:
        params = {"login": None, "password": None, "context": context}
        content = {"tasks": [*tasks], "project": "7.1700000000", "label_config": CONFIG}
        return self.post("predict", {**content, "params": params})["results"]

    def webhook(self, action: str, **payload: Any) -> Any:
        project = {"id": 7, "label_config": CONFIG}
        return self.post("webhook", {"action": action, "project": project, **payload})


@pytest.fixture(scope="module", params=["multilabel", "multiclass"])
def backend(request, tmp_path_factory) -> Iterator[Backend]:
    running = Backend(tmp_path_factory.mktemp(request.param), request.param)
    assert running.get("health")["status"] == "UP"
    running.setup()
    yield running
    running.process.terminate()
    running.process.wait()


def found(prediction: dict[str, Any]) -> list[tuple[Any, ...]]:
    """What a prediction says, region by region."""
    for one in prediction["result"]:
        assert (one["type"], one["from_name"], one["to_name"]) == ("labels", "kind", "story")
        value = one["value"]
        assert value["text"] == TEXT[value["start"] : value["end"]]
    values = [(one["value"], one.get("score")) for one in prediction["result"]]
    return [(v["start"], v["end"], *v["labels"], score) for v, score in values]


def expected(model: str, *spans: tuple[int, int]) -> list[tuple[Any, ...]]:
    """What the pipeline says of spans, without the label that the project does not have."""
    answers = MaskedSeqClassificationPipeline.from_pretrained(model)({"text": TEXT, "spans": spans})
    said = []
    for one in answers:
        labels = one.get("labels", [one])
        said += [
            (one["start"], one["end"], label["label"], round(label["score"], 4))
            for label in labels
            if label["label"] != "d"
        ]
    return said


WORDS = [(0, 3), (4, 9), (10, 13), (14, 19), (20, 23)]


def test_regions_come_from_the_screen_a_draft_an_annotation_or_the_words(backend):
    annotated = {"annotations": [{"result": [region(0, 3, "a")]}, {"result": [region(4, 9, "a")]}]}
    drafted = {"drafts": [{"result": [region(14, 19, "b")]}]}
    answers = backend.predict(
        task(1), task(2, **annotated), task(3, **annotated, **drafted), task(4, annotations=[])
    )
    assert [found(one) for one in answers] == [
        expected(backend.model, *spans) for spans in (WORDS, [(4, 9)], [(14, 19)], WORDS)
    ]
    assert len({label for *_, label, _ in found(answers[0])}) > 1
    (answer,) = backend.predict(task(**drafted), context={"result": [region(14, 23, "a")]})
    assert found(answer) == expected(backend.model, (14, 23))


def test_a_task_without_a_text_gets_no_labels_and_the_others_get_theirs(backend):
    odd = [task(number, data={"body": text}) for number, text in enumerate((7, "", "a\ud800"))]
    answers = backend.predict(task(1, data={"image": "x.png"}), task(2), *odd)
    assert [len(one["result"]) > 0 for one in answers] == [False, True, False, False, False]
    assert found(answers[1]) == expected(backend.model, *WORDS)


def test_a_prediction_has_a_score_and_names_its_model(backend):
    (answer,) = backend.predict(task())
    scores = [one["score"] for one in answer["result"]]
    assert answer["score"] == pytest.approx(sum(scores) / len(scores))
    assert answer["model_version"] == Path(backend.model).name


def test_training_switches_the_model_and_single_annotations_do_not(backend):
    backend.webhook("ANNOTATION_CREATED", annotation={"result": []}, task=task())
    regions = [region(start, end, "c") for start, end in WORDS]
    backend.export.write_text(json.dumps([task(annotations=[{"id": 1, "result": regions}])]))
    before = backend.predict(task())
    assert before[0]["model_version"] == "model"
    backend.webhook("START_TRAINING")
    while not (backend.trained / "trained-1").exists():  # 1.0.9 trains in a process of its own
        time.sleep(0.2)
    after = backend.predict(task())
    assert after[0]["model_version"] == "trained-1"
    assert found(after[0]) == expected(str(backend.trained / "trained-1"), *WORDS)
    assert found(after[0]) != found(before[0])
    assert sorted(path.name for path in backend.trained.glob("trained*")) == ["trained-1"]
