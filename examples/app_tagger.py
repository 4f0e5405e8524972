"""What `app.py` does without a page: find spans, score them once, decide as often as asked.

text or table -> positions -> scores of all labels -> labels above a threshold -> HTML, a file
"""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import app_html as html
import pandas as pd
import regex
from label_table import read_table

from irti_custom import MaskedSeqClassificationPipeline, write_records
from irti_custom.formats.atomic import writing
from irti_custom.formats.tables import Bound
from irti_custom.inference.answers import labels_of
from irti_custom.inference.predictions import Predictions
from irti_custom.records.kinds import frame_fields

MAX_CHARACTERS, MAX_CELLS, MAX_DEPTH, ROWS_SHOWN = 20_000, 5_000, 20, 200
MAX_TABLE, MAX_BYTES = 200_000, 10_000_000  # characters; bytes of the file when it is unpacked
PATTERN_SECONDS, FILE_SECONDS = 1.0, 3600.0
WORD = r"[\w\p{M}]+([^\w\s][\w\p{M}]+)*"  # with the marks that combine with letters
EXAMPLE_TABLE = "name,city,contact\nAnn Lee,Rome,ann@example.org\nBob O'Neil,,+1 555 0100\n"
CharSpans = list[tuple[int, int]]


class Scored(NamedTuple):
    """A text, or a table, with its predictions; kept while the threshold moves."""

    source: str | pd.DataFrame
    unit: str  # of what a position is: "span", "cell" or "column"
    predictions: Predictions


def example_table() -> str:
    """Write a table to try; return its path."""
    path = Path(tempfile.mkdtemp(prefix="irti-app-")) / "example.csv"
    path.write_text(EXAMPLE_TABLE, "utf-8")
    return str(path)


def read_marks(text: str) -> tuple[str, CharSpans]:
    """Read spans marked with double brackets, which may nest.

    Raises:
        ValueError: a bracket without its other half, or marks that nest too deeply to be drawn.

    Example:
        >>> read_marks("[[[[Paris]] office]] of Acme")
        ('Paris office of Acme', [(0, 5), (0, 12)])
    """
    plain, spans, starts = "", [], list[int]()
    for part in re.split(r"(\[\[|\]\])", text):
        if part == "[[":
            starts.append(len(plain))
            if len(starts) > MAX_DEPTH:
                raise ValueError(f"Marks may nest {MAX_DEPTH} deep, got more at {len(plain)}.")
        elif part == "]]" and not starts:
            raise ValueError(f"Each ]] must close a [[, got one too many after {plain[-40:]!r}.")
        elif part == "]]":
            spans.append((starts.pop(), len(plain)))
        else:
            plain += part
    if starts:
        raise ValueError(f"Each [[ must be closed by ]], got {plain[starts[-1] :][:40]!r}.")
    return plain, spans


def mark(text: str, start: int, end: int, selected: str) -> str:
    """Mark what a browser says is selected; it counts in UTF-16 units.

    Raises:
        ValueError: nothing is, or the text has changed since.

    Example:
        >>> mark("😀 Ann", 3, 6, "Ann")
        '😀 [[Ann]]'
    """
    units = text.encode("utf-16-le")
    if not selected or units[2 * start : 2 * end] != selected.encode("utf-16-le"):
        raise ValueError("Select a piece of the text first.")
    before, after = (units[: 2 * start].decode("utf-16-le"), units[2 * end :].decode("utf-16-le"))
    return f"{before}[[{selected}]]{after}"


def match(pattern: str, text: str) -> CharSpans:
    r"""List what a pattern matches, in a limited time, as any visitor may write one.

    Raises:
        ValueError: no pattern, one that takes too long, or that matches an empty string.

    Example:
        >>> match(r"\d+", "7 of 12")
        [(0, 1), (5, 7)]
    """
    try:
        found = [one.span() for one in regex.finditer(pattern, text, timeout=PATTERN_SECONDS)]
    except regex.error as error:
        raise ValueError(f"The pattern must be a regular expression, got {error}.") from error
    except TimeoutError as error:
        raise ValueError(
            f"The pattern takes more than {PATTERN_SECONDS:g} s. Make it simpler."
        ) from error
    if not pattern or any(start == end for start, end in found):
        raise ValueError(f"The pattern must match a character at least, got {pattern!r}.")
    return found


WAYS: dict[str, Callable[[str, str], tuple[str, CharSpans]]] = {
    "spans [[marked]] like this": lambda text, pattern: read_marks(text),
    "every word": lambda text, pattern: (text, match(WORD, text)),
    "what a pattern matches": lambda text, pattern: (text, match(pattern, text)),
}
"""How a text with spans is read off a text and a pattern."""


