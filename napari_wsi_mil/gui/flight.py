"""Flying the camera: the smooth way from one view to another, by a timer, until the user takes over."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from qtpy.QtCore import QObject, QTimer, Signal

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel

RHO = math.sqrt(2)
"""How much a flight prefers to zoom out before it pans; van Wijk and Nuij (InfoVis 2003) measured about 1.42."""
SECONDS_PER_LENGTH, SHORTEST_S, LONGEST_S = 0.7, 0.3, 2.0
FRAME_MS = 16


class Look(NamedTuple):
    """What a camera looks at in world units: the middle, and how much of the canvas' shorter side is seen."""

    y: float
    x: float
    width: float


@dataclass(frozen=True)
class Path:
    """The optimal way between two views after van Wijk and Nuij: it feels equally fast all along.

    `at(0)` is the start, `at(1)` the end, exactly; `length` grows with what passes by on the screen.
    """

    start: Look
    end: Look

    @property
    def _far(self) -> float:
        return math.hypot(self.end.y - self.start.y, self.end.x - self.start.x)

    @property
    def _in_place(self) -> bool:
        return self._far < 1e-6 * min(self.start.width, self.end.width)

    def _ends(self) -> tuple[float, float]:
        """Return r0 and r1 of equation 9."""
        w0, w1, u = self.start.width, self.end.width, self._far
        grown, pan = w1 * w1 - w0 * w0, RHO**4 * u * u
        b0, b1 = (grown + pan) / (2 * w0 * RHO**2 * u), (grown - pan) / (2 * w1 * RHO**2 * u)
        return math.asinh(-b0), math.asinh(-b1)

    @property
    def length(self) -> float:
        """Length S of the path, 0 for no way at all."""
        if self._in_place:
            return abs(math.log(self.end.width / self.start.width)) / RHO
        r0, r1 = self._ends()
        return abs(r1 - r0) / RHO

    def at(self, share: float) -> Look:
        """Return the view after this share (0..1) of the length."""
        if share <= 0 or share >= 1:
            return self.start if share <= 0 else self.end
        (y0, x0, w0), (y1, x1, w1) = self.start, self.end
        if self._in_place:
            return Look(y0 + share * (y1 - y0), x0 + share * (x1 - x0), w0 * (w1 / w0) ** share)
        r0, r1 = self._ends()
        r = r0 + share * (r1 - r0)
        gone = w0 / RHO**2 * (math.cosh(r0) * math.tanh(r) - math.sinh(r0)) / self._far
        return Look(y0 + gone * (y1 - y0), x0 + gone * (x1 - x0), w0 * math.cosh(r0) / math.cosh(r))


def eased(share: float) -> float:
    """Return a share of time as a share of the way: slow at both ends."""
    return share * share * (3 - 2 * share)


class Flyer(QObject):
    """Moves the camera of a viewer, frame by frame. `clock` gives seconds; tests put their own and call `tick`."""

    arrived = Signal()
    interrupted = Signal()
    """Somebody else moved the camera; a flight ends where it was."""

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self.clock: Callable[[], float] = time.monotonic
        self._viewer = viewer
        self._path: Path | None = None
        self._began_s = self._lasts_s = 0.0
        self._moving = False
        self._timer = QTimer(self)
        self._timer.setInterval(FRAME_MS)
        self._timer.timeout.connect(self.tick)
        events = viewer.scene.camera.events
        events.center.connect(self._moved)
        events.zoom.connect(self._moved)

    @property
    def flying(self) -> bool:
        """Whether it is on its way."""
        return self._path is not None

    def here(self) -> Look:
        """Return what the camera looks at now."""
        camera = self._viewer.scene.camera
        y, x = camera.center[-2:]
        return Look(float(y), float(x), float(min(self._viewer.canvas.size) / camera.zoom))

    def fly(self, to: Look, *, speed: float = 1.0) -> None:
        """Set off; an endless speed, and a way too short to see, arrive at once."""
        path = Path(self.here(), to)
        if math.isinf(speed) or path.length < 1e-3:
            self._path = None
            self._timer.stop()
            self._put(to)
            self.arrived.emit()
            return
        self._path, self._began_s = path, self.clock()
        self._lasts_s = min(max(SECONDS_PER_LENGTH * path.length, SHORTEST_S), LONGEST_S) / speed
        self._timer.start()

    def stop(self) -> None:
        """Stay where it is."""
        self._path = None
        self._timer.stop()

    def tick(self) -> None:
        """Show where the flight is by now."""
        path = self._path
        if path is None:
            return
        share = (self.clock() - self._began_s) / self._lasts_s
        self._put(path.at(eased(min(max(share, 0.0), 1.0))))
        if share >= 1:
            self.stop()
            self.arrived.emit()

    def _put(self, look: Look) -> None:
        camera = self._viewer.scene.camera
        self._moving = True
        try:
            camera.center = (camera.center[0], look.y, look.x)
            camera.zoom = float(min(self._viewer.canvas.size) / look.width)
        finally:
            self._moving = False

    def _moved(self, event: Any = None) -> None:
        if not self._moving:
            self.stop()
            self.interrupted.emit()


def frame(corners: np.ndarray, canvas_yx: tuple[int, int], *, share: float) -> Look:
    """Return the view in which world points (n, 2) take this share of the canvas, as large as it goes."""
    low, high = corners.min(0), corners.max(0)
    y, x = (low + high) / 2
    size = np.asarray(canvas_yx, float)
    # world units per canvas pixel that fit both sides
    step = float(((high - low) / (share * size)).max())
    return Look(float(y), float(x), step * float(size.min()))
