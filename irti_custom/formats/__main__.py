"""Convert a file from one format to another, and print what was counted.

python -m irti_custom.formats export.json train.conll.gz --to conll --write_split_words punctuation
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from .atomic import check_apart
from .read_write import read_with_report, write_records
from .registry import FORMATS

VERBS = ("read", "write")


def main(arguments: Sequence[str] | None = None) -> None:
    """Convert a file, by the arguments of the command line, or by others.

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
    kinds: dict[str, dict[str, str]] = {verb: {} for verb in VERBS}
    for verb in VERBS:
        for one in FORMATS.values():
            kinds[verb].update(one.options(verb))
        for name, kind in kinds[verb].items():
            parser.add_argument(
                f"--{verb}_{name}",
                nargs="+" if "Sequence" in kind else None,
                type=_truth if "bool" in kind else _number if name.endswith(_NUMBERS) else str,
                help=f"of {', '.join(n for n, f in FORMATS.items() if name in f.options(verb))}",
            )
    chosen = parser.parse_args(arguments)
    read, write = (
        {name: getattr(chosen, f"{verb}_{name}") for name in kinds[verb]} for verb in VERBS
    )
    check_apart([chosen.target], [chosen.source, *Path(chosen.source).rglob("*")])
    try:
        records, report = read_with_report(
            chosen.source, chosen.from_format, on_error=chosen.on_error, **read
        )
        print(f"read {chosen.source}\n{report}")
        written = write_records(
            records, chosen.target, chosen.to, on_error=chosen.on_error, **write
        )
        print(f"wrote {chosen.target}\n{written}")
    except (ValueError, OSError, ImportError) as error:
        sys.exit(f"error: {error}")


_NUMBERS = ("tag_columns", "word_column")
"""Options that are numbers in some format."""


def _number(text: str) -> int | str:
    return int(text) if text.lstrip("-").isdecimal() else text


def _truth(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


if __name__ == "__main__":
    main()
