"""The page to try a model on: its decisions are the pipeline's, its HTML shows what is there."""

from __future__ import annotations

import doctest
import gzip
import html
import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from irti_custom import MaskedSeqClassificationPipeline, MaskedSeqProcessor, read_records
from tests.scoring import EXAMPLES, save_trained
from tests.tiny import tiny_model, word_tokenizer

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
TEXT = "Ann likes the [[Paris [[dog]]]] in [[Rome]]"
PLAIN = "Ann likes the Paris dog in Rome"
SPANS = [(20, 23), (14, 23), (27, 31)]
MARKED = "spans [[marked]] like this"


def save_grouped(folder: Path) -> str:
    names = dict(enumerate("abcd"))
    groups = {"kind": ["a", "b", "c"]}
    settings = {"groups": groups, "thresholds": 0.02, "temperature": 2.0}
    model = tiny_model("bert", num_labels=4, id2label=names, **settings)
    model.save_pretrained(folder)
    label2id = {name: index for index, name in names.items()}
    MaskedSeqProcessor(word_tokenizer(), max_length=32, label2id=label2id).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module", params=["multilabel", "multiclass", "groups"])
def model(request, tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp(request.param)
    return (
        save_grouped(folder) if request.param == "groups" else save_trained(folder, request.param)
    )


@pytest.fixture(scope="module")
def tagger(model):
    import app_tagger

    return app_tagger.Tagger(model)


@pytest.fixture(scope="module")
def one_tagger(tmp_path_factory):
    """For what does not depend on the model."""
    import app_tagger

    return app_tagger.Tagger(save_trained(tmp_path_factory.mktemp("one")))


def expected(answer: dict) -> list[str]:
    """The labels that the pipeline answers for a position."""
    labels = answer.get("labels") or ([answer] if answer.get("label") is not None else [])
    return [one["label"] for one in labels]


@pytest.mark.parametrize("threshold", [None, 0.0, 0.3, 0.5, 0.51, 1.0])
def test_decisions_are_those_of_the_pipeline(threshold, tagger, model):
    scored = tagger.score_text(TEXT, MARKED, "")
    pipe = MaskedSeqClassificationPipeline.from_pretrained(model)
    options = {} if threshold is None else {"thresholds": threshold}
    answers = pipe({"text": PLAIN, "spans": SPANS}, **options)
    found = tagger.decide(scored, threshold)[0]
    assert [[name for name, _ in labels] for labels in found] == [expected(one) for one in answers]
    for labels, answer in zip(found, answers):
        scores = [one["score"] for one in answer.get("labels", [answer])]
        assert [score for _, score in labels] == pytest.approx(scores[: len(labels)], abs=1e-4)


def test_moving_the_threshold_does_not_score_again(tagger, monkeypatch):
    scored = tagger.score_text(TEXT, MARKED, "")
    monkeypatch.setattr(tagger.pipe, "score", None)
    few, many = (tagger.show(scored, threshold)[0] for threshold in (1.0, 0.0))
    assert few.count('class="chip"') < many.count('class="chip"')


@pytest.mark.parametrize("module", ["app_html", "app_tagger"])
def test_examples_in_docstrings_run(module):
    assert doctest.testmod(__import__(module)).failed == 0


@pytest.mark.parametrize(
    ("text", "way", "pattern", "message"),
    [
        ("Ann", MARKED, "", "must have a span to label, got none"),
        ("", "every word", "", "must have a span to label, got none"),
        ("[[Ann", MARKED, "", "must be closed by ]], got 'Ann'"),
        ("Ann]]", MARKED, "", "must close a [[, got one too many after 'Ann'"),
        ("[[" * 21 + "Ann" + "]]" * 21, MARKED, "", "may nest 20 deep"),
        ("Ann [[]]", MARKED, "", "Span 0 of example 0 must have 0 <= start < end"),
        ("Ann", "what a pattern matches", "(", "must be a regular expression, got missing )"),
        ("Ann", "what a pattern matches", "", "must match a character at least"),
        ("Ann", "what a pattern matches", "x*", "must match a character at least"),
        ("a" * 60 + "b", "what a pattern matches", "(a|aa)+$", "takes more than 1 s"),
        ("Ann " * 6000, "every word", "", "at most 20,000 characters, got 24,000"),
    ],
)
def test_what_cannot_be_labelled_says_why(text, way, pattern, message, one_tagger):
    with pytest.raises(ValueError, match=re.escape(message)):
        one_tagger.score_text(text, way, pattern)


def test_words_keep_combining_marks_and_inner_punctuation():
    import app_tagger

    text = "O'Neil, e\u0301tude: हिन्दी (ann@example.org) 3.5 😀"
    way = app_tagger.WAYS["every word"]
    found = [text[start:end] for start, end in way(text, "")[1]]
    assert found == ["O'Neil", "e\u0301tude", "हिन्दी", "ann@example.org", "3.5"]


def test_entities_of_spacy_are_spans(tmp_path):
    spacy = pytest.importorskip("spacy")
    import app_tagger

    nlp = spacy.blank("en")
    nlp.add_pipe("entity_ruler").add_patterns([{"label": "X", "pattern": "Paris dog"}])
    nlp.to_disk(tmp_path / "nlp")
    tagger = app_tagger.Tagger(save_trained(tmp_path / "model"), str(tmp_path / "nlp"))
    scored = tagger.score_text(PLAIN, "entities of spaCy", "")
    assert [(one["start"], one["end"]) for one in scored.predictions.positions[0]] == [(14, 23)]


# The HTML


class Runs(HTMLParser):
    """Read what is drawn: each character of the text with the lines under it; and the labels."""

    def __init__(self, drawn: str) -> None:
        super().__init__()
        self.characters: list[tuple[str, list[str]]] = []
        self.labels: list[str] = []
        self.lines: list[list[str]] = []
        self.chip = 0
        self.feed(drawn)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        assert set(given) <= {"class", "style", "dir"}
        if tag in ("span", "b", "i"):
            position = re.search(r"background-position: (.*)", given.get("style") or "")
            places = position[1].split(", ") if position else []
            self.lines.append([place.split(" ", 1)[1] for place in places])
            self.chip += "chip" in (given.get("class") or "") or self.chip > 0

    def handle_endtag(self, tag: str) -> None:
        if tag in ("span", "b", "i"):
            self.lines.pop()
            self.chip = max(0, self.chip - 1)

    def handle_data(self, data: str) -> None:
        if self.chip:
            self.labels.append(data)
        else:
            drawn = [line for lines in self.lines for line in lines]
            self.characters += [(character, drawn) for character in data]


@settings(max_examples=100, deadline=None)
@given(st.text("ab <&\"'\n\u05d0😀", min_size=1, max_size=12), st.data())
def test_each_span_has_a_line_of_its_own_under_each_of_its_characters(text, data):
    import app_html

    end = st.integers(0, len(text))
    pairs = data.draw(st.lists(st.tuples(end, end).filter(lambda pair: pair[0] < pair[1])))
    spans = [(*pair, [("x", 0.5)] if number % 2 else []) for number, pair in enumerate(pairs)]
    drawn = Runs(app_html.text_html(text, spans, {"x": "#123456"}))
    assert "".join(character for character, _ in drawn.characters) == text
    for place, (_, lines) in enumerate(drawn.characters):
        assert len(lines) == sum(start <= place < stop for start, stop in pairs)
        assert len(set(lines)) == len(lines)
    assert drawn.labels.count("x") == len(pairs) // 2


def test_an_inner_span_is_nearer_to_the_text():
    import app_html

    spans = [(0, 9, []), (3, 5, []), (3, 7, [])]
    drawn = Runs(app_html.text_html("a" * 9, spans, {}))
    deepest = [
        max(float(re.findall(r"- (\d+)px", line)[0]) for line in lines)
        for _, lines in drawn.characters
    ]
    assert deepest == [0, 0, 0, 10, 10, 5, 5, 0, 0]


def test_white_is_readable_on_each_color_and_colors_differ():
    import app_html

    colors = app_html.label_colors([str(number) for number in range(100)])
    assert all(app_html.contrast(color, "#ffffff") >= 4.5 for color in colors.values())
    assert len(set(colors.values())) == 100
    assert app_html.label_colors(["0", "1"]) == {name: colors[name] for name in "01"}


@pytest.mark.parametrize(
    "evil", ["<script>alert(1)</script>", '" onclick="alert(1)', "&lt;", "a'b"]
)
def test_names_and_values_are_escaped(evil):
    import app_html

    colors, labels = {evil: "#000000"}, [(evil, 0.5)]
    for drawn in (
        app_html.text_html(evil, [(0, len(evil), labels)], colors),
        app_html.table_html([(evil, labels)], [[(evil, labels)]], colors),
        app_html.counts_html(evil, [labels], colors),
        app_html.message_html(evil, "problem"),
    ):
        assert html.escape(evil) in drawn
        assert evil not in drawn.replace(html.escape(evil), "")


def test_a_span_that_is_dropped_is_shown_as_not_read(tmp_path):
    import app_tagger

    folder = save_trained(tmp_path)
    processor = MaskedSeqProcessor.from_pretrained(folder).with_max_length(6)
    processor.on_overflow = "drop"
    processor.save_pretrained(folder)
    tagger = app_tagger.Tagger(folder)
    page, path = tagger.show(tagger.score_text(TEXT, MARKED, ""), 0.0)
    assert "not read 2" in page
    spans = read_records(path)[0]["spans"]
    assert [span["labels"] is None for span in spans] == [True, False, True]


# Tables and files

FRAME = pd.DataFrame({"name": ["Ann", "Bob", None], "in": ["Rome", None, "<b>"]}, dtype=object)


@pytest.fixture
def table(tmp_path) -> str:
    FRAME.to_csv(tmp_path / "people.csv", index=False)
    return str(tmp_path / "people.csv")


def test_a_table_has_the_labels_of_its_cells_and_so_has_the_file(tagger, model, table):
    page, path = tagger.show(tagger.score_table(table, "cell"), None)
    pipe = MaskedSeqClassificationPipeline.from_pretrained(model)
    answers = pipe([{"fields": record} for record in FRAME.to_dict("records")])
    labels = [["; ".join(expected(one)) for one in row] for row in answers]
    file = pd.read_csv(path, dtype=str, keep_default_na=False)
    assert list(file.columns) == ["name", "in", "name_labels", "in_labels"]
    assert file[["name", "in"]].to_numpy().tolist() == FRAME.fillna("").to_numpy().tolist()
    assert file[["name_labels", "in_labels"]].to_numpy().tolist() == labels
    assert "4 cells" in page
    assert "&lt;b&gt;" in page


def test_a_table_has_the_labels_of_its_columns(tagger, model, table):
    page, path = tagger.show(tagger.score_table(table, "column"), None)
    answers = MaskedSeqClassificationPipeline.from_pretrained(model)(FRAME)
    assert pd.read_csv(path, keep_default_na=False).to_dict("list") == {
        "column": ["name", "in"],
        "labels": ["; ".join(expected(one)) for one in answers],
    }
    assert "2 columns" in page


def test_a_text_is_downloaded_as_a_record(tagger):
    scored = tagger.score_text(TEXT, MARKED, "")
    record = read_records(tagger.show(scored, 0.4)[1])[0]
    found = [list(zip(span["labels"], span["scores"])) for span in record["spans"]]
    assert record["text"] == PLAIN
    assert [(span["start"], span["end"]) for span in record["spans"]] == SPANS
    assert found == tagger.decide(scored, 0.4)[0]


def test_files_are_kept_for_an_hour(one_tagger):
    scored = one_tagger.score_text(TEXT, MARKED, "")
    old, new = (Path(one_tagger.show(scored, threshold)[1]) for threshold in (0.1, 0.2))
    os.utime(old.parent, (0, 0))
    newest = Path(one_tagger.show(scored, 0.3)[1])
    assert [path.exists() for path in (old, new, newest)] == [False, True, True]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "must hold a table, and it has no cells"),
        ("näme\nAnn".encode("latin-1"), "people.csv, line 1: The file must be UTF-8"),
        (b"name\n", "must have 1 to 5,000 cells, got 0"),
        (b"name\n" + b"Ann\n" * 5001, "people.csv must have at most 5,000 cells, and has more"),
        (b"name\n" + b"Ann" * 40000 + b"\n" + b"Ann" * 40000 + b"\n", "at most 200,000 characters"),
        (b"name,name_labels\nAnn,x\n", "has the column 'name_labels' already"),
        (b"name,name\nAnn,x\n", "must have a name of its own"),
    ],
)
def test_a_table_that_cannot_be_labelled_says_why_without_the_servers_folder(
    content, message, one_tagger, tmp_path
):
    path = tmp_path / "people.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        one_tagger.score_table(str(path), "cell")
    assert str(tmp_path) not in str(error.value)


