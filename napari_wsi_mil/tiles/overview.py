"""One small picture of the whole slide, read piece by piece."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.slide.regions import as_rgb
from napari_wsi_mil.slide.scale import level_for_downsample
from napari_wsi_mil.ticks import no_tick

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_wsi_mil.slide import Slide
    from napari_wsi_mil.ticks import Tick

RELATIVE_PX = 2048
"""Longest side of the overview of a slide without pixel size."""
LARGEST_PX = 8192
"""No overview is larger, whatever the resolution asked for."""
PIECE_PX = 2048
"""Side of the square read at once, in pixels of the level read from."""


class Overview(NamedTuple):
    """The slide as one picture whose pixel (i, j) covers level-0 pixels [i*d, (i+1)*d) x [j*d, (j+1)*d)."""

    rgb: npt.NDArray[np.uint8]
    """(h, w, 3) uint8; white beyond the slide's edge."""
    downsample: float
    """d: level-0 pixels per picture pixel."""


def overview_downsample(slide: Slide, mpp: float) -> float:
    """Return the level-0 pixels per overview pixel for `mpp` um/px; without a pixel size the longest side decides."""
    longest = max(slide.shape0_yx)
    wanted = longest / RELATIVE_PX if slide.mpp is None else mpp / slide.mpp
    return max(wanted, longest / LARGEST_PX, 1.0)


def read_overview(slide: Slide, *, mpp: float = 8.0, tick: Tick = no_tick) -> Overview:
    """Read the whole slide at `mpp` um/px in pieces, so that memory stays small also where only level 0 exists.

    A slide without pixel size is read with its longest side at 2048 px or less. Raises BadRequest on multichannel
    fluorescence, SlideReadError where pixels cannot be read, Cancelled.
    """
    d = overview_downsample(slide, mpp)
    h, w = (math.ceil(n / d - 1e-6) for n in slide.shape0_yx)
    return Overview(read_picture(slide, (0.0, 0.0), (h, w), downsample=d, tick=tick), d)


def read_picture(
    slide: Slide, yx0: tuple[float, float], size_px: tuple[int, int], *, downsample: float, tick: Tick = no_tick
) -> npt.NDArray[np.uint8]:
    """Return (h, w, 3) uint8 RGB of `size_px` pixels from `yx0` on, read in pieces; errors as `read_overview`."""
    if slide.meta.channels:
        message = (
            f"{slide.name}: tissue is found on colour slides, got {len(slide.meta.channels)} fluorescence channels; "
            "draw the region to look at by hand."
        )
        raise BadRequest(message)
    h, w = size_px
    source = slide.levels[level_for_downsample(slide.levels, downsample)]
    step = max(int(PIECE_PX / (downsample / max(source.downsample_yx))), 16)
    out = np.empty((h, w, 3), np.uint8)
    spots = [(y, x) for y in range(0, h, step) for x in range(0, w, step)]
    for done, (y, x) in enumerate(spots):
        tick(done, len(spots))
        size = (min(step, h - y), min(step, w - x))
        corner = (yx0[0] + y * downsample, yx0[1] + x * downsample)
        out[y : y + size[0], x : x + size[1]] = as_rgb(slide.read_region(corner, size, downsample=downsample))
    tick(len(spots), len(spots))
    return out
