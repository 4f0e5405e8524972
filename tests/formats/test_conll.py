"""CoNLL columns, and the schemes of tags."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from irti_custom import read_records, write_records
from irti_custom.formats.read_write import read_with_report
from irti_custom.formats.tag_schemes import SCHEMES, Entity, detect_scheme, entities_of, tags_of
from tests.formats.strategies import fast, numbered, position_labels, round_trip, sentences

# The shape of the CoNLL-2003 files: four columns, IOB1, documents. The sentences are our own.
CONLL_2003 = """\
-DOCSTART- -X- O O

Ann NNP I-NP I-PER
Ross NNP I-NP I-PER
met VBD I-VP O
Bob NNP I-NP I-PER
Lee NNP I-NP B-PER
. . O O

Rain NN I-NP O

-DOCSTART- -X- O O

Ulm NNP I-NP I-LOC
"""


def write(tmp_path, content, name="a.conll"):
    path = tmp_path / name
    path.write_bytes(content.encode())
    return path


def test_a_sample_in_the_shape_of_conll_2003(tmp_path):
    records, report = read_with_report(write(tmp_path, CONLL_2003, "train.txt"))
    assert records["id"][:] == ["0.0", "0.1", "1.0"]
    assert records["text"][:] == ["Ann Ross met Bob Lee .", "Rain", "Ulm"]
    assert position_labels(records) == [
        ("Ann Ross", ["PER"]),
        ("Bob", ["PER"]),
        ("Lee", ["PER"]),
        ("Ulm", ["LOC"]),
    ]
    assert report.notes == {"tags read as IOB1, which was found out": 1}
    copy = tmp_path / "copy.conll.gz"
    write_records(records, copy, scheme="IOB1")
    assert read_records(copy).to_list() == records.to_list()


@given(records=st.lists(sentences(), min_size=1, max_size=4), scheme=st.sampled_from(SCHEMES))
@fast
def test_sentences_come_back_in_every_scheme(records, scheme, tmp_path):
    records = numbered(records)
    options = {"write": {"scheme": scheme}, "read": {"scheme": scheme}}
    assert round_trip(records, tmp_path / "a.conll", "conll", **options) == records


@given(records=st.lists(sentences(), min_size=1, max_size=4))
@fast
def test_bio_is_found_out_for_what_the_writer_wrote(records, tmp_path):
    records = numbered(records)
    assert round_trip(records, tmp_path / "a.conll", "conll") == records


@pytest.mark.parametrize("scheme", SCHEMES)
@given(data=st.data())
@fast
def test_tags_of_entities_are_read_as_these_entities(scheme, data):
    sizes = data.draw(st.lists(st.tuples(st.integers(1, 3), st.sampled_from(["", "A", "B"]))))
    entities, end = [], 0
    for size, label in sizes:
        entities += [Entity(end, end + size, label)] if label else []
        end += size
    assert entities_of(tags_of(entities, end, scheme), scheme) == (entities, [])


@pytest.mark.parametrize(
    ("tags", "scheme"),
    [
        ("B-X I-X O B-Y", "BIO"),
        ("B-X O B-X", "BIO"),
        ("O O", "BIO"),
        ("I-X I-X O I-Y", "IOB1"),
        ("I-X B-X O I-Y", "IOB1"),
        ("O I-X B-Y", "BIO"),  # neither: an error when it is read
        ("B-X E-X", "IOBES"),
        ("O U-X", "IOBES"),
        ("O X", None),
    ],
)
def test_scheme_is_found_out(tags, scheme):
    assert detect_scheme([tags.split()]) == scheme


@pytest.mark.parametrize("tags", ["B-X I-X L-X U-Y O", "B-X M-X E-X S-Y O", "B-X M-X E-X W-Y O"])
def test_letters_of_bilou_bmes_and_bmeow_are_read(tags):
    assert detect_scheme([tags.split()]) == "IOBES"
    assert entities_of(tags.split(), "IOBES") == ([(0, 3, "X"), (3, 4, "Y")], [])


MISFITS = {
    "I after O": ("BIO", "B-X O I-X B-X", 2, [(0, 1), (3, 4)], "got 'I-X' after 'O'"),
    "I after another": ("BIO", "B-X I-Y", 1, [(0, 1)], "got 'I-Y' after 'B-X'"),
    "I at first": ("BIO", "I-X", 0, [], "got 'I-X' after 'nothing'"),
    "E alone": ("IOBES", "E-X S-X", 0, [(1, 2)], "got 'E-X' after 'nothing'"),
    "no E": ("IOBES", "B-X O", 0, [], "must end with E-, got 'B-X'"),
    "no tag": ("BIO", "X O", 0, [], "must be O or one of BIO with a label, got 'X'"),
    "of another scheme": ("BIO", "S-X O", 0, [], "must be O or one of BIO with a label, got 'S-X'"),
}


@pytest.mark.parametrize("case", MISFITS)
def test_tag_outside_its_scheme_has_a_line_or_is_counted(tmp_path, case):
    scheme, tags, row, kept, message = MISFITS[case]
    path = write(tmp_path, "\n".join(f"w {tag}" for tag in tags.split()))
    with pytest.raises(ValueError, match=rf"a\.conll, line {row + 1}: .*{message}"):
        read_records(path, "conll", scheme=scheme)
    records, report = read_with_report(path, "conll", scheme=scheme, on_error="skip")
    starts = [(2 * start, 2 * end - 1) for start, end in kept]
    assert [(span["start"], span["end"]) for span in records[0]["spans"]] == starts
    assert report.skipped == {f"invalid {scheme} tag": 1}


def test_every_word_is_a_position(tmp_path):
    path = write(tmp_path, CONLL_2003)
    records = read_records(path, words="all", tag_columns=[1, 3])
    assert position_labels(records)[:3] == [
        ("Ann", ["NNP", "I-PER"]),
        ("Ross", ["NNP", "I-PER"]),
        ("met", ["VBD", "O"]),
    ]
    assert records[0]["spans"][-1]["labels"] == [".", "O"]
    one = read_records(path, "conll", words="all")
    copy = tmp_path / "b.conll"
    write_records(one, copy, words="all")
    assert read_records(copy, words="all").to_list() == one.to_list()
    with pytest.raises(ValueError, match="each word must be a span with one label"):
        write_records(records, copy, words="all")


def test_columns_and_comments_of_other_files(tmp_path):
    # The shapes of GermEval 2014 and MultiCoNER: numbered words, a comment before a sentence.
    germeval = write(tmp_path, "#\thttp://x [2009]\n1\tAnn\tB-PER\tO\n2\tUlm\tB-LOC\tO\n", "a.tsv")
    options = {"word_column": 1, "tag_columns": [2, 3], "comment": "#"}
    records, report = read_with_report(germeval, "conll", **options)
    assert position_labels(records) == [("Ann", ["PER"]), ("Ulm", ["LOC"])]
    assert report.notes["comment not kept"] == 1
    multiconer = "# id 5 domain=en\nAnn _ _ B-PER\n# _ _ O\n\n# id 6\n\nBob _ _ O\n"
    path = write(tmp_path, multiconer)
    records, report = read_with_report(path, comment="# id")
    assert records["text"][:] == ["Ann #", "Bob"]
    assert report.notes["comment not kept"] == 2
    with pytest.raises(
        ValueError, match=r"`word_column` .* and `comment` which of its lines are comments"
    ):
        read_records(path)
    path = write(tmp_path, multiconer.partition("\n\n")[0])
    report = read_with_report(path, "conll", words="all").report
    assert sum("`comment` leaves it out" in note for note in report.notes) == 1
    with pytest.raises(ValueError, match="comment='#' leaves out comments"):
        read_records(write(tmp_path, "# id\nAnn B-X O\nUlm O O"), "conll")


HIPE = """\
TOKEN\tNE-COARSE\tNE-FINE\tMISC
# date = 1901
Ann\tB-pers\tO\t_
# line = 2
#\tO\tO\t_
Rome\tB-loc\tB-loc.town\tNoSpaceAfter

