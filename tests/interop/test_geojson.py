from __future__ import annotations

import json

import pytest
from shapely import MultiPolygon, Point, Polygon

from napari_wsi_mil.errors import BadRequest, StoreError
from napari_wsi_mil.interop.geojson import Annotation, read_geojson, write_geojson

RING = Polygon([(0, 10), (0, 50), (40, 50), (40, 10)], [[(10, 20), (10, 30), (20, 30), (20, 20)]])
SQUARE_XY = [[[1, 2], [5, 2], [5, 9], [1, 9], [1, 2]]]


def feature(**properties):
    return {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": SQUARE_XY}, "properties": properties}


def stored(tmp_path, content):
    path = tmp_path / "a.geojson"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_x_comes_first_on_disk_and_y_here(tmp_path):
    (one,) = read_geojson(stored(tmp_path, {"type": "FeatureCollection", "features": [feature()]}))
    assert one.geometry.bounds == (2, 1, 9, 5)
    assert (one.name, one.colour, one.properties) == (None, None, {})
    path = write_geojson(tmp_path / "b.geojson", [one])
    written = json.loads(path.read_text())
    assert written["type"] == "FeatureCollection"
    xs = [x for x, _ in written["features"][0]["geometry"]["coordinates"][0]]
    assert (min(xs), max(xs)) == (1, 5)
    assert written["features"][0]["properties"] == {"objectType": "annotation"}


def test_holes_pieces_classes_and_properties_come_back(tmp_path):
    both = MultiPolygon([RING, Polygon([(100, 0), (100, 5), (105, 5)])])
    wanted = [
        Annotation(RING, "Tümor", (200, 0, 0), {"isLocked": True, "measurements": {"a": 1.5}}),
        Annotation(both, None, (1, 2, 3)),
        Annotation(Point(7.25, 3.5), "point"),
    ]
    found = read_geojson(write_geojson(tmp_path / "a.geojson", wanted))
    assert all(a.geometry.equals(b.geometry) for a, b in zip(wanted, found, strict=True))
    assert found[0].geometry.area == 40 * 40 - 100
    assert [a.name for a in found] == ["Tümor", None, "point"]
    assert [a.colour for a in found] == [(200, 0, 0), (1, 2, 3), (200, 200, 200)]
    assert found[0].properties == {"objectType": "annotation", "isLocked": True, "measurements": {"a": 1.5}}
    assert read_geojson(write_geojson(tmp_path / "none.geojson", [])) == []


def test_forms_of_the_file_and_of_its_colours(tmp_path):
    old = feature(classification={"name": "Tumor", "colorRGB": -3670016})
    for content in ([old], old, {"type": "FeatureCollection", "features": [old]}):
        (one,) = read_geojson(stored(tmp_path, content))
        assert (one.name, one.colour) == ("Tumor", (200, 0, 0))
    without = {"type": "Feature", "geometry": None, "properties": None}
    assert read_geojson(stored(tmp_path, [without, old]))[0].name == "Tumor"


def test_crossing_outlines_are_made_valid(tmp_path):
    bow = {"type": "Polygon", "coordinates": [[[0, 0], [10, 10], [10, 0], [0, 10], [0, 0]]]}
    (one,) = read_geojson(stored(tmp_path, [{"type": "Feature", "geometry": bow}]))
    assert one.geometry.is_valid


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("{", "cannot be read as GeoJSON"),
        ("3", "expected a GeoJSON FeatureCollection or Feature, got int"),
        ({"type": "Polygon"}, "got Polygon"),
        ({"type": "FeatureCollection"}, "got FeatureCollection"),
        ([feature(), {"type": "Feature", "geometry": {"type": "Blob"}}], "feature 1 is no valid outline"),
        ([{"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [[[1], [2]]]}}], "feature 0 is no"),
        ([feature(classification={"name": "x", "color": [1, 2, 999]})], "feature 0 is no valid outline .colour"),
        ([feature(classification="x")], "feature 0 is no valid outline"),
        (["x"], "feature 0 is no valid outline"),
    ],
)
def test_what_is_no_geojson_is_named(tmp_path, content, text):
    with pytest.raises(BadRequest, match=text):
        read_geojson(stored(tmp_path, content))


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(BadRequest, match="cannot be read as GeoJSON"):
        read_geojson(tmp_path / "gone.geojson")
    with pytest.raises(StoreError, match="could not be written"):
        write_geojson(tmp_path / "none" / "a.geojson", [])


def test_a_failed_write_keeps_the_old_file(tmp_path):
    path = write_geojson(tmp_path / "a.geojson", [Annotation(RING)])
    with pytest.raises(TypeError):
        write_geojson(path, [Annotation(RING, properties={"bad": object()})])
    assert len(read_geojson(path)) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["a.geojson"]
