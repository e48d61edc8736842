"""The mouse on the canvas while prompts are given: clicks, boxes, scribbles and lassos, in the viewer's world units."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from qtpy.QtCore import QObject, QTimer, Signal

from napari_wsi_mil.gui.clicks import STILL_PX, pans

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    import numpy.typing as npt
    from napari.components import ViewerModel

    Points = npt.NDArray[np.float64]

Tool = Literal["point", "box", "scribble", "lasso"]
TOOLS: tuple[Tool, ...] = ("point", "box", "scribble", "lasso")
REST_MS = 250
"""A pointer that moved no more for this long rests."""
NAPARI_ZOOM = "double_click_to_zoom"
"""Name of napari's own answer to a double click, which sleeps while prompts are given."""


@dataclass(frozen=True, eq=False)
class Stroke:
    """What is being drawn with the button held, or was drawn."""

    tool: Tool
    path: Points
    """(N, 2) world points in order; the first is where the button went down, the last where the pointer is."""
    negative: bool = False


class SegmentMouse(QObject):
    """Turns mouse events into what a person means; knows no slide and changes nothing but the pointer's shape.

    Plain click: positive point; with Shift: negative; right click: the object there is meant. Dragging with the point
    tool moves the slide; Control turns the drag into a box, and so do the other tools, unless Space is held. Only while
    `on`, in two dimensions, and while the active layer pans and zooms: drawing tools of layers keep their clicks, and
    Alt is napari's.
    """

    clicked = Signal(object, bool)
    """(2,) world point, negative."""
    doubled = Signal()
    picked = Signal(object)
    """(2,) world point of a click with the right button."""
    drawing = Signal(object)
    """A Stroke that is not ended, at each move."""
    drawn = Signal(object)
    """A Stroke, the button let go."""
    dropped = Signal()
    """A stroke begun was given up."""
    hovered = Signal(object, bool)
    """(2,) world point, negative; while Control is held and no button."""
    left = Signal()
    """No longer: Control was let go, or the pointer is off the canvas."""
    rested = Signal(object)
    """(2,) world point where the pointer rests."""

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self.tool: Tool = "point"
        self.space = False
        """Whether Space is held: drags move the slide whatever the tool."""
        self.on = False
        self._viewer = viewer
        self._zooms: list[tuple[int, Callable[..., Any]]] = []
        self._cursor = ""
        self._at: Points | None = None
        self._peeking = self._given_up = self._busy = False
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(REST_MS)
        self._rest.timeout.connect(self._rests)
        self._attach()

    def _attach(self) -> None:
        """Listen to the canvas as long as this object lives; napari keeps mouse callbacks strongly."""
        me = weakref.ref(self)

        def press(viewer: ViewerModel, event: Any) -> Generator[None] | None:
            mouse = me()
            return None if mouse is None else mouse._press(event)

        def move(viewer: ViewerModel, event: Any) -> None:
            mouse = me()
            if mouse is not None:
                mouse._moved(event)

        def double(viewer: ViewerModel, event: Any) -> None:
            mouse = me()
            if mouse is not None:
                mouse._double(event)

        self._callbacks = press, move, double
        for callbacks, mine in zip(self._lists(), self._callbacks, strict=True):
            callbacks.append(mine)
        self._viewer.events.mouse_over_canvas.connect(self._crossed)

    def _lists(self) -> tuple[list[Any], list[Any], list[Any]]:
        viewer = self._viewer
        return viewer.mouse_drag_callbacks, viewer.mouse_move_callbacks, viewer.mouse_double_click_callbacks

    def end(self) -> None:
        """Listen no more."""
        self.turn(False)
        self._rest.stop()
        for callbacks, mine in zip(self._lists(), self._callbacks, strict=True):
            if mine in callbacks:
                callbacks.remove(mine)
        self._viewer.events.mouse_over_canvas.disconnect(self._crossed)

    # -- on and off ---------------------------------------------------------------------------
    def turn(self, on: bool) -> None:
        """Take clicks, or leave them all to napari; a stroke under way is given up."""
        if on == self.on:
            return
        self.on = on
        self.give_up()
        self._leave()
        cursor, callbacks = self._viewer.cursor, self._viewer.mouse_double_click_callbacks
        if on:
            named = [(i, f) for i, f in enumerate(callbacks) if getattr(f, "__name__", "") == NAPARI_ZOOM]
            self._zooms, self._cursor = named, str(cursor.style)
            for _, function in named:
                callbacks.remove(function)
            self.show_cursor()
        else:
            for i, function in self._zooms:
                callbacks.insert(i, function)
            cursor.style = self._cursor

    def show_cursor(self) -> None:
        """Show the shape of the pointer that says what a click does; napari sets it with each selected layer."""
        if self.on and pans(self._viewer):
            self._viewer.cursor.style = "cross"

    def give_up(self) -> bool:
        """Forget the stroke under way; returns whether there was one."""
        was = self._busy and not self._given_up
        self._given_up = self._busy
        if was:
            self.dropped.emit()
        return was

    # -- what happens on the canvas -----------------------------------------------------------
    def _press(self, event: Any) -> Generator[None] | None:
        keys = _held(event)
        if self.on and event.button == 2 and not keys and pans(self._viewer):
            return self._pick(event)
        if not self.on or event.button != 1 or not keys <= {"Shift", "Control"} or not pans(self._viewer):
            return None
        self._rest.stop()
        tool: Tool = "box" if "Control" in keys and self.tool == "point" else self.tool
        return self._hold(event, "point" if self.space else tool, "Shift" in keys)

    def _hold(self, event: Any, tool: Tool, negative: bool) -> Generator[None]:
        """Follow the pointer from press to release."""
        began, path = np.asarray(event.pos, float), [_place(event)]
        draws, farthest = tool != "point", 0.0
        self._busy, self._given_up = True, False
        event.handled = draws
        yield
        while event.type == "mouse_move":
            event.handled = draws
            farthest = max(farthest, float(np.hypot(*(np.asarray(event.pos) - began))))
            path.append(_place(event))
            if draws and farthest > STILL_PX and not self._given_up:
                self.drawing.emit(Stroke(tool, np.array(path), negative))
            yield
        # canvases leave out moves that come in quick succession
        path.append(_place(event))
        farthest = max(farthest, float(np.hypot(*(np.asarray(event.pos) - began))))
        self._busy = False
        if self._given_up or not self.on:
            self._given_up = False
        elif farthest <= STILL_PX:
            self.clicked.emit(path[0], negative)
        elif draws:
            self.drawn.emit(Stroke(tool, np.array(path), negative))

    def _pick(self, event: Any) -> Generator[None]:
        """Follow the right button, whose drag zooms."""
        began, place, farthest = np.asarray(event.pos, float), _place(event), 0.0
        yield
        while event.type == "mouse_move":
            farthest = max(farthest, float(np.hypot(*(np.asarray(event.pos) - began))))
            yield
        if farthest <= STILL_PX and self.on:
            self.picked.emit(place)

    def _double(self, event: Any) -> None:
        if self.on and event.button == 1 and not event.modifiers and pans(self._viewer):
            self.doubled.emit()

    def _moved(self, event: Any) -> None:
        if not self.on or event.buttons or self._busy:
            return
        self._at = _place(event)
        self._rest.start()
        keys = _held(event)
        if "Control" in keys and keys <= {"Shift", "Control"} and pans(self._viewer):
            self._peeking = True
            self.hovered.emit(self._at, "Shift" in keys)
        else:
            self._leave()

    def _leave(self) -> None:
        if self._peeking:
            self._peeking = False
            self.left.emit()

    def let_go(self) -> None:
        """Control was let go without a move."""
        self._leave()

    def _crossed(self, event: Any = None) -> None:
        if not self._viewer.mouse_over_canvas:
            self._rest.stop()
            self._leave()

    def _rests(self) -> None:
        if self.on and self._at is not None and not self._busy:
            self.rested.emit(self._at)


def _held(event: Any) -> set[str]:
    """Return the names of the keys held; vispy's equal their names but are no strings."""
    return {name for name in ("Shift", "Control", "Alt", "Meta") if name in event.modifiers}


def _place(event: Any) -> Points:
    return np.asarray(event.position, float)[-2:]
