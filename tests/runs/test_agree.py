from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.stats import spearmanr

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.results import Attention, MapChoice, ModelRef, ScoreMap
from napari_wsi_mil.runs.agree import agreement
from napari_wsi_mil.tiles import cover


def result(grid, scores, **more) -> Attention:
    return Attention(
        slide_path="s", slide_mpp_yx=(0.5, 0.5), grid=grid, head=ModelRef("h", "1" * 64), title="Head",
        encoder=ModelRef("e", "2" * 64), class_names=("a", "b"), logits=np.zeros(2, np.float32),
        raw=np.asarray(scores, np.float32)[None], device="CPU", **more,
    )  # fmt: skip


@pytest.fixture
def slide(array_slide):
    return array_slide(np.zeros((400, 600, 3), np.uint8))


def test_rank_correlation_is_that_of_scipy_whatever_the_scale(slide):
    grid = cover(slide, mpp=1.0, tile_px=20)
    rng = np.random.default_rng(3)
    a = rng.normal(size=len(grid)).round(1)  # with ties
    b = (a + rng.normal(size=len(grid))).round(1)
    found = agreement(result(grid, a), result(grid, np.exp(3 * b)))
    assert found.common == 150
    assert found.rho == pytest.approx(spearmanr(a, b).statistic, abs=1e-6)
    assert agreement(result(grid, a), result(grid, -5 * a)).rho == pytest.approx(-1)


def test_only_tiles_of_both_count_in_any_order(slide):
    grid = cover(slide, mpp=1.0, tile_px=20)
    left, right = grid.take(grid.cells[:, 1] < 10), grid.take(np.flatnonzero(grid.cells[:, 1] >= 5)[::-1].copy())
    found = agreement(result(left, left.cells @ (15, 1)), result(right, right.cells @ (15, 1)))
    assert found == (pytest.approx(1), 50)


def test_tiles_of_two_sizes_meet_at_the_centre_of_the_smaller(slide):
    fine, coarse = cover(slide, mpp=1.0, tile_px=20), cover(slide, mpp=1.0, tile_px=100)
    a, b = result(fine, fine.cells[:, 1]), result(coarse, coarse.cells[:, 1])
    expected = spearmanr(fine.cells[:, 1], fine.cells[:, 1] // 5).statistic
    assert agreement(a, b) == (pytest.approx(expected, abs=1e-6), 150)
    assert agreement(b, a) == (pytest.approx(expected, abs=1e-6), 150)


def test_where_there_is_nothing_to_order_there_is_no_number(slide):
    grid = cover(slide, mpp=1.0, tile_px=20)
    rising = np.arange(150)
    assert agreement(result(grid, rising), result(grid, np.ones(150))) == (None, 150)
    two = grid.take(np.arange(2))
    assert agreement(result(grid, rising), result(two, [1, 2])) == (None, 2)
    apart = grid.take(np.arange(75, 150))
    assert agreement(result(grid.take(np.arange(75)), rising[:75]), result(apart, rising[75:])) == (None, 0)


def test_any_two_maps_of_the_results_are_compared(slide):
    grid = cover(slide, mpp=1.0, tile_px=20)
    rising = np.arange(150, dtype=np.float32)
    other = ScoreMap("Filters", "filter", np.stack([rising, -rising]))
    a, b = result(grid, rising), result(grid, np.ones(150), maps=(other,))
    assert agreement(a, b, choices=(MapChoice(), MapChoice("Filters", 1))) == (pytest.approx(-1), 150)


def test_two_slides_are_refused(slide):
    grid = cover(slide, mpp=1.0, tile_px=20)
    other = dataclasses.replace(grid, slide_fingerprint="b" * 32)
    with pytest.raises(BadRequest, match="run on two slides; compare results of one slide"):
        agreement(result(grid, np.arange(150)), result(other, np.arange(150)))
