"""Regions of a zoom as QuPath and spreadsheets get them."""

from __future__ import annotations

import csv
import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import pytest

from napari_wsi_mil.errors import StoreError
from napari_wsi_mil.interop.geojson import read_geojson
from napari_wsi_mil.interop.trajectory_rois import write_nodes, write_rois
from napari_wsi_mil.results.trajectory_style import depth_colour


def _zoom_results():
    spec = importlib.util.spec_from_file_location("zoom_results", Path(__file__).parent.parent / "zoom_results.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


made = _zoom_results().trajectory


def test_rois_as_qupath_reads_them(tmp_path):
    result = made()
    content = json.loads(write_rois(result, tmp_path / "rois.geojson").read_text(encoding="utf-8"))
    assert (content["type"], len(content["features"])) == ("FeatureCollection", 28)
    feature = content["features"][5]
    # I_112: the second corner (SE) of I_11, whose square of 1536 px has its centre at (y 512, x 1536)
    assert feature["geometry"]["type"] == "Polygon"
    xs, ys = zip(*feature["geometry"]["coordinates"][0], strict=True)
    assert (min(xs), max(xs), min(ys), max(ys)) == (1536, 2304, 512, 1280)
    assert feature["properties"] == {
        "objectType": "annotation",
        "name": "I_112",
        "isLocked": True,
        "classification": {"name": "Layer 2", "color": list(depth_colour(2))},
        "metadata": {"parent": "I_11", "model": "Title of magnet-test"},
        "measurements": {
            "Depth": 2.0, "Side um": 192.0, "Side px": 768.0, "Magnification": pytest.approx(560 / 192),
            "View um/px": pytest.approx(192 / 56), "View px": 56.0, "Level read": 0.0,
            "Contribution normal": pytest.approx(-0.5), "Contribution tumour": pytest.approx(0.5),
        },
    }  # fmt: skip
    names = {f["properties"]["classification"]["name"] for f in content["features"]}
    assert names == {"Whole slide", "Layer 1", "Layer 2", "Layer 3 (final views)"}


def test_rois_come_back_as_the_boxes(tmp_path):
    result = made((2, 2))
    found = read_geojson(write_rois(result, tmp_path / "rois.geojson"))
    for node, one in zip(result.nodes, found, strict=True):
        (y, x), side = node.corner_yx0, node.side_px0
        assert one.geometry.bounds == (y, x, y + side, x + side)
        assert (one.colour, one.properties["name"]) == (depth_colour(node.depth), node.name)


def test_rois_without_pixel_size(tmp_path):
    result = replace(made((2,)), slide_mpp_yx=None)
    first = json.loads(write_rois(result, tmp_path / "r.geojson").read_text())["features"][1]["properties"]
    assert first["measurements"]["Magnification (relative)"] == pytest.approx(16)
    assert "Side um" not in first["measurements"]
    text = write_nodes(result, tmp_path / "n.csv").read_text(encoding="utf-8")
    row = list(csv.DictReader(text.splitlines()))[1]
    assert (row["side_um"], row["centre_y_um"], row["side_px0"]) == ("", "", "1536")


def test_nodes_table(tmp_path):
    with write_nodes(made(), tmp_path / "nodes.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 28
    assert rows[4] == {
        "name": "I_111", "depth": "2", "parent": "I_11", "again": "1", "centre_y_px0": "512", "centre_x_px0": "1536",
        "side_px0": "1536", "centre_y_um": "128", "centre_x_um": "384", "side_um": "384",
        "magnification": "1.45833333", "level": "0", "view_px": "56", "view_mpp": "6.85714286",
        "contribution:normal": "-0.400000006", "contribution:tumour": "0.400000006",
    }  # fmt: skip
    assert [p.name for p in tmp_path.iterdir()] == ["nodes.csv"]


def test_unwritable_places_are_said(tmp_path):
    for write in (write_rois, write_nodes):
        with pytest.raises(StoreError, match="could not be written"):
            write(made((2,)), tmp_path / "no" / "file")