def bomb(path: Path) -> None:
    """Write a small file of a large table, of the kind that the name says."""
    if path.name.endswith(".csv.gz"):
        with gzip.open(path, "wb") as file:
            file.writelines(b"a" * 2**20 for _ in range(200))
    elif path.name == "wide.csv":
        path.write_bytes(b"," * 5_000_000)
    elif path.name == "long.csv":
        path.write_bytes(b"a\n" * 2_500_000)
    elif path.suffix == ".xlsx":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            if path.name == "a.xlsx":
                archive.writestr("xl/sharedStrings.xml", b" " * 200 * 2**20)
            else:
                archive.writestr("xl/styles.xml", b"<s>" + b"<xf/>" * 1_500_000 + b"</s>")
    else:
        number, text = pa.repeat(0, 20_000_000), pa.repeat(0, 400).cast(pa.int32())
        columns = {
            "cells.parquet": number,
            "lists.parquet": pa.ListArray.from_arrays([0, len(number)], number),
            "texts.parquet": pa.DictionaryArray.from_arrays(text, ["a" * 2**20]),
            "one.parquet": pa.array(["a" * 200 * 2**20]),
        }
        pq.write_table(pa.table({"a": columns[path.name]}), path, compression="zstd")


def test_small_files_do_not_fill_the_memory(tmp_path):
    pytest.importorskip("resource", reason="memory is measured on POSIX")
    names = ["cells.parquet", "lists.parquet", "texts.parquet", "one.parquet", "a.csv.gz", "a.xlsx"]
    names += ["styles.xlsx", "wide.csv", "long.csv"]
    reads_excel = importlib.util.find_spec("openpyxl") is not None
    paths = [tmp_path / name for name in names if reads_excel or not name.endswith(".xlsx")]
    for path in paths:
        bomb(path)
        assert path.stat().st_size < 5_100_000
    script = (
        "import resource, sys; from app_tagger import Tagger;"
        "tagger = object.__new__(Tagger)\n"
        "for path in sys.argv[1:]:\n"
        "    try: tagger.score_table(path, 'cell')\n"
        "    except ValueError as error: print(error, end=' ')\n"
        "    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"
    )
    both = os.pathsep.join([str(EXAMPLES.parent), str(EXAMPLES)])
    environment = {**os.environ, "PYTHONPATH": both}
    # The first is refused by its number of cells, before anything is read.
    command = [sys.executable, "-c", script, *map(str, [paths[0], *paths])]
    run = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    before, *said = run.stdout.splitlines()
    for path, line in zip(paths, said):
        message, _, mib = line.rpartition(" ")
        assert path.name in message, line
        assert str(tmp_path) not in message
        assert int(mib) - int(before.rpartition(" ")[2]) < 150, line


