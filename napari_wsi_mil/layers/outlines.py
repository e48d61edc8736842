"""Outlines of tissue, to the viewer and, as a person drew or edited them, back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from shapely import Polygon

from napari_wsi_mil.layers.placing import vector

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

    from napari_wsi_mil.layers.placing import LayerData
    from napari_wsi_mil.slide import Slide
    from napari_wsi_mil.tiles import TissueMask


def tissue_layer(mask: TissueMask, slide: Slide, *, name: str = "Tissue") -> LayerData:
    """Return an editable shapes layer of tissue outlines; holes are shapes of their own, marked in `features`."""
    rings = [
        (np.asarray(ring.coords)[:-1], "hole" if i else "tissue")
        for polygon in mask.polygons()
        for i, ring in enumerate((polygon.exterior, *polygon.interiors))
    ]
    parts = [part for _, part in rings]
    options = vector(slide, name, role="tissue") | {
        "shape_type": "polygon",
        "features": {"part": parts},
        "feature_defaults": {"part": "tissue"},
        "edge_color": ["#e69f00" if part == "hole" else "#009e73" for part in parts] or "#009e73",
        "face_color": "transparent",
        "edge_width": 2 * mask.downsample_yx[0] / 3,
    }
    return [ring for ring, _ in rings], options, "shapes"


def shapes_polygons(
    shapes: Sequence[npt.NDArray[Any]], parts: Iterable[str] | None = None, *, kinds: Sequence[str] | None = None
) -> list[Polygon]:
    """Return the (y, x) level-0 polygons of an edited shapes layer of ours: tissue less holes.

    `shapes` are the layer's `data`, `parts` its feature 'part' (all tissue where None), `kinds` its `shape_type`: lines
    and paths enclose nothing and are left out, an ellipse comes as its bounding rectangle's four corners.
    """
    kinds = kinds or ["polygon"] * len(shapes)
    tissue: list[Any] = []
    holes: list[Any] = []
    for shape, part, kind in zip(shapes, parts or ["tissue"] * len(shapes), kinds, strict=True):
        corners = np.asarray(shape, float)[:, -2:]
        if kind in ("line", "path") or len(corners) < 3:
            continue
        ring = Polygon(_ellipse(corners) if kind == "ellipse" else corners).buffer(0)
        (holes if part == "hole" else tissue).append(ring)
    out = []
    for whole in tissue:
        for hole in holes:
            whole = whole.difference(hole) if whole.intersects(hole) else whole
        out += [p for p in getattr(whole, "geoms", [whole]) if isinstance(p, Polygon) and not p.is_empty]
    return out


def _ellipse(corners: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return 64 points of the ellipse in a (rotated) rectangle of four corners in order."""
    angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)[:, None]
    a, b = (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
    return np.asarray(corners.mean(0) + np.cos(angle) * a + np.sin(angle) * b)
