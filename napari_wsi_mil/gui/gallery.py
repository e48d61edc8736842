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

COUNT, MORE, COLUMNS, SIDE_PX, READ_PX = 8, 24, 4, 62, 124


class Thumb(NamedTuple):
    """One tile of the gallery."""

    row: int
    """Index into the result's grid."""
    rgb: npt.NDArray[np.uint8]


def read_thumbs(slide: Slide, result: Attention, rows: Sequence[int], tick: Tick, say: Say) -> list[Thumb]:
    """Return the pictures of grid tiles `rows`, (124, 124, 3) uint8 each."""
    say("reading tiles")
    grid = result.grid
    # um/px of now for the level-0 pixels of then: the slide's pixel size may have been corrected since
    mpp = slide.require_mpp() * grid.downsample * grid.tile_px / READ_PX
    thumbs = []
    for i, row in enumerate(rows):
        tick(i, len(rows))
        y, x = (float(v) for v in grid.yx0[row])
        thumbs.append(Thumb(int(row), slide.read_rgb((y, x), (READ_PX, READ_PX), mpp=mpp)))
    return thumbs


class Gallery(QWidget):
    """Emits `picked` with the index into the grid of the tile that was clicked."""

    picked = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.buttons: list[QToolButton] = []
        self.rows: list[int] = []
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setSpacing(4)
        self._grid.setColumnStretch(COLUMNS, 1)

    def _add_button(self) -> None:
        i, button = len(self.buttons), QToolButton()
        button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextUnderIcon)
        button.setIconSize(QSize(SIDE_PX, SIDE_PX))
        button.setStyleSheet("QToolButton { padding: 1px; } QToolButton::menu-indicator { image: none; }")
        button.setCheckable(True)
        button.clicked.connect(lambda _=False: self._clicked(i))
        self._grid.addWidget(button, i // COLUMNS, i % COLUMNS)
        self.buttons.append(button)

    def _clicked(self, index: int) -> None:
        self.select(self.rows[index])
        self.picked.emit(self.rows[index])

    def show_thumbs(self, thumbs: Sequence[Thumb], scores: npt.NDArray[np.float32] | None = None) -> None:
        """Show tiles in this order; `scores` (N,) float32 are those of all tiles of the grid."""
        self.rows = [thumb.row for thumb in thumbs]
        while len(self.buttons) < len(thumbs):
            self._add_button()
        for i, button in enumerate(self.buttons):
            button.setVisible(i < len(thumbs))
            button.setChecked(False)
            if i < len(thumbs) and scores is not None:
                score = float(scores[thumbs[i].row])
                button.setIcon(QIcon(to_pixmap(thumbs[i].rgb)))
                button.setText(short(score))
                button.setToolTip(f"Tile {i + 1}, raw score {score:.4g}. Click to go there.")

    def select(self, tile: int | None) -> None:
        """Mark this tile, if it is one of those shown, and no other."""
        for i, button in enumerate(self.buttons):
            button.setChecked(i < len(self.rows) and self.rows[i] == tile)


def short(score: float) -> str:
    """Return a score in at most seven characters."""
    size = abs(score)
    plain = size == 0 or 0.095 <= size < 1e4
    text = f"{score:.2f}" if plain else f"{score:.1e}".replace("e-0", "e-").replace("e+0", "e")
    return text.replace("-", "\u2212")
