"""Heatmaps lie on their tiles: cells end where tiles end, to under a pixel of every level, as napari places both."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_wsi_mil.layers import attention_layer
from napari_wsi_mil.results import Attention, HeatStyle, ModelRef
from napari_wsi_mil.tiles import TileGrid

DOWNSAMPLES = (2.0, 2.5, 4.0001)


def attention(grid, mpp_yx, scores):
    return Attention(
        slide_path="x.svs", slide_mpp_yx=mpp_yx, grid=grid, head=ModelRef("h", "1"), encoder=ModelRef("e", "2"),
        title="T", class_names=("a", "b"), logits=np.zeros(2, np.float32), raw=scores[None], device="CPU",
    )  # fmt: skip


@st.composite
def placed(draw):
    """Return a grid of a few tiles and the um of a level-0 pixel along y and x."""
    tile, stride = draw(st.integers(4, 64)), draw(st.integers(2, 96))
    downsample = draw(st.sampled_from((1.0, *DOWNSAMPLES, 0.5031)) | st.floats(0.3, 9))
    shape = (draw(st.integers(900, 4001)), draw(st.integers(900, 4001)))
    most = [max(int(n / (stride * downsample)) - 1, 0) for n in shape]
    first = np.array([draw(st.integers(0, n)) for n in most])
    near = st.tuples(st.integers(0, 5), st.integers(0, 5))
    cells = np.array(sorted(draw(st.sets(near, min_size=1, max_size=7))), np.int32) + first.astype(np.int32)
    corners = None
    if draw(st.booleans()):
        shift = draw(st.tuples(st.integers(0, 300), st.integers(0, 300)) | st.tuples(st.floats(0, 9), st.floats(0, 9)))
        corners = cells * stride * downsample + np.array(shift, float)
    grid = TileGrid(1.0, tile, stride, downsample, cells, shape, "f", corners)
    mpp = draw(st.floats(0.05, 4))
    return grid, (mpp, mpp * draw(st.floats(0.98, 1.02)))


def tile_on(result_of, grid, tile, make):
    """Return near and far world edge of the cells that show one tile's score, as `make`'s layer has them."""
    scores = np.zeros(len(grid), np.float32)
    scores[tile] = 1
    data, options, _ = attention_layer(result_of(scores))
    layer = make(data, options)
    where = np.argwhere(data > 0)
    # napari counts from the middle of a pixel
    return [np.asarray(layer.data_to_world(end)) for end in (where.min(0) - 0.5, where.max(0) + 0.5)]


def level_edge(image, level, edge0, downsample):
    """Return where napari draws, in the world, the place of level-0 pixel `edge0` on one level of a slide."""
    on_level = np.asarray(edge0) / downsample - 0.5
    return np.asarray(image.data_to_world(on_level * image.downsample_factors[level]))


@settings(max_examples=40, deadline=None)
@given(placed(), st.lists(st.sampled_from(DOWNSAMPLES), min_size=1, max_size=3), st.data())
def test_cells_end_where_tiles_end_on_every_level(where, steps, data):
    layers = pytest.importorskip("napari.layers")
    grid, mpp_yx = where
    tile = data.draw(st.integers(0, len(grid) - 1))
    downsamples = np.cumprod([1.0, *steps])
    shapes = [tuple(max(int(np.ceil(n / ds)), 1) for n in grid.slide_shape_yx) for ds in downsamples]
    # one byte that looks like a whole level
    pixels = [np.broadcast_to(np.zeros((), np.uint8), shape) for shape in shapes]
    image = layers.Image(pixels, multiscale=True, scale=mpp_yx, units=("um", "um"), contrast_limits=(0, 1))
    edges = tile_on(
        lambda scores: attention(grid, mpp_yx, scores), grid, tile, lambda data, options: layers.Image(data, **options)
    )
    truth = grid.yx0[tile], grid.yx0[tile] + grid.side_yx0
    for level, shape in enumerate(shapes):
        # a level's downsample is the ratio of shapes, per axis, here and in `slide.Level`
        downsample = np.divide(grid.slide_shape_yx, shape)
        pixel = np.asarray(mpp_yx) * downsample
        for edge, edge0 in zip(edges, truth, strict=True):
            drawn = level_edge(image, level, edge0, downsample)
            assert (np.abs(edge - drawn) < pixel).all(), (level, edge, drawn)


@settings(max_examples=80, deadline=None)
@given(placed(), st.sampled_from([0.5, 1.0, 3.0]))
def test_smoothed_maps_cover_the_same_ground(where, sigma):
    grid, mpp_yx = where
    result = attention(grid, mpp_yx, np.arange(len(grid), dtype=np.float32))
    plain, options, _ = attention_layer(result)
    smooth, finer, _ = attention_layer(result, style=HeatStyle(smooth=sigma))
    fine = smooth.shape[0] // plain.shape[0]
    assert smooth.shape == (fine * plain.shape[0], fine * plain.shape[1])
    for one, other, n in zip(options["scale"], finer["scale"], (fine, fine), strict=True):
        assert one == pytest.approx(n * other)
    for axis in (0, 1):
        begins = [o["translate"][axis] - o["scale"][axis] / 2 for o in (options, finer)]
        assert begins[0] == pytest.approx(begins[1], abs=1e-6 * mpp_yx[0] + 1e-9 * abs(begins[0]))
    assert np.array_equal(np.isfinite(smooth)[::fine, ::fine], np.isfinite(plain))
    known = smooth[np.isfinite(smooth)]
    assert known.min() >= -1e-4
    assert known.max() <= len(grid) - 1 + 1e-4
