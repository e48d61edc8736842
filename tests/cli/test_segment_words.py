"""Prompts as they are told on the command line and in files."""

from __future__ import annotations

import json

import pytest
import shapely

from napari_wsi_mil.cli.segment_prompts import read_prompts
from napari_wsi_mil.cli.segment_words import Asked, gathered, prompts_of
from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.results.object_files import save_objects
from napari_wsi_mil.results.objects import MaskObject
from napari_wsi_mil.results.prompts import SlidePrompt


def told(line: str) -> tuple[SlidePrompt, ...]:
    """Prompts of a command line, as the command finds them."""
    words = gathered(line.split())
    boxes = [words[i + 1] for i, word in enumerate(words) if word == "--box"]
    points = [words[i + 1] for i, word in enumerate(words) if word == "--point"]
    return prompts_of(boxes, points)


def test_box_and_points_are_one_object_x_before_y():
    (prompt,) = told("--box 10 20 30 40 --point 15 25 + --point 12 38 -")
    assert prompt == SlidePrompt(((25, 15), (38, 12)), (1, 0), box_yx0=(20, 10, 40, 30))


def test_a_point_without_sign_lies_on_the_object():
    assert told("--point 15 25 --point 1 2 0 --point 3 4 1") == (SlidePrompt(((25, 15), (2, 1), (4, 3)), (1, 0, 1)),)


def test_each_object_has_its_own_box_and_points():
    both = SlidePrompt(((2, 1),), (1,), box_yx0=(0, 0, 9, 9)), SlidePrompt(((6, 5), (8, 7)), (1, 0))
    assert told("--box 0 0 9 9 --point 1 2 + --object --point 5 6 + --point 7 8 -") == both
    # a separator before the first, or two together, do no harm
    assert told("--object --point 1 2 + --box 0 0 9 9 --object --object --point 5 6 + --point 7 8 -") == both


def test_other_words_stay_where_they_are():
    line = ["a.svs", "--out", "o.geojson", "--point", "-5", "2.5", "-", "b.svs", "--force"]
    assert gathered(line) == ["a.svs", "--out", "o.geojson", "--point", "0 -5 2.5 -", "b.svs", "--force"]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("--box 1 2 3", "four numbers X0 Y0 X1 Y1, in pixels of level 0, got 1 2 3"),
        ("--box 1 2 3 x", "got 1 2 3 x"),
        ("--point", "got nothing"),
        ("--point 1 nan +", "got 1 nan"),
        ("--point 1 --out", "got 1 --out"),
        ("--point=1,2", "write the numbers after a space"),
        ("--box 30 20 10 40", "X0 < X1 and Y0 < Y1, got 30 20 10 40"),
        ("--box 10 20 10 40", "X0 < X1"),
        ("--box 1 2 3 4 --box 5 6 7 8", "write --object before the box of the next object"),
    ],
)
def test_words_that_are_no_prompt_are_told(line, sentence):
    with pytest.raises(BadRequest) as refused:
        told(line)
    assert sentence in str(refused.value)


def test_a_table_of_points_and_boxes(tmp_path):
    path = tmp_path / "prompts.csv"
    path.write_text(
        "object,x,y,label,x0,y0,x1,y1,class\na,5,6,+,,,,,Gland\nb,,,,1,2,30,40,\na,7,8,-,,,,,\nb,9,9,,,,,,Nucleus\n"
    )
    assert read_prompts(path) == (
        Asked(SlidePrompt(((6, 5), (8, 7)), (1, 0)), "Gland"),
        Asked(SlidePrompt(((9, 9),), (1,), box_yx0=(2, 1, 40, 30)), "Nucleus"),
    )


def test_without_objects_each_row_is_one(tmp_path):
    path = tmp_path / "points.csv"
    path.write_text("\ufeffx, y\n1,2\n3,4\n", encoding="utf-8")
    assert read_prompts(path) == (Asked(SlidePrompt(((2, 1),), (1,))), Asked(SlidePrompt(((4, 3),), (1,))))


