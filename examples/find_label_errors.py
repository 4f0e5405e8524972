"""Find labels that look wrong: models that never saw a text say how well its labels fit.

    python examples/find_label_errors.py --task multiclass --model_name_or_path bert-base-uncased \
        --file train.jsonl.gz

    file ─▶ folds ─▶ a model for each, trained on the others ─▶ cleanlab ─▶ suspects, worst first

Reads what `finetune.py` reads, and needs cleanlab (`pip install "cleanlab>=2.8"`).
"""

from __future__ import annotations

import copy
import json
import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from suspects import FILES, label_names, predict_in_order, rank_labels, write_suspects
from training_data import default_encoder, parse_arguments
from transformers import AutoTokenizer, Trainer, set_seed

from irti_custom import (
    AutoModelForMaskedSeqModeling,
    DataCollatorForMaskedSeq,
    MaskedSeqProcessor,
    label_frequencies,
    read_records,
)
from irti_custom.formats.atomic import check_apart
from irti_custom.records.splits import SENTENCE_ID, draw_folds


@dataclass
class ScriptArguments:
    file: str
    format: str = "auto"
    model_name_or_path: str = field(default_factory=default_encoder)
    task: str = field(default="multilabel", metadata={"choices": ["multilabel", "multiclass"]})
    read: str = "start_end"
    max_length: int = 512
    on_overflow: str = field(default="window", metadata={"choices": ["window", "error", "drop"]})
    trust_remote_code: bool = False
    groups: str = "{}"  # labels that exclude each other, as JSON: {"kind": ["person", "place"]}
    folds: int = 3
    document_id: str = SENTENCE_ID  # which part of a record's id names its document
    share: float = 0.1  # of the positions, those whose labels fit worst, to be written


def main() -> None:
    # 1. Settings. These defaults are the recipe; each is also a flag.
    recipe = {"output_dir": "out/label_errors", "learning_rate": 2e-4, "num_train_epochs": 3}
    recipe |= {"eval_strategy": "no", "save_strategy": "no", "load_best_model_at_end": False}
    script, training = parse_arguments(ScriptArguments, **recipe)
    if not 0 < script.share <= 1:
        raise SystemExit(f"--share must be above 0 and at most 1, got {script.share}.")

    check_apart([Path(training.output_dir, name) for name in FILES], [script.file])

    # 2. Data, each record in one fold.
    data = read_records(script.file, script.format)
    records = list(data)
    names = label_names(records)
    folds = draw_folds(records, script.folds, script.document_id, training.seed)
    code = {"trust_remote_code": script.trust_remote_code}
    processor = MaskedSeqProcessor(
        AutoTokenizer.from_pretrained(script.model_name_or_path, **code),
        read=script.read,
        max_length=script.max_length,
        on_overflow=script.on_overflow,
        label2id={name: index for index, name in enumerate(names)},
        task=script.task,
    )

    def encode(batch: dict, ids: list[int]) -> dict:
        return processor.encode(batch, example_ids=ids)

    rows = data.map(encode, batched=True, with_indices=True, remove_columns=data.column_names)
    print(counts := processor.stats(rows))

    # 3. Logits (M, L) of each row, from a model that trained on the other folds.
    logits: list = [None] * len(rows)
    texts = {name: name.replace("_", " ").lower().strip() or name for name in names}
    for fold in range(script.folds):
        held_out = folds[rows["example_ids"]] == fold
        train, unseen = (rows.select(np.flatnonzero(part)) for part in (~held_out, held_out))
        set_seed(training.seed)
        model = AutoModelForMaskedSeqModeling.from_pretrained(
            script.model_name_or_path,
            label2id=processor.label2id,
            task=script.task,
            groups=json.loads(script.groups),
            **code,
        )
        processor.prepare_model(model, label_texts=texts)
        if script.task == "multilabel":
            model.set_label_prior(label_frequencies(train["labels"], script.task, len(names)))
        trainer = Trainer(
            model=model,
            args=copy.copy(training),
            train_dataset=train,
            data_collator=DataCollatorForMaskedSeq(processor),
            processing_class=processor,
        )
        trainer.train()
        for row, predicted in zip(np.flatnonzero(held_out), predict_in_order(trainer, unseen)):
            logits[row] = predicted

    # 4. The positions whose labels fit worst.
    ranked = rank_labels(records, processor.decode(rows, logits, fill=None), model)
    worst = ranked[: math.ceil(script.share * len(ranked))]
    write_suspects(records, worst, training.output_dir)
    print(f"Positions without labels, left out: {counts['positions'] - len(ranked)}")
    print(f"{len(worst)} suspects, of {len(ranked)} positions, lie in {training.output_dir}")


if __name__ == "__main__":
    main()
