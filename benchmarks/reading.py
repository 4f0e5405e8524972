"""Time `read_records` beside the plain ways to get a file into `datasets`, and watch its memory.

    python benchmarks/reading.py --rows 100000

The files are made: JSON lines of texts with spans, and CoNLL sentences in BIO. Their peers check
nothing: the JSON builder of `datasets`, and two generators for CoNLL, one of words and tags as
they are, one of the texts and spans that `read_records` returns.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import datasets
from run import print_header
from timing import Timer, print_table, ratio

from irti_custom import read_records, write_records

LABELS = ("person", "place", "thing")
KINDS = ("jsonl", "conll")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cpu_time", action="store_true", help="for a machine that is not idle")
    parser.add_argument("--peak", help="read this file, and print what memory that takes")
    args = parser.parse_args()
    if args.peak:
        print(added_memory(args.peak))
        return
    datasets.disable_progress_bars()
    print_header(1)
    timer = Timer(args.repeats, time.process_time if args.cpu_time else time.perf_counter)
    with tempfile.TemporaryDirectory() as folder:
        for kind in KINDS:
            make_file(Path(folder, f"rows.{kind}"), args.rows)
            make_file(Path(folder, f"many.{kind}"), 10 * args.rows)
        report_reading(folder, args.rows, timer)
        report_growth(folder, args.rows, timer)


def make_file(path: Path, rows: int) -> None:
    """Write texts of 20 words on average, with two spans."""
    draw = random.Random(0)
    words = ["".join(draw.choices("aeioubdfglmnprst", k=draw.randint(2, 9))) for _ in range(5000)]
    with open(path, "w") as file:
        for number in range(rows):
            sentence = draw.choices(words, k=draw.randint(10, 30))
            tags, spans = ["O"] * len(sentence), []
            for start in draw.sample(range(0, len(sentence) - 1, 2), 2):
                label = draw.choice(LABELS)
                tags[start : start + 2] = [f"B-{label}", f"I-{label}"]
                spans.append(as_span(sentence, start, start + 2, label))
            if path.suffix == ".jsonl":
                row = {"id": str(number), "text": " ".join(sentence), "spans": spans}
                file.write(json.dumps(row) + "\n")
            else:
                file.write("".join(f"{word}\t{tag}\n" for word, tag in zip(sentence, tags)) + "\n")


def report_reading(folder: str, rows: int, timer: Timer) -> None:
    calls = {
        "JSON lines, builder of datasets": partial(build, f"{folder}/rows.jsonl"),
        "JSON lines, read_records": partial(read_records, f"{folder}/rows.jsonl"),
        "CoNLL, words and tags": partial(generate, tagged_words, f"{folder}/rows.conll"),
        "CoNLL, texts and spans": partial(generate, texts, f"{folder}/rows.conll"),
        "CoNLL, read_records": partial(read_records, f"{folder}/rows.conll"),
    }
    seconds = timer.interleave(calls)
    first = dict(zip(seconds, [*list(seconds)[:1] * 2, *list(seconds)[2:3] * 3]))
    table = [
        [name, ratio(taken, seconds[first[name]]), f"{1e6 * min(taken) / rows:.0f}"]
        for name, taken in seconds.items()
    ]
    print_table(f"Reading {rows:,} records", ["", "× time of the first", "µs a record"], table)


def report_growth(folder: str, rows: int, timer: Timer) -> None:
    """Compare ten times as many records: time, and the memory of a process of its own."""
    table = []
    for kind in KINDS:
        few, many = f"{folder}/rows.{kind}", f"{folder}/many.{kind}"
        calls = {path: partial(read_records, path) for path in (few, many)}
        seconds = timer._replace(repeats=1).interleave(calls)
        table.append([f"read {kind}", ratio(seconds[many], seconds[few]), peak(few), peak(many)])
        records = {path: read_records(path) for path in (few, many)}
        calls = {
            path: partial(write_records, made, f"{folder}/written.{kind}")
            for path, made in records.items()
        }
        seconds = timer._replace(repeats=1).interleave(calls)
        table.append([f"write {kind}", ratio(seconds[many], seconds[few]), "", ""])
    columns = ["", "× time", f"MiB, {rows:,}", f"MiB, {10 * rows:,}"]
    print_table("Ten times as many records", columns, table)


def build(path: str) -> None:
    with tempfile.TemporaryDirectory() as cache:
        datasets.load_dataset("json", data_files=path, split="train", cache_dir=cache)


def generate(rows: Any, path: str) -> None:
    with tempfile.TemporaryDirectory() as cache:
        datasets.Dataset.from_generator(rows, gen_kwargs={"path": path}, cache_dir=cache)


def tagged_words(path: str) -> Iterator[dict[str, Any]]:
    words: list[str] = []
    tags: list[str] = []
    with open(path, encoding="utf-8") as file:
        for line in file:
            if line.strip():
                word, tag = line.rstrip("\n").split("\t")
                words.append(word)
                tags.append(tag)
            elif words:
                yield {"words": words, "tags": tags}
                words, tags = [], []


def texts(path: str) -> Iterator[dict[str, Any]]:
    for number, row in enumerate(tagged_words(path)):
        words, spans, start = row["words"], [], None
        for index, tag in enumerate([*row["tags"], "O"]):
            if start is not None and not tag.startswith("I-"):
                spans.append(as_span(words, start, index, row["tags"][start][2:]))
                start = None
            if tag.startswith("B-"):
                start = index
        yield {"id": str(number), "text": " ".join(words), "spans": spans}


def as_span(words: list[str], start: int, end: int, label: str) -> dict[str, Any]:
    before = len(" ".join([*words[:start], ""]))
    return {"start": before, "end": before + len(" ".join(words[start:end])), "labels": [label]}


def peak(path: str) -> str:
    command = [sys.executable, __file__, "--peak", path]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1]


def added_memory(path: str) -> int:
    """Return by how many MiB reading raises the most memory that this process has held."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    read_records(path)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024


if __name__ == "__main__":
    main()
