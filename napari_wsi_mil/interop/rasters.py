"""A result as a picture and as a table, for those without napari."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from napari_wsi_mil.results.atomic import written
from napari_wsi_mil.results.heat import colour_name, heat
from napari_wsi_mil.results.style import HeatStyle
from napari_wsi_mil.tiles.overview import read_picture

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from napari_wsi_mil.interop.geojson import Annotation
    from napari_wsi_mil.results import Attention, MapChoice
    from napari_wsi_mil.results.heat import Heat
    from napari_wsi_mil.slide import Slide

    Pixels = npt.NDArray[np.uint8]

TRUTH = (0, 114, 178)
GAP_PX, LEGEND_PX = 24, 96
PLAIN_HEAT = HeatStyle()
SCALES = {
    "minmax": "all scores",
    "percentile": "1st to 99th percentile",
    "rank": "ranks",
    "cohort": "range of held-out slides",
}


class Window(NamedTuple):
    """The part of a slide on a picture."""

    yx0: tuple[float, float]
    size_px: tuple[int, int]
    downsample: float


def overlay_png(
    slide: Slide,
    result: Attention,
    path: Path | str,
    *,
    truth: Sequence[Annotation] = (),
    style: HeatStyle = PLAIN_HEAT,
    width_px: int = 1600,
) -> Path:
    """Draw the tissue, with `truth` outlined, beside the same tissue under one map in `style`, and a legend below.

    The picture shows the tiles with a margin. Raises SlideReadError, BadRequest, StoreError.
    """
    window = _window(slide, result, truth, width_px=(width_px - 3 * GAP_PX) // 2)
    tissue = read_picture(slide, window.yx0, window.size_px, downsample=window.downsample)
    drawn = heat(result, style)
    left, heated = Image.fromarray(tissue), _blend(tissue, _placed(drawn, window), opacity=style.opacity)
    for panel in (left, heated):
        _outline(panel, truth, window)
    h, w = window.size_px
    sheet = Image.new("RGB", (width_px, h + 2 * GAP_PX + LEGEND_PX), "white")
    sheet.paste(left, (GAP_PX, GAP_PX))
    sheet.paste(heated, (2 * GAP_PX + w, GAP_PX))
    _legend(sheet, result, drawn, style=style, top=h + GAP_PX + 12)
    with written(path) as partial:
        sheet.save(partial, format="PNG")
    return Path(path)


def _window(slide: Slide, result: Attention, truth: Sequence[Annotation], *, width_px: int) -> Window:
    """Return the part of the slide with all tiles and outlines and two tiles of margin."""
    side = np.asarray(result.grid.side_yx0)
    corners = result.grid.yx0
    low, high = corners.min(0), corners.max(0) + side
    for one in truth:
        low, high = np.minimum(low, one.geometry.bounds[:2]), np.maximum(high, one.geometry.bounds[2:])
    low = np.maximum(low - 2 * side, 0)
    high = np.minimum(high + 2 * side, slide.shape0_yx)
    # A tall slide would give a picture nobody can look at: at most twice as high as wide.
    downsample = max((high[1] - low[1]) / width_px, (high[0] - low[0]) / (2 * width_px))
    size = (max(math.ceil((high[0] - low[0]) / downsample), 1), width_px)
    return Window((float(low[0]), float(low[1])), size, float(downsample))


def _placed(drawn: Heat, window: Window) -> Pixels:
    """Return the (h, w, 4) colour under each pixel's centre, alpha 0 where there is none."""
    raster, cells = drawn.raster, drawn.rgba_cells()
    out = np.zeros((*window.size_px, 4), np.uint8)
    places = []
    for axis in (0, 1):
        centre0 = window.yx0[axis] + (np.arange(window.size_px[axis]) + 0.5) * window.downsample
        places.append(np.floor((centre0 - raster.corner_yx0[axis]) / raster.cell_yx0[axis]).astype(int))
    inside = [(place >= 0) & (place < n) for place, n in zip(places, raster.values.shape, strict=True)]
    out[np.ix_(*inside)] = cells[np.ix_(places[0][inside[0]], places[1][inside[1]])]
    return out


