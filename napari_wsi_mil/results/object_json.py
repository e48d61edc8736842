"""Objects as JSON values: GeoJSON features with (x, y) coordinates, and what only this program says beside them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from shapely import MultiPolygon, Polygon
from shapely.errors import ShapelyError

from napari_wsi_mil.results.checked import flag, listed, number, numbers, table, text, whole
from napari_wsi_mil.results.objects import GREY, MaskObject, ObjectClass, SlideRef, checked_classes, measures
from napari_wsi_mil.results.prompts import MOST_LASSO, MOST_POINTS, SlidePrompt

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_wsi_mil.results.objects import Colour, Outline

OURS = "napari_wsi_mil"
"""Key of what no other program reads."""
MOST_OBJECTS, MOST_CLASSES, MOST_PARTS, MOST_CORNERS, FARTHEST = 500_000, 1000, 20_000, 1_000_000, 1e9


# -- writing ------------------------------------------------------------------------------------
def feature_of(
    obj: MaskObject, colour: Colour = GREY, *, mpp_yx: tuple[float, float] | None = None, kind: str = "annotation"
) -> dict[str, Any]:
    """Return an object as a GeoJSON feature that QuPath opens as `kind`."""
    rest: dict[str, Any] = {"number": obj.number, "score": obj.score, "model": obj.model, "edited": obj.edited}
    rest |= {"attention": obj.attention, "prompt": None if obj.prompt is None else asdict(obj.prompt)}
    properties = {
        "objectType": kind,
        "classification": {"name": obj.class_name, "color": list(colour)},
        "measurements": _measurements(obj, mpp_yx),
        OURS: rest,
    }
    return {"type": "Feature", "geometry": _geometry(obj.outline), "properties": properties}


def _measurements(obj: MaskObject, mpp_yx: tuple[float, float] | None) -> dict[str, float]:
    """Return an object's numbers under the names that QuPath gives them."""
    sizes = measures(obj, mpp_yx)
    if sizes.area_um2 is None or sizes.perimeter_um is None:
        found = {"Area px^2": sizes.area_px0, "Perimeter px": sizes.perimeter_px0}
    else:
        found = {"Area µm^2": sizes.area_um2, "Perimeter µm": sizes.perimeter_um}
    more = {"Score": obj.score, "Mean attention": obj.attention}
    return found | {name: value for name, value in more.items() if value is not None}


def _geometry(outline: Outline) -> dict[str, Any]:
    if isinstance(outline, Polygon):
        return {"type": "Polygon", "coordinates": _rings(outline)}
    return {"type": "MultiPolygon", "coordinates": [_rings(part) for part in outline.geoms]}


def _rings(part: Polygon) -> list[list[list[float]]]:
    return [np.asarray(ring.coords)[:, ::-1].tolist() for ring in (part.exterior, *part.interiors)]


def slide_json(slide: SlideRef | None) -> dict[str, Any] | None:
    """Return a slide's reference."""
    return None if slide is None else asdict(slide)


def classes_json(classes: tuple[ObjectClass, ...]) -> list[dict[str, Any]]:
    """Return classes, their order kept."""
    return [{"name": kind.name, "color": list(kind.colour)} for kind in classes]


# -- reading ------------------------------------------------------------------------------------
def object_of(feature: Any) -> MaskObject:
    """Return the object of a feature of ours; raises BadRequest or one of `DAMAGE` where it is not in order."""
    whole_feature = table(feature, "a feature", needs=("type", "geometry", "properties"), may=("id",))
    properties = whole_feature["properties"]
    if not isinstance(properties, dict) or OURS not in properties:
        refuse(f"a feature has no {OURS} in its properties")
    rest = table(properties[OURS], OURS, needs=("number", "score", "model", "edited", "attention", "prompt"))
    label = table(properties.get("classification"), "classification", needs=("name",), may=("color",))
    return MaskObject(
        number=whole(rest["number"], "number", low=1),
        outline=geometry_of(whole_feature["geometry"]),
        class_name=ObjectClass(text(label["name"], "class"), GREY).name,
        score=_maybe(rest["score"], "score"),
        model=None if rest["model"] is None else _name(rest["model"]),
        prompt=None if rest["prompt"] is None else prompt_of(rest["prompt"]),
        edited=flag(rest["edited"], "edited"),
        attention=_maybe(rest["attention"], "attention"),
    )


