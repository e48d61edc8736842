"""Layers of zoom runs: which there are for a slide, and what keeps a run's boxes and lines together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_wsi_mil.gui.result_layers import made_on
from napari_wsi_mil.gui.slides import layers_of, open_slides, slide_of
from napari_wsi_mil.layers import place_of, trajectory_layers
from napari_wsi_mil.results import Trajectory

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer, Shapes

    from napari_wsi_mil.slide import Slide

REGION = " · region"


def is_zoom(layer: Layer) -> bool:
    """Whether the layer holds the boxes of a zoom run."""
    return layer.metadata.get("wsi_role") == "zoom boxes" and isinstance(layer.metadata.get("wsi_result"), Trajectory)


def zooms_of(viewer: ViewerModel, slide: Slide | None) -> list[Shapes]:
    """Return the boxes of each zoom run of a slide, bottom to top."""
    return [] if slide is None else [layer for layer in layers_of(viewer, slide) if is_zoom(layer)]


def lines_of(viewer: ViewerModel, boxes: Layer) -> list[Shapes]:
    """Return the lines that belong to these boxes: one layer, or none once a person removed it."""
    result = boxes.metadata["wsi_result"]
    return [layer for layer in _lines(viewer) if layer.metadata["wsi_result"] is result]


def _lines(viewer: ViewerModel) -> list[Any]:
    return [layer for layer in viewer.layers if layer.metadata.get("wsi_role") == "zoom lines"]


def add_zoom(viewer: ViewerModel, slide: Slide, result: Trajectory, *, show: bool = True) -> Shapes:
    """Add a run's lines and boxes in place of those of the same model and region; returns the boxes.

    The other zoom runs of the slide are hidden if it is shown. The selected layer stays the selected one.
    """
    active = viewer.layers.selection.active
    for layer in zooms_of(viewer, slide):
        if _same_question(layer.metadata["wsi_result"], result):
            remove_zoom(viewer, layer)
        elif show:
            layer.visible = False
    boxes: Any = None
    for data, options, _ in trajectory_layers(result, slide=slide):
        options["metadata"]["wsi_place"] = "" if result_is_whole(result) else REGION
        options["name"] += options["metadata"]["wsi_place"]
        boxes = viewer.add_shapes(data, visible=show, **options)
    if active in viewer.layers:
        viewer.layers.selection.active = active
    return boxes


def remove_zoom(viewer: ViewerModel, boxes: Layer) -> None:
    """Remove boxes with their lines."""
    for layer in (*lines_of(viewer, boxes), boxes):
        if layer in viewer.layers:
            viewer.layers.remove(layer)


def remove_lost_lines(viewer: ViewerModel) -> None:
    """Remove lines whose boxes are gone."""
    kept = [layer.metadata["wsi_result"] for layer in viewer.layers if is_zoom(layer)]
    for layer in _lines(viewer):
        if not any(layer.metadata["wsi_result"] is result for result in kept):
            viewer.layers.remove(layer)


def follow_boxes(viewer: ViewerModel, boxes: Layer) -> None:
    """Show or hide lines as their boxes are."""
    for layer in lines_of(viewer, boxes):
        layer.visible = boxes.visible


def adopt(viewer: ViewerModel) -> None:
    """Tie the layers of trajectory files that napari opened to the open slide they were made on."""
    for layer in list(viewer.layers):
        result = layer.metadata.get("wsi_result")
        if slide_of(layer) is not None or not isinstance(result, Trajectory):
            continue
        for slide in open_slides(viewer):
            if made_on(result, slide):
                place = place_of(slide.mpp_yx)
                layer.metadata["wsi_slide"] = slide
                layer.scale, layer.translate, layer.units = place["scale"], place["translate"], place["units"]


def _same_question(one: Trajectory, other: Trajectory) -> bool:
    roots = (one.nodes[0], other.nodes[0])
    return one.model == other.model and len({(root.centre_yx0, root.side_px0) for root in roots}) == 1


def result_is_whole(result: Trajectory) -> bool:
    """Whether a run looked at the whole slide: its root is the square around it."""
    h, w = result.slide_shape_yx
    root = result.nodes[0]
    return root.side_px0 == max(h, w) and root.centre_yx0 == (h / 2, w / 2)
