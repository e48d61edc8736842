from __future__ import annotations

import numpy as np
import pytest

from napari_wsi_mil.tiles import TileGrid
from napari_wsi_mil.tiles.mosaic import mosaic
from napari_wsi_mil.tiles.smooth import Smoother


def grid(cells, *, tile=100, stride=100, corners=None):
    return TileGrid(1.0, tile, stride, 2.0, np.array(cells, np.int32), (9999, 9999), "f", corners)


def expected(centres, scores, sigma):
    """Return the Gaussian mean at each centre, written out: centres in tile sides."""
    far = ((centres[:, None] - centres[None]) ** 2).sum(-1)
    weights = np.exp(-far / (2 * sigma**2))
    return (weights * scores).sum(1) / weights.sum(1)


@pytest.mark.parametrize(("stride", "sigma"), [(100, 1.0), (100, 2.5), (50, 1.0), (150, 0.75)])
def test_the_value_of_a_tile_is_the_gaussian_mean_of_the_tiles_around_it(stride, sigma):
    rng = np.random.default_rng(0)
    cells = np.argwhere(rng.random((12, 15)) < 0.6)
    scores = rng.normal(size=len(cells)).astype(np.float32)
    tiles = grid(cells, stride=stride)
    smoother = Smoother(tiles, sigma)
    assert smoother.at_tiles(smoother.field(scores)) == pytest.approx(
        expected(cells * stride / 100, scores, sigma), abs=0.02
    )


def test_a_constant_stays_constant_and_uncovered_cells_stay_clear():
    tiles = grid([[0, 0], [0, 1], [5, 7], [6, 7]])
    smoother, laid = Smoother(tiles, 2.0), mosaic(tiles)
    field = smoother.field(np.full(4, 3, np.float32))
    assert smoother.at_tiles(field).tolist() == [3, 3, 3, 3]
    values, cell = smoother.draw(field, laid)
    fine = round(laid.cell_px0 / cell)
    assert fine == 4
    covered = np.kron(laid.count > 0, np.ones((fine, fine))) > 0
    assert np.array_equal(np.isfinite(values), covered)
    assert values[covered] == pytest.approx(3, abs=1e-6)


def test_glass_between_two_islands_neither_gives_nor_takes():
    cells = [[0, i] for i in range(4)] + [[0, i] for i in range(40, 44)]
    smoother = Smoother(grid(cells), 2.0)
    shown = smoother.at_tiles(smoother.field(np.array([1] * 4 + [9] * 4, np.float32)))
    assert shown == pytest.approx([1] * 4 + [9] * 4)


def test_tiles_between_the_nodes_count_where_they_lie():
    """A score alone on the right of three tiles off the lattice pulls the middle one as far as its mirror image does."""
    corners = np.array([[30.0, 30], [30, 230], [30, 430]])
    smoother = Smoother(grid([[0, 0], [0, 1], [0, 2]], corners=corners), 1.0)
    right = smoother.at_tiles(smoother.field(np.array([0, 0, 1], np.float32)))
    left = smoother.at_tiles(smoother.field(np.array([1, 0, 0], np.float32)))
    assert right[1] == pytest.approx(left[1], abs=0.08)
    assert right[0] < right[1] < right[2]


def test_drawn_values_rise_evenly_between_tiles():
    tiles = grid([[0, i] for i in range(6)])
    smoother = Smoother(tiles, 1.0)
    values, _ = smoother.draw(smoother.field(np.arange(6, dtype=np.float32)), mosaic(tiles))
    assert (np.diff(values[0]) >= 0).all()
    assert np.ptp(values, axis=0).max() < 1e-6
