"""Modules that stand on an extra are collected, for their doctests, where it is installed."""

from __future__ import annotations

from importlib.util import find_spec

_NEEDS = {"spacy": "spacy", "presidio": "presidio_analyzer"}
collect_ignore = [
    f"irti_custom/integrations/{name}.py"
    for name, extra in _NEEDS.items()
    if find_spec(extra) is None
]
