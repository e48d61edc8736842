"""Buttons for 1x to 40x and the whole slide, and the magnification now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

if TYPE_CHECKING:
    from napari_wsi_mil.slide import Slide

MAGNIFICATIONS = (1, 5, 10, 20, 40)


class Magnifier(QWidget):
    """Emits `wanted` with a magnification, or 0 for the whole slide."""

    wanted = Signal(float)

    def __init__(self) -> None:
        super().__init__()
        self.buttons: dict[int, QPushButton] = {}
        self.now = QLabel()
        self.now.setAlignment(Qt.AlignmentFlag.AlignRight)
        self.now.setProperty("muted", True)
        line = QHBoxLayout()
        line.setSpacing(4)
        for value in (*MAGNIFICATIONS, 0):
            button = QPushButton(f"{value}×" if value else "Fit")
            button.setMinimumWidth(36)
            button.setStyleSheet("padding: 4px 2px;")
            button.clicked.connect(lambda _=False, value=value: self.wanted.emit(float(value)))
            line.addWidget(button, 1)
            self.buttons[value] = button
        self.buttons[0].setToolTip("Show the whole slide.")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addLayout(line)
        layout.addWidget(self.now)

    def show_slide(self, slide: Slide) -> None:
        """Enable the magnifications of a slide whose pixel size is known."""
        for value in MAGNIFICATIONS:
            self.buttons[value].setEnabled(slide.mpp is not None)
            self.buttons[value].setToolTip(
                f"{10 / value:g} µm on one screen pixel."
                if slide.mpp is not None
                else "Needs the pixel size: enter it below."
            )

    def show_now(self, magnification: float | None) -> None:
        """Write the present magnification; None where the pixel size is unknown."""
        self.now.setText("" if magnification is None else f"now {magnification:.3g}×")
