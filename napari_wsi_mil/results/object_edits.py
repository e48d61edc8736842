"""Changes of one outline: painted and erased, cut, joined, smoothed. All (y, x) level-0 pixels, no objects' numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import shapely
from scipy import ndimage
from shapely import LineString, MultiPolygon, Polygon

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.results.objects import as_outline, polygons_of
from napari_wsi_mil.tiles.outline import filled, outlines

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

    from napari_wsi_mil.results.objects import Outline

    Mask = npt.NDArray[np.bool_]

MOST_WINDOW_PX = 2048
"""Longer side of a window to paint in."""
SMOOTH_PX = 0.35
"""How far, in mask pixels, outlines of painted masks leave the pixels' edges: from 0.36 on, corners begin to move."""
CRUMB_PX0 = 1.0
"""Area below which a piece that a cut leaves is no piece of its own."""


@dataclass(frozen=True)
class EditWindow:
    """A small picture about one object: `shape` pixels of `step` x `step` level-0 pixels each."""

    corner_yx0: tuple[float, float]
    """Top-left corner of its first pixel."""
    shape: tuple[int, int]
    step: int
    """1: painted as fine as level 0; more where the object is larger than `MOST_WINDOW_PX`."""

    def mask(self, outline: Outline) -> Mask:
        """Return (h, w) which pixels of the window have their centre in an outline."""
        local = shapely.transform(outline, lambda at: at - np.array(self.corner_yx0))
        return filled([local], self.shape, unit_yx=(self.step, self.step))

    def outline(self, mask: Mask) -> Outline | None:
        """Return the outline of a mask (h, w) of this window; None where it is empty."""
        return outline_of(mask, self.corner_yx0, step=self.step)


def edit_window(
    outline: Outline, shape0_yx: tuple[int, int], *, margin: float = 0.5, most_px: int = MOST_WINDOW_PX
) -> EditWindow:
    """Return a window about an outline with room to paint: `margin` of its size on each side, at least 32 px.

    It stays on the slide, but always holds the whole outline.
    """
    low_y, low_x, high_y, high_x = outline.bounds
    spans = []
    for low, high, size in ((low_y, high_y, shape0_yx[0]), (low_x, high_x, shape0_yx[1])):
        room = max(margin * (high - low), 32)
        spans.append((min(max(low - room, 0), math.floor(low)), max(min(high + room, size), math.ceil(high))))
    step = max(math.ceil(max(end - start for start, end in spans) / most_px), 1)
    corner = tuple(float(math.floor(start / step) * step) for start, _ in spans)
    shape = tuple(math.ceil((end - at) / step) for (_, end), at in zip(spans, corner, strict=True))
    return EditWindow((corner[0], corner[1]), (shape[0], shape[1]), step)


def outline_of(
    mask: Mask, corner_yx0: tuple[float, float] = (0.0, 0.0), *, step: float = 1.0, simplify_px: float = SMOOTH_PX
) -> Outline | None:
    """Return one outline around all of a mask (h, w) whose pixels are `step` level-0 pixels wide; None where empty.

    `simplify_px` is how far, in mask pixels, it may leave the pixels' edges.
    """
    parts = outlines(np.asarray(mask, bool), simplify_px=simplify_px)
    if not parts:
        return None
    whole = parts[0] if len(parts) == 1 else MultiPolygon(parts)
    # Parts that touch at corners only may be made to overlap by simplification.
    return as_outline(shapely.transform(whole, lambda at: at * step + np.array(corner_yx0)))


