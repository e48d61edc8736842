"""The Zoom panel with models of its own: runs, their states, two slides; what is clicked is what happens."""

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
from napari_wsi_mil.models.card import save_card
from napari_wsi_mil.results.trajectory_style import depth_colour
from napari_wsi_mil.slide import open_slide

pytestmark = pytest.mark.gui


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
    assert zoom_desk.listed() == [("Title of a", "tumour 75.0%", True, True)]
    slide, lines, places = zoom_desk.viewer.layers
    assert (lines.metadata["wsi_role"], places.metadata["wsi_role"]) == ("zoom lines", "zoom boxes")
    assert (lines.nshapes, places.nshapes) == (24, 28)
    assert places.features["name"].tolist()[:3] == ["I_1", "I_11", "I_12"]
    # the selected layer stays the selected one: clicks go on to move the slide
    assert zoom_desk.viewer.layers.selection.active is slide


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
    assert zoom_desk.listed() == [
        ("Title of a", "tumour 75.0%", False, False), ("Title of a · region", "tumour 75.0%", True, True),
    ]  # fmt: skip
    # its boxes limit no run
    assert [zoom_desk.panel.region.combo.itemText(i) for i in range(2)] == ["Whole slide", "drawn"]
    assert zoom_desk.panel.region.combo.count() == 2
    zoom_desk.run()
    assert len(zoom_desk.listed()) == 2


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
    assert zoom_desk.boxes().metadata["wsi_slide"] is opened
    assert zoom_desk.listed() == []
    assert not zoom_desk.panel.result.isVisible()
    zoom_desk.panel.choice.combo.setCurrentIndex(0)
    zoom_desk.panel.choice.combo.activated.emit(0)
    assert zoom_desk.panel.result.isVisible()
    zoom_desk.viewer.layers.clear()
    zoom_desk.qtbot.waitUntil(lambda: other.closed, timeout=3000)


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
