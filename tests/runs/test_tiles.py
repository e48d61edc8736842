from __future__ import annotations

import numpy as np
import pytest

from napari_wsi_mil.errors import SlideReadError
from napari_wsi_mil.runs.tiles import blocks, read_block, read_tiles
from napari_wsi_mil.slide import Box
from napari_wsi_mil.tiles import TileGrid, cover


def all_rows(grid):
    return np.arange(len(grid))


def test_each_tile_is_what_a_read_of_its_own_gives(array_slide):
    pixels = np.random.default_rng(0).integers(0, 255, (301, 417, 3), dtype=np.uint8)
    slide = array_slide([pixels, pixels[::2, ::2]], mpp=0.5)
    for mpp, tile, stride in ((0.5, 33, 33), (1.0, 20, 10), (1.3, 16, 16), (0.5, 10, 60)):
        grid = cover(slide, mpp=mpp, tile_px=tile, stride_px=stride)
        seen = np.zeros(len(grid), int)
        for rows, tiles in read_tiles(slide, grid, all_rows(grid), batch=7):
            assert tiles.shape == (len(rows), tile, tile, 3)
            seen[rows] += 1
            for row, got in zip(rows, tiles, strict=True):
                alone = slide.read_rgb(tuple(grid.yx0[row]), (tile, tile), mpp=mpp)
                # A fractional ratio places neighbours within 1/100 px of where a read of their own would be.
                assert np.abs(got.astype(int) - alone).max() <= (0 if mpp != 1.3 else 3)
        assert (seen == 1).all()


def test_batches_are_full_but_the_last_and_in_fixed_order(coloured):
    slide, _ = coloured()
    grid = cover(slide, mpp=1.0, tile_px=20)
    sizes = [len(rows) for rows, _ in read_tiles(slide, grid, all_rows(grid), batch=64)]
    assert sizes == [64, 64, 22]
    orders = [np.concatenate([rows for rows, _ in read_tiles(slide, grid, all_rows(grid), batch=64)]) for _ in range(3)]
    assert np.array_equal(orders[0], orders[1])
    assert np.array_equal(orders[0], orders[2])
    assert list(read_tiles(slide, grid, all_rows(grid)[:0], batch=4)) == []


def test_neighbours_are_read_at_once_whatever_else_is_wanted(coloured):
    slide, _ = coloured()
    grid = cover(slide, mpp=1.0, tile_px=200)
    assert [len(b) for b in blocks(slide, grid, all_rows(grid))] == [2]
    fine = cover(slide, mpp=1.0, tile_px=20)
    assert [len(b) for b in blocks(slide, fine, all_rows(fine))] == [150]
    apart = cover(slide, mpp=1.0, tile_px=20, stride_px=60)
    assert [len(b) for b in blocks(slide, apart, all_rows(apart))] == [1] * len(apart)


def test_squares_shrink_where_only_a_much_finer_level_exists(coloured, monkeypatch):
    slide, _ = coloured()
    grid = cover(slide, mpp=1.0, tile_px=20)
    monkeypatch.setattr("napari_wsi_mil.runs.tiles.BLOCK_IN_PX", 200)
    # 200 level-0 px are 5 tiles of 40: squares of 5 x 5.
    assert [len(b) for b in blocks(slide, grid, all_rows(grid))] == [25] * 6


def test_beyond_the_edge_is_white(coloured):
    slide, colours = coloured()
    grid = cover(slide, mpp=1.0, tile_px=150)
    rows, tiles = read_block(slide, grid, np.array([len(grid) - 1]))
    assert grid.yx0[rows[0]].tolist() == [300.0, 300.0]
    assert (tiles[0, 50:] == 255).all()
    assert tiles[0, 0, 149].tolist() == colours[7, 14].tolist()
    assert tiles[0, 49, 149].tolist() == colours[9, 14].tolist()


def test_a_broken_place_ends_the_reading_with_the_tile_that_holds_it(coloured):
    slide, _ = coloured(broken=Box(300, 0, 50, 50))
    grid = cover(slide, mpp=1.0, tile_px=20)
    with pytest.raises(SlideReadError, match=r"^aaaa.arr: the tile at level-0 pixel \(y 240, x 0\) could not be read"):
        list(read_tiles(slide, grid, all_rows(grid), batch=8))


def test_tiles_laid_by_other_programs_are_read_where_they_lie(array_slide):
    rng = np.random.default_rng(2)
    pixels = rng.integers(0, 255, (301, 417, 3), dtype=np.uint8)
    slide = array_slide([pixels, pixels[::2, ::2]], mpp=0.5)
    corners = rng.integers(0, (280, 400), (60, 2)).astype(float)
    corners[:20] += 0.5
    cells = np.rint(corners / 32).astype(np.int32)
    grid = TileGrid(1.0, 16, 16, 2.0, cells, slide.shape0_yx, slide.fingerprint, corners)
    seen = np.zeros(60, int)
    for rows, tiles in read_tiles(slide, grid, all_rows(grid), batch=7):
        seen[rows] += 1
        for row, got in zip(rows, tiles, strict=True):
            alone = slide.read_rgb(tuple(corners[row]), (16, 16), mpp=1.0)
            assert np.array_equal(got, alone), row
    assert (seen == 1).all()
