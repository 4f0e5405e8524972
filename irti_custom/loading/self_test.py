"""Try one encoder through everything a model must do, in a temporary folder."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import PreTrainedModel

from ..labels import IGNORE_INDEX

_FAILURES = (AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError)


def run(
    cls: type[PreTrainedModel], base: str, trust_remote_code: bool, task: str, num_labels: int
) -> dict[str, Any]:
    """Load, forward, loss, gradient, save, reload; see `run_self_test` of the model."""
    with _step("load", base):
        model = cls.from_pretrained(
            base, num_labels=num_labels, task=task, trust_remote_code=trust_remote_code
        )
    batch = _batch(model, task, num_labels)
    with _step("forward", base):
        output = model(**batch)
        _expect(output.logits.shape == (2, 3, num_labels), f"logits {output.logits.shape}")
        _expect(bool(torch.isfinite(output.logits).all()), "logits are not finite")
    with _step("loss", base):
        _expect(bool(torch.isfinite(output.loss)), f"loss is {output.loss}")
        output.loss.backward()
        gradient = model.head[3].weight.grad
        _expect(gradient is not None and bool(gradient.any()), "the head has no gradient")
    with _step("save and reload", base), tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        again = cls.from_pretrained(folder, trust_remote_code=trust_remote_code)
        with torch.no_grad():
            difference = (again(**batch).logits - model(**batch).logits).abs().max().item()
        _expect(difference < 1e-5, f"the reloaded logits differ by up to {difference}")
    return {
        "base": str(base),
        "model_type": model.config.base_model_type,
        "task": task,
        "logits_shape": tuple(output.logits.shape),
        "loss": float(output.loss.detach()),
        "parameters": model.num_parameters(),
    }


def _batch(model: PreTrainedModel, task: str, num_labels: int) -> dict[str, torch.Tensor]:
    """Two rows of eight tokens with three positions each, the last one padded."""
    vocabulary = min(getattr(model.config.base_model_config, "vocab_size", None) or 100, 100)
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, vocabulary, (2, 8), generator=generator)
    shape, top = ((2, 3, num_labels), 2) if task == "multilabel" else ((2, 3), num_labels)
    labels = torch.randint(0, top, shape, generator=generator)
    labels[1, 2] = IGNORE_INDEX
    positions = torch.tensor([[0, 3, 7], [1, 5, 0]])
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    return {**batch, "mask_indices": positions, "labels": labels}


@contextmanager
def _step(name: str, base: str) -> Iterator[None]:
    try:
        yield
    except _FAILURES as error:
        raise RuntimeError(f"Self-test of {str(base)!r} failed at: {name}. {error}") from error


def _expect(holds: bool, problem: str) -> None:
    if not holds:
        raise ValueError(problem)
