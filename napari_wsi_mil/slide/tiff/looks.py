"""Photometric interpretation: stored samples -> grey, RGB or RGBA that a viewer can show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from napari_wsi_mil.errors import UnsupportedSlide
from napari_wsi_mil.slide.tiff.coded import JPEG

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt
    from tifffile import TiffPage

    Array = npt.NDArray[Any]

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR, CIELAB, ICCLAB = 0, 1, 2, 3, 5, 6, 8, 9
APERIO_YCBCR = 33003
PHOTOMETRIC = 262
ALPHAS = (1, 2)
PREMULTIPLIED = 1


@dataclass(frozen=True)
class Look:
    """What a page looks like to the viewer."""

    samples: int
    """1, 3 or 4 interleaved samples; 1 also for a page of several unnamed channels."""
    dtype: str
    channels: int = 1
    """How many channels the page's samples are; each is then read alone."""
    convert: Callable[[Array], Array] | None = None
    """Stored (h, w, s) -> shown (h, w, s) or (h, w); None where they are the same."""


def look_of(page: TiffPage, name: str) -> Look:
    """Return how to show a page; raises UnsupportedSlide for samples we cannot show rightly."""
    if page.dtype is None or page.dtype.kind not in "buif":
        _refuse(name, f"samples of {page.bitspersample} bit and format {int(page.sampleformat)}")
    if page.samplesperpixel > 2 and PHOTOMETRIC not in page.tags:
        _refuse(name, f"{page.samplesperpixel} samples of which the file does not say what they are")
    kind, stored, alphas = int(page.photometric), page.samplesperpixel, _alpha(page)
    if kind in (WHITE_IS_ZERO, BLACK_IS_ZERO):
        return _grey(page, alphas, name)
    if page.dtype.kind not in "u" and not (kind == RGB and page.dtype.kind == "f"):
        _refuse(name, f"colours of type {page.dtype}")
    if int(page.compression) == APERIO_YCBCR and stored == 3 and page.dtype == np.uint8:
        return Look(3, "uint8", convert=from_ycbcr)  # whatever the photometric tag says
    if kind == RGB and stored >= 3:
        return _rgb(page, alphas, name)
    if kind == YCBCR and stored == 3:
        return _ycbcr(page, name)
    if page.dtype != np.uint8:
        _refuse(name, f"photometric interpretation {kind} with {page.dtype}")
    if kind == PALETTE and page.colormap is not None:
        table = _palette(np.asarray(page.colormap), page)
        return Look(4 if alphas else 3, "uint8", convert=lambda a: _looked_up(a, table, alpha=bool(alphas)))
    if kind == CMYK and stored >= 4:
        return Look(3, "uint8", convert=_from_cmyk)
    if kind not in (CIELAB, ICCLAB) or stored != 3:
        _refuse(name, f"photometric interpretation {kind} with {stored} samples")
    return Look(3, "uint8", convert=lambda a: _from_lab(a, signed=kind == CIELAB))


def _refuse(name: str, what: str) -> NoReturn:
    message = f"{name}: expected grey, RGB, palette, CMYK or CIELab pixels, got {what}; export the slide as RGB TIFF."
    raise UnsupportedSlide(message)


def _alpha(page: TiffPage) -> int:
    """Return the kind of alpha the first extra sample is: 1 premultiplied, 2 straight, 0 none."""
    extra = [int(e) for e in page.extrasamples]
    return extra[0] if extra and extra[0] in ALPHAS else 0


def _grey(page: TiffPage, alpha: int, name: str) -> Look:
    inverted = int(page.photometric) == WHITE_IS_ZERO
    dtype = page.dtype
    if page.samplesperpixel == 2 and alpha and dtype == np.uint8:
        return Look(4, "uint8", convert=lambda a: np.stack([*[a[..., 0]] * 3, a[..., 1]], -1))
    if dtype == np.bool_:
        return Look(1, "uint8", page.samplesperpixel, lambda a: np.where(a != inverted, np.uint8(255), np.uint8(0)))
    if isinstance(page.bitspersample, tuple):
        _refuse(name, f"samples of {page.bitspersample} bit")
    if dtype.kind == "u" and page.bitspersample < 8:
        top = 2**page.bitspersample - 1
        return Look(1, "uint8", page.samplesperpixel, lambda a: _spread(a, top, inverted=inverted))
    if dtype.itemsize > 8 or dtype == np.float16:
        return Look(1, "float32", page.samplesperpixel, lambda a: a.astype(np.float32))
    if inverted and dtype.kind == "u":
        highest = dtype.type(2**page.bitspersample - 1)
        return Look(1, str(dtype), page.samplesperpixel, lambda a: highest - a)
    if inverted:
        _refuse(name, f"white-is-zero samples of type {dtype}")
    return Look(1, str(dtype), page.samplesperpixel)


