"""Which window suits a prompt, and what is seen through it."""

from __future__ import annotations

import numpy as np
import pytest

from napari_wsi_mil.errors import BadRequest, SlideReadError
from napari_wsi_mil.slide import Box
from napari_wsi_mil.tiles.views import Tally
from napari_wsi_mil.tiles.windows import Window, choose_window, read_windows

WIDE = (100_000, 100_000)


def chosen(extent, *, mpp=0.25, card_mpp=0.5, side_px=256, slide_shape=WIDE, least=0):
    """Windows of step 0 have 512 level-0 pixels."""
    return choose_window(extent, mpp=mpp, card_mpp=card_mpp, side_px=side_px, slide_shape=slide_shape, least=least)


def around(y, x, size):
    return (y - size / 2, x - size / 2, y + size / 2, x + size / 2)


def test_a_click_lies_in_the_middle_half_of_a_shared_window():
    assert chosen(around(1000, 2000, 0)) == Window((1024.0, 2048.0), 512.0, 0)
    assert chosen(around(1151.9, 1920.1, 0)) == Window((1024.0, 2048.0), 512.0, 0)
    assert chosen(around(1153, 2000, 0)) == Window((1280.0, 2048.0), 512.0, 0)
    for y in np.linspace(3000, 3600, 61):
        window = chosen(around(y, y, 0))
        assert abs(window.centre_yx0[0] - y) <= 128


@pytest.mark.parametrize(("size", "step"), [(0, 0), (460, 0), (461, 1), (921, 1), (922, 2), (58_982, 7)])
def test_wider_prompts_take_coarser_windows(size, step):
    window = chosen(around(50_000, 50_000, size))
    assert (window.step, window.side_px0) == (step, 512.0 * 2**step)


def test_every_prompt_lies_in_its_window_whole():
    rng = np.random.default_rng(0)
    for _ in range(500):
        y0, x0 = rng.uniform(0, 90_000, 2)
        h, w = rng.uniform(0, 1, 2) ** 4 * (100_000 - np.array([y0, x0])) * 0.5
        extent = (y0, x0, y0 + h, x0 + w)
        window = chosen(extent)
        assert window.holds(extent), extent
        top, left, bottom, right = window.extent_yx0
        assert (top >= 0 and left >= 0 and bottom <= 100_000 and right <= 100_000) or window.side_px0 > 100_000


def test_too_wide_for_any_window_is_one_sentence_in_the_slides_unit():
    with pytest.raises(BadRequest, match="prompt: 15000 um wide, the widest window of this model takes 14746 um"):
        chosen((0, 0, 60_000, 10))
    with pytest.raises(BadRequest, match="prompt: 60000 px wide, the widest window of this model takes 29491 px"):
        chosen((0, 0, 60_000, 10), mpp=None)


def test_windows_stay_on_the_slide_where_it_is_large_enough():
    assert chosen(around(10, 99_990, 0)).centre_yx0 == (256.0, 100_000 - 256.0)
    assert chosen(around(10, 10, 0), slide_shape=(300, 2000)).centre_yx0 == (150.0, 256.0)


def test_without_pixel_size_level_0_counts_as_the_models_own():
    assert chosen(around(1000, 1000, 0), mpp=None).side_px0 == 256.0
    assert chosen(around(1000, 1000, 0), mpp=1.0).side_px0 == 128.0
    assert chosen(around(1000, 1000, 0), mpp=2.0) == Window((992.0, 992.0), 64.0, 0)
    assert chosen(around(1000, 1000, 0), mpp=16.0) == Window((992.0, 992.0), 64.0, 3)


def test_steps_below_0_are_for_small_prompts_on_slides_that_have_the_pixels():
    small, larger = around(1000, 1000, 60), around(1000, 1000, 70)
    assert chosen(small, least=-1) == Window((1024.0, 1024.0), 256.0, -1)
    assert [chosen(larger, least=-1).step, chosen(small).step] == [0, 0]
    assert chosen(around(1000, 1000, 30), least=-1, mpp=0.5).step == 0


def test_places_go_to_a_view():
    window = Window((1024.0, 2048.0), 512.0, 0)
    assert window.extent_yx0 == (768.0, 1792.0, 1280.0, 2304.0)
    assert window.to_view([(769, 1793), (1280, 2304)], 256).tolist() == [[0.0, 0.0], [255.5, 255.5]]
    assert window.low == Window((1024.0, 2048.0), 1024.0, 1)


@pytest.fixture
def levels():
    fine = np.random.default_rng(0).integers(0, 200, (800, 1000, 3)).astype(np.uint8)
    return [fine, np.rint(fine.reshape(200, 4, 250, 4, 3).mean((1, 3))).astype(np.uint8)]


def test_a_window_is_read_as_it_is_and_white_beyond_the_slide(array_slide, levels):
    slide = array_slide(levels)
    high, low = read_windows(slide, [Window((100.0, 132.0), 64.0), Window((0.0, 0.0), 64.0)], 64)
    assert np.array_equal(high, levels[0][68:132, 100:164])
    assert np.array_equal(low[32:, 32:], levels[0][:32, :32])
    assert (low[:32] == 255).all()
    assert (low[:, :32] == 255).all()


def test_grey_tissue_stays_and_the_coarse_level_serves_the_coarse_view(array_slide, levels):
    grey = [np.full_like(level, 100) for level in levels]
    tally = Tally()
    view = read_windows(array_slide(grey), [Window((400.0, 400.0), 256.0)], 64, count=tally)[0]
    assert (view == 100).all()
    assert tally.file_pixels == 64 * 64 or tally.file_pixels <= 200 * 250


def test_a_broken_tile_is_told_with_its_place(array_slide, levels):
    slide = array_slide(levels, broken=Box(0, 0, 10, 10))
    with pytest.raises(SlideReadError, match=r"region window \(64 px around row 32, column 32 of level 0\)"):
        read_windows(slide, [Window((32.0, 32.0), 64.0)], 64)
    assert read_windows(slide, [Window((332.0, 332.0), 64.0)], 64).shape == (1, 64, 64, 3)
