"""Attention layers of a slide: which there are, and putting a result among them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.gui.slides import layers_of
from napari_wsi_mil.layers import attention_layer
from napari_wsi_mil.results import Attention, HeatStyle, Trajectory
from napari_wsi_mil.results.heat import why_not

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Layer

    from napari_wsi_mil.models.card import ModelCard
    from napari_wsi_mil.results import FeatureBag
    from napari_wsi_mil.slide import Slide

KEPT_BYTES = 256 * 2**20
"""Features up to this size stay in memory with their result, so that a what-if need not read them again."""
FIRST_STYLE = HeatStyle(fade=True)


def is_result(layer: Layer) -> bool:
    """Whether the layer shows a result of an attention run."""
    return layer.metadata.get("wsi_role") == "attention" and isinstance(layer.metadata.get("wsi_result"), Attention)


def results_of(viewer: ViewerModel, slide: Slide | None) -> list[Image]:
    """Return the attention layers of a slide, bottom to top."""
    return [] if slide is None else [layer for layer in layers_of(viewer, slide) if is_result(layer)]


def name_of(layer: Layer) -> str:
    """Return what people call a result: its model, and whether it is of a part of the tiles or of the slide."""
    title: str = layer.metadata["wsi_result"].title + layer.metadata.get("wsi_place", "")
    return f"Rest · {title}" if layer.metadata.get("wsi_rest") else title


def add_result(
    viewer: ViewerModel, slide: Slide, result: Attention, *, rest: bool = False, show: bool = True, **more: Any
) -> Image:
    """Add a result as a layer, in place of an earlier one of the same head, whose style it takes over.

    The other results are hidden if it is shown. `rest` marks the answer to a part of an earlier result's tiles. `more`
    goes to the layer's metadata under 'wsi_' names. The selected layer stays the selected one.
    """
    active = viewer.layers.selection.active
    style = FIRST_STYLE
    for layer in results_of(viewer, slide):
        if layer.metadata["wsi_result"].head == result.head and layer.metadata.get("wsi_rest", False) == rest:
            style = layer.metadata["wsi_style"]
            viewer.layers.remove(layer)
        elif show:
            layer.visible = False
    style = FIRST_STYLE if style.choice.name not in result.map_names or why_not(result, style) else style
    data, settings, _ = attention_layer(result, slide=slide, style=style)
    settings["metadata"] |= {"wsi_rest": rest} | {f"wsi_{name}": value for name, value in more.items()}
    settings["visible"] = show
    if rest:
        settings["name"] += " · rest"
    layer = viewer.add_image(data, **settings)
    if active in viewer.layers:
        viewer.layers.selection.active = active
    return layer


def kept(bag: FeatureBag) -> FeatureBag | None:
    """Return the features if they may stay in memory."""
    return bag if bag.features.nbytes <= KEPT_BYTES else None


def made_on(result: Attention | Trajectory, slide: Slide) -> bool:
    """Whether a result belongs to this slide."""
    known = result if isinstance(result, Trajectory) else result.grid
    return (known.slide_fingerprint, known.slide_shape_yx) == (slide.fingerprint, slide.shape0_yx)


def check_same_slide(result: Attention | Trajectory, slide: Slide) -> None:
    """Raise BadRequest unless a saved result belongs to this slide."""
    if not made_on(result, slide):
        message = f"The result was made on {result.slide_path}, not on {slide.name}; open that slide first."
        raise BadRequest(message)


def head_of(layer: Image) -> ModelCard | None:
    """Return the card of the head behind a layer, where it is known."""
    head: ModelCard | None = layer.metadata.get("wsi_head")
    return head
