from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import MultiPolygon, Polygon, box

from napari_wsi_mil.errors import BadRequest, PixelSizeUnknown
from napari_wsi_mil.tiles import TileGrid, TissueMask, cover


@pytest.fixture
def slide(array_slide):
    """Return 1000 x 1500 px at 0.5 um/px."""
    return array_slide(np.full((1000, 1500, 3), 240, np.uint8))


def test_all_tiles_of_a_slide_in_row_order_with_partial_ones_at_the_edge(slide):
    grid = cover(slide, mpp=1.0, tile_px=100)
    assert len(grid) == 5 * 8
    assert grid.downsample == 2.0
    assert grid.side_yx0 == grid.stride_yx0 == (200.0, 200.0)
    assert grid.cells[:9].tolist() == [[0, c] for c in range(8)] + [[1, 0]]
    assert grid.yx0[-1].tolist() == [800.0, 1400.0]
    assert grid.slide_shape_yx == (1000, 1500)
    assert grid.slide_fingerprint == "a" * 32
    assert grid.yx0.dtype == np.float64


@pytest.mark.parametrize(
    ("length", "side", "stride", "starts"),
    [
        (1000, 200, 200, [0, 200, 400, 600, 800]),
        (1001, 200, 200, [0, 200, 400, 600, 800, 1000]),
        (1000.4, 200, 200, [0, 200, 400, 600, 800]),
        (500, 200, 100, [0, 100, 200, 300]),
        (510, 200, 100, [0, 100, 200, 300, 400]),
        (900, 200, 400, [0, 400, 800]),
        (700, 200, 400, [0, 400]),
        (50, 200, 200, [0]),
        (1000, 250.0000001, 250.0000001, [0, 250, 500, 750]),
    ],
)
def test_starts_along_an_axis(length, side, stride, starts):
    from napari_wsi_mil.tiles.grid import _starts

    assert np.round(_starts(length, side, stride), 3).tolist() == starts


def test_fractional_ratio_between_slide_and_grid(array_slide):
    grid = cover(array_slide(np.zeros((1001, 777, 3), np.uint8), mpp=0.2527), mpp=1.0, tile_px=112)
    assert grid.side_yx0[0] == pytest.approx(112 / 0.2527)
    assert len(grid) == 3 * 2
    assert grid.yx0[-1] == pytest.approx([2 * 112 / 0.2527, 112 / 0.2527])


def test_share_of_tissue_decides_exactly(slide):
    mask = np.zeros((125, 188), bool)
    mask[:25, :20] = True
    tissue = TissueMask(mask, (8.0, 8.0), (1000, 1500), "test")
    at = {share: len(cover(slide, mpp=1.0, tile_px=100, mask=tissue, min_tissue=share)) for share in (0.79, 0.81, 0.0)}
    assert at == {0.79: 1, 0.81: 0, 0.0: 1}
    shifted = cover(slide, mpp=1.0, tile_px=100, stride_px=50, mask=tissue, min_tissue=0.3)
    # Columns 0 and 1 hold 160 and 60 of 200 px in row 0, the same over half the height in row 1.
    assert shifted.cells.tolist() == [[0, 0], [0, 1], [1, 0]]


def test_area_beyond_the_edge_is_no_tissue(slide):
    tissue = TissueMask(np.ones((63, 94), bool), (16.0, 16.0), (1000, 1500), "test")
    grid = cover(slide, mpp=1.2, tile_px=100, mask=tissue, min_tissue=0.25)
    # Tiles of 240 px: the fifth row has 40 of 240 px on the slide, the seventh column 60 of 240 (exactly a quarter).
    assert grid.cells.max(0).tolist() == [3, 6]
    assert len(grid) == 4 * 7


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_summed_areas_equal_counting(data):
    from napari_wsi_mil.tiles.grid import _tissue_share

    h, w = data.draw(st.integers(3, 30)), data.draw(st.integers(3, 30))
    mask = np.random.default_rng(data.draw(st.integers(0, 99))).random((h, w)) < 0.5
    fine, side, stride = 8, data.draw(st.integers(5, 90)), data.draw(st.integers(5, 90))
    starts = [np.arange(0, n * fine, stride, dtype=float) for n in (h, w)]
    got = _tissue_share(TissueMask(mask, (8.0, 8.0), (h * fine, w * fine), "t"), starts, side0=side)
    full = np.kron(mask, np.ones((fine, fine)))
    counted = [[full[int(y) : int(y) + side, int(x) : int(x) + side].sum() for x in starts[1]] for y in starts[0]]
    assert np.allclose(got, np.array(counted) / side**2)


