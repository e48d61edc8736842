"""npe2 writers: outlines and prompts of layers to GeoJSON in level-0 pixels, objects to what opens here again."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from shapely import box

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.interop.geojson import Annotation, write_geojson
from napari_wsi_mil.layers import shapes_polygons
from napari_wsi_mil.layers.object_rows import objects_of
from napari_wsi_mil.results.object_files import save_objects
from napari_wsi_mil.results.object_json import OURS
from napari_wsi_mil.results.object_table import save_table
from napari_wsi_mil.results.prompts import NO_PROMPT, SlidePrompt

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shapely.geometry.base import BaseGeometry

    from napari_wsi_mil.layers import LayerData
    from napari_wsi_mil.results.object_book import ObjectBook
    from napari_wsi_mil.results.objects import MaskObject

OBJECTS, POINTS, BOXES = "objects", "prompt points", ("prompt boxes", "prompt shapes")
"""Roles of layers that are more than outlines."""


def write_shapes(path: str | Path, data: Any, attributes: Mapping[str, Any]) -> list[str]:
    """Write one feature per closed shape, holes cut out; return the path.

    A layer of objects is written as the objects of its slide, all of them, whatever is in view; boxes and lassos of a
    prompt as one feature that `segment --prompts` asks again. `attributes` are those of napari's layer. Coordinates
    become level-0 pixels of the slide in `metadata`; a layer of no slide is written in its own data coordinates.
    Raises BadRequest without a closed shape, StoreError.
    """
    meta = attributes.get("metadata", {})
    if meta.get("wsi_role") == OBJECTS:
        save_objects(path, _objects(data, attributes), slide=meta.get("wsi_slide"))
        return [str(path)]
    if meta.get("wsi_role") in BOXES:
        return _write_prompt(path, _drawn(data, attributes), attributes)
    features = attributes.get("features")
    parts = None if features is None or "part" not in features else [str(v) for v in features["part"]]
    found = shapes_polygons(_places(data, attributes), parts, kinds=_kinds(data, attributes))
    if not found:
        message = f"{_name(attributes)}: expected closed shapes, got none; draw a polygon or rectangle."
        raise BadRequest(message)
    name = str(meta.get("wsi_role") or attributes.get("name") or "outline").capitalize()
    write_geojson(path, [Annotation(polygon, name=name) for polygon in found])
    return [str(path)]


def write_table(path: str | Path, data: Any, attributes: Mapping[str, Any]) -> list[str]:
    """Write the table of all objects of a layer's slide as CSV; return the path.

    Raises BadRequest for a layer that holds no objects, StoreError.
    """
    meta = attributes.get("metadata", {})
    if meta.get("wsi_role") != OBJECTS:
        message = f"{_name(attributes)}: expected the layer Objects for a table, got other shapes; save as .geojson."
        raise BadRequest(message)
    found = _objects(data, attributes)
    slide = meta.get("wsi_slide")
    rows = found if isinstance(found, list) else tuple(found.objects.values())
    save_table(path, rows, None if slide is None else slide.mpp_yx)
    return [str(path)]


def write_points(path: str | Path, data: Any, attributes: Mapping[str, Any]) -> list[str]:
    """Write one feature per point; those of a prompt as one feature that `segment --prompts` asks again.

    Coordinates as in `write_shapes`. Returns the path; raises BadRequest without a point, StoreError.
    """
    if attributes.get("metadata", {}).get("wsi_role") == POINTS:
        return _write_prompt(path, _pointed(data, attributes), attributes)
    places = shapely.points(_places([data], attributes)[0]) if len(data) else []
    if not len(places):
        message = f"{_name(attributes)}: expected points, got none; add some."
        raise BadRequest(message)
    write_geojson(path, [Annotation(place, name=str(attributes.get("name") or "Point")) for place in places])
    return [str(path)]


def write_prompt(path: str | Path, layers: Sequence[LayerData]) -> list[str]:
    """Write the two layers of a prompt, its points and its boxes, as one feature that `segment --prompts` asks again.

    Raises BadRequest for other layers, those of two slides and a prompt that is empty, StoreError.
    """
    prompt, last = NO_PROMPT, {}
    for data, attributes, kind in layers:
        role = attributes.get("metadata", {}).get("wsi_role")
        if role not in (POINTS, *BOXES):
            message = f"{_name(attributes)}: expected the layers of one prompt, got other ones; save each on its own."
            raise BadRequest(message)
        part = _pointed(data, attributes) if kind == "points" else _drawn(data, attributes)
        prompt = SlidePrompt(
            prompt.points_yx0 + part.points_yx0, prompt.labels + part.labels, part.box_yx0 or prompt.box_yx0,
            part.lasso_yx0 or prompt.lasso_yx0,
        )  # fmt: skip
        last = attributes
    if len({attributes.get("metadata", {}).get("wsi_slide") for _, attributes, _ in layers}) > 1:
        message = "Prompt layers: expected those of one slide, got of several; save each slide's on their own."
        raise BadRequest(message)
    return _write_prompt(path, prompt, last)


def _write_prompt(path: str | Path, prompt: SlidePrompt, attributes: Mapping[str, Any]) -> list[str]:
    if prompt.empty:
        message = f"{_name(attributes)}: expected a prompt, got none; click on the slide or draw a box."
        raise BadRequest(message)
    write_geojson(path, [Annotation(_geometry(prompt), properties={OURS: {"prompt": asdict(prompt)}})])
    return [str(path)]


def _geometry(prompt: SlidePrompt) -> BaseGeometry:
    """Return what other programs show of a prompt: its outlines, else its points."""
    areas = [] if prompt.box_yx0 is None else [box(*prompt.box_yx0)]
    areas += [] if prompt.lasso_yx0 is None else [shapely.make_valid(shapely.Polygon(prompt.lasso_yx0))]
    return shapely.union_all(areas) if areas else shapely.MultiPoint(prompt.points_yx0)


def _objects(data: Any, attributes: Mapping[str, Any]) -> ObjectBook | list[MaskObject]:
    """Return the book that a layer shows a part of; without one, the objects of the layer's shapes."""
    meta = attributes.get("metadata", {})
    book: ObjectBook | None = meta.get("wsi_book")
    found = objects_of(_places(data, attributes), attributes.get("features")) if book is None else book
    if not (found if isinstance(found, list) else found.objects):
        message = f"{_name(attributes)}: expected objects, got none; accept some first."
        raise BadRequest(message)
    return found


