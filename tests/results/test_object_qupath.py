"""Files as QuPath's own reader takes them, and objects as its versions write them; docs/objects.md says from where."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from shapely import MultiPolygon, Polygon, box

from napari_wsi_mil.errors import StoreError
from napari_wsi_mil.results.object_files import load_objects, save_objects
from napari_wsi_mil.results.objects import DEFAULT_CLASSES, MaskObject, ObjectClass, SlideRef
from napari_wsi_mil.results.prompts import SlidePrompt

SLIDE = SlideRef("a.svs", "f" * 32, (1000, 2000), (0.5, 0.25))
OBJECTS = (
    MaskObject(1, box(10, 20, 30, 60) - box(12, 22, 15, 25), "Gland", 0.9, "m", SlidePrompt(((11, 21),), (1,))),
    MaskObject(2, MultiPolygon([box(0, 0, 5, 5), box(0, 10, 5, 15) - box(1, 11, 2, 12)]), "Nest: Positive"),
    MaskObject(9, box(900, 1900, 1000, 2000), attention=2.5),
)
TAKEN = {
    "name", "color", "classification", "isMissing", "isLocked", "measurements", "metadata", "objectType", "object_type",
    "type", "childObjects", "children",
}  # fmt: skip
"""Keys of properties that QuPath's reader looks at."""


def strict(path):
    """Return a file as a reader that takes JSON at its word."""

    def refuse(word):
        raise ValueError(word)

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def polygons(geometry):
    kind, found = geometry["type"], geometry["coordinates"]
    return [found] if kind == "Polygon" else found


@pytest.mark.parametrize("kind", ["annotation", "detection"])
@pytest.mark.parametrize("slide", [SLIDE, None])
def test_the_file_has_the_structure_that_qupath_reads(tmp_path, kind, slide) -> None:
    content = strict(save_objects(tmp_path / "o.geojson", OBJECTS, slide=slide, kind=kind))
    # a collection is an object of this type with a list of features; foreign members beside them are left alone
    assert (content["type"], type(content["features"])) == ("FeatureCollection", list)
    for feature, obj in zip(content["features"], OBJECTS, strict=True):
        assert set(feature) == {"type", "geometry", "properties"}
        assert feature["type"] == "Feature"
        properties = feature["properties"]
        # of what QuPath looks at there is the type, the class and the numbers; no id: it gives one of its own
        assert set(properties) & TAKEN == {"objectType", "classification", "measurements"}
        assert properties["objectType"] == kind
        # a class is read by name and colour where both are there
        assert list(properties["classification"]) == ["name", "color"]
        assert properties["classification"]["name"] == obj.class_name
        colour = properties["classification"]["color"]
        assert [type(v) for v in colour] == [int] * 3
        assert all(0 <= v <= 255 for v in colour)
        # an object of names and finite numbers, as since 0.4; null would end the import
        assert properties["measurements"]
        assert all(type(v) is float and math.isfinite(v) for v in properties["measurements"].values())


def test_coordinates_are_x_before_y_in_closed_rings_the_outer_one_first(tmp_path) -> None:
    content = strict(save_objects(tmp_path / "o.geojson", OBJECTS, slide=SLIDE))
    kinds = [feature["geometry"]["type"] for feature in content["features"]]
    assert kinds == ["Polygon", "MultiPolygon", "Polygon"]
    for feature, obj in zip(content["features"], OBJECTS, strict=True):
        assert set(feature["geometry"]) == {"type", "coordinates"}
        for (outer, *holes), part in zip(polygons(feature["geometry"]), obj.parts, strict=True):
            for ring in (outer, *holes):
                assert len(ring) >= 4
                assert ring[0] == ring[-1]
                assert {len(place) for place in ring} == {2}
            xs, ys = np.array(outer).T
            y0, x0, y1, x1 = part.bounds
            assert (xs.min(), ys.min(), xs.max(), ys.max()) == (x0, y0, x1, y1)
            assert len(holes) == len(part.interiors)
            assert all(Polygon(outer).contains(Polygon(hole)) for hole in holes)
    # the last pixel of a slide of 1000 x 2000 px: its far corner is (2000, 1000)
    assert np.max(content["features"][2]["geometry"]["coordinates"][0], axis=0).tolist() == [2000, 1000]


