"""The pixel size in the Slide panel: seen, corrected, asked for."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("qtpy")
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QInputDialog

from napari_wsi_mil.gui.camera import visible
from napari_wsi_mil.slide import open_slide

pytestmark = pytest.mark.gui


def click(button) -> None:
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)


def test_another_pixel_size_rescales_the_layers_and_keeps_the_view(bench, shown, opened, quarters) -> None:
    click(shown.magnifier.buttons[10])
    outline = bench.viewer.add_shapes([[[0, 0], [100, 100]]], shape_type="rectangle", scale=(0.25, 0.25), units="um")
    before = visible(bench.viewer, bench.viewer.layers[0])
    shown.facts.mpp.clear()
    QTest.keyClicks(shown.facts.mpp, "0.5")
    QTest.keyClick(shown.facts.mpp, Qt.Key.Key_Return)
    assert opened.mpp == 0.5
    assert tuple(bench.viewer.layers[0].scale) == (0.5, 0.5)
    assert tuple(outline.scale) == (0.5, 0.5)
    assert visible(bench.viewer, bench.viewer.layers[0]) == pytest.approx(before)
    assert shown.facts.text("Size").startswith("3.07 × 2.05 mm")
    assert shown.magnifier.now.text() == "now 5×"
    with open_slide(quarters) as again:
        assert again.mpp == 0.5


def test_a_wrong_pixel_size_is_refused_with_a_sentence(bench, shown, opened) -> None:
    for typed, sentence in {
        "abc": "The pixel size is a number in µm per pixel, such as 0.25, got 'abc'.",
        "": "The pixel size is a number in µm per pixel, such as 0.25, got 'nothing'.",
        "1000": "quarters.svs: a pixel size is between 0.01 and 100 um/px",
        "-1": "quarters.svs: a pixel size is between 0.01 and 100 um/px",
    }.items():
        shown.facts.mpp.setText(typed)
        click(shown.facts.use)
        assert shown.facts.notice.isVisible()
        assert shown.facts.notice.text.startswith(sentence)
        assert opened.mpp == 0.25
        assert tuple(bench.viewer.layers[0].scale) == (0.25, 0.25)


def test_an_unknown_pixel_size_is_said_and_can_be_settled(bench, slide_panel, pyramid_file) -> None:
    path = pyramid_file("plain.svs", np.full((600, 900, 3), 200, np.uint8), None)
    with open_slide(path) as slide:
        (layer,) = bench.add(slide)
        assert [str(unit) for unit in layer.units] == ["pixel", "pixel"]
        assert slide_panel.facts.notice.isVisible()
        assert slide_panel.facts.notice.text == "The file holds no pixel size. Enter the pixel size above."
        assert not slide_panel.magnifier.buttons[20].isEnabled()
        assert slide_panel.magnifier.buttons[0].isEnabled()
        assert slide_panel.magnifier.now.text() == ""
        slide_panel.facts.mpp.setText("0,5")
        click(slide_panel.facts.use)
        assert slide.mpp == 0.5
        assert [str(unit) for unit in layer.units] == ["micrometer", "micrometer"]
        assert tuple(layer.scale) == (0.5, 0.5)
        assert slide_panel.magnifier.buttons[20].isEnabled()
        assert not slide_panel.facts.notice.isVisible()
        bench.settle()
        bench.viewer.layers.clear()


def test_the_notification_asks_for_the_pixel_size_and_asks_again(bench, slide_panel, pyramid_file) -> None:
    from napari.utils.notifications import notification_manager

    slide = open_slide(pyramid_file("plain.svs", np.full((600, 900, 3), 200, np.uint8), None))
    (layer,) = bench.add(slide)
    note = notification_manager.records[-1]
    assert note.message == f"Lengths are in pixels. plain.svs: {slide.pixel_size.problem}."
    ((text, pressed),) = note.actions
    assert text == "Enter pixel size …"
    pressed(note)
    dialog = find_dialog()
    assert "plain.svs" in dialog.labelText()
    dialog.setTextValue("many")
    dialog.accept()
    again = find_dialog()
    assert "got 'many'" in again.labelText()
    again.setTextValue("0.4")
    again.accept()
    assert slide.mpp == 0.4
    assert tuple(layer.scale) == (0.4, 0.4)
    assert slide_panel.facts.mpp.text() == "0.4"
    bench.settle()
    bench.viewer.layers.clear()


def find_dialog() -> QInputDialog:
    (dialog,) = [w for w in QApplication.allWidgets() if isinstance(w, QInputDialog) and w.isVisible()]
    return dialog