def _name(value: Any) -> str:
    """Return a text that can be written again: JSON may hold halves of letters."""
    found = text(value, "model")
    if not found.isprintable():
        refuse("model should be a text of printable letters")
    return found


def _maybe(value: Any, what: str) -> float | None:
    return None if value is None else number(value, what)


def prompt_of(value: Any) -> SlidePrompt:
    """Return the prompt that was written with an object."""
    found = table(value, "prompt", needs=("points_yx0", "labels", "box_yx0", "lasso_yx0"))
    box, lasso = found["box_yx0"], found["lasso_yx0"]
    corners = None if box is None else numbers(box, "box_yx0", length=4)
    return SlidePrompt(
        _places(found["points_yx0"], "points_yx0", most=MOST_POINTS),
        tuple(whole(label, "labels", high=1) for label in listed(found["labels"], "labels", most=MOST_POINTS)),
        None if corners is None else (corners[0], corners[1], corners[2], corners[3]),
        None if lasso is None else _places(lasso, "lasso_yx0", most=MOST_LASSO),
    )


def _places(value: Any, what: str, *, most: int) -> tuple[tuple[float, float], ...]:
    pairs = (numbers(one, what, length=2) for one in listed(value, what, most=most))
    return tuple((y, x) for y, x in pairs)


def geometry_of(value: Any) -> Outline:
    """Return a GeoJSON polygon or multipolygon as it stands, valid or not, as (y, x); a third coordinate is dropped."""
    kind = value.get("type") if isinstance(value, dict) else None
    if kind not in ("Polygon", "MultiPolygon"):
        refuse(f"expected a Polygon or MultiPolygon, got {kind or type(value).__name__!r:.40}")
    found = listed(value.get("coordinates"), "coordinates", most=MOST_PARTS)
    parts = [_polygon(part) for part in ([found] if kind == "Polygon" else found)]
    return parts[0] if kind == "Polygon" else MultiPolygon(parts)


def _polygon(rings: Any) -> Polygon:
    corners = [_ring(ring) for ring in listed(rings, "a polygon", most=MOST_PARTS)]
    if not corners:
        refuse("a polygon has no corners")
    return Polygon(corners[0], corners[1:])


def _ring(ring: Any) -> npt.NDArray[np.float64]:
    at = np.array(listed(ring, "a ring", most=MOST_CORNERS))  # ragged: ValueError
    if at.ndim != 2 or at.shape[1] not in (2, 3) or at.dtype.kind not in "if" or not (np.abs(at) <= FARTHEST).all():
        refuse(f"a ring should be a list of pairs of numbers up to {FARTHEST:g} in size")
    return np.asarray(at[:, 1::-1], np.float64)


def slide_of(value: Any) -> SlideRef | None:
    """Return the slide that objects were written with."""
    if value is None:
        return None
    found = table(value, "slide", needs=("name", "fingerprint", "shape_yx0", "mpp_yx"))
    height, width = (whole(n, "slide.shape_yx0", low=1) for n in listed(found["shape_yx0"], "shape_yx0", length=2))
    mpp = None if found["mpp_yx"] is None else numbers(found["mpp_yx"], "slide.mpp_yx", length=2, above=0)
    return SlideRef(
        text(found["name"], "slide.name"),
        text(found["fingerprint"], "slide.fingerprint"),
        (height, width),
        None if mpp is None else (mpp[0], mpp[1]),
    )


def classes_of(value: Any) -> tuple[ObjectClass, ...]:
    """Return classes as they were written."""
    kinds = []
    for one in listed(value, "classes", most=MOST_CLASSES):
        found = table(one, "a class", needs=("name", "color"))
        r, g, b = (whole(v, "color", high=255) for v in listed(found["color"], "color", length=3))
        kinds.append(ObjectClass(text(found["name"], "class"), (r, g, b)))
    return checked_classes(kinds)


def refuse(problem: str) -> NoReturn:
    """Raise the ValueError that whoever reads a file makes a sentence of."""
    raise ValueError(problem)


DAMAGE = (ValueError, TypeError, KeyError, OverflowError, RecursionError, ShapelyError)
"""What values out of a damaged file were seen to raise, beside BadRequest."""
