"""What `region` does: a rectangle of a slide into a PNG file."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_wsi_mil.cli.files import check_output_file
from napari_wsi_mil.errors import BadRequest, PixelSizeUnknown
from napari_wsi_mil.results.atomic import written
from napari_wsi_mil.slide import Box, Plane, open_slide
from napari_wsi_mil.slide.regions import as_rgb
from napari_wsi_mil.slide.scale import level_for_downsample

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from napari_wsi_mil.slide import Slide

MOST_PIXELS = 250_000_000
"""Pixels a cut may have or read: decoded colour then stays below 1 GB."""


@dataclass(frozen=True)
class Cut:
    """A rectangle to cut out: corner `yx0` in level-0 pixels, picture size (h, w) in pixels, and its resolution.

    `plane` is (channel, z, t). Raises BadRequest when the numbers cannot be served by any slide.
    """

    yx0: tuple[float, float]
    size_px: tuple[int, int]
    mpp: float | None = None
    level: int | None = None
    plane: tuple[int, int, int] = (0, 0, 0)

    def __post_init__(self) -> None:
        if self.mpp is not None and self.level is not None:
            message = "--mpp and --level both set the resolution: give one of them."
            raise BadRequest(message)
        if not all(math.isfinite(v) for v in self.yx0):
            message = f"--yx0 takes two ordinary numbers, got {self.yx0[0]} {self.yx0[1]}."
            raise BadRequest(message)
        if min(self.size_px) < 1 or math.prod(self.size_px) > MOST_PIXELS:
            h, w = self.size_px
            message = f"--size is at least 1 1 and at most {MOST_PIXELS:,} pixels in all, got {h} {w}."
            raise BadRequest(message)
        if self.mpp is not None and not (math.isfinite(self.mpp) and self.mpp > 0):
            message = f"--mpp is a resolution in um/px above 0, got {self.mpp}."
            raise BadRequest(message)


def write_region(path: str, cut: Cut, out: Path) -> None:
    """Write the picture, whole or not at all; colour as RGB, one channel as grey of 8 or 16 bit.

    Raises BadRequest for a request the slide or file system cannot serve, and whatever opening and reading raise.
    """
    check_output_file(out, suffix=".png", inputs=(path,))
    with open_slide(path) as slide:
        pixels = read_cut(slide, cut)
    image = _image(pixels, name=out.name)
    with written(out) as partial:
        image.save(partial, format="PNG")


def read_cut(slide: Slide, cut: Cut) -> npt.NDArray[Any]:
    """Return the pixels of `cut`, (h, w, samples) or (h, w); raises BadRequest when it lies outside the slide."""
    plane = _plane(slide, cut)
    if cut.level is not None:
        slide.read_level(cut.level, Box(0, 0, 1, 1), plane)  # names the levels there are before we index them
        down = slide.levels[cut.level].downsample_yx
    else:
        down = _downsample(slide, cut)
    _check_inside(slide, cut, down)
    if cut.level is not None:
        y, x = (round(v / d) for v, d in zip(cut.yx0, down, strict=True))
        return slide.read_level(cut.level, Box(y, x, *cut.size_px), plane)
    _check_source(slide, cut, down[0])
    return slide.read_region(cut.yx0, cut.size_px, downsample=down[0], plane=plane)


def _downsample(slide: Slide, cut: Cut) -> tuple[float, float]:
    if cut.mpp is None:
        return 1.0, 1.0
    if slide.mpp is None:
        why = slide.pixel_size.problem or "the file holds no pixel size"
        message = f"{slide.name}: {why.rstrip('.')}; settle it once with `napari-wsi-mil info SLIDE --mpp UM`."
        raise PixelSizeUnknown(message)
    return cut.mpp / slide.mpp, cut.mpp / slide.mpp


def _plane(slide: Slide, cut: Cut) -> Plane:
    c, z, t = cut.plane
    counts = {"channels": (c, max(len(slide.meta.channels), 1)), "focus planes": (z, slide.meta.n_z)}
    counts["times"] = (t, slide.meta.n_t)
    for name, (wanted, count) in counts.items():
        if not 0 <= wanted < count:
            message = f"{slide.name}: {name} go from 0 to {count - 1}, got {wanted}."
            raise BadRequest(message)
    return Plane(z=z, t=t, c=c)


def _check_inside(slide: Slide, cut: Cut, down_yx: tuple[float, float]) -> None:
    for start, size, down, whole in zip(cut.yx0, cut.size_px, down_yx, slide.shape0_yx, strict=True):
        if start + size * down <= 0 or start >= whole:
            h, w = slide.shape0_yx
            message = f"{slide.name}: the rectangle lies outside the slide of {h} x {w} px (y x): choose another --yx0."
            raise BadRequest(message)


def _check_source(slide: Slide, cut: Cut, downsample: float) -> None:
    """A slide without coarse levels must read many pixels for few: refuse what would fill the memory."""
    level = slide.levels[level_for_downsample(slide.levels, downsample)]
    reads = math.prod(n * downsample / d for n, d in zip(cut.size_px, level.downsample_yx, strict=True))
    if reads > MOST_PIXELS:
        message = f"{slide.name}: this would read {reads:,.0f} pixels, most is {MOST_PIXELS:,}: make --size smaller."
        raise BadRequest(message)


def _image(pixels: npt.NDArray[Any], *, name: str) -> Any:
    from PIL import Image

    if pixels.ndim == 2 and pixels.dtype in (np.uint8, np.uint16):
        return Image.fromarray(pixels)
    if pixels.ndim == 2:
        message = f"{name}: PNG holds 8- and 16-bit grey, got {pixels.dtype}; open the slide in napari instead."
        raise BadRequest(message)
    return Image.fromarray(as_rgb(pixels))
