"""A result as a picture and as a table, for those without napari."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from napari_wsi_mil.interop.atomic import written
from napari_wsi_mil.tiles.overview import read_picture
from napari_wsi_mil.tiles.raster import normalised, score_raster

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from napari_wsi_mil.interop.geojson import Annotation
    from napari_wsi_mil.results import Attention
    from napari_wsi_mil.slide import Slide
    from napari_wsi_mil.tiles.raster import Normalise

    Pixels = npt.NDArray[np.uint8]

# Nine points of the 'inferno' map (Smith and van der Walt, CC0), readable with any colour vision.
HEAT = np.array(
    [(0, 0, 4), (31, 12, 72), (85, 15, 109), (136, 34, 106), (186, 54, 85), (227, 89, 51), (249, 140, 10),
     (249, 201, 50), (252, 255, 164)], float,
)  # fmt: skip
TRUTH = (0, 114, 178)
GAP_PX, LEGEND_PX = 24, 96


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
    class_index: int | None = None,
    normalise: Normalise = "minmax",
    opacity: float = 0.5,
    width_px: int = 1600,
) -> Path:
    """Draw the tissue, with `truth` outlined, beside the same tissue under the attention map, and a legend below.

    The picture shows the tiles with a margin. Raises SlideReadError, BadRequest, StoreError.
    """
    window = _window(slide, result, truth, width_px=(width_px - 3 * GAP_PX) // 2)
    tissue = read_picture(slide, window.yx0, window.size_px, downsample=window.downsample)
    scores, limits = normalised(result.scores(class_index), normalise)
    heated = _blend(tissue, _heat(result, scores, window), limits, opacity=opacity)
    left = Image.fromarray(tissue)
    for panel in (left, heated):
        _outline(panel, truth, window)
    h, w = window.size_px
    sheet = Image.new("RGB", (width_px, h + 2 * GAP_PX + LEGEND_PX), "white")
    sheet.paste(left, (GAP_PX, GAP_PX))
    sheet.paste(heated, (2 * GAP_PX + w, GAP_PX))
    raw = result.scores(class_index)
    shown = (f"{limits[0]:.3g}", f"{limits[1]:.3g}") if normalise != "rank" else ("lowest", "highest")
    _legend(sheet, result, top=h + GAP_PX + 12, labels=(*shown, f"scores {raw.min():.3g} to {raw.max():.3g}"))
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


def _heat(result: Attention, scores: npt.NDArray[np.float32], window: Window) -> npt.NDArray[np.float32]:
    """Return the score under each pixel's centre, NaN where there is none."""
    raster = score_raster(result.grid, scores)
    out = np.full(window.size_px, np.nan, np.float32)
    places = []
    for axis in (0, 1):
        centre0 = window.yx0[axis] + (np.arange(window.size_px[axis]) + 0.5) * window.downsample
        places.append(np.floor((centre0 - raster.corner_yx0[axis]) / raster.cell_yx0[axis]).astype(int))
    inside = [(place >= 0) & (place < n) for place, n in zip(places, raster.values.shape, strict=True)]
    out[np.ix_(*inside)] = raster.values[np.ix_(places[0][inside[0]], places[1][inside[1]])]
    return out


def _blend(
    tissue: Pixels, heat: npt.NDArray[np.float32], limits: tuple[float, float], *, opacity: float
) -> Image.Image:
    low, high = limits
    share = np.clip((heat - low) / (high - low), 0, 1) if high > low else np.where(np.isnan(heat), heat, 0.5)
    covered = ~np.isnan(heat)
    out = tissue.copy()
    mixed = (1 - opacity) * tissue[covered] + opacity * heat_rgb(share[covered])
    out[covered] = np.rint(mixed).astype(np.uint8)
    return Image.fromarray(out)


def heat_rgb(share: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Return (..., 3) RGB 0..255 of shares 0..1 of the colour scale."""
    points = np.linspace(0, 1, len(HEAT))
    return np.stack([np.interp(share, points, HEAT[:, i]) for i in range(3)], -1)


def _outline(panel: Image.Image, truth: Sequence[Annotation], window: Window) -> None:
    pen = ImageDraw.Draw(panel)
    for one in truth:
        for part in getattr(one.geometry, "geoms", [one.geometry]):
            for ring in (part.exterior, *part.interiors) if part.geom_type == "Polygon" else ():
                yx = (np.asarray(ring.coords) - window.yx0) / window.downsample
                pen.line([(x, y) for y, x in yx.tolist()], fill=one.colour or TRUTH, width=3)


def _legend(sheet: Image.Image, result: Attention, *, top: int, labels: tuple[str, str, str]) -> None:
    """Draw the colour scale with its range, and the answer in words."""
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=18)
    wide, left = sheet.width // 4, sheet.width // 2 + GAP_PX // 2
    bar = heat_rgb(np.linspace(0, 1, wide))[None].repeat(18, 0)
    sheet.paste(Image.fromarray(bar.astype(np.uint8)), (left, top))
    pen.text((left, top + 22), labels[0], fill="black", font=font)
    pen.text((left + wide, top + 22), labels[1], fill="black", font=font, anchor="ra")
    pen.text((left + wide + 16, top), labels[2], fill="black", font=font)
    answer = "   ".join(f"{n} {p:.3f}" for n, p in zip(result.class_names, result.probabilities, strict=True))
    pen.text((GAP_PX, top), f"{result.title}:  {answer}", fill="black", font=font)
    pen.text((GAP_PX, top + 24), f"{len(result.grid)} tiles, {Path(result.slide_path).name}", fill="black", font=font)
    pen.text((GAP_PX, top + 48), "Research use only. Not a diagnosis.", fill="gray", font=font)


def tiles_csv(result: Attention, path: Path | str) -> Path:
    """Write one row per tile: top-left corner and side in level-0 pixels, lattice cell, raw score and attention.

    Scores that differ by class have a column each. Raises StoreError if the file cannot be written.
    """
    side = result.grid.side_yx0[0]
    maps = list(result.class_names) if len(result.raw) > 1 else [""]
    names = [f"{what}{':' + one if one else ''}" for what in ("score", "attention") for one in maps]
    columns = [result.scores(i) for i in range(len(maps))] + [result.weights(i) for i in range(len(maps))]
    with written(path) as partial, partial.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(["y0", "x0", "side", "row", "column", *names])
        for i, ((y, x), cell) in enumerate(zip(result.grid.yx0.tolist(), result.grid.cells.tolist(), strict=True)):
            values = [f"{column[i]:.9g}" for column in columns]
            table.writerow([f"{y:.10g}", f"{x:.10g}", f"{side:.10g}", *cell, *values])
    return Path(path)
