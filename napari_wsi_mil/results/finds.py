"""What a grid of prompts found: every answer is kept, and which of them are objects is decided afterwards."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import shapely

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.results.objects import UNCLASSIFIED, MaskObject

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    from shapely import MultiPolygon, Polygon

    from napari_wsi_mil.results.prompts import SlidePrompt

SAME_IOU = 0.5
"""Two answers that overlap as much (intersection over union) mean one object."""
ALIKE_IOU = 0.9
"""Two answers of one window that overlap as much are not worth keeping both."""
WITHIN = 0.8
"""An answer of which as much lies inside another is a piece of it, or the other too wide: one of both stays."""
UNLIKE = 4.0
"""How many times larger or smaller an object may be to count as like another."""


@dataclass(frozen=True)
class Candidate:
    """One prompt's answer."""

    outline: Polygon | MultiPolygon
    """Valid, not empty, (y, x) level-0 pixels."""
    score: float
    """What the model expects its overlap with the truth to be, 0 to 1."""
    prompt: SlidePrompt
    stability: float | None = None
    """How little the outline changes when the model is asked to be surer or less sure, 0 to 1; None: not known."""


@dataclass(frozen=True)
class Limits:
    """Which answers count as objects; raises BadRequest for limits nothing can meet."""

    min_score: float = 0.0
    min_stability: float = 0.0
    min_area_um2: float = 0.0
    max_area_um2: float = math.inf

    def __post_init__(self) -> None:
        shares = (self.min_score, self.min_stability)
        if not all(0 <= share <= 1 for share in shares):
            message = f"the least score and stability lie within 0..1, got {shares[0]} and {shares[1]}."
            raise BadRequest(message)
        if not 0 <= self.min_area_um2 < self.max_area_um2:
            message = (
                f"areas of objects go from 0 or more to something larger, got {self.min_area_um2:g} to "
                f"{self.max_area_um2:g} um2; exchange or widen them."
            )
            raise BadRequest(message)

    @classmethod
    def like(cls, area_um2: float, *, min_score: float = 0.0) -> Limits:
        """Return limits that objects of about this size meet."""
        return cls(min_score, 0.0, area_um2 / UNLIKE, area_um2 * UNLIKE)


