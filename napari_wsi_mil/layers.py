"""Result -> napari layer-data tuples `(data, settings, kind)`; knows nothing of napari itself.

Every layer lies in the level-0 frame: `scale` is um per level-0 pixel (units um), or 1 with units 'pixel' where the
pixel size is unknown. `metadata` always holds 'wsi_slide' (the open Slide) and 'wsi_role' ('slide', 'attention', ...).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from napari_wsi_mil.slide import Slide

    LayerData = tuple[Any, dict[str, Any], str]


def frame(slide: Slide) -> dict[str, Any]:
    """Return `scale`, `units` and `axis_labels` (y, x) that place level-0 pixels of `slide` in a viewer."""
    mpp = slide.mpp_yx
    return {
        "scale": mpp or (1.0, 1.0),
        "units": ("um", "um") if mpp else ("pixel", "pixel"),
        "axis_labels": ("y", "x"),
    }


def slide_layers(
    slide: Slide, *, managed: bool = False, between: bool = True, prefetch: bool = True
) -> list[LayerData]:
    """Return one colour or grey image layer, or one additive layer per fluorescence channel.

    `managed`, `between` and `prefetch` as in `Slide.pyramid`. Raises SlideError if the overview needed for contrast
    limits cannot be read.
    """
    return [
        _image(slide, channel, managed=managed, between=between, prefetch=prefetch)
        for channel in range(max(len(slide.meta.channels), 1))
    ]


def _image(slide: Slide, channel: int, *, managed: bool, between: bool, prefetch: bool) -> LayerData:
    meta = slide.meta
    levels = slide.pyramid(channel=channel, managed=managed, between=between, prefetch=prefetch)
    settings: dict[str, Any] = {
        **_full_frame(slide),
        "name": slide.name,
        "multiscale": True,
        "rgb": meta.is_rgb,
        "metadata": {"wsi_slide": slide, "wsi_role": "slide", "wsi_channel": channel},
    }
    if not meta.is_rgb:
        settings["contrast_limits"] = _contrast(levels[-1])
    if meta.channels:
        look = meta.channels[channel]
        settings["name"] = f"{slide.name} {look.name}"
        settings["blending"] = "additive"
        if look.rgb is not None:
            settings["colormap"] = "#" + "".join(f"{round(255 * v):02x}" for v in look.rgb)
    return levels, settings, "image"


def _full_frame(slide: Slide) -> dict[str, Any]:
    """Return `frame` with the t and z axes a stack has in front."""
    meta, yx = slide.meta, frame(slide)
    axes = [
        (label, step or 1.0, unit if step else "pixel")
        for label, n, step, unit in (("t", meta.n_t, meta.t_step_s, "s"), ("z", meta.n_z, meta.z_step_um, "um"))
        if n > 1
    ]
    return {
        "scale": (*(step for _, step, _ in axes), *yx["scale"]),
        "units": (*(unit for _, _, unit in axes), *yx["units"]),
        "axis_labels": (*(label for label, _, _ in axes), *yx["axis_labels"]),
    }


def _contrast(coarsest: Any) -> tuple[float, float]:
    """Return limits that show a grey image well: all of 8 bit, else the 0.5 and 99.9 percentile of the overview."""
    if coarsest.dtype == np.uint8:
        return 0.0, 255.0
    middle = tuple(n // 2 for n in coarsest.shape[:-2])
    low, high = np.percentile(np.asarray(coarsest[middle]), (0.5, 99.9))
    return float(low), float(high) if high > low else float(low) + 1.0
