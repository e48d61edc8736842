"""Objects on a slide: outlines as polygons with class, score and origin; never a picture of the slide."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

import shapely
from shapely import MultiPolygon, Polygon

from napari_wsi_mil.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_wsi_mil.results.prompts import SlidePrompt
    from napari_wsi_mil.slide import Slide

Outline: TypeAlias = Polygon | MultiPolygon
Colour = tuple[int, int, int]

MOST_NAME = 100
"""Letters of a class name."""


@dataclass(frozen=True)
class ObjectClass:
    """A kind of object; raises BadRequest for a name without letters or too long, and a colour that is none."""

    name: str
    colour: Colour
    """RGB, 0..255."""

    def __post_init__(self) -> None:
        name, colour = self.name, self.colour
        if not isinstance(name, str) or not name.strip() or len(name) > MOST_NAME or not name.isprintable():
            _refuse(f"class: expected a name of 1 to {MOST_NAME} letters, got {name!r:.60}; choose another.")
        if len(colour) != 3 or not all(isinstance(v, int) and 0 <= v <= 255 for v in colour):
            _refuse(f"class {name}: expected a colour of three whole numbers 0 to 255, got {colour!r:.60}.")
        object.__setattr__(self, "colour", tuple(colour))


GREY = (150, 150, 150)
UNCLASSIFIED = "Object"
"""Class of objects that were given none."""
DEFAULT_CLASSES = (
    ObjectClass(UNCLASSIFIED, (0, 200, 180)),
    ObjectClass("Gland", (230, 159, 0)),
    ObjectClass("Nucleus", (0, 90, 220)),
    ObjectClass("Tumor", (213, 40, 0)),
    ObjectClass("Stroma", (0, 140, 60)),
    ObjectClass("Necrosis", (60, 60, 60)),
    ObjectClass("Immune cells", (240, 228, 66)),
    ObjectClass("Vessel", (90, 220, 255)),
    ObjectClass("Other", (255, 255, 255)),
)
"""What a new session begins with, one for each of the keys 1 to 9."""


@dataclass(frozen=True)
class MaskObject:
    """One object; raises BadRequest unless its outline encloses something and does not cross itself."""

    number: int
    """1, 2, ...: its name in a session, never given twice."""
    outline: Outline
    """(y, x) level-0 pixels, 0 at the first pixel's outer corner; holes and several parts allowed."""
    class_name: str = UNCLASSIFIED
    score: float | None = None
    """What the model thinks of it, 0..1."""
    model: str | None = None
    """Name of the model that outlined it; None: a person or another program did."""
    prompt: SlidePrompt | None = None
    """What it was asked for by; None: nothing, or nothing that would bring this outline back."""
    edited: bool = False
    """Whether a person changed the outline after the model."""
    attention: float | None = None
    """Mean attention of the tiles under it."""

    def __post_init__(self) -> None:
        if not isinstance(self.number, int) or self.number < 1:
            _refuse(f"object: expected a number 1, 2, ..., got {self.number!r:.40}.")
        shape = self.outline
        if not isinstance(shape, Polygon | MultiPolygon) or shape.has_z or not shape.is_valid or not shape.area > 0:
            # NaN coordinates make an area of NaN
            why = shapely.is_valid_reason(shape) if isinstance(shape, shapely.Geometry) else type(shape).__name__
            _refuse(f"object {self.number}: expected an outline around something, got {why:.80}; draw it again.")
        for value in (self.score, self.attention):
            if value is not None and not math.isfinite(value):
                _refuse(f"object {self.number}: expected a finite score and attention, got {value}.")

    def of_class(self, name: str) -> MaskObject:
        """Return this object with another class."""
        # not `replace`: the outline, checked once, need not be checked again for thousands
        other = copy.copy(self)
        object.__setattr__(other, "class_name", name)
        return other

    @property
    def parts(self) -> tuple[Polygon, ...]:
        """Its polygons."""
        return polygons_of(self.outline)


@dataclass(frozen=True)
class Measures:
    """Sizes of one object. Perimeters go around holes too, as QuPath's do."""

    area_um2: float | None
    area_px0: float
    """Level-0 pixels."""
    perimeter_um: float | None
    perimeter_px0: float
    centroid_yx0: tuple[float, float]
    centroid_yx_um: tuple[float, float] | None
    """From the slide's top-left corner."""


@dataclass(frozen=True)
class SlideRef:
    """Which slide objects lie on."""

    name: str
    fingerprint: str
    """Identity of its content, 32 hex digits."""
    shape_yx0: tuple[int, int]
    mpp_yx: tuple[float, float] | None
    """um per level-0 pixel, (y, x)."""

    @classmethod
    def of(cls, slide: Slide) -> SlideRef:
        """Return the reference to an open slide."""
        return cls(slide.name, slide.fingerprint, slide.shape0_yx, slide.mpp_yx)


def measures(obj: MaskObject, mpp_yx: tuple[float, float] | None) -> Measures:
    """Return an object's sizes in level-0 pixels and, where the (y, x) um per pixel is known, in um."""
    shape = obj.outline
    centre = shape.centroid
    yx0 = (float(centre.x), float(centre.y))
    if mpp_yx is None:
        return Measures(None, float(shape.area), None, float(shape.length), yx0, None)
    y, x = mpp_yx
    # an edge's length depends on its direction where pixels are not square
    around = float(shapely.transform(shape, lambda at: at * mpp_yx).length)
    return Measures(
        float(shape.area) * y * x, float(shape.area), around, float(shape.length), yx0, (yx0[0] * y, yx0[1] * x)
    )


def checked_classes(classes: Iterable[ObjectClass]) -> tuple[ObjectClass, ...]:
    """Return classes in order; raises BadRequest where there is none, or two have one name."""
    kinds = tuple(classes)
    names = [kind.name for kind in kinds]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None or not kinds:
        got = "none" if twice is None else f"{twice} twice"
        _refuse(f"classes: expected at least one, each name once, got {got}; choose another name.")
    return kinds


def with_classes(
    classes: Iterable[ObjectClass], more: Iterable[ObjectClass], objects: Iterable[MaskObject]
) -> tuple[ObjectClass, ...]:
    """Return classes, behind them those of `more` with other names, then those only objects have, in grey."""
    known: dict[str, ObjectClass] = {}
    for kind in (*classes, *more):
        known.setdefault(kind.name, kind)
    for one in objects:
        if one.class_name not in known:
            known[one.class_name] = ObjectClass(one.class_name, GREY)
    return tuple(known.values())


def polygons_of(shape: Any) -> tuple[Polygon, ...]:
    """Return the polygons with an area in any geometry; lines and points in it are left out."""
    if isinstance(shape, Polygon):
        return (shape,) if shape.area > 0 else ()
    return tuple(part for piece in getattr(shape, "geoms", ()) for part in polygons_of(piece))


def as_outline(shape: Any) -> Outline | None:
    """Return any geometry as a valid outline: repaired, flat, lines and points left out; None where nothing is left."""
    flat = shapely.force_2d(shape)
    if not flat.is_valid:
        flat = shapely.make_valid(flat)
    parts = polygons_of(flat)
    if not parts:
        return None
    if len(parts) == 1:
        return parts[0]
    whole = MultiPolygon(parts)
    # parts of a repaired collection may overlap
    return whole if whole.is_valid else as_outline(shapely.union_all(parts))


def _refuse(message: str) -> NoReturn:
    raise BadRequest(message)