@dataclass(frozen=True, eq=False)
class Finds:
    """All answers to a grid of prompts, of which any limits make objects in milliseconds."""

    candidates: tuple[Candidate, ...]
    um_per_px0_yx: tuple[float, float]
    """um per level-0 pixel (y, x), for the limits; of a slide without pixel size that of the model."""
    model: str | None = None
    asked: int = 0
    """Prompts, also those that found nothing."""
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.candidates)

    @functools.cached_property
    def scores(self) -> npt.NDArray[np.float64]:
        """(N,) score of each answer."""
        return np.array([one.score for one in self.candidates], np.float64)

    @functools.cached_property
    def areas_um2(self) -> npt.NDArray[np.float64]:
        """(N,) area of each answer."""
        y, x = self.um_per_px0_yx
        return np.asarray(shapely.area(self._outlines) * y * x, np.float64)

    @functools.cached_property
    def rivals(self) -> npt.NDArray[np.intp]:
        """(P, 2) pairs of answers that mean one object: they overlap by half, or one lies within the other."""
        return _rivals(self._outlines)

    def chosen(self, limits: Limits) -> tuple[int, ...]:
        """Return numbers of the answers that are objects: within the limits, and the best of their rivals.

        Best is the higher score, then the more stable, then the larger one, then the one asked for first.
        """
        order = self._order[self._within(limits)[self._order]]
        taken = np.zeros(len(self), bool)
        gone = np.zeros(len(self), bool)
        starts, others = self._neighbours
        for i in order:
            if not gone[i]:
                taken[i] = True
                gone[others[starts[i] : starts[i + 1]]] = True
        return tuple(np.flatnonzero(taken).tolist())

    def objects(
        self, limits: Limits | None = None, *, first_number: int = 1, class_name: str = UNCLASSIFIED
    ) -> tuple[MaskObject, ...]:
        """Return the chosen answers as objects, numbered from `first_number` in the order they were asked for."""
        chosen = [self.candidates[i] for i in self.chosen(limits or Limits())]
        return tuple(
            MaskObject(number, one.outline, class_name, one.score, self.model, one.prompt)
            for number, one in enumerate(chosen, first_number)
        )

    def _within(self, limits: Limits) -> npt.NDArray[np.bool_]:
        sure = self._stabilities >= limits.min_stability
        fits = (self.areas_um2 >= limits.min_area_um2) & (self.areas_um2 <= limits.max_area_um2)
        return np.asarray((self.scores >= limits.min_score) & sure & fits)

    @functools.cached_property
    def _outlines(self) -> npt.NDArray[np.object_]:
        found = np.empty(len(self.candidates), object)
        found[:] = [one.outline for one in self.candidates]
        return found

    @functools.cached_property
    def _stabilities(self) -> npt.NDArray[np.float64]:
        """(N,); what is not known counts as stable."""
        return np.array([1.0 if one.stability is None else one.stability for one in self.candidates], np.float64)

    @functools.cached_property
    def _order(self) -> npt.NDArray[np.intp]:
        # Rounded: the last bits of a score differ between devices, the choice should not.
        keys = (-self.areas_um2.round(3), -self._stabilities.round(6), -self.scores.round(6))
        return np.lexsort(keys)

    @functools.cached_property
    def _neighbours(self) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Return (N + 1,) starts and (2 P,) rivals: those of i are others[starts[i]:starts[i + 1]]."""
        both = np.concatenate([self.rivals, self.rivals[:, ::-1]])
        both = both[np.argsort(both[:, 0], kind="stable")]
        return np.searchsorted(both[:, 0], np.arange(len(self) + 1)), both[:, 1]


def thinned(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return candidates without those that are nearly the same as a better one, in their order.

    For the answers of one window: every point of a large object gives it again, and hundreds of one are of no use.
    """
    ranked = sorted(range(len(candidates)), key=lambda i: (-candidates[i].score, -(candidates[i].stability or 0.0), i))
    outlines = np.array([one.outline for one in candidates], object)
    bounds, areas = shapely.bounds(outlines), shapely.area(outlines)
    kept: list[int] = []
    for i in ranked:
        pairs = np.array([(k, i) for k in kept], np.intp).reshape(-1, 2)
        pairs = pairs[_overlap(areas[pairs], _shared_by_boxes(bounds, pairs)) >= ALIKE_IOU]
        both = shapely.area(shapely.intersection(outlines[pairs[:, 0]], outlines[i]))
        if not (_overlap(areas[pairs], both) >= ALIKE_IOU).any():
            kept.append(i)
    return [candidates[i] for i in sorted(kept)]


def _overlap(areas: npt.NDArray[np.float64], both: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return (P,) intersection over union of two outlines of areas (P, 2) that share as much."""
    return np.asarray(both / np.maximum(areas.sum(1) - both, 1e-12))


def _rivals(outlines: npt.NDArray[np.object_]) -> npt.NDArray[np.intp]:
    pairs = shapely.STRtree(outlines).query(outlines).T
    pairs = pairs[pairs[:, 0] < pairs[:, 1]]
    areas = shapely.area(outlines)
    # What boxes share is an upper bound, and a thousand times quicker than what outlines share.
    pairs = pairs[_mean_one(areas[pairs], _shared_by_boxes(shapely.bounds(outlines), pairs))]
    both = shapely.area(shapely.intersection(outlines[pairs[:, 0]], outlines[pairs[:, 1]]))
    return np.asarray(pairs[_mean_one(areas[pairs], both)], np.intp)


def _mean_one(areas: npt.NDArray[np.float64], both: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Return (P,) whether two outlines of areas (P, 2) that share as much mean one object."""
    return np.asarray((_overlap(areas, both) >= SAME_IOU) | (both >= WITHIN * areas.min(1)))


def _shared_by_boxes(bounds: npt.NDArray[np.float64], pairs: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    a, b = bounds[pairs[:, 0]], bounds[pairs[:, 1]]
    sides = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    return np.asarray(np.prod(np.clip(sides, 0, None), axis=1))
