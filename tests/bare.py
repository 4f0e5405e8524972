"""A process that has PyTorch and Transformers, but neither this package nor what it depends on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import torch

from tests.tiny import tiny_batch

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
