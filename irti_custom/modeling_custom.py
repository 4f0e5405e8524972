"""An encoder, a gather and a head: one pass scores every position asked for.

    input_ids (B, T) ──▶ encoder ──▶ hidden states (B, T, H)
                                            │ mask_indices (B, M)
                                            ▼
                                  (B, M, H) ──▶ head ──▶ logits (B, M, L)

With `tokens_per_position` 2, `end_indices` (B, M) adds a second hidden state: (B, M, 2H).

`loading` finds weights, `saving` writes them, and `encoders` knows which encoders fit.
"""

from __future__ import annotations

import logging
import os
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput, MaskedLMOutput

from .configuration_custom import LOSS_SETTINGS, MaskedSeqModelingConfig, attr_name_of
from .encoders import (
    accepted_arguments,
    build_encoder,
    check_encoder,
    encode,
    freeze_pooler,
    max_tokens,
    position_limit,
)

# Transformers 4 copies the files that this one names into a checkpoint, and no others.
from .folders import replaced_files  # noqa: F401
from .input_checks import (
    check_ends,
    check_exclusive,
    check_inputs,
    check_labels,
    check_length,
    check_no_prompt,
    check_positions,
    is_readable,
)
from .labels import IGNORE_INDEX, Thresholds
from .loading import MaskedSeqPreTrainedModel
from .losses import (
    WEIGHT_NAMES,
    best_constant,
    check_prior,
    mean_loss,
    multiclass_loss,
    multilabel_loss,
)
from .rule import group_logits
from .saving import prepared_folder
from .self_test import run
from .versions import with_older_names  # noqa: F401

logger = logging.getLogger(__name__)

_UNEVEN_LABELS = (
    "Some positions are ignored in channel 0 of `labels` only, and num_items_in_batch counts their "
    "other channels. The loss is corrected by this batch's share, which is exact without gradient "
    f"accumulation; to be exact with it, write {IGNORE_INDEX} into all L channels of a position, "
    "as DataCollatorForMaskedSeq does."
)


