"""How a slide's pixels are shown: managed colours, in-between levels, background loading."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from napari.settings import get_settings
from qtpy.compat import isalive
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QVBoxLayout, QWidget

from napari_wsi_mil.gui import background, preferred

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_wsi_mil.slide import Slide


def shown_as(layer: Image) -> tuple[bool, bool]:
    """Return (managed, between): whether the layer shows managed colours and in-between levels."""
    return layer.metadata.get("wsi_managed", False), layer.metadata.get("wsi_between", True)


class Shown(NamedTuple):
    """Pyramids of a slide's layers, and how they show its pixels."""

    pyramids: list[tuple[Image, Any]]
    managed: bool
    between: bool


def make_pyramids(images: list[Image], *, managed: bool, between: bool) -> Shown:
    """Make, or find again, the pyramids to show; reading a colour profile takes a while, so this runs in a job.

    Kept with the layer per way of showing: each pyramid has a thread that prefetches.
    """
    found = []
    for layer in images:
        made = layer.metadata.setdefault("wsi_pyramids", {shown_as(layer): layer.data})
        if (managed, between) not in made:
            slide, channel = layer.metadata["wsi_slide"], layer.metadata["wsi_channel"]
            made[managed, between] = slide.pyramid(channel=channel, managed=managed, between=between, prefetch=True)
        found.append((layer, made[managed, between]))
    return Shown(found, managed, between)


def show_as(shown: Shown) -> None:
    """Give the layers these pyramids; camera and layer settings stay."""
    for layer, levels in shown.pyramids:
        if shown_as(layer) == (shown.managed, shown.between):
            continue
        # the coarsest level first: napari would otherwise look up its present level in the new, maybe shorter list
        layer.data_level = min(len(levels), len(layer.data)) - 1
        layer.data = levels
        layer.metadata.update(wsi_managed=shown.managed, wsi_between=shown.between)


class DisplaySwitches(QWidget):
    """Check boxes that show and change how napari treats this slide, and slides at all."""

    changed = Signal(bool, bool)
    """managed, between"""

    def __init__(self) -> None:
        super().__init__()
        self.managed = QCheckBox("Scanner colours to sRGB (ICC)")
        self.between = QCheckBox("In-between levels")
        self.between.setToolTip("Averages the file's levels to steps of two: sharper and faster on 4× pyramids.")
        self.loading = QCheckBox("Load pixels in the background")
        self.loading.setToolTip(
            "napari's asynchronous slicing. The plugin switches it on when a slide opens; off, the window waits for "
            "pixels. The choice is kept."
        )
        self.ours = QCheckBox("Open slide files without asking")
        self.ours.setToolTip(
            "Makes this plugin napari's reader for slide files (not for .tif), so that napari does not ask each time. "
            "The choice is listed in napari's preferences under Plugins."
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        for box in (self.managed, self.between, self.loading, self.ours):
            layout.addWidget(box)
        self.managed.clicked.connect(self._emit)
        self.between.clicked.connect(self._emit)
        self.loading.clicked.connect(background.switch)
        self.ours.clicked.connect(preferred.prefer)
        get_settings().experimental.events.async_.connect(self._setting_changed)

    def show_slide(self, slide: Slide, layer: Image) -> None:
        """Show how this slide is displayed now."""
        managed, between = shown_as(layer)
        profile = slide.meta.icc_profile is not None
        self.managed.setEnabled(profile)
        self.managed.setToolTip(
            "Converts the scanner's colours to sRGB by the profile in the file."
            if profile
            else "This file holds no colour profile."
        )
        self.managed.setChecked(managed)
        self.between.setChecked(between)
        self.show_loading()

    def show_loading(self) -> None:
        """Show napari's present setting, which may be changed elsewhere."""
        self.loading.setChecked(background.is_on())
        self.ours.setChecked(preferred.is_preferred())

    def _setting_changed(self, event: object = None) -> None:
        # napari's settings outlive every window
        if isalive(self):
            self.show_loading()

    def _emit(self) -> None:
        self.changed.emit(self.managed.isChecked(), self.between.isChecked())
