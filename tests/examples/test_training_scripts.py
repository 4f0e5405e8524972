"""Scripts that train on files: columns, words, and one file that is split."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

import pytest
from tokenizers import normalizers

from irti_custom import AutoModelForMaskedSeqModeling, MaskedSeqProcessor, read_records
from tests.scoring import EXAMPLES
from tests.tiny import word_tokenizer

assert str(EXAMPLES) in sys.path


@pytest.fixture
def train(monkeypatch, tmp_path, base, capsys):
    """Run a script in this process for two steps; return what it printed."""

    def call(script: Any, *flags: str, **named: Any) -> str:
        settings = {"model_name_or_path": base, "output_dir": tmp_path / "out", "max_steps": 2}
        settings |= {"use_cpu": True, "per_device_train_batch_size": 4, "max_length": 32, **named}
        arguments = [part for name, value in settings.items() for part in (f"--{name}", str(value))]
        monkeypatch.setattr(sys, "argv", [script.__name__, *arguments, *flags])
        script.main()
        return capsys.readouterr().out

    return call


def write_lines(path: Path, records: list[dict]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def texts() -> list[dict]:
    """Forty documents of two sentences, and ten copies of one text."""
    spans = [{"start": 0, "end": 3, "labels": ["a"]}, {"start": 10, "end": 14, "labels": ["b"]}]
    records = [
        {"id": f"{n}.{part}", "text": f"Ann likes Rome {n} {part}", "spans": spans}
        for n in range(40)
        for part in range(2)
    ]
    copies = [{"id": f"copy{n}", "text": "Ann likes Rome", "spans": spans} for n in range(10)]
    return [*records, *copies]


def test_one_file_is_split_and_the_labels_of_each_part_are_printed(train, tmp_path):
    import finetune

    file = write_lines(tmp_path / "all.jsonl", texts())
    printed = train(finetune, train_file=file, validation_share=0.2)  # and a tenth for the test
    numbers = {line.split()[0]: line.split()[1:] for line in printed.splitlines()[:4]}
    assert numbers["label"] == ["train", "validation", "test"]
    assert numbers["a"] == numbers["b"] == numbers["(records)"]
    sizes = [int(number) for number in numbers["(records)"]]
    assert sum(sizes) == 90
    assert all(abs(size - share * 90) <= 2 for size, share in zip(sizes, (0.7, 0.2, 0.1)))
    results = json.loads((tmp_path / "out" / "test_results.json").read_text())
    assert results["test_positions"] == 2 * sizes[2]


@pytest.mark.parametrize("shares", [{}, {"validation_share": 0.2}])
def test_parts_of_one_file_share_no_document_and_no_text(shares, tmp_path):
    from training_data import DataArguments, read_parts

    file = str(write_lines(tmp_path / "all.jsonl", texts()))
    data = read_parts(DataArguments(train_file=file, **shares))
    assert sum(data.num_rows.values()) == 90
    for key in (lambda record: record["id"].split(".")[0], lambda record: record["text"]):
        parts = [{key(record) for record in part} for part in data.values()]
        assert sum(map(len, parts)) == len(set().union(*parts))


def test_a_test_file_stays_whole_beside_a_share_for_validation(tmp_path):
    from training_data import DataArguments, read_parts

    file = str(write_lines(tmp_path / "all.jsonl", texts()))
    test = str(write_lines(tmp_path / "test.jsonl", texts()[:6]))
    data = read_parts(DataArguments(train_file=file, test_file=test, validation_share=0.5))
    assert data["test"]["id"][:] == [record["id"] for record in texts()[:6]]
    assert data.num_rows["train"] + data.num_rows["validation"] == 90


def test_a_part_has_a_file_or_a_share():
    from training_data import DataArguments, read_parts

    given = DataArguments(train_file="a.jsonl", test_file="b.jsonl", test_share=0.1)
    with pytest.raises(SystemExit, match="Give --test_file or --test_share, not both"):
        read_parts(given)


def tables(labels: list[list[str] | None]) -> list[dict]:
    return [
        {
            "title": "t" if number % 2 else None,
            "columns": [
                {"header": header, "values": [value, None], "labels": names}
                for header, value, names in zip(["name", None], ["Ann", "Rome"], labels)
            ],
        }
        for number in range(8)
    ]


@pytest.mark.parametrize(
    ("task", "labels"),
    [
        ("multilabel", [["a", "b"], []]),
        ("multilabel", [["a"], None]),
        ("multiclass", [["a"], ["b"]]),
    ],
)
def test_columns_train_and_stand_beside_baselines(task, labels, train, tmp_path):
    import finetune_columns

    file = write_lines(tmp_path / "tables.jsonl", tables(labels))
    files = {f"{name}_file": file for name in ("train", "validation", "test")}
    for headers in (True, False):
        printed = train(finetune_columns, task=task, headers=headers, **files)
        assert "lookup baseline" in printed
        micro = next(line for line in printed.splitlines() if line.startswith("micro"))
        assert micro.split()[-1] == "1.000"  # look up the value
    results = json.loads((tmp_path / "out" / "test_results.json").read_text())
    assert results["num_positions"] == 16 - 8 * (None in labels)
    assert MaskedSeqProcessor.from_pretrained(tmp_path / "out").trained_on == ["columns"]


def test_texts_are_no_tables(train, tmp_path):
    import finetune_columns

    file = write_lines(tmp_path / "all.jsonl", texts())
    with pytest.raises(SystemExit, match=r"must hold tables, got \['id', 'text', 'spans'\]"):
        train(finetune_columns, train_file=file)


WORDS = "Ann\tperson\tnew\nlikes\tO\tO\nRome\tplace\tnew\n\n"
BIO = "Ann B-per\nBob I-per\nlikes O\nRome B-loc\n\n"


def test_words_have_a_label_per_column_and_o_is_none(train, tmp_path):
    import finetune_words

    (tmp_path / "words.conll").write_text(WORDS * 8)
    files = {f"{n}_file": tmp_path / "words.conll" for n in ("train", "validation", "test")}
    printed = train(finetune_words, "--tag_columns", "1", "2", format="conll", **files)
    assert "F1 of entities" not in printed
    model = AutoModelForMaskedSeqModeling.from_pretrained(tmp_path / "out")
    assert sorted(model.config.label2id) == ["new", "person", "place"]
    results = json.loads((tmp_path / "out" / "test_results.json").read_text())
    assert (results["num_positions"], results["new_support"]) == (24, 16)


@pytest.mark.parametrize("task", ["multilabel", "multiclass"])
def test_of_bio_tags_entities_are_scored_too(task, train, tmp_path):
    import finetune_words

    (tmp_path / "words.conll").write_text(BIO * 8)
    files = {f"{n}_file": tmp_path / "words.conll" for n in ("train", "validation", "test")}
    flags = {"task": task, "max_steps": 60, "learning_rate": 0.01, "warmup_steps": 0, **files}
    assert "F1 of entities: 1.000" in train(finetune_words, **flags)


def test_words_without_a_token_are_left_out_and_counted(train, tmp_path):
    import finetune_words

    (tmp_path / "words.conll").write_text(BIO.replace("likes", "\u200b") * 8)
    files = {f"{n}_file": tmp_path / "words.conll" for n in ("train", "validation", "test")}
    tokenizer = word_tokenizer()
    tokenizer.backend_tokenizer.normalizer = normalizers.Replace("\u200b", "")
    tokenizer.save_pretrained(tmp_path / "base")
    printed = train(finetune_words, **files)
    assert "{'train': 8, 'validation': 8, 'test': 8}" in printed
    results = json.loads((tmp_path / "out" / "test_results.json").read_text())
    assert results["num_positions"] == 24


def test_stock_token_classification_reads_the_same_files(train, tmp_path):
    import stock_words

    (tmp_path / "words.conll").write_text(BIO * 8)
    files = {f"{n}_file": tmp_path / "words.conll" for n in ("train", "validation", "test")}
    flags = {"max_steps": 60, "learning_rate": 0.01, "warmup_steps": 0, **files}
    assert "F1 of entities: 1.000; words not read: 0" in train(stock_words, **flags)


def test_stock_token_classification_has_a_class_for_each_set_of_tags(train, tmp_path):
    import stock_words

    (tmp_path / "words.conll").write_text(WORDS * 8)
    files = {f"{n}_file": tmp_path / "words.conll" for n in ("train", "validation", "test")}
    flags = {"format": "conll", "max_steps": 60, "learning_rate": 0.01, "warmup_steps": 0, **files}
    printed = train(stock_words, "--tag_columns", "1", "2", **flags)
    assert "Micro F1 of labels: 1.000; words not read: 0" in printed


def slow_entities(tags: list[str]) -> set[tuple[int, int, str]]:
    """Entities as CoNLL's scorer finds them, word by word."""
    found, start = set(), None
    for index, tag in enumerate([*tags, "O"]):
        before = tags[index - 1] if index else "O"
        begins = tag[0] == "B" or (tag[0] == "I" and (before == "O" or before[2:] != tag[2:]))
        if start is not None and (tag == "O" or begins):
            found.add((start, index, before[2:]))
            start = None
        if begins:
            start = index
    return found


