"""Small pictures of large stored levels, made while these are read, so that coarse views need them only once."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from napari_wsi_mil.tiles.shrink import Axis, gathered

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]

LEAST_CELLS = 3.0
"""Cells of a picture under one pixel of a view, per axis, for the view to be drawn from it."""
LEAST_PX = 2**25
"""Pixels of a level under one view from which on a picture of them is worth its memory."""
LONG_SIDE = 2688
"""Cells of a picture along its longer side, 24 times the 112 px of a zoom model's coarse views: 87 MB at most."""


class Cells(NamedTuple):
    """Cells over the pixels of a stored level."""

    level: int
    rows: Axis
    cols: Axis


class CoarsePictures:
    """Area means of what one slide showed of its large levels, one picture per level, kept from call to call.

    A view drawn from a picture is a mean of means. Where its pixels are whole cells of the picture, these are the
    very numbers that the file would have given. Elsewhere a pixel of c cells, c at least `LEAST_CELLS`, cuts through
    those on its border and takes of them by area: per axis that is off by 1 / (2 c) of the range of values within
    one such cell at the very most.
    """

    def __init__(self, *, long_side: int = LONG_SIDE, least_px: int = LEAST_PX) -> None:
        self._long_side, self._least_px = long_side, least_px
        self._kept: dict[int, tuple[Cells, Floats]] = {}

    def wanted(self, views: Sequence[Cells]) -> list[Cells]:
        """Return the cells of the pictures to make while these views are read from the file.

        Each lies over what one view needs anyway, the largest of its level, up to the edges of the slide.
        """
        largest: dict[int, Cells] = {}
        for view in views:
            size = _pixels(view)
            if view.level not in self._kept and size >= self._least_px:
                other = largest.get(view.level)
                largest[view.level] = view if other is None or size > _pixels(other) else other
        return [self._over(view) for view in largest.values()]

    def _over(self, view: Cells) -> Cells:
        (top, bottom), (left, right) = _reach(view.rows), _reach(view.cols)
        cell = max(bottom - top, right - left) / self._long_side
        return Cells(view.level, _cut(top, bottom, cell, view.rows.size), _cut(left, right, cell, view.cols.size))

    def keep(self, made: Sequence[Cells], means: Sequence[Floats]) -> None:
        """Keep the (h, w, 3) float32 means of pictures that were wanted."""
        self._kept |= {cells.level: (cells, values) for cells, values in zip(made, means, strict=True)}

    def draw(self, view: Cells, *, into: Floats) -> bool:
        """Draw a view (h, w, 3) from a picture; False, and nothing drawn, where the file must be read."""
        if view.level not in self._kept:
            return False
        over, means = self._kept[view.level]
        down, across = _within(view.rows, over.rows), _within(view.cols, over.cols)
        if down is None or across is None:
            return False
        row, vertical = down.weights(0, down.size)
        col, sideways = across.weights(0, across.size)
        if vertical.shape[0] and sideways.shape[0]:  # else it lies outside the slide
            part = gathered(means, vertical, sideways)
            into[row : row + part.shape[0], col : col + part.shape[1]] = part
        return True


def _pixels(view: Cells) -> int:
    (top, bottom), (left, right) = view.rows.span, view.cols.span
    return (bottom - top) * (right - left)


def _reach(axis: Axis) -> tuple[int, int]:
    """Return a view's span, up to the slide's edge where the view's last pixel is too far outside to show it."""
    low, high = axis.span
    return 0 if axis.corner < 0 else low, axis.size if axis.corner + axis.cells * axis.step > axis.size else high


def _cut(low: int, high: int, cell: float, size: int) -> Axis:
    """Cut pixels low..high into cells of about `cell` pixels, whole ones, at least one pixel each."""
    cells = max(min(round((high - low) / cell), high - low), 1)
    return Axis(low, (high - low) / cells, cells, size)


def _within(view: Axis, over: Axis) -> Axis | None:
    """Return a view's axis in cells of a picture; None where it reaches beyond it or is too fine for it."""
    (low, high), end = view.span, over.corner + over.cells * over.step
    if view.step < LEAST_CELLS * over.step or low < over.corner or high > round(end):
        return None
    return Axis((view.corner - over.corner) / over.step, view.step / over.step, view.cells, over.cells)
