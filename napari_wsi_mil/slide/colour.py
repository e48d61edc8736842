"""ICC profile of the scanner -> sRGB."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_wsi_mil.slide.spec import SourceMeta


def srgb_transform(meta: SourceMeta) -> Callable[[Any], Any] | None:
    """Return a function mapping (h, w, 3|4) uint8 in the scanner's colours to sRGB; None without a profile."""
    raise NotImplementedError(meta.vendor)
