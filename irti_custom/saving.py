"""Where weights go: folders that load by themselves, and repositories on the Hub.

save_pretrained(folder) ──▶ weights, config, code of a remote encoder
... with_code=True ───────▶ also the code of this package, and a model card
push_to_hub(repo_id) ─────▶ all of it, in one commit
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from transformers import PreTrainedModel

from .encoders import save_remote_code
from .own_code import check_code, copy_code, named_code, remove_code
from .upload import upload, write_card

_WEIGHTS_FILE = re.compile(
    r"(pytorch_)?model(-\d+-of-\d+)?\.(safetensors|bin)(\.index\.json)?"
    r"|model(_int8)?\.onnx(\.data)?"
)
_FOR_THE_HUB = (
    "repo_id",
    "private",
    "token",
    "revision",
    "create_pr",
    "commit_message",
    "commit_description",
)


class MaskedSeqSaving(PreTrainedModel):
    """Saving; `loading` adds the way back."""

    def save_pretrained(
        self,
        save_directory: str | os.PathLike,
        is_main_process: bool = True,
        *,
        with_code: bool | None = None,
        push_to_hub: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Save weights and config, and the code of a remote encoder; as in Transformers.

        Args:
            save_directory: the folder.
            is_main_process: whether this process writes.
            with_code: also save the code of this package, so that
                ``AutoModel.from_pretrained(folder, trust_remote_code=True)`` works without it, and
                a model card. Default: where the save is pushed. A model that runs from the code of
                its checkpoint, or whose class was given to `register_for_auto_class`, always does.
            push_to_hub: also upload what was saved; `repo_id` and the other arguments of
                `push_to_hub` may follow.
            **kwargs: as in Transformers.

        Raises:
            ValueError: the folder holds an adapter, which would be loaded on top; or the code
                cannot be saved, as its files and the encoder's have the same names.
        """
        attached = getattr(self, "_hf_peft_config_loaded", False)
        _check_folder(save_directory, attached, bool(with_code))
        if attached:  # Transformers saves and uploads the adapter alone
            return super().save_pretrained(
                save_directory, is_main_process, push_to_hub=push_to_hub, **kwargs
            )
        with_code = push_to_hub if with_code is None else with_code
        with_code = with_code or type(self)._auto_class is not None
        if with_code:
            check_code(self)
        writes = is_main_process and not os.path.isfile(save_directory)
        hub = {name: kwargs.pop(name) for name in _FOR_THE_HUB if push_to_hub and name in kwargs}
        before = _times(save_directory)
        had_code = writes and self._prepare(save_directory, with_code, kwargs.get("variant"))
        with named_code(self, with_code):
            result = super().save_pretrained(
                save_directory, is_main_process=is_main_process, **kwargs
            )
        if writes and (with_code or had_code):
            write_card(save_directory)
        if writes and push_to_hub:
            names = [
                name for name, time in _times(save_directory).items() if before.get(name) != time
            ]
            repo_id = hub.pop("repo_id", os.path.basename(os.path.abspath(save_directory)))
            upload(save_directory, repo_id, names, **hub)
        return result

    def _prepare(self, folder: str | os.PathLike, with_code: bool, variant: str | None) -> bool:
        """Put code into a folder, and take out what an earlier save left.

        Returns:
            Whether that held this package's code.
        """
        os.makedirs(folder, exist_ok=True)
        if not variant:
            _remove_weights(folder)
        had_code = remove_code(self, folder)
        save_remote_code(self.encoder, folder)
        if with_code:
            copy_code(self, folder)
        return had_code

    def push_to_hub(
        self,
        repo_id: str,
        *,
        with_code: bool = True,
        metrics: Mapping[str, float] | None = None,
        data: str | None = None,
        base_model: str | None = None,
        language: str | Sequence[str] | None = None,
        license: str | None = None,
        tags: Sequence[str] | None = None,
        overwrite_card: bool = False,
        max_shard_size: int | str | None = None,
        **kwargs: Any,
    ) -> Any:
        """Upload the model, its code and a model card, in one commit. The tokenizer has its own.

        Args:
            repo_id: such as "me/model"; created if there is none.
            with_code: also upload the code of this package, for users who do not have it.
            metrics: for the card, as are the next ones; see `model_card.write_model_card`.
            data: what the model was trained on and measured on.
            base_model: Hub id of the base encoder.
            language: ISO codes.
            license: Hub identifier.
            tags: more tags.
            overwrite_card: replace also a card that somebody else wrote or edited.
            max_shard_size: as in `save_pretrained`.
            **kwargs: `private`, `token`, `revision`, `create_pr`, `commit_message`,
                `commit_description`, as in Transformers.

        Returns:
            What `huggingface_hub` says of the commit.

        Raises:
            ValueError: the code cannot be saved; see `save_pretrained`.
            TypeError: an unknown argument.
        """
        if getattr(self, "_hf_peft_config_loaded", False):
            raise ValueError(
                "push_to_hub uploads a whole model, and with an adapter attached only the adapter "
                "would be saved. Merge it first, or save it and upload that folder."
            )
        unknown = sorted(kwargs.keys() - set(_FOR_THE_HUB))
        if unknown:
            raise TypeError(f"push_to_hub does not take {unknown}. It takes {_FOR_THE_HUB}.")
        card = {
            "metrics": metrics,
            "data": data,
            "base_model": base_model,
            "language": language,
            "license": license,
            "tags": [*(getattr(self, "model_tags", None) or ()), *(tags or ())],
        }
        sharding: dict[str, Any] = (
            {} if max_shard_size is None else {"max_shard_size": max_shard_size}
        )
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder, with_code=with_code, **sharding)
            write_card(folder, name=repo_id, **card)  # a mistake shows before a repository exists
            return upload(folder, repo_id, None, card, overwrite_card=overwrite_card, **kwargs)


def _check_folder(folder: str | os.PathLike, attached: bool, with_code: bool) -> None:
    if not attached and os.path.exists(os.path.join(folder, "adapter_config.json")):
        raise ValueError(
            f"{str(folder)!r} holds an adapter, which would be loaded on top of this model. Save "
            "to another folder, or remove the adapter first."
        )
    if attached and with_code:
        raise ValueError(
            "with_code=True is for a whole model, and with an adapter attached only the adapter is "
            "saved. Merge it first, or pass with_code=False."
        )


def _remove_weights(folder: str | os.PathLike) -> None:
    """Remove an earlier save's weights: killed on the way, a new one would pass for whole."""
    for name in os.listdir(folder):
        if _WEIGHTS_FILE.fullmatch(name):
            os.remove(os.path.join(folder, name))


def _times(folder: str | os.PathLike) -> dict[str, int]:
    """Tell when the files of a folder were last written, by their names."""
    if not os.path.isdir(folder):
        return {}
    entries = os.scandir(os.fspath(folder))
    return {entry.name: entry.stat().st_mtime_ns for entry in entries if entry.is_file()}
