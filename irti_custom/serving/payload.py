"""What a request to a service holds: the pipeline's inputs and options, as JSON.

    {"inputs": one or many, "parameters": {"top_k": 2}}  ->  Payload(inputs, options)

The form is that of Hugging Face's endpoints.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..inference.pipeline import OPTIONS

_TEXT = {"type": "string"}
_INTEGER = {"type": "integer"}
_NULL = {"type": "null"}
_VALUE = {"type": ["string", "number", "boolean", "null"]}
_KINDS = ("text", "words", "columns", "fields")


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _list(items: dict[str, Any], **limits: int) -> dict[str, Any]:
    return {"type": "array", "items": items, **limits}


def _input(title: str, kind: str, form: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Describe an input of one kind: the other kinds' names are absent or null."""
    others = {name: _NULL for name in _KINDS if name != kind}
    needed = _object(**{kind: form}, **more)
    return {"title": title, **needed, "properties": {**needed["properties"], **others}}


_SPAN = {"anyOf": [_list(_INTEGER, minItems=2, maxItems=2), _object(start=_INTEGER, end=_INTEGER)]}
_SPANS = {
    "description": "[start, end] of each position, or an object of both; end exclusive",
    "anyOf": [_list(_SPAN), _NULL],
}
_COLUMN = {"anyOf": [_list({}), _object(values=_list({}))]}
_FIELD = {**_object(value=_VALUE), "additionalProperties": False}
_FIELD["properties"] = {"value": _VALUE, "name": _VALUE}
_FIELDS = {
    "description": "values by name; or, where names repeat, objects of value and name",
    "anyOf": [{"type": "object", "additionalProperties": _VALUE}, _list(_FIELD, minItems=1)],
}
_INPUT = {
    "anyOf": [
        _input("spans of characters", "text", _TEXT, spans=_SPANS),
        _input("spans of words", "words", _list(_TEXT), spans=_SPANS),
        {"title": "mask tokens", "type": "string"},
        _input("a table", "columns", _list(_COLUMN)),
        _input("a record", "fields", _FIELDS),
    ]
}
_NUMBER = {"type": "number"}
_THRESHOLDS = {
    "anyOf": [
        _NUMBER,
        _list(_NUMBER),
        {"type": "object", "additionalProperties": _NUMBER},
        _NULL,
    ],
    "description": "of all labels, per label in order, or by name; default: the model's own",
}
PAYLOAD_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "inputs": {"anyOf": [_INPUT, {"title": "many", **_list(_INPUT)}]},
        "parameters": {
            "type": ["object", "null"],
            "properties": {
                "thresholds": _THRESHOLDS,
                "top_k": {"type": ["integer", "null"], "minimum": 1},
                "return_all_scores": {"type": "boolean"},
            },
            "additionalProperties": False,
        },
    },
    "required": ["inputs"],
    "additionalProperties": False,
}
"""JSON schema of a payload."""
_LABELS = _list(_object(label=_TEXT, score=_NUMBER))
_POSITION = {
    "type": "object",
    "description": "where a position is, and its labels; see the pipeline's README",
    "properties": {
        "word": {"description": "what is there"},
        "labels": {**_LABELS, "description": "multilabel; multiclass with top_k"},
        "label": {"description": "multiclass: the best label, null if it is rejected"},
        "score": {"description": "multiclass: of the best label"},
    },
}
_ANSWER = {"title": "of one input", **_list(_POSITION)}
ANSWERS_SCHEMA: dict[str, Any] = {"anyOf": [_ANSWER, {"title": "of many", **_list(_ANSWER)}]}
"""JSON schema of what is answered."""


class Payload(NamedTuple):
    """What to classify: `inputs` of a pipeline, and the `options` of the call."""

    inputs: Any
    options: dict[str, Any]


class NotJsonError(ValueError):
    """A body that is no JSON."""


