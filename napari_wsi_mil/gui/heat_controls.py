"""How a heatmap is drawn: class, normalisation, threshold, opacity. No model runs for any of these."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.utils import Colormap
from napari.utils.colormaps import ensure_colormap
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QCheckBox, QComboBox, QGridLayout, QLabel, QSlider, QWidget

from napari_wsi_mil.gui.parts import row
from napari_wsi_mil.layers import heat
from napari_wsi_mil.results import MapChoice

if TYPE_CHECKING:
    import numpy.typing as npt
    from napari.layers import Image

    from napari_wsi_mil.results import Attention

NORMALISATIONS = {
    "percentile": (
        "Percentile 1–99",
        "Colours span the middle 98 % of the scores, so that no single tile washes out the map.",
    ),
    "minmax": ("Min–max", "Colours span all scores."),
    "rank": ("Rank", "Colours show the order of the tiles, whatever their scores."),
}


PLAIN, FADING = "inferno", "inferno fading"


def fading_colours() -> Colormap:
    """Return the plain colours with an opacity that rises from nothing to full over the lower half."""
    colours = ensure_colormap(PLAIN).map(np.linspace(0, 1, 256))
    colours[:, 3] = np.clip(np.linspace(0, 2, 256), 0, 1)
    return Colormap(colours, name=FADING)


def above(values: npt.NDArray[np.float32], share: float) -> npt.NDArray[np.float32]:
    """Return `values` with the lowest `share` (0 to 1) of them made NaN, which napari draws transparent."""
    if share <= 0:
        return values
    known = values[np.isfinite(values)]
    return np.where(values >= np.quantile(known, share), values, np.nan).astype(np.float32)


class HeatControls(QWidget):
    """Acts on one heatmap layer; `show_layer` binds it."""

    changed = Signal()
    """Another map, class or normalisation was chosen."""

    def __init__(self) -> None:
        super().__init__()
        self._layer: Image | None = None
        self.visible, self.clear_low = QCheckBox("Show heatmap"), QCheckBox("Fade low scores")
        self.clear_low.setToolTip("Low scores become see-through, so that the tissue there stays visible.")
        self.classes, self.normalise = QComboBox(), QComboBox()
        self.threshold, self.opacity = _slider(), _slider()
        self.threshold_text, self.opacity_text = QLabel(), QLabel()
        self._class_label = QLabel("Class")
        for key, (text, tip) in NORMALISATIONS.items():
            self.normalise.addItem(text, key)
            self.normalise.setItemData(self.normalise.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)
        self.threshold.setAccessibleName("Share of tiles to hide, lowest scores first")
        self.opacity.setAccessibleName("Opacity of the heatmap")
        self.opacity.setToolTip("How much of the tissue the heatmap covers.")
        self.threshold.setToolTip("Hides this share of the tiles, the lowest scores first.")
        self.classes.setToolTip("Whose attention to show.")
        self._lay_out()
        self.clear_low.clicked.connect(self._set_colours)
        self.visible.clicked.connect(self._set_visible)
        self.classes.activated.connect(self._redraw)
        self.normalise.activated.connect(self._redraw)
        self.threshold.valueChanged.connect(self._redraw)
        self.opacity.valueChanged.connect(self._set_opacity)
        self.classes.activated.connect(lambda _: self.changed.emit())

    def _lay_out(self) -> None:
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setVerticalSpacing(6)
        grid.setColumnStretch(1, 1)
        boxes, line = row(gap=12)
        line.addWidget(self.visible)
        line.addWidget(self.clear_low)
        line.addStretch(1)
        grid.addWidget(boxes, 0, 0, 1, 3)
        rows = (
            (self._class_label, self.classes, None),
            (QLabel("Scale"), self.normalise, None),
            (QLabel("Hide lowest"), self.threshold, self.threshold_text),
            (QLabel("Opacity"), self.opacity, self.opacity_text),
        )
        for i, (label, field, value) in enumerate(rows, start=1):
            label.setProperty("muted", True)
            label.setBuddy(field)
            grid.addWidget(label, i, 0)
            grid.addWidget(field, i, 1, 1, 1 if value else 2)
            if value:
                value.setMinimumWidth(36)
                value.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                grid.addWidget(value, i, 2)

    @property
    def result(self) -> Attention | None:
        """The result behind the layer."""
        return None if self._layer is None else self._layer.metadata["wsi_result"]

    @property
    def map_choice(self) -> MapChoice:
        """The scores shown."""
        return MapChoice(row=self.class_index)

    @property
    def class_index(self) -> int | None:
        """The class shown; None for the likeliest, or where one map serves all."""
        return self.classes.currentIndex() if self.classes.isVisibleTo(self) else None

    def show_layer(self, layer: Image | None) -> None:
        """Control this layer from now on, starting from how it looks."""
        self._layer = None
        result = None if layer is None else layer.metadata["wsi_result"]
        if layer is None or result is None:
            return
        per_class = len(result.raw) > 1
        self._class_label.setVisible(per_class)
        self.classes.setVisible(per_class)
        self.classes.clear()
        self.classes.addItems(list(result.class_names))
        chosen = layer.metadata.get("wsi_class")
        self.classes.setCurrentIndex(result.predicted if chosen is None else chosen)
        self.normalise.setCurrentIndex(self.normalise.findData(layer.metadata["wsi_normalise"]))
        self.threshold.setValue(round(100 * layer.metadata.get("wsi_threshold", 0.0)))
        self.opacity.setValue(round(100 * layer.opacity))
        self.visible.setChecked(layer.visible)
        self.clear_low.setChecked(layer.colormap.name == FADING)
        self._layer = layer
        self._write_values()

    def _write_values(self) -> None:
        self.threshold_text.setText(f"{self.threshold.value()} %")
        self.opacity_text.setText(f"{self.opacity.value()} %")

    def _set_visible(self, on: bool) -> None:
        if self._layer is not None:
            self._layer.visible = on

    def _set_colours(self, fading: bool) -> None:
        if self._layer is not None:
            self._layer.colormap = fading_colours() if fading else PLAIN

    def _set_opacity(self, percent: int) -> None:
        self._write_values()
        if self._layer is not None:
            self._layer.opacity = percent / 100

    def _redraw(self, _: int = 0) -> None:
        self._write_values()
        layer, result = self._layer, self.result
        if layer is None or result is None:
            return
        normalise, share = self.normalise.currentData(), self.threshold.value() / 100
        raster, limits = heat(result, class_index=self.class_index, normalise=normalise)
        layer.data = above(raster.values, share)
        # the range first: napari refuses limits outside it
        layer.contrast_limits_range = limits
        layer.contrast_limits = limits
        layer.metadata.update(wsi_class=self.class_index, wsi_normalise=normalise, wsi_threshold=share)


def _slider() -> QSlider:
    slider = QSlider(Qt.Orientation.Horizontal)
    slider.setRange(0, 100)
    slider.setSingleStep(1)
    slider.setPageStep(10)
    return slider
