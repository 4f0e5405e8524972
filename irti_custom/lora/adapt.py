"""LoRA: train a small share of the weights, and keep only that share.

    model ──▶ get_lora_model ──▶ PEFT model ──▶ Trainer ──▶ adapter folder
                                     ▲                            │
                               attach_adapter ◀── model ◀── from_pretrained

Trained and saved: the adapters inside the encoder, the whole head, and the rows of new tokens.
PEFT is imported when an adapter is made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..configuration_custom import DIGEST, MaskedSeqModelingConfig
from ..input_checks import NO_PROMPTS
from ..loading.model import base_model_of
from ..loading.sources import Source, check_digest, resolve
from .adapter_checks import base_digest, check_added_rows, embedding_name

if TYPE_CHECKING:
    from peft import LoraConfig
    from torch import Tensor

    from ..modeling_custom import AutoModelForMaskedSeqModeling
    from .peft_model import MaskedSeqPeftModel

# For the encoder types that PEFT's own table lacks: attention projections, as there. XLNet's are
# not modules, so its feed-forward layers stand in; SqueezeBERT's are grouped, all but one, and
# grouped ones cannot be merged; ModernBERT has few modules, so all are adapted.
_TARGETS = {
    **dict.fromkeys(
        (
            "albert",
            "big_bird",
            "camembert",
            "canine",
            "convbert",
            "data2vec-text",
            "ernie",
            "esm",
            "longformer",
            "luke",
            "mobilebert",
            "rembert",
            "roformer",
        ),
        ("query", "value"),
    ),
    "distilbert": ("q_lin", "v_lin"),
    "eurobert": ("q_proj", "v_proj"),
    "flaubert": ("q_lin", "v_lin"),
    "funnel": ("q_head", "v_head"),
    "modernbert": ("Wqkv", "Wo", "Wi"),
    "mpnet": ("q", "v"),
    "squeezebert": ("post_attention.conv1d",),
    "xlm": ("q_lin", "v_lin"),
    "xlnet": ("layer_1", "layer_2"),
}
# With "all-linear": a pooler's output is never used, so an adapter there would get no gradient.
_NEITHER_HEAD_NOR_POOLER = r"head(\..*)?|(.*\.)?pooler(\..*)?"


def get_lora_model(
    model: AutoModelForMaskedSeqModeling,
    r: int = 8,
    lora_alpha: float = 16,
    lora_dropout: float = 0.0,
    target_modules: str | Iterable[str] | None = None,
    new_tokens: Iterable[int] | None = None,
    **lora_config: Any,
) -> MaskedSeqPeftModel:
    """Put LoRA adapters into the encoder and freeze the rest of it.

    The whole head is trained and saved with the adapters; no adapter is put into it.

    Args:
        model: an `AutoModelForMaskedSeqModeling`; adapted in place.
        r: rank of the adapters.
        lora_alpha: their scale, relative to `r`.
        lora_dropout: dropout before them.
        target_modules: modules to adapt, as in PEFT: names, a regular expression, or
            "all-linear". Default: by the type of the encoder.
        new_tokens: ids of added tokens, whose embeddings are then trained and saved too.
        **lora_config: other arguments of `peft.LoraConfig`: `use_dora`, `use_rslora`, `bias`,
            `modules_to_save`, ...

    Returns:
        A `peft.PeftModel` that has the attributes of `model`, too. The folder it is saved to loads
        with `AutoModelForMaskedSeqModeling.from_pretrained`.

    Raises:
        ModuleNotFoundError: PEFT is not installed.
        ValueError: another kind of model or adapter, tokens that cannot be trained, or modules
            whose names PEFT cannot tell apart.

    Example:
        >>> from transformers import BertConfig
        >>> from irti_custom import AutoModelForMaskedSeqModeling, MaskedSeqModelingConfig
        >>> encoder = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1,
        ...     intermediate_size=8, vocab_size=10)
        >>> config = MaskedSeqModelingConfig(num_labels=3, base_model_config=encoder)
        >>> model = get_lora_model(AutoModelForMaskedSeqModeling(config), r=2)
        >>> trained = [name for name, p in model.named_parameters() if p.requires_grad]
        >>> sum("lora_" in name for name in trained), sum(".head." in name for name in trained)
        (4, 6)
    """
    from .peft_model import (
        PEFT_TARGETS,
        LoraConfig,
        MaskedSeqPeftModel,
        get_peft_model_state_dict,
    )

    _check_model(model)
    _check_options(model, lora_config)
    to_save = {name for name in lora_config.pop("modules_to_save", None) or () if name != "head"}
    if target_modules is None and not lora_config.get("target_parameters"):
        target_modules = _default_targets(model, PEFT_TARGETS)
        if target_modules == "all-linear":
            lora_config.setdefault("exclude_modules", _NEITHER_HEAD_NOR_POOLER)
    if new_tokens is not None:
        if lora_config.get("trainable_token_indices"):
            raise ValueError("Give either `new_tokens` or `trainable_token_indices`, got both.")
        lora_config["trainable_token_indices"] = _token_rows(model, new_tokens)
    config = LoraConfig(
        task_type="FEATURE_EXTRACTION",
        r=r,
        lora_alpha=lora_alpha,
        lora_dropout=lora_dropout,
        target_modules=target_modules,
        modules_to_save=[*_head_names(model), *sorted(to_save)],
        **{**_provenance(model), **lora_config},
    )
    _check_rows_of_base(model, config)
    digest = _check_base_is_saved(model, config)
    adapted = MaskedSeqPeftModel(model, config)
    adapted.base_digest = digest
    _check_all_is_saved(adapted, get_peft_model_state_dict(adapted, save_embedding_layers=False))
    return adapted.train(model.training)


def attach_adapter(
    model: AutoModelForMaskedSeqModeling,
    source: Source,
    config: MaskedSeqModelingConfig,
    is_trainable: bool = False,
) -> MaskedSeqPeftModel:
    """Put a saved adapter on the model that it was trained on.

    Args:
        model: the base, with its own vocabulary; its embeddings are resized to the adapter's.
        source: the adapter.
        config: the adapter's.
        is_trainable: whether training will continue.

    Returns:
        The adapted model, in eval mode.

    Raises:
        ValueError: the adapter lacks weights, or is of a prompt method.
    """
    from .peft_model import ADAPTER_NAME, MaskedSeqPeftModel, PeftConfig

    known = model.config.vocab_size
    rows = config.vocab_size
    if rows is not None and rows != known:
        model.resize_token_embeddings(rows, mean_resizing=False)
    place, options = source.at(source.hub)
    peft_config = PeftConfig.from_pretrained(place, **options)
    peft_config.inference_mode = not is_trainable
    peft_config.base_model_name_or_path = model.name_or_path or None
    peft_config.revision = None if model.source is None else model.source.revision
    check_added_rows(model, peft_config, known)
    digest = base_digest(model, peft_config, known)
    base = source.path if model.source is None else model.source.path
    check_digest(source, digest, f"{base!r} holds now")
    adapted = MaskedSeqPeftModel(model, peft_config, ADAPTER_NAME)
    adapted.base_digest = source.settings.get(DIGEST) or digest
    adapted.load_weights(place, ADAPTER_NAME, is_trainable=is_trainable, **options)
    adapted.source = source
    if not is_trainable:
        adapted.requires_grad_(False)  # PEFT 0.17 leaves the head's gradient on
    return adapted.eval()


def _check_model(model: AutoModelForMaskedSeqModeling) -> None:
    if getattr(getattr(model, "active_peft_config", None), "is_prompt_learning", False):
        raise ValueError(NO_PROMPTS)
    if any(type(module).__module__.startswith("peft.") for module in model.modules()):
        raise ValueError(
            "`model` must be without adapters, got one that has some. Call its unload() to drop "
            "them, and pass the result. To keep what they learned, save its merge_and_unload(), "
            "and pass what from_pretrained loads from there."
        )
    base_model_of(model)


def _check_options(model: AutoModelForMaskedSeqModeling, options: dict[str, Any]) -> None:
    """Check the options, and drop those that `LoraConfig` would reject or override."""
    peft_type = options.pop("peft_type", "LORA")
    if peft_type != "LORA":
        raise ValueError(
            f"`peft_type` must be LORA, got {peft_type}. {NO_PROMPTS} For other methods use "
            "peft.get_peft_model with modules_to_save=['head']."
        )
    if "num_virtual_tokens" in options:
        raise ValueError(f"`num_virtual_tokens` is no option of LoRA. {NO_PROMPTS}")
    task = options.pop("task_type", "FEATURE_EXTRACTION")
    if task != "FEATURE_EXTRACTION":
        raise ValueError(
            f"`task_type` must be FEATURE_EXTRACTION, got {task}: the others look for heads that "
            "this model does not have. Leave it out."
        )
    targets = tuple(f".{name}" for name in options.get("target_parameters") or ())
    inside = [n for n, _ in model.head.named_parameters("head") if f".{n}".endswith(targets)]
    if inside:
        raise ValueError(
            f"`target_parameters` must not reach the head, all of which is trained, got {inside}. "
            f"Begin the names of the encoder's with {model.base_model_prefix!r}."
        )


def _default_targets(
    model: AutoModelForMaskedSeqModeling, table: Mapping[str, Sequence[str]]
) -> list[str] | str:
    """Return names from PEFT's table, else from ours, if the encoder has such modules; else all."""
    kind = model.config.base_model_type
    present = [name for name, _ in model.encoder.named_modules()]
    for names in (table.get(kind), _TARGETS.get(kind)):
        if names and all(any(p.endswith(f".{name}") for p in present) for name in names):
            return list(names)
    return "all-linear"


