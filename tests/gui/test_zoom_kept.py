"""Results of the Zoom panel: several on one slide, layers changed by hand, files."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

pytest.importorskip("qtpy")
from qtpy.QtWidgets import QFileDialog

from napari_wsi_mil.gui.zoom_box import reading_details, reading_text
from napari_wsi_mil.results import ReadingCount, Trajectory

pytestmark = pytest.mark.gui


def test_what_was_read_is_said_in_one_honest_line() -> None:
    small = ReadingCount({56: 10, 224: 18}, 1_254_400, 5_000_000, 1234, 12_340_000, 950_000)
    assert reading_text(small) == (
        "Read 1.3 Mpx for 28 views: 1\u2009234 tiles of the file, 0.13\u2009% of the 950\u2009000 at full resolution"
    )
    assert reading_details(small).splitlines() == [
        "Views: 10 of 56\u2009px and 18 of 224\u2009px.", "Decoded from the file: 5 Mpx.", "Compressed: 12 MB.",
        "Tiles of any level count; one read twice counts twice.",
    ]  # fmt: skip
    # a slide of one level is read from its finest one: more than all of it, and the line says so
    single = replace(small, file_tiles=300, level0_tiles=200, file_bytes=None)
    assert "300 tiles of the file, 150\u2009% of the 200 at full resolution" in reading_text(single)
    assert "Compressed" not in reading_details(single)


def test_several_models_are_kept_and_one_is_shown(zoom_desk) -> None:
    zoom_desk.run()
    zoom_desk.panel.models.combo.setCurrentIndex(1)
    zoom_desk.run()
    first, second = zoom_desk.layers("zoom boxes")
    assert zoom_desk.listed() == [
        ("Title of a", "tumour 75.0%", False, False), ("Title of b", "tumour 75.0%", True, True),
    ]  # fmt: skip
    assert [layer.visible for layer in zoom_desk.layers("zoom lines")] == [False, True]
    zoom_desk.click(zoom_desk.panel.results.list.rows[0].name)
    assert zoom_desk.panel.result.title.text() == "Title of a"
    assert [layer.visible for layer in zoom_desk.layers("zoom lines")] == [True, False]
    zoom_desk.click(zoom_desk.panel.results.list.rows[1].eye)
    assert (first.visible, second.visible) == (True, True)
    zoom_desk.viewer.layers.selection.active = second
    assert zoom_desk.panel.result.title.text() == "Title of b"
    zoom_desk.click(zoom_desk.panel.results.list.rows[0].remove)
    zoom_desk.qtbot.waitUntil(lambda: len(zoom_desk.viewer.layers) == 3, timeout=2000)
    assert [row[0] for row in zoom_desk.listed()] == ["Title of b"]


def test_another_run_of_a_model_replaces_its_own_layers(zoom_desk) -> None:
    zoom_desk.run()
    old = list(zoom_desk.viewer.layers)[1:]
    zoom_desk.run()
    assert len(zoom_desk.viewer.layers) == 3
    assert not set(map(id, old)) & set(map(id, zoom_desk.viewer.layers))
    assert len(zoom_desk.listed()) == 1


def test_layers_removed_and_put_back_by_hand(zoom_desk) -> None:
    zoom_desk.run()
    viewer = zoom_desk.viewer
    _, lines, places = viewer.layers
    viewer.layers.remove(lines)
    assert zoom_desk.panel.result.isVisible()
    viewer.layers.append(lines)
    zoom_desk.qtbot.wait(30)
    assert lines in viewer.layers
    viewer.layers.remove(places)
    # the lines alone would say nothing
    zoom_desk.qtbot.waitUntil(lambda: lines not in viewer.layers, timeout=2000)
    assert not zoom_desk.panel.result.isVisible()
    assert zoom_desk.listed() == []
    viewer.layers.append(places)
    assert zoom_desk.listed() == [("Title of a", "tumour 75.0%", True, True)]
    assert zoom_desk.panel.result.isVisible()


def test_shapes_deleted_by_hand_leave_the_rest_usable(zoom_desk) -> None:
    zoom_desk.run()
    layer = zoom_desk.boxes()
    layer.selected_data = {3, 4}
    layer.remove_selected()
    zoom_desk.panel.result.walk.go(zoom_desk.panel.result.result.index("I_1122"))
    zoom_desk.bench.settle()
    assert layer.nshapes == 26
    assert zoom_desk.panel.result.walk.node == zoom_desk.panel.result.result.index("I_1122")


def test_a_result_is_saved_and_opened_again(zoom_desk, tmp_path, monkeypatch) -> None:
    zoom_desk.run()
    box, path = zoom_desk.panel.results, tmp_path / "way.json"
    monkeypatch.setattr(
        QFileDialog, "getSaveFileName", lambda *_: (str(path.with_suffix("")), "Trajectory, to open again (*.json)")
    )
    zoom_desk.click(box.save)
    zoom_desk.qtbot.waitUntil(lambda: box.notice.text == f"Saved {path}", timeout=5000)
    assert Trajectory.load(path).title == "Title of a"
    zoom_desk.viewer.layers.remove(zoom_desk.boxes())
    zoom_desk.qtbot.waitUntil(lambda: len(zoom_desk.viewer.layers) == 1, timeout=2000)
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(path), ""))
    zoom_desk.click(box.open)
    zoom_desk.qtbot.waitUntil(lambda: bool(zoom_desk.listed()), timeout=5000)
    assert zoom_desk.listed() == [("Title of a", "tumour 75.0%", True, True)]
    assert zoom_desk.boxes().nshapes == 28
    assert zoom_desk.panel.result.isVisible()
    path.write_text("{}", encoding="utf-8")
    box.open_file(str(path))
    zoom_desk.qtbot.waitUntil(lambda: "way.json" in box.notice.text and "Saved" not in box.notice.text, timeout=5000)
    assert len(zoom_desk.listed()) == 1


def test_a_result_saved_without_pictures_still_shows_its_boxes(zoom_desk, opened, zoom_results, tmp_path) -> None:
    path = zoom_results.trajectory((2,), slide=opened).save(tmp_path / "small.json", views=False)
    zoom_desk.panel.results.open_file(str(path))
    zoom_desk.qtbot.waitUntil(lambda: bool(zoom_desk.listed()), timeout=5000)
    walk = zoom_desk.panel.result.walk
    walk.go(2)
    assert (walk.node, zoom_desk.boxes().nshapes) == (2, 3)
    assert walk.picture.pixmap().toImage().pixelColor(4, 4).getRgb()[:3] == (128, 128, 128)


def test_a_result_of_another_slide_is_refused(zoom_desk, zoom_results, tmp_path) -> None:
    path = tmp_path / "other.json"
    zoom_results.trajectory((2,)).save(path)
    zoom_desk.panel.results.open_file(str(path))
    zoom_desk.qtbot.waitUntil(lambda: bool(zoom_desk.panel.results.notice.text), timeout=5000)
    assert zoom_desk.panel.results.notice.text == (
        "The result was made on made-up.svs, not on quarters.svs; open that slide first."
    )


def test_a_trajectory_that_napari_opened_joins_its_slide(zoom_desk, opened, zoom_results) -> None:
    from napari_wsi_mil.layers import trajectory_layers

    result = zoom_results.trajectory((2, 2), slide=opened, slide_mpp_yx=None)
    for data, options, _ in trajectory_layers(result):
        layer = zoom_desk.viewer.add_shapes(data, **options)
    assert layer.metadata["wsi_slide"] is opened
    assert layer.scale.tolist() == [0.25, 0.25]
    assert layer.translate.tolist() == [-0.125, -0.125]
    assert zoom_desk.listed() == [("Title of magnet-test", "tumour 75.0%", True, True)]


def test_pages_and_tables_are_written_by_their_suffix(zoom_desk, opened, tmp_path, monkeypatch) -> None:
    zoom_desk.run()
    box = zoom_desk.panel.results
    for name in ("rois.geojson", "nodes.csv"):
        box.save_file(str(tmp_path / name))
        zoom_desk.qtbot.waitUntil(lambda name=name: box.notice.text.endswith(name), timeout=10_000)
        assert (tmp_path / name).stat().st_size > 1000
    told = []
    for module, name in (("trajectory_figure", "write_figure"), ("film", "write_film")):
        monkeypatch.setattr(f"napari_wsi_mil.interop.{module}.{name}", lambda *given, tick: told.append(given))
    for name in ("figure.png", "film.gif", "film.mp4"):
        box.save_file(str(tmp_path / name))
        zoom_desk.qtbot.waitUntil(lambda name=name: box.notice.text.endswith(name), timeout=10_000)
        assert told.pop() == (opened, zoom_desk.panel.result.result, str(tmp_path / name))
    box.save_file(str(tmp_path / "film.avi"))
    zoom_desk.qtbot.waitUntil(lambda: "give the file one of these" in box.notice.text, timeout=5000)


def test_a_long_save_can_be_stopped(zoom_desk, tmp_path, monkeypatch) -> None:
    def forever(path, layer, tick, say):
        say("Filming")
        while True:
            tick(3, 10)
            threading.Event().wait(0.01)

    zoom_desk.run()
    box = zoom_desk.panel.results
    monkeypatch.setattr(box, "_kind", replace(box._kind, save=forever))
    box.save_file(str(tmp_path / "film.gif"))
    zoom_desk.qtbot.waitUntil(lambda: box.notice.text == "Filming … 30\u2009%", timeout=5000)
    assert box.save.text() == "Stop"
    assert not box.open.isEnabled()
    zoom_desk.click(box.save)
    zoom_desk.qtbot.waitUntil(lambda: box.save.text() == "Save…", timeout=2000)
    assert box.notice.text == "Stopped; nothing was written."


def test_a_corrected_pixel_size_moves_the_boxes_along(zoom_desk, opened) -> None:
    from napari_wsi_mil.gui.rescale import set_pixel_size

    zoom_desk.run()
    layer = zoom_desk.boxes()
    set_pixel_size(zoom_desk.viewer, opened, (0.5, 0.5))
    image = zoom_desk.viewer.layers[0]
    assert layer.scale.tolist() == image.scale[-2:].tolist() == [0.5, 0.5]
    assert layer.translate.tolist() == [-0.25, -0.25]
