"""Convert a file from one format to another, and print what was counted.

python -m irti_custom.formats export.json train.conll.gz --to conll --write_split_words punctuation
"""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .atomic import check_apart
from .formats import FORMATS
from .read_write import read_records, read_with_report, write_records


def main(arguments: Sequence[str] | None = None) -> None:
    """Convert a file.

    Args:
        arguments: of the command line; None for those of the process.

    Raises:
        ValueError: what would be written is what is read.
    """
    parser = argparse.ArgumentParser(
        prog="python -m irti_custom.formats", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("source", help="the file or folder to read")
    parser.add_argument("target", help="the file or folder to write")
    parser.add_argument("--from", dest="from_format", default="auto", choices=["auto", *FORMATS])
    parser.add_argument("--to", default="auto", choices=["auto", *FORMATS])
    parser.add_argument("--on_error", default="raise", choices=["raise", "skip"])
    for verb, function in (("read", read_records), ("write", write_records)):
        for name, kind in _options(function).items():
            parser.add_argument(
                f"--{verb}_{name}",
                nargs="+" if "Sequence" in kind else None,
                type=_truth if "bool" in kind else _number if "int" in kind else str,
                help=f"`{name}` of `{verb}_records`",
            )
    chosen = parser.parse_args(arguments)
    options = {
        verb: {name: getattr(chosen, f"{verb}_{name}") for name in _options(function)}
        for verb, function in (("read", read_records), ("write", write_records))
    }
    check_apart([chosen.target], [chosen.source, *Path(chosen.source).rglob("*")])
    try:
        records, report = read_with_report(
            chosen.source, chosen.from_format, on_error=chosen.on_error, **options["read"]
        )
        print(f"read {chosen.source}\n{report}")
        written = write_records(
            records, chosen.target, chosen.to, on_error=chosen.on_error, **options["write"]
        )
        print(f"wrote {chosen.target}\n{written}")
    except (ValueError, OSError, ImportError) as error:
        sys.exit(f"error: {error}")


def _options(function: Callable[..., Any]) -> dict[str, str]:
    """Return the options of a function, and their types as they are written."""
    parameters = inspect.signature(function).parameters.values()
    keywords = [p for p in parameters if p.kind is p.KEYWORD_ONLY and p.name != "on_error"]
    return {parameter.name: str(parameter.annotation) for parameter in keywords}


def _number(text: str) -> int | str:
    return int(text) if text.lstrip("-").isdecimal() else text


def _truth(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


if __name__ == "__main__":
    main()
