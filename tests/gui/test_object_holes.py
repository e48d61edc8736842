"""Holes of objects as napari really draws them."""

import numpy as np
import pytest
from napari.settings import get_settings
from qtpy.QtWidgets import QApplication
from shapely import Point, Polygon, affinity, box, contains_xy, union_all

from napari_wsi_mil.layers import keyhole

pytestmark = pytest.mark.gui

COMB = Polygon([(0, 0), (0, 100), (30, 100), (30, 40), (70, 40), (70, 100), (100, 100), (100, 0)])
HOLES = [
    box(5, 60, 25, 80),
    box(5, 10, 25, 30),
    box(75, 50, 95, 70),
    box(40, 5, 60, 25),
    box(40, 28, 60, 36),
    box(75, 75, 95, 95),
]
DISC = Point(50, 50).buffer(45).difference(Point(40, 40).buffer(10)).difference(Point(65, 65).buffer(12))
SHAPES = [COMB.difference(union_all(HOLES)), affinity.translate(DISC, 0, 120)]
ZOOM = 4.0


# bermuda, the fastest there is, paints a triangle too much in the comb, with or without holes
@pytest.mark.parametrize(("backend", "shapes"), [("Fastest available", SHAPES[1:]), ("Pure python", SHAPES)])
def test_holes_are_drawn_as_holes(make_napari_viewer, backend, shapes):
    before = get_settings().experimental.triangulation_backend
    get_settings().experimental.triangulation_backend = backend
    try:
        viewer = make_napari_viewer(show=True)
        viewer.add_shapes(
            [keyhole(shape) for shape in shapes], shape_type="polygon", edge_width=0, face_color="#00ff00", opacity=1.0
        )
        camera = viewer.scene.camera
        camera.center, camera.zoom = (50, 110), ZOOM
        QApplication.processEvents()
        drawn = viewer.screenshot(canvas_only=True, flash=False)[..., 1] > 128
    finally:
        get_settings().experimental.triangulation_backend = before
    h, w = drawn.shape
    y = (np.arange(h)[:, None] + 0.5 - h / 2) / ZOOM + 50
    x = (np.arange(w)[None] + 0.5 - w / 2) / ZOOM + 110
    sure = np.ones((h, w), bool)
    inside = np.zeros((h, w), bool)
    for shape in shapes:
        inside |= contains_xy(shape, *np.broadcast_arrays(y, x))
        sure &= ~contains_xy(shape.boundary.buffer(1.0), *np.broadcast_arrays(y, x))  # edges lie to part of a pixel
    assert inside[sure].sum() > 70_000
    assert (drawn ^ inside)[sure].sum() == 0
