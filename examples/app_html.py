"""The HTML of labelled texts and tables, for `app.py`.

    text + spans with labels  ->  a line under each span, and its labels after it

Everything that comes from a user or a model is escaped. A label's colour goes by its place among
the labels of the model; its name is written on it in white, with a contrast of at least 4.5.
"""

from __future__ import annotations

import colorsys
from bisect import bisect, insort
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from html import escape
from typing import Optional

Labels = Optional[list[tuple[str, float]]]
"""Labels and their scores, best first; [] if none holds, None for a position that was not read."""
Span = tuple[int, int, Labels]
Cell = tuple[object, Labels]
"""What is in it, None where it is missing, and its labels."""

NO_LABEL = "#8a8f98"
CSS = """
.answer { --quiet: color-mix(in srgb, var(--body-text-color) 75%, transparent); }
.answer .labelled { unicode-bidi: plaintext; white-space: pre-wrap; overflow-wrap: anywhere;
  font-size: 1.05rem; padding: .25rem 0 .75rem; }
.answer .run { padding-bottom: var(--room); background-repeat: no-repeat;
  background-size: 100% 3px; -webkit-box-decoration-break: clone; box-decoration-break: clone; }
.answer .chip { background: var(--label); border-radius: .3rem; padding: .1rem .35rem;
  margin: 0 .1rem 0 .25rem; font-size: .75rem; line-height: 1.4; white-space: nowrap;
  user-select: none; unicode-bidi: isolate; }
.answer .chip, .answer .chip * { color: #fff; font-style: normal; }
.answer .chip b { font-weight: 600; }
.answer .chip i { font-variant-numeric: tabular-nums; }
.answer .chip.none { background: none; color: var(--quiet); outline: 1px dashed; }
.answer .counts { display: flex; flex-wrap: wrap; gap: .35rem .15rem; align-items: baseline;
  padding-bottom: .6rem; border-bottom: 1px solid var(--border-color-primary); }
.answer .counts strong { margin-inline-end: .5rem; }
.answer .note { color: var(--quiet); padding: 1rem 0; }
.answer .problem { border-inline-start: 4px solid #c62828; padding: .6rem .9rem;
  background: color-mix(in srgb, #c62828 10%, transparent); overflow-wrap: anywhere; }
.answer .scroll { overflow: auto; max-height: 32rem; margin-top: .75rem; border-radius: .4rem;
  border: 1px solid var(--border-color-primary); }
.answer table { border-collapse: collapse; font-size: .9rem; width: 100%; }
.answer th { position: sticky; top: 0; background: var(--background-fill-secondary); z-index: 1; }
.answer th, .answer td { text-align: start; vertical-align: top; padding: .4rem .6rem;
  border-bottom: 1px solid var(--border-color-primary); min-width: 8rem; max-width: 24rem; }
.answer th:first-child, .answer td:first-child { min-width: 0; color: var(--quiet); }
.answer td.has { background: color-mix(in srgb, var(--label) 12%, transparent);
  box-shadow: inset 3px 0 var(--label); }
.answer .value { unicode-bidi: plaintext; white-space: pre-wrap; overflow-wrap: anywhere; }
.answer table .chip { display: inline-block; margin: .1rem .3rem .1rem 0; }
"""


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours as WCAG defines it.

    Example:
        >>> round(contrast("#000000", "#ffffff"))
        21
    """
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def label_colors(names: Sequence[str]) -> dict[str, str]:
    """Give each label a colour: hues far apart, each as light as white text on it allows.

    Example:
        >>> label_colors(["person", "place"])
        {'person': '#cc3333', 'place': '#21833d'}
    """
    return {name: _color(number * 0.381966 % 1) for number, name in enumerate(names)}


def text_html(text: str, spans: Iterable[Span], colors: dict[str, str]) -> str:
    """Draw a line under each span; those of nested and overlapping spans are below each other."""
    listed = list(spans)
    levels = _levels(listed)
    rows = max(levels.values(), default=0) + 1
    starts: dict[int, set[int]] = defaultdict(set)
    ends: dict[int, set[int]] = defaultdict(set)
    for index, (start, end, _) in enumerate(listed):
        starts[start].add(index)
        ends[end].add(index)
    inside: set[int] = set()

    def run(content: str, begun: set[int]) -> str:
        lines = [
            _line(listed[index][2], rows - 1 - levels[index], index in begun, colors)
            for index in sorted(inside)
        ]
        if not lines:
            return content
        images, positions = (", ".join(parts) for parts in zip(*lines))
        style = f"background-image: {images}; background-position: {positions}"
        return f'<span class="run" style="{style}">{content}</span>'

    parts = []
    cuts = sorted({0, len(text), *starts, *ends})
    for start, end in zip(cuts, [*cuts[1:], len(text)]):
        # The labels of a span follow its last character, those of an inner span first.
        for index in sorted(ends[start], key=levels.__getitem__):
            inside.discard(index)
            parts.append(run(chips(listed[index][2], colors) + "<wbr>", set()))
        inside |= starts[start]
        parts.append(run(escape(text[start:end]), starts[start]))
    style = f"--room: {5 * rows}px; line-height: calc(1.8em + {5 * rows}px)"
    return f'<div class="labelled" dir="auto" style="{style}">{"".join(parts)}</div>'


def table_html(
    header: Sequence[Cell], rows: Iterable[Sequence[Cell]], colors: dict[str, str]
) -> str:
    """Draw a table of cells with their labels; a cell without labels to show has []."""
    head = "".join(f'<th scope="col">{_cell(*cell, colors)}</th>' for cell in header)
    body = "".join(
        f"<tr><td>{number}</td>{''.join(_td(cell, colors) for cell in row)}</tr>"
        for number, row in enumerate(rows, 1)
    )
    # A region that scrolls is reached by the keyboard, too.
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="labelled table"><table>'
        f"<thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def counts_html(title: str, decided: Iterable[Labels], colors: dict[str, str]) -> str:
    """Count the labels of all positions, the most frequent first."""
    listed = list(decided)
    counts = Counter(name for labels in listed for name, _ in labels or ())
    found = "".join(_chip(name, f"{n:,}", colors[name]) for name, n in counts.most_common())
    for note, count in (("no label", listed.count([])), ("not read", listed.count(None))):
        found += f'<span class="chip none">{note} {count:,}</span>' if count else ""
    return f'<div class="counts" role="status"><strong>{escape(title)}</strong>{found}</div>'


def message_html(message: str, kind: str) -> str:
    """Write a message: a "note", or a "problem", which screen readers announce."""
    role = ' role="alert"' if kind == "problem" else ""
    return f'<div class="{kind}" dir="auto"{role}>{escape(message)}</div>'


def chips(labels: Labels, colors: dict[str, str]) -> str:
    """Write the labels of a position with their scores."""
    if labels is None:
        return '<span class="chip none">not read</span>'
    return "<wbr>".join(_chip(name, f"{score:.2f}", colors[name]) for name, score in labels)


def _chip(name: str, number: str, color: str) -> str:
    style = f'class="chip" style="--label: {color}"'
    return f"<span {style}><b>{escape(name)}</b> <i>{number}</i></span>"


def _cell(value: object, labels: Labels, colors: dict[str, str]) -> str:
    shown = "" if value is None else escape(str(value))
    return f'<div class="value" dir="auto">{shown}</div>{chips(labels, colors)}'


def _td(cell: Cell, colors: dict[str, str]) -> str:
    labels = cell[1]
    mark = f' class="has" style="--label: {colors[labels[0][0]]}"' if labels else ""
    return f"<td{mark}>{_cell(*cell, colors)}</td>"


def _line(labels: Labels, row: int, is_start: bool, colors: dict[str, str]) -> tuple[str, str]:
    """Return the image and the position of the line under a piece of a span."""
    position = f"{2 if is_start else 0}px calc(100% - {5 * row}px)"
    if not labels:
        return f"repeating-linear-gradient(90deg, {NO_LABEL} 0 3px, #0000 3px 6px)", position
    color = colors[labels[0][0]]
    return f"linear-gradient({color}, {color})", position


def _levels(spans: Sequence[Span]) -> dict[int, int]:
    """Give each span, the shortest first, the line nearest to the text that is free under it."""
    levels: dict[int, int] = {}
    lines: list[list[tuple[int, int]]] = []  # per line its spans, in order
    for index in sorted(range(len(spans)), key=lambda i: spans[i][1] - spans[i][0]):
        span = spans[index][:2]
        level = next((n for n, line in enumerate(lines) if _is_free(line, *span)), len(lines))
        lines += [[]] * (level == len(lines))
        insort(lines[level], span)
        levels[index] = level
    return levels


def _is_free(line: list[tuple[int, int]], start: int, end: int) -> bool:
    place = bisect(line, (start, end))
    before, after = line[place - 1 : place], line[place : place + 1]
    return all(one[1] <= start for one in before) and all(one[0] >= end for one in after)


def _color(hue: float) -> str:
    for lightness in range(50, 0, -1):
        parts = colorsys.hls_to_rgb(hue, lightness / 100, 0.6)
        color = "#" + "".join(f"{round(255 * part):02x}" for part in parts)
        if contrast(color, "#ffffff") >= 4.6:
            return color
    raise AssertionError("black is dark enough")


def _luminance(color: str) -> float:
    parts = (int(color[place : place + 2], 16) / 255 for place in (1, 3, 5))
    linear = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear))
