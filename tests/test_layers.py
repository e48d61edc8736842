from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import box

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.layers import (
    attention_layer,
    contrast_limits,
    shapes_polygons,
    slide_layers,
    tiles_layer,
    tissue_layer,
)
from napari_wsi_mil.results import Attention, HeatStyle, MapChoice, ModelRef, ScoreMap
from napari_wsi_mil.slide import Box, Channel, Plane, Slide
from napari_wsi_mil.tiles import TileGrid, TissueMask


def attention(cells=((0, 0), (0, 1), (2, 2)), raw=((1.0, 2.0, 4.0),), **changes):
    grid = {"mpp": 1.0, "tile_px": 100, "stride_px": 100, "downsample": 2.5, "slide_shape_yx": (999, 999)}
    grid |= {k: changes.pop(k) for k in list(changes) if k in grid}
    values = {
        "slide_path": "x.svs",
        "slide_mpp_yx": (0.4, 0.4),
        "grid": TileGrid(cells=np.array(cells, np.int32), slide_fingerprint="f", **grid),
        "head": ModelRef("h", "1"),
        "encoder": ModelRef("e", "2"),
        "title": "Tumour",
        "class_names": ("normal", "tumour"),
        "logits": np.array([0, 1], np.float32),
        "raw": np.array(raw, np.float32),
        "device": "CPU",
    }
    return Attention(**{**values, **changes})


def world_edges(options, index):
    """Return where napari draws the near and far edge of pixel `index`: half a pixel around its centre."""
    scale, translate = np.array(options["scale"]), np.array(options["translate"])
    return (np.array(index) - 0.5) * scale + translate, (np.array(index) + 0.5) * scale + translate


def test_a_colour_slide_is_one_multiscale_image_in_um(array_slide):
    fine = np.zeros((600, 801, 3), np.uint8)
    slide = array_slide([fine, fine[::2, ::2], fine[::5, ::5]], mpp=0.25)
    ((levels, options, kind),) = slide_layers(slide)
    assert kind == "image"
    assert [a.shape for a in levels] == [(600, 801, 3), (300, 401, 3), (120, 161, 3)]
    assert options["scale"] == (0.25, 0.25)
    assert options["units"] == ("um", "um")
    assert options["rgb"] is options["multiscale"] is True
    assert options["name"] == "aaaa.arr"
    assert options["metadata"]["wsi_slide"] is slide
    assert options["metadata"]["wsi_role"] == "slide"


def test_unknown_pixel_size_means_pixels(array_slide):
    ((_, options, _),) = slide_layers(array_slide(np.zeros((60, 80, 3), np.uint8), mpp=None))
    assert (options["scale"], options["units"]) == ((1.0, 1.0), ("pixel", "pixel"))


def test_grey_and_16_bit_get_limits(array_slide):
    ((_, options, _),) = slide_layers(array_slide(np.zeros((60, 80), np.uint8)))
    assert (options["rgb"], options["contrast_limits"], options["colormap"]) == (False, (0.0, 255.0), "gray")
    ramp = np.linspace(100, 40_000, 400 * 400).reshape(400, 400).astype(np.uint16)
    low, high = contrast_limits(array_slide(ramp))
    assert 100 <= low < 1000
    assert 39_000 < high <= 40_000
    low, high = contrast_limits(array_slide(np.full((60, 80), 7, np.uint16)))
    assert low < 7 < high
    assert contrast_limits(array_slide(ramp, broken=Box(0, 0, 400, 400))) == (0.0, 65535.0)


class Channels:
    """A source of three constant 16-bit channels with two time points and three z slices."""

    def __init__(self, meta):
        self.meta = meta

    def read(self, level, box, plane: Plane):
        return np.full((box.h, box.w), 1000 * plane.c + 10 * plane.z + plane.t, np.uint16)

    def close(self):
        pass


def test_fluorescence_is_a_layer_per_channel_with_its_colour(array_slide):
    import dataclasses

    plain = array_slide(np.zeros((300, 300), np.uint16)).meta
    channels = (Channel("DAPI", (0.0, 0.0, 1.0)), Channel("CD3"), Channel("CK", (1.0, 0.5, 0.0)))
    meta = dataclasses.replace(plain, channels=channels, n_z=3, n_t=2, z_step_um=1.5)
    with Slide(Channels(meta), path="f.ome.tif") as slide:
        layers = slide_layers(slide, prefetch=False)
        assert [o["name"] for _, o, _ in layers] == ["f.ome.tif · DAPI", "f.ome.tif · CD3", "f.ome.tif · CK"]
        assert [o["metadata"]["wsi_channel"] for _, o, _ in layers] == [0, 1, 2]
        assert {o["blending"] for _, o, _ in layers} == {"additive"}
        assert layers[0][1]["colormap"] == ("DAPI", [(0.0, 0.0, 0.0), (0.0, 0.0, 1.0)])
        assert layers[1][1]["colormap"] == "magenta"
        levels, options, _ = layers[2]
        assert levels[0].shape == (2, 3, 300, 300)
        assert int(levels[0][1, 2, 5, 5].compute()) == 2021
        assert options["axis_labels"] == ("t", "z", "y", "x")
        assert options["scale"] == (1.0, 1.5, 0.5, 0.5)
        assert options["units"] == ("pixel", "um", "um", "um")
        low, high = options["contrast_limits"]
        assert low < 2000 < high


