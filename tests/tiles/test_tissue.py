from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from shapely import MultiPolygon, Polygon

from napari_wsi_mil.errors import BadRequest, NoTissue, SlideReadError
from napari_wsi_mil.slide import Box, Channel, Slide
from napari_wsi_mil.ticks import Cancelled
from napari_wsi_mil.tiles import TissueMask, tissue_mask
from napari_wsi_mil.tiles.stain import CHROMA_BOUNDS, DARK_BOUNDS, ink, is_dark_field, tissue_score, white_point
from napari_wsi_mil.tiles.tissue import TissueOptions, tidy

GLASS = (243, 242, 244)
PINK = (214, 140, 184)
PALE = (236, 222, 233)
GREEN, BLUE, RED, BLACK = (40, 150, 70), (40, 70, 170), (205, 35, 45), (30, 28, 32)


def noisy(pixels, seed=0):
    noise = np.random.default_rng(seed).normal(0, 3, pixels.shape)
    return np.clip(pixels + noise, 0, 255).astype(np.uint8)


def ellipse(shape, *, centre, radii):
    y, x = np.indices(shape)
    return ((y - centre[0]) / radii[0]) ** 2 + ((x - centre[1]) / radii[1]) ** 2 < 1


def drawn(colour=PINK, shape=(600, 800)):
    """Return pixels and truth of an ellipse of tissue on glass; with mpp 8 a pixel is a mask pixel."""
    truth = ellipse(shape, centre=(300, 400), radii=(150, 220))
    pixels = np.empty((*shape, 3), np.float32)
    pixels[:] = GLASS
    pixels[truth] = colour
    return pixels, truth


def overlap(a, b):
    return (a & b).sum() / (a | b).sum()


@pytest.mark.parametrize("colour", [PINK, PALE, (120, 70, 140), (190, 170, 160)])
def test_stained_tissue_is_found_and_glass_is_not(array_slide, colour):
    pixels, truth = drawn(colour)
    found = tissue_mask(array_slide(noisy(pixels), mpp=8.0))
    assert found.mask.shape == (600, 800)
    assert found.downsample_yx == (1.0, 1.0)
    assert found.method == "colour over glass"
    assert overlap(found.mask, truth) > 0.97


@pytest.mark.parametrize("colour", [GREEN, BLUE, RED, BLACK])
def test_ink_is_left_out_beside_and_across_tissue(array_slide, colour):
    pixels, truth = drawn()
    pen = np.zeros(truth.shape, bool)
    pen[40:70, 100:700] = True
    pen[200:500, 560:580] = True
    pixels[pen] = colour
    pixels = ndimage.gaussian_filter(pixels, (1, 1, 0))
    found = tissue_mask(array_slide(noisy(pixels), mpp=8.0)).mask
    assert not found[pen].any()
    assert overlap(found, truth & ~ndimage.binary_dilation(pen, iterations=3)) > 0.95


def test_ink_counts_as_stain_when_told_so(array_slide):
    pixels, _ = drawn()
    pixels[40:70, 100:700] = BLUE
    found = tissue_mask(array_slide(noisy(pixels), mpp=8.0), options=TissueOptions(exclude_ink=False)).mask
    assert found[45:65, 110:690].all()


def test_white_fat_inside_counts_and_a_grey_shadow_does_not(array_slide):
    pixels, truth = drawn()
    pixels[ellipse(truth.shape, centre=(300, 420), radii=(40, 30))] = GLASS
    shadow = ellipse(truth.shape, centre=(480, 160), radii=(60, 90)) & ~truth
    pixels[shadow] = (175, 174, 176)
    found = tissue_mask(array_slide(noisy(pixels), mpp=8.0)).mask
    assert overlap(found, truth) > 0.95
    assert found[300, 420]
    assert not found[shadow & ~ndimage.binary_dilation(truth, iterations=3)].any()


def test_net_of_fat_cells_is_closed(array_slide):
    pixels, truth = drawn()
    y, x = np.indices(truth.shape)
    pixels[truth & (y % 5 > 0) & (x % 5 > 0) & (x > 400)] = GLASS
    found = tissue_mask(array_slide(noisy(pixels), mpp=8.0)).mask
    assert overlap(found, truth) > 0.93


