"""ICC profiles: to sRGB on demand, in many threads, broken ones only when asked for."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from napari_wsi_mil.errors import UnsupportedSlide
from napari_wsi_mil.slide import open_slide
from napari_wsi_mil.slide.colour import srgb_transform

from .vendor_files import LOSSLESS, TILE, marked

if TYPE_CHECKING:
    from pathlib import Path

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def swapped() -> bytes:
    """Return an sRGB profile whose red and blue primaries change places: its colours come out blue for red."""
    red, blue = SRGB.index(b"rXYZ"), SRGB.index(b"bXYZ")
    raw = bytearray(SRGB)
    raw[red : red + 4], raw[blue : blue + 4] = b"bXYZ", b"rXYZ"
    return bytes(raw)


def slide_of(path: Path, profile: bytes, samples: int = 3) -> np.ndarray:
    image = marked((70, 80), samples)
    more = {"extrasamples": ["unassalpha"]} if samples == 4 else {}
    tifffile.imwrite(path, image, photometric="rgb", tile=TILE, iccprofile=profile, **LOSSLESS, **more)
    return image


def test_colours_change_and_alpha_does_not(tmp_path: Path) -> None:
    for samples in (3, 4):
        image = slide_of(tmp_path / "a.tif", swapped(), samples)
        with open_slide(tmp_path / "a.tif") as slide:
            assert slide.meta.icc_profile == swapped()
            raw, managed = slide.pyramid()[0].compute(), slide.pyramid(managed=True)[0].compute()
        np.testing.assert_array_equal(raw, image)
        assert np.abs(managed[..., :3].astype(int) - image[..., 2::-1]).max() <= 3
        np.testing.assert_array_equal(managed[..., 3:], image[..., 3:])


def test_without_profile_nothing_happens(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", marked((70, 80)), photometric="rgb", **LOSSLESS)
    with open_slide(tmp_path / "a.tif") as slide:
        assert srgb_transform(slide.meta) is None
        np.testing.assert_array_equal(slide.pyramid(managed=True)[0].compute(), marked((70, 80)))


def test_many_threads_agree_with_pillow(tmp_path: Path) -> None:
    image = slide_of(tmp_path / "a.tif", swapped())
    with open_slide(tmp_path / "a.tif") as slide:
        transform = srgb_transform(slide.meta)
    assert transform is not None
    scanner = ImageCms.ImageCmsProfile(io.BytesIO(swapped()))
    wanted = np.asarray(ImageCms.profileToProfile(Image.fromarray(image), scanner, ImageCms.createProfile("sRGB")))
    with ThreadPoolExecutor(8) as pool:
        for got in pool.map(transform, [image] * 40):
            np.testing.assert_array_equal(got, wanted)


def test_a_broken_profile_hurts_only_who_asks(tmp_path: Path) -> None:
    image = slide_of(tmp_path / "a.tif", b"no profile at all" * 20)
    with open_slide(tmp_path / "a.tif") as slide:
        np.testing.assert_array_equal(slide.pyramid()[0].compute(), image)
        with pytest.raises(
            UnsupportedSlide, match=r"ICC profile of 340 bytes cannot be used .*switch colour management off"
        ):
            slide.pyramid(managed=True)


def test_profiles_of_pictures(tmp_path: Path) -> None:
    Image.fromarray(marked((40, 50))).save(tmp_path / "a.png", icc_profile=swapped())
    with open_slide(tmp_path / "a.png") as slide:
        assert slide.meta.icc_profile == swapped()
        assert srgb_transform(slide.meta) is not None
        assert srgb_transform(replace(slide.meta, samples=1)) is None