def test_attention_is_raw_scores_with_nan_where_no_tile_lies():
    data, options, kind = attention_layer(attention())
    nan = np.nan
    assert np.array_equal(data, np.array([[1, 2, nan], [nan, nan, nan], [nan, nan, 4]], np.float32), equal_nan=True)
    assert kind == "image"
    assert options["contrast_limits"] == (1.0, 4.0)
    assert options["scale"] == (100.0, 100.0)
    assert options["translate"] == pytest.approx((49.8, 49.8))
    assert options["name"] == "Attention · Tumour"
    assert options["metadata"]["wsi_role"] == "attention"
    assert options["metadata"]["wsi_result"].raw.tolist() == [[1, 2, 4]]


def test_normalisation_and_class_of_the_map():
    two = attention(raw=((1, 2, 4), (9, 7, 8)))
    data, options, _ = attention_layer(two, style=HeatStyle(MapChoice(row=1), normalise="rank"))
    assert np.nanmax(data) == 1
    assert data[0].tolist()[:2] == [1, 0]
    assert options["contrast_limits"] == (0.0, 1.0)
    assert options["name"] == "Attention · Tumour · tumour"
    assert attention_layer(two, style=HeatStyle(MapChoice(row=0)))[0][2, 2] == 4
    low, high = attention_layer(two, style=HeatStyle(MapChoice(row=0), normalise="percentile"))[1]["contrast_limits"]
    assert (low, high) == pytest.approx((1.02, 3.96))
    low, high = attention_layer(attention(raw=((5, 5, 5),)))[1]["contrast_limits"]
    assert low < 5 < high
    with pytest.raises(BadRequest, match="classes are 0 to 1"):
        attention_layer(two, style=HeatStyle(MapChoice(row=2)))


def test_a_style_becomes_name_colours_opacity_and_is_remembered():
    maps = (ScoreMap("Contribution", "class", np.array([[-1, 0, 3], [1, 0, -3]], np.float32)),)
    style = HeatStyle(MapChoice("Contribution", 0), opacity=0.8, fade=True)
    data, options, _ = attention_layer(attention(maps=maps), style=style)
    assert options["name"] == "Contribution · Tumour · normal"
    assert options["contrast_limits"] == (-3.0, 3.0)
    assert options["colormap"]["name"] == "heat teal-orange fading"
    assert options["colormap"]["colors"].shape == (256, 4)
    assert options["colormap"]["colors"][:, 3].min() < 0.01
    assert options["opacity"] == 0.8
    assert options["metadata"]["wsi_style"] is style
    assert options["metadata"]["wsi_choice"] == style.choice
    assert data[2, 2] == 3


@settings(max_examples=200, deadline=None)
@given(
    mpp=st.floats(0.05, 4),
    ratio=st.floats(0.99, 1.01),
    downsample=st.floats(0.2, 40),
    tile=st.integers(1, 12),
    stride=st.integers(1, 12),
    unit=st.integers(1, 60),
    cell=st.tuples(st.integers(0, 3000), st.integers(0, 3000)),
)
def test_heat_cells_end_where_their_tiles_end(mpp, ratio, downsample, tile, stride, unit, cell):
    result = attention(
        cells=[cell, (cell[0] + 2, cell[1] + 1)], raw=((1, 2),), slide_mpp_yx=(mpp, mpp * ratio),
        tile_px=tile * unit, stride_px=stride * unit, downsample=downsample,
    )  # fmt: skip
    data, options, _ = attention_layer(result)
    # Level-0 pixel i has its centre at i * mpp in the world, so a corner at yx0 is at (yx0 - 0.5) * mpp.
    near, _ = world_edges(options, (0, 0))
    _, far = world_edges(options, np.array(data.shape) - 1)
    size0 = np.array((mpp, mpp * ratio))
    first, last = result.grid.yx0.min(0), result.grid.yx0.max(0) + result.grid.side_yx0
    assert np.abs(near / size0 + 0.5 - first).max() < 0.01
    assert np.abs(far / size0 + 0.5 - last).max() < 0.01