SQUARE = {"type": "Polygon", "coordinates": [[[10, 20], [14, 20], [14, 22], [10, 22], [10, 20]]]}
OUTLINE = Polygon([(20, 10), (20, 14), (22, 14), (22, 10)])
WRITTEN = {
    "0.2": {
        "type": "Feature", "id": "PathDetectionObject", "geometry": SQUARE,
        "properties": {
            "classification": {
                "parentClass": {"name": "Tumor", "colorRGB": -3670016}, "name": "Positive", "colorRGB": -3670016,
            },
            "isLocked": False, "measurements": [{"name": "Area", "value": 8.0}, {"name": "Score", "value": 0.5}],
        },
    },
    "0.3": {
        "type": "Feature", "id": "PathAnnotationObject", "geometry": SQUARE,
        "properties": {
            "object_type": "annotation", "classification": {"name": "Tumor: Positive", "colorRGB": -3670016},
            "isLocked": True, "measurements": [{"name": "Detection probability", "value": 0.5}],
        },
    },
    "0.4": {
        "type": "Feature", "id": "0b0b8bd6-0000-4000-8000-000000000000", "geometry": SQUARE | {"isEllipse": True},
        "properties": {
            "objectType": "annotation", "name": "Mine", "color": [1, 2, 3],
            "classification": {"names": ["Tumor", "Positive"], "color": [200, 0, 0]}, "isLocked": True,
            "measurements": {"Nucleus: DAB mean": math.nan, "Score": 0.5},
        },
    },
    "0.5": {
        "type": "Feature", "id": "0b0b8bd6-0000-4000-8000-000000000001",
        "geometry": SQUARE | {"plane": {"c": -1, "z": 0, "t": 0}}, "nucleusGeometry": SQUARE,
        "properties": {
            "objectType": "cell", "classification": {"name": "Tumor: Positive", "color": [200, 0, 0, 128]},
            "measurements": {"Probability": 0.5, "Cell: Area": math.inf}, "metadata": {"ANNOTATION_DESCRIPTION": "x"},
        },
    },
}  # fmt: skip
"""The same object as versions of QuPath write it: classes derived from others, both forms of measurements, NaN."""


@pytest.mark.parametrize("version", WRITTEN)
def test_what_versions_of_qupath_write_is_opened(tmp_path, version) -> None:
    path = tmp_path / "q.geojson"
    expected = MaskObject(1, OUTLINE, "Tumor: Positive", 0.5)
    # one object is a feature, several are an array, or a collection where that was asked for
    for content in (
        WRITTEN[version], [WRITTEN[version]], {"type": "FeatureCollection", "features": [WRITTEN[version]]},
    ):  # fmt: skip
        path.write_text(json.dumps(content), encoding="utf-8")
        loaded = load_objects(path)
        assert loaded.objects == (expected,)
        assert loaded.classes == (*DEFAULT_CLASSES, ObjectClass("Tumor: Positive", (200, 0, 0)))
        assert loaded.notes == ()


def test_no_number_is_refused_where_it_counts(tmp_path) -> None:
    path = tmp_path / "q.geojson"
    corners = [[10, 20], [math.nan, 20], [14, 22], [10, 20]]
    path.write_text(json.dumps(WRITTEN["0.4"] | {"geometry": {"type": "Polygon", "coordinates": [corners]}}))
    with pytest.raises(StoreError, match="a ring should be a list of pairs of numbers"):
        load_objects(path)
    content = strict(save_objects(path, OBJECTS, slide=SLIDE))
    for change in ({"score": math.nan}, {"attention": math.inf}):
        content["features"][0]["properties"]["napari_wsi_mil"] |= change
        path.write_text(json.dumps(content))
        with pytest.raises(StoreError, match="a finite number"):
            load_objects(path)


def test_what_qupath_saves_of_our_file_comes_back_to_a_hundredth_of_a_pixel(tmp_path) -> None:
    outline = Polygon([(1.23456, 2.34567), (1.23456, 30.5), (20.98765, 30.5)])
    path = save_objects(tmp_path / "o.geojson", [MaskObject(4, outline, "Gland", 0.25, "m")], slide=SLIDE)
    (feature,) = strict(path)["features"]
    # QuPath rounds to two places, gives an id, and keeps none of what it does not know
    rings = [[[round(x, 2), round(y, 2)] for x, y in ring] for ring in feature["geometry"]["coordinates"]]
    del feature["properties"]["napari_wsi_mil"]
    feature |= {"id": "0b0b8bd6-0000-4000-8000-000000000002", "geometry": {"type": "Polygon", "coordinates": rings}}
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    (back,) = load_objects(path).objects
    assert back.outline.hausdorff_distance(outline) < 0.01
    assert (back.number, back.class_name, back.score, back.model) == (1, "Gland", 0.25, None)
