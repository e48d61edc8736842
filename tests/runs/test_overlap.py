"""Shares inside the views of a zoom, by hand and against thrown squares."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shapely

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.results import Attention, ModelRef
from napari_wsi_mil.runs.chance import anywhere, area_points, on_tissue
from napari_wsi_mil.runs.overlap import overlap, view_boxes
from napari_wsi_mil.tiles import TileGrid, TissueMask


def _zoom_results():
    spec = importlib.util.spec_from_file_location("zoom_results", Path(__file__).parent.parent / "zoom_results.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


made = _zoom_results().trajectory
REF = ModelRef("x", "1" * 64)
SHAPE = (4096, 6144)


def attention(cells, raw, *, fingerprint="f" * 32) -> Attention:
    grid = TileGrid(1.0, 128, 128, 4.0, np.array(cells, np.int32), SHAPE, fingerprint)
    return Attention(
        "made-up.svs", (0.25, 0.25), grid, REF, REF, "Head", ("no", "yes"), np.zeros(2, np.float32),
        np.array([raw], np.float32), "CPU",
    )  # fmt: skip


def two_boxes():
    """Two final views of side 1536: one at (-256..1280, 768..2304), one at (2816..4352, 3840..5376)."""
    return made((2,))


def test_shares_by_hand():
    result = two_boxes()
    assert [shapely.bounds(b).tolist() for b in view_boxes(result, 1)] == [
        [-256, 768, 1280, 2304], [2816, 3840, 4352, 5376],
    ]  # fmt: skip
    # tiles of 512: (0, 2) lies inside, (0, 1) half inside, (2, 2) half (y to 1280), (7, 11) outside
    found = attention([(0, 2), (0, 1), (2, 2), (7, 11)], np.log([0.4, 0.3, 0.2, 0.1]))
    truth = [shapely.box(0, 0, 100, 1000), shapely.box(50, 0, 100, 1000), shapely.Point(3, 3)]
    (final,) = overlap(result, attention=found, truth=truth)
    assert (final.depth, final.n_views) == (1, 2)
    assert final.attention.views == pytest.approx(0.4 + 0.15 + 0.1)
    assert final.area.views == pytest.approx(2 * 1280 * 1536 / (4096 * 6144))
    assert final.truth.views == pytest.approx(0.232)  # x from 768 to 1000 of 1000, the overlap of both counted once
    assert (final.touched.views, final.views_touching) == (1, 1)
    assert final.tissue.views == pytest.approx((1 + 0.5 + 0.5 + 0) / 4)
    assert 0 < final.touched.random < 1
    assert 0 < final.touched.tissue < 1
    plain = overlap(result)[-1]
    assert (plain.attention, plain.truth, plain.touched, plain.views_touching) == (None, None, None, None)
    assert plain.area.tissue is None


def thrown(result, chance_of_centre, draws=600, seed=5):
    """Return boxes (draws, n, 4) of the final sizes at random centres."""
    rng = np.random.default_rng(seed)
    sides = np.array([result.nodes[i].side_px0 for i in result.finals])
    centres = chance_of_centre(rng, (draws, len(sides)))
    return np.concatenate([centres - sides[:, None] / 2, centres + sides[:, None] / 2], -1)


def test_chance_is_what_throwing_gives():
    result = made((3, 2, 3))
    lesion = shapely.Point(1500, 2500).buffer(300)
    tissue = np.zeros((64, 96), bool)
    tissue[10:40, 20:60] = True
    mask = TissueMask(tissue, (64.0, 64.0), SHAPE, "drawn")
    found = attention([(2, 4), (3, 5)], np.log([0.75, 0.25]))
    final = overlap(result, attention=found, truth=[lesion], tissue=mask)[-1]

    def on_slide(rng, shape):
        return rng.uniform((0, 0), SHAPE, (*shape, 2))

    def on_mask(rng, shape):
        return rng.uniform((640, 1280), (2560, 3840), (*shape, 2))

    ground = shapely.box(640, 1280, 2560, 3840)
    inside = shapely.union_all(view_boxes(result, 3)).intersection(ground)
    assert final.tissue.views == pytest.approx(inside.area / ground.area, abs=0.01)
    middles, weights = area_points([lesion])
    for centres, name in ((on_slide, "random"), (on_mask, "tissue")):
        boxes = thrown(result, centres)
        unions = shapely.union_all(shapely.box(*np.moveaxis(boxes, -1, 0)), axis=1)
        touching = shapely.intersects(unions, lesion).mean()
        assert getattr(final.touched, name) == pytest.approx(touching, abs=0.06)
        ours = shapely.area(shapely.intersection(unions, ground)).mean() / ground.area
        assert getattr(final.tissue, name) == pytest.approx(ours, abs=0.05)
        inside = shapely.area(shapely.intersection(unions, lesion)).mean() / lesion.area
        assert getattr(final.truth, name) == pytest.approx(inside, abs=0.05)
        tiles = shapely.box([1024, 1536], [2048, 2560], [1536, 2048], [2560, 3072])
        mass = [shapely.area(shapely.intersection(unions, tile)).mean() / 512**2 for tile in tiles]
        assert getattr(final.attention, name) == pytest.approx(0.75 * mass[0] + 0.25 * mass[1], abs=0.05)
    assert len(middles) == pytest.approx(4000, rel=0.1)
    assert weights.sum() == pytest.approx(1)


def test_chance_by_hand():
    chance = anywhere((1000, 2000))
    # a square of side 500 covers the middle with probability 500 * 500 / area, a corner with a quarter of it
    assert chance.covered(np.array([[500.0, 1000.0], [0.0, 0.0]]), [500.0]) == pytest.approx([0.125, 0.03125])
    assert chance.covered(np.array([[500.0, 1000.0]]), [500.0, 500.0]) == pytest.approx([1 - 0.875**2])
    assert chance.covered(np.array([[500.0, 1000.0]]), [9000.0]) == pytest.approx([1])
    # a 100 px truth is touched from up to 250 px around: 600 * 600 of 2e6
    assert chance.touching([shapely.box(450, 950, 550, 1050)], [500.0]) == pytest.approx(0.18, rel=0.02)
    assert chance.touching([shapely.box(500, 1000, 500.5, 1000.5)], [500.0]) == pytest.approx(0.125, rel=0.02)


def test_tiles_stand_for_tissue():
    grid = TileGrid(1.0, 128, 128, 4.0, np.array([(0, 0), (0, 1)], np.int32), SHAPE, "f" * 32)
    chance = on_tissue(grid)
    assert chance.density.sum() == pytest.approx(1)
    assert chance.covered(np.array([[256.0, 512.0]]), [512.0]) == pytest.approx([0.5], abs=0.02)
    assert on_tissue(TissueMask(np.zeros((4, 6), bool), (1024.0, 1024.0), SHAPE, "drawn")) is None


def test_small_parts_of_a_truth_keep_their_weight():
    big, small = shapely.box(0, 0, 1000, 1000), shapely.box(2000, 2000, 2010, 2010)
    points, weights = area_points([shapely.MultiPolygon([big, small])], wanted=100)
    assert weights[points[:, 0] > 1500].sum() == pytest.approx(1e-4, rel=0.01)
    assert (points[:, 0] > 1500).sum() == 1


def test_refuses():
    result = two_boxes()
    with pytest.raises(BadRequest, match="results of one slide"):
        overlap(result, attention=attention([(0, 0)], [0.0], fingerprint="e" * 32))
    with pytest.raises(BadRequest, match="without area"):
        overlap(result, truth=[shapely.Point(1, 1)])
    with pytest.raises(BadRequest, match="find the tissue of the same slide"):
        overlap(result, tissue=TissueMask(np.ones((4, 6), bool), (64.0, 64.0), (256, 384), "drawn"))
    assert overlap(replace(result, views=()))[-1].n_views == 2
