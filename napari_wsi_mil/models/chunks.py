"""Rows a few thousand at a time: what a layer makes on its way stays in the processor's cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import torch

NUMBERS = 1 << 19
"""Values per chunk, 2 MiB of float32: 0.25 to 4 MiB came within 4 % of each other, all rows at once took 1.35x."""


def chunks(table: torch.Tensor) -> Iterator[slice]:
    """Yield slices over the rows of (N, D), each of about `NUMBERS` values; all rows at once off the CPU."""
    step = max(1, NUMBERS // max(1, table.shape[1])) if table.device.type == "cpu" else max(1, len(table))
    for start in range(0, len(table), step):
        yield slice(start, min(start + step, len(table)))


def by_rows(function: Callable[[slice], torch.Tensor], out: torch.Tensor) -> torch.Tensor:
    """Fill (N, D) `out` chunk by chunk with what `function` returns for those rows, and return it; no gradient runs."""
    for rows in chunks(out):
        out[rows] = function(rows)
    return out
