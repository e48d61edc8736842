"""The objects box in a real window: what is seen on the slide, the table beside it, classes, keys, filters, files."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from shapely import Polygon

pytest.importorskip("qtpy")

from qtpy.QtCore import Qt

from napari_wsi_mil.results.object_book import ObjectBook
from napari_wsi_mil.results.objects import MaskObject

pytestmark = pytest.mark.gui
TUMOR, GLAND = (213, 40, 0), (230, 159, 0)
NONE, SHIFT = Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.ShiftModifier
CTRL, ALT = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.AltModifier


def check_classes_keys_and_undo(place) -> None:
    """With two objects there, the first selected."""
    place_box, book, table, red = place.box, place.book, place.box.table, place.bench.quarters["nw"]
    # classes: by button, by key in the panel, by key on the canvas
    place_box.classes.buttons[1].click()
    assert book.objects[1].class_name == "Gland"
    place.key(table, Qt.Key.Key_5)
    assert book.objects[1].class_name == "Stroma"
    place.key(place.canvas, Qt.Key.Key_2, ALT)
    assert book.objects[1].class_name == "Gland"
    picture = place.picture()
    assert place.colour(picture, 70, 0) == red
    assert place.colour(picture, 100, 0) == pytest.approx(GLAND, abs=6)
    # Del in the table; undo and redo by keys in both places and by buttons that say what they do
    place.key(table, Qt.Key.Key_Delete)
    assert sorted(book.objects) == [2]
    assert place.colour(place.picture(), 70, 0) == red
    assert place_box.undo.undo.toolTip() == "Undo: object 1 deleted (Ctrl-Z)"
    place.key(place.canvas, Qt.Key.Key_Z, CTRL)
    assert sorted(book.objects) == [1, 2]
    place.key(place.canvas, Qt.Key.Key_Z, CTRL | SHIFT)
    assert sorted(book.objects) == [2]
    place.key(table, Qt.Key.Key_Z, CTRL)
    place.key(table, Qt.Key.Key_Z, CTRL)
    assert book.objects[1].class_name == "Stroma"
    place_box.undo.redo.click()
    assert book.objects[1].class_name == "Gland"
    for _ in range(10):
        place_box.undo.undo.click()
    assert not book.objects
    assert place_box.undo.undo.toolTip() == "Nothing to undo"
    place.rest()
    assert place_box.empty.isVisible()
    assert place.layers.layer.nshapes == 0
    # keys are given back, for a while or for good
    bound = place_box.keys.canvas.bound
    assert "Ctrl+Z" in bound
    place.panel.hide()
    assert not {str(key) for key in place.viewer.keymap} & set(bound)
    place.panel.show()
    assert place_box.keys.canvas.bound == bound
    place_box.show(None, None)
    assert not {str(key) for key in place.viewer.keymap} & set(bound)
    place.qtbot.wait(20)
    assert place.roles() == ["slide"]


def test_objects_are_seen_selected_classed_deleted_and_undone(place) -> None:
    place_box, book, table = place.box, place.book, place.box.table
    assert place.roles() == ["slide"]
    assert place_box.empty.isVisible()
    assert not table.isVisible()
    hole = [(1000, 1500), (1000, 1572), (1048, 1572), (1048, 1500)]
    around = Polygon([(924, 1436), (924, 1636), (1124, 1636), (1124, 1436)], [hole])
    book.add_many([MaskObject(1, around, "Tumor", score=0.9), place.square(2, 700, 1436)], "two")
    place.rest()
    # pixels: edge, inside, hole, and beside it
    red = place.bench.quarters["nw"]
    picture = place.picture()
    assert place.colour(picture, 70, 0) == red
    assert place.colour(picture, 0, 0) == red
    assert place.colour(picture, 100, 0) == pytest.approx(TUMOR, abs=6)
    assert place.colour(picture, 115, 0) == red
    assert place.roles() == ["slide", "objects"]
    assert place.layers.layer.nshapes == 2
    assert table.rows.rowCount() == 2
    assert not place_box.empty.isVisible()
    assert place_box.count.text() == "Objects  2"
    # the table selects on the slide, and the slide in the table
    table.selectRow(1)
    assert place_box.selected == (2,)
    assert place.layers.layer.selected_data == {1}
    place.layers.layer.selected_data = {0}
    assert place_box.selected == (1,)
    assert table.numbers() == [1]
    check_classes_keys_and_undo(place)


def check_filters(place) -> None:
    """With 400 objects there."""
    book, place_box, red = place.book, place.box, place.bench.quarters["nw"]
    # filters hide, and delete only when asked
    place.look((1024, 1536), 4.0)
    place_box.filter.open.click()
    place_box.filter.kind.setCurrentText("Gland")
    place_box.filter.score.setValue(0.5)
    place.rest()
    assert place_box.table.rows.rowCount() == 100
    assert place_box.filter.said.text() == "300 hidden"
    assert place.colour(place.picture(), 0, 0) == red
    assert place_box.number_at((1030, 1530)) is None
    assert len(book.objects) == 400
    place_box.filter.reset.click()
    place.rest()
    assert place_box.table.rows.rowCount() == 400
    place_box.filter.most.setValue(1.0)
    place_box.filter.score.setValue(0.9)
    place_box.filter.most.setValue(0.0)
    place_box.filter.delete.click()
    place.rest()
    assert len(book.objects) == 40
    assert place_box.table.rows.rowCount() == 40
    assert book.undo() == "360 objects deleted"


def test_many_objects_are_a_picture_far_and_shapes_near_and_filters_hide(place) -> None:
    book = place.book
    kinds = ("Tumor", "Gland")
    book.add_many(
        [
            place.square(1 + i, 100 * (i // 20), 100 * (i % 20) + 500, 60, class_name=kinds[i % 2], score=i / 400)
            for i in range(400)
        ],
        "many",
    )
    place.look((1024, 1536), 4.0)
    assert place.roles() == ["slide", "objects preview"]
    red = place.bench.quarters["nw"]
    picture = place.picture()
    # object 211 covers 1000..1060 x 1500..1560: edges of two pixels, see-through inside
    assert place.colour(picture, 0, 0) == pytest.approx(place.mixed(TUMOR, red), abs=6)
    assert place.colour(picture, 11, 0) == red
    # panned a little the picture is kept, and what it shows moves with the slide
    frame = place.layers.preview.frame
    place.look((1034, 1556), 4.0)
    assert place.layers.preview.frame is frame
    assert place.colour(place.picture(), -3, -5) == pytest.approx(place.mixed(TUMOR, red), abs=6)
    # one that is added is a shape at once, before the picture is made anew; and undone as soon
    book.add_many([place.square(900, 1900, 1500, 100)], "one")
    assert list(place.layers.layer.features["number"]) == [900]
    place_box = place.box
    book.undo()
    assert place.layers.layer.nshapes == 0
    # near: shapes, and nothing is drawn twice
    place.look((1024, 1536), 1.0)
    shapes = set(place.layers.layer.features["number"])
    assert 211 in shapes
    assert len(shapes) <= 150
    assert place.colour(place.picture(), 0, 0) == red
    # by a double click in the table one is flown to, and it is found under the pointer
    row = int(np.flatnonzero(place_box.table.rows.numbers == 400)[0])
    place_box.table.doubleClicked.emit(place_box.table.rows.index(row, 0))
    place.rest()
    assert tuple(place.viewer.scene.camera.center[-2:]) == pytest.approx((0.25 * 1929.5, 0.25 * 2429.5))
    assert place_box.number_at((1930, 2430)) == 400
    check_filters(place)


def test_objects_are_saved_opened_and_back_when_the_slide_is_opened_again(place, tmp_path) -> None:
    from napari_wsi_mil.slide import open_slide

    book, files = place.book, place.box.files
    book.add_class("Crypt", (1, 2, 3))
    book.add_many([place.square(1, 924, 1436, class_name="Crypt", score=0.75), place.square(2, 600, 1436)], "two")
    for name in ("a.geojson", "a.csv"):
        with place.qtbot.waitSignal(files.said, timeout=5000) as said:
            files.save_file(str(tmp_path / name))
        assert said.args == [f"Saved {tmp_path / name}"]
        place.qtbot.waitUntil(lambda: files.job is None, timeout=2000)
    assert len(json.loads((tmp_path / "a.geojson").read_text())["features"]) == 2
    (first, _) = csv.DictReader((tmp_path / "a.csv").read_text(encoding="utf-8").splitlines())
    assert (first["class"], float(first["area_um2"]), float(first["score"])) == ("Crypt", 2500.0, 0.75)
    files.save_file(str(tmp_path / "a.txt"))
    place.qtbot.waitUntil(lambda: "are saved as .geojson, .csv" in place.box.notice.text, timeout=2000)
    place.qtbot.waitUntil(lambda: files.job is None, timeout=2000)
    book.delete([1, 2])
    with place.qtbot.waitSignal(files.said, timeout=5000) as said:
        files.open_file(str(tmp_path / "a.geojson"))
    assert said.args == ["2 objects opened."]
    assert sorted(one.class_name for one in book.objects.values()) == ["Crypt", "Object"]
    (tmp_path / "b.geojson").write_text("{")
    place.qtbot.waitUntil(lambda: files.job is None, timeout=2000)
    files.open_file(str(tmp_path / "b.geojson"))
    place.qtbot.waitUntil(lambda: "is no GeoJSON" in place.box.notice.text, timeout=2000)
    place.qtbot.waitUntil(lambda: files.job is None, timeout=2000)
    # the slide goes, and with it the book; opened again its objects come back
    before = {one.outline.wkb for one in book.objects.values()}
    place.rest()
    for layer in [layer for layer in place.viewer.layers if layer.metadata.get("wsi_role") == "slide"]:
        place.viewer.layers.remove(layer)
    assert place.box.book is None
    place.qtbot.waitUntil(lambda: not len(place.viewer.layers), timeout=2000)
    with open_slide(place.slide.path) as again:
        place.bench.add(again)
        new = ObjectBook()
        place.box.show(new, again)
        place.qtbot.waitUntil(lambda: len(new.objects) == 2, timeout=5000)
        assert {one.outline.wkb for one in new.objects.values()} == before
        assert "Crypt" in [kind.name for kind in new.classes]
        assert place.box.notice.text == "2 objects of an earlier session brought back; Undo leaves them out."
        place.rest()
        assert place.layers.layer.nshapes == 2
        assert new.undo() == "objects of an earlier session"
        place.rest()
        place.box.show(None, None)
        place.qtbot.wait(20)
        place.viewer.layers.clear()
