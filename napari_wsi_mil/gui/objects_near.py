"""Which objects of a view are drawn as shapes: those selected, and all in it where they are few and large enough."""

from __future__ import annotations

from typing import TYPE_CHECKING

import shapely

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_wsi_mil.gui.camera import View
    from napari_wsi_mil.gui.objects_index import ObjectIndex
    from napari_wsi_mil.results.objects import MaskObject

MOST_SHAPES = 150
"""Objects drawn as shapes: so many cost a frame little, also without a graphics card."""
MOST_CORNERS = 40_000
LEAST_PX = 8.0
"""Side on the screen from which on an object is a shape ..."""
WELL_PX = 48.0
"""... and from which on a person can work on it."""


def near(
    objects: Mapping[int, MaskObject], index: ObjectIndex, view: View, *, px0: float, chosen: frozenset[int]
) -> set[int]:
    """Return the numbers of objects to be shapes; `px0` is a screen pixel's size in level-0 pixels."""
    wanted = chosen if len(chosen) <= MOST_SHAPES else frozenset()
    found = index.within(view, least_px0=LEAST_PX * px0).tolist()
    if found and len(found) <= MOST_SHAPES:
        corners = shapely.get_num_coordinates([objects[number].outline for number in found]).sum()
        wanted |= frozenset(found) if corners <= MOST_CORNERS else frozenset()
    return {number for number in wanted if number in objects}


def well_seen(one: MaskObject, view: View, *, px0: float) -> bool:
    """Whether an object is in view, whole and large enough to work on."""
    y0, x0, y1, x1 = one.outline.bounds
    inside = y0 >= view.y and x0 >= view.x and y1 <= view.y + view.h and x1 <= view.x + view.w
    return inside and max(y1 - y0, x1 - x0) >= WELL_PX * px0
