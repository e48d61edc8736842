"""Pyramids of any shape written by the tests, and the independent reading of TIFFs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile

from .vendor_files import LOSSLESS, TILE, marked

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_wsi_mil.slide import Slide

RGB: dict[str, Any] = {"photometric": "rgb"}
GREY: dict[str, Any] = {"photometric": "minisblack"}


def pyramid(
    path: Path, sizes: Sequence[tuple[int, int]], *, samples: int = 3, dtype: str = "uint8", **options: Any
) -> list[np.ndarray]:
    """Write levels of different noise as pages, fine to coarse; return them."""
    levels = [marked(size, samples, dtype) for size in sizes]
    kind = RGB if samples >= 3 else GREY
    with tifffile.TiffWriter(path) as tif:
        for i, level in enumerate(levels):
            tif.write(level, **{"tile": TILE, **kind, **LOSSLESS, **options}, subfiletype=min(i, 1))
    return levels


def assert_levels(slide: Slide, levels: Sequence[np.ndarray], plane: Any = None) -> None:
    """Compare every level whole, at all four corners and over the edges with `levels`, pixel by pixel."""
    from napari_wsi_mil.slide import Box, Plane

    plane = plane or Plane()
    assert [level.shape_yx for level in slide.levels] == [a.shape[:2] for a in levels]
    for i, wanted in enumerate(levels):
        h, w = wanted.shape[:2]
        np.testing.assert_array_equal(slide.read_level(i, Box(0, 0, h, w), plane), wanted)
        for y in (-3, h // 2, h - 5):
            for x in (-3, w // 2, w - 5):
                read = slide.read_level(i, Box(y, x, 9, 7), plane)
                rows, cols = (np.arange(n, n + k) for n, k in ((y, 9), (x, 7)))
                inside = np.ix_((rows >= 0) & (rows < h), (cols >= 0) & (cols < w))
                part = wanted[max(y, 0) : y + 9, max(x, 0) : x + 7]
                np.testing.assert_array_equal(read[inside], part)


def tiff_pages(path: Path) -> list[np.ndarray]:
    """Return every page of a TIFF as plain tifffile decodes it."""
    with tifffile.TiffFile(path) as tif:
        return [page.asarray() for page in tif.pages]
