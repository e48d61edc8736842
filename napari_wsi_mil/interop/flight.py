"""How a camera flies over a slide: out far enough to see where it goes, and in again, at an even pace."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from napari_wsi_mil.results import Trajectory

CURVE = 1.3
"""How far out a flight goes; van Wijk and Nuij (Smooth and efficient zooming and panning, 2003) found about 1.4."""
ROOM = 1.3
"""Height of a picture over the side of the region in its middle."""


class Camera(NamedTuple):
    """What a picture shows: the point in its middle and the height of the part of the slide, level-0 px."""

    y: float
    x: float
    height: float


def camera_at(result: Trajectory, index: int, *, shape_yx: tuple[int, int], aside: float = 0.0) -> Camera:
    """Return the camera that shows a region with some room; the first shows all of the slide the root covers.

    `aside` is how far left of the middle the region lies, as a part of the picture's width.
    """
    node = result.nodes[index]
    if node.parent is not None:
        height = node.side_px0 * ROOM
        y, x = node.centre_yx0
        return Camera(y, x + aside * height * shape_yx[1] / shape_yx[0], height)
    low = np.maximum(node.corner_yx0, 0)
    high = np.minimum(np.add(node.corner_yx0, node.side_px0), result.slide_shape_yx)
    height, width = (high - low).tolist()
    y, x = ((low + high) / 2).tolist()
    return Camera(y, x, max(height, width * shape_yx[0] / shape_yx[1]) * 1.06)


def flight(a: Camera, b: Camera, shares: list[float]) -> list[Camera]:
    """Return the cameras at `shares` (0..1) of the way from a to b, at an even pace for the eye."""
    far = math.hypot(b.y - a.y, b.x - a.x)
    if far < 1e-6 * min(a.height, b.height):
        return [Camera(_mix(a.y, b.y, t), _mix(a.x, b.x, t), a.height * (b.height / a.height) ** t) for t in shares]
    c2 = CURVE**2
    ends = []
    for height, sign in ((a.height, 1), (b.height, -1)):
        curve = (b.height**2 - a.height**2 + sign * c2 * c2 * far**2) / (2 * height * c2 * far)
        ends.append(-math.asinh(curve))
    long = (ends[1] - ends[0]) / CURVE
    found = []
    for share in shares:
        r = ends[0] + CURVE * share * long
        gone = a.height / c2 * (math.cosh(ends[0]) * math.tanh(r) - math.sinh(ends[0])) / far
        height = a.height * math.cosh(ends[0]) / math.cosh(r)
        found.append(Camera(_mix(a.y, b.y, gone), _mix(a.x, b.x, gone), height))
    return found


def eased(steps: int) -> list[float]:
    """Return the shares of the way after each of `steps` steps, slow at both ends; the last is 1."""
    return [0.5 - math.cos(math.pi * (k + 1) / steps) / 2 for k in range(steps)]


def tour(result: Trajectory) -> tuple[int, ...]:
    """Return the nodes a film stops at: from the whole down the branch that matters most of each view of layer 1.

    What matters is the contribution to the likeliest class, for or against it.
    """
    weight = np.abs(result.contributions[:, result.predicted])
    stops = [0]
    for first in result.children(0):
        index = first
        stops.append(index)
        while children := result.children(index):
            index = max(children, key=lambda i: float(weight[i]))
            stops.append(index)
    return (*stops, 0) if len(stops) > 1 else (0,)


def _mix(a: float, b: float, share: float) -> float:
    return a + (b - a) * share
