"""Modules that stand on an extra are collected, for their doctests, where it is installed."""

from __future__ import annotations

from importlib.util import find_spec

_NEEDS = {
    "integrations/spacy": "spacy",
    "integrations/presidio": "presidio_analyzer",
    "serving/schema": "pydantic",
}
collect_ignore = [
    f"irti_custom/{name}.py" for name, extra in _NEEDS.items() if find_spec(extra) is None
]
