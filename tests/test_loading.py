"""Base encoders and checkpoints: what loads, what is saved, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel, BertConfig

from irti_custom import (
    AutoModelForMaskedSeqModeling,
    MaskedSeqModelingConfig,
    MaskedSeqProcessor,
)
from tests.tiny import assert_same_logits, save_base, tiny_batch, tiny_config, tiny_model

load = AutoModelForMaskedSeqModeling.from_pretrained


@pytest.fixture
def checkpoint(base, tmp_path) -> str:
    model = load(base, id2label={0: "person", 1: "place", 2: "thing"})
    model.save_pretrained(tmp_path / "checkpoint")
    return str(tmp_path / "checkpoint")


def test_base_encoder_is_loaded_with_its_own_weights(base):
    model = load(base, num_labels=3)
    bare = AutoModel.from_pretrained(base)
    for name, value in model.encoder.state_dict().items():
        assert torch.equal(value, bare.state_dict()[name]), name
    assert not model.training
    assert model.config.base_model_name_or_path == base
    assert model.config.task == "multilabel"


def test_from_encoder_is_the_same_said_explicitly(base):
    torch.manual_seed(3)
    one = load(base, num_labels=3, task="multiclass")
    torch.manual_seed(3)
    two = AutoModelForMaskedSeqModeling.from_encoder(base, num_labels=3, task="multiclass")
    assert_same_logits(one, two)
    assert one.config.to_dict() == two.config.to_dict()


def test_every_argument_of_the_contract_may_be_given_at_once(base):
    model = load(
        base,
        num_labels=15,
        task="multilabel",
        trust_remote_code=False,
        strict_mlm_check=False,
        base_model_attr_name=None,
        id2label=None,
        label2id=None,
    )
    assert model(**tiny_batch()).logits.shape == (2, 3, 15)


def test_base_encoder_needs_the_number_of_labels(base):
    with pytest.raises(ValueError, match="base encoder, so its head needs a size"):
        load(base)


def test_contradicting_labels_are_refused_before_weights_are_read(tmp_path):
    tiny_config().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="`num_labels` is 3, but"):
        load(tmp_path, num_labels=3, id2label={0: "a", 1: "b"})


def test_encoder_attribute_can_be_named_and_stays_so(base, tmp_path):
    model = load(base, num_labels=2, base_model_attr_name="backbone")
    assert model.backbone is model.encoder
    model.save_pretrained(tmp_path / "named")
    weights = load_file(tmp_path / "named" / "model.safetensors")
    assert {name.split(".")[0] for name in weights} == {"backbone", "head"}
    assert_same_logits(model, load(tmp_path / "named", base_model_attr_name="backbone"))
    with pytest.raises(ValueError, match="are named 'backbone', so `base_model_attr_name` cannot"):
        load(tmp_path / "named", base_model_attr_name="bert")


def test_checkpoint_needs_no_other_argument_nor_its_base(base, checkpoint):
    before = load(checkpoint)
    shutil.rmtree(base)
    after = load(checkpoint)
    assert_same_logits(before, after)
    assert after.config.id2label == {0: "person", 1: "place", 2: "thing"}
    assert not after.training


def test_saving_a_reloaded_model_writes_the_same_config(checkpoint, tmp_path):
    load(checkpoint).save_pretrained(tmp_path / "again")
    read = lambda folder: json.loads((folder / "config.json").read_text())  # noqa: E731
    assert read(tmp_path / "again") == read(tmp_path / "checkpoint")


def test_checkpoint_loads_through_the_auto_classes(checkpoint):
    assert type(AutoConfig.from_pretrained(checkpoint)) is MaskedSeqModelingConfig
    model = AutoModel.from_pretrained(checkpoint)
    assert type(model) is AutoModelForMaskedSeqModeling
    assert_same_logits(model, load(checkpoint))


def test_checkpoint_loads_from_another_working_directory(checkpoint, monkeypatch):
    before = load(checkpoint)
    monkeypatch.chdir(os.path.dirname(checkpoint))
    assert_same_logits(before, load("checkpoint"))
    assert_same_logits(before, load(os.path.join(".", "checkpoint")))


def test_checkpoint_loads_in_a_fresh_process(checkpoint):
    script = (
        "import sys, torch; from irti_custom import AutoModelForMaskedSeqModeling as Model\n"
        "model = Model.from_pretrained(sys.argv[1]); ids = torch.arange(5, 13)[None]\n"
        "print(model(ids, torch.ones_like(ids), torch.tensor([[2]])).logits.tolist())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, checkpoint], capture_output=True, text=True, check=True
    )
    ids = torch.arange(5, 13)[None]
    here = load(checkpoint)(ids, torch.ones_like(ids), torch.tensor([[2]])).logits
    torch.testing.assert_close(torch.tensor(json.loads(done.stdout)), here)


def test_added_tokens_survive_saving(base, tmp_path, tokenizer):
    model = load(base, num_labels=3)
    tokenizer.add_special_tokens({"additional_special_tokens": ["[CELL]", "[ROW]"]})
    model.resize_token_embeddings(70)
    model.save_pretrained(tmp_path / "resized")
    again = load(tmp_path / "resized")
    assert again.get_input_embeddings().weight.shape[0] == 70
    assert again.config.base_model_config.vocab_size == 70
    batch = {**tiny_batch(), "input_ids": torch.full((2, 16), 69)}
    assert_same_logits(model, again, **batch)


def test_checkpoint_in_many_shards_is_whole(checkpoint, tmp_path):
    model = load(checkpoint)
    model.save_pretrained(tmp_path / "sharded", max_shard_size="20KB")
    assert len(list((tmp_path / "sharded").glob("*.safetensors"))) > 2
    assert_same_logits(model, load(tmp_path / "sharded"))


def test_bf16_checkpoint_reloads_in_bf16(base, tmp_path):
    model = load(base, num_labels=3, dtype=torch.bfloat16)
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    model.save_pretrained(tmp_path / "half")
    again = load(tmp_path / "half", dtype=torch.bfloat16)
    assert {p.dtype for p in again.parameters()} == {torch.bfloat16}
    assert_same_logits(model, again)


@pytest.mark.parametrize("source", ["base", "checkpoint"])
def test_loading_arguments_are_honoured_in_both_modes(source, request):
    path = request.getfixturevalue(source)
    labels = {"num_labels": 3} if source == "base" else {}
    model = load(path, dtype=torch.float64, attn_implementation="eager", **labels)
    assert {p.dtype for p in model.parameters()} == {torch.float64}
    assert model.encoder.config._attn_implementation == "eager"
    placed = load(path, device_map={"": "cpu"}, **labels)
    assert {p.device.type for p in placed.parameters()} == {"cpu"}
    hidden = load(path, output_hidden_states=True, **labels)
    assert len(hidden(**tiny_batch()).hidden_states) == 3


@pytest.mark.parametrize("source", ["base", "checkpoint"])
def test_subfolder_and_loading_info_are_honoured_in_both_modes(source, request, tmp_path):
    path = request.getfixturevalue(source)
    labels = {"num_labels": 3} if source == "base" else {}
    model, info = load(
        tmp_path, subfolder=os.path.basename(path), output_loading_info=True, **labels
    )
    new = {"head.0.weight", "head.0.bias", "head.2.weight", "head.2.bias", "head.3.weight"}
    assert set(info["missing_keys"]) == ({*new, "head.3.bias"} if labels else set())
    assert model(**tiny_batch()).logits.shape == (2, 3, 3)


@pytest.mark.parametrize("source", ["base", "checkpoint"])
def test_settings_of_the_encoder_can_be_changed_on_loading(source, request):
    path = request.getfixturevalue(source)
    if source == "base":
        model = load(path, num_labels=3, hidden_dropout_prob=0.37)
        assert model.encoder.embeddings.dropout.p == 0.37
    else:
        model = load(path, base_model_config={"hidden_dropout_prob": 0.37})
        assert model.encoder.embeddings.dropout.p == 0.37
        assert_same_logits(model, load(path))


@pytest.mark.parametrize("source", ["base", "checkpoint"])
def test_an_unknown_argument_is_refused_in_both_modes(source, request):
    path = request.getfixturevalue(source)
    labels = {"num_labels": 3} if source == "base" else {}
    with pytest.raises(TypeError, match="nonsense"):
        load(path, nonsense=1, **labels)


def test_other_width_needs_permission_as_in_transformers(checkpoint):
    with pytest.raises((RuntimeError, ValueError), match="mismatch"):
        load(checkpoint, num_labels=5)
    model = load(checkpoint, num_labels=5, ignore_mismatched_sizes=True)
    assert model(**tiny_batch()).logits.shape == (2, 3, 5)
    assert torch.equal(model.head[0].weight, load(checkpoint).head[0].weight)


def test_labels_and_task_of_a_checkpoint_can_be_overridden(checkpoint):
    model = load(checkpoint, id2label={0: "x", 1: "y", 2: "z"}, task="multiclass")
    assert model.config.label2id == {"x": 0, "y": 1, "z": 2}
    assert model.config.problem_type == "single_label_classification"
    proba = model.predict_proba(model(**tiny_batch()).logits)
    torch.testing.assert_close(proba.sum(-1), torch.ones(2, 3))
    auto = AutoModel.from_pretrained(checkpoint, task="multiclass")
    assert auto.config.task == "multiclass"


def test_contradicting_overrides_of_a_checkpoint_are_refused(checkpoint):
    with pytest.raises(ValueError, match="`num_labels` is 4, but"):
        load(checkpoint, num_labels=4, id2label={0: "x", 1: "y", 2: "z"})


def test_strict_mlm_check_holds_for_checkpoints_too(tmp_path):
    tiny_model("canine").save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="masked-LM class"):
        load(tmp_path, strict_mlm_check=True)


def test_config_of_the_other_kind_is_refused(base, checkpoint):
    with pytest.raises(ValueError, match="`config` is a BertConfig, which does not fit"):
        load(checkpoint, config=BertConfig())
    with pytest.raises(ValueError, match="`config` is a MaskedSeqModelingConfig"):
        load(base, config=MaskedSeqModelingConfig(num_labels=3), num_labels=3)


def test_from_encoder_refuses_a_checkpoint(checkpoint):
    with pytest.raises(ValueError, match=r"is a checkpoint of .* not a base encoder"):
        AutoModelForMaskedSeqModeling.from_encoder(checkpoint, num_labels=3)


@pytest.mark.parametrize("name", ["no/such/folder", "/no/such"])
def test_missing_folder_is_named(name):
    for open_it in (load, MaskedSeqProcessor.from_pretrained):
        with pytest.raises(OSError, match=f"'{name}' is no folder on this machine"):
            open_it(name)


@pytest.mark.parametrize("lost", ["head.3.weight", "bert.embeddings.word_embeddings.weight"])
def test_checkpoint_that_lacks_weights_is_refused(lost, checkpoint):
    file = os.path.join(checkpoint, "model.safetensors")
    weights = load_file(file)
    del weights[lost]
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=f"lacks weights: .*{lost}"):
        load(checkpoint)


def test_checkpoint_without_its_weights_file_is_refused(checkpoint):
    os.remove(os.path.join(checkpoint, "model.safetensors"))
    with pytest.raises(OSError, match=r"model\.safetensors"):
        load(checkpoint)


def test_half_written_weights_are_refused(checkpoint):
    file = os.path.join(checkpoint, "model.safetensors")
    with open(file, "r+b") as opened:
        opened.truncate(os.path.getsize(file) // 2)
    with pytest.raises(Exception, match=r"(?i)safetensor|incomplete|header|metadata"):
        load(checkpoint)


def test_pickled_weights_cannot_run_code(checkpoint, tmp_path):
    class Harmful:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "ran"),))

    os.remove(os.path.join(checkpoint, "model.safetensors"))
    torch.save({"head.3.bias": Harmful()}, os.path.join(checkpoint, "pytorch_model.bin"))
    with pytest.raises(Exception, match=r"(?i)weights.only|unsupported|unable to load"):
        load(checkpoint)
    assert not (tmp_path / "ran").exists()


def test_weights_may_come_as_a_state_dict(checkpoint):
    model = load(checkpoint)
    again = load(None, config=model.config, state_dict=model.state_dict())
    assert_same_logits(model, again)


def write_version_0_1_0(folder, attr_name: str = "bert") -> AutoModelForMaskedSeqModeling:
    """Write a checkpoint as version 0.1.0 did: poolers, plain dicts and permissions included."""
    encoder = AutoModel.from_config(tiny_config())  # with its pooler
    config = MaskedSeqModelingConfig(num_labels=3, base_model_attr_name="bert")
    model = AutoModelForMaskedSeqModeling(config, encoder=encoder).eval()
    folder.mkdir()
    save_file(model.state_dict(), folder / "model.safetensors", metadata={"format": "pt"})
    saved = {
        "architectures": ["AutoModelForMaskedSeqModeling"],
        "model_type": "irti_masked_seq_modeling",
        "base_model_attr_name": attr_name,
        "base_model_config": encoder.config.to_dict(),
        "base_model_name_or_path": "gone/base",
        "base_model_type": "bert",
        "id2label": {"0": "0", "1": "1", "2": "2"},
        "label2id": {"0": 0, "1": 1, "2": 2},
        "problem_type": "multi_label_classification",
        "strict_mlm_check": False,
        "task": "multilabel",
        "torch_dtype": "float32",
        "transformers_version": "4.57.1",
        "trust_remote_code": True,
    }
    (folder / "config.json").write_text(json.dumps(saved))
    return model


@pytest.mark.parametrize("attr_name", ["bert", "Bert"])
def test_checkpoint_of_version_0_1_0_loads_with_equal_logits(attr_name, tmp_path):
    model = write_version_0_1_0(tmp_path / "old", attr_name)
    again = load(tmp_path / "old")
    assert_same_logits(model, again)
    again.save_pretrained(tmp_path / "new")
    saved = json.loads((tmp_path / "new" / "config.json").read_text())
    assert "trust_remote_code" not in saved
    assert "strict_mlm_check" not in saved
    assert_same_logits(model, load(tmp_path / "new"))


@pytest.mark.parametrize("name", ["bert", "roberta"])
def test_base_modes_agree_for_folders_with_and_without_a_trailing_slash(name, tmp_path):
    path = save_base(tmp_path / name, name)
    torch.manual_seed(5)
    one = load(path, num_labels=2)
    torch.manual_seed(5)
    assert_same_logits(one, load(path + os.sep, num_labels=2))