def _head_names(model: AutoModelForMaskedSeqModeling) -> list[str]:
    """Name the head so that PEFT, which compares the ends of names, finds no other module.

    Raises:
        ValueError: no name is unique.
    """
    names = [name for name, _ in model.named_modules()]
    layers = [
        f"head.{name}" for name, layer in model.head.named_children() if [*layer.parameters()]
    ]
    for choice in (["head"], layers):
        clashes = sorted(n for n in names if n.endswith(tuple(choice)) and n not in choice)
        if not clashes:
            return choice
    raise ValueError(
        "PEFT finds the modules to train by the ends of their names, and cannot tell the head's "
        f"{layers} from {clashes}. Rename those, or pass another `base_model_attr_name`."
    )


def _token_rows(
    model: AutoModelForMaskedSeqModeling, new_tokens: Iterable[int]
) -> dict[str, list[int]] | None:
    """Return which rows of which embedding to train, as PEFT wants it."""
    name = embedding_name(model)
    if name is None:
        raise ValueError(
            "`new_tokens` needs an embedding with a row per token, and the encoder type "
            f"{model.config.base_model_type!r} has none. Leave `new_tokens` out."
        )
    rows, tokens = model.get_submodule(name).num_embeddings, list(new_tokens)
    wrong = [token for token in tokens if isinstance(token, str) or not 0 <= token < rows]
    if wrong:
        raise ValueError(
            f"`new_tokens` must be ids in [0, {rows - 1}], the rows of the embedding, got "
            f"{wrong[0]!r}. Use tokenizer.convert_tokens_to_ids(...), and call "
            "model.resize_token_embeddings(len(tokenizer)) first."
        )
    return {name: sorted({int(token) for token in tokens})} if tokens else None


