"""The displayed pyramid: the file's levels plus lazily averaged ones, read in cached blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_wsi_mil.slide.blocks import decode_pool
from napari_wsi_mil.slide.reduce import halve
from napari_wsi_mil.slide.scale import downsamples, halved, steps_between
from napari_wsi_mil.slide.spec import Box, Plane

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

    from napari_wsi_mil.slide.blocks import BlockCache
    from napari_wsi_mil.slide.source import PixelSource

    Array = npt.NDArray[Any]

BLOCK_PX = 256
CHUNK_PX = 896
"""Smaller chunks reload at most steps of a pan, larger ones upload too much at once (benchmarks/viewing.py)."""
COARSEST_PX = 2048


@dataclass(frozen=True, slots=True)
class Step:
    """One displayed level: a level of the file, or the 2x2 average of the step before it."""

    shape_yx: tuple[int, int]
    downsample_yx: tuple[float, float]
    block_yx: tuple[int, int]
    """What the cache keeps: one tile of the file, or the average of 2x2 such blocks."""
    chunk_yx: tuple[int, int]
    """What dask and napari ask for at once: many blocks, as dask costs more per chunk than we do per block."""
    native: int | None
    """Index into the file's levels; None for an averaged step."""


def plan_steps(source: PixelSource, *, between: bool = True) -> tuple[Step, ...]:
    """Return the displayed levels, fine to coarse.

    With `between`, gaps of about 4x and more are filled with 2x averages, and averages are added below the coarsest
    level until its longer side is at most 2048 px.
    """
    shapes: list[tuple[tuple[int, int], int | None]] = []
    levels = source.meta.levels
    for i, level in enumerate(levels):
        shapes.append((level.shape_yx, i))
        if between and i + 1 < len(levels):
            shape = level.shape_yx
            for _ in range(steps_between(shape, levels[i + 1].shape_yx)):
                shape = halved(shape)
                shapes.append((shape, None))
    while between and max(shapes[-1][0]) > COARSEST_PX:
        shapes.append((halved(shapes[-1][0]), None))
    ratios = downsamples([s for s, _ in shapes])
    steps: list[Step] = []
    for (shape, native), ratio in zip(shapes, ratios, strict=True):
        block = steps[-1].block_yx if native is None else _block(levels[native].tile_yx)
        steps.append(Step(shape, (ratio[0], ratio[1]), block, (CHUNK_PX, CHUNK_PX), native))
    return tuple(steps)


def _block(tile_yx: tuple[int, int]) -> tuple[int, int]:
    """Return even whole tiles of at least about BLOCK_PX, so that no tile is decoded for two blocks."""
    sides = [_times(tile, BLOCK_PX) for tile in tile_yx]
    return sides[0] << (sides[0] % 2), sides[1] << (sides[1] % 2)


def _times(unit: int, wanted: int) -> int:
    return unit * max(round(wanted / unit), 1)


class BlockReader:
    """Reads boxes of displayed levels through the shared cache, with an optional colour transform."""

    def __init__(
        self,
        source: PixelSource,
        steps: tuple[Step, ...],
        cache: BlockCache,
        *,
        owner: object,
        variant: str = "raw",
        colour: Callable[[Array], Array] | None = None,
    ) -> None:
        self.source, self.steps, self.cache = source, steps, cache
        self._owner, self._variant, self._colour = owner, variant, colour

    def blocks_over(self, step: int, box: Box) -> Iterator[tuple[int, int]]:
        """Yield (row, column) of each block that `box` touches."""
        bh, bw = self.steps[step].block_yx
        for row in range(box.y // bh, -(-(box.y + box.h) // bh)):
            for col in range(box.x // bw, -(-(box.x + box.w) // bw)):
                yield row, col

    def block_box(self, step: int, row: int, col: int) -> Box:
        """Return the pixels of `step` which block (row, col) covers, cut at the image edge."""
        bh, bw = self.steps[step].block_yx
        return Box(row * bh, col * bw, bh, bw).clipped(self.steps[step].shape_yx)

    def key(self, step: int, row: int, col: int, plane: Plane) -> tuple[Any, ...]:
        """Return the cache key of a block; averaged steps are named by the level they come from."""
        native = step
        while self.steps[native].native is None:
            native -= 1
        return self._variant, self.steps[native].native, step - native, plane, row, col

    def block(self, step: int, row: int, col: int, plane: Plane = Plane()) -> Array:
        """Return one block, read-only, from the cache or the file."""
        key = self.key(step, row, col, plane)
        return self.cache.get(self._owner, key, lambda: self._load(step, row, col, plane))

    def holds(self, step: int, row: int, col: int, plane: Plane = Plane()) -> bool:
        """Whether the block is in the cache or on its way there."""
        return self.cache.holds(self._owner, self.key(step, row, col, plane))

    def read(self, step: int, box: Box, plane: Plane = Plane()) -> Array:
        """Return the pixels of `box`, which lies inside the level, decoding missing blocks on all cores."""
        spots = list(self.blocks_over(step, box))
        if len(spots) == 1:
            return self._part(step, spots[0], self.block(step, *spots[0], plane), box)
        out = self._empty(box)
        waiting = []
        for spot in spots:
            block = self.cache.peek(self._owner, self.key(step, *spot, plane))
            if block is None:
                waiting.append(decode_pool().submit(self._fill, out, step, spot, box, plane))
            else:
                self._put(out, step, spot, block, box)
        for done in waiting:
            done.result()
        return out

    def _empty(self, box: Box) -> Array:
        meta = self.source.meta
        return np.empty((box.h, box.w, meta.samples) if meta.is_rgb else (box.h, box.w), meta.dtype)

    def _fill(self, out: Array, step: int, spot: tuple[int, int], box: Box, plane: Plane) -> None:
        self._put(out, step, spot, self.block(step, *spot, plane), box)

    def _put(self, out: Array, step: int, spot: tuple[int, int], block: Array, box: Box) -> None:
        part = self._part(step, spot, block, box)
        inner = self.block_box(step, *spot)
        y, x = max(inner.y - box.y, 0), max(inner.x - box.x, 0)
        out[y : y + part.shape[0], x : x + part.shape[1]] = part

    def _part(self, step: int, spot: tuple[int, int], block: Array, box: Box) -> Array:
        inner = self.block_box(step, *spot)
        y0, x0 = max(box.y - inner.y, 0), max(box.x - inner.x, 0)
        return block[y0 : box.y + box.h - inner.y, x0 : box.x + box.w - inner.x]

    def _load(self, step: int, row: int, col: int, plane: Plane) -> Array:
        box, native = self.block_box(step, row, col), self.steps[step].native
        if native is None:
            return self._averaged(step, row, col, box, plane)
        pixels = self.source.read(native, box, plane)
        return self._colour(pixels) if self._colour else pixels

    def _averaged(self, step: int, row: int, col: int, box: Box, plane: Plane) -> Array:
        """Average four blocks of the finer step.

        Those read from the file for this are not kept, or zooming out would fill the cache with pixels nobody sees.
        """
        finer = step - 1
        out = self._empty(box)
        for dr in (0, 1):
            for dc in (0, 1):
                spot = (2 * row + dr, 2 * col + dc)
                inner = self.block_box(finer, *spot)
                if not inner.h or not inner.w:
                    continue
                whole = self.steps[finer].native is None or self.holds(finer, *spot, plane)
                part = halve(self.block(finer, *spot, plane) if whole else self._load(finer, *spot, plane))
                y, x = inner.y // 2 - box.y, inner.x // 2 - box.x
                out[y : y + part.shape[0], x : x + part.shape[1]] = part
        return out
