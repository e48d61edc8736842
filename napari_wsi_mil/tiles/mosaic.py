"""Where the tiles of a grid lie on a raster: found once, so that other scores are drawn in milliseconds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from napari_wsi_mil.tiles.grid import TileGrid

    Floats = npt.NDArray[np.float32]
    Wide = npt.NDArray[np.float64]
    Whole = npt.NDArray[np.int64]

PARTS = (*range(1, 17), 20, 24, 32, 40, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
"""Where edges must be rounded, cells are one of these parts of a tile or of the stride."""
MOST_CELLS, LONGEST = 6_000_000, 8192
"""A raster has no more cells, in all and along one side: it must reach the graphics card in milliseconds."""
EXACT_PX0 = 0.01
"""Edges this near to those of cells, in level-0 pixels, count as exact."""
GOOD_PX0 = 0.5
"""Where no cells are exact, those that move edges by no more than this are as good as finer ones."""
FEW_ADDITIONS = 2**22


@dataclass(frozen=True, eq=False)
class Mosaic:
    """Tiles as blocks of `span` x `span` square cells; see `mosaic`."""

    corner_yx0: tuple[float, float]
    """Level-0 pixel at which cell (0, 0) begins."""
    cell_px0: float
    """Side of a cell in level-0 pixels."""
    shape: tuple[int, int]
    span: int
    """Cells along a tile's side."""
    rounded_px0: float
    """No drawn edge lies farther than this from that of its tile, in level-0 pixels; under 0.01 where they agree."""
    starts: Whole
    """(U,) flat index of the first cell of tiles, each once."""
    of: Whole | None
    """(N,) which of `starts` a tile has; None where no two tiles begin at one cell."""
    count: npt.NDArray[np.uint16]
    """(rows, columns) number of tiles over a cell."""
    index: npt.NDArray[np.int32] | None
    """(rows, columns) which tile covers a cell, -1 none; None where tiles overlap."""

    def draw(self, scores: Floats) -> Floats:
        """Return (rows, columns) float32: the mean score of the tiles over each cell, NaN where there is none."""
        if self.index is not None:
            return np.append(scores, np.float32(np.nan)).astype(np.float32, copy=False)[self.index]
        wide = scores.astype(np.float64)
        many = len(self.starts)
        sums = wide if self.of is None else np.asarray(np.bincount(self.of, wide, many), np.float64)
        # A running sum would carry what is not finite over all that follows.
        few = many * self.span**2 <= FEW_ADDITIONS or not np.isfinite(wide).all()
        total = self._added(sums) if few else _boxes(self.starts, sums, self.span, shape=self.shape)
        out = np.empty(self.shape, np.float32)
        return np.multiply(total, self._shares, out=out, casting="same_kind")

    @cached_property
    def _shares(self) -> Wide:
        """(rows, columns) 1 over the number of tiles, NaN where there is none."""
        share = np.full(self.count.max() + 1, np.nan)
        share[1:] = 1 / np.arange(1, len(share))
        return np.asarray(share[self.count])

    def _added(self, sums: Wide) -> Wide:
        total = np.zeros(self.shape[0] * self.shape[1])
        for dy in range(self.span):
            for dx in range(self.span):
                total[self.starts + (dy * self.shape[1] + dx)] += sums
        return total.reshape(self.shape)


