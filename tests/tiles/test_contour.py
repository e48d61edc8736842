"""Which parts of a mask a prompt means, and outlines between its cells."""

from __future__ import annotations

import numpy as np
import pytest
from shapely import MultiPolygon, Polygon

from napari_wsi_mil.tiles.contour import Meant, meant_part, smooth_outline, smoothed, touched

NONE = np.zeros((0, 2))


def boxes(*corners, side=40):
    out = np.zeros((side, side), bool)
    for y0, x0, y1, x1 in corners:
        out[y0:y1, x0:x1] = True
    return out


def meant(*positive, beside=(), region=None):
    return Meant(np.reshape(positive, (-1, 2)).astype(float), np.reshape(beside, (-1, 2)).astype(float), region)


def test_a_point_means_the_part_it_lies_on_or_nearly():
    mask = boxes((2, 2, 10, 10), (20, 20, 30, 30))
    assert np.array_equal(meant_part(mask, meant((5.5, 5.5))), boxes((2, 2, 10, 10)))
    assert np.array_equal(meant_part(mask, meant((31.5, 25))), boxes((20, 20, 30, 30)))
    assert np.array_equal(meant_part(mask, meant((5, 5), (25, 25))), mask)


def test_a_point_on_nothing_means_the_nearest_part_but_not_a_far_one():
    mask = boxes((20, 20, 30, 30), side=64)
    assert meant_part(mask, meant((33.2, 25.5))).any()
    assert not meant_part(mask, meant((38, 25))).any()
    assert not meant_part(np.zeros((9, 9), bool), meant((4, 4))).any()


def test_a_region_means_the_parts_that_lie_in_it_by_half_without_specks():
    mask = boxes((2, 2, 12, 12), (8, 20, 18, 30), (30, 2, 31, 3), (30, 30, 38, 38))
    region = boxes((0, 0, 40, 25))
    assert np.array_equal(meant_part(mask, meant(region=region)), boxes((2, 2, 12, 12), (8, 20, 18, 30)))


def test_a_region_leaves_out_edges_of_neighbours_unless_a_point_is_on_them():
    mask, region = boxes((2, 2, 12, 12), (20, 2, 21, 21), (30, 2, 35, 6)), boxes((0, 0, 40, 25))
    assert np.array_equal(meant_part(mask, meant(region=region)), boxes((2, 2, 12, 12), (30, 2, 35, 6)))
    assert np.array_equal(meant_part(mask, meant((20.5, 9), region=region)), mask)


def test_a_point_beside_drops_its_part_unless_another_lies_on_it():
    mask = boxes((2, 2, 10, 10), (20, 20, 30, 30))
    everywhere = np.ones_like(mask)
    assert np.array_equal(meant_part(mask, meant(beside=(25, 25), region=everywhere)), boxes((2, 2, 10, 10)))
    assert np.array_equal(meant_part(mask, meant((5, 5), beside=(4, 4))), boxes((2, 2, 10, 10)))


def test_small_holes_are_filled_unless_a_point_is_in_them():
    mask = boxes((2, 2, 20, 20))
    mask[5, 5:8], mask[10:12, 10:12] = False, False
    filled = meant_part(mask, meant((15, 15)))
    assert filled[5, 5:8].all()
    assert not filled[10:12, 10:12].any()
    assert not meant_part(mask, meant((15, 15), beside=(5.5, 6.5)))[5, 5:8].any()


def test_edges_that_are_touched():
    assert touched(boxes((0, 5, 10, 8)), least=3) == (True, False, False, False)
    assert touched(boxes((0, 5, 10, 7)), least=3) == (False, False, False, False)
    assert touched(boxes((5, 0, 40, 40)), least=2) == (False, True, True, True)


def disc(side=64, centre=(30.3, 33.8), radius=11.7, inner=0.0):
    y, x = np.mgrid[:side, :side] + 0.5
    apart = np.hypot(y - centre[0], x - centre[1])
    return np.minimum(radius - apart, apart - inner if inner else np.inf).astype(np.float32)


def test_an_outline_runs_between_cells_where_the_logits_say():
    logits = disc()
    outline = smooth_outline(logits, logits > 0)
    assert isinstance(outline, Polygon)
    away = np.hypot(*(np.asarray(outline.exterior.coords) - (30.3, 33.8)).T)
    assert np.abs(away - 11.7).max() < 0.04
    assert outline.area == pytest.approx(np.pi * 11.7**2, rel=0.01)
    assert len(outline.exterior.coords) < 60


def test_holes_and_several_parts():
    ring = disc(inner=5.2)
    outline = smooth_outline(ring, ring > 0)
    assert len(outline.interiors) == 1
    assert outline.area == pytest.approx(np.pi * (11.7**2 - 5.2**2), rel=0.01)
    both = np.maximum(ring, disc(centre=(55.0, 8.0), radius=4.0))
    parts = smooth_outline(both, both > 0)
    assert isinstance(parts, MultiPolygon)
    assert sorted(len(part.interiors) for part in parts.geoms) == [0, 1]
    assert parts.is_valid
    one = smooth_outline(both, (both > 0) & (np.mgrid[:64, :64][0] < 45))
    assert one.equals_exact(outline, 0)


def test_what_touches_the_border_ends_on_it():
    logits = np.full((16, 16), -8, np.float32)
    logits[:4, 12:] = 8
    outline = smooth_outline(logits, logits > 0)
    assert outline.bounds == (0.0, 12.0, 4.0, 16.0)
    assert smooth_outline(np.ones((4, 4), np.float32), np.ones((4, 4), bool)).bounds == (0.0, 0.0, 4.0, 4.0)
    assert smooth_outline(logits, np.zeros((16, 16), bool)).is_empty


def test_noise_gives_valid_outlines():
    rng = np.random.default_rng(0)
    for _ in range(40):
        logits = rng.normal(0, 3, (24, 24)).astype(np.float32)
        outline = smooth_outline(logits, meant_part(logits > 0, meant(*rng.uniform(0, 24, (3, 2)))))
        assert outline.is_valid


def test_steps_along_a_straight_edge_go_and_the_edge_stays():
    logits = np.full((32, 32), -9, np.float32)
    logits[8:24, 8:24] = 9
    assert smoothed(logits, 0) is logits
    outline = smooth_outline(smoothed(logits, 0.8), smoothed(logits, 0.8) > 0)
    assert outline.bounds == pytest.approx((8, 8, 24, 24), abs=1e-3)
    assert outline.area == pytest.approx(253.04, abs=0.01)  # corners are round
    logits[7, 9:23:2] = 9  # teeth
    teeth, calm = (smooth_outline(f, f > 0) for f in (logits, smoothed(logits, 0.8)))
    assert (round(teeth.length, 1), round(calm.length, 1)) == (68.6, 61.9)
