"""The Segment panel as a person uses it: real mouse and key events on the canvas of a real viewer."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("qtpy")
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from shapely import Point

from napari_wsi_mil.gui.parts import NARROWEST_PX

pytestmark = pytest.mark.gui


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
    assert desk.alike(answer.outline, disc)
    assert desk.layer("Draft outline").nshapes == 1
    assert desk.layer("Prompt points").data.tolist() == [list(book.draft.points_yx0[0])]
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
    assert desk.layer("Prompt points").features["label"].tolist() == [1, 0]
    assert desk.status().startswith("Nothing found for this prompt.")
    assert not desk.panel.draft.accept.isEnabled()
    assert desk.layer("Draft outline").nshapes == 0
    desk.key(Qt.Key.Key_Z, desk.CONTROL)
    assert desk.alike(desk.answered().outline, disc)
    # Enter keeps it: an object where the draft was
    desk.key(Qt.Key.Key_Return)
    (kept,) = book.objects.values()
    assert desk.alike(kept.outline, disc)
    assert (kept.score, kept.model, kept.prompt) == (0.75, "colour-model", answer.prompt)
    assert book.draft.empty
    desk.quiet()
    assert desk.layer("Draft outline").nshapes == 0
    assert len(desk.layer("Prompt points").data) == 0
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
    assert desk.alike(desk.answered().outline, ring, 0.12)
    encoded = len(desk.model.encoded)
    desk.look((500, 2500))
    desk.look((ry, rx))
    assert book.draft.labels == (1,)
    desk.click((ry + 12, rx - 70))
    assert book.draft.labels == (1, 1)
    assert desk.alike(desk.answered().outline, ring, 0.12)
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
    assert desk.alike(desk.answered().outline, ring, 0.12)
    desk.key(Qt.Key.Key_Escape)
    assert book.draft.empty
    book.delete([2])
    assert sorted(book.objects) == [1]
    desk.quiet()
