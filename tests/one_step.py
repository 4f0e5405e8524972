"""Train one SGD step on 16 ragged rows, in one process or under a launcher, and save the result.

    python -m tests.one_step OUT TASK BATCH ACCUMULATION [OPTION ...]

Options: left, multiple, checkpointing, compiled, ignored, uneven (evaluate 13 rows, too), tuned
(thresholds).
"""

from __future__ import annotations

import json
import os
import sys

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import torch
from transformers import Trainer, TrainingArguments

from irti_custom import (
    AutoModelForMaskedSeqModeling,
    DataCollatorForMaskedSeq,
    MaskedSeqModelingConfig,
    make_compute_metrics,
)
from irti_custom.evaluation.callbacks import ThresholdTuningCallback
from tests.tiny import make_rows, tiny_config, word_tokenizer


def ragged_rows(task: str, count: int = 16, ignored: bool = False) -> list[dict]:
    """Rows with any number of positions; with `ignored`, the first six rows count nowhere."""
    rows = make_rows(task, count)
    for row in rows[:6] if ignored else ():
        row["labels"] = np.full_like(row["labels"], -100).tolist()
    return rows


def build(task: str, model_type: str = "bert") -> AutoModelForMaskedSeqModeling:
    torch.manual_seed(0)
    still = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "pad_token_id": 0}
    encoder = tiny_config(model_type, **still)
    config = MaskedSeqModelingConfig(task=task, num_labels=4, base_model_config=encoder)
    return AutoModelForMaskedSeqModeling(config).double()  # what differs is no rounding


def train(folder, task: str, size: int, accumulation: int, options=(), model=None) -> Trainer:
    tokenizer = word_tokenizer(padding_side="left" if "left" in options else "right")
    multiple = 8 if "multiple" in options else None
    model = model or build(task)
    if "checkpointing" in options:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=str(folder),
            per_device_train_batch_size=size,
            per_device_eval_batch_size=2,
            gradient_accumulation_steps=accumulation,
            torch_compile_backend="aot_eager" if "compiled" in options else None,
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
        ),
        train_dataset=ragged_rows(task, ignored="ignored" in options),
        eval_dataset=ragged_rows(task, 13),
        data_collator=DataCollatorForMaskedSeq(tokenizer, multiple, task, 4),
        compute_metrics=make_compute_metrics(task),
    )
    if "tuned" in options:
        trainer.add_callback(ThresholdTuningCallback(trainer, min_positives=1))
    trainer.train()
    return trainer


def parameters(model: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def main() -> None:
    out, task, size, accumulation, *options = sys.argv[1:]
    trainer = train(out, task, int(size), int(accumulation), options)
    log = {**trainer.state.log_history[0], "processes": trainer.args.world_size}
    if "uneven" in options:
        log.update(trainer.evaluate())
    if "tuned" in options:
        log["thresholds"] = [None] * trainer.args.world_size
        mine = trainer.accelerator.unwrap_model(trainer.model).config.thresholds
        torch.distributed.all_gather_object(log["thresholds"], mine)
    if trainer.is_world_process_zero():
        torch.save(parameters(trainer.accelerator.unwrap_model(trainer.model)), f"{out}/after.pt")
        with open(f"{out}/log.json", "w") as file:
            json.dump(log, file)
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
        # Tearing gloo down may deadlock: a thread wants the lock that the interpreter holds while
        # it waits for that thread.
        sys.stdout.flush()
        os._exit(0)


if __name__ == "__main__":
    main()
