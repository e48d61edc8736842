"""Aperio-style JPEG pyramid TIFF from a stream of blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_wsi_mil.ticks import Tick

Pixels = NDArray[np.uint8]
TILE = 256
SMALLEST = 512


def level_shapes(height: int, width: int) -> list[tuple[int, int]]:
    """Sizes of levels 1:1, 1:2, 1:4 ... down to the first whose longer side is under 512 px."""
    shapes = [(height, width)]
    while max(shapes[-1]) >= SMALLEST:
        shapes.append((shapes[-1][0] // 2, shapes[-1][1] // 2))
    return shapes


def halve(a: Pixels) -> Pixels:
    """Rounded 2x2 means of an (h, w, 3) uint8 image; an odd last row or column is dropped."""
    h, w = a.shape[0] // 2, a.shape[1] // 2
    total = a[: 2 * h, : 2 * w].reshape(h, 2, w, 2, 3).astype(np.uint16).sum((1, 3))
    return np.asarray((total + 2) // 4, np.uint8)


def encode(tile: Pixels, quality: int) -> bytes:
    """JPEG of one RGB tile, YCbCr 4:2:0; partial tiles are filled up by repeating their edge."""
    missing = (TILE - tile.shape[0], TILE - tile.shape[1])
    if any(missing):
        tile = np.pad(tile, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
    whole = np.ascontiguousarray(tile)
    return bytes(
        imagecodecs.jpeg8_encode(whole, level=quality, subsampling="420", colorspace="RGB", outcolorspace="YCBCR")
    )


def write_pyramid(
    path: Path,
    paint: Callable[[int, int, int, int], Pixels],
    *,
    shape0: tuple[int, int],
    block: int,
    quality: int,
    tick: Tick,
) -> None:
    """Write the slide that `paint(y0, x0, height, width)` yields block by block; `block` is a multiple of the tile.

    Memory: one block, the compressed tiles of level 0 and the pixels of level 1.
    """
    shapes = level_shapes(*shape0)
    tiles, second = _first_levels(paint, shape0=shape0, block=block, quality=quality, tick=tick)
    with tifffile.TiffWriter(path, bigtiff=shape0[0] * shape0[1] > 2**31) as tif:
        _put(tif, iter(tiles), shapes[0], text=_description(shape0, shapes[0], quality), reduced=False)
        pixels = second
        for shape in shapes[1:]:
            _put(tif, _cut(pixels, quality), shape, text=_description(shape0, shape, quality), reduced=True)
            pixels = halve(pixels)


def _first_levels(
    paint: Callable[[int, int, int, int], Pixels], *, shape0: tuple[int, int], block: int, quality: int, tick: Tick
) -> tuple[list[bytes], Pixels]:
    """Compressed level-0 tiles in file order, and level 1."""
    height, width = shape0
    second = np.zeros((height // 2, width // 2, 3), np.uint8)
    across = -(-width // TILE)
    tiles: list[bytes] = [b""] * (across * -(-height // TILE))
    corners = [(y, x) for y in range(0, height, block) for x in range(0, width, block)]
    tick(0, len(corners))
    for done, (y, x) in enumerate(corners, 1):
        rgb = paint(y, x, min(block, height - y), min(block, width - x))
        half = halve(rgb)
        second[y // 2 : y // 2 + half.shape[0], x // 2 : x // 2 + half.shape[1]] = half
        for dy in range(0, rgb.shape[0], TILE):
            for dx in range(0, rgb.shape[1], TILE):
                index = (y + dy) // TILE * across + (x + dx) // TILE
                tiles[index] = encode(rgb[dy : dy + TILE, dx : dx + TILE], quality)
        tick(done, len(corners))
    return tiles, second


def _cut(pixels: Pixels, quality: int) -> Iterator[bytes]:
    for y in range(0, pixels.shape[0], TILE):
        for x in range(0, pixels.shape[1], TILE):
            yield encode(pixels[y : y + TILE, x : x + TILE], quality)


def _description(shape0: tuple[int, int], shape: tuple[int, int], quality: int) -> str:
    (h, w), (lh, lw) = shape0, shape
    size = f"{w}x{h} [0,0 {w}x{h}] ({TILE}x{TILE})"
    size += "" if shape == shape0 else f" -> {lw}x{lh}"
    return f"Aperio Image Library v12.0.0 \n{size} JPEG/RGB Q={quality}|AppMag = 20|MPP = 0.5000"


def _put(tif: tifffile.TiffWriter, tiles: Iterator[bytes], shape: tuple[int, int], *, text: str, reduced: bool) -> None:
    tif.write(
        tiles,
        shape=(*shape, 3),
        dtype="uint8",
        tile=(TILE, TILE),
        photometric="ycbcr",
        subsampling=(2, 2),
        compression="jpeg",
        metadata=None,
        software=False,
        subfiletype=int(reduced),
        description=text,
    )
