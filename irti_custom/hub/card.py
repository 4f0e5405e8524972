"""Write down what a model is: encoder, task, labels, data, scores, and how to use it.

    config.json + what the caller knows (metrics, data, ...)  ->  README.md

The card names no folder of this machine. One that somebody else wrote or edited is left alone.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCardData
from transformers.utils import CONFIG_NAME

from ..configuration_custom import MaskedSeqModelingConfig, OpaqueEncoderConfig
from ..processing.processor import has_processor
from ..saving import carried_code

CARD_NAME = "README.md"
TAG = "masked-seq-classification"
_MARK = "<!-- Written by irti_custom ({}). Once edited, it is left alone. -->"
_MARKED = re.compile(re.escape(_MARK).replace(r"\{\}", "([0-9a-f]{16})") + r"\n")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_PREFIX = re.compile(r"^(eval|test|train)_")
_LABEL_MEASURES = ("precision", "recall", "f1", "support")
_TASKS = {
    "multilabel": "Multi-label: each position has any number of the labels (sigmoid per label).",
    "multiclass": "Multi-class: each position has exactly one of the labels (softmax).",
}
_SNIPPET = """\
import torch
from transformers import {auto_class}AutoTokenizer
{import_line}
name = "{name}"
tokenizer = AutoTokenizer.from_pretrained(name{tokenizer_permission})
model = {model_class}.from_pretrained(name{permission})

text, spans = "Ann lives in Rome", [(0, 3), (13, 17)]
inputs = tokenizer(text, return_tensors="pt")
positions = torch.tensor([[inputs.char_to_token(start) for start, end in spans]])
with torch.no_grad():
    logits = model(**inputs, mask_indices=positions).logits
for (start, end), scores in zip(spans, model.predict_proba(logits)[0].tolist()):
    print(text[start:end], {{model.config.id2label[i]: round(p, 3) for i, p in enumerate(scores)}})
"""
# Where the processor lies beside the model.
_TAGGER = """\
from irti_custom import MaskedSeqClassificationPipeline

tagger = MaskedSeqClassificationPipeline.from_pretrained("{name}"{permission})
for found in tagger({{"text": "Ann lives in Rome", "spans": [(0, 3), (13, 17)]}}):
    print(found)
