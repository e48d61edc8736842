"""Holes of objects as napari really draws them."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from napari.settings import get_settings
from qtpy.QtWidgets import QApplication
from shapely import Point, affinity, contains_xy

from napari_wsi_mil.layers import keyhole

pytestmark = pytest.mark.gui

spec = importlib.util.spec_from_file_location("wsi_sieve", Path(__file__).parent.parent / "sieve.py")
sieve = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sieve)
DISC = Point(50, 50).buffer(45).difference(Point(40, 40).buffer(10)).difference(Point(65, 65).buffer(12))
SHAPES = [sieve.SIEVE, affinity.translate(DISC, 0, 120)]
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
