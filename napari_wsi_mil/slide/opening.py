"""Path or URL -> Slide. The content decides which backend, not the suffix."""

from __future__ import annotations

import os
from pathlib import Path

from napari_wsi_mil.errors import SlideNotFound
from napari_wsi_mil.slide.slide import Slide
from napari_wsi_mil.slide.tiff.source import TiffSource


def open_slide(path: str | os.PathLike[str], *, mpp: float | None = None) -> Slide:
    """Open a slide; `mpp` overrides the file's pixel size (um/px).

    Raises SlideNotFound, UnsupportedSlide, SlideDamaged or SlideReadError.
    """
    text = os.fspath(path)
    if not Path(text).exists():
        message = f"{text}: no such file or folder."
        raise SlideNotFound(message)
    slide = Slide(TiffSource(text), path=text)
    if mpp is not None:
        slide.set_mpp((mpp, mpp))
    return slide
