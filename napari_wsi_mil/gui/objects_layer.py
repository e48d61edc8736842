"""Objects on the slide: as shapes where they are few and large enough to work with, else as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer, Signal

from napari_wsi_mil.gui.camera import View, visible
from napari_wsi_mil.gui.layer_ends import remove_soon
from napari_wsi_mil.gui.objects_hand import Hand, held
from napari_wsi_mil.gui.objects_index import ObjectIndex
from napari_wsi_mil.gui.objects_near import near, well_seen
from napari_wsi_mil.gui.objects_preview import Preview, frame_for
from napari_wsi_mil.gui.objects_rows import ObjectRows, add_shapes, apply_edits
from napari_wsi_mil.gui.slides import images_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from napari.components import ViewerModel
    from napari.layers import Image, Shapes

    from napari_wsi_mil.results.object_book import Change, ObjectBook
    from napari_wsi_mil.slide import Slide

EDGE_PX = 2.0
REST_MS, MOVING_MS, BUSY_MS = 150, 400, 200
AT_ONCE = 20
"""So few objects that come are shown before anything else is done."""


class ObjectsLayer(QObject):
    """Follows a book. Every object is drawn by the shapes or by the picture, never by both for long."""

    picked = Signal(list)
    """Numbers of the objects that somebody selected in the layer."""
    problem = Signal(str)
    shown = Signal(bool)
    """Somebody showed, hid or deleted the layer."""

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self._viewer = viewer
        self._book: ObjectBook | None = None
        self._slide: Slide | None = None
        self._leave: Callable[[], None] | None = None
        self._rows: ObjectRows | None = None
        self.index, self.preview = ObjectIndex(), Preview(viewer)
        self.hidden: frozenset[int] = frozenset()
        self.lifted: int | None = None
        """Shown elsewhere while somebody works on it."""
        self._chosen: frozenset[int] = frozenset()
        self._visible, self._writing, self._revision = True, False, 0
        self._drawn: tuple[Any, ...] = ()
        self._hand, self._rest, self._moving = Hand(), QTimer(self), QTimer(self)
        self._hand.free.connect(self._take_over)
        for timer, act in ((self._rest, self.settle), (self._moving, self._draw)):
            timer.setSingleShot(True)
            timer.timeout.connect(act)
        viewer.layers.events.removed.connect(self._removed)
        viewer.scene.camera.events.center.connect(self._moved)
        viewer.scene.camera.events.zoom.connect(self._moved)

    # -- what is shown ------------------------------------------------------------------------
    @property
    def layer(self) -> Shapes | None:
        """The layer of shapes, None while there is none."""
        return None if self._rows is None else self._rows.layer

    @property
    def image(self) -> Image | None:
        """The slide's own layer."""
        images = [] if self._slide is None else images_of(self._viewer, self._slide)
        return images[0] if images else None

    @property
    def at_rest(self) -> bool:
        """Whether all is drawn as it should be."""
        waits = self._rest.isActive() or self._moving.isActive() or self._hand.waited_for
        return not waits and not self.preview.busy

    def show(self, book: ObjectBook | None, slide: Slide | None) -> None:
        """Follow another book, whose objects lie on this slide; None takes the layers away."""
        if book is self._book and slide is self._slide:
            return
        self.clear()
        if book is None or slide is None:
            return
        self._book, self._slide, self.preview.slide = book, slide, slide
        self.index.restart(book.objects)
        self._leave = book.watch(self._changed)
        self.settle()

    def clear(self) -> None:
        """Forget the book and take the layers away."""
        self._rest.stop()
        self._moving.stop()
        self._hand.stop()
        if self._leave is not None:
            self._leave()
        layer = self.layer
        self._rows = self._book = self._slide = self._leave = self.preview.slide = self.lifted = None
        self.hidden = self._chosen = frozenset()
        self._visible, self._drawn = True, ()
        self.preview.clear()
        remove_soon(self._viewer, layer)

    def hide(self, numbers: Collection[int]) -> None:
        """Leave these objects out, and show all others."""
        wanted = frozenset(numbers)
        if wanted != self.hidden:
            self.hidden = wanted
            self._revision += 1
            self.settle()

    def lift(self, number: int | None) -> None:
        """Leave one object out while somebody works on it; None puts it back."""
        if number != self.lifted:
            self.lifted = number
            self._revision += 1
            self.settle()

    @property
    def _left_out(self) -> frozenset[int]:
        return self.hidden if self.lifted is None else self.hidden | {self.lifted}

    def set_visible(self, on: bool) -> None:
        """Show or hide all objects; shows them also where somebody deleted the layer."""
        self._visible = on
        if on:
            self.settle()
        for layer in (self.layer, self.preview.layer):
            if layer is not None:
                layer.visible = on

    def select(self, numbers: Collection[int]) -> None:
        """Mark objects."""
        wanted = frozenset(numbers)
        if wanted != self._chosen:
            self._chosen = wanted
            self.settle()

    def number_at(self, yx0: Any) -> int | None:
        """Return the smallest object shown under a level-0 point, None where there is none."""
        return None if self._book is None else self.index.at(yx0, self._book.objects, without=self._left_out)

    # -- following the book ---------------------------------------------------------------------
    def _changed(self, change: Change) -> None:
        if change.objects_changed:
            self.index.apply(change)
        if not change.objects_changed and not change.classes_changed:
            return
        self._revision += 1
        if change.added and self._rows is None and not self._visible:
            # somebody deleted the layer, but what is accepted is to be seen
            self._visible = True
            self.shown.emit(True)
        there = frozenset() if self._rows is None else self._rows.numbers
        touched = [one.number for one in (*change.removed, *change.added)]
        if len(change.added) <= AT_ONCE and not self._busy():
            # what a person just did is seen before the rest is weighed
            new = [one.number for one in change.added if one.number not in self._left_out]
            self._write({*there.difference(touched), *new})
        self._rest.start(0 if not there.isdisjoint(touched) or change.classes_changed else 30)

    def _busy(self) -> bool:
        """Whether a hand is at the shapes now, or one is half drawn: napari tells of it when it is finished."""
        rows = self._rows
        if rows is None or self._writing:
            return False
        at_it = held() and self._viewer.layers.selection.active is rows.layer
        return at_it or self._hand.waited_for or rows.layer.nshapes != len(rows)

    def _moved(self, event: Any = None) -> None:
        if self._book is not None and len(self.index):
            self._rest.start(REST_MS)
            if not self._moving.isActive():
                self._moving.start(MOVING_MS)

    def settle(self) -> None:
        """Choose which objects are shapes in this view, and draw the others."""
        self._rest.stop()
        if self._book is None or self.image is None or (not self._visible and self._rows is None):
            return
        if self._busy():
            self._rest.start(BUSY_MS)
            return
        view, px0 = self._view(self.image)
        wanted = near(self._book.objects, self.index, view, px0=px0, chosen=self._chosen)
        self._write(wanted - self._left_out)
        self._draw()

    def sees(self, number: int) -> bool:
        """Whether an object is in view, whole and large enough to work on."""
        if self._book is None or self.image is None:
            return False
        view, px0 = self._view(self.image)
        return well_seen(self._book.objects[number], view, px0=px0)

    def rescaled(self) -> None:
        """The slide's pixel size changed; its layers were moved already."""
        if self._rows is not None and self._slide is not None:
            self._rows.rescale(self._slide.mpp_yx)
        self.settle()

    def _view(self, image: Image) -> tuple[View, float]:
        """Return what the canvas shows, and the size of a canvas pixel in level-0 pixels."""
        view = visible(self._viewer, image)
        return view, float(view.h / self._viewer.canvas.size[0])

    # -- writing ------------------------------------------------------------------------------
    def _write(self, numbers: Collection[int]) -> None:
        book, slide, image = self._book, self._slide, self.image
        if book is None or slide is None or image is None or (not numbers and self._rows is None):
            return
        was, self._writing = self._writing, True
        try:
            rows = self._rows = ObjectRows(self._add(slide), slide.mpp_yx) if self._rows is None else self._rows
            width = EDGE_PX * self._view(image)[1]
            rows.write({number: book.objects[number] for number in sorted(numbers)}, book.classes, width=width)
            rows.style(book.classes, self._chosen, width=width)
            marked = rows.rows_of(self._chosen)
            if set(rows.layer.selected_data) != marked:
                rows.layer.selected_data = marked
        finally:
            self._writing = was

    def _add(self, slide: Slide) -> Shapes:
        layer = add_shapes(self._viewer, slide, self._book, visible=self._visible)
        layer.events.data.connect(self._touched)
        layer.events.visible.connect(self._seen)
        layer.selected_data.events.items_changed.connect(self._selected)
        return layer

    def _draw(self) -> None:
        """Have all objects that are no shapes drawn as a picture."""
        book, image, slide = self._book, self.image, self._slide
        if book is None or image is None or slide is None or not self._visible:
            return
        view, px0 = self._view(image)
        frame, old = frame_for(view, slide.shape0_yx, px0=px0), self.preview.frame
        if frame is None:
            return
        if old is not None and old.step == frame.step and old.holds(view, slide.shape0_yx):
            frame = old
        shapes = frozenset() if self._rows is None else self._rows.numbers
        wish = (frame, self._revision, shapes)
        if wish == self._drawn:
            return
        self._drawn = wish
        left_out = shapes | self._left_out
        numbers = [number for number in self.index.within(frame.view).tolist() if number not in left_out]
        self.preview.below = self.layer
        self.preview.draw([book.objects[number] for number in numbers], book.classes, frame)

    # -- what others do -------------------------------------------------------------------------
    def _removed(self, event: Any) -> None:
        if self.layer is not None and event.value is self.layer:
            self._rows, self._visible, self._drawn = None, False, ()
            self._hand.stop()
            self.preview.clear()
            self.shown.emit(False)

    def _seen(self, event: Any) -> None:
        if self.layer is not None and self.layer.visible != self._visible:
            self.set_visible(self.layer.visible)
            self.shown.emit(self._visible)

    def _selected(self, added: Any = (), removed: Any = ()) -> None:
        rows = self._rows
        if self._writing or rows is None or self._hand.waited_for:
            return
        numbers = {number for row in rows.layer.selected_data if (number := rows.number_of(int(row))) is not None}
        if numbers != self._chosen:
            self._chosen = frozenset(numbers)
            self.picked.emit(sorted(numbers))

    def _touched(self, event: Any = None) -> None:
        if not self._writing:
            self._hand.touch()

    def _take_over(self) -> None:
        """Let the book follow what a hand did to the shapes, once it lets go, in one step."""
        book, rows = self._book, self._rows
        if book is None or rows is None:
            return
        edits = rows.read()
        if not edits:
            return
        # what was touched is written anew, as it is in the book
        self._writing = True
        try:
            rows.forget(edits)
            apply_edits(book, edits)
        finally:
            self._writing = False
        if edits.empty:
            self.problem.emit("A line encloses nothing: draw a closed shape, or cut an object with the Split tool.")
        self.settle()
