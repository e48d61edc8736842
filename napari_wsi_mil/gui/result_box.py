"""What a run found: probabilities, notes, heatmap controls, top tiles."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QComboBox, QVBoxLayout, QWidget

from napari_wsi_mil.gui.bars import Bars
from napari_wsi_mil.gui.camera import View, fit
from napari_wsi_mil.gui.gallery import COUNT, Gallery, Thumb, read_thumbs
from napari_wsi_mil.gui.heat_controls import HeatControls
from napari_wsi_mil.gui.job import Job
from napari_wsi_mil.gui.parts import Notice, heading, look_of, row, wrapped
from napari_wsi_mil.gui.slides import images_of, layers_of
from napari_wsi_mil.layers import tiles_layer

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Shapes

    from napari_wsi_mil.results import Attention
    from napari_wsi_mil.slide import Slide

TILES_IN_VIEW = 4.0
"""A tile flown to takes this part of the canvas: one fourth."""
PICKED, OTHERS = "#ffd60a", "#56b4e9"


class ResultBox(QWidget):
    """Shows one attention layer of a slide; hidden while there is none."""

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self._viewer = viewer
        self._slide: Slide | None = None
        self.layer: Image | None = None
        self._job: Job | None = None
        self.title, self.about = heading(""), wrapped(muted=True)
        self.bars, self.notes, self.heat, self.gallery = Bars(), Notice(), HeatControls(), Gallery()
        self.order = QComboBox()
        self.order.addItems(["Highest attention", "Lowest attention"])
        self.order.setToolTip("Which tiles to show below.")
        tiles, line = row()
        line.addWidget(heading("Tiles"), 1)
        line.addWidget(self.order)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        for part in (
            self.title, self.bars, self.notes, heading("Heatmap"), self.heat, tiles, self.gallery, self.about,
        ):  # fmt: skip
            layout.addWidget(part)
        self.order.activated.connect(self._fill_gallery)
        self.heat.classes.activated.connect(self._fill_gallery)
        self.gallery.picked.connect(self.fly_to)
        self.hide()

    @property
    def result(self) -> Attention | None:
        """The result shown."""
        return None if self.layer is None else self.layer.metadata["wsi_result"]

    def show_slide(self, slide: Slide | None) -> None:
        """Show the slide's topmost attention layer, or keep the present one if it is still there."""
        found = [] if slide is None else [la for la in layers_of(self._viewer, slide) if _is_attention(la)]
        if self.layer is not None and self.layer in found:
            return
        self.show_layer(found[-1] if found else None)

    def show_layer(self, layer: Image | None) -> None:
        """Show this attention layer's result."""
        if layer is self.layer:
            return
        self.layer = layer
        self._slide = None if layer is None else layer.metadata["wsi_slide"]
        self.setVisible(layer is not None)
        self.heat.show_layer(layer)
        self.gallery.show_thumbs([])
        if self._job is not None:
            self._job.cancel()
        result = self.result
        if result is None:
            return
        look = look_of(self._viewer)
        self.title.setText(result.title)
        self.bars.show_classes(result.class_names, list(result.probabilities), look)
        self.notes.say(" ".join(result.notes), kind="warning", look=look)
        seconds = sum(result.seconds.values())
        tiles = f"{len(result.grid):,}".replace(",", "\u2009")
        self.about.setText(f"{tiles} tiles in {seconds:.1f} s on {result.device}")
        self.about.setToolTip("\n".join(f"{stage}: {value:.2f} s" for stage, value in result.seconds.items()))
        self._fill_gallery()

    # -- tiles --------------------------------------------------------------------------------
    def _fill_gallery(self, _: int = 0) -> None:
        slide, result = self._slide, self.result
        if slide is None or result is None or slide.closed:
            return
        lowest = self.order.currentIndex() == 1
        rows = [int(i) for i in result.top_tiles(COUNT, self.heat.class_index, lowest=lowest)]
        if self._job is not None:
            self._job.cancel()
        self._job = Job(partial(read_thumbs, slide, result, rows))
        self._job.succeeded.connect(self._show_thumbs)
        self._job.failed.connect(self._no_thumbs)
        self._job.start()

    def _show_thumbs(self, thumbs: list[Thumb]) -> None:
        self.gallery.show_thumbs(thumbs)

    def _no_thumbs(self, sentence: str) -> None:
        self.notes.say(sentence, kind="error", look=look_of(self._viewer))

    def fly_to(self, tile: int) -> None:
        """Put a tile of the grid in the middle of the canvas and outline it."""
        slide, result = self._slide, self.result
        images = [] if slide is None else images_of(self._viewer, slide)
        if slide is None or result is None or not images:
            return
        (y, x), (h, w) = result.grid.yx0[tile], result.grid.side_yx0
        margin = (TILES_IN_VIEW - 1) / 2
        fit(self._viewer, images[0], View(y - h * margin, x - w * margin, h * TILES_IN_VIEW, w * TILES_IN_VIEW))
        # napari takes a while to make a shapes layer; the view moves first
        QTimer.singleShot(0, partial(self._outline, slide, result, tile))

    def _outline(self, slide: Slide, result: Attention, tile: int) -> None:
        if result is not self.result or slide.closed:
            return
        layer = self._tiles_layer(slide, result)
        rows = self.gallery.rows
        layer.edge_color = [PICKED if row == tile else OTHERS for row in rows]

    def _tiles_layer(self, slide: Slide, result: Attention) -> Shapes:
        """Return the layer with the gallery's tiles outlined, made anew when the gallery changed."""
        rows = self.gallery.rows
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
        self._viewer.layers.selection.active = active
        return layer


def _is_attention(layer: object) -> bool:
    return layer.metadata.get("wsi_role") == "attention" and "wsi_result" in layer.metadata  # type: ignore[attr-defined]
