"""Shapes the user drew or edited, as polygons in the slide's frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Shapes

from napari_wsi_mil.gui.camera import layer_to_yx0
from napari_wsi_mil.gui.slides import slide_of
from napari_wsi_mil.layers import shapes_polygons

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer
    from shapely import Polygon

    from napari_wsi_mil.slide import Slide


OURS = ("tissue", "tiles", "zoom boxes", "zoom lines", "prompt boxes", "draft outline", "objects", "objects cut")
"""Shapes this program drew, which limit no run."""


def tissue_of(viewer: ViewerModel, slide: Slide) -> Shapes | None:
    """Return the slide's tissue outlines, the topmost layer where there are several."""
    found = [
        layer
        for layer in viewer.layers
        if isinstance(layer, Shapes) and slide_of(layer) is slide and layer.metadata.get("wsi_role") == "tissue"
    ]
    return found[-1] if found else None


def regions_of(viewer: ViewerModel, slide: Slide) -> list[Shapes]:
    """Return the Shapes layers that can limit a run: drawn ones, and none of another slide."""
    return [
        layer
        for layer in viewer.layers
        if isinstance(layer, Shapes) and slide_of(layer) in (None, slide) and layer.metadata.get("wsi_role") not in OURS
    ]


def polygons(viewer: ViewerModel, image: Layer, shapes: Shapes, *, selected: bool = False) -> list[Polygon]:
    """Return the closed shapes as (y, x) level-0 polygons; `selected` keeps only the selected ones, if any are.

    `image` is a layer with the slide's own pixels. Each layer counts as it lies on the canvas, rotated and sheared too.
    """
    rows = list(range(len(shapes.data)))
    if selected and shapes.selected_data:
        rows = sorted(int(i) for i in shapes.selected_data)
    data = shapes.data
    outlines = [layer_to_yx0(viewer, image, shapes, np.asarray(data[i])[:, -2:]) for i in rows]
    parts = shapes.features.get("part")
    return shapes_polygons(
        outlines,
        None if parts is None else [str(parts.iloc[i]) for i in rows],
        kinds=[str(shapes.shape_type[i]) for i in rows],
    )
