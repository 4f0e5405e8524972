"""Classify several positions of a sequence in one encoder pass.

    rows ──▶ DataCollatorForMaskedSeq ──▶ AutoModelForMaskedSeqModeling ──▶ make_compute_metrics

Importing this package registers the model with Transformers' Auto classes, and does nothing else.
"""

from transformers import AutoConfig, AutoModel

from .configuration_custom import IGNORE_INDEX, MaskedSeqModelingConfig
from .data_collator import DataCollatorForMaskedSeq
from .export import export_onnx
from .lora import get_lora_model
from .metrics import make_compute_metrics
from .modeling_custom import AutoModelForMaskedSeqModeling
from .onnx_model import OnnxMaskedSeqModel
from .weights import balanced_weights

__version__ = "0.2.0"

__all__ = [
    "IGNORE_INDEX",
    "AutoModelForMaskedSeqModeling",
    "DataCollatorForMaskedSeq",
    "MaskedSeqModelingConfig",
    "OnnxMaskedSeqModel",
    "balanced_weights",
    "export_onnx",
    "get_lora_model",
    "make_compute_metrics",
]

AutoConfig.register(MaskedSeqModelingConfig.model_type, MaskedSeqModelingConfig, exist_ok=True)
AutoModel.register(MaskedSeqModelingConfig, AutoModelForMaskedSeqModeling, exist_ok=True)
