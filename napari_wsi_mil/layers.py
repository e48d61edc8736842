"""Slides and results -> layer-data tuples for napari, which is not imported here.

A layer's first level-0 pixel has its centre at world (0, 0), as napari counts; its corner, which is `yx0` (0, 0), lies
half a pixel before. Metadata: `wsi_slide` (the slide in whose frame the layer lies), `wsi_role` and, for results,
`wsi_result`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from shapely import Polygon

from napari_wsi_mil.errors import BadRequest, SlideReadError
from napari_wsi_mil.results.heat import apart, colour_name, heat
from napari_wsi_mil.results.style import HeatStyle
from napari_wsi_mil.slide.spec import Box, Plane

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

    from napari_wsi_mil.results import Attention
    from napari_wsi_mil.results.heat import Heat
    from napari_wsi_mil.slide import Slide
    from napari_wsi_mil.tiles import TissueMask
    from napari_wsi_mil.tiles.raster import Raster

LayerData = tuple[Any, dict[str, Any], str]

CHANNEL_COLOURS = ("cyan", "magenta", "yellow", "green", "red", "blue", "gray")
PLAIN_HEAT = HeatStyle()


def slide_layers(
    slide: Slide, *, managed: bool = False, between: bool = True, prefetch: bool = True
) -> list[LayerData]:
    """Return one multiscale image layer, or one per fluorescence channel, placed in um (pixels where size is unknown).

    `managed` applies the file's ICC profile, `between` adds averaged levels to steep pyramids, `prefetch` decodes
    neighbours of the view while idle. Only multichannel and 16-bit slides are read from here, a few small windows.
    """
    many = len(slide.meta.channels) > 1
    layers: list[LayerData] = []
    for index in range(max(len(slide.meta.channels), 1)):
        levels = slide.pyramid(channel=index, managed=managed, between=between, prefetch=prefetch)
        options = {**_placed(slide, levels[0].ndim - (2 + slide.meta.is_rgb)), **_coloured(slide, index)}
        options["name"] = f"{slide.name} · {slide.meta.channels[index].name}" if many else slide.name
        options["metadata"] = {
            "wsi_slide": slide, "wsi_role": "slide", "wsi_channel": index,
            "wsi_managed": managed, "wsi_between": between,
        }  # fmt: skip
        # napari's own dask cache would keep every chunk a second time, up to a tenth of the machine's memory
        layers.append((levels, {**options, "multiscale": True, "cache": False}, "image"))
    return layers


def _placed(slide: Slide, n_lead: int) -> dict[str, Any]:
    """Return scale, units and axis names of a slide's pixels, `n_lead` axes of t and z before y and x."""
    meta = slide.meta
    lead = [("t", meta.t_step_s, "s")] * (meta.n_t > 1) + [("z", meta.z_step_um, "um")] * (meta.n_z > 1)
    assert len(lead) == n_lead
    plane = ("um", "um") if slide.mpp_yx else ("pixel", "pixel")
    return {
        "scale": (*(step or 1.0 for _, step, _ in lead), *(slide.mpp_yx or (1.0, 1.0))),
        "units": (*(unit if step else "pixel" for _, step, unit in lead), *plane),
        "axis_labels": (*(name for name, _, _ in lead), "y", "x"),
    }


def _coloured(slide: Slide, index: int) -> dict[str, Any]:
    """Return how pixels become colours."""
    meta = slide.meta
    if meta.is_rgb and meta.dtype == "uint8":
        return {"rgb": True}
    if meta.is_rgb:
        return {"rgb": True, "contrast_limits": _dtype_range(meta.dtype)}
    options: dict[str, Any] = {"rgb": False, "contrast_limits": contrast_limits(slide, channel=index)}
    if not meta.channels:
        return options | {"colormap": "gray"}
    rgb = meta.channels[index].rgb
    by_number = CHANNEL_COLOURS[index % len(CHANNEL_COLOURS)] if len(meta.channels) > 1 else "gray"
    colormap: Any = by_number if rgb is None else (meta.channels[index].name, [(0.0, 0.0, 0.0), rgb])
    return options | {"colormap": colormap, "blending": "additive"}


