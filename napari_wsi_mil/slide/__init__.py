"""FILE -> PIXELS: open a slide, read it in level-0 coordinates, get its lazy pyramid."""

from __future__ import annotations

from napari_wsi_mil.slide.opening import open_slide
from napari_wsi_mil.slide.slide import Slide
from napari_wsi_mil.slide.sniff import looks_like_slide
from napari_wsi_mil.slide.spec import Box, Channel, Level, PixelSize, Plane, SourceMeta, Stored

__all__ = [
    "Box",
    "Channel",
    "Level",
    "PixelSize",
    "Plane",
    "Slide",
    "SourceMeta",
    "Stored",
    "looks_like_slide",
    "open_slide",
]
