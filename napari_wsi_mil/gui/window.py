"""Whole windows for the command line: slides with all panels, and the demo with a run done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import napari
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication

from napari_wsi_mil import reader
from napari_wsi_mil.errors import ModelError
from napari_wsi_mil.gui.attention_panel import AttentionPanel
from napari_wsi_mil.gui.live import host
from napari_wsi_mil.gui.slide_panel import SlidePanel
from napari_wsi_mil.gui.waiting import wait_until
from napari_wsi_mil.gui.zoom_panel import ZoomPanel
from napari_wsi_mil.sample import sample_path

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence
    from pathlib import Path

WIDTH_PX, HEIGHT_PX = 1800, 1100
RUN_LIMIT_S, DRAW_LIMIT_S, REST_S = 1800.0, 60.0, 0.5


@dataclass(frozen=True)
class Window:
    """A napari window with all panels docked at the right, one behind the other."""

    viewer: napari.Viewer
    slide: SlidePanel
    attention: AttentionPanel
    zoom: ZoomPanel
    _docks: tuple[Any, ...]

    def bring_forward(self, panel: SlidePanel | AttentionPanel | ZoomPanel) -> None:
        """Show this panel's tab."""
        dock = self._docks[(self.slide, self.attention, self.zoom).index(panel)]
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
    slide, attention, zoom = SlidePanel(viewer), AttentionPanel(viewer), ZoomPanel(viewer)
    docks = tuple(
        viewer.window.add_dock_widget(panel, name=name, area="right", tabify=i > 0)
        for i, (name, panel) in enumerate((("Slide", slide), ("Attention", attention), ("Zoom", zoom)))
    )
    window = Window(viewer, slide, attention, zoom, docks)
    window.bring_forward(slide)
    for data, settings, _ in layers:
        viewer.add_image(data, **settings)
    return window


def view(paths: Sequence[str | os.PathLike[str]]) -> None:
    """Open slides and return when the window is closed."""
    open_window(paths)
    napari.run()


def demo(*, headless: bool = False, screenshot: Path | None = None) -> None:
    """Open the sample slide, run attention on it, and then a zoom model where there is one.

    Returns when the window is closed, once all is done if `headless`. `screenshot` keeps a picture of the window with
    the runs done. Raises ModelError if a run ends in an error.
    """
    window = open_window([sample_path()])
    zooms = window.zoom.models.card is not None
    window.bring_forward(window.attention)
    if headless or screenshot is not None:
        run_and_wait(window)
        if zooms:
            zoom_and_wait(window)
    else:
        QTimer.singleShot(500, window.attention.run.button.click)
        if zooms:
            _zoom_after(window)
    if screenshot is not None:
        save_picture(window.viewer, screenshot)
    if headless:
        window.viewer.close()
    else:
        napari.run()


def _zoom_after(window: Window) -> None:
    """Zoom once attention is done; both stay visible, and the tabs as they are: somebody may be using them."""

    def zoom() -> None:
        window.attention.run.ended.disconnect(zoom)
        if window.attention.result.layer is not None and not window.zoom.run.running:
            window.zoom.run.button.click()

    window.attention.run.ended.connect(zoom)


def run_and_wait(window: Window) -> None:
    """Press Run and return when the result is shown, gallery included; raises ModelError if it ends otherwise."""
    attention = window.attention
    _run_to_end(attention)
    wait_until(lambda: bool(attention.result.tiles.gallery.rows), DRAW_LIMIT_S)


def zoom_and_wait(window: Window) -> None:
    """Press Run of the Zoom panel and return when its result is shown; raises ModelError if it ends otherwise."""
    window.bring_forward(window.zoom)
    _run_to_end(window.zoom)


def _run_to_end(panel: AttentionPanel | ZoomPanel) -> None:
    panel.run.button.click()
    wait_until(lambda: not panel.run.running, RUN_LIMIT_S)
    if panel.result.layer is None:
        raise ModelError(panel.run.notice.text or "The run did not end in time; run it from the panel.")


def save_picture(viewer: napari.Viewer, path: str | os.PathLike[str]) -> None:
    """Write the whole window as PNG once every layer shows its pixels; notifications are closed before."""
    for widget in QApplication.allWidgets():
        if type(widget).__name__ == "NapariQtNotification":
            widget.close()
    wait_until(lambda: all(layer.loaded for layer in viewer.layers), DRAW_LIMIT_S)
    wait_until(lambda: False, REST_S)
    viewer.window.screenshot(str(path), canvas_only=False, flash=False)
