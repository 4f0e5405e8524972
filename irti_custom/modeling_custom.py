"""An encoder, a gather and a head: one pass scores every position asked for.

    input_ids (B, T) ──▶ encoder ──▶ hidden states (B, T, H)
                                            │ mask_indices (B, M)
                                            ▼
                                  (B, M, H) ──▶ head ──▶ logits (B, M, L)

With `tokens_per_position` 2, `end_indices` (B, M) adds a second hidden state: (B, M, 2H).

This file and those beside it are what a checkpoint with code runs, with plain loading and saving.
Where the package is installed, users hold the subclass of the same name in `loading.model`.
"""

from __future__ import annotations

import copy
import logging
import os
from typing import Any

import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput, MaskedLMOutput

from .configuration_custom import MaskedSeqModelingConfig, OpaqueEncoderConfig, attr_name_of
from .encoders import (
    HUB_ARGUMENTS,
    accepted_arguments,
    build_encoder,
    encode,
    find_encoder_class,
    freeze_pooler,
    max_tokens,
    position_limit,
    remote_config,
    save_remote_code,
)
from .file_versions import check_whole, file_versions
from .input_checks import (
    check_exclusive,
    check_inputs,
    check_labels,
    check_length,
    check_no_prompt,
    check_positions,
    is_readable,
)
from .labels import IGNORE_INDEX
from .losses import WEIGHT_NAMES, mean_loss, multiclass_loss, multilabel_loss
from .rule import group_logits
from .versions import hint_of_version

logger = logging.getLogger(__name__)

_UNEVEN_LABELS = (
    "Some positions are ignored in channel 0 of `labels` only, and num_items_in_batch counts their "
    "other channels. The loss is corrected by this batch's share, which is exact without gradient "
    f"accumulation; to be exact with it, write {IGNORE_INDEX} into all L channels of a position, "
    "as DataCollatorForMaskedSeq does."
)


class AutoModelForMaskedSeqModeling(PreTrainedModel):
    """Any encoder-only Transformer, scoring the positions in `mask_indices`.

    Args:
        config: `base_model_config` in it describes the encoder.
        encoder: the encoder itself, loaded; its config replaces `base_model_config`. Without it
            one is built from the config, with random weights.
        encoder_class: the class to build it from, for an encoder of remote code.
    """

    config_class = MaskedSeqModelingConfig
    main_input_name = "input_ids"
    # Version 0.1.0 saved poolers, whose output is never read.
    _keys_to_ignore_on_load_unexpected = [r"\.pooler\."]  # noqa: RUF012
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
        self._uneven_is_said = False
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

    @property
    def encoder(self) -> PreTrainedModel:
        """The encoder, whatever its attribute is called."""
        return getattr(self, self.base_model_prefix)

    @property
    def vocab_size(self) -> int | None:
        """The number of token ids of the encoder; None where it has none."""
        return self.config.vocab_size

    @property
    def max_tokens(self) -> int | None:
        """The number of tokens that the encoder has positions for; None without a limit."""
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
            attention_mask: ``(B, T)``, 1 for real tokens. An encoder that reads padding in spite
                of it is called once for each length of a row.
            mask_indices: ``(B, M)`` long, each in ``[0, T)``; padded slots hold any of these.
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
            **kwargs: other arguments of the encoder's forward.

        Returns:
            ``logits`` ``(B, M, L)``, of which those of a group exclude each other, see
            `group_logits`; ``loss`` scalar, or None without labels; ``hidden_states`` and
            ``attentions`` of the encoder where asked for.

        Raises:
            ValueError: shapes or dtypes that disagree; on the CPU also values out of range.
            TypeError: an argument that the encoder does not take.
        """
        inputs = check_inputs(input_ids, inputs_embeds, self.config.vocab_size)
        count = self.config.tokens_per_position
        reads = check_positions(mask_indices, end_indices, inputs, count)
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
        output = MaskedLMOutput(
            loss=self._loss(scores, labels, num_items_in_batch),
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
        labels: torch.Tensor | None,
        num_items_in_batch: torch.Tensor | int | None,
    ) -> torch.Tensor | None:
        """Return the mean over kept elements, or their sum over the given count."""
        if labels is None:
            return None
        config = self.config
        labels = check_labels(labels, config.task, logits.shape)
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

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike | None,
        *model_args: Any,
        config: PretrainedConfig | None = None,
        trust_remote_code: bool = False,
        output_loading_info: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Load a saved model; arguments and result as in Transformers.

        Raises:
            ValueError: the checkpoint lacks weights, or its encoder runs code that the caller does
                not permit.
            OSError: files are missing, or a save to the folder is not finished.
        """
        path = pretrained_model_name_or_path
        if path is None:  # the weights come as `state_dict`, as for any Transformers model
            return super().from_pretrained(None, *model_args, config=config, **kwargs)
        hub = {name: kwargs.pop(name) for name in HUB_ARGUMENTS if name in kwargs}
        folder = os.path.join(path, hub.get("subfolder") or "") if os.path.isdir(path) else path
        check_whole(folder)
        versions = file_versions(folder)
        if config is None:
            options = {"return_unused_kwargs": True, **hub, **kwargs}
            config, kwargs = MaskedSeqModelingConfig.from_pretrained(path, **options)
        elif config.name_or_path == str(path):  # read by an Auto class, some time ago
            config = config.up_to_date(config.get_config_dict(path, **hub)[0])
        config = copy.deepcopy(config)
        base, permitted = config.base_model_config, trust_remote_code is True
        if isinstance(base, OpaqueEncoderConfig):
            base = config.base_model_config = remote_config(base, folder, permitted, **hub)
        if base is not None:
            kwargs["encoder_class"] = find_encoder_class(base, folder, permitted, **hub)
        kwargs = {**hub, **kwargs, "config": config, "output_loading_info": True}
        model, info = super().from_pretrained(path, *model_args, **kwargs)
        if info["missing_keys"]:
            raise ValueError(
                f"The checkpoint in {str(path)!r} lacks weights: {sorted(info['missing_keys'])}. "
                "Was it saved whole? Loading it would leave these at random."
                + hint_of_version(config)
            )
        if file_versions(folder) != versions:
            raise OSError(f"{str(path)!r} was saved to while it was loaded. Load it again.")
        freeze_pooler(model.encoder)  # loading may have replaced its parameters
        return (model, info) if output_loading_info else model

    def save_pretrained(
        self, save_directory: str | os.PathLike, is_main_process: bool = True, **kwargs: Any
    ) -> None:
        """Save weights and config, and the code of a remote encoder; as in Transformers."""
        adapted = getattr(self, "_hf_peft_config_loaded", False)  # then it alone is saved
        if is_main_process and not adapted and not os.path.isfile(save_directory):
            save_remote_code(self.encoder, save_directory)
        super().save_pretrained(save_directory, is_main_process, **kwargs)


def _gather(hidden: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    """Pick the hidden states ``(B, M, H)`` at indices ``(B, M)``."""
    index = indices.to(hidden.device).unsqueeze(-1)
    return hidden.gather(1, index.expand(-1, -1, hidden.shape[-1]))
