"""Open what users hold: UTF-8, plain or gzipped, whole; and write JSON.

path  ->  Line(number, text), ...     path  ->  Item(where, dict), ...
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import IO, Any, NamedTuple

from .atomic import writing

MAX_LINE_BYTES = 64 * 2**20
"""A longer line is a damaged file, and is not held in memory."""
MARK = "\ufeff"
"""A byte order mark, which begins some files, and is not of their text."""
_BLOCK_BYTES = 2**20
_GZIP = b"\x1f\x8b"
_DAMAGE = (EOFError, OSError, zlib.error)
_OTHERS = {
    b"\xd0\xcf\x11\xe0": "an old (.xls) or protected file of Office. Save it as .xlsx or .csv",
    b"PK\x03\x04": "a zip archive, as .ods is, too. Unpack it, or save it as .xlsx or .csv",
    b"PAR1\x15": "a Parquet file. Give it a name that ends in .parquet",
    b"ARROW1\x00": "an Arrow file. Its folder is read with format='hugging-face'",
    b"SQLite format 3\x00": "a database of SQLite. Export a table as .csv",
    b"%PDF-": "a PDF. Export its text",
    b"BZh91AY&SY": "compressed by bzip2. Unpack it, or use gzip",
    b"\xfd7zXZ": "compressed by xz. Unpack it, or use gzip",
    b"\x28\xb5\x2f\xfd": "compressed by Zstandard. Unpack it, or use gzip",
    _GZIP: "gzipped twice. Unpack it once",
    b"\xff\xfe": "UTF-16. Save it as UTF-8",
    b"\xfe\xff": "UTF-16. Save it as UTF-8",
}
"""First bytes of files other than UTF-8 text, their kind, and the way out."""
_STRING = rb'"[^"\t\r\n]*("|$)'
_OBJECT = rb"\{\s*($|\}\s*$|" + _STRING + rb"\s*(:|$))"
_JSON = re.compile(_OBJECT + rb"|(\[\s*){1,2}($|\]\s*$|" + _STRING + rb"|" + _OBJECT + rb")")
"""The start of JSON objects; a line of words with a bracket does not match."""
_NOT_BLANK = re.compile(r"[^ \t\r\n]")


class Line(NamedTuple):
    """A line of a file, without its end, and its number from 1."""

    number: int
    text: str


class Block(NamedTuple):
    """Lines of a file, and the number of the first, from 1."""

    number: int
    content: bytes


class Item(NamedTuple):
    """A JSON value of a file, and where it is: file and line, or file and item."""

    where: str
    value: Any


def check_file(path: Path) -> Path:
    """Return the path of a file; raise a ValueError for a folder."""
    if path.is_dir():
        raise ValueError(
            f"{path} must be a file, got a folder. A folder is read if it holds .ann files, or .a1 "
            "and .a2 (format='brat'), or was written by save_to_disk (format='hugging-face')."
        )
    if not path.exists():
        raise FileNotFoundError(f"There must be a file at {path}, got nothing.")
    return path


def read_bytes(path: Path, limit: int | None = None) -> bytes:
    """Read a file whole, gunzipped if it is gzipped.

    Raises:
        ValueError: a file that cannot be read to its end, or has more than `limit` bytes when it is
            unpacked, which are not held in memory.
    """
    with _open(path) as file:
        content = _read(file, -1 if limit is None else limit + 1, path)
    if limit is not None and len(content) > limit:
        raise ValueError(f"{path} must have at most {limit:,} bytes when unpacked, and has more.")
    return content


def read_text(path: Path, limit: int | None = None) -> str:
    """Read a text file whole, as `read_bytes`; line ends, and a byte order mark, are kept."""
    content = read_bytes(path, limit)
    check_text(content, path)
    return _decode(content, path, None)


def check_text(start: bytes, path: Path) -> None:
    """Raise a ValueError for a file that begins as one of another kind does."""
    kinds = [kind for sign, kind in _OTHERS.items() if start.startswith(sign)]
    if b"\x00" in start[:2]:  # half of a character
        kinds = ["UTF-16 or UTF-32. Save it as UTF-8"]
    if kinds:
        raise ValueError(f"{path} must be text, got a file that is {kinds[0]}.")


def read_lines(path: Path) -> Iterator[Line]:
    r"""Read the lines of a text file, which end with "\n", "\r\n", or "\r" as on old Macs.

    Raises:
        ValueError: a file that cannot be read to its end or is not UTF-8, or a longer line than
            `MAX_LINE_BYTES`.
    """
    for block in read_blocks(path):
        yield from lines_of(block, path)


def read_blocks(path: Path) -> Iterator[Block]:
    r"""Read a text file in blocks of whole lines, which are not decoded yet.

    Raises:
        ValueError: a file that cannot be read to its end, after the lines before; or that begins as
            one of another kind does.
    """
    number, rest, is_first = 1, b"", True
    with _open(path) as file:
        while chunk := _read(file, _BLOCK_BYTES, path, number - 1):
            if is_first:
                check_text(chunk, path)
                chunk, is_first = chunk.removeprefix(MARK.encode()), False
            rest += chunk
            end = rest.rfind(b"\n") + 1
            if not end and len(rest) <= MAX_LINE_BYTES:
                continue
            block = Block(number, rest[:end] if end else rest)
            rest = rest[len(block.content) :]
            number += _count_lines(block.content)
            yield block
    if rest:
        yield Block(number, rest)


def _count_lines(content: bytes) -> int:
    r"""Count ends of lines: "\n", "\r\n", and "\r" as on old Macs."""
    if b"\r" not in content:
        return content.count(b"\n")
    return content.count(b"\n") + content.count(b"\r") - content.count(b"\r\n")


def lines_of(block: Block, path: Path) -> Iterator[Line]:
    r"""Decode the lines of a block; see `read_lines`."""
    number, content = block
    content = content[:-1] if content.endswith(b"\n") else content
    try:
        text = content.decode() if len(content) <= MAX_LINE_BYTES and b"\r" not in content else None
    except UnicodeDecodeError:
        text = None
    if text is not None:
        yield from map(Line, count(number), text.split("\n"))
        return
    for line in content.split(b"\n"):
        if len(line) > MAX_LINE_BYTES:
            raise ValueError(
                f"{path}, line {number}: A line must have at most {MAX_LINE_BYTES} bytes, "
                "and this one is longer. Is each record on its own line?"
            )
        for piece in _decode(line, path, number).rstrip("\r").split("\r"):
            yield Line(number, piece)
            number += 1


def read_objects(path: Path) -> Iterator[Item]:
    """Read JSON objects: an array of them, or one after the other, most often one a line.

    spaCy's pair of a text and its annotations, ``["Ann", {"entities": []}]``, is read as the object
    ``{"text": "Ann", "entities": []}``.

    Raises:
        ValueError: a file that is no JSON, with the line.
    """
    start = _start(path)
    if not start:
        raise ValueError(f"{path} must hold JSON, and it is empty.")
    if start.startswith(b"["):
        for where, value in _values(read_text(path).removeprefix(MARK), path, 1):
            if not isinstance(value, list):
                yield Item(where, value)
                continue
            for index, item in enumerate(value, start=1):
                yield Item(f"{path}, item {index}", _without_pair(item))
        return
    yield from objects_of(read_lines(path), path)


def objects_of(lines: Iterator[Line], path: Path) -> Iterator[Item]:
    """Read JSON values one after the other, most often one a line; see `read_objects`."""
    for number, text in lines:
        if not text.strip():
            continue
        item, goes_on = None, False
        try:
            item = Item(f"{path}, line {number}", _without_pair(_DECODER.decode(text)))
        except json.JSONDecodeError as error:
            goes_on = error.pos >= len(text.rstrip()) or error.msg == "Extra data"
        except (ValueError, RecursionError):
            pass
        if item is not None:
            yield item
            continue
        if goes_on:
            text = "\n".join([text, *(line.text for line in lines)])
        yield from _values(text, path, number)


def is_json(path: Path) -> bool:
    """Return True for the name of a JSON file, or a content that begins as JSON does."""
    if bare_suffix(path) in (".json", ".jsonl", ".ndjson"):
        return True
    return _JSON.match(_start(path)) is not None


def _start(path: Path) -> bytes:
    """Return bytes of a file from the first one that is no white space, nor a byte order mark."""
    with _open(path) as file:
        while chunk := _read(file, 4096, path, 0):
            if start := chunk.removeprefix(MARK.encode()).lstrip():
                return start
    return b""


def _values(text: str, path: Path, line: int) -> Iterator[Item]:
    """Read JSON values that follow each other, each on any number of lines, from `line` on."""
    end = 0
    while start := _NOT_BLANK.search(text, end):
        line += text.count("\n", end, start.start())
        where = f"{path}, line {line}"
        try:
            value, end = _DECODER.raw_decode(text, start.start())
        except json.JSONDecodeError as error:
            line += text.count("\n", start.start(), error.pos)
            raise ValueError(
                f"{path}, line {line}: It must be JSON, an array of objects or objects one after "
                f"the other: {error.msg}, column {error.colno}. Was it written whole?"
            ) from error
        except ValueError as error:  # a name twice, or a number of too many digits
            raise ValueError(f"{where}: The JSON cannot be read: {error}.") from error
        except RecursionError as error:
            raise ValueError(f"{where}: The JSON is nested too deeply.") from error
        line += text.count("\n", start.start(), end)
        yield Item(where, _without_pair(value))


def _without_pair(value: Any) -> Any:
    """Return spaCy's pair of a text and its annotations as an object, all else as it is."""
    is_pair = isinstance(value, list) and [type(one) for one in value] == [str, dict]
    return {"text": value[0], **value[1]} if is_pair and "text" not in value[1] else value


