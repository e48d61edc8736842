"""The tile under the last click on the slide: picture, score, rank, place."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QIcon
from qtpy.QtWidgets import QHBoxLayout, QToolButton, QWidget

from napari_wsi_mil.gui.gallery import SIDE_PX, Thumb, read_thumbs
from napari_wsi_mil.gui.job import Job
from napari_wsi_mil.gui.overview import to_pixmap
from napari_wsi_mil.gui.parts import thin, wrapped

if TYPE_CHECKING:
    from napari_wsi_mil.results import Attention, MapChoice
    from napari_wsi_mil.slide import Slide
    from napari_wsi_mil.tiles import TileGrid

HINT = "Click a place on the slide to see its tile and score here."
BESIDE = "No tile lies there: it is not tissue, or outside the region of the run."


def tile_at(grid: TileGrid, yx0: np.ndarray) -> int | None:
    """Return the tile over a level-0 point, the one with the nearest centre where several are; None without one."""
    side = np.asarray(grid.side_yx0)
    offset = yx0 - grid.yx0
    inside = np.flatnonzero(((offset >= 0) & (offset < side)).all(1))
    if not len(inside):
        return None
    return int(inside[np.abs(offset[inside] - side / 2).max(1).argmin()])


def facts(result: Attention, choice: MapChoice, tile: int) -> str:
    """Return score, rank and place of a tile in words."""
    scores = result.map_scores(choice)
    rank = 1 + int((scores > scores[tile]).sum())
    y, x = (result.grid.yx0[tile] + np.asarray(result.grid.side_yx0) / 2).tolist()
    um = np.asarray(result.slide_mpp_yx) * (y, x) / 1000
    score = f"{scores[tile]:.4g}".replace("-", "\u2212")
    return f"Score {score}\nRank {thin(rank)} of {thin(len(scores))}\ny {um[0]:.2f}, x {um[1]:.2f} mm"


class TileBox(QWidget):
    """`show_tile` reads the picture in a job; a click on it emits `picked` with the tile."""

    picked = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.tile: int | None = None
        self._job: Job | None = None
        self.picture, self.text = QToolButton(), wrapped(HINT, muted=True)
        self.picture.setIconSize(QSize(SIDE_PX, SIDE_PX))
        self.picture.setToolTip("Go to this tile.")
        self.picture.setAccessibleName("Tile under the click")
        self.picture.setStyleSheet("QToolButton { padding: 1px; }")
        self.picture.clicked.connect(self._pressed)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        layout.addWidget(self.picture, 0, Qt.AlignmentFlag.AlignTop)
        layout.addWidget(self.text, 1)
        self.clear()

    def clear(self, text: str = HINT) -> None:
        """Show no tile, and why."""
        if self._job is not None:
            self._job.cancel()
        self.tile = None
        self.picture.hide()
        self.text.setText(text)

    def show_tile(self, slide: Slide, result: Attention, choice: MapChoice, tile: int) -> None:
        """Show a tile of the result."""
        same = tile == self.tile
        self.tile = tile
        self.text.setText(facts(result, choice, tile))
        if same and self.picture.isVisibleTo(self):
            return
        if self._job is not None:
            self._job.cancel()
        self._job = Job(partial(read_thumbs, slide, result, [tile]))
        self._job.succeeded.connect(self._show_picture)
        self._job.failed.connect(self.clear)
        self._job.start()

    def _show_picture(self, thumbs: list[Thumb]) -> None:
        if [thumb.row for thumb in thumbs] == [self.tile]:
            self.picture.setIcon(QIcon(to_pixmap(thumbs[0].rgb)))
            self.picture.show()

    def _pressed(self) -> None:
        if self.tile is not None:
            self.picked.emit(self.tile)