def mosaic(grid: TileGrid) -> Mosaic:
    """Lay the tiles of a grid (at least one) on square cells.

    Cells are as large as they can be with all edges of tiles on edges of cells, wherever the lattice begins and
    however many lattices there are. Where that takes more than 6,000,000 cells (or 8,192 along a side), edges are
    rounded to cells of a whole part of tile or stride, the part within this limit that moves them least, by
    `rounded_px0`: under half a cell where tile and cell are commensurate.
    """
    side = grid.side_yx0[0]
    low = grid.yx0.min(0)
    offsets = [np.unique(grid.yx0[:, axis] - low[axis]) for axis in (0, 1)]
    cell, off = _cell(offsets, side=side, units=[*_measures(grid, offsets), *_shares(grid)])
    starts = np.rint((grid.yx0 - low) / cell).astype(np.int64)
    span = max(round(side / cell), 1)
    height, width = (int(n) for n in starts.max(0) + span)
    flat = starts[:, 0] * width + starts[:, 1]
    first, of = np.unique(flat, return_inverse=True)
    alone = len(first) == len(flat)
    # in grid order, where no two tiles begin alike
    first = flat if alone else first
    often = np.ones(len(first)) if alone else np.bincount(of).astype(float)
    count = np.rint(_boxes(first, often, span, shape=(height, width))).astype(np.uint16)
    index = None
    if count.max() == 1:
        number = _boxes(flat, np.arange(1.0, len(flat) + 1), span, shape=(height, width))
        index = np.rint(number).astype(np.int32) - 1
    return Mosaic(
        (float(low[0]), float(low[1])), cell, (height, width), span, off, first, None if alone else of, count, index
    )


def _boxes(starts: Whole, values: Wide, span: int, *, shape: tuple[int, int]) -> Wide:
    """Return per cell the sum of the values whose block of `span` x `span` cells holds it, by running sums."""
    width = shape[1] + 1
    edges = np.zeros((shape[0] + 1) * width)
    corner = starts // shape[1] * width + starts % shape[1]
    for step, sign in ((0, 1), (span, -1), (span * width, -1), (span * width + span, 1)):
        # corners of neighbours coincide, so plain fancy addition would lose some
        edges += sign * np.bincount(corner + step, values, len(edges))
    return np.asarray(edges.reshape(-1, width).cumsum(0).cumsum(1)[:-1, :-1])


def _shares(grid: TileGrid) -> list[float]:
    """Return cell sizes to fall back on: whole parts of the tile and of the stride."""
    return [size / k for k in PARTS for size in (grid.side_yx0[0], grid.stride_yx0[0])]


def _measures(grid: TileGrid, offsets: Sequence[Wide]) -> list[float]:
    """Return the largest length of which tile and all offsets are whole multiples, if it is worth drawing."""
    if grid.corners_yx0 is None:
        return [math.gcd(grid.tile_px, grid.stride_px) * grid.downsample]
    side = measure = grid.side_yx0[0]
    tolerance = EXACT_PX0 / 4
    for value in np.concatenate(offsets).tolist():
        rest = value
        while rest > tolerance:
            measure, rest = rest, math.fmod(measure, rest)
            if measure - rest < tolerance:
                rest = 0.0
        if measure * LONGEST < side:
            return []
    return [side / max(round(side / measure), 1)]


def _cell(offsets: Sequence[Wide], *, side: float, units: Sequence[float]) -> tuple[float, float]:
    """Return the best cell size and how far it moves edges: the largest exact or good one, else that of least moves.

    The tile itself is taken where every size has too many cells.
    """
    best = (side, _moved(offsets, side, side))
    best_key = (math.inf, 0.0)
    for unit in units:
        sides = [float(o[-1] + side) / unit for o in offsets]
        if max(sides) > LONGEST or sides[0] * sides[1] > MOST_CELLS:
            continue
        off = _moved(offsets, side, unit)
        key = (0.0 if off < EXACT_PX0 else max(off, GOOD_PX0), -unit)
        if key < best_key:
            best, best_key = (unit, off), key
    return best


def _moved(offsets: Sequence[Wide], side: float, unit: float) -> float:
    """Return how far the edges of tiles at these offsets are moved at most by rounding to cells."""
    span = max(round(side / unit), 1) * unit
    moved = [np.rint(o / unit) * unit - o for o in offsets]
    return max(float(np.abs(m + shift).max()) for m in moved for shift in (0.0, span - side))
