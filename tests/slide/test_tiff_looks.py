"""Photometric interpretations: what is stored against what is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_wsi_mil.errors import SlideError, SlideReadError, UnsupportedSlide
from napari_wsi_mil.slide import Box, open_slide

from .vendor_files import LOSSLESS, TILE, marked

if TYPE_CHECKING:
    from pathlib import Path

SVS = "Aperio Image Library v10.0.50\n64x64 (64x64) J2K/YUV16 Q=70|AppMag = 20|MPP = 0.5"


def shown(path: Path) -> np.ndarray:
    with open_slide(path) as slide:
        return slide.read_level(0, Box(0, 0, *slide.shape0_yx))


def test_white_is_zero(tmp_path: Path) -> None:
    for dtype, top in (("uint8", 255), ("uint16", 65535)):
        image = marked((70, 90), 1, dtype)
        tifffile.imwrite(tmp_path / "a.tif", image, tile=TILE, photometric="miniswhite", **LOSSLESS)
        np.testing.assert_array_equal(shown(tmp_path / "a.tif"), top - image)


def test_one_bit(tmp_path: Path) -> None:
    image = marked((70, 90), 1) > 127
    tifffile.imwrite(tmp_path / "a.tif", image, photometric="minisblack", **LOSSLESS)
    np.testing.assert_array_equal(shown(tmp_path / "a.tif"), np.where(image, 255, 0))


def test_palette(tmp_path: Path) -> None:
    image = marked((70, 90), 1)
    table = np.random.default_rng(1).integers(0, 65536, (3, 256)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", image, photometric="palette", colormap=table, tile=TILE, **LOSSLESS)
    np.testing.assert_array_equal(shown(tmp_path / "a.tif"), (table >> 8).astype(np.uint8).T[image])


def test_cmyk_and_lab_are_what_pillow_shows(tmp_path: Path) -> None:
    for mode in ("CMYK", "LAB"):
        stored = marked((40, 50), 4 if mode == "CMYK" else 3)
        picture = Image.frombytes(mode, (50, 40), stored.tobytes())
        picture.save(tmp_path / "a.tif")
        np.testing.assert_array_equal(
            shown(tmp_path / "a.tif"), np.asarray(Image.open(tmp_path / "a.tif").convert("RGB"))
        )


def test_premultiplied_alpha_becomes_straight(tmp_path: Path) -> None:
    image = np.array([[[100, 50, 0, 200], [7, 8, 9, 255], [0, 0, 0, 0]]], np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", image, photometric="rgb", extrasamples=["assocalpha"], **LOSSLESS)
    np.testing.assert_array_equal(shown(tmp_path / "a.tif"), [[[128, 64, 0, 200], [7, 8, 9, 255], [0, 0, 0, 0]]])


@pytest.mark.parametrize("photometric", ["ycbcr", "rgb"])
def test_aperio_jpeg_2000_of_ycbcr(tmp_path: Path, photometric: str) -> None:
    ycbcr = marked((64, 64))
    coded = imagecodecs.jpeg2k_encode(ycbcr, codecformat="j2k", reversible=True, mct=False)
    more: dict[str, Any] = {"subsampling": (2, 1)} if photometric == "ycbcr" else {}
    tifffile.imwrite(
        tmp_path / "a.svs", iter([coded]), shape=(64, 64, 3), dtype="uint8", tile=TILE, photometric=photometric, compression=33003,
        description=SVS, metadata=None, **more,
    )  # fmt: skip
    y, cb, cr = (ycbcr[..., i].astype(float) for i in range(3))
    wanted = np.stack(
        [y + 1.402 * (cr - 128), y - 0.344136 * (cb - 128) - 0.714136 * (cr - 128), y + 1.772 * (cb - 128)], -1
    )
    assert np.abs(shown(tmp_path / "a.svs") - wanted.clip(0, 255)).max() <= 0.51


@pytest.mark.parametrize(
    ("dtype", "photometric", "samples"),
    [("complex64", "minisblack", 1), ("uint16", "cielab", 3), ("uint32", "rgb", 3), ("uint8", 4, 1)],
)
def test_what_cannot_be_shown_is_refused(tmp_path: Path, dtype: str, photometric: Any, samples: int) -> None:
    image = np.ones((32, 32, samples) if samples > 1 else (32, 32), dtype)
    tifffile.imwrite(
        tmp_path / "a.tif", image, photometric="minisblack" if photometric == 4 else photometric, metadata=None
    )
    if photometric == 4:
        with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as tif:
            tif.pages[0].tags[262].overwrite(32803)  # sensor mosaic
    with pytest.raises(UnsupportedSlide, match="expected grey, RGB, palette, CMYK or CIELab pixels, got"):
        open_slide(tmp_path / "a.tif")


def _with_tiles(path: Path, coded: list[bytes], **options: Any) -> None:
    tifffile.imwrite(
        path,
        iter(coded),
        shape=(64, 64 * len(coded), 3),
        dtype="uint8",
        tile=TILE,
        photometric="rgb",
        metadata=None,
        **{"compression": "jpeg", **options},
    )


def test_tile_failures_name_file_and_place(tmp_path: Path) -> None:
    good = imagecodecs.jpeg8_encode(marked((64, 64)), level=90)
    other = imagecodecs.jpeg8_encode(marked((32, 128)), level=90)
    cases = {
        "its JPEG data ends too early": good[: len(good) // 2],
        "expected 64x64 px, its own header says 32x128": other,
        "cannot be decoded": good[:22] + b"\x00\x01" + good[24:],
        "it is empty (0 bytes)": b"",
    }
    for i, (text, bad) in enumerate(cases.items()):
        path = tmp_path / f"{i}.tif"
        _with_tiles(path, [good] * 4 + [bad])  # blocks of 4 tiles are read at once
        with open_slide(path) as slide:
            assert slide.read_level(0, Box(0, 0, 64, 256)).shape == (64, 256, 3)
            with pytest.raises(SlideReadError) as told:
                slide.read_level(0, Box(0, 250, 20, 20))
        assert f"{i}.tif: tile at row 0, column 4" in str(told.value)
        assert text in str(told.value)


def test_bombs_are_refused_before_they_are_allocated(tmp_path: Path) -> None:
    bomb = imagecodecs.jpeg2k_encode(np.zeros((2048, 2048, 3), np.uint8), codecformat="j2k", reversible=True)
    good = imagecodecs.jpeg2k_encode(marked((64, 64)), codecformat="j2k", reversible=True)
    _with_tiles(tmp_path / "a.tif", [good, bomb], compression="jpeg2000")
    with open_slide(tmp_path / "a.tif") as slide, pytest.raises(SlideReadError, match="its own header says 2048x2048"):
        slide.read_level(0, Box(0, 64, 64, 64))
    tifffile.imwrite(tmp_path / "b.tif", marked((64, 64)), tile=TILE, photometric="rgb", metadata=None)
    with tifffile.TiffFile(tmp_path / "b.tif", mode="r+b") as tif:
        tif.pages[0].tags[256].overwrite(2**31 - 1)
        tif.pages[0].tags[257].overwrite(2**31 - 1)
    with pytest.raises(SlideError, match="it claims an image of 2147483647x2147483647 px"):
        open_slide(tmp_path / "b.tif")
