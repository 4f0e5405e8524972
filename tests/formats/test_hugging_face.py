"""Words and tags of Hugging Face data sets."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from pathlib import Path

import datasets
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Sequence, Value
from hypothesis import given
from hypothesis import strategies as st

from irti_custom import read_records, write_records
from irti_custom.formats.read_write import read_with_report
from tests.formats.strategies import fast, numbered, position_labels, round_trip, sentences

NAMES = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]


def rows(names=NAMES, **columns):
    """The shape that data sets such as conll2003 have on the Hub."""
    columns = {
        "tokens": [["Ann", "Ross", "saw", "Rome"], ["Rain"]],
        "ner_tags": [[1, 2, 0, 3], [0]],
        **columns,
    }
    tags = Sequence(ClassLabel(names=names))
    features = {"tokens": Sequence(Value("string")), "ner_tags": tags}
    features.update({name: Value("string") for name in columns if name not in features})
    return Dataset.from_dict(columns, features=Features(features))


def test_names_come_from_the_features():
    records, report = read_with_report(rows(id=["a", "b"]))
    assert position_labels(records) == [("Ann Ross", ["PER"]), ("Rome", ["LOC"])]
    assert records["id"][:] == ["a", "b"]
    assert report.notes == {"tags read as BIO, which was found out": 1}


@given(records=st.lists(sentences(), min_size=1, max_size=4))
@fast
def test_sentences_come_back_from_json(records, tmp_path):
    records = numbered(records)
    assert round_trip(records, tmp_path / "a.jsonl.gz", "hugging-face") == records


@pytest.mark.parametrize("scheme", ["BIO", "IOB1", "IOBES"])
def test_sentences_come_back_from_a_folder(tmp_path, scheme):
    records = read_records(rows())
    write_records(records, tmp_path / "a", "hugging-face", scheme=scheme)
    assert read_records(tmp_path / "a", scheme=scheme).to_list() == records.to_list()
    names = datasets.load_from_disk(str(tmp_path / "a")).features["ner_tags"].feature.names
    assert names[0] == "O"
    assert len(names) == {"IOBES": 9}.get(scheme, 5)
    with pytest.raises(ValueError, match="must be a new or an empty folder"):
        write_records(records, tmp_path / "a", "hugging-face")


def test_every_word_is_a_position(tmp_path):
    records = read_records(rows(), words="all")
    assert position_labels(records)[:2] == [("Ann", ["B-PER"]), ("Ross", ["I-PER"])]
    write_records(records, tmp_path / "a", "hugging-face", words="all")
    assert read_records(tmp_path / "a", words="all").to_list() == records.to_list()


def test_a_split_is_chosen_and_never_guessed(tmp_path):
    both = DatasetDict(train=rows(), test=rows().select([1]))
    both.save_to_disk(tmp_path / "a")
    for source in (both, tmp_path / "a"):
        assert len(read_records(source, split="test")) == 1
        with pytest.raises(ValueError, match=r"must be one of \['train', 'test'\].*got None"):
            read_records(source)
    for source in (None, [], rows().to_iterable_dataset()):
        with pytest.raises(ValueError, match="must be a path, a Dataset or a DatasetDict, got"):
            read_records(source)
    with pytest.raises(ValueError, match="`split` is for a data set that has splits"):
        read_records(rows(), split="train")


def test_a_name_on_the_hub_is_loaded_only_when_the_format_says_so(monkeypatch):
    asked = []
    monkeypatch.setattr(
        datasets, "load_dataset", lambda name: asked.append(name) or DatasetDict(train=rows())
    )
    assert len(read_records("someone/news", "hugging-face", split="train")) == 2
    assert asked == ["someone/news"]
    with pytest.raises(FileNotFoundError, match="got nothing"):
        read_records("someone/news")


def test_files_of_run_ner_are_read_under_any_name(tmp_path):
    row = '{"words": ["Ann", "sings"], "ner": ["B-PER", "O"], "pos": ["NNP", "VBZ"]}\n'
    for name in ("a.json", "a.txt"):
        (tmp_path / name).write_text(row)
        records, report = read_with_report(tmp_path / name)
        assert position_labels(records) == [("Ann", ["PER"])]
        assert report.notes["field 'pos' not kept"] == 1
    records = read_records(tmp_path / "a.json", words="all", tag_columns=["pos"])
    assert position_labels(records) == [("Ann", ["NNP"]), ("sings", ["VBZ"])]


def test_wrong_rows_say_where(tmp_path):
    with pytest.raises(ValueError, match=r"must have the columns \['tokens', 'tags'\], got"):
        read_records(rows(), tag_columns=["tags"])
    with pytest.raises(ValueError, match="row 0: `ner_tags` must have one tag for each of 2 words"):
        read_records(rows(tokens=[["Ann", "saw"], ["Rain"]]))
    with pytest.raises(ValueError, match="numbers of a ClassLabel, got 1 of None"):
        read_records(Dataset.from_dict({"tokens": [["Ann"]], "ner_tags": [[1]]}))
    with pytest.raises(ValueError, match="words='all' reads every tag"):
        read_records(rows(names=["O", "PER", "I-PER", "LOC", "I-LOC"]))
    path = tmp_path / "a.jsonl"
    path.write_text('{"tokens": ["a"], "ner_tags": ["O"]}\n{"tokens": "a", "ner_tags": ["O"]}')
    with pytest.raises(ValueError, match=r"line 2: `tokens` must be a list of words"):
        read_records(path)


def test_blank_words_raise_or_are_counted():
    source = rows(tokens=[["Ann", "Ross", "", "Rome"], ["Rain"]])
    with pytest.raises(ValueError, match="row 0, word 2: Each word must be more than"):
        read_records(source)
    records, report = read_with_report(source, on_error="skip")
    assert records["text"][0] == "Ann Ross Rome"
    assert report.skipped == {"word of white space": 1}


CHILD = """
import sys
from irti_custom import read_records
for folder in sys.argv[1:]:
    try:
        list(read_records(folder, "hugging-face"))
        print("read")
    except ValueError as error:
        print(folder in str(error), flush=True)
"""


def test_a_damaged_folder_raises_with_its_name_and_never_ends_the_process(tmp_path):
    records = [
        {"text": f"Ann likes Rome {n}", "spans": [{"start": 0, "end": 3, "labels": ["person"]}]}
        for n in range(8)
    ]
    write_records(records, tmp_path / "whole", "hugging-face")
    draw, folders = random.Random(1), []
    for number in range(90):
        folders.append(str(shutil.copytree(tmp_path / "whole", tmp_path / f"copy {number}")))
        names = ["data-00000-of-00001.arrow"] * 4 + ["dataset_info.json", "state.json"]
        file = Path(folders[-1], draw.choice(names))
        content = bytearray(file.read_bytes())
        place = draw.randrange(len(content))
        if number % 3 == 0:
            content[place] ^= 1 << draw.randrange(8)
        elif number % 3 == 1:
            content[place:place] = content[place : place + draw.randrange(1, 60)]
        else:
            del content[place:]
        file.write_bytes(content)
    command = [sys.executable, "-c", CHILD, *folders]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    said = run.stdout.split()
    assert len(said) == 90
    assert "False" not in said
    assert said.count("True") > 60
