"""Masks as polygons and back, exact to the mask pixel. Coordinates are (y, x)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from shapely import MultiPolygon, Polygon
from skimage.measure import find_contours, label, regionprops

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    Mask = npt.NDArray[np.bool_]


def outlines(mask: Mask, *, unit: float = 1.0, simplify_px: float = 0.5) -> list[Polygon]:
    """Return one polygon per 4-connected object of `mask` (h, w), holes included, largest first.

    Vertices are (y, x) in mask pixels times `unit`, where pixel (i, j) covers [i, i+1) x [j, j+1). `simplify_px` is how
    far, in mask pixels, a simplified outline may leave the exact one; 0 keeps every vertex.
    """
    found = []
    for part in regionprops(label(mask, connectivity=1)):
        rings = find_contours(np.pad(part.image, 1).astype(np.float32), 0.5, fully_connected="low")
        # find_contours speaks of pixel centres; the padding of 1 and the half pixel to the corner leave -0.5.
        rings = [(ring - 0.5 + part.bbox[:2]) * unit for ring in rings if len(ring) >= 4]
        rings.sort(key=lambda ring: -_area(ring))
        whole = Polygon(rings[0], rings[1:])
        simple = shapely.simplify(whole, simplify_px * unit, preserve_topology=False) if simplify_px else whole
        found += _whole(whole if simple.is_empty else simple)
    return sorted(found, key=lambda polygon: -polygon.area)


def _area(ring: npt.NDArray[np.float64]) -> float:
    y, x = ring[:, 0], ring[:, 1]
    return abs(float(np.dot(y, np.roll(x, 1)) - np.dot(x, np.roll(y, 1)))) / 2


def _whole(shape: Any) -> list[Polygon]:
    """Return the valid polygons of a shape that simplification may have broken."""
    if not shape.is_valid:
        shape = shapely.make_valid(shape)
    return [part for part in getattr(shape, "geoms", [shape]) if isinstance(part, Polygon) and not part.is_empty]


def filled(
    polygons: Iterable[Polygon | MultiPolygon], shape: tuple[int, int], *, unit_yx: tuple[float, float] = (1.0, 1.0)
) -> Mask:
    """Return the mask (h, w) of pixels whose centre lies inside any of `polygons`, holes left out.

    `unit_yx` is the size of a pixel in the polygons' units. The inverse of `outlines` with `simplify_px=0`.
    """
    out = np.zeros(shape, bool)
    for polygon in polygons:
        for part in getattr(polygon, "geoms", [polygon]):
            if not part.is_empty:
                _fill(out, part, unit_yx)
    return out


def _fill(out: Mask, polygon: Polygon, unit_yx: tuple[float, float]) -> None:
    """Set the pixels of one polygon: between the 1st and 2nd, 3rd and 4th ... crossing of each row of centres."""
    rings = [np.asarray(ring.coords)[:, :2] / unit_yx for ring in (polygon.exterior, *polygon.interiors)]
    corners = np.concatenate(rings)
    y0, x0 = np.maximum(np.floor(corners.min(0)).astype(int), 0)
    y1, x1 = np.minimum(np.ceil(corners.max(0)).astype(int), out.shape)
    if y1 <= y0 or x1 <= x0:
        return
    turns = np.zeros((y1 - y0, x1 - x0 + 1), np.int32)
    for ring in rings:
        _crossings(turns, ring - (y0, x0))
    out[y0:y1, x0:x1] |= (np.cumsum(turns, axis=1)[:, :-1] % 2).astype(bool)


def _crossings(turns: npt.NDArray[np.int32], ring: npt.NDArray[np.float64]) -> None:
    """Add 1 to `turns` at the first pixel centre right of each place where `ring` crosses a row of centres."""
    a, b = ring[:-1], ring[1:]
    low, high = np.minimum(a[:, 0], b[:, 0]), np.maximum(a[:, 0], b[:, 0])
    # Row i has its centres at i + 0.5; an edge owns its lower end but not its upper, so a vertex counts once.
    first = np.clip(np.ceil(low - 0.5), 0, len(turns)).astype(int)
    last = np.clip(np.ceil(high - 0.5), 0, len(turns)).astype(int)
    n = last - first
    edge = np.repeat(np.arange(len(a)), n)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(n) - n, n) + first[edge]
    share = (row + 0.5 - a[edge, 0]) / (b[edge, 0] - a[edge, 0])
    x = a[edge, 1] + share * (b[edge, 1] - a[edge, 1])
    column = np.clip(np.ceil(x - 0.5), 0, turns.shape[1] - 1).astype(int)
    np.add.at(turns, (row, column), 1)
