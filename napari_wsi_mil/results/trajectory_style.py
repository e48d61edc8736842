"""How the views of a zoom are coloured and called, alike in the window, on pictures and in files for other programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_wsi_mil.results.trajectory import Trajectory

    Colour = tuple[int, int, int]

DEPTH_COLOURS: tuple[Colour, ...] = ((90, 90, 90), (160, 48, 0), (0, 158, 115), (127, 255, 0), (0, 0, 255))
"""RGB by depth, the root first: measured to be told apart, with every kind of colour vision, from one another and from
pink, violet and white tissue."""


def depth_colour(depth: int) -> Colour:
    """Return the RGB (0..255) of the boxes of a depth; beyond the fifth those of the deeper ones come again."""
    return DEPTH_COLOURS[depth if depth < len(DEPTH_COLOURS) else 1 + (depth - 1) % (len(DEPTH_COLOURS) - 1)]


def depth_name(result: Trajectory, depth: int) -> str:
    """Return what a depth is called, such as "Layer 2"; the last one says that the classifier saw it."""
    if not depth:
        return "Whole slide"
    return f"Layer {depth} (final views)" if depth == result.depth else f"Layer {depth}"


def magnification_text(result: Trajectory, index: int) -> str:
    """Return a node's magnification with two digits, "0.31×" or "12×"; without pixel size "12× root"."""
    value = result.magnification(index)
    form = ".0f" if value >= 9.95 else ".1f" if value >= 0.995 else ".2f" if value >= 0.01 else ".1g"
    digits = f"{value:{form}}"
    return f"{digits}×" if result.slide_mpp_yx is not None else f"{digits}× root"


def contribution_text(value: float) -> str:
    """Return a contribution with its sign: "+0.42", "−1.30"; one digit where it is tiny, "+0.002"."""
    return f"{value:{'+.2f' if abs(value) >= 0.005 or not value else '+.1g'}}".replace("-", "−")
