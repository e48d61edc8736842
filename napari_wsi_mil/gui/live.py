"""What happens in a viewer when a slide's layer comes or goes, whoever added it."""

from __future__ import annotations

import time
import weakref
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_info
from qtpy.QtCore import QObject, QTimer

from napari_wsi_mil.gui import background
from napari_wsi_mil.gui.ask_mpp import offer
from napari_wsi_mil.gui.framing import Framing
from napari_wsi_mil.gui.pointer import Pointer
from napari_wsi_mil.gui.slides import images_of, is_slide_image, open_slides, slide_of

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_wsi_mil.slide import Slide

GRACE_S = 0.5
"""A read in progress when its layer goes gets this long before the slide is closed under it."""

_HOSTS: weakref.WeakKeyDictionary[ViewerModel, SlideHost] = weakref.WeakKeyDictionary()
"""One host per living viewer. napari offers plugins no place of their own on a viewer, and holds callbacks weakly."""


def host(viewer: ViewerModel) -> SlideHost:
    """Return the viewer's host, made at the first call; from then on slides of this viewer are looked after."""
    if viewer not in _HOSTS:
        _HOSTS[viewer] = SlideHost(viewer)
    return _HOSTS[viewer]


class SlideHost(QObject):
    """Scale bar and background loading on when a slide comes; file closed and memory freed when its last image goes."""

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self._viewer = weakref.ref(viewer)
        self._leaving: list[tuple[Slide, weakref.ref[Layer], float]] = []
        self._timer = QTimer(self)
        self._timer.setInterval(20)
        self._timer.timeout.connect(self._close_idle)
        # napari holds callbacks weakly
        self._pointer, self._framing = Pointer(viewer), Framing(viewer)
        viewer.layers.events.inserted.connect(self._inserted)
        viewer.layers.events.removed.connect(self._removed)
        for slide in open_slides(viewer):
            self._greet(viewer, slide)

    def _inserted(self, event: Any) -> None:
        viewer, slide = self._viewer(), slide_of(event.value)
        if viewer is not None and slide is not None and images_of(viewer, slide) == [event.value]:
            self._greet(viewer, slide)

    def _greet(self, viewer: ViewerModel, slide: Slide) -> None:
        if open_slides(viewer) == [slide]:
            bar = viewer.canvas.overlays.scale_bar
            bar.visible = bar.box = True
        if background.ensure_on():
            show_info(
                "Slides load in the background now. It is napari's asynchronous slicing; the Slide panel undoes it."
            )
        if slide.mpp is None:
            offer(viewer, slide)

    def _removed(self, event: Any) -> None:
        layer, slide = event.value, slide_of(event.value)
        if slide is None or not is_slide_image(layer) or _shown(slide):
            return
        if layer.loaded:
            slide.close()
            return
        # The slicing thread still reads for this layer; closing under it would end in an error message.
        self._leaving.append((slide, weakref.ref(layer), time.monotonic() + GRACE_S))
        self._timer.start()

    def _close_idle(self) -> None:
        now = time.monotonic()
        waiting = []
        for slide, ref, limit in self._leaving:
            layer = ref()
            if _shown(slide):
                continue
            if now > limit or (layer is not None and layer.loaded):
                slide.close()
            else:
                waiting.append((slide, ref, limit))
        self._leaving = waiting
        if not waiting:
            self._timer.stop()


def _shown(slide: Slide) -> bool:
    return any(images_of(viewer, slide) for viewer in list(_HOSTS))
