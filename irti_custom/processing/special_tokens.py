"""A text's own tokens, and what the tokenizer puts around them.

"Ann sees Bob"  ->  [CLS] ann sees bob [SEP]  ->  prefix [CLS], inner ann sees bob, suffix [SEP]

Only the tokenizer decides on both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

_ONLY_IDS = {"return_attention_mask": False, "return_token_type_ids": False}
_PROBES = ("a", "1", "A", "的")


class Template(NamedTuple):
    """What the tokenizer puts around a text; the types are None where it makes none.

    Example:
        >>> template = Template([2], [3], ([0], 0, [0]))
        >>> template.around([7, 8])["input_ids"], template.inner([2, 7, 8, 3]), template.room(10)
        ([2, 7, 8, 3], [7, 8], 8)
    """

    prefix: list[int]
    suffix: list[int]
    types: tuple[list[int], int, list[int]] | None

    def around(self, ids: list[int]) -> dict[str, list[int]]:
        """Build the columns of one row from a text's own tokens."""
        whole = [*self.prefix, *ids, *self.suffix]
        columns = {"input_ids": whole, "attention_mask": [1] * len(whole)}
        if self.types is not None:
            before, middle, after = self.types
            columns["token_type_ids"] = [*before, *([middle] * len(ids)), *after]
        return columns

    def inner(self, values: list[Any]) -> list[Any]:
        """Cut off what belongs to the tokens around a text."""
        return values[len(self.prefix) : len(values) - len(self.suffix)]

    def room(self, max_length: int) -> int:
        """Count the tokens of a row that are left for the text."""
        return max_length - len(self.prefix) - len(self.suffix)


def template_of(tokenizer: Any) -> Template:
    """Learn from a short text what a tokenizer puts around each.

    Raises:
        ValueError: a tokenizer that makes no tokens.
    """
    for text in _PROBES:
        encoded = tokenizer(text, return_special_tokens_mask=True)
        inner = [place for place, added in enumerate(encoded["special_tokens_mask"]) if not added]
        if inner:
            break
    else:
        raise ValueError(f"The tokenizer makes no tokens of {_PROBES}, so it cannot be used.")
    first, stop = inner[0], inner[-1] + 1
    ids, types = encoded["input_ids"], encoded.get("token_type_ids")
    kinds = None if types is None else (types[:first], types[first], types[stop:])
    return Template(ids[:first], ids[stop:], kinds)


def tokenize(tokenizer: Any, texts: Sequence[str], **options: Any) -> Any:
    """Tokenize texts whole, without padding.

    Raises:
        ValueError: something else than strings.
    """
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValueError(f"A text must be a string, got {text!r:.80} at {index}.")
    if not texts:
        return {"input_ids": [], "offset_mapping": []}
    return tokenizer(
        list(texts), padding=False, truncation=False, verbose=False, **_ONLY_IDS, **options
    )
