"""Classify several positions of a sequence in one encoder pass.

    texts ──▶ MaskedSeqProcessor ──▶ DataCollatorForMaskedSeq ──▶ AutoModelForMaskedSeqModeling
          rows of plain lists        padded tensors               logits ──▶ make_compute_metrics

Importing this package registers the model with Transformers' Auto classes and the pipeline with its
`pipeline`, and does nothing else.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from transformers import AutoConfig, AutoModel
from transformers.pipelines import PIPELINE_REGISTRY

from . import modeling_custom
from .configuration_custom import MaskedSeqModelingConfig
from .evaluation.metrics import make_compute_metrics
from .evaluation.prediction_sets import fit_set_threshold, predict_sets
from .evaluation.temperature_scaling import fit_temperature
from .evaluation.thresholds import tune_thresholds
from .export.export import export_onnx
from .export.runtime import OnnxMaskedSeqModel
from .formats.read_write import read_records, write_records
from .hub.card import write_model_card
from .hub.push import push_to_hub
from .inference.components import MaskedSeqModelLoader
from .inference.pipeline import TASK, MaskedSeqClassificationPipeline
from .labels import IGNORE_INDEX
from .loading.model import AutoModelForMaskedSeqModeling
from .lora.adapt import attach_adapter, get_lora_model
from .processing.class_weights import balanced_weights, label_frequencies
from .processing.data_collator import DataCollatorForMaskedSeq
from .processing.processor import MaskedSeqProcessor
from .report.report import write_report

if TYPE_CHECKING:
    from .evaluation.callbacks import ThresholdTuningCallback
    from .records.splits import split_records

# What is loaded when it is asked for: Transformers' callbacks load PEFT, the splits scikit-learn.
_LAZY = {
    "ThresholdTuningCallback": "evaluation.callbacks",
    "split_records": "records.splits",
}

__version__ = "0.2.0"

__all__ = [
    "IGNORE_INDEX",
    "AutoModelForMaskedSeqModeling",
    "DataCollatorForMaskedSeq",
    "MaskedSeqClassificationPipeline",
    "MaskedSeqModelingConfig",
    "MaskedSeqProcessor",
    "OnnxMaskedSeqModel",
    "ThresholdTuningCallback",
    "balanced_weights",
    "export_onnx",
    "fit_set_threshold",
    "fit_temperature",
    "get_lora_model",
    "label_frequencies",
    "make_compute_metrics",
    "predict_sets",
    "push_to_hub",
    "read_records",
    "split_records",
    "tune_thresholds",
    "write_model_card",
    "write_records",
    "write_report",
]

# One class by every name: a checkpoint's code holds the travelling half of it under this one.
modeling_custom.AutoModelForMaskedSeqModeling = AutoModelForMaskedSeqModeling  # type: ignore[misc]
AutoModelForMaskedSeqModeling.attach_adapter = attach_adapter
AutoConfig.register(MaskedSeqModelingConfig.model_type, MaskedSeqModelingConfig, exist_ok=True)
AutoModel.register(MaskedSeqModelingConfig, AutoModelForMaskedSeqModeling, exist_ok=True)
PIPELINE_REGISTRY.register_pipeline(
    TASK,
    pipeline_class=MaskedSeqClassificationPipeline,
    pt_model=MaskedSeqModelLoader,
    type="text",
)


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
