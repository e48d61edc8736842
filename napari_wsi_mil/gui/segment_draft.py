"""The outline under way: what the prompt would be accepted as, in a layer of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject

from napari_wsi_mil.gui.screen_edges import settle_edges
from napari_wsi_mil.layers.objects import FACE, keyhole
from napari_wsi_mil.layers.placing import vector
from napari_wsi_mil.results.objects import polygons_of

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Shapes

    from napari_wsi_mil.results.objects import Outline
    from napari_wsi_mil.slide import Slide

DRAFT, NAME = "draft outline", "Draft outline"
"""Role of the layer in its metadata, and its name."""
EDGE, EDGE_PX = "#00dcff", 2.5


class DraftLayer(QObject):
    """One Shapes layer, made when first needed, that shows an outline or nothing."""

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self._viewer = viewer
        self._slide: Slide | None = None
        self.layer: Shapes | None = None
        self.outline: Outline | None = None
        """What is shown, (y, x) level-0 pixels."""
        viewer.layers.events.removed.connect(self._removed)
        viewer.scene.camera.events.zoom.connect(self._zoomed)

    def show(self, slide: Slide | None, outline: Outline | None) -> None:
        """Show an outline on a slide, nothing where it is None; without a slide the layer goes."""
        if slide is not self._slide:
            self.clear()
            self._slide = slide
        if outline is None and (self.layer is None or not self.layer.nshapes):
            self.outline = None
            return
        if slide is None or outline is self.outline:
            return
        self.outline = outline
        layer = self.layer or self._make(slide)
        layer.data = [] if outline is None else [(keyhole(part), "polygon") for part in polygons_of(outline)]
        if layer.nshapes:
            # no face: napari may paint a triangle that is not in the outline, see layers.objects
            layer.edge_color, layer.face_color = EDGE, FACE
            settle_edges(self._viewer, layer, EDGE_PX)

    def clear(self) -> None:
        """Take the layer away."""
        layer, self.layer, self.outline, self._slide = self.layer, None, None, None
        if layer is not None and layer in self._viewer.layers:
            self._viewer.layers.remove(layer)

    def _make(self, slide: Slide) -> Any:
        viewer = self._viewer
        chosen, active = set(viewer.layers.selection), viewer.layers.selection.active
        self.layer = viewer.add_shapes(ndim=2, **vector(slide, NAME, role=DRAFT))
        # under the prompts, or their points could not be picked
        order = [str(layer.metadata.get("wsi_role", "")) for layer in viewer.layers]
        lowest = next((i for i, role in enumerate(order) if role.startswith("prompt")), None)
        if lowest is not None:
            viewer.layers.move(len(order) - 1, lowest)
        viewer.layers.selection = chosen
        viewer.layers.selection.active = active
        return self.layer

    def _removed(self, event: Any) -> None:
        if event.value is self.layer:
            self.layer = self.outline = None

    def _zoomed(self, event: Any = None) -> None:
        settle_edges(self._viewer, self.layer, EDGE_PX)
