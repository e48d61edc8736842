"""Tiles of a result as pictures, linked both ways with the slide."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QComboBox, QFileDialog, QPushButton, QVBoxLayout, QWidget

from napari_wsi_mil.gui.camera import View, fit, world_to_yx0
from napari_wsi_mil.gui.clicks import on_click
from napari_wsi_mil.gui.gallery import COUNT, MORE, Gallery, Thumb, read_thumbs
from napari_wsi_mil.gui.job import Job
from napari_wsi_mil.gui.parts import Notice, heading, row
from napari_wsi_mil.gui.slides import images_of, layers_of
from napari_wsi_mil.gui.tile_box import BESIDE, TileBox, tile_at
from napari_wsi_mil.layers import tiles_layer
from napari_wsi_mil.results import MapChoice

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Shapes

    from napari_wsi_mil.gui.job import Say
    from napari_wsi_mil.results import Attention
    from napari_wsi_mil.slide import Slide
    from napari_wsi_mil.ticks import Tick

TILES_IN_VIEW = 4.0
"""A tile flown to takes this part of the canvas: one fourth."""
PICKED, OTHERS = "#ffd60a", "#56b4e9"


def write_sheet(slide: Slide, result: Attention, path: str, choice: MapChoice, tick: Tick, say: Say) -> str:
    """Write the tiles as one picture in the job's thread and return the path."""
    say("Saving the tiles")
    from napari_wsi_mil.interop.sheet import tile_sheet

    return str(tile_sheet(slide, result, path, choice=choice, tick=tick))


