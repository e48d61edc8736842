"""Windows that a prompt model looks through: which one suits a prompt, and its pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.ticks import no_tick
from napari_wsi_mil.tiles.shrink import Axis
from napari_wsi_mil.tiles.views import read_views

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from napari_wsi_mil.slide import Level, Slide
    from napari_wsi_mil.slide.blocks import BlockCache
    from napari_wsi_mil.ticks import Tick
    from napari_wsi_mil.tiles.views import Tally

    Doubles = npt.NDArray[np.float64]

Extent = tuple[float, float, float, float]
"""y0, x0, y1, x1 in level-0 pixels."""

FITS = 0.9
"""Share of a window's side that a prompt may take."""
SMALL_PX = 64
"""Pixels of a view finer than the model's own that a prompt may take; a larger one does without."""
STRIDES = ((1 / 4, 1 / 2), (3 / 4, 1 / 8), (math.inf, 1 / 16))
"""A prompt up to the first share of the side -> the second is the distance of the centres to choose from.

Far apart for small prompts, so that neighbouring ones share a window; the prompt then lies in its middle half."""
ENLARGED = 4
"""A slide's pixel is enlarged to so many at most; on slides with coarser ones wider windows are taken."""
COARSEST_UM = 64.0
"""um/px of the widest window."""
WHITE = 255


@dataclass(frozen=True)
class Window:
    """A square of a slide; values are equal for equal windows."""

    centre_yx0: tuple[float, float]
    side_px0: float
    """Of the high-resolution view, level-0 pixels."""
    step: int = 0
    """The high view has 2 ** step times the model's um/px."""

    @property
    def low(self) -> Window:
        """The same centre at half the resolution: twice the side."""
        return Window(self.centre_yx0, 2 * self.side_px0, self.step + 1)

    @property
    def extent_yx0(self) -> Extent:
        """(y0, x0, y1, x1) in level-0 pixels, also where it leaves the slide."""
        (y, x), half = self.centre_yx0, self.side_px0 / 2
        return y - half, x - half, y + half, x + half

    def to_view(self, yx0: npt.ArrayLike, px: int) -> Doubles:
        """Return level-0 places (N, 2) as pixels of its view of `px` pixels, centres at whole numbers."""
        places: Doubles = np.asarray(yx0, float).reshape(-1, 2) - self.extent_yx0[:2]
        return places * (px / self.side_px0) - 0.5

    def holds(self, extent_yx0: Extent) -> bool:
        """Whether an extent lies in it whole."""
        y0, x0, y1, x1 = self.extent_yx0
        return y0 <= extent_yx0[0] and x0 <= extent_yx0[1] and extent_yx0[2] <= y1 and extent_yx0[3] <= x1


def base_side(*, mpp: float | None, card_mpp: float, side_px: int) -> float:
    """Return the side of a window of step 0 in level-0 pixels.

    A slide without `mpp` (um/px of level 0) is taken to have that of the card, `card_mpp`.
    """
    return side_px * (card_mpp / mpp if mpp else 1.0)


def widest_step(card_mpp: float) -> int:
    """Return the step of the widest windows, 0 or more."""
    return max(math.floor(math.log2(COARSEST_UM / card_mpp) + 1e-9), 0)


def choose_window(
    prompt_extent_yx0: Extent,
    *,
    mpp: float | None,
    card_mpp: float,
    side_px: int,
    slide_shape: tuple[int, int],
    least: int = 0,
) -> Window:
    """Return the finest window, of step `least` or more, that a prompt of this extent fits in; nothing else matters.

    Centres lie on a lattice, moved inward where the window would leave the slide. Steps below 0 are for prompts of
    `SMALL_PX` or less on slides that have the pixels. Raises BadRequest for a prompt wider than the widest window.
    """
    y0, x0, y1, x1 = prompt_extent_yx0
    size, base = max(y1 - y0, x1 - x0), base_side(mpp=mpp, card_mpp=card_mpp, side_px=side_px)
    most = max(widest_step(card_mpp), least)
    for step in range(least, most + 1):
        side = base * 2.0**step
        if step < 0 and (side < 0.99 * side_px or size > SMALL_PX * side / side_px):
            continue
        if side * ENLARGED < side_px and step < most:
            continue
        if size <= FITS * side:
            stride = side * next(apart for share, apart in STRIDES if size <= share * side)
            middle = ((y0 + y1) / 2, (x0 + x1) / 2)
            y, x = (_inward(round(v / stride) * stride, side, n) for v, n in zip(middle, slide_shape, strict=True))
            return Window((y, x), side, step)
    widest = FITS * base * 2.0**most
    unit, factor = ("um", mpp) if mpp else ("px", 1.0)
    message = (
        f"prompt: {size * factor:.0f} {unit} wide, the widest window of this model takes {widest * factor:.0f} {unit}; "
        "draw a smaller one."
    )
    raise BadRequest(message)


def _inward(centre: float, side: float, length: int) -> float:
    """Move a window into the slide along one axis, to its middle where the slide is shorter."""
    return length / 2 if length <= side else float(min(max(centre, side / 2), length - side / 2))


def read_windows(
    slide: Slide,
    windows: Sequence[Window],
    px: int,
    *,
    count: Tally | None = None,
    kept: BlockCache | None = None,
    tick: Tick = no_tick,
) -> npt.NDArray[np.uint8]:
    """Return the views (K, px, px, 3) uint8 RGB of windows, white outside the slide; their low views are windows too.

    See `read_views` for `count`, `kept`, `tick` and errors; tiles that several windows need are decoded once.
    """
    found = read_views(
        slide, [w.centre_yx0 for w in windows], [w.side_px0 for w in windows], px, grey=0,
        names=["window"] * len(windows), count=count, kept=kept, tick=tick,
    )  # fmt: skip
    for rgb, window, level in zip(found.rgb, windows, found.levels, strict=True):
        _whiten(rgb, window, slide.levels[level])
    return found.rgb


def _whiten(rgb: npt.NDArray[Any], window: Window, level: Level) -> None:
    px = len(rgb)
    for axis, (corner, d, n) in enumerate(zip(window.extent_yx0[:2], level.downsample_yx, level.shape_yx, strict=True)):
        first, last = Axis(corner / d, window.side_px0 / d / px, px, n).shown
        outside = rgb if axis == 0 else rgb.swapaxes(0, 1)
        outside[:first], outside[last:] = WHITE, WHITE
