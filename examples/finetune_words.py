"""Label every word of your own sentences: any number of labels each, or one.

    python examples/finetune_words.py --train_file train.conll --validation_file dev.conll \
        --test_file test.conll --format conll --tag_columns 1 2

A file has a word a line with its tags, in columns that are numbered from 0, and an empty line
between sentences; or it is a data set with columns of tags, named by --tag_columns. The tags of a
word are its labels. "O" says that it has none, or with --task multiclass it is one more class.

    Ann     person    new
    saw     O         O

GUM as two tags a word, 5 epochs, seeds 42 to 44: micro F1 .700, .703 and .702; `stock_words.py`,
with a class for each pair of tags, .685, .677 and .683; 7 to 9 minutes of one core each. WNUT-17 as
BIO: F1 of entities .446, .431 and .443, after four minutes; stock .456, .426 and .418, after three.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from baselines import label_sets, score_table
from training_data import DataArguments, default_encoder, parse_arguments, read_parts
from transformers import AutoTokenizer, Trainer
from word_tags import best_tag, entity_f1, prepare_words, tag_keys

from irti_custom import (
    AutoModelForMaskedSeqModeling,
    DataCollatorForMaskedSeq,
    MaskedSeqClassificationPipeline,
    MaskedSeqProcessor,
    ThresholdTuningCallback,
    label_frequencies,
    make_compute_metrics,
)
from irti_custom.formats.tag_schemes import parse


@dataclass
class ScriptArguments(DataArguments):
    tag_columns: list[str] = field(default_factory=lambda: ["-1"])
    model_name_or_path: str = field(default_factory=default_encoder)
    task: str = field(default="multilabel", metadata={"choices": ["multilabel", "multiclass"]})
    read: str = "start_end"  # a word's first and last token; or "start", "end", "mask", "marker"
    max_length: int = 256


def main() -> None:
    # 1. Settings. These defaults are the recipe; each is also a flag.
    recipe = {"output_dir": "out/words", "learning_rate": 2e-4, "num_train_epochs": 2}
    recipe |= {"save_strategy": "no", "load_best_model_at_end": False}
    script, training = parse_arguments(ScriptArguments, **recipe)

    # 2. Data.
    columns = tag_keys(script.tag_columns)
    data = read_parts(script, words="all", tag_columns=columns)
    tokenizer = AutoTokenizer.from_pretrained(script.model_name_or_path)
    outside = "O" if script.task == "multilabel" else None
    data = data.map(prepare_words, fn_kwargs={"tokenizer": tokenizer, "outside": outside})
    lost = {name: sum(records["left_out"]) for name, records in data.items()}
    print(f"Words without a token, left out: {lost}")
    names = set().union(*(labels for records in data.values() for labels in label_sets(records)))
    label2id = {name: index for index, name in enumerate(sorted(names))}
    processor = MaskedSeqProcessor(
        tokenizer,
        read=script.read,
        max_length=script.max_length,
        label2id=label2id,
        task=script.task,
    )

    def encode(batch: dict, ids: list[int]) -> dict:
        return processor.encode(batch, example_ids=ids)

    old = data.column_names["train"]
    rows = data.map(encode, batched=True, with_indices=True, remove_columns=old)

    # 3. Model.
    model = AutoModelForMaskedSeqModeling.from_pretrained(
        script.model_name_or_path, label2id=label2id, task=script.task
    )
    processor.prepare_model(model)
    if script.task == "multilabel":  # most words have no label
        labels = rows["train"]["labels"]
        model.set_label_prior(label_frequencies(labels, script.task, len(label2id)))

    # 4. Train.
    trainer = Trainer(
        model=model,
        args=training,
        train_dataset=rows["train"],
        eval_dataset=rows["validation"],
        data_collator=DataCollatorForMaskedSeq(processor),
        compute_metrics=make_compute_metrics(model.config),
        processing_class=processor,
    )
    if script.task == "multilabel":  # on validation data, at the end; saved with the model
        trainer.add_callback(ThresholdTuningCallback(trainer, objective="micro_f1"))
    trainer.train()
    trainer.save_model()

    # 5. Test scores beside two baselines, and of entities, where the tags are BIO.
    logits, labels, _ = trainer.predict(rows["test"])
    metrics = make_compute_metrics(model.config, per_label=True)((logits, labels))
    print(f"\n{score_table(metrics, label2id, data['train'], data['test'])}")
    if len(columns) == 1 and all(parse(name) for name in label2id):
        tagger = MaskedSeqClassificationPipeline(model, processor, batch_size=64)
        truth = [[(s["labels"] or ["O"])[0] for s in one["spans"]] for one in data["test"]]
        predicted = [[best_tag(word) for word in words] for words in tagger(iter(data["test"]))]
        metrics["entity_f1"] = entity_f1(truth, predicted)
        print(f"\nF1 of entities: {metrics['entity_f1']:.3f}")
    trainer.save_metrics("test", metrics, combined=False)


if __name__ == "__main__":
    main()
