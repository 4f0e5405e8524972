"""The house: what imports what, what an import costs, and which Python can read it."""

from __future__ import annotations

import ast
import glob
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import irti_custom

PACKAGE = Path(irti_custom.__file__).parent
# A room imports only rooms of the floors below its own.
FLOORS = [
    {"label_settings"},
    {"configuration_custom"},
    {
        "adapters",
        "checks",
        "decisions",
        "encoders",
        "label_ids",
        "losses",
        "measures",
        "own_code",
        "processor_files",
        "ragged",
        "self_test",
        "spans",
        "tokens",
        "way_back",
        "weights",
        "windows",
    },
    {"answers", "data_collator", "metrics", "model_card", "onnx_model", "peft_model", "rows"},
    {"onnx_check", "onnx_int8", "tables", "thresholds", "upload"},
    {"callbacks", "evaluate_metric", "export", "inputs", "positions", "saving"},
    {"loading"},
    {"lora", "modeling_custom"},
    {"pipeline_parts"},
    {"pipeline"},
    {"__init__"},
]
FLOOR_OF = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}
ROOMS = sorted(path.stem for path in PACKAGE.glob("*.py"))


def own_imports(room: str) -> set[str]:
    tree = ast.parse((PACKAGE / f"{room}.py").read_text())
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            found |= {node.module} if node.module else {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("irti_custom"):
            found.add(f"absolute import of {node.module}")
    return found


def test_every_room_stands_on_a_floor():
    assert sorted(FLOOR_OF) == ROOMS


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_import_only_lower_floors(room):
    wrong = {name for name in own_imports(room) if FLOOR_OF.get(name, 99) >= FLOOR_OF[room]}
    assert not wrong


def test_public_names_are_there_and_once():
    assert len(irti_custom.__all__) == len(set(irti_custom.__all__))
    assert all(hasattr(irti_custom, name) for name in irti_custom.__all__)


def test_importing_loads_nothing_heavy_that_transformers_does_not():
    script = (
        "import sys, {}\n"
        "from transformers import AutoModel, PreTrainedModel\n"
        "heavy = ('datasets', 'evaluate', 'onnx', 'onnxruntime', 'onnxscript', 'peft', 'sklearn')\n"
        "print([n for n in heavy if n in sys.modules])"
    )
    ours, theirs = (
        subprocess.run(
            [sys.executable, "-c", script.format(name)], capture_output=True, text=True, check=True
        ).stdout
        for name in ("irti_custom", "transformers")
    )
    assert ours == theirs


def test_saved_code_reaches_its_helpers_by_relative_imports_that_transformers_finds():
    from transformers.dynamic_module_utils import get_relative_import_files

    copied = {Path(path).stem for path in get_relative_import_files(PACKAGE / "modeling_custom.py")}
    needed, todo = set(), {"modeling_custom"}
    while todo:
        needed |= todo
        todo = {name for room in todo for name in own_imports(room)} - needed
    assert copied == needed - {"modeling_custom"}
    # Transformers 4 copies from a folder no more than what the file itself names.
    assert own_imports("modeling_custom") == copied


def test_python_3_9_compiles_it(tmp_path):
    places = glob.glob(os.path.expanduser("~/.pyenv/versions/3.9.*/bin/python3.9"))
    found = [path for path in (shutil.which("python3.9"), *places) if path]
    runs = [p for p in found if subprocess.run([p, "-V"], capture_output=True).returncode == 0]
    if not runs:
        pytest.skip("no Python 3.9 here")
    copy = shutil.copytree(PACKAGE, tmp_path / "copy", ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run([runs[0], "-m", "compileall", "-q", str(copy)], check=True)
