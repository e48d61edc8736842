"""The sheet of highest and lowest tiles."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from napari_wsi_mil.errors import BadRequest, StoreError
from napari_wsi_mil.interop.sheet import COLUMNS, GAP_PX, LINE_PX, SIDE_PX, tile_sheet
from napari_wsi_mil.results import Attention, MapChoice, ModelRef
from napari_wsi_mil.tiles import cover


@pytest.fixture
def slide(array_slide):
    """Return 10 x 10 tiles of 100 level-0 px, each of a colour of its own: (10 * row, 10 * column, 100)."""
    pixels = np.full((1000, 1000, 3), 100, np.uint8)
    pixels[..., 0] = np.repeat(10 * np.arange(10), 100)[:, None]
    pixels[..., 1] = np.repeat(10 * np.arange(10), 100)[None]
    return array_slide(pixels, mpp=0.5)


def result(slide, n=100):
    grid = cover(slide, mpp=1.0, tile_px=50).take(np.arange(n))
    return Attention(
        slide_path="x.svs", slide_mpp_yx=(0.5, 0.5), grid=grid, head=ModelRef("h", "1"), encoder=ModelRef("e", "2"),
        title="Tumour", class_names=("normal", "tumour"), logits=np.array([0, 1], np.float32),
        raw=np.arange(n, dtype=np.float32)[None], device="CPU",
    )  # fmt: skip


def pictures(path, *, lines, top):
    """Return the middle pixels of the tiles in `lines` lines from `top` on."""
    sheet = np.asarray(Image.open(path))
    ys = [top + line * (SIDE_PX + 2 * LINE_PX) + SIDE_PX // 2 for line in range(lines)]
    xs = [GAP_PX + column * (SIDE_PX + GAP_PX) + SIDE_PX // 2 for column in range(COLUMNS)]
    return [sheet[y, x].tolist() for y in ys for x in xs]


def test_highest_stand_above_lowest(slide, tmp_path):
    ticks = []
    path = tile_sheet(slide, result(slide), tmp_path / "s.png", tick=lambda done, total: ticks.append((done, total)))
    top = GAP_PX + 4 * LINE_PX
    high = pictures(path, lines=2, top=top)
    assert high == [[90, 10 * c, 100] for c in range(9, -1, -1)] + [[80, 90, 100], [80, 80, 100]]
    low = pictures(path, lines=2, top=top + 2 * (SIDE_PX + 2 * LINE_PX) + LINE_PX)
    assert low == [[0, 10 * c, 100] for c in range(10)] + [[10, 0, 100], [10, 10, 100]]
    assert ticks[0] == (0, 24)
    assert ticks[-1] == (23, 24)


@pytest.mark.parametrize(("n", "shown"), [(1, 1), (2, 2), (5, 5)])
def test_no_tile_comes_twice(slide, tmp_path, n, shown):
    ticks = []
    tile_sheet(slide, result(slide, n), tmp_path / "s.png", tick=lambda done, total: ticks.append(done))
    assert len(ticks) == shown


def test_failures_are_sentences(slide, tmp_path):
    with pytest.raises(BadRequest):
        tile_sheet(slide, result(slide), tmp_path / "s.png", choice=MapChoice("no such map"))
    with pytest.raises(StoreError, match="could not be written"):
        tile_sheet(slide, result(slide), tmp_path / "no" / "s.png")
    assert list(tmp_path.iterdir()) == []
