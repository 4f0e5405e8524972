"""Put a saved model on the Hub, with a card, and without touching a card of somebody else.

folder ──▶ repository ──▶ branch ──▶ card, unless theirs is edited ──▶ one commit
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from transformers.utils import logging

from .card import CARD_NAME, is_own_card, write_model_card

logger = logging.get_logger(__name__)


def push_to_hub(
    model: Any,
    repo_id: str,
    processor: Any = None,
    *,
    with_code: bool = True,
    metrics: Mapping[str, float] | None = None,
    data: str | None = None,
    base_model: str | None = None,
    language: str | Sequence[str] | None = None,
    license: str | None = None,
    tags: Sequence[str] = (),
    overwrite_card: bool = False,
    max_shard_size: int | str | None = None,
    private: bool | None = None,
    token: bool | str | None = None,
    revision: str | None = None,
    create_pr: bool = False,
    commit_message: str | None = None,
    commit_description: str | None = None,
) -> Any:
    """Upload a model, its processor, its code and a model card, in one commit.

    Args:
        model: an `AutoModelForMaskedSeqModeling`.
        repo_id: such as "me/model"; created if there is none.
        processor: what prepares its texts; or a tokenizer.
        with_code: also upload the code of this package, for users who do not have it.
        metrics: for the card, as are the next ones; see `write_model_card`.
        data: what the model was trained on and measured on.
        base_model: Hub id of the base encoder.
        language: ISO codes.
        license: Hub identifier.
        tags: more tags.
        overwrite_card: replace also a card that somebody else wrote or edited.
        max_shard_size: as in `save_pretrained`.
        private: whether a new repository is private.
        token: access token; default: the stored one.
        revision: the branch, which is created if there is none.
        create_pr: open a pull request instead.
        commit_message: default: "Upload model".
        commit_description: the rest of the message.

    Returns:
        What `huggingface_hub` says of the commit.

    Raises:
        ValueError: the code cannot be saved; see `save_pretrained`.
    """
    if getattr(model, "_hf_peft_config_loaded", False):
        raise ValueError(
            "push_to_hub uploads a whole model, and with an adapter attached only the adapter "
            "would be saved. Merge it first, or save it and upload that folder."
        )
    card = {
        "metrics": metrics,
        "data": data,
        "base_model": base_model,
        "language": language,
        "license": license,
        "tags": [*(getattr(model, "model_tags", None) or ()), *tags],
    }
    sharding: dict[str, Any] = {} if max_shard_size is None else {"max_shard_size": max_shard_size}
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder, with_code=with_code, **sharding)
        if processor is not None:
            processor.save_pretrained(folder)
        write_card(folder, name=repo_id, **card)  # a mistake shows before a repository exists
        return upload(
            folder,
            repo_id,
            None,
            card,
            overwrite_card=overwrite_card,
            private=private,
            token=token,
            revision=revision,
            create_pr=create_pr,
            commit_message=commit_message,
            commit_description=commit_description,
        )


def upload(
    folder: str | os.PathLike,
    repo_id: str,
    names: Sequence[str] | None = None,
    card: Mapping[str, Any] | None = None,
    *,
    overwrite_card: bool = False,
    private: bool | None = None,
    token: bool | str | None = None,
    revision: str | None = None,
    create_pr: bool = False,
    commit_message: str | None = None,
    commit_description: str | None = None,
) -> Any:
    """Upload a folder, or the files in it that `names` lists, and a model card.

    Args:
        folder: a saved model.
        repo_id: the repository, which is created if there is none.
        names: files to upload; default: all.
        card: arguments of `write_model_card`.
        overwrite_card: replace also a card that somebody else wrote or edited.
        private: whether a new repository is private.
        token: access token; default: the stored one.
        revision: the branch, which is created if there is none.
        create_pr: open a pull request instead.
        commit_message: default: "Upload model".
        commit_description: the rest of the message.

    Returns:
        What `huggingface_hub.HfApi.upload_folder` returns.
    """
    api = HfApi()
    repo_id = api.create_repo(repo_id, private=private, token=token, exist_ok=True).repo_id
    if revision and not create_pr and not revision.startswith("refs/pr"):
        api.create_branch(repo_id, branch=revision, token=token, exist_ok=True)
    options = {**(card or {}), "name": repo_id, "overwrite": overwrite_card}
    written = write_card(folder, **options)
    theirs = _card_on_hub(api, repo_id, revision, token)
    if theirs is not None and not overwrite_card and not is_own_card(theirs):
        logger.warning(
            f"The model card of {repo_id!r} was written or edited by somebody, so it stays as it "
            "is. Pass overwrite_card=True to replace it."
        )
        written = False
    chosen = None if names is None else [name for name in names if name != CARD_NAME]
    return api.upload_folder(
        repo_id=repo_id,
        folder_path=os.fspath(folder),
        allow_patterns=[*chosen, CARD_NAME] if chosen is not None and written else chosen,
        ignore_patterns=None if written else [CARD_NAME],
        commit_message=commit_message or "Upload model",
        commit_description=commit_description,
        token=token,
        revision=revision,
        create_pr=create_pr,
    )


def write_card(folder: str | os.PathLike, **options: Any) -> bool:
    """Write a card as `write_model_card` does, but leave one of somebody else with a warning.

    Returns:
        Whether it was written.
    """
    try:
        write_model_card(folder, **options)
    except FileExistsError as error:
        logger.warning(str(error))
        return False
    return True


def _card_on_hub(
    api: HfApi, repo_id: str, revision: str | None, token: bool | str | None
) -> str | None:
    if not api.file_exists(repo_id, CARD_NAME, revision=revision, token=token):
        return None
    path = api.hf_hub_download(repo_id, CARD_NAME, revision=revision, token=token)
    return Path(path).read_text(encoding="utf-8", errors="replace")
