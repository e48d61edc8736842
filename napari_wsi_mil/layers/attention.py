"""What an attention run found: its heatmap, and rectangles around single tiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.layers.placing import vector
from napari_wsi_mil.results.heat import colour_name, heat
from napari_wsi_mil.results.style import HeatStyle

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from napari_wsi_mil.layers.placing import LayerData
    from napari_wsi_mil.results import Attention
    from napari_wsi_mil.results.heat import Heat
    from napari_wsi_mil.slide import Slide
    from napari_wsi_mil.tiles.raster import Raster

PLAIN_HEAT = HeatStyle()


def attention_layer(result: Attention, *, slide: Slide | None = None, style: HeatStyle = PLAIN_HEAT) -> LayerData:
    """Return an image layer of float32 scores, NaN (transparent) where no tile lies, over the tissue it belongs to.

    Pixels are raw scores, or ranks where the style says so, see `results.heat`. Raises BadRequest without tiles, for a
    map or class that is not there, and for a cohort's range the result does not know.
    """
    drawn = heat(result, style)
    options = {
        **heat_options(result, drawn, style),
        "opacity": style.opacity,
        "units": ("um", "um"),
        "blending": "translucent_no_depth",
        "interpolation2d": "nearest",
        "rgb": False,
        "multiscale": False,
        "metadata": {"wsi_slide": slide, "wsi_role": "attention", "wsi_result": result, **heat_metadata(style)},
    }
    return drawn.raster.values, options, "image"


def heat_options(result: Attention, drawn: Heat, style: HeatStyle) -> dict[str, Any]:
    """Return name, place, range and colours of an attention layer: what another style may change beside its pixels."""
    scale, translate = heat_place(result, drawn.raster)
    name = f"{colour_name(style)}{' fading' if style.fade else ''}"
    return {
        "name": heat_name(result, style),
        "scale": scale,
        "translate": translate,
        "contrast_limits": drawn.limits,
        # a name of its own: napari has an inferno of its own with slightly other numbers
        "colormap": {"name": f"heat {name}", "colors": drawn.rgba},
    }


def heat_metadata(style: HeatStyle) -> dict[str, Any]:
    """Return what an attention layer remembers of its style."""
    return {"wsi_style": style, "wsi_choice": style.choice}


def heat_name(result: Attention, style: HeatStyle) -> str:
    """Return the name of an attention layer in a style: map, model, and class or filter where there are several."""
    return " · ".join(part for part in (style.choice.name, result.title, result.row_name(style.choice)) if part)


def heat_place(result: Attention, raster: Raster) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return scale and translate in um of a heat raster so that its pixel edges are tile edges."""
    mpp = np.asarray(result.slide_mpp_yx)
    # napari puts the centre of pixel 0 at `translate`; that of level 0 lies half a level-0 pixel into the slide.
    centre_yx0 = raster.corner_yx0 + np.asarray(raster.cell_yx0) / 2
    scale, translate = raster.cell_yx0 * mpp, (centre_yx0 - 0.5) * mpp
    return (float(scale[0]), float(scale[1])), (float(translate[0]), float(translate[1]))


def tiles_layer(
    result: Attention, rows: Sequence[int] | npt.NDArray[Any], slide: Slide, *, name: str = "Top tiles"
) -> LayerData:
    """Return a shapes layer of one rectangle per tile of `rows` (indices into the grid), with rank and score."""
    picked = np.asarray(rows, int)
    if len(picked) and (picked.min() < 0 or picked.max() >= len(result.grid)):
        message = f"tiles are 0 to {len(result.grid) - 1}, got {picked.tolist()}; take them from this result."
        raise BadRequest(message)
    side = np.asarray(result.grid.side_yx0)
    square = np.array([(0, 0), (0, 1), (1, 1), (1, 0)]) * side
    options = vector(slide, name, role="tiles") | {
        "shape_type": "rectangle",
        "features": {"rank": np.arange(1, len(picked) + 1), "score": result.scores()[picked], "tile": picked},
        "edge_color": "#56b4e9",
        "face_color": "transparent",
        "edge_width": side[0] / 16,
    }
    options["metadata"]["wsi_result"] = result
    return [corner + square for corner in result.grid.yx0[picked]], options, "shapes"
