"""What a service is sent: strict JSON, one form, examples that run; and the endpoint's handler."""

from __future__ import annotations

import pytest

from irti_custom import MaskedSeqClassificationPipeline
from irti_custom.inference.pipeline import OPTIONS
from irti_custom.serving.endpoint import EndpointHandler
from irti_custom.serving.payload import (
    NotJsonError,
    example_payloads,
    parse_json,
    read_payload,
)
from tests.scoring import save_trained


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "Expecting value"),
        (b'{"inputs"', "delimiter"),
        (b'{"inputs": "\xff"}', "'utf-8' codec"),
        (b"\xef\xbb\xbf[]", "BOM"),
        (b'{"inputs": NaN}', "NaN, which is not in JSON"),
        (b'{"inputs": -Infinity}', "-Infinity"),
        (b'{"fields": {"a": 1, "a": 2}}', r"a name twice, of \['a', 'a'\]"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"inputs": 1e999}', "1e999, which is .* beyond the numbers of 64 bits"),
        (b"[" + b"1" * 5000 + b"]", "digits"),
    ],
)
def test_a_body_that_is_not_json_raises(body, message):
    with pytest.raises(NotJsonError, match=f"^The body must be JSON.*{message}"):
        parse_json(body)


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (None, "an object of .*'inputs', 'parameters'.* got None"),
        ([{"inputs": "a"}], "an object of"),
        ({}, r"got the names \[\]"),
        ({"inputs": "a", "parameter": {}}, "'parameter'"),
        ({"inputs": None}, "`inputs` must be an input .* got None"),
        ({"inputs": 7}, "got 7"),
        ({"inputs": "a", "parameters": [1]}, r"`parameters` must be an object of .* got \[1\]"),
        ({"inputs": "a", "parameters": {"batch_size": 1}}, "'top_k'.*got {'batch_size': 1}"),
    ],
)
def test_a_payload_of_another_form_raises(payload, message):
    with pytest.raises(ValueError, match=message):
        read_payload(payload)


def test_parameters_may_be_left_out_or_null():
    assert read_payload({"inputs": []}) == read_payload({"inputs": [], "parameters": None})


def test_the_schema_names_the_options():
    schema = pytest.importorskip("irti_custom.serving.schema", reason="needs pydantic")
    parameters, null = schema.payload_schema()["properties"]["parameters"]["anyOf"]
    assert (tuple(parameters["properties"]), null) == (OPTIONS, {"type": "null"})


@pytest.mark.parametrize("task", ["multilabel", "multiclass"])
def test_each_example_of_the_schema_runs_and_the_handler_answers_as_the_pipeline(task, tmp_path):
    jsonschema = pytest.importorskip("jsonschema", reason="checks the examples")
    schema = pytest.importorskip("irti_custom.serving.schema", reason="needs pydantic")
    folder = save_trained(tmp_path, task)
    pipe, handler = MaskedSeqClassificationPipeline.from_pretrained(folder), EndpointHandler(folder)
    operation = schema.describe_operation(pipe.tokenizer.mask_token)
    asked = operation["requestBody"]["content"]["application/json"]
    answered = operation["responses"]["200"]["content"]["application/json"]["schema"]
    assert len(asked["examples"]) == 6
    for example in asked["examples"].values():
        payload = example["value"]
        jsonschema.validate(payload, asked["schema"])
        answers = handler(payload)
        jsonschema.validate(answers, answered)
        assert answers == pipe(payload["inputs"], **payload.get("parameters", {}))
    with pytest.raises(ValueError, match=r"^Input 0: "):
        handler({"inputs": {"text": "Ann", "spans": [[0, 9]]}})


SPANS = [[0, 3]]
FORMS = [
    {"text": "Ann", "spans": SPANS},
    {"text": "Ann", "spans": [{"start": 0, "end": 3, "note": "?"}]},
    {"text": "Ann", "spans": None, "words": None},
    {"text": "Ann", "spans": [], "id": 7},
    {"text": "Ann"},
    {"text": "Ann", "spans": "0"},
    {"text": "Ann", "spans": [0, 3]},
    {"text": "Ann", "spans": [[0, 3, 4]]},
    {"text": "Ann", "spans": [["0", "3"]]},
    {"text": "Ann", "spans": [[False, True]]},
    {"text": "Ann", "spans": [{"start": 0}]},
    {"text": "Ann", "words": ["Ann"], "spans": []},
    {"text": 7, "spans": []},
    {"words": ["Ann", "sees"], "spans": [[0, 1]]},
    {"words": "Ann", "spans": []},
    {"words": ["Ann", 7], "spans": []},
    "[MASK] sees",
    {"text": "[MASK] sees", "masks": [{"labels": None}]},
    {"text": "[MASK] sees", "masks": None, "spans": None},
    {"text": "Ann", "masks": [], "spans": SPANS},
    {"text": "[MASK] sees", "masks": "all"},
    {"words": ["Ann"], "masks": []},
    7,
    None,
    {},
    {"columns": [{"header": "city", "values": ["Rome", None, 7]}, ["Paris"]]},
    {"columns": [{"header": "city"}]},
    {"columns": [7]},
    {"columns": {"city": ["Rome"]}},
    {"columns": [], "title": "towns"},
    {"fields": {"name": "Ann", "age": 7, "fax": None}},
    {"fields": [{"name": "city", "value": "Rome"}, {"value": 7}]},
    {"fields": []},
    {"fields": [{"name": "city", "value": "Rome", "labels": ["a"], "scores": [0.5]}]},
    {"fields": [{"name": "city"}]},
    {"fields": [{"value": 7, "kind": "number"}]},
    {"fields": {"name": ["Ann"]}},
    {"fields": "Ann"},
]
PARAMETERS = [
    None,
    {},
    {"top_k": 1},
    {"top_k": None},
    {"top_k": 0},
    {"top_k": True},
    {"top_k": "1"},
    {"top_k": 1.5},
    {"return_all_scores": True},
    {"return_all_scores": "false"},
    {"return_all_scores": 1},
    {"return_all_scores": None},
    {"thresholds": 0.3},
    {"thresholds": None},
    {"thresholds": "0.3"},
    {"thresholds": [0.1, 0.2, 0.3, 0.4]},
    {"thresholds": ["0.1", 0.2, 0.3, 0.4]},
    {"thresholds": {"a": 0.1, "b": 0.2, "c": 0.3, "d": 0.4}},
    {"batch_size": 1},
    [],
]


def test_the_schema_accepts_what_is_answered_and_nothing_else(tmp_path):
    jsonschema = pytest.importorskip("jsonschema", reason="judges payloads")
    schema = pytest.importorskip("irti_custom.serving.schema", reason="needs pydantic")
    handler = EndpointHandler(save_trained(tmp_path))
    judge = jsonschema.Draft202012Validator(schema.payload_schema())
    payloads = [{"inputs": form} for form in FORMS]
    payloads += [{"inputs": [form]} for form in FORMS]
    payloads += [{"inputs": FORMS[0], "parameters": options} for options in PARAMETERS]
    for payload in payloads:
        try:
            handler(payload)
            answered = True
        except ValueError:
            answered = False
        assert judge.is_valid(payload) == answered, payload


def test_without_a_mask_token_no_example_has_one():
    assert "mask tokens" not in example_payloads(None)
