"""Outlines as GeoJSON the way QuPath writes them: (x, y) level-0 pixels on disk, (y, x) here."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import shapely
from shapely.errors import ShapelyError
from shapely.geometry import mapping, shape

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.results.atomic import written

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from shapely.geometry.base import BaseGeometry

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Annotation:
    """One object on a slide."""

    geometry: BaseGeometry
    """Polygon, multipolygon (with holes), line or point; coordinates (y, x) in level-0 pixels."""
    name: str | None = None
    """Class, such as 'Tumor'."""
    colour: Colour | None = None
    """RGB, 0..255."""
    properties: Mapping[str, Any] = field(default_factory=dict)
    """Everything else the file says, unchanged."""


def read_geojson(path: Path | str) -> list[Annotation]:
    """Read a FeatureCollection, a list of features or one feature; raises BadRequest naming what is wrong where.

    Features without geometry are left out, as GeoJSON allows them.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        message = f"{path}: cannot be read as GeoJSON ({error}); expected outlines as QuPath exports them."
        raise BadRequest(message) from error
    found = []
    for number, feature in enumerate(_features(content, path)):
        try:
            if feature.get("geometry") is not None:
                found.append(_annotation(feature))
        except (AttributeError, KeyError, TypeError, ValueError, ShapelyError) as error:
            message = (
                f"{path}: feature {number} is no valid outline ({error}); expected GeoJSON geometry, correct the file."
            )
            raise BadRequest(message) from error
    return found


def _features(content: Any, path: Path | str) -> list[Any]:
    if isinstance(content, list):
        return content
    kind = content.get("type") if isinstance(content, dict) else None
    if kind == "FeatureCollection" and isinstance(content.get("features"), list):
        features: list[Any] = content["features"]
        return features
    if kind == "Feature":
        return [content]
    message = f"{path}: expected a GeoJSON FeatureCollection or Feature, got {kind or type(content).__name__}."
    raise BadRequest(message)


def _annotation(feature: Mapping[str, Any]) -> Annotation:
    geometry = shape(feature["geometry"])
    if geometry.geom_type.endswith("Polygon") and not shapely.is_valid(geometry):
        geometry = shapely.make_valid(geometry)
    properties = dict(feature.get("properties") or {})
    label = properties.pop("classification", None) or {}
    colour = label.get("color", properties.get("color"))
    if colour is None and label.get("colorRGB") is not None:
        # Older QuPath: one signed 32-bit integer, alpha first.
        packed = int(label["colorRGB"]) & 0xFFFFFF
        colour = (packed >> 16, packed >> 8 & 255, packed & 255)
    rgb = None if colour is None else tuple(int(v) for v in colour[:3])
    if rgb is not None and (len(rgb) != 3 or not all(0 <= v <= 255 for v in rgb)):
        problem = f"colour {colour}"
        raise ValueError(problem)
    return Annotation(_swapped(geometry), label.get("name"), rgb, properties)  # type: ignore[arg-type]


def _swapped(geometry: BaseGeometry) -> BaseGeometry:
    """Return the geometry with both coordinates exchanged, a third one dropped."""
    flat: BaseGeometry = shapely.transform(shapely.force_2d(geometry), lambda xy: xy[:, ::-1])
    return flat


def write_geojson(path: Path | str, annotations: Iterable[Annotation]) -> Path:
    """Write a FeatureCollection that QuPath opens, whole or not at all; raises StoreError if it cannot be written."""
    features = []
    for one in annotations:
        properties: dict[str, Any] = {"objectType": "annotation", **one.properties}
        if one.name is not None:
            properties["classification"] = {"name": one.name, "color": list(one.colour or (200, 200, 200))}
        elif one.colour is not None:
            properties["color"] = list(one.colour)
        features.append({"type": "Feature", "geometry": mapping(_swapped(one.geometry)), "properties": properties})
    text = json.dumps({"type": "FeatureCollection", "features": features}, ensure_ascii=False)
    with written(path) as partial:
        partial.write_text(text, encoding="utf-8")
    return Path(path)
