"""Objects that other programs wrote as GeoJSON, QuPath first: annotations, detections and cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from napari_wsi_mil.results.object_json import MOST_OBJECTS, geometry_of, refuse
from napari_wsi_mil.results.objects import (
    DEFAULT_CLASSES,
    GREY,
    MOST_NAME,
    UNCLASSIFIED,
    MaskObject,
    ObjectClass,
    as_outline,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from napari_wsi_mil.results.objects import Colour, Outline

DEEPEST = 20
"""Objects within objects."""
MOST_TANGLED, MOST_CROSSINGS, PAIRS = 50_000, 20_000, 2_000_000
"""Corners of an outline that crosses itself, crossings of all in a file, and pairs of edges looked at in one go. Random
edges cross in a sixth of all pairs."""
SCORES = ("Score", "Detection probability", "Probability", "probability")
"""Measurements that programs are known to call how sure they are."""


def foreign_objects(
    features: Sequence[Any], *, nuclei: bool = False
) -> tuple[list[MaskObject], list[ObjectClass], list[str]]:
    """Return objects numbered from 1, their classes, and sentences on what was left out or repaired.

    Objects within objects are read too, points and lines left out. Of a cell it is the outer outline, with `nuclei` its
    nucleus, if it has one. Raises ValueError and ShapelyError for what is no GeoJSON.
    """
    objects: list[MaskObject] = []
    kinds: dict[str, ObjectClass] = {kind.name: kind for kind in DEFAULT_CLASSES}
    found: dict[str, ObjectClass] = {}
    skipped, repaired, crossings = 0, 0, 0
    for feature in _all(features, depth=0):
        shape = _shape(feature, nuclei=nuclei)
        outline, crossings = (None, crossings) if shape is None else _valid(shape, crossings)
        if outline is None:
            skipped += 1
            continue
        repaired += outline is not shape
        properties = feature.get("properties") or {}
        kind = _class(properties, kinds)
        found[kind.name] = kind
        if len(objects) == MOST_OBJECTS:
            refuse(f"more than {MOST_OBJECTS} objects")
        objects.append(MaskObject(len(objects) + 1, outline, kind.name, _score(properties)))
    notes = []
    if skipped:
        notes.append(f"{skipped} features without an area, such as points and lines, were left out.")
    if repaired:
        notes.append(f"{repaired} outlines that crossed themselves were repaired.")
    return objects, list(found.values()), notes


def _all(features: Sequence[Any], *, depth: int) -> Iterator[Mapping[str, Any]]:
    """Give features and those inside them; a root holds others and is none itself."""
    for feature in features:
        if not isinstance(feature, dict) or feature.get("type") != "Feature":
            refuse("a feature should be an object of type Feature")
        properties = feature.get("properties")
        if properties is not None and not isinstance(properties, dict):
            refuse("properties should be an object")
        if (properties or {}).get("objectType") != "root":
            yield feature
        inside = (properties or {}).get("childObjects") or []
        if not isinstance(inside, list) or (inside and depth == DEEPEST):
            refuse(f"childObjects should be lists, at most {DEEPEST} within each other")
        yield from _all(inside, depth=depth + 1)


def _shape(feature: Mapping[str, Any], *, nuclei: bool) -> Outline | None:
    geometry = (feature.get("nucleusGeometry") if nuclei else None) or feature.get("geometry")
    if geometry is None or (isinstance(geometry, dict) and geometry.get("type") in ("Point", "MultiPoint", "LineString",
                                                                                   "MultiLineString")):  # fmt: skip
        return None
    if isinstance(geometry, dict) and geometry.get("type") == "GeometryCollection":
        refuse("a GeometryCollection is no single outline")
    return geometry_of(geometry)


def _valid(shape: Outline, crossings: int) -> tuple[Outline | None, int]:
    """Return an outline that does not cross itself and how many crossings were met up to now."""
    if shape.is_valid and shape.area > 0:
        return shape, crossings
    n = int(shapely.get_num_coordinates(shape))
    crossings += _crossings(shape, most=MOST_CROSSINGS - crossings) if n <= MOST_TANGLED else MOST_CROSSINGS + 1
    if crossings > MOST_CROSSINGS:
        refuse(f"an outline of {n} corners crosses itself too often to be repaired")
    # the other method takes seconds for two hundred tangled corners
    return as_outline(shapely.make_valid(shape, method="structure", keep_collapsed=False)), crossings


def _crossings(shape: Outline, *, most: int) -> int:
    """Return how often edges of an outline meet others than their neighbours, or a number above `most`."""
    at, ring = shapely.get_coordinates(shapely.get_rings(shape), return_index=True)
    joined = ring[1:] == ring[:-1]
    edges = shapely.linestrings(np.stack([at[:-1][joined], at[1:][joined]], axis=1))
    tree = shapely.STRtree(edges)
    found = 0
    some = max(PAIRS // max(len(edges), 1), 1)
    for first in range(0, len(edges), some):
        mine = edges[first : first + some]
        found += tree.query(mine, predicate="intersects").shape[1] - 3 * len(mine)  # itself and two neighbours
        if found > 2 * most:
            break
    return max(found // 2, 0)


def _class(properties: Mapping[str, Any], kinds: dict[str, ObjectClass]) -> ObjectClass:
    """Return the class that `properties` name, of the colour first seen with it."""
    label = properties.get("classification")
    label = {"name": label} if isinstance(label, str) else label or {}
    if not isinstance(label, dict):
        refuse("classification should be an object")
    names = label.get("names") or _lineage(label)  # QuPath from 0.4 on: ["Tumor", "Positive"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        refuse("classification should have a name")
    name = "".join(letter for letter in ": ".join(names)[:MOST_NAME] if letter.isprintable()).strip() or UNCLASSIFIED
    if name not in kinds:
        kinds[name] = ObjectClass(name, _colour(label) or GREY)
    return kinds[name]


def _lineage(label: Mapping[str, Any]) -> list[Any]:
    """Return the name of a class behind those it is derived from, as QuPath up to 0.3 nests them."""
    names: list[Any] = []
    one: Any = label
    while isinstance(one, dict) and len(names) < DEEPEST:
        names.insert(0, one.get("name") or "")
        one = one.get("parentClass")
    return names


def _colour(label: Mapping[str, Any]) -> Colour | None:
    rgb = label.get("color")
    if rgb is None and isinstance(label.get("colorRGB"), int):
        packed = label["colorRGB"] & 0xFFFFFF  # QuPath 0.2: one signed number, alpha first
        return packed >> 16, packed >> 8 & 255, packed & 255
    if isinstance(rgb, list) and len(rgb) >= 3 and all(type(v) is int and 0 <= v <= 255 for v in rgb[:3]):
        return rgb[0], rgb[1], rgb[2]
    return None


def _score(properties: Mapping[str, Any]) -> float | None:
    values = properties.get("measurements") or {}
    if isinstance(values, list):  # QuPath 0.3 and older
        values = {one.get("name"): one.get("value") for one in values if isinstance(one, dict)}
    found = [values[name] for name in SCORES if isinstance(values.get(name), int | float)] if values else []
    return float(found[0]) if found and 0 <= found[0] <= 1 else None
