from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.tiles import TileGrid
from napari_wsi_mil.tiles.mosaic import PARTS, mosaic
from napari_wsi_mil.tiles.raster import normalised, score_raster

NAN = np.nan


def grid(cells, *, tile=100, stride=100, downsample=2.0):
    return TileGrid(1.0, tile, stride, downsample, np.array(cells, np.int32), (9999, 9999), "f")


def test_tiles_side_by_side_are_cells_and_gaps_are_nan():
    raster = score_raster(grid([[2, 3], [2, 5], [4, 4]]), np.array([1, 2, 3], np.float32))
    assert np.array_equal(raster.values, np.array([[1, NAN, 2], [NAN, NAN, NAN], [NAN, 3, NAN]]), equal_nan=True)
    assert raster.values.dtype == np.float32
    assert raster.corner_yx0 == (400.0, 600.0)
    assert raster.cell_yx0 == (200.0, 200.0)


def test_overlapping_tiles_are_averaged():
    raster = score_raster(grid([[0, 0], [0, 1]], stride=50), np.array([1, 3], np.float32))
    assert raster.values.tolist() == [[1, 2, 3], [1, 2, 3]]
    assert raster.cell_yx0 == (100.0, 100.0)


def test_tiles_apart_leave_gaps():
    raster = score_raster(grid([[0, 0], [0, 1]], stride=150), np.array([1, 3], np.float32))
    assert np.array_equal(raster.values, np.array([[1, 1, NAN, 3, 3]] * 2), equal_nan=True)
    assert raster.cell_yx0 == (100.0, 100.0)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_each_point_shows_the_mean_of_the_tiles_over_it(data):
    unit, tile, stride = data.draw(st.integers(1, 30)), data.draw(st.integers(1, 8)), data.draw(st.integers(1, 8))
    cells = data.draw(st.sets(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=20))
    downsample = data.draw(st.floats(0.3, 9.0))
    tiles = grid(sorted(cells), tile=unit * tile, stride=unit * stride, downsample=downsample)
    scores = np.arange(len(tiles), dtype=np.float32)
    raster = score_raster(tiles, scores)
    for i, j in np.ndindex(*raster.values.shape):
        point = np.array(raster.corner_yx0) + (np.array([i, j]) + 0.5) * raster.cell_yx0
        over = ((tiles.yx0 <= point) & (point < tiles.yx0 + tiles.side_yx0)).all(1)
        assert np.isnan(raster.values[i, j]) == (not over.any())
        assert not over.any() or raster.values[i, j] == pytest.approx(scores[over].mean(), rel=1e-6)


def test_sizes_without_common_measure_are_exact_while_that_is_small_and_rounded_beyond():
    few = score_raster(grid([[0, 0], [9, 9]], tile=112, stride=75), np.array([1, 2], np.float32))
    assert few.values.shape == (9 * 75 + 112,) * 2
    assert few.cell_yx0 == (2.0, 2.0)
    many = mosaic(grid([[0, 0], [99, 99]], tile=112, stride=75))
    # the best part of tile and stride in 6,000,000 cells
    assert many.shape[0] * many.shape[1] <= 6_000_000
    assert many.rounded_px0 == pytest.approx(min(rounding(u) for u in shares(112, 75)))


def cells(unit):
    return ((99 * 150 + 224) / unit) ** 2


def shares(tile, stride):
    return [2 * size / k for k in PARTS for size in (tile, stride) if cells(2 * size / k) <= 6_000_000]


def rounding(unit):
    """Return how far the edges of tiles of 224 px0 every 150 px0 are from multiples of `unit` at most."""
    start = np.array([0, 99 * 150])
    near = np.rint(start / unit) * unit
    return max(np.abs(near - start).max(), np.abs(near + max(round(224 / unit), 1) * unit - start - 224).max())


def test_no_tiles_or_wrong_scores_are_refused():
    empty = grid(np.zeros((0, 2)))
    with pytest.raises(BadRequest, match="got \\(0,\\) scores for 0 tiles"):
        score_raster(empty, np.zeros(0, np.float32))
    with pytest.raises(BadRequest, match="got \\(3,\\) scores for 1 tiles"):
        score_raster(grid([[0, 0]]), np.zeros(3, np.float32))


def test_normalisations_by_numbers():
    scores = np.array([5, -1, 5, 100], np.float32)
    assert normalised(scores, "minmax")[1] == (-1.0, 100.0)
    assert normalised(scores, "minmax")[0] is scores
    low, high = normalised(np.arange(101, dtype=np.float32), "percentile")[1]
    assert (low, high) == (1.0, 99.0)
    ranks, limits = normalised(scores, "rank")
    assert ranks.tolist() == [0.5, 0.0, 0.5, 1.0]
    assert limits == (0.0, 1.0)
    assert normalised(np.array([7], np.float32), "rank")[0].tolist() == [0.0]
    with pytest.raises(BadRequest, match="minmax, percentile or rank, got 'zscore'"):
        normalised(scores, "zscore")
