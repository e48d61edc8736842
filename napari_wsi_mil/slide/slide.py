"""The slide people hold: pixels in level-0 coordinates, pixel size, lazy pyramid."""

from __future__ import annotations

import uuid
from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_wsi_mil.errors import BadRequest, PixelSizeUnknown, SlideClosed
from napari_wsi_mil.slide.blocks import run_cache, shared_cache
from napari_wsi_mil.slide.lazy import LevelArray, as_dask
from napari_wsi_mil.slide.pyramid import BlockReader, plan_steps
from napari_wsi_mil.slide.regions import as_rgb, paste, resample, source_box
from napari_wsi_mil.slide.scale import level_for_downsample
from napari_wsi_mil.slide.spec import USER, Box, PixelSize, Plane

if TYPE_CHECKING:
    from collections.abc import Callable

    import dask.array as da
    import numpy.typing as npt

    from napari_wsi_mil.slide.blocks import BlockCache
    from napari_wsi_mil.slide.pyramid import Step
    from napari_wsi_mil.slide.source import PixelSource
    from napari_wsi_mil.slide.spec import Level, SourceMeta, Stored


class Slide:
    """An open slide. Coordinates are (y, x) level-0 pixels named `yx0`; its first pixel is (0, 0) also where the
    file's bounds start elsewhere. Safe to read from many threads. Use as a context manager or call `close`.
    """

    def __init__(self, source: PixelSource, *, path: str, cache: BlockCache | None = None) -> None:
        self._source, self.path = source, path
        self.pixel_size: PixelSize = source.meta.pixel_size
        self._cache = shared_cache() if cache is None else cache
        self._run_cache = run_cache() if cache is None else cache
        self._owner = uuid.uuid4().hex
        self._closed = False
        self._closers: list[Callable[[], None]] = []
        self._native = self._reader("raw", None, between=False, cache=self._run_cache)

    # -- what it is ---------------------------------------------------------------------------
    @property
    def meta(self) -> SourceMeta:
        """All the backend knows of the file."""
        return self._source.meta

    @property
    def name(self) -> str:
        """File name without folders."""
        plain = self.path.partition("?")[0] if "://" in self.path else self.path
        return PurePosixPath(plain.replace("\\", "/").rstrip("/")).name

    @property
    def levels(self) -> tuple[Level, ...]:
        """The levels stored in the file, fine to coarse."""
        return self.meta.levels

    @property
    def shape0_yx(self) -> tuple[int, int]:
        """Height and width of level 0 in pixels."""
        return self.levels[0].shape_yx

    @property
    def fingerprint(self) -> str:
        """Cheap identity of the content, 32 hex digits."""
        return self.meta.fingerprint

    @property
    def mpp_yx(self) -> tuple[float, float] | None:
        """Micrometres per level-0 pixel, (y, x); None where unknown or not to be trusted."""
        return None if self.pixel_size.problem else self.pixel_size.yx_um

    @property
    def mpp(self) -> float | None:
        """Mean of both axes of `mpp_yx`; None where unknown."""
        return None if self.mpp_yx is None else float(np.mean(self.mpp_yx))

    def require_mpp(self) -> float:
        """Return um/px of level 0; raises PixelSizeUnknown with the remedy where there is none."""
        if self.mpp is None:
            why = self.pixel_size.problem or "the file holds no pixel size"
            message = f"{self.name}: {why}; enter it in um/px in the Slide panel or give --mpp."
            raise PixelSizeUnknown(message)
        return self.mpp

    def set_mpp(self, yx_um: tuple[float, float], *, source: str = USER) -> None:
        """Replace the pixel size by (y, x) um/px; raises BadRequest outside 0.01..100."""
        if not all(0.01 <= v <= 100 for v in yx_um):
            message = (
                f"{self.name}: a pixel size is between 0.01 and 100 um/px, got {yx_um}; light microscopy has 0.1 to 4."
            )
            raise BadRequest(message)
        self.pixel_size = replace(self.pixel_size, yx_um=yx_um, source=source, problem=None)

    def remember_mpp(self, yx_um: tuple[float, float]) -> None:
        """Set the pixel size and keep it for this slide, so that it is never asked for again."""
        from napari_wsi_mil.slide.remembered import remember

        self.set_mpp(yx_um)
        remember(self.fingerprint, yx_um)

    def tiles_of(self, level: int) -> int:
        """Return how many tiles the file's grid of a level has."""
        (h, w), (th, tw) = self.levels[level].shape_yx, self.levels[level].tile_yx
        return -(-h // th) * -(-w // tw)

    # -- pixels -------------------------------------------------------------------------------
    def read_level(self, level: int, box: Box, plane: Plane = Plane()) -> npt.NDArray[Any]:
        """Return the raw pixels of `box` in pixels of `level`; outside the slide is background.

        Shape (h, w, samples) for colour, (h, w) otherwise, dtype of the file. Background is white for colour, else 0.
        """
        self._check(level)
        inner = box.clipped(self.levels[level].shape_yx)
        if inner == box and box.h and box.w:
            return self._native.read(level, box, plane)
        pixels = self._native.read(level, inner, plane) if inner.h and inner.w else None
        return paste(pixels, inner, box, self.meta)

    def read_stored(self, level: int, box: Box, plane: Plane = Plane()) -> tuple[npt.NDArray[Any], Stored]:
        """Return the raw pixels of `box`, inside the level, and how much of the file was read for them.

        Past all caches, for callers that read each place once; cheapest along the level's tiles. Shape and dtype as
        `read_level`.
        """
        self._check(level)
        return self._source.read(level, box, plane), self._source.stored(level, box, plane)

    def read_region(
        self, yx0: tuple[float, float], size_px: tuple[int, int], *, downsample: float = 1.0, plane: Plane = Plane()
    ) -> npt.NDArray[Any]:
        """Return `size_px` (h, w) pixels at `downsample` level-0 pixels per pixel, top-left corner at `yx0`.

        Read from the coarsest level that still resolves it and area-averaged from there, placed to part of a pixel;
        where `downsample` is that level's own, its pixels come as they are, placed to the nearest of them.
        Areas outside the slide are background (white for colour, else 0). dtype of the file.
        """
        self._check(0)
        if downsample <= 0 or min(size_px) < 1:
            message = f"{self.name}: a region needs a positive size and downsample, got {size_px} px and {downsample}."
            raise BadRequest(message)
        level = level_for_downsample(self.levels, downsample)
        exact = source_box(yx0, size_px, downsample, self.levels[level].downsample_yx)
        pixels = self.read_level(level, exact.outer, plane)
        return resample(pixels, exact, size_px)

    def read_rgb(
        self, yx0: tuple[float, float], size_px: tuple[int, int], *, mpp: float | None = None
    ) -> npt.NDArray[np.uint8]:
        """Return a view for a model: (h, w, 3) uint8 RGB at `mpp` um/px (None: level-0 pixels), alpha over white.

        Raises PixelSizeUnknown with `mpp` on a slide without one, BadRequest on multichannel fluorescence.
        """
        if self.meta.channels:
            message = f"{self.name}: this needs a colour slide, got {len(self.meta.channels)} fluorescence channels."
            raise BadRequest(message)
        downsample = 1.0 if mpp is None else mpp / self.require_mpp()
        return as_rgb(self.read_region(yx0, size_px, downsample=downsample), name=self.name)

    def read_associated(self, name: str) -> npt.NDArray[np.uint8]:
        """Return 'macro', 'thumbnail' or another associated image as (h, w, 3) uint8; BadRequest names those there."""
        self._check(0)
        if name not in self.meta.associated:
            there = ", ".join(self.meta.associated) or "none"
            message = f"{self.name}: no associated image {name!r}; the file holds {there}."
            raise BadRequest(message)
        return self._source.read_associated(name)

    # -- display ------------------------------------------------------------------------------
    def steps(self, *, between: bool = True) -> tuple[Step, ...]:
        """Return the displayed levels: those of the file and, with `between`, lazily averaged ones."""
        return plan_steps(self._source, between=between)

    def pyramid(
        self, *, channel: int = 0, between: bool = True, managed: bool = False, prefetch: bool = False
    ) -> list[da.Array]:
        """Return dask arrays [t, z,] y, x [, samples], fine to coarse, sharing one cache of decoded blocks.

        `managed` applies the file's ICC profile (to sRGB) where there is one; `prefetch` decodes neighbours of what was
        read while idle.
        """
        from napari_wsi_mil.slide.colour import srgb_transform
        from napari_wsi_mil.slide.prefetch import Prefetcher

        self._check(0)
        colour = srgb_transform(self.meta) if managed else None
        reader = self._reader("srgb" if colour else "raw", colour, between=between)
        seen = None
        if prefetch:
            prefetcher = Prefetcher(reader)
            self._closers.append(prefetcher.close)
            seen = prefetcher.seen
        kind = f"{self._owner}-{'srgb' if colour else 'raw'}-{int(between)}-{int(prefetch)}-{channel}"
        arrays = [LevelArray(reader, i, channel=channel, seen=seen) for i in range(len(reader.steps))]
        return [as_dask(a, name=f"{kind}-{i}") for i, a in enumerate(arrays)]

    def _reader(
        self, variant: str, colour: Callable[[Any], Any] | None, *, between: bool, cache: BlockCache | None = None
    ) -> BlockReader:
        steps = plan_steps(self._source, between=between)
        cache = self._cache if cache is None else cache
        return BlockReader(self._source, steps, cache, owner=self._owner, variant=variant, colour=colour)

    # -- life ---------------------------------------------------------------------------------
    def _check(self, level: int) -> None:
        if self._closed:
            message = f"{self.name}: the slide is closed; open it again."
            raise SlideClosed(message)
        if not 0 <= level < len(self.levels):
            message = f"{self.name}: levels are 0 to {len(self.levels) - 1}, got {level}."
            raise BadRequest(message)

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def close(self) -> None:
        """Release the file and all cached pixels; may be called twice."""
        self._closed = True
        while self._closers:
            self._closers.pop()()
        self._source.close()
        for cache in (self._cache, self._run_cache):
            cache.drop(self._owner)

    def __enter__(self) -> Slide:
        return self

    def __exit__(self, *exc: Any) -> None:
        self.close()
