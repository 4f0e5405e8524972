"""The tiny encoders, tokenizers and batches that the tests share."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import CONFIG_MAPPING, AutoModel, PretrainedConfig, PreTrainedTokenizerFast

from irti_custom import AutoModelForMaskedSeqModeling, MaskedSeqModelingConfig

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = ["Ann", "Bob", "Paris", "Rome", "a", "cat", "dog", "in", "likes", "on", "sees", "the", "."]

_BERT = {
    "vocab_size": 64,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
}
_SPECIAL_IDS = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
_DISENTANGLED = {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]}
_XLM = {"vocab_size": 64, "emb_dim": 32, "n_layers": 2, "n_heads": 4}
# Settings by model type: on top of BERT's, or alone where the names are the architecture's own.
_ON_TOP: dict[str, dict[str, Any]] = {
    "bert": {},
    "roberta": {},
    "xlm-roberta": {},
    "camembert": {},
    "modernbert": {
        **_SPECIAL_IDS,
        "cls_token_id": 2,
        "sep_token_id": 3,
        "global_attn_every_n_layers": 2,
        "local_attention": 8,
    },
    "deberta": _DISENTANGLED,
    "deberta-v2": {**_DISENTANGLED, "position_buckets": 8, "norm_rel_ebd": "layer_norm"},
    "electra": {"embedding_size": 16},
    "albert": {"embedding_size": 16},
    "mpnet": {},
    "longformer": {"attention_window": [8, 8]},
    "big_bird": {"block_size": 4},
    "canine": {
        "num_hash_buckets": 64,
        "num_hash_functions": 4,
        "local_transformer_stride": 4,
        "downsampling_rate": 2,
        "max_position_embeddings": 256,
    },
    "roformer": {"embedding_size": 32},
    "fnet": {},
    "esm": {"pad_token_id": 1, "mask_token_id": 4, "position_embedding_type": "rotary"},
    "convbert": {"embedding_size": 32, "conv_kernel_size": 3, "head_ratio": 2},
    "mobilebert": {
        "embedding_size": 16,
        "true_hidden_size": 16,
        "intra_bottleneck_size": 16,
        "num_feedforward_networks": 1,
    },
    "squeezebert": {"embedding_size": 32},
    "rembert": {"input_embedding_size": 16, "output_embedding_size": 16},
    "luke": {"entity_vocab_size": 8, "entity_emb_size": 16},
    "data2vec-text": {},
    "ernie": {},
    "layoutlm": {},
    "eurobert": {**_SPECIAL_IDS, "num_key_value_heads": 4, "mask_token_id": 4},
}
_ALONE: dict[str, dict[str, Any]] = {
    "distilbert": {"vocab_size": 64, "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48},
    "xlnet": {"vocab_size": 64, "d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 48},
    "funnel": {
        "vocab_size": 64,
        "d_model": 32,
        "block_sizes": [1, 1],
        "num_decoder_layers": 1,
        "n_head": 4,
        "d_head": 8,
        "d_inner": 48,
        "architectures": ["FunnelModel"],
    },
    "xlm": _XLM,
    "flaubert": _XLM,
}
# The older of the two supported Transformers lacks EuroBERT.
TINY_ENCODERS = sorted(name for name in {**_ON_TOP, **_ALONE} if name in CONFIG_MAPPING)


def tiny_config(model_type: str = "bert", **kwargs: Any) -> PretrainedConfig:
    settings = _ALONE.get(model_type) or {**_BERT, **_ON_TOP.get(model_type, {})}
    return CONFIG_MAPPING[model_type](**{**settings, **kwargs})


def tiny_model(model_type: str = "bert", **kwargs: Any) -> AutoModelForMaskedSeqModeling:
    config = MaskedSeqModelingConfig(
        base_model_config=tiny_config(model_type), **{"num_labels": 4, **kwargs}
    )
    return AutoModelForMaskedSeqModeling(config).eval()


def wide_model(
    model_type: str = "bert", std: float = 0.15, **kwargs: Any
) -> AutoModelForMaskedSeqModeling:
    """A tiny model whose weights are so large that its logits depend on everything."""
    model = tiny_model(model_type, **kwargs)
    for weight in model.parameters():
        if weight.dim() > 1:
            torch.nn.init.normal_(weight, std=std)
    return model


def save_base(folder: Any, model_type: str = "bert", **kwargs: Any) -> str:
    """Save a tiny encoder and its tokenizer, as a Hub repository of a base model holds them."""
    AutoModel.from_config(tiny_config(model_type, **kwargs)).save_pretrained(folder)
    word_tokenizer().save_pretrained(folder)
    return str(folder)


def word_tokenizer(**kwargs: Any) -> PreTrainedTokenizerFast:
    vocabulary = {word: index for index, word in enumerate([*SPECIAL, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **{**names, **kwargs})


def tiny_batch(batch: int = 2, length: int = 16, positions: int = 3) -> dict[str, torch.Tensor]:
    """Random rows; the second half of the last row is padding."""
    generator = torch.Generator().manual_seed(1)
    mask = torch.ones(batch, length, dtype=torch.long)
    mask[-1, length // 2 :] = 0
    return {
        "input_ids": torch.randint(5, 60, (batch, length), generator=generator),
        "attention_mask": mask,
        "mask_indices": torch.randint(0, length // 2, (batch, positions), generator=generator),
    }


def random_batch(
    batch: int, length: int, positions: int, random: np.random.Generator, segments: bool = False
) -> dict[str, torch.Tensor]:
    """Ragged rows, of which any may be full; positions on real tokens."""
    lengths = random.integers(1, length + 1, (batch, 1))
    real = np.arange(length) < lengths
    arrays = {
        "input_ids": np.where(real, random.integers(2, 64, real.shape), 0),
        "attention_mask": real.astype(np.int64),
        "mask_indices": random.integers(0, lengths, (batch, positions)),
    }
    if segments:
        arrays["token_type_ids"] = random.integers(0, 2, real.shape)
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def make_rows(task: str, count: int = 16, seed: int = 0) -> list[dict[str, Any]]:
    """Rows of 3 to 14 tokens and 0 to 5 positions; the label follows from the token."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        ids = rng.integers(5, 18, rng.integers(3, 15))
        positions = rng.integers(0, len(ids), rng.integers(0, 6))
        classes = ids[positions] % 4
        labels = classes if task == "multiclass" else np.eye(4)[classes]
        row = {"input_ids": ids, "mask_indices": positions, "labels": labels}
        rows.append({name: values.tolist() for name, values in row.items()})
    return rows


def tiny_labels(task: str, batch: int = 2, positions: int = 3, num_labels: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    shape = (batch, positions, num_labels) if task == "multilabel" else (batch, positions)
    labels = torch.randint(0, 2 if task == "multilabel" else num_labels, shape, generator=generator)
    labels[-1, -1] = -100
    return labels


@torch.no_grad()
def assert_same_logits(one: Any, other: Any, atol: float = 0.0, **batch: Any) -> None:
    batch = batch or tiny_batch()
    torch.testing.assert_close(one(**batch).logits, other(**batch).logits, rtol=0, atol=atol)
