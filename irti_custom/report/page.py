"""Draw the page of a report from its figures.

    report.json  ->  template.html + page.css + page.js  ->  one file that loads nothing

Jinja escapes all text. The page's own script is the only one that a browser may run on it.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .cases import CHANGES, KINDS
from .charts import precision_recall_chart, reliability_chart

MAX_CHARTS = 24
MAX_CONFUSED = 30
_FOLDER = Path(__file__).parent


def check_extra() -> None:
    """Import what the page needs.

    Raises:
        ModuleNotFoundError: with the command that installs it.
    """
    try:
        import jinja2  # noqa: F401
        import matplotlib as mpl  # noqa: F401
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"write_report needs matplotlib and Jinja2, and an import failed: {error}. Run `pip "
            'install matplotlib jinja2`, or install this package as "irti_custom[report]".',
            name=error.name,
        ) from error


REPORT_START = b'{\n"created": '
"""The first bytes of the JSON file of a report."""


def write_json(report: Mapping[str, Any]) -> bytes:
    r"""Return a report as JSON, one line per part."""
    parts = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in report.items()]
    return ("{\n" + ",\n".join(parts) + "\n}\n").encode()


def draw_page(report: Mapping[str, Any]) -> bytes:
    """Return a report as HTML."""
    from jinja2 import Environment, StrictUndefined  # here: the extra `report`
    from markupsafe import Markup

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(figure=_figure, signed=_signed, count=_count, percent=_percent)
    script = (_FOLDER / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    labels, groups = report["model"]["labels"], report["model"]["groups"]
    group_of = {name: number for number, group in enumerate(groups) for name in group}
    cases = {
        "labels": labels,
        "groups": [group_of.get(name, -1) for name in labels],
        "kinds": KINDS,
        "changes": CHANGES,
        "rows": report["cases"]["rows"],
    }
    page = environment.from_string((_FOLDER / "template.html").read_text(encoding="utf-8")).render(
        report=report,
        kinds=KINDS,
        changes=CHANGES,
        style=Markup((_FOLDER / "page.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=f"sha256-{digest}",
        cases_json=_as_script(cases),
        charts=_charts(report),
        num_charts=MAX_CHARTS,
        calibration_chart=reliability_chart(report["calibration"], "all labels", size=3.4),
        confusions=_confusions(report),
        differences=_differences(report),
    )
    # Half of a surrogate pair, which a column of the records may hold, is shown as its code.
    return page.encode("utf-8", "backslashreplace")


def _charts(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Draw the charts of the labels, the most frequent first."""
    labels = sorted(report["labels"], key=lambda label: -label["support"])
    positions = report["data"]["positions"]
    return [
        {
            "label": label,
            "curve": precision_recall_chart(label, label["support"] / positions),
            "reliability": reliability_chart(label["reliability"], label["label"]),
        }
        for label in labels[:MAX_CHARTS]
        if label["curve"] is not None
    ]


def _confusions(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the matrix of the labels that are confused most, and the most frequent confusions."""
    names, counts = report["confusions"]["names"], report["confusions"]["counts"]
    support = [label["support"] for label in report["labels"]]
    last = len(names) - 1
    pairs = [
        {"true": names[i], "predicted": names[j], "true_id": i, "predicted_id": j, "count": n}
        for i, row in enumerate(counts)
        for j, n in enumerate(row)
        if i != j and n and last not in (i, j)
    ]
    pairs.sort(key=lambda pair: -pair["count"])
    ids = sorted(sorted(range(last), key=lambda i: -support[i])[:MAX_CONFUSED])
    nothing = any(counts[last]) or any(row[last] for row in counts)
    shown = [*ids, last] if nothing else ids
    rows = [
        {
            "name": names[i],
            "id": i,
            "cells": [
                {"id": j, "count": counts[i][j], "share": counts[i][j] / max(1, sum(counts[i]))}
                for j in shown
            ],
        }
        for i in shown
    ]
    return {
        "pairs": pairs[:10],
        "num_labels": len(ids),
        "columns": [names[j] for j in shown],
        "rows": rows,
    }


def _differences(report: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the differences to the other model by label."""
    compared = report["comparison"]
    return {} if compared is None else {row["label"]: row for row in compared["labels"]}


def _as_script(value: Any) -> Any:
    """Write a value as JSON that ends no script element, and is read as it was written."""
    from markupsafe import Markup

    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"  # noqa: RUF001


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.3f}".replace("-", "−")  # noqa: RUF001


def _count(value: int) -> str:
    return f"{value:,}".replace(",", "\u202f")  # a thin space


def _percent(value: float | None) -> str:
    return f"{100 * min(1.0, max(0.0, value or 0.0)):.2f}%"
