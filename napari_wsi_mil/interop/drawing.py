"""What pages and films share: type, smooth lines and boxes, labels that keep apart, scale bars."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8]

Colour = tuple[int, int, int]
Corners = tuple[float, float, float, float]
"""Left, top, right, bottom in px of a picture."""

INK, GREY, PALE, WHITE = (24, 28, 33), (96, 103, 112), (228, 231, 235), (255, 255, 255)
FOR, AGAINST = (191, 98, 9), (15, 95, 150)
"""Orange and blue: apart for every kind of colour vision."""
FINER = 3
"""Lines are drawn this much larger and shrunk, which makes their edges smooth."""


@functools.lru_cache(maxsize=64)
def font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Return DejaVu Sans, which comes with matplotlib and knows most alphabets, `size` px high."""
    import matplotlib

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size)


def shortened(text: str, face: ImageFont.FreeTypeFont, width: float) -> str:
    """Return a text that is at most `width` px wide, its middle left out where it must be."""
    if face.getlength(text) <= width:
        return text
    for kept in range(len(text) - 1, 1, -1):
        short = f"{text[: (kept + 1) // 2].rstrip()}…{text[len(text) - kept // 2 :].lstrip()}"
        if face.getlength(short) <= width:
            return short
    return "…"


def wrapped(text: str, face: ImageFont.FreeTypeFont, width: float) -> list[str]:
    """Return a text as lines of at most `width` px."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if face.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(shortened(word, face, width))
    return [line for line in lines if line]


class Stroke(NamedTuple):
    """A line between two points, or a box with these at its corners; (x, y) px of the picture."""

    start: tuple[float, float]
    end: tuple[float, float]
    colour: Colour
    width: float
    is_box: bool = False


def box(corners: Corners, colour: Colour, width: float) -> Stroke:
    """Return a rectangle to draw."""
    return Stroke(corners[:2], corners[2:], colour, width, is_box=True)


def stroke(picture: Image.Image, strokes: Sequence[Stroke], *, casing: float = 1.0) -> None:
    """Draw on an RGB picture, the first undermost, everything over a white casing of this many px on both sides."""
    pen = ImageDraw.Draw(picture)
    for one in strokes:
        for colour, width in ((WHITE, one.width + 2 * casing), (one.colour, one.width)):
            if one.is_box:
                _rectangle(pen, one, colour, width)
            else:
                _line(picture, one, colour, width)


def _rectangle(pen: ImageDraw.ImageDraw, one: Stroke, colour: Colour, width: float) -> None:
    """Draw a frame whose middle runs along the box."""
    thick = max(round(width), 1)
    left, top = (round(v - thick / 2) for v in one.start)
    right, bottom = (round(v + thick / 2) - 1 for v in one.end)
    pen.rectangle((left, top, max(right, left + 1), max(bottom, top + 1)), outline=colour, width=thick)


def _line(picture: Image.Image, one: Stroke, colour: Colour, width: float) -> None:
    """Draw a line with smooth edges: larger, then shrunk to a mask."""
    (x0, y0), (x1, y1) = one.start, one.end
    left, top = max(math.floor(min(x0, x1) - width), 0), max(math.floor(min(y0, y1) - width), 0)
    right = min(math.ceil(max(x0, x1) + width), picture.width)
    bottom = min(math.ceil(max(y0, y1) + width), picture.height)
    if right <= left or bottom <= top:
        return
    mask = Image.new("L", ((right - left) * FINER, (bottom - top) * FINER), 0)
    points = [((x - left) * FINER, (y - top) * FINER) for x, y in (one.start, one.end)]
    ImageDraw.Draw(mask).line(points, fill=255, width=max(round(width * FINER), 1))
    picture.paste(colour, (left, top), mask.resize((right - left, bottom - top), Image.Resampling.BOX))


@dataclass
class Labels:
    """Puts names beside boxes so that no two overlap; one that finds no place is left out."""

    picture: Image.Image
    taken: list[Corners] = field(default_factory=list)

    def add(self, text: str, corners: Corners, colour: Colour, *, size: int = 20, bold: bool = True) -> bool:
        """Write a name at a box, outside it where possible; returns whether there was a place."""
        face = font(size, bold=bold)
        pad = size // 4
        width, height = math.ceil(face.getlength(text)) + 3 * pad, size + 2 * pad
        left, top, right, bottom = corners
        rows = (top - height - 4, bottom + 4, top + 4, bottom - height - 4)
        places = [(x, y) for y in rows[:2] for x in (left, right - width)]
        places += [(x, y) for y in (top, bottom - height) for x in (right + 4, left - width - 4)]
        places += [(x, y) for y in rows[2:] for x in (left + 4, right - width - 4)]
        for x, y in places:
            spot = (x, y, x + width, y + height)
            inside = x >= 0 and y >= 0 and spot[2] <= self.picture.width and spot[3] <= self.picture.height
            if inside and not any(_meet(spot, other) for other in self.taken):
                self.taken.append(spot)
                tag(self.picture, (x, y), text, colour, size=size, bold=bold)
                return True
        return False


def tag(picture: Image.Image, at: tuple[float, float], text: str, colour: Colour, *, size: int, bold: bool) -> None:
    """Write dark text on a white plate with a bar of colour at its left; `at` is its top-left corner (x, y)."""
    face, pad = font(size, bold=bold), size // 4
    x, y = round(at[0]), round(at[1])
    width, height = math.ceil(face.getlength(text)) + 3 * pad, size + 2 * pad
    plate = Image.new("L", (width, height), 235)
    picture.paste(WHITE, (x, y), plate)
    pen = ImageDraw.Draw(picture)
    pen.rectangle((x, y, x + pad - 1, y + height - 1), fill=colour)
    pen.text((x + 2 * pad, y + height / 2), text, fill=INK, font=face, anchor="lm")


def _meet(a: Corners, b: Corners) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def nice_length(most: float) -> float:
    """Return the largest of 1, 2, 5, 10, 20 ... (and tenths) that is at most `most`."""
    power: float = 10.0 ** math.floor(math.log10(most))
    return next(step * power for step in (5.0, 2.0, 1.0) if step * power <= most * (1 + 1e-9))


def length_text(um: float) -> str:
    """Return a length for people: "2 mm", "50 µm", "0.5 µm"."""
    return f"{um / 1000:g} mm" if um >= 1000 else f"{um:g} µm"


def scale_bar(picture: Image.Image, um_per_px: float, *, size: int = 18, share: float = 0.22) -> Corners:
    """Draw a scale bar on a white plate at the bottom left and return where it is."""
    um = nice_length(picture.width * share * um_per_px)
    long, text, face, pad = um / um_per_px, length_text(um), font(size), size // 2
    width, height = max(long, face.getlength(text)) + 2 * pad, size * 1.25 + 2 * pad
    left, top = pad, picture.height - height - pad
    plate = Image.new("L", (math.ceil(width), math.ceil(height)), 225)
    picture.paste(WHITE, (round(left), round(top)), plate)
    pen = ImageDraw.Draw(picture)
    bar_y = top + height - pad
    pen.rectangle((left + pad, bar_y - size // 5, left + pad + long, bar_y), fill=INK)
    pen.text((left + pad, top + pad * 0.6), text, fill=INK, font=face)
    return (left, top, left + width, top + height)
