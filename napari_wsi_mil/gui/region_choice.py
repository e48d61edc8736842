"""Which outlines a run or a question is about: a list of Shapes layers, and a button to draw."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Shapes
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QPushButton, QWidget
from shapely import box

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.gui.regions import polygons, regions_of
from napari_wsi_mil.gui.slides import images_of

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from shapely import Polygon

    from napari_wsi_mil.slide import Slide

DRAWN = "#f0e442"
EDGE_SCREEN_PX, NARROWEST_PX = 3.0, 96


class RegionChoice(QWidget):
    """`first` is the entry that stands for no outlines; without it the first layer is chosen."""

    changed = Signal()
    """Another layer, or other shapes of it, are chosen."""

    def __init__(self, viewer: ViewerModel, *, name: str, first: str | None = None) -> None:
        super().__init__()
        self._viewer, self._first = viewer, first
        self._slide: Slide | None = None
        self._layers: list[Shapes] = []
        self.combo = QComboBox()
        self.combo.setAccessibleName(name)
        self.combo.setToolTip("Inside the shapes of a layer: the selected ones, or all if none is selected.")
        self.combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.combo.setMinimumWidth(NARROWEST_PX)
        self.combo.setPlaceholderText("No shapes drawn yet")
        self.draw = QPushButton("Draw")
        self.draw.setToolTip("Draw a polygon on the slide: click its corners, double-click or Esc ends it.")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        layout.addWidget(self.combo, 1)
        layout.addWidget(self.draw)
        self.combo.activated.connect(self._told)
        self.draw.clicked.connect(self.start_drawing)
        viewer.layers.events.renamed.connect(self._renamed)

    @property
    def layer(self) -> Shapes | None:
        """The chosen layer; None for no outlines."""
        index = self.combo.currentIndex() - (self._first is not None)
        return self._layers[index] if 0 <= index < len(self._layers) else None

    def show_slide(self, slide: Slide | None) -> None:
        """Offer the Shapes layers that can be meant on this slide; keeps the chosen one if it is still there."""
        kept, other = self.layer, slide is not self._slide
        self._slide = slide
        found = [] if slide is None else regions_of(self._viewer, slide)
        new = [layer for layer in found if layer not in self._layers]
        for layer in found:
            if layer not in self._layers:
                # weak: the layer outlives this panel, or the other way round
                layer.events.highlight.connect(self._told)
                layer.events.data.connect(self._told)
        self._layers = found
        self.combo.clear()
        self.combo.addItems([*([] if self._first is None else [self._first]), *(layer.name for layer in found)])
        if self._first is None and found and (new or other or kept not in found):
            self.choose((new or found)[-1])
        else:
            self.choose(kept if kept in found and not other else None)
        self.combo.setEnabled(self.combo.count() > 0)
        self.changed.emit()

    def choose(self, layer: Shapes | None) -> None:
        """Choose a layer that is offered, or no outlines."""
        first = 0 if self._first is not None else -1
        self.combo.setCurrentIndex(first if layer is None else self._layers.index(layer) + first + 1)

    def _renamed(self, event: Any = None) -> None:
        self.show_slide(self._slide)

    def _told(self, event: Any = None) -> None:
        self.changed.emit()

    @property
    def count(self) -> str:
        """What is chosen in words: "all 3 shapes", "2 of 3 shapes"; empty without a layer."""
        layer = self.layer
        if layer is None:
            return ""
        whole, some = layer.nshapes, len(layer.selected_data)
        plural = "" if whole == 1 else "s"
        if some and some < whole:
            return f"{some} of {whole} shapes, the selected"
        return f"{whole} shape{plural}" if whole else "no shape yet"

    def outlines(self) -> list[Polygon] | None:
        """Return the chosen shapes as (y, x) level-0 polygons, None where no outlines are chosen.

        Raises BadRequest if they enclose nothing or lie beside the slide.
        """
        layer, slide = self.layer, self._slide
        images = [] if slide is None else images_of(self._viewer, slide)
        if layer is None or slide is None or not images:
            return None
        found = polygons(self._viewer, images[0], layer, selected=True)
        if not found:
            message = f"The layer {layer.name!r} holds no closed shape; draw a polygon, rectangle or ellipse."
            raise BadRequest(message)
        if not any(one.intersects(box(0, 0, *slide.shape0_yx)) for one in found):
            message = f"The shapes of {layer.name!r} lie outside {slide.name}; draw over the slide."
            raise BadRequest(message)
        return found

    def start_drawing(self) -> None:
        """Let the next clicks on the canvas draw a polygon, in the chosen layer or a new one."""
        slide, viewer = self._slide, self._viewer
        if slide is None:
            return
        layer = self.layer or self._new_layer(slide)
        self.choose(layer)
        viewer.layers.selection.active = layer
        layer.selected_data = set()
        layer.mode = "add_polygon"
        self.changed.emit()

    def _new_layer(self, slide: Slide) -> Shapes:
        image = images_of(self._viewer, slide)[0]
        width = EDGE_SCREEN_PX / self._viewer.scene.camera.zoom / image.scale[-1]
        return self._viewer.add_shapes(
            name="Region", ndim=2, scale=image.scale[-2:], translate=image.translate[-2:], units=image.units[-2:],
            edge_color=DRAWN, face_color="transparent", edge_width=width,
            metadata={"wsi_slide": slide, "wsi_role": "region"},
        )  # fmt: skip
