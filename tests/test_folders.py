"""Folders that several write and read: a save replaces files together, and a reader only looks."""

from __future__ import annotations

import json
import os
import shutil
import threading
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModel, pipeline

from irti_custom import (
    AutoModelForMaskedSeqModeling,
    MaskedSeqClassificationPipeline,
    MaskedSeqProcessor,
    write_model_card,
)
from irti_custom.loading.folders import load_one_version, replaced_files
from irti_custom.scoring.identity import model_digest
from irti_custom.serving.endpoint import EndpointHandler
from tests.scoring import save_trained
from tests.test_saving import fill, values
from tests.tiny import tiny_batch

load = AutoModelForMaskedSeqModeling.from_pretrained
READERS = {
    "model": load,
    "AutoModel": AutoModel.from_pretrained,
    "pipeline": lambda folder: pipeline("masked-seq-classification", model=str(folder)).model,
    "own pipeline": lambda folder: MaskedSeqClassificationPipeline.from_pretrained(folder).model,
    "handler": lambda folder: EndpointHandler(str(folder)).pipe.model,
}


def contents(folder: Path) -> dict[str, tuple[object, int]]:
    """Return everything below a folder: bytes, or the target of a link; and when it changed."""
    found: dict[str, tuple[object, int]] = {}
    for path in sorted(folder.rglob("*")):
        held = os.readlink(path) if path.is_symlink() else path.is_file() and path.read_bytes()
        found[str(path.relative_to(folder))] = held, path.lstat().st_mtime_ns
    return found


@pytest.fixture
def trained(tmp_path):
    folder = tmp_path / "trained"
    save_trained(folder)
    fill(load(folder), 1.0).save_pretrained(folder)
    return folder


@pytest.fixture
def stop_at(monkeypatch):
    """Call something that stops at a numbered move, as if the process were killed; True if so."""

    def call(move, save):
        real, done = os.replace, []

        def stopped(*arguments):
            if len(done) == move:
                raise KeyboardInterrupt
            done.append(real(*arguments))

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", stopped)
            try:
                save()
            except KeyboardInterrupt:
                return True
        return False

    return call


def changed(folder):
    """Return another model for a folder, by weights and thresholds."""
    model = fill(load(folder), 2.0)
    model.config.thresholds = [0.25] * model.config.num_labels
    return model


@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize("move", [0, 1, 3, 7])
def test_a_save_that_stops_at_any_move_is_read_whole_and_reading_writes_nothing(
    move, sharded, trained, stop_at
):
    options = {"max_shard_size": "5KB"} if sharded else {}
    model = changed(trained)
    stop_at(move, lambda: model.save_pretrained(trained, **options))
    before = contents(trained)
    for name, reader in READERS.items():
        read = reader(trained)
        assert {weight.flatten()[0].item() for weight in read.parameters()} == {2.0}, name
        assert read.config.thresholds == model.config.thresholds, name
        assert os.path.abspath(read.name_or_path) == str(trained), name
    assert contents(trained) == before
    fill(model, 3.0).save_pretrained(trained)
    assert values(trained) == {3.0}
    assert not list(trained.glob(".sav*"))
    assert [path.name for path in trained.glob("*.safetensors")] == ["model.safetensors"]


