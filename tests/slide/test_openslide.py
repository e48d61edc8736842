"""The OpenSlide backend: bounds, fractional downsamples, transparency and errors, on real and on made handles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import openslide
import pytest
import tifffile
from PIL import Image

from napari_wsi_mil.errors import SlideReadError
from napari_wsi_mil.slide import Box, Plane, open_slide
from napari_wsi_mil.slide.vendor import OpenSlideSource

from .made import pyramid
from .vendor_files import marked

if TYPE_CHECKING:
    from pathlib import Path


class Handle:
    """Behaves like an open MRXS: levels of exactly 2^n, scanned area inside a larger empty frame."""

    def __init__(self, *, properties: dict[str, str] | None = None, fail: bool = False) -> None:
        self.level_dimensions = ((1000, 800), (250, 200))
        self.level_downsamples = (1.0, 4.0)
        self.dimensions = self.level_dimensions[0]
        bounds = {"x": 240, "y": 160, "width": 400, "height": 320}
        self.properties = {f"openslide.bounds-{k}": str(v) for k, v in bounds.items()}
        self.properties |= {"openslide.vendor": "mirax", "openslide.mpp-x": "0.23", "openslide.mpp-y": "0.24"}
        self.properties |= {"openslide.objective-power": "40", "openslide.quickhash-1": "ab", **(properties or {})}
        self.associated_images: dict[str, Image.Image] = {"macro": Image.new("RGBA", (20, 10), (9, 8, 7, 255))}
        self.color_profile = None
        self.fail, self.closed, self.asked = fail, 0, []

    def pixels(self, level: int) -> np.ndarray:
        w, h = self.level_dimensions[level]
        y, x = np.mgrid[:h, :w]
        return np.stack([y % 251, x % 241, np.full_like(y, level), np.full_like(y, 255)], -1).astype(np.uint8)

    def read_region(self, corner: tuple[int, int], level: int, size: tuple[int, int]) -> Image.Image:
        if self.fail:
            raise openslide.OpenSlideError("Cannot read tile")
        self.asked.append((corner, level, size))
        factor = self.level_downsamples[level]
        x, y = (round(v / factor) for v in corner)
        return Image.fromarray(self.pixels(level)[y : y + size[1], x : x + size[0]])

    def close(self) -> None:
        self.closed += 1


def test_bounds_are_the_slide() -> None:
    handle = Handle()
    with OpenSlideSource("made.mrxs", handle=handle) as source:
        meta = source.meta
        assert [level.shape_yx for level in meta.levels] == [(320, 400), (80, 100)]
        assert [level.downsample_yx for level in meta.levels] == [(1.0, 1.0), (4.0, 4.0)]
        assert (meta.origin_yx0, meta.objective, meta.vendor) == ((160, 240), 40.0, "mirax")
        assert meta.pixel_size.yx_um == (0.24, 0.23)
        whole = source.read(1, Box(0, 0, 80, 100), Plane())
        np.testing.assert_array_equal(whole, handle.pixels(1)[40:120, 60:160, :3])
        np.testing.assert_array_equal(
            source.read(0, Box(10, 20, 5, 6), Plane()), handle.pixels(0)[170:175, 260:266, :3]
        )
        assert handle.asked[-1] == ((260, 170), 0, (6, 5))
        assert source.read_associated("macro")[0, 0].tolist() == [9, 8, 7]
    assert handle.closed == 1


@pytest.mark.parametrize("colour", ["FFFFFF", "204060"])
def test_transparency_lies_on_the_background(colour: str) -> None:
    class Clear(Handle):
        def pixels(self, level: int) -> np.ndarray:
            out = super().pixels(level)
            out[..., :3], out[..., 3] = 100, 0
            out[:, ::2, 3] = 128
            return out

    source = OpenSlideSource("made.mrxs", handle=Clear(properties={"openslide.background-color": colour}))
    pixels = source.read(0, Box(0, 0, 4, 4), Plane())
    background = np.frombuffer(bytes.fromhex(colour), np.uint8).astype(int)
    np.testing.assert_array_equal(pixels[0, 1], background)
    np.testing.assert_array_equal(pixels[0, 0], (100 * 128 + background * 127 + 127) // 255)


def test_errors_name_the_place() -> None:
    source = OpenSlideSource("made.mrxs", handle=Handle(fail=True))
    with pytest.raises(
        SlideReadError, match=r"made.mrxs: level 1, row 3, column 4 cannot be read \(Cannot read tile\)"
    ):
        source.read(1, Box(3, 4, 5, 5), Plane())


def test_one_bad_tile_does_not_end_the_slide(tmp_path: Path) -> None:
    """OpenSlide refuses everything after its first error; a fresh handle reads on."""
    path = tmp_path / "made.tif"
    levels = pyramid(path, [(640, 640)], compression="jpeg")
    with tifffile.TiffFile(path) as tif:
        levels = [tif.pages[0].asarray()]
        spoilt = tif.pages[0].dataoffsets[55]
    with path.open("r+b") as file:
        file.seek(spoilt)
        file.write(b"\0" * 100)
    with OpenSlideSource(str(path)) as source:
        with pytest.raises(SlideReadError):
            source.read(0, Box(320, 320, 64, 64), Plane())
        np.testing.assert_array_equal(source.read(0, Box(0, 0, 64, 64), Plane()), levels[0][:64, :64])


def test_hamamatsu_vms_by_content(tmp_path: Path) -> None:
    image = marked((512, 768))
    pictures = {"a": image, "map": image[::8, ::8], "macro": image[::4, ::4]}
    for name, pixels in pictures.items():
        Image.fromarray(pixels).save(tmp_path / f"{name}.jpg", quality=92, restart_marker_blocks=4, subsampling=0)
    facts = {
        "NoLayers": 1, "NoJpegColumns": 1, "NoJpegRows": 1, "ImageFile": "a.jpg", "MapFile": "map.jpg", "MacroImage": "macro.jpg",
        "PhysicalWidth": 384000, "PhysicalHeight": 256000, "PhysicalMacroWidth": 384000, "PhysicalMacroHeight": 256000, "SourceLens": 20,
    }  # fmt: skip
    lines = "".join(f"{k}={v}\n" for k, v in facts.items())
    (tmp_path / "wrong.txt").write_text(f"[Virtual Microscope Specimen]\n{lines}")
    with open_slide(tmp_path / "wrong.txt") as slide, Image.open(tmp_path / "a.jpg") as whole:
        assert (slide.meta.vendor, slide.mpp, slide.meta.objective) == ("hamamatsu", 0.5, 20.0)
        assert [level.downsample_yx[0] for level in slide.levels] == [1, 2, 4, 8, 16, 32, 64]
        np.testing.assert_array_equal(slide.read_level(0, Box(0, 0, 512, 768)), np.asarray(whole))
        assert slide.read_associated("macro").shape == (128, 192, 3)


@pytest.mark.parametrize(
    "sizes", [[(1000, 1500), (400, 600)], [(4001, 1000), (1000, 250)], [(1001, 999), (333, 332), (111, 110)]]
)
def test_level_pixels_are_exact_with_fractional_downsamples(tmp_path: Path, sizes: list[tuple[int, int]]) -> None:
    path = tmp_path / "made.tif"
    levels = pyramid(path, sizes)
    rng = np.random.default_rng(3)
    with OpenSlideSource(str(path)) as source:
        for i, wanted in enumerate(levels):
            h, w = wanted.shape[:2]
            assert source.meta.levels[i].downsample_yx == (sizes[0][0] / h, sizes[0][1] / w)
            for _ in range(20):
                y, x = int(rng.integers(0, h - 30)), int(rng.integers(0, w - 30))
                np.testing.assert_array_equal(
                    source.read(i, Box(y, x, 30, 30), Plane()), wanted[y : y + 30, x : x + 30]
                )
            np.testing.assert_array_equal(source.read(i, Box(0, 0, h, w), Plane()), wanted)
