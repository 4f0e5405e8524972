"""A processor's own file beside its tokenizer, so that inference prepares text as training did."""

from __future__ import annotations

import json
import os
from typing import Any

from transformers import AutoTokenizer
from transformers.utils import PushToHubMixin, cached_file

from ..loading import hub_arguments

FILE_NAME = "masked_seq_processor.json"
_SETTINGS = (
    "read",
    "max_length",
    "on_overflow",
    "label2id",
    "task",
    "stride",
    "markers",
    "column_tokens",
)


class ProcessorFiles(PushToHubMixin):
    """Saving and loading; `positions` adds the work.

    Serves as `processing_class` of a stock `Trainer`, and as `tokenizer` of the data collator.
    `push_to_hub` is Transformers' own.
    """

    tokenizer: Any

    @property
    def model_input_names(self) -> list[str]:
        """Names that the tokenizer gives its columns."""
        return self.tokenizer.model_input_names

    @property
    def pad_token_id(self) -> int | None:
        """The tokenizer's."""
        return self.tokenizer.pad_token_id

    @property
    def pad_token_type_id(self) -> int:
        """The tokenizer's."""
        return self.tokenizer.pad_token_type_id

    @property
    def padding_side(self) -> str:
        """The tokenizer's."""
        return self.tokenizer.padding_side

    def save_pretrained(self, save_directory: str | os.PathLike, **kwargs: Any) -> list[str]:
        """Save the settings and the tokenizer; arguments as for a tokenizer.

        Returns:
            The files written.
        """
        saved = list(self.tokenizer.save_pretrained(save_directory, **kwargs) or ())
        path = os.path.join(save_directory, FILE_NAME)
        settings = {name: getattr(self, name) for name in _SETTINGS}
        part = f"{path}.part"  # a save that is cut off leaves no file that passes for whole
        with open(part, "w", encoding="utf-8") as file:
            json.dump(settings, file, indent=2, ensure_ascii=False)
            file.write("\n")
        os.replace(part, path)
        return [*saved, path]

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike, **kwargs: Any
    ) -> Any:
        """Load a processor from a folder or Hub id.

        Args:
            pretrained_model_name_or_path: where `save_pretrained` wrote to.
            **kwargs: settings to change, by their names in the class; else as for
                `AutoTokenizer.from_pretrained` (`revision`, `token`, `subfolder`, ...).

        Raises:
            OSError: no such folder or repository, or no processor in it.
            ValueError: a file that is damaged, or settings out of range.
        """
        path = pretrained_model_name_or_path
        hub = hub_arguments(kwargs)
        changed = {name: kwargs.pop(name) for name in _SETTINGS if name in kwargs}
        try:
            file_name = cached_file(path, FILE_NAME, **hub)
        except OSError as error:
            raise OSError(
                f"{str(path)!r} holds no processor ({FILE_NAME}): {error} To make one, call "
                "MaskedSeqProcessor(AutoTokenizer.from_pretrained(...), ...)."
            ) from error
        with open(file_name, encoding="utf-8") as file:
            try:
                saved = json.load(file)
            except ValueError as error:
                raise ValueError(f"{file_name} is damaged: {error}. Save it again.") from error
        unknown = sorted(set(saved) - set(_SETTINGS))
        if unknown:
            raise ValueError(
                f"{file_name} has settings that this version does not know: {unknown}. Update "
                "irti_custom."
            )
        tokenizer = AutoTokenizer.from_pretrained(path, **kwargs)
        settings: dict[str, Any] = {**saved, **changed}
        return cls(tokenizer, **settings)