def _with_names_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):  # of which Python would keep the last
        raise ValueError(
            f"An object must have each name once, got {[name for name, _ in pairs]!r:.200}"
        )
    return made


_DECODER = json.JSONDecoder(object_pairs_hook=_with_names_once)


def write_array(path: Path, items: Iterable[Any]) -> None:
    """Write a JSON array, an item a line."""
    with writing(path) as file:
        file.write(b"[")
        for number, item in enumerate(items):
            line = json.dumps(item, ensure_ascii=False)
            file.write(f"{',' * (number > 0)}\n{line}".encode())
        file.write(b"\n]\n")


def write_lines(path: Path, items: Iterable[Any]) -> None:
    """Write JSON lines."""
    with writing(path) as file:
        file.writelines(map(as_line, items))


def as_line(value: Any) -> bytes:
    """Return a line of JSON."""
    return (json.dumps(value, ensure_ascii=False) + "\n").encode()


def bare_suffix(path: Path) -> str:
    """Return the last suffix in lower case, the one before ``.gz``."""
    name = path.name.lower()
    return Path(name[:-3] if name.endswith(".gz") else name).suffix


def _open(path: Path) -> IO[bytes] | gzip.GzipFile:
    with open(check_file(path), "rb") as file:
        zipped = file.read(2) == _GZIP
    if zipped:
        return gzip.GzipFile(path)
    if path.suffix == ".gz" and path.stat().st_size:
        raise ValueError(f"{path} must be gzipped, as its name says, and it is not.")
    return open(path, "rb")


def _decode(content: bytes, path: Path, number: int | None) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1 if number is None else number
        raise ValueError(
            f"{path}, line {line}: The file must be UTF-8, got byte "
            f"0x{content[error.start]:02x}. Save it as UTF-8."
        ) from error


def _read(file: Any, size: int, path: Path, line: int | None = None) -> bytes:
    """Read from an open file; `line` is the last one that was read, for errors."""
    try:
        return bytes(file.read(size))
    except _DAMAGE as error:
        extent = "to its end" if line is None else f"beyond line {line}"
        raise ValueError(
            f"{path} cannot be read {extent}: {error}. Was it written whole?"
        ) from error
