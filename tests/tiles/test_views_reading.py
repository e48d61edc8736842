"""Views read from stored levels: how much of the file they take, and what goes wrong."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from napari_wsi_mil.errors import BadRequest, SlideReadError
from napari_wsi_mil.slide import Box, Channel, Level, PixelSize, Slide, SourceMeta, open_slide
from napari_wsi_mil.slide.blocks import BlockCache, cores
from napari_wsi_mil.slide.source import PixelSource
from napari_wsi_mil.ticks import Cancelled
from napari_wsi_mil.tiles.views import RootFrame, Tally, read_views

RED = (200, 20, 30)


def flat(shape_yx, colour):
    return np.broadcast_to(np.array(colour, np.uint8), (*shape_yx, 3)).copy()


class GlassSource(PixelSource):
    """Levels of one colour, made when they are read, and what was read."""

    def __init__(self, shapes, *, tile_yx=(256, 256), colour=RED, **meta):
        h, w = shapes[0]
        self.boxes, self._colour = [], colour
        levels = tuple(Level(s, (h / s[0], w / s[1]), tile_yx) for s in shapes)
        values = {"dtype": "uint8", "samples": 3, "pixel_size": PixelSize((0.25, 0.25), "test")} | meta
        self.meta = SourceMeta(backend="glass", vendor="test", levels=levels, fingerprint="b" * 32, **values)

    def read(self, level, box, plane):
        self.boxes.append((level, box))
        return flat((box.h, box.w), self._colour)

    def close(self):
        pass


def glass_slide(shapes, **options):
    return Slide(GlassSource(shapes, **options), path="glass.arr")


def read_one(slide, centre, side, px, **options):
    options = {"grey": 0} | options
    return read_views(slide, [centre], [side], px, **options).rgb[0]


def test_only_tiles_under_a_view_are_read_and_their_bytes_counted(tiny_svs):
    with tifffile.TiffFile(tiny_svs) as tif:
        bytes0, bytes1 = (list(tif.pages[i].databytecounts) for i in (0, 1))
    with open_slide(tiny_svs) as slide:
        count = Tally()
        read_views(slide, [(256, 256), (300, 300)], [100, 100], 100, count=count)  # over the corner of four tiles
        assert count == Tally(2 * 100 * 100, 4 * 256 * 256, 4, sum(bytes0[i] for i in (0, 1, 6, 7)))
        read_views(slide, [(500, 700)], [1400], 112, count=count)  # the whole coarse level: 250 x 350 px
        assert (count.file_tiles, count.file_bytes) == (6, sum(bytes0[i] for i in (0, 1, 6, 7)) + sum(bytes1))
        assert count.file_pixels == 4 * 256 * 256 + 250 * 350
        assert count.pixels == 20000 + 112 * 80
        assert slide.tiles_of(0) == 24


def test_bytes_are_unknown_where_the_backend_does_not_tell(array_slide):
    count = Tally()
    read_one(array_slide(flat((300, 300), RED)), (150, 150), 300, 10, count=count)
    assert count == Tally(100, 90000, 4, None)


def zoomed(rng, patches, *, low=0.05):
    """Draw regions as a zoom model would: a list per layer of (centre, scale) in the root's frame."""
    layers = [(np.zeros((1, 2)), np.ones(1))]
    for n in patches[:-1]:
        centre, scale = (np.repeat(a, n, 0) for a in layers[-1])
        s = rng.uniform(low, 1, len(scale))
        t = rng.uniform(-1, 1, (len(scale), 2)) * (1 - s[:, None])
        s[::n], t[::n] = (1, 0) if len(layers) == 2 else (s[::n], t[::n])
        layers.append((centre + scale[:, None] * t, scale * s))
    return layers


