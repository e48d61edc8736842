"""How much of a file holds some pixels: tiles and bytes as the file itself lists them."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from napari_wsi_mil.errors import BadRequest, SlideClosed
from napari_wsi_mil.slide import Box, Stored, open_slide

PIXELS = np.random.default_rng(3).integers(0, 256, (200, 300, 3)).astype(np.uint8)


def written(path, pixels=PIXELS, **options):
    options = {"photometric": "rgb", "metadata": None} | options
    tifffile.imwrite(path, pixels, **options)
    with tifffile.TiffFile(path) as tif:
        return list(tif.pages[0].databytecounts)


def test_tiles_under_a_box_and_their_bytes(tmp_path):
    counts = written(tmp_path / "a.tif", tile=(64, 64), compression="zlib")  # 4 rows of 5 tiles
    with open_slide(tmp_path / "a.tif") as slide:
        pixels, stored = slide.read_stored(0, Box(60, 130, 10, 60))
        assert stored == Stored(2, counts[2] + counts[7])
        assert np.array_equal(pixels, PIXELS[60:70, 130:190])
        assert slide.read_stored(0, Box(0, 0, 200, 300))[1] == Stored(20, sum(counts))
        assert slide.tiles_of(0) == 20


def test_planes_of_one_place_are_one_tile(tmp_path):
    planar = np.moveaxis(PIXELS, -1, 0)
    counts = written(tmp_path / "p.tif", planar, tile=(64, 64), compression="zlib", planarconfig="separate")
    assert len(counts) == 60
    with open_slide(tmp_path / "p.tif") as slide:
        pixels, stored = slide.read_stored(0, Box(0, 0, 64, 65))
        assert stored == Stored(2, sum(counts[k] + counts[k + 1] for k in (0, 20, 40)))
        assert np.array_equal(pixels, PIXELS[:64, :65])


def test_rows_of_an_uncompressed_file_count_by_what_is_read(tmp_path):
    written(tmp_path / "s.tif", rowsperstrip=10)
    with open_slide(tmp_path / "s.tif") as slide:
        rows = slide.levels[0].tile_yx[0]
        assert slide.read_stored(0, Box(50, 7, 3, 5))[1] == Stored(1, min(rows, 200) * 300 * 3)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_turned_files_count_the_tiles_as_they_lie_in_the_file(tmp_path, orientation):
    counts = written(
        tmp_path / "t.tif", tile=(64, 64), compression="zlib", extratags=[(274, "H", 1, orientation, True)]
    )
    with open_slide(tmp_path / "t.tif") as slide:
        h, w = slide.shape0_yx
        assert slide.read_stored(0, Box(0, 0, h, w))[1] == Stored(20, sum(counts))
        corner = {1: 0, 3: 19, 6: 15, 8: 4}[orientation]  # stored tile under the upright top-left pixel
        assert slide.read_stored(0, Box(0, 0, 1, 1))[1] == Stored(1, counts[corner])


def test_other_backends_count_tiles_only(array_slide):
    slide = array_slide(PIXELS)
    assert slide.read_stored(0, Box(0, 200, 200, 100))[1] == Stored(2, None)
    with pytest.raises(BadRequest, match="levels are 0 to 0, got 1"):
        slide.read_stored(1, Box(0, 0, 1, 1))
    slide.close()
    with pytest.raises(SlideClosed):
        slide.read_stored(0, Box(0, 0, 1, 1))
