"""Questions to a model one at a time, and the arithmetic of places that are drawn."""

from __future__ import annotations

import threading

import numpy as np
import pytest

pytest.importorskip("qtpy")

from napari_wsi_mil.gui.segment_places import along, as_known, known_box, known_lasso, same_shape
from napari_wsi_mil.gui.segment_queue import Ask, NewestFirst

pytestmark = pytest.mark.gui


class Bell:
    """Work that waits until told, and ticks meanwhile."""

    def __init__(self, value) -> None:
        self.value, self.go, self.began = value, threading.Event(), threading.Event()

    def __call__(self, tick, say):
        self.began.set()
        while not self.go.wait(0.005):
            tick(0, 1)
        return self.value


@pytest.fixture
def queue(qtbot):
    queue = NewestFirst()
    queue.got = []
    queue.answered.connect(lambda ask, found: queue.got.append((ask.kind, found)))
    yield queue
    queue.forget()
    qtbot.waitUntil(lambda: queue.now is None, timeout=3000)


def test_the_newest_of_a_kind_waits_and_one_of_the_same_place_is_let_to_its_end(qtbot, queue) -> None:
    first, second, third = Bell(1), Bell(2), Bell(3)
    queue.put(Ask("draft", "a", "here", first))
    qtbot.waitUntil(first.began.is_set)
    queue.put(Ask("draft", "b", "here", second))
    queue.put(Ask("draft", "c", "here", third))
    first.go.set()
    third.go.set()
    qtbot.waitUntil(lambda: queue.now is None, timeout=3000)
    assert queue.got == [("draft", 1), ("draft", 3)]
    assert not second.began.is_set()


def test_a_question_elsewhere_stops_the_one_under_way_unless_that_ranks_higher(qtbot, queue) -> None:
    ahead, draft, peek = Bell("ahead"), Bell("draft"), Bell("peek")
    queue.put(Ask("ahead", None, "there", ahead))
    qtbot.waitUntil(ahead.began.is_set)
    queue.put(Ask("draft", None, "here", draft))
    qtbot.waitUntil(draft.began.is_set, timeout=3000)
    queue.put(Ask("peek", None, "elsewhere", peek))
    assert queue.waits_for("peek")
    assert queue.waits_for("draft")
    draft.go.set()
    peek.go.set()
    qtbot.waitUntil(lambda: queue.now is None, timeout=3000)
    assert queue.got == [("draft", "draft"), ("peek", "peek")]


def test_what_is_forgotten_neither_answers_nor_fails(qtbot, queue) -> None:
    failed = []
    queue.failed.connect(lambda ask, sentence: failed.append(sentence))
    bell = Bell(1)
    queue.put(Ask("draft", None, "here", bell))
    qtbot.waitUntil(bell.began.is_set)
    queue.forget("draft")
    assert not queue.waits_for("draft")
    bell.go.set()
    qtbot.waitUntil(lambda: queue.now is None, timeout=3000)
    assert (queue.got, failed) == ([], [])


def test_a_scribble_becomes_points_spread_evenly() -> None:
    line = np.array([(0.0, 0.0), (0.0, 3.0), (4.0, 3.0)])
    assert along(line, 3).tolist() == [[0, 0], [0.5, 3], [4, 3]]
    assert along(line, 10).shape == (3, 2)
    assert len(along(np.repeat(line, 20, axis=0), 10)) == 10
    assert along(np.zeros((5, 2)), 10).tolist() == [[0, 0]]


def test_rounded_numbers_are_known_again() -> None:
    assert as_known(np.array([(1.0001, 2.0), (3, 3)]), [(1.0, 2.0)]).tolist() == [[1, 2], [3, 3]]
    corners = np.array([(1.0, 2.0), (1, 5), (4, 5), (4, 2)])
    assert known_box(corners + 1e-4, (1.0, 2.0, 4.0, 5.0)) == (1.0, 2.0, 4.0, 5.0)
    assert known_box(corners, None) == (1.0, 2.0, 4.0, 5.0)
    assert known_box(corners + 1, (1.0, 2.0, 4.0, 5.0)) == (2.0, 3.0, 5.0, 6.0)
    ring = ((1.0, 2.0), (1.0, 5.0), (4.0, 5.0))
    assert known_lasso(np.array(ring) + 1e-4, ring) == ring
    assert known_lasso(np.array(ring) + 1, ring) == ((2.0, 3.0), (2.0, 6.0), (5.0, 6.0))
    assert same_shape((corners, "rectangle"), (np.roll(corners, 1, axis=0), "rectangle"))
    assert not same_shape((corners, "polygon"), (np.roll(corners, 1, axis=0), "polygon"))
    assert not same_shape((corners, "polygon"), (corners, "rectangle"))


def test_numbers_rounded_far_from_the_corner_are_known_again() -> None:
    far = (99_000.123, 150_000.456, 99_100.789, 150_200.012)
    y0, x0, y1, x1 = far
    corners = np.array([(y0, x0), (y0, x1), (y1, x1), (y1, x0)])
    kept = corners.astype(np.float32).astype(float)
    assert np.abs(kept - corners).max() > 1e-3
    assert known_box(kept, far) == far
    assert known_lasso(kept, [(y, x) for y, x in corners]) == [(y, x) for y, x in corners]
    assert as_known(kept, [(y, x) for y, x in corners]).tolist() == corners.tolist()
    assert same_shape((kept, "rectangle"), (corners, "rectangle"))
    # a tenth of a pixel is a move all the same
    assert known_box(corners + 0.1, far) != far
    assert not same_shape((corners + 0.1, "polygon"), (corners, "polygon"))
