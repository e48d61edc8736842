"""The strip of words below a film's picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

from napari_wsi_mil.interop.drawing import AGAINST, FOR, GREY, INK, PALE, WHITE, font, shortened
from napari_wsi_mil.results.trajectory_style import contribution_text, depth_colour, depth_name, magnification_text

if TYPE_CHECKING:
    from napari_wsi_mil.interop.drawing import Colour, Corners
    from napari_wsi_mil.results import Trajectory

WIDTH, HEIGHT = 720, 64
"""Of the strip the numbers below are for; others are larger or smaller in everything."""
RIGHT = WIDTH - 16


class Strip:
    """A white strip to write on, in units of a strip of 720 x 64 px."""

    def __init__(self, width: int, height: int) -> None:
        self.unit = width / WIDTH
        self.picture = Image.new("RGB", (width, height), WHITE)
        self._pen = ImageDraw.Draw(self.picture)

    def text(
        self, at: tuple[float, float], text: str, *, size: int, colour: Colour = INK, bold: bool = False,
        room: float = WIDTH, right: bool = False,
    ) -> None:  # fmt: skip
        """Write from `at` on (up to it with `right`), shortened to the room there is."""
        face = font(max(round(size * self.unit), 8), bold=bold)
        place = (at[0] * self.unit, at[1] * self.unit)
        self._pen.text(
            place, shortened(text, face, room * self.unit), fill=colour, font=face, anchor="ra" if right else "la"
        )

    def fill(self, corners: Corners, colour: Colour) -> None:
        """Fill a rectangle."""
        self._pen.rectangle(tuple(round(v * self.unit) for v in corners), fill=colour)


def words(result: Trajectory, node: int, size: tuple[int, int]) -> Image.Image:
    """Return the strip (width, height) at a node: name, layer, magnification, side and contribution."""
    strip, here = Strip(*size), result.nodes[node]
    strip.fill((0, 0, 9, HEIGHT), depth_colour(here.depth))
    strip.text((24, 8), here.name, size=21, bold=True, room=190)
    strip.text((24, 37), depth_name(result, here.depth), size=14, colour=GREY, room=190)
    strip.text((230, 8), magnification_text(result, node), size=21, room=150)
    side = result.side_um(node)
    strip.text((230, 37), f"{here.side_px0:,.0f} px wide" if side is None else _wide(side), size=14, colour=GREY)
    if here.parent is not None:
        _contribution(strip, result, node)
    else:
        strip.text((RIGHT, 10), Path(result.slide_path).name, size=15, room=320, right=True)
        strip.text((RIGHT, 37), result.title, size=14, colour=GREY, room=320, right=True)
    return strip.picture


def answer(result: Trajectory, size: tuple[int, int]) -> Image.Image:
    """Return the strip with the likeliest two classes as bars, and the notice."""
    strip = Strip(*size)
    for row, i in enumerate(sorted(range(len(result.class_names)), key=lambda i: -result.logits[i])[:2]):
        y, share = 8 + 27 * row, float(result.probabilities[i])
        strip.text((24, y), result.class_names[i], size=17, bold=not row, room=170)
        strip.fill((210, y + 3, 410, y + 17), PALE)
        strip.fill((210, y + 3, 210 + 200 * share, y + 17), GREY if row else INK)
        strip.text((422, y), f"{share:.3f}", size=17, bold=not row)
    for row, text in enumerate(("Research use only.", "Not a diagnosis.")):
        strip.text((RIGHT, 10 + 22 * row), text, size=14, colour=GREY, right=True)
    return strip.picture


def _contribution(strip: Strip, result: Trajectory, node: int) -> None:
    """Draw the contribution to the likeliest class as a bar from the middle, the largest of all views full length."""
    value = float(result.contributions[node, result.predicted])
    largest = float(abs(result.contributions[:, result.predicted]).max())
    left, half = WIDTH - 330, 115
    middle, long = left + half, half * abs(value) / largest if largest else 0.0
    ends = (middle, middle + long) if value >= 0 else (middle - long, middle)
    strip.fill((left, 13, left + 2 * half, 29), PALE)
    strip.fill((ends[0], 13, ends[1], 29), FOR if value >= 0 else AGAINST)
    strip.fill((middle, 10, middle, 32), GREY)
    strip.text((left + 2 * half + 10, 10), contribution_text(value), size=18)
    name = result.class_names[result.predicted]
    strip.text((left, 37), f"contribution to “{name}” (log-odds)", size=14, colour=GREY, room=310)


def _wide(um: float) -> str:
    return f"{um / 1000:.3g} mm wide" if um >= 1000 else f"{um:.3g} µm wide"
