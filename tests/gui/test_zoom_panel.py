"""The Zoom panel with models of its own: runs, their states, two slides, files; what is clicked is what happens."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("qtpy")
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractButton, QAbstractSlider, QAbstractSpinBox, QComboBox, QFileDialog, QScrollBar

from napari_wsi_mil.errors import NoTissue
from napari_wsi_mil.gui.camera import look_at, visible
from napari_wsi_mil.gui.model_choice import summary
from napari_wsi_mil.gui.zoom_box import reading_details, reading_text
from napari_wsi_mil.models.card import save_card
from napari_wsi_mil.results import ReadingCount, Trajectory
from napari_wsi_mil.results.trajectory_style import depth_colour
from napari_wsi_mil.slide import open_slide

pytestmark = pytest.mark.gui


def rows(desk) -> list[tuple[str, str, bool, bool]]:
    """Return name, answer, boxes on, shown below, of each result listed."""
    found = desk.panel.results.list.rows
    return [(r.name.whole, r.answer.text(), r.eye.isChecked(), r.name.isChecked()) for r in found]


def boxes(desk):
    (layer,) = desk.layers("zoom boxes")
    return layer


def test_before_a_run_it_shows_models_place_device_and_notice(zoom_desk) -> None:
    panel = zoom_desk.panel
    assert [panel.models.combo.itemText(i) for i in range(2)] == ["Title of a", "Title of b"]
    assert panel.models.summary.text() == ("Classes: normal, tumour\nLooks at 28 views, the last 18 chosen in 3 steps")
    assert panel.region.combo.currentText() == "Whole slide"
    assert panel.run.button.text() == "Run"
    assert panel.run.button.isEnabled()
    assert not panel.result.isVisible()
    assert not panel.results.save.isEnabled()
    texts = [label.text() for label in panel.findChildren(type(panel.models.summary))]
    assert "Research use only. Not a diagnosis." in texts
    zoom_desk.qtbot.waitUntil(lambda: panel.device.text.text() == "Runs on CPU, 2 threads: no GPU found.", timeout=3000)


def test_the_summary_counts_the_views_of_the_model(zoom_module) -> None:
    four = zoom_module.card("d", options={"patches": [3, 2, 3, 2]}, limits="Trained on bowel. More.")
    assert summary(four).splitlines()[1:] == [
        "Looks at 64 views, the last 36 chosen in 4 steps", "Trained on bowel; on anything else it guesses.",
    ]  # fmt: skip


def test_without_a_model_it_says_how_to_get_one(zoom_desk, zoom_module, offered, tmp_path, monkeypatch) -> None:
    panel = zoom_desk.panel
    offered()
    panel.models.load()
    assert panel.models.summary.text().startswith("No zoom model comes with this copy of the package. Train one")
    assert "napari-wsi-mil train zoom --slides slides.csv" in panel.models.summary.text()
    assert not panel.models.combo.isEnabled()
    assert not panel.run.button.isEnabled()
    path = save_card(zoom_module.card("mine"), tmp_path)
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(path), ""))
    zoom_desk.click(panel.models.other)
    assert panel.models.combo.isEnabled()
    zoom_desk.run()
    assert zoom_desk.model.asked[0]["model"] == "mine"


def test_a_head_is_no_zoom_model(zoom_desk, desk_module, tmp_path) -> None:
    zoom_desk.panel.models.load_file(str(save_card(desk_module.card("a"), tmp_path)))
    assert zoom_desk.panel.run.notice.text == "'a' is a head; expected a zoom model, choose its card."


def test_a_run_shows_answer_what_was_read_boxes_and_lines(zoom_desk, opened) -> None:
    zoom_desk.run()
    (asked,) = zoom_desk.model.asked
    assert (asked["model"], asked["slide"], asked["region"], asked["device"]) == ("a", opened, None, "auto")
    result = zoom_desk.panel.result
    assert result.isVisible()
    assert result.title.text() == "Title of a"
    assert result.bars.rows == [("tumour", pytest.approx(0.75)), ("normal", pytest.approx(0.25))]
    assert result.notes.text == "Only a test."
    assert result.about.text() == (
        "Read 1.3 Mpx for 28 views: 10 tiles of the file, 0.1\u2009% of the 10\u2009000 at full resolution; "
        "1.5 s on CPU."
    )
    assert "Zooming: 1.00 s" in result.about.toolTip()
    assert rows(zoom_desk) == [("Title of a", "tumour 75.0%", True, True)]
    slide, lines, places = zoom_desk.viewer.layers
    assert (lines.metadata["wsi_role"], places.metadata["wsi_role"]) == ("zoom lines", "zoom boxes")
    assert (lines.nshapes, places.nshapes) == (24, 28)
    assert places.features["name"].tolist()[:3] == ["I_1", "I_11", "I_12"]
    # the selected layer stays the selected one: clicks go on to move the slide
    assert zoom_desk.viewer.layers.selection.active is slide


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


def test_boxes_lie_where_they_belong_at_every_zoom(bench, opened, zoom_results) -> None:
    """A frame of 2 screen pixels has its middle on the box, to one and a half screen pixels."""
    from napari_wsi_mil.layers import trajectory_layers

    viewer, result = bench.viewer, zoom_results.trajectory(slide=opened)
    (image,) = bench.add(opened)
    _, (data, options, _) = trajectory_layers(result, slide=opened)
    layer = viewer.add_shapes(data, **options)
    layer.text.visible = viewer.canvas.overlays.scale_bar.visible = False
    for name, zoom in (("I_11", 0.8), ("I_112", 2.0), ("I_1122", 5.0)):
        node = result.nodes[result.index(name)]
        layer.edge_color = ["magenta" if other == name else "transparent" for other in layer.features["name"]]
        layer.edge_width = [2 / zoom / 0.25] * layer.nshapes
        look_at(viewer, image, node.centre_yx0)
        viewer.scene.camera.zoom = zoom
        picture = bench.canvas().astype(int)
        drawn = np.argwhere((picture[..., 0] > 200) & (picture[..., 1] < 60) & (picture[..., 2] > 200))
        view = visible(viewer, image)
        screen_px = view.h / picture.shape[0]
        first = np.array(view[:2]) + (drawn.min(0) + 1) * screen_px
        last = np.array(view[:2]) + drawn.max(0) * screen_px
        corner = np.array(node.corner_yx0)
        assert np.abs(first - corner).max() < 1.5 * screen_px, name
        assert np.abs(last - corner - node.side_px0).max() < 1.5 * screen_px, name


def test_each_depth_has_its_colour_on_the_canvas(zoom_desk) -> None:
    """On the left edges of boxes, low enough that those inside have none there."""
    zoom_desk.run()
    viewer, result = zoom_desk.viewer, zoom_desk.panel.result.result
    viewer.canvas.overlays.scale_bar.visible = False
    for name, depths in (("I_12", (1, 2)), ("I_1222", (3,))):
        node = result.nodes[result.index(name)]
        y, x = node.corner_yx0
        look_at(viewer, viewer.layers[0], (y + 0.9 * node.side_px0, x))
        viewer.scene.camera.zoom = 2000 / node.side_px0
        picture = zoom_desk.bench.canvas()
        h, w = picture.shape[:2]
        around = picture[h // 2, w // 2 - 6 : w // 2 + 7].astype(int)
        # the wider edge of I_12 shows beside that of I_121, which lies on it
        for colour in map(depth_colour, depths):
            assert np.abs(around - np.array(colour)).max(axis=1).min() < 40, (name, colour)


def test_cancel_answers_at_once_and_leaves_nothing(zoom_desk, zoom_module) -> None:
    run, zoom_desk.model.act = zoom_desk.panel.run, zoom_module.endless
    zoom_desk.click(run.button)
    assert run.button.text() == "Cancel"
    assert run.button.toolTip() == "Stop the run."
    zoom_desk.qtbot.waitUntil(lambda: "left" in run.status.text(), timeout=5000)
    assert run.status.text().startswith("Zooming ")
    with zoom_desk.qtbot.waitSignal(run.ended, timeout=1000):
        zoom_desk.click(run.button)
    assert run.notice.text == "Cancelled."
    assert run.button.text() == "Run"
    assert len(zoom_desk.viewer.layers) == 1


def test_cancel_answers_within_a_second_while_a_read_hangs(zoom_desk, zoom_results) -> None:
    hang = threading.Event()
    zoom_desk.model.act = lambda slide, *_, **__: (hang.wait(10), zoom_results.trajectory(slide=slide))[1]
    run = zoom_desk.panel.run
    zoom_desk.click(run.button)
    zoom_desk.qtbot.wait(50)
    with zoom_desk.qtbot.waitSignal(run.ended, timeout=1500):
        zoom_desk.click(run.button)
    hang.set()
    zoom_desk.qtbot.wait(100)
    assert len(zoom_desk.viewer.layers) == 1


def test_an_error_is_one_sentence_and_a_second_run_clears_it(zoom_desk) -> None:
    def none(*_, **__):
        message = "quarters.svs: no tissue was found in the view of the whole slide; draw a region around it."
        raise NoTissue(message)

    good, zoom_desk.model.act = zoom_desk.model.act, none
    zoom_desk.run()
    notice = zoom_desk.panel.run.notice
    assert notice.text.endswith("draw a region around it.")
    assert len(zoom_desk.viewer.layers) == 1
    zoom_desk.model.act = good
    zoom_desk.run()
    assert not notice.isVisible()
    assert zoom_desk.panel.result.isVisible()


def test_a_drawn_region_limits_the_run_and_its_result_stands_beside_that_of_the_whole(zoom_desk, zoom_results) -> None:
    zoom_desk.run()
    layer = zoom_desk.draw((512, 1024, 1536, 2048))
    zoom_desk.panel.region.choose(layer)

    def inside(slide, model, *, region, **_):
        result = zoom_results.trajectory((2,), slide=slide, model=model.name)
        (outline,) = region
        left, top, right, bottom = outline.bounds
        root = replace(result.nodes[0], centre_yx0=((left + right) / 2, (top + bottom) / 2), side_px0=right - left)
        return replace(result, nodes=(root, *result.nodes[1:]))

    zoom_desk.model.act = inside
    zoom_desk.run()
    (outline,) = zoom_desk.model.asked[1]["region"]
    assert outline.bounds == (512, 1024, 1536, 2048)
    assert rows(zoom_desk) == [
        ("Title of a", "tumour 75.0%", False, False), ("Title of a · region", "tumour 75.0%", True, True),
    ]  # fmt: skip
    # its boxes limit no run
    assert [zoom_desk.panel.region.combo.itemText(i) for i in range(2)] == ["Whole slide", "drawn"]
    assert zoom_desk.panel.region.combo.count() == 2
    zoom_desk.run()
    assert len(rows(zoom_desk)) == 2


def test_several_models_are_kept_and_one_is_shown(zoom_desk) -> None:
    zoom_desk.run()
    zoom_desk.panel.models.combo.setCurrentIndex(1)
    zoom_desk.run()
    first, second = zoom_desk.layers("zoom boxes")
    assert rows(zoom_desk) == [
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
    assert [row[0] for row in rows(zoom_desk)] == ["Title of b"]


def test_another_run_of_a_model_replaces_its_own_layers(zoom_desk) -> None:
    zoom_desk.run()
    old = list(zoom_desk.viewer.layers)[1:]
    zoom_desk.run()
    assert len(zoom_desk.viewer.layers) == 3
    assert not set(map(id, old)) & set(map(id, zoom_desk.viewer.layers))
    assert len(rows(zoom_desk)) == 1


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
    assert rows(zoom_desk) == []
    viewer.layers.append(places)
    assert rows(zoom_desk) == [("Title of a", "tumour 75.0%", True, True)]
    assert zoom_desk.panel.result.isVisible()


def test_shapes_deleted_by_hand_leave_the_rest_usable(zoom_desk) -> None:
    zoom_desk.run()
    layer = boxes(zoom_desk)
    layer.selected_data = {3, 4}
    layer.remove_selected()
    zoom_desk.panel.result.walk.go(zoom_desk.panel.result.result.index("I_1122"))
    zoom_desk.bench.settle()
    assert layer.nshapes == 26
    assert zoom_desk.panel.result.walk.node == zoom_desk.panel.result.result.index("I_1122")


def test_closing_the_slide_ends_the_run(zoom_desk, zoom_module) -> None:
    zoom_desk.model.act = zoom_module.endless
    zoom_desk.click(zoom_desk.panel.run.button)
    with zoom_desk.qtbot.waitSignal(zoom_desk.panel.run.ended, timeout=2000):
        zoom_desk.viewer.layers.clear()
    assert zoom_desk.panel.empty.isVisible()


def test_closing_the_slide_after_a_run_empties_the_panel(zoom_desk, opened) -> None:
    zoom_desk.run()
    zoom_desk.viewer.layers.remove(zoom_desk.viewer.layers[0])
    zoom_desk.qtbot.wait(50)
    assert zoom_desk.panel.empty.isVisible()
    assert zoom_desk.panel.result.layer is None
    zoom_desk.viewer.layers.clear()
    zoom_desk.qtbot.wait(50)
    assert len(zoom_desk.viewer.layers) == 0


def test_looking_at_another_slide_lets_the_run_go_on_where_it_was_started(
    zoom_desk, opened, pyramid_file, zoom_results
) -> None:
    go = threading.Event()
    zoom_desk.model.act = lambda slide, model, **_: (go.wait(5), zoom_results.trajectory(slide=slide))[1]
    other = open_slide(pyramid_file("other.svs", np.full((1024, 1536, 3), 120, np.uint8), 0.25))
    (layer,) = zoom_desk.bench.add(other)
    zoom_desk.viewer.layers.selection.active = zoom_desk.viewer.layers[0]
    zoom_desk.click(zoom_desk.panel.run.button)
    assert zoom_desk.panel.run.status.text().startswith("quarters.svs: ")
    zoom_desk.viewer.layers.selection.active = layer
    assert zoom_desk.panel.slide is other
    with zoom_desk.qtbot.waitSignal(zoom_desk.panel.run.ended, timeout=5000):
        go.set()
    zoom_desk.bench.settle()
    assert boxes(zoom_desk).metadata["wsi_slide"] is opened
    assert rows(zoom_desk) == []
    assert not zoom_desk.panel.result.isVisible()
    zoom_desk.panel.choice.combo.setCurrentIndex(0)
    zoom_desk.panel.choice.combo.activated.emit(0)
    assert zoom_desk.panel.result.isVisible()
    zoom_desk.viewer.layers.clear()
    zoom_desk.qtbot.waitUntil(lambda: other.closed, timeout=3000)


def test_a_result_is_saved_and_opened_again(zoom_desk, tmp_path, monkeypatch) -> None:
    zoom_desk.run()
    box, path = zoom_desk.panel.results, tmp_path / "way.json"
    monkeypatch.setattr(
        QFileDialog, "getSaveFileName", lambda *_: (str(path.with_suffix("")), "Trajectory, to open again (*.json)")
    )
    zoom_desk.click(box.save)
    zoom_desk.qtbot.waitUntil(lambda: box.notice.text == f"Saved {path}", timeout=5000)
    assert Trajectory.load(path).title == "Title of a"
    zoom_desk.viewer.layers.remove(boxes(zoom_desk))
    zoom_desk.qtbot.waitUntil(lambda: len(zoom_desk.viewer.layers) == 1, timeout=2000)
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(path), ""))
    zoom_desk.click(box.open)
    zoom_desk.qtbot.waitUntil(lambda: bool(rows(zoom_desk)), timeout=5000)
    assert rows(zoom_desk) == [("Title of a", "tumour 75.0%", True, True)]
    assert boxes(zoom_desk).nshapes == 28
    assert zoom_desk.panel.result.isVisible()
    path.write_text("{}", encoding="utf-8")
    box.open_file(str(path))
    zoom_desk.qtbot.waitUntil(lambda: "way.json" in box.notice.text and "Saved" not in box.notice.text, timeout=5000)
    assert len(rows(zoom_desk)) == 1


def test_a_result_saved_without_pictures_still_shows_its_boxes(zoom_desk, opened, zoom_results, tmp_path) -> None:
    path = zoom_results.trajectory((2,), slide=opened).save(tmp_path / "small.json", views=False)
    zoom_desk.panel.results.open_file(str(path))
    zoom_desk.qtbot.waitUntil(lambda: bool(rows(zoom_desk)), timeout=5000)
    walk = zoom_desk.panel.result.walk
    walk.go(2)
    assert (walk.node, boxes(zoom_desk).nshapes) == (2, 3)
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
    assert rows(zoom_desk) == [("Title of magnet-test", "tumour 75.0%", True, True)]


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
    layer = boxes(zoom_desk)
    set_pixel_size(zoom_desk.viewer, opened, (0.5, 0.5))
    image = zoom_desk.viewer.layers[0]
    assert layer.scale.tolist() == image.scale[-2:].tolist() == [0.5, 0.5]
    assert layer.translate.tolist() == [-0.25, -0.25]


def test_nothing_is_cut_off_in_a_narrow_dock(zoom_desk) -> None:
    zoom_desk.run()
    assert zoom_desk.panel.body.parentWidget().minimumSizeHint().width() <= 300


def test_everything_is_reached_by_the_tab_key(zoom_desk) -> None:
    zoom_desk.run()
    fields = (QAbstractButton, QComboBox, QAbstractSlider, QAbstractSpinBox)
    parts = [w for kind in fields for w in zoom_desk.panel.findChildren(kind) if w.isVisible() and w.isEnabled()]
    strip = zoom_desk.panel.result.walk.strip
    # arrow keys go from frame to frame: one of them is enough for the tab key
    assert any(w.focusPolicy() & Qt.FocusPolicy.TabFocus for w in (strip, *strip.findChildren(QAbstractButton)))
    parts = [w for w in parts if not isinstance(w, QScrollBar) and not isinstance(w.parent(), QComboBox)]
    parts = [w for w in parts if not strip.isAncestorOf(w)]
    lost = [type(w).__name__ for w in parts if not w.focusPolicy() & Qt.FocusPolicy.TabFocus]
    assert lost == []
    assert len(parts) > 15
    assert [w for w in parts if isinstance(w, QAbstractButton) and not (w.text() or w.accessibleName())] == []
