"""Objects and the prompts they come from, as shapes and points of the viewer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from shapely import Polygon

from napari_wsi_mil.layers.placing import place_of
from napari_wsi_mil.results.object_table import object_table
from napari_wsi_mil.results.objects import GREY, as_outline

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

    from napari_wsi_mil.layers.placing import LayerData
    from napari_wsi_mil.results.objects import MaskObject, ObjectClass, Outline
    from napari_wsi_mil.results.prompts import SlidePrompt
    from napari_wsi_mil.slide import Slide

    Floats = npt.NDArray[np.float64]

FACE = "transparent"
"""Objects are outlines: what napari fills polygons with fast paints a triangle too much in about one of ten."""
EDGE_PX0 = 2.0
"""Width of an outline until the viewer draws it in screen pixels."""
POINT_SCREEN_PX = 10
PLUS, MINUS, DRAWN = "#00ff00", "#ff0000", "#ffff00"
"""Colours of points on and beside the object, and of boxes and lassos."""


def objects_layer(
    objects: Iterable[MaskObject], classes: Sequence[ObjectClass], *, slide: Slide, name: str = "Objects"
) -> LayerData:
    """Return a shapes layer with a polygon for each part of each object, holes cut out, in its class's colour.

    `features` holds the columns of `results.object_table`, one row per part, so that parts of one object have the same
    `number`.
    """
    rows = list(objects)
    data, owner = object_shapes(rows)
    colours = class_colours([rows[i] for i in owner], classes)
    options = {
        "name": name,
        "metadata": {"wsi_slide": slide, "wsi_role": "objects"},
        **place_of(slide.mpp_yx),
        "shape_type": "polygon",
        "features": {key: column[owner] for key, column in object_table(rows, slide.mpp_yx).items()},
        "edge_width": EDGE_PX0,
        # napari draws shapes at 0.7 unless told: the colours would no longer be those of the classes
        "opacity": 1.0,
    }
    if data:
        options |= {"edge_color": colours, "face_color": FACE}
    return data, options, "shapes"


def object_shapes(objects: Sequence[MaskObject]) -> tuple[list[Floats], npt.NDArray[np.intp]]:
    """Return the corners (n, 2) of every part of every object, and which of `objects` each part belongs to."""
    data, owner = [], []
    for i, one in enumerate(objects):
        parts = one.parts
        data += [keyhole(part) for part in parts]
        owner += [i] * len(parts)
    return data, np.array(owner, np.intp)


def class_colours(objects: Sequence[MaskObject], classes: Sequence[ObjectClass]) -> Floats:
    """Return (n, 4) RGBA 0..1, opaque, of objects' classes; grey for a class that is not among `classes`."""
    known = {kind.name: kind.colour for kind in classes}
    rgb = np.array([known.get(one.class_name, GREY) for one in objects], float).reshape(-1, 3) / 255
    return np.column_stack([rgb, np.ones(len(rgb))])


def keyhole(part: Polygon) -> Floats:
    """Return the corners (n, 2) of one line around a polygon that runs into each hole and back on the same way.

    napari leaves out what is passed twice, and so draws holes as holes. No way crosses another line: not all of
    napari's ways to fill a polygon draw that right. `outline_of_shape` is the inverse.
    """
    path = np.asarray(part.exterior.coords, float)[:-1]
    holes = [np.asarray(ring.coords, float)[:-1] for ring in part.interiors]
    for hole in sorted((np.roll(hole, -int(hole[:, 0].argmin()), axis=0) for hole in holes), key=lambda h: h[0, 0]):
        at, door = _nearest_above(path, hole[0])
        path = np.concatenate([path[: at + 1], door, hole, hole[:1], door, path[at + 1 :]])
        path = path[np.r_[True, (path[1:] != path[:-1]).any(1)]]
    return path


def _nearest_above(path: Floats, place: Floats) -> tuple[int, Floats]:
    """Return the edge of a closed path that is met first from a place towards smaller y, and (1, 2) where.

    Edges are numbered by their first corner. Holes that begin further up are part of the path already.
    """
    a, b = path, np.roll(path, -1, axis=0)
    x = place[1]
    spans = np.flatnonzero((a[:, 1] <= x) != (b[:, 1] <= x))
    share = (x - a[spans, 1]) / (b[spans, 1] - a[spans, 1])
    y = a[spans, 0] + share * (b[spans, 0] - a[spans, 0])
    gap = np.where(y <= place[0], place[0] - y, np.inf)
    first = int(gap.argmin())
    return int(spans[first]), np.array([[y[first], x]])


def outline_of_shape(corners: npt.NDArray[Any]) -> Outline | None:
    """Return the outline that a polygon of our layer shows, holes included, also after somebody moved its corners."""
    places = np.asarray(corners, float)[:, -2:]
    return as_outline(Polygon(places)) if len(places) > 2 and np.isfinite(places).all() else None


def prompt_layers(prompt: SlidePrompt, *, slide: Slide, name: str = "Prompt") -> list[LayerData]:
    """Return a points layer and a shapes layer of a prompt, both there, and to be drawn into, where it is empty.

    Points have the feature `label`, 1 on the object and 0 beside it; shapes the feature `kind`, box or lasso.
    """
    place = place_of(slide.mpp_yx)
    labels = list(prompt.labels)
    points = {
        "name": f"{name} points",
        "metadata": {"wsi_slide": slide, "wsi_role": "prompt points"},
        **place,
        "ndim": 2,
        "features": {"label": np.array(labels, int)},
        "feature_defaults": {"label": 1},
        "face_color": [PLUS if label else MINUS for label in labels] or PLUS,
        "border_color": "white",
        "size": POINT_SCREEN_PX,
        "canvas_size_limits": (POINT_SCREEN_PX, POINT_SCREEN_PX),
    }
    data, types, kinds = prompt_shapes(prompt)
    shapes = {
        "name": f"{name} boxes",
        "metadata": {"wsi_slide": slide, "wsi_role": "prompt shapes"},
        **place,
        "ndim": 2,
        "shape_type": types or "rectangle",
        "features": {"kind": np.array(kinds, object)},
        "feature_defaults": {"kind": "box"},
        "edge_color": DRAWN,
        "face_color": "transparent",
        "edge_width": EDGE_PX0,
        "opacity": 1.0,
    }
    return [(np.array(prompt.points_yx0, float).reshape(-1, 2), points, "points"), (data, shapes, "shapes")]


def prompt_shapes(prompt: SlidePrompt) -> tuple[list[Floats], list[str], list[str]]:
    """Return corners, napari's shape types and our kinds of a prompt's box and lasso."""
    found = []
    if prompt.box_yx0 is not None:
        y0, x0, y1, x1 = prompt.box_yx0
        found.append((np.array([(y0, x0), (y0, x1), (y1, x1), (y1, x0)], float), "rectangle", "box"))
    if prompt.lasso_yx0 is not None:
        found.append((np.array(prompt.lasso_yx0, float), "polygon", "lasso"))
    return [d for d, _, _ in found], [t for _, t, _ in found], [k for _, _, k in found]
