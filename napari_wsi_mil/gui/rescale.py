"""A slide's pixel size changed: everything in its frame moves with it, and the camera keeps its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Points, Shapes

from napari_wsi_mil.errors import StoreError
from napari_wsi_mil.gui.camera import fit, visible
from napari_wsi_mil.gui.news import news
from napari_wsi_mil.gui.slides import images_of, layers_of, open_slides, slide_of

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_wsi_mil.slide import Slide


def set_pixel_size(viewer: ViewerModel, slide: Slide, mpp_yx: tuple[float, float]) -> None:
    """Give the slide (y, x) um/px and rescale its layers; the same tissue stays on the canvas.

    Outlines and points the user drew move along when no other slide is open, as they can then only belong to this one.
    The value is kept for this slide. Raises BadRequest outside the range `Slide.set_mpp` takes, StoreError (with the
    value in use) where it cannot be kept.
    """
    old = np.asarray(slide.mpp_yx or (1.0, 1.0))
    image = images_of(viewer, slide)[0]
    seen = visible(viewer, image)
    slide.set_mpp(mpp_yx)
    ratio = np.asarray(mpp_yx) / old
    moving = layers_of(viewer, slide)
    if open_slides(viewer) == [slide]:
        moving += [x for x in viewer.layers if slide_of(x) is None and isinstance(x, Shapes | Points)]
    for layer in moving:
        _rescale(layer, ratio)
    fit(viewer, image, seen)
    news(viewer).rescaled.emit(slide)
    try:
        slide.remember_mpp(mpp_yx)
    except OSError as error:
        message = f"{slide.name}: the pixel size is used now but could not be kept for next time ({error.strerror})."
        raise StoreError(message) from error


def _rescale(layer: Layer, ratio: np.ndarray) -> None:
    scale, shift = np.array(layer.scale, float), np.array(layer.translate, float)
    scale[-2:] *= ratio
    shift[-2:] *= ratio
    layer.scale, layer.translate = scale, shift
    layer.units = (*layer.units[:-2], "um", "um")
