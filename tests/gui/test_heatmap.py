"""A heatmap on the canvas: over its tissue to the pixel, and nothing at all where no tile lies."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("qtpy")

from napari_wsi_mil.gui.camera import look_at
from napari_wsi_mil.layers import attention_layer
from napari_wsi_mil.results import Attention, HeatStyle, ModelRef
from napari_wsi_mil.tiles import cover

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
