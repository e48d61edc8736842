"""TIFF tag 274: how the stored rows and columns become the upright picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_wsi_mil.slide.spec import Box

if TYPE_CHECKING:
    import numpy.typing as npt

UPRIGHT = 1


def turned_yx(size_yx: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Return the upright (height, width) of a stored one; 5 to 8 swap the axes."""
    return (size_yx[1], size_yx[0]) if orientation >= 5 else size_yx


def stored_box(box: Box, orientation: int, stored_yx: tuple[int, int]) -> Box:
    """Return where the pixels of an upright `box` lie in the stored image."""
    y, x, h, w = box
    if orientation >= 5:
        y, x, h, w = x, y, w, h
    if orientation in (3, 4, 6, 7):  # the first stored row is at the bottom, or at the right
        y = stored_yx[0] - y - h
    if orientation in (2, 3, 7, 8):
        x = stored_yx[1] - x - w
    return Box(y, x, h, w)


def upright(stored: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """Return a stored (h, w[, samples]) box turned upright, as its own contiguous array."""
    if orientation == UPRIGHT:
        return stored
    if orientation in (3, 4, 6, 7):
        stored = stored[::-1]
    if orientation in (2, 3, 7, 8):
        stored = stored[:, ::-1]
    if orientation >= 5:
        stored = stored.swapaxes(0, 1)
    return np.ascontiguousarray(stored)
