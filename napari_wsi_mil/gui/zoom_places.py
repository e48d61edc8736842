"""Where the views of a zoom lie on the canvas, and which one lies under a point."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_wsi_mil.gui.camera import plane

if TYPE_CHECKING:
    from collections.abc import Collection

    from napari.components import ViewerModel
    from napari.layers import Image, Shapes

    from napari_wsi_mil.results import Trajectory, ZoomNode

BOXES, LINES = "zoom boxes", "zoom lines"
"""`wsi_role` of the layers of a trajectory."""
SQUARE = np.array([(0, 0), (0, 1), (1, 1), (1, 0)], float)


def corners_world(viewer: ViewerModel, image: Image, node: ZoomNode) -> np.ndarray:
    """Return the (4, 2) corners of a node in world units, `image` being one of the slide's."""
    matrix, shift = plane(viewer, image)
    return (np.asarray(node.corner_yx0) + SQUARE * node.side_px0 - 0.5) @ matrix + shift


def node_at(result: Trajectory, yx0: np.ndarray, nodes: Collection[int]) -> int | None:
    """Return the smallest of `nodes` over a level-0 point, the deepest of several alike; None where none is."""
    over = [
        i
        for i in nodes
        if all(0 <= p - c < result.nodes[i].side_px0 for p, c in zip(yx0, result.nodes[i].corner_yx0, strict=True))
    ]
    return min(over, key=lambda i: (result.nodes[i].side_px0, -result.nodes[i].depth)) if over else None


def zoom_layers(viewer: ViewerModel, result: Trajectory, role: str) -> list[Shapes]:
    """Return the layers of this role that show this very result."""
    return [
        layer
        for layer in viewer.layers
        if layer.metadata.get("wsi_role") == role and layer.metadata.get("wsi_result") is result
    ]


def node_numbers(layer: Shapes) -> list[int | None]:
    """Return the node of every shape, of its child for a line; None for shapes somebody drew or copied."""
    found: list[int | None] = []
    for value in layer.features["node"]:
        # napari gives a new shape the features of the last one
        found.append(None if value in found or value != value else int(value))
    return found


def node_under(viewer: ViewerModel, layer: Shapes, position: np.ndarray) -> int | None:
    """Return the node whose box in a visible layer is drawn under a world point; the root, all around, is none."""
    if not layer.visible or layer.opacity == 0 or viewer.dims.ndisplay != 2:
        return None
    drawn = np.asarray(layer.edge_color)[:, 3] > 0
    matrix, shift = plane(viewer, layer)
    yx0 = (np.asarray(position, float)[-2:] - shift) @ np.linalg.inv(matrix)
    there = [n for n, seen in zip(node_numbers(layer), drawn, strict=True) if n and seen]
    return node_at(layer.metadata["wsi_result"], yx0, there)
