"""A slide's own pixels: one multiscale image layer, or one per channel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_wsi_mil.errors import SlideReadError
from napari_wsi_mil.results.heat import apart
from napari_wsi_mil.slide.spec import Box, Plane

if TYPE_CHECKING:
    from napari_wsi_mil.layers.placing import LayerData
    from napari_wsi_mil.slide import Slide

CHANNEL_COLOURS = ("cyan", "magenta", "yellow", "green", "red", "blue", "gray")


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
