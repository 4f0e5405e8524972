"""Offline, seeded, one thread; tiny encoders and tokenizers are in `tiny`."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator

# Read when Transformers is imported: no hub, and remote code of tests apart from the user's.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"  # of child processes as well: sums depend on it
os.environ["HF_MODULES_CACHE"] = tempfile.mkdtemp(prefix="irti-custom-modules-")

import pytest
import torch
from transformers import PreTrainedTokenizerFast, logging

from tests.tiny import save_base, word_tokenizer

logging.disable_progress_bar()
torch.set_num_threads(1)  # the tests run side by side


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def base(tmp_path) -> str:
    """A folder with a tiny BERT encoder and its tokenizer."""
    return save_base(tmp_path / "base")


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerFast:
    return word_tokenizer()


@pytest.fixture
def compiler() -> Iterator[None]:
    """Forget what was compiled: a frame that was given up on once would not be compiled again."""
    torch.compiler.reset()
    yield
    torch.compiler.reset()
