"""What squares of given sizes would hold if they were thrown on a slide: exact expectations, no sampling noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from napari_wsi_mil.tiles import TileGrid
from napari_wsi_mil.tiles.outline import filled

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt
    from shapely import MultiPolygon, Polygon

    from napari_wsi_mil.tiles import TissueMask

    Floats = npt.NDArray[np.float64]

RASTER = 1024
"""Cells along the slide's longer side; places are known to a cell's part only where a lesion's edge decides."""
COARSE = 4
PARTS = 4
"""Points along a side that stand for a tile."""


@dataclass(frozen=True, eq=False)
class Chance:
    """Where the centres of thrown squares lie: independent of each other, spread as `density` says."""

    density: Floats
    """(h, w) float64 probability of each cell of a raster over the slide, summing to 1; even within a cell."""
    cell_yx0: tuple[float, float]
    """Level-0 pixels of a cell."""

    def covered(self, points_yx0: Floats, sides_px0: Sequence[float]) -> Floats:
        """Return (N,) the probability of each point (N, 2) to lie in at least one of the squares."""
        missed: Floats = np.ones(len(points_yx0))
        total = np.pad(self.density, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
        for side in sides_px0:
            missed = missed * (1 - self._within(total, points_yx0, side))
        return 1 - missed

    def points(self) -> tuple[Floats, Floats]:
        """Return points (N, 2) and weights (N,) that stand for where the centres lie: COARSE cells in one."""
        h, w = (-(-n // COARSE) for n in self.density.shape)
        padded = np.zeros((h * COARSE, w * COARSE))
        padded[: self.density.shape[0], : self.density.shape[1]] = self.density
        weights = padded.reshape(h, COARSE, w, COARSE).sum((1, 3))
        there = weights > 0
        return (np.argwhere(there) + 0.5) * (np.asarray(self.cell_yx0) * COARSE), weights[there]

    def touching(self, outlines: Iterable[Polygon | MultiPolygon], sides_px0: Sequence[float]) -> float:
        """Return the probability that at least one of the squares touches an outline."""
        there = _touched_cells(list(outlines), self.density.shape, self.cell_yx0)
        missed = 1.0
        for side in sides_px0:
            reach = [2 * round(side / 2 / cell) + 1 for cell in self.cell_yx0]
            near = ndimage.maximum_filter(there, size=reach, mode="constant", cval=False)
            missed *= 1 - float(self.density[near].sum())
        return min(max(1 - missed, 0.0), 1.0)

    def _within(self, total: Floats, points_yx0: Floats, side: float) -> Floats:
        """Return (N,) the probability that a centre lies within half a side of each point."""
        ends = []
        for axis in (0, 1):
            middle = points_yx0[:, axis] / self.cell_yx0[axis]
            half = side / 2 / self.cell_yx0[axis]
            ends.append([np.clip(middle + sign * half, 0, self.density.shape[axis]) for sign in (-1, 1)])
        (top, bottom), (left, right) = ends
        found = _at(total, bottom, right) - _at(total, top, right) - _at(total, bottom, left) + _at(total, top, left)
        return np.asarray(np.clip(found, 0.0, 1.0), np.float64)


def anywhere(shape0_yx: tuple[int, int]) -> Chance:
    """Return the chance of centres anywhere on the slide."""
    shape, cell = _raster(shape0_yx)
    return Chance(np.full(shape, 1 / (shape[0] * shape[1])), cell)


def on_tissue(tissue: TissueMask | TileGrid) -> Chance | None:
    """Return the chance of centres anywhere on tissue: a mask, or the tiles of a run; None where there is none."""
    shape, cell = _raster(tissue.slide_shape_yx)
    points: Floats
    if isinstance(tissue, TileGrid):
        points = tile_points(tissue).reshape(-1, 2)
    else:
        points = np.asarray((np.argwhere(tissue.mask) + 0.5) * tissue.downsample_yx, np.float64)
    if not len(points):
        return None
    edges = [np.arange(n + 1) * c for n, c in zip(shape, cell, strict=True)]
    inside = np.clip(points, 0, np.array([e[-1] for e in edges]))
    counts, _, _ = np.histogram2d(inside[:, 0], inside[:, 1], bins=edges)
    return Chance(counts / counts.sum(), cell)


def tile_points(grid: TileGrid) -> Floats:
    """Return (N, PARTS * PARTS, 2) points that stand for the area of each tile, (y, x) level-0 pixels."""
    steps = (np.arange(PARTS) + 0.5) / PARTS
    offsets = np.stack(np.meshgrid(steps, steps, indexing="ij"), -1).reshape(1, -1, 2) * np.asarray(grid.side_yx0)
    points: Floats = grid.yx0[:, None] + offsets
    return points


def area_points(outlines: Iterable[Polygon | MultiPolygon], *, wanted: int = 4000) -> tuple[Floats, Floats]:
    """Return points (N, 2) inside outlines and weights (N,) that sum to 1: each stands for as much area as it has."""
    parts = [part for one in outlines for part in getattr(one, "geoms", [one]) if part.area > 0]
    step = float(np.sqrt(sum(part.area for part in parts) / wanted))
    points, weights = [], []
    for part in parts:
        low, high = np.array(part.bounds[:2]), np.array(part.bounds[2:])
        shape = np.maximum(np.ceil((high - low) / step), 1).astype(int)
        unit = (high - low) / shape
        moved = _moved(part, low)
        inside = np.argwhere(filled([moved], (int(shape[0]), int(shape[1])), unit_yx=(unit[0], unit[1])))
        found = (inside + 0.5) * unit + low if len(inside) else np.array([part.representative_point().coords[0]])
        points.append(found)
        weights.append(np.full(len(found), part.area / len(found)))
    weight = np.concatenate(weights)
    return np.concatenate(points), weight / weight.sum()


def _moved(part: Polygon, low: Floats) -> Polygon:
    import shapely

    return shapely.transform(part, lambda yx: yx - low)


def _touched_cells(
    outlines: Sequence[Polygon | MultiPolygon], shape: tuple[int, ...], cell: tuple[float, float]
) -> npt.NDArray[np.bool_]:
    """Return which cells an outline touches: centres inside, and every cell its border runs through."""
    import shapely

    there = filled(outlines, (shape[0], shape[1]), unit_yx=cell)
    for one in outlines:
        border = shapely.get_coordinates(shapely.segmentize(one.boundary, min(cell) / 2))
        places = np.floor(border / cell).astype(int)
        places = places[(places >= 0).all(1) & (places < shape).all(1)]
        there[tuple(places.T)] = True
    return there


def _raster(shape0_yx: tuple[int, int]) -> tuple[tuple[int, int], tuple[float, float]]:
    step = max(max(shape0_yx) / RASTER, 1.0)
    shape = (max(round(shape0_yx[0] / step), 1), max(round(shape0_yx[1] / step), 1))
    return shape, (shape0_yx[0] / shape[0], shape0_yx[1] / shape[1])


def _at(total: Floats, y: Floats, x: Floats) -> Floats:
    """Return the summed density before (y, x) in cells, linear within a cell."""
    found: Floats = ndimage.map_coordinates(total, (y, x), order=1, mode="nearest")
    return found
