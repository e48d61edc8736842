"""Layers taken away by a panel: never while napari still tells of another one's end, which it cannot bear."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import QTimer

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer


def remove_soon(viewer: ViewerModel, layer: Layer | None) -> None:
    """Hide a layer now and remove it as soon as the window has nothing else to do; None and lost ones are no matter."""
    if layer is not None and layer in viewer.layers:
        layer.visible = False
        QTimer.singleShot(0, partial(_remove, viewer, layer))


def _remove(viewer: ViewerModel, layer: Layer) -> None:
    if layer in viewer.layers:
        viewer.layers.remove(layer)
