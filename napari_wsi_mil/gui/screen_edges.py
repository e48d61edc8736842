"""Edges of shapes that stay as wide on the screen as they are, at every zoom."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_wsi_mil.gui.camera import plane

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Shapes

ENOUGH = 0.1
"""Widths that differ by less than this share are left as they are."""


def edge_width(viewer: ViewerModel, layer: Shapes, px: float) -> float:
    """Return the width in a layer's own units of an edge `px` canvas pixels wide."""
    matrix, _ = plane(viewer, layer)
    return float(px / viewer.scene.camera.zoom / np.sqrt(abs(np.linalg.det(matrix))))


def settle_edges(viewer: ViewerModel, layer: Shapes | None, px: float) -> None:
    """Make all edges of a layer, and those drawn next, `px` canvas pixels wide; None is left."""
    if layer is None:
        return
    wanted = edge_width(viewer, layer, px)
    there = layer.edge_width if layer.nshapes else [layer.current_edge_width]
    if max(abs(width / wanted - 1) for width in there) > ENOUGH:
        layer.current_edge_width = wanted
        if layer.nshapes:
            layer.edge_width = wanted
            # napari draws another width only when told
            layer.events.edge_width()
