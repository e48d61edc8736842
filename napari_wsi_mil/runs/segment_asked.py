"""Prompts of the slide's frame as a network and its answer's parts need them, window by window."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from shapely import MultiPolygon, Polygon, affinity

from napari_wsi_mil.models.prompted import Prompt
from napari_wsi_mil.tiles.contour import Meant, in_box
from napari_wsi_mil.tiles.outline import filled

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_wsi_mil.results.prompts import SlidePrompt
    from napari_wsi_mil.slide import Slide
    from napari_wsi_mil.tiles.windows import Extent, Window

DRAWN_LOGIT = 8.0
"""Logits that a lasso stands for inside, and less than 0 as much outside."""


def extent_on(slide: Slide, prompt: SlidePrompt) -> Extent:
    """Return the extent of that part of a prompt that lies on the slide."""
    (h, w), (y0, x0, y1, x1) = slide.shape0_yx, prompt.extent_yx0
    return max(y0, 0.0), max(x0, 0.0), min(y1, float(h)), min(x1, float(w))


def network_prompt(prompt: SlidePrompt, window: Window, *, side_px: int, mask_px: int) -> Prompt:
    """Return a prompt in pixels of a window's high view; a lasso becomes a box and a mask of `mask_px` squared."""
    points = window.to_view(prompt.points_yx0, side_px).astype(np.float32)
    labels = np.asarray(prompt.labels, np.int64)
    box, mask = prompt.box_yx0, None
    if prompt.lasso is not None:
        y0, x0, y1, x1 = prompt.lasso.bounds
        box = box or (y0, x0, y1, x1)
        drawn = _cells_of(prompt.lasso, window, mask_px)
        mask = np.where(drawn, DRAWN_LOGIT, -DRAWN_LOGIT).astype(np.float32)
    if box is None:
        return Prompt(points, labels, None, mask)
    corners = np.clip(window.to_view(np.reshape(box, (2, 2)), side_px), -0.5, side_px - 0.5)
    return Prompt(points, labels, corners.ravel().astype(np.float32), mask)


def meant_cells(prompt: SlidePrompt, window: Window, cells: int) -> Meant:
    """Return what a prompt means in the lattice of `cells` squared over a window."""

    def places(some: npt.ArrayLike) -> npt.NDArray[np.float64]:
        return window.to_view(some, cells) + 0.5

    region = None
    if prompt.lasso is not None:
        region = _cells_of(prompt.lasso, window, cells)
    elif prompt.box_yx0 is not None:
        region = in_box(places(np.reshape(prompt.box_yx0, (2, 2))), cells)
    return Meant(places(prompt.positive), places(prompt.negative), region)


def _cells_of(shape: Polygon | MultiPolygon, window: Window, cells: int) -> npt.NDArray[np.bool_]:
    factor, (y0, x0) = cells / window.side_px0, window.extent_yx0[:2]
    return filled([affinity.affine_transform(shape, [factor, 0, 0, factor, -y0 * factor, -x0 * factor])], (cells,) * 2)