# date = 1902
Ulm\tO\tO\t_
"""


def test_comments_and_headers_between_words(tmp_path):
    path = write(tmp_path, HIPE, "a.tsv")
    with pytest.raises(ValueError, match=r"Tags must be O.*`tag_columns` says which"):
        read_records(path, comment="#")
    other = write(tmp_path, "Ann\tB-pers\n# date = 1901\nRome\tB-loc\n")
    with pytest.raises(ValueError, match=r"line 2: .*2 columns.*comment='#' leaves out comments"):
        read_records(other)
    assert read_records(other, comment="#")["text"][:] == ["Ann Rome"]
    records, report = read_with_report(path, comment="#", tag_columns=[1, 2])
    assert records["text"][:] == ["Ann # Rome", "Ulm"]
    assert position_labels(records) == [("Ann", ["pers"]), ("Rome", ["loc", "loc.town"])]
    assert report.notes["comment not kept"] == 3
    assert report.notes["line of headers not kept"] == 1
    path.write_text(HIPE.replace("Ann\tB-pers\tO\t_", "Ann\tB-pers"))
    with pytest.raises(ValueError, match=r"line 3: .*got \['Ann', 'B-pers'\]\. To count these"):
        # The advice to pass `comment` is in use already.
        read_records(path, "conll", comment="#", tag_columns=[1])


NUMBERED = {
    "GermEval": "#\tpage\t[2001]\t\n1\tAnn\tB-PER\tO\n2\tsaw\tO\tO\n\n1\tUlm\tB-LOC\tO\n",
    "CoNLL-X": "1\tAnn\t_\tB-PER\n2\tsaw\t_\tO\n\n1\tUlm\t_\tB-LOC\n",
    "from 0": "0 Ann B-PER\n1 saw O\n\n0 Ulm B-LOC\n",
    "going on": "1 Ann B-PER\n2 saw O\n\n3 Ulm B-LOC\n",
    "tokens of two words": "1-2 Annsaw O\n1 Ann B-PER\n2 saw O\n2.1 _ O\n\n1 Ulm B-LOC\n",
}


@pytest.mark.parametrize("case", NUMBERED)
def test_numbers_of_words_are_not_read_as_words(tmp_path, case):
    path = write(tmp_path, NUMBERED[case])
    for options in ({}, {"words": "all"}):
        with pytest.raises(ValueError, match=r"The first column must hold words.*word_column=1"):
            read_records(path, **options)
    tags = 2 if case == "GermEval" else -1
    options = {"tag_columns": [tags], "comment": "#"}
    records = read_records(path, word_column=1, **options)
    assert position_labels(records) == [("Ann", ["PER"]), ("Ulm", ["LOC"])]
    assert read_records(path, word_column=0, **options)["text"][-1] in ("0", "1", "3")
    assert read_records(write(tmp_path, "7 B-X\n8 O\n\n1 O\n"))["text"][:] == ["7 8", "1"]


@pytest.mark.parametrize("space", ["\u00a0", "\u202f", "\u3000", "\u2028", "\x85", "\x0b", "\x0c"])
@pytest.mark.parametrize("divider", [" ", "\t", " \t"[:1] * 3])
def test_only_spaces_and_tabs_divide_columns(tmp_path, space, divider):
    words = [f"10{space}000", "cats", f"{space}saw{space}"]
    lines = [f"{word}{divider}{tag}" for word, tag in zip(words, ["B-sum", "O", "B-see"])]
    records = read_records(write(tmp_path, "\n".join(lines)))
    assert records["text"][:] == [" ".join(words)]
    assert position_labels(records)[0] == (words[0], ["sum"])


def test_words_with_other_spaces_come_back(tmp_path):
    spans = [span(0, 6, "sum"), span(12, 16, "see")]
    record = {"id": "0", "text": "10\u00a0000 cats \u00a0saw", "spans": spans}
    for name, format in (("a.conll", "conll"), ("a.json", "gliner"), ("b.json", "hugging-face")):
        assert round_trip([record], tmp_path / name, format) == [record]
    with pytest.raises(ValueError, match="must be words and single spaces"):
        write_records([{"text": "Ann \u00a0 saw", "spans": []}], tmp_path / "a.conll")


@pytest.mark.parametrize("end", ["\r", "\r\n", "\r\r\n"])
@pytest.mark.parametrize("name", ["a.conll", "a.txt", "a.tsv"])
def test_ends_of_lines_are_no_part_of_a_word(tmp_path, end, name):
    content = end.join(["Ann\tB-PER", "saw\tO", "", "Ulm\tB-LOC", ""])
    records = read_records(write(tmp_path, content, name))
    assert records["text"][:] == ["Ann saw", "Ulm"]
    assert position_labels(records) == [("Ann", ["PER"]), ("Ulm", ["LOC"])]
    with pytest.raises(ValueError, match=r"line 2: Each line must have"):
        read_records(write(tmp_path, content.replace("saw\t", "sa\rw\t"), "b.conll"))


def test_one_bad_line_or_tag_stops_no_file(tmp_path):
    content = "Ann\tB-x\nsaw\n\u00a0\tO\nBob\tPER\nRome\tB-y\n"
    records, report = read_with_report(write(tmp_path, content), on_error="skip")
    assert records["text"][:] == ["Ann Bob Rome"]
    assert position_labels(records) == [("Ann", ["x"]), ("Rome", ["y"])]
    assert report.skipped == {
        "line of other columns": 1,
        "word of white space": 1,
        "invalid BIO tag": 1,
    }
    with pytest.raises(ValueError, match="words='all' reads every tag"):
        read_records(write(tmp_path, "Ann PER\nsaw O\n"), on_error="skip")


def test_two_columns_of_tags_give_nested_entities(tmp_path):
    path = write(tmp_path, "Ulm\tB-LOC\tB-ORG\nTown\tO\tI-ORG\n")
    assert position_labels(read_records(path, tag_columns=[1, 2])) == [
        ("Ulm", ["LOC"]),
        ("Ulm Town", ["ORG"]),
    ]


def test_lines_may_end_as_on_windows_and_words_may_hold_spaces(tmp_path):
    path = write(tmp_path, "New York\tB-LOC\r\n \r\nUlm\tB-LOC\r\n")
    assert position_labels(read_records(path)) == [("New York", ["LOC"]), ("Ulm", ["LOC"])]


BROKEN = {
    "a column less": ("Ann X O\nRoss O\n", "line 2: Each line must have a word and its tags, 3"),
    "no tag": ("Ann\nRoss\n", "line 1: Each line must have a word and its tags, 2 columns"),
    "no word": ("\tO\n", "line 1: Each word must be more than white space, got ''"),
    "plain tags": ("Ann NNP\n", "a.conll: Tags must be O, or a letter and a label"),
    "only a document": ("-DOCSTART- O\n\n", "at least one record"),
    "empty": ("", "at least one record"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_file_has_a_line(tmp_path, case):
    content, message = BROKEN[case]
    with pytest.raises(ValueError, match=message):
        read_records(write(tmp_path, content), "conll")


def test_wrong_options_say_what_there_is(tmp_path):
    path = write(tmp_path, CONLL_2003)
    for columns in ([9], ["ner"]):
        with pytest.raises(ValueError, match=r"must be numbers of .*'s 4 columns"):
            read_records(path, tag_columns=columns)
    with pytest.raises(ValueError, match="`tag_columns` must have at least one number"):
        read_records(path, tag_columns=[])
    with pytest.raises(ValueError, match="`scheme` must be one of"):
        read_records(path, scheme="BILOU")
    with pytest.raises(ValueError, match="takes tags as they are, got scheme='BIO'"):
        read_records(path, words="all", scheme="BIO")
    with pytest.raises(ValueError, match="`words` must be one of"):
        read_records(path, words="some")
    with pytest.raises(ValueError, match="`split_words` must be one of"):
        write_records([{"text": "A", "spans": []}], path, split_words="some")


def span(start, end, *labels):
    return {"start": start, "end": end, "labels": list(labels)}


NOT_HELD = {
    "overlap": ("Ann saw", [span(0, 7, "x"), span(4, 7, "y")], "span that overlaps", 1),
    "labels": ("Ann", [span(0, 3, "x", "y")], "span with several labels", 0),
    "no label": ("Ann", [span(0, 3)], "span without a label", 0),
    "half a word": (
        "Ann saw",
        [span(0, 2, "x"), span(0, 7, "y")],
        "span that is not whole words",
        1,
    ),
    "white space": ("Ann  saw", [span(5, 8, "x")], "white space", 1),
    "nothing": ("  ", [], "text without words", 0),
}


@pytest.mark.parametrize("case", NOT_HELD)
def test_what_tags_cannot_hold_raises_or_is_counted(tmp_path, case):
    text, spans, kind, kept = NOT_HELD[case]
    records = [{"text": text, "spans": spans}, {"text": "Rome", "spans": []}]
    path = tmp_path / "a.conll"
    with pytest.raises(ValueError, match="record '0': "):
        write_records(records, path)
    assert not path.exists()
    report = write_records(records, path, on_error="skip")
    assert report.skipped[kind] == 1
    assert len(position_labels(read_records(path))) == kept


def test_punctuation_is_cut_off_when_asked_for(tmp_path):
    record = {"text": "(Ann's  in Rome.)", "spans": [span(1, 4, "x"), span(11, 15, "y")]}
    path = tmp_path / "a.conll"
    report = write_records([record], path, split_words="punctuation")
    assert report.notes == {"texts whose white space changed": 1}
    read = read_records(path)
    assert read["text"][:] == ["( Ann ' s in Rome . )"]
    assert position_labels(read) == [("Ann", ["x"]), ("Rome", ["y"])]
    half = {"text": "Annabel", "spans": [span(0, 3, "x")]}
    write_records([half], path, split_words="punctuation")
    assert read_records(path)["text"][:] == ["Ann abel"]


@pytest.mark.parametrize(
    ("text", "start", "end", "label_at"),
    [
        ("Ann sings", 0, 4, "Ann"),
        ("Ann\u00a0sings", 0, 4, "Ann"),
        ("I\nAnn", 1, 5, "Ann"),
        ("( Ann )", 1, 6, "Ann"),
    ],
)
@pytest.mark.parametrize("format", ["conll", "gliner", "hugging-face"])
def test_white_space_at_the_ends_of_a_span_is_left_out(
    tmp_path, text, start, end, label_at, format
):
    record = {"id": "0", "text": text, "spans": [span(start, end, "x")]}
    for split_words in ("punctuation", "spaces"):
        if split_words == "spaces" and any(one in text for one in "\n\u00a0"):
            continue
        path = tmp_path / f"{split_words}.json"
        report = write_records([record], path, format, split_words=split_words)
        assert report.notes["span without the white space at its ends"] == 1
        assert position_labels(read_records(path, format)) == [(label_at, ["x"])]
    with pytest.raises(ValueError, match="A span must hold a word, got") as caught:
        write_records([{"text": "a b", "spans": [span(1, 2, "x")]}], path, format)
    assert "split_words" not in str(caught.value)


def test_ids_that_are_not_held_are_counted(tmp_path):
    records = [{"id": name, "text": "Rome", "spans": []} for name in "ab"]
    assert write_records(records, tmp_path / "a.conll").notes == {"id not kept": 2}
    with pytest.raises(ValueError, match="format='conll' holds texts with spans, got a table"):
        write_records([{"columns": []}], tmp_path / "a.conll")
    with pytest.raises(ValueError, match="A word must not be -DOCSTART-"):
        write_records([{"text": "-DOCSTART-", "spans": []}], tmp_path / "a.conll")
