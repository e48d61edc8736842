"""Slides that OpenSlide reads for us: MRXS, VMS, Trestle, DICOM, CZI, Sakura, and BIF with overlapping tiles."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_wsi_mil.errors import SlideDamaged, SlideReadError, UnsupportedSlide
from napari_wsi_mil.slide.brief import in_short
from napari_wsi_mil.slide.fingerprint import EDGE_BYTES, fingerprint, level_parts
from napari_wsi_mil.slide.gate import Gate
from napari_wsi_mil.slide.pixel_size import Claim, judge
from napari_wsi_mil.slide.source import PixelSource
from napari_wsi_mil.slide.spec import Box, Level, Plane, SourceMeta

if TYPE_CHECKING:
    import numpy.typing as npt

OWN_CACHE_BYTES = 32 * 2**20
"""Blocks are cached by us; OpenSlide only needs to keep a tile from being decoded for each block it touches."""
EXACT_PX = 1 / 1024
"""OpenSlide blends neighbours when a read starts between level pixels; below this it does not."""
MAX_DETOUR_PX = 4096
NAMES = {"label image": "label", "macro image": "macro", "thumbnail image": "thumbnail", "overview": "macro"}


class OpenSlideSource(PixelSource):
    """A slide behind OpenSlide, cut to its bounds, each level read on its own pixel grid."""

    def __init__(self, path: str, *, handle: Any = None) -> None:
        """Open `path`, or take an open `handle`; raises UnsupportedSlide or SlideDamaged."""
        self._path = path
        self.name = Path(path).name
        self._gate = Gate()
        self._renewing = threading.Lock()
        self._slide = handle if handle is not None else _opened(path, self.name)
        properties = dict(self._slide.properties)
        self._offsets, levels, origin = _levels(self._slide, properties)
        self._factors = (1.0, *self._slide.level_downsamples[1:])
        self._white = _background(properties)
        objective = _positive(properties.get("openslide.objective-power"))
        self._associated = {NAMES.get(n.lower(), n): n for n in self._slide.associated_images}
        vendor = properties.get("openslide.vendor", "unknown")
        self.meta = SourceMeta(
            backend="openslide", vendor=vendor, levels=levels, dtype="uint8", samples=3,
            fingerprint=self._identity(levels, properties), pixel_size=judge(_claims(properties), objective),
            objective=objective, associated=tuple(self._associated), icc_profile=_icc(self._slide), origin_yx0=origin,
            properties=properties,
        )  # fmt: skip

    def _identity(self, levels: tuple[Level, ...], properties: dict[str, str]) -> str:
        own = Path(self._path)
        head = own.read_bytes()[:EDGE_BYTES] if own.is_file() and own.suffix.lower() not in (".dcm",) else b""
        return fingerprint([properties.get("openslide.quickhash-1", ""), head, *level_parts(levels)])

    def read(self, level: int, box: Box, plane: Plane) -> npt.NDArray[Any]:
        y, x = box.y + self._offsets[level][0], box.x + self._offsets[level][1]
        factor = self._factors[level]
        y_from, x_from = _clean_start(y, factor), _clean_start(x, factor)
        size = (x - x_from + box.w, y - y_from + box.h)
        corner = (round(x_from * factor), round(y_from * factor))
        rgba = self._region(corner, level, size, box)[y - y_from :, x - x_from :]
        return self._on_background(rgba)

    def _region(self, corner: tuple[int, int], level: int, size: tuple[int, int], box: Box) -> npt.NDArray[np.uint8]:
        from openslide import OpenSlideError

        with self._gate:
            slide = self._slide
            try:
                return np.asarray(slide.read_region(corner, level, size))
            except OpenSlideError as error:
                self._renew(slide)
                failure = error
            try:
                return self._alone(corner, level, size, failure)
            except OpenSlideError as error:
                message = (
                    f"{self.name}: level {level}, row {box.y}, column {box.x} cannot be read ({in_short(error)}); "
                    "the file is damaged there, copy it again from its source."
                )
                raise SlideReadError(message) from error

    def _alone(
        self, corner: tuple[int, int], level: int, size: tuple[int, int], failure: Exception
    ) -> npt.NDArray[np.uint8]:
        """Read through a handle nobody else uses: one error is the answer to all reads of a handle."""
        if not os.path.exists(self._path):
            raise failure
        slide = _opened(self._path, self.name)
        try:
            return np.asarray(slide.read_region(corner, level, size))
        finally:
            slide.close()

    def _renew(self, failed: Any) -> None:
        """Open the slide anew: after one error OpenSlide refuses everything, though the rest of the slide is whole."""
        with self._renewing:
            if self._slide is failed and os.path.exists(self._path):
                self._slide = _opened(self._path, self.name)

    def _on_background(self, rgba: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        alpha = rgba[..., 3:]
        if alpha.min(initial=255) == 255:
            return np.ascontiguousarray(rgba[..., :3])
        weight = alpha.astype(np.uint32)
        mixed = rgba[..., :3] * weight + self._white.astype(np.uint32) * (255 - weight)
        return ((mixed + 127) // 255).astype(np.uint8)

    def read_associated(self, name: str) -> npt.NDArray[np.uint8]:
        from openslide import OpenSlideError

        with self._gate:
            try:
                picture = self._slide.associated_images[self._associated[name]]
            except OpenSlideError as error:
                self._renew(self._slide)
                message = (
                    f"{self.name}: its {name} image cannot be read ({in_short(error)}); "
                    "copy the file again from its source."
                )
                raise SlideReadError(message) from error
            return self._on_background(np.asarray(picture.convert("RGBA")))

    def close(self) -> None:
        if self._gate.close():
            self._slide.close()


def _opened(path: str, name: str) -> Any:
    import openslide

    try:
        slide = openslide.OpenSlide(path)
    except openslide.OpenSlideUnsupportedFormatError as error:
        message = (
            f"{name}: expected a slide, got a file that neither we nor OpenSlide recognise; export it as OME-TIFF."
        )
        raise UnsupportedSlide(message) from error
    except openslide.OpenSlideError as error:
        message = f"{name}: OpenSlide cannot open it ({in_short(error)}); copy the file and the files beside it again."
        raise SlideDamaged(message) from error
    slide.set_cache(openslide.OpenSlideCache(OWN_CACHE_BYTES))
    return slide


def _levels(
    slide: Any, properties: dict[str, str]
) -> tuple[tuple[tuple[int, int], ...], tuple[Level, ...], tuple[int, int]]:
    """Return per level where the bounds start in it, the levels cut to the bounds, and where they start in level 0."""
    w0, h0 = slide.dimensions
    keys = ("bounds-y", "bounds-x", "bounds-height", "bounds-width")
    by, bx, bh, bw = (int(properties.get(f"openslide.{k}", d)) for k, d in zip(keys, (0, 0, h0, w0), strict=True))
    by, bx = min(max(by, 0), h0 - 1), min(max(bx, 0), w0 - 1)
    bh, bw = min(max(bh, 1), h0 - by), min(max(bw, 1), w0 - bx)
    offsets, levels = [], []
    for i, ((w, h), stated) in enumerate(zip(slide.level_dimensions, slide.level_downsamples, strict=True)):
        whole = h0 / h, w0 / w
        # OpenSlide states the mean of both ratios unless the vendor says it exactly
        ratio = whole if abs(sum(whole) / 2 / stated - 1) < 1e-6 else (stated, stated)
        y, x = round(by / ratio[0]), round(bx / ratio[1])
        shape = max(min(round(bh / ratio[0]), h - y), 1), max(min(round(bw / ratio[1]), w - x), 1)
        tile = tuple(int(properties.get(f"openslide.level[{i}].tile-{k}", 256)) for k in ("height", "width"))
        offsets.append((y, x))
        levels.append(Level(shape, ratio if i else (1.0, 1.0), (tile[0], tile[1])))
    return tuple(offsets), tuple(levels), (by, bx)


def _clean_start(wanted: int, factor: float) -> int:
    """Return the nearest level pixel at or before `wanted` that lies on a level-0 pixel.

    Reads are placed by whole level-0 pixels, which with a fractional factor fall between level pixels.
    """
    if factor == int(factor):
        return wanted
    candidates = np.arange(wanted, max(wanted - MAX_DETOUR_PX, -1), -1)
    error = np.abs(np.rint(candidates * factor) / factor - candidates)
    clean = np.flatnonzero(error < EXACT_PX)
    return int(candidates[clean[0]] if len(clean) else candidates[error.argmin()])


def _claims(properties: dict[str, str]) -> list[Claim]:
    y, x = (_positive(properties.get(f"openslide.mpp-{a}")) for a in "yx")
    return [Claim("openslide.mpp", (y, x))] if y and x else []


def _positive(text: str | None) -> float | None:
    try:
        value = float(text) if text else 0.0
    except ValueError:
        return None
    return value if value > 0 else None


def _background(properties: dict[str, str]) -> npt.NDArray[np.uint8]:
    colour = properties.get("openslide.background-color", "FFFFFF")
    return np.frombuffer(bytes.fromhex(colour), np.uint8)


def _icc(slide: Any) -> bytes | None:
    profile = getattr(slide, "color_profile", None)
    return profile.tobytes() if profile is not None else None
