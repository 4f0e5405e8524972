"""Upload a model, its processor, its code and its card to the Hub, in one commit.

    model, processor ──▶ folder + card ──▶ repository, branch ──▶ one commit

A card that is on the Hub already stays, unless the caller asks to replace it.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from huggingface_hub import CommitInfo, HfApi

from ..loading.model import base_model_of
from .card import CARD_NAME, write_model_card
from .handler import write_handler

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from ..lora.peft_model import MaskedSeqPeftModel
    from ..modeling_custom import AutoModelForMaskedSeqModeling
    from ..processing.processor import MaskedSeqProcessor

logger = logging.getLogger(__name__)


def push_to_hub(
    model: AutoModelForMaskedSeqModeling | MaskedSeqPeftModel,
    repo_id: str,
    processor: MaskedSeqProcessor | PreTrainedTokenizerBase | None = None,
    *,
    card: Mapping[str, Any] | None = None,
    overwrite_card: bool = False,
    with_code: bool | None = None,
    max_shard_size: int | str | None = None,
    private: bool | None = None,
    token: bool | str | None = None,
    revision: str | None = None,
    create_pr: bool = False,
    commit_message: str = "Upload model",
    handler_package: str | None = None,
) -> CommitInfo:
    """Upload a model, its processor, its code and a model card, in one commit.

    `model.push_to_hub(repo_id)` is Transformers' own: it uploads the model alone, without code and
    with a card of Transformers'.

    Args:
        model: the model, or the result of `get_lora_model`, of which the adapter is uploaded.
        repo_id: such as "me/model"; created if there is none.
        processor: the processor or tokenizer that prepares the model's inputs.
        card: arguments of `write_model_card`: `metrics`, `data`, `language`, `license`, ...
        overwrite_card: replace a card that the repository has already.
        with_code: also upload the code of this package, for users who do not have it. Default: for
            a whole model; an adapter has none.
        max_shard_size: as in `save_pretrained`.
        private: whether a new repository is private.
        token: access token; default: the stored one.
        revision: the branch, which is created if there is none.
        create_pr: open a pull request instead.
        commit_message: its first line.
        handler_package: also upload what an endpoint of Hugging Face needs, which installs this
            package from that URL; see `write_handler`.

    Returns:
        The commit.

    Raises:
        OSError: `handler_package` without a `processor`.
        ValueError: the model is of another kind, or cannot be saved; see `save_pretrained`.

    Example:
        >>> push_to_hub(  # doctest: +SKIP
        ...     model, "me/model", processor, card={"metrics": metrics, "language": "en"}
        ... )
    """
    is_adapter = hasattr(model, "get_base_model")
    if base_model_of(model)._hf_peft_config_loaded or (is_adapter and not _is_own(model)):
        raise ValueError(
            "Of adapters, only those of get_lora_model can be uploaded: the folder of another one "
            "does not describe the model around it. Merge the adapter first."
        )
    options: dict[str, Any] = {} if max_shard_size is None else {"max_shard_size": max_shard_size}
    api = HfApi(token=token)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(
            folder, with_code=not is_adapter if with_code is None else with_code, **options
        )
        if processor is not None:
            processor.save_pretrained(folder)
        if handler_package is not None:
            write_handler(folder, handler_package)
        settings = {**(card or {}), "overwrite": True}
        settings["tags"] = [*(model.model_tags or ()), *settings.get("tags", ())]
        write_model_card(folder, name=repo_id, **settings)  # fails before a repository exists
        repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        write_model_card(folder, name=repo_id, **settings)  # with the owner in the name
        if revision and not create_pr and not revision.startswith("refs/pr"):
            api.create_branch(repo_id, branch=revision, exist_ok=True)
        keep_card = not overwrite_card and api.file_exists(repo_id, CARD_NAME, revision=revision)
        if keep_card and card:
            logger.warning(
                "%s has a model card already, which stays as it is. Pass overwrite_card=True to "
                "replace it.",
                repo_id,
            )
        return api.upload_folder(
            repo_id=repo_id,
            folder_path=folder,
            ignore_patterns=[CARD_NAME] if keep_card else None,
            commit_message=commit_message,
            revision=revision,
            create_pr=create_pr,
        )


def _is_own(model: MaskedSeqPeftModel) -> bool:
    from ..lora.peft_model import MaskedSeqPeftModel  # needs PEFT

    return isinstance(model, MaskedSeqPeftModel)
