"""Plain PNG, JPEG, BMP and WebP tiles: one level, decoded whole at the first read."""

from __future__ import annotations

import io
import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_wsi_mil.errors import SlideClosed, SlideDamaged, SlideReadError, UnsupportedSlide
from napari_wsi_mil.slide.brief import in_short
from napari_wsi_mil.slide.fingerprint import file_parts, fingerprint, level_parts
from napari_wsi_mil.slide.jpeg_check import is_whole, looks_odd
from napari_wsi_mil.slide.pixel_size import INCH_UM, Claim, from_resolution, judge
from napari_wsi_mil.slide.source import PixelSource
from napari_wsi_mil.slide.spec import Box, Level, Plane, SourceMeta
from napari_wsi_mil.slide.tiff.files import LocalBytes
from napari_wsi_mil.slide.tiff.orientation import turned_yx, upright

if TYPE_CHECKING:
    import numpy.typing as npt
    from PIL.Image import Image

MAX_PIXELS = 100_000_000
"""A picture is decoded whole; beyond this it needs a pyramid."""
EXIF_ORIENTATION = 274
FAILURES = (OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, RuntimeError, MemoryError)
"""What Pillow raises on broken files; SyntaxError is its word for a broken PNG."""
SHOWN = {"1": "L", "L": "L", "LA": "RGBA", "La": "RGBA", "P": "RGB", "PA": "RGBA", "CMYK": "RGB", "YCbCr": "RGB"}
BLOCK_PX = 1024


class PictureSource(PixelSource):
    """A picture file as a slide of one level."""

    def __init__(self, path: str) -> None:
        """Read the header; raises SlideDamaged, or UnsupportedSlide for one too large to decode whole."""
        self._path = path
        self.name = path.replace("\\", "/").rpartition("/")[2]
        self._lock = threading.Lock()
        self._pixels: npt.NDArray[Any] | None = None
        self._failure: SlideReadError | None = None
        self._closed = False
        picture = _opened(path, self.name)
        with picture:
            self._mode = _mode(picture, self.name)
            self._turn = _exif_turn(picture)
            size = turned_yx((picture.height, picture.width), self._turn)
            claims = _claims(picture, self._turn)
            profile = picture.info.get("icc_profile")
            vendor = str(picture.format).lower()
        level = Level(size, (1.0, 1.0), (min(size[0], BLOCK_PX), min(size[1], BLOCK_PX)))
        source = LocalBytes(path)
        identity = fingerprint([*file_parts(source), *level_parts([level])])
        source.close()
        dtype = "uint16" if self._mode.startswith("I;16") else "uint8"
        self.meta = SourceMeta(
            backend="pillow", vendor=vendor, levels=(level,), dtype=dtype,
            samples={"RGB": 3, "RGBA": 4}.get(self._mode, 1), fingerprint=identity, pixel_size=judge(claims, None),
            icc_profile=profile if isinstance(profile, bytes) and profile else None,
        )  # fmt: skip

    def read(self, level: int, box: Box, plane: Plane) -> npt.NDArray[Any]:
        with self._lock:
            if self._closed:
                message = f"{self.name}: the slide is closed; open it again."
                raise SlideClosed(message)
            if self._failure is not None:  # or every block would decode the whole picture to fail again
                raise SlideReadError(str(self._failure)) from self._failure
            if self._pixels is None:
                try:
                    self._pixels = self._decode()
                except SlideReadError as error:
                    self._failure = error
                    raise
            pixels = self._pixels
        return pixels[box.y : box.y + box.h, box.x : box.x + box.w].copy()

    def _decode(self) -> npt.NDArray[Any]:
        try:
            with _opened(self._path, self.name) as picture:
                shown = picture if picture.mode == self._mode else picture.convert(self._mode)
                stored = np.asarray(shown)
            if self.meta.vendor == "jpeg":
                self._check_jpeg(stored)
        except FAILURES as error:
            message = (
                f"{self.name}: the picture cannot be decoded ({in_short(error)}); copy the file again from its source."
            )
            raise SlideReadError(message) from error
        return upright(stored, self._turn).astype(self.meta.dtype, copy=False)

    def _check_jpeg(self, stored: npt.NDArray[Any]) -> None:
        coded = Path(self._path).read_bytes()
        if looks_odd(coded, stored) and not is_whole(coded, stored):
            message = f"{self.name}: its JPEG data are broken, pixels are missing; copy the file again from its source."
            raise SlideReadError(message)

    def close(self) -> None:
        with self._lock:
            self._closed, self._pixels = True, None


def decoded_rgb(coded: bytes, name: str) -> npt.NDArray[np.uint8]:
    """Return a small encoded picture as (h, w, 3) uint8; raises SlideReadError where it is broken."""
    try:
        with _opened(io.BytesIO(coded), name) as picture:
            return np.asarray(picture.convert("RGB"))
    except FAILURES as error:
        message = f"{name}: the picture cannot be decoded ({in_short(error)}); copy the file again from its source."
        raise SlideReadError(message) from error


def _opened(path: str | io.BytesIO, name: str) -> Image:
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of large pictures; our own limit follows
            picture = Image.open(path)
    except Image.DecompressionBombError as error:
        raise _too_large(name, str(error)) from error
    except FAILURES as error:
        message = (
            f"{name}: the picture's header cannot be read ({in_short(error)}); copy the file again from its source."
        )
        raise SlideDamaged(message) from error
    if picture.width * picture.height > MAX_PIXELS:
        picture.close()
        raise _too_large(name, f"{picture.height}x{picture.width} px")
    return picture


def _too_large(name: str, size: str) -> UnsupportedSlide:
    most = MAX_PIXELS // 10**6
    return UnsupportedSlide(
        f"{name}: plain pictures up to {most} megapixels are read, got {size}; save it as TIFF pyramid."
    )


def _mode(picture: Image, name: str) -> str:
    if picture.mode.startswith("I;16"):
        return picture.mode
    if picture.mode in ("P", "RGB", "L") and "transparency" in picture.info:
        return "RGBA"
    mode = SHOWN.get(picture.mode, picture.mode)
    if mode not in ("L", "RGB", "RGBA"):
        message = f"{name}: expected a grey or RGB picture, got mode {picture.mode}; save it as RGB PNG."
        raise UnsupportedSlide(message)
    return mode


def _exif_turn(picture: Image) -> int:
    try:
        value = picture.getexif().get(EXIF_ORIENTATION, 1)
    except FAILURES:
        return 1  # a broken note about the picture, the picture itself is whole
    return int(value) if value in range(1, 9) else 1


def _claims(picture: Image, turn: int) -> list[Claim]:
    try:
        x, y = (float(v) for v in picture.info.get("dpi", (0, 0)))
    except (TypeError, ValueError, ZeroDivisionError):
        return []
    um = from_resolution((y, x), INCH_UM) if x > 0 and y > 0 else None
    return [Claim(f"{picture.format} resolution", turned_um(um, turn))] if um else []


def turned_um(yx_um: tuple[float, float], turn: int) -> tuple[float, float]:
    """Return a stored pixel's (y, x) size after turning."""
    return (yx_um[1], yx_um[0]) if turn >= 5 else yx_um
