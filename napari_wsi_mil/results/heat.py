"""Scores of a result -> a picture of them. Nothing here runs a model, reads a slide or knows a window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.results.colours import DIVERGING, STEPS, colours
from napari_wsi_mil.results.style import HeatStyle
from napari_wsi_mil.tiles.raster import Raster, check_scores, ranks, signed_ranks

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_wsi_mil.results.attention import Attention

    Floats = npt.NDArray[np.float32]
    Range = tuple[float, float]

PERCENT = (1.0, 99.0)


class Meaning(NamedTuple):
    """What a number of a map says."""

    text: str
    signed: bool = False
    """Whether 0 is neither for nor against."""


MEANINGS = {
    "Attention": Meaning("raw attention score before softmax"),
    "Contribution": Meaning("part of the logit from this tile; all tiles sum to it", signed=True),
    "Grad-CAM": Meaning("activation weighted by its gradient; 0: no support"),
    "Tile logit": Meaning("logit of the tile judged by itself"),
    "Max attention": Meaning("response of one filter before softmax"),
    "Min attention": Meaning("response of one filter before softmax"),
    "Average attention": Meaning("response of one filter before softmax"),
}
UNKNOWN = Meaning("raw score")


def meaning(name: str) -> Meaning:
    """Return what the numbers of a map of this name say; maps of others are raw scores without sign."""
    return MEANINGS.get(name, UNKNOWN)


@dataclass(frozen=True, eq=False)
class Heat:
    """A map ready to be coloured."""

    raster: Raster
    """Values in the scale of `limits`; NaN where no tile lies or the threshold hides it."""
    limits: Range
    """Values at the low and the high end of the colours, the second truly larger."""
    ends: Range
    """Raw scores at these ends."""
    raw_range: Range
    """Lowest and highest raw score of the map."""
    beyond: tuple[int, int]
    """Number of tiles with scores under and over the colours' ends."""
    cut: float | None
    """Where in the scale of `limits` the threshold lies: values under it (nearer to 0, if signed) are hidden."""
    meaning: Meaning
    rgba: npt.NDArray[np.float64]
    """(256, 4) colours in 0..1 from the low to the high end."""
    rounded_px0: float
    """How far drawn edges of tiles lie from the true ones at most, in level-0 pixels; see tiles.mosaic."""

    def rgba_cells(self) -> npt.NDArray[np.uint8]:
        """Return (rows, columns, 4) uint8 colours of the raster, with alpha 0 where nothing is drawn."""
        low, high = self.limits
        # limits of a constant map are too near for a float32
        share = np.clip((self.raster.values.astype(np.float64) - low) / (high - low), 0, 1)
        step = np.where(np.isnan(share), 0, share * (STEPS - 1)).round().astype(np.intp)
        out = np.rint(self.rgba * 255).astype(np.uint8)[step]
        out[np.isnan(share)] = 0
        return np.asarray(out)


def why_not(result: Attention, style: HeatStyle) -> str:
    """Return a sentence on why a result cannot be drawn in this style, '' if it can."""
    if style.normalise == "cohort" and style.choice.name not in result.score_range:
        return (
            f"{result.title} gives no range of held-out slides for {style.choice.name!r}: its card has no score_range; "
            "choose another scale, or train it anew."
        )
    return ""


def colour_name(style: HeatStyle) -> str:
    """Return the colour scale a style comes to."""
    return style.colormap or (DIVERGING[0] if meaning(style.choice.name).signed else "inferno")


def heat(result: Attention, style: HeatStyle) -> Heat:
    """Return one map of a result in a style.

    Order of steps: rank (if chosen), smooth, range of the colours (of what is then shown), threshold. Colours of a
    signed map span as much under 0 as over it. Overlapping tiles are averaged. Raises BadRequest for a map or row that
    is not there, a bag without tiles, and a cohort's range the result does not know.
    """
    raw, about = result.map_scores(style.choice), meaning(style.choice.name)
    check_scores(result.grid, raw)
    refusal = why_not(result, style)
    if refusal:
        raise BadRequest(refusal)
    shown, raster = _drawn(result, style)
    limits = _limits(result, shown, style)
    cut = _cut(shown, style.threshold, signed=about.signed)
    if cut is not None:
        height = np.abs(raster.values) if about.signed else raster.values
        raster = raster._replace(values=np.where(height >= cut, raster.values, np.float32(np.nan)))
    known = raw[np.isfinite(raw)]
    raw_range = (float(known.min()), float(known.max())) if len(known) else (0.0, 0.0)
    return Heat(
        raster=raster,
        limits=limits,
        ends=raw_range if style.normalise == "rank" else limits,
        raw_range=raw_range,
        beyond=(int((shown < limits[0]).sum()), int((shown > limits[1]).sum())),
        cut=cut,
        meaning=about,
        rgba=colours(colour_name(style), fade=style.fade),
        rounded_px0=result.mosaic.rounded_px0,
    )


def _drawn(result: Attention, style: HeatStyle) -> tuple[Floats, Raster]:
    """Return what each tile shows, and the raster of it before any threshold."""
    key = (style.choice, style.normalise == "rank", style.smooth)
    # two threads may draw at once: each works with what it found or made itself
    found: tuple[Floats, Raster] | None = result.last_drawn.get(key)
    if found is None:
        found = _draw(result, style)
        result.last_drawn.clear()
        result.last_drawn[key] = found
    return found


def _draw(result: Attention, style: HeatStyle) -> tuple[Floats, Raster]:
    raw, laid = result.map_scores(style.choice), result.mosaic
    order = signed_ranks if meaning(style.choice.name).signed else ranks
    shown = order(raw) if style.normalise == "rank" else raw
    if style.smooth <= 0:
        values, cell = laid.draw(shown), laid.cell_px0
    else:
        smoother = result.smoother(style.smooth)
        field = smoother.field(shown)
        values, cell = smoother.draw(field, laid)
        shown = smoother.at_tiles(field)
    values.flags.writeable = False
    return shown, Raster(values, laid.corner_yx0, (cell, cell))


def _limits(result: Attention, shown: Floats, style: HeatStyle) -> Range:
    """Return the values at the ends of the colours."""
    signed = meaning(style.choice.name).signed
    known = shown[np.isfinite(shown)]
    if not len(known):
        return apart(0.0, 0.0)
    if style.normalise == "rank":
        return (-1.0, 1.0) if signed else (0.0, 1.0)
    if style.normalise == "cohort":
        low, high = result.score_range[style.choice.name]
    elif style.normalise == "minmax":
        low, high = float(known.min()), float(known.max())
    elif signed:
        low, high = (float(v) for v in np.percentile(np.abs(known), (0.0, PERCENT[1])))
    else:
        low, high = (float(v) for v in np.percentile(known, PERCENT))
    if signed:
        high = max(abs(low), abs(high))
        low = -high
    return apart(low, high)


def _cut(shown: Floats, share: float, *, signed: bool) -> float | None:
    if share <= 0:
        return None
    known = shown[np.isfinite(shown)]
    return float(np.quantile(np.abs(known) if signed else known, share)) if len(known) else None


def apart(low: float, high: float) -> Range:
    """Return limits of which the second is truly larger."""
    least = max(abs(low), abs(high), 1.0) * 1e-6
    return (low, high) if high - low >= least else (low - least, high + least)
