"""Replace the files of a save together, and read a folder as one save left it.

    new files ──▶ .saving-*  ──rename──▶ .saved-whole ──links──▶ folder
                  hidden, unfinished     whole: readers look here first

A reader only looks: it writes, moves and deletes nothing, and follows no link of a hidden folder.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from ..file_versions import WHOLE, WHOLE_0_3, file_versions

try:
    import fcntl
except ModuleNotFoundError:  # Windows, which locks no folders
    fcntl = None  # type: ignore[assignment]

_WEIGHTS_FILE = re.compile(
    r"(pytorch_|adapter_)?model(-\d+-of-\d+)?\.(safetensors|bin)(\.index\.json)?"
    r"|model(_int8)?\.onnx(\.data)?"
)
_MAY_GO = re.compile(rf"{_WEIGHTS_FILE.pattern}|[^/\\]+\.py")
_SCRATCH, OUTDATED = ".saving-", "outdated.json"
_REMOVE_HIDDEN = "If nobody saved there, remove the hidden folder."
_LOCK_SECONDS = 60
_TRIES = 5
_Loaded = TypeVar("_Loaded")


@contextmanager
def replaced_files(
    folder: str | os.PathLike, outdated: Callable[[str], bool] = lambda name: False
) -> Iterator[str]:
    """Write files that take the place of an earlier save's together, or not at all.

    They are written to a hidden folder inside of `folder`. Once they are whole, it is renamed to
    another hidden name, where readers look first (`whole_folder`), and linked into their places.
    A process that is killed leaves the earlier save or the new one; the next save cleans up.

    Args:
        folder: is created if there is none.
        outdated: whether a file of the earlier save, weights or code, goes if the new one has none
            of that name.

    Yields:
        The folder to write to.

    Raises:
        ValueError: `folder` holds an interrupted save that no version of this package wrote.
    """
    os.makedirs(folder, exist_ok=True)
    with _locked(folder) as alone:
        _publish(folder)
        for left in Path(folder).glob(f"{_SCRATCH}*") if alone else ():  # of killed processes
            _remove(left)
        scratch = Path(folder, _scratch_name())
        scratch.mkdir()
        try:
            yield str(scratch)
            new = set(os.listdir(scratch))
            earlier = [n for n in os.listdir(folder) if n not in new and _MAY_GO.fullmatch(n)]
            names = [name for name in earlier if outdated(name)]
            (scratch / OUTDATED).write_text(json.dumps(names), encoding="utf-8")
            for path in (*scratch.rglob("*"), scratch):
                flush(path)
            scratch.rename(Path(folder, WHOLE))
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        _publish(folder)


@contextmanager
def _locked(folder: str | os.PathLike) -> Iterator[bool]:
    """Let one save at a time into a folder; False where that cannot be had."""
    if fcntl is None:
        yield False
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        alone = _wait_for(descriptor)
        try:
            yield alone
        finally:  # not left to closing: a process that was forked meanwhile holds it open, too
            if alone:
                fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)


def _wait_for(descriptor: int) -> bool:
    """Wait for another save to end, yet not forever: anyone who can read a folder can lock it."""
    until = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > until:
                return False
            time.sleep(0.01)
        except OSError:  # some network file systems
            return False


def _publish(folder: str | os.PathLike) -> None:
    """Link the files of a whole save into their places."""
    if not _holds_save(folder):
        return
    whole = Path(folder, WHOLE)
    outdated = _outdated_names(whole)
    for path in whole.iterdir():
        target = Path(folder, path.name)
        if path.is_dir():  # an adapter's, which is a save of its own to its readers
            if target.is_symlink():
                raise ValueError(f"{target} must be a folder to save to, and it is a link.")
            with replaced_files(target) as place:
                shutil.copytree(path, place, copy_function=_link, dirs_exist_ok=True)
        elif path.name != OUTDATED:
            link = Path(_link(str(path), os.path.join(folder, _scratch_name())))
            os.replace(link, target)
            link.unlink(missing_ok=True)  # it stays where the target was this file already
    for name in outdated:
        Path(folder, name).unlink(missing_ok=True)
    flush(folder)
    done = whole.rename(Path(folder, _scratch_name()))  # at once, for readers
    shutil.rmtree(done, ignore_errors=True)


def _link(path: str, target: str) -> str:
    """Link a file, or copy it where the file system has no links."""
    try:
        os.link(path, target)
    except OSError:
        shutil.copy2(path, target)
    return target


def _remove(path: Path) -> None:
    """Remove what a save left behind; a link itself, never what it points at."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _scratch_name() -> str:
    return f"{_SCRATCH}{uuid.uuid4().hex[:12]}"


