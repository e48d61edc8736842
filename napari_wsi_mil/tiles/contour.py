"""What a network says of every cell -> smooth outlines: which parts are meant, and where their edges run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from scipy import ndimage
from shapely import MultiPolygon, Polygon
from skimage.measure import find_contours

if TYPE_CHECKING:
    import numpy.typing as npt

    Bools = npt.NDArray[np.bool_]
    Floats = npt.NDArray[np.float32]
    Doubles = npt.NDArray[np.float64]

REACH = 2
"""Cells from a point to a part that it still means."""
FAR = 1 / 16
"""Share of the side from points to the nearest part, where no part is within `REACH`."""
SPECK = 0.2
"""A part smaller than this share of the largest is a speck or a neighbour's edge, unless a point is on it."""
LEAST = 4
"""Cells of the smallest part, and of the smallest hole."""
STEEP = 6.0
"""Logits are cut here: surer than sure would only move the edge off the middle between two cells."""
SIMPLER = 0.06
"""Cells that a simplified outline may leave the exact one."""


@dataclass(frozen=True, eq=False)
class Meant:
    """What a prompt says about the cells of a mask (m, m), in cells with 0 at the outer corner."""

    positive: Doubles
    """(P, 2) places on the object."""
    negative: Doubles
    """(Q, 2) places beside it."""
    region: Bools | None
    """(m, m): inside the box and the lasso; None without either."""


def smoothed(logits: Floats, cells: float) -> Floats:
    """Return logits after a Gaussian of a standard deviation in cells: networks draw small steps along straight edges.

    They are cut at `STEEP` first, as sure cells would outweigh their neighbours. 0 leaves them as they are.
    """
    if not cells:
        return logits
    return np.asarray(ndimage.gaussian_filter(np.clip(logits, -STEEP, STEEP), cells, mode="nearest", truncate=3.0))


def in_box(corners_yx: Doubles, side: int) -> Bools:
    """Return (side, side) bool: the cells that a box (2, 2) touches, its low corner first, 0 at the outer corner."""
    y0, x0 = np.clip(np.floor(corners_yx[0]), 0, side).astype(int)
    y1, x1 = np.clip(np.ceil(corners_yx[1]), 0, side).astype(int)
    region = np.zeros((side, side), bool)
    region[y0:y1, x0:x1] = True
    return region


def meant_part(mask: Bools, meant: Meant) -> Bools:
    """Return the cells of those 4-connected parts of `mask` that a prompt means.

    Parts with a positive point, and parts that lie by half or more inside the box or lasso, without specks and without
    parts on which only negative points lie. Holes stay, except those of a cell or two. All False where nothing is.
    """
    names, count = ndimage.label(mask)
    if not count:
        return mask
    sizes = np.bincount(names.ravel(), minlength=count + 1)
    hit = _under(names, meant.positive)
    beside = _under(names, meant.negative, reach=0) - hit
    taken = set(hit)
    if meant.region is not None:
        inside = np.bincount(names[meant.region], minlength=count + 1)
        taken |= {int(k) for k in np.flatnonzero(2 * inside >= sizes) if k and inside[k]}
    if not taken and len(meant.positive):
        taken = _nearest(names, meant.positive)
    taken -= beside
    if not taken:
        return np.zeros_like(mask)
    largest = max(int(sizes[k]) for k in taken)
    kept = np.zeros(count + 1, bool)
    kept[[k for k in taken if k in hit or sizes[k] >= max(SPECK * largest, LEAST)]] = True
    return _filled(kept[names], meant.negative)


def _cells(places: Doubles, side: int) -> npt.NDArray[np.intp]:
    return np.clip(np.floor(places), 0, side - 1).astype(np.intp)


def _under(names: npt.NDArray[Any], places: Doubles, *, reach: int = REACH) -> set[int]:
    """Return the parts under places, or the largest of those within reach."""
    found = set()
    for y, x in _cells(places, len(names)).tolist():
        name = int(names[y, x])
        if not name and reach:
            near = names[max(y - reach, 0) : y + reach + 1, max(x - reach, 0) : x + reach + 1]
            name = int(np.argmax(np.bincount(near[near > 0]))) if near.any() else 0
        found.add(name)
    return found - {0}


