"""The versions of the model behind `label_studio_backend.py`: the newest one, and the next.

MODEL  ->  TRAINED/trained-1  ->  TRAINED/trained-2, each trained from the one before
"""

from __future__ import annotations

import os
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import Trainer, TrainingArguments

from irti_custom import (
    AutoModelForMaskedSeqModeling,
    DataCollatorForMaskedSeq,
    MaskedSeqClassificationPipeline,
    MaskedSeqProcessor,
    read_records,
)

MODEL = os.environ.get("MODEL", "out/first")
TRAINED = Path(os.environ.get("TRAINED", "out/label_studio"))
EXPORT = os.environ.get("EXPORT", "export.json")
STEPS = int(os.environ.get("STEPS", "100"))
LEARNING_RATE = float(os.environ.get("LEARNING_RATE", "5e-5"))

load = lru_cache(maxsize=1)(MaskedSeqClassificationPipeline.from_pretrained)


def newest() -> str:
    """Return the folder of the model that was trained last, else of the first one."""
    number = max(_numbers(), default=0)
    return str(TRAINED / f"trained-{number}") if number else MODEL


def train_next() -> dict[str, Any]:
    """Train the newest model on the export, and save it whole or not at all.

    Raises:
        OSError: no export, or no model.
        ValueError: an export that does not fit the model.
    """
    data = read_records(EXPORT, "label-studio", annotations="last", on_error="skip")
    source, target = newest(), TRAINED / f"trained-{max(_numbers(), default=0) + 1}"
    model = AutoModelForMaskedSeqModeling.from_pretrained(source)
    processor = MaskedSeqProcessor.from_pretrained(source)
    labels = [[span["labels"] for span in spans] for spans in data["spans"]]
    rows = Dataset.from_dict(processor.encode_spans(data["text"], data["spans"], labels))
    TRAINED.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=TRAINED) as folder:
        trainer = Trainer(
            model=model,
            args=TrainingArguments(
                folder,
                max_steps=STEPS,
                learning_rate=LEARNING_RATE,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
            ),
            train_dataset=rows,
            data_collator=DataCollatorForMaskedSeq(processor, model=model),
            processing_class=processor,
        )
        loss = trainer.train().training_loss
        trainer.save_model(f"{folder}/model")
        Path(folder, "model").rename(target)
    return {"model_version": target.name, "texts": len(data), "loss": loss}


def _numbers() -> list[int]:
    ends = [path.name[len("trained-") :] for path in TRAINED.glob("trained-*")]
    return [int(end) for end in ends if end.isdecimal()]
