"""The house: what imports what, what an import costs, what travels, which Python can read it."""

from __future__ import annotations

import ast
import glob
import os
import shutil
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import irti_custom

PACKAGE = Path(irti_custom.__file__).parent
# From the top down; a folder imports flat files and the folders before it.
FOLDERS = (
    "loading",
    "records",
    "formats",
    "processing",
    "evaluation",
    "lora",
    "export",
    "hub",
    "inference",
    "scoring",
    "serving",
    "report",
    "integrations",
)
# The paths of version 0.3.0.
UPWARD = {
    ("inference.batching", "serving.batching"),
    ("inference.endpoint", "serving.endpoint"),
    ("inference.jobs", "scoring.jobs"),
    ("inference.jobs", "scoring.shards"),
    ("inference.table_scorer", "scoring.table_scorer"),
}
TRAVELS = {
    "configuration_custom",
    "rule",
    "encoders",
    "file_versions",
    "input_checks",
    "labels",
    "losses",
    "modeling_custom",
    "versions",
}


def modules() -> dict[str, Path]:
    files = (path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))
    return {".".join(file.with_suffix("").parts): PACKAGE / file for file in files}


MODULES = modules()


def own_imports(name: str) -> set[str]:
    """The modules of the package that one imports when it runs, by whatever means."""
    tree = ast.parse(MODULES[name].read_text())
    typing_only = {
        child
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for child in ast.walk(node)
    }
    imported = set()
    for node in ast.walk(tree):
        if node in typing_only:
            continue
        if isinstance(node, ast.ImportFrom) and node.level:
            package = name.split(".")[: -node.level]
            target = ".".join([*package, *(node.module or "").split(".")]).strip(".")
            imported |= {target} if target in MODULES else _members(target, node)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            absolute = [getattr(node, "module", None), *(alias.name for alias in node.names)]
            assert not any((one or "").startswith("irti_custom") for one in absolute), name
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            argument = ast.unparse(node.args[0])
            if "__package__" in argument:
                imported.add(argument.partition("{__package__}.")[2].strip("'\""))
    return imported


def _members(package: str, node: ast.ImportFrom) -> set[str]:
    return {f"{package}.{alias.name}".strip(".") for alias in node.names}


IMPORTS = {name: own_imports(name) for name in MODULES}


def folder(name: str) -> str:
    return name.rpartition(".")[0]


def test_every_import_is_of_a_module_that_exists():
    assert set().union(*IMPORTS.values()) <= set(MODULES)


def test_no_cycles():
    assert set(TopologicalSorter(IMPORTS).static_order()) == set(MODULES)  # a cycle raises


def test_the_folders_are_the_ones_on_the_plan():
    assert {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()} == set(
        FOLDERS
    )


@pytest.mark.parametrize("name", sorted(set(MODULES) - {"__init__"}))
def test_flat_imports_no_folder_and_a_folder_only_those_before_it(name):
    room = folder(name)
    allowed = {"", room, *FOLDERS[: FOLDERS.index(room)]} if room else {""}
    assert not {m for m in IMPORTS[name] if folder(m) not in allowed and (name, m) not in UPWARD}


@pytest.mark.parametrize("room", ["processing", "evaluation"])
def test_preparation_and_metrics_never_see_the_model(room):
    reached, todo = set(), {name for name in MODULES if folder(name) == room}
    while todo:
        reached |= todo
        todo = {m for name in todo for m in IMPORTS[name]} - reached
    assert "modeling_custom" not in reached


def test_what_travels_with_a_checkpoint():
    from transformers.dynamic_module_utils import get_relative_import_files

    model = MODULES["modeling_custom"]
    copied = {Path(path).stem for path in get_relative_import_files(model)}
    assert (
        copied | {"modeling_custom"}
        == TRAVELS
        == {n for n in MODULES if not folder(n)} - {"__init__"}
    )
    # Transformers 4 copies from a folder no more than what the file itself names.
    assert IMPORTS["modeling_custom"] == copied
    config = IMPORTS["configuration_custom"]
    assert set().union(*(IMPORTS[name] for name in config)) <= config


def test_public_names_are_there_and_once():
    assert len(irti_custom.__all__) == len(set(irti_custom.__all__))
    assert all(hasattr(irti_custom, name) for name in irti_custom.__all__)


def test_importing_loads_nothing_heavy_that_transformers_does_not():
    script = (
        "import sys, {}\n"
        "from transformers import AutoModel, PreTrainedModel\n"
        "heavy = ['datasets', 'evaluate', 'matplotlib', 'onnx', 'onnxruntime', 'onnxscript']\n"
        "heavy += ['peft', 'sklearn']\n"
        "print([n for n in heavy if n in sys.modules])"
    )
    ours, theirs = (
        subprocess.run(
            [sys.executable, "-c", script.format(name)], capture_output=True, text=True, check=True
        ).stdout
        for name in ("irti_custom", "transformers")
    )
    assert ours == theirs


def test_python_3_9_compiles_it(tmp_path):
    places = glob.glob(os.path.expanduser("~/.pyenv/versions/3.9.*/bin/python3.9"))
    found = [path for path in (shutil.which("python3.9"), *places) if path]
    runs = [p for p in found if subprocess.run([p, "-V"], capture_output=True).returncode == 0]
    if not runs:
        pytest.skip("no Python 3.9 here")
    copy = shutil.copytree(PACKAGE, tmp_path / "copy", ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run([runs[0], "-m", "compileall", "-q", str(copy)], check=True)