def test_entity_f1_agrees_with_a_slow_count():
    from word_tags import entity_f1

    generator = random.Random(0)
    choices = ["O", "B-a", "I-a", "B-b", "I-b"]
    truth, predicted = (
        [generator.choices(choices, k=generator.randrange(9)) for _ in range(200)] for _ in range(2)
    )
    pairs = [(slow_entities(one), slow_entities(other)) for one, other in zip(truth, predicted)]
    hits = sum(len(one & other) for one, other in pairs)
    assert entity_f1(truth, predicted) == 2 * hits / sum(len(a) + len(b) for a, b in pairs)
    assert entity_f1([[]], [[]]) == 0.0


def test_columns_of_words_have_the_labels_of_the_innermost_span(tmp_path):
    from word_tags import write_columns

    spans = [
        {"start": 0, "end": 15, "labels": ["event", "new"]},
        {"start": 4, "end": 8, "labels": ["place", "old"]},
    ]
    record = {"id": "0", "text": "The Rome of Ann, too", "spans": spans}
    write_columns([record], tmp_path / "a.conll")
    (read,) = read_records(tmp_path / "a.conll", "conll", words="all", tag_columns=[1, 2])
    tags = [span["labels"] for span in read["spans"]]
    assert tags == [["event", "new"], ["place", "old"], *[["event", "new"]] * 2, ["O"], ["O"]]


def test_generated_tables_are_the_same_each_time_with_headers_that_training_never_saw(
    monkeypatch, tmp_path
):
    pytest.importorskip("faker")
    import table_data
    from demo_data import RowMaker

    def headers(unseen: int) -> list[str | None]:
        maker = RowMaker("tables", unseen)
        made = [table_data.make_table(maker, kinds=True) for _ in range(100)]
        return [column["header"] for table in made for column in table["columns"]]

    assert headers(0) == headers(0)
    assert set(headers(0)) & set(headers(1)) <= {None}
