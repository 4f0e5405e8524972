"""Between tags of words and what they mark: entities to score, spans to write as columns.

python examples/word_tags.py spans.jsonl.gz words.conll   # the labels of each word's span
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from irti_custom import read_records
from irti_custom.formats.atomic import check_apart, writing
from irti_custom.formats.read_report import Report
from irti_custom.formats.tag_schemes import entities_of
from irti_custom.formats.tagged_words import split


def tag_keys(columns: Sequence[str]) -> list[int | str]:
    """Read flags that name columns of tags: numbers, as in a file of words, or names.

    Example:
        >>> tag_keys(["-1", "ner_tags"])
        [-1, 'ner_tags']
    """
    return [int(one) if one.lstrip("-").isdigit() else one for one in columns]


def entity_f1(truth: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> float:
    """Return the micro F1 of entities: right is one with the right first and last word and label.

    An I- tag that goes on with nothing begins an entity, as in CoNLL's own scorer.

    Args:
        truth: per sentence a BIO tag per word.
        predicted: the same.

    Example:
        >>> entity_f1([["B-PER", "I-PER", "O", "B-LOC"]], [["I-PER", "I-PER", "O", "O"]])
        0.6666666666666666
    """
    hits = total = 0
    for tags in zip(truth, predicted):
        true, guess = (set(entities_of(one, "IOB1")[0]) for one in tags)
        hits += len(true & guess)
        total += len(true) + len(guess)
    return 2 * hits / total if total else 0.0


def best_tag(answer: Any) -> str:
    """Return the most probable tag of a word, if it is predicted, else "O"."""
    return (answer.get("labels") or [answer])[0].get("label") or "O"


def prepare_words(record: dict, tokenizer: Any, outside: str | None = None) -> dict:
    """Leave out words that the tokenizer drops, such as a lone control character, and count them.

    Args:
        record: a text in which each word is a span.
        tokenizer: of the encoder.
        outside: a tag that stands for no label, such as "O".
    """
    text, spans = record["text"], record["spans"]
    kept = [span for span in spans if tokenizer.tokenize(text[span["start"] : span["end"]])]
    labels = [[name for name in span["labels"] if name != outside] for span in kept]
    words = [{**span, "labels": names} for span, names in zip(kept, labels)]
    return {**record, "spans": words, "left_out": len(spans) - len(kept)}


def write_columns(records: Sequence[dict], path: Path) -> None:
    """Write words in columns: each with the labels of the shortest span that holds it, or O."""
    spans = [span for record in records for span in record["spans"]]
    width = max((len(span["labels"] or ()) for span in spans), default=0)
    lines = []
    for record in records:
        parts = split(record, "punctuation", f"record {record['id']!r}", Report("conll"))
        tags = [["O"] * width for _ in parts.words]
        for start, end, span in sorted(parts.spans, key=lambda one: one[0] - one[1]):
            labels = [*(span["labels"] or ()), *["O"] * width][:width]
            tags[start:end] = [labels] * (end - start)
        lines += ["\t".join([word, *own]) for word, own in zip(parts.words, tags)] + [""]
    with writing(path) as file:
        file.write("\n".join([*lines, ""]).encode())


if __name__ == "__main__":
    source, target = sys.argv[1:]
    check_apart([target], [source])
    write_columns(list(read_records(source)), Path(target))
