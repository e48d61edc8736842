"""A slide on the canvas: right colours at right places at every zoom, scale and units, and freed at the end."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

pytest.importorskip("qtpy")
from napari.settings import get_settings

from napari_wsi_mil.gui.camera import View, fit, look_at, visible
from napari_wsi_mil.gui.opening import read
from napari_wsi_mil.slide import open_slide

pytestmark = pytest.mark.gui

WHERE = {"nw": (0.25, 0.25), "ne": (0.25, 0.75), "sw": (0.75, 0.25), "se": (0.75, 0.75)}


def test_a_slide_lies_in_micrometres_under_its_own_name(bench, opened) -> None:
    (layer,) = bench.add(opened)
    assert layer.name == "quarters.svs"
    assert tuple(layer.scale) == (0.25, 0.25)
    assert [str(unit) for unit in layer.units] == ["micrometer", "micrometer"]
    assert layer.multiscale
    assert layer.rgb
    assert [level.shape[0] for level in layer.data] == [4096, 2048, 1024, 512, 256]
    bar = bench.viewer.canvas.overlays.scale_bar
    assert bar.visible
    assert get_settings().experimental.async_


def test_each_quarter_shows_its_colour_around_the_middle_at_any_zoom(bench, opened) -> None:
    (layer,) = bench.add(opened)
    for width_px in (60, 700, 3000, 6144):
        fit(bench.viewer, layer, View(2048 - width_px / 3, 3072 - width_px / 2, width_px / 1.5, width_px))
        picture = bench.canvas()
        for name, (y, x) in WHERE.items():
            assert bench.at(picture, y, x) == bench.quarters[name], (width_px, name)


def test_the_border_of_two_colours_is_where_the_camera_says(bench, opened) -> None:
    """The vertical border at level-0 x 3072 is drawn within a pixel of the displayed level."""
    (layer,) = bench.add(opened)
    for zoom in (0.3, 1.0, 4.0, 40.0):
        bench.viewer.scene.camera.zoom = zoom
        look_at(bench.viewer, layer, (1024.0, 3072.0))
        row = bench.canvas()[bench.viewer.canvas.size[0] // 2].astype(int)
        red = np.flatnonzero(np.abs(row - bench.quarters["nw"]).sum(1) < 30)
        shown_px = max(1.0, zoom * 0.25 * opened.steps()[layer.data_level].downsample_yx[1])
        assert abs(red.max() + 1 - len(row) / 2) <= shown_px + 1, zoom


def test_visible_is_the_inverse_of_fit(bench, opened) -> None:
    (layer,) = bench.add(opened)
    h, w = bench.viewer.canvas.size
    fit(bench.viewer, layer, View(100.0, 200.0, 2.0 * h, 2.0 * w))
    assert visible(bench.viewer, layer) == pytest.approx((100.0, 200.0, 2.0 * h, 2.0 * w))


def test_removing_the_last_layer_closes_the_slide_and_frees_it(bench, quarters, qtbot) -> None:
    slide = open_slide(quarters)
    (layer,) = bench.add(slide)
    bench.settle()
    cache, gone = slide._cache, weakref.ref(slide)
    assert cache.bytes > 0
    bench.viewer.layers.remove(layer)
    qtbot.waitUntil(lambda: slide.closed, timeout=5000)
    owner = slide._owner
    assert not [key for key in cache._blocks if key[0] == owner]
    layer = slide = None

    def freed() -> bool:
        gc.collect()
        return gone() is None

    qtbot.waitUntil(freed, timeout=5000)


def test_a_slide_shown_twice_is_closed_with_its_second_layer(bench, quarters, qtbot) -> None:
    slide = open_slide(quarters)
    (first,), (second,) = bench.add(slide), bench.add(slide)
    bench.settle()
    bench.viewer.layers.remove(first)
    qtbot.wait(50)
    assert not slide.closed
    bench.viewer.layers.remove(second)
    qtbot.waitUntil(lambda: slide.closed, timeout=5000)


def test_closing_while_pixels_load_ends_without_an_error(bench, quarters, qtbot) -> None:
    from napari.utils.notifications import notification_manager

    slide = open_slide(quarters)
    (layer,) = bench.add(slide)
    for i in range(12):
        look_at(bench.viewer, layer, (300.0 * i, 400.0 * i))
        qtbot.wait(5)
    before = len(notification_manager.records)
    bench.viewer.layers.remove(layer)
    qtbot.waitUntil(lambda: slide.closed, timeout=5000)
    qtbot.wait(100)
    assert [str(n.message) for n in notification_manager.records[before:]] == []


def test_opening_a_damaged_slide_says_one_sentence_and_adds_nothing(bench, tmp_path, qtbot) -> None:
    from napari.utils.notifications import notification_manager

    broken = tmp_path / "broken.svs"
    broken.write_bytes(b"II*\0\x08\0\0\0")
    before = len(notification_manager.records)
    assert read(str(broken)) == [(None,)]
    (note,) = notification_manager.records[before:]
    assert note.severity == "error"
    assert note.message.startswith("broken.svs")
    assert "\n" not in note.message
