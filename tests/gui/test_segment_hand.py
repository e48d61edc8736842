"""Boxes, scribbles, lassos and looks, by mouse and key, and prompt layers that others change."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("qtpy")
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from shapely import Point

pytestmark = pytest.mark.gui


def test_box_scribble_lasso_keys_and_layers_changed_by_others(segment_desk) -> None:
    desk, book, panel = segment_desk, segment_desk.book, segment_desk.panel
    (y, x), r = desk.disc
    camera = desk.viewer.scene.camera
    # Control and a drag: a box; what it would give is seen before the button is up
    desk.look((y, x), zoom=3.0)
    centre = camera.center
    desk.drag((y - 115, x - 115), (y, x), (y + 115, x + 115), keys=desk.CONTROL, release=False)
    rubber = panel.hand.rubber
    desk.qtbot.waitUntil(lambda: rubber.outline is not None, timeout=10_000)
    assert rubber.isVisible()
    assert book.draft.empty
    seen = rubber.outline
    desk.release((y + 115, x + 115), desk.CONTROL)
    assert not rubber.isVisible()
    assert np.abs(np.array(book.draft.box_yx0) - (y - 115, x - 115, y + 115, x + 115)).max() < 2
    assert desk.alike(desk.answered().outline, seen, 1e-9)
    assert camera.center == centre
    assert desk.layer("Prompt boxes").shape_type == ["rectangle"]
    _scripts_change_layers(desk)
    _tools_by_key(desk)
    _look_before_a_click(desk)


def _scripts_change_layers(desk) -> None:
    book, panel = desk.book, desk.panel
    # a script sets another box and a point; both reach the prompt, and undo reaches the layers
    boxes, points = desk.layer("Prompt boxes"), desk.layer("Prompt points")
    boxes.data = [(np.array([(900, 1280), (900, 1520), (1140, 1520), (1140, 1280)]), "rectangle")]
    points.add([[1024, 1330]])
    desk.quiet()
    assert book.draft.box_yx0 == (900, 1280, 1140, 1520)
    assert book.draft.points_yx0 == ((1024, 1330),)
    desk.answered()
    steps = 0
    while book.can_undo:
        book.undo()
        steps += 1
    desk.quiet()
    assert (boxes.nshapes, len(points.data), steps) == (0, 0, 2)
    while book.can_redo:
        book.redo()
    desk.quiet()
    assert (boxes.nshapes, points.data.tolist()) == (1, [[1024, 1330]])
    # a layer that is moved moves the prompt; one that is deleted takes its part with it
    points.translate = np.array(points.translate) + (0, 10 * 0.25)
    desk.quiet()
    assert np.allclose(book.draft.points_yx0, (1024, 1340))
    desk.viewer.layers.remove(boxes)
    desk.quiet()
    assert book.draft.box_yx0 is None
    # nonsense from a script is one sentence, and the layer is set back
    points.add([[-500, 10]])
    desk.quiet()
    assert panel.notice.text.startswith("shapes.svs: the point at y -500")
    assert len(points.data) == 1
    desk.key(Qt.Key.Key_Escape)
    desk.quiet()
    assert book.draft.empty


def _tools_by_key(desk) -> None:
    book, panel, camera, ((y, x), r) = desk.book, desk.panel, desk.viewer.scene.camera, desk.disc
    # tools by key: a scribble is a chain of points, a lasso a line; with Space a drag moves the slide
    desk.key(Qt.Key.Key_G)
    assert panel.tools.buttons["scribble"].isChecked()
    centre = camera.center
    desk.drag((y - 30, x - 60), (y, x), (y + 30, x + 60))
    assert 3 <= len(book.draft.points_yx0) <= 10
    assert camera.center == centre
    assert desk.alike(desk.answered().outline, Point(y, x).buffer(r))
    desk.key(Qt.Key.Key_Escape)
    desk.key(Qt.Key.Key_H)
    desk.drag((y - 130, x), (y, x - 130), (y + 130, x), (y, x + 130), (y - 120, x + 15))
    assert book.draft.words() == "lasso"
    desk.answered()
    QTest.keyPress(desk.canvas(), Qt.Key.Key_Space)
    desk.drag((y, x), (y, x + 60))
    QTest.keyRelease(desk.canvas(), Qt.Key.Key_Space)
    assert camera.center != centre
    assert book.draft.words() == "lasso"
    desk.quiet()
    # Escape in the middle of a drag drops the stroke, the next one the prompt
    desk.drag((y - 130, x), (y, x - 130), (y + 130, x), release=False)
    desk.key(Qt.Key.Key_Escape)
    desk.release((y + 130, x))
    assert book.draft.words() == "lasso"
    desk.key(Qt.Key.Key_Escape)
    assert book.draft.empty
    desk.key(Qt.Key.Key_Q)


def _look_before_a_click(desk) -> None:
    book, rubber, ((y, x), r) = desk.book, desk.panel.hand.rubber, desk.disc
    # Control and no button: what a click would give, until Control or the pointer goes
    desk.look((y, x))
    desk.hover((y, x), desk.CONTROL)
    desk.qtbot.waitUntil(lambda: rubber.outline is not None, timeout=10_000)
    assert desk.alike(rubber.outline, Point(y, x).buffer(r))
    desk.qtbot.wait(12)
    desk.hover((y + 4, x))
    assert not rubber.isVisible()
    assert book.draft.empty
    # while another layer's tool draws, clicks and Enter are that layer's
    drawn = desk.viewer.add_shapes(name="Mine", scale=desk.image.scale, units=desk.image.units)
    drawn.mode = "add_polygon"
    desk.click((y, x))
    desk.key(Qt.Key.Key_Escape)
    assert book.draft.empty
    drawn.mode = "pan_zoom"
    desk.click((y, x))
    desk.answered()
    desk.key(Qt.Key.Key_Return)
    assert len(book.objects) == 1
