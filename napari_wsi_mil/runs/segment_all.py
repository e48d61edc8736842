"""Every object of a region: a grid of points, each asked as if somebody had clicked there."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import shapely

from napari_wsi_mil.errors import BadRequest, NoTissue
from napari_wsi_mil.results.finds import Candidate, Finds, Limits, thinned
from napari_wsi_mil.results.prompts import SlidePrompt
from napari_wsi_mil.runs.segment_plan import by_window
from napari_wsi_mil.runs.tissue import stored_tissue
from napari_wsi_mil.ticks import no_tick
from napari_wsi_mil.tiles import TissueMask

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    from shapely import MultiPolygon, Polygon

    from napari_wsi_mil.results.objects import MaskObject
    from napari_wsi_mil.runs.segment import Segmenter
    from napari_wsi_mil.ticks import Tick

    Floats = npt.NDArray[np.float64]
    Region = TissueMask | Sequence[Polygon | MultiPolygon]

POINTS_PER_SIDE = 8
"""Points along a window where no spacing is asked for."""
MOST_POINTS = 1_000_000


def segment_all(
    segmenter: Segmenter,
    *,
    region: Region | None = None,
    spacing_um: float | None = None,
    limits: Limits | None = None,
    tick: Tick = no_tick,
) -> tuple[MaskObject, ...]:
    """Return the objects of a region within `limits`, numbered from 1; `find_all` has the rest. Raises as it does."""
    return find_all(segmenter, region=region, spacing_um=spacing_um, tick=tick).objects(limits)


def find_all(
    segmenter: Segmenter, *, region: Region | None = None, spacing_um: float | None = None, tick: Tick = no_tick
) -> Finds:
    """Ask at every point of a grid in a region ((y, x) level-0 polygons, tissue; None: the slide's tissue).

    The points are `spacing_um` apart (None: an eighth of the model's window), on a lattice that starts at level-0 pixel
    (0, 0), so that two regions that overlap ask at the same places. An answer is that of `Segmenter.answer` to a click
    there. `tick` counts points. On a slide without pixel size um are those of the model's view.
    Raises NoTissue where no point falls into the region, BadRequest for a spacing that cannot be, SlideReadError,
    Cancelled.
    """
    return find_at(segmenter, grid_prompts(segmenter, region, spacing_um=spacing_um), tick=tick)


def grid_prompts(
    segmenter: Segmenter, region: Region | None = None, *, spacing_um: float | None = None, tick: Tick = no_tick
) -> list[SlidePrompt]:
    """Return what `find_all` asks, row by row; `tick` is told while tissue is looked for. Raises as it does."""
    slide = segmenter.slide
    given = stored_tissue(slide, tick=tick).require(slide.name) if region is None else region
    spacing = segmenter.side_um / POINTS_PER_SIDE if spacing_um is None else spacing_um
    points = grid_points(segmenter, given, spacing_um=spacing)
    return [SlidePrompt(points_yx0=((y, x),), labels=(1,)) for y, x in points.tolist()]


def find_at(segmenter: Segmenter, prompts: Sequence[SlidePrompt], *, tick: Tick = no_tick) -> Finds:
    """Ask prompts of any kind, window by window, and keep the answers that differ and are no glass.

    `tick` counts prompts. Raises as `find_all`.
    """
    from napari_wsi_mil.runs.segment import ON_GLASS  # torch comes with it

    found: list[Candidate] = []
    notes: dict[str, int] = {}
    done, count, total = 0, 0, len(prompts)
    tick(0, total)
    groups = by_window(segmenter, prompts)
    for window in sorted(groups, key=lambda window: (window.step, window.centre_yx0)):  # row by row
        group = groups[window]
        answers = segmenter.answers(group, tick=_standing(tick, done, total))
        good = [answer for answer in answers if not answer.outline.is_empty and ON_GLASS not in answer.notes]
        for note in (note for answer in good for note in answer.notes):
            notes[note] = notes.get(note, 0) + 1
        count += len(good)
        found += thinned([Candidate(one.outline, one.score, one.prompt, one.stability) for one in good])
        done += len(group)
        tick(done, total)
    # notes of the store go with one answer, which may not be kept, or be one that only weighed the run
    store = tuple(dict.fromkeys(segmenter.store_notes))
    told = tuple(
        note if n == count else f"Of {count} answers, {n}: {note}" for note, n in notes.items() if note not in store
    )
    finds = Finds(tuple(found), um_per_px0(segmenter), segmenter.name, total, (*told, *store))
    finds.rivals  # noqa: B018  (found here, in the run, so that limits answer at once)
    return finds


def _standing(tick: Tick, done: int, total: int) -> Tick:
    """Return a tick that stays at `done` while a window is worked on, so that a run can stop within it."""
    return lambda _part, _of: tick(done, total)


def um_per_px0(segmenter: Segmenter) -> tuple[float, float]:
    """Return um per level-0 pixel (y, x); of a slide without pixel size, level 0 counts as what the model wants."""
    return segmenter.slide.mpp_yx or (segmenter.mpp, segmenter.mpp)


def grid_points(segmenter: Segmenter, region: Region, *, spacing_um: float) -> Floats:
    """Return (N, 2) points (y, x) of the lattice inside a region, in level-0 pixels, row by row.

    Raises BadRequest for a spacing that cannot be or more than a million points, NoTissue if there are none.
    """
    slide = segmenter.slide
    if not (math.isfinite(spacing_um) and spacing_um > 0):
        message = f"the spacing of prompts is a length above 0 um, got {spacing_um}."
        raise BadRequest(message)
    y_um, x_um = um_per_px0(segmenter)
    step_y, step_x = spacing_um / y_um, spacing_um / x_um
    bounds = _bounds(region)
    top, left = max(bounds[0], 0.0), max(bounds[1], 0.0)
    bottom, right = min(bounds[2], slide.shape0_yx[0]), min(bounds[3], slide.shape0_yx[1])
    rows, columns = _between(top, bottom, step_y), _between(left, right, step_x)
    if len(rows) * len(columns) > 64 * MOST_POINTS:
        raise BadRequest(_too_many(len(rows) * len(columns), spacing_um))
    y, x = (part.ravel() for part in np.meshgrid(rows, columns, indexing="ij"))
    inside = _inside(region, y, x)
    if inside.sum() > MOST_POINTS:
        raise BadRequest(_too_many(int(inside.sum()), spacing_um))
    if not inside.any():
        message = (
            f"{slide.name}: no point of a grid of {spacing_um:g} um falls into the region on the slide, expected some; "
            "draw it larger or over the slide, or narrow the spacing."
        )
        raise NoTissue(message)
    return np.stack([y[inside], x[inside]], axis=1)


def _too_many(count: int, spacing_um: float) -> str:
    return (
        f"a grid of {spacing_um:g} um has about {count} points in the region, expected up to {MOST_POINTS}; widen the "
        "spacing or draw a smaller region."
    )


def _bounds(region: Region) -> tuple[float, float, float, float]:
    if isinstance(region, TissueMask):
        return (0.0, 0.0, *map(float, region.slide_shape_yx))  # type: ignore[return-value]
    bounds = shapely.total_bounds(list(region))
    return tuple(np.nan_to_num(bounds).tolist())


def _between(low: float, high: float, step: float) -> Floats:
    """Return the middles of lattice cells, (k + 0.5) * step, that lie in [low, high)."""
    first, last = math.ceil(low / step - 0.5), math.ceil(high / step - 0.5)
    return np.asarray((np.arange(first, max(last, first)) + 0.5) * step, np.float64)


def _inside(region: Region, y: Floats, x: Floats) -> npt.NDArray[np.bool_]:
    if isinstance(region, TissueMask):
        dy, dx = region.downsample_yx
        last = np.asarray(region.mask.shape) - 1
        rows, columns = np.minimum((y / dy).astype(int), last[0]), np.minimum((x / dx).astype(int), last[1])
        return np.asarray(region.mask[rows, columns])
    found = np.zeros(len(y), bool)
    for part in region:
        shapely.prepare(part)
        found |= shapely.contains_xy(part, y, x)
    return found
