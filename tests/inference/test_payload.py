"""What a service is sent: strict JSON, one form, examples that run; and the endpoint's handler."""

from __future__ import annotations

import pytest

from irti_custom import MaskedSeqClassificationPipeline
from irti_custom.inference.endpoint import EndpointHandler
from irti_custom.inference.payload import (
    PAYLOAD_SCHEMA,
    NotJsonError,
    describe_operation,
    example_payloads,
    parse_json,
    read_payload,
)
from irti_custom.inference.pipeline import OPTIONS
from tests.scoring import save_trained


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "Expecting value"),
        (b'{"inputs"', "delimiter"),
        (b'{"inputs": "\xff"}', "'utf-8' codec"),
        (b"\xef\xbb\xbf[]", "BOM"),
        (b'{"inputs": NaN}', "NaN, which is no number of JSON"),
        (b'{"inputs": -Infinity}', "-Infinity"),
        (b'{"fields": {"a": 1, "a": 2}}', r"a name twice, of \['a', 'a'\]"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_a_body_that_is_no_json_is_refused(body, message):
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
def test_a_payload_of_another_form_is_refused(payload, message):
    with pytest.raises(ValueError, match=message):
        read_payload(payload)


def test_parameters_may_be_left_out_or_null():
    assert read_payload({"inputs": []}) == read_payload({"inputs": [], "parameters": None})


def test_the_schema_names_the_options_that_there_are():
    assert tuple(PAYLOAD_SCHEMA["properties"]["parameters"]["properties"]) == OPTIONS


@pytest.mark.parametrize("task", ["multilabel", "multiclass"])
def test_each_example_of_the_schema_runs_and_the_handler_answers_as_the_pipeline(task, tmp_path):
    jsonschema = pytest.importorskip("jsonschema", reason="checks the examples")
    folder = save_trained(tmp_path, task)
    pipe, handler = MaskedSeqClassificationPipeline.from_pretrained(folder), EndpointHandler(folder)
    operation = describe_operation(pipe.tokenizer.mask_token)
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


def test_without_a_mask_token_no_example_has_one():
    assert "mask tokens" not in example_payloads(None)
