"""A base encoder that brings its own code."""

from __future__ import annotations

import json
from pathlib import Path

import torch

_CONFIGURATION = """
from transformers import PretrainedConfig

class RemoteConfig(PretrainedConfig):
    model_type = "tests-remote"

    def __init__(self, vocab_size=64, hidden_size=16, **kwargs):
        super().__init__(**kwargs)
        self.vocab_size, self.hidden_size = vocab_size, hidden_size
"""
_MIXING = """
def mix(states, mask):
    weights = mask.unsqueeze(-1).to(states.dtype)
    return states + (states * weights).sum(1, keepdim=True) / weights.sum(1, keepdim=True)
"""
_MODELING = """
import pathlib
import torch
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput
from .configuration_remote import RemoteConfig
from .mixing import mix

pathlib.Path({trace!r}).write_text("ran")

class RemoteModel(PreTrainedModel):
    config_class = RemoteConfig

    def __init__(self, config):
        super().__init__(config)
        self.embeddings = torch.nn.Embedding(config.vocab_size, config.hidden_size)
        self.dense = torch.nn.Linear(config.hidden_size, config.hidden_size)
        self.post_init()

    def get_input_embeddings(self):
        return self.embeddings

    def forward(self, input_ids, attention_mask=None):
        states = self.dense(self.embeddings(input_ids))
        return BaseModelOutput(last_hidden_state=mix(states, attention_mask))
"""
AUTO_MAP = {
    "AutoConfig": "configuration_remote.RemoteConfig",
    "AutoModel": "modeling_remote.RemoteModel",
}


def save_remote_base(folder: Path, trace: Path) -> str:
    """Save an encoder with its code, which writes the file `trace` when it runs."""
    folder.mkdir()
    # Transformers 5 reuses the model class of an earlier load with the same configuration code.
    (folder / "configuration_remote.py").write_text(f"{_CONFIGURATION}# {folder}\n")
    (folder / "mixing.py").write_text(_MIXING)
    (folder / "modeling_remote.py").write_text(_MODELING.format(trace=str(trace)))
    settings = {"model_type": "tests-remote", "vocab_size": 64, "hidden_size": 16}
    (folder / "config.json").write_text(json.dumps({**settings, "auto_map": AUTO_MAP}))
    shapes = {"embeddings.weight": (64, 16), "dense.weight": (16, 16), "dense.bias": (16,)}
    weights = {name: torch.randn(shape) for name, shape in shapes.items()}
    torch.save(weights, folder / "pytorch_model.bin")
    return str(folder)
