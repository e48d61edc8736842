"""Macro, thumbnail and, only when asked for in so many words, the label."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QDialog, QGridLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_wsi_mil.gui.overview import to_pixmap
from napari_wsi_mil.gui.parts import wrapped

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

LABEL = "label"
LABEL_BUTTON = "Show label (may name the patient)"
LARGEST_PX = 720


class AssociatedImages(QWidget):
    """One button per image in the file; emits `wanted` with its name."""

    wanted = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setSpacing(6)
        self.buttons: dict[str, QPushButton] = {}
        self._none = wrapped("The file holds none.", muted=True)
        self._grid.addWidget(self._none, 0, 0, 1, 2)

    def show_names(self, names: tuple[str, ...]) -> None:
        """Offer these images; the label comes last, on a row of its own."""
        for button in self.buttons.values():
            self._grid.removeWidget(button)
            button.deleteLater()
        self.buttons = {}
        plain = [name for name in names if name != LABEL]
        for i, name in enumerate(plain):
            self._add(name, name.capitalize(), (1 + i // 2, i % 2, 1, 1))
        if LABEL in names:
            self._add(LABEL, LABEL_BUTTON, (2 + len(plain) // 2, 0, 1, 2))
            self.buttons[LABEL].setToolTip("Labels often carry a name or number. Look around before you show it.")
        self._none.setVisible(not names)

    def _add(self, name: str, text: str, place: tuple[int, int, int, int]) -> None:
        button = QPushButton(text)
        button.clicked.connect(lambda: self.wanted.emit(name))
        self._grid.addWidget(button, *place)
        self.buttons[name] = button


class PictureWindow(QDialog):
    """A picture in a small window of its own, gone when closed."""

    def __init__(self, rgb: npt.NDArray[np.uint8], title: str, parent: QWidget) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle(title)
        picture = to_pixmap(rgb)
        if max(picture.width(), picture.height()) > LARGEST_PX:
            keep, smooth = Qt.AspectRatioMode.KeepAspectRatio, Qt.TransformationMode.SmoothTransformation
            picture = picture.scaled(LARGEST_PX, LARGEST_PX, keep, smooth)
        self.label = QLabel()
        self.label.setPixmap(picture)
        layout = QVBoxLayout(self)
        layout.addWidget(self.label)
