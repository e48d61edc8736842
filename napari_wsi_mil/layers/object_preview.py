"""Thousands of objects as one picture, for views in which each is only a few pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import shapely

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.results.objects import GREY

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

    from napari_wsi_mil.results.objects import MaskObject, ObjectClass

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.intp]

COVER = 0.6
"""How much of an object's colour lies over the tissue."""
SMALL = 1.5
"""Pixels below which an object is drawn as one."""


def raster_preview(
    objects: Iterable[MaskObject],
    classes: Sequence[ObjectClass],
    *,
    extent_yx0: tuple[float, float, float, float],
    shape: tuple[int, int],
) -> npt.NDArray[np.uint8]:
    """Return (h, w, 4) uint8 RGBA of the objects in `extent_yx0` (y0, x0, y1, x1), transparent elsewhere.

    A pixel has the colour of the class whose object covers its centre; of several, that of the last in `classes`.
    Holes stay open, and an object too small for any centre colours the pixel it lies in.
    """
    y0, x0, y1, x1 = extent_yx0
    if not (y0 < y1 and x0 < x1 and min(shape) > 0):
        message = f"preview: expected y0 < y1, x0 < x1 and a picture of pixels, got {extent_yx0} and {shape}."
        raise BadRequest(message)
    rows = list(objects)
    place = {kind.name: i + 1 for i, kind in enumerate(classes)}
    level = np.array([place.get(one.class_name, 0) for one in rows], np.intp)
    outlines = np.array([one.outline for one in rows], object)
    keys = _crossings(outlines, level, np.array(extent_yx0, float), shape)
    table = np.zeros((len(classes) + 2, 4), np.uint8)
    table[1:, :3] = np.array([GREY, *(kind.colour for kind in classes)], np.uint8)
    table[1:, 3] = round(255 * COVER)
    return table[_painted(keys, shape)]


def _painted(keys: Ints, shape: tuple[int, int]) -> npt.NDArray[np.uint16]:
    """Return (h, w) 1 + the highest level that covers each pixel, 0 where none does."""
    keys = np.sort(keys)
    # Along a row every object is entered and left: the count is 0 at each row's end, and runs stay in their row.
    inside = np.cumsum(2 * (keys & 1) - 1)[:-1] > 0
    starts, ends = (keys >> 1)[:-1][inside], (keys >> 1)[1:][inside]
    n = ends - starts
    pixels = np.arange(int(n.sum())) + np.repeat(starts - (np.cumsum(n) - n), n)
    height, width = shape
    level, place = np.divmod(pixels, height * (width + 1))
    out = np.zeros((height, width + 1), np.uint16)
    out.ravel()[place] = level + 1  # in order of level: of several the last stays
    return out[:, :-1]


def _crossings(outlines: npt.NDArray[np.object_], level: Ints, extent: Floats, shape: tuple[int, int]) -> Ints:
    """Return where rows of pixel centres enter and leave outlines: twice the flat index (level, row, column), +1 to
    enter. Columns are those of the first centre right of a crossing; `width` is beyond the last.
    """
    corner, unit = extent[:2], (extent[2:] - extent[:2]) / shape
    parts, owner = shapely.get_parts(outlines, return_index=True)
    box = shapely.bounds(parts)
    seen = (box[:, 2] > extent[0]) & (box[:, 0] < extent[2]) & (box[:, 3] > extent[1]) & (box[:, 1] < extent[3])
    parts, box, level = parts[seen], box[seen], level[owner[seen]]
    small = ((box[:, 2:] - box[:, :2]) < SMALL * unit).all(1)
    centres = (box[small, :2] + box[small, 2:]) / 2
    found = [_dots((centres - corner) / unit, level[small], shape)]
    rings, owner = shapely.get_rings(parts[~small], return_index=True)
    if len(rings):
        at, ring = shapely.get_coordinates(rings, return_index=True)
        exterior = np.r_[True, owner[1:] != owner[:-1]]
        # however rings turn, exteriors count 1 inside and holes -1
        plus = shapely.is_ccw(rings) == exterior
        found.append(_edges((at - corner) / unit, ring, plus, level[~small][owner], shape))
    return np.concatenate(found)


def _dots(places: Floats, level: Ints, shape: tuple[int, int]) -> Ints:
    """Return the crossings of single pixels."""
    y, x = np.floor(places).astype(np.intp).T
    good = (y >= 0) & (x >= 0) & (y < shape[0]) & (x < shape[1])
    flat = ((level * shape[0] + y) * (shape[1] + 1) + x)[good]
    return np.concatenate([2 * flat + 1, 2 * (flat + 1)])


def _edges(at: Floats, ring: Ints, plus: npt.NDArray[np.bool_], level: Ints, shape: tuple[int, int]) -> Ints:
    """Return the crossings of rings' edges; `plus` and `level` have one value for each ring.

    Row i has its centres at i + 0.5; an edge owns its lower end but not its upper, so that a corner counts once.
    """
    height, width = shape
    y, x = at[:, 0], at[:, 1]
    row_of = np.clip(np.ceil(y - 0.5), 0, height).astype(np.intp)
    edge = np.flatnonzero((row_of[1:] != row_of[:-1]) & (ring[1:] == ring[:-1]))
    first, last = row_of[edge], row_of[edge + 1]
    enters = (last > first) == plus[ring[edge]]
    low, n = np.minimum(first, last), np.abs(last - first)
    which = np.repeat(np.arange(len(edge)), n)
    row = np.arange(len(which)) - np.repeat(np.cumsum(n) - n - low, n)
    slope = (x[edge + 1] - x[edge]) / (y[edge + 1] - y[edge])
    crossed = x[edge][which] + (row + 0.5 - y[edge][which]) * slope[which]
    column = np.clip(np.ceil(crossed - 0.5), 0, width).astype(np.intp)
    flat = (level[ring[edge]][which] * height + row) * (width + 1) + column
    return np.asarray(2 * flat + enters[which])
