from __future__ import annotations

import importlib.util
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.color import deltaE_ciede2000, rgb2lab

from napari_wsi_mil.layers import (
    edge_widths,
    node_labels,
    node_table,
    slide_layers,
    trajectory_layers,
)
from napari_wsi_mil.results.trajectory_style import DEPTH_COLOURS, depth_colour


def _zoom_results():
    spec = importlib.util.spec_from_file_location("zoom_results", Path(__file__).with_name("zoom_results.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


zoomed = _zoom_results()


def test_one_box_per_region_and_a_line_to_each_that_lies_elsewhere():
    result = zoomed.trajectory()
    (lines, path, kind), (boxes, options, other) = trajectory_layers(result)
    assert (kind, other) == ("shapes", "shapes")
    assert (path["metadata"]["wsi_role"], options["metadata"]["wsi_role"]) == ("zoom lines", "zoom boxes")
    assert options["metadata"]["wsi_result"] is path["metadata"]["wsi_result"] is result
    assert (path["name"], options["name"]) == ("Zoom path · Title of magnet-test", "Zoom · Title of magnet-test")
    assert len(boxes) == 28
    # the slide is 4096 x 6144 px: the square around it reaches beyond its top
    assert boxes[0].tolist() == [[-1024, 0], [-1024, 6144], [5120, 6144], [5120, 0]]
    node = result.nodes[1]
    assert boxes[1].tolist()[0] == [node.centre_yx0[0] - 768, node.centre_yx0[1] - 768]
    # 27 regions have a parent; the first of each group of layer 2 has its parent's centre
    assert path["features"]["node"].tolist() == [i for i in range(1, 28) if i not in (4, 6, 8)]
    first = path["features"]["name"].index("I_112")
    assert lines[first].tolist() == [list(node.centre_yx0), list(result.nodes[5].centre_yx0)]
    assert path["edge_color"][first] == "#009e73"


def test_the_table_says_where_how_large_and_what_for():
    result = zoomed.trajectory()
    table = node_table(result)
    assert list(table) == [
        "node", "name", "depth", "parent", "centre_y_um", "centre_x_um", "side_um", "magnification", "level", "again",
        "contribution normal", "contribution tumour",
    ]  # fmt: skip
    rows = {name: {key: column[i] for key, column in table.items()} for i, name in enumerate(table["name"])}
    root, first, again, last = (rows[name] for name in ("I_1", "I_12", "I_121", "I_1223"))
    assert (root["depth"], root["parent"], root["level"]) == (0, "", 2)
    assert (root["centre_y_um"], root["centre_x_um"], root["side_um"]) == (512, 768, 1536)
    # 1536 um over 56 px
    assert root["magnification"] == pytest.approx(10 * 56 / 1536)
    assert (first["parent"], first["side_um"], first["centre_y_um"]) == ("I_1", 384, 512 + 384)
    assert (again["parent"], again["side_um"], bool(again["again"])) == ("I_12", 384, True)
    assert (last["depth"], last["parent"], last["side_um"]) == (3, "I_122", 96)
    assert last["magnification"] == pytest.approx(10 * 224 / 96)
    assert last["contribution tumour"] == pytest.approx(result.index("I_1223") / 10)
    assert last["contribution normal"] == pytest.approx(-result.index("I_1223") / 10)


def test_without_pixel_size_lengths_are_pixels_and_magnifications_relative():
    result = zoomed.trajectory((2, 2), slide_mpp_yx=None)
    table = node_table(result)
    assert table["centre_y_px"].tolist()[:2] == [2048, 512]
    assert table["side_px"].tolist()[:2] == [6144, 1536]
    # relative to the whole slide, by pixels per view: 4 times closer, and views of 224 instead of 56 px
    assert table["magnification"].tolist() == pytest.approx([1, 4, 4, 16, 32, 16, 32])
    for _, options, _ in trajectory_layers(result):
        assert (options["scale"], options["translate"]) == ((1.0, 1.0), (-0.5, -0.5))
        assert options["units"] == ("pixel", "pixel")


def test_the_pixel_size_of_the_slide_places_the_boxes(array_slide):
    """A person may correct it after the run."""
    slide = array_slide(np.zeros((400, 600, 3), np.uint8), mpp=0.5)
    _, (_, options, _) = trajectory_layers(zoomed.trajectory((2,)), slide=slide)
    assert (options["scale"], options["translate"]) == ((0.5, 0.5), (-0.25, -0.25))
    assert options["metadata"]["wsi_slide"] is slide


def test_a_region_looked_at_twice_shows_both_colours_and_both_names():
    result = zoomed.trajectory()
    labels, widths = node_labels(result), edge_widths(result)
    assert labels[1:6] == ("I_11 = I_111", "I_12 = I_121", "I_13 = I_131", "", "I_112")
    assert widths[:6].tolist() == [1, 2.5, 2.5, 2.5, 1, 1]
    _, (_, options, _) = trajectory_layers(result)
    assert options["text"]["string"] == list(labels)
    assert (options["edge_width"] / options["edge_width"][0]).tolist() == widths.tolist()


def test_one_layer_of_magnifying_has_no_second_look():
    result = zoomed.trajectory((2,))
    (lines, _, _), (boxes, options, _) = trajectory_layers(result)
    assert (len(lines), len(boxes)) == (2, 3)
    assert options["text"]["string"] == ["I_1", "I_11", "I_12"]


@settings(max_examples=200, deadline=None)
@given(
    mpp=st.floats(0.05, 4),
    ratio=st.floats(0.99, 1.01),
    centre=st.tuples(st.floats(-1000, 200_000), st.floats(-1000, 200_000)),
    side=st.floats(20, 250_000),
    downsample=st.sampled_from([1, 2.5, 4.0001, 31.9]),
)
def test_boxes_and_lines_lie_within_a_pixel_of_their_place(mpp, ratio, centre, side, downsample):
    """Level-0 pixel i of the slide has its centre at i * mpp; a coarse level's first pixel has that of level 0."""
    result = zoomed.trajectory((2,), slide_mpp_yx=(mpp, mpp * ratio))
    root = replace(result.nodes[0], centre_yx0=centre, side_px0=side)
    result = zoomed.trajectory((2,), slide_mpp_yx=(mpp, mpp * ratio), nodes=(root, *result.nodes[1:]))
    (lines, path, _), (boxes, options, _) = trajectory_layers(result)
    size0 = np.array((mpp, mpp * ratio))
    for options_of, point, yx0 in (
        (options, boxes[0][0], np.array(centre) - side / 2),
        (options, boxes[0][2], np.array(centre) + side / 2),
        (path, lines[0][0], np.array(centre)),
    ):
        world = point * np.array(options_of["scale"]) + np.array(options_of["translate"])
        assert np.abs(world / size0 + 0.5 - yx0).max() < 0.01
        drawn = (yx0 / downsample - 0.5) * downsample * size0
        assert (np.abs(world - drawn) < downsample * size0).all()


SEEN_BY = {
    "everybody": np.eye(3),
    "protan": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deutan": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "tritan": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}
"""What linear RGB becomes for people without one kind of cones (Machado et al. 2009, severity 1)."""
TISSUE = ((222, 160, 195), (150, 90, 160), (190, 120, 170), (105, 60, 130), (243, 243, 243))


@pytest.mark.parametrize("who", SEEN_BY)
def test_colours_of_depths_are_told_apart_and_from_tissue(who):
    def lab(rgb):
        share = np.array(rgb) / 255
        linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
        seen = np.clip(np.array(SEEN_BY[who]) @ linear, 0, 1)
        back = np.where(seen <= 0.0031308, seen * 12.92, 1.055 * seen ** (1 / 2.4) - 0.055)
        return rgb2lab(back[None, None])[0, 0]

    colours = [lab(colour) for colour in DEPTH_COLOURS]
    assert min(deltaE_ciede2000(a, b) for a, b in combinations(colours, 2)) > 15
    assert min(deltaE_ciede2000(a, lab(ground)) for a in colours for ground in TISSUE) > 10


def test_colours_come_again_but_that_of_the_whole():
    assert [depth_colour(depth) for depth in range(7)] == [*DEPTH_COLOURS, *DEPTH_COLOURS[1:3]]


def test_napari_takes_both_layers_and_places_them_over_the_slide(array_slide):
    viewer = pytest.importorskip("napari.components").ViewerModel()
    slide = array_slide(np.zeros((400, 600, 3), np.uint8), mpp=0.4)
    result = zoomed.trajectory((2, 2), slide=slide)
    for data, options, kind in [*slide_layers(slide), *trajectory_layers(result, slide=slide)]:
        getattr(viewer, f"add_{kind}")(data, **options)
    picture, path, boxes = viewer.layers
    assert boxes.features["name"].tolist() == ["I_1", "I_11", "I_12", "I_111", "I_112", "I_121", "I_122"]
    assert boxes.features["depth"].tolist() == [0, 1, 1, 2, 2, 2, 2]
    assert list(boxes.text.values) == ["I_1", "I_11 = I_111", "I_12 = I_121", "", "I_112", "", "I_122"]
    assert path.nshapes == 4
    # both begin half a pixel before the centre of the first pixel; the square is 100 px higher on both sides
    edge = picture.extent.world[0] - 0.2
    assert boxes.data_to_world(boxes.data[0][0]) == pytest.approx((edge[0] - 40, edge[1]))
    none, options, _ = trajectory_layers(zoomed.trajectory((2,), nodes=same_centre()))[0]
    assert none == []
    assert viewer.add_shapes(none, **options).nshapes == 0


def same_centre():
    root, *others = zoomed.trajectory((2,)).nodes
    return (root, *(replace(node, centre_yx0=root.centre_yx0) for node in others))
