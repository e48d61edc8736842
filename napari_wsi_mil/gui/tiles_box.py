"""Tiles of a result as pictures, linked both ways with the slide."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QComboBox, QPushButton, QVBoxLayout, QWidget

from napari_wsi_mil.gui.camera import View, fit, world_to_yx0
from napari_wsi_mil.gui.clicks import on_click
from napari_wsi_mil.gui.gallery import COUNT, MORE, Gallery, Thumb, read_thumbs
from napari_wsi_mil.gui.job import Job
from napari_wsi_mil.gui.parts import heading, row
from napari_wsi_mil.gui.slides import images_of, layers_of
from napari_wsi_mil.gui.tile_box import BESIDE, TileBox, tile_at
from napari_wsi_mil.layers import tiles_layer
from napari_wsi_mil.results import MapChoice

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Shapes

    from napari_wsi_mil.results import Attention
    from napari_wsi_mil.slide import Slide

TILES_IN_VIEW = 4.0
"""A tile flown to takes this part of the canvas: one fourth."""
PICKED, OTHERS = "#ffd60a", "#56b4e9"


class TilesBox(QWidget):
    """`problem` carries a sentence when tiles cannot be read."""

    problem = Signal(str)

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self._viewer = viewer
        self._layer: Image | None = None
        self._choice = MapChoice()
        self._job: Job | None = None
        self.gallery, self.under = Gallery(), TileBox()
        self.order, self.more = QComboBox(), QPushButton("More")
        self.order.addItems(["Highest scores", "Lowest scores"])
        self.order.setAccessibleName("Which tiles to show")
        self.order.setToolTip("Which tiles to show below, by the map chosen above.")
        self.more.setCheckable(True)
        self.more.setToolTip(f"Show {MORE} tiles, or {COUNT} again.")
        line, parts = row()
        parts.addWidget(heading("Tiles"), 1)
        parts.addWidget(self.order)
        parts.addWidget(self.more)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        for part in (line, self.gallery, heading("Tile under the click"), self.under):
            layout.addWidget(part)
        self.order.activated.connect(self.fill)
        self.more.clicked.connect(self.fill)
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

    def fill(self, _: object = None) -> None:
        """Read the pictures anew, in a job."""
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
        self._job.succeeded.connect(partial(self._show_thumbs, result, self._choice))
        self._job.failed.connect(self.problem)
        self._job.start()

    def _show_thumbs(self, result: Attention, choice: MapChoice, thumbs: list[Thumb]) -> None:
        if result is self.result:
            self.gallery.show_thumbs(thumbs, result.map_scores(choice))
            self.gallery.select(self.under.tile)

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
        if any(layer.metadata.get("wsi_role") == "tiles" for layer in layers_of(self._viewer, slide)):
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
