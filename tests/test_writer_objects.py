"""What napari's own saving writes of layers of objects and prompts: all of it, and so that it is read again."""

from __future__ import annotations

import copy
import csv
import json

import numpy as np
import pytest
from shapely import MultiPolygon, box

from napari_wsi_mil.cli.segment_prompts import read_prompts
from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.layers import objects_layer, prompt_layers
from napari_wsi_mil.results.object_book import ObjectBook
from napari_wsi_mil.results.object_files import load_objects
from napari_wsi_mil.results.objects import DEFAULT_CLASSES, MaskObject
from napari_wsi_mil.results.prompts import SlidePrompt
from napari_wsi_mil.writer import write_points, write_prompt, write_shapes, write_table

PROMPT = SlidePrompt(((110.5, 220.25), (30.0, 40.0)), (1, 0), (10.0, 20.0, 310.0, 420.0), ((0, 0), (0, 99), (99, 50)))
RING = box(100, 200, 200, 300) - box(120, 220, 150, 250)
OBJECTS = (
    MaskObject(3, RING, "Gland", 0.5, "m", PROMPT, attention=1.25),
    MaskObject(7, MultiPolygon([box(0, 0, 10, 10), box(0, 20, 10, 30)]), "Nest", edited=True),
)


@pytest.fixture
def slide(array_slide):
    return array_slide(np.full((400, 600, 3), 240, np.uint8), mpp=0.5)


def test_the_layer_of_a_book_is_saved_as_the_whole_book(slide, tmp_path) -> None:
    book = ObjectBook()
    book.add_many(OBJECTS)
    book.recolour("Gland", (1, 2, 3))
    # one object is in view, as a shape
    data, settings, _ = objects_layer(OBJECTS[:1], book.classes, slide=slide)
    settings["metadata"]["wsi_book"] = book
    out = tmp_path / "objects.geojson"
    assert write_shapes(str(out), data, settings) == [str(out)]
    found = load_objects(out)
    assert found.objects == OBJECTS
    assert found.classes == book.classes
    assert found.slide.fingerprint == slide.fingerprint
    table = tmp_path / "objects.csv"
    assert write_table(str(table), data, settings) == [str(table)]
    with table.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["number"], row["class"], row["area_um2"]) for row in rows] == [
        ("3", "Gland", "2275.000"), ("7", "Nest", "50.000"),
    ]  # fmt: skip
    book.delete([3, 7])
    for write in (write_shapes, write_table):
        with pytest.raises(BadRequest, match="Objects: expected objects, got none; accept some first"):
            write(tmp_path / "none.csv", data, settings)


def test_a_layer_of_objects_without_a_book_is_saved_from_its_shapes(slide, tmp_path) -> None:
    data, settings, _ = objects_layer(OBJECTS, DEFAULT_CLASSES, slide=slide)
    drawn = np.array([(300, 300), (300, 340), (340, 340), (340, 300)], float)
    features = {key: [*column, ""] for key, column in settings["features"].items()}
    features |= {"number": [3, 7, 7, 0], "score": [0.5, np.nan, np.nan, np.nan], "attention": [1.25, *[np.nan] * 3]}
    out = tmp_path / "objects.geojson"
    write_shapes(out, [*data, drawn], settings | {"features": features})
    first, second, third = load_objects(out).objects
    assert first.outline.equals(RING)
    assert (first.number, first.class_name, first.score, first.model, first.attention) == (3, "Gland", 0.5, "m", 1.25)
    assert second.outline.equals(OBJECTS[1].outline)
    assert (second.number, second.class_name, second.score, second.edited) == (7, "Nest", None, True)
    assert third.outline.equals(box(300, 300, 340, 340))
    assert (third.number > 7, third.class_name) == (True, "Object")


def test_a_saved_prompt_is_asked_again_as_it_was(slide, tmp_path) -> None:
    points, shapes = prompt_layers(PROMPT, slide=slide)
    out = tmp_path / "prompt.geojson"
    both = SlidePrompt(PROMPT.points_yx0, PROMPT.labels)
    write_points(out, *points[:2])
    assert read_prompts(out)[0].prompt == both
    write_shapes(out, *shapes[:2])
    assert read_prompts(out)[0].prompt == SlidePrompt(box_yx0=PROMPT.box_yx0, lasso_yx0=PROMPT.lasso_yx0)
    for layers in ([points, shapes], [shapes, points]):
        assert write_prompt(out, layers) == [str(out)]
        (asked,) = read_prompts(out)
        assert asked.prompt == PROMPT
    # other programs see where it lies, x before y
    (feature,) = json.loads(out.read_text())["features"]
    assert np.max(feature["geometry"]["coordinates"][0], axis=0).tolist() == [420, 310]


def test_moved_layers_are_saved_where_they_lie(slide, tmp_path) -> None:
    (data, settings, _), _ = prompt_layers(PROMPT, slide=slide)
    settings["translate"] = np.array(settings["translate"]) + (5.0, 0.0)
    write_points(tmp_path / "p.geojson", data, settings)
    (asked,) = read_prompts(tmp_path / "p.geojson")
    assert asked.prompt.points_yx0 == ((120.5, 220.25), (40.0, 40.0))


def test_points_of_anybody_are_features_of_their_own(tmp_path) -> None:
    out = tmp_path / "points.geojson"
    write_points(out, np.array([(1.0, 2.0), (3.0, 4.0)]), {"name": "mine", "metadata": {}})
    features = json.loads(out.read_text())["features"]
    assert [feature["geometry"]["coordinates"] for feature in features] == [[2.0, 1.0], [4.0, 3.0]]
    assert features[0]["properties"]["classification"]["name"] == "mine"


def test_what_cannot_be_saved_is_one_sentence(slide, tmp_path) -> None:
    out = tmp_path / "x.geojson"
    points, shapes = prompt_layers(SlidePrompt(), slide=slide)
    empty = "expected a prompt, got none; click on the slide or draw a box"
    with pytest.raises(BadRequest, match=f"Prompt points: {empty}"):
        write_points(out, *points[:2])
    with pytest.raises(BadRequest, match=f"Prompt boxes: {empty}"):
        write_shapes(out, *shapes[:2])
    mine = {"name": "mine", "metadata": {}, "shape_type": ["polygon"]}
    square = [np.array([(0, 0), (0, 9), (9, 9), (9, 0)], float)]
    with pytest.raises(BadRequest, match="mine: expected the layer Objects for a table, got other shapes"):
        write_table(out, square, mine)
    with pytest.raises(BadRequest, match="mine: expected the layers of one prompt, got other ones; save each"):
        write_prompt(out, [points, (square, mine, "shapes")])
    elsewhere = {**shapes[1], "metadata": {**shapes[1]["metadata"], "wsi_slide": copy.copy(slide)}}
    with pytest.raises(BadRequest, match="expected those of one slide, got of several"):
        write_prompt(out, [points, (shapes[0], elsewhere, "shapes")])
    with pytest.raises(BadRequest, match="mine: expected points, got none"):
        write_points(out, np.empty((0, 2)), {"name": "mine", "metadata": {}})
    assert not out.exists()