@pytest.mark.parametrize(
    ("tile", "steps"),
    [
        (240, (1, 4, 16, 64)),
        (256, (1, 2, 4, 8, 16, 32, 64, 128)),
        (512, (1, 4, 16, 32)),
        (256, (1, 2, 8, 32, 128)),
    ],
)
@pytest.mark.parametrize("patches", [(3, 2, 3), (3, 2, 3, 2)])
@pytest.mark.parametrize("reread", [False, True])
def test_ten_gigapixels_take_less_than_half_a_percent_of_the_tiles(tile, steps, patches, reread):
    slide = glass_slide([(100352 // n, 100352 // n) for n in steps], tile_yx=(tile, tile))
    frame = RootFrame.of(slide)
    for seed in range(2):
        count, kept = Tally(), BlockCache(2**27)
        # parents are read, or with `reread` every view itself: one layer more, the final views at 224 px
        layers = zoomed(np.random.default_rng(seed), (*patches, 1) if reread else patches)
        last = 224 if reread else 448
        for depth, (centre, scale) in enumerate(layers):
            px = last if depth == len(layers) - 1 else 112
            read_views(slide, *frame.to_level0(centre, scale), px, count=count, kept=kept)
        assert 0 < count.file_tiles < 0.005 * slide.tiles_of(0)
        assert count.file_pixels <= count.file_tiles * tile * tile
    assert max(b.h * b.w for _, b in slide._source.boxes) <= tile * tile
    assert 0 not in {level for level, b in slide._source.boxes if b.h * b.w > tile * tile}


def test_tiles_under_several_views_are_decoded_once():
    slide = glass_slide([(2048, 2048)])
    count = Tally()
    read_views(slide, [(1024, 1024), (1000, 1030), (900, 900)], [2048, 500, 300], 112, count=count)
    boxes = [b for _, b in slide._source.boxes]
    assert len(boxes) == len(set(boxes)) == count.file_tiles == 64


def test_pieces_kept_by_an_earlier_call_are_not_read_again(array_slide):
    pixels = np.random.default_rng(0).integers(0, 256, (512, 512, 3)).astype(np.uint8)
    slide, count, kept = array_slide(pixels), Tally(), BlockCache(2**20)
    first = read_one(slide, (128, 128), 256, 64, count=count, kept=kept)
    again = read_one(slide, (128, 128), 256, 64, count=count, kept=kept)
    wider = read_one(slide, (128, 256), 256, 64, count=count, kept=kept)
    assert np.array_equal(first, again)
    assert np.array_equal(wider, read_one(array_slide(pixels), (128, 256), 256, 64))
    assert (count.file_tiles, count.pixels, slide._source.reads) == (2, 3 * 64 * 64, 2)


def test_a_single_level_is_read_piece_by_piece():
    slide = glass_slide([(9000, 5000)], tile_yx=(8, 5000))  # as strips of eight rows
    count = Tally()
    view = read_one(slide, (4500, 2500), 9000, 112, count=count)
    assert (view[:, 25:87] == RED).all()
    assert (count.file_tiles, count.file_pixels) == (1125, 9000 * 5000)
    assert max(b.h for _, b in slide._source.boxes) == 256
    some = Tally()
    read_one(slide, (4500, 2500), 20, 112, count=some)
    assert (some.file_tiles, some.file_pixels) == (3, 24 * 5000)  # rows 4490 to 4510, strips 561 to 563


# -- what goes wrong -------------------------------------------------------------------------------------------


def test_a_tile_that_cannot_be_read_names_the_view_and_its_place(array_slide):
    slide = array_slide(flat((1000, 1000), RED), broken=Box(700, 300, 4, 4))
    words = (
        r"aaaa\.arr: region I_13 \(100 px around row 720, column 310 of level 0\) cannot be read: level 0: the block"
    )
    with pytest.raises(SlideReadError, match=words):
        read_views(slide, [(100, 100), (720, 310)], [50, 100], 20, names=("I_12", "I_13"))
    with pytest.raises(SlideReadError, match="region number 1"):
        read_views(slide, [(720, 310)], [100], 20)
    assert read_views(slide, [(100, 100)], [50], 20).rgb.any()


def test_fluorescence_is_refused():
    slide = glass_slide([(100, 100)], samples=1, channels=(Channel("DAPI"), Channel("FITC")))
    with pytest.raises(BadRequest, match="need a colour slide, got 2 fluorescence channels"):
        read_views(slide, [(50, 50)], [100], 10)


@pytest.mark.parametrize(
    ("centre", "side"), [([(np.nan, 0)], [1]), ([(0, 0)], [0]), ([(0, 0)], [1, 2]), ([(0, 0)], [np.nan])]
)
def test_squares_that_are_none_are_refused(array_slide, centre, side):
    with pytest.raises(BadRequest, match=r"views need finite centres, as many sides above 0"):
        read_views(array_slide(flat((9, 9), RED)), centre, side, 10)


def test_a_tick_stops_the_reading():
    slide = glass_slide([(20000, 20000)])
    seen = []

    def tick(done, total):
        seen.append((done, total))
        if done == 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        read_one(slide, (10000, 10000), 20000, 112, tick=tick)
    assert seen == [(1, 79 * 79), (2, 79 * 79), (3, 79 * 79)]
    assert len(slide._source.boxes) <= 3 + 4 * cores() + 2
