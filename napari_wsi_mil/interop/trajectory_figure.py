"""A zoom run on one page, after figure 5 of the MagNet paper: the slide at the left, the tree of views at the right."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image, ImageDraw

from napari_wsi_mil.interop.drawing import AGAINST, FOR, GREY, INK, PALE, WHITE, font, shortened, wrapped
from napari_wsi_mil.interop.trajectory_map import draw_map, label_text, node_frame, whole_frame
from napari_wsi_mil.results.atomic import written
from napari_wsi_mil.results.trajectory_style import contribution_text, depth_colour, depth_name, magnification_text
from napari_wsi_mil.ticks import no_tick

if TYPE_CHECKING:
    from napari_wsi_mil.results import Trajectory
    from napari_wsi_mil.slide import Slide
    from napari_wsi_mil.ticks import Tick

MARGIN, GAP = 48, 22
MAP_PX = 1060
"""Width of the slide's picture."""
VIEW_PX, FINAL_PX, SMALL_PX = 148, 190, 110
"""Sides of views on the page: inner ones, final ones, and final ones of large trees."""
CAPTION_PX, LINK_PX, HEAD_PX, FOOT_PX, GUTTER_PX = 50, 44, 128, 52, 150
CLASSES_SHOWN, NOTES_SHOWN = 4, 3
INSETS, INSETS_NAME = 3, 3
"""Regions of layer 1 shown larger beneath the slide, and the deepest layer named there."""
INSET_PX = (MAP_PX - (INSETS - 1) * GAP) // INSETS
NOTICE = "Research use only. Not a diagnosis."


class Page(NamedTuple):
    """Where everything is."""

    size: tuple[int, int]
    """Width, height."""
    places: dict[int, tuple[int, int, int]]
    """Left, top and side of each node's view."""
    rows: tuple[tuple[int, int], ...]
    """Depth and top of each row of the tree."""
    tree_left: int


def write_figure(slide: Slide, result: Trajectory, path: Path | str, *, tick: Tick = no_tick) -> Path:
    """Write the page as PNG, whole or not at all; raises SlideReadError, StoreError, Cancelled.

    Left: the slide with boxes by depth, class probabilities, what was read. Right: every view with its name,
    magnification and contribution to the likeliest class.
    """
    page = _laid_out(result)
    sheet = Image.new("RGB", page.size, WHITE)
    pen = ImageDraw.Draw(sheet)
    _head(pen, result, page)
    _slide_column(sheet, pen, slide, result, tick=tick)
    _links(pen, result, page)
    largest = max((abs(float(v)) for v in result.contributions[1:, result.predicted]), default=0.0)
    for index, (x, y, side) in page.places.items():
        _view(sheet, pen, result, index, (x, y, side))
        _caption(pen, result, index, (x, y + side + 8, side), largest=largest)
    _row_names(pen, result, page)
    _foot(pen, result, page)
    with written(path) as partial:
        sheet.save(partial, format="PNG")
    return Path(path)


def _slide_column(
    sheet: Image.Image, pen: ImageDraw.ImageDraw, slide: Slide, result: Trajectory, *, tick: Tick
) -> None:
    """Draw the slide with its boxes, the words below it and, larger, the regions of layer 1."""
    insets = list(result.children(0))[:INSETS] if result.depth > 1 else []
    words = _facts(result)
    below = 28 + 30 * len(words) + 34 * min(len(result.class_names), CLASSES_SHOWN) + 14
    most = sheet.height - HEAD_PX - 16 - below - FOOT_PX - (INSET_PX + 74 if insets else 0)
    frame = whole_frame(result, (most, MAP_PX))
    named = [i for i, node in enumerate(result.nodes) if node.depth == 1 or node.depth == 2 < result.depth]
    picture = draw_map(slide, result, frame, nodes=range(len(result.nodes)), named=named, tick=tick)
    left, top = MARGIN + (MAP_PX - picture.width) // 2, HEAD_PX + 16
    sheet.paste(picture, (left, top))
    pen.rectangle((left - 1, top - 1, left + picture.width, top + picture.height), outline=PALE)
    top = _write_facts(pen, result, words, top=top + picture.height + 28)
    for k, index in enumerate(insets):
        left, under = MARGIN + k * (INSET_PX + GAP), result.below(index)
        named = [i for i in under[1:] if result.nodes[i].depth <= INSETS_NAME]
        near = node_frame(result, index, INSET_PX)
        picture = draw_map(slide, result, near, nodes=under, named=named, label_px=19, tick=tick)
        pen.text((left, top), label_text(result, index), fill=INK, font=font(20, bold=True))
        sheet.paste(picture, (left, top + 30))
        pen.rectangle((left - 1, top + 29, left + INSET_PX, top + 30 + INSET_PX), outline=PALE)


