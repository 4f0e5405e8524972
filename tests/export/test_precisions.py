"""OpenVINO and int8: what they change is counted, threads share a graph, and what is refused."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from irti_custom import (
    AutoModelForMaskedSeqModeling,
    DataCollatorForMaskedSeq,
    OnnxMaskedSeqModel,
    export_onnx,
)
from irti_custom.export import engines, quantization
from irti_custom.export import export as room
from irti_custom.export.engines import INT8_FILE, RUNTIMES
from irti_custom.loading.sources import ONNX_FILE
from tests.tiny import make_rows, random_batch, tiny_batch, wide_model, word_tokenizer

onnx = pytest.importorskip("onnx")
for module in ("onnxruntime", "onnxscript", "openvino", "nncf"):
    pytest.importorskip(module)

THRESHOLDS = [0.2, 0.5, 0.6, 0.9]


def make_model(task: str = "multilabel") -> AutoModelForMaskedSeqModeling:
    torch.manual_seed(0)
    model = wide_model(task=task)
    if task == "multilabel":
        model.config.thresholds = THRESHOLDS
        # So that some decisions are close, and int8 changes them.
        model.head[3].bias.data = torch.logit(torch.tensor(THRESHOLDS))
    return model


@pytest.fixture(scope="module")
def bert(tmp_path_factory) -> types.SimpleNamespace:
    model, rows = make_model(), make_rows("multilabel", 40)
    folder = tmp_path_factory.mktemp("bert")
    report = export_onnx(model, folder, word_tokenizer(), int8=True, rows=rows, batch_size=8)
    return types.SimpleNamespace(model=model, rows=rows, folder=folder, report=report)


@pytest.fixture(params=RUNTIMES)
def runtime(request) -> str:
    return request.param


@torch.no_grad()
def difference(one, other, **batch: torch.Tensor) -> float:
    return float((one(**batch).logits - other(**batch).logits).abs().max())


def test_report_is_what_a_plain_count_finds(bert, runtime):
    exact = OnnxMaskedSeqModel.from_pretrained(bert.folder)
    int8 = OnnxMaskedSeqModel.from_pretrained(bert.folder, runtime, "int8")
    collator = DataCollatorForMaskedSeq(word_tokenizer())
    with_positions = [index for index, row in enumerate(bert.rows) if row["mask_indices"]]
    count = len(with_positions) // 2
    used = {with_positions[i * len(with_positions) // count] for i in range(count)}
    rest = [row for index, row in enumerate(bert.rows) if index not in used]
    labels = changed = positions = changed_positions = hits = wrong = 0
    largest = 0.0
    for start in range(0, len(rest), 8):
        rows = rest[start : start + 8]
        batch = collator([{k: row[k] for k in ("input_ids", "mask_indices")} for row in rows])
        one, two = (model.predict_proba(model(**batch).logits) for model in (exact, int8))
        for row, cell in enumerate(rows):
            for slot in range(len(cell["mask_indices"])):
                pairs = list(zip(one[row, slot].tolist(), two[row, slot].tolist()))
                flips = [(a >= t) != (b >= t) for (a, b), t in zip(pairs, THRESHOLDS)]
                labels, changed = labels + len(flips), changed + sum(flips)
                positions, changed_positions = positions + 1, changed_positions + any(flips)
                largest = max(largest, *(abs(a - b) for a, b in pairs))
                for true, (_, b), t in zip(cell["labels"][slot], pairs, THRESHOLDS):
                    hits += bool(true) and b >= t
                    wrong += bool(true) != (b >= t)
    (report,) = (r for r in bert.report.precisions if (r.runtime, r.precision) == (runtime, "int8"))
    assert changed > 0
    assert report.num_positions == positions
    assert report.changed_decisions == pytest.approx(changed / labels)
    assert report.changed_positions == pytest.approx(changed_positions / positions)
    assert report.max_probability_difference == pytest.approx(largest, abs=1e-6)
    assert report.num_bytes == os.path.getsize(bert.folder / INT8_FILE)
    assert report.score == pytest.approx(2 * hits / (2 * hits + wrong))
    assert f"changes {100 * changed / labels:.2f} % of the decisions" in str(report)


def test_report_has_all_that_this_machine_has(bert):
    pairs = {(report.runtime, report.precision) for report in bert.report.precisions}
    bfloat16 = {("openvino", "bfloat16")} if engines.has_amx() else set()
    others = {("onnxruntime", "int8"), ("openvino", "float32"), ("openvino", "int8")}
    assert pairs == others | bfloat16
    for report in bert.report.precisions:
        assert (report.changed_decisions == 0) == (report.precision == "float32")


def test_float32_is_float32_on_every_machine(bert):
    model = OnnxMaskedSeqModel.from_pretrained(bert.folder, "openvino")
    assert model.engine.model.get_property("INFERENCE_PRECISION_HINT").get_type_name() == "f32"
    assert difference(bert.model, model, **tiny_batch()) < 1e-5


def test_bfloat16_is_close(bert, monkeypatch):
    monkeypatch.setattr(engines, "has_amx", lambda: True)  # without it, it is correct but slow
    model = OnnxMaskedSeqModel.from_pretrained(bert.folder, "openvino", "bfloat16")
    found = difference(bert.model, model, **tiny_batch())
    assert found < 0.2
    capabilities = sys.modules["openvino"].Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    assert (found > 1e-5) == ("BF16" in capabilities)  # else OpenVINO computes in float32


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_eight_threads_share_a_graph(bert, runtime, precision):
    options = {"streams": 2} if runtime == "openvino" else {}
    model = OnnxMaskedSeqModel.from_pretrained(
        bert.folder, runtime, precision, threads=2, **options
    )
    random = np.random.default_rng(0)
    batches = [random_batch(1 + i % 3, 1 + i % 40, 1 + i % 5, random, True) for i in range(200)]
    expected = [model(**batch).logits for batch in batches]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda batch: model(**batch).logits, batches))
    assert all(torch.equal(one, other) for one, other in zip(found, expected))


def test_a_process_survives_signals_when_its_models_are_gone(bert):
    script = (
        "import gc, os, signal, sys\n"
        "from irti_custom import OnnxMaskedSeqModel\n"
        "signal.signal(signal.SIGUSR1, lambda *_: print('alive'))\n"
        "load = OnnxMaskedSeqModel.from_pretrained\n"
        "first, second = (load(sys.argv[1], 'openvino') for _ in range(2))\n"
        "del first; gc.collect()\n"
        "del second; gc.collect()\n"
        "os.kill(os.getpid(), signal.SIGUSR1)\n"
    )
    command = [sys.executable, "-c", script, str(bert.folder)]
    run = subprocess.run(command, capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (0, "alive\n"), run.stderr


@pytest.mark.skipif(
    sys.platform != "linux" or os.cpu_count() == 1, reason="needs Linux and several cores"
)
def test_threads_are_bound_to_no_core_that_another_process_would_bind_its_to(bert, runtime):
    script = (
        "import os, sys, torch\n"
        "from irti_custom import OnnxMaskedSeqModel\n"
        "cores = os.sched_getaffinity(0)\n"
        "model = OnnxMaskedSeqModel.from_pretrained(*sys.argv[1:], threads=2)\n"
        "row = torch.ones(1, 3, dtype=torch.long)\n"
        "model(input_ids=row, attention_mask=row, mask_indices=row[:, :1])\n"
        "tasks = map(int, os.listdir('/proc/self/task'))\n"
        "print({os.sched_getaffinity(task) == cores for task in tasks})\n"
    )
    command = [sys.executable, "-c", script, str(bert.folder), runtime]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.stdout == "{True}\n", run.stderr


def test_an_answer_stays_when_the_graph_runs_again(bert, runtime):
    model, random = OnnxMaskedSeqModel.from_pretrained(bert.folder, runtime), np.random
    one, two = (random_batch(2, 9, 3, random.default_rng(seed), True) for seed in (0, 1))
    logits = model(**one).logits
    kept = logits.clone()
    assert not torch.equal(model(**two).logits, kept)
    assert torch.equal(logits, kept)


def test_options_reach_the_runtime(bert, tmp_path):
    model = OnnxMaskedSeqModel.from_pretrained(
        bert.folder, "openvino", threads=2, streams=2, model_cache_dir=tmp_path / "cache"
    )
    found = model.engine.model.get_property
    assert (found("INFERENCE_NUM_THREADS"), found("NUM_STREAMS")) == (2, 2)
    assert list((tmp_path / "cache").iterdir())
    model = OnnxMaskedSeqModel.from_pretrained(bert.folder, threads=np.int64(2))
    assert model.engine.session.get_session_options().intra_op_num_threads == 2
    model = OnnxMaskedSeqModel.from_pretrained(bert.folder, "openvino")
    assert model.engine.model.get_property("INFERENCE_NUM_THREADS") == torch.get_num_threads()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"runtime": "tensorrt"}, r"`runtime` must be one of .*'openvino'.* got 'tensorrt'"),
        ({"precision": "fp16"}, r"`precision` must be one of .*'int8'.* got 'fp16'"),
        ({"precision": "bfloat16"}, "Use runtime='openvino'"),
        ({"runtime": "openvino", "precision": "bfloat16"}, r"no AMX .*Use precision='int8'"),
        ({"streams": 2}, r"\['streams'\] are options of runtime='openvino'"),
        ({"model_cache_dir": "x"}, r"\['model_cache_dir'\] are options of runtime='openvino'"),
        ({"runtime": "openvino", "providers": []}, r"\['providers'\] .* runtime='onnxruntime'"),
        ({"threads": 0}, "`threads` must be a whole number of at least 1, got 0"),
        ({"runtime": "openvino", "streams": "all"}, "`streams` must be a whole number"),
        ({"threads": 1, "session_options": object()}, "Leave `threads` out"),
    ],
)
def test_what_a_runtime_does_not_have_is_refused(bert, options, message, monkeypatch):
    monkeypatch.setattr(engines, "has_amx", lambda: False)
    with pytest.raises(ValueError, match=message):
        OnnxMaskedSeqModel.from_pretrained(bert.folder, **options)


def test_int8_that_was_not_exported_is_named(bert, runtime, tmp_path):
    for name in ("config.json", ONNX_FILE):
        shutil.copy(bert.folder / name, tmp_path)
    with pytest.raises(OSError, match=r"no model_int8\.onnx.*int8=True, rows=rows"):
        OnnxMaskedSeqModel.from_pretrained(tmp_path, runtime, "int8")


@pytest.mark.parametrize("missing", ["openvino", "nncf"])
def test_missing_extra_is_named(bert, missing, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, missing, None)
    calls = {
        "nncf": lambda: export_onnx(bert.model, tmp_path, int8=True, rows=bert.rows),
        "openvino": lambda: OnnxMaskedSeqModel.from_pretrained(bert.folder, "openvino"),
    }
    with pytest.raises(ModuleNotFoundError, match=rf"needs {missing}.*irti_custom\[openvino\]"):
        calls[missing]()


@pytest.mark.parametrize("rows", [None, [], [{"input_ids": [2, 3], "mask_indices": []}] * 9])
def test_int8_needs_rows_with_positions(bert, rows, monkeypatch, tmp_path):
    def copied(model, folder, opset):
        shutil.copy(bert.folder / ONNX_FILE, folder)

    monkeypatch.setattr(room, "_write_graph", copied)
    with pytest.raises(ValueError, match=r"needs `rows`|two rows with positions"):
        export_onnx(bert.model, tmp_path, int8=True, rows=rows)
    assert not list(tmp_path.iterdir())


def test_weights_beside_the_graph_move_with_it(bert, monkeypatch, tmp_path, caplog):
    def written(model, folder, opset):  # as the exporter does beyond 2 GB
        graph = onnx.load(bert.folder / ONNX_FILE)
        beside = {"location": f"{ONNX_FILE}.data", "size_threshold": 1024}
        onnx.save(graph, Path(folder, ONNX_FILE), save_as_external_data=True, **beside)

    monkeypatch.setattr(room, "_write_graph", written)
    with caplog.at_level(logging.WARNING, logger="irti_custom.export.export"):
        report = export_onnx(bert.model, tmp_path, int8=True, rows=bert.rows, batch_size=8)
    files = [ONNX_FILE, f"{ONNX_FILE}.data", INT8_FILE, f"{INT8_FILE}.data"]
    assert sorted(path.name for path in tmp_path.glob("model*")) == sorted(files)
    sizes = [os.path.getsize(tmp_path / name) for name in files]
    assert report.num_bytes == sum(sizes[:2])
    int8 = [r for r in report.precisions if r.precision == "int8"]
    assert {one.num_bytes for one in int8} == {sum(sizes[2:])}
    before = [r for r in bert.report.precisions if r.precision == "int8"]
    for one, other in zip(int8, before):
        assert one.changed_decisions == other.changed_decisions
        assert str(one) in caplog.messages
    for runtime in RUNTIMES:
        exported = OnnxMaskedSeqModel.from_pretrained(tmp_path, runtime)
        assert difference(bert.model, exported, **tiny_batch()) < 1e-4
    package = str(Path(room.__file__).parent).encode()
    assert package not in (bert.folder / INT8_FILE).read_bytes()
    bert.model.save_pretrained(tmp_path)
    assert [path.name for path in tmp_path.glob("model*")] == ["model.safetensors"]


def test_nncf_reports_nothing_to_its_makers(monkeypatch):
    monkeypatch.delenv("NNCF_CI", raising=False)
    seen = []
    monkeypatch.setattr(quantization, "import_extra", lambda name: seen.append(dict(os.environ)))
    quantization.import_nncf()
    assert seen[0]["NNCF_CI"]
    assert "NNCF_CI" not in os.environ
