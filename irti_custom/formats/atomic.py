"""Write files and folders that are whole or not there, whatever ends the process.

    content  ->  .name.HOST.PROCESS.ID.tmp beside the target, on the disk  ->  the target

Each writer has a name of its own, so that threads and processes never write into one file. Models
alone are saved otherwise, as folders of files that replace earlier ones: see `folders`.
"""

from __future__ import annotations

import errno
import glob
import gzip
import os
import platform
import shutil
import stat
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from ..loading.folders import flush

_HOST = platform.node()


@contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[IO[bytes] | gzip.GzipFile]:
    """Write a file, gzipped if its name ends in ``.gz``; it appears when it is whole.

    A file that was there keeps its mode, and a link its place: what it points at is replaced.

    Raises:
        ValueError: a folder or a device is in its place.
        PermissionError: a file is in its place that must not be written.
    """
    target, mode = Path(os.path.realpath(path)), None
    if target.exists():
        mode = stat.S_IMODE(target.stat().st_mode)
        if not target.is_file():
            what = "a folder" if target.is_dir() else "a device"
            raise ValueError(f"{path} must be a file to write, got {what}.")
        if not os.access(target, os.W_OK):
            raise PermissionError(errno.EACCES, "The file must not be written", str(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    part = _beside(target)
    try:
        with open(part, "xb") as raw:
            if mode is not None:
                os.chmod(part, mode)
            if os.fspath(path).endswith(".gz"):  # no name and no time: the same bytes every time
                with gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as zipped:
                    yield zipped
            else:
                yield raw
            raw.flush()
            os.fsync(raw.fileno())
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
    flush(target.parent)


@contextmanager
def writing_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a new folder of files, into the path that is given; it appears when all are whole.

    Raises:
        ValueError: a file, or a folder that holds something, is in its place.
    """
    target = Path(os.path.realpath(path))
    is_empty = target.is_dir() and not any(target.iterdir()) and not target.is_mount()
    if target.exists() and not is_empty:
        raise ValueError(
            f"{path} must be a new or an empty folder, and no mount point, and it is not."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    part = _beside(target)
    part.mkdir()
    try:
        if is_empty:
            shutil.copymode(target, part)
        yield part
        for one in (*part.rglob("*"), part):
            flush(one)
        if is_empty:  # elsewhere than on POSIX, a folder takes no other's place
            target.rmdir()
        os.rename(part, target)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    flush(target.parent)


def check_apart(
    written: Iterable[str | os.PathLike[str]], read: Iterable[str | os.PathLike[str]]
) -> None:
    """Check that nothing that is read would be replaced, by whatever name or link.

    Raises:
        ValueError: a path to write that is one of those to read.
    """
    sources = [source for source in read if os.path.exists(source)]
    for target in filter(os.path.exists, written):
        if any(os.path.samefile(target, source) for source in sources):
            raise ValueError(
                f"What is read must not be replaced, and {os.fspath(target)} would be. Choose "
                "another name for what is written."
            )


def remove_abandoned(folder: str | os.PathLike[str]) -> None:
    """Remove what processes of this machine were writing into a folder when they died."""
    pattern = f".*.{glob.escape(_HOST)}.*.tmp"
    for path in glob.glob(os.path.join(glob.escape(os.fspath(folder)), pattern)):
        process = path.rsplit(".", 3)[1]
        if process.isdecimal() and not is_alive(int(process)):
            with suppress(FileNotFoundError):  # another process ends at the same time
                os.remove(path)


def _beside(target: Path) -> Path:
    writer = f"{_HOST}.{os.getpid()}.{uuid.uuid4().hex[:8]}"
    return target.with_name(f".{target.name[:40]}.{writer}.tmp")


def is_alive(process: int) -> bool:
    """Return whether a process of this machine runs; True where that cannot be asked."""
    if os.name != "posix":  # elsewhere the question itself could end the process
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True
