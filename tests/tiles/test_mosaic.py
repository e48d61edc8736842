"""Tiles of foreign grids: where their edges come to lie."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_wsi_mil.tiles import TileGrid
from napari_wsi_mil.tiles.mosaic import mosaic
from napari_wsi_mil.tiles.raster import score_raster


def foreign(corners, *, tile=100, stride=100, downsample=1.0):
    corners = np.array(corners, float)
    cells = np.rint(corners / (stride * downsample)).astype(np.int32)
    return TileGrid(1.0, tile, stride, downsample, cells, (99_999, 99_999), "f", corners)


def edges(grid, tile):
    """Return where the cells of one tile begin and end, in level-0 pixels: those that a score of it alone colours."""
    scores = np.zeros(len(grid), np.float32)
    scores[tile] = 1
    raster = score_raster(grid, scores)
    where = np.argwhere(raster.values > 0)
    cell = np.array(raster.cell_yx0)
    return raster.corner_yx0 + where.min(0) * cell, raster.corner_yx0 + (where.max(0) + 1) * cell


def test_a_lattice_that_starts_anywhere_has_one_cell_to_a_tile():
    laid = mosaic(foreign([[17, 1003], [117, 1003], [17, 1203]]))
    assert (laid.shape, laid.cell_px0, laid.corner_yx0, laid.rounded_px0) == ((2, 3), 100.0, (17.0, 1003.0), 0.0)
    assert laid.index.tolist() == [[0, -1, 2], [1, -1, -1]]


def test_fractional_corners_keep_their_lattice():
    side = 448.0 * 1.0071
    laid = mosaic(foreign(3.3 + side * np.array([[0, 0], [0, 1], [7, 2]]), tile=448, stride=448, downsample=1.0071))
    assert laid.shape == (8, 3)
    assert laid.cell_px0 == pytest.approx(side)
    assert laid.rounded_px0 < 1e-6


def test_contours_with_offsets_of_their_own_share_the_finest_common_cells():
    grid = foreign([[0, 0], [0, 100], [230, 45], [330, 45]])
    laid = mosaic(grid)
    assert (laid.cell_px0, laid.shape) == (5.0, (86, 40))
    for tile, corner in enumerate(grid.yx0):
        near, far = edges(grid, tile)
        assert (near.tolist(), far.tolist()) == (corner.tolist(), (corner + 100).tolist())


def test_offsets_without_common_measure_over_much_tissue_are_rounded_as_stated():
    rng = np.random.default_rng(0)
    lattice = np.argwhere(np.ones((60, 60))) * 100.0
    grid = foreign(np.concatenate([lattice, lattice + (7003, 41), lattice + (3, 8019)]))
    laid = mosaic(grid)
    assert laid.shape[0] * laid.shape[1] <= 6_000_000
    assert 0.01 < laid.rounded_px0 <= 100 / 16
    for tile in rng.integers(0, len(grid), 12):
        near, far = edges(grid, tile)
        assert np.abs(near - grid.yx0[tile]).max() <= laid.rounded_px0 + 1e-9
        assert np.abs(far - grid.yx0[tile] - 100).max() <= laid.rounded_px0 + 1e-9


def test_two_tiles_at_one_place_are_averaged():
    raster = score_raster(foreign([[10, 10], [10, 10], [10, 110]]), np.array([1, 3, 7], np.float32))
    assert raster.values.tolist() == [[2, 7]]


@settings(max_examples=30, deadline=None)
@given(
    offset=st.tuples(st.integers(0, 5000), st.integers(0, 5000)),
    shifts=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=3),
    tile=st.integers(3, 30),
    downsample=st.sampled_from([1.0, 2.0, 2.5, 4.0001]),
)
def test_edges_of_foreign_tiles_are_exact_where_the_raster_stays_small(offset, shifts, tile, downsample):
    cells = np.argwhere(np.ones((2, 3)))
    side = tile * downsample
    corners = np.concatenate([cells * side + shift + np.array((90 * i, 0)) for i, shift in enumerate(shifts)])
    grid = foreign(corners + offset, tile=tile, stride=tile, downsample=downsample)
    assert mosaic(grid).rounded_px0 < 1
    for one in (0, len(grid) // 2, len(grid) - 1):
        near, far = edges(grid, one)
        assert np.abs(near - grid.yx0[one]).max() < 1
        assert np.abs(far - grid.yx0[one] - side).max() < 1


def test_many_additions_come_to_the_same_means_as_few(monkeypatch):
    rng = np.random.default_rng(1)
    grid = foreign(rng.integers(0, 300, (40, 2)))
    scores = rng.normal(size=40).astype(np.float32)
    plain = score_raster(grid, scores).values
    monkeypatch.setattr("napari_wsi_mil.tiles.mosaic.FEW_ADDITIONS", 0)
    assert np.allclose(plain, score_raster(grid, scores).values, atol=1e-5, equal_nan=True)
    scores[3] = np.nan
    lost = score_raster(grid, scores).values
    y, x = (grid.yx0[3] - grid.yx0.min(0)).astype(int)
    assert np.isnan(lost[y : y + 100, x : x + 100]).all()
    assert np.isfinite(lost).sum() >= np.isfinite(plain).sum() - 100 * 100