def _pointed(data: Any, attributes: Mapping[str, Any]) -> SlidePrompt:
    if not len(data):
        return NO_PROMPT
    labels = tuple(int(label) for label in attributes["features"]["label"])
    return SlidePrompt(tuple(map(tuple, _places([data], attributes)[0].tolist())), labels)


def _drawn(data: Any, attributes: Mapping[str, Any]) -> SlidePrompt:
    """Return the newest box and the newest lasso of a layer."""
    prompt = NO_PROMPT
    for corners, kind in zip(_places(data, attributes), _kinds(data, attributes), strict=True):
        if kind == "polygon":
            prompt = SlidePrompt(box_yx0=prompt.box_yx0, lasso_yx0=tuple(map(tuple, corners.tolist())))
        elif kind in ("rectangle", "ellipse"):
            prompt = prompt.with_box((*corners.min(0).tolist(), *corners.max(0).tolist()))
    return prompt


def _name(attributes: Mapping[str, Any]) -> str:
    return str(attributes.get("name", "the layer"))


def _kinds(data: Any, attributes: Mapping[str, Any]) -> list[str]:
    kinds = attributes.get("shape_type", "polygon")
    return [kinds] * len(data) if isinstance(kinds, str) else [str(kind) for kind in kinds]


def _places(data: Any, attributes: Mapping[str, Any]) -> list[Any]:
    """Return corners (n, 2) of each shape as `yx0` of the layer's slide."""
    scale, shift = _to_level0(attributes)
    return [np.asarray(shape)[:, -2:] * scale + shift for shape in data]


def _to_level0(attributes: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return factor and shift from the layer's data coordinates to `yx0` of its slide."""
    slide = attributes.get("metadata", {}).get("wsi_slide")
    if slide is None:
        return np.ones(2), np.zeros(2)
    mpp = np.asarray(slide.mpp_yx or (1.0, 1.0))
    scale, shift = (np.asarray(attributes[key], float)[-2:] for key in ("scale", "translate"))
    # napari counts from the middle of the first pixel, slides from its corner
    return scale / mpp, shift / mpp + 0.5
