"""Objects and prompts as layer data, and thousands of them as one picture."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from shapely import MultiPolygon, Point, Polygon, box

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.layers import keyhole, object_shapes, objects_layer, outline_of_shape, prompt_layers, raster_preview
from napari_wsi_mil.results.objects import DEFAULT_CLASSES, GREY, MaskObject
from napari_wsi_mil.results.prompts import NO_PROMPT, SlidePrompt
from napari_wsi_mil.tiles.outline import filled

spec = importlib.util.spec_from_file_location("wsi_sieve", Path(__file__).with_name("sieve.py"))
sieve = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sieve)
SIEVE, HOLES = sieve.SIEVE, sieve.HOLES


@pytest.fixture
def slide(array_slide):
    return array_slide(np.zeros((400, 600, 3), np.uint8), mpp=0.5)


def test_objects_are_polygons_placed_in_um_with_a_table(slide):
    two = MaskObject(
        7, MultiPolygon([box(0, 0, 10, 10), box(20, 20, 30, 40)]), "Gland", 0.5, "m", SlidePrompt([(1, 1)], [1])
    )
    data, options, kind = objects_layer([MaskObject(3, SIEVE), two], DEFAULT_CLASSES, slide=slide)
    assert (kind, len(data)) == ("shapes", 3)
    assert options["features"]["number"].tolist() == [3, 7, 7]
    assert options["features"]["area_um2"].tolist() == [SIEVE.area / 4, 75, 75]
    assert options["features"]["prompts"].tolist() == ["", "1+", "1+"]
    assert (options["scale"], options["translate"], options["units"]) == ((0.5, 0.5), (-0.25, -0.25), ("um", "um"))
    assert (options["metadata"]["wsi_role"], options["metadata"]["wsi_slide"]) == ("objects", slide)
    assert (options["edge_color"][1] * 255).tolist() == [230, 159, 0, 255]
    assert options["face_color"] == "transparent"
    empty, options, _ = objects_layer([], DEFAULT_CLASSES, slide=slide)
    assert (empty, len(options["features"]["number"]), "edge_color" in options) == ([], 0, False)


def test_a_class_that_is_not_listed_is_grey(slide):
    _, options, _ = objects_layer([MaskObject(3, SIEVE, "Nope")], DEFAULT_CLASSES, slide=slide)
    assert (options["edge_color"][0, :3] * 255).tolist() == list(GREY)


@pytest.mark.parametrize(
    "shape", [SIEVE, box(0, 0, 4, 4), Point(50, 50).buffer(40).difference(Point(50, 50).buffer(20))]
)
def test_one_line_around_a_polygon_with_holes_and_back(shape):
    path = keyhole(shape)
    assert outline_of_shape(path).equals(shape)
    assert outline_of_shape(np.column_stack([np.zeros(len(path)), path])).equals(shape)  # a viewer with a time axis
    assert (path[1:] != path[:-1]).any(1).all()


def test_no_way_to_a_hole_crosses_an_edge():
    path = keyhole(SIEVE)
    edges = [frozenset([tuple(a), tuple(b)]) for a, b in zip(path, np.roll(path, -1, axis=0), strict=True)]
    ways = [edge for edge in edges if edges.count(edge) == 2]
    assert len(ways) == 2 * len(HOLES)
    for way in set(ways):
        (y0, x0), (y1, x1) = way
        middle = Point((y0 + y1) / 2, (x0 + x1) / 2)
        assert x0 == x1
        assert SIEVE.contains(middle)
        assert not any(hole.contains(middle) for hole in HOLES)


def test_holes_that_touch_edges_and_each_other():
    touching = Polygon(
        [(0, 0), (0, 20), (20, 20), (20, 0)],
        [[(0, 5), (5, 3), (5, 7)], [(5, 10), (8, 12), (8, 8)], [(8, 12), (12, 14), (12, 11)]],
    )
    assert touching.is_valid
    assert outline_of_shape(keyhole(touching)).equals(touching)


def test_corners_that_were_moved_come_back_as_they_are_seen():
    path = keyhole(box(0, 0, 20, 20).difference(box(5, 5, 10, 10)))
    path[(path == (20, 20)).all(1)] = (30, 30)
    moved = outline_of_shape(path)
    assert (moved.area, len(moved.interiors)) == (400 + 200 - 25, 1)
    assert outline_of_shape([(0, 0), (1, 1)]) is None
    assert outline_of_shape([(0, 0), (1, 1), (2, 2)]) is None
    assert outline_of_shape([(0, 0), (1, float("nan")), (2, 5)]) is None


def test_parts_know_their_object():
    data, owner = object_shapes(
        [MaskObject(1, box(0, 0, 1, 1)), MaskObject(2, MultiPolygon([box(0, 0, 1, 1), box(2, 2, 3, 3)]))]
    )
    assert owner.tolist() == [0, 1, 1]
    assert [len(path) for path in data] == [4, 4, 4]


def test_prompts_are_points_and_shapes(slide):
    prompt = SlidePrompt([(1, 2), (3, 4)], [1, 0], (0, 1, 5, 9), [(0, 0), (0, 9), (9, 9)])
    (points, point_options, _), (shapes, options, kind) = prompt_layers(prompt, slide=slide)
    assert points.tolist() == [[1, 2], [3, 4]]
    assert point_options["features"]["label"].tolist() == [1, 0]
    assert point_options["face_color"] == ["#00ff00", "#ff0000"]
    assert kind == "shapes"
    assert shapes[0].tolist() == [[0, 1], [0, 9], [5, 9], [5, 1]]
    assert (options["shape_type"], options["features"]["kind"].tolist()) == (["rectangle", "polygon"], ["box", "lasso"])
    (points, _, _), (shapes, _, _) = prompt_layers(NO_PROMPT, slide=slide)
    assert (points.shape, shapes) == ((0, 2), [])


# -- the picture ------------------------------------------------------------------------------------
def picture(objects, extent, shape, **options):
    return raster_preview(objects, DEFAULT_CLASSES, extent_yx0=extent, shape=shape, **options)


def test_pixels_are_those_whose_centres_lie_inside():
    rng = np.random.default_rng(0)
    shapes = [SIEVE] + [Point(*rng.uniform(0, 300, 2)).buffer(rng.uniform(5, 40)) for _ in range(30)]
    got = picture([MaskObject(i + 1, s) for i, s in enumerate(shapes)], (0, 0, 300, 300), (100, 150), edge_px=0)
    want = filled(shapes, (100, 150), unit_yx=(3, 2))
    assert ((got[..., 3] > 0) == want).all()
    assert set(map(tuple, got[want])) == {(0, 200, 180, 64)}
    assert not got[~want].any()


def test_of_several_classes_the_last_lies_on_top():
    gland, tumor = MaskObject(1, box(0, 0, 6, 6), "Gland"), MaskObject(2, box(4, 4, 10, 10), "Tumor")
    got = picture([tumor, gland], (0, 0, 10, 10), (10, 10), edge_px=0)
    assert got[5, 5, :3].tolist() == [213, 40, 0]
    assert got[0, 0, :3].tolist() == [230, 159, 0]
    assert got[0, 9, 3] == 0


def test_a_small_object_is_a_dot_and_one_beyond_the_view_is_nothing():
    objects = [
        MaskObject(1, box(51, 71, 53, 73)),
        MaskObject(2, box(-50, -50, -40, -40)),
        MaskObject(3, box(500, 0, 510, 10)),
    ]
    got = picture(objects, (0, 0, 100, 100), (10, 10), edge_px=0)
    assert np.argwhere(got[..., 3]).tolist() == [[5, 7]]
    assert picture([], (0, 0, 100, 100), (10, 10)).any() == np.False_
    cut = picture([MaskObject(1, box(-50, -50, 20, 30))], (0, 0, 100, 100), (10, 10), edge_px=0)
    assert cut[..., 3].astype(bool).sum() == 2 * 3


def test_edges_and_highlighted_objects():
    objects = [MaskObject(1, box(10, 10, 40, 40), "Gland"), MaskObject(2, box(60, 60, 90, 90), "Gland")]
    got = picture(objects, (0, 0, 100, 100), (100, 100), highlight={2})
    assert got[25, 25].tolist() == [230, 159, 0, 64]
    assert got[10, 25].tolist() == [230, 159, 0, 255]
    assert got[25, 40].tolist() == [230, 159, 0, 255]
    assert got[60, 75].tolist() == [255, 255, 255, 255]
    assert got[75, 75].tolist() == [230, 159, 0, 64]
    assert (got[..., 3] == 255).sum() == 2 * (32**2 - 28**2)


def test_no_picture_of_nothing():
    with pytest.raises(BadRequest, match="y0 < y1"):
        picture([], (0, 0, 0, 10), (10, 10))
    with pytest.raises(BadRequest, match="picture of pixels"):
        picture([], (0, 0, 10, 10), (0, 10))
