"""Scores of tiles blurred over their neighbours, of tissue only: glass neither gives nor takes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_wsi_mil.tiles.grid import TileGrid
    from napari_wsi_mil.tiles.mosaic import Mosaic

    Floats = npt.NDArray[np.float32]
    Wide = npt.NDArray[np.float64]

LEAST_STRIDES = 0.05
"""Sigma in strides: under this, weights of neighbours would be too small for a float64."""
MOST_CELLS, FINEST = 2**20, 4
"""A blurred raster has up to 4 x 4 cells to each cell of the plain one, and no more than this in all."""


class Smoother:
    """A Gaussian of `sigma_tiles` tile sides over the tiles of one grid; what does not depend on scores is done here.

    Weights are those of tile centres, normalised by the tiles there are. Tiles of foreign grids that lie between the
    nodes of the nominal lattice count for the nodes around them by distance.
    """

    def __init__(self, grid: TileGrid, sigma_tiles: float) -> None:
        self._side, self._stride = grid.side_yx0[0], grid.stride_yx0[0]
        tile = self._side / self._stride
        self._sigma = max(sigma_tiles * tile, LEAST_STRIDES)
        # at least so far that every cell of a tile finds a node with weight around it
        self._radius = math.ceil(3 * self._sigma) + math.ceil(tile)
        self._places = grid.yx0 / self._stride
        # coordinates are products of whole cells and the stride: those are nodes, not a rounding error beside them
        near = np.rint(self._places)
        self._places = np.where(np.abs(self._places - near) < 1e-6, near, self._places)
        self._low = np.floor(self._places.min(0))
        self._places -= self._low
        node = np.floor(self._places).astype(np.int64)
        share = self._places - node
        self._shape = tuple(int(n) for n in node.max(0) + 2)
        self._nodes, self._weights = [], []
        for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1)):
            weight = np.abs(1 - dy - share[:, 0]) * np.abs(1 - dx - share[:, 1])
            if weight.any():
                self._nodes.append((node[:, 0] + dy) * self._shape[1] + node[:, 1] + dx)
                self._weights.append(weight)
        self._covered = self._blur(np.ones(len(grid)))

    def _blur(self, values: Wide) -> Wide:
        size = self._shape[0] * self._shape[1]
        spread = np.zeros(size)
        for node, weight in zip(self._nodes, self._weights, strict=True):
            spread += np.bincount(node, values * weight, size)
        blurred = gaussian_filter(spread.reshape(self._shape), self._sigma, mode="constant", radius=self._radius)
        return np.asarray(blurred)

    def field(self, scores: Floats) -> Wide:
        """Return the weighted mean at each node of the lattice; nodes beyond the reach of all tiles are 0."""
        blurred = self._blur(scores.astype(np.float64))
        return np.divide(blurred, self._covered, out=np.zeros_like(blurred), where=self._covered > 0)

    def at_tiles(self, field: Wide) -> Floats:
        """Return (N,) float32 of a field at the tiles' centres."""
        flat, total = field.ravel(), np.zeros(len(self._places))
        for node, weight in zip(self._nodes, self._weights, strict=True):
            total += flat[node] * weight
        return total.astype(np.float32)

    def draw(self, field: Wide, on: Mosaic) -> tuple[Floats, float]:
        """Return a field on cells finer than those of `on`, NaN where no tile lies, and the side of a cell in px0."""
        cells = on.shape[0] * on.shape[1]
        fine = next(k for k in range(FINEST, 0, -1) if k == 1 or cells * k * k <= MOST_CELLS)
        cell = on.cell_px0 / fine
        values = field.astype(np.float32)
        for axis in (0, 1):
            centre = on.corner_yx0[axis] + (np.arange(on.shape[axis] * fine) + 0.5) * cell
            values = _between(values, (centre - self._side / 2) / self._stride - self._low[axis], axis)
        glass = (on.count == 0)[:, None, :, None]
        np.copyto(values.reshape(on.shape[0], fine, on.shape[1], fine), np.float32(np.nan), where=glass)
        return values, cell


def _between(values: Floats, places: Wide, axis: int) -> Floats:
    """Return `values` at fractional `places` along an axis, linearly between its entries and constant beyond."""
    places = np.clip(places, 0, values.shape[axis] - 1)
    low = np.minimum(places.astype(np.int64), max(values.shape[axis] - 2, 0))
    high = np.minimum(low + 1, values.shape[axis] - 1)
    share = (places - low).astype(np.float32)
    share = share[:, None] if axis == 0 else share
    first, step = np.take(values, low, axis), np.take(values, high, axis)
    step -= first
    step *= share
    first += step
    return first
