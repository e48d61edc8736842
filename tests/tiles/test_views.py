"""Views read from stored levels: where they lie and which pixels they show."""

from __future__ import annotations

import numpy as np
import pytest
from shapely import box

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.slide import Level, open_slide
from napari_wsi_mil.tiles.views import RootFrame, Tally, choose_level, paper_level, read_views

RED, GREEN, BLUE = (200, 20, 30), (20, 180, 40), (10, 40, 220)


def flat(shape_yx, colour):
    return np.broadcast_to(np.array(colour, np.uint8), (*shape_yx, 3)).copy()


def noise(shape_yx, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*shape_yx, 3)).astype(np.uint8)


def means(pixels, n):
    h, w = pixels.shape[0] // n, pixels.shape[1] // n
    wide = pixels[: h * n, : w * n].astype(np.float64)
    return np.rint(wide.reshape(h, n, w, n, -1).mean((1, 3))).astype(np.uint8)


def read_one(slide, centre, side, px, **options):
    options = {"grey": 0} | options
    return read_views(slide, [centre], [side], px, **options).rgb[0]


# -- where regions lie -----------------------------------------------------------------------------------------


def test_the_root_is_the_square_around_the_slide(array_slide):
    frame = RootFrame.of(array_slide(flat((100, 400), RED)))
    assert frame == RootFrame((50.0, 200.0), 400.0)
    centres, sides = frame.to_level0(np.array([[0, 0], [-1, 1], [0.5, -0.25]]), np.array([1, 0.5, 0.05]))
    assert centres.tolist() == [[50, 200], [-150, 400], [150, 150]]
    assert sides.tolist() == [400, 200, 20]


def test_the_root_of_a_region_is_the_square_around_all_its_parts(array_slide):
    slide = array_slide(flat((100, 400), RED))
    frame = RootFrame.of(slide, [box(10, 20, 30, 30), box(20, 40, 25, 60)])  # y0, x0, y1, x1
    assert frame == RootFrame((20.0, 40.0), 40.0)
    for empty in ([], [box(5, 5, 5, 5)]):
        with pytest.raises(BadRequest, match=r"aaaa\.arr: the region is empty, expected a polygon with an area"):
            RootFrame.of(slide, empty)


def test_the_coarsest_level_with_enough_pixels_is_chosen():
    shapes = [(80000, 90000), (20000, 22500), (4999, 5625), (1250, 1406)]
    levels = [Level(s, (80000 / s[0], 90000 / s[1]), (256, 256)) for s in shapes]
    assert [choose_level(levels, side, 112) for side in (112 * 64, 112 * 64 - 100, 112 * 16, 112 * 4, 111, 5)] == [
        3, 2, 2, 1, 0, 0,
    ]  # fmt: skip
    assert choose_level(levels, 112 * 63, 112) == 2  # more than 1 % short of 112 px at 64
    assert choose_level(levels, 448 * 64, 448) == 3


@pytest.mark.parametrize(
    ("roi_hw", "expected"),
    [
        ((100000, 50000), (0, 0, 0, 8)), ((50000, 25000), (1, 1, 1, 7)), ((50001, 25001), (0, 0, 0, 8)),
        ((50000, 12500), (1, 2, 2, 6)), ((391, 171), (7, 8, 8, 0)), ((150, 100), (9, 8, 9, 0)),
    ],
)  # fmt: skip
def test_the_papers_table_of_levels(roi_hw, expected):
    assert paper_level(roi_hw, (100000, 50000), m_max=8) == expected


# -- which pixels ----------------------------------------------------------------------------------------------


def test_a_view_is_the_mean_of_the_pixels_under_each_cell(array_slide):
    pixels = noise((96, 96))
    slide = array_slide(pixels)
    assert np.array_equal(read_one(slide, (48, 48), 96, 24), means(pixels, 4))
    assert np.array_equal(read_one(slide, (48, 48), 48, 24), means(pixels[24:72, 24:72], 2))
    assert np.array_equal(read_one(slide, (48, 48), 24, 24), pixels[36:60, 36:60])


def test_cells_between_pixels_weigh_them_by_area(array_slide):
    pixels = np.zeros((4, 4, 3), np.uint8)
    pixels[:, 1] = 90
    pixels[:, 2] = 210
    view = read_one(array_slide(pixels), (1.5, 2.25), 3, 2)  # columns 0.75 to 3.75, cells of 1.5 px
    assert view[:, :, 0].tolist() == [[95, 105]] * 2  # (90 + 210 / 4) / 1.5 and (210 * 0.75 + 0) / 1.5


def test_views_larger_than_a_tile_have_no_seams(array_slide):
    pixels = noise((700, 900))
    slide = array_slide(pixels)
    view = read_one(slide, (350, 450), 640, 160)
    assert np.array_equal(view, means(pixels[30:670, 130:770], 4))


def test_what_is_outside_the_slide_is_black(array_slide):
    slide = array_slide(flat((40, 80), GREEN))
    whole = read_one(slide, (20, 40), 80, 40)
    assert (whole[10:30] == GREEN).all()
    assert not whole[:10].any()
    assert not whole[30:].any()
    count = Tally()
    half = read_one(slide, (0, 0), 20, 10, count=count)
    assert (half[5:, 5:] == GREEN).all()
    assert not half[:5].any()
    assert not half[:, :5].any()
    assert count.pixels == 25
    count = Tally()
    assert not read_one(slide, (-100, 500), 50, 8, count=count).any()
    assert count == Tally(0, 0, 0, 0)


