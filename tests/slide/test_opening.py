"""Content decides, wrong suffixes open, and what cannot be opened says why in one sentence."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_wsi_mil.errors import SlideDamaged, SlideError, SlideNotFound, UnsupportedSlide
from napari_wsi_mil.slide import Box, looks_like_slide, open_slide

from . import good_files
from .made import pyramid

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("base", ["svs", "ome", "big", "png", "jpeg"])
@pytest.mark.parametrize("suffix", [".ndpi", ".xyz", "", ".zarr"])
def test_a_wrong_suffix_still_opens(tmp_path: Path, base: str, suffix: str) -> None:
    write, name = good_files.WRITERS[base]
    write(tmp_path / name)
    os.rename(tmp_path / name, tmp_path / f"wrong{suffix}")
    with open_slide(tmp_path / f"wrong{suffix}") as slide:
        assert slide.shape0_yx == good_files.SHAPE_YX
    assert looks_like_slide(tmp_path / f"wrong{suffix}")


def test_a_dicom_named_otherwise(shared: Path, tmp_path: Path) -> None:
    shutil.copy(shared / "slides/real/camelyon-overview-jpeg.dcm", tmp_path / "a.svs")
    with open_slide(tmp_path / "a.svs") as slide:
        assert (slide.meta.vendor, slide.shape0_yx) == ("dicom", (700, 1152))


def test_text_path_path_object_and_file_url(tmp_path: Path) -> None:
    pyramid(tmp_path / "a slide.tif", [(70, 80)])
    for place in (tmp_path / "a slide.tif", str(tmp_path / "a slide.tif"), (tmp_path / "a slide.tif").as_uri()):
        with open_slide(place) as slide:
            assert slide.shape0_yx == (70, 80)


def test_file_url_of_a_name_with_percent_signs(tmp_path: Path) -> None:
    pyramid(tmp_path / "50%20mm.tif", [(70, 80)])
    assert (tmp_path / "50%20mm.tif").as_uri().endswith("50%2520mm.tif")
    with open_slide((tmp_path / "50%20mm.tif").as_uri()) as slide:
        assert slide.name == "50%20mm.tif"


def test_a_system_without_positioned_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    levels = pyramid(tmp_path / "a.tif", [(300, 400), (150, 200)])
    monkeypatch.delattr(os, "pread")  # as on Windows
    with open_slide(tmp_path / "a.tif") as slide, ThreadPoolExecutor(4) as pool:
        spots = [Box(y, x, 50, 60) for y in range(0, 250, 25) for x in range(0, 340, 34)]
        for spot, got in zip(spots, pool.map(lambda s: slide.read_level(0, s), spots), strict=True):
            np.testing.assert_array_equal(got, levels[0][spot.y : spot.y + 50, spot.x : spot.x + 60])


@pytest.mark.parametrize(
    ("content", "error", "says"),
    [
        (b"", SlideDamaged, "the file is empty (0 bytes)"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", UnsupportedSlide, "git lfs pull"),
        (b"hello, this is a text file", UnsupportedSlide, "got a file that starts like none of them"),
        (b"II*\0\xff\xff\xff\xff", SlideDamaged, "lies outside the file of 8 bytes"),
        (b"II*\0\0\0\0\0", SlideDamaged, "it lists no image"),
        (b"MM\0+\0\x08\0\0", SlideDamaged, "expected a TIFF header"),
        (b"PK\x03\x04 no zip", SlideDamaged, "the zip is broken"),
    ],
)
def test_files_that_are_no_slides(tmp_path: Path, content: bytes, error: type[SlideError], says: str) -> None:
    (tmp_path / "a.svs").write_bytes(content)
    with pytest.raises(error) as told:
        open_slide(tmp_path / "a.svs")
    assert type(told.value) is error
    assert str(told.value).startswith("a.svs: ")
    assert says in str(told.value)
    assert "\n" not in str(told.value)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(SlideNotFound, match="no such file or folder"):
        open_slide(tmp_path / "none.svs")
    with pytest.raises(UnsupportedSlide, match="got a folder that is neither OME-Zarr nor DICOM"):
        open_slide(tmp_path)
    assert not looks_like_slide(tmp_path / "none.svs")
    assert not looks_like_slide(tmp_path)


def test_vsi_without_its_pixels(shared: Path) -> None:
    with pytest.raises(UnsupportedSlide, match=r"got Olympus VSI, whose pixels lie in \.ets files"):
        open_slide(shared / "slides/damaged/Image_Mouse13_PB_H7.vsi")


def test_mrxs_without_its_folder(tmp_path: Path) -> None:
    (tmp_path / "a.mrxs").write_bytes(b"\xff\xd8\xff\xe0 thumbnail")
    with pytest.raises(SlideError, match="a.mrxs: "):
        open_slide(tmp_path / "a.mrxs")


def test_looks_like_slide_by_name_alone() -> None:
    assert looks_like_slide("https://host/a/b.svs?sign=1")
    assert looks_like_slide("s3://bucket/a.ome.zarr/")
    assert not looks_like_slide("https://host/a/b.txt")


def test_importing_the_room_and_asking_is_light(tmp_path: Path) -> None:
    pyramid(tmp_path / "a.tif", [(70, 80)])
    code = (
        "import sys; from napari_wsi_mil.slide import looks_like_slide; assert looks_like_slide(sys.argv[1]);"
        "print(sorted({'torch', 'napari', 'dask', 'zarr', 'tifffile', 'openslide', 'fsspec', 'imagecodecs'} & set(sys.modules)))"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.tif")], check=True, capture_output=True, text=True
    )
    assert told.stdout == "[]\n"
