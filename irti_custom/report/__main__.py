"""Write a report on a model and a file of labelled records.

python -m irti_custom.report out/finetune test.jsonl.gz --train train.jsonl.gz --output report.html
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ..formats.atomic import check_apart
from ..formats.read_write import read_records
from ..formats.registry import FORMATS
from ..records.record import OWN
from .report import write_report


def main(arguments: Sequence[str] | None = None) -> None:
    """Write a report.

    Args:
        arguments: of the command line; None for those of the process.

    Raises:
        ValueError: what would be written is what is read.
    """
    parser = argparse.ArgumentParser(
        prog="python -m irti_custom.report", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("model", help="folder or Hub id of a model with its processor")
    parser.add_argument("file", help="the labelled records")
    parser.add_argument("--output", default="report.html")
    parser.add_argument("--train", help="the records that the model was trained on")
    parser.add_argument("--compare", help="another model, or the report.json of one")
    parser.add_argument("--slices", nargs="+", default=[], help="fields of JSON lines to score by")
    parser.add_argument("--document", help="the one that says which belong together")
    parser.add_argument("--format", default="auto", choices=["auto", *FORMATS])
    chosen = parser.parse_args(arguments)
    others = sorted({*chosen.slices, chosen.document} - {None, *OWN})
    figures = Path(chosen.output).with_suffix(".json")
    check_apart([chosen.output, figures], filter(None, [chosen.file, chosen.train]))
    try:
        report = write_report(
            chosen.model,
            read_records(chosen.file, chosen.format, keep=others or None),
            chosen.output,
            train=chosen.train and read_records(chosen.train, chosen.format),
            compare=chosen.compare,
            slices=chosen.slices,
            document=chosen.document,
            data=chosen.file,
        )
    except (ValueError, OSError, ImportError) as error:
        sys.exit(f"error: {error}")
    scores = ", ".join(f"{one['name']} {one['value']:.3f}" for one in report["overall"])
    print(f"{scores}: {chosen.output}")


if __name__ == "__main__":
    main()
