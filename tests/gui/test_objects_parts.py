"""The parts of the objects box that need no window: where objects lie, what is drawn how, table, filter, hand edits."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from shapely import MultiPolygon, Polygon, box

pytest.importorskip("qtpy")

from napari.components import ViewerModel
from napari.layers import Shapes
from qtpy.QtCore import Qt

from napari_wsi_mil.gui.camera import View
from napari_wsi_mil.gui.objects_filter import ObjectFilter
from napari_wsi_mil.gui.objects_index import ObjectIndex
from napari_wsi_mil.gui.objects_near import MOST_SHAPES, near, well_seen
from napari_wsi_mil.gui.objects_preview import Frame, Preview, frame_for, picture
from napari_wsi_mil.gui.objects_rows import HandEdits, ObjectRows, apply_edits
from napari_wsi_mil.gui.objects_table import ObjectsModel, area_text
from napari_wsi_mil.results.object_book import ObjectBook
from napari_wsi_mil.results.objects import DEFAULT_CLASSES, MaskObject

pytestmark = pytest.mark.gui


def square(number: int, y: float, x: float, side: float = 100.0, **more) -> MaskObject:
    return MaskObject(number, box(y, x, y + side, x + side), **more)


def ring(number: int, **more) -> MaskObject:
    """An object of 200 x 200 px with a hole of 50 x 50."""
    hole = [(75, 75), (75, 125), (125, 125), (125, 75)]
    return MaskObject(number, Polygon([(0, 0), (0, 200), (200, 200), (200, 0)], [hole]), **more)


def no_tick(*_) -> None:
    pass


# -- where they lie ---------------------------------------------------------------------------
def test_the_index_follows_every_change_of_a_book() -> None:
    book, index = ObjectBook(), ObjectIndex()
    book.add_many([square(1, 0, 0), square(2, 500, 500)])
    index.restart(book.objects)
    book.watch(index.apply)
    everything = View(0, 0, 1000, 1000)
    assert sorted(index.within(everything)) == [1, 2]
    assert list(index.within(View(450, 450, 60, 60))) == [2]
    book.add_many([square(3, 510, 510, 10)])
    assert sorted(index.within(everything, least_px0=50)) == [1, 2]
    assert index.at((515, 515), book.objects) == 3  # the smaller of two
    assert index.at((515, 515), book.objects, without={3}) == 2
    assert index.at((300, 300), book.objects) is None
    book.delete([2, 3])
    assert sorted(index.within(everything)) == [1]
    book.undo()
    assert sorted(index.within(everything)) == [1, 2, 3]
    book.delete([1, 2, 3])
    assert not len(index)
    assert list(index.within(everything)) == []
    assert index.at((5, 5), book.objects) is None


def test_a_hole_is_not_the_object() -> None:
    book, index = ObjectBook(), ObjectIndex()
    book.add_many([ring(1)])
    index.restart(book.objects)
    assert index.at((10, 10), book.objects) == 1
    assert index.at((100, 100), book.objects) is None


def test_few_large_objects_are_shapes_many_or_small_ones_are_not() -> None:
    book, index = ObjectBook(), ObjectIndex()
    book.add_many([square(i + 1, 0, 20 * i, 10) for i in range(MOST_SHAPES + 1)])
    index.restart(book.objects)
    wide, narrow = View(0, 0, 100, 1e5), View(0, 0, 100, 95)
    none: frozenset[int] = frozenset()
    assert near(book.objects, index, wide, px0=1.0, chosen=none) == set()
    assert near(book.objects, index, wide, px0=1.0, chosen=frozenset({7, 999})) == {7}
    assert near(book.objects, index, narrow, px0=1.0, chosen=none) == {1, 2, 3, 4, 5}
    # eight pixels of the screen are 16 of the slide
    assert near(book.objects, index, narrow, px0=2.0, chosen=none) == set()
    assert well_seen(square(1, 10, 10), View(0, 0, 200, 200), px0=1.0)
    assert not well_seen(square(1, 10, 10), View(0, 0, 200, 200), px0=4.0)
    assert not well_seen(square(1, 150, 10), View(0, 0, 200, 200), px0=1.0)


# -- the picture ------------------------------------------------------------------------------
def test_a_frame_covers_the_view_and_a_margin_on_the_slide() -> None:
    assert frame_for(View(1000, 2000, 400, 800), (4000, 6000), px0=1.0) == Frame(900, 1800, (600, 1200), 1)
    corner = frame_for(View(-300, 5800, 400, 400), (4000, 6000), px0=2.0)
    assert corner == Frame(0, 5700, (100, 150), 2)
    assert corner.extent_yx0 == (0, 5700, 200, 6000)
    assert corner.holds(View(-50, 5750, 200, 400), (4000, 6000))
    assert not corner.holds(View(50, 5750, 200, 400), (4000, 6000))
    assert frame_for(View(-900, 0, 400, 400), (4000, 6000), px0=1.0) is None
    # never finer than the slide, never too many pixels
    assert frame_for(View(0, 0, 40, 40), (4000, 6000), px0=0.1).step == 1
    large = frame_for(View(0, 0, 40_000, 40_000), (40_000, 40_000), px0=1.0)
    assert large.shape[0] * large.shape[1] <= 4_000_000


def test_the_picture_has_edges_and_is_see_through_inside() -> None:
    rgba = picture(
        [ring(1, class_name="Tumor"), square(2, 250, 250, 3)],
        DEFAULT_CLASSES,
        Frame(0, 0, (300, 300), 1),
        no_tick,
        no_tick,
    )
    assert rgba.shape == (300, 300, 4)
    assert tuple(rgba[199, 50]) == (213, 40, 0, 255)
    assert tuple(rgba[50, 50]) == (213, 40, 0, 64)
    assert tuple(rgba[74, 100]) == (213, 40, 0, 255)  # around the hole
    assert rgba[100, 100, 3] == 0
    assert rgba[230, 230, 3] == 0
    assert (rgba[250, 250:253, 3] == 255).all()


def test_objects_that_were_undone_do_not_come_with_the_first_picture(qtbot) -> None:
    viewer, frame = ViewerModel(), Frame(0, 0, (300, 300), 1)
    preview = Preview(viewer)
    preview.slide = SimpleNamespace(mpp_yx=None, closed=False)
    preview.draw([ring(1)], DEFAULT_CLASSES, frame)
    assert preview.busy
    preview.draw([], DEFAULT_CLASSES, frame)
    qtbot.waitUntil(lambda: not preview.busy, timeout=5000)
    assert not viewer.layers
    # the next ones come, also while the cancelled ones still go
    preview.draw([ring(1)], DEFAULT_CLASSES, frame)
    preview.draw([], DEFAULT_CLASSES, frame)
    preview.draw([square(2, 0, 0)], DEFAULT_CLASSES, frame)
    qtbot.waitUntil(lambda: not preview.busy, timeout=5000)
    assert preview.layer.data[50, 50, 3] == 64
    assert preview.layer.data[199, 50, 3] == 0


# -- table ------------------------------------------------------------------------------------
def shown(objects, **more) -> ObjectsModel:
    model = ObjectsModel()
    model.show({one.number: one for one in objects}, DEFAULT_CLASSES, numbers=[o.number for o in objects],
               **({"mpp_yx": (0.5, 0.5)} | more))  # fmt: skip
    return model


def texts(model: ObjectsModel, row: int) -> list:
    return [model.data(model.index(row, column)) for column in range(model.columnCount())]


def test_the_table_says_what_an_object_is_and_sorts_by_any_column(qapp) -> None:
    rows = [
        square(1, 0, 0, 300, class_name="Tumor", score=0.5),
        square(2, 0, 0, 100, class_name="Gland", score=0.91, edited=True, attention=0.25),
        square(3, 0, 0, 200, class_name="Gland"),
    ]
    model = shown(rows)
    assert texts(model, 0) == ["1", "Tumor", "22\u2009500", "0.50", "", ""]
    assert texts(model, 1) == ["2", "Gland", "2\u2009500", "0.91", "✓", "0.25"]
    assert texts(model, 2)[3] == ""
    assert model.headerData(2, Qt.Orientation.Horizontal) == "Area µm²"
    assert model.data(model.index(0, 1), Qt.ItemDataRole.DecorationRole).getRgb()[:3] == (213, 40, 0)
    up, down = Qt.SortOrder.AscendingOrder, Qt.SortOrder.DescendingOrder
    orders = {(0, down): [3, 2, 1], (1, up): [2, 3, 1], (2, up): [2, 3, 1], (3, down): [2, 1, 3], (3, up): [1, 2, 3],
              (4, down): [2, 1, 3], (5, down): [2, 1, 3], (5, up): [2, 1, 3]}  # fmt: skip
    for (column, order), expected in orders.items():
        model.sort(column, order)
        assert list(model.numbers) == expected, (column, order)
    assert shown(rows, mpp_yx=None).headerData(2, Qt.Orientation.Horizontal) == "Area px"
    assert [area_text(a) for a in (0.123456, 12.34, 99.96, 1234.5)] == ["0.123", "12.3", "100", "1\u2009234"]


def test_a_filter_hides_by_score_area_and_class() -> None:
    objects = {
        1: square(1, 0, 0, 10, score=0.4), 2: square(2, 0, 0, 20, score=0.8, class_name="Gland"), 3: square(3, 0, 0, 30),
    }  # fmt: skip
    mpp = (0.5, 0.5)  # areas 25, 100, 225 um2
    assert ObjectFilter().hidden(objects, mpp) == frozenset()
    assert ObjectFilter(least_score=0.5).hidden(objects, mpp) == {1}
    assert ObjectFilter(least_area=100).hidden(objects, mpp) == {1}
    assert ObjectFilter(most_area=100).hidden(objects, mpp) == {3}
    assert ObjectFilter(most_area=100).hidden(objects, None) == {2, 3}
    assert ObjectFilter(class_name="Gland").hidden(objects, mpp) == {1, 3}


# -- shapes and hands -------------------------------------------------------------------------
@pytest.fixture
def sheet(qapp):
    """Return a layer with three objects of a book: a ring, one of two parts, a square."""
    book = ObjectBook()
    two = MultiPolygon([box(300, 0, 350, 50), box(300, 100, 350, 150)])
    book.add_many([ring(1), MaskObject(2, two, "Gland"), square(3, 500, 0)])
    layer = Shapes(ndim=2)
    rows = ObjectRows(layer, (0.5, 0.5))
    rows.write(book.objects, book.classes, width=2.0)
    return SimpleNamespace(book=book, layer=layer, rows=rows)


def follow(sheet) -> None:
    """Read what was done, as the box does, and write the book again."""
    edits = sheet.rows.read()
    sheet.rows.forget(edits)
    apply_edits(sheet.book, edits)
    sheet.rows.write(sheet.book.objects, sheet.book.classes, width=2.0)
    assert not sheet.rows.read()
    assert len(sheet.rows) == sheet.layer.nshapes == sum(len(one.parts) for one in sheet.book.objects.values())


def test_only_what_differs_is_written(sheet) -> None:
    layer, rows, book = sheet.layer, sheet.rows, sheet.book
    assert list(layer.features["number"]) == [1, 2, 2, 3]
    assert list(layer.features["area_um2"]) == [9375.0, 1250.0, 1250.0, 2500.0]
    assert not rows.write(book.objects, book.classes, width=2.0)
    assert not rows.read()
    kept = layer.data[0]
    book.delete([2])
    book.set_class([3], "Tumor")
    assert rows.write(book.objects, book.classes, width=2.0)
    assert list(layer.features["class"]) == ["Object", "Tumor"]
    np.testing.assert_array_equal(layer.data[0], kept)
    np.testing.assert_allclose(layer.edge_color[1][:3] * 255, (213, 40, 0), atol=0.5)
    rows.style(book.classes, {3}, width=2.0)
    np.testing.assert_allclose(layer.edge_width, [2.0, 4.0])
    assert not np.array(layer.face_color)[:, 3].any()
    rows.write({}, book.classes, width=2.0)
    assert layer.nshapes == 0


def test_a_moved_corner_comes_back_with_the_hole(sheet) -> None:
    data = [np.array(corners) for corners in sheet.layer.data]
    corner = int(np.flatnonzero((data[0] == (200, 200)).all(1))[0])
    data[0][corner] = (300, 300)
    sheet.layer.data = data
    follow(sheet)
    one = sheet.book.objects[1]
    assert one.edited
    assert one.outline.area == pytest.approx(200 * 200 + 2 * 0.5 * 200 * 100 - 50 * 50)
    assert len(one.outline.interiors) == 1
    assert not sheet.book.objects[3].edited
    assert sheet.book.undo() == "object 1 changed by hand"
    assert sheet.book.objects[1].outline.area == 200 * 200 - 50 * 50


def test_deleted_shapes_are_deleted_objects_or_parts(sheet) -> None:
    sheet.layer.remove([2, 3])
    follow(sheet)
    assert sorted(sheet.book.objects) == [1, 2]
    assert sheet.book.objects[2].outline.equals(box(300, 0, 350, 50))
    assert not sheet.book.objects[1].edited


def test_drawn_and_pasted_shapes_are_new_objects_and_lines_are_none(sheet) -> None:
    layer, book = sheet.layer, sheet.book
    book.chosen = "Stroma"
    layer.add([[(600, 600), (600, 700), (700, 700)]], shape_type="polygon")
    layer.add([[(0, 900), (50, 1000)]], shape_type="line")
    layer.add([[(800, 800), (800, 900), (900, 900), (900, 800)]], shape_type="ellipse")
    edits = sheet.rows.read()
    assert (len(edits.drawn), edits.empty, edits.gone, dict(edits.changed)) == (2, 1, (), {})
    follow(sheet)
    assert sorted(book.objects) == [1, 2, 3, 4, 5]
    assert {book.objects[4].class_name, book.objects[5].class_name} == {"Stroma"}
    assert book.objects[4].outline.area == 5000
    assert book.objects[5].outline.area == pytest.approx(np.pi * 50**2, rel=0.01)
    assert book.undo() == "2 objects drawn"


def test_what_was_undone_while_a_hand_was_at_it_stays_out(sheet) -> None:
    sheet.layer.data = [np.array(corners) + 7 for corners in sheet.layer.data]
    edits = sheet.rows.read()
    assert sorted(edits.changed) == [1, 2, 3]
    sheet.book.delete([1])
    apply_edits(sheet.book, edits)
    assert {number: one.edited for number, one in sheet.book.objects.items()} == {2: True, 3: True}
    sheet.book.delete([2])
    apply_edits(sheet.book, HandEdits({}, (1, 2), (), 0))
    assert sorted(sheet.book.objects) == [3]
    assert sheet.book.undo_text == "object 2 deleted"
