"""What a search found and nobody kept yet: a picture on the slide, and limits that leave out what is not meant."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from qtpy.QtCore import QObject, QSignalBlocker, QTimer, Signal
from qtpy.QtWidgets import QDoubleSpinBox, QGridLayout, QLabel, QWidget

from napari_wsi_mil.gui.camera import visible
from napari_wsi_mil.gui.objects_preview import Preview, frame_for
from napari_wsi_mil.gui.slides import images_of
from napari_wsi_mil.results.finds import Limits

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from napari.components import ViewerModel

    from napari_wsi_mil.results.finds import Finds
    from napari_wsi_mil.results.objects import MaskObject, ObjectClass
    from napari_wsi_mil.slide import Slide

NAME = "Found, not added"
REST_MS = 120
KNOWN = 0.5
"""Share of an outline that lies in one object from which on it is that object."""
MOST_UM2, NARROW_PX = 1e9, 96


class Limiter(QWidget):
    """Least score, least and largest area."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.score, self.least, self.most = QDoubleSpinBox(), QDoubleSpinBox(), QDoubleSpinBox()
        self.score.setRange(0, 1)
        self.score.setSingleStep(0.05)
        for spin in (self.least, self.most):
            spin.setRange(0, MOST_UM2)
            spin.setDecimals(0)
            spin.setSuffix(" µm²")
            spin.setGroupSeparatorShown(True)
            spin.setStepType(QDoubleSpinBox.StepType.AdaptiveDecimalStepType)
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setColumnStretch(1, 1)
        names = ("Score from", "Area from", "Area to")
        for i, (name, spin) in enumerate(zip(names, (self.score, self.least, self.most), strict=True)):
            grid.addWidget(QLabel(name), i, 0)
            grid.addWidget(spin, i, 1)
            spin.setAccessibleName(name)
            spin.setMinimumWidth(NARROW_PX)
            spin.valueChanged.connect(self._moved)

    def begin(self, finds: Finds, *, like_um2: float | None) -> None:
        """Start with limits that suit what was found: about an example's size, else all sizes."""
        wanted = Limits() if like_um2 is None else Limits.like(like_um2)
        most = wanted.max_area_um2 if math.isfinite(wanted.max_area_um2) else float(finds.areas_um2.max()) + 1
        for spin, value in ((self.score, 0.0), (self.least, wanted.min_area_um2), (self.most, most)):
            with QSignalBlocker(spin):
                spin.setValue(value)

    @property
    def limits(self) -> Limits:
        """What is wanted; a largest area below the least leaves next to nothing."""
        least = self.least.value()
        return Limits(self.score.value(), 0.0, least, max(self.most.value(), least + 1))

    def _moved(self, _: float = 0) -> None:
        self.changed.emit()


class FindsLayer(QObject):
    """Draws objects as a picture as fine as the screen; follows the camera."""

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self._viewer = viewer
        self.objects: tuple[MaskObject, ...] = ()
        self._classes: tuple[ObjectClass, ...] = ()
        self._preview = Preview(viewer)
        self._preview.drawn.connect(self._named)
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(REST_MS)
        self._rest.timeout.connect(self._draw)
        camera = viewer.scene.camera
        camera.events.zoom.connect(self._moved)
        camera.events.center.connect(self._moved)

    @property
    def layer(self) -> Any:
        """The layer of the picture, None while there is none."""
        return self._preview.layer

    def show(self, slide: Slide | None, objects: Sequence[MaskObject], classes: Sequence[ObjectClass]) -> None:
        """Show these objects; none take the layer away."""
        self.objects, self._classes = tuple(objects), tuple(classes)
        if slide is None:
            self._rest.stop()
            self._preview.clear()
            self._preview.slide = None
            return
        self._preview.slide = slide
        self._draw()

    def _moved(self, event: Any = None) -> None:
        if self.objects:
            self._rest.start()

    def _draw(self) -> None:
        slide = self._preview.slide
        images = [] if slide is None else images_of(self._viewer, slide)
        if slide is None or not images:
            return
        view = visible(self._viewer, images[0])
        frame = frame_for(view, slide.shape0_yx, px0=view.h / max(self._viewer.canvas.size[0], 1))
        if frame is not None:
            self._preview.draw(self.objects, self._classes, frame)

    def _named(self) -> None:
        layer = self._preview.layer
        if layer is not None and layer.name != NAME:
            layer.name = NAME


def new_among(found: Iterable[MaskObject], known: Iterable[MaskObject]) -> list[MaskObject]:
    """Return the objects that do not share half of their, or of a known object's, area with it."""
    there = np.array([one.outline for one in known], object)
    rows = list(found)
    if not len(there):
        return rows
    outlines = np.array([one.outline for one in rows], object)
    who, what = shapely.STRtree(there).query(outlines, predicate="intersects")
    both = shapely.area(shapely.intersection(outlines[who], there[what]))
    least = np.minimum(shapely.area(outlines[who]), shapely.area(there[what]))
    same = set(who[both >= KNOWN * least].tolist())
    return [one for i, one in enumerate(rows) if i not in same]
