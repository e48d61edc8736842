"""The tiles with the highest (or lowest) scores as small pictures to click."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QIcon
from qtpy.QtWidgets import QGridLayout, QToolButton, QWidget

from napari_wsi_mil.gui.overview import to_pixmap

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    from napari_wsi_mil.gui.job import Say
    from napari_wsi_mil.results import Attention
    from napari_wsi_mil.slide import Slide
    from napari_wsi_mil.ticks import Tick

COUNT, COLUMNS, SIDE_PX, READ_PX = 8, 4, 62, 124


class Thumb(NamedTuple):
    """One tile of the gallery."""

    row: int
    """Index into the result's grid."""
    score: float
    rgb: npt.NDArray[np.uint8]


def read_thumbs(slide: Slide, result: Attention, rows: Sequence[int], tick: Tick, say: Say) -> list[Thumb]:
    """Return the pictures of grid tiles `rows`, (124, 124, 3) uint8 each."""
    say("reading tiles")
    scores, grid = result.scores(), result.grid
    # um/px of now for the level-0 pixels of then: the slide's pixel size may have been corrected since
    mpp = slide.require_mpp() * grid.downsample * grid.tile_px / READ_PX
    thumbs = []
    for i, row in enumerate(rows):
        tick(i, len(rows))
        y, x = (float(v) for v in grid.yx0[row])
        pixels = slide.read_rgb((y, x), (READ_PX, READ_PX), mpp=mpp)
        thumbs.append(Thumb(int(row), float(scores[row]), pixels))
    return thumbs


class Gallery(QWidget):
    """Emits `picked` with the index into the grid of the tile that was clicked."""

    picked = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.buttons: list[QToolButton] = []
        self.rows: list[int] = []
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(4)
        for i in range(COUNT):
            button = QToolButton()
            button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextUnderIcon)
            button.setIconSize(QSize(SIDE_PX, SIDE_PX))
            button.setStyleSheet("QToolButton { padding: 1px; } QToolButton::menu-indicator { image: none; }")
            button.setCheckable(True)
            button.setAutoExclusive(True)
            button.clicked.connect(lambda _=False, i=i: self.picked.emit(self.rows[i]))
            grid.addWidget(button, i // COLUMNS, i % COLUMNS)
            self.buttons.append(button)
        grid.setColumnStretch(COLUMNS, 1)
        self.show_thumbs([])

    def show_thumbs(self, thumbs: Sequence[Thumb]) -> None:
        """Show up to eight tiles, best first."""
        self.rows = [thumb.row for thumb in thumbs]
        for i, button in enumerate(self.buttons):
            button.setVisible(i < len(thumbs))
            button.setAutoExclusive(False)
            button.setChecked(False)
            button.setAutoExclusive(True)
            if i < len(thumbs):
                thumb = thumbs[i]
                button.setIcon(QIcon(to_pixmap(thumb.rgb)))
                button.setText(f"{thumb.score:.2f}")
                button.setToolTip(f"Rank {i + 1}, raw score {thumb.score:.4g}. Click to go there.")
