"""Made-up zoom results whose places and colours say which node is which. Imported by path, so pytest is not needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_wsi_mil.models.magnet.plan import ZoomPlan
from napari_wsi_mil.results import ModelRef, ReadingCount, Trajectory, ZoomNode

if TYPE_CHECKING:
    from napari_wsi_mil.slide import Slide

PLANS = {(2,): ZoomPlan((2,)), (2, 2): ZoomPlan((2, 2)), (3, 2, 3): ZoomPlan()}
SHAPE_YX, MPP = (4096, 6144), 0.25
"""Of the slide a result without one claims to be of; the same as the `quarters` slide of the GUI tests."""
MARK = (255, 255, 255)
"""Colour of the top-left eighth of every view, so that a picture turned or mirrored is noticed."""
SCALES, STEPS = (0.25, 0.5, 0.5), (0.5, 0.5, 0.5)
"""By depth from 1: side over the parent's side, and how far off the parent's centre, in halves of its side."""
PLACES = ((-1, -1), (1, 1), (-1, 1), (1, -1))


def colour(index: int) -> tuple[int, int, int]:
    """Return the colour of the views of a node: up to 64 nodes all differ and none is grey."""
    step = index % 27
    return (40 + 70 * (step % 3), 40 + 70 * (step // 3 % 3), 95 + 70 * (step // 9) - 20 * (index // 27))


def view(index: int, px: int) -> np.ndarray:
    """Return the (px, px, 3) uint8 view of a node: its colour with a white mark at the top left."""
    pixels = np.full((px, px, 3), colour(index), np.uint8)
    pixels[: px // 8, : px // 8] = MARK
    return pixels


def nodes(plan: ZoomPlan, shape_yx: tuple[int, int], n_levels: int = 3) -> tuple[ZoomNode, ...]:
    """Return the nodes of a plan on a slide: the k-th patch of a view lies in its k-th corner (NW, SE, NE, SW)."""
    side = float(max(shape_yx))
    found: list[ZoomNode] = []
    first = 0
    for name in plan.names():
        depth = len(name) - len("I_1")
        px = plan.final_px if depth == plan.layers else plan.view_px
        if not depth:
            centre = (shape_yx[0] / 2, shape_yx[1] / 2)
            found.append(ZoomNode(name, 0, None, centre, side, 1.0, side / px, n_levels - 1, px))
            continue
        parent = next(i for i in range(first, len(found)) if found[i].name == name[:-1])
        above, patch = found[parent], int(name[-1]) - 1
        frozen = plan.frozen_patch and depth == 2 and patch == 0
        scale, step = (1.0, 0.0) if frozen else (SCALES[min(depth, 3) - 1], STEPS[min(depth, 3) - 1] * (patch < 4))
        y, x = (c + step * p * above.side_px0 / 2 for c, p in zip(above.centre_yx0, PLACES[patch % 4], strict=True))
        own = above.side_px0 * scale
        level = max(n_levels - 1 - depth, 0)
        found.append(ZoomNode(name, depth, parent, (y, x), own, scale, own / px, level, px, frozen))
    return tuple(found)


def trajectory(
    patches: tuple[int, ...] = (3, 2, 3), *, slide: Slide | None = None, model: str = "magnet-test", **changes: Any
) -> Trajectory:
    """Return a made-up result on a slide, or on a slide of `SHAPE_YX` and `MPP` that is not there.

    Class 1 has probability 0.75; node i contributes i / 10 to it and -i / 10 to class 0. `changes` replace fields.
    """
    plan = PLANS.get(patches) or ZoomPlan(patches)
    tree = nodes(plan, slide.shape0_yx if slide else SHAPE_YX, len(slide.levels) if slide else 3)
    share = np.arange(len(tree), dtype=np.float32) / 10
    values: dict[str, Any] = {
        "slide_path": slide.path if slide else "made-up.svs",
        "slide_fingerprint": slide.fingerprint if slide else "f" * 32,
        "slide_shape_yx": slide.shape0_yx if slide else SHAPE_YX,
        "slide_mpp_yx": slide.mpp_yx if slide else (MPP, MPP),
        "model": ModelRef(model, "2" * 64),
        "title": f"Title of {model}",
        "class_names": ("normal", "tumour"),
        "logits": np.log(np.array([0.25, 0.75], np.float32)),
        "nodes": tree,
        "contributions": np.stack([-share, share], axis=1),
        "views": tuple(view(i, node.view_px) for i, node in enumerate(tree)),
        "reading": reading(plan),
        "device": "CPU",
        "seconds": {"Loading the model": 0.5, "Zooming": 1.0},
        "notes": ("Only a test.",),
    }
    return Trajectory(**(values | changes))


def reading(plan: ZoomPlan) -> ReadingCount:
    """Return what a plan reads, as if every view lay in one tile."""
    number = sum(count for count, _ in plan.readings)
    pixels = sum(count * px**2 for count, px in plan.readings)
    views = {plan.view_px: sum(plan.counts[:-1]), plan.final_px: plan.counts[-1]}
    return ReadingCount(views, pixels, 2 * pixels, number, 1000 * number, 10_000)
