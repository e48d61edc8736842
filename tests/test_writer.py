"""Shapes to GeoJSON, in level-0 pixels of the slide they lie on."""

from __future__ import annotations

import json

import numpy as np
import pytest

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.layers import tissue_layer
from napari_wsi_mil.slide import open_slide
from napari_wsi_mil.tiles import TissueMask
from napari_wsi_mil.writer import write_shapes


def test_tissue_outlines_come_back_as_they_were(tiny_svs, tmp_path) -> None:
    from shapely import box

    with open_slide(tiny_svs) as slide:
        mask = TissueMask.from_polygons([box(160, 320, 800, 1120) - box(400, 480, 640, 800)], slide.shape0_yx)
        data, settings, _ = tissue_layer(mask, slide)
        out = tmp_path / "tissue.geojson"
        assert write_shapes(str(out), data, settings) == [str(out)]
    (feature,) = json.loads(out.read_text())["features"]
    assert feature["properties"]["classification"]["name"] == "Tissue"
    outer, hole = (np.asarray(ring) for ring in feature["geometry"]["coordinates"])
    # GeoJSON is (x, y)
    # outlines of a mask of 16 px, simplified by up to half of that
    assert (*outer.min(0), *outer.max(0)) == pytest.approx((320, 160, 1120, 800), abs=8)
    assert (*hole.min(0), *hole.max(0)) == pytest.approx((480, 400, 800, 640), abs=8)


def test_drawn_shapes_without_a_slide_keep_their_coordinates(tmp_path) -> None:
    square = np.array([[0, 0], [0, 10], [20, 10], [20, 0]], float)
    out = tmp_path / "drawn.geojson"
    write_shapes(out, [square, square[:2]], {"name": "mine", "shape_type": ["polygon", "line"], "metadata": {}})
    (feature,) = json.loads(out.read_text())["features"]
    assert np.max(feature["geometry"]["coordinates"][0], axis=0).tolist() == [10, 20]


def test_nothing_closed_is_refused(tmp_path) -> None:
    line = np.array([[0, 0], [5, 5]], float)
    with pytest.raises(BadRequest, match="mine: expected closed shapes, got none"):
        write_shapes(tmp_path / "x.geojson", [line], {"name": "mine", "shape_type": ["line"], "metadata": {}})
    assert not list(tmp_path.iterdir())
