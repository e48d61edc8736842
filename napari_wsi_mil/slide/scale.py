"""Pure arithmetic between level 0, level n and micrometres."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_wsi_mil.slide.spec import Level


def downsamples(shapes_yx: Sequence[tuple[int, int]]) -> tuple[tuple[float, float], ...]:
    """Return per level the real ratio of level-0 size to level size, per axis."""
    h0, w0 = shapes_yx[0]
    return tuple((h0 / h, w0 / w) for h, w in shapes_yx)


def level_for_downsample(levels: Sequence[Level], wanted: float) -> int:
    """Return the coarsest level that still resolves `wanted` level-0 pixels per output pixel.

    A level up to 1 % coarser than wanted counts as resolving it: vendor pyramids have 4.0001 where 4 is meant.
    """
    best = 0
    for i, level in enumerate(levels):
        if max(level.downsample_yx) <= wanted * 1.01:
            best = i
    return best


def halved(shape_yx: tuple[int, int]) -> tuple[int, int]:
    """Return the size after 2x2 averaging, an odd last row or column kept."""
    return math.ceil(shape_yx[0] / 2), math.ceil(shape_yx[1] / 2)


def steps_between(fine_yx: tuple[int, int], coarse_yx: tuple[int, int]) -> int:
    """Return how many halvings fit between two levels so that neighbours differ by about 2.

    4x pyramids get 1, 8x get 2, 16x get 3; ratios below 2.9 get none.
    """
    ratio = min(fine_yx[0] / coarse_yx[0], fine_yx[1] / coarse_yx[1])
    return max(round(math.log2(ratio)) - 1, 0) if ratio >= 2.9 else 0
