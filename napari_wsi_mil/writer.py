"""npe2 writer: a Shapes layer's outlines to GeoJSON in level-0 pixels, as QuPath reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.interop.geojson import Annotation, write_geojson
from napari_wsi_mil.layers import shapes_polygons

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def write_shapes(path: str | Path, data: Any, attributes: Mapping[str, Any]) -> list[str]:
    """Write one feature per closed shape, holes cut out; return the path.

    `attributes` are those of napari's layer. Coordinates become level-0 pixels of the slide in `metadata`; a layer
    of no slide is written in its own data coordinates. Raises BadRequest without a closed shape, StoreError.
    """
    meta = attributes.get("metadata", {})
    features = attributes.get("features")
    parts = None if features is None or "part" not in features else [str(v) for v in features["part"]]
    scale, shift = _to_level0(attributes)
    outlines = [np.asarray(shape)[:, -2:] * scale + shift for shape in data]
    kinds = attributes.get("shape_type", "polygon")
    each = [kinds] * len(outlines) if isinstance(kinds, str) else [str(kind) for kind in kinds]
    found = shapes_polygons(outlines, parts, kinds=each)
    if not found:
        message = (
            f"{attributes.get('name', 'the layer')}: expected closed shapes, got none; draw a polygon or rectangle."
        )
        raise BadRequest(message)
    name = str(meta.get("wsi_role") or attributes.get("name") or "outline").capitalize()
    write_geojson(path, [Annotation(polygon, name=name) for polygon in found])
    return [str(path)]


def _to_level0(attributes: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return factor and shift from the layer's data coordinates to `yx0` of its slide."""
    slide = attributes.get("metadata", {}).get("wsi_slide")
    if slide is None:
        return np.ones(2), np.zeros(2)
    mpp = np.asarray(slide.mpp_yx or (1.0, 1.0))
    scale, shift = (np.asarray(attributes[key], float)[-2:] for key in ("scale", "translate"))
    # napari counts from the middle of the first pixel, slides from its corner
    return scale / mpp, shift / mpp + 0.5
