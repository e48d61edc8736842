"""What a person points at on a slide to have it outlined: points, a box, a lasso, in the slide's own frame."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn

import shapely
from shapely import MultiPolygon, Polygon

from napari_wsi_mil.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_wsi_mil.slide import Slide

Place = tuple[float, float]
Extent = tuple[float, float, float, float]

MOST_POINTS = 1000
"""Points of one prompt; each is a token of the network's attention, and nobody clicks as many."""
MOST_LASSO = 10_000
"""Corners of one lasso."""


@dataclass(frozen=True)
class SlidePrompt:
    """What one object is asked for by, (y, x) in level-0 pixels, 0 at the first pixel's outer corner.

    Equal values are equal prompts. Any sequences of numbers are taken and kept as tuples of floats. Raises BadRequest
    for NaN and infinities, an empty or inverted box, a lasso around nothing, and labels that do not fit the points.
    A scribble is a chain of points.
    """

    points_yx0: tuple[Place, ...] = ()
    labels: tuple[int, ...] = ()
    """One for each point: 1 on the object, 0 beside it."""
    box_yx0: Extent | None = None
    """y0, x0, y1, x1."""
    lasso_yx0: tuple[Place, ...] | None = None
    """Corners of a line drawn around the object; the last joins the first."""

    def __post_init__(self) -> None:
        points = _places(self.points_yx0, "points")
        labels = tuple(_label(label) for label in self.labels)
        if len(points) != len(labels) or len(points) > MOST_POINTS:
            _refuse(
                f"prompt: expected at most {MOST_POINTS} points with one label each, got {len(points)} points and "
                f"{len(labels)} labels; drop the prompt and start again."
            )
        lasso = None if self.lasso_yx0 is None else _lasso(self.lasso_yx0)
        box = None if self.box_yx0 is None else _box(self.box_yx0)
        for name, value in (("points_yx0", points), ("labels", labels), ("box_yx0", box), ("lasso_yx0", lasso)):
            object.__setattr__(self, name, value)

    @property
    def empty(self) -> bool:
        """Whether it says nothing yet."""
        return not self.points_yx0 and self.box_yx0 is None and self.lasso_yx0 is None

    @property
    def positive(self) -> tuple[Place, ...]:
        """The points on the object."""
        return tuple(place for place, label in zip(self.points_yx0, self.labels, strict=True) if label)

    @property
    def negative(self) -> tuple[Place, ...]:
        """The points beside the object."""
        return tuple(place for place, label in zip(self.points_yx0, self.labels, strict=True) if not label)

    @property
    def extent_yx0(self) -> Extent:
        """(y0, x0, y1, x1) around all of it, of no size for one point; raises BadRequest where it is empty."""
        corners = [*self.points_yx0, *(self.lasso_yx0 or ())]
        if self.box_yx0 is not None:
            corners += [self.box_yx0[:2], self.box_yx0[2:]]
        if not corners:
            _refuse("prompt: expected points, a box or a lasso, got nothing; click or draw something first.")
        ys, xs = zip(*corners, strict=True)
        return min(ys), min(xs), max(ys), max(xs)

    @property
    def lasso(self) -> Polygon | MultiPolygon | None:
        """What the lasso encloses, valid also where its line crosses itself; None without lasso."""
        return None if self.lasso_yx0 is None else _enclosed(self.lasso_yx0)

    def with_point(self, yx0: Place, label: int = 1) -> SlidePrompt:
        """Return this prompt with one more point."""
        return replace(self, points_yx0=(*self.points_yx0, yx0), labels=(*self.labels, label))

    def with_points(self, yx0: Iterable[Place], label: int = 1) -> SlidePrompt:
        """Return this prompt with more points of one label, such as those of a scribble."""
        more = tuple(yx0)
        return replace(self, points_yx0=(*self.points_yx0, *more), labels=(*self.labels, *([label] * len(more))))

    def with_box(self, box_yx0: Extent | None) -> SlidePrompt:
        """Return this prompt with this box instead of its own, None for without."""
        return replace(self, box_yx0=box_yx0)

    def with_lasso(self, lasso_yx0: Iterable[Place] | None) -> SlidePrompt:
        """Return this prompt with this lasso instead of its own, None for without."""
        return replace(self, lasso_yx0=None if lasso_yx0 is None else tuple(lasso_yx0))

    def check_within(self, slide: Slide) -> None:
        """Raise BadRequest where it is empty, a point lies outside the slide, or a box or lasso all outside."""
        y0, x0, y1, x1 = self.extent_yx0
        height, width = slide.shape0_yx
        for y, x in self.points_yx0:
            if not (0 <= y <= height and 0 <= x <= width):
                _refuse(
                    f"{slide.name}: the point at y {y:.0f}, x {x:.0f} lies outside the slide of {height} x {width} px; "
                    "click on the slide."
                )
        if y1 <= 0 or x1 <= 0 or y0 >= height or x0 >= width:
            _refuse(
                f"{slide.name}: the prompt at y {y0:.0f} to {y1:.0f}, x {x0:.0f} to {x1:.0f} lies outside the slide of "
                f"{height} x {width} px; draw it on the slide."
            )

    def words(self) -> str:
        """Return it in a few letters, such as '2+ 1- box'; '' where it is empty."""
        plus, minus = len(self.positive), len(self.negative)
        said = [f"{plus}+"] * bool(plus) + [f"{minus}-"] * bool(minus)
        said += ["box"] * (self.box_yx0 is not None) + ["lasso"] * (self.lasso_yx0 is not None)
        return " ".join(said)


