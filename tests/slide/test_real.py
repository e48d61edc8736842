"""Every real slide of the shared folder, each level against OpenSlide or plain tifffile, pixel by pixel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import openslide
import pytest

from napari_wsi_mil.slide import Box, open_slide

from .made import assert_levels, tiff_pages

if TYPE_CHECKING:
    from pathlib import Path

TURNS = {1: lambda a: a, 3: lambda a: np.rot90(a, 2), 6: lambda a: np.rot90(a, -1), 8: lambda a: np.rot90(a, 1)}
NDPI = "test3-DAPI-2-(387).ndpi"


@pytest.fixture
def real(shared: Path) -> Path:
    return shared / "slides" / "real"


def by_openslide(path: Path, levels: range | None = None) -> list[np.ndarray]:
    with openslide.OpenSlide(path) as slide:
        wanted = levels or range(slide.level_count)
        images = [np.asarray(slide.read_region((0, 0), i, slide.level_dimensions[i])) for i in wanted]
    assert all((i[..., 3] == 255).all() for i in images)
    return [i[..., :3] for i in images]


@pytest.mark.parametrize(
    "name", ["CMU-1-Small-Region.svs", "small.svs", "😐.svs", "boxes.tiff", "BRACS-crop-mpp-tag-1000.tiff"]
)
def test_levels_equal_openslide(real: Path, name: str) -> None:
    with open_slide(real / name) as slide:
        assert slide.meta.backend == "tifffile"
        assert_levels(slide, by_openslide(real / name))


def test_jpeg_2000_equals_plain_tifffile(real: Path) -> None:
    path = real / "tcga-cr-7395-jpeg2000-no-mpp.svs"
    pages = tiff_pages(path)
    with open_slide(path) as slide:
        assert_levels(slide, [pages[0], pages[2]])
        np.testing.assert_array_equal(slide.read_associated("thumbnail"), pages[1])
        assert slide.levels[1].downsample_yx == (3567 / 1783, 4443 / 2221)


@pytest.mark.parametrize("turn", [1, 3, 6, 8])
def test_orientations(real: Path, turn: int) -> None:
    path = real / f"test_orient{turn}.tif"
    with open_slide(path) as slide:
        assert_levels(slide, [TURNS[turn](page) for page in tiff_pages(path)])


def test_zstd_levels(real: Path) -> None:
    path = real / "yb10kx5k.zstd.tiff"
    pages = tiff_pages(path)
    with open_slide(path) as slide:
        assert [level.shape_yx for level in slide.levels] == [p.shape[:2] for p in pages]
        for i, page in enumerate(pages):
            h, w = page.shape[:2]
            for box in (Box(0, 0, min(h, 1100), min(w, 700)), Box(h - 300, w - 600, 300, 600)):
                np.testing.assert_array_equal(
                    slide.read_level(i, box), page[box.y : box.y + box.h, box.x : box.x + box.w]
                )


def test_ome_tiff(real: Path) -> None:
    path = real / "OS-1-detail.ome.tif"
    with open_slide(path) as slide:
        assert slide.mpp_yx == pytest.approx((0.22710240047237298, 0.2270972430394695))
        assert slide.pixel_size.source == "OME PhysicalSize"
        assert_levels(slide, tiff_pages(path))


def test_ndpi_levels_and_facts(real: Path) -> None:
    path = real / NDPI
    with open_slide(path) as slide:
        assert_levels(slide, tiff_pages(path)[:4])
        assert slide.mpp_yx == pytest.approx((10000 / 43826, 10000 / 43826))
        assert (slide.pixel_size.source, slide.meta.objective) == ("NDPI XResolution", 40.0)
        assert slide.meta.associated == ("macro", "map")
        assert slide.meta.properties["hamamatsu.channel"] == "DAPI 2 (387)"
        assert [level.downsample_yx for level in slide.levels] == [(1, 1), (2, 2), (4, 4), (8, 8)]
        np.testing.assert_array_equal(slide.read_associated("macro"), tiff_pages(path)[4])


@pytest.mark.parametrize("level", range(4))
def test_ndpi_is_what_openslide_shows(real: Path, level: int) -> None:
    with open_slide(real / NDPI) as slide:
        ours = slide.read_level(level, Box(0, 0, *slide.levels[level].shape_yx))
    np.testing.assert_array_equal(ours, by_openslide(real / NDPI, range(level, level + 1))[0])


@pytest.mark.parametrize("name", ["CMU-1-Small-Region.dicom", "camelyon-overview-jpeg.dcm"])
def test_dicom(real: Path, name: str) -> None:
    path = real / name
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    with open_slide(path) as slide:
        assert (slide.meta.backend, slide.meta.vendor) == ("openslide", "dicom")
        assert_levels(slide, by_openslide(files[0]))


def test_dicom_by_any_of_its_files(real: Path) -> None:
    marks = set()
    for file in sorted((real / "CMU-1-Small-Region.dicom").iterdir()):
        with open_slide(file) as slide:
            assert slide.mpp_yx == pytest.approx((0.499, 0.499))
            assert set(slide.meta.associated) == {"label", "macro", "thumbnail"}
            assert slide.read_associated("macro").shape == (431, 1280, 3)
            marks.add(slide.fingerprint)
    assert len(marks) == 1


def test_aperio_facts(real: Path) -> None:
    with open_slide(real / "CMU-1-Small-Region.svs") as slide:
        assert slide.mpp_yx == (0.499, 0.499)
        assert (slide.meta.objective, slide.meta.vendor) == (20.0, "aperio")
        assert slide.meta.associated == ("thumbnail", "label", "macro")
        assert [slide.read_associated(n).shape for n in slide.meta.associated] == [
            (768, 574, 3),
            (463, 387, 3),
            (431, 1280, 3),
        ]
        assert slide.meta.properties["aperio.Date"] == "12/29/09"


def test_pixel_sizes_that_need_the_user(real: Path) -> None:
    with open_slide(real / "BRACS-crop-mpp-tag-1000.tiff") as slide:
        assert slide.mpp is None
        assert slide.pixel_size.problem == "TIFF XResolution says 1000 um/px, but slides have 0.05 to 40 um/px"
    with open_slide(real / "tcga-cr-7395-jpeg2000-no-mpp.svs") as slide:
        assert (slide.mpp, slide.pixel_size.problem) == (None, "the file holds no pixel size")
