"""The Segment panel as a person uses it: real mouse and key events on the canvas of a real viewer."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("qtpy")
from qtpy.QtCore import Qt
from shapely import Point

pytestmark = pytest.mark.gui


def layer(desk, name):
    return desk.viewer.layers[name]


def alike(outline, truth, share: float = 0.05) -> bool:
    """Whether two outlines differ by less than a share of the second."""
    return outline.symmetric_difference(truth).area < share * truth.area


def test_click_refine_accept_undo_redo_and_back(segment_desk) -> None:
    desk, book = segment_desk, segment_desk.book
    (y, x), r = desk.disc
    disc = Point(y, x).buffer(r)
    ground = desk.shown((y, x + r / 2))
    # a plain click: a point, its outline at once, both in ordinary layers; the slide stays the selected layer
    desk.click((y, x))
    answer = desk.answered()
    assert book.draft.labels == (1,)
    assert np.abs(np.array(book.draft.points_yx0[0]) - (y, x)).max() < 2
    assert alike(answer.outline, disc)
    assert layer(desk, "Draft outline").nshapes == 1
    assert layer(desk, "Prompt points").data.tolist() == [list(book.draft.points_yx0[0])]
    assert desk.viewer.layers.selection.active is desk.image
    assert desk.status().startswith("Outline 50 × 50 µm · score 0.75 · ")
    # what is on the canvas is the slide under the outline's fill, and the slide alone outside
    inside = desk.shown((y, x + r / 2))
    assert (inside - ground)[1] > 30
    assert np.abs(desk.shown((y, x + r + 30)) - (240, 200, 220)).max() < 3
    # a drag moves the slide and is no point
    desk.drag((y, x), (y, x - 40))
    assert desk.book.draft.labels == (1,)
    desk.look((y, x))
    # Shift: a negative point, here so that nothing is left
    desk.click((y - 40, x), desk.SHIFT)
    assert desk.answered().empty
    assert book.draft.labels == (1, 0)
    assert "Nothing" in desk.status()
    assert not desk.panel.draft.accept.isEnabled()
    assert layer(desk, "Draft outline").nshapes == 0
    book.undo()
    assert alike(desk.answered().outline, disc)
    assert len(layer(desk, "Prompt points").data) == 1
    # Enter keeps it
    desk.key(Qt.Key.Key_Return)
    assert [alike(one.outline, disc) for one in book.objects.values()] == [True]
    assert book.draft.empty
    assert layer(desk, "Draft outline").nshapes == 0
    assert len(layer(desk, "Prompt points").data) == 0
    assert desk.status().startswith("Object 1, Object: 50 × 50 µm, 1\u2009")
