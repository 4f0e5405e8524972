"""CoNLL-U with entities in MISC."""

from __future__ import annotations

import pytest

from irti_custom import read_records, write_records
from irti_custom.formats.read_write import read_with_report
from tests.formats.strategies import position_labels

FIELDS = "GRP-etype-infstat-centering-minspan-link-identity"


def rows(*words):
    """Lines of a number, a word and its last column."""
    return "".join(f"{n}\t{form}" + "\t_" * 7 + f"\t{misc}\n" for n, form, misc in words)


# Our own sentences in the shape that GUM's README explains.
SAMPLE = (
    f"""\
# newdoc id = GUM_x
# global.Entity = {FIELDS}
# sent_id = GUM_x-1
# text = The second campaign in April 2015, Ann's.
"""
    + rows(
        (1, "The", "Entity=(188-event-acc:inf-cf2-3-coref"),
        (2, "second", "_"),
        (3, "campaign", "_"),
        (4, "in", "Discourse=x"),
        (5, "April", "Entity=(189-time-new-cf4-1,2-coref"),
        (6, "2015", "Entity=(175-time-giv:inact-cf5-1-coref)189)188)|SpaceAfter=No"),
        (7, ",", "_"),
        ("8-9", "Ann's", "SpaceAfter=No"),
        (8, "Ann", "Entity=(1-person-new-cf1-1-coref-Ann-Smith)"),
        ("8.1", "_", "_"),
        (9, "'s", "_"),
        (10, ".", "_"),
    )
    + "\n# text = It rains\n"
    + rows((1, "It", "_"), (2, "rains", "_"))
)


def write(tmp_path, content, name="a.conllu"):
    path = tmp_path / name
    path.write_text(content)
    return path


def test_nested_entities_of_a_sample(tmp_path):
    records, report = read_with_report(write(tmp_path, SAMPLE))
    assert records["id"][:] == ["GUM_x-1", "1"]
    assert records["text"][:] == ["The second campaign in April 2015, Ann's.", "It rains"]
    assert sorted(position_labels(records)) == [
        ("2015", ["time"]),
        ("Ann", ["person"]),
        ("April 2015", ["time"]),
        ("The second campaign in April 2015", ["event"]),
    ]
    assert report.labels == {"time": 2, "event": 1, "person": 1}
    records = read_records(tmp_path / "a.conllu", entity_fields=["etype", "infstat"])
    assert ("2015", ["time", "giv:inact"]) in position_labels(records)


def test_a_word_that_is_not_seen_in_its_token_has_all_of_it(tmp_path):
    words = [("1-2", "zum", "_"), (1, "zu", "_"), (2, "dem", "Entity=(1-x(2-y")]
    words += [(3, "Zoo", "Entity=1)2)")]
    path = write(tmp_path, "# global.Entity = GRP-etype\n# text = zum Zoo\n" + rows(*words))
    assert position_labels(read_records(path)) == [("zum Zoo", ["x", "y"])]


def test_other_declarations_of_fields(tmp_path):
    head = "# global.Entity = eid-etype-head-other\n"
    content = head + rows((1, "Ann", "Entity=(e1-person-1-(e2--1)"), (2, "sings", "Entity=e1)"))
    content = content.replace("-(", "(")
    assert sorted(position_labels(read_records(write(tmp_path, content)))) == [
        ("Ann", []),
        ("Ann sings", ["person"]),
    ]


NOT_HELD = {
    "discontinuous span": [
        (1, "Ann", "Entity=(5[1/2]-x)"),
        (2, "a", "_"),
        (3, "b", "Entity=(5[2/2]-x)"),
    ],
    "entity at an empty node": [(1, "Ann", "_"), ("1.1", "_", "Entity=(5-x)")],
    "entity across sentences": [(1, "Ann", "Entity=(5-x")],
}


@pytest.mark.parametrize("kind", NOT_HELD)
def test_what_a_record_cannot_hold_has_a_line_or_is_counted(tmp_path, kind):
    end = "\n" + rows((1, "End", "Entity=5)" if "across" in kind else "_"))
    content = "# global.Entity = GRP-etype\n" + rows(*NOT_HELD[kind]) + end
    path = write(tmp_path, content)
    with pytest.raises(ValueError, match=rf"a\.conllu, line \d: A span must be .* an {kind}"):
        read_records(path)
    records, report = read_with_report(path, on_error="skip")
    assert report.skipped == {kind: 1}
    assert records["spans"][:] == [[], []]


BROKEN = {
    "columns": ("1\tAnn\n", "line 1: A word must have a number and 10 columns"),
    "declared": (rows((1, "Ann", "Entity=(1-x)")), "be declared in `# global.Entity`, got"),
    "open": (
        SAMPLE.replace("Entity=(189-time", "Entity=(180-time"),
        "must close an entity that is",
    ),
    "brackets": (SAMPLE.replace("Entity=(188", "Entity=((188"), "must be in brackets"),
    "no bracket": (SAMPLE.replace("Entity=(188", "Entity=188"), "must have a bracket"),
    "none": (rows((1, "Ann", "_")), "must have entities, Entity=... in its last column"),
    "fields": (SAMPLE.replace("etype", "type"), r"must be among the fields of an entity, \['GRP'"),
    "text": (SAMPLE.replace("text = The", "text = A"), "line 5: The words of a sentence must make"),
    "empty": ("", "must have entities|at least one record"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_file_says_so(tmp_path, case):
    content, message = BROKEN[case]
    with pytest.raises(ValueError, match=message):
        read_records(write(tmp_path, content))


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("9\tAnn", "line that is no word"),
        (rows((9, "Bob", "Entity=77)")), "bracket that closes nothing"),
        (rows((9, "Bob", "Entity=((77-x")), "brackets of no entity"),
        (rows((9, "Bob", "Entity=77-x")), "brackets of no entity"),
    ],
)
def test_one_bad_line_stops_no_file(tmp_path, line, kind):
    path = write(tmp_path, SAMPLE + f"\n{line.strip()}\n" + rows((1, "Ulm", "Entity=(5-place)")))
    with pytest.raises(ValueError, match=r"a\.conllu, line 22: .*on_error='skip'"):
        read_records(path)
    records, report = read_with_report(path, on_error="skip")
    assert position_labels(records)[-1] == ("Ulm", ["place"])
    assert report.skipped == {kind: 1}


def test_it_is_only_read(tmp_path):
    with pytest.raises(ValueError, match="format='conllu' is only read"):
        write_records([{"text": "a", "spans": []}], tmp_path / "a.conllu", "conllu")
