"""Limit: the matrix products of the encoder alone, beside the forward pass that holds them."""

from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from cases import Batch, Case, by_length
from inference import PYTORCH
from timing import Timer, print_table, ratio
from torch.utils._python_dispatch import TorchDispatchMode

PRODUCTS = {torch.ops.aten.mm: 0, torch.ops.aten.bmm: 0, torch.ops.aten.addmm: 1}
"""Products, and how many arguments come before the two factors."""


class Product(NamedTuple):
    """The shapes of two factors: ``(..., m, k)`` and ``(..., k, n)``."""

    left: torch.Size
    right: torch.Size

    @property
    def flops(self) -> int:
        """Return the number of multiplications and additions."""
        return 2 * math.prod(self.left) * self.right[-1]


class ProductCounter(TorchDispatchMode):
    """Count the matrix products that run while this is entered, by shape."""

    def __init__(self) -> None:
        super().__init__()
        self.products: Counter[Product] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        skipped = PRODUCTS.get(func.overloadpacket)
        if skipped is not None:
            left, right = args[skipped : skipped + 2]
            self.products[Product(left.shape, right.shape)] += 1
        return func(*args, **(kwargs or {}))


def report_limit(case: Case, timer: Timer) -> None:
    """Print which share of the products' speed a forward pass reaches."""
    rows = by_length(case.rows(case.test))
    for row in rows:
        del row["labels"]
    batches = case.batches(rows)
    products = count_products(case, batches)
    flops = sum(product.flops * times for product, times in products.items())
    calls: dict[str, Callable[[], object]] = {"products": prepare(products)}
    models: dict[str, Any] = {PYTORCH: case.model}
    for (runtime, precision), graph in case.graphs.items():
        models[f"ours, {runtime} {precision}"] = graph
    for name, model in models.items():
        calls[name] = partial(forward, model, batches)
    seconds = timer.interleave(calls)
    limit = flops / np.median(seconds["products"]) / 1e9
    print_table(
        f"Share of the limit, {case.name}: {flops / 1e9:.1f} GFLOP in matrix products of "
        f"{len(rows)} rows, which alone run at {limit:.0f} GFLOP/s in PyTorch float32",
        ["", "× the speed of float32 products"],
        [[name, ratio(seconds["products"], seconds[name])] for name in models],
    )


def forward(model: Any, batches: list[Batch]) -> None:
    with torch.inference_mode():
        for batch in batches:
            model(**batch)


def count_products(case: Case, batches: list[Batch]) -> Counter[Product]:
    """Count those of a forward pass; attention in steps shows its two."""
    model = copy.deepcopy(case.model)
    model.set_attn_implementation("eager")
    with torch.no_grad(), ProductCounter() as counter:
        for batch in batches:
            model(**batch)
    return counter.products


def prepare(products: Counter[Product]) -> Callable[[], object]:
    """Allocate factors and results, and return what multiplies all."""
    work = []
    for (left, right), times in products.items():
        factors = torch.randn(left), torch.randn(right)
        work.append((*factors, torch.matmul(*factors), times))

    def multiply() -> None:
        with torch.inference_mode():
            for left, right, out, times in work:
                for _ in range(times):
                    torch.matmul(left, right, out=out)

    return multiply