def _nearest(names: npt.NDArray[Any], places: Doubles) -> set[int]:
    ys, xs = np.nonzero(names)
    cells = np.stack([ys, xs], 1) + 0.5
    apart = ((cells[None] - places[:, None]) ** 2).sum(-1).min(0)
    best = int(apart.argmin())
    return {int(names[ys[best], xs[best]])} if apart[best] <= (FAR * len(names)) ** 2 else set()


def _filled(part: Bools, negative: Doubles) -> Bools:
    """Fill holes of a few cells, but none with a negative point."""
    names, count = ndimage.label(np.pad(~part, 1, constant_values=True))
    if count < 2:  # the surroundings alone
        return part
    small = np.bincount(names.ravel(), minlength=count + 1) < LEAST
    for y, x in _cells(negative, len(part)).tolist():
        small[names[y + 1, x + 1]] = False
    return np.asarray(part | small[names[1:-1, 1:-1]])


def touched(part: Bools, *, least: int) -> tuple[bool, bool, bool, bool]:
    """Return at which edges, top, left, bottom, right, a part has `least` cells or more."""
    edges = (part[0], part[:, 0], part[-1], part[:, -1])
    top, left, bottom, right = (int(edge.sum()) >= least for edge in edges)
    return top, left, bottom, right


def smooth_outline(logits: Floats, part: Bools) -> Polygon | MultiPolygon:
    """Return the outline of the cells in `part` (m, m), running where `logits` (m, m) cross 0 between two cells.

    In cells, 0 at the outer corner; on the border of the lattice where a part touches it. Valid, holes included; an
    empty MultiPolygon where nothing is in `part`.
    """
    rows, columns = np.flatnonzero(part.any(1)), np.flatnonzero(part.any(0))
    if not len(rows):
        return MultiPolygon()
    top, left = max(rows[0] - 1, 0), max(columns[0] - 1, 0)
    cut = (slice(top, rows[-1] + 2), slice(left, columns[-1] + 2))
    steep = np.clip(np.abs(logits[cut]), 1e-3, STEEP)
    field = np.pad(np.where(part[cut], steep, -steep), 1, mode="edge")
    # Beyond the lattice the opposite of its outermost cells, which puts the edge of what is cut off on the border.
    for edge in (field[0], field[-1], field[:, 0], field[:, -1]):
        np.negative(np.abs(edge), out=edge)
    rings = [ring for ring in find_contours(field, 0.0, fully_connected="low") if len(ring) >= 4]
    # find_contours speaks of centres: half a cell to the corner, less the one of the padding.
    return _joined([ring + (top - 0.5, left - 0.5) for ring in rings])


def _joined(rings: list[Doubles]) -> Polygon | MultiPolygon:
    """Return polygons of rings around parts and, the other way round, holes."""
    areas = [_area(ring) for ring in rings]
    order = sorted(range(len(rings)), key=lambda i: -abs(areas[i]))
    outer = [i for i in order if areas[i] * areas[order[0]] > 0]
    holes: dict[int, list[Doubles]] = {i: [] for i in outer}
    shells = {i: Polygon(rings[i]) for i in outer} if len(outer) > 1 else {}
    for i in order:
        if i not in holes:
            # A hole belongs to the smallest part around it.
            around = [k for k in outer if shells[k].contains(shapely.Point(rings[i][0]))] if shells else outer
            if around:
                holes[around[-1]].append(rings[i])
    parts = [_simple(Polygon(rings[i], holes[i])) for i in outer]
    flat = [one for part in parts for one in part]
    return flat[0] if len(flat) == 1 else MultiPolygon(flat)


def _simple(whole: Polygon) -> list[Polygon]:
    simple = shapely.simplify(whole, SIMPLER, preserve_topology=False)
    if simple.is_empty or not simple.is_valid:
        simple = whole if whole.is_valid else shapely.make_valid(whole, method="structure", keep_collapsed=False)
    return [part for part in getattr(simple, "geoms", [simple]) if isinstance(part, Polygon) and part.area > 0]


def _area(ring: Doubles) -> float:
    y, x = ring[:, 0], ring[:, 1]
    return float(np.dot(y[:-1], x[1:]) - np.dot(x[:-1], y[1:])) / 2