# -- where everything is --------------------------------------------------------------------------
def _laid_out(result: Trajectory) -> Page:
    """Return the page: a column per view of the last layer but one, its final views stacked below it."""
    stems = [i for i, node in enumerate(result.nodes) if node.depth == max(result.depth - 1, 0)]
    final = FINAL_PX if len(stems) <= 8 else SMALL_PX
    inner = min(VIEW_PX, final)
    column = final + GAP + 14
    tree_left = MARGIN + MAP_PX + 50 + GUTTER_PX
    tops = [HEAD_PX + 22 + depth * (inner + CAPTION_PX + LINK_PX) for depth in range(result.depth + 1)]
    centres: dict[int, float] = {stem: tree_left + (k + 0.5) * column for k, stem in enumerate(stems)}
    places: dict[int, tuple[int, int, int]] = {}
    for index in range(len(result.nodes) - 1, -1, -1):
        node = result.nodes[index]
        if node.depth == result.depth and result.depth:
            continue
        if index not in centres:
            below = [centres[i] for i in result.children(index) if i in centres]
            centres[index] = sum(below) / len(below)
        places[index] = (round(centres[index] - inner / 2), tops[node.depth], inner)
    bottom = tops[-1]
    for stem in stems if result.depth else ():
        for k, index in enumerate(result.children(stem)):
            y = tops[-1] + k * (final + CAPTION_PX + 12)
            places[index] = (round(centres[stem] - final / 2 + 7), y, final)
            bottom = max(bottom, y + final + CAPTION_PX)
    width = max(tree_left + math.ceil(len(stems) * column), tree_left + 460) + MARGIN - GAP
    height = max(bottom + 40 + FOOT_PX, HEAD_PX + 1300)
    return Page((width, height), places, tuple(enumerate(tops)), tree_left - GUTTER_PX)


# -- the words ------------------------------------------------------------------------------------
def _head(pen: ImageDraw.ImageDraw, result: Trajectory, page: Page) -> None:
    wide = page.size[0] - 2 * MARGIN
    name = Path(result.slide_path).name
    pen.text((MARGIN, 34), shortened(name, font(36, bold=True), wide), fill=INK, font=font(36, bold=True))
    share = float(result.probabilities[result.predicted])
    said = f"{result.title}: {result.class_names[result.predicted]} {share:.3f}"
    pen.text((MARGIN, 84), shortened(said, font(24), wide), fill=INK, font=font(24))
    pen.line((MARGIN, HEAD_PX - 2, page.size[0] - MARGIN, HEAD_PX - 2), fill=PALE, width=2)


def _foot(pen: ImageDraw.ImageDraw, result: Trajectory, page: Page) -> None:
    y, face = page.size[1] - FOOT_PX, font(19)
    pen.text((MARGIN, y), NOTICE, fill=GREY, font=face)
    name = result.class_names[result.predicted]
    text = f"Bars: how far the log-odds of “{name}” fall without the final views under a view."
    if result.depth:
        pen.text((page.size[0] - MARGIN, y), text, fill=GREY, font=face, anchor="ra")


def _facts(result: Trajectory) -> list[tuple[str, tuple[int, int, int]]]:
    """Return lines on what was read, and on what speaks against trusting the result."""
    face = font(20)
    lines = [(line, GREY) for line in wrapped(reading_text(result), face, MAP_PX)]
    for note in result.notes[:NOTES_SHOWN]:
        lines += [(line, INK) for line in wrapped(f"Note: {note}", face, MAP_PX)[:2]]
    return lines


def _write_facts(
    pen: ImageDraw.ImageDraw, result: Trajectory, lines: list[tuple[str, tuple[int, int, int]]], *, top: int
) -> int:
    """Draw the class probabilities as bars and the lines; returns where the next thing may start."""
    y, face = top, font(20)
    for i in sorted(range(len(result.class_names)), key=lambda i: -result.logits[i])[:CLASSES_SHOWN]:
        share = float(result.probabilities[i])
        pen.text((MARGIN, y), shortened(result.class_names[i], face, 230), fill=INK, font=face)
        pen.rectangle((MARGIN + 250, y + 4, MARGIN + 250 + 480, y + 22), fill=PALE)
        colour = INK if i == result.predicted else GREY
        pen.rectangle((MARGIN + 250, y + 4, MARGIN + 250 + round(480 * share), y + 22), fill=colour)
        pen.text((MARGIN + 750, y), f"{share:.3f}", fill=INK, font=face)
        y += 34
    for line, colour in lines:
        pen.text((MARGIN, y + 14), line, fill=colour, font=face)
        y += 30
    return y + 34