def test_coverslip_edge_dust_and_tint_are_no_tissue(array_slide):
    pixels, truth = drawn()
    pixels[:, 770:773] = (150, 140, 165)
    pixels[20:24, 20:24] = PINK
    pixels *= np.array((0.97, 0.95, 0.86))
    found = tissue_mask(array_slide(noisy(pixels), mpp=8.0)).mask
    assert overlap(found, truth) > 0.97
    assert not found[:, 760:].any()
    assert not found[10:30, 10:30].any()


def test_slide_full_of_tissue_keeps_pale_and_dark_halves(array_slide):
    pixels = np.empty((300, 300, 3), np.float32)
    pixels[:, :150], pixels[:, 150:] = (225, 180, 210), (90, 50, 120)
    found = tissue_mask(array_slide(noisy(pixels), mpp=8.0))
    assert found.mask.all()
    assert found.share == 1.0


@pytest.mark.parametrize("glass", [GLASS, (255, 255, 255), (200, 205, 198), (0, 0, 0)])
def test_empty_slide_has_no_tissue_and_says_so(array_slide, glass):
    pixels = np.empty((200, 300, 3), np.float32)
    pixels[:] = glass
    found = tissue_mask(array_slide(noisy(pixels), mpp=8.0))
    assert found.is_empty
    assert found.share == 0.0
    assert found.polygons() == []
    with pytest.raises(NoTissue, match=r"^x.svs: no tissue was found, expected some; draw it as a polygon"):
        found.require("x.svs")


def test_grey_and_dark_field_pictures(array_slide):
    truth = ellipse((200, 300), centre=(100, 150), radii=(50, 80))
    grey = np.where(truth, 150, 240)[..., None].repeat(3, -1).astype(np.uint8)
    found = tissue_mask(array_slide(grey, mpp=8.0))
    assert overlap(found.mask, truth) > 0.97
    dark = np.zeros((200, 300, 3), np.uint8)
    dark[truth] = (0, 10, 160)
    found = tissue_mask(array_slide(dark, mpp=8.0))
    assert found.method == "brightness over dark field"
    assert overlap(found.mask, truth) > 0.97


def test_resolution_follows_pixel_size_or_longest_side(array_slide):
    pixels = np.full((1000, 3000, 3), GLASS, np.uint8)
    pixels[400:600, 1000:2000] = PINK
    fine = tissue_mask(array_slide(pixels, mpp=0.5))
    assert fine.mask.shape == (63, 188)
    assert fine.downsample_yx == (16.0, 16.0)
    # 12.5 x 62.5 mask pixels of 16 level-0 pixels; any that hold a little stain count.
    assert fine.mask.sum() == 13 * 63
    unknown = tissue_mask(array_slide(pixels, mpp=None))
    assert unknown.mask.shape == (683, 2048)
    assert unknown.parameters["pixel_um"] == 8.0
    assert unknown.mask.sum() == pytest.approx(200 * 1000 / unknown.downsample_yx[0] ** 2, rel=0.02)


def test_pieces_are_seamless_and_counted(array_slide, monkeypatch):
    pixels, truth = drawn()
    whole = tissue_mask(array_slide(noisy(pixels), mpp=8.0)).mask
    monkeypatch.setattr("napari_wsi_mil.tiles.overview.PIECE_PX", 100)
    ticks = []
    pieces = tissue_mask(array_slide(noisy(pixels), mpp=8.0), tick=lambda done, total: ticks.append((done, total))).mask
    assert np.array_equal(whole, pieces)
    assert ticks == [(i, 48) for i in range(49)]


def test_cancel_and_read_errors_pass_through(array_slide):
    def stop(done, total):
        raise Cancelled

    pixels = np.full((300, 300, 3), GLASS, np.uint8)
    with pytest.raises(Cancelled):
        tissue_mask(array_slide(pixels), tick=stop)
    with pytest.raises(SlideReadError, match="is broken"):
        tissue_mask(array_slide(pixels, broken=Box(0, 0, 10, 10)))


def test_fluorescence_channels_are_refused(array_slide, monkeypatch):
    slide = array_slide(np.zeros((50, 50), np.uint16))
    object.__setattr__(slide.meta, "channels", (Channel("DAPI"), Channel("CD3")))
    assert isinstance(slide, Slide)
    with pytest.raises(BadRequest, match="got 2 fluorescence channels; draw the region"):
        tissue_mask(slide)