def parse_json(body: bytes) -> Any:
    """Parse a body strictly: names stand once in an object, and NaN is no number.

    Raises:
        NotJsonError: it is something else than JSON in UTF-8.

    Example:
        >>> parse_json(b'{"inputs": []}')
        {'inputs': []}
    """
    try:
        return json.loads(
            body.decode(),
            object_pairs_hook=_with_names_once,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
    except RecursionError as error:
        raise NotJsonError("The body must be JSON, got one that is nested too deeply.") from error
    except ValueError as error:
        raise NotJsonError(f"The body must be JSON in UTF-8, got: {error}.") from error


def _with_names_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError(f"an object with a name twice, of {[name for name, _ in pairs]!r:.80}")
    return made


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant}, which is no number of JSON")


def _finite(number: str) -> float:
    value = float(number)
    if math.isinf(value):
        raise ValueError(f"{number:.20}, which is beyond the numbers of 64 bits")
    return value


def read_payload(payload: Any) -> Payload:
    """Check the form of a payload; the inputs are checked where they are prepared.

    Raises:
        ValueError: no object, without `inputs`, or with other names than there are.

    Example:
        >>> read_payload({"inputs": "A [MASK]", "parameters": {"top_k": 2}})
        Payload(inputs='A [MASK]', options={'top_k': 2})
    """
    names = tuple(PAYLOAD_SCHEMA["properties"])
    if not isinstance(payload, Mapping) or "inputs" not in payload or set(payload) - set(names):
        found = f"the names {list(payload)}" if isinstance(payload, Mapping) else f"{payload!r:.80}"
        raise ValueError(
            f"A request must be an object of {names}, of which the second is optional, got {found}."
        )
    options = payload.get("parameters")
    options = {} if options is None else options
    if not isinstance(options, Mapping) or set(options) - set(OPTIONS):
        raise ValueError(
            f"`parameters` must be an object of any of {OPTIONS}, got {options!r:.80}."
        )
    if not isinstance(payload["inputs"], (str, Mapping, list)):
        raise ValueError(
            "`inputs` must be an input of the pipeline, a string or an object, or a list of them, "
            f"got {payload['inputs']!r:.80}."
        )
    inputs = payload["inputs"]
    for number, one in enumerate(inputs if isinstance(inputs, list) else [inputs]):
        if isinstance(one, Mapping) and one.get("fields") == []:
            raise ValueError(f"Input {number}: `fields` must hold a field, got an empty list.")
    return Payload(inputs, dict(options))


def example_payloads(mask_token: str | None) -> dict[str, dict[str, Any]]:
    """Return a payload for each kind of input.

    Args:
        mask_token: of the tokenizer; None for one without.

    Example:
        >>> example_payloads("[MASK]")["mask tokens"]
        {'inputs': '[MASK] lives in [MASK]'}
    """
    spans = {"text": "Ann lives in Rome", "spans": [[0, 3], [13, 17]]}
    words = {"words": ["Ann", "lives", "in", "Rome"], "spans": [[0, 1], [3, 4]]}
    inputs: dict[str, Any] = {
        "spans of characters": spans,
        "spans of words": words,
        "mask tokens": f"{mask_token} lives in {mask_token}",
        "a table": {"columns": [{"header": "city", "values": ["Rome", "Paris"]}]},
        "a record": {"fields": {"name": "Ann", "city": "Rome"}},
    }
    if mask_token is None:
        del inputs["mask tokens"]
    payloads = {name: {"inputs": value} for name, value in inputs.items()}
    return {**payloads, "many": {"inputs": [spans, words], "parameters": {"top_k": 1}}}


def describe_operation(mask_token: str | None) -> dict[str, Any]:
    """Describe a POST of payloads for OpenAPI: `requestBody` and `responses`.

    Args:
        mask_token: as for `example_payloads`.

    Example:
        >>> sorted(describe_operation("[MASK]"))
        ['requestBody', 'responses']
    """
    named = {name: {"value": value} for name, value in example_payloads(mask_token).items()}
    asked = {"application/json": {"schema": PAYLOAD_SCHEMA, "examples": named}}
    answered = {"application/json": {"schema": ANSWERS_SCHEMA}}
    return {
        "requestBody": {"required": True, "content": asked},
        "responses": {"200": {"description": "As the pipeline answers.", "content": answered}},
    }
