"""Steps and play through the views of a zoom: keys, camera, what happens when things go in the middle."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("qtpy")

from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_wsi_mil.gui.playback import KEYS, walk

pytestmark = pytest.mark.gui

FIRST = ["I_1", "I_11", "I_111", "I_1111", "I_1112", "I_1113", "I_112", "I_1121"]


def names(tour, nodes) -> list[str]:
    return [tour.result.nodes[node].name for node in nodes]


def test_order_is_depth_first(zoom_results) -> None:
    result = zoom_results.trajectory()
    order = walk(result)
    assert [result.nodes[i].name for i in order[:8]] == FIRST
    assert sorted(order) == list(range(28))
    assert result.nodes[order[-1]].name == "I_1323"


def test_nothing_moves_before_a_step(stroll) -> None:
    assert stroll.walk.node == 0
    assert stroll.steps == []
    assert stroll.play.place.text() == "1 of 28 · I_1"


def test_every_step_frames_its_box(stroll) -> None:
    stroll.jump()
    shorter = min(stroll.viewer.canvas.size)
    for node in walk(stroll.result)[1:]:
        stroll.play.next()
        assert stroll.walk.node == node
        box = stroll.on_canvas(node)
        np.testing.assert_allclose(box.mean(0), 0.5, atol=1e-6)
        side = (box[1] - box[0]) * np.asarray(stroll.viewer.canvas.size)
        np.testing.assert_allclose(side, 0.7 * shorter, rtol=1e-6)
    assert stroll.steps == list(walk(stroll.result)[1:])
    stroll.play.next()
    assert stroll.walk.node == walk(stroll.result)[-1]


def test_the_box_is_where_the_camera_looks(tour) -> None:
    """A step to I_13 shows the north-east quarter of the slide in the middle of the canvas."""
    tour.jump()
    tour.play.go(tour.index("I_13"))
    picture = tour.bench.canvas()
    at = np.argmin(np.abs(np.array(list(tour.bench.quarters.values())) - tour.bench.at(picture, 0.6, 0.4)).sum(1))
    y, x = tour.result.nodes[tour.index("I_13")].centre_yx0
    assert list(tour.bench.quarters)[at] == ("n" if y < 2048 else "s") + ("w" if x < 3072 else "e") == "ne"


def test_keys_step_while_the_panel_has_the_focus(stroll, qtbot) -> None:
    stroll.jump()
    button = stroll.play.buttons["play"]
    stroll.focus(button, qtbot)
    for key in (Qt.Key.Key_Period, Qt.Key.Key_Period, Qt.Key.Key_Comma, Qt.Key.Key_End, Qt.Key.Key_Home):
        QTest.keyClick(button, key)
    assert names(stroll, stroll.steps) == ["I_11", "I_111", "I_11", "I_1323", "I_1"]
    QTest.keyClick(button, Qt.Key.Key_J)
    assert stroll.play.branch.isChecked()
    QTest.keyClick(button, Qt.Key.Key_K)
    assert stroll.play.playing
    QTest.keyClick(button, Qt.Key.Key_K)
    assert not stroll.play.playing


def test_keys_step_on_the_canvas_as_long_as_there_is_a_result(stroll) -> None:
    stroll.jump()
    bound = {str(key): act for key, act in stroll.viewer.keymap.items()}
    assert set(KEYS.values()) <= set(bound)
    bound["."](stroll.viewer)
    assert names(stroll, stroll.steps) == ["I_11"]
    stroll.walk.show_result(None, None)
    assert not set(KEYS.values()) & {str(key) for key in stroll.viewer.keymap}


def test_keys_are_free_in_napari() -> None:
    from napari.utils.shortcuts import default_shortcuts

    taken = {str(key) for keys in default_shortcuts.values() for key in keys}
    assert not set(KEYS.values()) & taken


def test_a_key_of_somebody_else_stays_theirs(stroll) -> None:
    stroll.walk.show_result(None, None)
    theirs = []
    stroll.viewer.bind_key("K", theirs.append)
    stroll.walk.show_result(stroll.result, stroll.slide)
    next(act for key, act in stroll.viewer.keymap.items() if str(key) == "K")(stroll.viewer)
    assert theirs == [stroll.viewer]
    stroll.walk.show_result(None, None)
    assert "K" in {str(key) for key in stroll.viewer.keymap}


def test_a_flight_takes_its_time(stroll) -> None:
    began = stroll.camera.zoom
    target = stroll.index("I_1121")
    stroll.play.go(target)
    assert stroll.steps == [target]
    stroll.wait(0.3)
    between = stroll.camera.zoom
    assert stroll.play.flyer.flying
    assert between != began
    stroll.wait(2.0)
    assert not stroll.play.flyer.flying
    np.testing.assert_allclose(stroll.on_canvas(target).mean(0), 0.5, atol=1e-6)


def test_a_pan_ends_the_flight_where_it_is(stroll) -> None:
    stroll.play.go(stroll.index("I_1121"))
    stroll.wait(0.3)
    stroll.camera.center = (0.0, 100.0, 200.0)
    zoom = stroll.camera.zoom
    stroll.wait(3.0)
    assert tuple(stroll.camera.center[-2:]) == (100.0, 200.0)
    assert stroll.camera.zoom == zoom


def test_play_goes_to_the_last_view_and_stops(stroll) -> None:
    stroll.play.toggle()
    stroll.wait(28 * 3.0)
    assert stroll.steps == list(walk(stroll.result))
    assert not stroll.play.playing
    assert not stroll.play._timer.isActive()
    stroll.wait(5.0)
    assert len(stroll.steps) == 28


def test_play_rests_at_every_view(stroll) -> None:
    stroll.jump()
    stroll.play.play()
    stroll.wait(0.8)
    assert stroll.steps == [0]
    stroll.wait(0.2)
    assert names(stroll, stroll.steps) == FIRST[:2]


def test_play_from_the_last_view_begins_anew(stroll) -> None:
    stroll.jump()
    stroll.play.last()
    stroll.play.play()
    stroll.wait(1.0)
    assert names(stroll, stroll.steps) == ["I_1323", "I_1", "I_11"]


@pytest.mark.parametrize("stop", ["pan", "frame", "step"])
def test_play_pauses_for_the_user(stroll, stop: str) -> None:
    stroll.play.play()
    stroll.wait(3.0)
    if stop == "pan":
        stroll.camera.zoom *= 2
    elif stop == "frame":
        stroll.walk.strip.frames[9].click()
    else:
        stroll.play.next()
    assert not stroll.play.playing
    seen = list(stroll.steps)
    stroll.wait(5.0)
    assert stroll.steps == seen


def test_the_layers_may_go_in_mid_play(stroll) -> None:
    stroll.play.play()
    stroll.wait(2.0)
    stroll.viewer.layers.remove(stroll.boxes)
    stroll.viewer.layers.remove(stroll.lines)
    stroll.wait(28 * 3.0)
    assert stroll.steps == list(walk(stroll.result))


def test_the_slide_may_go_in_mid_play(tour) -> None:
    tour.play.play()
    tour.wait(1.5)
    tour.viewer.layers.clear()
    seen = list(tour.steps)
    tour.wait(10.0)
    assert tour.steps == seen
    assert tour.walk.node is None
    assert tour.walk.isHidden()


def test_another_result_begins_at_its_root(stroll, zoom_results) -> None:
    stroll.jump()
    stroll.play.last()
    stroll.walk.show_result(zoom_results.trajectory((2, 2), slide=stroll.slide), stroll.slide)
    assert stroll.play.place.text() == "1 of 7 · I_1"
    assert len(stroll.walk.strip.frames) == 7


def test_the_panel_may_go_and_the_viewer_lives_on(stroll, qtbot) -> None:
    stroll.play.play()
    stroll.wait(1.0)
    with qtbot.waitSignal(stroll.walk.destroyed, timeout=5000):
        stroll.panel.deleteLater()
    assert not set(KEYS.values()) & {str(key) for key in stroll.viewer.keymap}
    stroll.camera.zoom = 3.0
    stroll.boxes.selected_data = {3}
    event = SimpleNamespace(position=tuple(stroll.corners(9).mean(0)), buttons=())
    for act in list(stroll.viewer.mouse_move_callbacks):
        act(stroll.viewer, event)
    assert stroll.boxes.edge_width[9] != pytest.approx(2 / 3.0 / 0.25)
