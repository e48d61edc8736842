"""Thousands of objects as one picture, for views in which each is only a few pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import shapely

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.results.objects import GREY

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    import numpy.typing as npt

    from napari_wsi_mil.results.objects import MaskObject, ObjectClass

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.intp]

COVER, EDGE_COVER = 0.25, 1.0
"""How much of an object's colour lies over the tissue inside it and along its edge."""
SMALL = 1.5
"""Pixels below which an object without edges is drawn as a dot; with edges it is one more than their width."""
LIT = (255, 255, 255)
"""Edges of highlighted objects."""


def raster_preview(
    objects: Iterable[MaskObject],
    classes: Sequence[ObjectClass],
    *,
    extent_yx0: tuple[float, float, float, float],
    shape: tuple[int, int],
    edge_px: int = 2,
    highlight: Collection[int] = (),
) -> npt.NDArray[np.uint8]:
    """Return (h, w, 4) uint8 RGBA of the objects in `extent_yx0` (y0, x0, y1, x1), transparent elsewhere.

    A pixel has the colour of the class whose object covers its centre; of several, that of the last in `classes`.
    Holes stay open. Edges `edge_px` wide, white for the numbers in `highlight`, lie over all; an object too small for
    them is a dot.
    """
    y0, x0, y1, x1 = extent_yx0
    if not (y0 < y1 and x0 < x1 and min(shape) > 0):
        message = f"preview: expected y0 < y1, x0 < x1 and a picture of pixels, got {extent_yx0} and {shape}."
        raise BadRequest(message)
    rows = list(objects)
    place = {kind.name: i + 1 for i, kind in enumerate(classes)}
    level = np.array([place.get(one.class_name, 0) for one in rows], np.intp)
    lit = np.array([one.number in highlight for one in rows], bool)
    n = len(classes) + 1
    small = edge_px + 1 if edge_px > 0 else SMALL
    outlines = np.array([one.outline for one in rows], object)
    seen = _seen(outlines, np.array(extent_yx0, float), shape, small=small)
    drawn = _painted(np.concatenate([_dots(seen, level, shape), _entries(seen, level, shape)]), shape)
    if edge_px > 0:
        _draw_edges(drawn, seen, np.where(lit, 2 * n, n + level) + 1, edge_px)
    table = np.zeros((2 * n + 2, 4), np.uint8)
    colours = [GREY, *(kind.colour for kind in classes)]
    table[1:, :3] = [*colours, *colours, LIT]
    table[1 : n + 1, 3], table[n + 1 :, 3] = round(255 * COVER), round(255 * EDGE_COVER)
    return table[drawn]


@dataclass(frozen=True, eq=False)
class _Seen:
    """What of the objects lies in the picture, in its pixels."""

    dots: Floats
    """(d, 2) centres of the small parts."""
    dot_of: Ints
    """(d,) the object of each."""
    at: Floats
    """(n, 2) corners of all rings of the others."""
    ring: Ints
    """(n,) the ring of each corner."""
    ring_of: Ints
    """(r,) the object of each ring."""
    plus: npt.NDArray[np.bool_]
    """(r,) whether its inside is the object's, and it turns to the left; or neither."""


def _seen(outlines: npt.NDArray[np.object_], extent: Floats, shape: tuple[int, int], *, small: float) -> _Seen:
    corner, unit = extent[:2], (extent[2:] - extent[:2]) / shape
    parts, owner = shapely.get_parts(outlines, return_index=True)
    box = shapely.bounds(parts)
    near = (box[:, 2] > extent[0]) & (box[:, 0] < extent[2]) & (box[:, 3] > extent[1]) & (box[:, 1] < extent[3])
    parts, owner, box = parts[near], owner[near], box[near]
    tiny = ((box[:, 2:] - box[:, :2]) < small * unit).all(1)
    rings, part = shapely.get_rings(parts[~tiny], return_index=True)
    at, ring = shapely.get_coordinates(rings, return_index=True)
    exterior = np.ones(len(rings), bool)
    exterior[1:] = part[1:] != part[:-1]
    return _Seen(
        dots=((box[tiny, :2] + box[tiny, 2:]) / 2 - corner) / unit,
        dot_of=owner[tiny],
        at=(at - corner) / unit,
        ring=ring,
        ring_of=owner[~tiny][part],
        plus=shapely.is_ccw(rings) == exterior,  # however rings turn, exteriors count 1 inside and holes -1
    )