def test_a_file_is_needed(one_tagger):
    with pytest.raises(ValueError, match="must be a file to label, got none"):
        one_tagger.score_table(None, "cell")


def test_of_a_long_table_the_first_rows_are_shown_and_all_are_in_the_file(one_tagger, tmp_path):
    pd.DataFrame({"name": ["Ann"] * 300}).to_csv(tmp_path / "a.csv", index=False)
    page, path = one_tagger.show(one_tagger.score_table(str(tmp_path / "a.csv"), "cell"), None)
    assert page.count("<tr>") == 201
    assert "200 of 300 rows are shown" in page
    assert len(pd.read_csv(path)) == 300


# The page, in a browser


@pytest.fixture(scope="module")
def space(tmp_path_factory) -> Iterator[str]:
    """Write a Space with a model in it, run it as Hugging Face does, and return its address."""
    pytest.importorskip("gradio", reason="needs the extra serve")
    folder = tmp_path_factory.mktemp("space")
    model = save_grouped(folder / "tiny")
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLES.parent)}
    environment["GRADIO_ANALYTICS_ENABLED"] = "False"
    flags = ["--model", model, "--write_space", str(folder / "space"), "--package", "here"]
    script = [sys.executable, str(EXAMPLES / "app.py"), *flags]
    subprocess.run(script, check=True, env=environment, cwd=folder)
    shutil.rmtree(model)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = environment["GRADIO_SERVER_PORT"] = str(free.getsockname()[1])
    environment["GRADIO_SERVER_NAME"] = "127.0.0.1"
    script = [sys.executable, "-u", "app.py"]
    with subprocess.Popen(
        script, env=environment, cwd=folder / "space", stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert any("Running on local URL" in line for line in process.stdout)
        yield f"http://127.0.0.1:{port}"
        process.terminate()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    if CHROMIUM is None:
        pytest.skip("needs chromium")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(space, browser, request) -> Iterator[Any]:
    """Open the page at the width of a desktop or a phone; it asks nothing of another server."""
    page = browser.new_page(viewport={"width": request.param, "height": 900})
    page.set_default_timeout(300_000)  # long for a busy machine; what is missing is named
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: problems.append(request.url))
    page.goto(space)
    yield page
    page.close()
    assert [one for one in problems if not one.startswith((space, "data:", "blob:"))] == []


