"""Objects changed by hand in a real window: with napari's tools, by scripts, painted, split, merged."""

from __future__ import annotations

import numpy as np
import pytest
from shapely import box

pytest.importorskip("qtpy")

from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

pytestmark = pytest.mark.gui
TUMOR, GLAND = (213, 40, 0), (230, 159, 0)
NONE, SHIFT = Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.ShiftModifier
CTRL, ALT = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.AltModifier


def test_napari_s_own_tools_and_scripts_edit_objects_and_the_layer_may_be_deleted(place) -> None:
    book, layers = place.book, place.layers
    book.add_many([place.square(1, 924, 1436), place.square(2, 600, 1436)], "two")
    place.rest()
    layer = layers.layer
    # select and drag with the mouse
    place.viewer.layers.selection.active = layer
    layer.mode = "select"
    place.click(0, 0)
    assert place.box.selected == (1,)
    QTest.mousePress(place.canvas, Qt.MouseButton.LeftButton, NONE, place.spot(0, 0))
    for step in (10, 30, 50):
        QTest.mouseMove(place.canvas, place.spot(0, step))
        place.qtbot.wait(30)
    QTest.mouseRelease(place.canvas, Qt.MouseButton.LeftButton, NONE, place.spot(0, 50))
    place.qtbot.wait(30)
    place.rest()
    assert book.objects[1].outline.bounds == pytest.approx((924, 1486, 1124, 1686), abs=2)
    assert book.objects[1].edited
    assert place.box.selected == (1,)
    # Delete with the layer's own key
    place.key(place.canvas, Qt.Key.Key_Delete)
    assert sorted(book.objects) == [2]
    assert book.undo() == "object 1 deleted"
    place.rest()
    # a script draws one
    layer.add([[(1300, 1300), (1300, 1400), (1400, 1400)]], shape_type="polygon")
    place.rest()
    assert sorted(book.objects) == [1, 2, 3]
    assert book.objects[3].outline.area == 5000
    assert sorted(layers.layer.features["number"]) == [1, 2, 3]
    # a heatmap that comes later lies under them
    place.viewer.add_image(np.zeros((4, 4)), metadata={"wsi_role": "attention"})
    place.qtbot.wait(50)
    assert place.roles() == ["slide", "attention", "objects"]
    # hidden, shown and deleted; the objects stay
    layer.visible = False
    assert not place.box.seen.isChecked()
    place.box.seen.click()
    assert layer.visible
    place.viewer.layers.remove(layer)
    assert not place.box.seen.isChecked()
    assert sorted(book.objects) == [1, 2, 3]
    place.box.seen.click()
    place.rest()
    assert layers.layer.nshapes == 3
    place.viewer.layers.remove(layers.layer)
    book.add_many([place.square(9, 1000, 1700)], "one more")
    place.rest()
    assert layers.layer.nshapes == 4
    assert place.box.seen.isChecked()


def check_split_merge_reopen(place) -> None:
    """With one object of 200 x 200 px there."""
    book, box_, work = place.book, place.box, place.box.work
    # split by three clicks and a double click; a line beside it says why not
    box_.select([1])
    box_.actions.buttons["split"].click()
    place.rest()
    work.cutter.layer.add([[(0, 0), (10, 10)]], shape_type="path")
    place.qtbot.waitUntil(lambda: "cuts nothing off" in box_.notice.text, timeout=2000)
    place.click(-150, 0)
    place.click(150, 0)
    QTest.mouseDClick(place.canvas, Qt.MouseButton.LeftButton, NONE, place.spot(150, 0))
    place.qtbot.waitUntil(lambda: len(book.objects) == 2, timeout=2000)
    place.rest()
    assert sorted(one.outline.area for one in book.objects.values()) == pytest.approx([200 * 100] * 2, rel=0.02)
    assert place.roles() == ["slide", "objects"]
    box_.select([1, 2])
    box_.actions.buttons["merge"].click()
    assert box_.selected == (1,)
    assert book.objects[1].outline.area == pytest.approx(200 * 200)
    with place.qtbot.waitSignal(box_.reopen) as caught:
        box_.actions.buttons["reopen"].click()
    assert caught.args == [1]


def test_one_is_painted_split_merged_or_left_as_it_was(place) -> None:
    book, box_, work = place.book, place.box, place.box.work
    book.add_many([place.square(1, 924, 1436, class_name="Tumor")], "one")
    place.rest()
    box_.select([1])
    box_.actions.buttons["paint"].click()
    place.rest()
    layer = work.painter.layer
    assert (layer.mode, layer.brush_size, layer.selected_label) == ("paint", 16, 1)
    assert place.viewer.layers.selection.active is layer
    assert layer.data.sum() == 200 * 200
    assert place.layers.layer.nshapes == 0
    assert place.roles() == ["slide", "objects", "objects paint"]
    red = place.bench.quarters["nw"]
    assert place.colour(place.picture(), 0, 0) == pytest.approx(place.mixed(TUMOR, red, 0.5), abs=6)
    # a stroke of the brush right of it, one of the eraser inside, and Enter
    place.click(0, 110)
    work.bar.eraser.click()
    place.click(0, 0)
    QTest.keyClick(place.canvas, Qt.Key.Key_Return)
    place.qtbot.waitUntil(lambda: work.number is None, timeout=2000)
    place.rest()
    outline = book.objects[1].outline
    assert len(outline.interiors) == 1
    assert outline.covers(box(924, 1436, 1000, 1636))
    assert outline.bounds[3] > 1640
    assert place.roles() == ["slide", "objects"]
    assert place.viewer.layers.selection.active is place.viewer.layers[0]
    assert (book.undo_text, len(book._history.done)) == ("object 1 painted", 2)
    # dropped with Escape, or because the layer or the object goes
    for leave, said in (
        (lambda: QTest.keyClick(place.canvas, Qt.Key.Key_Escape), ""),
        (lambda: place.viewer.layers.remove(work.painter.layer), "The layer was removed; object 1 stays as it was."),
        (box_.undo.undo.click, "Object 1 has another outline now; what was done to it by hand is dropped."),
    ):
        box_.select([1])
        box_.actions.buttons["paint"].click()
        place.rest()
        work.painter.layer.data = np.zeros_like(work.painter.layer.data)
        leave()
        place.qtbot.waitUntil(lambda: work.number is None, timeout=2000)
        place.rest()
        assert place.roles() == ["slide", "objects"]
        assert box_.notice.text == said
    assert book.objects[1].outline.area == 200 * 200
    # another class is no other object: the work goes on, in its colour, and is kept when another slide is shown
    box_.select([1])
    box_.actions.buttons["paint"].click()
    book.set_class([1], "Gland")
    assert work.number == 1
    np.testing.assert_allclose(work.painter.layer.colormap.map(1)[:3] * 255, GLAND, atol=1)
    below = np.arange(len(work.painter.layer.data))[:, None] > len(work.painter.layer.data) // 2
    work.painter.layer.data = work.painter.layer.data * below.astype(np.uint8)
    box_.show(None, None)
    assert work.number is None
    assert (book.objects[1].class_name, book.undo_text) == ("Gland", "object 1 painted")
    assert (book.undo(), book.undo()) == ("object 1 painted", "object 1: Gland")
    place.qtbot.wait(50)
    box_.show(book, place.slide)
    place.rest()
    # all erased is deleted, and comes back
    box_.select([1])
    box_.actions.buttons["paint"].click()
    work.painter.layer.data = np.zeros_like(work.painter.layer.data)
    work.bar.keep.click()
    assert not book.objects
    assert book.undo() == "object 1 deleted"
    place.rest()
    check_split_merge_reopen(place)
