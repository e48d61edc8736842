"""Odd and damaged files gathered from other projects: each shows the right pixels or one clear error."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
from PIL import Image
from skimage.color import lab2rgb

from .probe import Prober
from .verdict import faults

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Array = np.ndarray[Any, Any]

FOLDER = Path(__file__).parents[3] / "shared" / "slides" / "damaged"
NO_FOLDER = "the folder ../shared/slides/damaged is not here"


def pillow(path: Path, mode: str = "") -> list[Array]:
    """Return what Pillow shows, upright, in `mode` where one is named."""
    with Image.open(path) as image:
        image.load()
        return [np.asarray(image.convert(mode) if mode else image)]


def plain(path: Path) -> list[Array]:
    """Return what tifffile decodes of the first image."""
    with tifffile.TiffFile(path) as tif:
        return [tif.pages[0].asarray()]


def grey(path: Path) -> list[Array]:
    """Return a 1-bit image as 0 and 255."""
    return [pillow(path)[0].astype(np.uint8) * 255]


def colour(path: Path) -> list[Array]:
    """Return colours as Pillow makes them of a palette, CMYK and the like."""
    return pillow(path, "RGB")


def three(path: Path) -> list[Array]:
    """Return the first three samples; of the fourth the file does not say what it is."""
    return [plain(path)[0][..., :3]]


def first_plane(path: Path) -> list[Array]:
    """Return the first of planar samples."""
    return [plain(path)[0][0]]


def from_lab(path: Path) -> list[Array]:
    """Return sRGB of 8-bit CIELAB (a and b signed) white being white."""
    raw = plain(path)[0]
    lab = np.stack([raw[..., 0] * (100 / 255), raw[..., 1].view(np.int8), raw[..., 2].view(np.int8)], -1)
    return [np.rint(lab2rgb(lab) * 255)]


def over_white(path: Path) -> list[Array]:
    """Return premultiplied 16-bit RGBA laid over white, as 8-bit RGB."""
    with tifffile.TiffFile(path) as tif:
        raw = tif.pages[0].asarray().astype(np.float64)
    raw = np.moveaxis(raw, 0, -1) if raw.shape[0] == 4 else raw
    return [np.rint((raw[..., :3] + 65535 - raw[..., 3:]) / 257)]


SHOWN: dict[str, tuple[Callable[[Path], list[Array]], int]] = {
    "12bit.cropped.tif": (plain, 0),
    "16_bit_binary_pgm.tiff": (plain, 0),
    "16bit.MM.cropped.tif": (plain, 0),
    "16bit.cropped.tif": (plain, 0),
    "16bit.r.tif": (plain, 0),
    "8bit.s.tif": (plain, 0),
    "child_ifd_jpeg.tiff": (colour, 0),
    "copyleft.tiff": (colour, 0),
    "g4-multi.tiff": (grey, 0),
    "g4_orientation_2.tif": (grey, 0),
    "g4_orientation_4.tif": (grey, 0),
    "g4_orientation_6.tif": (grey, 0),
    "g4_orientation_8.tif": (grey, 0),
    "hopper.iccprofile.tif": (colour, 0),
    "hopper.tif": (colour, 0),
    "hopper_float_dpi_2.tif": (colour, 0),
    "hopper_float_dpi_None.tif": (colour, 0),
    "hopper_g4_500.tif": (grey, 0),
    "hopper_jpg.tif": (colour, 1),
    "hopper_lzw.tif": (colour, 0),
    "hopper_webp.tif": (plain, 0),
    "imagedraw_rectangle_I.tiff": (plain, 0),
    "lab-green.tif": (from_lab, 2),
    "lab.tif": (from_lab, 2),
    "multipage-lastframe.tif": (colour, 0),
    "multipage.tiff": (colour, 0),
    "multipage_out_of_order.tiff": (colour, 0),
    "old-style-jpeg-compression-no-samplesperpixel.tif": (colour, 48),  # chroma at the edge of blocks
    "pil168.tif": (colour, 1),
    "rdf.tif": (lambda path: pillow(path, "RGBA"), 0),
    "separate_planar_extra_samples.tiff": (first_plane, 0),
    "tiff_strip_cmyk_jpeg.tif": (colour, 3),
    "tiff_strip_ycbcr_jpeg_1x1_sampling.tif": (colour, 2),
    "tiff_tiled_cmyk_jpeg.tif": (colour, 3),
    "tiff_tiled_ycbcr_jpeg_1x1_sampling.tif": (colour, 2),
    "tiff_wrong_bits_per_sample.tiff": (plain, 0),
    "tiff_wrong_bits_per_sample_3.tiff": (three, 0),
    "uint16_1_4660.tif": (plain, 0),
}
"""Who says what the pixels are, and how far decoders may differ (JPEG, CMYK)."""

MUST_SHOW = {
    "12bit.cropped.tif", "16bit.MM.cropped.tif", "16bit.cropped.tif", "16bit.r.tif", "child_ifd_jpeg.tiff", "copyleft.tiff",
    "hopper.iccprofile.tif", "hopper.tif", "hopper_float_dpi_2.tif", "hopper_float_dpi_None.tif", "hopper_jpg.tif", "hopper_lzw.tif",
    "hopper_webp.tif", "imagedraw_rectangle_I.tiff", "pil168.tif", "tiff_strip_ycbcr_jpeg_1x1_sampling.tif",
    "tiff_tiled_ycbcr_jpeg_1x1_sampling.tif", "tiff_wrong_bits_per_sample.tiff", "uint16_1_4660.tif",
}  # fmt: skip
"""Nothing about these is damaged or out of the ordinary for a slide; the others of SHOWN may be refused."""

HALF_READ = {"crash-0da013a13571cc8eb457a39fee8db18f8a3c7127.tif"}
"""A fax page with one bad line, which Pillow shows but for that line."""

PREMULTIPLIED = {"tiff_16bit_RGBa.tiff", "tiff_strip_planar_16bit_RGBa.tiff", "tiff_tiled_planar_16bit_RGBa.tiff"}

REFUSED = {
    "Image_Mouse13_PB_H7.vsi": "vsi",  # holds label and overview only; the slide lies in a folder that is not there
    "broken.svs": "",
    "crash-1152ec2d1a1a71395b6f2ce6721c38924d025bf3.tif": "",
    "crash-2020-10-test.tif": "",
    "crash-4f085cc12ece8cde18758d42608bed6a2a2cfb1c.tif": "",
    "crash-f46f5b2f43c370fe65706c11449f567ecc345e74.tif": "",
    "crash-74d2a78403a5a59db1fb0a2b8735ac068a75f6e3.tif": "",  # states its width twice
    "git-lfs-pointer.ndpi": "git",
    "oom-225817ca0f8c663be7ab4b9e717b02c661e66834.tif": "",
    "unopenable.tiff": "",
    "unreadable.svs": "",
    "zero_gi.tif": "",
}
"""And a word that the message should hold."""


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prober]:
    if not FOLDER.is_dir():
        pytest.skip(NO_FOLDER)
    prober = Prober(tmp_path_factory.mktemp("probe"))
    yield prober
    prober.close()


def truth_of(name: str, read: Callable[[Path], list[Array]]) -> list[Array]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the reference readers complain of the files, rightly
        return read(FOLDER / name)


def test_every_file_of_the_folder_has_an_expectation():
    if not FOLDER.is_dir():
        pytest.skip(NO_FOLDER)
    assert {p.name for p in FOLDER.iterdir()} == {*SHOWN, *HALF_READ, *PREMULTIPLIED, *REFUSED}


@pytest.mark.parametrize("name", sorted(SHOWN))
def test_pixels_are_those_of_another_reader_or_refused(name: str, probe: Prober) -> None:
    read, off_by = SHOWN[name]
    outcome = probe(FOLDER / name)
    assert "\n".join(faults(outcome, name, truth_of(name, read), off_by=off_by)) == ""
    if name in MUST_SHOW:
        assert outcome.errors == []
        assert outcome.reads


@pytest.mark.parametrize("name", sorted(HALF_READ))
def test_fax_pages_with_a_bad_line_look_as_in_pillow_or_are_refused(name: str, probe: Prober) -> None:
    assert "\n".join(faults(probe(FOLDER / name), name, truth_of(name, grey))) == ""


@pytest.mark.parametrize("name", sorted(PREMULTIPLIED))
def test_premultiplied_alpha_is_laid_over_white_or_refused(name: str, probe: Prober) -> None:
    outcome = probe(FOLDER / name)
    rgb = [r for r in outcome.reads if r.kind == "rgb"]
    assert "\n".join(faults(replace(outcome, reads=tuple(rgb)), name, truth_of(name, over_white), off_by=3)) == ""
    assert rgb or outcome.errors


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_damaged_or_foreign_file_is_refused_in_one_sentence(name: str, probe: Prober) -> None:
    outcome = probe(FOLDER / name)
    assert "\n".join(faults(outcome, name, None)) == ""
    assert outcome.errors
    assert REFUSED[name] in " ".join(outcome.errors).lower()
