"""Attention meets prompts: the tiles a model looked at ask for outlines, and outlines are told how much it looked."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import shapely

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.results.prompts import SlidePrompt

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_wsi_mil.results import Attention, MapChoice
    from napari_wsi_mil.results.objects import MaskObject
    from napari_wsi_mil.slide import Slide


def seeds_of(attention: Attention, *, top: int = 20, choice: MapChoice | int | None = None) -> tuple[SlidePrompt, ...]:
    """Return one positive point in the middle of each of the `top` tiles, highest score first.

    `choice` is a map, or a class of the attention (None: the likeliest). A tile that reaches over the slide's edge is
    asked in the middle of its part on the slide. Raises BadRequest for less than one tile or a map there is not.
    """
    if top < 1:
        message = f"expected prompts from 1 or more top tiles, got {top}; ask for some."
        raise BadRequest(message)
    grid = attention.grid
    chosen = grid.yx0[attention.top_tiles(top, choice)]
    ends = np.minimum(chosen + grid.side_yx0, grid.slide_shape_yx)
    return tuple(SlidePrompt(points_yx0=((y, x),), labels=(1,)) for y, x in ((chosen + ends) / 2).tolist())


def with_attention(
    objects: Iterable[MaskObject], attention: Attention, *, class_index: int | None = None
) -> tuple[MaskObject, ...]:
    """Return the objects with the mean attention under each, 1.0 being that of the average tile; None off the tiles.

    Attention is the softmax weight of a tile, spread evenly over it; where tiles overlap, their mean counts.
    Raises BadRequest if there is no such class.
    """
    given = tuple(objects)
    grid = attention.grid
    corners, side = grid.yx0, np.asarray(grid.side_yx0)
    tiles = shapely.box(*corners.T, *(corners + side).T)
    weights = attention.weights(class_index).astype(np.float64) * len(grid)
    outlines = np.empty(len(given), object)
    outlines[:] = [one.outline for one in given]
    who, tile = shapely.STRtree(tiles).query(outlines, predicate="intersects")
    shares = shapely.area(shapely.intersection(outlines[who], tiles[tile]))
    mass = np.bincount(who, shares * weights[tile], minlength=len(given))
    areas = np.bincount(who, shares, minlength=len(given))
    means = (m / a if a > 0 else None for m, a in zip(mass.tolist(), areas.tolist(), strict=True))
    return tuple(replace(one, attention=mean) for one, mean in zip(given, means, strict=True))


def check_slide(attention: Attention, slide: Slide) -> None:
    """Raise BadRequest unless the attention is of this slide."""
    if attention.grid.slide_fingerprint != slide.fingerprint:
        message = f"the attention is of {attention.slide_path}, not of {slide.name}; take results of one slide."
        raise BadRequest(message)
