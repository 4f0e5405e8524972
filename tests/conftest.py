"""Offline, seeded, one thread; tiny encoders and tokenizers are in `tiny`."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

# Read when Transformers is imported: no hub, and remote code of tests apart from the user's.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"  # of child processes as well: sums depend on it
os.environ["HF_MODULES_CACHE"] = tempfile.mkdtemp(prefix="irti-custom-modules-")

import pytest
import torch
from transformers import PreTrainedTokenizerFast, logging

from irti_custom import AutoModelForMaskedSeqModeling
from tests.remote import save_remote_base
from tests.tiny import save_base, tiny_model, word_tokenizer

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
def trace(tmp_path) -> Path:
    """A file that the code of a remote encoder writes when it runs."""
    return tmp_path / "trace"


@pytest.fixture
def remote(tmp_path, trace) -> str:
    """A folder of a base encoder with code of its own."""
    return save_remote_base(tmp_path / "remote", trace)


@pytest.fixture
def remote_checkpoint(remote, trace, tmp_path) -> str:
    """A checkpoint of the wrapped remote encoder, its base gone and the trace wiped."""
    load = AutoModelForMaskedSeqModeling.from_pretrained
    load(remote, num_labels=3, trust_remote_code=True).save_pretrained(tmp_path / "checkpoint")
    shutil.rmtree(remote)
    trace.unlink(missing_ok=True)
    return str(tmp_path / "checkpoint")


@pytest.fixture
def coded(tmp_path) -> str:
    """A checkpoint with code; three labels."""
    model = tiny_model(num_labels=None, id2label={0: "person", 1: "place", 2: "thing"})
    model.save_pretrained(tmp_path / "coded", with_code=True)
    return str(tmp_path / "coded")


@pytest.fixture
def compiler() -> Iterator[None]:
    """Forget what was compiled: a frame that was given up on once would not be compiled again."""
    torch.compiler.reset()
    yield
    torch.compiler.reset()
