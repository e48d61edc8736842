"""Colour scales that are told apart with any colour vision, as numbers, so that windows and pictures agree."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

# Points at equal distance, linear between them. The first four sample the maps of these names (Smith, van der Walt,
# Firing; Nunez, Anderton, Renslow; all CC0). The last three are ours: white at 0, equally dark towards both ends,
# and apart in blue and yellow, which red-green blindness spares. Teal is the default: stained tissue has none.
_POINTS = {
    "inferno": (
        "000004 0b0724 210c4a 3d0965 57106e 71196e 8a226a a32c61 bc3754"
        " d24644 e45a31 f1731d f98e09 fcac11 f9cb35 f2ea69 fcffa4"
    ),
    "magma": (
        "000004 0a0822 1d1147 36106b 51127c 6a1c81 832681 9c2e7f b73779"
        " d0416f e75263 f56b5c fc8961 fea772 fec488 fde2a3 fcfdbf"
    ),
    "viridis": (
        "440154 48186a 472d7b 424086 3b528b 33638d 2c728e 26828e 21918c"
        " 1fa088 28ae80 3fbc73 5ec962 84d44b addc30 d8e219 fde725"
    ),
    "cividis": (
        "00224e 002e6a 1a386f 32436d 434e6c 535a6d 61656f 6f7073 7d7c78"
        " 8c8878 9b9476 aba072 bcae6c cdbb63 dec958 f0d846 fee838"
    ),
    "teal-orange": "054463 0f7389 4faabb b2dae0 f6f4f1 f2cf9a db9a45 a96509 623400",
    "purple-orange": "3b1b66 6a4c9c a08fc6 d3cbe4 f6f4f1 f2cf9a db9a45 a96509 623400",
    "blue-red": "0c2f63 2f669c 7aa6cb c3d7e6 f6f4f1 f0c8b4 d78a6b ab4a33 651318",
}
COLOURS = tuple(_POINTS)
"""Names of the scales."""
DIVERGING = ("teal-orange", "purple-orange", "blue-red")
"""Those with a middle, for scores with a meaningful 0."""
STEPS = 256


def colours(name: str, *, fade: bool = False) -> npt.NDArray[np.float64]:
    """Return (256, 4) RGBA in 0..1 of a scale; raises KeyError for a name that is not in `COLOURS`.

    With `fade` opacity rises from nothing at the low end (the middle of a diverging scale) to full half-way up.
    """
    points = np.array([tuple(bytes.fromhex(point)) for point in _POINTS[name].split()]) / 255
    place = np.linspace(0, 1, STEPS)
    known = np.linspace(0, 1, len(points))
    rgb = [np.interp(place, known, points[:, channel]) for channel in range(3)]
    height = np.abs(2 * place - 1) if name in DIVERGING else place
    return np.stack([*rgb, np.clip(2 * height, 0, 1) if fade else np.ones(STEPS)], -1)
