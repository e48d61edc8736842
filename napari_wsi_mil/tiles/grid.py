"""Tiles of one size on a lattice that starts at level-0 pixel (0, 0)."""

from __future__ import annotations

import functools
import hashlib
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from napari_wsi_mil.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    from shapely import MultiPolygon, Polygon

    from napari_wsi_mil.slide import Slide
    from napari_wsi_mil.tiles.tissue import TissueMask

    Bools = npt.NDArray[np.bool_]
    Floats = npt.NDArray[np.float64]

FOREIGN_MPP_SHARE = 0.05


@dataclass(frozen=True, eq=False)
class TileGrid:
    """Square tiles of `tile_px` pixels at `mpp` um/px, in rows from top to bottom, each from left to right."""

    mpp: float
    """um per tile pixel."""
    tile_px: int
    stride_px: int
    """Tile pixels from one tile to the next; smaller than `tile_px` where tiles overlap."""
    downsample: float
    """Level-0 pixels per tile pixel."""
    cells: npt.NDArray[np.int32]
    """(N, 2) row and column of each tile in the lattice."""
    slide_shape_yx: tuple[int, int]
    slide_fingerprint: str
    corners_yx0: Floats | None = None
    """(N, 2) float64 top-left corners where another program laid the tiles; `cells` are then the nearest lattice cells,
    which two tiles may share. None: corners are `cells * stride_yx0`."""

    def __post_init__(self) -> None:
        self.cells.flags.writeable = False
        if self.corners_yx0 is not None:
            if self.corners_yx0.shape != self.cells.shape:
                message = f"a grid of {len(self.cells)} tiles needs as many corners, got {self.corners_yx0.shape}."
                raise BadRequest(message)
            self.corners_yx0.flags.writeable = False

    def __len__(self) -> int:
        return len(self.cells)

    @property
    def side_yx0(self) -> tuple[float, float]:
        """Height and width of a tile in level-0 pixels."""
        side = self.tile_px * self.downsample
        return side, side

    @property
    def stride_yx0(self) -> tuple[float, float]:
        """Level-0 pixels from one tile to the next."""
        stride = self.stride_px * self.downsample
        return stride, stride

    @functools.cached_property
    def yx0(self) -> Floats:
        """(N, 2) float64 top-left corners in level-0 pixels."""
        if self.corners_yx0 is not None:
            return self.corners_yx0
        corners: Floats = self.cells * np.asarray(self.stride_yx0)
        corners.flags.writeable = False
        return corners

    @functools.cached_property
    def lattice_id(self) -> str:
        """Identity of the lattice, 32 hex digits: any two grids on it place cell (i, j) alike, whatever their mask."""
        what = [self.tile_px, self.stride_px, f"{self.downsample:.9g}", self.slide_shape_yx, self.slide_fingerprint]
        if self.corners_yx0 is not None:
            what.append(hashlib.sha256(np.ascontiguousarray(self.corners_yx0, "<f8").tobytes()).hexdigest())
        return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:32]

    @functools.cached_property
    def id(self) -> str:
        """Identity of the grid, 32 hex digits: the lattice and which of its tiles are taken."""
        text = self.lattice_id.encode() + np.ascontiguousarray(self.cells, "<i4").tobytes()
        return hashlib.sha256(text).hexdigest()[:32]

    def nominal_mpp(self, wanted: float) -> float:
        """Return `wanted` um/px where tiles laid by another program are within 5 % of it, else this grid's own.

        Others tile by nominal magnification: their "20x" is 0.5042 um/px on a slide of 0.2521.
        """
        near = self.corners_yx0 is not None and abs(self.mpp / wanted - 1) <= FOREIGN_MPP_SHARE
        return wanted if near else self.mpp

    def take(self, rows: Any) -> TileGrid:
        """Return the grid of some tiles only: `rows` (M,) int or (N,) bool."""
        return TileGrid(
            self.mpp, self.tile_px, self.stride_px, self.downsample, self.cells[rows].copy(),
            self.slide_shape_yx, self.slide_fingerprint,
            None if self.corners_yx0 is None else self.corners_yx0[rows].copy(),
        )  # fmt: skip


