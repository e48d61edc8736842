"""What is where on a painted slide, as polygons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.measure import approximate_polygon, find_contours

from napari_wsi_mil.procedural.fields import STEP, Floats

Polygon = NDArray[np.float64]


@dataclass(frozen=True)
class Truth:
    """Outlines of one slide: polygons (N, 2) in `yx0`, closed (last vertex = first); `shape0` (height, width)."""

    shape0: tuple[int, int]
    tumour: tuple[Polygon, ...]
    tissue: tuple[Polygon, ...]

    def to_geojson(self) -> dict[str, Any]:
        """GeoJSON FeatureCollection as QuPath reads it: (x, y) level-0 pixels, classes "Tissue" and "Tumor"."""
        named = [("Tissue", (140, 140, 140), p) for p in self.tissue] + [("Tumor", (200, 0, 0), p) for p in self.tumour]
        return {"type": "FeatureCollection", "features": [_feature(*entry) for entry in named]}


def _feature(name: str, colour: tuple[int, int, int], polygon: Polygon) -> dict[str, Any]:
    ring = np.round(polygon[:, ::-1], 1).tolist()
    return {
        "type": "Feature",
        "properties": {"objectType": "annotation", "classification": {"name": name, "color": list(colour)}},
        "geometry": {"type": "Polygon", "coordinates": [ring]},
    }


def outlines(field: Floats, *, shape0: tuple[int, int], smallest_px: float = 60.0) -> tuple[Polygon, ...]:
    """Outer outlines in `yx0` of where a grid field is positive; no holes, no specks under `smallest_px`."""
    padded = np.pad(field, 1, constant_values=float(min(field.min(), -1)))
    found = []
    for line in find_contours(padded, 0.0):
        polygon = approximate_polygon((line - 0.5) * STEP, tolerance=2.0)
        edge = np.roll(polygon, -1, axis=0)
        area = 0.5 * float(np.sum(polygon[:, 0] * edge[:, 1] - polygon[:, 1] * edge[:, 0]))
        # find_contours keeps higher values on one side, so holes turn the other way round than outer outlines
        if area < 0 and abs(area) > smallest_px**2 and len(polygon) > 3:
            found.append(np.clip(polygon, 0, shape0))
    return tuple(sorted(found, key=len, reverse=True))