def test_region_takes_centres_and_never_loses_a_small_piece(slide):
    rectangle = box(190, 390, 510, 910)
    grid = cover(slide, mpp=1.0, tile_px=100, region=[rectangle])
    assert grid.cells.tolist() == [[1, 2], [1, 3], [1, 4], [2, 2], [2, 3], [2, 4]]
    speck = Polygon([(610, 1010), (610, 1020), (620, 1020)])
    assert cover(slide, mpp=1.0, tile_px=100, region=[speck]).cells.tolist() == [[3, 5]]
    both = MultiPolygon([speck, box(0, 0, 200, 200)])
    assert cover(slide, mpp=1.0, tile_px=100, region=[both, Polygon()]).cells.tolist() == [[0, 0], [3, 5]]
    outside = box(5000, 5000, 6000, 6000)
    assert len(cover(slide, mpp=1.0, tile_px=100, region=[outside])) == 0
    assert len(cover(slide, mpp=1.0, tile_px=100, region=[])) == 0


def test_region_and_mask_together(slide):
    tissue = TissueMask.from_polygons([box(0, 0, 1000, 400)], (1000, 1500), downsample=10)
    grid = cover(slide, mpp=1.0, tile_px=100, mask=tissue, region=[box(0, 200, 200, 1500)])
    assert grid.cells.tolist() == [[0, 1]]


def test_million_tiles(array_slide):
    slide = array_slide(np.broadcast_to(np.uint8(0), (100_000, 100_000, 3)), mpp=0.25)
    tissue = TissueMask(np.ones((1000, 1000), bool), (100.0, 100.0), (100_000, 100_000), "test")
    assert len(cover(slide, mpp=0.25, tile_px=100, mask=tissue)) == 1_000_000


def test_identities_tell_lattice_and_mask_apart(slide, array_slide):
    grid = cover(slide, mpp=1.0, tile_px=100)
    part = grid.take(np.arange(3, 7))
    assert part.cells.tolist() == [[0, 3], [0, 4], [0, 5], [0, 6]]
    assert part.lattice_id == grid.lattice_id
    assert part.id != grid.id
    assert cover(slide, mpp=1.0, tile_px=100).id == grid.id
    assert grid.take(np.ones(len(grid), bool)).id == grid.id
    others = [
        cover(slide, mpp=1.0, tile_px=100, stride_px=50),
        cover(slide, mpp=1.01, tile_px=100),
        cover(slide, mpp=1.0, tile_px=101),
        cover(array_slide(np.zeros((1000, 1500, 3), np.uint8), fingerprint="b" * 32), mpp=1.0, tile_px=100),
    ]
    assert len({g.lattice_id for g in [grid, *others]}) == 5
    with pytest.raises(ValueError, match="read-only"):
        grid.cells[0, 0] = 5


def test_bad_sizes_and_missing_pixel_size(slide, array_slide):
    for wrong in ({"tile_px": 0}, {"stride_px": 0}, {"mpp": 0.0}, {"mpp": float("nan")}, {"min_tissue": 1.5}):
        with pytest.raises(BadRequest, match="a grid needs tiles and strides of at least 1 px"):
            cover(slide, **{"mpp": 1.0, "tile_px": 100, **wrong})
    other = TissueMask(np.ones((10, 10), bool), (10.0, 10.0), (100, 100), "test")
    with pytest.raises(BadRequest, match=r"mask of a slide of \(1000, 1500\) px, got one of \(100, 100\)"):
        cover(slide, mpp=1.0, tile_px=100, mask=other)
    with pytest.raises(PixelSizeUnknown, match="enter it in um/px"):
        cover(array_slide(np.zeros((100, 100, 3), np.uint8), mpp=None), mpp=1.0, tile_px=112)


def test_grid_without_tiles(slide):
    empty = TileGrid(1.0, 100, 100, 2.0, np.zeros((0, 2), np.int32), (10, 10), "f")
    assert len(empty) == 0
    assert empty.yx0.shape == (0, 2)
