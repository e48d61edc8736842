"""Which layers show which slide."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_wsi_mil.slide import Slide

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Layer


def slide_of(layer: Layer) -> Slide | None:
    """Return the slide in whose frame the layer lies, None for layers of other origin."""
    slide = layer.metadata.get("wsi_slide")
    return slide if isinstance(slide, Slide) else None


def is_slide_image(layer: Layer) -> bool:
    """Whether the layer shows the slide's own pixels."""
    return slide_of(layer) is not None and layer.metadata.get("wsi_role") == "slide"


def images_of(viewer: ViewerModel, slide: Slide) -> list[Image]:
    """Return the layers with the slide's own pixels, one per channel."""
    return [layer for layer in viewer.layers if is_slide_image(layer) and slide_of(layer) is slide]


def layers_of(viewer: ViewerModel, slide: Slide) -> list[Layer]:
    """Return all layers in the slide's frame: pixels, heatmaps, outlines."""
    return [layer for layer in viewer.layers if slide_of(layer) is slide]


def open_slides(viewer: ViewerModel) -> list[Slide]:
    """Return the slides shown in the viewer, in layer order, each once."""
    found: list[Slide] = []
    for layer in viewer.layers:
        slide = slide_of(layer)
        if slide is not None and is_slide_image(layer) and slide not in found:
            found.append(slide)
    return found
