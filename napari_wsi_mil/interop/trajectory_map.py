"""The slide with every region a zoom looked at, as one picture."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from napari_wsi_mil.interop.drawing import GREY, Labels, Stroke, box, scale_bar, stroke
from napari_wsi_mil.results.trajectory_style import depth_colour
from napari_wsi_mil.ticks import no_tick
from napari_wsi_mil.tiles.overview import read_picture

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_wsi_mil.interop.drawing import Corners
    from napari_wsi_mil.results import Trajectory
    from napari_wsi_mil.slide import Slide
    from napari_wsi_mil.ticks import Tick

MARGIN = 0.03
EDGE = (205, 210, 216)


class Frame(NamedTuple):
    """The part of a slide on a picture."""

    yx0: tuple[float, float]
    size_px: tuple[int, int]
    downsample: float

    def corners(self, yx0: tuple[float, float], side_px0: float) -> Corners:
        """Return where a square lies on the picture: left, top, right, bottom."""
        top, left = ((v - o) / self.downsample for v, o in zip(yx0, self.yx0, strict=True))
        side = side_px0 / self.downsample
        return (left, top, left + side, top + side)

    def point(self, yx0: tuple[float, float]) -> tuple[float, float]:
        """Return the place (x, y) of a point on the picture."""
        return ((yx0[1] - self.yx0[1]) / self.downsample, (yx0[0] - self.yx0[0]) / self.downsample)


def whole_frame(result: Trajectory, most_px: tuple[int, int]) -> Frame:
    """Return the part of the slide under the root, and all deeper regions, in at most (h, w) px."""
    root = result.nodes[0]
    low = np.maximum(root.corner_yx0, 0)
    high = np.minimum(np.add(root.corner_yx0, root.side_px0), result.slide_shape_yx)
    for node in result.nodes[1:]:
        low, high = np.minimum(low, node.corner_yx0), np.maximum(high, np.add(node.corner_yx0, node.side_px0))
    margin = MARGIN * float(max(high - low))
    low, high = low - margin, high + margin
    downsample = float(max((high - low) / most_px))
    h, w = (max(math.floor(n / downsample), 1) for n in (high - low).tolist())
    return Frame((float(low[0]), float(low[1])), (h, w), downsample)


def node_frame(result: Trajectory, index: int, side_px: int) -> Frame:
    """Return a region with a margin as a square picture."""
    node = result.nodes[index]
    margin = 2 * MARGIN * node.side_px0
    y, x = node.corner_yx0
    return Frame((y - margin, x - margin), (side_px, side_px), (node.side_px0 + 2 * margin) / side_px)


def draw_map(
    slide: Slide,
    result: Trajectory,
    frame: Frame,
    *,
    nodes: Sequence[int],
    named: Sequence[int],
    label_px: int = 20,
    tick: Tick = no_tick,
) -> Image.Image:
    """Return a part of the slide with the boxes of `nodes`, lines from their parents, names of some and a scale bar.

    Raises SlideReadError, Cancelled.
    """
    picture = Image.fromarray(read_picture(slide, frame.yx0, frame.size_px, downsample=frame.downsample, tick=tick))
    h, w = result.slide_shape_yx
    (left, top), (right, bottom) = frame.point((0, 0)), frame.point((h, w))
    ImageDraw.Draw(picture).rectangle((left, top, right, bottom), outline=EDGE, width=1)
    stroke(picture, path_strokes(result, frame, nodes))
    labels = Labels(picture)
    if result.slide_mpp_yx is not None:
        labels.taken.append(scale_bar(picture, frame.downsample * float(np.mean(result.slide_mpp_yx))))
    for i in named:
        node = result.nodes[i]
        if node.depth and not node.frozen:
            size = max(label_px - 3 * (node.depth - 1), 13)
            corners = frame.corners(node.corner_yx0, node.side_px0)
            labels.add(label_text(result, i), corners, depth_colour(node.depth), size=size)
    return picture


def label_text(result: Trajectory, index: int) -> str:
    """Return a region's name, with those that look at the same region again."""
    again = [result.nodes[i].name for i in result.children(index) if result.nodes[i].frozen]
    return " = ".join([result.nodes[index].name, *again])


def path_strokes(result: Trajectory, frame: Frame, nodes: Sequence[int], *, width: float = 3.0) -> list[Stroke]:
    """Return lines from parents to children among `nodes` and boxes over them, deeper ones above; the root has none.

    A region that is looked at again has a wider edge, so that the colour of both is seen.
    """
    lines, boxes = [], []
    for i in nodes:
        node = result.nodes[i]
        if node.parent is None:
            continue
        colour, above = depth_colour(node.depth), result.nodes[node.parent]
        again = any(result.nodes[k].frozen for k in result.children(i))
        thin = max(width - 0.4 * (node.depth - 1), 1.5)
        boxes.append(box(frame.corners(node.corner_yx0, node.side_px0), colour, thin + (4 if again else 0)))
        if node.parent in nodes and above.centre_yx0 != node.centre_yx0:
            start, end = frame.point(above.centre_yx0), frame.point(node.centre_yx0)
            lines.append(Stroke(start, end, colour if node.depth > 1 else GREY, max(thin - 0.5, 1.2)))
    return lines + boxes
