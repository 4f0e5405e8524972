"""Share a row of tokens among the columns of a table.

    title, columns  ->  title [CLS] name: Ann, Bob [CLS] city: Rome, Ulm

Reading one position per column follows Doduo (Suhara et al. 2022, arXiv:2104.01785).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .rows import Part

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def column_token(tokenizer: PreTrainedTokenizerFast, read: str, marker: int | None) -> int:
    """Choose the token that is put before each column, and read there.

    Raises:
        ValueError: the tokenizer has no suitable one.
    """
    masks = (tokenizer.mask_token_id,) if read == "mask" else ()
    choices = (marker, *masks, tokenizer.cls_token_id, tokenizer.mask_token_id)
    token = next((token for token in choices if token is not None), None)
    if token is None:
        raise ValueError(
            "Tables need a classification or a mask token, and the tokenizer has none. Use "
            "read='marker'."
        )
    return token


def lay_out(
    title: list[int],
    columns: Sequence[list[int]],
    column_token: int,
    size: int | None,
    least: int,
) -> list[Part]:
    """Share the room of a row among columns, and take more rows where there is too little.

    Args:
        title: its tokens, repeated in each row; cut at a quarter of the room.
        columns: the tokens of each column.
        column_token: put before each column, and read there.
        size: tokens of a row; None for no limit.
        least: tokens that a column may always have. If all columns fit with as many, the rest of
            the row is shared evenly; else the columns that do not fit go to further rows.

    Returns:
        One part per row.
    """
    if size is None:
        share = max(map(len, columns), default=0)
        room = len(title) + sum(map(len, columns)) + len(columns)
    else:
        title = title[: size // 4]
        room = size
        free = size - len(title)
        least = min(least, free - 1)
        share = max(least, _even_share([len(column) for column in columns], free - len(columns)))
    parts = [Part(list(title), [], [], [])]
    for index, column in enumerate(columns):
        ids = [column_token, *column[:share]]
        if parts[-1].spans and len(parts[-1].ids) + len(ids) > room:
            parts.append(Part(list(title), [], [], []))
        parts[-1].reads.append(len(parts[-1].ids))
        parts[-1].ids.extend(ids)
        parts[-1].ends.append(len(parts[-1].ids) - 1)
        parts[-1].spans.append(index)
    return parts


def _even_share(lengths: Sequence[int], room: int) -> int:
    """Find the largest share with which all fit; short ones leave theirs to the others."""
    left = room
    for done, length in enumerate(sorted(lengths)):
        share = left // (len(lengths) - done)
        if length > share:
            return max(share, 0)
        left -= length
    return max(lengths, default=0)
