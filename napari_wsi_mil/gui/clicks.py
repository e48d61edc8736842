"""Plain clicks on the canvas: left button, no drag, no key held, nothing being drawn."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from napari.components import ViewerModel

STILL_PX = 4.0
"""A press that moved no farther is a click, not a drag."""


def on_click(viewer: ViewerModel, told: Callable[[np.ndarray], None]) -> None:
    """Call the bound method `told` with the (2,) world point of every plain click, as long as its object lives.

    Only while the active layer pans and zooms: clicks of drawing tools are theirs.
    """
    method: Any = weakref.WeakMethod(told)  # type: ignore[arg-type]

    def pressed(viewer: ViewerModel, event: Any) -> Generator[None]:
        act = method()
        if act is None:
            viewer.mouse_drag_callbacks.remove(pressed)
        if act is None or event.button != 1 or event.modifiers or not pans(viewer):
            return
        began, place = np.asarray(event.pos, float), np.asarray(event.position)[-2:]
        farthest = 0.0
        yield
        while event.type == "mouse_move":
            farthest = max(farthest, float(np.hypot(*(np.asarray(event.pos) - began))))
            yield
        if farthest <= STILL_PX:
            act(place)

    viewer.mouse_drag_callbacks.append(pressed)


def pans(viewer: ViewerModel) -> bool:
    """Whether clicks on the canvas are no drawing tool's: two dimensions, and the active layer pans and zooms."""
    active = viewer.layers.selection.active
    return viewer.dims.ndisplay == 2 and (active is None or getattr(active, "mode", "pan_zoom") == "pan_zoom")