def test_a_row_may_hold_a_box_and_a_point(tmp_path):
    path = tmp_path / "both.csv"
    path.write_text("x0,y0,x1,y1,x,y,label\n1,2,30,40,5,6,-\n1,2,30,40,,,\n,,,,7,8,\n")
    box = (2, 1, 40, 30)
    assert read_prompts(path) == (
        Asked(SlidePrompt(((6, 5),), (0,), box_yx0=box)),
        Asked(SlidePrompt(box_yx0=box)),
        Asked(SlidePrompt(((8, 7),), (1,))),
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "expected columns x, y"),
        ("x,y\n1,2\n\n\n3,\n", "line 5: expected numbers x and y"),
        ("x0,y0,x1,y1\n,5,1,9\n", "line 2: expected numbers x and y, or x0, y0, x1 and y1"),
        ("x0,y0,x1,y1,x,y\n1,1,9,9,5,\n", "line 2: expected numbers x and y, or x0"),
        ("a,b\n1,2\n", "got a, b"),
        ("x,y,colour\n1,2,red\n", "got x, y, colour"),
        ("x,y\n", "asks for no object"),
        ("x,y\n1,2\n3,\n", "line 3: expected numbers x and y"),
        ("x,y\n1,zwei\n", "line 2: could not convert"),
        ("x,y,label\n1,2,?\n", "line 2: expected label + or -, got '?'"),
        ("x0,y0,x1,y1\n5,5,1,9\n", "line 2: box: expected y0 < y1 and x0 < x1"),
        ("object,x0,y0,x1,y1\na,1,1,9,9\na,1,1,8,8\n", "line 3: object a has a box already"),
    ],
)
def test_a_table_that_asks_nothing_is_told(tmp_path, text, sentence):
    path = tmp_path / "prompts.csv"
    path.write_text(text)
    with pytest.raises(BadRequest) as refused:
        read_prompts(path)
    assert sentence in str(refused.value)


def feature(kind: str, coordinates, name: str | None = None) -> dict:
    properties = {} if name is None else {"classification": {"name": name, "color": [1, 2, 3]}}
    return {"type": "Feature", "geometry": {"type": kind, "coordinates": coordinates}, "properties": properties}


def geojson(path, *features):
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def test_what_was_drawn_asks_by_its_kind(tmp_path):
    box, lasso = [[1, 2], [9, 2], [9, 8], [1, 8], [1, 2]], [[0, 0], [10, 0], [5, 8], [0, 0]]
    drawn = geojson(
        tmp_path / "drawn.geojson", feature("Point", [5, 6], "Gland"), feature("MultiPoint", [[1, 2], [3, 4]]),
        feature("Polygon", [box]), feature("Polygon", [lasso]), feature("LineString", [[0, 0], [0, 4], [0, 8]]),
    )  # fmt: skip
    assert read_prompts(drawn) == (
        Asked(SlidePrompt(((6, 5),), (1,)), "Gland"),
        Asked(SlidePrompt(((2, 1), (4, 3)), (1, 1))),
        Asked(SlidePrompt(box_yx0=(2, 1, 8, 9))),
        Asked(SlidePrompt(lasso_yx0=((0, 0), (0, 10), (8, 5)))),
        Asked(SlidePrompt(((0, 0), (4, 0), (8, 0)), (1, 1, 1))),
    )


def test_saved_objects_ask_again_as_they_were_asked(tmp_path):
    asked = SlidePrompt(((25.5, 15), (38, 12)), (1, 0), box_yx0=(20, 10, 40, 30.25))
    lasso = SlidePrompt(lasso_yx0=((0, 0), (0, 10), (8, 5)))
    objects = [
        MaskObject(1, shapely.box(20, 10, 38, 30), "Gland", 0.9, "m", asked), MaskObject(2, shapely.box(0, 0, 5, 5), prompt=lasso),
        MaskObject(3, shapely.box(1, 1, 4, 9)),
    ]  # fmt: skip
    path = save_objects(tmp_path / "objects.geojson", objects)
    # the third was drawn by hand: its outline asks
    drawn = SlidePrompt(box_yx0=(1, 1, 4, 9))
    assert read_prompts(path) == (Asked(asked, "Gland"), Asked(lasso, "Object"), Asked(drawn, "Object"))
    path.write_text(path.read_text().replace('"labels": [1, 0]', '"labels": [1, 7]'))
    with pytest.raises(BadRequest, match="feature 1 is no prompt"):
        read_prompts(path)


def test_geojson_that_asks_nothing_is_told(tmp_path):
    lines = geojson(tmp_path / "lines.geojson", feature("MultiLineString", [[[0, 0], [1, 1]]]))
    with pytest.raises(BadRequest, match="feature 1 is no prompt: .* got a MultiLineString"):
        read_prompts(lines)
    with pytest.raises(BadRequest, match="asks for no object"):
        read_prompts(geojson(tmp_path / "empty.geojson"))
    with pytest.raises(BadRequest, match="cannot be read as GeoJSON"):
        read_prompts(tmp_path / "no.geojson")
