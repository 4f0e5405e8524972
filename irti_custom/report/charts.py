"""Draw charts as SVG for the page: for a phone, for the dark, and for a screen reader.

    points  ->  <svg role="img"><title>...</title><desc>...</desc> ... </svg>

Colours are the page's own. Names of labels never go through matplotlib, which reads "$" as
mathematics: they stand in the page's text.
"""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes

# Written by matplotlib, and replaced by the page's colours.
_TEXT, _MUTED, _ACCENT = "#010101", "#020202", "#030303"
_COLOURS = {_TEXT: "var(--text)", _MUTED: "var(--muted)", _ACCENT: "var(--accent)"}
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "irti_custom",
    "font.size": 8,
    "axes.edgecolor": _MUTED,
    "axes.labelcolor": _TEXT,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
    "xtick.labelcolor": _TEXT,
    "ytick.labelcolor": _TEXT,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
}
_TICKS = [0, 0.5, 1]
_numbers = itertools.count()


def precision_recall_chart(label: Mapping[str, Any], share: float) -> Markup:
    """Draw precision over recall, with the point at which the model decides.

    Args:
        label: of `label_figures`.
        share: of the positions that have the label, the precision of guessing.
    """

    def draw(axes: Axes) -> None:
        curve = label["curve"]
        axes.axhline(share, color=_MUTED, linewidth=0.8, linestyle=(0, (2, 2)))
        axes.plot(
            curve["recall"],
            curve["precision"],
            color=_ACCENT,
            linewidth=1.4,
            drawstyle="steps-post",
        )
        if label["predicted"]:
            axes.plot(label["recall"], label["precision"], "o", color=_TEXT, markersize=4.5)
        _unit_axes(axes, "Recall", "Precision")

    decided = (
        f"It decides at precision {label['precision']:.3f} and recall {label['recall']:.3f}."
        if label["predicted"]
        else "It never predicts the label."
    )
    return _chart(
        draw,
        f"Precision and recall of {label['label']}",
        f"Average precision {label['curve']['average_precision']:.3f}; {share:.3f} for guessing. "
        + decided,
    )


def reliability_chart(figures: Mapping[str, Any], name: str, size: float = 2.4) -> Markup:
    """Draw the share that is true over the score; a larger point stands for more.

    Args:
        figures: of `reliability_figures`.
        name: what the scores are of.
        size: width in inches.
    """
    bins = figures["bins"]

    def draw(axes: Axes) -> None:
        largest = max(one["count"] for one in bins) ** 0.5  # of areas: most scores are near 0
        scores, shares = [one["score"] for one in bins], [one["share_true"] for one in bins]
        areas = [max(4.0, 60 * one["count"] ** 0.5 / largest) for one in bins]
        axes.plot([0, 1], [0, 1], color=_MUTED, linewidth=0.8, linestyle=(0, (2, 2)))
        axes.plot(scores, shares, color=_ACCENT, linewidth=1.2)
        axes.scatter(scores, shares, s=areas, color=_ACCENT, linewidths=0, zorder=3)
        _unit_axes(axes, "Score", "Share true")

    listed = "; ".join(
        f"{one['share_true']:.2f} true at score {one['score']:.2f} ({one['count']})" for one in bins
    )
    error = f"Expected calibration error {figures['calibration_error']:.3f}. "
    return _chart(draw, f"Reliability of {name}", f"{error}{listed}.", size)


def _unit_axes(axes: Axes, x: str, y: str) -> None:
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.04), xticks=_TICKS, yticks=_TICKS)
    axes.set_xticklabels(["0", ".5", "1"])
    axes.set_yticklabels(["0", ".5", "1"])
    axes.set_xlabel(x, labelpad=1)
    axes.set_ylabel(y, labelpad=1)


def _chart(draw: Callable[[Axes], None], title: str, text: str, size: float = 2.4) -> Markup:
    import matplotlib as mpl  # here: the extra `report`, and slow to import
    from markupsafe import Markup, escape
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(size, size * 0.8))
        axes = figure.add_axes((0.17, 0.19, 0.8, 0.78))
        draw(axes)
        buffer = io.StringIO()
        figure.savefig(
            buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None}
        )
    number = f"chart{next(_numbers)}"
    head = (
        f'<svg role="img" aria-labelledby="{number}t {number}d" '
        + _attributes(buffer.getvalue(), ["viewBox"])
        + f' class="chart"><title id="{number}t">{escape(title)}</title>'
        f'<desc id="{number}d">{escape(text)}</desc>'
    )
    return Markup(head + _slim(buffer.getvalue(), number) + "</svg>")


def _attributes(svg: str, names: Sequence[str]) -> str:
    return " ".join(re.search(rf'{name}="[^"]*"', svg)[0] for name in names)  # type: ignore[index]


def _slim(svg: str, prefix: str) -> str:
    """Return what is in an SVG, with the page's colours and ids that no other chart has."""
    body = svg[svg.index(">", svg.index("<svg")) + 1 : svg.rindex("</svg>")]
    body = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", body, flags=re.DOTALL)
    used = set(re.findall(r'(?:url\(#|href="#)([\w-]+)', body))
    body = re.sub(r' id="([\w-]+)"', lambda m: m[0] if m[1] in used else "", body)
    body = re.sub(r'((?: id="|url\(#|href="#))(?=[\w-])', rf"\g<1>{prefix}", body)
    body = re.sub(r"'DejaVu Sans'[^;\"]*", "system-ui, sans-serif", body)
    for written, colour in _COLOURS.items():
        body = body.replace(written, colour)
    return re.sub(r"\s+", " ", body)
