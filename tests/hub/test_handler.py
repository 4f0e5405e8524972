"""What an endpoint of Hugging Face finds in a folder, called as the endpoint calls it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import irti_custom
from irti_custom import AutoModelForMaskedSeqModeling, MaskedSeqProcessor, push_to_hub
from irti_custom.hub.handler import write_handler
from tests.hub.test_push import Hub
from tests.scoring import assert_close_answers, save_trained
from tests.tiny import save_base, tiny_model, word_tokenizer

URL = "git+https://example.com/irti_custom@main"
PAYLOAD = {
    "inputs": [{"text": "Ann sees Bob", "spans": [[0, 3], [9, 12]]}, "[MASK] likes Rome"],
    "parameters": {"top_k": 2},
}
# As the inference toolkit loads a handler: the folder on the path, the file as a module, the
# folder's name as the only argument.
ENDPOINT = """
import importlib.util, json, sys
folder, payload = sys.argv[1:]
spec = importlib.util.spec_from_file_location("handler.EndpointHandler", f"{folder}/handler.py")
sys.path.insert(0, folder)
module = importlib.util.module_from_spec(spec)
sys.modules["handler.EndpointHandler"] = module
spec.loader.exec_module(module)
handler = module.EndpointHandler(folder)
print(json.dumps(handler(json.loads(payload))))
"""


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Hub:
    return Hub(tmp_path / "repository", monkeypatch)


def call_endpoint(folder: str, elsewhere: Path) -> list:
    environment = {**os.environ, "PYTHONPATH": str(Path(irti_custom.__file__).parent.parent)}
    done = subprocess.run(
        [sys.executable, "-c", ENDPOINT, folder, json.dumps(PAYLOAD)],
        capture_output=True,
        text=True,
        cwd=elsewhere,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def test_a_pushed_folder_answers_as_the_pipeline_does(hub, tmp_path):
    folder = save_trained(tmp_path / "trained")
    model = AutoModelForMaskedSeqModeling.from_pretrained(folder)
    processor = MaskedSeqProcessor.from_pretrained(folder)
    push_to_hub(model, "me/model", processor, handler_package=URL)  # with code, which stays unused
    assert (hub.folder / "requirements.txt").read_text() == f"irti_custom @ {URL}\n"
    answers = call_endpoint(str(hub.folder), tmp_path)
    pipe = irti_custom.MaskedSeqClassificationPipeline.from_pretrained(folder)
    assert_close_answers(answers, pipe(PAYLOAD["inputs"], **PAYLOAD["parameters"]))


def test_a_handler_of_version_0_3_0_still_works(tmp_path):
    folder = save_trained(tmp_path / "trained")
    old = "from irti_custom.inference.endpoint import EndpointHandler\n"
    (tmp_path / "trained" / "handler.py").write_text(old)
    assert len(call_endpoint(folder, tmp_path)) == 2


def test_a_push_writes_no_handler_by_default(hub, tokenizer):
    push_to_hub(tiny_model(), "me/model", MaskedSeqProcessor(tokenizer))
    assert not (hub.folder / "handler.py").exists()


def test_the_requirements_name_the_extra_that_the_folder_needs(base, tmp_path):
    pytest.importorskip("peft", reason="makes an adapter")
    processor = MaskedSeqProcessor(word_tokenizer())
    tiny_model().save_pretrained(tmp_path / "graph")
    wrapped = AutoModelForMaskedSeqModeling.from_pretrained(base, num_labels=4)
    irti_custom.get_lora_model(wrapped, r=2).save_pretrained(tmp_path / "adapter")
    for name in ("graph", "adapter"):
        processor.save_pretrained(tmp_path / name)
    (tmp_path / "graph" / "model.onnx").touch()  # what a folder holds is told from its files
    for name, extra in (("graph", "onnx"), ("adapter", "lora")):
        _, requirements = write_handler(tmp_path / name, URL)
        assert Path(requirements).read_text() == f"irti_custom[{extra}] @ {URL}\n"


def test_existing_files_are_replaced_only_with_overwrite(tmp_path):
    folder = save_trained(tmp_path)
    (tmp_path / "requirements.txt").write_text("mine\n")
    with pytest.raises(FileExistsError, match=r"\['requirements.txt'\] already.*overwrite=True"):
        write_handler(folder, URL)
    assert not (tmp_path / "handler.py").exists()
    write_handler(folder, URL, overwrite=True)
    assert URL in (tmp_path / "requirements.txt").read_text()


@pytest.mark.parametrize("url", ["", "irti_custom", "git+https://a b", "https://a\nhttps://b", " "])
def test_a_package_that_is_not_a_url_raises(url, tmp_path):
    with pytest.raises(ValueError, match="`package_url` must be"):
        write_handler(save_trained(tmp_path), url)


def test_folders_that_cannot_be_served_raise(tmp_path):
    with pytest.raises(ValueError, match="holds a base encoder"):
        write_handler(save_base(tmp_path / "base"), URL)
    tiny_model().save_pretrained(tmp_path / "alone")
    with pytest.raises(FileNotFoundError, match="holds no processor"):
        write_handler(tmp_path / "alone", URL)
    with pytest.raises(OSError, match="nowhere"):
        write_handler(tmp_path / "nowhere", URL)
