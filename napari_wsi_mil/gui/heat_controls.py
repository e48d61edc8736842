"""Binds the fields of a heatmap's style to its layer. No model runs for any of these."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from qtpy.QtCore import QSignalBlocker, Signal

from napari_wsi_mil.gui.heat_fields import HeatFields
from napari_wsi_mil.gui.restyle import FADING, fading_colours, restyle
from napari_wsi_mil.results import HeatStyle, MapChoice
from napari_wsi_mil.results.colours import STEPS
from napari_wsi_mil.results.heat import heat, meaning, why_not

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari.layers import Image

    from napari_wsi_mil.results import Attention
    from napari_wsi_mil.results.heat import Heat

__all__ = ["HeatControls", "fading_colours"]


class HeatControls(HeatFields):
    """Acts on one heatmap layer; `show_layer` binds it. The layer itself remembers its style."""

    changed = Signal()
    """Another map, class, filter or scale was chosen."""

    def __init__(self) -> None:
        super().__init__()
        self._layer: Image | None = None
        self._busy = False
        self._connect()

    def _connect(self) -> None:
        self.visible.clicked.connect(self._set_visible)
        self.maps.activated.connect(self._map_chosen)
        self.classes.activated.connect(self._row_chosen)
        self.filter_slider.valueChanged.connect(self.filter.setValue)
        self.filter.valueChanged.connect(self._filter_chosen)
        self.normalise.activated.connect(self._row_chosen)
        self.colours.activated.connect(self._redraw)
        self.clear_low.clicked.connect(self._redraw)
        for slider in (self.smooth, self.threshold, self.opacity):
            slider.valueChanged.connect(self._redraw)

    # -- what is shown ------------------------------------------------------------------------
    @property
    def result(self) -> Attention | None:
        """The result behind the layer."""
        return None if self._layer is None else self._layer.metadata["wsi_result"]

    @property
    def style(self) -> HeatStyle:
        """The style of the layer shown, the plain one while there is none."""
        return HeatStyle() if self._layer is None else cast("HeatStyle", self._layer.metadata["wsi_style"])

    @property
    def map_choice(self) -> MapChoice:
        """The scores shown."""
        return self.style.choice

    def show_layer(self, layer: Image | None) -> None:
        """Control this layer from now on, starting from how it looks."""
        if self._layer is not None:
            for event, slot in self._watched(self._layer):
                event.disconnect(slot)
        self._layer = None
        result = None if layer is None else layer.metadata["wsi_result"]
        if layer is None or result is None:
            return
        style: HeatStyle = layer.metadata["wsi_style"]
        fade = layer.colormap.name.endswith(FADING)
        style = replace(style, opacity=float(layer.opacity), fade=fade)
        layer.metadata["wsi_style"] = style
        with self._quiet():
            self.visible.setChecked(layer.visible)
            self.write(result, style)
        self._layer = layer
        self._legend(heat(result, style), style)
        for event, slot in self._watched(layer):
            event.connect(slot)

    def _watched(self, layer: Image) -> tuple[tuple[Any, Any], ...]:
        events = layer.events
        return (
            (events.opacity, self._layer_changed), (events.visible, self._layer_changed),
            (events.contrast_limits, self._range_changed), (events.colormap, self._range_changed),
        )  # fmt: skip

    def _legend(self, drawn: Heat, style: HeatStyle) -> None:
        self._drawn = drawn
        self.legend.show_heat(drawn, style)

    # -- what is chosen -----------------------------------------------------------------------
    def _redraw(self, _: object = None) -> None:
        layer, result = self._layer, self.result
        if layer is None or result is None or self._busy:
            return
        style = self.chosen(result)
        self.write_values(style)
        with self._quiet():
            drawn = restyle(layer, style)
        self._legend(drawn, style)

    def _row_chosen(self, _: int = 0) -> None:
        self._redraw()
        if not self._busy:
            self.changed.emit()

    def _filter_chosen(self, number: int) -> None:
        with QSignalBlocker(self.filter_slider):
            self.filter_slider.setValue(number)
        self._row_chosen()

    def _map_chosen(self, _: int = 0) -> None:
        """Go to another map, at the class shown before where it has classes too."""
        result, before = self.result, self.style
        if result is None or self._busy:
            return
        name = self.maps.currentText()
        alike = result.rows_of(name) == result.rows_of(before.choice.name)
        style = replace(before, choice=MapChoice(name, before.choice.row if alike else None))
        if meaning(name).signed != meaning(before.choice.name).signed:
            style = replace(style, colormap=None)
        if why_not(result, style):
            # shown in the field at once: this map's card gives no such range
            style = replace(style, normalise="percentile")
        with self._quiet():
            self.write(result, style)
        self._row_chosen()

    def _set_visible(self, on: bool) -> None:
        if self._layer is not None:
            self._layer.visible = on

    # -- changes made elsewhere, such as napari's own layer controls --------------------------
    def _layer_changed(self, event: object = None) -> None:
        layer = self._layer
        if layer is None or self._busy:
            return
        style = replace(self.style, opacity=float(layer.opacity))
        layer.metadata["wsi_style"] = style
        with self._quiet():
            self.visible.setChecked(layer.visible)
            self.opacity.setValue(round(100 * style.opacity))
            self.write_values(style)

    def _range_changed(self, event: object = None) -> None:
        layer = self._layer
        if layer is None or self._busy:
            return
        limits = (float(layer.contrast_limits[0]), float(layer.contrast_limits[1]))
        ends = self._drawn.ends if self.style.normalise == "rank" else limits
        rgba = np.asarray(layer.colormap.map(np.linspace(0, 1, STEPS)), float)
        self._legend(replace(self._drawn, limits=limits, ends=ends, rgba=rgba), self.style)

    @contextmanager
    def _quiet(self) -> Iterator[None]:
        """Fields and layer may change meanwhile without one answering the other."""
        before, self._busy = self._busy, True
        try:
            yield
        finally:
            self._busy = before
