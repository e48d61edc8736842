"""Arithmetic between napari's camera and level-0 pixels. `zoom` is canvas pixels per world unit."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import pint
    from napari.components import ViewerModel
    from napari.layers import Layer

UM_PER_PX_AT_1X = 10.0
"""10x means 1 um on one screen pixel."""


class View(NamedTuple):
    """What the canvas shows, in level-0 pixels; top-left corner, then size."""

    y: float
    x: float
    h: float
    w: float


def world_per_unit(viewer: ViewerModel, unit: pint.Unit) -> float:
    """Return how many of the viewer's world units one `unit` is; 1 where they cannot be compared."""
    units = viewer.layers.units
    if units is None or units[-1].dimensionality != unit.dimensionality:
        return 1.0
    return float((1 * unit).to(units[-1]).magnitude)


def visible(viewer: ViewerModel, layer: Layer) -> View:
    """Return the part of the slide's plane on the canvas, `layer` being an image of the slide."""
    scale, shift = placement(viewer, layer)
    size = np.asarray(viewer.canvas.size) / viewer.scene.camera.zoom / scale
    # napari counts from the middle of the first pixel, slides from its corner
    middle = (np.asarray(viewer.scene.camera.center[-2:]) - shift) / scale + 0.5
    y, x = middle - size / 2
    return View(float(y), float(x), float(size[0]), float(size[1]))


def look_at(viewer: ViewerModel, layer: Layer, yx0: tuple[float, float]) -> None:
    """Put the slide's point `yx0` in the middle of the canvas."""
    scale, shift = placement(viewer, layer)
    y, x = (np.asarray(yx0) - 0.5) * scale + shift
    viewer.scene.camera.center = (viewer.scene.camera.center[0], float(y), float(x))


def fit(viewer: ViewerModel, layer: Layer, view: View) -> None:
    """Show all of `view`, as large as it goes."""
    scale, _ = placement(viewer, layer)
    look_at(viewer, layer, (view.y + view.h / 2, view.x + view.w / 2))
    wanted = np.asarray((view.h, view.w)) * scale
    viewer.scene.camera.zoom = float(np.min(np.asarray(viewer.canvas.size) / wanted))


def zoom_for(magnification: float, *, per_um: float, pixel_ratio: float) -> float:
    """Return the camera zoom for a magnification, `per_um` world units to the micrometre.

    `pixel_ratio` is screen pixels per canvas pixel: on a dense display one canvas pixel is several screen pixels.
    """
    um_per_canvas_px = UM_PER_PX_AT_1X / magnification * pixel_ratio
    return 1.0 / (um_per_canvas_px * per_um)


def magnification_at(zoom: float, *, per_um: float, pixel_ratio: float) -> float:
    """Return the magnification of a camera zoom, the inverse of `zoom_for`."""
    return UM_PER_PX_AT_1X * pixel_ratio * zoom * per_um


def placement(viewer: ViewerModel, layer: Layer) -> tuple[np.ndarray, np.ndarray]:
    """Return scale and shift of a layer along y and x in the viewer's world units."""
    unit = world_per_unit(viewer, layer.units[-1])
    return np.asarray(layer.scale[-2:]) * unit, np.asarray(layer.translate[-2:]) * unit


def plane(viewer: ViewerModel, layer: Layer) -> tuple[np.ndarray, np.ndarray]:
    """Return the (2, 2) matrix and (2,) shift from a layer's own (y, x) to world units: scale, rotation, shear, affine.

    `layer_yx @ matrix + shift` is the point on the canvas.
    """
    lead = (0.0,) * (layer.ndim - 2)
    places = [np.asarray(layer.data_to_world((*lead, *end)))[-2:] for end in ((0, 0), (1, 0), (0, 1))]
    unit = world_per_unit(viewer, layer.units[-1])
    return np.stack([places[1] - places[0], places[2] - places[0]]) * unit, places[0] * unit


def world_to_yx0(viewer: ViewerModel, image: Layer, points: np.ndarray) -> np.ndarray:
    """Return world points (..., 2) as level-0 pixels of the slide `image` shows."""
    matrix, shift = plane(viewer, image)
    return (points - shift) @ np.linalg.inv(matrix) + 0.5


def layer_to_yx0(viewer: ViewerModel, image: Layer, layer: Layer, points: np.ndarray) -> np.ndarray:
    """Return points (..., 2) in the coordinates of `layer` as level-0 pixels of the slide `image` shows."""
    matrix, shift = plane(viewer, layer)
    return world_to_yx0(viewer, image, points @ matrix + shift)