class TilesBox(QWidget):
    """`problem` carries a sentence when tiles cannot be read; `saved` the path of a picture of them."""

    problem = Signal(str)
    saved = Signal(str)

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self._viewer = viewer
        self._layer: Image | None = None
        self._choice = MapChoice()
        self._job: Job | None = None
        self.gallery, self.under, self.notice = Gallery(), TileBox(), Notice()
        self.order, self.more, self.save = QComboBox(), QPushButton("More"), QPushButton("Save…")
        self._saving: Job | None = None
        self.order.addItems(["Highest", "Lowest"])
        self.order.setAccessibleName("Which tiles to show")
        self.order.setToolTip("Tiles with the highest or the lowest scores of the map chosen above.")
        self.more.setCheckable(True)
        self.more.setToolTip(f"Show {MORE} tiles, or {COUNT} again.")
        self.save.setToolTip("Save the highest and the lowest tiles of this map as one picture (.png).")
        line, parts = row(gap=4)
        parts.addWidget(heading("Tiles"), 1)
        for button in (self.order, self.more, self.save):
            button.setStyleSheet("padding: 4px 6px;")
            parts.addWidget(button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        for part in (line, self.notice, self.gallery, heading("Tile under the click"), self.under):
            layout.addWidget(part)
        self.order.activated.connect(partial(self.fill, outlined=True))
        self.more.clicked.connect(partial(self.fill, outlined=True))
        self.save.clicked.connect(self._ask_save)
        self.gallery.picked.connect(self.fly_to)
        self.under.picked.connect(self.fly_to)
        on_click(viewer, self._clicked)

    @property
    def result(self) -> Attention | None:
        """The result whose tiles are shown."""
        return None if self._layer is None else self._layer.metadata["wsi_result"]

    @property
    def slide(self) -> Slide | None:
        """The slide they are read from."""
        return None if self._layer is None else self._layer.metadata["wsi_slide"]

    def show_layer(self, layer: Image | None) -> None:
        """Show no tiles yet of this layer; `show_choice` brings them."""
        self._layer = layer
        self.notice.clear()
        if self._job is not None:
            self._job.cancel()
        self.gallery.show_thumbs([])
        self.under.clear()

    def show_choice(self, choice: MapChoice) -> None:
        """Show the tiles with the highest (lowest) scores of one map."""
        self._choice = choice
        slide, result = self.slide, self.result
        if self.under.tile is not None and slide is not None and result is not None:
            self.under.show_tile(slide, result, choice, self.under.tile)
        self.fill()

    def fill(self, _: object = None, *, outlined: bool = False) -> None:
        """Read the pictures anew, in a job; `outlined` has outlines on the slide follow, where there are any."""
        slide, result = self.slide, self.result
        if slide is None or result is None or slide.closed:
            return
        count = MORE if self.more.isChecked() else COUNT
        self.more.setVisible(len(result.grid) > COUNT)
        self.more.setText("Fewer" if self.more.isChecked() else "More")
        lowest = self.order.currentIndex() == 1
        rows = [int(i) for i in result.top_tiles(count, self._choice, lowest=lowest)]
        if self._job is not None:
            self._job.cancel()
        self._job = Job(partial(read_thumbs, slide, result, rows))
        self._job.succeeded.connect(partial(self._show_thumbs, result, self._choice, outlined=outlined))
        self._job.failed.connect(self.problem)
        self._job.start()

    def _show_thumbs(
        self, result: Attention, choice: MapChoice, thumbs: list[Thumb], *, outlined: bool = False
    ) -> None:
        slide = self.slide
        if result is not self.result or slide is None:
            return
        self.gallery.show_thumbs(thumbs, result.map_scores(choice))
        self.gallery.select(self.under.tile)
        if outlined and self._are_outlined(slide):
            self._outline(slide, result, self.under.tile)

    def _are_outlined(self, slide: Slide) -> bool:
        return any(layer.metadata.get("wsi_role") == "tiles" for layer in layers_of(self._viewer, slide))

    # -- as one picture -----------------------------------------------------------------------
    def _ask_save(self) -> None:
        slide = self.slide
        folder = Path(slide.path).parent if slide is not None and Path(slide.path).exists() else Path.home()
        path, _ = QFileDialog.getSaveFileName(self, "Save the tiles", str(folder / "tiles.png"), "Picture (*.png)")
        if path:
            self.save_sheet(path if path.lower().endswith(".png") else f"{path}.png")

    def save_sheet(self, path: str) -> None:
        """Write the highest and the lowest tiles of the map chosen, in a job."""
        slide, result = self.slide, self.result
        if slide is None or result is None or slide.closed or self._saving is not None:
            return
        self.save.setEnabled(False)
        self._saving = Job(partial(write_sheet, slide, result, path, self._choice))
        self._saving.succeeded.connect(self.saved.emit)
        self._saving.failed.connect(self.problem)
        self._saving.ended.connect(self._save_ended)
        self._saving.start()

    def _save_ended(self) -> None:
        self._saving = None
        self.save.setEnabled(True)

    # -- from the slide to the pictures -------------------------------------------------------
    def _clicked(self, place: np.ndarray) -> None:
        slide, result = self.slide, self.result
        images = [] if slide is None else images_of(self._viewer, slide)
        if slide is None or result is None or not images or slide.closed:
            return
        tile = tile_at(result.grid, world_to_yx0(self._viewer, images[0], place))
        if tile is None:
            self.under.clear(BESIDE)
        else:
            self.under.show_tile(slide, result, self._choice, tile)
        self.gallery.select(tile)
        if self._are_outlined(slide):
            self._outline(slide, result, tile)

    # -- from the pictures to the slide -------------------------------------------------------
    def fly_to(self, tile: int) -> None:
        """Put a tile of the grid in the middle of the canvas and outline it."""
        slide, result = self.slide, self.result
        images = [] if slide is None else images_of(self._viewer, slide)
        if slide is None or result is None or not images:
            return
        (y, x), (h, w) = result.grid.yx0[tile], result.grid.side_yx0
        margin = (TILES_IN_VIEW - 1) / 2
        fit(self._viewer, images[0], View(y - h * margin, x - w * margin, h * TILES_IN_VIEW, w * TILES_IN_VIEW))
        self.under.show_tile(slide, result, self._choice, tile)
        self.gallery.select(tile)
        # napari takes a while to make a shapes layer; the view moves first
        QTimer.singleShot(0, partial(self._outline, slide, result, tile))

    def _outline(self, slide: Slide, result: Attention, tile: int | None) -> None:
        if result is not self.result or slide.closed or not images_of(self._viewer, slide):
            return
        rows = self.gallery.rows if tile is None or tile in self.gallery.rows else [*self.gallery.rows, tile]
        layer = self._tiles_layer(slide, result, rows)
        layer.edge_color = [PICKED if row == tile else OTHERS for row in rows]

    def _tiles_layer(self, slide: Slide, result: Attention, rows: list[int]) -> Shapes:
        """Return the layer with these tiles outlined, made anew when they changed."""
        for layer in layers_of(self._viewer, slide):
            if layer.metadata.get("wsi_role") == "tiles":
                if layer.metadata["wsi_result"] is result and list(layer.features["tile"]) == rows:
                    return layer
                self._viewer.layers.remove(layer)
                break
        data, settings, _ = tiles_layer(result, np.asarray(rows), slide)
        settings["opacity"] = 1.0
        # edges inside their tile, so that those of neighbours lie side by side
        inside = 1 - settings["edge_width"] / result.grid.side_yx0[0]
        data = [(corners - corners.mean(0)) * inside + corners.mean(0) for corners in data]
        active = self._viewer.layers.selection.active
        layer = self._viewer.add_shapes(data, **settings)
        if active in self._viewer.layers:
            self._viewer.layers.selection.active = active
        return layer
