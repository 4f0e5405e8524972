"""Answer as a custom handler of Hugging Face's endpoints.

    folder: handler.py ──▶ EndpointHandler(folder) ──▶ handler({"inputs": ...}) ──▶ answers

`hub.handler` writes the `handler.py` that imports this. It needs no extra.
"""

from __future__ import annotations

import os
from typing import Any

from ..inference.pipeline import MaskedSeqClassificationPipeline
from .payload import read_payload


class EndpointHandler:
    """Load a folder once, and answer requests with any kind of input.

    Args:
        path: the folder, with model and processor.

    Raises:
        OSError: files are missing.
        ValueError: model and processor do not fit together.

    Example:
        >>> handler = EndpointHandler("trained")  # doctest: +SKIP
        >>> handler({"inputs": {"text": "Ann lives in Rome", "spans": [[0, 3]]}})  # doctest: +SKIP
        [{'start': 0, 'end': 3, 'word': 'Ann', 'labels': [{'label': 'person', 'score': 0.98}]}]
    """

    def __init__(self, path: str | os.PathLike = "") -> None:
        self.pipe = MaskedSeqClassificationPipeline.from_pretrained(path)

    def __call__(self, data: dict[str, Any]) -> Any:
        """Answer a payload as the pipeline does.

        Args:
            data: ``{"inputs": one or many, "parameters": {...}}``, see `payload`.

        Raises:
            ValueError: another payload, or an input that cannot be prepared, by its number. The
                endpoint answers 400 with the message.
        """
        inputs, options = read_payload(data)
        return self.pipe(inputs, **options)
