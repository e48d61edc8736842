"""Undo and redo of a book: two buttons that say what they would do, and keys in the panel and on the canvas."""

from __future__ import annotations

import weakref
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Qt, Signal
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import QToolButton, QWidget

from napari_wsi_mil.gui.parts import row

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel

    from napari_wsi_mil.results.object_book import ObjectBook

UNDO, REDO = "Ctrl+Z", "Ctrl+Shift+Z"
REDO_TOO = "Ctrl+Y"
DIGITS = range(1, 10)


class CanvasKeys(QObject):
    """Keys on the canvas while they are on. Those somebody has bound on the viewer are left to them.

    Keys of the selected layer's kind come before: in a Labels layer Ctrl-Z undoes its own strokes.
    """

    pressed = Signal(str)

    def __init__(self, viewer: ViewerModel, keys: tuple[str, ...]) -> None:
        super().__init__()
        self._viewer, self._keys = viewer, keys
        self._bound: list[str] = []

    @property
    def bound(self) -> tuple[str, ...]:
        """The keys taken now."""
        return tuple(self._bound)

    def turn(self, on: bool) -> None:
        """Take the keys, or give them back."""
        if on and not self._bound:
            taken = {str(key) for key in self._viewer.keymap}
            for key in self._keys:
                if key not in taken:
                    self._viewer.bind_key(key, self._press(key))
                    self._bound.append(key)
        elif not on:
            for key in self._bound:
                self._viewer.bind_key(key, None)
            self._bound = []

    def _press(self, key: str) -> Callable[[Any], None]:
        me = weakref.ref(self)

        def press(viewer: Any) -> None:
            keys = me()
            if keys is not None:
                keys.pressed.emit(key)

        return press


def panel_key(parent: QWidget, key: str, act: Callable[[], None]) -> QShortcut:
    """Call `act` at a key while `parent` or anything in it has the focus; text fields take theirs first."""
    shortcut = QShortcut(QKeySequence(key), parent)
    shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
    shortcut.activated.connect(act)
    return shortcut


class ObjectKeys(QObject):
    """Undo, redo and the keys of classes, in a panel and on the canvas."""

    undo = Signal()
    redo = Signal()
    classed = Signal(int)
    """The key of a class, 1 to 9."""

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self.canvas = CanvasKeys(viewer, (UNDO, REDO, *(f"Alt+{i}" for i in DIGITS)))
        self.canvas.pressed.connect(self._pressed)
        self._shortcuts: list[QShortcut] = []

    def serve(self, panel: QWidget) -> None:
        """Take keys in a panel; Ctrl-Y too, and digits alone. Once."""
        if not self._shortcuts:
            keys = (UNDO, REDO, REDO_TOO, *map(str, DIGITS))
            self._shortcuts = [panel_key(panel, key, partial(self._pressed, key)) for key in keys]

    def _pressed(self, key: str) -> None:
        if key == UNDO:
            self.undo.emit()
        elif key in (REDO, REDO_TOO):
            self.redo.emit()
        else:
            self.classed.emit(int(key[-1]))


class UndoButtons(QWidget):
    """Two arrows for the book shown."""

    def __init__(self) -> None:
        super().__init__()
        self._book: ObjectBook | None = None
        self.undo, self.redo = QToolButton(), QToolButton()
        line, parts = row(gap=2)
        for button, sign, act in ((self.undo, "↶", self.back), (self.redo, "↷", self.forth)):
            button.setText(sign)
            button.setStyleSheet("QToolButton { font-size: 15px; padding: 1px 6px; }")
            button.clicked.connect(act)
            parts.addWidget(button)
        parts.setContentsMargins(0, 0, 0, 0)
        self.setLayout(parts)
        self.undo.setAccessibleName("Undo")
        self.redo.setAccessibleName("Redo")
        del line

    def show_book(self, book: ObjectBook | None) -> None:
        """Offer what this book can undo and redo."""
        self._book = book
        back, forth = (None, None) if book is None else (book.undo_text, book.redo_text)
        self.undo.setEnabled(back is not None)
        self.redo.setEnabled(forth is not None)
        self.undo.setToolTip(f"Undo: {back} (Ctrl-Z)" if back else "Nothing to undo")
        self.redo.setToolTip(f"Redo: {forth} (Ctrl-Shift-Z)" if forth else "Nothing to redo")

    def back(self, _: object = None) -> None:
        """Take the last step back."""
        if self._book is not None:
            self._book.undo()

    def forth(self, _: object = None) -> None:
        """Do the step again that was taken back."""
        if self._book is not None:
            self._book.redo()