def _blend(tissue: Pixels, heat: Pixels, *, opacity: float) -> Image.Image:
    share = heat[..., 3:] / 255 * opacity
    return Image.fromarray(np.rint((1 - share) * tissue + share * heat[..., :3]).astype(np.uint8))


def _outline(panel: Image.Image, truth: Sequence[Annotation], window: Window) -> None:
    pen = ImageDraw.Draw(panel)
    for one in truth:
        for part in getattr(one.geometry, "geoms", [one.geometry]):
            for ring in (part.exterior, *part.interiors) if part.geom_type == "Polygon" else ():
                yx = (np.asarray(ring.coords) - window.yx0) / window.downsample
                pen.line([(x, y) for y, x in yx.tolist()], fill=one.colour or TRUTH, width=3)


def _legend(sheet: Image.Image, result: Attention, drawn: Heat, *, style: HeatStyle, top: int) -> None:
    """Draw the colour scale with the raw scores at its ends, and the answer in words."""
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=18)
    wide, left = sheet.width // 4, sheet.width // 2 + GAP_PX // 2
    on_white = 1 - drawn.rgba[:, 3:] * (1 - drawn.rgba[:, :3])
    bar = on_white[np.linspace(0, len(on_white) - 1, wide).round().astype(int)]
    sheet.paste(Image.fromarray(np.rint(bar[None].repeat(18, 0) * 255).astype(np.uint8)), (left, top))
    pen.text((left, top + 22), f"{drawn.ends[0]:.3g}", fill="black", font=font)
    pen.text((left + wide, top + 22), f"{drawn.ends[1]:.3g}", fill="black", font=font, anchor="ra")
    low, high = drawn.raw_range
    pen.text((left + wide + 16, top), f"scores {low:.3g} to {high:.3g}", fill="black", font=font)
    pen.text((left, top + 46), said(result, style), fill="gray", font=font)
    if result.target == "value":
        answer = f"{result.value:.3g} {result.unit}".rstrip()
    else:
        answer = "   ".join(f"{n} {p:.3f}" for n, p in zip(result.class_names, result.probabilities, strict=True))
    pen.text((GAP_PX, top), f"{result.title}:  {answer}", fill="black", font=font)
    pen.text((GAP_PX, top + 24), f"{len(result.grid)} tiles, {Path(result.slide_path).name}", fill="black", font=font)
    pen.text((GAP_PX, top + 48), "Research use only. Not a diagnosis.", fill="gray", font=font)


def said(result: Attention, style: HeatStyle) -> str:
    """Return in words which map is drawn and how."""
    parts = [style.choice.name, *filter(None, [result.row_name(style.choice)]), SCALES[style.normalise]]
    parts += [f"smoothed over {style.smooth:g} tiles"] * (style.smooth > 0)
    parts += [f"lowest {style.threshold:.0%} hidden"] * (style.threshold > 0)
    return ", ".join([*parts, colour_name(style)])


def tiles_csv(result: Attention, path: Path | str, *, choices: Sequence[MapChoice] = ()) -> Path:
    """Write one row per tile: top-left corner and side in level-0 pixels, lattice cell, raw score and attention.

    Scores that differ by class have a column each; `choices` adds raw scores of further maps, in columns such as
    "Max attention:filter 17". Raises StoreError if the file cannot be written, BadRequest for a map that is not there.
    """
    side = result.grid.side_yx0[0]
    maps = list(result.class_names) if len(result.raw) > 1 else [""]
    names = [f"{what}{':' + one if one else ''}" for what in ("score", "attention") for one in maps]
    columns = [result.scores(i) for i in range(len(maps))] + [result.weights(i) for i in range(len(maps))]
    for choice in choices:
        columns.append(result.map_scores(choice))
        names.append(":".join(filter(None, [choice.name, result.row_name(choice)])))
    with written(path) as partial, partial.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(["y0", "x0", "side", "row", "column", *names])
        for i, ((y, x), cell) in enumerate(zip(result.grid.yx0.tolist(), result.grid.cells.tolist(), strict=True)):
            values = [f"{column[i]:.9g}" for column in columns]
            table.writerow([f"{y:.10g}", f"{x:.10g}", f"{side:.10g}", *cell, *values])
    return Path(path)
