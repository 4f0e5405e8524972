"""Read requests to a service: the pipeline's inputs and options, as JSON.

    {"inputs": one or many, "parameters": {"top_k": 2}}  ->  Payload(inputs, options)

The form is that of Hugging Face's endpoints; `schema` describes it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..inference.answers import OPTIONS

_NAMES = ("inputs", "parameters")


class Payload(NamedTuple):
    """The `inputs` of a pipeline, and the `options` of the call."""

    inputs: Any
    options: dict[str, Any]


class NotJsonError(ValueError):
    """A body that is not JSON."""


def parse_json(body: bytes) -> Any:
    """Parse a body strictly: names in an object are unique, and numbers finite.

    Raises:
        NotJsonError: the body is not such JSON in UTF-8.

    Example:
        >>> parse_json(b'{"inputs": []}')
        {'inputs': []}
    """
    try:
        return json.loads(
            body.decode(),
            object_pairs_hook=_with_names_once,
            parse_constant=_finite,
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


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"{number:.20}, which is not in JSON or beyond the numbers of 64 bits")
    return value


def read_payload(payload: Any) -> Payload:
    """Check the form of a payload; the inputs are checked where they are prepared.

    Raises:
        ValueError: a payload of another form.

    Example:
        >>> read_payload({"inputs": "A [MASK]", "parameters": {"top_k": 2}})
        Payload(inputs='A [MASK]', options={'top_k': 2})
    """
    if not isinstance(payload, Mapping) or "inputs" not in payload or set(payload) - set(_NAMES):
        found = f"the names {list(payload)}" if isinstance(payload, Mapping) else f"{payload!r:.80}"
        raise ValueError(
            f"A request must be an object of {_NAMES}, of which the second is optional, got "
            f"{found}."
        )
    options = payload.get("parameters")
    options = {} if options is None else options
    if not isinstance(options, Mapping) or set(options) - set(OPTIONS):
        raise ValueError(
            f"`parameters` must be an object of any of {OPTIONS}, got {options!r:.80}."
        )
    inputs = payload["inputs"]
    if not isinstance(inputs, (str, Mapping, list)):
        raise ValueError(
            "`inputs` must be an input of the pipeline, a string or an object, or a list of them, "
            f"got {inputs!r:.80}."
        )
    for number, one in enumerate(inputs if isinstance(inputs, list) else [inputs]):
        if isinstance(one, Mapping) and one.get("fields") == []:
            raise ValueError(f"Input {number}: `fields` must hold a field, got an empty list.")
    return Payload(inputs, dict(options))


def example_payloads(mask_token: str | None) -> dict[str, dict[str, Any]]:
    """Return a payload for each kind of input; `mask_token` is the tokenizer's, if it has one."""
    spans = {"text": "Ann lives in Rome", "spans": [[0, 3], [13, 17]]}
    words = {"words": ["Ann", "lives", "in", "Rome"], "spans": [[0, 1], [3, 4]]}
    inputs: dict[str, Any] = {
        "spans of characters": spans,
        "spans of words": words,
        "mask tokens": f"{mask_token} lives in {mask_token}",
        "a table": {"columns": [{"header": "city", "values": ["Rome", "Paris"]}]},
        "fields": {"fields": {"name": "Ann", "city": "Rome"}},
    }
    if mask_token is None:
        del inputs["mask tokens"]
    payloads = {name: {"inputs": value} for name, value in inputs.items()}
    return {**payloads, "many": {"inputs": [spans, words], "parameters": {"top_k": 1}}}
