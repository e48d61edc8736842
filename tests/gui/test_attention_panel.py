"""The Attention panel with models of its own: runs, their states, two slides; what is clicked is what happens."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("qtpy")
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractButton, QAbstractSlider, QAbstractSpinBox, QComboBox, QScrollBar

from napari_wsi_mil.errors import NoTissue
from napari_wsi_mil.gui.bars import change_text, percent_text
from napari_wsi_mil.gui.camera import visible
from napari_wsi_mil.gui.model_choice import summary
from napari_wsi_mil.gui.pace import Pace, clock
from napari_wsi_mil.gui.parts import look_of
from napari_wsi_mil.slide import open_slide

pytestmark = pytest.mark.gui


def test_the_limits_of_a_model_stand_beside_its_classes(desk_module) -> None:
    limited = replace(desk_module.card("a"), limits="Trained on bowel at 0.5 um; never on skin. More is on the card.")
    assert "Trained on bowel at 0.5 um; on anything else it guesses." in summary(limited)


def test_before_a_run_it_shows_model_device_and_notice(desk) -> None:
    panel = desk.panel
    assert panel.run.button.text() == "Run"
    assert panel.run.second.text() == "Run all 2"
    assert [panel.models.combo.itemText(i) for i in range(2)] == ["Title of a", "Title of b"]
    assert not panel.result.isVisible()
    assert panel.results.list.empty.isVisible()
    assert not panel.results.save.isEnabled()
    assert not panel.results.compare.isEnabled()
    texts = [label.text() for label in panel.findChildren(type(panel.tissue_note))]
    assert "Research use only. Not a diagnosis." in texts


def test_a_run_shows_probabilities_heatmap_and_tiles(desk) -> None:
    desk.run()
    (asked,) = desk.model.asked
    assert (asked["models"], asked["outlines"], asked["region"]) == (["a"], None, None)
    result = desk.panel.result
    assert result.isVisible()
    assert result.answer.bars.rows == [("normal", pytest.approx(0.7310586)), ("tumour", pytest.approx(0.2689414))]
    assert result.notes.text == "Only a test."
    assert result.about.text() == "96 tiles in 1.5 s on CPU"
    gallery = desk.gallery()
    assert len(gallery.rows) == 8
    assert gallery.buttons[0].text() == "5.00"
    assert desk.heat().data.shape == (8, 12)
    assert desk.heat().data[1, 9] == 5.0
    assert desk.panel.run.button.text() == "Run"


def test_several_notes_are_lines_above_the_answer(desk) -> None:
    desk.model.act = lambda slide, head, **_: desk.answer(slide, notes=("One doubt.", "Another doubt."))
    desk.run()
    result = desk.panel.result
    assert result.notes.text == "• One doubt.\n• Another doubt."
    assert result.notes.y() + result.notes.height() <= result.answer.y()


def test_a_value_stands_in_place_of_the_bars(desk, desk_module) -> None:
    head = desk_module.card("c", target="value", classes=("mitoses",), unit="per mm²", value_mean=10.0, value_std=3.0)
    desk.panel.models.cards[:] = [head]
    desk.run()
    answer = desk.panel.result.answer
    assert (answer.name.text(), answer.value.text()) == ("mitoses", "12.5 per mm²")
    assert answer.range.text() == "Training slides: 10 per mm² on average, most between 4 and 16 per mm²."
    assert not answer.bars.isVisible()
    before = desk.panel.result.result
    after = replace(before, logits=np.array([9.25], np.float32))
    answer.show_change(before, after, look_of(desk.viewer))
    assert answer.value.text() == "12.5 → 9.25 per mm²  (\u22123.25)"
    (one,) = desk.panel.results.list.rows
    assert one.answer.text() == "12.5 per mm²"


def test_the_heat_of_a_tile_lies_over_its_tissue_on_the_canvas(desk) -> None:
    """Tile (1, 9) covers level-0 rows 512 to 1024 and columns 4608 to 5120: there, and only there, the map is hot."""
    desk.run()
    layer, camera = desk.heat(), desk.viewer.scene.camera
    layer.colormap, layer.contrast_limits, layer.opacity = "gray", (0, 5), 1.0
    camera.zoom, camera.center = 0.5, (0, 768 * 0.25, 4864 * 0.25)
    desk.viewer.canvas.overlays.scale_bar.visible = False
    picture = desk.bench.canvas().astype(int)
    bright = np.argwhere(picture.min(axis=2) > 200)
    size, view = np.array(picture.shape[:2]), visible(desk.viewer, desk.viewer.layers[0])
    top_left = np.array(view[:2]) + bright.min(0) / size * view[2:]
    bottom_right = np.array(view[:2]) + (bright.max(0) + 1) / size * view[2:]
    screen_px = view.h / size[0]
    assert (*top_left, *bottom_right) == pytest.approx((512, 4608, 1024, 5120), abs=1.5 * screen_px)


def test_cancel_answers_at_once_and_leaves_nothing(desk) -> None:
    run, desk.model.act = desk.panel.run, desk.endless
    desk.click(run.button)
    assert run.button.text() == "Cancel"
    assert not run.second.isEnabled()
    desk.qtbot.waitUntil(lambda: "tiles/s" in run.status.text(), timeout=5000)
    assert run.status.text().startswith("Encoding tiles ")
    assert run.bar.isVisible()
    with desk.qtbot.waitSignal(run.ended, timeout=1000):
        desk.click(run.button)
    assert run.notice.text.startswith("Cancelled.")
    assert run.button.text() == "Run"
    assert run.second.isEnabled()
    assert not run.bar.isVisible()
    assert len(desk.viewer.layers) == 1


def test_a_cancel_keeps_the_results_there_are(desk) -> None:
    run = desk.panel.run
    desk.model.act = lambda slide, head, **more: (
        desk.answer(slide, head=head) if head.name == "a" else desk.endless(slide, head, **more)
    )
    desk.click(run.second)
    desk.qtbot.waitUntil(lambda: len(desk.layers("attention")) == 1, timeout=5000)
    with desk.qtbot.waitSignal(run.ended, timeout=1000):
        desk.click(run.button)
    assert desk.heat().metadata["wsi_result"].title == "Title of a"
    assert desk.panel.result.isVisible()


def test_an_error_is_one_sentence_and_a_second_run_clears_it(desk) -> None:
    def none(slide, head, **_):
        message = "quarters.svs: no tissue was found, expected some; draw it."
        raise NoTissue(message)

    good, desk.model.act = desk.model.act, none
    desk.run()
    notice = desk.panel.run.notice
    assert notice.isVisible()
    assert notice.text == "quarters.svs: no tissue was found, expected some; draw it."
    desk.model.act = good
    desk.run()
    assert not notice.isVisible()
    assert desk.panel.result.isVisible()


def test_torch_errors_are_shown_with_their_report_at_hand(desk) -> None:
    def broken(slide, head, **_):
        message = "mat1 and mat2 shapes cannot be multiplied"
        raise RuntimeError(message)

    desk.model.act = broken
    desk.run()
    assert desk.panel.run.notice.text.startswith("Stopped by an unexpected error: RuntimeError: mat1")
    assert "Traceback" in desk.panel.run.notice.details
    assert not desk.panel.run.running


def test_closing_the_slide_ends_the_run(desk) -> None:
    desk.model.act = desk.endless
    desk.click(desk.panel.run.button)
    with desk.qtbot.waitSignal(desk.panel.run.ended, timeout=2000):
        desk.viewer.layers.clear()
    assert desk.panel.empty.isVisible()


def test_a_result_that_comes_after_its_slide_was_closed_goes_nowhere(desk) -> None:
    import threading

    closed = threading.Event()

    def slow(slide, head, **_):
        result = desk.answer(slide, head=head)
        closed.wait(5)
        return result

    desk.model.act = slow
    desk.click(desk.panel.run.button)
    desk.qtbot.wait(50)
    desk.viewer.layers.clear()
    with desk.qtbot.waitSignal(desk.panel.run.ended, timeout=2000):
        closed.set()
    desk.qtbot.wait(50)
    assert len(desk.viewer.layers) == 0


def test_looking_at_another_slide_lets_the_run_go_on_where_it_was_started(desk, opened, pyramid_file) -> None:
    import threading

    go = threading.Event()

    def slow(slide, head, **_):
        go.wait(5)
        return desk.answer(slide, head=head)

    desk.model.act = slow
    other = open_slide(pyramid_file("other.svs", np.full((1024, 1536, 3), 120, np.uint8), 0.25))
    (layer,) = desk.bench.add(other)
    desk.viewer.layers.selection.active = desk.viewer.layers[0]
    assert desk.panel.slide is opened
    desk.click(desk.panel.run.button)
    assert desk.panel.run.status.text().startswith("quarters.svs: ")
    desk.viewer.layers.selection.active = layer
    assert desk.panel.slide is other
    with desk.qtbot.waitSignal(desk.panel.run.ended, timeout=5000):
        go.set()
    desk.bench.settle()
    assert desk.heat().metadata["wsi_slide"] is opened
    assert desk.panel.slide is other
    assert not desk.panel.result.isVisible()
    desk.panel.choice.combo.setCurrentIndex(0)
    desk.panel.choice.combo.activated.emit(0)
    assert desk.panel.result.isVisible()
    desk.viewer.layers.clear()
    assert other.closed


def test_nothing_is_cut_off_in_a_narrow_dock(desk) -> None:
    from napari_wsi_mil.gui.slide_panel import SlidePanel

    desk.model.act = lambda slide, head, **_: desk.answer(slide, maps=2)
    slide_panel = SlidePanel(desk.viewer)
    desk.viewer.window.add_dock_widget(slide_panel, name="Slide", area="right")
    desk.run()
    for one in (desk.panel, slide_panel):
        needed = one.body.parentWidget().minimumSizeHint().width()
        assert needed <= 300, type(one).__name__


def test_everything_is_reached_by_the_tab_key(desk) -> None:
    desk.run()
    desk.gallery()
    fields = (QAbstractButton, QComboBox, QAbstractSlider, QAbstractSpinBox)
    parts = [w for kind in fields for w in desk.panel.findChildren(kind) if w.isVisible() and w.isEnabled()]
    inner = (QAbstractSpinBox, QComboBox)
    lost = [
        type(w).__name__
        for w in parts
        if not w.focusPolicy() & Qt.FocusPolicy.TabFocus
        and not isinstance(w, QScrollBar)
        and not isinstance(w.parent(), inner)
    ]
    assert lost == []
    assert len(parts) > 25
    unnamed = [w for w in parts if isinstance(w, QAbstractButton) and not (w.text() or w.accessibleName())]
    assert unnamed == []


def test_pace_counts_what_came_after_the_first_tick() -> None:
    pace = Pace()
    assert pace.per_second is None
    pace.note(500, 1000, now_s=10.0)
    assert pace.left_s is None
    pace.note(600, 1000, now_s=12.0)
    assert pace.per_second == 50.0
    assert pace.left_s == 8.0
    pace.restart()
    assert pace.per_second is None
    assert [clock(s) for s in (7, 750, 3723)] == ["0:07", "12:30", "1:02:03"]


def test_no_probability_reads_as_certainty() -> None:
    assert [percent_text(p) for p in (1.0, 0.9996, 0.999, 0.5, 0.0004, 0.0)] == [
        ">99.9%", ">99.9%", "99.9%", "50.0%", "<0.1%", "<0.1%",
    ]  # fmt: skip
    assert change_text(0.973, 0.41) == "97.3% → 41.0%  (\u221256.3)"
    assert change_text(0.41, 0.4101) == "41.0% → 41.0%  (±0)"