def _provenance(model: AutoModelForMaskedSeqModeling) -> dict[str, str | None]:
    """Name the checkpoint the model came from; never an encoder, which PEFT would load bare."""
    subfolder = model.source.hub.get("subfolder") if model.source else None
    if subfolder:
        raise ValueError(
            f"The model was loaded with subfolder={subfolder!r}, which an adapter cannot record. "
            "Save the model, load it from there, and adapt that."
        )
    checkpoint = str(model.name_or_path) if model.name_or_path else None
    revision = model.source.revision if model.source else None
    return {"base_model_name_or_path": checkpoint, "revision": revision}


def _check_rows_of_base(model: AutoModelForMaskedSeqModeling, lora_config: LoraConfig) -> None:
    base = lora_config.base_model_name_or_path or model.config.base_model_name_or_path
    if not base:
        return
    try:
        known = resolve(base, revision=lora_config.revision).config
    except OSError:
        return  # the base has moved or cannot be reached: `from_pretrained` checks this again
    check_added_rows(model, lora_config, known.vocab_size)


def _check_base_is_saved(
    model: AutoModelForMaskedSeqModeling, lora_config: LoraConfig
) -> str | None:
    """Check that the encoder is what its folder holds, for an adapter reloads on that.

    Returns:
        The digest of the encoder, which the adapter's folder keeps.
    """
    source, name = model.source, lora_config.base_model_name_or_path
    try:
        if name and (source is None or name != source.path):  # the caller's choice
            source = resolve(name, bool(source and source.trust_remote_code))
    except OSError:
        return None
    if source is None:
        return None
    known = source.config.vocab_size
    digest = base_digest(model, lora_config, known)
    if digest is None:
        return None
    options = {k: v for k, v in source.hub.items() if k != "force_download"}
    options["dtype"] = next(model.encoder.parameters()).dtype
    try:
        saved, _ = type(model).load_base(source, model.config, options)
    except OSError:
        return digest  # it has moved or cannot be reached: `from_pretrained` checks this again
    if base_digest(saved, lora_config, known) != digest:
        raise ValueError(
            f"The encoder of `model` is not what {source.path!r} holds: it was trained on, or an "
            "adapter was merged into it. A new adapter would be loaded on that folder, without "
            "what was learned since. Save the model, load it from there, and adapt that."
        )
    return digest


def _check_all_is_saved(adapted: MaskedSeqPeftModel, saved: Mapping[str, Tensor]) -> None:
    """Check before training that all trained weights will be saved: PEFT 0.17 omits some biases."""
    held = {value.data_ptr() for value in saved.values()}
    trained = [
        (name, weight) for name, weight in adapted.named_parameters() if weight.requires_grad
    ]
    lost = [name for name, weight in trained if weight.data_ptr() not in held]
    if lost:
        adapted.unload()
        raise ValueError(
            f"With these options, this version of PEFT would train but not save {lost}. Change "
            "them (of `bias`, 'none' and 'all' are safe), or update PEFT."
        )
