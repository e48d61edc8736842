"""The filmstrip: places, keys, bars, pictures."""

from __future__ import annotations

import itertools

import pytest

pytest.importorskip("qtpy")

from qtpy.QtCore import QRect, Qt
from qtpy.QtTest import QTest

from napari_wsi_mil.gui.film_frame import frame_height
from napari_wsi_mil.gui.filmstrip import SMALLEST_PX, Plan
from napari_wsi_mil.gui.zoom_facts import facts, sentence, side_text, signed

pytestmark = pytest.mark.gui


def rects(plan: Plan) -> dict[int, QRect]:
    return {node: QRect(x, y, side, frame_height(side)) for node, (x, y, side) in plan.places.items()}


@pytest.mark.parametrize("patches", [(2,), (2, 2), (3, 2, 3), (3, 2, 3, 2), (8, 4), (1, 1, 1)])
@pytest.mark.parametrize("width", [280, 520])
def test_frames_lie_under_their_parents_and_not_over_each_other(zoom_results, patches, width: int) -> None:
    result = zoom_results.trajectory(patches)
    plan = Plan(result, width)
    places = rects(plan)
    assert sorted(places) == list(range(len(result.nodes)))
    assert not any(a.intersects(b) for a, b in itertools.combinations(places.values(), 2))
    assert min(rect.width() for rect in places.values()) >= SMALLEST_PX
    assert plan.width <= width
    assert max(rect.bottom() for rect in places.values()) < plan.height
    for i, node in enumerate(result.nodes):
        if node.parent:
            assert places[i].top() > places[node.parent].top()
            assert places[i].left() >= places[node.parent].left()


def test_all_views_of_the_paper_fit_a_narrow_panel(zoom_results) -> None:
    assert Plan(zoom_results.trajectory(), 290).height < 600


def test_a_press_goes_there(stroll) -> None:
    stroll.jump()
    node = stroll.index("I_1212")
    QTest.mouseClick(stroll.walk.strip.frames[node], Qt.MouseButton.LeftButton)
    assert stroll.steps == [node]
    assert stroll.walk.node == node
    assert [frame.node for frame in stroll.walk.strip.frames if frame.isChecked()] == [node]
    assert [frame.node for frame in stroll.walk.strip.frames if frame.on_branch] == list(stroll.result.branch(node))
    assert abs(stroll.on_canvas(node).mean() - 0.5) < 1e-6


def test_arrow_keys_walk_the_tree(stroll, qtbot) -> None:
    stroll.jump()
    strip = stroll.walk.strip
    stroll.focus(strip.frames[0], qtbot)
    for key, name in (
        (Qt.Key.Key_Down, "I_11"), (Qt.Key.Key_Right, "I_12"), (Qt.Key.Key_Down, "I_121"), (Qt.Key.Key_Left, "I_112"),
        (Qt.Key.Key_Down, "I_1121"), (Qt.Key.Key_Up, "I_112"),
    ):  # fmt: skip
        QTest.keyClick(stroll.panel.window().focusWidget(), key)
        assert stroll.result.nodes[stroll.walk.node].name == name
        assert strip.frames[stroll.walk.node].hasFocus()


def test_only_the_current_frame_is_a_stop_of_tab(stroll) -> None:
    stroll.jump()
    stroll.walk.go(4)
    stops = [f.node for f in stroll.walk.strip.frames if f.focusPolicy() == Qt.FocusPolicy.StrongFocus]
    assert stops == [4]


def test_bars_are_signed_and_relative_to_their_depth(stroll) -> None:
    """Node i adds i / 10 to the log-odds of class 1 and takes as much from class 0; 27 is the largest of layer 3."""
    frames = stroll.walk.strip.frames
    assert frames[27].share == 1.0
    assert frames[10].share == pytest.approx(10 / 27)
    assert frames[3].share == 1.0
    stroll.walk.show_class(0)
    assert frames[10].share == pytest.approx(-10 / 27)
    assert "−1.00 log-odds of normal" in frames[10].accessibleName()
    assert "normal" in stroll.walk.text.text() or stroll.walk.node == 0


def test_pictures_are_what_the_model_saw(stroll, zoom_results) -> None:
    stroll.walk.strip.frames[13].show()
    image = stroll.walk.strip.frames[13].grab().toImage()
    ratio = image.width() / stroll.walk.strip.frames[13].width()
    side = stroll.walk.strip.frames[13].width()
    shown = image.pixelColor(int(side * ratio * 0.6), int(side * ratio * 0.6))
    assert (shown.red(), shown.green(), shown.blue()) == zoom_results.colour(13)
    corner = image.pixelColor(int(side * ratio * 0.1), int(side * ratio * 0.1))
    assert (corner.red(), corner.green(), corner.blue()) == zoom_results.MARK


def test_facts_in_words(zoom_results) -> None:
    result = zoom_results.trajectory()
    assert signed(-0.256) == "−0.26"
    assert signed(0.001) == "0"
    assert side_text(result, 0) == "1.5 mm"
    assert facts(result, 4, 1) == (
        "Layer 2",
        "1.5× · 384 µm",
        "56 px from level 0",
        "+0.40 log-odds of tumour",
        "its parent's whole region, by rule",
    )
    assert sentence(result, 0, 1).endswith("all final views lie under it")
    relative = zoom_results.trajectory(slide_mpp_yx=None)
    assert facts(relative, 1, 0)[1] == "4.0× root · 1\u2009536 px"
