"""An opened slide stays whole while panels and controls take room, until somebody looks elsewhere."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

pytest.importorskip("qtpy")
from qtpy.QtWidgets import QLabel

from napari_wsi_mil.gui.framing import Framing

pytestmark = pytest.mark.gui


def dock(bench, width_px: int = 420) -> None:
    """Take room from the canvas at its right."""
    label = QLabel("room")
    label.setMinimumWidth(width_px)
    before = bench.viewer.canvas.size
    bench.viewer.window.add_dock_widget(label, name="Room", area="right")
    bench.qtbot.waitUntil(lambda: bench.viewer.canvas.size[1] < before[1], timeout=5000)


def share_px(bench) -> tuple[float, float]:
    """Return the slide's height and width as shares of the canvas'."""
    camera = bench.viewer.scene.camera
    size = np.ptp(bench.viewer.layers.extent.world, axis=0)
    return tuple(size * camera.zoom / bench.viewer.canvas.size)


def whole(bench) -> bool:
    """Whether the slide fills 95 % of the canvas along one axis, napari's framing, and lies in its middle."""
    middle = bench.viewer.layers.extent.world.mean(0)
    off = np.abs(np.array(bench.viewer.scene.camera.center[-2:]) - middle)
    return max(share_px(bench)) == pytest.approx(0.95, abs=0.01) and bool((off <= 0.25).all())


def test_controls_and_panels_do_not_cut_off_an_opened_slide(bench, opened) -> None:
    bench.viewer.window.resize(1280, 800)
    bench.add(opened)
    bench.settle()
    assert whole(bench)
    dock(bench)
    assert whole(bench)
    picture = bench.canvas()
    left, right = (bench.at(picture, 0.48, x) for x in (0.04, 0.96))
    assert (left, right) == (bench.quarters["nw"], bench.quarters["ne"])
    assert bench.at(picture, 0.48, 0.01) == bench.at(picture, 0.48, 0.99) == bench.at(picture, 0.01, 0.5) != left


@pytest.mark.parametrize("move", ["zoom", "centre"])
def test_a_camera_set_since_is_left_alone(bench, opened, move) -> None:
    bench.add(opened)
    bench.settle()
    camera = bench.viewer.scene.camera
    if move == "zoom":
        camera.zoom = camera.zoom * 1.001
    else:
        camera.center = (300.0, 400.0)
    stood = tuple(camera.center), camera.zoom
    dock(bench)
    assert (tuple(camera.center), camera.zoom) == stood
    bench.viewer.reset_view()
    bench.viewer.window.resize(1000, 700)
    bench.settle()
    assert whole(bench)


def test_it_ends_where_another_layer_comes(bench, opened) -> None:
    bench.add(opened)
    bench.settle()
    bench.viewer.add_points([[10.0, 10.0], [9000.0, 9000.0]])
    stood = bench.viewer.scene.camera.zoom
    dock(bench)
    assert bench.viewer.scene.camera.zoom == stood


def test_it_keeps_no_viewer_alive() -> None:
    from napari.components import ViewerModel

    viewer = ViewerModel()
    framing, seen = Framing(viewer), weakref.ref(viewer)
    del viewer
    gc.collect()
    assert seen() is None
    assert framing._viewer() is None