@settings(max_examples=50, deadline=None)
@given(downsample=st.sampled_from([2, 2.5, 4.0001, 3.999]), mpp=st.floats(0.1, 1), row=st.integers(0, 500))
def test_heat_stays_within_a_pixel_of_every_level(downsample, mpp, row):
    """napari puts the centre of a coarse level's first pixel on that of level 0: half a coarse pixel, no more."""
    result = attention(cells=[(row, 0)], raw=((1,),), slide_mpp_yx=(mpp, mpp), downsample=1 / mpp)
    near, _ = world_edges(attention_layer(result)[1], (0, 0))
    edge0 = result.grid.yx0[0, 0]
    drawn = (edge0 / downsample - 0.5) * downsample * mpp
    assert abs(near[0] - drawn) < downsample * mpp


def test_tissue_goes_out_as_shapes_and_comes_back(array_slide):
    slide = array_slide(np.zeros((480, 640, 3), np.uint8), mpp=0.25)
    mask = np.zeros((30, 40), bool)
    mask[5:25, 5:20] = True
    mask[10:15, 8:14] = False
    mask[3:9, 28:36] = True
    tissue = TissueMask(mask, (16.0, 16.0), (480, 640), "test")
    rings, options, kind = tissue_layer(tissue, slide)
    assert kind == "shapes"
    assert options["features"]["part"] == ["tissue", "hole", "tissue"]
    assert options["edge_color"] == ["#009e73", "#e69f00", "#009e73"]
    assert options["scale"] == (0.25, 0.25)
    assert options["translate"] == (-0.125, -0.125)
    polygons = shapes_polygons(rings, options["features"]["part"])
    back = TissueMask.from_polygons(polygons, (480, 640), downsample=16)
    assert (back.mask ^ mask).sum() <= 8
    none, options, _ = tissue_layer(TissueMask(mask & False, (16.0, 16.0), (480, 640), "test"), slide)
    assert none == []


def test_drawn_shapes_of_all_kinds_become_polygons():
    square = np.array([(0, 0), (0, 10), (10, 10), (10, 0)], float)
    inner = square / 2 + 2
    line = np.array([(0, 0), (5, 5)], float)
    kinds = ["rectangle", "polygon", "line", "path", "ellipse"]
    shapes = [square, inner, line, square + 50, square + 100]
    found = shapes_polygons(shapes, ["tissue", "hole", "tissue", "tissue", "tissue"], kinds=kinds)
    assert [round(p.area, 1) for p in found] == [75.0, 78.4]
    assert found[1].bounds == pytest.approx((100, 100, 110, 110))
    lifted = np.concatenate([np.full((4, 1), 3.0), square], axis=1)
    assert shapes_polygons([lifted])[0].equals(box(0, 0, 10, 10))
    assert shapes_polygons([]) == []


def test_top_tiles_are_rectangles_with_rank_and_score(array_slide):
    slide = array_slide(np.zeros((99, 99, 3), np.uint8), mpp=0.4)
    result = attention()
    squares, options, kind = tiles_layer(result, result.top_tiles(2), slide)
    assert kind == "shapes"
    assert squares[0].tolist() == [[500, 500], [500, 750], [750, 750], [750, 500]]
    assert options["features"]["rank"].tolist() == [1, 2]
    assert options["features"]["score"].tolist() == [4, 2]
    assert options["features"]["tile"].tolist() == [2, 1]
    assert options["metadata"]["wsi_result"] is result
    with pytest.raises(BadRequest, match=r"tiles are 0 to 2, got \[3\]"):
        tiles_layer(result, [3], slide)


def test_napari_takes_all_layers_and_places_them_alike(array_slide):
    viewer = pytest.importorskip("napari.components").ViewerModel()
    slide = array_slide(np.zeros((999, 999, 3), np.uint8), mpp=0.4)
    tissue = TissueMask.from_polygons([box(0, 0, 250, 500)], (999, 999), downsample=10)
    result = attention()
    made = {}
    data = [*slide_layers(slide), attention_layer(result, slide=slide), tissue_layer(tissue, slide)]
    data.append(tiles_layer(result, [2], slide))
    for values, options, kind in data:
        made[options["metadata"]["wsi_role"]] = getattr(viewer, f"add_{kind}")(values, **options)
    heat = made["attention"]
    # napari reports centres of first and last pixels; half a pixel before those, both begin at world -0.2 um.
    assert heat.extent.world[0] - 50 == pytest.approx([-0.2, -0.2])
    assert heat.extent.world[1] + 50 == pytest.approx([299.8, 299.8])
    assert made["slide"].extent.world[0] - 0.2 == pytest.approx([-0.2, -0.2])
    assert made["slide"].extent.world[1] + 0.2 == pytest.approx([999 * 0.4 - 0.2] * 2)
    corners = made["tiles"].data_to_world(made["tiles"].data[0][0])
    assert corners == pytest.approx((199.8, 199.8))
    here, there = (tuple(np.rint(heat.world_to_data(at)).astype(int)) for at in ((10, 10), (10, 290)))
    assert heat.data[here] == 1
    assert np.isnan(heat.data[there])
    # NaN is drawn with no colour at all, whatever the colormap.
    assert heat.colormap.map(np.array([np.nan]))[0].tolist() == [0, 0, 0, 0]
