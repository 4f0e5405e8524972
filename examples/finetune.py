"""Classify the spans of your own texts: fine-tune any encoder with the stock Trainer.

    python examples/finetune.py --train_file export.json      # a tenth each is kept for validation
    python examples/finetune.py --task multiclass --model_name_or_path bert-base-uncased \
        --train_file train.jsonl.gz --validation_file validation.jsonl.gz --test_file test.jsonl.gz

A file is of any format that `read_records` reads (CoNLL, brat, Label Studio, ...), such as JSON
lines, plain or gzipped, each one text with its spans (`end` is exclusive):

    {"text": "Ann lives in Rome", "spans": [{"start": 0, "end": 3, "labels": ["person"]}]}
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from baselines import baseline_scores, label_sets
from training_data import DataArguments, default_encoder, parse_arguments, read_parts
from transformers import AutoTokenizer, Trainer

from irti_custom import (
    AutoModelForMaskedSeqModeling,
    DataCollatorForMaskedSeq,
    MaskedSeqProcessor,
    ThresholdTuningCallback,
    get_lora_model,
    label_frequencies,
    make_compute_metrics,
    write_report,
)


@dataclass
class ScriptArguments(DataArguments):
    model_name_or_path: str = field(default_factory=default_encoder)
    task: str = field(default="multilabel", metadata={"choices": ["multilabel", "multiclass"]})
    read: str = "start_end"  # or "start", "end", "mask", "marker"
    max_length: int = 512
    on_overflow: str = "window"  # or "error", "drop"
    trust_remote_code: bool = False
    tune_thresholds: str = "auto"  # or "f1", "micro_f1", "no", the default for multiclass
    groups: str = "{}"  # labels that exclude each other, as JSON: {"kind": ["person", "place"]}
    lora: bool = False  # train adapters of rank 8 and the head; wants a higher --learning_rate
    report: bool = False  # write report.html beside the model; needs the extra `report`


def main() -> None:
    # 1. Settings. These defaults are the recipe; each is also a flag.
    recipe = {"output_dir": "out/finetune", "learning_rate": 2e-4, "num_train_epochs": 5}
    script, training = parse_arguments(ScriptArguments, **recipe)
    objective = {"auto": "micro_f1", "no": None}.get(script.tune_thresholds, script.tune_thresholds)
    if script.task == "multiclass" and script.tune_thresholds == "auto":
        objective = None  # a threshold would reject positions

    # 2. Data.
    data = read_parts(script)
    names = set().union(*(labels for rows in data.values() for labels in label_sets(rows)))
    label2id = {name: index for index, name in enumerate(sorted(names))}
    code = {"trust_remote_code": script.trust_remote_code}
    processor = MaskedSeqProcessor(
        AutoTokenizer.from_pretrained(script.model_name_or_path, **code),
        read=script.read,
        max_length=script.max_length,
        on_overflow=script.on_overflow,
        label2id=label2id,
        task=script.task,
    )

    def encode(batch: dict, ids: list[int]) -> dict:
        return processor.encode(batch, example_ids=ids)

    old = data.column_names["train"]
    rows = data.map(encode, batched=True, with_indices=True, remove_columns=old)
    print({name: processor.stats(split) for name, split in rows.items()})

    # 3. Model.
    model = AutoModelForMaskedSeqModeling.from_pretrained(
        script.model_name_or_path,
        label2id=label2id,
        task=script.task,
        groups=json.loads(script.groups),
        **code,
    )
    texts = {name: name.replace("_", " ").lower().strip() or name for name in label2id}
    processor.prepare_model(model, label_texts=texts)
    if script.task == "multilabel":  # rare labels start rare; classes do best from equal shares
        frequencies = label_frequencies(rows["train"]["labels"], script.task, len(label2id))
        model.set_label_prior(frequencies)
    if script.lora:
        model = get_lora_model(model, r=8, new_tokens=processor.new_tokens)

    # 4. Train.
    config = model.config
    trainer = Trainer(
        model=model,
        args=training,
        train_dataset=rows["train"],
        eval_dataset=rows["validation"],
        data_collator=DataCollatorForMaskedSeq(processor),
        compute_metrics=make_compute_metrics(config),
        processing_class=processor,
    )
    # On validation data, at the end; both are saved with the model.
    tuning = ThresholdTuningCallback(trainer, objective=objective, fit_temperature=True)
    trainer.add_callback(tuning)
    trainer.train()

    # 5. Test score beside two baselines, saved with the model.
    logits, labels, results = trainer.predict(rows["test"])
    measure = make_compute_metrics(config)  # tuned
    results.update({f"test_tuned_{k}": v for k, v in measure((logits, labels)).items()})
    results.update(baseline_scores(data["train"], data["test"]))
    results.update({f"test_{name}": n for name, n in processor.stats(rows["test"]).items()})
    results["trained_share"] = model.num_parameters(only_trainable=True) / model.num_parameters()
    trainer.save_model()
    trainer.save_metrics("test", results, combined=False)
    trainer.log_metrics("test", results)
    if script.report:
        path = f"{training.output_dir}/report.html"
        write_report(training.output_dir, data["test"], path, train=data["train"])
        print(f"The report is {path}")


if __name__ == "__main__":
    main()
