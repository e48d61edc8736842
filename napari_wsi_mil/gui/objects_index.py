"""Where objects lie: which are within a view, and which is under a point, among tens of thousands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    import numpy.typing as npt

    from napari_wsi_mil.gui.camera import View
    from napari_wsi_mil.results.object_book import Change
    from napari_wsi_mil.results.objects import MaskObject


class ObjectIndex:
    """Bounds of a book's objects, kept up to date change by change."""

    def __init__(self) -> None:
        self._bounds: dict[int, tuple[float, float, float, float]] = {}
        self._numbers: npt.NDArray[np.intp] = np.empty(0, np.intp)
        self._boxes: npt.NDArray[np.float64] = np.empty((0, 4))
        self._stale = False

    def restart(self, objects: Mapping[int, MaskObject]) -> None:
        """Take in all objects of another book."""
        self._bounds = {}
        self._take(objects.values())

    def apply(self, change: Change) -> None:
        """Follow one change of the book."""
        for one in change.removed:
            del self._bounds[one.number]
        self._take(change.added)

    def _take(self, objects: Iterable[MaskObject]) -> None:
        rows = list(objects)
        boxes = shapely.bounds([one.outline for one in rows]) if rows else ()
        for one, box in zip(rows, boxes, strict=True):
            self._bounds[one.number] = tuple(box)
        self._stale = True

    def _fresh(self) -> None:
        if self._stale:
            self._numbers = np.fromiter(self._bounds, np.intp, len(self._bounds))
            self._boxes = np.array(list(self._bounds.values()), float).reshape(-1, 4)
            self._stale = False

    def __len__(self) -> int:
        return len(self._bounds)

    def box(self, numbers: Collection[int]) -> tuple[float, float, float, float]:
        """Return (y0, x0, y1, x1) around objects, of which there is at least one."""
        boxes = np.array([self._bounds[number] for number in numbers])
        (y0, x0), (y1, x1) = boxes[:, :2].min(0), boxes[:, 2:].max(0)
        return float(y0), float(x0), float(y1), float(x1)

    def within(self, view: View, *, least_px0: float = 0.0) -> npt.NDArray[np.intp]:
        """Return the numbers of objects whose bounds meet a view and have a side of at least `least_px0`."""
        self._fresh()
        low, high = self._boxes[:, :2], self._boxes[:, 2:]
        meets = (high >= (view.y, view.x)).all(1) & (low <= (view.y + view.h, view.x + view.w)).all(1)
        large = (high - low).max(1, initial=0) >= least_px0
        return self._numbers[meets & large]

    def at(self, yx0: Any, objects: Mapping[int, MaskObject], *, without: Collection[int] = ()) -> int | None:
        """Return the object around a point with the smallest bounds of those, None where there is none."""
        self._fresh()
        low, high = self._boxes[:, :2], self._boxes[:, 2:]
        rows = np.flatnonzero(((low <= yx0) & (high >= yx0)).all(1))
        order = rows[np.argsort((high - low)[rows].prod(1), kind="stable")]
        for number in self._numbers[order].tolist():
            if number not in without and shapely.contains_xy(objects[number].outline, *yx0):
                return int(number)
        return None
