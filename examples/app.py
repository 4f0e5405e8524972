"""A page to try a model on: mark spans in a text, or load a table, and see their labels.

    python examples/app.py --model out/first                      # http://127.0.0.1:7860
    python examples/app.py --model out/first --write_space space  # a folder for a Space

Scores are computed once; the threshold only decides again. Needs the extra `serve`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import app_html as html
import gradio as gr
from app_space import write_space
from app_tagger import Scored, Tagger, example_table, mark, read_marks
from transformers import HfArgumentParser

MODEL = ""  # what --model is in a Space
EXAMPLE = "[[Ann Lee]] moved from [[Rome]] to the [[[[Paris]] office]] of [[Acme]]."
EMPTY = html.message_html("Labels will be here.", "note")
NO_FILE = gr.update(value=None, interactive=False)
PRIVATE: Any = {"api_visibility": "private", "concurrency_id": "model"}
THEME = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"])  # offline
Score = Callable[..., Scored]


@dataclass
class ScriptArguments:
    model: str = MODEL
    example: str = EXAMPLE
    spacy: str = ""  # a pipeline of spaCy, by name or folder: label its entities
    host: str = ""  # Gradio's defaults: 127.0.0.1, and the first free port from 7860
    port: int = 0
    write_space: str = ""  # a new folder; nothing is served
    package: str = ""  # what the Space installs irti_custom from; default: its release


def results(tagger: Tagger, score: Score, inputs: list[Any], run: gr.Button) -> None:
    """Lay out what a button shows: labels, a threshold that decides again, and a file."""
    own = gr.Checkbox(True, label="The model's own thresholds")
    limit = gr.Slider(0, 1, 0.5, step=0.01, label="One threshold for all labels")
    shown = gr.HTML(EMPTY, elem_classes="answer", apply_default_css=False)
    file = gr.DownloadButton("Download with labels", interactive=False)
    state = gr.State("", time_to_live=3600)  # what is scored, or what is wrong with the input

    def show(scored: Scored | str, own: bool, limit: float) -> tuple[str, Any]:
        if isinstance(scored, str):
            return html.message_html(scored, "problem") if scored else EMPTY, NO_FILE
        page, path = tagger.show(scored, None if own else limit)
        return page, gr.update(value=path, interactive=True)

    def score_and_show(own: bool, limit: float, *values: Any) -> tuple[Any, ...]:
        try:
            scored: Scored | str = score(*values)
        except ValueError as error:
            scored = str(error)
        return scored, *show(scored, own, limit)

    outputs = [shown, file]
    run.click(score_and_show, [own, limit, *inputs], [state, *outputs], **PRIVATE)
    again: Any = {**PRIVATE, "show_progress": "hidden", "trigger_mode": "always_last"}
    own.input(show, [state, own, limit], outputs, **again)
    limit.input(lambda s, t: (False, *show(s, False, t)), [state, limit], [own, *outputs], **again)


def build(tagger: Tagger, example: str) -> gr.Blocks:
    plain = read_marks(example)[0]

    def select(event: gr.SelectData) -> tuple[int, int, str]:
        return *event.index, event.value

    def mark_selected(text: str, selected: tuple[int, int, str]) -> str:
        try:
            return mark(text, *selected)
        except ValueError as error:
            raise gr.Error(str(error), print_exception=False) from error

    def switch(way: str, text: str) -> tuple[Any, str]:
        own = example if "marked" in way else plain
        return gr.update(visible="pattern" in way), own if text in (example, plain) else text

    with gr.Blocks(title=tagger.title, analytics_enabled=False, delete_cache=(3600, 3600)) as page:
        gr.Markdown(f"# {tagger.title}\n{tagger.summary}")
        with gr.Tab("Text"), gr.Row():
            with gr.Column(scale=2, min_width=320):
                text = gr.Textbox(example, lines=6, max_lines=20, label="Text")
                marker = gr.Button("Mark the selection", size="sm")
                way = gr.Radio([*tagger.ways], value=next(iter(tagger.ways)), label="Label")
                pattern = gr.Textbox(r"[A-Z]\w+", label="Pattern", visible=False)
                run = gr.Button("Classify", variant="primary")
            with gr.Column(scale=3, min_width=320):
                results(tagger, tagger.score_text, [text, way, pattern], run)
        with gr.Tab("Table"), gr.Row():
            with gr.Column(scale=2, min_width=320):
                table = gr.File(example_table(), label="CSV, TSV, Excel or Parquet", height=150)
                by = gr.Radio(["cell", "column"], value="cell", label="Label each")
                run = gr.Button("Classify", variant="primary")
            with gr.Column(scale=5, min_width=320):
                results(tagger, tagger.score_table, [table, by], run)
        selected = gr.State((0, 0, ""))
        text.select(select, None, selected, **PRIVATE)
        marker.click(mark_selected, [text, selected], text, **PRIVATE)
        way.change(switch, [way, text], [pattern, text], **PRIVATE)
    return page


def main() -> None:
    (args,) = HfArgumentParser(ScriptArguments).parse_args_into_dataclasses()
    if args.write_space:
        return write_space(args.write_space, args.model, args.package)
    page = build(Tagger(args.model, args.spacy), args.example)
    look: Any = {"css": html.CSS, "theme": THEME, "footer_links": [], "max_file_size": "5mb"}
    page.launch(server_name=args.host or None, server_port=args.port or None, **look)


if __name__ == "__main__":
    main()
