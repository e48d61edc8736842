"""Keys on the canvas while prompts are given, and none that napari or a layer's own tool needs."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from app_model.types import KeyBinding
from qtpy.QtCore import QObject, Signal

from napari_wsi_mil.gui.clicks import pans

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from napari.components import ViewerModel
    from napari.layers import Layer

KEYS = {"accept": "Enter", "drop": "Escape", "point": "Q", "box": "W", "scribble": "G", "lasso": "H"}
"""What each key does. Free in all key maps of napari but Enter and Escape, with which layers end what is drawn."""
ENDS = ("accept", "drop")
SPACE = "Space"


class SegmentKeys(QObject):
    """Emits what a key means while it is on; a key that somebody else has bound on the viewer is left to them."""

    pressed = Signal(str)
    """A name of `KEYS`."""
    space = Signal(bool)
    """Space went down or up."""

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self._viewer = viewer
        self._bound: list[str] = []
        self._layer: weakref.ref[Layer] | None = None
        """The layer whose Enter and Escape come here first."""
        viewer.layers.selection.events.active.connect(self._follow)

    @property
    def on(self) -> bool:
        """Whether keys are taken."""
        return bool(self._bound)

    def turn(self, on: bool) -> None:
        """Take the keys on the canvas, or give them back."""
        if on and not self._bound:
            taken = {str(bound) for bound in self._viewer.keymap}
            for name, key in KEYS.items():
                if key not in taken:
                    self._viewer.bind_key(key, self._press(name))
                    self._bound.append(key)
            if SPACE not in taken:
                self._viewer.bind_key(SPACE, self._hold())
                self._bound.append(SPACE)
        elif not on:
            for key in self._bound:
                self._viewer.bind_key(key, None)
            self._bound = []
        self._follow()

    def _press(self, name: str) -> Callable[[Any], None]:
        me = weakref.ref(self)

        def press(viewer: Any) -> None:
            keys = me()
            if keys is not None and pans(keys._viewer):
                keys.pressed.emit(name)

        return press

    def _hold(self) -> Callable[[Any], Generator[None]]:
        """Do what napari does with Space, which a key of the viewer hides, and tell."""
        me = weakref.ref(self)

        def hold(viewer: Any) -> Generator[None]:
            keys, layer = me(), viewer.layers.selection.active
            mode = str(getattr(layer, "mode", "pan_zoom"))
            if keys is not None:
                keys.space.emit(True)
            if layer is not None and mode != "pan_zoom":
                layer.mode = "pan_zoom"
            yield
            if layer is not None and mode != "pan_zoom":
                layer.mode = mode
            if keys is not None:
                keys.space.emit(False)

        return hold

    # -- layers with an Enter and Escape of their own -----------------------------------------
    def _follow(self, event: Any = None) -> None:
        """Come before the selected layer's own keys, and hand them on while it draws."""
        layer = self._viewer.layers.selection.active if self.on else None
        held = None if self._layer is None else self._layer()
        if layer is held:
            return
        if held is not None:
            for name in ENDS:
                held.bind_key(KEYS[name], None)
        self._layer = None
        if layer is not None and any(_own(layer, KEYS[name]) for name in ENDS):
            for name in ENDS:
                layer.bind_key(KEYS[name], self._shared(name), overwrite=True)
            self._layer = weakref.ref(layer)

    def _shared(self, name: str) -> Callable[[Any], None]:
        me = weakref.ref(self)

        def press(layer: Any) -> None:
            keys, own = me(), _own(layer, KEYS[name])
            if keys is not None and pans(keys._viewer):
                keys.pressed.emit(name)
            elif own is not None:
                own(layer)

        return press


def _own(layer: Layer, key: str) -> Callable[[Any], object] | None:
    """Return what napari lets a key do on layers of this kind."""
    wanted = KeyBinding.from_str(key)
    maps = (getattr(kind, "class_keymap", {}) for kind in type(layer).__mro__)
    return next((keymap[wanted] for keymap in maps if wanted in keymap), None)