def test_colour_rules_by_numbers():
    picture = np.full((20, 20, 3), 240, np.uint8)
    picture[:10] = (200, 205, 200)
    assert white_point(picture).tolist() == [240, 240, 240]
    assert white_point(np.zeros((20, 20, 3), np.uint8)).tolist() == [245, 245, 245]
    assert is_dark_field(np.zeros((20, 20, 3), np.uint8))
    assert not is_dark_field(picture)
    assert tissue_score(picture, dark=False, white=(240, 240, 240))[1] == CHROMA_BOUNDS[0]
    assert tissue_score(picture, dark=True, white=(240, 240, 240))[1] == DARK_BOUNDS[1]


@pytest.mark.parametrize(
    "stain",
    [(224, 120, 170), (90, 60, 130), (60, 40, 110), (150, 100, 60), (110, 100, 150), (190, 70, 100), (200, 90, 80)],
    ids=["eosin", "haematoxylin", "dense nuclei", "DAB", "blue counterstain", "red cells", "dull blood"],
)
def test_stains_are_not_ink(stain):
    picture = np.full((40, 40, 3), 243, np.uint8)
    picture[10:30, 10:30] = stain
    assert not ink(picture, white=(243, 243, 243)).any()


def test_tidy_drops_small_things_by_their_size_on_the_slide():
    mask = np.zeros((100, 100), bool)
    mask[10:60, 10:60] = True
    mask[30:34, 30:34] = False
    mask[80:85, 80:85] = True
    options = TissueOptions(min_object_um2=26 * 64, max_hole_um2=16 * 64, bridge_um=0)
    out = tidy(mask, pixel_um=8.0, options=options)
    assert out.sum() == 2500
    options = TissueOptions(min_object_um2=25 * 64, max_hole_um2=15 * 64, bridge_um=0)
    assert tidy(mask, pixel_um=8.0, options=options).sum() == 2500 - 16 + 25


def blobs(seed, shape=(90, 120)):
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 3)
    return noise > 0


@pytest.mark.parametrize("seed", range(5))
def test_polygons_come_back_as_the_same_mask(seed):
    mask = TissueMask(blobs(seed), (15.9, 15.9), (1431, 1908), "test")
    polygons = mask.polygons(simplify_px=0)
    back = TissueMask.from_polygons(polygons, (1431, 1908), downsample=15.9)
    assert back.method == "drawn"
    assert np.array_equal(back.mask, mask.mask)
    assert all(p.is_valid for p in polygons)
    assert [p.area for p in polygons] == sorted((p.area for p in polygons), reverse=True)


def test_simplified_polygons_stay_within_half_a_pixel():
    mask = TissueMask(blobs(3), (16.0, 16.0), (1440, 1920), "test")
    simple = mask.polygons()
    exact = mask.polygons(simplify_px=0)
    assert sum(len(p.exterior.coords) for p in simple) < 0.7 * sum(len(p.exterior.coords) for p in exact)
    back = TissueMask.from_polygons(simple, (1440, 1920), downsample=16.0)
    assert overlap(back.mask, mask.mask) > 0.95


def test_a_square_with_a_hole_in_level_0_pixels():
    mask = np.zeros((6, 8), bool)
    mask[1:5, 2:7] = True
    mask[2, 3] = False
    (square,) = TissueMask(mask, (10.0, 10.0), (60, 80), "test").polygons(simplify_px=0)
    # Corners are cut by half a pixel: 19 full pixels less 4 outer triangles plus 4 inner ones, each 1/8 pixel.
    assert square.bounds == (10, 20, 50, 70)
    assert square.area == pytest.approx((20 - 0.5 - 0.5) * 100)
    assert len(square.interiors) == 1


def test_drawn_shapes_holes_multipolygons_and_what_lies_outside():
    ring = Polygon([(0, 0), (0, 40), (40, 40), (40, 0)], [[(10, 10), (10, 30), (30, 30), (30, 10)]])
    far = Polygon([(-50, -50), (-50, -20), (-20, -20)])
    both = MultiPolygon([ring, Polygon([(60, 60), (60, 200), (75, 200), (75, 60)])])
    found = TissueMask.from_polygons([far, both, Polygon()], (80, 100), downsample=10)
    expected = np.zeros((8, 10), bool)
    expected[:4, :4] = True
    expected[1:3, 1:3] = False
    # The far piece's lower edge passes through the centres of row 7, which belong to the pixel above the edge.
    expected[6, 6:] = True
    assert found.mask.shape == (8, 10)
    assert np.array_equal(found.mask, expected)
