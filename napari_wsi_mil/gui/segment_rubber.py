"""What changes with every move of the pointer, painted over the canvas: a layer costs napari a tenth of a second."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QEvent, QObject, QPointF, Qt
from qtpy.QtGui import QColor, QPainter, QPainterPath, QPen, QPolygonF
from qtpy.QtWidgets import QOpenGLWidget, QWidget

from napari_wsi_mil.gui.camera import plane
from napari_wsi_mil.results.objects import polygons_of

if TYPE_CHECKING:
    import numpy.typing as npt
    from napari.components import ViewerModel
    from napari.layers import Layer
    from qtpy.QtGui import QPaintEvent

    from napari_wsi_mil.results.objects import Outline

    Floats = npt.NDArray[np.float64]

LINE_PX = 2.0
PEEK_FILL, PEEK_EDGE, DARK = QColor(0, 220, 255, 70), QColor(0, 220, 255), QColor(0, 0, 0, 140)
CLOSED = ("box", "lasso")


def canvas_of(widget: QWidget) -> QWidget | None:
    """Return what napari draws on in the window of a widget: its largest picture drawn by OpenGL."""
    found = [w for w in widget.window().findChildren(QOpenGLWidget) if w.isVisible()]
    return max(found, key=lambda w: w.width() * w.height(), default=None)


class Rubber(QWidget):
    """A pane over the canvas that takes no clicks; shows a line being drawn and the outline it would give."""

    def __init__(self, viewer: ViewerModel, canvas: QWidget) -> None:
        super().__init__(canvas)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setAttribute(Qt.WidgetAttribute.WA_NoSystemBackground)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._viewer, self._canvas = viewer, canvas
        self.line: Floats | None = None
        """(N, 2) world points of what is being drawn."""
        self._tool, self._colour = "box", QColor("white")
        self.outline: Outline | None = None
        """(y, x) level-0 pixels."""
        self._image: Layer | None = None
        canvas.installEventFilter(self)
        camera = viewer.scene.camera
        camera.events.zoom.connect(self._moved)
        camera.events.center.connect(self._moved)
        self.hide()

    def show_line(self, line: Floats | None, *, tool: str = "box", colour: str = "white") -> None:
        """Show a line in world units; a box by two of its corners, first and last. None for no line."""
        self.line, self._tool, self._colour = line, tool, QColor(colour)
        self._settle()

    def show_outline(self, outline: Outline | None, image: Layer | None = None) -> None:
        """Show what a prompt would give on the slide that `image` shows; None for nothing."""
        self.outline, self._image = (outline, image) if image is not None else (None, None)
        self._settle()

    def clear(self) -> None:
        """Show nothing."""
        self.line = self.outline = self._image = None
        self._settle()

    def _settle(self) -> None:
        shown = self.line is not None or self.outline is not None
        if shown:
            self.setGeometry(self._canvas.rect())
            self.raise_()
            self.update()
        self.setVisible(shown)

    def _moved(self, event: Any = None) -> None:
        if self.isVisible():
            self.update()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 - Qt's name
        if event.type() == QEvent.Type.Resize and self.isVisible():
            self.setGeometry(self._canvas.rect())
        return False

    # -- painting -----------------------------------------------------------------------------
    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 - Qt's name
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self.outline is not None and self._image in self._viewer.layers:
            path = self._path(self.outline)
            painter.fillPath(path, PEEK_FILL)
            _stroke(painter, path, PEEK_EDGE)
        if self.line is not None and len(self.line) > 1:
            line = self.line
            if self._tool == "box":
                (y0, x0), (y1, x1) = line[0], line[-1]
                line = np.array([(y0, x0), (y0, x1), (y1, x1), (y1, x0)])
            path = QPainterPath()
            path.addPolygon(self._polygon(line))
            if self._tool in CLOSED:
                path.closeSubpath()
            _stroke(painter, path, self._colour)
        painter.end()

    def _path(self, outline: Outline) -> QPainterPath:
        matrix, shift = plane(self._viewer, self._image)  # type: ignore[arg-type]
        path = QPainterPath()
        path.setFillRule(Qt.FillRule.OddEvenFill)
        for part in polygons_of(outline):
            for ring in (part.exterior, *part.interiors):
                path.addPolygon(self._polygon((np.asarray(ring.coords) - 0.5) @ matrix + shift))
                path.closeSubpath()
        return path

    def _polygon(self, world: Floats) -> QPolygonF:
        """Return world points as pixels of the canvas."""
        camera = self._viewer.scene.camera
        middle = np.array((self.height(), self.width())) / 2
        at = (world - np.asarray(camera.center[-2:])) * camera.zoom + middle
        return QPolygonF([QPointF(x, y) for y, x in at.tolist()])


def _stroke(painter: QPainter, path: QPainterPath, colour: QColor) -> None:
    """Draw a line that is seen on light tissue and on dark: a dark one under it."""
    painter.setPen(QPen(DARK, LINE_PX + 2))
    painter.drawPath(path)
    painter.setPen(QPen(colour, LINE_PX))
    painter.drawPath(path)
