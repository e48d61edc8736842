"""Scores of tiles as a small picture in the slide's frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.tiles.mosaic import mosaic

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_wsi_mil.tiles.grid import TileGrid

    Floats = npt.NDArray[np.float32]

Normalise = Literal["minmax", "percentile", "rank"]


class Raster(NamedTuple):
    """Cell (i, j) covers level-0 pixels corner + [i*h, (i+1)*h) x [j*w, (j+1)*w) with (h, w) = `cell_yx0`."""

    values: Floats
    """(rows, columns) float32: the mean over the tiles there, NaN where there is none."""
    corner_yx0: tuple[float, float]
    cell_yx0: tuple[float, float]


def score_raster(grid: TileGrid, scores: Floats) -> Raster:
    """Return the (N,) `scores` of a grid's tiles as a raster around them; overlapping tiles are averaged.

    Cells are the largest squares on whose edges all edges of tiles lie, or else nearly lie, see `mosaic`.
    Raises BadRequest for a grid without tiles or scores of another length.
    """
    check_scores(grid, scores)
    laid = mosaic(grid)
    return Raster(laid.draw(scores), laid.corner_yx0, (laid.cell_px0, laid.cell_px0))


def check_scores(grid: TileGrid, scores: Floats) -> None:
    """Raise BadRequest unless there is a score for each of at least one tile."""
    if not len(grid) or scores.shape != (len(grid),):
        message = (
            f"a heatmap needs a score for each of 1 or more tiles, got {scores.shape} scores for {len(grid)} tiles."
        )
        raise BadRequest(message)


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
        return ranks(scores), (0.0, 1.0)
    message = f"scores are normalised by minmax, percentile or rank, got {how!r}."
    raise BadRequest(message)


def ranks(scores: Floats) -> Floats:
    """Return (N,) float32 ranks in 0..1, ties by their mean rank; a single score has rank 0."""
    order = np.argsort(scores, kind="stable")
    ordered = scores[order]
    new = np.append(True, ordered[1:] != ordered[:-1])
    first = np.flatnonzero(new)
    mean = (first + np.append(first[1:], len(scores)) - 1) / 2
    out = np.empty(len(scores), np.float32)
    out[order] = mean[np.cumsum(new) - 1] / max(len(scores) - 1, 1)
    return out


def signed_ranks(scores: Floats) -> Floats:
    """Return (N,) float32 in -1..1: scores above 0 by their rank among those, scores under 0 likewise, 0 stays 0."""
    out = np.zeros(len(scores), np.float32)
    for sign in (1, -1):
        side = sign * scores > 0
        if side.any():
            n = int(side.sum())
            # the least of n has 1/n, the greatest 1
            out[side] = sign * (ranks(sign * scores[side]) * (n - 1) + 1) / n
    return out
