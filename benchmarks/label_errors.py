"""Change labels on purpose, and count how many `examples/find_label_errors.py` finds.

    python benchmarks/label_errors.py train.jsonl.gz --task multiclass --num_train_epochs 1

Of 5 % of the positions, drawn by `--seeds`, the class becomes another one at random, or one random
label of all is added where it is missing, and taken away where it is there. Further flags go to the
example.
"""

from __future__ import annotations

import argparse
import copy
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from quality import BASE

from irti_custom import read_records, write_records

EXAMPLE = Path(__file__).parent.parent / "examples" / "find_label_errors.py"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", help="of any format that `read_records` reads")
    parser.add_argument("--task", choices=["multilabel", "multiclass"], required=True)
    parser.add_argument("--changed", type=float, default=0.05, help="share of the positions")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    args, flags = parser.parse_known_args()
    records = list(read_records(args.file))
    for seed in args.seeds:
        with tempfile.TemporaryDirectory() as folder:
            changed, wrong = change_labels(records, args.task, args.changed, seed)
            write_records(changed, Path(folder, "changed.jsonl"))
            settings = ["--task", args.task, "--model_name_or_path", str(BASE), *flags]
            paths = ["--file", f"{folder}/changed.jsonl", "--output_dir", folder]
            script = [sys.executable, str(EXAMPLE), "--share", "0.1", "--seed", str(seed)]
            subprocess.run([*script, *settings, *paths], check=True, stdout=subprocess.DEVNULL)
            lines = Path(folder, "suspects.jsonl").read_bytes().splitlines()
        suspects = [json.loads(line) for line in lines]
        found = {(line["id"], line["start"], line["end"]) for line in suspects} & wrong
        print(f"seed {seed}: {len(found)} of {len(wrong)} ({len(found) / len(wrong):.3f})", end=" ")
        print(f"are among the first {len(suspects)} suspects", flush=True)


def change_labels(
    records: list[dict[str, Any]], task: str, share: float, seed: int
) -> tuple[list[dict[str, Any]], set[tuple[str, int, int]]]:
    """Return the records with wrong labels, and where these are: id, start and end."""
    draw, changed = random.Random(seed), copy.deepcopy(records)
    names = sorted({name for row in records for span in row["spans"] for name in span["labels"]})
    places = [(row["id"], span) for row in changed for span in row["spans"]]
    wrong = draw.sample(places, round(share * len(places)))
    for _, span in wrong:
        if task == "multiclass":
            span["labels"] = [draw.choice([one for one in names if one not in span["labels"]])]
        else:
            span["labels"] = sorted({*span["labels"]} ^ {draw.choice(names)})
    return changed, {(id, span["start"], span["end"]) for id, span in wrong}


if __name__ == "__main__":
    main()
