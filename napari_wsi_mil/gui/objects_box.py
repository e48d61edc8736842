"""The objects of a slide: on it, in a table, by class; changed, undone, filtered, saved and kept."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QCheckBox, QVBoxLayout, QWidget

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.gui.camera import View, fit
from napari_wsi_mil.gui.news import news
from napari_wsi_mil.gui.objects_actions import ActionRow
from napari_wsi_mil.gui.objects_classes import ClassStrip
from napari_wsi_mil.gui.objects_files import Keeper
from napari_wsi_mil.gui.objects_filter import EVERYTHING, FilterBox
from napari_wsi_mil.gui.objects_layer import ObjectsLayer
from napari_wsi_mil.gui.objects_rows import raise_layers
from napari_wsi_mil.gui.objects_save import SaveButtons
from napari_wsi_mil.gui.objects_table import ObjectsTable
from napari_wsi_mil.gui.objects_undo import ObjectKeys, UndoButtons
from napari_wsi_mil.gui.objects_work import HandWork
from napari_wsi_mil.gui.panel_of import panel_of
from napari_wsi_mil.gui.parts import Notice, heading, look_of, row, wrapped
from napari_wsi_mil.gui.slides import open_slides

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from napari.components import ViewerModel
    from qtpy.QtGui import QHideEvent, QShowEvent

    from napari_wsi_mil.results.object_book import Change, ObjectBook
    from napari_wsi_mil.slide import Slide

SOON_MS = 40
ROOM = 4.0
"""An object flown to takes this part of the canvas, its longer side: one fourth."""
LEAST_VIEW_PX0 = 64.0
EMPTY = "No objects yet. Click one on the slide and press Enter, or open a file."


class ObjectsBox(QWidget):
    """Shows one book at a time; everything in it goes through the book, so that scripts may use that too."""

    reopen = Signal(int)
    """An object whose prompts to take up again."""

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self._viewer = viewer
        self.book: ObjectBook | None = None
        self.slide: Slide | None = None
        self._leave: Callable[[], None] | None = None
        self._selected: tuple[int, ...] = ()
        self.layers, self.keeper = ObjectsLayer(viewer), Keeper()
        self.keys = ObjectKeys(viewer)
        self.undo, self.table, self.actions, self.work = UndoButtons(), ObjectsTable(), ActionRow(), HandWork(viewer)
        self.classes, self.filter, self.notice, self.files = ClassStrip(), FilterBox(), Notice(), SaveButtons(viewer)
        self.count, self.seen, self.empty = heading("Objects"), QCheckBox("Show"), wrapped(EMPTY, muted=True)
        self.seen.setChecked(True)
        self.seen.setToolTip("Show the objects on the slide.")
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(SOON_MS)
        self._soon.timeout.connect(self.refresh)
        self._lay_out()
        self._connect()
        self.apply_theme()
        self.refresh()

    def _lay_out(self) -> None:
        line, parts = row(gap=4)
        parts.addWidget(self.count, 1)
        parts.addWidget(self.seen)
        parts.addWidget(self.undo)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        for widget in (line, self.notice, self.empty, self.table, self.actions, self.work):
            layout.addWidget(widget)
        for widget in (self.classes, self.filter, self.files):
            layout.addWidget(widget)

    def _connect(self) -> None:
        self.table.chosen.connect(self._table_chose)
        self.table.flown.connect(self.fly_to)
        self.table.deleted.connect(partial(self._act, "delete"))
        self.actions.asked.connect(self._act)
        self.classes.picked.connect(self.give_class)
        self.classes.problem.connect(self._problem)
        self.filter.changed.connect(self.refresh)
        self.filter.delete_hidden.connect(self._delete_hidden)
        self.seen.clicked.connect(self.layers.set_visible)
        self.layers.shown.connect(self.seen.setChecked)
        self.layers.picked.connect(self._layer_chose)
        self.layers.problem.connect(self._problem)
        self.files.problem.connect(self._problem)
        self.files.said.connect(self._inform)
        self.keeper.problem.connect(self._problem)
        self.keeper.restored.connect(self._restored)
        self.work.lifted.connect(self._lifted)
        self.work.problem.connect(self._problem)
        self.keys.undo.connect(self.undo.back)
        self.keys.redo.connect(self.undo.forth)
        self.keys.classed.connect(self.classes.key)
        self._viewer.layers.events.inserted.connect(self._layer_added)
        self._viewer.layers.events.removed.connect(self._layer_removed)
        news(self._viewer).rescaled.connect(self._rescaled)

    # -- what is shown ------------------------------------------------------------------------
    def show(self, book: ObjectBook | None, slide: Slide | None) -> None:
        """Show the objects of a book, which lie on this slide, here and on the slide; None shows nothing."""
        if book is self.book and slide is self.slide:
            return
        self.notice.clear()
        self.work.settle()
        if self._leave is not None:
            self._leave()
        self.book, self.slide, self._leave, self._selected = None, None, None, ()
        if book is None or slide is None or slide.closed:
            self.layers.show(None, None)
        else:
            self.book, self.slide = book, slide
            self._leave = book.watch(self._changed)
            self.layers.show(book, slide)
            self.keeper.follow(book, slide)
        self.seen.setChecked(True)
        self.keys.canvas.turn(self.book is not None and self.isVisible())
        self.undo.show_book(self.book)
        self.files.show_book(self.book, self.slide)
        self.filter.clear()
        self.refresh()

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802 - Qt's name
        super().showEvent(event)
        self.keys.serve(panel_of(self) or self)
        self.keys.canvas.turn(self.book is not None)

    def hideEvent(self, event: QHideEvent) -> None:  # noqa: N802 - Qt's name
        super().hideEvent(event)
        self.keys.canvas.turn(False)

    def refresh(self) -> None:
        """Write everything anew."""
        self._soon.stop()
        book, slide = self.book, self.slide
        mpp_yx = None if slide is None else slide.mpp_yx
        objects = {} if book is None else book.objects
        hidden = self.filter.wanted.hidden(objects, mpp_yx)
        seen = [number for number in objects if number not in hidden]
        self._selected = tuple(number for number in self._selected if number in objects and number not in hidden)
        if book is not None:
            self.layers.hide(hidden)
            self.filter.show_classes(book.classes, square="px" if mpp_yx is None else "µm²")
        self.filter.say(len(hidden))
        self.table.rows.show(objects, () if book is None else book.classes, numbers=seen, mpp_yx=mpp_yx)
        self.table.select(self._selected, reveal=False)
        self.table.fit()
        self.count.setText(f"Objects  {len(objects):,}" if objects else "Objects")
        for part in (self.table, self.filter):
            part.setVisible(bool(objects) or self.filter.wanted != EVERYTHING)
        self.empty.setVisible(not objects)
        self.undo.show_book(book)
        self._allow()

    def _allow(self) -> None:
        book = self.book
        self.actions.setVisible(self.work.number is None and book is not None and bool(book.objects))
        self.actions.allow(len(self._selected))
        self.files.allow(book is not None, bool(book is not None and book.objects))
        self.classes.setVisible(book is not None)
        if book is not None:
            self.classes.show_book(book, tuple({book.objects[n].class_name for n in self._selected} or {book.chosen}))

    def _changed(self, change: Change) -> None:
        self.work.check()
        if len(change.removed) <= 1 and self._selected and set(self._selected) & set(change.gone):
            self._selected = ()
        if change.objects_changed or change.classes_changed:
            self._soon.start()
        self.undo.show_book(self.book)

    def _rescaled(self, slide: Slide) -> None:
        if slide is self.slide:
            self.layers.rescaled()
            self.refresh()

    def _layer_added(self, event: Any) -> None:
        if event.value.metadata.get("wsi_role") == "attention":
            # a heatmap would hide them; not while napari still tells of it
            QTimer.singleShot(0, self._rise)

    def _rise(self) -> None:
        raise_layers(self._viewer, self.layers.preview.layer, self.layers.layer)

    def _layer_removed(self, event: Any = None) -> None:
        there = open_slides(self._viewer)
        if self.slide is not None and self.slide not in there:
            self.show(None, None)
        self.keeper.keep_only(there)

    # -- selection ------------------------------------------------------------------------------
    @property
    def selected(self) -> tuple[int, ...]:
        """Numbers of the objects selected."""
        return self._selected

    def select(self, numbers: Iterable[int]) -> None:
        """Select objects, in the table and on the slide."""
        objects = {} if self.book is None else self.book.objects
        self._selected = tuple(number for number in numbers if number in objects)
        if self._soon.isActive():
            self.refresh()
        self.table.select(self._selected)
        self.layers.select(self._selected)
        self._allow()

    def number_at(self, yx0: Collection[float]) -> int | None:
        """Return the object shown under a level-0 point, the smallest of several; None where there is none."""
        return self.layers.number_at(yx0)

    def _table_chose(self, numbers: list[int]) -> None:
        self._selected = tuple(numbers)
        self.layers.select(numbers)
        self._allow()

    def _layer_chose(self, numbers: list[int]) -> None:
        self._selected = tuple(numbers)
        self.table.select(numbers)
        self._allow()

    def fly_to(self, number: int) -> None:
        """Put an object in the middle of the canvas."""
        image, book = self.layers.image, self.book
        if image is None or book is None or number not in book.objects:
            return
        y0, x0, y1, x1 = book.objects[number].outline.bounds
        side = max(y1 - y0, x1 - x0, LEAST_VIEW_PX0) * ROOM
        fit(self._viewer, image, View((y0 + y1 - side) / 2, (x0 + x1 - side) / 2, side, side))

    # -- what is done ---------------------------------------------------------------------------
    def give_class(self, name: str) -> None:
        """Give a class to the selected objects; to those to come where none is selected."""
        if self.book is not None and self._selected:
            self.book.set_class(self._selected, name)
        elif self.book is not None:
            self.book.chosen = name
        self._allow()

    def _act(self, name: str) -> None:
        book, slide, numbers = self.book, self.slide, self._selected
        if book is None or slide is None or not numbers:
            return
        self.notice.clear()
        try:
            if name == "reopen":
                self.reopen.emit(numbers[0])
            elif name == "paint":
                self.fly_to_see(numbers[0])
                self.work.paint(book, numbers[0], slide)
            elif name == "split":
                self.fly_to_see(numbers[0])
                self.work.cut(book, numbers[0], slide)
            elif name == "merge":
                self.select([book.merge(numbers)])
            else:
                book.delete(numbers)
        except BadRequest as error:
            self._problem(str(error))

    def fly_to_see(self, number: int) -> None:
        """Fly to an object unless it is seen well already."""
        if not self.layers.sees(number):
            self.fly_to(number)

    def _delete_hidden(self) -> None:
        if self.book is not None and self.layers.hidden:
            self.book.delete(sorted(self.layers.hidden))
            self.filter.clear()

    def _lifted(self, number: int | None) -> None:
        self.layers.lift(number)
        self._allow()

    def apply_theme(self) -> None:
        """Take the theme's colours."""
        self.classes.mark(look_of(self._viewer).accent)

    # -- words ----------------------------------------------------------------------------------
    def _restored(self, book: ObjectBook, sentence: str) -> None:
        if book is self.book:
            self._inform(sentence)

    def _problem(self, sentence: str) -> None:
        self.notice.say(sentence, kind="error", look=look_of(self._viewer))

    def _inform(self, sentence: str) -> None:
        self.notice.say(sentence, kind="info", look=look_of(self._viewer))
