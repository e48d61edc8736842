"""What a zoom model is worth on slides with truth: answers by size of lesion, touches, what was read."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import shapely

from napari_wsi_mil.runs.chance import anywhere, on_tissue
from napari_wsi_mil.runs.overlap import view_boxes
from napari_wsi_mil.runs.zoom import zoom
from napari_wsi_mil.tiles import tissue_mask
from napari_wsi_mil.training.metrics import auroc

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shapely.geometry.base import BaseGeometry

    from napari_wsi_mil.models.card import ModelCard
    from napari_wsi_mil.models.magnet.magnet import MagNet
    from napari_wsi_mil.results import Trajectory
    from napari_wsi_mil.runs.chance import Chance
    from napari_wsi_mil.slide import Slide

MACRO_UM = 2000.0
MICRO_UM = 200.0
"""Greatest extent of a lesion above which it is a macro-, or a micro-metastasis, else isolated cells (CAMELYON)."""
GROUPS: Mapping[str, tuple[float, float]] = {
    "macro": (MACRO_UM, np.inf), "micro": (MICRO_UM, MACRO_UM), "isolated": (0.0, MICRO_UM),
}  # fmt: skip
"""Name -> greatest extent of the slide's largest lesion in um: above the first number, up to the second."""
JOIN_PX = 2.0
"""Outlines that touch at a corner are one lesion."""


class Touch(NamedTuple):
    """How the final views of a slide meet its lesions, and what chance gives; NaN without lesion."""

    views: float = float("nan")
    """Share of the final views that touch a lesion."""
    views_tissue: float = float("nan")
    """The same expected of views of these sizes thrown on tissue, and"""
    views_random: float = float("nan")
    """anywhere on the slide."""
    any_tissue: float = float("nan")
    """Probability that at least one of as many such views on tissue touches a lesion, and"""
    any_random: float = float("nan")
    """anywhere."""


@dataclass(frozen=True)
class ZoomMark:
    """One slide."""

    name: str
    label: int
    probability: float
    """Of class 1."""
    extent_um: float
    """Greatest extent of the largest lesion; 0 without truth."""
    area_mm2: float
    """Of all lesions."""
    touch: Touch
    pixels: int
    """Of all readings, at the size they were resampled to."""
    file_pixels: int
    file_bytes: int
    file_tiles: int
    seconds: float
    """From the open slide to the answer."""


def mark(
    slide: Slide, label: int, truth: Sequence[BaseGeometry], *, card: ModelCard, network: MagNet, name: str = ""
) -> ZoomMark:
    """Zoom into a slide and compare with its truth, polygons of (y, x) level-0 vertices; raises what `zoom` raises."""
    began = time.perf_counter()
    found = zoom(slide, model=card, network=network, device="cpu")
    seconds = time.perf_counter() - began
    extent, area = lesion_size(truth, slide.mpp or 1.0)
    touch = Touch() if not truth else _touch(slide, found, shapely.unary_union(list(truth)))
    read = found.reading
    return ZoomMark(
        name or slide.name,
        label,
        float(found.probabilities[1]),
        extent,
        area,
        touch,
        pixels=read.pixels,
        file_pixels=read.file_pixels,
        file_bytes=read.file_bytes or 0,
        file_tiles=read.file_tiles,
        seconds=seconds,
    )


def _touch(slide: Slide, found: Trajectory, lesions: BaseGeometry) -> Touch:
    sides = [found.nodes[i].side_px0 for i in found.finals]
    tissue = on_tissue(tissue_mask(slide).require(slide.name))
    assert tissue is not None
    ground = anywhere(found.slide_shape_yx)
    hits = shapely.intersects(view_boxes(found, found.depth), lesions)
    return Touch(
        float(hits.mean()),
        _mean_touch(tissue, lesions, sides),
        _mean_touch(ground, lesions, sides),
        float(tissue.touching([lesions], sides)),
        float(ground.touching([lesions], sides)),
    )


def _mean_touch(chance: Chance, lesions: BaseGeometry, sides: Sequence[float]) -> float:
    """Return how often a view thrown by chance touches, on average over sizes."""
    return float(np.mean([chance.touching([lesions], [side]) for side in sides]))


def lesion_size(truth: Sequence[BaseGeometry], mpp: float) -> tuple[float, float]:
    """Return the greatest extent in um of the largest lesion, and the area of all in mm2; outlines that touch are one.

    The extent is the greatest distance between two vertices, as a pathologist measures it.
    """
    if not truth:
        return 0.0, 0.0
    joined = shapely.unary_union([shape.buffer(JOIN_PX, join_style="mitre") for shape in truth])
    parts = list(shapely.get_parts(joined))
    extents = []
    for part in parts:
        points = shapely.get_coordinates(part.convex_hull)
        extents.append(float(np.sqrt(((points[:, None] - points[None]) ** 2).sum(-1)).max()))
    area = shapely.unary_union(list(truth)).area * (mpp / 1000) ** 2
    return max(extents) * mpp, float(area)


def in_group(found: ZoomMark, name: str) -> bool:
    """Tell whether the slide's largest lesion belongs to a group of `GROUPS`."""
    low, high = GROUPS[name]
    return low < found.extent_um <= high


def auroc_of(marks: Sequence[ZoomMark], positive: Sequence[ZoomMark]) -> float:
    """Return the AUROC of some positive slides against all slides of label 0; NaN where one of them is missing."""
    negative = [one for one in marks if one.label == 0]
    if not negative or not positive:
        return float("nan")
    scores = np.array([one.probability for one in (*negative, *positive)])
    return auroc(scores, np.array([False] * len(negative) + [True] * len(positive)))


def summary(marks: Sequence[ZoomMark]) -> dict[str, dict[str, float | int]]:
    """Return per group of lesions, "macro", "micro", "isolated" and "all": slides, AUROC against all slides without
    lesion, share of slides touched, of views touching, and what chance on tissue and anywhere gives of both.
    """
    found: dict[str, dict[str, float | int]] = {}
    ill = [one for one in marks if one.extent_um > 0]
    for name in (*GROUPS, "all"):
        rows = [one for one in ill if name == "all" or in_group(one, name)]
        found[name] = {"slides": len(rows), "auroc": auroc_of(marks, rows)} | (touch_summary(rows) if rows else {})
    found["all"] |= {"without": sum(one.label == 0 for one in marks)}
    return found


def touch_summary(rows: Sequence[ZoomMark]) -> dict[str, float | int]:
    """Return the share of slides touched, of views touching, and what chance gives of both, over slides with lesion."""

    def mean(key: str) -> float:
        return float(np.mean([getattr(one.touch, key) for one in rows]))

    return {
        "touched": float(np.mean([one.touch.views > 0 for one in rows])),
        "touched_tissue": mean("any_tissue"),
        "touched_random": mean("any_random"),
        "views_touching": mean("views"),
        "views_touching_tissue": mean("views_tissue"),
        "views_touching_random": mean("views_random"),
    }
