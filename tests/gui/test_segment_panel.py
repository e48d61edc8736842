"""The Segment panel as a person uses it: real mouse and key events on the canvas of a real viewer."""

from __future__ import annotations

import threading

import numpy as np
import pytest

pytest.importorskip("qtpy")
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from shapely import Point

from napari_wsi_mil.errors import SlideReadError
from napari_wsi_mil.gui.parts import NARROWEST_PX

pytestmark = pytest.mark.gui


def layer(desk, name):
    return desk.viewer.layers[name]


def alike(outline, truth, share: float = 0.06) -> bool:
    """Whether two outlines differ by less than a share of the second."""
    return outline.symmetric_difference(truth).area < share * truth.area


def edged(desk, colour: str) -> bool:
    """Whether a line of a colour is drawn about the right edge of the disc."""
    (y, x), r = desk.disc
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return any(np.abs(desk.shown((y, x + r + d)) - wanted).max() < 80 for d in np.arange(-8, 4, 0.5))


def test_click_refine_accept_undo_redo_pan_and_delete(segment_desk) -> None:
    desk, book = segment_desk, segment_desk.book
    (y, x), r = desk.disc
    disc = Point(y, x).buffer(r)
    before = desk.shown((y, x + r / 2))
    assert not edged(desk, "#00dcff")
    assert desk.status() == "Click on an object to outline it."
    # nothing is cut off at the panel's narrowest
    body = desk.panel._scroll.widget()
    assert body.minimumSizeHint().width() <= NARROWEST_PX
    # a plain click: a point, its outline at once, both in ordinary layers; the slide stays the selected layer
    desk.click((y, x))
    answer = desk.answered()
    assert book.draft.labels == (1,)
    assert np.abs(np.array(book.draft.points_yx0[0]) - (y, x)).max() < 2
    assert alike(answer.outline, disc)
    assert layer(desk, "Draft outline").nshapes == 1
    assert layer(desk, "Prompt points").data.tolist() == [list(book.draft.points_yx0[0])]
    assert desk.viewer.layers.selection.active is desk.image
    assert desk.status().startswith("Outline 5")
    assert " · score 0.75 · " in desk.status()
    # the outline is drawn; inside and outside of it is the slide as it was
    assert edged(desk, "#00dcff")
    assert (desk.shown((y, x + r / 2)) == before).all()
    assert np.abs(desk.shown((y, x + r + 30)) - (240, 200, 220)).max() < 3
    # a drag moves the slide and is no point
    desk.drag((y, x), (y, x - 40))
    assert book.draft.labels == (1,)
    desk.look((y, x))
    # Shift: a negative point, here so that nothing is left, which cannot be accepted
    desk.click((y - 40, x), desk.SHIFT)
    assert desk.answered().empty
    assert book.draft.labels == (1, 0)
    assert layer(desk, "Prompt points").features["label"].tolist() == [1, 0]
    assert desk.status().startswith("Nothing found for this prompt.")
    assert not desk.panel.draft.accept.isEnabled()
    assert layer(desk, "Draft outline").nshapes == 0
    desk.key(Qt.Key.Key_Z, desk.CONTROL)
    assert alike(desk.answered().outline, disc)
    # Enter keeps it: an object where the draft was
    desk.key(Qt.Key.Key_Return)
    (kept,) = book.objects.values()
    assert alike(kept.outline, disc)
    assert (kept.score, kept.model, kept.prompt) == (0.75, "colour-model", answer.prompt)
    assert book.draft.empty
    desk.quiet()
    assert layer(desk, "Draft outline").nshapes == 0
    assert len(layer(desk, "Prompt points").data) == 0
    assert desk.status().startswith("Object 1, Object: 5")
    assert edged(desk, "#{:02x}{:02x}{:02x}".format(*book.classes[0].colour))
    _pan_away_and_back(desk)
    _five_steps_back_and_forth(desk)
    _pick_reopen_delete(desk)


def ring_of(desk):
    """Return the ring as a polygon."""
    (y, x), (outer, inner) = desk.ring
    return Point(y, x).buffer(outer).difference(Point(y, x).buffer(inner))


def _pan_away_and_back(desk) -> None:
    book, ring, ((ry, rx), _) = desk.book, ring_of(desk), desk.ring
    # the ring, its hole left out; panned away and back nothing is lost, and nothing is encoded anew
    desk.click((ry, rx - 70))
    assert alike(desk.answered().outline, ring, 0.12)
    encoded = len(desk.model.encoded)
    desk.look((500, 2500))
    desk.look((ry, rx))
    assert book.draft.labels == (1,)
    desk.click((ry + 12, rx - 70))
    assert book.draft.labels == (1, 1)
    assert alike(desk.answered().outline, ring, 0.12)
    assert len(desk.model.encoded) == encoded
    desk.key(Qt.Key.Key_Return)
    assert len(book.objects) == 2


def _five_steps_back_and_forth(desk) -> None:
    book = desk.book
    # five steps back and all again: points, object, points, object
    words = []
    for _ in range(5):
        words.append(book.undo_text)
        desk.key(Qt.Key.Key_Z, desk.CONTROL)
    assert words == ["new object 2", "point added", "point added", "new object 1", "point added"]
    assert not book.can_undo
    assert not book.objects
    while book.can_redo:
        desk.key(Qt.Key.Key_Z, desk.CONTROL | desk.SHIFT)
    assert sorted(book.objects) == [1, 2]
    assert book.draft.empty


