"""A process that has PyTorch and Transformers, but neither this package nor what it depends on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from irti_custom import AutoModelForMaskedSeqModeling
from tests.tiny import tiny_batch

# What `config.json` of a checkpoint with code says about the model around the encoder.
AUTO_MAP = {
    "AutoConfig": "configuration_custom.MaskedSeqModelingConfig",
    "AutoModel": "modeling_custom.AutoModelForMaskedSeqModeling",
}
ABSENT = ("accelerate", "datasets", "evaluate", "irti_custom", "peft", "scipy", "sklearn", "tests")
_HIDE = f"""
import importlib, sys

class Without:
    def __init__(self, finder):
        self.finder = finder
    def __getattr__(self, name):
        return getattr(self.finder, name)
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {ABSENT}:
            return None
        return self.finder.find_spec(name, path, target)

sys.meta_path = [Without(f) for f in sys.meta_path if hasattr(f, "find_spec")]
for name in {ABSENT}:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        continue
    raise SystemExit(f"{{name}} is there")
import torch, transformers
from transformers import AutoConfig, AutoModel, AutoTokenizer
folder, here = sys.argv[1:]
batch = torch.load(here + "/batch.pt")
"""
_LOGITS = """
model = AutoModel.from_pretrained(folder, trust_remote_code=True)
assert type(model).__module__.startswith("transformers_modules"), type(model)
with torch.no_grad():
    torch.save(model(**batch).logits, here + "/logits.pt")
"""


def run_bare(script: str, folder: str, here: Path) -> str:
    """Run `script` with `folder` and a `batch` at hand; `here` is its place to write."""
    torch.save(tiny_batch(), here / "batch.pt")
    settings = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", _HIDE + script, os.path.abspath(folder), str(here)],
        capture_output=True,
        text=True,
        cwd=here,
        env={**settings, "HF_MODULES_CACHE": str(here / "modules")},
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def assert_bare_agrees(model: AutoModelForMaskedSeqModeling, folder: Path, here: Path) -> None:
    """Check that the code in `folder` computes in such a process what the model does here."""
    run_bare(_LOGITS, str(folder), here)
    with torch.no_grad():
        logits = model(**tiny_batch()).logits
    torch.testing.assert_close(torch.load(here / "logits.pt"), logits, rtol=0, atol=0)


def saved_config(folder: str | os.PathLike) -> dict[str, Any]:
    return json.loads(Path(folder, "config.json").read_text())


def scripts(folder: str | os.PathLike) -> set[str]:
    return {path.name for path in Path(folder).glob("*.py")}
