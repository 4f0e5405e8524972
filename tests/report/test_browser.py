"""The page in a browser, on a desktop and on a phone: it filters, pages, sorts, and fits."""

from __future__ import annotations

import os
import shutil

import pytest

from irti_custom import MaskedSeqClassificationPipeline, write_report
from tests.report.scored import HOSTILE, LABELS, make_records, tiny_pair

pytest.importorskip("matplotlib", reason="needs the extra `report`")
api = pytest.importorskip("playwright.sync_api", reason="needs playwright")

NAMES = [*LABELS[:-1], HOSTILE[0]]
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}


@pytest.fixture(scope="module")
def browser():
    chromium = shutil.which("chromium") or "/usr/bin/chromium"
    if not os.path.exists(chromium):
        pytest.skip("needs chromium, as Debian packages it")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A report with hostile names and texts, and a comparison."""
    records = make_records(40, names=NAMES)
    for number, record in enumerate(records):
        record["text"] += " " + HOSTILE[number % 4]
    one, other = (MaskedSeqClassificationPipeline(*tiny_pair(names=NAMES)) for _ in range(2))
    one.model.config.groups = {"kind": NAMES[2:]}
    folder = tmp_path_factory.mktemp("report")
    settings = {"train": records, "slices": ["genre"], "resamples": 50}
    report = write_report(one, records, folder / "report.html", compare=other, **settings)
    return {**report, "url": (folder / "report.html").as_uri()}


@pytest.fixture(params=SIZES)
def page(request, browser, report):
    """The page, which must load nothing and raise no error while a test uses it."""
    width, height = SIZES[request.param]
    page = browser.new_page(viewport={"width": width, "height": height})
    trouble: list[str] = []
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("console", lambda note: trouble.append(note.text))
    page.on("dialog", lambda dialog: trouble.append(dialog.message))
    page.on("request", lambda asked: trouble.append(asked.url) if asked.url != report["url"] else 0)
    page.goto(report["url"])
    yield page
    assert trouble == []
    page.close()


def shown(page):
    return page.locator("#list > li").all_inner_texts()


def status(page):
    return page.locator(".pager p").first.inner_text()


def test_the_page_does_not_scroll_sideways(page):
    page.locator("details").evaluate_all("all => all.forEach(one => one.open = true)")
    width = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    assert len(set(page.evaluate(width))) == 1
    labels = page.locator("#labels tbody th").evaluate_all("all => all.map(one => one.clientWidth)")
    assert min(labels) >= 80  # a name is not broken letter by letter
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 718, "height": 1047})  # A4 between its margins
    assert len(set(page.evaluate(width))) == 1


def test_filters_keep_what_fits(page, report):
    rows = report["cases"]["rows"]
    assert status(page) == f"Cases 1 to 20 of {len(rows)}"
    for kind in report["cases"]["kinds"]:
        page.select_option("[name=kind]", kind)
        expected = sum(row["kind"] == kind for row in rows)
        assert status(page).endswith(f" of {expected}")
    page.select_option("[name=kind]", "wrong")
    page.select_option("[name=label]", "3")
    expected = [
        row
        for row in rows
        if row["kind"] != "right" and 3 in [i for i, _ in row["true"] + row["predicted"]]
    ]
    assert status(page).endswith(f" of {len(expected)}")
    page.select_option("[name=change]", "any")
    expected = [row for row in expected if row["change"]]
    assert status(page).endswith(f" of {len(expected)}")
    page.fill("[name=words]", "no such text")
    assert status(page) == "No case fits these filters."
    assert shown(page) == []


def test_pages_turn_there_and_back(page, report):
    total = len(report["cases"]["rows"])
    first = shown(page)
    seen = list(first)
    following = page.locator(".pager.last .next")
    while following.is_enabled():
        following.click()
        seen += shown(page)
    assert len(seen) == total
    assert page.locator(".pager.last .previous").evaluate("b => b === document.activeElement")
    while page.locator(".pager .previous").first.is_enabled():
        page.locator(".pager .previous").first.click()
    assert shown(page) == first


def test_a_table_sorts_both_ways_with_the_keyboard_too(page, report):
    table = page.locator("#labels table").first
    header = table.locator("th", has_text="F1").first
    header.locator("button").focus()
    page.keyboard.press("Enter")
    assert header.get_attribute("aria-sort") == "descending"
    assert table.locator("[aria-sort]").count() == 1
    scores = {row["label"]: row["f1"] for row in report["labels"]}
    names = table.locator("tbody th")
    order = [scores[name] for name in names.all_inner_texts()]
    assert order == sorted(scores.values(), reverse=True)
    page.keyboard.press("Enter")
    assert header.get_attribute("aria-sort") == "ascending"
    assert [scores[name] for name in names.all_inner_texts()] == order[::-1]
    table.locator("th", has_text="Label").first.locator("button").click()
    assert names.all_inner_texts()[1:] == LABELS[:-1]


def test_a_label_and_a_confusion_lead_to_their_cases(page, report):
    page.locator("#labels button.to-cases", has_text="person").click()
    assert page.locator("[name=label]").input_value() == "1"
    assert page.locator("[name=label]").evaluate("one => one === document.activeElement")
    matrix = report["confusions"]["counts"]
    for cell in page.locator("table.matrix button").all():
        cell.click()
        i, j = map(int, cell.get_attribute("data-pair").split())
        assert status(page).endswith(f" of {matrix[i][j]}"), (i, j)


def test_hostile_text_is_shown_as_it_is(page):
    page.fill("[name=words]", HOSTILE[1])
    assert HOSTILE[1] in shown(page)[0]
    assert page.locator("img").count() == 0
    assert page.locator("script").count() == 2
    assert page.locator("#list p.case-text[dir=auto]").count() == len(shown(page))
    assert page.locator("#labels tbody bdi", has_text=HOSTILE[0]).count() == 1


def test_headings_tables_charts_and_fields_have_names(page):
    levels = page.locator("h1, h2, h3").evaluate_all("all => all.map(one => +one.tagName[1])")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(levels, levels[1:]))
    for selector in ("thead th:not([scope])", "svg:not([role=img])", ".scroll:not([aria-label])"):
        assert page.locator(selector).count() == 0, selector
    unnamed = "all => all.filter(one => !one.closest('label') && !one.textContent.trim()).length"
    assert page.locator("select, input, button").evaluate_all(unnamed) == 0
    svg = "all => all.filter(one => !one.querySelector('title').textContent).length"
    assert page.locator("svg").evaluate_all(svg) == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast(browser, report, scheme):
    page = browser.new_page(color_scheme=scheme)
    page.goto(report["url"])
    read = "name => getComputedStyle(document.documentElement).getPropertyValue(name).trim()"
    tone = {
        name: page.evaluate(read, f"--{name}")
        for name in ("page", "card", "text", "muted", "accent", "wrong", "wrong-soft", "right-soft")
    }
    for ink in ("text", "muted", "accent", "wrong"):
        for paper in ("page", "card"):
            assert contrast(tone[ink], tone[paper]) >= 4.5, (ink, paper)
    for paper in ("wrong-soft", "right-soft"):
        assert contrast(tone["text"], tone[paper]) >= 4.5
    for ink in ("accent", "wrong"):  # a cell of the matrix is half of it at most
        assert contrast(tone["text"], mixed(tone[ink], tone["card"])) >= 4.5
    page.close()


def rgb(colour):
    return [int(colour[i : i + 2], 16) for i in (1, 3, 5)]


def mixed(one, other):
    return "#" + "".join(f"{round((a + b) / 2):02x}" for a, b in zip(rgb(one), rgb(other)))


def luminance(colour):
    """Return the relative luminance of WCAG 2."""
    parts = [value / 255 for value in rgb(colour)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)
