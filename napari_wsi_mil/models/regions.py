"""Order tiles along a plane-filling curve and group neighbours into regions."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch

Ordering = Literal["hilbert", "morton", "raster-snake", "window"]
Cut = Literal["balanced", "full"]


class Regions(NamedTuple):
    """Tiles in curve order, each with its region and its slot there; regions are contiguous in that order."""

    order: torch.Tensor
    """(N,) int64: row of the bag at each position of the curve."""
    region: torch.Tensor
    """(N,) int64, ascending from 0, by position."""
    slot: torch.Tensor
    """(N,) int64: 0, 1, ... within the region, by position."""


def cells(yx: torch.Tensor) -> torch.Tensor:
    """Return (N, 2) int64 grid cells >= 0 of coordinates in tile units, from the bag's own top-left corner.

    A thousandth of a tile is added so that a corner on a rounding edge does not depend on the last bit.
    """
    return torch.floor(yx - yx.amin(0) + 0.501).long()


def hilbert(cell: torch.Tensor) -> torch.Tensor:
    """Return (N,) int64 positions along the Hilbert curve over the smallest power-of-two square."""
    y, x = cell[:, 0].clone(), cell[:, 1].clone()
    key = torch.zeros_like(y)
    side = 1 << int(cell.max().item()).bit_length()
    step = side >> 1
    while step:
        high_y, high_x = (y & step) > 0, (x & step) > 0
        key += step * step * ((3 * high_x.long()) ^ high_y.long())
        # Turn the quadrant so that its inner curve enters and leaves where its neighbours expect it.
        mirror = ~high_y & high_x
        x, y = torch.where(mirror, side - 1 - x, x), torch.where(mirror, side - 1 - y, y)
        x, y = torch.where(high_y, x, y), torch.where(high_y, y, x)
        step >>= 1
    return key


def morton(cell: torch.Tensor) -> torch.Tensor:
    """Return (N,) int64 positions along the Z curve: bits of y and x interleaved."""
    key = torch.zeros_like(cell[:, 0])
    for bit in range(int(cell.max().item()).bit_length()):
        key |= ((cell[:, 0] >> bit) & 1) << (2 * bit + 1) | ((cell[:, 1] >> bit) & 1) << (2 * bit)
    return key


def raster_snake(cell: torch.Tensor) -> torch.Tensor:
    """Return (N,) int64 positions row by row, every second row backwards."""
    wide = cell[:, 1].max() + 1
    forward = cell[:, 0] % 2 == 0
    return cell[:, 0] * wide + torch.where(forward, cell[:, 1], wide - 1 - cell[:, 1])


def window(cell: torch.Tensor, side: int) -> torch.Tensor:
    """Return (N,) int64 keys of square windows of `side` cells, in snake order of windows."""
    return raster_snake(torch.div(cell, side, rounding_mode="floor"))


def _sorted_by(*keys: torch.Tensor) -> torch.Tensor:
    """Return the order that sorts by the first key, ties by the next, and so on."""
    order = torch.arange(len(keys[0]), device=keys[0].device)
    for key in reversed(keys):
        order = order[torch.argsort(key[order], stable=True)]
    return order


def group(yx: torch.Tensor, *, ordering: Ordering = "hilbert", size: int = 64, cut: Cut = "balanced") -> Regions:
    """Group N tiles into regions of at most `size` neighbours; independent of the order of the rows.

    `yx` (N, 2) float32 in tile units. `cut="full"` fills every region but the last, "balanced" makes ceil(N / size)
    regions whose sizes differ by one at most; with "window" a region is a square of floor(sqrt(size)) cells aside
    and `cut` plays no part. Two tiles at exactly the same place keep their order in the bag.
    """
    cell = cells(yx)
    n, device = len(yx), yx.device
    if ordering == "window":
        side = max(1, int(size**0.5))
        key = window(cell, side)
        order = _sorted_by(key, cell[:, 0], cell[:, 1], yx[:, 0], yx[:, 1])
        within = _rank(key[order])
        fresh = torch.ones(n, dtype=torch.bool, device=device)
        # Overlapping tiles can overfill a window; the surplus opens a further region.
        fresh[1:] = (key[order][1:] != key[order][:-1]) | (within[1:] % size == 0)
        region = fresh.long().cumsum(0) - 1
        return Regions(order, region, within % size)
    curve = {"hilbert": hilbert, "morton": morton, "raster-snake": raster_snake}[ordering](cell)
    order = _sorted_by(curve, yx[:, 0], yx[:, 1])
    position = torch.arange(n, device=device)
    count = -(-n // size)
    region = position * count // n if cut == "balanced" else position // size
    return Regions(order, region, _rank(region))


def _rank(sorted_key: torch.Tensor) -> torch.Tensor:
    """Return (N,) int64: how many earlier positions hold the same key, for keys that lie together."""
    position = torch.arange(len(sorted_key), device=sorted_key.device)
    _, counts = torch.unique_consecutive(sorted_key, return_counts=True)
    start: torch.Tensor = (counts.cumsum(0) - counts).repeat_interleave(counts)
    return position - start
