"""Generate texts whose mentions have many labels, most of which are rare.

Label number r is drawn with a probability proportional to 1 / r (Zipf). Each label has three words
of its own, one of which stands in the mention for it: what there is to learn is known.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

MENTIONS = 5  # per text
LABELS = 3  # drawn per mention, so one to three of them
WORDS = 3  # per label


def texts(words: list[str], num_labels: int, num_texts: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield records of texts with spans, as the data sets have them.

    Args:
        words: at least ``4 * num_labels`` of them, in an order that is the same for every split.
        num_labels: L.
        num_texts: each has `MENTIONS` mentions.
        seed: another one for each split.
    """
    draw = random.Random(seed)
    own, fillers = words[: WORDS * num_labels], words[WORDS * num_labels :]
    shares = [1 / rank for rank in range(1, num_labels + 1)]
    for _ in range(num_texts):
        text, spans = "", []
        for _ in range(MENTIONS):
            text += " ".join(draw.choices(fillers, k=draw.randint(1, 4))) + " "
            labels = sorted(set(draw.choices(range(num_labels), shares, k=LABELS)))
            mention = " ".join(own[WORDS * label + draw.randrange(WORDS)] for label in labels)
            names = [f"label {label}" for label in labels]
            spans.append({"start": len(text), "end": len(text) + len(mention), "labels": names})
            text += mention + " "
        yield {"text": text.strip(), "spans": spans}