def _spread(pixels: Array, top: int, *, inverted: bool) -> Array:
    shown = (pixels.astype(np.uint16) * 255 // top).astype(np.uint8)
    return 255 - shown if inverted else shown


def _rgb(page: TiffPage, alpha: int, name: str) -> Look:
    dtype = page.dtype
    if isinstance(page.bitspersample, tuple) or page.bitspersample not in (8, 16, 32):
        _refuse(name, f"RGB samples of {page.bitspersample} bit")
    if dtype.itemsize > 2 and dtype.kind != "f":
        _refuse(name, f"RGB samples of type {dtype}")
    shown = 4 if alpha else 3
    if dtype == np.float16:
        return Look(shown, "float32", convert=lambda a: a[..., :shown].astype(np.float32))
    if alpha == PREMULTIPLIED:
        return Look(4, str(dtype), convert=_straight)
    return Look(shown, str(dtype), convert=(lambda a: a[..., :shown]) if page.samplesperpixel > shown else None)


def _straight(pixels: Array) -> Array:
    """Return straight alpha from premultiplied; opaque pixels stay as they are."""
    pixels = pixels[..., :4]
    top = np.iinfo(pixels.dtype).max if pixels.dtype.kind == "u" else 1
    alpha = pixels[..., 3:]
    if (alpha == top).all():
        return pixels
    with np.errstate(divide="ignore", invalid="ignore"):
        colour = np.where(alpha > 0, pixels[..., :3].astype(np.float64) * top / alpha, 0).clip(0, top)
    colour = np.rint(colour) if pixels.dtype.kind == "u" else colour
    return np.concatenate([colour.astype(pixels.dtype), alpha], -1)


def _ycbcr(page: TiffPage, name: str) -> Look:
    if page.dtype.itemsize > 1:
        _refuse(name, f"YCbCr samples of type {page.dtype}")
    if int(page.compression) in JPEG:
        return Look(3, "uint8")  # libjpeg has made RGB of it
    if page.is_subsampled and int(page.compression) == 1:
        _refuse(name, "subsampled YCbCr without JPEG compression")
    return Look(3, "uint8", convert=from_ycbcr)


def from_ycbcr(pixels: Array) -> Array:
    """Return RGB of full-range YCbCr (ITU-R BT.601, as in JFIF), uint8."""
    y, cb, cr = (pixels[..., i].astype(np.float32) for i in range(3))
    cb, cr = cb - 128, cr - 128
    rgb = np.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], -1)
    shown: Array = np.rint(rgb).clip(0, 255).astype(np.uint8)
    return shown


def _palette(colormap: Array, page: TiffPage) -> Array:
    table = colormap.T if colormap.shape[0] == 3 else colormap
    shift = 8 if table.max(initial=0) > 255 else 0  # old writers put 8-bit values where 16-bit ones belong
    full = np.zeros((256, 3), np.uint8)
    full[: len(table)] = (table >> shift)[:256]
    return full


def _looked_up(pixels: Array, table: Array, *, alpha: bool) -> Array:
    shown: Array = table[pixels[..., 0]]
    return np.concatenate([shown, pixels[..., 1:2]], -1) if alpha else shown


def _from_cmyk(pixels: Array) -> Array:
    paper = 255 - pixels[..., :4].astype(np.uint16)
    return ((paper[..., :3] * paper[..., 3:] + 127) // 255).astype(np.uint8)


def _from_lab(pixels: Array, *, signed: bool) -> Array:
    from PIL import Image, ImageCms

    # Pillow wants a and b signed, as photometric 8 has them
    stored = np.ascontiguousarray(pixels if signed else pixels ^ np.array([0, 128, 128], np.uint8))
    picture = Image.frombytes("LAB", (stored.shape[1], stored.shape[0]), stored.tobytes())
    to_rgb = ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")
    return np.asarray(ImageCms.applyTransform(picture, to_rgb))