def _pick_reopen_delete(desk) -> None:
    book, ring, ((ry, rx), _) = desk.book, ring_of(desk), desk.ring
    # the right button selects; what is selected can be taken up again, and deleted
    QTest.mouseClick(desk.canvas(), Qt.MouseButton.RightButton, desk.NONE, desk.px((ry, rx + 70)))
    assert desk.panel.objects.selected == (2,)
    desk.panel.reopen(2)
    assert alike(desk.answered().outline, ring, 0.12)
    desk.key(Qt.Key.Key_Escape)
    assert book.draft.empty
    book.delete([2])
    assert sorted(book.objects) == [1]
    desk.quiet()


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
    assert alike(desk.answered().outline, seen, 1e-9)
    assert camera.center == centre
    assert layer(desk, "Prompt boxes").shape_type == ["rectangle"]
    _scripts_change_layers(desk)
    _tools_by_key(desk)
    _look_before_a_click(desk)


def _scripts_change_layers(desk) -> None:
    book, panel = desk.book, desk.panel
    # a script sets another box and a point; both reach the prompt, and undo reaches the layers
    boxes, points = layer(desk, "Prompt boxes"), layer(desk, "Prompt points")
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
    assert alike(desk.answered().outline, Point(y, x).buffer(r))
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
    assert alike(rubber.outline, Point(y, x).buffer(r))
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


def test_newest_wins_errors_two_slides_and_a_slide_that_goes(segment_desk, opened, monkeypatch) -> None:
    desk, book, panel = segment_desk, segment_desk.book, segment_desk.panel
    (y, x), _ = desk.disc
    (ry, rx), _ = desk.ring
    shown = []
    panel.work.answered.connect(shown.append)
    # the model is slow: of three clicks in a row only the last prompt's answer is drawn
    go, encode = threading.Event(), desk.model.encode
    monkeypatch.setattr(desk.model, "encode", lambda picture: (go.wait(10), encode(picture))[1])
    desk.click((y, x - 20))
    desk.click((y, x))
    desk.click((y, x + 20))
    desk.qtbot.waitUntil(lambda: "encoding" in desk.status(), timeout=5000)
    # Enter before the answer: it is accepted as it comes
    desk.key(Qt.Key.Key_Return)
    assert desk.status() == "The outline will be accepted as it comes."
    go.set()
    desk.qtbot.waitUntil(lambda: bool(book.objects), timeout=10_000)
    assert [len(answer.prompt.labels) for answer in shown] == [3]
    desk.quiet()
    _one_sentence_each(desk, monkeypatch)
    _two_slides(desk, opened)
    _out_of_sight(desk)
    # the slide goes while its model works: the run ends, no layer of ours is left, objects wait for its return
    go.clear()
    monkeypatch.setattr(desk.model, "encode", lambda picture: (go.wait(10), encode(picture))[1])
    desk.look((ry, rx))
    desk.click((ry, rx - 70))
    for image in [one for one in desk.viewer.layers if one.metadata.get("wsi_role") == "slide"]:
        desk.viewer.layers.remove(image)
    go.set()
    desk.qtbot.waitUntil(lambda: panel.work.queue.now is None, timeout=10_000)
    assert panel.slide is None
    assert panel.empty.isVisible()
    assert [one.name for one in desk.viewer.layers if "rompt" in one.name or "raft" in one.name] == []
    assert len(panel.books[desk.slide.fingerprint].objects) == 1


def _one_sentence_each(desk, monkeypatch) -> None:
    book, panel, ((y, x), _) = desk.book, desk.panel, desk.disc
    # a negative point first, a point beside the slide: one sentence each
    desk.click((y, x), desk.SHIFT)
    assert panel.notice.text.startswith("A point beside the object says nothing alone")
    desk.look((0, 0))
    desk.click((-20, 20))
    assert panel.notice.text == (
        "shapes.svs: the point at y -20, x 20 lies outside the slide of 2048 x 3072 px; click on the slide."
    )
    assert book.draft.empty
    desk.look((1024, 1400))

    # a part of the file that cannot be read
    def broken(picture):
        raise SlideReadError("shapes.svs: the tile at 3, 4 cannot be read.")

    encode = desk.model.encode
    monkeypatch.setattr(desk.model, "encode", broken)
    desk.look((1500, 2500))
    desk.click((1500, 2500))
    desk.qtbot.waitUntil(lambda: panel.notice.text.startswith("shapes.svs: the tile"), timeout=10_000)
    assert not panel.draft.accept.isEnabled()
    assert panel.draft.drop.isEnabled()
    monkeypatch.setattr(desk.model, "encode", encode)


def _two_slides(desk, opened) -> None:
    book, panel = desk.book, desk.panel
    # each slide has a prompt and objects of its own
    desk.bench.add(opened)
    desk.quiet()
    assert panel.slide is opened or panel.choice.combo.count() == 2
    panel.choice._choose(opened)
    desk.quiet()
    assert panel.book is not book
    assert panel.book.draft.empty
    assert len(layer(desk, "Prompt points").data) == 0
    panel.choice._choose(desk.slide)
    desk.quiet()
    assert panel.book is book
    assert len(layer(desk, "Prompt points").data) == 1
    desk.key(Qt.Key.Key_Escape)


def _out_of_sight(desk) -> None:
    panel = desk.panel
    # the panel out of sight leaves clicks to others
    panel.parentWidget().hide()
    desk.qtbot.wait(20)
    assert not panel.prompting
    assert "double_click_to_zoom" in [f.__name__ for f in desk.viewer.mouse_double_click_callbacks]
    panel.parentWidget().show()
    desk.qtbot.wait(20)
    assert panel.prompting
