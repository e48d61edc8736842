"""Thousands of objects as one picture over the slide, made anew in a job when the camera or the objects moved."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, Signal

from napari_wsi_mil.gui.camera import View
from napari_wsi_mil.gui.job import Job
from napari_wsi_mil.gui.layer_ends import remove_soon
from napari_wsi_mil.layers.object_preview import raster_preview
from napari_wsi_mil.layers.placing import place_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    from napari.components import ViewerModel
    from napari.layers import Image, Layer

    from napari_wsi_mil.gui.job import Say
    from napari_wsi_mil.results.objects import MaskObject, ObjectClass
    from napari_wsi_mil.slide import Slide
    from napari_wsi_mil.ticks import Tick

ROLE = "objects preview"
MARGIN = 0.25
"""The picture reaches this part of the view's size beyond each of its edges, so that a little panning needs no new."""
MOST_PX = 4_000_000


@dataclass(frozen=True)
class Frame:
    """A picture's place on the slide: whole level-0 pixels, `shape` pixels of `step` x `step` of them."""

    y: int
    x: int
    shape: tuple[int, int]
    step: int

    @property
    def extent_yx0(self) -> tuple[float, float, float, float]:
        """(y0, x0, y1, x1)."""
        h, w = self.shape
        return self.y, self.x, self.y + h * self.step, self.x + w * self.step

    @property
    def view(self) -> View:
        """The same as a view."""
        y0, x0, y1, x1 = self.extent_yx0
        return View(y0, x0, y1 - y0, x1 - x0)

    def holds(self, view: View, shape0_yx: tuple[int, int]) -> bool:
        """Whether all of a view that lies on the slide is within."""
        y0, x0, y1, x1 = self.extent_yx0
        low = max(view.y, 0) >= y0 and max(view.x, 0) >= x0
        return low and min(view.y + view.h, shape0_yx[0]) <= y1 and min(view.x + view.w, shape0_yx[1]) <= x1


def frame_for(view: View, shape0_yx: tuple[int, int], *, px0: float) -> Frame | None:
    """Return the frame of a picture of a view and a margin, on the slide, as fine as the screen; None beside it.

    `px0` is the size of a screen pixel in level-0 pixels.
    """
    low, high = [], []
    for at, size, most in ((view.y, view.h, shape0_yx[0]), (view.x, view.w, shape0_yx[1])):
        low.append(max(math.floor(at - MARGIN * size), 0))
        high.append(min(math.ceil(at + (1 + MARGIN) * size), most))
    sides = (high[0] - low[0], high[1] - low[1])
    if min(sides) <= 0:
        return None
    step = max(math.ceil(max(px0, math.sqrt(sides[0] * sides[1] / MOST_PX)) - 0.01), 1)
    return Frame(low[0], low[1], (max(sides[0] // step, 1), max(sides[1] // step, 1)), step)


def picture(
    objects: Sequence[MaskObject], classes: Sequence[ObjectClass], frame: Frame, tick: Tick, say: Say
) -> npt.NDArray[np.uint8]:
    """Return (h, w, 4) uint8 RGBA of objects in a frame, in the job's thread."""
    rgba = raster_preview(objects, classes, extent_yx0=frame.extent_yx0, shape=frame.shape)
    tick(1, 1)
    return rgba


class Preview(QObject):
    """Owns the picture's layer, which is there while there is something to draw. The newest wish wins."""

    drawn = Signal()

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self._viewer = viewer
        self.slide: Slide | None = None
        self.layer: Image | None = None
        self.frame: Frame | None = None
        """What the layer shows now."""
        self._job: Job | None = None
        self._next: tuple[Any, ...] | None = None
        self.below: Layer | None = None
        """The layer that lies over the picture."""
        viewer.layers.events.removed.connect(self._removed)

    @property
    def busy(self) -> bool:
        """Whether a picture is on its way."""
        return self._job is not None

    def draw(self, objects: Sequence[MaskObject], classes: Sequence[ObjectClass], frame: Frame) -> None:
        """Show a picture of these objects as soon as it is made."""
        if not objects and self.layer is None:
            self._forget()  # what is on its way would show what is there no more
            return
        self._next = (tuple(objects), tuple(classes), frame)
        if self._job is None:
            self._begin()

    def _begin(self) -> None:
        assert self._next is not None
        (objects, classes, frame), self._next = self._next, None
        self._job = Job(partial(picture, objects, classes, frame))
        slide = self.slide
        self._job.succeeded.connect(partial(self._made, slide, frame))
        self._job.ended.connect(self._ended)
        self._job.start()

    def _ended(self) -> None:
        self._job = None
        if self._next is not None and self.slide is not None:
            self._begin()
        else:
            self.drawn.emit()

    def _made(self, slide: Slide | None, frame: Frame, rgba: npt.NDArray[np.uint8]) -> None:
        if slide is None or slide is not self.slide or slide.closed:
            return
        self.frame = frame
        place = _place(frame, slide)
        if self.layer is None:
            self.layer = self._add(slide, rgba, place)
        else:
            _put(self.layer, rgba, place)

    def _add(self, slide: Slide, rgba: npt.NDArray[np.uint8], place: dict[str, Any]) -> Image:
        viewer = self._viewer
        chosen, active = set(viewer.layers.selection), viewer.layers.selection.active
        layer = viewer.add_image(
            rgba, rgb=True, name="Objects, far", blending="translucent_no_depth", interpolation2d="nearest",
            metadata={"wsi_slide": slide, "wsi_role": ROLE}, **place,
        )  # fmt: skip
        if self.below in viewer.layers:
            viewer.layers.move(len(viewer.layers) - 1, viewer.layers.index(self.below))
        viewer.layers.selection = chosen
        viewer.layers.selection.active = active
        return layer

    def clear(self) -> None:
        """Take the layer away and forget what was wished."""
        self._forget()
        layer, self.layer, self.frame = self.layer, None, None
        remove_soon(self._viewer, layer)

    def _forget(self) -> None:
        self._next = None
        if self._job is not None:
            self._job.cancel()

    def _removed(self, event: Any) -> None:
        if event.value is self.layer:
            self.layer = self.frame = None


def _place(frame: Frame, slide: Slide) -> dict[str, Any]:
    """Return where a picture lies: napari counts from the middle of its first pixel."""
    mpp = np.asarray(slide.mpp_yx or (1.0, 1.0))
    corner = np.array((frame.y, frame.x))
    return place_of(slide.mpp_yx) | {"scale": frame.step * mpp, "translate": (corner + frame.step / 2 - 0.5) * mpp}


def _put(layer: Image, rgba: npt.NDArray[np.uint8], place: dict[str, Any]) -> None:
    """Show a picture at its place, both in the same moment, also while napari slices in the background."""
    events = layer.events
    with events.scale.blocker(), events.translate.blocker(), events.reload.blocker():
        layer.scale, layer.translate = place["scale"], place["translate"]
        layer.data = rgba
        layer.set_view_slice()
    # what is drawn takes pixels and place from the layer when it hears of new data
    events.set_data()
    if not layer.loaded:
        # an older picture is still on its way through napari's thread: this one goes after it
        layer.refresh()