class Tagger:
    """A model, and what a visitor may ask of it.

    Args:
        model: folder or Hub id, of any kind that the pipeline takes.
        spacy: name or folder of a spaCy pipeline that finds entities; "" for none.
    """

    def __init__(self, model: str, spacy: str = "") -> None:
        self.pipe = MaskedSeqClassificationPipeline.from_pretrained(model)
        self.config = self.pipe.model.config
        self.names: list[str] = self.config.label_names
        self.colors = html.label_colors(self.names)
        self.title = Path(model).name
        self.summary = f"{len(self.names)} labels, {self.config.task}"
        self.ways = dict(WAYS)
        self.files = tempfile.TemporaryDirectory(prefix="irti-app-")  # until the process ends
        if spacy:
            import spacy as spacy_library

            nlp = spacy_library.load(spacy)
            self.ways["entities of spaCy"] = lambda text, pattern: (
                text,
                [(entity.start_char, entity.end_char) for entity in nlp(text).ents],
            )

    def score_text(self, text: str, way: str, pattern: str) -> Scored:
        """Score the spans of a text.

        Raises:
            ValueError: no span, or an input that the pipeline refuses.
        """
        if len(text) > MAX_CHARACTERS:
            raise ValueError(
                f"A text must have at most {MAX_CHARACTERS:,} characters, got {len(text):,}."
            )
        plain, spans = self.ways[way](text, pattern)
        if not spans:
            raise ValueError(f"The text must have a span to label, got none for {way!r}.")
        return self._score(plain, "span", [{"text": plain, "spans": spans}])

    def score_table(self, path: str | None, by: str) -> Scored:
        """Score the cells of a table, or its columns.

        Raises:
            ValueError: not a table, or one that is too large.
        """
        if path is None:
            raise ValueError("There must be a file to label, got none. Choose one.")
        try:
            frame = read_table(path, bound=Bound(MAX_CELLS, MAX_BYTES))
        except SystemExit as error:  # the script's way to end; visitors need no folders
            raise ValueError(str(error).replace(path, Path(path).name)) from error
        if not 0 < frame.size <= MAX_CELLS:
            raise ValueError(f"A table must have 1 to {MAX_CELLS:,} cells, got {frame.size:,}.")
        cells = (cell for row in (frame.columns, *frame.to_numpy(object)) for cell in row)
        if (size := sum(len(str(cell)) for cell in cells)) > MAX_TABLE:
            raise ValueError(f"A table must have at most {MAX_TABLE:,} characters, got {size:,}.")
        if taken := [name for name in frame.columns if f"{name}_labels" in frame.columns]:
            raise ValueError(f"The table has the column '{taken[0]}_labels' already. Rename it.")
        if by == "column":
            return self._score(frame, by, [frame])
        return self._score(frame, by, [{"fields": record} for record in frame_fields(frame)])

    def _score(self, source: str | pd.DataFrame, unit: str, inputs: list[Any]) -> Scored:
        return Scored(source, unit, self.pipe.predict(inputs))

    def decide(self, scored: Scored, threshold: float | None) -> list[list[html.Labels]]:
        """List the labels of each position, by one threshold or, for None, by the model's own."""
        answers = scored.predictions.answers(thresholds=threshold)
        return [[_labels(answer) for answer in one] for one in answers]

    def show(self, scored: Scored, threshold: float | None) -> tuple[str, str]:
        """Decide; return the HTML of it, and the path of a file with the labels."""
        decided = self.decide(scored, threshold)
        positions: list[tuple[Any, html.Labels]] = [
            (answer, labels)
            for listed, found in zip(scored.predictions.positions, decided)
            for answer, labels in zip(listed, found)
        ]
        every = [labels for answer, labels in positions if answer["word"] is not None]
        title = f"{len(every):,} {scored.unit}{'s' * (len(every) != 1)}"
        counts = html.counts_html(title, every, self.colors)
        folder = self._new_folder()
        if isinstance(scored.source, str):
            spans = [(answer["start"], answer["end"], labels) for answer, labels in positions]
            path = write_text(scored.source, spans, folder)
            return counts + html.text_html(scored.source, spans, self.colors), path
        path = write_table(scored.source, decided, scored.unit, folder)
        return counts + self._table(scored.source, decided, scored.unit), path

    def _new_folder(self) -> Path:
        """Make a folder for a file, and remove those that a browser has had an hour to fetch."""
        for old in Path(self.files.name).iterdir():
            if time.time() - old.stat().st_mtime > FILE_SECONDS:
                shutil.rmtree(old, ignore_errors=True)
        return Path(tempfile.mkdtemp(dir=self.files.name))

    def _table(self, frame: pd.DataFrame, decided: list[list[html.Labels]], unit: str) -> str:
        nothing: list[html.Labels] = [[] for _ in frame.columns]
        of_cells = decided if unit == "cell" else [nothing] * len(frame)
        rows = [
            [(None, []) if pd.isna(value) else (value, labels) for value, labels in zip(*row)]
            for row in zip(frame.head(ROWS_SHOWN).astype(object).to_numpy().tolist(), of_cells)
        ]
        header = list(zip(frame.columns, nothing if unit == "cell" else decided[0]))
        shown = html.table_html(header, rows, self.colors)
        if len(frame) > ROWS_SHOWN:
            note = f"{ROWS_SHOWN} of {len(frame):,} rows are shown; the file has all of them."
            shown += html.message_html(note, "note")
        return shown


def _labels(answer: dict[str, Any]) -> html.Labels:
    found = labels_of(answer)
    return None if found is None else [(one["label"], round(one["score"], 4)) for one in found]


def write_text(text: str, spans: list[html.Span], folder: Path) -> str:
    """Write a text and its labels as a record, see `write_records`; return the path."""
    path = folder / "labelled.jsonl"
    described = [
        {"start": start, "end": end, "labels": None}
        if labels is None
        else {
            "start": start,
            "end": end,
            "labels": [name for name, _ in labels],
            "scores": [score for _, score in labels],
        }
        for start, end, labels in spans
    ]
    write_records([{"text": text, "spans": described}], path)
    return str(path)


def write_table(
    frame: pd.DataFrame, decided: list[list[html.Labels]], unit: str, folder: Path
) -> str:
    """Write a table with a column of labels after its own, or a row per column of it."""
    path = folder / "labelled.csv"
    joined = [["; ".join(name for name, _ in labels or ()) for labels in one] for one in decided]
    if unit == "column":
        labelled = pd.DataFrame({"column": list(frame.columns), "labels": joined[0]})
    else:
        added = pd.DataFrame(joined, columns=[f"{name}_labels" for name in frame.columns])
        labelled = pd.concat([frame, added], axis=1)
    with writing(path) as file:
        labelled.to_csv(file, index=False)
    return str(path)
