"""A heatmap on the canvas: over its tissue to the pixel, and nothing at all where no tile lies."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("qtpy")

from napari_wsi_mil.gui.camera import look_at
from napari_wsi_mil.layers import attention_layer
from napari_wsi_mil.results import Attention, HeatStyle, ModelRef
from napari_wsi_mil.tiles import TileGrid, cover

pytestmark = pytest.mark.gui


def show(bench, slide):
    """Add a map of tiles of 512 level-0 px with one left out; returns the layer."""
    grid = cover(slide, mpp=1.0, tile_px=128)
    grid = grid.take(~((grid.cells == (2, 3)).all(1)))
    raw = np.where(grid.cells[:, 1] < 4, 0.0, 1.0).astype(np.float32)
    head, encoder = ModelRef("h", "1"), ModelRef("e", "2")
    result = Attention(
        slide_path=slide.path, slide_mpp_yx=slide.mpp_yx, grid=grid, head=head, encoder=encoder, title="t",
        class_names=("a", "b"), logits=np.zeros(2, np.float32), raw=raw[None], device="CPU",
    )  # fmt: skip
    data, options, _ = attention_layer(result, slide=slide, style=HeatStyle(opacity=1.0))
    options["colormap"] = "gray"
    return bench.viewer.add_image(data, **options)


def test_uncovered_cells_show_the_slide_untouched(bench, opened) -> None:
    (slide_layer,) = bench.add(opened)
    show(bench, opened)
    for zoom in (0.5, 8.0):
        bench.viewer.scene.camera.zoom = zoom
        look_at(bench.viewer, slide_layer, (1280.0, 1792.0))
        picture = bench.canvas()
        assert bench.at(picture, 0.5, 0.5) == bench.quarters["nw"]
    bench.viewer.scene.camera.zoom = 2.0
    look_at(bench.viewer, slide_layer, (1280.0, 1280.0))
    assert bench.at(bench.canvas(), 0.5, 0.5) == (0, 0, 0)
    look_at(bench.viewer, slide_layer, (1280.0, 2304.0))
    assert bench.at(bench.canvas(), 0.5, 0.5) == (255, 255, 255)


def test_edges_of_cells_are_where_the_tiles_end(bench, opened) -> None:
    """The edge between scores 0 and 1 is that of tile columns 3 and 4: level-0 x 2048."""
    (slide_layer,) = bench.add(opened)
    show(bench, opened)
    for zoom in (0.4, 4.0, 40.0):
        bench.viewer.scene.camera.zoom = zoom
        look_at(bench.viewer, slide_layer, (700.0, 2048.0))
        picture = bench.canvas()
        row = picture[picture.shape[0] // 2].astype(int).mean(-1)
        middle = len(row) // 2
        near = row[middle - 40 : middle + 40]
        first_white = int(np.flatnonzero(near > 127)[0]) - 40
        assert abs(first_white) <= 1, zoom


OFFSET, SIDE = (37.0, 1003.0), 448 * 1.0071


def show_foreign(bench, slide, corners):
    """Add a map of another program's tiles: 0, 1, 0, 1 ..., no two neighbours alike."""
    corners = np.asarray(corners, float)
    cells = np.rint(corners / SIDE).astype(np.int32)
    grid = TileGrid(0.25 * 1.0071, 448, 448, 1.0071, cells, slide.shape0_yx, slide.fingerprint, corners)
    raw = (np.arange(len(grid)) % 2).astype(np.float32)
    head, encoder = ModelRef("h", "1"), ModelRef("e", "2")
    result = Attention(
        slide_path=slide.path, slide_mpp_yx=slide.mpp_yx, grid=grid, head=head, encoder=encoder, title="t",
        class_names=("a", "b"), logits=np.zeros(2, np.float32), raw=raw[None], device="CPU",
    )  # fmt: skip
    data, options, _ = attention_layer(result, slide=slide, style=HeatStyle(opacity=1.0))
    options["colormap"] = "gray"
    return bench.viewer.add_image(data, **options)


def first_change(picture, *, axis: int) -> int:
    """Return how far from the middle of the canvas colours change along the line through it, in pixels."""
    h, w = picture.shape[:2]
    line = picture[h // 2] if axis else picture[:, w // 2]
    middle = len(line) // 2
    near = line[middle - 40 : middle + 40].astype(int)
    step = np.abs(np.diff(near, axis=0)).max(-1)
    return int(step.argmax()) + 1 - 40


def test_tiles_of_another_program_that_start_anywhere_lie_where_it_laid_them(bench, opened) -> None:
    (slide_layer,) = bench.add(opened)
    corners = np.array(OFFSET) + SIDE * np.array([(2, 0), (2, 1), (2, 2), (3, 1)])
    layer = show_foreign(bench, opened, corners)
    assert layer.data.shape == (2, 3)
    for zoom in (0.4, 4.0, 40.0):
        bench.viewer.scene.camera.zoom = zoom
        # between tiles 0 and 1, at the left end of tile 0, and at the lower end of tile 3, which nothing lies under
        for tile, down, right, axis in ((1, 0.5, 0, 1), (0, 0.5, 0, 1), (3, 1.0, 0.5, 0)):
            look_at(bench.viewer, slide_layer, tuple(corners[tile] + SIDE * np.array((down, right))))
            assert abs(first_change(bench.canvas(), axis=axis)) <= 1, (zoom, tile)


def test_two_contours_with_offsets_of_their_own_both_lie_right(bench, opened) -> None:
    (slide_layer,) = bench.add(opened)
    lattice = SIDE * np.array([(0, 0), (0, 1)])
    corners = np.concatenate([lattice + (100, 200), lattice + (1337, 411)])
    layer = show_foreign(bench, opened, corners)
    assert layer.metadata["wsi_result"].mosaic.rounded_px0 < 1
    bench.viewer.scene.camera.zoom = 4.0
    for tile in (1, 3):
        look_at(bench.viewer, slide_layer, tuple(corners[tile] + SIDE * np.array((0.5, 0))))
        assert abs(first_change(bench.canvas(), axis=1)) <= 1, tile
