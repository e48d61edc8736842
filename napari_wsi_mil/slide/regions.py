"""Cutting and resampling read pixels to an exactly placed region."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.slide.spec import Box

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_wsi_mil.slide.spec import SourceMeta

SNAP_PX = 0.01


class ExactBox(NamedTuple):
    """A region in fractional level pixels and the whole pixels that cover it."""

    outer: Box
    yx: tuple[float, float]
    """Top-left corner relative to `outer`, level pixels."""
    hw: tuple[float, float]
    """Size in level pixels."""


def source_box(
    yx0: tuple[float, float], size_px: tuple[int, int], downsample: float, level_downsample_yx: tuple[float, float]
) -> ExactBox:
    """Return where in a level the wanted region lies; within 1/100 px of the grid it is snapped to it."""
    corner = [_snap(v / d) for v, d in zip(yx0, level_downsample_yx, strict=True)]
    size = [_snap(n * downsample / d) for n, d in zip(size_px, level_downsample_yx, strict=True)]
    for axis in (0, 1):  # one output pixel per level pixel, up to vendor rounding: read, do not resample
        if abs(size[axis] / size_px[axis] - 1) < 1e-3 and abs(size[axis] - size_px[axis]) < 0.5:
            size[axis] = float(size_px[axis])
            corner[axis] = float(round(corner[axis]))
    y, x = math.floor(corner[0]), math.floor(corner[1])
    outer = Box(y, x, max(math.ceil(corner[0] + size[0]) - y, 1), max(math.ceil(corner[1] + size[1]) - x, 1))
    return ExactBox(outer, (corner[0] - y, corner[1] - x), (size[0], size[1]))


def _snap(value: float) -> float:
    return float(round(value)) if abs(value - round(value)) < SNAP_PX else value


def resample(pixels: npt.NDArray[Any], exact: ExactBox, size_px: tuple[int, int]) -> npt.NDArray[Any]:
    """Return `pixels` of `exact.outer` resampled to `size_px`: area average when shrinking, bilinear when enlarging."""
    if exact.yx == (0.0, 0.0) and exact.hw == (size_px[0], size_px[1]):
        return pixels
    (y, x), (h, w) = exact.yx, exact.hw
    box = (x, y, min(x + w, pixels.shape[1]), min(y + h, pixels.shape[0]))
    shrinking = h >= size_px[0] and w >= size_px[1]
    how = Image.Resampling.BOX if shrinking else Image.Resampling.BILINEAR
    if pixels.dtype == np.uint8:
        return np.asarray(Image.fromarray(pixels).resize((size_px[1], size_px[0]), how, box=box))
    planes = pixels[..., None] if pixels.ndim == 2 else pixels
    done = [
        np.asarray(Image.fromarray(planes[..., i].astype(np.float32)).resize((size_px[1], size_px[0]), how, box=box))
        for i in range(planes.shape[2])
    ]
    out = np.stack(done, -1) if pixels.ndim == 3 else done[0]
    return out.astype(pixels.dtype) if pixels.dtype.kind == "f" else np.rint(out).astype(pixels.dtype)


def paste(pixels: npt.NDArray[Any] | None, inner: Box, box: Box, meta: SourceMeta) -> npt.NDArray[Any]:
    """Return an image of `box` filled with background, with `pixels` of `inner` in their place."""
    dtype = np.dtype(meta.dtype)
    tail = (meta.samples,) if meta.is_rgb else ()
    white = np.iinfo(dtype).max if dtype.kind in "iu" else 1
    out = np.full((box.h, box.w, *tail), white if meta.is_rgb else 0, dtype)
    if meta.samples == 4:
        out[..., 3] = 0
    if pixels is not None:
        y, x = inner.y - box.y, inner.x - box.x
        out[y : y + inner.h, x : x + inner.w] = pixels
    return out


def as_rgb(pixels: npt.NDArray[Any], *, name: str = "image") -> npt.NDArray[np.uint8]:
    """Return (h, w, 3) uint8: grey is repeated, 16 bit scaled to 8, alpha laid over white."""
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    if pixels.dtype != np.uint8:
        message = f"{name}: models need 8- or 16-bit pixels, got {pixels.dtype}; convert the slide first."
        raise BadRequest(message)
    if pixels.ndim == 2:
        return np.repeat(pixels[..., None], 3, -1)
    if pixels.shape[-1] == 4:
        alpha = pixels[..., 3:].astype(np.uint16)
        mixed = pixels[..., :3] * alpha + 255 * (255 - alpha)
        return ((mixed + 127) // 255).astype(np.uint8)
    return pixels
