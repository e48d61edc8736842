"""Pictures of large levels that spare a second reading: what is drawn from them, how exact it is, what is counted."""

from __future__ import annotations

import numpy as np
import pytest

from napari_wsi_mil.errors import SlideReadError
from napari_wsi_mil.slide import Box
from napari_wsi_mil.tiles.coarse import LEAST_CELLS, CoarsePictures
from napari_wsi_mil.tiles.views import Tally, read_views


def noise(shape_yx, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*shape_yx, 3)).astype(np.uint8)


def views(slide, places, px=32, **options):
    """Read squares (y, x, side)."""
    centres, sides = [p[:2] for p in places], [p[2] for p in places]
    return read_views(slide, centres, sides, px, grey=0, **options).rgb.astype(int)


@pytest.fixture
def coarse():
    """64 cells along the longer side, of levels from 100,000 pixels on."""
    return CoarsePictures(long_side=64, least_px=100_000)


WHOLE = (256, 256, 512)


def test_a_large_level_is_read_once_for_all_views_that_need_little_of_its_detail(array_slide, coarse):
    slide, count = array_slide(noise((512, 512))), Tally()
    views(slide, [WHOLE], px=16, count=count, coarse=coarse)
    assert (count.file_tiles, count.file_pixels, slide._source.reads) == (4, 512 * 512, 4)
    views(slide, [WHOLE, (300, 200, 400)], px=16, count=count, coarse=coarse)
    assert (count.file_tiles, count.file_pixels, slide._source.reads) == (4, 512 * 512, 4)
    assert count.pixels == 3 * 16 * 16
    views(slide, [(300, 200, 400)], px=17, count=count, coarse=coarse)  # 23.5 px: less than three cells of 8
    assert (count.file_tiles, slide._source.reads) == (8, 8)


def test_views_of_whole_cells_are_the_same_to_the_bit(array_slide, coarse):
    slide = array_slide(noise((512, 512)))
    first = views(slide, [WHOLE], px=16, coarse=coarse)
    places = [WHOLE, (256, 256, 256), (128, 320, 256), (0, 448, 512), (-200, 0, 512)]
    for px in (2, 4, 8):
        drawn = views(slide, places, px=px, coarse=coarse)
        assert slide._source.reads == 4
        assert np.array_equal(drawn, views(array_slide(noise((512, 512))), places, px=px))
    assert np.array_equal(views(slide, [WHOLE], px=16, coarse=coarse), first)


@pytest.mark.parametrize("shape", [(512, 512), (500, 300), (211, 700)])
def test_other_views_are_as_near_as_is_promised(array_slide, coarse, shape):
    pixels = noise(shape, seed=2)
    slide, rng = array_slide(pixels), np.random.default_rng(1)
    side = max(shape)
    views(slide, [(shape[0] / 2, shape[1] / 2, side)], coarse=coarse)
    reads = slide._source.reads
    places = [(*(rng.uniform(0, n) for n in shape), rng.uniform(0.4, 1) * side) for _ in range(40)]
    drawn, direct = views(slide, places, px=8, coarse=coarse), views(array_slide(pixels), places, px=8)
    assert slide._source.reads == reads
    cell = side / 64
    for k, place in enumerate(places):
        cells = place[2] / 8 / cell
        assert cells >= LEAST_CELLS
        assert np.abs(drawn[k] - direct[k]).max() <= 255 / cells + 1
    assert np.array_equal(drawn.any(-1), direct.any(-1))
    assert np.abs(drawn - direct).mean() < 2


def test_even_colours_stay_and_the_edge_of_the_slide_is_where_it_was(array_slide, coarse):
    pixels = np.full((333, 512, 3), (90, 140, 200), np.uint8)
    slide = array_slide(pixels)
    views(slide, [(166.5, 256, 512)], coarse=coarse)
    places = [(20, 30, 300), (333, 500, 290), (166.5, 256, 512), (100, 100, 257)]
    drawn = views(slide, places, px=8, coarse=coarse)
    assert np.array_equal(drawn, views(array_slide(pixels), places, px=8))
    assert slide._source.reads == 4


def test_a_picture_of_a_part_serves_only_what_lies_in_it(array_slide, coarse):
    pixels = noise((1024, 1024))
    slide = array_slide(pixels)
    views(slide, [(300.3, 400.7, 400)], coarse=coarse)
    reads = slide._source.reads
    for place in [(300.3, 400.7, 400), (350, 350, 280)]:
        drawn, direct = (
            views(s, [place], px=8, **o) for s, o in ((slide, {"coarse": coarse}), (array_slide(pixels), {}))
        )
        assert np.abs(drawn - direct).max() <= 12
        assert slide._source.reads == reads
    views(slide, [(350, 450, 400)], px=8, coarse=coarse)
    assert slide._source.reads > reads


def test_small_levels_and_broken_readings_leave_no_picture(array_slide, coarse):
    small = array_slide(noise((300, 300)))
    for _ in range(2):
        views(small, [(150, 150, 300)], coarse=coarse)
    assert small._source.reads == 8
    broken = array_slide(noise((512, 512)), broken=Box(400, 400, 4, 4))
    for _ in range(2):
        with pytest.raises(SlideReadError, match="region number 1"):
            views(broken, [WHOLE], coarse=coarse)


def test_each_level_has_a_picture_of_its_own(array_slide, coarse):
    fine, half = noise((1400, 1400)), noise((700, 700), seed=1)
    slide = array_slide([fine, half])
    for _ in range(2):
        found = read_views(slide, [(700, 700), (600, 700)], [1400, 1400], 16, grey=0, coarse=coarse)
        assert found.levels == (1, 1)
    reads = slide._source.reads
    assert reads == 9
    fresh = [
        views(slide, [(700, 700, 690)], px=400, coarse=coarse) for _ in range(2)
    ]  # level 0, too fine for a picture
    assert slide._source.reads > reads
    assert np.array_equal(*fresh)
