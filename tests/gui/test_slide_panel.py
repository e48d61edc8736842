"""The Slide slide_panel, used as a person does: clicks, drags, typing."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

pytest.importorskip("qtpy")
from napari.settings import get_settings
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QCheckBox

from napari_wsi_mil.gui.associated import LABEL_BUTTON, PictureWindow
from napari_wsi_mil.gui.camera import visible
from napari_wsi_mil.slide import open_slide

pytestmark = pytest.mark.gui

LEFT = Qt.MouseButton.LeftButton


def click(widget) -> None:
    """Click a button in its middle, a check box on its box."""
    spot = QPoint(10, widget.height() // 2) if isinstance(widget, QCheckBox) else widget.rect().center()
    QTest.mouseClick(widget, LEFT, Qt.KeyboardModifier.NoModifier, spot)


def test_without_a_slide_it_says_what_to_do(slide_panel) -> None:
    assert slide_panel.empty.isVisible()
    assert not slide_panel.overview.isVisible()
    assert slide_panel.empty.sample.isVisible()


def test_it_shows_what_the_file_says(shown) -> None:
    assert not shown.empty.isVisible()
    assert shown.facts.text("Size") == "1.54 × 1.02 mm\n6\u2009144 × 4\u2009096 px"
    assert shown.facts.mpp.text() == "0.25"
    assert shown.facts.text("Objective") == "40×"
    assert shown.facts.text("Levels") == "3: 1×, 4×, 16×"
    assert not shown.facts.notice.isVisible()


def test_a_magnification_button_puts_ten_um_over_it_on_a_screen_pixel(bench, shown) -> None:
    for magnification in (1, 5, 10, 20, 40):
        click(shown.magnifier.buttons[magnification])
        canvas_px_per_um = bench.viewer.scene.camera.zoom
        assert 1 / canvas_px_per_um / shown.devicePixelRatioF() == pytest.approx(10 / magnification)
        assert shown.magnifier.now.text() == f"now {magnification}×"


def test_fit_shows_the_whole_slide(bench, shown) -> None:
    click(shown.magnifier.buttons[40])
    click(shown.magnifier.buttons[0])
    view = visible(bench.viewer, bench.viewer.layers[0])
    assert view.y < 0
    assert view.x < 0
    assert view.y + view.h > 4096
    assert view.x + view.w > 6144
    assert min(view.h / 4096, view.w / 6144) == pytest.approx(1.04, abs=0.01)


def test_a_click_on_the_overview_moves_the_view_there_and_a_drag_takes_it_along(bench, shown) -> None:
    click(shown.magnifier.buttons[20])
    place = shown.overview.picture_rect()
    spot = QPoint(round(place.x() + place.width() * 0.75), round(place.y() + place.height() * 0.25))
    QTest.mouseClick(shown.overview, LEFT, Qt.KeyboardModifier.NoModifier, spot)
    picture = bench.canvas()
    assert bench.at(picture, 0.5, 0.5) == bench.quarters["ne"]
    target = QPoint(round(place.x() + place.width() * 0.25), round(place.y() + place.height() * 0.75))
    QTest.mousePress(shown.overview, LEFT, Qt.KeyboardModifier.NoModifier, spot)
    QTest.mouseMove(shown.overview, target)
    bench.qtbot.wait(30)
    QTest.mouseRelease(shown.overview, LEFT, Qt.KeyboardModifier.NoModifier, target)
    view = visible(bench.viewer, bench.viewer.layers[0])
    px_per_widget_px = 6144 / place.width()
    assert view.x + view.w / 2 == pytest.approx(6144 * 0.25, abs=px_per_widget_px)
    assert view.y + view.h / 2 == pytest.approx(4096 * 0.75, abs=px_per_widget_px)
    assert bench.at(bench.canvas(), 0.5, 0.5) == bench.quarters["sw"]


def test_the_rectangle_on_the_overview_is_the_view(bench, shown) -> None:
    click(shown.magnifier.buttons[20])
    view, place = visible(bench.viewer, bench.viewer.layers[0]), shown.overview.picture_rect()
    rect = shown.overview.view_rect()
    assert rect.width() == pytest.approx(view.w / 6144 * place.width())
    assert rect.x() - place.x() == pytest.approx(view.x / 6144 * place.width())
    assert place.width() / place.height() == pytest.approx(1.5)


def test_arrow_keys_move_by_a_quarter(bench, shown) -> None:
    click(shown.magnifier.buttons[20])
    before = visible(bench.viewer, bench.viewer.layers[0])
    QTest.keyClick(shown.overview, Qt.Key.Key_Right)
    after = visible(bench.viewer, bench.viewer.layers[0])
    assert after.x - before.x == pytest.approx(before.w / 4)
    assert after.y == pytest.approx(before.y)


def test_in_between_levels_are_a_switch(bench, shown) -> None:
    layer = bench.viewer.layers[0]
    assert [level.shape[0] for level in layer.data] == [4096, 2048, 1024, 512, 256]
    click(shown.display.between)
    bench.qtbot.waitUntil(lambda: len(layer.data) == 3, timeout=5000)
    assert [level.shape[0] for level in layer.data] == [4096, 1024, 256]
    click(shown.magnifier.buttons[0])
    picture = bench.canvas()
    assert bench.at(picture, 0.35, 0.35) == bench.quarters["nw"]
    assert bench.at(picture, 0.65, 0.65) == bench.quarters["se"]
    click(shown.display.between)
    bench.qtbot.waitUntil(lambda: len(layer.data) == 5, timeout=5000)
    assert [level.shape[0] for level in layer.data] == [4096, 2048, 1024, 512, 256]
    assert bench.at(bench.canvas(), 0.65, 0.35) == bench.quarters["sw"]


def test_colour_management_needs_a_profile(shown) -> None:
    assert not shown.display.managed.isEnabled()
    assert shown.display.managed.toolTip() == "This file holds no colour profile."


def test_background_loading_is_seen_and_undone(shown) -> None:
    assert get_settings().experimental.async_
    assert shown.display.loading.isChecked()
    click(shown.display.loading)
    assert not get_settings().experimental.async_
    click(shown.display.loading)
    assert get_settings().experimental.async_
    get_settings().experimental.async_ = False
    assert not shown.display.loading.isChecked()


def test_the_label_needs_its_own_words(bench, shown, opened, monkeypatch) -> None:
    asked = []

    def read(name: str) -> np.ndarray:
        asked.append(name)
        return np.full((40, 60, 3), 90, np.uint8)

    monkeypatch.setattr(opened, "read_associated", read)
    shown.associated.show_names(("label", "macro", "thumbnail"))
    assert shown.associated.buttons["label"].text() == LABEL_BUTTON
    assert [b.text() for n, b in shown.associated.buttons.items() if n != "label"] == ["Macro", "Thumbnail"]
    bench.qtbot.wait(20)
    assert asked == []
    click(shown.associated.buttons["macro"])
    bench.qtbot.waitUntil(lambda: bool(shown.findChildren(PictureWindow)), timeout=3000)
    assert asked == ["macro"]
    (window,) = shown.findChildren(PictureWindow)
    assert window.windowTitle() == "Macro of quarters.svs"
    assert (window.label.pixmap().width(), window.label.pixmap().height()) == (60, 40)
    window.close()


def test_it_follows_the_selected_slide_and_forgets_closed_ones(bench, shown, pyramid_file) -> None:
    other = open_slide(pyramid_file("other.svs", np.full((512, 768, 3), 120, np.uint8), 0.5))
    (layer,) = bench.add(other)
    assert shown.slide is other
    assert shown.facts.text("Size").startswith("0.38 × 0.26 mm")
    bench.viewer.layers.selection.active = bench.viewer.layers[0]
    assert shown.slide.name == "quarters.svs"
    shown.choice.combo.setCurrentIndex(1)
    shown.choice.combo.activated.emit(1)
    assert shown.slide is other
    bench.settle()
    bench.viewer.layers.remove(layer)
    assert shown.slide.name == "quarters.svs"
    assert other.closed
    bench.viewer.layers.clear()
    assert shown.slide is None
    assert shown.empty.isVisible()


def test_slide_files_open_without_asking_when_told_so(shown) -> None:
    settings = get_settings().plugins
    settings.extension2reader = {"*.csv": "napari"}
    click(shown.display.ours)
    assert settings.extension2reader["*.svs"] == "napari-wsi-mil"
    assert settings.extension2reader["*.mrxs"] == "napari-wsi-mil"
    assert "*.tif" not in settings.extension2reader
    click(shown.display.ours)
    assert settings.extension2reader == {"*.csv": "napari"}


def test_channels_are_layers_and_the_overview_adds_them_up(bench, slide_panel, tmp_path) -> None:
    planes = np.zeros((2, 512, 768), np.uint16)
    planes[0, :, :384], planes[1, :, 384:] = 900, 500
    path = tmp_path / "two.ome.tif"
    tifffile.imwrite(
        path, planes, ome=True, tile=(256, 256), metadata={"axes": "CYX", "Channel": {"Name": ["DAPI", "FITC"]}}
    )
    slide = open_slide(path)
    first, second = bench.add(slide)
    assert [layer.name for layer in (first, second)] == ["two.ome.tif · DAPI", "two.ome.tif · FITC"]
    first.colormap, second.colormap = "red", "green"
    bench.qtbot.waitUntil(lambda: slide_panel.overview._picture is not None, timeout=5000)
    slide_panel._draw_overview(slide)

    def colours() -> list[tuple[int, ...]]:
        image = slide_panel.overview._picture.toImage()
        return [image.pixelColor(round(image.width() * x), image.height() // 2).getRgb()[:3] for x in (0.25, 0.75)]

    bench.qtbot.waitUntil(lambda: colours() == [(255, 0, 0), (0, 255, 0)], timeout=5000)
    picture = bench.canvas()
    assert bench.at(picture, 0.5, 0.3) == (255, 0, 0)
    assert bench.at(picture, 0.5, 0.7) == (0, 255, 0)
    bench.viewer.layers.clear()
