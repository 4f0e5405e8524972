"""Does the gradient depend on how a batch is cut? One SGD step on the same 16 rows, cut four ways.

    python benchmarks/gradient_exactness.py

Rows have 4 to 24 tokens and 1 to 8 positions. Each line trains from the same start with the stock
`Trainer`, without dropout and clipping: batch size × accumulation steps. `error` is the largest
difference of a parameter from the uncut step, relative to the largest change of that step.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from transformers import (
    AutoModelForTokenClassification,
    BertConfig,
    DataCollatorForTokenClassification,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
    logging,
)
from transformers.trainer_callback import PrinterCallback
from transformers.utils.logging import disable_progress_bar

from irti_custom import (
    AutoModelForMaskedSeqModeling,
    DataCollatorForMaskedSeq,
    MaskedSeqModelingConfig,
)

NUM_LABELS = 4
Collator = Callable[[list[dict]], dict[str, torch.Tensor]]
CUTS = ((16, 1), (8, 2), (4, 4), (2, 8))
"""Batch size and accumulation steps: always 16 rows a step."""


def bert_config(**kwargs: Any) -> BertConfig:
    return BertConfig(
        vocab_size=64,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        **kwargs,
    )


def tokenizer() -> PreTrainedTokenizerFast:
    from tokenizers import Tokenizer, models

    words = Tokenizer(models.WordLevel({"[PAD]": 0, "[UNK]": 1}, "[UNK]"))
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]")


def make_rows(task: str, stock: bool = False) -> list[dict]:
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(16):
        ids = rng.integers(2, 64, rng.integers(4, 25))
        positions = rng.choice(len(ids), min(len(ids), int(rng.integers(1, 9))), replace=False)
        classes = rng.integers(0, NUM_LABELS, len(positions))
        row = {"input_ids": ids.tolist(), "attention_mask": [1] * len(ids)}
        if stock:  # the same positions, as labels of tokens
            row["labels"] = np.full(len(ids), -100)
            row["labels"][positions] = classes
        else:
            row["mask_indices"] = positions.tolist()
            row["labels"] = classes if task == "multiclass" else np.eye(NUM_LABELS)[classes]
        row["labels"] = row["labels"].tolist()
        rows.append(row)
    return rows


def ours(task: str) -> torch.nn.Module:
    config = MaskedSeqModelingConfig(
        task=task, num_labels=NUM_LABELS, base_model_config=bert_config()
    )
    return AutoModelForMaskedSeqModeling(config)


def stock(_: str) -> torch.nn.Module:
    return AutoModelForTokenClassification.from_config(bert_config(num_labels=NUM_LABELS))


RUNS = (
    ("ours", "multiclass", ours, DataCollatorForMaskedSeq),
    ("ours", "multilabel", ours, DataCollatorForMaskedSeq),
    ("stock token classification", "multiclass", stock, DataCollatorForTokenClassification),
)


def step(
    model: torch.nn.Module, rows: list[dict], collator: Collator, size: int, accumulation: int
) -> tuple[torch.Tensor, dict]:
    """Train one step and return the parameters after it, and what the Trainer logged."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            per_device_train_batch_size=size,
            gradient_accumulation_steps=accumulation,
            max_steps=1,
            learning_rate=1.0,
            optim="sgd",
            lr_scheduler_type="constant",
            max_grad_norm=1e9,  # measured, never clipped
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
        )
        trainer = Trainer(model=model, args=arguments, train_dataset=rows, data_collator=collator)
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return flat(model), trainer.state.log_history[0]


def flat(model: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten().clone() for p in model.parameters()])


def measure(
    task: str, build: Callable[[str], torch.nn.Module], collator: Collator
) -> Iterator[tuple[str, float, float, float]]:
    """Yield (cut, logged loss, gradient norm, error) for each way to cut the step."""
    torch.manual_seed(0)
    start = build(task).state_dict()
    for size, accumulation in CUTS:
        model = build(task)
        model.load_state_dict(start)
        before = flat(model)
        after, log = step(model, make_rows(task, build is stock), collator, size, accumulation)
        if (size, accumulation) == CUTS[0]:
            whole, update = after, (after - before).abs().max()
        error = float((after - whole).abs().max() / update)
        yield f"{size}×{accumulation}", log["loss"], log["grad_norm"], error


def main() -> None:
    logging.set_verbosity_error()
    disable_progress_bar()
    print("| head | task | batch × accumulation | logged loss | gradient norm | error |")
    print("|---|---|---|---|---|---|")
    for name, task, build, collate in RUNS:
        for cut, loss, norm, error in measure(task, build, collate(tokenizer())):
            print(f"| {name} | {task} | {cut} | {loss:.4f} | {norm:.3f} | {error:.1e} |")


if __name__ == "__main__":
    main()