def _refuse(message: str) -> NoReturn:
    raise BadRequest(message)


def _places(values: Any, what: str) -> tuple[Place, ...]:
    try:
        places = tuple((float(y), float(x)) for y, x in values)
    except (TypeError, ValueError) as error:
        message = f"prompt: expected {what} as pairs y, x of numbers ({error}); give each as (y, x)."
        raise BadRequest(message) from error
    if not all(math.isfinite(y) and math.isfinite(x) for y, x in places):
        _refuse(f"prompt: expected finite {what}, got NaN or infinity; draw it again.")
    return places


def _label(value: Any) -> int:
    if value not in (0, 1):
        _refuse(f"prompt: a point's label is 1 on the object or 0 beside it, got {value!r:.40}; give one of them.")
    return int(value)


def _box(values: Any) -> Extent:
    try:
        y0, x0, y1, x1 = (float(value) for value in values)
    except (TypeError, ValueError) as error:
        message = f"box: expected four numbers y0, x0, y1, x1 ({error}); draw it again."
        raise BadRequest(message) from error
    # NaN is neither less nor greater, and is refused with the inverted
    if not (y0 < y1 and x0 < x1 and all(math.isfinite(v) for v in (y0, x0, y1, x1))):
        _refuse(f"box: expected y0 < y1 and x0 < x1, got y {y0:g} to {y1:g}, x {x0:g} to {x1:g}; draw it again.")
    return y0, x0, y1, x1


def _lasso(values: Any) -> tuple[Place, ...]:
    places = _places(values, "lasso corners")
    if len(places) > 1 and places[0] == places[-1]:
        places = places[:-1]
    if not 3 <= len(places) <= MOST_LASSO or _enclosed(places) is None:
        _refuse(f"lasso: expected a line around something, got {len(places)} corners around nothing; draw it again.")
    return places


def _enclosed(places: tuple[Place, ...]) -> Polygon | MultiPolygon | None:
    """Return what a closed line encloses; None where it is nothing."""
    shape = Polygon(places)
    if not shape.is_valid:
        # not even-odd: where a hand crosses its own line, both loops are meant
        shape = shapely.make_valid(shape, method="structure", keep_collapsed=False)
    return shape if isinstance(shape, Polygon | MultiPolygon) and shape.area > 0 else None


NO_PROMPT = SlidePrompt()
"""Says nothing yet."""