def test_a_read_only_folder_with_an_interrupted_save_loads(trained, stop_at):
    model = changed(trained)
    assert stop_at(0, lambda: model.save_pretrained(trained))
    digest = model_digest(trained)
    for path in (*trained.rglob("*"), trained):
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        assert values(trained) == {2.0}
    finally:
        for path in (trained, *trained.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
    write_model_card(trained)
    assert model_digest(trained) == digest
    model.save_pretrained(trained)
    assert model_digest(trained) == digest


def test_an_interrupted_save_of_a_processor_is_read_whole(trained, stop_at):
    processor = MaskedSeqProcessor.from_pretrained(trained, max_length=17)
    assert stop_at(1, lambda: processor.save_pretrained(trained))
    before = contents(trained)
    assert MaskedSeqProcessor.from_pretrained(trained).max_length == 17
    assert MaskedSeqClassificationPipeline.from_pretrained(trained).processor.max_length == 17
    assert contents(trained) == before


def test_a_config_that_was_changed_and_is_outdated_is_refused(trained):
    config = AutoConfig.from_pretrained(trained)
    config.focal_gamma = 1.0
    changed(trained).save_pretrained(trained)
    with pytest.raises(ValueError, match="saved to since"):
        AutoModel.from_pretrained(trained, config=config)


@pytest.fixture
def home(tmp_path):
    """A folder with files that no model may touch."""
    home = tmp_path / "home"
    (home / "keys").mkdir(parents=True)
    (home / "keys" / "authorized").write_text("mine")
    (home / "thesis").write_text("years")
    return home


def plant_names(trained, home, hidden):
    (hidden / "outdated.json").write_text(json.dumps([str(home / "thesis"), "../home/thesis"]))
    shutil.copy(trained / "config.json", hidden)


def plant_link_of_a_folder(trained, home, hidden):
    (hidden / "outdated.json").write_text("[]")
    (hidden / "keys").mkdir()
    (hidden / "keys" / "authorized").write_text("theirs")
    (trained / "keys").symlink_to(home / "keys")


def plant_link_of_a_file(trained, home, hidden):
    (hidden / "outdated.json").write_text("[]")
    (hidden / "config.json").symlink_to(home / "thesis")


def plant_hidden_link(trained, home, hidden):
    hidden.rmdir()
    (home / "config.json").write_text("{}")
    (home / "outdated.json").write_text("[]")
    hidden.symlink_to(home)


def plant_no_json(trained, home, hidden):
    (hidden / "outdated.json").write_text("{")


@pytest.mark.parametrize("name", [".saved", ".saved-whole"])
@pytest.mark.parametrize(
    "plant",
    [plant_names, plant_link_of_a_folder, plant_link_of_a_file, plant_hidden_link, plant_no_json],
)
def test_a_folder_from_elsewhere_changes_nothing(plant, name, trained, home):
    model = fill(load(trained), 2.0)
    processor = MaskedSeqProcessor.from_pretrained(trained)
    (trained / name).mkdir()
    plant(trained, home, trained / name)
    untouched, inside = contents(home), contents(trained)
    for reader in (*READERS.values(), MaskedSeqProcessor.from_pretrained, model_digest):
        with suppress(OSError, ValueError):
            reader(trained)
        assert (contents(home), contents(trained)) == (untouched, inside)
    for save in (model.save_pretrained, processor.save_pretrained):
        with pytest.raises(ValueError, match=str(trained)):
            save(trained)
    with suppress(ValueError):
        write_model_card(trained)
    assert contents(home) == untouched


def test_a_load_beside_saves_gives_one_version_or_an_error(trained):
    """Both models give equal answers by name: their labels and rows are in another order."""
    one = load(trained)
    torch.nn.init.normal_(one.head[3].weight)
    one.save_pretrained(trained)
    other = load(trained)
    other.config.id2label = dict(enumerate(reversed(one.config.label_names)))
    with torch.no_grad():
        for layer in other.head[3].parameters():
            layer.copy_(layer.flip(0))

    def answers():
        model = load(trained)
        with torch.no_grad():
            logits = model(**tiny_batch()).logits
        return torch.stack([logits[..., model.config.label2id[n]] for n in one.config.label_names])

    wanted, stop = answers(), threading.Event()

    def save():
        while not stop.wait(0.02):
            for model in (other, one):
                model.save_pretrained(trained)

    saver = threading.Thread(target=save)
    saver.start()
    try:
        for _ in range(20):
            with suppress(OSError):
                torch.testing.assert_close(answers(), wanted, rtol=0, atol=1e-5)
    finally:
        stop.set()
        saver.join()
    torch.testing.assert_close(answers(), wanted, rtol=0, atol=1e-5)


def test_threads_that_save_into_one_folder_leave_one_save(tmp_path):
    def save(value):
        for _ in range(20):
            with replaced_files(tmp_path) as folder:
                for name in ("config.json", "model.safetensors"):
                    Path(folder, name).write_text(str(value))

    threads = [threading.Thread(target=save, args=(value,)) for value in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(os.listdir(tmp_path)) == ["config.json", "model.safetensors"]
    assert len({path.read_text() for path in tmp_path.iterdir()}) == 1


def test_a_load_is_repeated_when_files_were_replaced_and_its_own_error_is_not(tmp_path):
    def write(value):
        with replaced_files(tmp_path) as folder:
            Path(folder, "config.json").write_text(str(value))

    def load_while_saved():
        seen.append((tmp_path / "config.json").read_text())
        if len(seen) == 1:
            write(2)
            raise KeyError("of a mixture")
        return seen[-1]

    seen: list[str] = []
    write(1)
    assert load_one_version(tmp_path, load_while_saved) == "2"
    with pytest.raises(ZeroDivisionError):
        load_one_version(tmp_path, lambda: 1 / 0)
    with pytest.raises(OSError, match="again and again"):
        load_one_version(tmp_path, lambda: write(3))


def test_what_a_killed_process_was_writing_is_removed_by_the_next_save(trained):
    (trained / ".saving-1234").mkdir()
    (trained / ".saving-1234" / "model.safetensors").write_bytes(bytes(100))
    load(trained).save_pretrained(trained)
    assert not list(trained.glob(".sav*"))