def cover(
    slide: Slide,
    *,
    mpp: float,
    tile_px: int,
    stride_px: int | None = None,
    mask: TissueMask | None = None,
    min_tissue: float = 0.25,
    region: Sequence[Polygon | MultiPolygon] | None = None,
) -> TileGrid:
    """Return the tiles of `tile_px` at `mpp` um/px that hold tissue; without `mask` all of them.

    The lattice starts at level-0 pixel (0, 0) and its last tiles reach over the slide's edge. A tile is kept if at
    least `min_tissue` of its area is tissue (area beyond the edge is not) and, with `region` ((y, x) level-0
    polygons), if its centre lies in one of them, or one of them lies within this tile. May be empty.
    Raises PixelSizeUnknown on a slide without pixel size, BadRequest for sizes that are not positive.
    """
    stride_px = tile_px if stride_px is None else stride_px
    if tile_px < 1 or stride_px < 1 or not (math.isfinite(mpp) and mpp > 0) or not 0 <= min_tissue <= 1:
        message = (
            f"a grid needs tiles and strides of at least 1 px, mpp above 0 and min_tissue within 0..1, "
            f"got {tile_px} px, {stride_px} px, {mpp} um/px and {min_tissue}."
        )
        raise BadRequest(message)
    if mask is not None and mask.slide_shape_yx != slide.shape0_yx:
        message = (
            f"{slide.name}: expected a tissue mask of a slide of {slide.shape0_yx} px, got one of "
            f"{mask.slide_shape_yx}; find the tissue of this slide."
        )
        raise BadRequest(message)
    downsample = mpp / slide.require_mpp()
    starts = [_starts(n, tile_px * downsample, stride_px * downsample) for n in slide.shape0_yx]
    keep = np.ones((len(starts[0]), len(starts[1])), bool)
    if mask is not None:
        keep &= _tissue_share(mask, starts, side0=tile_px * downsample) >= max(min_tissue, 1e-9)
    if region is not None:
        keep &= _in_region(region, starts, side0=tile_px * downsample)
    cells = np.argwhere(keep).astype(np.int32)
    return TileGrid(mpp, tile_px, stride_px, downsample, cells, slide.shape0_yx, slide.fingerprint)


def _starts(length: int, side0: float, stride0: float) -> Floats:
    """Return where tiles start along one axis so that they reach the far edge, slivers under half a pixel left out."""
    count = 1 + max(math.ceil((length - 0.5 - side0) / stride0), 0)
    starts = np.arange(count) * stride0
    return np.asarray(starts[starts < length])


def _tissue_share(mask: TissueMask, starts: Sequence[Floats], *, side0: float) -> Floats:
    """Return (rows, columns) the part of each tile that is tissue, from the mask's summed-area table."""
    table = np.zeros((mask.mask.shape[0] + 1, mask.mask.shape[1] + 1))
    table[1:, 1:] = mask.mask.cumsum(0, dtype=np.int64).cumsum(1)
    # Between its corners the table of a piecewise constant mask is linear per axis: interpolation is exact.
    dy, dx = mask.downsample_yx
    # The mask's last pixels may reach over the slide's edge; what lies there is no tissue.
    ends = [np.minimum(s + side0, n) for s, n in zip(starts, mask.slide_shape_yx, strict=True)]
    rows = _at(table, ends[0] / dy) - _at(table, starts[0] / dy)
    both = _at(rows.T, ends[1] / dx) - _at(rows.T, starts[1] / dx)
    return both.T * (dy * dx / side0**2)


def _at(table: Floats, places: Floats) -> Floats:
    """Return rows of `table` at fractional `places`, linearly between its rows."""
    places = np.clip(places, 0, len(table) - 1)
    low = np.minimum(places.astype(int), len(table) - 2)
    share = (places - low)[:, None]
    return np.asarray(table[low] * (1 - share) + table[low + 1] * share)


def _in_region(region: Sequence[Polygon | MultiPolygon], starts: Sequence[Floats], *, side0: float) -> Bools:
    """Return (rows, columns) whether a tile's centre is in the region, or a piece of the region is in the tile."""
    keep = np.zeros((len(starts[0]), len(starts[1])), bool)
    centres = [s + side0 / 2 for s in starts]
    for part in (p for shape in region for p in getattr(shape, "geoms", [shape]) if not p.is_empty):
        (y0, x0, y1, x1) = part.bounds
        rows = slice(*np.searchsorted(centres[0], (y0, y1), side="left") + (0, 1))
        cols = slice(*np.searchsorted(centres[1], (x0, x1), side="left") + (0, 1))
        y, x = np.meshgrid(centres[0][rows], centres[1][cols], indexing="ij")
        shapely.prepare(part)
        inside = shapely.contains_xy(part, y, x)
        if inside.any():
            keep[rows, cols] |= inside
            continue
        point = part.representative_point()
        for row in np.flatnonzero((starts[0] <= point.x) & (point.x < starts[0] + side0)):
            keep[row] |= (starts[1] <= point.y) & (point.y < starts[1] + side0)
    return keep
