"""Scanner layouts: which pages are levels, what the XML says, what is associated."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import imagecodecs
import numpy as np
import openslide
import pytest
import tifffile

from napari_wsi_mil.errors import SlideDamaged, SlideReadError
from napari_wsi_mil.slide import Box, Channel, Plane, open_slide

from . import vendor_files as made
from .made import assert_levels

if TYPE_CHECKING:
    from pathlib import Path


def test_leica_shows_the_scan_not_the_overview(tmp_path: Path) -> None:
    levels = made.scn(tmp_path / "a.scn")
    with open_slide(tmp_path / "a.scn") as slide:
        assert_levels(slide, levels)
        assert (slide.meta.vendor, slide.mpp_yx, slide.meta.objective) == ("leica", (0.25, 0.25), 40.0)
        assert slide.pixel_size.source == "SCN view size"
        assert slide.meta.associated == ("macro",)
        np.testing.assert_array_equal(slide.read_associated("macro"), made.marked((450, 160)))
        with openslide.OpenSlide(tmp_path / "a.scn") as other:
            bounds = [int(other.properties[f"openslide.bounds-{a}"]) for a in ("y", "x", "height", "width")]
            theirs = np.asarray(other.read_region((bounds[1], bounds[0]), 0, (bounds[3], bounds[2])))
        assert bounds == [*slide.meta.origin_yx0, 200, 300]
        np.testing.assert_array_equal(theirs[..., :3], levels[0])


def test_leica_fluorescence(tmp_path: Path) -> None:
    stacks = made.scn_fluorescence(tmp_path / "a.scn")
    with open_slide(tmp_path / "a.scn") as slide:
        assert slide.meta.channels == (Channel("DAPI", (0.0, 0.0, 1.0)), Channel("Cy5", (1.0, 0.0, 0.0)))
        assert slide.meta.n_z == 3
        for (c, z), levels in stacks.items():
            assert_levels(slide, levels, Plane(c=c, z=z))


def test_leica_description_of_pages_that_are_not_there(tmp_path: Path) -> None:
    text = made.SCN_XML.replace('ifd="2"', 'ifd="9"')
    with tifffile.TiffWriter(tmp_path / "a.scn", bigtiff=True) as tif:
        tif.write(made.marked((450, 160)), photometric="rgb", tile=made.TILE, description=text, **made.LOSSLESS)
        tif.write(made.marked((200, 300)), photometric="rgb", tile=made.TILE, **made.LOSSLESS)
    with pytest.raises(SlideDamaged, match="its description names image 9, the file holds 2"):
        open_slide(tmp_path / "a.scn")


def test_leica_description_of_more_planes_than_it_names(tmp_path: Path) -> None:
    last = '<dimension sizeX="75" sizeY="50" r="1" ifd="2"/>'
    text = made.SCN_XML.replace(last, last.replace("ifd", 'z="40000000" ifd'))
    with tifffile.TiffWriter(tmp_path / "a.scn", bigtiff=True) as tif:
        tif.write(made.marked((450, 160)), photometric="rgb", tile=made.TILE, description=text, **made.LOSSLESS)
        tif.write(made.marked((200, 300)), photometric="rgb", tile=made.TILE, **made.LOSSLESS)
        tif.write(made.marked((50, 75)), photometric="rgb", tile=made.TILE, **made.LOSSLESS)
    with pytest.raises(SlideDamaged, match="counts 40000001 z slices of 1 channels but names only 2 images"):
        open_slide(tmp_path / "a.scn")


def test_ventana(tmp_path: Path) -> None:
    levels = made.bif(tmp_path / "a.bif")
    with open_slide(tmp_path / "a.bif") as slide:
        assert_levels(slide, levels)
        assert (slide.meta.backend, slide.meta.vendor) == ("tifffile", "ventana")
        assert (slide.mpp_yx, slide.pixel_size.source, slide.meta.objective) == ((0.465, 0.465), "iScan ScanRes", 20.0)
        assert slide.meta.associated == ("label", "thumbnail")
    with openslide.OpenSlide(tmp_path / "a.bif") as other:
        for i, level in enumerate(levels):
            theirs = np.asarray(other.read_region((0, 0), i, level.shape[1::-1]))
            np.testing.assert_array_equal(theirs[..., :3], level)


def test_ventana_with_overlapping_tiles_is_joined_by_openslide(tmp_path: Path) -> None:
    levels = made.bif(tmp_path / "a.bif", overlap_px=4)
    with open_slide(tmp_path / "a.bif") as slide:
        assert slide.meta.backend == "openslide"
        assert [level.shape_yx for level in slide.levels] == [(124, 184), (62, 92)]
        np.testing.assert_array_equal(slide.read_level(0, Box(0, 0, 60, 60)), levels[0][:60, :60])
        np.testing.assert_array_equal(slide.read_level(0, Box(64, 124, 60, 60)), levels[0][68:, 132:])


def test_perkinelmer_channels(tmp_path: Path) -> None:
    stacks = made.qptiff(tmp_path / "a.qptiff")
    with open_slide(tmp_path / "a.qptiff") as slide:
        assert slide.meta.channels == (Channel("DAPI", (0.0, 0.0, 1.0)), Channel("Opal 570", (1.0, 128 / 255, 0.0)))
        assert (slide.mpp_yx, slide.pixel_size.source, slide.meta.objective) == ((0.5, 0.5), "QPTIFF XResolution", 20.0)
        assert set(slide.meta.associated) == {"thumbnail", "label", "macro"}
        for c, levels in stacks.items():
            assert_levels(slide, levels, Plane(c=c))


def test_philips_padding_and_unscanned_tiles(tmp_path: Path) -> None:
    levels = made.philips(tmp_path / "a.tiff")
    with open_slide(tmp_path / "a.tiff") as slide:
        assert_levels(slide, levels)
        assert [level.downsample_yx for level in slide.levels] == [(1, 1), (2, 2), (4, 4)]
        assert slide.mpp_yx == pytest.approx((0.25, 0.249))
        assert slide.pixel_size.source == "DICOM_PIXEL_SPACING"
        assert set(slide.meta.associated) == {"macro", "label"}
        np.testing.assert_array_equal(slide.read_associated("macro"), made.marked((40, 90)))
        np.testing.assert_array_equal(slide.read_associated("label"), made.marked((40, 30)))
    with openslide.OpenSlide(tmp_path / "a.tiff") as other:
        assert other.level_dimensions == tuple(a.shape[1::-1] for a in levels)
        assert other.level_downsamples == (1, 2, 4)


def _ndpi_pages(tif: tifffile.TiffWriter, z_nm: int, lens: float, image: np.ndarray) -> None:
    coded = imagecodecs.jpeg8_encode(image, level=95, subsampling="444")
    tags = [
        (65420, 4, 1, 1, True),
        (65421, 11, 1, lens, True),
        (65424, 9, 1, z_nm, True),
        (271, 2, 0, "Hamamatsu", True),
    ]
    tif.write(
        iter([coded]), shape=image.shape, dtype="uint8", photometric="ycbcr", subsampling=(1, 1), compression="jpeg",
        rowsperstrip=image.shape[0], extratags=tags, metadata=None, resolution=(1100 * abs(lens), 1100 * abs(lens)), resolutionunit="CENTIMETER",
    )  # fmt: skip


def test_hamamatsu_focal_planes_and_macro(tmp_path: Path) -> None:
    focus = {-2000: 1, 0: 2, 2000: 3}
    with tifffile.TiffWriter(tmp_path / "a.tif") as tif:
        for z in (0, 2000, -2000):
            for lens, size in ((20.0, (96, 128)), (5.0, (24, 32))):
                _ndpi_pages(tif, z, lens, made.marked(size, seed=focus[z]))
        _ndpi_pages(tif, 0, -1.0, made.marked((40, 90)))
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        pages = [page.asarray() for page in tif.pages]
    with open_slide(tmp_path / "a.tif") as slide:
        assert (slide.meta.vendor, slide.meta.n_z, slide.meta.z_step_um, slide.meta.objective) == (
            "hamamatsu",
            3,
            2.0,
            20.0,
        )
        assert slide.mpp == pytest.approx(10000 / 22000)
        for z, first in enumerate((4, 0, 2)):
            assert_levels(slide, pages[first : first + 2], Plane(z=z))
        assert slide.meta.associated == ("macro",)


def test_aperio_label_macro_and_focal_planes(tmp_path: Path) -> None:
    text = "Aperio Image Library v11.2.1\r\n{}|AppMag = 40|MPP = 0,2500|OffsetZ = {}"
    pages = [
        made.marked((128, 192), seed=1),
        made.marked((128, 192), seed=2),
        made.marked((64, 96), seed=1),
        made.marked((64, 96), seed=2),
    ]
    with tifffile.TiffWriter(tmp_path / "a.svs") as tif:
        tif.write(pages[0], photometric="rgb", tile=made.TILE, description=text.format("192x128", 0), **made.LOSSLESS)
        tif.write(
            made.marked((43, 64)),
            photometric="rgb",
            description="Aperio Image Library v11.2.1\r\n192x128 -> 64x43",
            **made.LOSSLESS,
        )
        for page in pages[1:]:
            tif.write(page, photometric="rgb", tile=made.TILE, description=text.format("192x128", 1), **made.LOSSLESS)
        for name, kind in (("label 40x50", 1), ("macro 120x40", 9)):
            tif.write(
                made.marked((40, 60)),
                photometric="rgb",
                description=f"Aperio Image Library v11.2.1\r\n{name}",
                subfiletype=kind,
                **made.LOSSLESS,
            )
    with open_slide(tmp_path / "a.svs") as slide:
        assert (slide.mpp, slide.meta.n_z) == (0.25, 2)
        assert slide.meta.associated == ("thumbnail", "label", "macro")
        assert_levels(slide, [pages[0], pages[2]], Plane(z=0))
        assert_levels(slide, [pages[1], pages[3]], Plane(z=1))


def test_the_label_is_only_read_when_asked_for(tmp_path: Path) -> None:
    """A label that cannot be read hurts nobody but who asks for it by name."""
    text = "Aperio Image Library v11.2.1\r\n{}|AppMag = 40|MPP = 0.25"
    with tifffile.TiffWriter(tmp_path / "a.svs") as tif:
        tif.write(
            made.marked((128, 192)), photometric="rgb", tile=made.TILE, description=text.format("x"), **made.LOSSLESS
        )
        tif.write(made.marked((40, 60)), photometric="rgb", description=text.format("label 60x40"), **made.LOSSLESS)
    with tifffile.TiffFile(tmp_path / "a.svs") as tif:
        place = tif.pages[1].dataoffsets[0]
    with (tmp_path / "a.svs").open("r+b") as file:
        file.seek(place)
        file.write(b"\xff" * 40)
    with open_slide(tmp_path / "a.svs") as slide:
        assert_levels(slide, [made.marked((128, 192))])
        assert slide.pyramid()[0].compute().shape == (128, 192, 3)
        assert slide.meta.associated == ("label",)
        with pytest.raises(SlideReadError, match="a.svs label: strip at row 0, column 0 cannot be decoded"):
            slide.read_associated("label")


def moved_behind_4_gib(ndpi: bytes) -> tuple[bytes, bytes, int]:
    """Return (header, body, place of body) of an NDPI whose offsets need the high words of its 64-bit form."""
    sizes = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
    body, place = bytearray(ndpi), 4_600_000_000
    (at,) = struct.unpack("<Q", body[4:12])
    header = bytes(body[:4]) + struct.pack("<Q", at + place)
    while at:
        (count,) = struct.unpack("<H", body[at : at + 2])
        following = at + 2 + 12 * count
        for i in range(count):
            entry, high = at + 2 + 12 * i, following + 8 + 4 * i
            code, kind, n = struct.unpack("<HHI", body[entry : entry + 8])
            if sizes[kind] * n > 4 or code == 273:
                (low,), (upper,) = (
                    struct.unpack("<I", body[entry + 8 : entry + 12]),
                    struct.unpack("<I", body[high : high + 4]),
                )
                value = low + (upper << 32) + place
                body[entry + 8 : entry + 12] = struct.pack("<I", value & 0xFFFFFFFF)
                body[high : high + 4] = struct.pack("<I", value >> 32)
        (at,) = struct.unpack("<Q", body[following : following + 8])
        if at:
            body[following : following + 8] = struct.pack("<Q", at + place)
    return header, bytes(body), place


@pytest.mark.slow
def test_hamamatsu_beyond_4_gib(shared: Path, tmp_path: Path) -> None:
    small = shared / "slides/real/test3-DAPI-2-(387).ndpi"
    header, body, place = moved_behind_4_gib(small.read_bytes())
    with (tmp_path / "big.tif").open("wb") as file:  # with a hole, not with 4 GiB on the disk
        file.write(header)
        file.seek(place)
        file.write(body)
    with open_slide(tmp_path / "big.tif") as big, open_slide(small) as wanted:
        assert (big.meta.vendor, big.mpp) == ("hamamatsu", wanted.mpp)
        for i, level in enumerate(wanted.levels):
            box = Box(level.shape_yx[0] - 99, 0, 99, level.shape_yx[1])
            np.testing.assert_array_equal(big.read_level(i, box), wanted.read_level(i, box))