def flush(path: str | os.PathLike) -> None:
    """Make a file or folder outlive a loss of power, where the system can."""
    with suppress(OSError):  # Windows opens no folders
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _outdated_names(whole: Path) -> list[str]:
    """Read which files of an earlier save go."""
    path = whole / OUTDATED
    try:
        names = json.loads(path.read_text(encoding="utf-8"))
        if all(_MAY_GO.fullmatch(name) for name in names):
            return names
    except (OSError, TypeError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {error}. {_REMOVE_HIDDEN}") from error
    raise ValueError(
        f"{path} must name files of weights or code, got {names!r:.200}. {_REMOVE_HIDDEN}"
    )


def _holds_save(folder: str | os.PathLike) -> bool:
    """Return whether a folder holds a whole save that is not in its places yet.

    Raises:
        ValueError: it holds something under that name that no save writes.
    """
    old, whole = Path(folder, WHOLE_0_3), Path(folder, WHOLE)
    if old.is_symlink() or old.exists():
        raise ValueError(
            f"{old} is what version 0.3.0 leaves of a save that was interrupted. Move its files "
            f"to {os.fspath(folder)}, over those of the same names, and remove it. If you did not "
            "save there yourself, remove it without moving anything."
        )
    if not whole.is_symlink() and not whole.exists():
        return False
    entries = (whole, *whole.rglob("*")) if not whole.is_symlink() else (whole,)
    odd = [path for path in entries if path.is_symlink() or not (path.is_dir() or path.is_file())]
    if odd or not whole.is_dir():
        raise ValueError(
            f"{whole} must hold the plain files of an interrupted save, got "
            f"{str((odd or entries)[0])!r}, which is a link or no file. {_REMOVE_HIDDEN}"
        )
    return True


def whole_folder(folder: str | os.PathLike, *names: str) -> str:
    """Return where the last whole save of some files lies: in `folder`, or hidden inside of it.

    It is hidden from when it is whole until its files are in their places: for milliseconds, or
    until the next save where the process was killed in between. Only looks.

    Args:
        folder: a folder, which need not exist.
        names: what a reader reads first; a save that holds none of them is of another kind.

    Raises:
        ValueError: what lies there is nothing that a save wrote.
    """
    whole = os.path.join(folder, WHOLE)
    if _holds_save(folder) and any(os.path.isfile(os.path.join(whole, name)) for name in names):
        return whole
    return os.fspath(folder)


def load_one_version(folder: str | os.PathLike, load: Callable[[], _Loaded]) -> _Loaded:
    """Call `load`, which reads the files of a folder, and again if a save replaced them meanwhile.

    Raises:
        OSError: they are replaced again and again.
    """
    for _ in range(_TRIES):
        before = file_versions(folder)
        try:
            loaded = load()
        except Exception:  # whatever a mixture of two versions leads to
            if file_versions(folder) == before:
                raise
        else:
            if file_versions(folder) == before:
                return loaded
    raise OSError(
        f"{os.fspath(folder)!r} is saved to again and again while it is loaded, {_TRIES} times so "
        "far. Load it when that has ended, or save to another folder."
    )