def painted(outline: Outline, window: EditWindow, mask: Mask) -> Outline | None:
    """Return an outline after somebody painted or erased in its window; None where all was erased.

    `mask` (h, w) is the window as it was left. Only where it differs from the outline's own pixels, and one pixel
    around, does the new outline follow the mask: elsewhere the old one stays exactly as it was.
    """
    if mask.shape != window.shape:
        _refuse(f"painting: expected a mask of {window.shape} pixels, got {mask.shape}; paint in the window given.")
    mask = np.asarray(mask, bool)
    changed = mask ^ window.mask(outline)
    if not changed.any():
        return outline
    near = outline_of(ndimage.binary_dilation(changed, np.ones((3, 3), bool)), window.corner_yx0, step=window.step,
                      simplify_px=0)  # fmt: skip
    after = window.outline(mask)
    kept = shapely.difference(outline, near)
    whole = kept if after is None else shapely.union(kept, shapely.intersection(after, near))
    return _without_crumbs(whole, (window.step / 2) ** 2)


def pieces(outline: Outline, line_yx0: Sequence[Sequence[float]]) -> list[Outline]:
    """Return what a drawn line cuts an outline into, largest first; raises BadRequest unless it cuts something off.

    A line may cut several times, and cross itself. Parts it does not cut stay with the piece nearest to them.
    """
    line = _line(line_yx0)
    cut: list[Any] = []
    whole: list[Polygon] = []
    for part in polygons_of(outline):
        found = _cut(part, line) if line.intersects(part) else [part]
        if len(found) > 1:
            cut += found
        else:
            whole.append(part)
    if not cut:
        _refuse("split: expected a line that goes through the object from edge to edge, got one that cuts nothing off.")
    groups = [[piece] for piece in cut]
    for part in whole:
        groups[int(np.argmin(shapely.distance(part, cut)))].append(part)
    made = [as_outline(shapely.union_all(group)) for group in groups]
    return sorted((piece for piece in made if piece is not None), key=lambda piece: -piece.area)


def _line(line_yx0: Sequence[Sequence[float]]) -> LineString:
    places = np.asarray(line_yx0, float)
    if places.ndim != 2 or len(places) < 2 or places.shape[1] != 2 or not np.isfinite(places).all():
        _refuse(f"split: expected a line of at least two finite places y, x, got shape {places.shape}; draw it again.")
    return LineString(places)


def _cut(part: Polygon, line: LineString) -> list[Any]:
    """Return the pieces of one polygon, crumbs joined to the piece they lie at."""
    edges = shapely.union_all([part.boundary, line])
    faces = [face for face in shapely.get_parts(shapely.polygonize(shapely.get_parts(edges)))
             if part.contains(face.representative_point())]  # fmt: skip
    large = [face for face in faces if face.area > CRUMB_PX0]
    if len(large) < 2:
        return [part]
    for crumb in (face for face in faces if face.area <= CRUMB_PX0):
        nearest = int(np.argmax([shapely.intersection(crumb, face).length for face in large]))
        large[nearest] = shapely.union(large[nearest], crumb)
    return large


def joined(shapes: Iterable[Outline]) -> Outline:
    """Return one outline of several, in parts where they do not touch."""
    whole = as_outline(shapely.union_all(list(shapes)))
    if whole is None:
        _refuse("merge: expected outlines, got none; choose at least two objects.")
    return whole


def simplified(outline: Outline, tolerance_px0: float) -> Outline:
    """Return an outline with fewer corners that leaves the old one by at most this many level-0 pixels.

    Every part stays; holes that would close do.
    """
    if not (math.isfinite(tolerance_px0) and tolerance_px0 >= 0):
        _refuse(f"simplify: expected a distance of 0 or more level-0 pixels, got {tolerance_px0}; give another.")
    simple = as_outline(shapely.simplify(outline, tolerance_px0, preserve_topology=True))
    return outline if simple is None else simple


def _without_crumbs(shape: Any, least_px0: float) -> Outline | None:
    """Return a shape without parts and holes below an area."""
    parts = [part for part in polygons_of(shape) if part.area >= least_px0]
    kept = [Polygon(part.exterior, [r for r in part.interiors if Polygon(r).area >= least_px0]) for part in parts]
    return as_outline(shapely.union_all(kept)) if kept else None


def _refuse(message: str) -> NoReturn:
    raise BadRequest(message)
