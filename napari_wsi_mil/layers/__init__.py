"""Slides and results -> layer-data tuples for napari, which is not imported here.

A layer's first level-0 pixel has its centre at world (0, 0), as napari counts; its corner, which is `yx0` (0, 0), lies
half a pixel before. Metadata: `wsi_slide` (the slide in whose frame the layer lies), `wsi_role` and, for results,
`wsi_result`; the layer of a book's objects has that as `wsi_book`.
"""

from napari_wsi_mil.layers.attention import (
    PLAIN_HEAT,
    attention_layer,
    heat_metadata,
    heat_name,
    heat_options,
    heat_place,
    tiles_layer,
)
from napari_wsi_mil.layers.object_preview import raster_preview
from napari_wsi_mil.layers.objects import (
    class_colours,
    keyhole,
    object_shapes,
    objects_layer,
    outline_of_shape,
    prompt_layers,
    prompt_shapes,
)
from napari_wsi_mil.layers.outlines import shapes_polygons, tissue_layer
from napari_wsi_mil.layers.placing import LayerData, place_of
from napari_wsi_mil.layers.slides import CHANNEL_COLOURS, contrast_limits, slide_layers
from napari_wsi_mil.layers.trajectory import (
    edge_widths,
    node_labels,
    node_table,
    trajectory_layers,
)

__all__ = [
    "CHANNEL_COLOURS",
    "PLAIN_HEAT",
    "LayerData",
    "attention_layer",
    "class_colours",
    "contrast_limits",
    "edge_widths",
    "heat_metadata",
    "heat_name",
    "heat_options",
    "heat_place",
    "keyhole",
    "node_labels",
    "node_table",
    "object_shapes",
    "objects_layer",
    "outline_of_shape",
    "place_of",
    "prompt_layers",
    "prompt_shapes",
    "raster_preview",
    "shapes_polygons",
    "slide_layers",
    "tiles_layer",
    "tissue_layer",
    "trajectory_layers",
]
