"""Colour rules on a small picture of a slide: glass, stain, ink."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage
from skimage.filters import threshold_otsu

if TYPE_CHECKING:
    import numpy.typing as npt

    Picture = npt.NDArray[np.uint8]
    Bools = npt.NDArray[np.bool_]
    Floats = npt.NDArray[np.float32]

CHROMA_BOUNDS = (7.0, 18.0)
"""Colour (largest minus smallest of R, G, B; glass made neutral) below which is glass, above which is tissue.

Otsu decides between them. The lower bound keeps noise and grey shadow out of empty slides, the upper one keeps Otsu
from splitting pale from dark tissue where there is no glass at all."""
GREY_BOUNDS = (12.0, 30.0)
"""The same for darkness below white, on pictures without colour."""
DARK_BOUNDS = (12.0, 40.0)
"""The same for brightness over a dark field."""


def extremes(rgb: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return the smallest and largest of R, G, B per pixel; numpy's own reductions over a short last axis are slow."""
    r, g, b = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    return np.minimum(np.minimum(r, g), b), np.maximum(np.maximum(r, g), b)


def white_point(rgb: Picture) -> npt.NDArray[np.float32]:
    """Return (3,) the colour of glass: the commonest bright, nearly neutral one; (245, 245, 245) where none is seen."""
    low, high = extremes(rgb)
    glassy = (low >= 190) & (high - low <= 30)
    glass, low = rgb[glassy], low[glassy]
    if len(glass) < 0.005 * glassy.size:
        return np.full(3, 245, np.float32)
    # White fat and lumina are glass too, so a small share is enough; the median of the brighter half skips shadow.
    bright = glass[low >= np.median(low)]
    return np.asarray(np.median(bright, axis=0), np.float32)


def is_dark_field(rgb: Picture) -> bool:
    """Whether the background is black, as in fluorescence: most of the picture is dark and none of it is glass."""
    low, high = extremes(rgb)
    return bool(np.median(high) < 60 and np.mean(low >= 190) < 0.02)


def is_grey(rgb: npt.NDArray[Any]) -> bool:
    """Whether the picture has no colour at all."""
    return np.array_equal(rgb[..., 0], rgb[..., 1]) and np.array_equal(rgb[..., 0], rgb[..., 2])


def chroma(rgb: npt.NDArray[Any], white: Any) -> Floats:
    """Return (h, w) the spread of R, G, B after glass is made neutral, 0..255."""
    neutral = np.minimum(rgb.astype(np.float32) * (np.float32(245) / np.asarray(white, np.float32)), 255)
    low, high = extremes(neutral)
    return np.asarray(high - low, np.float32)


def tissue_score(rgb: npt.NDArray[Any], *, dark: bool, white: Any) -> tuple[Floats, float]:
    """Return (h, w) how much a pixel looks like tissue, and the threshold above which it is."""
    grey = is_grey(rgb)
    # Smoothed before the spread is taken: noise alone spreads the three colours, and that does not average out after.
    rgb = np.stack([ndimage.gaussian_filter(rgb[..., i].astype(np.float32), 0.7) for i in range(3)], -1)
    if dark:
        score, bounds = extremes(rgb)[1], DARK_BOUNDS
    elif grey:
        score, bounds = np.maximum(np.float32(np.max(white)) - rgb[..., 0], 0).astype(np.float32), GREY_BOUNDS
    else:
        score, bounds = chroma(rgb, white), CHROMA_BOUNDS
    # Clipped, or strong stain would pull the threshold up to where it parts pale tissue from dark.
    clipped = np.minimum(score, 3 * bounds[1])
    otsu = float(threshold_otsu(clipped)) if np.ptp(clipped) > 0 else bounds[1]
    return score, float(np.clip(otsu, *bounds))


def ink(rgb: Picture, *, white: Any) -> Bools:
    """Return (h, w) where a pen wrote: green, blue, red or black marks and their faint borders.

    Haematoxylin and eosin always take more green than red out of the light; green and blue ink do not. Red ink takes
    blue and green alike and hardly any red; black takes all alike and nearly everything.
    """
    density = -np.log10(np.clip(rgb.astype(np.float32) / np.asarray(white, np.float32), 1 / 255, 1.0))
    r, g, b = density[..., 0], density[..., 1], density[..., 2]
    cold, cold_faint = (r > 0.25) & (r > g + 0.10), (r > 0.06) & (r > g + 0.025)
    red = (g > 0.6) & (b > 0.72 * g) & (r < 0.3 * g)
    red_faint = (g > 0.15) & (b > 0.72 * g) & (r < 0.35 * g)
    low, high = extremes(density)
    black, black_faint = (low > 0.6) & (high < low + 0.25), (low > 0.2) & (high < low + 0.12)
    out = np.zeros(r.shape, bool)
    for core, faint in ((cold, cold_faint), (red, red_faint), (black, black_faint)):
        out |= _grown(ndimage.binary_opening(core), faint)
    return np.asarray(ndimage.binary_dilation(out, iterations=2)) if out.any() else out


def _grown(core: Bools, faint: Bools) -> Bools:
    """Return the parts of `faint` that touch `core`, and `core`."""
    if not core.any():
        return core
    names, count = ndimage.label(faint | core, np.ones((3, 3)))
    kept = np.zeros(count + 1, bool)
    kept[names[core]] = True
    kept[0] = False
    return np.asarray(kept[names])