def classify(page: Any) -> None:
    page.locator("button:visible", has_text="Classify").click()


def contrast_of(chip: Any) -> float:
    """The contrast of a label as the browser paints it."""
    import app_html

    style = "one => [getComputedStyle(one).color, getComputedStyle(one).backgroundColor]"
    channels = [re.findall(r"\d+", color)[:3] for color in chip.evaluate(style)]
    colors = ["#" + "".join(f"{int(part):02x}" for part in parts) for parts in channels]
    return app_html.contrast(*colors)


widths = pytest.mark.parametrize("page", [1280, 390], indirect=True)


def test_a_space_is_written_whole(space, tmp_path_factory):
    import gradio

    folder = tmp_path_factory.getbasetemp() / "space0" / "space"
    names = {path.name for path in folder.iterdir()} - {"__pycache__"}
    assert names == {
        *("README.md", "requirements.txt", "app.py", "app_html.py", "app_space.py"),
        *("app_tagger.py", "label_table.py", "model"),
    }
    assert (folder / "requirements.txt").read_text() == "here\npandas\n"
    assert f"sdk_version: {gradio.__version__}" in (folder / "README.md").read_text()


@pytest.mark.parametrize(("folder", "model"), [("new", ""), (".", "me/model")])
def test_a_space_needs_a_model_and_a_new_folder(folder, model, tmp_path, monkeypatch):
    pytest.importorskip("gradio", reason="needs the extra serve")
    from app_space import write_space

    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=r"must be a new folder, and --model be given"):
        write_space(folder, model, "")
    assert list(tmp_path.iterdir()) == []


