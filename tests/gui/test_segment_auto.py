"""Segment all like this: where, how many prompts, limits, what is added; beside a real model's stand-in."""

from __future__ import annotations

import threading

import numpy as np
import pytest

pytest.importorskip("qtpy")
from shapely import Point, Polygon, box

from napari_wsi_mil.gui.parts import thin
from napari_wsi_mil.gui.segment_finds import new_among
from napari_wsi_mil.results.objects import MaskObject

pytestmark = pytest.mark.gui


def test_objects_that_are_known_are_not_new() -> None:
    def one(number, *corners):
        return MaskObject(number, box(*corners))

    known = [one(1, 0, 0, 100, 100)]
    same, inside, beside, around = (
        one(2, 0, 0, 100, 90),
        one(3, 10, 10, 20, 20),
        one(4, 0, 90, 100, 190),
        one(5, -50, -50, 300, 300),
    )
    assert new_among([same, inside, beside, around], known) == [beside]
    assert new_among([same], []) == [same]


def test_segment_all_like_the_object_accepted(segment_desk, monkeypatch) -> None:
    desk, book, auto = segment_desk, segment_desk.book, segment_desk.panel.auto
    (y, x), r = desk.disc
    (ry, rx), (outer, inner) = desk.ring
    assert auto.like.text() == "Objects of every size. Accept one first to look for others like it."
    assert auto.spacing.value() == 8
    desk.click((y, x))
    desk.answered()
    desk.panel.accept()
    area = book.objects[1].outline.area / 16
    assert auto.like.text() == f"Like object 1: about {thin(round(area))} µm², as Object."
    assert auto.spacing.value() == pytest.approx(np.sqrt(area / np.pi), abs=0.5)
    # a run can be cancelled within a second
    go, encode = threading.Event(), desk.model.encode
    monkeypatch.setattr(desk.model, "encode", lambda picture: (go.wait(5), encode(picture))[1])
    desk.look((1024, 1200), zoom=3.0)
    auto.run.button.click()
    assert auto.run.button.text() == "Cancel"
    auto.run.button.click()
    desk.qtbot.waitUntil(lambda: not auto.run.running, timeout=2000)
    assert auto.run.notice.text == "Cancelled."
    go.set()
    # what was found waits as a picture over the slide; only what is about the example's size is in it
    before = desk.shown((ry, rx - 70))
    auto.run.button.click()
    desk.qtbot.waitUntil(lambda: auto.finds is not None and not auto.run.running, timeout=60_000)
    assert list(book.objects) == [1]
    ring = Point(ry, rx).buffer(outer).difference(Point(ry, rx).buffer(inner))
    found = auto.layer.objects
    assert sum(one.outline.symmetric_difference(ring).area < 0.15 * ring.area for one in found) == 1
    assert {one.class_name for one in found} == {"Object"}
    assert all(area / 4 <= one.outline.area / 16 <= area * 4 for one in found)
    assert auto.found.text() == f"{len(found)} of {len(auto.finds)} outlines"
    desk.qtbot.waitUntil(lambda: auto.layer.layer is not None and auto.layer.layer.data.any(), timeout=5000)
    assert auto.layer.layer.name == "Found, not added"
    assert np.abs(desk.shown((ry, rx - 70)) - before).max() > 20
    # limits move without another run
    asked = len(desk.model.asked)
    auto.limits.score.setValue(0.8)
    assert auto.layer.objects == ()
    assert not auto.add.isEnabled()
    auto.limits.score.setValue(0.7)
    assert auto.layer.objects == found
    assert len(desk.model.asked) == asked
    # one step adds what is new; the object that was there is not doubled
    auto.add.click()
    assert len(book.objects) == len(found)
    assert book.undo_text == f"{len(found) - 1} objects found"
    assert auto.finds is None
    names = desk.viewer.layers
    desk.qtbot.waitUntil(lambda: "Found, not added" not in [layer.name for layer in names], timeout=3000)
    book.undo()
    assert list(book.objects) == [1]
    _other_places(desk)


def _other_places(desk) -> None:
    auto = desk.panel.auto
    # inside drawn shapes; without any, and without attention, one sentence
    auto.where.setCurrentText("Inside drawn shapes")
    auto.run.button.click()
    assert auto.run.notice.text == "No shapes are drawn yet; press Draw and click around a region."
    desk.viewer.add_shapes(
        [np.array([(900, 1250), (900, 1550), (1150, 1550), (1150, 1250)])], shape_type="polygon", name="Mine",
        scale=desk.image.scale, translate=desk.image.translate, units=desk.image.units,
    )  # fmt: skip
    assert auto.region.combo.currentText() == "Mine"
    auto.run.button.click()
    desk.qtbot.waitUntil(lambda: auto.finds is not None and not auto.run.running, timeout=60_000)
    asked = {one.prompt.points_yx0[0] for one in auto.finds.candidates}
    drawn = Polygon([(899, 1249), (899, 1551), (1151, 1551), (1151, 1249)])
    assert all(drawn.contains(Point(place)) for place in asked)
    auto.discard.click()
    auto.where.setCurrentText("Top attention tiles")
    auto.run.button.click()
    assert auto.run.notice.text.startswith("No attention of this slide is shown; run a model")
