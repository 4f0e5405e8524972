"""Describe a saved model on a card: encoder, task, labels, data, scores, and how to use it.

    config.json + metrics, data, ... ──▶ card_template.md ──▶ README.md

The scores are in its metadata, too, where the Hub reads them. It names no folder of this machine.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from numbers import Real
from pathlib import Path

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from ..configuration_custom import MaskedSeqModelingConfig, OpaqueEncoderConfig
from ..formats.atomic import writing
from ..loading.saving import carried_code
from ..loading.sources import resolve
from ..processing.settings import has_processor, read_settings

CARD_NAME = "README.md"
TAG = "masked-seq-classification"
_TEMPLATE = Path(__file__).with_name("card_template.md")
_MODEL_CLASS = "AutoModelForMaskedSeqModeling"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_SPLIT = re.compile(r"^(eval|test|train)_")
_SPLIT_NAMES = {"eval": "validation", "test": "test", "train": "train"}
_NO_SCORE = re.compile(r"epoch|.*(_per_second|runtime|jit_compilation_time)")
_LABEL_MEASURES = ("precision", "recall", "f1", "support")
_TASKS = {
    "multilabel": "Multi-label: each position has any number of the labels (sigmoid per label).",
    "multiclass": "Multi-class: each position has exactly one of the labels (softmax).",
}


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
        metrics: scores, as `Trainer.evaluate` or `make_compute_metrics` returns them. They are
            also in the card's metadata, except those per label (``per_label=True``), which have a
            table of their own.
        data: what the model was trained on and measured on, as Markdown.
        name: Hub id that the snippet loads; default: the folder's own name, which runs from the
            folder above.
        base_model: Hub id of the base encoder; default: what the config says, unless that is a
            folder.
        language: ISO codes, such as "en".
        license: Hub identifier, such as "apache-2.0".
        tags: more tags.
        overwrite: replace a card that is there already.

    Returns:
        The path of the card.

    Raises:
        OSError: `folder` holds no ``config.json``.
        FileExistsError: `folder` holds a card.
        ValueError: `folder` holds another kind of model, or `metrics` are of several evaluations.

    Example:
        >>> import tempfile
        >>> from transformers import BertConfig
        >>> config = MaskedSeqModelingConfig(num_labels=2, base_model_config=BertConfig())
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     config.save_pretrained(folder)
        ...     path = write_model_card(folder, name="me/model", metrics={"eval_micro_f1": 0.8125})
        ...     card = ModelCard.load(path)
        >>> card.data.eval_results[0].metric_value
        0.8125
    """
    path = os.path.join(folder, CARD_NAME)
    if not overwrite and os.path.exists(path):
        raise FileExistsError(f"{path!r} exists. Pass overwrite=True to replace it.")
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"{str(folder)!r} is not a folder. Save the model there first.")
    source = resolve(os.path.abspath(folder), local_files_only=True)
    if source.kind == "encoder":
        raise ValueError(
            f"The card is for {MaskedSeqModelingConfig.model_type!r}, but {str(folder)!r} holds "
            f"{source.settings.get('model_type')!r}. Give the folder that this package saved a "
            "model to."
        )
    config, is_adapter = source.config, source.kind == "adapter"
    name = name or os.path.basename(source.path)
    title = name.rpartition("/")[2]
    results, label_scores = _scores(config, metrics or {})
    hub_results = [result for result in results if _is_for_the_hub(result)]
    is_remote = isinstance(config.base_model_config, OpaqueEncoderConfig)
    card = ModelCard.from_template(
        ModelCardData(
            base_model=base_model or hub_id_of(source.base_name or config.base_model_name_or_path),
            eval_results=hub_results or None,
            language=language if language is None or isinstance(language, str) else list(language),
            library_name={"adapter": "peft", "graph": "onnx"}.get(source.kind, "transformers"),
            license=license,
            model_name=title if hub_results else None,
            tags=[TAG, *(["lora"] if is_adapter else []), *tags],
        ),
        template_str=_TEMPLATE.read_text(encoding="utf-8"),
        title=title,
        is_adapter=is_adapter,
        config=config,
        task=_TASKS[config.task],
        labels=[_cell(label) for label in config.label_names],
        data=data and data.strip(),
        results=results,
        label_scores=label_scores,
        name=json.dumps(name, ensure_ascii=False),
        model_class="OnnxMaskedSeqModel" if source.kind == "graph" else _MODEL_CLASS,
        permission=", trust_remote_code=True" if is_remote else "",
        has_processor=has_processor(folder),
        read=_reading(folder),
        has_code=bool(carried_code(folder)) and not is_adapter,
    )
    with writing(path) as file:
        file.write(str(card).encode())
    return path


def _reading(folder: str | os.PathLike) -> str:
    """Say where the folder's processor reads a span; without one, its first token is read."""
    if not has_processor(folder):
        return "start"
    return read_settings(os.fspath(folder), {"local_files_only": True}).get("read", "start")


def hub_id_of(name_or_path: str | None) -> str | None:
    """Return `name_or_path` where it can only be a Hub id; None where it is, or may be, a path."""
    name = name_or_path or ""
    first = name.partition("/")[0]
    is_id = _HUB_ID.fullmatch(name) and not os.path.exists(name) and not os.path.exists(first)
    return name if is_id else None


def _scores(
    config: MaskedSeqModelingConfig, metrics: Mapping[str, float]
) -> tuple[list[EvalResult], list[tuple[str, list[float]]]]:
    """Split metrics into those of the whole model and, by label, those in `_LABEL_MEASURES`."""
    names = {key: _SPLIT.sub("", key) for key in metrics}
    values = {names[key]: value for key, value in metrics.items()}
    if len(values) < len(metrics):
        raise ValueError(
            f"`metrics` must be of one evaluation, got {sorted(metrics)}: without the prefix some "
            "are the same. Pass those of the test set only."
        )
    label_scores = []
    for index, label in enumerate(config.label_names):
        for prefix in (label, str(index)):
            keys = [f"{prefix}_{measure}" for measure in _LABEL_MEASURES]
            if all(key in values for key in keys):
                label_scores.append((_cell(label), [float(values.pop(key)) for key in keys]))
                break
    results = [
        EvalResult(
            task_type=TAG,
            dataset_type="unknown",
            dataset_name="Unknown",
            dataset_split=_split_of(key),
            metric_type=_cell(name),
            metric_value=float(values[name]),
        )
        for key, name in names.items()
        if isinstance(values.get(name), Real) and not _NO_SCORE.fullmatch(name)
    ]
    return results, label_scores


def _split_of(key: str) -> str | None:
    match = _SPLIT.match(key)
    return None if match is None else _SPLIT_NAMES[match.group(1)]


def _is_for_the_hub(result: EvalResult) -> bool:
    return math.isfinite(result.metric_value) and not result.metric_type.startswith("num_")


def _cell(text: str) -> str:
    """Escape what would end the cell of a Markdown table, or begin an HTML tag."""
    return re.sub(r"\s+", " ", str(text)).replace("|", r"\|").replace("<", "&lt;")
