"""One picture of a film: the slide under the camera, boxes and lines, what the model saw there, and words."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from napari_wsi_mil.interop.drawing import AGAINST, FOR, GREY, INK, WHITE, Labels, box, font, scale_bar, stroke
from napari_wsi_mil.interop.film_words import HEIGHT, WIDTH, answer, words
from napari_wsi_mil.interop.trajectory_map import Frame, label_text, path_strokes
from napari_wsi_mil.results.trajectory_style import DEPTH_COLOURS, depth_colour
from napari_wsi_mil.slide.scale import level_for_downsample
from napari_wsi_mil.tiles.overview import read_picture

if TYPE_CHECKING:
    from napari_wsi_mil.interop.drawing import Colour
    from napari_wsi_mil.interop.flight import Camera
    from napari_wsi_mil.results import Trajectory
    from napari_wsi_mil.slide import Slide

SEEN_PX = 150
"""Side of the inset with what the model saw, in a film 720 px wide."""
ASIDE = 0.11
"""How far left of the middle regions lie, as part of the width: the inset is at the right."""
CHEAP_PIXELS = 2**24
"""A picture in flight is read from the slide where it costs at most so many pixels of a level."""
BASE_PX = 2048
"""Longer side of the whole slide, of which pictures in flight that cost more are made."""


def picture_shape(size_px: tuple[int, int]) -> tuple[int, int]:
    """Return height and width of the slide's part of a picture."""
    return (size_px[0] - round(HEIGHT * size_px[1] / WIDTH), size_px[1])


class Painter:
    """Paints the pictures of a film of `size_px` (height, width)."""

    def __init__(self, slide: Slide, result: Trajectory, size_px: tuple[int, int]) -> None:
        self._slide, self._result, self._size = slide, result, size_px
        self._unit = size_px[1] / WIDTH
        self._base: tuple[Image.Image, float] | None = None
        self._stays: dict[Camera, Image.Image] = {}

    @staticmethod
    def colours() -> list[Colour]:
        """Return the colours a palette must not lack."""
        return [*DEPTH_COLOURS, FOR, AGAINST, INK, WHITE]

    def paint(self, camera: Camera, node: int, *, stays: bool, last: bool = False) -> Image.Image:
        """Return the picture at a camera on its way to, or at, a node; the last one has the answer."""
        shape = picture_shape(self._size)
        downsample = camera.height / shape[0]
        corner = (camera.y - camera.height / 2, camera.x - downsample * shape[1] / 2)
        frame = Frame(corner, shape, downsample)
        sheet = Image.new("RGB", (self._size[1], self._size[0]), WHITE)
        picture = self._pixels(camera, frame, stays=stays)
        self._overlay(picture, frame, node, everything=last)
        sheet.paste(picture, (0, 0))
        strip = (self._size[1], self._size[0] - shape[0])
        sheet.paste(answer(self._result, strip) if last else words(self._result, node, strip), (0, shape[0]))
        if stays and not last and self._result.views and node:
            self._seen(sheet, node)
        return sheet

    # -- pixels -------------------------------------------------------------------------------
    def _pixels(self, camera: Camera, frame: Frame, *, stays: bool) -> Image.Image:
        """Return the slide under the camera: read anew where it stays or costs little, else out of the whole."""
        level = self._slide.levels[level_for_downsample(self._slide.levels, frame.downsample)]
        cost = math.prod(n * frame.downsample / d for n, d in zip(frame.size_px, level.downsample_yx, strict=True))
        if stays:
            if camera not in self._stays:
                if len(self._stays) > 32:
                    self._stays.clear()
                self._stays[camera] = self._read(frame)
            return self._stays[camera].copy()
        return self._read(frame) if cost <= CHEAP_PIXELS else self._from_base(frame)

    def _read(self, frame: Frame) -> Image.Image:
        return Image.fromarray(read_picture(self._slide, frame.yx0, frame.size_px, downsample=frame.downsample))

    def _from_base(self, frame: Frame) -> Image.Image:
        if self._base is None:
            h, w = self._slide.shape0_yx
            unit = max(h, w) / BASE_PX
            shape = (math.ceil(h / unit), math.ceil(w / unit))
            whole = read_picture(self._slide, (0.0, 0.0), shape, downsample=unit)
            self._base = (Image.fromarray(whole), unit)
        whole_picture, unit = self._base
        top, left = (v / unit for v in frame.yx0)
        step = frame.downsample / unit
        height, width = frame.size_px
        return whole_picture.transform(
            (width, height), Image.Transform.AFFINE, (step, 0, left, 0, step, top), Image.Resampling.BILINEAR,
            fillcolor=WHITE,
        )  # fmt: skip

    # -- what is drawn over it ----------------------------------------------------------------
    def _overlay(self, picture: Image.Image, frame: Frame, node: int, *, everything: bool) -> None:
        result = self._result
        path = result.branch(node)
        around = set(path) | set(result.children(node))
        if (parent := result.nodes[node].parent) is not None:
            around |= set(result.children(parent))
        nodes = range(len(result.nodes)) if everything else sorted(around)
        stroke(picture, path_strokes(result, frame, nodes, width=2.4 * max(self._unit, 1)))
        size = round(15 * self._unit)
        labels = Labels(picture)
        if result.slide_mpp_yx is not None:
            bar = scale_bar(picture, frame.downsample * float(np.mean(result.slide_mpp_yx)), size=size)
            labels.taken.append(bar)
        if result.views:
            side = SEEN_PX * self._unit
            labels.taken.append((picture.width - side - 24 * self._unit, 0, picture.width, side + 48 * self._unit))
        here = result.nodes[node]
        if node and not everything:
            mark = frame.corners(here.corner_yx0, here.side_px0)
            stroke(picture, [box(mark, depth_colour(here.depth), 5 * max(self._unit, 1))], casing=1.5)
        for i in nodes:
            corners = frame.corners(result.nodes[i].corner_yx0, result.nodes[i].side_px0)
            shown = result.nodes[i].depth == 1 if everything else i == node or i in result.children(node)
            if i and shown and not (result.nodes[i].frozen and i != node) and _on(corners, picture):
                labels.add(label_text(result, i), corners, depth_colour(result.nodes[i].depth), size=size)

    def _seen(self, sheet: Image.Image, node: int) -> None:
        """Paste what the model saw into the top right corner."""
        side, gap = round(SEEN_PX * self._unit), round(16 * self._unit)
        left, top, size = sheet.width - side - gap, gap, round(13 * self._unit)
        pen = ImageDraw.Draw(sheet)
        pen.rectangle((left - 5, top - 5, left + side + 4, top + side + 2 * size), fill=WHITE)
        view = Image.fromarray(self._result.views[node])
        sheet.paste(view.resize((side, side), Image.Resampling.BICUBIC), (left, top))
        colour = depth_colour(self._result.nodes[node].depth)
        pen.rectangle((left - 3, top - 3, left + side + 2, top + side + 2), outline=colour, width=3)
        pen.text((left, top + side + 4), f"the model saw {view.width} px", fill=GREY, font=font(size))


def _on(corners: tuple[float, float, float, float], picture: Image.Image) -> bool:
    return corners[2] > 0 and corners[3] > 0 and corners[0] < picture.width and corners[1] < picture.height
