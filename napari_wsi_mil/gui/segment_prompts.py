"""The prompt under way as two ordinary layers, Points and Shapes, which tools of napari and scripts may change too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, Qt, QTimer, Signal
from qtpy.QtWidgets import QApplication

from napari_wsi_mil.errors import BadRequest
from napari_wsi_mil.gui.camera import layer_to_yx0, plane
from napari_wsi_mil.gui.screen_edges import settle_edges
from napari_wsi_mil.gui.segment_places import SAME_PX0, along, as_known, known_box, known_lasso, same_shape
from napari_wsi_mil.gui.slides import images_of
from napari_wsi_mil.layers.objects import DRAWN, MINUS, PLUS, prompt_layers
from napari_wsi_mil.results.prompts import NO_PROMPT, SlidePrompt

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    from napari.components import ViewerModel
    from napari.layers import Image, Points, Shapes

    from napari_wsi_mil.slide import Slide

    Floats = npt.NDArray[np.float64]

POINTS, BOXES = "prompt points", "prompt boxes"
"""Roles of the layers, in their metadata."""
COLOURS = (MINUS, PLUS)
SYMBOLS = ("x", "disc")
"""Of points beside the object and on it, the feature `label` being 0 and 1."""
POINT_PX, EDGE_PX = 12, 2.0
SCRIBBLE_POINTS = 10
"""A scribble becomes at most this many points, spread evenly along it."""
LATE_MS = 20
UNFINISHED = ("add_polygon", "add_path", "add_polyline", "add_line")
"""Modes in which a shape of the layer may be half drawn, so that nothing is taken from it."""
MOVES = ("scale", "translate", "rotate", "shear", "affine")


class PromptLayers(QObject):
    """Writes a prompt into its two layers and reads what others changed there, once the button is up.

    Layers are made when there is first something to show on a slide, or asked for; a layer somebody deletes takes its
    part of the prompt with it. Each counts as it lies on the canvas: a layer that is moved moves the prompt.
    """

    changed = Signal(object)
    """The SlidePrompt that the layers hold since somebody else changed them."""
    problem = Signal(str)
    """A sentence on a change that cannot be a prompt; the layers are set back."""

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self._viewer = viewer
        self._slide: Slide | None = None
        self._image: Image | None = None
        self._prompt = NO_PROMPT
        self._layers: dict[str, Any] = {}
        self._writing = self._fewer = False
        self._painted: list[int] | None = None
        """Labels of the points whose colours and symbols are theirs."""
        self._read = QTimer(self)
        self._read.setSingleShot(True)
        self._read.setInterval(0)
        self._read.timeout.connect(self._take_over)
        self._late = QTimer(self)
        self._late.setSingleShot(True)
        self._late.setInterval(LATE_MS)
        self._late.timeout.connect(self._write)
        viewer.layers.events.removed.connect(self._removed)
        viewer.scene.camera.events.zoom.connect(self._zoomed)

    # -- what is shown ------------------------------------------------------------------------
    @property
    def points(self) -> Points | None:
        """The layer of points, None while there is none."""
        return self._layers.get(POINTS)

    @property
    def boxes(self) -> Shapes | None:
        """The layer with box and lasso, None while there is none."""
        return self._layers.get(BOXES)

    def show_slide(self, slide: Slide | None, prompt: SlidePrompt = NO_PROMPT) -> None:
        """Show the prompt under way on another slide, making the layers; None takes them away."""
        if slide is not self._slide:
            self.clear()
        self._slide = slide
        if slide is None:
            return
        (image, *_) = images_of(self._viewer, slide)
        if image is not self._image:
            self._image = image
            for name in MOVES:
                getattr(image.events, name).connect(self._slide_moved)
        self._prompt = prompt
        self._make()
        self._write()

    def show(self, prompt: SlidePrompt) -> None:
        """Show another prompt on this slide; a layer that shows it already is not touched."""
        self._prompt = prompt
        if self._slide is not None:
            if not prompt.empty:
                self._make()
            self._write()

    def clear(self) -> None:
        """Take the layers away and forget the slide."""
        self._read.stop()
        self._late.stop()
        if self._image is not None:
            for name in MOVES:
                getattr(self._image.events, name).disconnect(self._slide_moved)
        layers, self._layers = self._layers, {}
        for layer in layers.values():
            if layer in self._viewer.layers:
                self._viewer.layers.remove(layer)
        self._slide = self._image = None
        self._prompt = NO_PROMPT

    # -- layers -------------------------------------------------------------------------------
    def _make(self) -> None:
        slide, viewer = self._slide, self._viewer
        if slide is None or len(self._layers) == 2:
            return
        chosen = set(viewer.layers.selection), viewer.layers.selection.active
        (_, points, _), (_, shapes, _) = prompt_layers(NO_PROMPT, slide=slide)
        if BOXES not in self._layers:
            shapes["metadata"]["wsi_role"] = BOXES
            layer: Any = viewer.add_shapes(**shapes)
            settle_edges(viewer, layer, EDGE_PX)
            self._adopt(BOXES, layer)
        if POINTS not in self._layers:
            # napari draws rims of points whose size is limited far too wide: they have the points' own colour
            points |= {"border_color": points["face_color"], "size": POINT_PX}
            points["canvas_size_limits"] = (POINT_PX, POINT_PX)
            self._adopt(POINTS, viewer.add_points(**points))
            self._fewer, self._painted = False, None
        # napari selects what is added; the slide stays what is panned
        viewer.layers.selection = chosen[0]
        viewer.layers.selection.active = chosen[1]

    def _adopt(self, role: str, layer: Any) -> None:
        self._layers[role] = layer
        for name in ("data", *MOVES, *(["features"] if role == POINTS else [])):
            getattr(layer.events, name).connect(self._touched)

    def _removed(self, event: Any) -> None:
        role = next((role for role, layer in self._layers.items() if layer is event.value), None)
        if role is not None:
            del self._layers[role]
            self._read.start()

    def _zoomed(self, event: Any = None) -> None:
        self._quietly(lambda: settle_edges(self._viewer, self._layers.get(BOXES), EDGE_PX))

    def _slide_moved(self, event: Any = None) -> None:
        self._read.start()

    def _touched(self, event: Any = None) -> None:
        if not self._writing:
            self._painted = None
            self._read.start()

    # -- from the layers ----------------------------------------------------------------------
    def _take_over(self) -> None:
        """Read what somebody changed, once no button is held: a shape half drawn is none yet."""
        slide = self._slide
        if slide is None or self._image not in self._viewer.layers:
            return
        if QApplication.mouseButtons() != Qt.MouseButton.NoButton or self._late.isActive():
            QTimer.singleShot(LATE_MS, self._read.start)
            return
        try:
            found = self.read()
            if not found.empty:
                found.check_within(slide)
        except BadRequest as error:
            self.problem.emit(str(error))
            self._write()
            return
        if found != self._prompt:
            self._prompt = found
            self.changed.emit(found)
        self._write()

    def read(self) -> SlidePrompt:
        """Return what the layers hold: all points, the newest box, the newest lasso, and lines as scribbles.

        Raises BadRequest for what cannot be a prompt.
        """
        places, labels = self._points_there()
        box = lasso = None
        for corners, kind in self._shapes_there():
            if kind in ("rectangle", "ellipse"):
                box = known_box(corners, self._prompt.box_yx0)
            elif kind == "polygon":
                lasso = corners if len(corners) > 2 else lasso
            else:
                spread = along(corners, SCRIBBLE_POINTS)
                places, labels = [*places, *spread.tolist()], [*labels, *[1] * len(spread)]
        ring = None if lasso is None else known_lasso(lasso, self._prompt.lasso_yx0)
        return SlidePrompt(tuple((y, x) for y, x in places), tuple(labels), box, ring)

    def _points_there(self) -> tuple[list[Any], list[int]]:
        layer = self._layers.get(POINTS)
        if layer is None or not len(layer.data):
            return [], []
        found = as_known(self._to_slide(layer, layer.data), self._prompt.points_yx0)
        return found.tolist(), [int(label) for label in layer.features["label"]]

    def _shapes_there(self) -> list[tuple[Floats, str]]:
        layer = self._layers.get(BOXES)
        if layer is None:
            return []
        return [
            (self._to_slide(layer, corners), str(kind))
            for corners, kind in zip(layer.data, layer.shape_type, strict=True)
        ]

    def _to_slide(self, layer: Any, points: Any) -> Floats:
        return layer_to_yx0(self._viewer, self._image, layer, np.asarray(points, float)[:, -2:])  # type: ignore[arg-type]

    # -- into the layers ----------------------------------------------------------------------
    def _write(self) -> None:
        points, boxes = self._layers.get(POINTS), self._layers.get(BOXES)
        prompt = self._prompt
        if points is not None:
            self._write_points(points)
        wanted: list[tuple[Floats, str]] = []
        if prompt.box_yx0 is not None:
            y0, x0, y1, x1 = prompt.box_yx0
            wanted.append((np.array([(y0, x0), (y0, x1), (y1, x1), (y1, x0)]), "rectangle"))
        if prompt.lasso_yx0 is not None:
            wanted.append((np.array(prompt.lasso_yx0), "polygon"))
        if boxes is not None and str(boxes.mode) not in UNFINISHED:
            there = self._shapes_there()
            if len(there) != len(wanted) or not all(map(same_shape, there, wanted)):
                self._draw(boxes, wanted)

    def _write_points(self, layer: Points) -> None:
        """Write the points, later if need be.

        napari draws with the numbers of its last slice: while one is under way, points must neither go nor be painted
        after some went, or it draws points that are no more.
        """
        prompt = self._prompt
        wanted, labels = np.array(prompt.points_yx0).reshape(-1, 2), list(prompt.labels)
        there = self._to_slide(layer, layer.data) if len(layer.data) else np.empty((0, 2))
        same = there.shape == wanted.shape and (not len(there) or np.abs(there - wanted).max() < SAME_PX0)
        fewer = len(wanted) < len(there)
        if layer.loaded:
            self._fewer = False
        elif fewer or self._fewer:
            self._late.start()
            return

        def write() -> None:
            if not same:
                layer.selected_data = set()
                layer.data = self._from_slide(layer, wanted)
            if list(layer.features["label"]) != labels:
                layer.features = {"label": np.array(labels, int)}
            if fewer:
                self._fewer = True
                self._late.start()
            elif labels and labels != self._painted:
                layer.symbol = [SYMBOLS[label] for label in labels]
                layer.face_color = layer.border_color = [COLOURS[label] for label in labels]
            self._painted = None if fewer else labels

        self._quietly(write)

    def _draw(self, layer: Shapes, shapes: Sequence[tuple[Floats, str]]) -> None:
        def write() -> None:
            layer.data = [(self._from_slide(layer, corners), kind) for corners, kind in shapes]
            if shapes:
                layer.edge_color = DRAWN
                layer.face_color = "transparent"
                settle_edges(self._viewer, layer, EDGE_PX)

        self._quietly(write)

    def _from_slide(self, layer: Any, yx0: Floats) -> Floats:
        """Return level-0 points in the coordinates of a layer, wherever it lies."""
        matrix, shift = plane(self._viewer, self._image)  # type: ignore[arg-type]
        own, start = plane(self._viewer, layer)
        return ((yx0 - 0.5) @ matrix + shift - start) @ np.linalg.inv(own)

    def _quietly(self, act: Any) -> None:
        was, self._writing = self._writing, True
        try:
            act()
        finally:
            self._writing = was