"""


def write_model_card(
    folder: str | os.PathLike,
    *,
    metrics: Mapping[str, float] | None = None,
    data: str | None = None,
    name: str | None = None,
    base_model: str | None = None,
    language: str | Sequence[str] | None = None,
    license: str | None = None,
    tags: Sequence[str] = (),
    overwrite: bool = False,
) -> str:
    """Write the ``README.md`` of a saved model or adapter, as a Hub repository shows it.

    Args:
        folder: where the model was saved.
        metrics: scores, as `Trainer.evaluate` or `make_compute_metrics` returns them; with
            ``per_label=True`` the card has a row per label.
        data: what the model was trained on and measured on, as Markdown.
        name: Hub id that the snippet loads; default: the folder's own name, which runs from the
            folder above.
        base_model: Hub id of the base encoder; default: what the config says, unless that is a
            folder.
        language: ISO codes, such as "en".
        license: Hub identifier, such as "apache-2.0".
        tags: more tags.
        overwrite: replace also a card that is not this function's, or was edited since.

    Returns:
        The path of the card.

    Raises:
        OSError: `folder` holds no ``config.json``.
        FileExistsError: a card that is somebody else's.
        ValueError: the folder holds another kind of model.
    """
    path = Path(folder, CARD_NAME)
    if not overwrite and path.exists() and not is_own_card(_read(path)):
        raise FileExistsError(
            f"{str(path)!r} was not written by this function, or was edited since, so it is left "
            "alone. Pass overwrite=True to replace it."
        )
    config = _read_config(folder)
    hub_id = base_model or hub_id_of(config.base_model_name_or_path)
    adapter = Path(folder, "adapter_config.json").exists()
    header = ModelCardData(
        base_model=hub_id,
        language=language if language is None or isinstance(language, str) else list(language),
        library_name="peft" if adapter else "transformers",
        license=license,
        tags=[TAG, *(["lora"] if adapter else []), *tags],
    ).to_yaml(line_break="\n")
    name = name or os.path.basename(os.path.abspath(folder))
    prepared = has_processor(folder)
    snippets = _usage(config, name, bool(carried_code(folder)) and not adapter, prepared)
    sections = [
        f"# {name.rpartition('/')[2]}",
        "Classifies several positions of a text, such as spans that are already found, in one pass "
        f"of an encoder.\n\n{_facts(config, hub_id)}",
        f"## Labels\n\n{_labels(config)}",
        f"## Data\n\n{data.strip() if data else 'Not described.'}",
        f"## Scores\n\n{_scores(config, metrics or {})}",
        f"## Use\n\n{snippets}",
    ]
    body = "\n\n".join(sections) + "\n"
    path.write_text(_marked(f"---\n{header.strip()}\n---\n", body), encoding="utf-8")
    return str(path)


def snippet(
    name: str,
    trust_remote_code: bool = False,
    without_package: bool = False,
    prepared: bool = False,
) -> str:
    """Return Python code that loads the model called `name` and scores two spans of a text.

    Args:
        name: Hub id or folder.
        trust_remote_code: the encoder brings code of its own.
        without_package: load the model from the code in its checkpoint.
        prepared: a processor lies beside the model.

    Example:
        >>> print(snippet("me/model").splitlines()[6])
        model = AutoModelForMaskedSeqModeling.from_pretrained(name)
    """
    permitted = trust_remote_code or without_package
    package = "from irti_custom import AutoModelForMaskedSeqModeling\n"
    template = _TAGGER if prepared and not without_package else _SNIPPET
    return template.format(
        auto_class="AutoModel, " if without_package else "",
        import_line="" if without_package else package,
        model_class="AutoModel" if without_package else "AutoModelForMaskedSeqModeling",
        name=name.replace("\\", "\\\\").replace('"', '\\"'),
        # Without the package, the tokenizer's class is looked up through the model's code too.
        tokenizer_permission=", trust_remote_code=True" if without_package else "",
        permission=", trust_remote_code=True" if permitted else "",
    )


def is_own_card(text: str) -> bool:
    """Tell whether `write_model_card` wrote `text`, and nobody edited it since.

    Example:
        >>> is_own_card("# My model")
        False
    """
    found = _MARKED.search(text)
    return bool(found and _digest(_MARKED.sub("", text, count=1)) == found.group(1))


def hub_id_of(name_or_path: str | None) -> str | None:
    """Return `name_or_path` where it can only be a Hub id; None where it is, or may be, a path.

    Example:
        >>> hub_id_of("google-bert/bert-base-uncased"), hub_id_of("/home/ann/encoder")
        ('google-bert/bert-base-uncased', None)
    """
    name = name_or_path or ""
    first = name.partition("/")[0]
    is_id = _HUB_ID.fullmatch(name) and not os.path.exists(name) and not os.path.exists(first)
    return name if is_id else None


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def _read_config(folder: str | os.PathLike) -> MaskedSeqModelingConfig:
    if not Path(folder, CONFIG_NAME).is_file():
        raise FileNotFoundError(
            f"{str(folder)!r} holds no {CONFIG_NAME}: a card is written for a model that is saved. "
            "Call model.save_pretrained first."
        )
    settings, _ = MaskedSeqModelingConfig.get_config_dict(folder)
    if settings.get("model_type") != MaskedSeqModelingConfig.model_type:
        raise ValueError(
            f"The card is for {MaskedSeqModelingConfig.model_type!r}, but {str(folder)!r} holds "
            f"{settings.get('model_type')!r}. Give the folder that this package saved a model to."
        )
    return MaskedSeqModelingConfig.from_dict(settings)


def _facts(config: MaskedSeqModelingConfig, hub_id: str | None) -> str:
    kind = f"`{config.base_model_type}`"
    where = f"[{hub_id}](https://huggingface.co/{hub_id}) ({kind})" if hub_id else kind
    return _table(
        ("", ""),
        [
            ("Base encoder", where),
            ("Task", _TASKS[config.task]),
            ("Labels", config.num_labels),
        ],
    )


def _labels(config: MaskedSeqModelingConfig) -> str:
    names = config.label_names
    thresholds = config.thresholds
    if thresholds is None:
        return _table(("id", "label"), list(enumerate(map(_cell, names))))
    if isinstance(thresholds, float):  # under which the top class is rejected
        table = _table(("id", "label"), list(enumerate(map(_cell, names))))
        return f"{table}\n\nThreshold on the probability: {thresholds:.3f}."
    rows = [
        (index, _cell(name), f"{threshold:.3f}")
        for index, (name, threshold) in enumerate(zip(names, thresholds))
    ]
    return _table(("id", "label", "threshold"), rows)


def _scores(config: MaskedSeqModelingConfig, metrics: Mapping[str, float]) -> str:
    """Lay out the scores: one table per label, one of the rest."""
    left = {_PREFIX.sub("", key): value for key, value in metrics.items()}
    if len(left) < len(metrics):
        raise ValueError(
            f"`metrics` must be of one evaluation, got {sorted(metrics)}: without the prefix some "
            "are the same. Pass those of the test set only."
        )
    rows = []
    for index in range(config.num_labels):
        for label in (str(config.id2label[index]), str(index)):
            keys = [f"{label}_{measure}" for measure in _LABEL_MEASURES]
            if all(key in left for key in keys):
                *scores, support = (float(left.pop(key)) for key in keys)
                name = _cell(str(config.id2label[index]))
                rows.append((name, *(f"{score:.3f}" for score in scores), f"{support:.0f}"))
                break
    left = {k: v for k, v in left.items() if isinstance(v, (int, float)) and k != "epoch"}
    kept = [(_cell(key), f"{value:.4g}") for key, value in left.items() if not _is_speed(key)]
    tables = [_table(("measure", "score"), kept)] if kept else []
    if rows:
        tables.append(_table(("label", "precision", "recall", "F1", "support"), rows))
    return "\n\n".join(tables) or "Not measured."


def _usage(
    config: MaskedSeqModelingConfig, name: str, without_package: bool, prepared: bool
) -> str:
    remote = isinstance(config.base_model_config, OpaqueEncoderConfig)
    text = f"```python\n{snippet(name, remote, prepared=prepared)}```"
    if without_package:
        text += (
            "\n\nWithout the package `irti_custom`, from the code in this repository (read it "
            f"first):\n\n```python\n{snippet(name, remote, without_package=True)}```"
        )
    return text


def _is_speed(key: str) -> bool:
    return key.endswith(("_per_second", "runtime", "jit_compilation_time"))


def _table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", str(text)).replace("|", r"\|").replace("<", "&lt;")


def _marked(header: str, body: str) -> str:
    text = f"{header}\n{body}"
    return f"{header}{_MARK.format(_digest(text))}\n\n{body}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
