"""Regions by level-0 place and scale: which level, where, and what models get."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile

from napari_wsi_mil.errors import BadRequest, PixelSizeUnknown
from napari_wsi_mil.slide import Level, Plane, Slide, SourceMeta, open_slide
from napari_wsi_mil.slide.blocks import BlockCache
from napari_wsi_mil.slide.regions import as_rgb
from napari_wsi_mil.slide.source import PixelSource

from .made import pyramid

if TYPE_CHECKING:
    from pathlib import Path

    from napari_wsi_mil.slide import Box


class Places(PixelSource):
    """A slide whose pixels say where their centre lies in level 0, along one axis."""

    def __init__(self, axis: int, sizes: list[tuple[int, int]]) -> None:
        self._levels = []
        for size in sizes:
            ratio = sizes[0][axis] / size[axis]
            centre = ((np.arange(size[axis]) + 0.5) * ratio - 0.5).astype(np.float32)
            self._levels.append(np.broadcast_to(centre[:, None] if axis == 0 else centre[None], size))
        levels = tuple(Level(s, (sizes[0][0] / s[0], sizes[0][1] / s[1]), (64, 64)) for s in sizes)
        self.meta = SourceMeta(
            backend="made", vendor="made", levels=levels, dtype="float32", samples=1, fingerprint="0" * 32
        )

    def read(self, level: int, box: Box, plane: Plane) -> np.ndarray:
        return self._levels[level][box.y : box.y + box.h, box.x : box.x + box.w].copy()

    def close(self) -> None:
        pass


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize(
    "sizes", [[(4000, 3000), (1600, 1200)], [(4001, 3003), (1000, 750)], [(4001, 3003), (2000, 1501), (1000, 750)]]
)
def test_regions_lie_where_they_should(axis: int, sizes: list[tuple[int, int]]) -> None:
    """Within 0.6 of an output pixel at any scale and place: half a pixel is what not resampling costs."""
    slide = Slide(Places(axis, sizes), path="made", cache=BlockCache())
    rng = np.random.default_rng(5)
    for downsample in (0.5, 1.0, 1.999, 2.0, 2.5, 3.3, 4.0, 4.0001, 7.7):
        for _ in range(10):
            yx0 = float(rng.uniform(0, 1500)), float(rng.uniform(0, 1000))
            read = slide.read_region(yx0, (50, 60), downsample=downsample)
            along = read[:, 30] if axis == 0 else read[25]
            wanted = yx0[axis] + (np.arange(len(along)) + 0.5) * downsample - 0.5
            assert np.abs(along - wanted)[2:-2].max() < 0.6 * downsample


def test_a_region_at_a_levels_own_scale_is_that_levels_pixels(tmp_path: Path) -> None:
    levels = pyramid(tmp_path / "a.tif", [(4001, 1200), (1000, 300)])
    with open_slide(tmp_path / "a.tif") as slide:
        read = slide.read_region((400, 80), (30, 40), downsample=4.0)
        np.testing.assert_array_equal(read, levels[1][100:130, 20:60])
        read = slide.read_region((-2, 1190), (4, 20))
        np.testing.assert_array_equal(read[2:, :10], levels[0][:2, 1190:])
        assert (read[:2] == 255).all()
        assert (read[:, 10:] == 255).all()


def test_views_for_models(tmp_path: Path) -> None:
    size = {"resolution": (20000, 20000), "resolutionunit": "CENTIMETER"}
    levels = pyramid(tmp_path / "a.tif", [(400, 480), (200, 240)], **size)
    with open_slide(tmp_path / "a.tif") as slide:
        np.testing.assert_array_equal(slide.read_rgb((40, 60), (20, 30), mpp=1.0), levels[1][20:40, 30:60])
        np.testing.assert_array_equal(slide.read_rgb((40, 60), (20, 30)), levels[0][40:60, 60:90])
        for bad in ({"size_px": (0, 5)}, {"size_px": (5, 5), "downsample": 0.0}):
            with pytest.raises(BadRequest, match="positive size and downsample"):
                slide.read_region((0, 0), **bad)
    pyramid(tmp_path / "b.tif", [(100, 100)])
    with open_slide(tmp_path / "b.tif") as slide, pytest.raises(PixelSizeUnknown, match="b.tif: the file holds no"):
        slide.read_rgb((0, 0), (5, 5), mpp=0.5)


def test_what_models_see_of_other_pixels() -> None:
    grey = np.array([[0, 200]], np.uint8)
    np.testing.assert_array_equal(as_rgb(grey), [[[0, 0, 0], [200, 200, 200]]])
    np.testing.assert_array_equal(as_rgb(grey.astype(np.uint16) * 257), [[[0, 0, 0], [200, 200, 200]]])
    clear = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 0, 0, 51]]], np.uint8)
    np.testing.assert_array_equal(as_rgb(clear), [[[10, 20, 30], [255, 255, 255], [204, 204, 204]]])
    with pytest.raises(BadRequest, match="8- or 16-bit pixels, got float32"):
        as_rgb(np.zeros((2, 2), np.float32))


def test_fluorescence_is_no_colour(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "a.ome.tif", np.zeros((2, 60, 70), np.uint16), photometric="minisblack", metadata={"axes": "CYX"}
    )
    with open_slide(tmp_path / "a.ome.tif") as slide, pytest.raises(BadRequest, match="got 2 fluorescence channels"):
        slide.read_rgb((0, 0), (5, 5))
