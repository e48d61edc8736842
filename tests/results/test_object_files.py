"""Objects on disk: the same again, also from QuPath, and one sentence for what is broken."""

import copy
import json

import numpy as np
import pytest
from shapely import MultiPolygon, Polygon, box

from napari_wsi_mil.errors import StoreError
from napari_wsi_mil.interop.geojson import read_geojson
from napari_wsi_mil.results import object_files
from napari_wsi_mil.results.object_book import ObjectBook
from napari_wsi_mil.results.object_files import load_objects, save_objects
from napari_wsi_mil.results.objects import DEFAULT_CLASSES, GREY, MaskObject, ObjectClass, SlideRef, measures
from napari_wsi_mil.results.prompts import SlidePrompt

SLIDE = SlideRef("a.svs", "f" * 32, (1000, 2000), (0.5, 0.25))
RING = box(0, 0, 10, 20).difference(box(2, 2, 6, 12))
PROMPT = SlidePrompt([(1.5, 0.1 + 0.2), (3, 4)], [1, 0], (0, 1, 5, 1 / 3 + 9), [(0, 0), (0, 9), (9.1, 9)])


def some():
    return [
        MaskObject(2, RING, "Gland", 0.1 + 0.2, "wsi-sam-mini", PROMPT, attention=1 / 3),
        MaskObject(
            5,
            MultiPolygon([box(0, 0, 1 / 3, 1), box(2, 2, 3, 3).difference(box(2.2, 2.2, 2.4, 2.4))]),
            "Nest ä",
            edited=True,
        ),
        MaskObject(9, Polygon([(0, 0), (0, 1e5 / 7), (1e5 / 7, 0)])),
    ]


def document(tmp_path):
    return json.loads(save_objects(tmp_path / "o.geojson", some(), slide=SLIDE).read_text(encoding="utf-8"))


def written_to(tmp_path, content):
    path = tmp_path / "changed.geojson"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_objects_come_back_exactly(tmp_path):
    path = save_objects(tmp_path / "o.geojson", some(), slide=SLIDE)
    loaded = load_objects(path)
    assert loaded.objects == tuple(some())
    assert loaded.slide == SLIDE
    assert loaded.classes == (*DEFAULT_CLASSES, ObjectClass("Nest ä", GREY))
    assert loaded.notes == ()
    assert [p.name for p in tmp_path.iterdir()] == ["o.geojson"]


def test_a_whole_session_comes_back(tmp_path, array_slide):
    slide = array_slide(np.zeros((100, 200, 3), np.uint8))
    book = ObjectBook([ObjectClass("Only", (1, 2, 3))])
    book.accept(RING, 0.5, "m")
    loaded = load_objects(save_objects(tmp_path / "o.geojson", book, slide=slide))
    assert loaded.classes == book.classes
    assert loaded.slide == SlideRef.of(slide)
    again = ObjectBook(loaded.classes)
    again.add_many(loaded.objects)
    assert dict(again.objects) == dict(book.objects)


def test_no_objects_are_a_file_too(tmp_path):
    assert load_objects(save_objects(tmp_path / "o.geojson", [])).objects == ()


def test_other_programs_read_outlines_classes_and_sizes(tmp_path):
    content = document(tmp_path)
    assert content["type"] == "FeatureCollection"
    first = content["features"][0]
    assert first["properties"]["objectType"] == "annotation"
    assert first["properties"]["classification"] == {"name": "Gland", "color": [230, 159, 0]}
    size = measures(some()[0], SLIDE.mpp_yx)
    assert first["properties"]["measurements"] == {
        "Area µm^2": size.area_um2,
        "Perimeter µm": size.perimeter_um,
        "Score": 0.1 + 0.2,
        "Mean attention": 1 / 3,
    }
    xs = [x for x, _ in first["geometry"]["coordinates"][0]]
    assert (min(xs), max(xs)) == (0, 20)  # x first
    read = read_geojson(tmp_path / "o.geojson")
    assert [one.geometry.equals(obj.outline) for one, obj in zip(read, some(), strict=True)] == [True] * 3
    plain = json.loads(save_objects(tmp_path / "p.geojson", some(), kind="detection").read_text())["features"][0][
        "properties"
    ]
    assert plain["objectType"] == "detection"
    assert list(plain["measurements"]) == ["Area px^2", "Perimeter px", "Score", "Mean attention"]


def test_a_file_that_went_through_qupath_keeps_outline_class_and_score(tmp_path):
    content = document(tmp_path)
    for feature in content["features"]:
        del feature["properties"]["napari_wsi_mil"]
    for name in ("format", "version", "slide", "classes"):
        del content[name]
    loaded = load_objects(written_to(tmp_path, content))
    assert [(o.outline, o.class_name, o.score) for o in loaded.objects] == [
        (o.outline, o.class_name, o.score) for o in some()
    ]
    assert [o.number for o in loaded.objects] == [1, 2, 3]
    assert (loaded.slide, loaded.notes) == (None, ())


