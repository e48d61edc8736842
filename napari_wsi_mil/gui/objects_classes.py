"""The classes of objects as buttons in their colours, each with a key."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import QPoint, QSize, Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPainter, QPixmap
from qtpy.QtWidgets import QColorDialog, QGridLayout, QInputDialog, QMenu, QSizePolicy, QToolButton, QWidget

from napari_wsi_mil.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_wsi_mil.results.object_book import ObjectBook
    from napari_wsi_mil.results.objects import Colour, ObjectClass

COLUMNS, KEYS, SWATCH_PX = 3, 9, 12
NEW_COLOURS = ((170, 60, 200), (120, 200, 60), (250, 120, 170), (20, 110, 110), (140, 90, 40), (255, 200, 120))
"""Given in turn to classes that are added."""


def swatch(colour: Colour) -> QIcon:
    """Return a square of a colour with an edge that is seen on any ground."""
    pixmap = QPixmap(SWATCH_PX, SWATCH_PX)
    pixmap.fill(QColor(*colour))
    painter = QPainter(pixmap)
    painter.setPen(QColor(128, 128, 128))
    painter.drawRect(0, 0, SWATCH_PX - 1, SWATCH_PX - 1)
    painter.end()
    return QIcon(pixmap)


class ClassButton(QToolButton):
    """One class; its text ends in … where there is no room."""

    def __init__(self, kind: ObjectClass, key: int) -> None:
        super().__init__()
        self.kind = kind
        self.whole = f"{key} {kind.name}" if key <= KEYS else kind.name
        self.setCheckable(True)
        self.setIcon(swatch(kind.colour))
        self.setIconSize(QSize(SWATCH_PX, SWATCH_PX))
        self.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setAccessibleName(f"Class {kind.name}")
        keys = f" Key {key} in the panel, Alt-{key} on the slide." if key <= KEYS else ""
        self.setToolTip(
            f"{kind.name}: give it to the selected objects, or to those to come where none is selected.{keys} "
            "Right click to rename, recolour or remove it."
        )

    def resizeEvent(self, event: object) -> None:  # noqa: N802 - Qt's name
        room = self.width() - SWATCH_PX - 16
        self.setText(self.fontMetrics().elidedText(self.whole, Qt.TextElideMode.ElideRight, room))
        super().resizeEvent(event)


class ClassStrip(QWidget):
    """Emits `picked` with the class to give."""

    picked = Signal(str)
    problem = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.buttons: list[ClassButton] = []
        self._book: ObjectBook | None = None
        self._shown: tuple[ObjectClass, ...] = ()
        self.add = QToolButton()
        self.add.setText("+ Class")
        self.add.setToolTip("Add a class.")
        self.add.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.add.clicked.connect(self._ask_new)
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setSpacing(3)
        for column in range(COLUMNS):
            self._grid.setColumnStretch(column, 1)

    def mark(self, colour: str) -> None:
        """Show what is pressed by an edge of this colour."""
        self.setStyleSheet(
            "QToolButton { padding: 2px 3px; text-align: left; border: 1px solid transparent; border-radius: 2px; }"
            f"QToolButton:checked {{ border: 1px solid {colour}; }}"
        )

    def show_book(self, book: ObjectBook | None, chosen: Sequence[str] = ()) -> None:
        """Show the classes of a book, those in `chosen` pressed."""
        self._book = book
        kinds = () if book is None else book.classes
        if kinds != self._shown:
            self._fill(kinds)
        for button in self.buttons:
            button.setChecked(button.kind.name in chosen)

    def _fill(self, kinds: tuple[ObjectClass, ...]) -> None:
        self._shown = kinds
        for button in self.buttons:
            self._grid.removeWidget(button)
            button.deleteLater()
        self.buttons = [ClassButton(kind, i) for i, kind in enumerate(kinds, 1)]
        for i, button in enumerate(self.buttons):
            button.clicked.connect(partial(self._clicked, button))
            button.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
            button.customContextMenuRequested.connect(partial(self._menu, button))
            self._grid.addWidget(button, i // COLUMNS, i % COLUMNS)
        n = len(self.buttons)
        self._grid.addWidget(self.add, n // COLUMNS, n % COLUMNS)

    def _clicked(self, button: ClassButton, _: bool = False) -> None:
        self.picked.emit(button.kind.name)

    def key(self, number: int) -> None:
        """Pick the class of a key, 1 to 9; nothing where there is none."""
        if number <= len(self.buttons):
            self.picked.emit(self.buttons[number - 1].kind.name)

    # -- changing classes -----------------------------------------------------------------------
    def _menu(self, button: ClassButton, at: QPoint) -> None:
        menu = QMenu(self)
        name = button.kind.name
        menu.addAction("Rename…", partial(self._ask_name, name))
        menu.addAction("Colour…", partial(self._ask_colour, button.kind))
        menu.addAction("Remove", partial(self.remove, name))
        menu.exec(button.mapToGlobal(at))
        menu.deleteLater()

    def _ask_new(self) -> None:
        name, good = QInputDialog.getText(self, "New class", "Name of the class:")
        if good:
            self.add_class(name.strip())

    def _ask_name(self, name: str) -> None:
        new, good = QInputDialog.getText(self, "Rename class", f"New name of {name}:", text=name)
        if good:
            self.rename(name, new.strip())

    def _ask_colour(self, kind: ObjectClass) -> None:
        colour = QColorDialog.getColor(QColor(*kind.colour), self, f"Colour of {kind.name}")
        if colour.isValid():
            self.recolour(kind.name, (colour.red(), colour.green(), colour.blue()))

    def add_class(self, name: str) -> None:
        """Add a class in a colour of its own."""
        book = self._book
        if book is not None:
            taken = {kind.colour for kind in book.classes}
            free = [colour for colour in NEW_COLOURS if colour not in taken]
            self._try(partial(book.add_class, name, (free or NEW_COLOURS)[0]))

    def rename(self, name: str, new_name: str) -> None:
        """Rename a class."""
        if self._book is not None:
            self._try(partial(self._book.rename, name, new_name))

    def recolour(self, name: str, colour: Colour) -> None:
        """Give a class another colour."""
        if self._book is not None:
            self._try(partial(self._book.recolour, name, colour))

    def remove(self, name: str) -> None:
        """Remove a class no object has."""
        if self._book is not None:
            self._try(partial(self._book.remove_class, name))

    def _try(self, act: partial[None]) -> None:
        try:
            act()
        except BadRequest as error:
            self.problem.emit(str(error))
