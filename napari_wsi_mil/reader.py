"""npe2 reader without a window: path -> slide -> layer data. `gui.opening` wraps it for napari."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from napari_wsi_mil.layers import slide_layers
from napari_wsi_mil.slide import open_slide
from napari_wsi_mil.slide.sniff import looks_like_slide

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_wsi_mil.layers import LayerData

    PathLike = str | os.PathLike[str]


def get_reader(path: PathLike | Sequence[PathLike]) -> Callable[..., list[LayerData]] | None:
    """Return `read_slides`, or None where a path's first bytes and suffix are not those of a slide."""
    paths = _listed(path)
    return read_slides if paths and all(looks_like_slide(p) for p in paths) else None


def read_slides(path: PathLike | Sequence[PathLike], *, stack: bool = False) -> list[LayerData]:
    """Open each path as a slide of its own, also with `stack`, and return its layers.

    The slides stay open; who removes the layers closes them. Raises SlideError, then none is left open.
    """
    slides = []
    try:
        layers: list[LayerData] = []
        for one in _listed(path):
            slides.append(open_slide(one))
            layers += slide_layers(slides[-1])
    except BaseException:
        for slide in slides:
            slide.close()
        raise
    return layers


def _listed(path: PathLike | Sequence[PathLike]) -> list[str]:
    return [os.fspath(path)] if isinstance(path, str | os.PathLike) else [os.fspath(p) for p in path]
