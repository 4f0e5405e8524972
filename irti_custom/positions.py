"""Turn texts with character spans into rows a model can score.

    text + spans  ->  {"input_ids": [...], "mask_indices": [...], "span_ids": [...]}

Plain lists only: padding belongs to `data_collator`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def encode_spans(
    tokenizer: Any,
    texts: Sequence[str],
    spans: Sequence[Sequence[Any]],
    max_length: int | None = None,
) -> dict[str, list[Any]]:
    """Tokenize a batch of texts and find the first token of each span.

    Args:
        tokenizer: a fast tokenizer of Transformers.
        texts: N texts.
        spans: per text its spans, as ``(start, end)`` or as dicts with these keys; offsets count
            characters, `end` is exclusive.
        max_length: tokens per row, special tokens included; None for no limit.

    Returns:
        Columns of N rows: what the tokenizer makes, and per row ``mask_indices`` (the token each
        span is read at), ``span_ids`` (which of the text's spans that is) and ``length`` (tokens).
        Both lists follow the order of the spans. A span whose first token lies beyond `max_length`
        is in neither: count ``span_ids`` to know.

    Raises:
        ValueError: a slow tokenizer, counts that differ, a span out of range or reversed, or one
            that no token belongs to (empty or white space).

    Example:
        >>> from tokenizers import Tokenizer, models, pre_tokenizers
        >>> from transformers import PreTrainedTokenizerFast
        >>> vocabulary = {"[UNK]": 0, "Ann": 1, "sees": 2, "Bob": 3}
        >>> words = Tokenizer(models.WordLevel(vocabulary, "[UNK]"))
        >>> words.pre_tokenizer = pre_tokenizers.Whitespace()
        >>> tokenizer = PreTrainedTokenizerFast(tokenizer_object=words)
        >>> encode_spans(tokenizer, ["Ann sees Bob"], [[(0, 3), (9, 12)]])["mask_indices"]
        [[0, 2]]
    """
    if not getattr(tokenizer, "is_fast", False):
        raise ValueError(
            f"A fast tokenizer is needed to find spans in tokens, got {type(tokenizer).__name__}. "
            "Load it with AutoTokenizer.from_pretrained(..., use_fast=True)."
        )
    if len(texts) != len(spans):
        raise ValueError(
            f"Give one list of spans per text, got {len(spans)} lists for {len(texts)} texts."
        )
    encoded = tokenizer(
        list(texts), truncation=max_length is not None, max_length=max_length, padding=False
    )
    columns: dict[str, list[Any]] = {name: list(values) for name, values in encoded.items()}
    columns["length"] = [len(ids) for ids in columns["input_ids"]]
    columns["mask_indices"], columns["span_ids"] = [], []
    for row, (text, row_spans) in enumerate(zip(texts, spans)):
        encoding, positions, kept = encoded.encodings[row], [], []
        for index, span in enumerate(row_spans):
            start, end = (span["start"], span["end"]) if isinstance(span, Mapping) else span[:2]
            if not 0 <= start < end <= len(text):
                raise ValueError(
                    f"Span {index} of text {row} must have 0 <= start < end <= {len(text)}, the "
                    f"length of the text, got start={start} and end={end}."
                )
            token = _first_token(encoding, start, end)
            if token is not None:
                positions.append(token)
                kept.append(index)
            elif all(_first_token(rest, start, end) is None for rest in encoding.overflowing):
                raise ValueError(
                    f"Span {index} of text {row}, {text[start:end]!r}, holds no token. Leave out "
                    "spans of white space."
                )
        columns["mask_indices"].append(positions)
        columns["span_ids"].append(kept)
    return columns


def _first_token(encoding: Any, start: int, end: int) -> int | None:
    tokens = (encoding.char_to_token(char) for char in range(start, end))
    return next((token for token in tokens if token is not None), None)
