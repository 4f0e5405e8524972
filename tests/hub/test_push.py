"""What an upload holds, and what it leaves alone."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub import HfApi
from huggingface_hub.utils import filter_repo_objects
from transformers import AutoModel
from transformers.utils import hub as transformers_hub

import irti_custom
from irti_custom import AutoModelForMaskedSeqModeling, push_to_hub
from tests.bare import AUTO_MAP, assert_bare_agrees, saved_config, scripts
from tests.tiny import assert_same_logits, tiny_model


class Hub:
    """A repository in a folder, in place of `HfApi`'s methods."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.calls = folder, []
        for name in ("create_repo", "create_branch", "upload_folder"):
            monkeypatch.setattr(HfApi, name, self.record(name))
        monkeypatch.setattr(
            HfApi, "file_exists", lambda _, repo, name, **kwargs: (folder / name).exists()
        )
        if hasattr(transformers_hub, "create_repo"):  # Transformers 4 calls the function
            monkeypatch.setattr(
                transformers_hub, "create_repo", lambda repo_id, **kwargs: _url(repo_id)
            )

    def record(self, name: str):
        def call(api: HfApi, *args, **kwargs):
            self.calls.append((name, {**kwargs, "token": kwargs.get("token", api.token)}))
            if name == "upload_folder":
                self.store(**kwargs)
            return _url(args[0]) if args else None

        return call

    def store(self, folder_path: str, ignore_patterns=None, **kwargs) -> None:
        self.folder.mkdir(exist_ok=True)
        names = filter_repo_objects(os.listdir(folder_path), ignore_patterns=ignore_patterns)
        for name in names:
            shutil.copyfile(Path(folder_path, name), self.folder / name)

    def arguments(self, name: str) -> dict:
        return next(kwargs for called, kwargs in reversed(self.calls) if called == name)

    def card(self) -> str:
        return (self.folder / "README.md").read_text()


def _url(repo_id: str) -> SimpleNamespace:
    return SimpleNamespace(repo_id=f"me/{repo_id.split('/')[-1]}")


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Hub:
    return Hub(tmp_path / "repository", monkeypatch)


def test_a_push_uploads_weights_code_and_card_in_one_commit(hub, tmp_path):
    model = tiny_model()
    model.add_model_tags("masked")
    card = {"metrics": {"eval_micro_f1": 0.5}, "data": "Forty texts.", "tags": ["pii"]}
    push_to_hub(model, "model", card=card, private=True, token="t", commit_message="First")
    names = {"README.md", "config.json", "model.safetensors"}
    assert set(os.listdir(hub.folder)) - scripts(hub.folder) == names
    for part in ("from_pretrained(name)", 'name = "me/model"', "Forty texts.", "0.5", "- pii"):
        assert part in hub.card()
    assert "- masked\n" in hub.card()
    assert [name for name, _ in hub.calls] == ["create_repo", "upload_folder"]
    assert hub.arguments("create_repo") == {"private": True, "token": "t", "exist_ok": True}
    commit = hub.arguments("upload_folder")
    assert (commit["commit_message"], commit["token"]) == ("First", "t")
    assert_bare_agrees(model, hub.folder, tmp_path)


def test_a_push_with_its_processor_loads_as_a_pipeline(hub, tokenizer):
    model = tiny_model()
    push_to_hub(model, "me/model", irti_custom.MaskedSeqProcessor(tokenizer))
    assert [name for name, _ in hub.calls] == ["create_repo", "upload_folder"]
    assert 'MaskedSeqClassificationPipeline.from_pretrained("me/model")' in hub.card()
    tagger = irti_custom.MaskedSeqClassificationPipeline.from_pretrained(str(hub.folder))
    assert_same_logits(tagger.model, model)


def test_a_push_without_code_and_to_a_branch(hub):
    push_to_hub(tiny_model(), "me/model", with_code=False, revision="v2", max_shard_size="20KB")
    assert not scripts(hub.folder)
    assert "auto_map" not in saved_config(hub.folder)
    assert len(list(hub.folder.glob("*.safetensors"))) > 2
    assert hub.arguments("create_branch")["branch"] == "v2"
    assert hub.arguments("upload_folder")["revision"] == "v2"
    push_to_hub(tiny_model(), "me/model", revision="v3", create_pr=True)
    assert sum(name == "create_branch" for name, _ in hub.calls) == 1
    assert hub.arguments("upload_folder")["create_pr"] is True


