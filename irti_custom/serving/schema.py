"""Describe payloads and answers for OpenAPI. It needs pydantic, which FastAPI brings."""

from typing import Annotated, Any, Optional, Union

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, create_model

from .payload import example_payloads

_Value = Union[str, float, bool, None]
_Pair = Annotated[list[int], Field(min_length=2, max_length=2)]


class _Span(BaseModel, title="a span", extra="allow"):
    start: int
    end: int


class _Column(BaseModel, title="a column", extra="allow"):
    values: list[Any]


class _Field(BaseModel, title="a field", extra="forbid"):
    value: _Value
    name: _Value = None
    labels: Any = None
    scores: Any = None


def _record(title: str, **columns: Any) -> Any:
    """Return the model of a record of one kind: the names of other kinds are absent or null."""
    needed = {name: (kind, ...) for name, kind in columns.items()}
    others: dict[str, Any] = dict.fromkeys(("text", "words", "columns", "fields"), (None, None))
    return create_model(title, __config__=ConfigDict(extra="allow"), **{**others, **needed})


_Spans = Annotated[
    Optional[list[Union[_Pair, _Span]]],
    Field(description="[start, end] of each position, or an object of both; end exclusive"),
]
_Fields = Annotated[
    Union[dict[str, _Value], Annotated[list[_Field], Field(min_length=1)]],
    Field(description="values by name; or, where names repeat, objects of value and name"),
]
_Input: Any = Union[
    _record("spans of characters", text=str, spans=_Spans),
    _record("spans of words", words=list[str], spans=_Spans),
    Annotated[str, Field(title="mask tokens")],
    _record("mask tokens and their labels", text=str, masks=Optional[list[Any]]),
    _record("a table", columns=list[Union[list[Any], _Column]]),
    _record("fields", fields=_Fields),
]


class _Parameters(BaseModel, title="options", extra="forbid"):
    thresholds: Union[float, list[float], dict[str, float], None] = Field(
        None, description="of all labels, per label in order, or by name; default: the model's own"
    )
    top_k: Optional[Annotated[int, Field(ge=1)]] = None
    return_all_scores: bool = False


class _Payload(BaseModel, title="a request", extra="forbid"):
    inputs: Union[_Input, Annotated[list[_Input], Field(title="many")]]
    parameters: Optional[_Parameters] = None


class _Label(BaseModel, title="a label"):
    label: str
    score: float


class _Position(BaseModel, title="a position", extra="allow"):
    """A position and its labels; see the pipeline's README."""

    word: Any = Field(None, description="the text of the position")
    labels: Optional[list[_Label]] = Field(None, description="multilabel; multiclass with top_k")
    label: Optional[str] = Field(None, description="multiclass: the best label, or null")
    score: Optional[float] = Field(None, description="multiclass: of the best label")


def payload_schema() -> dict[str, Any]:
    """Return the JSON schema of a payload."""
    return _schema(_Payload)


def answers_schema() -> dict[str, Any]:
    """Return the JSON schema of the answers to one input or to many."""
    return _schema(Union[list[_Position], list[list[_Position]]])


def describe_operation(mask_token: Optional[str]) -> dict[str, Any]:
    """Return `requestBody` and `responses` of a POST of payloads, as OpenAPI has them.

    Args:
        mask_token: of the tokenizer; None for one without.

    Example:
        >>> sorted(describe_operation("[MASK]"))
        ['requestBody', 'responses']
    """
    named = {name: {"value": value} for name, value in example_payloads(mask_token).items()}
    asked = {"application/json": {"schema": payload_schema(), "examples": named}}
    answered = {"application/json": {"schema": answers_schema()}}
    return {
        "requestBody": {"required": True, "content": asked},
        "responses": {"200": {"description": "As the pipeline answers.", "content": answered}},
    }


def _schema(kind: Any) -> dict[str, Any]:
    """Return a schema without references, which would not resolve inside of another document."""
    schema = TypeAdapter(kind).json_schema()
    parts = schema.pop("$defs", {})

    def inline(node: Any) -> Any:
        if isinstance(node, list):
            return [inline(one) for one in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            return inline(parts[node["$ref"].rpartition("/")[2]])
        return {name: inline(one) for name, one in node.items()}

    return inline(schema)