def _painted(keys: Ints, shape: tuple[int, int]) -> npt.NDArray[np.uint16]:
    """Return (h, w) 1 + the highest level that covers each pixel, 0 where none does."""
    height, width = shape
    if not len(keys):
        return np.zeros(shape, np.uint16)
    keys = np.sort(keys)
    # Along a row every object is entered and left: the count is 0 at each row's end, and runs stay in their row.
    inside = np.cumsum(2 * (keys & 1) - 1)[:-1] > 0
    starts, ends = (keys >> 1)[:-1][inside], (keys >> 1)[1:][inside]
    n = ends - starts
    pixels = np.arange(int(n.sum())) + np.repeat(starts - (np.cumsum(n) - n), n)
    level, place = np.divmod(pixels, height * (width + 1))
    out = np.zeros((height, width + 1), np.uint16)
    out.ravel()[place] = level + 1  # in order of level: of several the last stays
    return out[:, :-1]


def _dots(seen: _Seen, level: Ints, shape: tuple[int, int]) -> Ints:
    """Return the entries of single pixels, see `_entries`."""
    y, x = np.floor(seen.dots).astype(np.intp).T
    good = (y >= 0) & (x >= 0) & (y < shape[0]) & (x < shape[1])
    flat = ((level[seen.dot_of] * shape[0] + y) * (shape[1] + 1) + x)[good]
    return np.concatenate([2 * flat + 1, 2 * (flat + 1)])


def _entries(seen: _Seen, level: Ints, shape: tuple[int, int]) -> Ints:
    """Return where rows of pixel centres enter and leave outlines: twice the flat index (level, row, column), +1 to
    enter. Columns are those of the first centre right of a crossing; `width` is beyond the last.

    Row i has its centres at i + 0.5; an edge owns its lower end but not its upper, so that a corner counts once.
    """
    height, width = shape
    y, x = seen.at.T
    row_of = np.clip(np.ceil(y - 0.5), 0, height).astype(np.intp)
    edge = np.flatnonzero((row_of[1:] != row_of[:-1]) & (seen.ring[1:] == seen.ring[:-1]))
    first, last = row_of[edge], row_of[edge + 1]
    enters = (last > first) == seen.plus[seen.ring[edge]]
    low, n = np.minimum(first, last), np.abs(last - first)
    which, row = _counted(n)
    row += low[which]
    slope = (x[edge + 1] - x[edge]) / (y[edge + 1] - y[edge])
    crossed = x[edge][which] + (row + 0.5 - y[edge][which]) * slope[which]
    column = np.clip(np.ceil(crossed - 0.5), 0, width).astype(np.intp)
    flat = (level[seen.ring_of[seen.ring[edge]]][which] * height + row) * (width + 1) + column
    return np.asarray(2 * flat + enters[which])


def _counted(n: Ints) -> tuple[Ints, Ints]:
    """Return i repeated n[i] times for every i, and 0 .. n[i] - 1 beside it."""
    which = np.repeat(np.arange(len(n)), n)
    return which, np.arange(len(which)) - np.repeat(np.cumsum(n) - n, n)


def _draw_edges(drawn: npt.NDArray[np.uint16], seen: _Seen, code: Ints, edge_px: int) -> None:
    """Set the pixels along all edges, and dots, to the `code` of their object, higher ones over lower ones."""
    height, width = drawn.shape
    a, b = seen.at[:-1], seen.at[1:]
    inside = (np.maximum(a, b) > 0).all(1) & (np.minimum(a, b) < (height, width)).all(1)
    edge = np.flatnonzero((seen.ring[1:] == seen.ring[:-1]) & inside)
    start, step = a[edge], b[edge] - a[edge]
    n = np.maximum(np.ceil(np.abs(step).max(1, initial=0)), 1).astype(np.intp)  # its end is where the next begins
    which, k = _counted(n)
    places = start[which] + step[which] * (k / n[which])[:, None]
    places = np.concatenate([places, seen.dots])
    codes = np.concatenate([code[seen.ring_of[seen.ring[edge]]][which], code[seen.dot_of]])
    shift = (edge_px - 1) / 2
    y, x = np.floor(places - shift).astype(np.intp).T
    new = np.ones(len(y), bool)
    new[1:] = (y[1:] != y[:-1]) | (x[1:] != x[:-1]) | (codes[1:] != codes[:-1])
    y, x, codes = y[new], x[new], codes[new]
    order = np.argsort(codes, kind="stable")
    y, x, codes = y[order], x[order], codes[order]
    for dy in range(edge_px):
        for dx in range(edge_px):
            good = (y + dy >= 0) & (x + dx >= 0) & (y + dy < height) & (x + dx < width)
            drawn[y[good] + dy, x[good] + dx] = codes[good]
