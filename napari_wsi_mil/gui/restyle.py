"""Another style for a heatmap layer that is already shown: no model runs, and only what differs is redrawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.utils import Colormap

from napari_wsi_mil.layers import heat_metadata, heat_name, heat_options
from napari_wsi_mil.results.colours import colours
from napari_wsi_mil.results.heat import heat

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_wsi_mil.results import Attention, HeatStyle
    from napari_wsi_mil.results.heat import Heat

FADING = " fading"


def fading_colours() -> Colormap:
    """Return the plain colours with an opacity that rises from nothing to full over the lower half."""
    return Colormap(colours("inferno", fade=True), name="heat inferno" + FADING)


def restyle(layer: Image, style: HeatStyle) -> Heat:
    """Draw a layer of `layers.attention_layer` in another style and remember it there; raises BadRequest as `heat`."""
    result: Attention = layer.metadata["wsi_result"]
    before: HeatStyle = layer.metadata["wsi_style"]
    drawn = heat(result, style)
    options = heat_options(result, drawn, style)
    if _pixels(style) != _pixels(before):
        layer.data = drawn.raster.values
        if tuple(layer.scale) != options["scale"]:
            # all who hear of a scale hear of a translation too and do the same, which takes a while: once is enough
            with layer.events.scale.blocker():
                layer.scale = options["scale"]
            layer.translate = options["translate"]
    if tuple(layer.contrast_limits) != drawn.limits:
        # the range first: napari refuses limits outside it
        layer.contrast_limits_range = drawn.limits
        layer.contrast_limits = drawn.limits
    colormap = options["colormap"]
    if layer.colormap.name != colormap["name"]:
        layer.colormap = Colormap(colormap["colors"], name=colormap["name"])
    if layer.opacity != style.opacity:
        layer.opacity = style.opacity
    _rename(layer, heat_name(result, before), options["name"])
    layer.metadata.update(heat_metadata(style))
    return drawn


def _pixels(style: HeatStyle) -> tuple[object, ...]:
    """Return what of a style changes pixel values."""
    return style.choice, style.normalise == "rank", style.smooth, style.threshold


def _rename(layer: Image, before: str, now: str) -> None:
    """Let the layer's name follow the map, unless somebody gave it a name."""
    if before != now and layer.name.startswith(before):
        layer.name = now + layer.name[len(before) :]
