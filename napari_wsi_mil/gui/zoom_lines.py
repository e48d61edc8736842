"""Boxes and lines of a zoom drawn in screen pixels: widths stay, labels only where there is room, branches alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers.utils.color_encoding import ManualColorEncoding
from napari.layers.utils.string_encoding import ManualStringEncoding
from qtpy.QtCore import QObject, Signal

from napari_wsi_mil.gui.camera import plane
from napari_wsi_mil.gui.zoom_places import BOXES, LINES, node_numbers, zoom_layers
from napari_wsi_mil.layers.trajectory import edge_widths, node_labels
from napari_wsi_mil.results.trajectory_style import depth_colour

if TYPE_CHECKING:
    from collections.abc import Collection

    from napari.components import ViewerModel
    from napari.layers import Shapes

    from napari_wsi_mil.results import Trajectory

BOX_PX, LINE_PX, CURRENT_PX = 2.0, 1.5, 4.0
LABEL_ROOM_PX = 46.0
"""Side on the screen from which on a box bears its name."""
LETTER_PX, LABEL_PX = 8.0, 15.0
"""Width of a letter and height of a label on the screen, to keep labels apart."""
CURRENT = (0.0, 0.6, 1.0, 1.0)
"""Colour of the box of the current node: no depth has it, and it is seen on tissue, glass and a dark canvas."""
READABLE = 0.18
"""Luminance that has the same contrast, 4.6, with white and with black."""


class ZoomLines(QObject):
    """Looks after the layers of one result, whoever added them; others, and shapes somebody drew in them, are left."""

    stepped = Signal(int)
    """The node whose box was selected in a layer."""

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self._viewer = viewer
        self._result: Trajectory | None = None
        self._node: int | None = None
        self._seen: set[int] = set()
        self._labelled: dict[Shapes, tuple[bool, ...]] = {}
        """The layers looked after, with which of their labels are written."""
        self._relative: list[float] = []
        self._names: tuple[str, ...] = ()
        self._quiet = False
        viewer.scene.camera.events.zoom.connect(self._zoomed)
        viewer.layers.events.inserted.connect(self._inserted)
        viewer.layers.events.removed.connect(self._removed)

    @property
    def seen(self) -> frozenset[int]:
        """The nodes whose boxes are drawn."""
        return frozenset(self._seen)

    def layers(self, role: str) -> list[Shapes]:
        """Return the layers with the boxes, or with the lines, of the result shown."""
        return [] if self._result is None else zoom_layers(self._viewer, self._result, role)

    def show_result(self, result: Trajectory | None) -> None:
        """Look after the layers of another result, all boxes seen and the root the current one."""
        for layer in list(self._labelled):
            self._let_go(layer)
        self._result, self._node = result, None if result is None else 0
        self._seen = set(range(len(result.nodes))) if result else set()
        self._relative = [] if result is None else [float(width) for width in edge_widths(result)]
        self._names = () if result is None else node_labels(result)
        for layer in [*self.layers(BOXES), *self.layers(LINES)]:
            self._take(layer)

    def mark(self, node: int | None, seen: Collection[int] | None = None) -> None:
        """Mark the box of the current node; draw only those in `seen`, all where None."""
        self._node = node
        if self._result is not None:
            self._seen = set(range(len(self._result.nodes)) if seen is None else seen)
        for layer in [*self.layers(BOXES), *self.layers(LINES)]:
            self._paint(layer)
            if layer.selected_data and self._selected(layer) != [node]:
                self._quiet = True
                layer.selected_data = {row for row, n in enumerate(node_numbers(layer)) if n == node}
                self._quiet = False

    # -- layers come and go -------------------------------------------------------------------
    def _inserted(self, event: Any) -> None:
        if self._result is not None and event.value.metadata.get("wsi_result") is self._result:
            self._take(event.value)

    def _removed(self, event: Any) -> None:
        self._let_go(event.value)

    def _take(self, layer: Shapes) -> None:
        if layer.metadata.get("wsi_role") not in (BOXES, LINES):
            return
        self._labelled[layer] = ()
        layer.selected_data.events.items_changed.connect(self._selection_changed)
        self._paint(layer)

    def _let_go(self, layer: Any) -> None:
        if self._labelled.pop(layer, None) is not None:
            layer.selected_data.events.items_changed.disconnect(self._selection_changed)

    # -- selection ----------------------------------------------------------------------------
    def _selected(self, layer: Shapes) -> list[int]:
        numbers = node_numbers(layer)
        found = [numbers[i] for i in sorted(layer.selected_data) if i < len(numbers)]
        return [node for node in found if node is not None]

    def _selection_changed(self, added: tuple[int, ...] = (), removed: tuple[int, ...] = ()) -> None:
        for layer in [*self.layers(BOXES), *self.layers(LINES)]:
            nodes = self._selected(layer)
            # of several layers the one that changed: what is selected there came with this change
            new = set(layer.selected_data) <= set(added)
            if new and not self._quiet and len(nodes) == 1 and nodes[0] != self._node:
                self.stepped.emit(nodes[0])

    # -- drawing ------------------------------------------------------------------------------
    def _px_size(self, layer: Shapes) -> float:
        """Return how many of the layer's own units one canvas pixel is."""
        matrix, _ = plane(self._viewer, layer)
        return 1.0 / (self._viewer.scene.camera.zoom * float(np.sqrt(abs(np.linalg.det(matrix)))))

    def _zoomed(self, event: Any = None) -> None:
        for layer in [*self.layers(BOXES), *self.layers(LINES)]:
            self._set_widths(layer, node_numbers(layer))

    def _set_widths(self, layer: Shapes, numbers: list[int | None]) -> None:
        """Give every shape its width on the screen; the mesh is kept, so 64 boxes take 1 ms."""
        boxes, unit = layer.metadata["wsi_role"] == BOXES, self._px_size(layer)
        plain = BOX_PX if boxes else LINE_PX
        if boxes:
            self._set_labels(layer, numbers, unit)
        layer.edge_width = [unit * (self._box_px(n) if boxes and n is not None else plain) for n in numbers]
        # the layer draws the new widths when it is told
        layer.events.edge_width()

    def _box_px(self, node: int) -> float:
        return CURRENT_PX if node == self._node else BOX_PX * self._relative[node]

    def _set_labels(self, layer: Shapes, numbers: list[int | None], unit: float) -> None:
        """Write names only where there is room; told to the layer only when that changes."""
        result = self._result
        if result is None:
            return
        shown = self._labels(numbers, unit)
        if self._labelled.get(layer) == shown:
            return
        self._labelled[layer] = shown
        names = [self._names[n] if n is not None and on else "" for n, on in zip(numbers, shown, strict=True)]
        layer.text.string = ManualStringEncoding(array=np.array(names), default="")
        layer.refresh_text()

    def _labels(self, numbers: list[int | None], unit: float) -> tuple[bool, ...]:
        """Return which boxes bear their name: large enough, and over no label of a node that comes before.

        The current node comes first, then depth by depth. Labels stand over the top left corner.
        """
        result, shown = self._result, set()
        taken: list[tuple[float, float, float]] = []
        assert result is not None
        there = [n for n in numbers if n is not None and n in self._seen and self._names[n]]
        for n in sorted(there, key=lambda n: (n != self._node, n)):
            node = result.nodes[n]
            y, x = (at / unit for at in node.corner_yx0)
            wide = LETTER_PX * len(self._names[n])
            free = all(abs(y - v) >= LABEL_PX or x >= u + w or u >= x + wide for v, u, w in taken)
            if node.side_px0 / unit >= LABEL_ROOM_PX and free:
                taken.append((y, x, wide))
                shown.add(n)
        return tuple(n in shown for n in numbers)

    def _paint(self, layer: Shapes) -> None:
        """Colour by depth, the current one apart, what is not to be seen transparent."""
        result = self._result
        if result is None or not len(layer.data):
            return
        numbers, boxes = node_numbers(layer), layer.metadata["wsi_role"] == BOXES
        colours = np.array(layer.edge_color, np.float32)
        for row, n in enumerate(numbers):
            if n is None:
                continue
            colours[row, :3] = np.array(depth_colour(result.nodes[n].depth)) / 255
            colours[row, 3] = float(n in self._seen)
            if boxes and n == self._node:
                colours[row] = CURRENT
        if not np.array_equal(colours, np.asarray(layer.edge_color, np.float32)):
            layer.edge_color = colours
        if boxes:
            layer.text.color = ManualColorEncoding(array=readable(colours))
        self._set_widths(layer, numbers)


def readable(colours: np.ndarray) -> np.ndarray:
    """Return RGBA colours (n, 4) of 0..1 darker or lighter, so that text in them is read on any ground."""
    linear = np.asarray(colours[:, :3], float) ** 2.2
    light = linear @ (0.2126, 0.7152, 0.0722)
    darker = linear * np.minimum(READABLE / np.maximum(light, 1e-9), 1.0)[:, None]
    # white light is added to what is too dark
    lighter = np.maximum(READABLE - light, 0.0) / (1 - np.minimum(light, READABLE))
    mixed = darker + lighter[:, None] * (1 - darker)
    return np.concatenate([mixed ** (1 / 2.2), colours[:, 3:]], axis=1).astype(np.float32)
