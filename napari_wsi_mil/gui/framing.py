"""Keeps an opened slide whole on the canvas while its room changes and nobody has looked elsewhere."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from napari_wsi_mil.gui.slides import is_slide_image

if TYPE_CHECKING:
    from napari.components import ViewerModel


class Framing:
    """Frames a slide again where the canvas changes its size, as long as the camera stands where napari has put it.

    napari frames the first layer when it comes and makes room for that layer's controls only afterwards; panels docked
    later take more. Without this they cut the slide off. It ends with another camera, or a layer that is no slide.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = weakref.ref(viewer)
        self._framed: tuple[object, ...] | None = None
        # napari holds both weakly
        viewer.events.reset_view.connect(self._put)
        viewer.canvas.events.size.connect(self._resized)

    def _put(self, event: Any) -> None:
        viewer = self._viewer()
        if viewer is not None and len(viewer.layers) == 1 and is_slide_image(viewer.layers[0]):
            self._framed = _camera(viewer)

    def _resized(self, event: Any) -> None:
        viewer = self._viewer()
        if viewer is None or self._framed is None:
            return
        if _camera(viewer) != self._framed or not all(is_slide_image(layer) for layer in viewer.layers):
            self._framed = None
            return
        viewer.reset_view()
        self._framed = _camera(viewer)


def _camera(viewer: ViewerModel) -> tuple[object, ...]:
    camera = viewer.scene.camera
    return viewer.dims.ndisplay, tuple(camera.center), float(camera.zoom), tuple(camera.angles)
