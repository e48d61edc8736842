"""Objects, their sizes and classes."""

import numpy as np
import pytest
from shapely import GeometryCollection, LineString, MultiPolygon, Point, Polygon, box

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.results import MaskObject, ObjectClass, SlidePrompt, SlideRef, measures
from napari_wsi_mil.results.object_table import object_table, save_table
from napari_wsi_mil.results.objects import DEFAULT_CLASSES, as_outline, checked_classes, with_classes

RING = box(0, 0, 10, 20).difference(box(2, 2, 6, 12))


def test_sizes_count_holes_and_pixels_that_are_not_square():
    size = measures(MaskObject(1, RING), (0.5, 0.25))
    assert size.area_px0 == 200 - 40
    assert size.area_um2 == 160 * 0.125
    assert size.perimeter_px0 == 60 + 28
    assert size.perimeter_um == pytest.approx(20 * 0.5 + 40 * 0.25 + 8 * 0.5 + 20 * 0.25)
    y, x = (200 * 5 - 40 * 4) / 160, (200 * 10 - 40 * 7) / 160
    assert size.centroid_yx0 == pytest.approx((y, x))
    assert size.centroid_yx_um == pytest.approx((y * 0.5, x * 0.25))


def test_sizes_without_pixel_size_are_pixels():
    size = measures(MaskObject(1, MultiPolygon([box(0, 0, 1, 1), box(5, 5, 6, 7)])), None)
    assert (size.area_px0, size.area_um2, size.perimeter_um, size.centroid_yx_um) == (3, None, None, None)


@pytest.mark.parametrize(
    "bad",
    [
        {"number": 0, "outline": RING},
        {"number": 1.5, "outline": RING},
        {"number": 1, "outline": Polygon()},
        {"number": 1, "outline": Polygon([(0, 0), (4, 4), (4, 0), (0, 4)])},
        {"number": 1, "outline": Polygon([(0, 0, 1), (4, 4, 1), (4, 0, 1)])},
        {"number": 1, "outline": Polygon([(0, 0), (0, np.inf), (4, 0)])},
        {"number": 1, "outline": LineString([(0, 0), (1, 1)])},
        {"number": 1, "outline": [(0, 0), (1, 1), (1, 0)]},
        {"number": 1, "outline": RING, "score": float("nan")},
        {"number": 1, "outline": RING, "attention": float("inf")},
    ],
)
def test_no_object_without_a_sound_outline(bad):
    with pytest.raises(BadRequest, match="^object"):
        MaskObject(**bad)


@pytest.mark.parametrize(
    "bad", [("", (0, 0, 0)), ("a" * 101, (0, 0, 0)), ("a\nb", (0, 0, 0)), ("a", (0, 0)), ("a", (0, 0, 256))]
)
def test_no_class_without_name_and_colour(bad):
    with pytest.raises(BadRequest, match="^class"):
        ObjectClass(*bad)


def test_classes_have_one_name_each():
    assert len(checked_classes(DEFAULT_CLASSES)) == 9
    with pytest.raises(BadRequest, match="got Gland twice"):
        checked_classes([*DEFAULT_CLASSES, ObjectClass("Gland", (1, 2, 3))])
    with pytest.raises(BadRequest, match="got none"):
        checked_classes([])
    a, b, c = ObjectClass("a", (1, 1, 1)), ObjectClass("b", (2, 2, 2)), MaskObject(1, RING, "c")
    assert [k.name for k in with_classes([a], [b], [c, MaskObject(2, RING, "b")])] == ["a", "b", "c"]
    assert with_classes([a], [b], [MaskObject(2, RING, "b")])[1] == b


def test_any_geometry_becomes_an_outline_or_nothing():
    assert as_outline(RING) == RING
    bow = as_outline(Polygon([(0, 0), (10, 10), (10, 0), (0, 10)]))
    assert (bow.geom_type, bow.area, bow.is_valid) == ("MultiPolygon", 50, True)
    mixed = GeometryCollection(
        [Point(0, 0), LineString([(0, 0), (1, 1)]), MultiPolygon([box(0, 0, 2, 2)]), box(1, 1, 3, 3)]
    )
    assert as_outline(mixed).area == 7
    assert as_outline(GeometryCollection([Point(0, 0)])) is None
    assert not as_outline(Polygon([(0, 0, 5), (0, 4, 5), (4, 0, 5)])).has_z


def test_the_table_has_a_row_for_each_object():
    objects = [
        MaskObject(7, RING, "Gland", 0.5, "m", SlidePrompt([(1, 1)], [1], (0, 0, 9, 9)), attention=0.25),
        MaskObject(3, box(0, 0, 2, 4), edited=True),
    ]
    table = object_table(objects, (0.5, 0.25))
    assert list(table) == [
        "number", "class", "area_um2", "perimeter_um", "centroid_y_um", "centroid_x_um", "score", "model", "prompts", "edited",
        "attention",
    ]  # fmt: skip
    for row, one in enumerate(objects):
        size = measures(one, (0.5, 0.25))
        assert table["number"][row] == one.number
        assert table["area_um2"][row] == pytest.approx(size.area_um2)
        assert table["perimeter_um"][row] == pytest.approx(size.perimeter_um)
        assert (table["centroid_y_um"][row], table["centroid_x_um"][row]) == pytest.approx(size.centroid_yx_um)
    assert table["prompts"].tolist() == ["1+ box", ""]
    assert np.isnan(table["score"]).tolist() == [False, True]
    assert object_table([], None)["area_px"].shape == (0,)
    assert object_table(objects, None)["perimeter_px"][1] == 12


def test_the_table_as_csv(tmp_path):
    objects = [MaskObject(7, box(0, 0, 2, 4), "=cmd", 0.5, "m", attention=0.25), MaskObject(8, box(0, 0, 1, 1), "ä,b")]
    path = save_table(tmp_path / "t.csv", objects, (0.5, 0.5))
    assert path.read_text(encoding="utf-8").splitlines() == [
        "number,class,area_um2,perimeter_um,centroid_y_um,centroid_x_um,score,model,prompts,edited,attention",
        "7,'=cmd,2.000,6.000,0.500,1.000,0.500000,m,,,0.250000000",
        '8,"ä,b",0.250,2.000,0.250,0.250,,,,,',
    ]


def test_a_slides_reference(array_slide):
    slide = array_slide(np.zeros((100, 200, 3), np.uint8), mpp=0.25)
    assert SlideRef.of(slide) == SlideRef("aaaa.arr", "a" * 32, (100, 200), (0.25, 0.25))