def test_cells_on_the_edge_show_the_slide_where_half_of_them_does(array_slide):
    slide = array_slide(flat((10, 10), BLUE))
    view = read_one(slide, (10, 5), 8, 2)  # rows 6..10..14, columns 1..5..9
    assert (view[0] == BLUE).all()
    assert not view[1].any()
    assert (read_one(slide, (8, 5), 8, 2) == BLUE).all()  # rows 4..8..12: half of the second lies inside
    assert not read_one(slide, (8.2, 5), 8, 2)[1].any()


def test_too_few_pixels_are_interpolated(array_slide):
    pixels = np.zeros((2, 2, 3), np.uint8)
    pixels[:, 1] = 200
    view = read_one(array_slide(pixels), (1, 1), 2, 8)
    assert view[0, :, 0].tolist() == [0, 0, 25, 75, 125, 175, 200, 200]
    assert (view == view[:1]).all()


def test_a_slide_smaller_than_a_view(array_slide):
    view = read_one(array_slide(flat((30, 60), RED)), (15, 30), 60, 112)
    assert (view[28:84] == RED).all()
    assert not view[:28].any()
    assert not view[84:].any()


@pytest.mark.parametrize("shape", [(16, 4000), (4000, 16)])
def test_extreme_aspect_ratios(array_slide, shape):
    slide = array_slide(flat(shape, RED))
    frame = RootFrame.of(slide)
    view = read_one(slide, frame.centre_yx0, frame.side_px0, 112)
    assert not view.any()  # 16 px of 4000 fill no half cell of 36 px
    view = read_one(slide, frame.centre_yx0, 112, 112)
    assert int((view == RED).all(-1).sum()) == 16 * 112


def test_each_view_is_read_from_its_own_level(array_slide):
    slide = array_slide([flat((640, 640), RED), flat((160, 160), GREEN), flat((40, 40), BLUE)], mpp=None)
    found = read_views(slide, [(320, 320)] * 4, [640, 320, 150, 16], 40)
    assert found.levels == (2, 1, 0, 0)
    assert [found.rgb[k, 20, 20].tolist() for k in range(4)] == [list(BLUE), list(GREEN), list(RED), list(RED)]
    steps = array_slide([flat((1600, 1600), RED), flat((100, 100), BLUE)])  # 1:16, nothing between
    assert read_views(steps, [(800, 800)] * 3, [1600, 1590, 800], 100).levels == (1, 1, 0)


def test_levels_of_inexact_size_are_placed_by_their_own_ratio(array_slide):
    fine = flat((1000, 1003), RED)
    coarse = flat((249, 251), RED)
    coarse[:, 200:] = GREEN  # from level-0 column 200 * 1003 / 251 = 799.2
    found = read_views(array_slide([fine, coarse]), [(500, 799.2)], [448], 112)
    assert found.levels == (1,)
    assert (found.rgb[0, :, :56] == RED).all()
    assert (found.rgb[0, :, 56:106] == GREEN).all()
    assert not found.rgb[0, :, 107:].any()  # the slide ends at column 1003, in cell 106.95


def test_glass_is_black_after_the_pixels_were_averaged(array_slide):
    pixels = flat((8, 8), (200, 200, 200))
    pixels[:, :4:2] = (255, 0, 0)  # one half: red stripes on grey; their mean has colour
    pixels[:4, 4:] = (120, 134, 128)  # 14 apart
    pixels[4:, 4:] = (120, 135, 128)  # 15 apart
    view = read_views(array_slide(pixels), [(4, 4)], [8], 4).rgb[0]
    assert view[:2, 2:].tolist() == [[[0, 0, 0]] * 2] * 2
    assert view[2:, 2:].tolist() == [[[120, 135, 128]] * 2] * 2
    assert view[:, :2].tolist() == [[[228, 100, 100]] * 2] * 4


def test_grey_16_bit_and_transparent_pixels(array_slide):
    grey = np.full((8, 8), 130, np.uint8)
    deep = np.full((8, 8, 3), 300, np.uint16) * np.array([100, 2, 1], np.uint16)
    clear = np.dstack([flat((8, 8), RED), np.full((8, 8), 0, np.uint8)])
    clear[4:, :, 3] = 255
    assert (read_one(array_slide(grey), (4, 4), 8, 4) == 130).all()
    assert (read_one(array_slide(deep), (4, 4), 8, 4) == (117, 2, 1)).all()
    view = read_one(array_slide(clear), (4, 4), 8, 4, grey=15)
    assert not view[:2].any()  # white glass behind what is clear
    assert (view[2:] == RED).all()


def test_a_level_at_its_own_resolution_comes_as_it_is(tiny_svs):
    with open_slide(tiny_svs) as slide:
        for side, px in ((448, 112), (100, 100)):
            corner = (520 - side / 2, 700 - side / 2)
            other = slide.read_region(corner, (px, px), downsample=side / px)
            assert np.array_equal(read_one(slide, (520, 700), side, px), other)