def reading_text(result: Trajectory) -> str:
    """Return in one sentence what was read of the slide."""
    read = result.reading
    views = " and ".join(f"{n} of {px} px" for px, n in sorted(read.views.items()))
    pixels = f"{read.pixels / 1e6:.2g} million" if read.pixels >= 1e5 else f"{read.pixels}"
    height, width = result.slide_shape_yx
    text = f"{sum(read.views.values())} views ({views}) from {pixels} pixels of a slide of {width} × {height}"
    seconds = sum(result.seconds.values())
    tiles = f"{read.file_tiles} of the file's tiles read, {read.level0_tiles} in level 0"
    return f"{text}; {tiles}; {seconds:.1f} s on {result.device}."


def _row_names(pen: ImageDraw.ImageDraw, result: Trajectory, page: Page) -> None:
    """Write what each row is into the gutter at the tree's left."""
    for depth, top in page.rows:
        first, more = depth_name(result, depth).partition(" (")[::2]
        pen.rectangle((page.tree_left, top, page.tree_left + 8, top + 50), fill=depth_colour(depth))
        pen.text((page.tree_left + 18, top - 3), first, fill=INK, font=font(20, bold=True))
        pen.text((page.tree_left + 18, top + 25), more.rstrip(")"), fill=GREY, font=font(18))


# -- the views ------------------------------------------------------------------------------------
def _view(
    sheet: Image.Image, pen: ImageDraw.ImageDraw, result: Trajectory, index: int, place: tuple[int, int, int]
) -> None:
    x, y, side = place
    node = result.nodes[index]
    pen.rectangle((x - 5, y - 5, x + side + 4, y + side + 4), fill=depth_colour(node.depth))
    if result.views:
        view = Image.fromarray(result.views[index])
        sheet.paste(view.resize((side, side), Image.Resampling.BICUBIC), (x, y))
    else:
        pen.rectangle((x, y, x + side - 1, y + side - 1), fill=PALE)


def _caption(
    pen: ImageDraw.ImageDraw, result: Trajectory, index: int, place: tuple[int, int, int], *, largest: float
) -> None:
    """Write name and magnification, and the contribution as a number and a bar from the middle."""
    x, y, side = place
    node = result.nodes[index]
    size = 18 if side >= VIEW_PX else 13
    zoom = magnification_text(result, index)
    pen.text((x + side, y), zoom, fill=GREY, font=font(size), anchor="ra")
    room = side - font(size).getlength(zoom) - 6
    name = shortened(node.name, font(size, bold=True), room)
    pen.text((x, y), name, fill=INK, font=font(size, bold=True))
    if node.parent is None:
        return
    value = float(result.contributions[index, result.predicted])
    said = contribution_text(value)
    pen.text((x + side, y + size + 5), said, fill=INK, font=font(size), anchor="ra")
    wide = side - round(font(size).getlength("+00.00")) - 8
    middle, height = x + wide // 2, size - 4
    top = y + size + 9
    pen.rectangle((x, top, x + wide, top + height), fill=(244, 245, 247))
    long = round(wide / 2 * abs(value) / largest) if largest else 0
    ends = (middle, middle + long) if value >= 0 else (middle - long, middle)
    pen.rectangle((ends[0], top, ends[1], top + height), fill=FOR if value >= 0 else AGAINST)
    pen.line((middle, top - 2, middle, top + height + 2), fill=GREY, width=1)


def _links(pen: ImageDraw.ImageDraw, result: Trajectory, page: Page) -> None:
    """Draw the branches: from below a view's caption to the tops of those cut from it, down their side if stacked."""
    for index, (x, y, side) in page.places.items():
        children = result.children(index)
        start, below = x + side // 2, y + side + CAPTION_PX + 8
        for child in children:
            cx, cy, cside = page.places[child]
            colour = depth_colour(result.nodes[child].depth)
            if result.nodes[child].depth == result.depth and len(children) > 1:
                spine = cx - 14
                points = [(start, below), (start, below + 12), (spine, below + 12), (spine, cy + 14), (cx - 4, cy + 14)]
            else:
                bend = below + 12
                points = [(start, below), (start, bend), (cx + cside // 2, bend), (cx + cside // 2, cy - 4)]
            pen.line(points, fill=colour, width=3, joint="curve")
