"""Classify several positions of a sequence in one encoder pass.

    texts ──▶ MaskedSeqProcessor ──▶ DataCollatorForMaskedSeq ──▶ AutoModelForMaskedSeqModeling
          rows of plain lists        padded tensors               logits ──▶ make_compute_metrics

Importing this package registers the model with Transformers' Auto classes, and does nothing else.
"""

from transformers import AutoConfig, AutoModel

from .configuration_custom import IGNORE_INDEX, MaskedSeqModelingConfig
from .data_collator import DataCollatorForMaskedSeq
from .lora import get_lora_model
from .metrics import make_compute_metrics
from .modeling_custom import AutoModelForMaskedSeqModeling
from .positions import MaskedSeqProcessor
from .thresholds import tune_thresholds
from .weights import balanced_weights

__version__ = "0.2.0"

__all__ = [
    "IGNORE_INDEX",
    "AutoModelForMaskedSeqModeling",
    "DataCollatorForMaskedSeq",
    "MaskedSeqModelingConfig",
    "MaskedSeqProcessor",
    "balanced_weights",
    "get_lora_model",
    "make_compute_metrics",
    "tune_thresholds",
]

AutoConfig.register(MaskedSeqModelingConfig.model_type, MaskedSeqModelingConfig, exist_ok=True)
AutoModel.register(MaskedSeqModelingConfig, AutoModelForMaskedSeqModeling, exist_ok=True)
