"""Whole windows for the command line: slides with all panels, and pictures of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import napari
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication

from napari_wsi_mil import reader
from napari_wsi_mil.gui.attention_panel import AttentionPanel
from napari_wsi_mil.gui.live import host
from napari_wsi_mil.gui.segment_panel import SegmentPanel
from napari_wsi_mil.gui.slide_panel import SlidePanel
from napari_wsi_mil.gui.waiting import wait_until
from napari_wsi_mil.gui.zoom_panel import ZoomPanel

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

WIDTH_PX, HEIGHT_PX = 1800, 1100
DRAW_LIMIT_S, REST_S = 60.0, 0.5


@dataclass(frozen=True)
class Window:
    """A napari window with all panels docked at the right, one behind the other."""

    viewer: napari.Viewer
    slide: SlidePanel
    attention: AttentionPanel
    zoom: ZoomPanel
    segment: SegmentPanel
    _docks: tuple[Any, ...]

    def bring_forward(self, panel: SlidePanel | AttentionPanel | ZoomPanel | SegmentPanel) -> None:
        """Show this panel's tab."""
        dock = self._docks[(self.slide, self.attention, self.zoom, self.segment).index(panel)]
        dock.raise_()
        # tabs made just now are put in order once the window gets to it
        QTimer.singleShot(0, dock.raise_)


def open_window(paths: Sequence[str | os.PathLike[str]] = ()) -> Window:
    """Show slides in a window with all panels, Slide in front; raises SlideError before anything is shown."""
    layers = reader.read_slides(list(paths)) if paths else []
    viewer = napari.Viewer(title="napari · WSI MIL", show_welcome_screen=False)
    screen = QApplication.primaryScreen().availableGeometry()
    viewer.window.resize(min(WIDTH_PX, screen.width()), min(HEIGHT_PX, screen.height()))
    host(viewer)
    slide, attention, zoom, segment = (
        SlidePanel(viewer),
        AttentionPanel(viewer),
        ZoomPanel(viewer),
        SegmentPanel(viewer),
    )
    panels = {"Slide": slide, "Attention": attention, "Zoom": zoom, "Segment": segment}
    docks = tuple(
        viewer.window.add_dock_widget(panel, name=name, area="right", tabify=i > 0)
        for i, (name, panel) in enumerate(panels.items())
    )
    window = Window(viewer, slide, attention, zoom, segment, docks)
    window.bring_forward(slide)
    for data, settings, _ in layers:
        viewer.add_image(data, **settings)
    return window


def view(paths: Sequence[str | os.PathLike[str]]) -> None:
    """Open slides and return when the window is closed."""
    open_window(paths)
    napari.run()


def save_picture(viewer: napari.Viewer, path: str | os.PathLike[str]) -> None:
    """Write the whole window as PNG once every layer shows its pixels; notifications are closed before."""
    for widget in QApplication.allWidgets():
        if type(widget).__name__ == "NapariQtNotification":
            widget.close()
    wait_until(lambda: all(layer.loaded for layer in viewer.layers), DRAW_LIMIT_S)
    wait_until(lambda: False, REST_S)
    viewer.window.screenshot(str(path), canvas_only=False, flash=False)
