"""How much of an attention and of the truth lies inside the views of a zoom, and how much chance would put there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import shapely

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.runs.chance import Chance, anywhere, area_points, on_tissue, tile_points
from napari_wsi_mil.tiles import TileGrid

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt
    from shapely.geometry.base import BaseGeometry

    from napari_wsi_mil.results import Attention, Trajectory
    from napari_wsi_mil.tiles import TissueMask

    Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Held:
    """A share (0..1) that views hold, and what is expected of as many views of the same sizes thrown by chance."""

    views: float
    random: float
    """Centres anywhere on the slide."""
    tissue: float | None
    """Centres anywhere on tissue; None where no tissue is known."""


@dataclass(frozen=True)
class DepthOverlap:
    """What the views of one depth hold together; a place under several views counts once."""

    depth: int
    n_views: int
    area: Held
    """Of the slide's area."""
    tissue: Held | None
    """Of the tissue's area."""
    attention: Held | None
    """Of the attention's mass: its weights, which sum to 1, each spread evenly over its tile."""
    truth: Held | None
    """Of the area of the outlines given as truth."""
    touched: Held | None
    """Whether any view touches the truth: 1 or 0, and the probability that one of the thrown views does."""
    views_touching: int | None
    """How many views do."""


@dataclass(frozen=True, eq=False)
class _Parts:
    """What all depths share."""

    chances: tuple[Chance, Chance | None]
    """Anywhere on the slide, and on tissue."""
    ground: TissueMask | TileGrid | None
    """The tissue."""
    slide: BaseGeometry
    truth: BaseGeometry | None


def overlap(
    result: Trajectory,
    *,
    attention: Attention | None = None,
    class_index: int | None = None,
    truth: Sequence[BaseGeometry] | None = None,
    tissue: TissueMask | TileGrid | None = None,
) -> tuple[DepthOverlap, ...]:
    """Return one row per depth from 1 on, the final views last.

    `truth` are polygons with (y, x) level-0 vertices; `class_index` picks the attention's class (None: its likeliest);
    `tissue` is where chance throws views, by default the tiles of the attention. Thrown views are independent of each
    other. Raises BadRequest for an attention or tissue of another slide, and for truth without area.
    """
    _check_slide(result, attention, tissue)
    ground = tissue if tissue is not None else attention.grid if attention is not None else None
    chances = (anywhere(result.slide_shape_yx), None if ground is None else on_tissue(ground))
    height, width = result.slide_shape_yx
    parts = _Parts(chances, ground, shapely.box(0, 0, height, width), None if truth is None else _joined(truth))
    return tuple(_row(result, depth, parts, attention, class_index) for depth in range(1, result.depth + 1))


def _row(
    result: Trajectory, depth: int, parts: _Parts, attention: Attention | None, class_index: int | None
) -> DepthOverlap:
    boxes = view_boxes(result, depth)
    sides = [node.side_px0 for node in result.nodes if node.depth == depth]
    union = shapely.union_all(boxes)

    def held(share: float, chance: Callable[[Chance], float]) -> Held:
        random, tissue = parts.chances
        shares = [share, chance(random), 0.0 if tissue is None else chance(tissue)]
        views, by_random, by_tissue = (min(max(float(v), 0.0), 1.0) for v in shares)  # sums end a hair above 1
        return Held(views, by_random, None if tissue is None else by_tissue)

    def mass(points: Floats, weights: Floats) -> Callable[[Chance], float]:
        return lambda chance: float(chance.covered(points, sides) @ weights)

    truth, on_ground, on_attention, on_truth, touched, touching = parts.truth, None, None, None, None, None
    if parts.ground is not None and parts.chances[1] is not None:
        on_ground = held(_tissue_share(parts.ground, boxes, union), mass(*parts.chances[1].points()))
    if attention is not None:
        weights = attention.weights(class_index).astype(np.float64)
        points = tile_points(attention.grid)
        each = np.repeat(weights / points.shape[1], points.shape[1])
        on_attention = held(float(_tile_shares(attention.grid, union) @ weights), mass(points.reshape(-1, 2), each))
    if truth is not None:
        on_truth = held(union.intersection(truth).area / truth.area, mass(*area_points([truth])))
        touching = int(np.sum(shapely.intersects(boxes, truth)))
        touched = held(float(touching > 0), lambda chance: chance.touching([truth], sides))
    area = held(union.intersection(parts.slide).area / parts.slide.area, mass(*area_points([parts.slide])))
    return DepthOverlap(depth, len(boxes), area, on_ground, on_attention, on_truth, touched, touching)


def view_boxes(result: Trajectory, depth: int) -> npt.NDArray[np.object_]:
    """Return the squares of a depth as polygons with (y, x) level-0 vertices, in the order of the nodes."""
    corners = np.array([node.corner_yx0 for node in result.nodes if node.depth == depth])
    sides = np.array([node.side_px0 for node in result.nodes if node.depth == depth])[:, None]
    found: npt.NDArray[np.object_] = shapely.box(*corners.T, *(corners + sides).T)
    return found


def _tissue_share(ground: TissueMask | TileGrid, boxes: npt.NDArray[np.object_], union: BaseGeometry) -> float:
    """Return the part of the tissue in the views; of a mask to a pixel of it."""
    if isinstance(ground, TileGrid):
        return float(_tile_shares(ground, union).mean())
    inside = np.zeros(ground.mask.shape, bool)
    for box in boxes:
        ends = np.array(box.bounds).reshape(2, 2) / ground.downsample_yx
        (top, left), (bottom, right) = np.clip(np.rint(ends), 0, ground.mask.shape).astype(int)
        inside[top:bottom, left:right] = True
    return float(ground.mask[inside].sum() / ground.mask.sum())


def _tile_shares(grid: TileGrid, union: BaseGeometry) -> Floats:
    """Return (N,) the part of each tile that lies in `union`."""
    corners, side = grid.yx0, np.asarray(grid.side_yx0)
    tiles = shapely.box(*corners.T, *(corners + side).T)
    shapely.prepare(union)
    share: Floats = shapely.covers(union, tiles).astype(np.float64)
    cut = (share == 0) & shapely.intersects(union, tiles)
    share[cut] = shapely.area(shapely.intersection(tiles[cut], union)) / (side[0] * side[1])
    return share


def _joined(truth: Sequence[BaseGeometry]) -> BaseGeometry:
    """Return all areas as one geometry."""
    areas = [one for one in truth if one.geom_type.endswith("Polygon")]
    joined = shapely.union_all(areas) if areas else shapely.Polygon()
    if not joined.area > 0:
        message = f"the truth is {len(truth)} outlines without area, expected polygons; draw what is true as polygons."
        raise BadRequest(message)
    return joined


def _check_slide(result: Trajectory, attention: Attention | None, tissue: TissueMask | TileGrid | None) -> None:
    if attention is not None and attention.grid.slide_fingerprint != result.slide_fingerprint:
        names = f"the attention is of {attention.slide_path}, the zoom of {result.slide_path}"
        message = f"{names}; compare results of one slide."
        raise BadRequest(message)
    if tissue is not None and tuple(tissue.slide_shape_yx) != tuple(result.slide_shape_yx):
        message = (
            f"the tissue is of a slide of {tissue.slide_shape_yx} pixels, the zoom of one of {result.slide_shape_yx}; "
            "find the tissue of the same slide."
        )
        raise BadRequest(message)
