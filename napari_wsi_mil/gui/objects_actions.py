"""What can be done with the selected objects, and, while one is painted or split, how to end that."""

from __future__ import annotations

from functools import partial

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QPushButton, QSizePolicy, QVBoxLayout, QWidget

from napari_wsi_mil.gui.parts import row, wrapped

ACTIONS = {
    "reopen": ("Re-open", "Take up the object's prompts again; accepting replaces its outline."),
    "paint": ("Paint", "Paint and erase the object in a small window; all of it is one step to undo."),
    "split": ("Split", "Draw a line across the object: it becomes two."),
    "merge": ("Merge", "Make one object of those selected."),
    "delete": ("Delete", "Delete the selected objects (Del); Undo brings them back."),
}


class ActionRow(QWidget):
    """Emits `asked` with a name of `ACTIONS`."""

    asked = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.buttons: dict[str, QPushButton] = {}
        line, parts = row(gap=3)
        for name, (text, tip) in ACTIONS.items():
            button = self.buttons[name] = QPushButton(text)
            button.setToolTip(tip)
            button.setStyleSheet("padding: 4px 2px; min-width: 0;")
            button.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            button.clicked.connect(partial(self._clicked, name))
            parts.addWidget(button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(line)
        self.allow(0)

    def _clicked(self, name: str, _: bool = False) -> None:
        self.asked.emit(name)

    def allow(self, selected: int) -> None:
        """Offer what can be done with so many objects."""
        for name, button in self.buttons.items():
            button.setEnabled(selected > 1 if name == "merge" else selected > 0 if name == "delete" else selected == 1)


class WorkBar(QWidget):
    """Stands in for the actions while one object is worked on."""

    done = Signal()
    dropped = Signal()
    erasing = Signal(bool)

    def __init__(self) -> None:
        super().__init__()
        self.said = wrapped()
        self.brush, self.eraser = QPushButton("Brush"), QPushButton("Eraser")
        self.keep, self.leave = QPushButton("Done"), QPushButton("Drop")
        line, parts = row(gap=3)
        for button in (self.brush, self.eraser, self.keep, self.leave):
            button.setStyleSheet("padding: 4px 2px; min-width: 0;")
            button.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            parts.addWidget(button)
        for button in (self.brush, self.eraser):
            button.setCheckable(True)
            button.setAutoExclusive(True)
        self.brush.setToolTip("Paint where the object is. [ and ] change the size of the brush.")
        self.eraser.setToolTip("Erase where it is not.")
        self.keep.setToolTip("Keep what was painted (Enter on the slide).")
        self.leave.setToolTip("Leave the object as it was (Escape on the slide).")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.said)
        layout.addWidget(line)
        self.brush.clicked.connect(partial(self._erase, False))
        self.eraser.clicked.connect(partial(self._erase, True))
        self.keep.clicked.connect(self._keep)
        self.leave.clicked.connect(self._leave)
        self.hide()

    def _erase(self, on: bool, _: bool = False) -> None:
        self.erasing.emit(on)

    def _keep(self, _: bool = False) -> None:
        self.done.emit()

    def _leave(self, _: bool = False) -> None:
        self.dropped.emit()

    def show_painting(self, number: int) -> None:
        """Offer brush and eraser."""
        self.said.setText(f"Painting object {number}")
        for button in (self.brush, self.eraser, self.keep):
            button.show()
        self.brush.setChecked(True)
        self.show()

    def show_cutting(self, number: int) -> None:
        """Say how to draw the line."""
        self.said.setText(f"Click along the cut through object {number}; a double click ends the line.")
        for button in (self.brush, self.eraser, self.keep):
            button.hide()
        self.show()
