"""Generate tables of personal and other columns: the data shown with `finetune_columns.py`.

    python examples/table_data.py out/tables          # train, validation and test as JSON lines
    python examples/table_data.py out/kinds --kinds   # the kind of a column is its only label

Columns and labels are those of `demo_data.py`. The test tables have locales, headers and forms of
values that training never saw; headers may be missing or mislead in all of them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from demo_data import ROLES, RowMaker, Values, has_health, labels_of

from irti_custom import write_records

MISSING = 0.1
"""The share of cells that are empty."""


def make_table(maker: RowMaker, kinds: bool) -> dict:
    """Return a table of 3 to 10 rows, each about another person or thing."""
    roles = [ROLES[name] for name in maker.fields()]
    headers, health = maker.headers(roles), has_health(roles)
    locale = maker.rng.choice(list(maker.fakers))
    rows = [Values(maker, locale) for _ in range(maker.rng.randint(3, 10))]
    columns = []
    for role, header in zip(roles, headers):
        cells = [None if maker.rng.random() < MISSING else row.make(role) for row in rows]
        labels = [role.kind] if kinds else labels_of(role, health)
        columns.append({"header": header, "values": cells, "labels": labels})
    return {"columns": columns}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kinds", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name, count in (("train", 600), ("validation", 100), ("test", 200)):
        maker = RowMaker(f"tables {arguments.seed} {name}", unseen=int(name == "test"))
        tables = [make_table(maker, arguments.kinds) for _ in range(count)]
        print(write_records(tables, arguments.folder / f"{name}.jsonl"))


if __name__ == "__main__":
    main()
