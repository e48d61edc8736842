"""Outlines painted, erased, cut, joined and smoothed."""

import numpy as np
import pytest
from shapely import MultiPolygon, Point, Polygon, box
from shapely.affinity import translate

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.results.object_edits import (
    EditWindow,
    edit_window,
    joined,
    outline_of,
    painted,
    pieces,
    simplified,
)

DISC = Point(500.3, 700.7).buffer(60, quad_segs=16)


def test_a_window_holds_the_outline_with_room_and_stays_on_the_slide():
    window = edit_window(box(100, 200, 140, 280), (1000, 1000))
    assert window == EditWindow((68.0, 160.0), (104, 160), 1)
    assert window.mask(box(100, 200, 140, 280)).sum() == 40 * 80
    edge = edit_window(box(0, 0, 40, 40), (50, 1000))
    assert edge == EditWindow((0.0, 0.0), (50, 72), 1)
    beyond = edit_window(box(-5, 0, 40, 40), (30, 1000))  # outlines of other programs may reach beyond
    assert beyond.corner_yx0[0] == -5
    assert beyond.shape[0] == 45


def test_a_large_object_gets_a_coarser_window():
    window = edit_window(box(0, 0, 10000, 6000), (20000, 20000))
    assert window.step == 8
    assert max(window.shape) <= 2048
    assert window.mask(box(0, 0, 10000, 6000)).sum() * 64 == 10000 * 6000


def test_a_mask_and_its_outline():
    mask = np.zeros((6, 8), bool)
    mask[1:5, 1:6] = True
    mask[2, 2] = False
    outline = outline_of(mask, (100, 200), step=4, simplify_px=0)
    assert outline.area == 19 * 16
    assert outline.bounds == (104, 204, 120, 224)
    assert len(outline.interiors) == 1
    mask[0, 7] = True
    assert len(outline_of(mask).geoms) == 2
    assert outline_of(np.zeros((3, 3), bool)) is None


def test_painting_nothing_changes_nothing():
    window = edit_window(DISC, (2000, 2000))
    assert painted(DISC, window, window.mask(DISC)) is DISC


def test_painting_changes_the_outline_only_there():
    window = edit_window(DISC, (2000, 2000))
    mask = window.mask(DISC)
    y, x = (int(v) for v in (500 - window.corner_yx0[0], 700 - window.corner_yx0[1]))
    mask[y - 5 : y + 5, x + 50 : x + 75] = True  # a bump on the right
    mask[y - 8 : y, x - 20 : x - 10] = False  # and a hole
    new = painted(DISC, window, mask)
    assert new.is_valid
    assert len(new.interiors) == 1
    assert Polygon(new.interiors[0]).area == pytest.approx(80, abs=3)
    assert (window.mask(new) ^ mask).sum() <= 2
    far = box(400, 600, 600, 675)  # left of both changes
    assert new.intersection(far).equals(DISC.intersection(far))


def test_erasing_may_cut_in_two_or_leave_nothing():
    window = edit_window(DISC, (2000, 2000))
    mask = window.mask(DISC)
    middle = int(700 - window.corner_yx0[1])
    mask[:, middle - 4 : middle + 4] = False
    new = painted(DISC, window, mask)
    assert len(new.geoms) == 2
    assert painted(DISC, window, np.zeros(window.shape, bool)) is None
    with pytest.raises(BadRequest, match=r"expected a mask of \(\d+, \d+\) pixels, got \(3, 3\)"):
        painted(DISC, window, np.zeros((3, 3), bool))


def test_painting_again_and_again_leaves_no_crumbs():
    rng = np.random.default_rng(0)
    shape = DISC
    for _ in range(20):
        window = edit_window(shape, (2000, 2000))
        mask = window.mask(shape)
        y, x = (int(rng.integers(0, n - 12)) for n in mask.shape)
        mask[y : y + 12, x : x + 12] = rng.random() < 0.6
        shape = painted(shape, window, mask)
        assert shape.is_valid
        parts = getattr(shape, "geoms", [shape])
        assert min(part.area for part in parts) >= 0.25
        assert all(Polygon(ring).area >= 0.25 for part in parts for ring in part.interiors)
        assert (window.mask(shape) ^ mask).sum() <= 4


def test_a_line_cuts_a_square_in_two():
    found = pieces(box(0, 0, 10, 10), [(3, -1), (3, 11)])
    assert [piece.area for piece in found] == [70, 30]


def test_a_line_may_cut_often_and_cross_itself():
    zigzag = pieces(box(0, 0, 10, 30), [(-1, 5), (11, 10), (-1, 15), (11, 20)])
    assert len(zigzag) == 4
    assert sum(piece.area for piece in zigzag) == pytest.approx(300)
    loop = pieces(box(0, 0, 20, 20), [(10, -1), (10, 15), (4, 15), (4, 8), (21, 8)])
    assert sum(piece.area for piece in loop) == pytest.approx(400)
    assert all(piece.is_valid for piece in loop)


def test_parts_that_are_not_cut_stay_with_the_nearest_piece():
    shape = MultiPolygon([box(0, 0, 10, 10), box(0, 12, 2, 14), box(0, -5, 1, -4)])
    found = pieces(shape, [(-1, 5), (11, 5)])
    assert [piece.area for piece in found] == [54, 51]
    assert found[0].bounds == (0, 5, 10, 14)


@pytest.mark.parametrize("line", [[(3, 1), (3, 5)], [(50, 50), (60, 60)], [(3, -1), (3, 5)]])
def test_a_line_that_cuts_nothing_off_is_refused(line):
    with pytest.raises(BadRequest, match="from edge to edge"):
        pieces(box(0, 0, 10, 10), line)


def test_a_line_into_a_hole_only_opens_the_ring():
    ring = box(0, 0, 10, 10).difference(box(3, 3, 7, 7))
    with pytest.raises(BadRequest, match="from edge to edge"):
        pieces(ring, [(5, -1), (5, 5)])
    assert [piece.area for piece in pieces(ring, [(5, -1), (5, 11)])] == [42, 42]


@pytest.mark.parametrize("line", [[(0, 0)], [(0, 0, 1), (1, 1, 1)], [(0, float("nan")), (1, 1)], []])
def test_a_line_that_is_none_is_refused(line):
    with pytest.raises(BadRequest, match="at least two finite places"):
        pieces(box(0, 0, 10, 10), line)


def test_joining_what_touches_and_what_does_not():
    a, b = box(0, 0, 10, 10), box(0, 5, 10, 20)
    assert joined([a, b]).area == 200
    assert joined([a, translate(a, 30)]).geom_type == "MultiPolygon"
    with pytest.raises(BadRequest, match="got none"):
        joined([])


def test_smoothing():
    simple = simplified(DISC, 2.0)
    assert len(simple.exterior.coords) < len(DISC.exterior.coords) / 2
    assert simple.hausdorff_distance(DISC) <= 2.0
    assert simplified(DISC, 0).equals(DISC)
    assert simplified(DISC, 1e6).area > 0
    with pytest.raises(BadRequest, match="expected a distance"):
        simplified(DISC, float("nan"))