SQUARE = [[[0, 0], [4, 0], [4, 2], [0, 2], [0, 0]]]
CELL = {
    "type": "Feature",
    "id": "0b0b8bd6-0000-4000-8000-000000000000",
    "geometry": {"type": "Polygon", "coordinates": SQUARE, "plane": {"c": -1, "z": 0, "t": 0}},
    "nucleusGeometry": {"type": "Polygon", "coordinates": [[[1, 1], [2, 1], [2, 2], [1, 1]]]},
    "properties": {
        "objectType": "cell",
        "classification": {"names": ["Tumor", "Positive"], "color": [200, 0, 0]},
        "measurements": {"Detection probability": 0.75, "Nucleus: Area": "NaN"},
    },
}


def test_cells_of_qupath(tmp_path):
    path = written_to(tmp_path, [CELL])
    cell, nucleus = load_objects(path).objects[0], load_objects(path, nuclei=True).objects[0]
    assert cell == MaskObject(1, Polygon([(0, 0), (0, 4), (2, 4), (2, 0)]), "Tumor: Positive", 0.75)
    assert nucleus.outline.area == 0.5
    assert load_objects(path).classes == (*DEFAULT_CLASSES, ObjectClass("Tumor: Positive", (200, 0, 0)))


def test_objects_within_objects_points_and_crossed_outlines(tmp_path):
    bow = {"type": "Polygon", "coordinates": [[[0, 0], [10, 10], [10, 0], [0, 10], [0, 0]]]}
    inner = {
        "type": "Feature",
        "geometry": bow,
        "properties": {"classification": {"name": "Gland", "colorRGB": -3670016}},
    }
    point = {"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 1]}}
    old = {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": SQUARE},
        "properties": {
            "classification": {"name": "Own", "colorRGB": -3670016},
            "measurements": [{"name": "Score", "value": 0.5}],
        },
    }
    none = {"type": "Feature", "geometry": None, "properties": None}
    root = {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": SQUARE},
        "properties": {"objectType": "root", "childObjects": [old]},
    }
    outer = copy.deepcopy(CELL) | {"properties": {"objectType": "annotation", "childObjects": [inner, point]}}
    loaded = load_objects(written_to(tmp_path, {"type": "FeatureCollection", "features": [outer, none, root]}))
    assert [(o.class_name, o.outline.area, o.score) for o in loaded.objects] == [
        ("Object", 8, None),
        ("Gland", 50, None),
        ("Own", 8, 0.5),
    ]
    assert loaded.classes[-1] == ObjectClass("Own", (200, 0, 0))
    assert loaded.notes == (
        "2 features without an area, such as points and lines, were left out.",
        "1 outlines that crossed themselves were repaired.",
    )


def _broken(change):
    """Return a document of ours after `change`."""

    def make(tmp_path):
        content = document(tmp_path)
        change(content)
        return content

    return make


def _first(content):
    return content["features"][0]


CASES = {
    "no JSON": (lambda _: "{", "is no GeoJSON"),
    "NaN": (lambda _: '{"type": NaN}', "got the type nan"),
    "deep": (lambda _: "[" * 100_000, "is no GeoJSON"),
    "bytes": (lambda _: "\ud800".encode("utf-8", "surrogatepass").decode("latin1") + "{", "is no GeoJSON"),
    "number": (lambda _: 5, "features should be a list"),
    "type": (lambda _: {"type": "Topology"}, "got the type 'Topology'"),
    "nothing in it": (lambda _: {"type": "FeatureCollection", "features": []}, "got none among 0 features"),
    "points only": (lambda _: {"type": "Feature", "geometry": {"type": "Point", "coordinates": [0, 0]}}, "got none among 1"),
    "later version": (_broken(lambda c: c.update(version=2)), "in version 1"),
    "another format": (_broken(lambda c: c.update(format="zoom")), "expected the format"),
    "without features": (_broken(lambda c: c.pop("features")), "features should be a list"),
    "without ours": (_broken(lambda c: _first(c)["properties"].pop("napari_wsi_mil")), "no napari_wsi_mil"),
    "same number": (_broken(lambda c: _first(c)["properties"]["napari_wsi_mil"].update(number=5)), "same number"),
    "bad number": (_broken(lambda c: _first(c)["properties"]["napari_wsi_mil"].update(number=True)), "a whole number from 1"),
    "bad score": (_broken(lambda c: _first(c)["properties"]["napari_wsi_mil"].update(score="0.5")), "score should be a finite"),
    "bad prompt": (_broken(lambda c: _first(c)["properties"]["napari_wsi_mil"]["prompt"].update(labels=[1])), "2 points and 1 labels"),
    "half a letter": (_broken(lambda c: _first(c)["properties"]["napari_wsi_mil"].update(model="\ud800")), "printable letters"),
    "bad class": (_broken(lambda c: _first(c)["properties"]["classification"].update(name="")), "expected a name"),
    "bad colour": (_broken(lambda c: c["classes"][0].update(color=[0, 0, 256])), "color should be a whole number"),
    "classes twice": (_broken(lambda c: c["classes"][0].update(name="Gland")), "Gland twice"),
    "bad mpp": (_broken(lambda c: c["slide"].update(mpp_yx=[0, 1])), "above 0"),
    "two corners": (_broken(lambda c: _first(c)["geometry"].update(coordinates=[[[0, 0], [1, 1]]])), "is no whole file"),
    "ragged": (_broken(lambda c: _first(c)["geometry"].update(coordinates=[[[0, 0], [1], [2, 2], [0, 0]]])), "is no whole file"),
    "text": (_broken(lambda c: _first(c)["geometry"].update(coordinates=[[["0", "0"]] * 4])), "pairs of numbers"),
    "far": (_broken(lambda c: _first(c)["geometry"].update(coordinates=[[[0, 0], [1e300, 0], [1, 1], [0, 0]]])), "up to 1e+09"),
    "crossed": (_broken(lambda c: _first(c)["geometry"].update(coordinates=[[[0, 0], [4, 4], [4, 0], [0, 4], [0, 0]]])), "expected an outline"),
    "hole outside": (_broken(lambda c: _first(c)["geometry"].update(coordinates=[SQUARE[0], [[8, 8], [9, 8], [9, 9], [8, 8]]])), "expected an outline"),
    "line": (_broken(lambda c: _first(c).update(geometry={"type": "LineString", "coordinates": [[0, 0], [1, 1]]})), "Polygon or MultiPolygon"),
    "collection": (lambda _: [{"type": "Feature", "geometry": {"type": "GeometryCollection", "geometries": []}}], "no single outline"),
    "no feature": (lambda _: [[]], "object of type Feature"),
    "bad properties": (lambda _: [{"type": "Feature", "properties": 4}], "properties should be an object"),
    "bad label": (lambda _: [dict(CELL, properties={"classification": 4})], "classification should be an object"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_is_broken_is_refused_in_a_sentence(case, tmp_path):
    make, said = CASES[case]
    path = written_to(tmp_path, make(tmp_path))
    with pytest.raises(StoreError) as caught:
        load_objects(path)
    assert said in str(caught.value)
    assert str(caught.value).startswith(str(path))
    assert len(str(caught.value)) < 700
    assert "\n" not in str(caught.value)


def test_endless_children_and_tangles_are_refused(tmp_path):
    feature = {"type": "Feature", "properties": {}}
    for _ in range(25):
        feature = {"type": "Feature", "properties": {"childObjects": [feature]}}
    with pytest.raises(StoreError, match="at most 20 within each other"):
        load_objects(written_to(tmp_path, [feature]))
    tangle = np.random.default_rng(0).integers(0, 1000, (3100, 2)).tolist()
    with pytest.raises(StoreError, match="corners crosses itself"):
        load_objects(
            written_to(tmp_path, [{"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [tangle]}}])
        )


def test_files_that_are_too_large_or_missing(tmp_path, monkeypatch):
    path = save_objects(tmp_path / "o.geojson", some())
    monkeypatch.setattr(object_files, "MOST_BYTES", 1000)
    with pytest.raises(StoreError, match="larger than 1000 bytes"):
        load_objects(path)
    with pytest.raises(StoreError, match="no such file"):
        load_objects(tmp_path / "none.geojson")
    with pytest.raises(StoreError, match="cannot be read"):
        load_objects(tmp_path)


def test_bytes_changed_at_random_are_read_or_refused(tmp_path):
    raw = save_objects(tmp_path / "o.geojson", some(), slide=SLIDE).read_bytes()
    rng = np.random.default_rng(3)
    letters = b'0123456789.-eE[]{},":nul \xff'
    refused = 0
    for _ in range(300):
        changed = bytearray(raw)
        for at in rng.integers(0, len(raw), 3):
            changed[at] = letters[rng.integers(len(letters))]
        path = tmp_path / "c.geojson"
        path.write_bytes(bytes(changed))
        try:
            load_objects(path)
        except StoreError:
            refused += 1
    assert refused > 200


def test_writing_fails_whole(tmp_path):
    path = save_objects(tmp_path / "o.geojson", some())
    before = path.read_bytes()

    def failing():
        yield some()[0]
        message = "no more"
        raise ValueError(message)

    with pytest.raises(ValueError, match="no more"):
        save_objects(path, failing())
    assert path.read_bytes() == before
    with pytest.raises(StoreError, match="could not be written"):
        save_objects(tmp_path / "no" / "folder" / "o.geojson", some())


def test_doubts_about_another_slide(tmp_path, array_slide):
    slide = array_slide(np.zeros((15, 200, 3), np.uint8), fingerprint="f" * 32)
    other = array_slide(np.zeros((15, 200, 3), np.uint8))
    small = load_objects(save_objects(tmp_path / "a.geojson", [some()[0]], slide=slide))
    assert small.doubts(slide) == ""
    assert small.doubts(other).startswith("These objects were made on ffff.arr, not on aaaa.arr")
    large = load_objects(save_objects(tmp_path / "b.geojson", some()))
    assert large.doubts(slide) == "1 of 3 objects reach beyond ffff.arr of 15 x 200 px."