def test_a_push_replaces_a_card_only_when_asked(hub, caplog):
    model = tiny_model()
    push_to_hub(model, "me/model", card={"data": "First."})
    push_to_hub(model, "me/model", card={"data": "Second.", "overwrite": True})
    assert "First." in hub.card()
    assert "me/model has a model card already" in caplog.text
    push_to_hub(model, "me/model", card={"data": "Third."}, overwrite_card=True)
    assert "Third." in hub.card()
    caplog.clear()
    push_to_hub(model, "me/model")
    assert "Third." in hub.card()
    assert not caplog.messages


def test_a_push_that_fails_on_its_arguments_creates_no_repository(hub, base):
    twice = {"metrics": {"eval_loss": 0.1, "test_loss": 0.2}}
    for error, card in ((TypeError, {"use_temp_dir": True}), (ValueError, twice)):
        with pytest.raises(error):
            push_to_hub(tiny_model(), "me/model", card=card)
    with pytest.raises(ValueError, match="must be an AutoModelForMaskedSeqModeling, got BertModel"):
        push_to_hub(AutoModel.from_pretrained(base), "me/model")
    assert not hub.calls


def test_an_adapter_is_pushed_with_its_processor_and_card(hub, base, tokenizer):
    pytest.importorskip("peft")
    load = AutoModelForMaskedSeqModeling.from_pretrained
    model = irti_custom.get_lora_model(load(base, num_labels=3)).eval()
    processor = irti_custom.MaskedSeqProcessor(tokenizer)
    push_to_hub(model, "me/adapter", processor, card={"data": "Forty texts."})
    assert [name for name, _ in hub.calls] == ["create_repo", "upload_folder"]
    assert not scripts(hub.folder)
    assert "library_name: peft" in hub.card()
    assert "Forty texts." in hub.card()
    assert_same_logits(load(hub.folder), model)
    with pytest.raises(ValueError, match="with_code=True is for a whole model"):
        push_to_hub(model, "me/adapter", with_code=True)


def test_an_adapter_whose_folder_does_not_describe_its_model_is_not_pushed(hub):
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(target_modules=["query"])
    injected = tiny_model()
    injected.add_adapter(config)
    for model in (injected, peft.get_peft_model(tiny_model(), config)):
        with pytest.raises(ValueError, match="only those of get_lora_model"):
            push_to_hub(model, "me/model")
    assert not hub.calls


def test_save_and_push_in_one_call_is_transformers_own_and_brings_the_code(
    hub, tmp_path, monkeypatch
):
    from transformers import modeling_utils

    monkeypatch.setattr(modeling_utils, "create_and_tag_model_card", lambda *a, **k: _NoCard())
    pushed = []
    monkeypatch.setattr(
        AutoModelForMaskedSeqModeling,
        "_upload_modified_files",
        lambda self, folder, repo_id, *args, **kwargs: pushed.append(
            (repo_id, saved_config(folder))
        ),
    )
    folder, model = tmp_path / "model", tiny_model()
    model.save_pretrained(folder, push_to_hub=True, repo_id="you/model", token="t")
    model.save_pretrained(folder, push_to_hub=True, with_code=False)
    assert [repo_id for repo_id, _ in pushed] == ["me/model", "me/model"]
    assert pushed[0][1]["auto_map"] == AUTO_MAP
    assert "auto_map" not in pushed[1][1]


class _NoCard:
    def save(self, path: str) -> None:
        """Transformers' own card asks the Hub to check it."""


def test_an_adapter_is_pushed_by_peft(hub, tmp_path, monkeypatch):
    pytest.importorskip("peft")
    model = irti_custom.get_lora_model(tiny_model())
    uploaded = []
    card = SimpleNamespace(save=lambda path: Path(path).write_text("card"))
    monkeypatch.setattr(transformers_hub, "create_and_tag_model_card", lambda *args, **kwargs: card)
    monkeypatch.setattr(
        type(model),
        "_upload_modified_files",
        lambda self, folder, *args, **kwargs: uploaded.extend(os.listdir(folder)),
    )
    model.push_to_hub("me/adapter")
    assert {"adapter_config.json", "adapter_model.safetensors", "config.json"} <= set(uploaded)