class AutoModelForMaskedSeqModeling(MaskedSeqPreTrainedModel):
    """Any encoder-only Transformer, scoring the positions in `mask_indices`.

    Args:
        config: `base_model_config` in it describes the encoder.
        encoder: the encoder itself, loaded; its config replaces `base_model_config`. Without it
            one is built from the config, with random weights.
        encoder_class: the class to build it from, for an encoder of remote code.

    Raises:
        ValueError: no encoder is described, it is not an encoder, or `base_model_attr_name`
            cannot name an attribute.

    Example:
        >>> from transformers import BertConfig
        >>> encoder = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1,
        ...     intermediate_size=8, vocab_size=10)
        >>> config = MaskedSeqModelingConfig(num_labels=3, base_model_config=encoder)
        >>> model = AutoModelForMaskedSeqModeling(config)
        >>> ids, positions = torch.tensor([[1, 2, 3, 4]]), torch.tensor([[0, 2]])
        >>> tuple(model(ids, torch.ones_like(ids), positions).logits.shape)
        (1, 2, 3)
    """

    # The `Trainer` then passes `num_items_in_batch`, which makes accumulated gradients exact.
    accepts_loss_kwargs = True
    # Everything passes here, to reach the encoder, which raises for what it cannot do.
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True

    def __init__(
        self,
        config: MaskedSeqModelingConfig,
        encoder: PreTrainedModel | None = None,
        encoder_class: type[PreTrainedModel] | None = None,
    ) -> None:
        super().__init__(config)
        loaded = encoder is not None
        if encoder is None:
            encoder = build_encoder(config.base_model_config, encoder_class)
        else:
            check_encoder(encoder.config)
            for module in encoder.modules():  # `post_init` leaves these weights as they are
                module._is_hf_initialized = True
        # The same object, so that resizing, dtype and attention settings are saved by themselves.
        config.base_model_config = encoder.config
        config.base_model_type = encoder.config.model_type
        name = config.base_model_attr_name or attr_name_of(config.base_model_type)
        if name == "head" or name in vars(self) or hasattr(type(self), name):
            raise ValueError(
                f"`base_model_attr_name` {name!r} is already an attribute of the model. Choose "
                "another name, or leave it out: the default is the encoder's model type."
            )
        config.base_model_attr_name = name
        # Names the child that holds the encoder's weights; loading relies on it.
        self.base_model_prefix = name
        setattr(self, name, encoder)
        # What Transformers asks the outermost model about.
        self.supports_gradient_checkpointing = getattr(
            encoder, "supports_gradient_checkpointing", False
        )
        self._no_split_modules = getattr(encoder, "_no_split_modules", None)
        self.accepted_arguments = accepted_arguments(encoder)  # None: it takes any
        self.position_limit = position_limit(encoder)  # None: no table of positions
        self._head_is_checked = self._uneven_is_said = self._loss_is_checked = False
        self._untrained: dict[str, torch.Tensor] = {}  # by name, weights of the head as they began
        freeze_pooler(encoder)
        width = config.hidden_size
        self.head = nn.Sequential(
            nn.Linear(config.tokens_per_position * width, width),
            nn.GELU(),
            nn.LayerNorm(width),
            nn.Linear(width, config.num_labels),
        )
        self.post_init()
        weight = next(p for p in encoder.parameters() if p.is_floating_point())
        self.head.to(weight.dtype)
        if loaded and weight.device.type != "meta":  # else the loader places both
            self.head.to(weight.device)
        self.note_untrained()

    def _init_weights(self, module: nn.Module) -> None:
        """Initialize a new module; of many labels, a position has about one."""
        super()._init_weights(module)
        is_new = not getattr(getattr(module, "bias", None), "_is_hf_initialized", False)
        if module is self.head[-1] and is_new and self.config.task == "multilabel":
            self._start_bias(1 / (self.config.num_labels + 1))

    def note_untrained(self, *layers: int) -> None:
        """Note that layers of the head, by default all, are as they began: no training, no file."""
        for name, weight in self.head.named_parameters():
            if not layers or int(name.partition(".")[0]) in layers:
                self._untrained[name] = weight.detach().clone()

    def is_untrained(self, *layers: int) -> bool:
        """Return True while layers of the head, by default all, are as they began.

        A step of an optimizer, a checkpoint and `load_state_dict` change them; a cast does not.
        """
        if not isinstance(self.head, nn.Sequential):  # under an adapter
            return False
        for name, weight in self.head.named_parameters():
            if not layers or int(name.partition(".")[0]) in layers:
                began = self._untrained.get(name)
                if began is None or began.is_meta or not torch.equal(began.to(weight), weight):
                    return False
        return True

    def set_tokens_per_position(self, tokens_per_position: int) -> None:
        """Let a new head read 1 token, or 2: the first and the last one of a position.

        Raises:
            ValueError: another number, or the head has been trained to read the other one.
        """
        config = self.config
        if tokens_per_position == config.tokens_per_position:
            return
        if not self.is_untrained(0):
            place = f" of {self.source.path!r}" if self.source is not None else ""
            raise ValueError(
                f"The head{place} was trained to read {config.tokens_per_position} token(s) per "
                f"position, and the rows want {tokens_per_position}. Use the processor that it was "
                "trained with, or start from its encoder."
            )
        config.tokens_per_position = tokens_per_position
        layer = nn.Linear(tokens_per_position * config.hidden_size, config.hidden_size)
        self._init_weights(layer)
        self.head[0] = layer.to(next(self.head.parameters()))
        self.note_untrained(0)

    def set_label_prior(self, prior: Thresholds | None) -> None:
        """Start a new head from how frequent its labels are; it then learns rare ones sooner.

        Only the bias of the last layer changes.

        Args:
            prior: probabilities above 0 and below 1: one per label, in the order of their ids or by
                name, as from `label_frequencies`; for "multilabel" also one for all. None: 0.5 for
                "multilabel", equal ones for "multiclass".

        Raises:
            ValueError: other values; or the last layer has been trained, or is under an adapter.

        Example:
            >>> model = AutoModelForMaskedSeqModeling.from_pretrained(...)  # doctest: +SKIP
            >>> model.set_label_prior({"person": 0.3, "place": 0.01})  # doctest: +SKIP
        """
        if not isinstance(self.head, nn.Sequential) or not isinstance(self.head[-1], nn.Linear):
            raise ValueError("Set the prior before get_lora_model(model): the head is adapted.")
        if not self.is_untrained(3):
            raise ValueError(
                "`label_prior` is where a new head starts, and the last layer of this one has been "
                "trained. Leave it out."
            )
        self._start_bias(prior)
        self.note_untrained(3)

    def _start_bias(self, prior: Thresholds | None) -> None:
        config = self.config
        if prior is None:
            start = torch.zeros(config.num_labels)
        else:
            prior = check_prior(prior, config.rule)
            weight = getattr(config, WEIGHT_NAMES[config.task])
            start = best_constant(prior, config.task, weight, config.group_ids)
        with torch.no_grad():
            self.head[-1].get_parameter("bias").copy_(start)

    @property
    def encoder(self) -> PreTrainedModel:
        """The encoder, whatever its attribute is called."""
        return getattr(self, self.base_model_prefix)

    @property
    def vocab_size(self) -> int | None:
        """How many token ids the encoder knows; None where it counts none."""
        return self.config.vocab_size

    @property
    def max_tokens(self) -> int | None:
        """How many tokens the encoder has positions for; None where nothing limits them."""
        return max_tokens(self.encoder)

    def get_input_embeddings(self) -> nn.Module:
        """Return the encoder's token embeddings."""
        return self.encoder.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the encoder's token embeddings."""
        self.encoder.set_input_embeddings(value)

    def resize_token_embeddings(self, *args: Any, **kwargs: Any) -> nn.Module:
        """Resize the encoder's token embeddings; arguments as in Transformers."""
        return self.encoder.resize_token_embeddings(*args, **kwargs)

    def set_attn_implementation(self, attn_implementation: str | dict, **kwargs: Any) -> None:
        """Choose the encoder's attention implementation; arguments as in Transformers."""
        self.encoder.set_attn_implementation(attn_implementation, **kwargs)
        self.config._attn_implementation_internal = self.encoder.config._attn_implementation

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        mask_indices: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        num_items_in_batch: torch.Tensor | int | None = None,
        end_indices: torch.Tensor | None = None,
        example_kinds: object = None,
        **kwargs: Any,
    ) -> MaskedLMOutput | tuple[torch.Tensor, ...]:
        """Score the tokens that `mask_indices` points at.

        Args:
            input_ids: ``(B, T)`` long.
            attention_mask: ``(B, T)``, 1 for real tokens. Encoders that read padding, with or
                without a mask, are called once for each length of a row.
            mask_indices: ``(B, M)`` long, each in ``[0, T)``; padded slots hold any index in
                bounds.
            labels: ``(B, M)`` class ids for "multiclass", ``(B, M, L)`` of 0/1 for "multilabel".
                `IGNORE_INDEX` drops a position from the loss; with "multilabel" in channel 0 the
                position, in another channel that element.
            token_type_ids: ``(B, T)``; encoders without segments ignore it.
            position_ids: ``(B, T)``.
            inputs_embeds: ``(B, T, H)``, in place of `input_ids`.
            output_attentions: also return the encoder's attentions.
            output_hidden_states: also return the encoder's hidden states, for all T tokens.
            return_dict: False for a plain tuple; default: `config.return_dict`.
            num_items_in_batch: label elements that count, over the whole optimizer step. The
                `Trainer` passes it; the loss is then the sum over this count, else the mean.
            end_indices: ``(B, M)`` long, the last token of each position, for a head with
                ``config.tokens_per_position`` 2.
            example_kinds: ignored; named here so that the `Trainer` leaves it to the collator.
            **kwargs: whatever else the encoder's own forward takes.

        Returns:
            ``logits`` ``(B, M, L)``, of which those of a group exclude each other, see
            `group_logits`; ``loss`` scalar, or None without labels; ``hidden_states`` and
            ``attentions`` of the encoder where asked for.

        Raises:
            ValueError: shapes or dtypes that disagree; on the CPU also values out of range.
            TypeError: an argument that the encoder does not take.
        """
        inputs = check_inputs(input_ids, inputs_embeds, self.config.vocab_size)
        mask_indices = check_positions(mask_indices, inputs)
        reads = check_ends(
            end_indices, mask_indices, inputs.shape[1], self.config.tokens_per_position
        )
        if position_ids is None:
            check_length(inputs, self.position_limit)
        if input_ids is None:
            check_no_prompt()
        outputs = self._encode(
            input_ids=input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            **kwargs,
        )
        hidden = outputs.last_hidden_state
        scores = self.head(torch.cat([_gather(hidden, indices) for indices in reads], dim=-1))
        loss = None if labels is None else self._loss(scores, labels, num_items_in_batch)
        if labels is None and self.training and not self._loss_is_checked:
            self._check_loss_settings()
        output = MaskedLMOutput(
            loss=loss,
            logits=group_logits(scores, self.config.group_ids),
            hidden_states=getattr(outputs, "hidden_states", None),
            attentions=getattr(outputs, "attentions", None),
        )
        return_dict = self.config.return_dict if return_dict is None else return_dict
        return output if return_dict else output.to_tuple()

    def _encode(self, **arguments: Any) -> BaseModelOutput:
        """Call the encoder with what it takes; raise for the rest by name."""
        mask = arguments["attention_mask"]
        outputs = ("output_attentions", "output_hidden_states")
        for name in outputs:
            if arguments[name] is None:
                arguments[name] = getattr(self.config, name, None) or None
        arguments = {k: v for k, v in arguments.items() if v is not None}
        arguments["return_dict"] = True
        accepted = self.accepted_arguments
        if accepted is not None:
            optional = {name for name in outputs if arguments.get(name) is False}
            optional |= {"attention_mask", "token_type_ids", "return_dict"}
            dropped = optional - accepted
            arguments = {k: v for k, v in arguments.items() if k not in dropped}
            unknown = sorted(set(arguments) - accepted)
            if unknown:
                raise TypeError(
                    f"{type(self.encoder).__name__}.forward does not take {unknown}. It takes "
                    f"{sorted(accepted)}."
                )
        return encode(self.encoder, arguments, mask)

    def _loss(
        self,
        logits: torch.Tensor,
        labels: torch.Tensor,
        num_items_in_batch: torch.Tensor | int | None,
    ) -> torch.Tensor:
        config = self.config
        labels = check_labels(labels, config.task, logits.shape)
        if self.training and not self._head_is_checked:
            self._check_head_trains()
        weight = getattr(config, WEIGHT_NAMES[config.task])
        if weight is not None:
            weight = torch.tensor(weight).to(logits.device, non_blocking=True)
        arguments = (logits, labels.to(logits.device), weight, config.focal_gamma)
        if config.task == "multilabel":
            groups = config.group_ids
            check_exclusive(labels, config.groups, groups)
            total, count = multilabel_loss(*arguments, groups)
        else:
            total, count = multiclass_loss(*arguments)
        if config.task == "multilabel" and num_items_in_batch is not None:
            # The Trainer counts elements; of a position ignored in channel 0, the others, too.
            elements = (labels != IGNORE_INDEX).sum().to(count.device)
            if not self._uneven_is_said and is_readable(labels) and elements != count:
                self._uneven_is_said = True
                logger.warning(_UNEVEN_LABELS)
            num_items_in_batch = num_items_in_batch * (count / elements.clamp(min=1))
        return mean_loss(total, count, num_items_in_batch)

    def _check_head_trains(self) -> None:
        """Warn once if a new head is frozen: it would stay random. PEFT freezes it unless told."""
        self._head_is_checked = True
        if self.is_untrained() and not any(p.requires_grad for p in self.head.parameters()):
            logger.warning(
                "The head is new and frozen, so it stays random and is not saved with an adapter. "
                "Use get_lora_model(model), or modules_to_save=['head'] in the PEFT config."
            )

    def _check_loss_settings(self) -> None:
        """Warn once if another loss is trained with, such as the Trainer's for smoothed labels."""
        self._loss_is_checked = True
        names = (*LOSS_SETTINGS, "groups")
        set_here = [name for name in names if getattr(self.config, name)]
        if set_here and torch.is_grad_enabled():
            logger.warning(
                "The model is trained without `labels`, so with a loss of its caller, and %s of "
                "its config have no effect. label_smoothing_factor of TrainingArguments does that: "
                "leave it out.",
                set_here,
            )

    def predict_proba(self, logits: torch.Tensor) -> torch.Tensor:
        """Turn logits ``(..., L)`` into probabilities of the same shape, in float32 or better.

        Independent ones per label for "multilabel" (sigmoid), which sum to at most 1 over the
        labels of a group; for "multiclass" they sum to 1 over the last axis (softmax). Logits are
        divided by ``config.temperature`` first. Raises FloatingPointError where they are NaN.
        """
        return self.config.rule.probabilities(logits)

    def predict(self, logits: torch.Tensor) -> torch.Tensor:
        """Decide by ``config.thresholds``, or without them by 0.5, or by the most probable one.

        Args:
            logits: ``(B, M, L)``.

        Returns:
            "multilabel": bool ``(B, M, L)``, True for each label that holds, at most one of each
            group. "multiclass": class ids ``(B, M)`` long, `IGNORE_INDEX` where the top class is
            rejected.
        """
        return self.config.rule.decide(logits)

    def save_pretrained(
        self,
        save_directory: str | os.PathLike,
        is_main_process: bool = True,
        *,
        with_code: bool | None = None,
        push_to_hub: bool = False,
        **kwargs: Any,
    ) -> None:
        """Save weights and config, and the code of a remote encoder; as in Transformers.

        Args:
            save_directory: the folder.
            is_main_process: whether this process writes.
            with_code: also save the code of this package, so that
                ``AutoModel.from_pretrained(folder, trust_remote_code=True)`` works without it.
                Default: where the save is pushed. A model that runs from the code of its
                checkpoint, or whose class was given to `register_for_auto_class`, always does.
            push_to_hub: also upload what was saved, as in Transformers.
            **kwargs: as in Transformers.

        Raises:
            ValueError: the folder holds an adapter, which would be loaded on top; or the code
                cannot be saved, as its files and the encoder's have the same names.
        """
        settings = {"is_main_process": is_main_process, "push_to_hub": push_to_hub, **kwargs}
        save_directory = os.fspath(save_directory)  # Transformers 4 splits it to name a repository
        adapted = getattr(self, "_hf_peft_config_loaded", False)  # then it alone is saved
        if adapted and with_code:
            raise ValueError(
                "with_code=True is for a whole model, and with an adapter attached only the "
                "adapter is saved. Merge it first, or pass with_code=False."
            )
        with_code = (push_to_hub if with_code is None else with_code) or bool(self._auto_class)
        # A file in the folder's place is for Transformers to report.
        if adapted or not is_main_process or os.path.isfile(save_directory):
            return super().save_pretrained(save_directory, **settings)
        if push_to_hub:
            folder_name = os.path.basename(os.path.abspath(save_directory))
            settings["repo_id"] = kwargs.get("repo_id") or folder_name
        with prepared_folder(self, save_directory, with_code, kwargs.get("variant")) as folder:
            return super().save_pretrained(folder, **settings)

    @classmethod
    def run_self_test(
        cls,
        base: str,
        trust_remote_code: bool = False,
        task: str = "multilabel",
        num_labels: int = 3,
    ) -> dict[str, Any]:
        """Try one base encoder: load, forward, loss, gradient, save, reload.

        Args:
            base: folder or Hub id of an encoder.
            trust_remote_code: permit this call to run code that comes with the encoder.
            task: "multilabel" or "multiclass".
            num_labels: L of the head.

        Returns:
            ``base``, ``model_type``, ``task``, ``logits_shape``, ``loss``, ``parameters``.

        Raises:
            RuntimeError: a step failed; it names which, and the cause is chained.
        """
        return run(cls, base, trust_remote_code, task, num_labels)


def _gather(hidden: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    """Pick the hidden states ``(B, M, H)`` at indices ``(B, M)``."""
    index = indices.to(hidden.device).unsqueeze(-1)
    return hidden.gather(1, index.expand(-1, -1, hidden.shape[-1]))
