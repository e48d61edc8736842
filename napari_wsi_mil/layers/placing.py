"""What all layer-data tuples share: their form, and the place of shapes in a slide's frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_wsi_mil.slide import Slide

LayerData = tuple[Any, dict[str, Any], str]


def place_of(mpp_yx: tuple[float, float] | None) -> dict[str, Any]:
    """Return how shapes with level-0 coordinates `yx0` are placed: pixel corners are half a pixel before centres."""
    scale = mpp_yx or (1.0, 1.0)
    unit = "um" if mpp_yx else "pixel"
    return {"scale": scale, "translate": (-0.5 * scale[0], -0.5 * scale[1]), "units": (unit, unit)}


def vector(slide: Slide, name: str, *, role: str) -> dict[str, Any]:
    """Return name, place and metadata of shapes on a slide."""
    return {"name": name, "metadata": {"wsi_slide": slide, "wsi_role": role}, **place_of(slide.mpp_yx)}
