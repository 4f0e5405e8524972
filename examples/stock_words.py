"""Label every word with Transformers' own token classification, beside `finetune_words.py`.

    python examples/stock_words.py --train_file train.conll --validation_file dev.conll \
        --test_file test.conll

The same files, encoder, epochs, learning rate and batches; each word is read at its first token.
It has one class: of several --tag_columns, a class for each set of tags that a word has. Words that
are not read, beyond `max_length` or without a token, are left out and counted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from baselines import micro_f1
from training_data import DataArguments, default_encoder, parse_arguments, read_parts
from transformers import (
    AutoModelForTokenClassification,
    AutoTokenizer,
    DataCollatorForTokenClassification,
    Trainer,
)
from word_tags import entity_f1, tag_keys

from irti_custom import IGNORE_INDEX


@dataclass
class ScriptArguments(DataArguments):
    tag_columns: list[str] = field(default_factory=lambda: ["-1"])
    model_name_or_path: str = field(default_factory=default_encoder)
    max_length: int = 256
    task: str = "multiclass"


def main() -> None:
    recipe = {"output_dir": "out/stock_words", "learning_rate": 2e-4, "num_train_epochs": 2}
    recipe |= {"save_strategy": "no", "load_best_model_at_end": False}
    script, training = parse_arguments(ScriptArguments, **recipe)
    data = read_parts(script, words="all", tag_columns=tag_keys(script.tag_columns))
    tags = {
        name: [[tuple(span["labels"]) for span in spans] for spans in records["spans"]]
        for name, records in data.items()
    }
    classes = sorted({one for part in tags.values() for sentence in part for one in sentence})
    names = [" + ".join(one) for one in classes]
    tokenizer = AutoTokenizer.from_pretrained(script.model_name_or_path)

    def encode(record: dict[str, Any]) -> dict[str, Any]:
        words = [record["text"][span["start"] : span["end"]] for span in record["spans"]]
        row = tokenizer(
            words, is_split_into_words=True, truncation=True, max_length=script.max_length
        )
        word_ids, labels = row.word_ids(), []
        for before, word in zip([None, *word_ids], word_ids):
            first = word is not None and word != before
            of_word = record["spans"][word]["labels"] if first else ()
            labels.append(classes.index(tuple(of_word)) if first else IGNORE_INDEX)
        return {**row, "labels": labels}

    rows = data.map(encode, remove_columns=data.column_names["train"])
    trainer = Trainer(
        model=AutoModelForTokenClassification.from_pretrained(
            script.model_name_or_path,
            id2label=dict(enumerate(names)),
            label2id={name: index for index, name in enumerate(names)},
        ),
        args=training,
        train_dataset=rows["train"],
        eval_dataset=rows["validation"],
        data_collator=DataCollatorForTokenClassification(tokenizer),
        processing_class=tokenizer,
    )
    trainer.train()

    # Rows come back in another order, but with their labels.
    logits, labels, _ = trainer.predict(rows["test"])
    kept = labels != IGNORE_INDEX
    predicted, truth = (
        [[classes[i] for i in row[keep]] for row, keep in zip(ids, kept)]
        for ids in (logits.argmax(-1), labels)
    )
    missing = sum(map(len, tags["test"])) - sum(map(len, truth))
    if len(script.tag_columns) == 1:
        bio = [[[tag for (tag,) in words] for words in part] for part in (truth, predicted)]
        print(f"\nF1 of entities: {entity_f1(*bio):.3f}; words not read: {missing}")
    else:
        true, found = (
            [{*tags} - {"O"} for words in part for tags in words] for part in (truth, predicted)
        )
        print(f"\nMicro F1 of labels: {micro_f1(true, found):.3f}; words not read: {missing}")


if __name__ == "__main__":
    main()
