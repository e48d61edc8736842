"""What every backend promises, run over each of them."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile

from napari_wsi_mil.errors import BadRequest, SlideClosed
from napari_wsi_mil.slide import Box, Plane, open_slide
from napari_wsi_mil.slide.blocks import BlockCache
from napari_wsi_mil.slide.slide import Slide

from . import good_files, vendor_files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BACKENDS = ("tifffile", "openslide", "zarr", "pillow")


@pytest.fixture(params=BACKENDS)
def path(request: pytest.FixtureRequest, tmp_path: Path, shared: Path) -> Path:
    if request.param == "openslide":
        return shared / "slides" / "real" / "CMU-1-Small-Region.dicom"
    write, file = good_files.WRITERS[{"tifffile": "svs", "zarr": "zarr05", "pillow": "png"}[request.param]]
    write(tmp_path / file)
    return tmp_path / file


@pytest.fixture
def slide(path: Path) -> Iterator[Slide]:
    opened = open_slide(path)
    yield opened
    opened.close()


class TestContract:
    def test_levels_shrink_and_keep_their_ratio(self, slide: Slide) -> None:
        assert slide.levels[0].downsample_yx == (1.0, 1.0)
        areas = [h * w for h, w in (level.shape_yx for level in slide.levels)]
        assert areas == sorted(areas, reverse=True)
        for level in slide.levels:
            for n0, n, ratio in zip(slide.shape0_yx, level.shape_yx, level.downsample_yx, strict=True):
                assert abs(n0 / ratio - n) <= 1
            assert min(level.tile_yx) >= 1

    def test_shape_and_dtype_of_reads(self, slide: Slide) -> None:
        pixels = slide.read_level(0, Box(3, 5, 11, 13))
        assert (pixels.shape, str(pixels.dtype)) == ((11, 13, 3), slide.meta.dtype)

    def test_parts_are_cut_from_the_whole(self, slide: Slide) -> None:
        last = len(slide.levels) - 1
        h, w = slide.levels[last].shape_yx
        whole = slide.read_level(last, Box(0, 0, h, w))
        for y, x in ((0, 0), (h // 2, w // 3), (h - 7, w - 9)):
            np.testing.assert_array_equal(slide.read_level(last, Box(y, x, 7, 9)), whole[y : y + 7, x : x + 9])

    def test_outside_is_white(self, slide: Slide) -> None:
        h, w = slide.shape0_yx
        assert (slide.read_level(0, Box(-50, -60, 40, 30)) == 255).all()
        assert (slide.read_level(0, Box(h, w, 4, 4)) == 255).all()
        over = slide.read_level(0, Box(h - 2, w - 3, 5, 5))
        np.testing.assert_array_equal(over[:2, :3], slide.read_level(0, Box(h - 2, w - 3, 2, 3)))
        assert (over[2:] == 255).all()

    def test_wrong_level(self, slide: Slide) -> None:
        with pytest.raises(BadRequest, match="levels are 0 to"):
            slide.read_level(len(slide.levels), Box(0, 0, 1, 1))
        with pytest.raises(BadRequest):
            slide.read_level(-1, Box(0, 0, 1, 1))

    def test_reading_after_close(self, slide: Slide) -> None:
        slide.close()
        slide.close()
        with pytest.raises(SlideClosed, match="closed"):
            slide.read_level(0, Box(0, 0, 1, 1))
        with pytest.raises(SlideClosed):
            slide._source.read(0, Box(0, 0, 1, 1), Plane())

    def test_eight_threads_read_the_same_pixels(self, path: Path) -> None:
        with open_slide(path) as one:
            h, w = one.shape0_yx
            spots = [Box(y, x, 40, 50) for y in range(0, h - 40, h // 5) for x in range(0, w - 50, w // 5)]
            alone = [one.read_level(0, box) for box in spots]
        source = open_slide(path)
        small = Slide(source._source, path="again", cache=BlockCache(2**20))  # so small that blocks come and go
        with ThreadPoolExecutor(8) as pool:
            together = list(pool.map(lambda box: small.read_level(0, box), spots * 3))
        for got, wanted in zip(together, alone * 3, strict=True):
            np.testing.assert_array_equal(got, wanted)
        small.close()

    def test_closing_while_threads_read(self, path: Path) -> None:
        slide = open_slide(path)
        source = slide._source

        def read(_: int) -> str:
            try:
                source.read(0, Box(0, 0, 64, 64), Plane())
            except SlideClosed:
                return "closed"
            return "read"

        with ThreadPoolExecutor(8) as pool:
            results = pool.map(read, range(60))
            slide.close()
            assert set(results) <= {"read", "closed"}
        assert read(0) == "closed"

    def test_fingerprint_is_of_the_content(self, path: Path, tmp_path: Path) -> None:
        copy = tmp_path / "elsewhere" / "other name.xyz"
        copy.parent.mkdir()
        (shutil.copytree if path.is_dir() else shutil.copyfile)(path, copy)
        with open_slide(path) as one, open_slide(copy) as other:
            assert one.fingerprint == other.fingerprint
            assert len(one.fingerprint) == 32
            assert int(one.fingerprint, 16) > 0


def test_fingerprints_differ(tmp_path: Path) -> None:
    marks = set()
    for seed in range(3):
        tifffile.imwrite(
            tmp_path / f"{seed}.tif", vendor_files.marked((300, 300), seed=seed), photometric="rgb", tile=(64, 64)
        )
        with open_slide(tmp_path / f"{seed}.tif") as slide:
            marks.add(slide.fingerprint)
    assert len(marks) == 3
