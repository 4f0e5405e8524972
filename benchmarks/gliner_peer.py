"""Time GLiNER on given spans beside a stock token classifier and our pipeline.

    python -m venv out/gliner
    out/gliner/bin/pip install -e ".[demo]" "gliner==0.2.29" "torch==2.13.0"
    out/gliner/bin/python benchmarks/gliner_peer.py --cpu_time

In an environment of its own, since GLiNER needs an older Transformers than we are tested with: all
three run in it, on the texts of `run.py --only inference`, and take turns as there. GLiNER has
random weights, and an encoder of the same architecture and size as theirs.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from pathlib import Path

import torch
import transformers
from cases import BATCH_SIZE, SHAPES, Case, load_case
from gliner import GLiNER, GLiNERConfig
from inference import PYTORCH
from peers import BY_HAND, Peer, tag_by_hand
from quality import BASE
from run import print_header
from timing import Timer, print_table, ratio
from transformers import AutoModelForTokenClassification


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="+", choices=SHAPES, default=["bionlp13cg", "gum_entities"])
    parser.add_argument(
        "--data", type=Path, default=Path("../shared/data"), help="texts are generated without it"
    )
    parser.add_argument("--rows", type=int, default=400, help="texts to score, at most")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--cpu_time", action="store_true", help="on a machine that is busy")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    print_header(threads=1)
    timer = Timer(args.repeats, time.process_time if args.cpu_time else time.perf_counter)
    for name in args.sets:
        report(load_case(name, args.data, args.rows, 0, None, None), timer)


def report(case: Case, timer: Timer) -> None:
    """Print a table of speeds."""
    stock, count = case.stock(AutoModelForTokenClassification), case.num_positions
    contenders = {
        BY_HAND: Peer(partial(tag_by_hand, stock, case), count),
        PYTORCH: Peer(case.pipeline(case.model), count),
        "GLiNER of this size, given spans": gliner(case),
    }
    seconds = timer.interleave({name: peer.call for name, peer in contenders.items()})
    rows = [
        [
            name,
            ratio(seconds[BY_HAND], seconds[name], peer.num_positions / count),
            peer.num_positions,
        ]
        for name, peer in contenders.items()
    ]
    title = f"GLiNER, {case.name}: {len(case.test)} texts ({case.source})"
    print_table(title, ["", "× by hand", "positions with scores"], rows)


def gliner(case: Case) -> Peer:
    """Build GLiNER around an encoder of our size, and call it as its users do, sorted by length."""
    config = case.model.config
    encoder = config.base_model_config
    model = GLiNER.from_config(
        GLiNERConfig(
            model_name=str(BASE),  # of the tokenizer
            encoder_config=encoder.to_dict(),
            hidden_size=encoder.hidden_size,
        ),
        backbone_from_pretrained=False,
    ).eval()
    records = sorted(case.test, key=lambda row: -len(row["text"]))
    texts, spans = [row["text"] for row in records], [row["spans"] for row in records]
    names = list(config.id2label.values())
    # It leaves out spans that do not begin and end with one of its words, and longer ones.
    in_words = model.prepare_batch(texts, names, spans)["word_input_spans"]
    scored = sum(end - start < model.config.max_width for row in in_words for start, end in row)
    call = partial(
        model.inference,
        texts,
        names,
        flat_ner=False,  # spans may overlap
        multi_label=config.task == "multilabel",
        batch_size=BATCH_SIZE,
        input_spans=spans,
    )
    return Peer(call, scored)


if __name__ == "__main__":
    main()
