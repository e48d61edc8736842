"""Objects changed by hand in a layer of their own: painted and erased in a small window, or cut along a line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils import DirectLabelColormap
from qtpy.QtCore import QObject, QTimer, Signal

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.gui.camera import visible
from napari_wsi_mil.gui.layer_ends import remove_soon
from napari_wsi_mil.gui.screen_edges import edge_width
from napari_wsi_mil.gui.slides import images_of
from napari_wsi_mil.layers.placing import vector
from napari_wsi_mil.results.object_edits import edit_window, painted

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel
    from napari.layers import Labels, Layer, Shapes

    from napari_wsi_mil.results.object_book import ObjectBook
    from napari_wsi_mil.results.object_edits import EditWindow
    from napari_wsi_mil.results.objects import MaskObject
    from napari_wsi_mil.slide import Slide

PAINT, CUT = "objects paint", "objects cut"
"""Roles of the layers."""
BRUSH_PX = 16
"""Brush on the screen to begin with."""
LINE_PX, LINE_COLOUR = 2.5, "#ffd400"


class HandTool(QObject):
    """Works on one object of a book in a layer of its own, which is there until the work ends."""

    began = Signal(int)
    ended = Signal()
    problem = Signal(str)

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self._viewer = viewer
        self.layer: Any = None
        self.book: ObjectBook | None = None
        self.object: MaskObject | None = None
        self._before: Layer | None = None
        self._closing = False
        viewer.layers.events.removed.connect(self._removed)

    @property
    def number(self) -> int | None:
        """The object worked on, None while there is none."""
        return None if self.object is None else self.object.number

    def start(self, book: ObjectBook, number: int, slide: Slide) -> None:
        """Begin with an object; what was worked on before is dropped."""
        self.drop()
        self.book, self.object = book, book.objects[number]
        self._before = self._viewer.layers.selection.active
        self.layer = self._make(slide, self.object)
        self._viewer.layers.selection.active = self.layer
        self.began.emit(number)

    def _make(self, slide: Slide, one: MaskObject) -> Layer:
        raise NotImplementedError

    def drop(self) -> None:
        """End the work; the object stays as it was."""
        if self.object is None:
            return
        layer, self.layer, self.book, self.object = self.layer, None, None, None
        remove_soon(self._viewer, layer)
        if self._before is not None and self._before in self._viewer.layers:
            self._viewer.layers.selection.active = self._before
        self._before = None
        self.ended.emit()

    def check(self) -> None:
        """End the work if the object is gone or has another outline, as after an undo, and say so.

        Another class or attention is taken over; the work goes on.
        """
        if self.object is None or self.book is None or self._closing:
            return
        number, now = self.object.number, self.book.objects.get(self.object.number)
        if now is not None and (now is self.object or now.outline == self.object.outline):
            self.object = now
            return
        self.drop()
        what = "is gone" if now is None else "has another outline now"
        self.problem.emit(f"Object {number} {what}; what was done to it by hand is dropped.")

    def settle(self) -> None:
        """End the work because another slide is shown; what was done by hand is kept where it can be."""
        self.drop()

    def _removed(self, event: Any) -> None:
        if self.layer is not None and event.value is self.layer:
            number = self.number
            self.drop()
            self.problem.emit(f"The layer was removed; object {number} stays as it was.")


class Painter(HandTool):
    """An editable picture of one object: 1 is the object, 0 is not. The whole work is one step to undo."""

    layer: Labels
    _window: EditWindow

    def _make(self, slide: Slide, one: MaskObject) -> Labels:
        window = self._window = edit_window(one.outline, slide.shape0_yx)
        mpp, step = np.asarray(slide.mpp_yx or (1.0, 1.0)), window.step
        place = vector(slide, f"Paint object {one.number}", role=PAINT)
        place |= {"scale": step * mpp, "translate": (np.array(window.corner_yx0) + step / 2 - 0.5) * mpp}
        layer = self._viewer.add_labels(
            window.mask(one.outline).astype(np.uint8),
            colormap=self._colours(one),
            opacity=0.5, **place,
        )  # fmt: skip
        image = images_of(self._viewer, slide)[0]
        px0 = visible(self._viewer, image).h / self._viewer.canvas.size[0]
        layer.selected_label = 1
        layer.brush_size = int(np.clip(round(BRUSH_PX * px0 / step), 1, 200))
        layer.mode = "paint"
        for key, act in (("Enter", self.done), ("Escape", self.drop)):
            layer.bind_key(key, self._key(layer, act), overwrite=True)
        return layer

    def _colours(self, one: MaskObject) -> DirectLabelColormap:
        assert self.book is not None
        colour = np.array([*self.book.colour(one.class_name), 255]) / 255
        return DirectLabelColormap(color_dict={0: np.zeros(4), 1: colour, None: colour})

    def check(self) -> None:
        """End the work if the object's outline changed; paint in the colour of its class."""
        before = self.object
        super().check()
        if self.object is not None and self.object is not before:
            self.layer.colormap = self._colours(self.object)

    def _key(self, layer: Labels, act: Callable[[], None]) -> Callable[[Any], None]:
        def press(_: Any) -> None:
            # napari's own meaning in its polygon tool, where a polygon is half drawn
            if str(layer.mode) != "polygon":
                QTimer.singleShot(0, act)

        return press

    def done(self) -> None:
        """Give the object the outline painted; deletes it where all was erased."""
        one, book = self.object, self.book
        if one is None or book is None or self._closing:
            return
        try:
            outline = painted(one.outline, self._window, np.asarray(self.layer.data) != 0)
        except BadRequest as error:
            self.problem.emit(str(error))
            return
        self._closing = True
        try:
            if outline is None:
                book.delete([one.number])
            else:
                book.replace(one.number, outline, text=f"object {one.number} painted")
        finally:
            self._closing = False
        self.drop()

    def settle(self) -> None:
        """Give the object what was painted so far, as it would be lost with the slide shown."""
        self.done()
        self.drop()

    def erase(self, on: bool) -> None:
        """Take the eraser, or the brush again."""
        if self.object is not None:
            self.layer.mode = "erase" if on else "paint"


class Cutter(HandTool):
    """A line drawn across one object splits it as soon as it is finished."""

    layer: Shapes

    def _make(self, slide: Slide, one: MaskObject) -> Shapes:
        layer = self._viewer.add_shapes(
            ndim=2, face_color="transparent", edge_color=LINE_COLOUR,
            **vector(slide, f"Split object {one.number}", role=CUT),
        )  # fmt: skip
        width = edge_width(self._viewer, layer, LINE_PX)
        layer.current_edge_width = width
        layer.current_edge_color = LINE_COLOUR
        layer.mode = "add_polyline"
        layer.events.data.connect(self._drawn)
        return layer

    def _drawn(self, event: Any) -> None:
        if str(event.action) == "added":
            # napari is still busy with the shape when it tells of it
            QTimer.singleShot(0, self._cut)

    def _cut(self) -> None:
        one, book = self.object, self.book
        if one is None or book is None or not self.layer.nshapes or self._closing:
            return
        line = np.asarray(self.layer.data[-1])[:, -2:]
        self._closing = True
        try:
            book.split(one.number, line.tolist())
        except BadRequest as error:
            self.layer.selected_data = set()
            self.layer.remove(list(range(self.layer.nshapes)))
            self.problem.emit(str(error))
            return
        finally:
            self._closing = False
        self.drop()
