"""The raw score, or the zoom's view, under the pointer, in napari's status bar."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_wsi_mil.gui.camera import plane
from napari_wsi_mil.gui.legend import number
from napari_wsi_mil.gui.zoom_facts import sentence
from napari_wsi_mil.gui.zoom_places import BOXES, node_under
from napari_wsi_mil.results import Attention

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image

    from napari_wsi_mil.results import MapChoice

HIDDEN = " · hidden by the threshold"


class Pointer:
    """Writes the score of the topmost visible heatmap under the pointer over what napari says about the active layer.

    napari works out its own status in a thread and sets it when the pointer has moved; this answers each of those
    before the window is painted again, so nothing flickers. Messages of others are left alone.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = weakref.ref(viewer)
        self._writing = False
        # after the window's own, which would otherwise show the older text last
        viewer.events.status.connect(self._answer, position="last")

    def _answer(self, event: Any) -> None:
        viewer, said = self._viewer(), event.value
        if viewer is None or self._writing or not viewer.mouse_over_canvas:
            return
        if isinstance(said, str) and said != "Ready" and "»" not in said:
            return
        text = text_at(viewer, np.asarray(viewer.cursor.position, float))
        if text:
            self._writing = True
            try:
                viewer.status = text
            finally:
                self._writing = False


def text_at(viewer: ViewerModel, position: np.ndarray) -> str:
    """Return the sentence for a point in the viewer's world units, '' where no visible heatmap or zoom has anything."""
    if viewer.dims.ndisplay != 2:
        return ""
    for layer in reversed(list(viewer.layers)):
        result = layer.metadata.get("wsi_result")
        if layer.metadata.get("wsi_role") == BOXES:
            node = node_under(viewer, layer, position)
            if node is not None:
                return sentence(result, node, result.predicted)
        if layer.metadata.get("wsi_role") != "attention" or not isinstance(result, Attention):
            continue
        if not layer.visible or layer.opacity == 0:
            continue
        yx0, shown = _under(viewer, layer, position[-2:])
        text = said_of(result, layer.metadata["wsi_style"].choice, yx0)
        if text:
            return text if shown else text + HIDDEN
    return ""


def said_of(result: Attention, choice: MapChoice, yx0: np.ndarray) -> str:
    """Return the raw score of a map at a level-0 point: tile, score, and how many tiles have a lower one."""
    corners = result.grid.yx0
    rows = np.flatnonzero(((corners <= yx0) & (yx0 < corners + result.grid.side_yx0)).all(1))
    if not len(rows):
        return ""
    scores = result.map_scores(choice)
    score = float(scores[rows].mean())
    lower = 100 * float((scores < score).mean())
    name = " ".join(
        part for part in (choice.name if choice.name != "Attention" else "", result.row_name(choice)) if part
    )
    y, x = corners[rows[0]]
    tile = f"tile {rows[0]} at {y:.0f}, {x:.0f}"
    where = tile if len(rows) == 1 else f"mean of {len(rows)} tiles, the first {tile}"
    title = f"{result.title} · {name}" if name else result.title
    return f"{title} · raw {number(score)} · higher than {lower:.0f} % of tiles · {where}"


def _under(viewer: ViewerModel, layer: Image, point: np.ndarray) -> tuple[np.ndarray, bool]:
    """Return the level-0 point under a world point, and whether the layer draws anything there."""
    result: Attention = layer.metadata["wsi_result"]
    matrix, shift = plane(viewer, layer)
    # napari counts from the middle of the first cell
    cells = (point - shift) @ np.linalg.inv(matrix) + 0.5
    laid, shape = result.mosaic, np.asarray(layer.data.shape)
    at = np.floor(cells).astype(int)
    inside = bool(((at >= 0) & (at < shape)).all())
    shown = inside and bool(np.isfinite(layer.data[tuple(at)]))
    return np.asarray(laid.corner_yx0) + cells * laid.cell_px0 * (np.asarray(laid.shape) / shape), shown
