"""Tokenize texts, and separate their own tokens from the special ones around them.

    "Ann sees Bob"  ->  [CLS] ann sees bob [SEP]  ->  prefix [CLS], inner ann sees bob, suffix [SEP]

Only the tokenizer decides on either.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from transformers import AutoTokenizer, PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import SLOW_TO_FAST_CONVERTERS
from transformers.models.auto.tokenization_auto import get_tokenizer_config

from ..versions import IS_4

if TYPE_CHECKING:
    from transformers import BatchEncoding

_PROBES = ("a", "1", "A", "的")
_PROBED = ("Ann Lee paid 12.50 in Zürich, on 3 May.", "de l'été; 北京 Москва", "don't_re-enter")
# Of SentencePiece, and of byte-level BPE.
_WORD_MARKS = ("\u2581", "\u0120")
_Value = TypeVar("_Value")


class Template(NamedTuple):
    """The special tokens around a text.

    Attributes:
        prefix: ids before the text.
        suffix: ids after it.
        types: token types of prefix, text and suffix; None where the tokenizer has none.
    """

    prefix: list[int]
    suffix: list[int]
    types: tuple[list[int], int, list[int]] | None

    def around(self, ids: list[int]) -> dict[str, list[int]]:
        """Build the columns of one row from a text's own tokens."""
        input_ids = [*self.prefix, *ids, *self.suffix]
        columns = {"input_ids": input_ids, "attention_mask": [1] * len(input_ids)}
        if self.types is not None:
            before, middle, after = self.types
            columns["token_type_ids"] = [*before, *([middle] * len(ids)), *after]
        return columns

    def inner(self, values: list[_Value]) -> list[_Value]:
        """Cut off the values of special tokens."""
        return values[len(self.prefix) : len(values) - len(self.suffix)]

    def text_size(self, max_length: int) -> int:
        """Count the tokens that a row of `max_length` leaves for the text."""
        return max_length - len(self.prefix) - len(self.suffix)


def check_fast(tokenizer: object) -> None:
    """Check that a tokenizer says which characters its tokens cover.

    Raises:
        ValueError: it does not.
    """
    if getattr(tokenizer, "is_fast", False):
        return
    name = type(tokenizer).__name__
    way_out = (
        "Load it with AutoTokenizer.from_pretrained(...), which makes the fast one."
        if name in SLOW_TO_FAST_CONVERTERS
        else "Transformers has no fast one for this encoder, and the model needs none: make rows "
        "of `input_ids` and `mask_indices` yourself, and give them to DataCollatorForMaskedSeq."
    )
    raise ValueError(f"A fast tokenizer is needed to find spans in tokens, got {name}. {way_out}")


def load_tokenizer(path: str, **options: Any) -> PreTrainedTokenizerFast:
    """Load a tokenizer as `AutoTokenizer` does; with Transformers 4 also one that 5 saved."""
    loader: Any = AutoTokenizer
    if IS_4:
        saved = get_tokenizer_config(path, **{**options, "trust_remote_code": False})
        if saved.get("tokenizer_class") == "TokenizersBackend":
            loader = PreTrainedTokenizerFast
        added = saved.get("extra_special_tokens")
        if isinstance(added, list):
            options = {"additional_special_tokens": added, "extra_special_tokens": {}, **options}
    return loader.from_pretrained(path, **options)


def digest_of(tokenizer: PreTrainedTokenizerFast) -> str:
    """Return a short text that differs where another tokenizer makes other tokens."""
    probed = [len(tokenizer), *tokenize(tokenizer, _PROBED)["input_ids"]]
    return hashlib.sha256(json.dumps(probed).encode()).hexdigest()[:16]


def template_of(tokenizer: PreTrainedTokenizerFast) -> Template:
    """Learn from a short text which special tokens a tokenizer puts around each.

    Raises:
        ValueError: the tokenizer makes no tokens.
    """
    for text in _PROBES:
        encoded = tokenizer(text, return_special_tokens_mask=True)
        own = [index for index, added in enumerate(encoded["special_tokens_mask"]) if not added]
        if own:
            break
    else:
        raise ValueError(f"The tokenizer makes no tokens of {_PROBES}, so it cannot be used.")
    first, stop = own[0], own[-1] + 1
    ids, types = encoded["input_ids"], encoded.get("token_type_ids")
    kinds = None if types is None else (types[:first], types[first], types[stop:])
    return Template(ids[:first], ids[stop:], kinds)


def word_marks(tokenizer: PreTrainedTokenizerFast) -> frozenset[int]:
    """Find the tokens that are a word's mark alone, and stand for the space before the word."""
    ids = map(tokenizer.backend_tokenizer.token_to_id, _WORD_MARKS)
    return frozenset(index for index in ids if index is not None)


def tokenize(
    tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], special_tokens: bool = True
) -> BatchEncoding:
    """Tokenize at least one text: whole, without padding, with character offsets."""
    return tokenizer(
        list(texts),
        add_special_tokens=special_tokens,
        padding=False,
        truncation=False,
        verbose=False,
        return_attention_mask=False,
        return_token_type_ids=False,
        return_offsets_mapping=True,
    )