def contrast_limits(slide: Slide, *, channel: int = 0) -> tuple[float, float]:
    """Return the range to show of a grey slide or channel: all of 8 bit, else what 16 coarse windows hold."""
    whole = _dtype_range(slide.meta.dtype)
    if slide.meta.dtype == "uint8":
        return whole
    level, side = len(slide.levels) - 1, 128
    h, w = slide.levels[level].shape_yx
    seen = []
    for y in np.linspace(0, max(h - side, 0), 4).astype(int):
        for x in np.linspace(0, max(w - side, 0), 4).astype(int):
            box = Box(int(y), int(x), side, side).clipped((h, w))
            try:
                seen.append(slide.read_level(level, box, Plane(c=channel)).ravel())
            except SlideReadError:
                # Only the brightness of the display hangs on it; whoever looks at the damaged place is told then.
                continue
    if not seen:
        return whole
    low, high = np.percentile(np.concatenate(seen), (0.5, 99.8))
    return apart(float(low), float(high))


def _dtype_range(dtype: str) -> tuple[float, float]:
    kind = np.dtype(dtype)
    return (0.0, float(np.iinfo(kind).max)) if kind.kind in "iu" else (0.0, 1.0)


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


def tissue_layer(mask: TissueMask, slide: Slide, *, name: str = "Tissue") -> LayerData:
    """Return an editable shapes layer of tissue outlines; holes are shapes of their own, marked in `features`."""
    rings = [
        (np.asarray(ring.coords)[:-1], "hole" if i else "tissue")
        for polygon in mask.polygons()
        for i, ring in enumerate((polygon.exterior, *polygon.interiors))
    ]
    parts = [part for _, part in rings]
    options = _vector(slide, name, role="tissue") | {
        "shape_type": "polygon",
        "features": {"part": parts},
        "feature_defaults": {"part": "tissue"},
        "edge_color": ["#e69f00" if part == "hole" else "#009e73" for part in parts] or "#009e73",
        "face_color": "transparent",
        "edge_width": 2 * mask.downsample_yx[0] / 3,
    }
    return [ring for ring, _ in rings], options, "shapes"


def shapes_polygons(
    shapes: Sequence[npt.NDArray[Any]], parts: Iterable[str] | None = None, *, kinds: Sequence[str] | None = None
) -> list[Polygon]:
    """Return the (y, x) level-0 polygons of an edited shapes layer of ours: tissue less holes.

    `shapes` are the layer's `data`, `parts` its feature 'part' (all tissue where None), `kinds` its `shape_type`: lines
    and paths enclose nothing and are left out, an ellipse comes as its bounding rectangle's four corners.
    """
    kinds = kinds or ["polygon"] * len(shapes)
    tissue: list[Any] = []
    holes: list[Any] = []
    for shape, part, kind in zip(shapes, parts or ["tissue"] * len(shapes), kinds, strict=True):
        corners = np.asarray(shape, float)[:, -2:]
        if kind in ("line", "path") or len(corners) < 3:
            continue
        ring = Polygon(_ellipse(corners) if kind == "ellipse" else corners).buffer(0)
        (holes if part == "hole" else tissue).append(ring)
    out = []
    for whole in tissue:
        for hole in holes:
            whole = whole.difference(hole) if whole.intersects(hole) else whole
        out += [p for p in getattr(whole, "geoms", [whole]) if isinstance(p, Polygon) and not p.is_empty]
    return out


def _ellipse(corners: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return 64 points of the ellipse in a (rotated) rectangle of four corners in order."""
    angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)[:, None]
    a, b = (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
    return np.asarray(corners.mean(0) + np.cos(angle) * a + np.sin(angle) * b)


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
    options = _vector(slide, name, role="tiles") | {
        "shape_type": "rectangle",
        "features": {"rank": np.arange(1, len(picked) + 1), "score": result.scores()[picked], "tile": picked},
        "edge_color": "#56b4e9",
        "face_color": "transparent",
        "edge_width": side[0] / 16,
    }
    options["metadata"]["wsi_result"] = result
    return [corner + square for corner in result.grid.yx0[picked]], options, "shapes"


def _vector(slide: Slide, name: str, *, role: str) -> dict[str, Any]:
    """Return how shapes with level-0 coordinates `yx0` are placed: pixel corners are half a pixel before centres."""
    scale = slide.mpp_yx or (1.0, 1.0)
    return {
        "name": name,
        "scale": scale,
        "translate": (-0.5 * scale[0], -0.5 * scale[1]),
        "units": ("um", "um") if slide.mpp_yx else ("pixel", "pixel"),
        "metadata": {"wsi_slide": slide, "wsi_role": role},
    }