@widths
def test_a_text_is_labelled_and_the_threshold_moves(page, tmp_path):
    answer = page.locator(".answer.block:visible")
    assert "Labels will be here" in answer.inner_text()
    classify(page)
    answer.locator(".chip").first.wait_for()
    assert answer.locator(".labelled").inner_text().split()[0].startswith("Ann")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert contrast_of(answer.locator(".labelled .chip").first) >= 4.5
    before = answer.locator(".labelled .chip").count()

    page.locator("input[type=range]:visible").fill("1")
    page.get_by_text("no label 5").wait_for()
    assert before > answer.locator(".labelled .chip").count() == 0
    own = page.get_by_label("The model's own thresholds").locator("visible=true")
    assert not own.is_checked()
    own.check()
    answer.locator(".labelled .chip").first.wait_for()
    assert answer.locator(".labelled .chip").count() == before

    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download with labels").locator("visible=true").click()
    waiting.value.save_as(tmp_path / "labelled.jsonl")
    record = read_records(tmp_path / "labelled.jsonl")[0]
    assert record["text"] == "Ann Lee moved from Rome to the Paris office of Acme."
    assert sum(len(span["labels"]) for span in record["spans"]) == before


@pytest.mark.parametrize("page", [1280], indirect=True)
def test_what_is_selected_is_marked_and_text_is_text(page):
    area = page.get_by_label("Text", exact=True)
    marked = "😀 ${1+1} <b>dog</b> [[Rome]]"
    for _ in range(20):  # the page may not know text and selection yet
        area.fill("😀 ${1+1} <b>dog</b> Rome")
        area.press("End")
        for _ in range(4):
            area.press("Shift+ArrowLeft")
        page.wait_for_timeout(500)
        page.get_by_role("button", name="Mark the selection").click()
        page.wait_for_timeout(500)
        if area.input_value() == marked:
            break
    assert area.input_value() == marked
    classify(page)
    answer = page.locator(".answer.block:visible .labelled")
    answer.wait_for()
    assert answer.inner_text().startswith("😀 ${1+1} <b>dog</b> Rome")

    page.get_by_label("what a pattern matches").check()
    page.get_by_label("Pattern", exact=True).fill("(")
    classify(page)
    problem = page.get_by_role("alert").filter(has_text="must be a regular expression")
    problem.wait_for()
    assert "Traceback" not in page.content()
    page.get_by_label("every word").check()
    classify(page)
    page.get_by_text("4 spans").wait_for()


@widths
def test_a_table_is_labelled_and_downloaded(page, table, tmp_path):
    page.get_by_role("tab", name="Table").click()
    page.locator("button:visible[aria-label='Clear']").click()
    page.locator("input[type=file]").last.set_input_files(table)
    page.locator("a[download='people.csv']").wait_for()  # not the name while it is sent
    classify(page)
    answer = page.locator(".answer.block:visible")
    answer.locator("td").first.wait_for()
    assert answer.locator("thead th").all_inner_texts()[1:] == ["name", "in"]
    assert answer.locator("tbody tr").nth(2).locator("td").nth(2).inner_text().startswith("<b>")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download with labels").locator("visible=true").click()
    waiting.value.save_as(tmp_path / "labelled.csv")
    assert list(pd.read_csv(tmp_path / "labelled.csv"))[2:] == ["name_labels", "in_labels"]
