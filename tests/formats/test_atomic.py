"""Files and folders are whole or not there: after failures, between writers, through links."""

from __future__ import annotations

import gzip
import os
import stat
import subprocess
import sys
import threading
from contextlib import suppress

import pytest

from irti_custom import write_records
from irti_custom.formats import atomic
from irti_custom.formats.atomic import writing, writing_folder

ANN = {"id": "a", "text": "Ann", "spans": []}


def put(path, content=b"new"):
    with writing(path) as file:
        file.write(content)


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "é" * 120 + ".txt"])
def test_a_file_replaces_another_when_it_is_whole(tmp_path, name):
    path = tmp_path / name
    for content in (b"old", b"new"):
        put(str(path), content)
        read = gzip.decompress if name.endswith(".gz") else bytes
        assert read(path.read_bytes()) == content
    with suppress(KeyboardInterrupt), writing(path) as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert read(path.read_bytes()) == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_writers_of_one_process_do_not_share_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "getpid", lambda: 1)  # as in two containers on one disk
    both, failures = threading.Barrier(2), []

    def write(letter: bytes) -> None:
        try:
            with writing(tmp_path / "a.txt") as file:
                for _ in range(3):
                    file.write(letter)
                    file.flush()
                    both.wait(10)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(letter,)) for letter in (b"a", b"b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert (tmp_path / "a.txt").read_bytes() in (b"aaa", b"bbb")
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    done = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda file: [fsync(file), done.append(os.fstat(file))])
    monkeypatch.setattr(os, "replace", lambda *paths: [replace(*paths), done.append("name")])
    put(tmp_path / "a.txt")
    assert done[0].st_ino == (tmp_path / "a.txt").stat().st_ino
    assert done[0].st_size == 3
    assert done[1] == "name"
    if os.name == "posix":
        assert done[2].st_ino == tmp_path.stat().st_ino


@pytest.mark.skipif(os.name != "posix", reason="modes and links of POSIX")
def test_a_file_keeps_its_mode_and_a_link_its_place(tmp_path):
    (tmp_path / "real").mkdir()
    file, link, loose = tmp_path / "real" / "a.txt", tmp_path / "a.gz", tmp_path / "new.txt"
    file.write_bytes(b"old")
    file.chmod(0o640)
    link.symlink_to(file)
    loose.symlink_to(tmp_path / "real" / "b.txt")
    put(link)  # gzipped, as the name says that was given
    put(loose)
    assert link.is_symlink()
    assert loose.is_symlink()
    assert gzip.decompress(file.read_bytes()) == (tmp_path / "real" / "b.txt").read_bytes()
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert sorted(os.listdir(tmp_path / "real")) == ["a.txt", "b.txt"]


@pytest.mark.skipif(os.name != "posix", reason="devices of POSIX")
def test_what_is_no_file_is_not_replaced(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    for path, what in ((tmp_path, "a folder"), (tmp_path / "pipe", "a device")):
        with pytest.raises(ValueError, match=f"must be a file to write, got {what}"):
            put(path)
    (tmp_path / "a.txt").write_bytes(b"old")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # whoever runs the tests
    with pytest.raises(PermissionError, match="must not be written"):
        put(tmp_path / "a.txt")
    assert (tmp_path / "a.txt").read_bytes() == b"old"


@pytest.mark.skipif(os.name != "posix", reason="limits of POSIX")
@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.xlsx", "a.parquet", "a.json", "a.spacy"])
def test_a_full_disk_leaves_the_old_file(tmp_path, name):
    pytest.importorskip({"a.xlsx": "openpyxl", "a.spacy": "spacy"}.get(name, "json"))
    path = tmp_path / name
    path.write_bytes(b"old")
    limits = (
        "import resource, signal, sys, uuid; from irti_custom import write_records;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (900, 900));"
        "values = [uuid.uuid4().hex for _ in range(99)];"
        "table = {'columns': [{'header': 'x', 'values': values, 'labels': None}]};"
        "texts = [{'text': value, 'spans': []} for value in values];"
        "is_table = sys.argv[1].endswith(('csv', 'xlsx', 'parquet'));"
        "kind = 'doccano' if sys.argv[1].endswith('json') else None;"
        "write_records([table] if is_table else texts, sys.argv[1], *filter(None, [kind]))"
    )
    run = subprocess.run([sys.executable, "-c", limits, path], capture_output=True, text=True)
    assert "File too large" in run.stderr
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("format", ["brat", "hugging-face"])
@pytest.mark.parametrize("is_there", [True, False])
def test_a_folder_is_whole_or_not_there(tmp_path, monkeypatch, format, is_there):
    path = tmp_path / "out"
    if is_there:
        path.mkdir()
    with monkeypatch.context() as patch:

        def fail(*paths: object) -> None:
            raise OSError("No space left")

        patch.setattr(os, "rename", fail)
        with pytest.raises(OSError, match="No space left"):
            write_records([ANN], path, format)
    assert not path.exists() or not list(path.iterdir())
    write_records([ANN], path, format)
    assert list(path.iterdir())
    assert os.listdir(tmp_path) == ["out"]
    with pytest.raises(ValueError, match="must be a new or an empty folder"):
        write_records([ANN], path, format)


def test_a_failure_leaves_no_folder(tmp_path):
    with suppress(KeyboardInterrupt), writing_folder(tmp_path / "out") as folder:
        (folder / "a").write_text("a")
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == []


def test_what_dead_processes_left_goes_and_a_stranger_stays(tmp_path):
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    kept = [f".a.{atomic._HOST}.{os.getpid()}.01.tmp", f".a.{atomic._HOST}.x.01.tmp", "a.tmp"]
    for name in (*kept, f".a.{atomic._HOST}.{ended.pid}.01.tmp"):
        (tmp_path / name).touch()
    atomic.remove_abandoned(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted(kept)
