"""Ways into napari: reader through npe2, sample data, and what is said when it fails."""

from __future__ import annotations

import time

import pytest

pytest.importorskip("qtpy")
from napari.utils.notifications import notification_manager
from qtpy.QtCore import Qt, QTimer
from qtpy.QtTest import QTest

from napari_wsi_mil.errors import SlideDamaged
from napari_wsi_mil.gui import opening
from napari_wsi_mil.gui.slide_panel import SlidePanel

pytestmark = pytest.mark.gui


def test_napari_opens_a_slide_through_the_manifest(bench, quarters) -> None:
    (layer,) = bench.viewer.open(str(quarters), plugin="napari-wsi-mil")
    assert layer.source.reader_plugin == "napari-wsi-mil"
    assert (layer.name, tuple(layer.scale)) == ("quarters.svs", (0.25, 0.25))
    assert bench.viewer.canvas.overlays.scale_bar.visible
    slide = layer.metadata["wsi_slide"]
    bench.settle()
    bench.viewer.layers.clear()
    bench.qtbot.waitUntil(lambda: slide.closed, timeout=3000)


def test_napari_lists_the_panels_and_the_sample(bench) -> None:
    _, slide = bench.viewer.window.add_plugin_dock_widget("napari-wsi-mil", "Slide")
    _, attention = bench.viewer.window.add_plugin_dock_widget("napari-wsi-mil", "Attention")
    assert (type(slide).__name__, type(attention).__name__) == ("SlidePanel", "AttentionPanel")
    bench.qtbot.waitUntil(lambda: attention.device.text.text().startswith("Runs on"), timeout=60_000)


def test_the_sample_opens_from_the_menu_and_from_the_empty_panel(bench, quarters, monkeypatch) -> None:
    monkeypatch.setattr(opening, "sample_path", lambda: quarters)
    bench.viewer.open_sample("napari-wsi-mil", "procedural_he")
    assert [layer.name for layer in bench.viewer.layers] == ["quarters.svs"]
    bench.settle()
    bench.viewer.layers.clear()
    panel = SlidePanel(bench.viewer)
    bench.viewer.window.add_dock_widget(panel, name="Slide", area="right")
    QTest.mouseClick(panel.empty.sample, Qt.MouseButton.LeftButton)
    assert [layer.name for layer in bench.viewer.layers] == ["quarters.svs"]
    bench.settle()
    bench.viewer.layers.clear()


def test_painting_the_sample_says_so_and_keeps_the_window_alive(bench, quarters, monkeypatch) -> None:
    turns = []

    def paint():
        limit = time.monotonic() + 20
        while len(turns) < 10 and time.monotonic() < limit:
            time.sleep(0.01)
        return quarters

    monkeypatch.setattr(opening, "PATIENCE_S", 0.05)
    monkeypatch.setattr(opening, "sample_path", paint)
    timer = QTimer()
    timer.timeout.connect(lambda: turns.append(1))
    timer.start(10)
    ((levels, settings, _),) = opening.sample_slide()
    settings["metadata"]["wsi_slide"].close()
    timer.stop()
    assert levels[0].shape == (4096, 6144, 3)
    assert len(turns) >= 10
    assert notification_manager.records[-1].message.startswith("Painting the sample slide")


def test_a_sample_that_cannot_be_painted_is_one_sentence(bench, monkeypatch) -> None:
    def paint():
        message = "sample_he.svs: the folder cannot be written."
        raise SlideDamaged(message)

    monkeypatch.setattr(opening, "sample_path", paint)
    assert opening.sample_slide() == opening.NOTHING
    assert notification_manager.records[-1].message == "sample_he.svs: the folder cannot be written."


def test_without_a_window_errors_are_raised(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(opening.napari, "current_viewer", lambda: None)
    empty = tmp_path / "empty.svs"
    empty.touch()
    with pytest.raises(SlideDamaged, match=r"^empty\.svs: "):
        opening.read(str(empty))
