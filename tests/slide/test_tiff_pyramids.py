"""Synthetic TIFF pyramids: every ratio, order and place of levels, pixel by pixel."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile

from napari_wsi_mil.errors import SlideError
from napari_wsi_mil.slide import Box, Plane, open_slide

from .made import GREY, RGB, assert_levels, pyramid, tiff_pages
from .vendor_files import LOSSLESS, TILE, marked

if TYPE_CHECKING:
    from pathlib import Path

SIZES = {
    "2": [(400, 600), (200, 300), (100, 150)],
    "4": [(800, 640), (200, 160), (50, 40)],
    "2.5": [(500, 400), (200, 160), (80, 64)],
    "4.0001": [(4001, 1200), (1000, 300)],
    "odd": [(333, 257), (166, 128), (83, 64)],
    "one": [(130, 70)],
}


@pytest.mark.parametrize("ratio", SIZES)
def test_levels_by_ratio(tmp_path: Path, ratio: str) -> None:
    path = tmp_path / "made.tif"
    levels = pyramid(path, SIZES[ratio])
    with open_slide(path) as slide:
        h0, w0 = SIZES[ratio][0]
        assert [level.downsample_yx for level in slide.levels] == [(h0 / h, w0 / w) for h, w in SIZES[ratio]]
        assert all(level.tile_yx == TILE for level in slide.levels)
        assert_levels(slide, levels)


@pytest.mark.parametrize(
    ("samples", "dtype", "options"),
    [
        (1, "uint8", {}), (1, "uint16", {"compression": "zstd"}), (1, "float32", {"predictor": 3}), (1, "int16", {}),
        (3, "uint16", {"compression": "lzw", "predictor": 2}), (4, "uint8", {"extrasamples": ["unassalpha"]}),
        (4, "uint16", {"extrasamples": ["unassalpha"]}), (3, "uint8", {"planarconfig": "separate"}),
        (3, "uint8", {"compression": "jpegxr"}), (3, "uint8", {"compression": "jpeg2000"}), (3, "uint8", {"compression": None}),
        (4, "uint8", {"planarconfig": "separate", "extrasamples": ["unassalpha"]}), (3, "uint8", {"tile": None, "rowsperstrip": 17}),
        (3, "uint8", {"compression": "webp", "compressionargs": {"lossless": True}}), (3, "uint8", {"compression": "packbits"}),
        (3, "uint8", {"compression": "png"}), (1, "uint16", {"tile": None, "rowsperstrip": 50}),
    ],
)  # fmt: skip
def test_samples_types_and_codecs(tmp_path: Path, samples: int, dtype: str, options: dict) -> None:
    path = tmp_path / "made.tif"
    sizes = [(150, 210), (75, 105)]
    levels = [marked(s, samples, dtype) for s in sizes]
    stored = [np.moveaxis(a, -1, 0) if options.get("planarconfig") == "separate" else a for a in levels]
    kind = RGB if samples >= 3 else GREY
    with tifffile.TiffWriter(path) as tif:
        for i, level in enumerate(stored):
            tif.write(level, **{"tile": TILE, **kind, **LOSSLESS, **options}, subfiletype=min(i, 1))
    with open_slide(path) as slide:
        assert (slide.meta.samples, slide.meta.dtype) == (samples, dtype)
        if options.get("compression") == "jpegxr":
            levels = tiff_pages(path)  # not lossless
        assert_levels(slide, levels)


def test_big_endian_bigtiff(tmp_path: Path) -> None:
    levels = [marked((100, 90), 1, "uint16"), marked((50, 45), 1, "uint16")]
    with tifffile.TiffWriter(tmp_path / "made.btf", bigtiff=True, byteorder=">") as tif:
        for i, level in enumerate(levels):
            tif.write(level, tile=TILE, **GREY, **LOSSLESS, subfiletype=min(i, 1))
    with open_slide(tmp_path / "made.btf") as slide:
        assert_levels(slide, levels)


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("rows", [1, 7, 4000])
def test_uncompressed_strips_of_any_height(tmp_path: Path, planar: str, rows: int) -> None:
    image = marked((1500, 420), 3, "uint16")
    stored = image if planar == "contig" else np.moveaxis(image, -1, 0)
    path = tmp_path / "made.tif"
    tifffile.imwrite(path, stored, rowsperstrip=rows, planarconfig=planar, byteorder=">", metadata=None, **RGB)
    with open_slide(path) as slide:
        assert slide.levels[0].tile_yx == (416 if planar == "contig" else 1024, 420)
        assert_levels(slide, [image])
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    with pytest.raises(SlideError), open_slide(path) as slide:
        slide.read_level(0, Box(1400, 0, 10, 10))


def test_pages_in_any_order_and_strangers_left_out(tmp_path: Path) -> None:
    levels = [marked((256, 192)), marked((128, 96)), marked((64, 48))]
    with tifffile.TiffWriter(tmp_path / "made.tif") as tif:
        tif.write(levels[2], tile=TILE, **RGB, **LOSSLESS, subfiletype=1)
        tif.write(marked((90, 91)), tile=TILE, **RGB, **LOSSLESS, subfiletype=1)  # another shape
        tif.write(levels[0], tile=TILE, **RGB, **LOSSLESS)
        tif.write(marked((128, 96), 1), tile=TILE, **GREY, **LOSSLESS, subfiletype=1)  # another kind
        tif.write(levels[1], tile=TILE, **RGB, **LOSSLESS, subfiletype=1)
    with open_slide(tmp_path / "made.tif") as slide:
        assert_levels(slide, levels)


def test_levels_in_subifds(tmp_path: Path) -> None:
    levels = [marked((256, 192)), marked((128, 96)), marked((64, 48))]
    with tifffile.TiffWriter(tmp_path / "made.tif") as tif:
        tif.write(levels[0], tile=TILE, subifds=2, **RGB, **LOSSLESS)
        for level in levels[1:]:
            tif.write(level, tile=TILE, **RGB, **LOSSLESS, subfiletype=1)
    with open_slide(tmp_path / "made.tif") as slide:
        assert_levels(slide, levels)


def test_samples_without_colour_are_channels(tmp_path: Path) -> None:
    for planar in ("contig", "separate"):
        image = marked((100, 130), 5, "uint16")
        stored = image if planar == "contig" else np.moveaxis(image, -1, 0)
        tifffile.imwrite(tmp_path / f"{planar}.tif", stored, tile=TILE, planarconfig=planar, **GREY, **LOSSLESS)
        with open_slide(tmp_path / f"{planar}.tif") as slide:
            assert len(slide.meta.channels) == 5
            for c in range(5):
                assert_levels(slide, [image[..., c]], Plane(c=c))


def test_equal_pages_are_z_slices(tmp_path: Path) -> None:
    stack = [marked((70, 90), 3, seed=i) for i in range(3)]
    with tifffile.TiffWriter(tmp_path / "made.tif") as tif:
        for image in stack:
            tif.write(image, tile=TILE, **RGB, **LOSSLESS)
    with open_slide(tmp_path / "made.tif") as slide:
        assert slide.meta.n_z == 3
        assert slide.pyramid()[0].shape == (3, 70, 90, 3)
        for z, image in enumerate(stack):
            assert_levels(slide, [image], Plane(z=z))


@pytest.mark.parametrize("turn", range(1, 9))
def test_eight_orientations(tmp_path: Path, turn: int) -> None:
    upright = [marked((100, 140)), marked((50, 70))]
    stored = {
        1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1), 6: lambda a: np.rot90(a, 1), 7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
        8: lambda a: np.rot90(a, -1),
    }[turn]  # fmt: skip
    with tifffile.TiffWriter(tmp_path / "made.tif") as tif:
        for i, level in enumerate(upright):
            tif.write(
                np.ascontiguousarray(stored(level)), tile=(32, 48), extratags=[(274, 3, 1, turn, True)], subfiletype=min(i, 1),
                resolution=(20000, 25000), resolutionunit="CENTIMETER", **RGB, **LOSSLESS,
            )  # fmt: skip
    with open_slide(tmp_path / "made.tif") as slide:
        assert_levels(slide, upright)
        assert slide.levels[0].tile_yx == ((48, 32) if turn >= 5 else (32, 48))
        assert slide.pixel_size.yx_um == ((0.5, 0.4) if turn >= 5 else (0.4, 0.5))


def test_a_level_that_cannot_be_is_left_out_and_said(tmp_path: Path) -> None:
    path = tmp_path / "made.tif"
    levels = pyramid(path, [(256, 256), (128, 128)])
    with tifffile.TiffFile(path, mode="r+b") as tif:
        tif.pages[1].tags[323].overwrite(0)  # tiles of no height
    with open_slide(path) as slide:
        assert_levels(slide, levels[:1])
        assert "tiles of 0x64 px" in slide.meta.properties["left out.level[1]"]


@pytest.mark.parametrize("options", [["--step", "4"], ["--step", "2"], ["--step", "2", "--subifd"]])
def test_pyramids_of_the_big_slide_tool(shared: Path, tmp_path: Path, options: list[str]) -> None:
    path = tmp_path / "big.svs"
    tool = shared / "tools" / "make_big_slide.py"
    assert importlib.util.find_spec("imagecodecs")
    subprocess.run([sys.executable, str(tool), str(path), "--side", "8192", *options], check=True)
    with tifffile.TiffFile(path) as tif:
        pages = [tif.pages[0], *(tif.pages[0].pages or [])] if "--subifd" in options else list(tif.pages)
        last = pages[-1].asarray()
    with open_slide(path) as slide:
        step = int(options[1])
        sides = [8192 // step**i for i in range(len(pages))]
        assert [level.shape_yx for level in slide.levels] == [(s, s) for s in sides]
        assert slide.mpp == 0.25
        np.testing.assert_array_equal(slide.read_level(len(sides) - 1, Box(0, 0, *last.shape[:2])), last)
