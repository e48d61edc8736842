"""Opening a slide with the pixel size the user gives, which is kept for that slide."""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.slide import open_slide

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_wsi_mil.slide import Slide


@contextmanager
def opened(path: str, *, mpp: float | None = None, keep: bool = True) -> Iterator[Slide]:
    """Open a slide for a `with` block; `mpp` (um/px) settles its pixel size now and, with `keep`, for the next time.

    Raises BadRequest for a pixel size no microscope has, and whatever opening raises.
    """
    if mpp is not None and not math.isfinite(mpp):
        message = f"--mpp is the pixel size in um/px, got {mpp}."
        raise BadRequest(message)
    with open_slide(path) as slide:
        if mpp is not None:
            (slide.remember_mpp if keep else slide.set_mpp)((mpp, mpp))
        yield slide
