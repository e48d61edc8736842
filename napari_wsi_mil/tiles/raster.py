"""Scores of tiles as a small picture in the slide's frame."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from napari_wsi_mil.errors import BadRequest

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_wsi_mil.tiles.grid import TileGrid

    Floats = npt.NDArray[np.float32]

Normalise = Literal["minmax", "percentile", "rank"]
FINEST = 16
"""A tile is never drawn with more than this many cells along its side."""


class Raster(NamedTuple):
    """Cell (i, j) covers level-0 pixels corner + [i*h, (i+1)*h) x [j*w, (j+1)*w) with (h, w) = `cell_yx0`."""

    values: Floats
    """(rows, columns) float32: the mean over the tiles there, NaN where there is none."""
    corner_yx0: tuple[float, float]
    cell_yx0: tuple[float, float]


def score_raster(grid: TileGrid, scores: Floats) -> Raster:
    """Return the (N,) `scores` of a grid's tiles as a raster around them; overlapping tiles are averaged.

    Cells are tiles where tiles do not overlap; else the largest square of which tile and stride are whole multiples
    (the stride, if that would be under 1/16 tile: then edges of tiles are rounded to it).
    Raises BadRequest for a grid without tiles or scores of another length.
    """
    if not len(grid) or scores.shape != (len(grid),):
        message = (
            f"a heatmap needs a score for each of 1 or more tiles, got {scores.shape} scores for {len(grid)} tiles."
        )
        raise BadRequest(message)
    unit = math.gcd(grid.tile_px, grid.stride_px)
    if grid.tile_px > FINEST * unit:
        unit = min(grid.stride_px, grid.tile_px)
    # Where neither divides the other finely, tiles start at the nearest cell.
    starts = np.rint(grid.cells * (grid.stride_px / unit)).astype(np.int64)
    span = max(round(grid.tile_px / unit), 1)
    first = starts.min(0)
    shape = starts.max(0) - first + span
    sums, counts = _covered(starts - first, span, shape=(int(shape[0]), int(shape[1])), scores=scores)
    with np.errstate(invalid="ignore"):
        values = np.where(counts > 0, sums / counts, np.nan).astype(np.float32)
    cell = unit * grid.downsample
    return Raster(values, (float(first[0] * cell), float(first[1] * cell)), (cell, cell))


def _covered(
    starts: npt.NDArray[np.int64], span: int, *, shape: tuple[int, int], scores: Floats
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Return per cell the sum of scores and the number of the tiles over it."""
    sums, counts = np.zeros(shape), np.zeros(shape, np.int64)
    for dy in range(span):
        for dx in range(span):
            where = (starts[:, 0] + dy, starts[:, 1] + dx)
            # No two tiles start at one cell, so plain fancy addition misses none.
            sums[where] += scores
            counts[where] += 1
    return sums, counts


def normalised(scores: Floats, how: Normalise) -> tuple[Floats, tuple[float, float]]:
    """Return scores to draw and the range a colormap spans: (N,) float32 and (low, high).

    'minmax' spans all scores, 'percentile' the 1st to the 99th, 'rank' replaces scores by their rank in 0..1, ties by
    their mean rank. Raises BadRequest for another word.
    """
    if how == "minmax":
        return scores, (float(scores.min()), float(scores.max()))
    if how == "percentile":
        low, high = np.percentile(scores, (1, 99))
        return scores, (float(low), float(high))
    if how == "rank":
        _, place, count = np.unique(scores, return_inverse=True, return_counts=True)
        rank = np.cumsum(count) - (count + 1) / 2
        return (rank[place] / max(len(scores) - 1, 1)).astype(np.float32), (0.0, 1.0)
    message = f"scores are normalised by minmax, percentile or rank, got {how!r}."
    raise BadRequest(message)
