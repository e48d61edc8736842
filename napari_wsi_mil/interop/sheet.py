"""The tiles with the highest and the lowest scores on one picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from napari_wsi_mil.models.card import NOTICE
from napari_wsi_mil.results import MapChoice
from napari_wsi_mil.results.atomic import written
from napari_wsi_mil.ticks import no_tick

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_wsi_mil.results import Attention
    from napari_wsi_mil.slide import Slide
    from napari_wsi_mil.ticks import Tick

SIDE_PX, GAP_PX, LINE_PX, COLUMNS, COUNT = 160, 12, 26, 6, 12
ATTENTION = MapChoice()


def tile_sheet(
    slide: Slide,
    result: Attention,
    path: Path | str,
    *,
    choice: MapChoice = ATTENTION,
    count: int = COUNT,
    tick: Tick = no_tick,
) -> Path:
    """Write a PNG with up to `count` tiles of the highest scores of a map above as many of the lowest.

    Below each tile stand its raw score and its place, y and x in mm from the slide's corner. Fewer tiles than twice
    `count` are shared out, none comes twice. Raises SlideReadError, StoreError, BadRequest for a map that is not there,
    Cancelled.
    """
    n = len(result.grid)
    low = min(count, n // 2)
    rows = [int(i) for i in result.top_tiles(min(count, n - low), choice)]
    lowest = [int(i) for i in result.top_tiles(low, choice, lowest=True)]
    parts = [("Highest scores", rows)] + [("Lowest scores", lowest)] * bool(lowest)
    heights = [LINE_PX + -(-len(some) // COLUMNS) * (SIDE_PX + 2 * LINE_PX) for _, some in parts]
    width = COLUMNS * (SIDE_PX + GAP_PX) + GAP_PX
    sheet = Image.new("RGB", (width, sum(heights) + 3 * LINE_PX + 2 * GAP_PX), "white")
    _title(sheet, result, choice)
    top, done = GAP_PX + 3 * LINE_PX, 0
    for (name, some), height in zip(parts, heights, strict=True):
        ImageDraw.Draw(sheet).text((GAP_PX, top), name, fill="black", font=ImageFont.load_default(size=18))
        _tiles(sheet, slide, result, rows=some, choice=choice, top=top + LINE_PX, tick=_after(tick, done, n=2 * count))
        top, done = top + height, done + len(some)
    with written(path) as partial:
        sheet.save(partial, format="PNG")
    return Path(path)


def _after(tick: Tick, before: int, *, n: int) -> Tick:
    """Return a tick that counts on from `before` of `n`."""

    def on(done: int, total: int) -> None:
        tick(min(before + done, n), n)

    return on


def _title(sheet: Image.Image, result: Attention, choice: MapChoice) -> None:
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=18)
    which = ", ".join(filter(None, [choice.name, result.row_name(choice)]))
    pen.text((GAP_PX, GAP_PX), f"{result.title}: {which}", fill="black", font=font)
    about = f"{Path(result.slide_path).name}, {len(result.grid)} tiles. {NOTICE}"
    pen.text((GAP_PX, GAP_PX + LINE_PX), about, fill="gray", font=font)


def _tiles(
    sheet: Image.Image,
    slide: Slide,
    result: Attention,
    *,
    rows: Sequence[int],
    choice: MapChoice,
    top: int,
    tick: Tick,
) -> None:
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=14)
    grid, scores = result.grid, result.map_scores(choice)
    # um/px of now for the level-0 pixels of then: the slide's pixel size may have been corrected since
    mpp = slide.require_mpp() * grid.side_yx0[0] / SIDE_PX
    for i, row in enumerate(rows):
        tick(i, len(rows))
        y, x = (float(v) for v in grid.yx0[row])
        tile = slide.read_rgb((y, x), (SIDE_PX, SIDE_PX), mpp=mpp)
        at = (GAP_PX + i % COLUMNS * (SIDE_PX + GAP_PX), top + i // COLUMNS * (SIDE_PX + 2 * LINE_PX))
        sheet.paste(Image.fromarray(tile), at)
        place = [
            (v + side / 2) * um / 1000 for v, side, um in zip((y, x), grid.side_yx0, result.slide_mpp_yx, strict=True)
        ]
        text = f"{scores[row]:.3g}\ny {place[0]:.2f}, x {place[1]:.2f} mm".replace("-", "\u2212")
        pen.text((at[0], at[1] + SIDE_PX + 2), text, fill="black", font=font)
