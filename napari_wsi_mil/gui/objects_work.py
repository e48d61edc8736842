"""One object under work by hand: painted or split, with the bar that ends it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_wsi_mil.gui.objects_actions import WorkBar
from napari_wsi_mil.gui.objects_edit import Cutter, HandTool, Painter

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_wsi_mil.results.object_book import ObjectBook
    from napari_wsi_mil.slide import Slide


class HandWork(QWidget):
    """At most one object at a time; hidden while there is none."""

    lifted = Signal(object)
    """The object shown by a tool instead of with the others; None when the work ended."""
    problem = Signal(str)

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self.painter, self.cutter, self.bar = Painter(viewer), Cutter(viewer), WorkBar()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.bar)
        self.bar.done.connect(self.painter.done)
        self.bar.erasing.connect(self.painter.erase)
        self.bar.dropped.connect(self.drop)
        for tool in (self.painter, self.cutter):
            tool.began.connect(partial(self._began, tool))
            tool.ended.connect(self._ended)
            tool.problem.connect(self.problem)
        self.hide()

    @property
    def number(self) -> int | None:
        """The object worked on."""
        return self.painter.number if self.painter.number is not None else self.cutter.number

    def paint(self, book: ObjectBook, number: int, slide: Slide) -> None:
        """Paint and erase an object."""
        self.drop()
        self.painter.start(book, number, slide)

    def cut(self, book: ObjectBook, number: int, slide: Slide) -> None:
        """Split an object along a line."""
        self.drop()
        self.cutter.start(book, number, slide)

    def drop(self) -> None:
        """End the work; the object stays as it was."""
        self.painter.drop()
        self.cutter.drop()

    def settle(self) -> None:
        """End the work; what was painted is kept."""
        self.painter.settle()
        self.cutter.settle()

    def check(self) -> None:
        """End the work if the book changed the object meanwhile."""
        self.painter.check()
        self.cutter.check()

    def _began(self, tool: HandTool, number: int) -> None:
        (self.bar.show_painting if tool is self.painter else self.bar.show_cutting)(number)
        self.show()
        self.lifted.emit(number if tool is self.painter else None)

    def _ended(self) -> None:
        self.hide()
        self.lifted.emit(None)
